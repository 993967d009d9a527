//! Gives readings the time at which the board measured them.
//!
//! The board counts milliseconds since it booted. Its clock is *anchored* to the gateway's by a packet
//! whose time is known: the anchor is the gateway's time at which the board would have counted zero.
//! From then on a packet's time is anchor + count, so that readings keep the board's own spacing
//! however unevenly they arrive. No packet is from the future, two of a board never share a time, and
//! later ones have later times. The anchor is set anew when it proves wrong:
//!
//! | what is seen | what it is | what is done |
//! | --- | --- | --- |
//! | the count steps back, from close to its end to close to its beginning | the `u32` wrapped, every 49.7 days | the count goes on, times too |
//! | the count steps back otherwise | the board rebooted | anchored as at the first packet |
//! | both disagree, and the gateway's wall clock moved by as much against its monotonic clock | the gateway's clock was set (NTP at boot) | anchored at this packet |
//! | packets arrive faster than they were measured, and would be ahead of the gateway's clock | a backlog without an anchor | anchored at its end |
//! | both disagree, the board is behind, and packets arrive faster than they were measured | a stalled line delivers | the anchor is kept |
//! | both disagree for longer than half a minute, or the board gets ahead | one of the clocks drifts | anchored at this packet |
//!
//! The first packet after an anchor was lost may be a live one, or the oldest of a backlog: of what a
//! port's buffer or a pipe held. So it is held for some milliseconds. What follows at the pace at which
//! it was measured is live, and from then on nothing is held. What follows faster is a burst, which is
//! held until it is over, and ends at the time of reading. What is held is bounded in number and time;
//! a burst that is longer goes out in parts, and where a part does not fit between the last one and
//! now, its spacing is pushed together. See [`burst`].
//!
//! Where it is known when a recording began, nothing is held: its packets follow on each other by the
//! board's clock from there on.

mod burst;
mod dated;
mod device;
mod recording;
mod shift;
mod track;
mod watch;

use std::time::Duration;

use super::{Decoded, Timestamp};
use burst::Burst;
use dated::Dates;
pub use dated::{Dated, checksum};
pub(super) use device::wraps;
use device::{DeviceClock, Judged};
use recording::Recording;
pub use recording::{RecordedSpan, RecordedTimes, TimeNote};
pub use shift::TimeShift;
pub use watch::ClockWatch;

/// Boards that are told apart in one stream; a source has one, and a damaged name must not become
/// another for ever.
pub(super) const MAX_BOARDS: usize = 16;

/// When the gateway received something, by both of its clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// The wall clock's time; can be set while the gateway runs.
    pub wall: Timestamp,
    /// Time since some fixed moment; never set, never steps.
    pub monotonic: Duration,
}

/// What the times of arrival say about the times of measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timeline {
    /// Packets arrive as they are measured.
    Live,
    /// They do, but for those that had been waiting when they were read.
    Line,
}

/// Why a clock was anchored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockEvent {
    /// The first packet.
    FirstPacket,
    /// The board's count began again after 2³² ms.
    Wrapped,
    /// The board restarted.
    Rebooted,
    /// The gateway's clock was set.
    GatewayClockSet,
    /// Board and gateway ran apart.
    Drifted,
    /// The time that the board told cannot be right.
    NotSet,
}

/// What the clock has to know of a packet. Two that are equal, one behind the other, are the same
/// packet, sent twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Milliseconds since the board booted.
    pub uptime_ms: u32,
    /// How many readings it carries.
    pub readings: usize,
    /// Tells packets of the same millisecond from each other.
    pub content: u64,
}

impl Stamp {
    /// The count was too high, as the next packet tells.
    fn correct(&mut self, next: Self) {
        self.uptime_ms = self.uptime_ms.min(next.uptime_ms.saturating_sub(1));
    }

    /// The stamp of a packet.
    pub fn of(decoded: &Decoded) -> Self {
        let start = decoded.radio_count.map_or(1, |count| u64::from(count) + 2);
        let content = decoded.readings.iter().fold(start, |content, reading| {
            let names = reading.node.as_str().len() << 8 | reading.metric.as_str().len();
            let mixed = content.rotate_left(5) ^ reading.value.to_bits() ^ names as u64;
            mixed.wrapping_mul(0x517c_c1b7_2722_0a95)
        });
        Self {
            uptime_ms: decoded.uptime_ms(),
            readings: decoded.readings.len(),
            content,
        }
    }

