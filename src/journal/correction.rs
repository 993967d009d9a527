//! By how much times are wrong that were taken from a clock which was set since.

/// How far times move, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Correction {
    /// Those of reception.
    pub received: i64,
    /// Those of measurement: not at all, where they do not come from the gateway's clock.
    pub event_time: i64,
}

impl Correction {
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            received: self.received.saturating_add(other.received),
            event_time: self.event_time.saturating_add(other.event_time),
        }
    }
}
