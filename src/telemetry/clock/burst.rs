//! Packets that are held until it is known when the last of them was measured.

use std::collections::VecDeque;
use std::time::Duration;

use super::device::DeviceClock;
use super::track::Track;
use super::{ClockEvent, Received, Stamp, Timed, nanoseconds};
use crate::telemetry::Timestamp;

/// How long a packet without an anchor is held while nothing follows it: it was live.
pub(super) const FIRST_LOOK: Duration = Duration::from_millis(10);

/// How long a burst may pause, or arrive at the pace at which it was measured, before it is over.
pub(super) const PAUSE: Duration = Duration::from_millis(250);

/// Packets are held for so long at the most.
pub(super) const LONGEST: Duration = Duration::from_secs(5);

/// What comes faster than it was measured by no more than this is no burst.
const UNEVENNESS: i64 = 20_000_000;

/// What is pushed together stays this far apart, which is what databases and people tell apart, …
const APART: i64 = 1_000_000;

/// … as long as it gets ahead of the time of reading by no more than this.
const LEEWAY: Duration = Duration::from_millis(100);

/// Packets that are held at the most, some megabytes.
pub(super) const MAX_PACKETS: usize = 4096;

/// Readings that are held at the most.
const MAX_READINGS: usize = 8 * MAX_PACKETS;

/// Packets on hold, in the order in which they came.
#[derive(Debug)]
pub(super) struct Burst<T> {
    held: VecDeque<Held<T>>,
    readings: usize,
    track: Track,
    /// How far reception was behind the boards' own time, at its least: the packets that were held up
    /// the least. By the monotonic clock, in nanoseconds.
    least_lag: i64,
    /// The same when a packet came faster than it was measured for the last time.
    fast_lag: i64,
    /// When that was.
    fast_at: Duration,
    began: Duration,
    came_fast: bool,
}

#[derive(Debug)]
struct Held<T> {
    board: usize,
    stamp: Stamp,
    received: Received,
    time: Time,
    event: Option<ClockEvent>,
    payload: T,
}

#[derive(Debug, Clone, Copy)]
enum Time {
    /// An anchor says it.
    Known(Timestamp),
    /// By the burst's own time.
    Within(i64),
}

impl<T> Default for Burst<T> {
    fn default() -> Self {
        Self {
            held: VecDeque::new(),
            readings: 0,
            track: Track::default(),
            least_lag: i64::MAX,
            fast_lag: i64::MAX,
            fast_at: Duration::ZERO,
            began: Duration::ZERO,
            came_fast: false,
        }
    }
}