    /// The stamp of a packet of which nothing else counts.
    fn of_count(uptime_ms: u32) -> Self {
        Self {
            uptime_ms,
            readings: 0,
            content: 0,
        }
    }
}

/// A packet that has got its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timed<T> {
    /// The packet.
    pub payload: T,
    /// When it was read.
    pub received: Received,
    /// When it was measured.
    pub event_time: Timestamp,
    /// Why its board's clock was anchored for it, if it was.
    pub event: Option<ClockEvent>,
}

/// The clocks of the boards in one stream of packets, and what of it is held.
#[derive(Debug)]
pub struct Clocks<T> {
    timeline: Timeline,
    tolerance: Duration,
    boards: Vec<String>,
    devices: Vec<DeviceClock>,
    burst: Burst<T>,
    dates: Dates,
    recording: Option<Recording>,
    /// `None`: nothing is noted.
    notes: Option<Vec<TimeNote>>,
    /// The time at each board's count of zero, as noted last.
    noted_zeros: Vec<Option<Timestamp>>,
    /// When something was read last.
    now: Duration,
}

impl<T> Clocks<T> {
    /// Clocks that were not anchored yet. `tolerance` is how far a board's and the gateway's may
    /// disagree.
    pub fn new(timeline: Timeline, tolerance: Duration) -> Self {
        Self {
            timeline,
            tolerance,
            boards: Vec::new(),
            devices: Vec::new(),
            burst: Burst::default(),
            dates: Dates::default(),
            recording: None,
            notes: None,
            noted_zeros: Vec::new(),
            now: Duration::ZERO,
        }
    }

    /// From here on the stream is a recording.
    pub fn begin_recording(&mut self, times: RecordedTimes, out: &mut Vec<Timed<T>>) {
        self.release(out);
        self.forget_boards();
        self.recording = Some(Recording::new(times));
    }

    /// Whether the times are those of a recording, which no clock of the gateway's changes.
    pub fn is_recording(&self) -> bool {
        self.recording.is_some()
    }

    /// The gateway's clock was set by so many nanoseconds, before anything that comes from here on was
    /// read: boards keep their own time.
    pub fn set_clock(&mut self, step: i64, out: &mut Vec<Timed<T>>) {
        self.release(out);
        self.noted_zeros.clear();
        self.dates.set_clock(step);
        for clock in &mut self.devices {
            clock.set_clock(step);
        }
    }

    /// Has the times of what is put out noted, so that a recording of it can be given them again.
    pub fn note(&mut self, noting: bool) {
        if self.notes.is_some() != noting {
            self.noted_zeros.clear();
            self.notes = noting.then(Vec::new);
        }
    }

