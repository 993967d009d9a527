//! Which times are still history: by a clock that may have been wrong, and may be put right.
//!
//! What was received before the clock was set is as old as it was by the clock of then. What lies ahead
//! of now for another reason was received by a clock that nobody trusts any more: it is old.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::telemetry::Timestamp;

/// A clock that is set moves by more than this from one look to the next.
const STEP: Duration = Duration::from_secs(10);

/// How far ahead of now a time may lie.
const AHEAD: Duration = Duration::from_mins(1);

/// Steps remembered, the newest.
const MAX_STEPS: usize = 16;

/// Follows the gateway's clock.
#[derive(Debug)]
pub(super) struct Retention {
    history: Duration,
    wall: Timestamp,
    seen: Instant,
    /// By how much the clock was set, in nanoseconds, the newest first.
    steps: VecDeque<i64>,
}

impl Retention {
    pub(super) fn new(history: Duration) -> Self {
        Self {
            history,
            wall: Timestamp::now(),
            seen: Instant::now(),
            steps: VecDeque::new(),
        }
    }

    /// How long what was delivered is kept.
    pub(super) fn history(&self) -> Duration {
        self.history
    }

    /// What is worth keeping now. To be asked every few seconds, or a set clock is noticed late.
    pub(super) fn look(&mut self, wall: Timestamp, now: Instant) -> Keep {
        let passed = nanos(now.saturating_duration_since(self.seen));
        let step = wall.0.saturating_sub(self.wall.0).saturating_sub(passed);
        if step.saturating_abs() > nanos(STEP) {
            self.steps.push_front(step);
            self.steps.truncate(MAX_STEPS);
        }
        (self.wall, self.seen) = (wall, now);
        let (from, to) = (
            wall.0.saturating_sub(nanos(self.history)),
            wall.0.saturating_add(nanos(AHEAD)),
        );
        let mut windows = vec![(from, to)];
        let mut shift: i64 = 0;
        for step in &self.steps {
            shift = shift.saturating_add(*step);
            windows.push((from.saturating_sub(shift), to.saturating_sub(shift)));
        }
        Keep(windows)
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// The times that are worth keeping: by the clock of now, and by each one that it was before.
#[derive(Debug, Clone, Default)]
pub(super) struct Keep(Vec<(i64, i64)>);

impl Keep {
    /// Nothing is.
    pub(super) fn nothing() -> Self {
        Self::default()
    }

    /// Whether what was received then may go.
    pub(super) fn is_old(&self, received: Timestamp) -> bool {
        let mut windows = self.0.iter();
        !windows.any(|(from, to)| (*from..=*to).contains(&received.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;
    const HOUR: i64 = 3_600 * SECOND;
    const YEAR: i64 = 365 * 24 * HOUR;

    /// A retention of an hour, looked at each second for so long by a clock that is so wrong.
    struct Run {
        retention: Retention,
        start: Instant,
        seconds: u64,
    }

    impl Run {
        fn new(wrong: i64) -> Self {
            let mut retention = Retention::new(Duration::from_hours(1));
            let start = Instant::now();
            (retention.wall, retention.seen) = (Timestamp(10 * YEAR + wrong), start);
            Self {
                retention,
                start,
                seconds: 0,
            }
        }

        fn go_on(&mut self, wrong: i64, seconds: u64) -> Keep {
            let mut keep = Keep::nothing();
            for _ in 0..seconds {
                self.seconds += 1;
                let now = self.start + Duration::from_secs(self.seconds);
                let wall = 10 * YEAR + wrong + i64::try_from(self.seconds).unwrap() * SECOND;
                keep = self.retention.look(Timestamp(wall), now);
            }
            keep
        }
    }

    fn at(second: i64, wrong: i64) -> Timestamp {
        Timestamp(10 * YEAR + wrong + second * SECOND)
    }

    #[test]
    fn what_lies_ahead_is_old() {
        let keep = Run::new(0).go_on(0, 4_000);
        assert!(keep.is_old(at(399, 0)));
        assert!(!keep.is_old(at(401, 0)));
        assert!(!keep.is_old(at(4_000, 0)));
        assert!(!keep.is_old(at(4_059, 0)));
        assert!(keep.is_old(at(4_061, 0)));
        assert!(keep.is_old(at(0, YEAR)));
        assert!(Keep::nothing().is_old(at(4_000, 0)));
    }

    #[test]
    fn a_clock_that_is_set_makes_nothing_old() {
        for wrong in [YEAR, -9 * YEAR, 2 * HOUR, -2 * HOUR] {
            let mut run = Run::new(wrong);
            run.go_on(wrong, 1_000);
            for (seconds, is_old) in [(1, false), (2_000, false), (2_000, true)] {
                let keep = run.go_on(0, seconds);
                assert_eq!(
                    keep.is_old(at(900, wrong)),
                    is_old,
                    "{wrong} {}",
                    run.seconds
                );
                let now = i64::try_from(run.seconds).unwrap();
                assert!(!keep.is_old(at(now, 0)));
            }
        }
    }

    #[test]
    fn a_clock_that_is_set_again_and_again_is_remembered_for_a_while() {
        let mut run = Run::new(0);
        for round in 1..100 {
            let keep = run.go_on(round % 2 * YEAR, 10);
            assert!(keep.0.len() <= MAX_STEPS + 1);
            assert!(round > 10 || !keep.is_old(at(5, 0)));
        }
    }
}
