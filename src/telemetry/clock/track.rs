//! The time that passes within a stream of packets, by the boards' own clocks alone.

use std::time::Duration;

use super::device::wraps;
use super::{ClockEvent, Stamp};

const MILLI: i64 = 1_000_000;

/// Puts packets on a time of its own, in nanoseconds, which begins with the first of them and which
/// says nothing of the real one: for packets whose arrival says nothing of when they were measured.
///
/// A board that appears, or appears anew after a restart, does so at the latest time of any board
/// before it; after a restart no sooner than it can have counted so far.
#[derive(Debug, Default)]
pub(super) struct Track {
    now: i64,
    boards: Vec<Option<Course>>,
}

/// Where one board is.
#[derive(Debug, Clone, Copy)]
struct Course {
    /// The time at the count of zero.
    zero: i64,
    last: Stamp,
    last_time: i64,
}

impl Track {
    /// The latest time so far.
    pub(super) fn now(&self) -> i64 {
        self.now
    }

    /// Whether a board was met.
    pub(super) fn has(&self, board: usize) -> bool {
        self.boards.get(board).is_some_and(Option::is_some)
    }

    /// Whether this is the board's last packet once more.
    pub(super) fn is_again(&self, board: usize, stamp: Stamp) -> bool {
        let course = self.boards.get(board).copied().flatten();
        course.is_some_and(|course| course.last == stamp)
    }

    /// The count of a board's last packet was too high, as its next one tells.
    pub(super) fn correct(&mut self, board: usize, next: Stamp) {
        if let Some(Some(course)) = self.boards.get_mut(board) {
            course.last.correct(next);
        }
    }

    /// Puts the packet that was followed last where it is known to belong.
    pub(super) fn settle(&mut self, board: usize, stamp: Stamp, time: i64) {
        self.boards[board] = Some(Course {
            zero: time - i64::from(stamp.uptime_ms) * MILLI,
            last: stamp,
            last_time: time,
        });
        self.now = time;
    }

    /// Forgets a board whose place the last one gets, as of so many that stay.
    pub(super) fn forget_board(&mut self, board: usize, staying: usize) {
        self.boards.resize(staying + 1, None);
        self.boards.swap_remove(board);
    }

    /// Takes all boards for new ones; time goes on.
    pub(super) fn forget_boards(&mut self) {
        self.boards.clear();
    }

    /// The time of a board's next packet.
    pub(super) fn follow(&mut self, board: usize, stamp: Stamp) -> (i64, Option<ClockEvent>) {
        if self.boards.len() <= board {
            self.boards.resize(board + 1, None);
        }
        let uptime = i64::from(stamp.uptime_ms) * MILLI;
        let (zero, time, event) = match self.boards[board] {
            None => (self.now - uptime, self.now, Some(ClockEvent::FirstPacket)),
            Some(course) if course.last == stamp => (course.zero, course.last_time, None),
            Some(course) if stamp.uptime_ms >= course.last.uptime_ms => {
                let natural = course.zero.saturating_add(uptime);
                (course.zero, natural.max(course.last_time + 1), None)
            }
            Some(course) if wraps(course.last.uptime_ms, stamp.uptime_ms, Duration::ZERO) => {
                let zero = course.zero.saturating_add((1 << 32) * MILLI);
                (zero, zero.saturating_add(uptime), Some(ClockEvent::Wrapped))
            }
            Some(course) => {
                let soonest = course.last_time.saturating_add(uptime.max(1));
                let time = soonest.max(self.now);
                (time - uptime, time, Some(ClockEvent::Rebooted))
            }
        };
        self.boards[board] = Some(Course {
            zero,
            last: stamp,
            last_time: time,
        });
        self.now = self.now.max(time);
        (time, event)
    }
}