    /// What was noted since this was last asked.
    pub fn take_notes(&mut self) -> Vec<TimeNote> {
        self.notes.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Takes the next packet, and puts out those that have a time by now, in the order in which they
    /// came.
    pub fn observe(
        &mut self,
        board: &str,
        stamp: Stamp,
        received: Received,
        payload: T,
        out: &mut Vec<Timed<T>>,
    ) {
        self.advance(received.monotonic, out);
        let board = self.board(board, out);
        let (event_time, event) = match self.judge(board, stamp, received) {
            Judged::At(event_time, event) if self.burst.is_empty() => (event_time, event),
            Judged::At(event_time, event) => {
                let known = (event_time, event);
                return self.burst.queue(board, stamp, received, known, payload);
            }
            Judged::Adrift(event) => {
                return self.burst.hold(board, stamp, received, event, payload);
            }
        };
        let timed = Timed {
            payload,
            received,
            event_time,
            event,
        };
        self.notes_for(board, stamp.uptime_ms, event_time);
        out.push(timed);
    }

    /// The count of a board's last packet was too high, as its next one tells: it did not restart.
    pub fn correct(&mut self, board: &str, next: Stamp) {
        let Some(board) = self.boards.iter().position(|known| known == board) else {
            return;
        };
        self.devices[board].correct(next);
        self.burst.correct(board, next);
        if let Some(recording) = &mut self.recording {
            recording.correct(board, next);
        }
    }

    /// Something was read at this time, perhaps no packet: puts out what was held long enough.
    pub fn advance(&mut self, now: Duration, out: &mut Vec<Timed<T>>) {
        self.now = now;
        if self.burst.is_over(now) {
            self.release(out);
        }
    }

    fn judge(&mut self, board: usize, stamp: Stamp, received: Received) -> Judged {
        if let Some(recording) = &mut self.recording {
            let (time, event) = recording.follow(board, &self.boards[board], stamp);
            let latest = received.wall.0.saturating_add(nanoseconds(self.tolerance));
            if time.0 <= latest {
                self.devices[board].anchor(time, stamp, received);
                return Judged::At(time, event);
            }
            // It goes on beyond the end that it was said to have.
            self.recording = None;
        }
        if self.burst.holds(board) {
            return Judged::Adrift(None);
        }
        let clock = &mut self.devices[board];
        let judged = clock.judge(stamp, received, self.tolerance);
        match judged {
            Judged::Adrift(event @ Some(_)) if self.timeline == Timeline::Live => {
                let after = clock.floor(received, self.tolerance);
                let after = after.map_or(received.wall, |floor| Timestamp(floor.0 + 1));
                let event_time = received.wall.max(after);
                clock.anchor(event_time, stamp, received);
                Judged::At(event_time, event)
            }
            judged => judged,
        }
    }

    /// How long after something was read last what is held is to be [released](Self::release), if
    /// nothing else comes; `None`: nothing is held.
    pub fn holds_for(&self) -> Option<Duration> {
        let is_held = !self.burst.is_empty();
        is_held.then(|| self.burst.deadline().saturating_sub(self.now))
    }

    /// Puts out what is held: nothing came for as long as it was to be held, or nothing will.
    pub fn release(&mut self, out: &mut Vec<Timed<T>>) {
        let released = self.burst.release(&mut self.devices, self.tolerance);
        for (board, uptime_ms, timed) in released {
            self.notes_for(board, uptime_ms, timed.event_time);
            out.push(timed);
        }
    }

    fn notes_for(&mut self, board: usize, ts: u32, event_time: Timestamp) {
        let Some(notes) = &mut self.notes else { return };
        let zero = Some(event_time.plus_millis(-i64::from(ts)));
        self.noted_zeros.resize(self.boards.len(), None);
        if self.noted_zeros[board] != zero {
            self.noted_zeros[board] = zero;
            notes.push(TimeNote {
                board: self.boards[board].clone(),
                ts,
                event_time,
                arrival: false,
            });
        }
    }

    /// The place of a board among those that are told apart.
    fn board(&mut self, name: &str, out: &mut Vec<Timed<T>>) -> usize {
        if let Some(board) = self.boards.iter().position(|board| board == name) {
            return board;
        }
        if self.boards.len() >= MAX_BOARDS {
            self.release(out);
            self.forget_boards();
        }
        self.boards.push(name.to_owned());
        self.devices.push(DeviceClock::default());
        self.boards.len() - 1
    }

    /// A board will not be heard again. What is known of it goes, and its place with it.
    pub fn forget(&mut self, name: &str, out: &mut Vec<Timed<T>>) {
        let Some(board) = self.boards.iter().position(|board| board == name) else {
            return;
        };
        self.release(out);
        self.boards.swap_remove(board);
        self.devices.swap_remove(board);
        if board < self.noted_zeros.len() {
            self.noted_zeros.resize(self.boards.len() + 1, None);
            self.noted_zeros.swap_remove(board);
        }
        if let Some(recording) = &mut self.recording {
            recording.forget_board(board, self.boards.len());
        }
    }

    fn forget_boards(&mut self) {
        self.boards.clear();
        self.devices.clear();
        self.noted_zeros.clear();
        if let Some(recording) = &mut self.recording {
            recording.forget_boards();
        }
    }
}

fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