impl<T> Burst<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Whether a board's packets are held for want of an anchor.
    pub(super) fn holds(&self, board: usize) -> bool {
        self.track.has(board)
    }

    /// The count of a board's last packet was too high, as its next one tells.
    pub(super) fn correct(&mut self, board: usize, next: Stamp) {
        self.track.correct(board, next);
    }

    /// Whether it is over by this time.
    pub(super) fn is_over(&self, now: Duration) -> bool {
        now >= self.deadline() || self.held.len() >= MAX_PACKETS || self.readings >= MAX_READINGS
    }

    /// When it is over if nothing follows.
    pub(super) fn deadline(&self) -> Duration {
        let pause = if self.came_fast { PAUSE } else { FIRST_LOOK };
        (self.fast_at + pause).min(self.began + LONGEST)
    }

    /// Holds a packet whose time is known, behind those before it.
    pub(super) fn queue(
        &mut self,
        board: usize,
        stamp: Stamp,
        received: Received,
        known: (Timestamp, Option<ClockEvent>),
        payload: T,
    ) {
        self.readings += stamp.readings;
        self.held.push_back(Held {
            board,
            stamp,
            received,
            time: Time::Known(known.0),
            event: known.1,
            payload,
        });
    }

    /// Holds a packet without an anchor. `event` is why the first one of its board has none.
    pub(super) fn hold(
        &mut self,
        board: usize,
        stamp: Stamp,
        received: Received,
        event: Option<ClockEvent>,
        payload: T,
    ) {
        let is_first = !self.track.has(board);
        let (time, followed) = self.track.follow(board, stamp);
        if self.is_empty() {
            self.began = received.monotonic;
        }
        let lag = nanoseconds(received.monotonic).saturating_sub(time);
        self.least_lag = self.least_lag.min(lag);
        if self.fast_lag == i64::MAX {
            (self.fast_lag, self.fast_at) = (lag, received.monotonic);
        } else if lag < self.fast_lag - UNEVENNESS {
            (self.fast_lag, self.fast_at) = (lag, received.monotonic);
            self.came_fast = true;
        }
        self.readings += stamp.readings;
        self.held.push_back(Held {
            board,
            stamp,
            received,
            time: Time::Within(time),
            event: if is_first { event } else { followed },
            payload,
        });
    }

    /// Gives all packets their times, anchors the clocks by them, and leaves nothing behind.
    ///
    /// The burst ends at the time of reading. What would be before the last time of its board is
    /// pushed together between that and the end.
    pub(super) fn release(
        &mut self,
        clocks: &mut [DeviceClock],
        tolerance: Duration,
    ) -> Vec<(usize, u32, Timed<T>)> {
        let Some(last) = self.held.back() else {
            return Vec::new();
        };
        let wall_ahead = last.received.wall.0 - nanoseconds(last.received.monotonic);
        let start = wall_ahead.saturating_add(self.least_lag);
        let mut spans = self.spans(start, clocks, tolerance);
        let held = std::mem::take(self).held;
        let released = held.into_iter().map(|held| {
            let event_time = match held.time {
                Time::Known(time) => time,
                Time::Within(time) => {
                    let event_time = spans[held.board].get_or_insert_default().place(time);
                    clocks[held.board].anchor(event_time, held.stamp, held.received);
                    event_time
                }
            };
            let timed = Timed {
                payload: held.payload,
                received: held.received,
                event_time,
                event: held.event,
            };
            (held.board, held.stamp.uptime_ms, timed)
        });
        released.collect()
    }

    /// Where each board's packets go when the burst's own time begins at `start`.
    fn spans(&self, start: i64, clocks: &[DeviceClock], tolerance: Duration) -> Vec<Option<Span>> {
        let mut spans: Vec<Option<Span>> = clocks.iter().map(|_| None).collect();
        for held in &self.held {
            let Time::Within(time) = held.time else {
                continue;
            };
            let span = spans[held.board].get_or_insert_with(|| {
                let floor = clocks[held.board].floor(held.received, tolerance);
                Span {
                    start,
                    first: time,
                    floor: floor.map(|floor| floor.0),
                    leeway: nanoseconds(LEEWAY.min(tolerance / 2)),
                    ..Span::default()
                }
            });
            span.last = time;
            span.packets += 1;
        }
        spans
    }
}

/// The packets of one board in a burst, and where they go.
#[derive(Debug, Default)]
struct Span {
    /// The real time at which the burst's own begins.
    start: i64,
    /// Own times of the first and the last packet.
    first: i64,
    last: i64,
    packets: i64,
    /// What all must come after.
    floor: Option<i64>,
    /// How far they may be ahead of the time of reading.
    leeway: i64,
    /// The last packet that was placed: its own time and its real one.
    placed: Option<(i64, i64)>,
}

impl Span {
    /// The real time of the next packet.
    fn place(&mut self, own: i64) -> Timestamp {
        if let Some((last_own, last)) = self.placed
            && own == last_own
        {
            return Timestamp(last);
        }
        let wanted = match self.floor {
            Some(floor) if self.start.saturating_add(self.first) <= floor => {
                self.pushed_together(own, floor)
            }
            _ => self.start.saturating_add(own),
        };
        let after = self.placed.map(|(_, last)| last).or(self.floor);
        let time = after.map_or(wanted, |after| wanted.max(after + 1));
        self.placed = Some((own, time));
        Timestamp(time)
    }

    /// Keeps the proportions of the spacing between the floor and the end.
    fn pushed_together(&self, own: i64, floor: i64) -> i64 {
        let end = self.start.saturating_add(self.last);
        let wanted = floor.saturating_add(self.packets * APART);
        let end = end.max(wanted.min(end.saturating_add(self.leeway)));
        let room = i128::from(end.saturating_sub(floor));
        let length = i128::from(self.last - self.first);
        let step = (length / i128::from(self.packets.max(1))).max(1);
        let place = i128::from(own - self.first) + step;
        let offset = room * place / (length + step);
        floor.saturating_add(i64::try_from(offset).unwrap_or(0))
    }
}
