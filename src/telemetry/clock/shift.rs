//! How the times of packets move when the gateway's clock was set.

use super::dated::LEEWAY;
use crate::telemetry::Timestamp;

/// How far times move, in nanoseconds, that were taken from a clock which was set since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeShift {
    /// Those of reception.
    pub received: i64,
    /// Those of measurement where that is the time of arrival,
    pub arrival: i64,
    /// and all others of measurement.
    pub event_time: i64,
}

impl TimeShift {
    /// All of them: they are by the gateway's clock.
    pub fn of_all(step: i64) -> Self {
        Self {
            received: step,
            arrival: step,
            event_time: step,
        }
    }

    /// Those that are the time of arrival alone: the others were told by whoever measured.
    pub fn of_arrivals(step: i64) -> Self {
        Self {
            event_time: 0,
            ..Self::of_all(step)
        }
    }

    /// Those of reception alone: a recording has the others.
    pub fn of_reception(step: i64) -> Self {
        Self {
            arrival: 0,
            ..Self::of_arrivals(step)
        }
    }

    /// This and another one after it.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            received: self.received.saturating_add(other.received),
            arrival: self.arrival.saturating_add(other.arrival),
            event_time: self.event_time.saturating_add(other.event_time),
        }
    }

    /// The times of reception and measurement after it.
    #[must_use]
    pub fn of(self, received: Timestamp, event_time: Timestamp) -> (Timestamp, Timestamp) {
        let moved = |time: Timestamp, by| Timestamp(time.0.saturating_add(by));
        // Packets that come at once are kept apart by so much at the most.
        let is_arrival = (received..=received.plus_millis(LEEWAY)).contains(&event_time);
        let by = if is_arrival {
            self.arrival
        } else {
            self.event_time
        };
        (moved(received, self.received), moved(event_time, by))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;
    const NOW: i64 = 1_700_000_000 * SECOND;

    #[test]
    fn a_time_that_was_told_stays_and_the_time_of_arrival_moves() {
        let shift = TimeShift::of_arrivals(-67 * SECOND);
        let event_time = |at: i64| shift.of(Timestamp(NOW), Timestamp(at)).1.0;
        assert_eq!(event_time(NOW), NOW - 67 * SECOND);
        assert_eq!(event_time(NOW + 3_000_000), NOW + 3_000_000 - 67 * SECOND);
        for told in [NOW - 68 * SECOND, NOW - 1, NOW + SECOND] {
            assert_eq!(event_time(told), told);
        }
    }
}
