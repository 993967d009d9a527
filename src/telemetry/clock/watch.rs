//! Notices that the gateway's clock was set.

use std::time::Duration;

use super::{Received, nanoseconds};

/// Compares the gateway's clocks: the one that can be set, and the one that never is.
#[derive(Debug)]
pub struct ClockWatch {
    tolerance: i64,
    /// How far the one was ahead of the other.
    ahead: Option<i64>,
}

impl ClockWatch {
    /// A watch that takes no notice of less than `tolerance`.
    pub fn new(tolerance: Duration) -> Self {
        Self {
            tolerance: nanoseconds(tolerance),
            ahead: None,
        }
    }

    /// By how many nanoseconds the clock was set since it was looked at last, if it was.
    pub fn look(&mut self, now: Received) -> Option<i64> {
        let ahead = now.wall.0.saturating_sub(nanoseconds(now.monotonic));
        // A clock that is slewed moves by less than that between two looks.
        let step = ahead.saturating_sub(self.ahead.replace(ahead)?);
        (step.saturating_abs() > self.tolerance).then_some(step)
    }
}
