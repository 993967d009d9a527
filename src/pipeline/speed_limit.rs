//! How fast one of several sources is read.
//!
//! All of them share the way to the sinks, in the order in which packets came. A board that sends without end,
//! as a broken sketch does over USB, would have all others wait behind it, and push them out of a journal that
//! is full. So a source beside others is read no faster than the fastest serial line carries; what is beyond
//! that waits where it comes from, in the port's or the pipe's own buffer.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Bytes a second of a serial line at 3,000,000 baud, the fastest that adapters have.
const FASTEST: f64 = 300_000.0;

/// What a port's buffer held is read at once.
const AT_ONCE: f64 = 262_144.0;

/// Has what is read too fast wait.
#[derive(Debug)]
pub(super) struct SpeedLimit {
    /// When what was read would all have come over the fastest line.
    carried: Instant,
}

impl Default for SpeedLimit {
    fn default() -> Self {
        Self {
            carried: Instant::now(),
        }
    }
}

impl SpeedLimit {
    /// So many bytes were read: returns when more may be. Cancel safe.
    pub(super) async fn keep(&mut self, bytes: usize) {
        let takes = Duration::from_secs_f64(bytes as f64 / FASTEST);
        self.carried = self.carried.max(Instant::now()) + takes;
        sleep_until(self.carried - Duration::from_secs_f64(AT_ONCE / FASTEST)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_what_no_line_carries_waits() {
        let began = Instant::now();
        let mut limit = SpeedLimit::default();
        limit.keep(200_000).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        for _ in 0..100 {
            limit.keep(30_000).await;
        }
        let flooded = began.elapsed().as_secs_f64();
        assert!((9.0..11.0).contains(&flooded), "{flooded}");
        // As the fastest line brings it.
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_millis(101)).await;
            limit.keep(30_000).await;
        }
        let waited = began.elapsed().as_secs_f64() - flooded - 10.1;
        assert!(waited < 0.1, "{waited}");
    }
}
