//! What a frame counts, and how two frames' counts stand to each other.

use std::time::Duration;

use crate::telemetry::clock::wraps;

/// What a frame says about when it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Milliseconds since the board booted.
    pub uptime_ms: u32,
    /// Packets that the radio received since.
    pub radio: Option<u32>,
    /// When the gateway read it, by its monotonic clock.
    pub read: Duration,
}

/// The milliseconds from one frame to a later one; `None`: the second one is not later.
pub(super) fn pause(before: Counts, next: Counts) -> Option<u32> {
    let forward = next.uptime_ms.wrapping_sub(before.uptime_ms);
    if next.uptime_ms >= before.uptime_ms {
        return Some(forward);
    }
    let passed = next.read.saturating_sub(before.read);
    wraps(before.uptime_ms, next.uptime_ms, passed).then_some(forward)
}

/// The packets from one frame to another one, which may be fewer than none; the count wraps as well.
pub(super) fn radio_step(before: Counts, next: Counts) -> Option<i64> {
    let step = next.radio?.wrapping_sub(before.radio?);
    Some(i64::from(step.cast_signed()))
}

/// Whether a pause by the board's clock is one by the gateway's as well.
pub(super) fn arrives_so(before: Counts, next: Counts, pause: u32) -> bool {
    let passed = millis(next.read.saturating_sub(before.read));
    let pause = u64::from(pause);
    passed * 2 >= pause && passed.abs_diff(pause) <= 2000 + passed / 16
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
