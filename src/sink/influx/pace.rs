//! How many points a write has. Pure.

use std::time::Duration;

/// A write that was in time grows by this share of it.
const GROWTH: usize = 8;

/// A write grows only while it takes less than this share of the timeout: one that takes more would
/// soon take all.
const IN_GOOD_TIME: u32 = 3;

/// The size of the next write: as large as the server takes, and takes in time.
///
/// After a write that was too slow it is half as large, down to one point, and grows again slowly, so
/// that there is progress at whatever speed the server has.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    /// As configured.
    most: usize,
    /// What the server takes at once, as far as is known in this session.
    ceiling: usize,
    points: usize,
    timeout: Duration,
}

impl Pace {
    /// Begins with the most points that are allowed.
    pub(super) fn new(most: usize, timeout: Duration) -> Self {
        Self {
            most,
            ceiling: most,
            points: most,
            timeout,
        }
    }

    /// How many points the next write may have.
    pub(super) fn points(&self) -> usize {
        self.points
    }

    /// Another session begins: what was too large may be so no more.
    pub(super) fn begin_session(&mut self) {
        self.ceiling = self.most;
    }

    /// A write of so many points was not answered in time.
    pub(super) fn timed_out(&mut self, points: usize) {
        self.points = (points / 2).clamp(1, self.points.max(1));
    }

    /// The server said that so many points are too many.
    pub(super) fn too_large(&mut self, points: usize) {
        self.ceiling = (points / 2).max(1);
        self.points = self.points.min(self.ceiling);
    }

    /// A write of so many points was taken after this time.
    pub(super) fn taken(&mut self, points: usize, after: Duration) {
        let is_full = points >= self.points;
        if is_full && after < self.timeout / IN_GOOD_TIME {
            let more = (self.points / GROWTH).max(1);
            self.points = (self.points + more).min(self.ceiling);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    /// Writes a backlog to a server that takes so long for each point; returns how many writes it
    /// took, and how many of them were in vain.
    fn drain(pace: &mut Pace, mut backlog: usize, each: Duration) -> (usize, usize) {
        let (mut writes, mut late) = (0, 0);
        while backlog > 0 {
            writes += 1;
            assert!(writes < 1_000_000, "no progress");
            let points = pace.points().min(backlog);
            let took = each * u32::try_from(points).unwrap();
            if took > TIMEOUT {
                late += 1;
                pace.timed_out(points);
            } else {
                backlog -= points;
                pace.taken(points, took);
            }
        }
        (writes, late)
    }

    #[test]
    fn there_is_progress_at_every_speed() {
        for (micros, most_late) in [
            (1, 0),
            (1_999, 0),
            (3_000, 1),
            (30_000, 4),
            (1_000_000, 9),
            (9_999_999, 13),
        ] {
            let mut pace = Pace::new(5_000, TIMEOUT);
            let (_, late) = drain(&mut pace, 8_100, Duration::from_micros(micros));
            assert!(late <= most_late, "{micros}: {late}");
        }
    }

    #[test]
    fn it_halves_down_to_one_and_grows_again_slowly() {
        let mut pace = Pace::new(5_000, TIMEOUT);
        for expected in [2_500, 1_250, 625, 312, 156, 78, 39, 19, 9, 4, 2, 1, 1] {
            pace.timed_out(pace.points());
            assert_eq!(pace.points(), expected);
        }
        let mut writes = 0;
        while pace.points() < 5_000 {
            let before = pace.points();
            pace.taken(before, Duration::from_millis(1));
            assert!(pace.points() > before && pace.points() <= before + (before / 8).max(1));
            writes += 1;
        }
        assert!((40..100).contains(&writes), "{writes}");
        // A write that was not full, or that took long, says nothing about larger ones.
        pace.timed_out(100);
        pace.taken(10, Duration::ZERO);
        pace.taken(50, TIMEOUT / 2);
        assert_eq!(pace.points(), 50);
    }

    #[test]
    fn what_is_too_large_stays_so_for_the_session() {
        let mut pace = Pace::new(100, TIMEOUT);
        pace.too_large(100);
        for _ in 0..20 {
            pace.taken(pace.points(), Duration::ZERO);
        }
        assert_eq!(pace.points(), 50);
        pace.begin_session();
        pace.taken(50, Duration::ZERO);
        assert_eq!(pace.points(), 56);
    }
}
