//! Packets that were recorded: when each was measured follows from when one of them was.

use std::collections::VecDeque;
use std::time::Duration;

use super::track::Track;
use super::{ClockEvent, MAX_BOARDS, Stamp};
use crate::telemetry::Timestamp;

/// Notes that are looked through for the one of a packet: the others are of packets that were being
/// read when the recording began.
const LOOK_AHEAD: usize = 16;

/// A longer gap before the last packet is a damaged count.
const LONGEST_LAST_GAP: u32 = 3_600_000;

/// When a packet was measured, noted while it was live. What a board sends from this packet on counts
/// from the same time, up to the next note.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TimeNote {
    /// The board.
    pub board: String,
    /// Its count in this packet.
    pub ts: u32,
    /// When it was measured.
    pub event_time: Timestamp,
    /// Whether its board counts nothing: the note is of this packet alone, and `ts` is the checksum of
    /// its frame.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub arrival: bool,
}

/// What is known of a recording before it is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordedTimes {
    /// When its first packet was measured.
    pub start: Timestamp,
    /// What was noted when it was made; may be nothing.
    pub notes: Vec<TimeNote>,
}

/// A recording while it is read.
#[derive(Debug)]
pub(super) struct Recording {
    start: Timestamp,
    track: Track,
    notes: Vec<(String, VecDeque<TimeNote>)>,
    /// Notes of packets whose boards count nothing.
    arrivals: VecDeque<TimeNote>,
    last_arrival: Timestamp,
}

impl Recording {
    pub(super) fn new(times: RecordedTimes) -> Self {
        let mut notes: Vec<(String, VecDeque<TimeNote>)> = Vec::new();
        let (arrivals, counted): (VecDeque<TimeNote>, VecDeque<TimeNote>) =
            times.notes.into_iter().partition(|note| note.arrival);
        for note in counted {
            let place = notes.iter().position(|(board, _)| *board == note.board);
            if let Some(place) = place {
                notes[place].1.push_back(note);
            } else if notes.len() < MAX_BOARDS {
                notes.push((note.board.clone(), VecDeque::from([note])));
            }
        }
        Self {
            start: times.start,
            track: Track::default(),
            notes,
            arrivals,
            last_arrival: times.start,
        }
    }

    /// When a packet arrived whose board counts nothing. What nothing was noted of comes with the one
    /// before.
    pub(super) fn arrival(&mut self, checksum: u32) -> Timestamp {
        let mut ahead = self.arrivals.iter().take(LOOK_AHEAD);
        if let Some(place) = ahead.position(|note| note.ts == checksum)
            && let Some(note) = self.arrivals.drain(..=place).next_back()
        {
            self.last_arrival = note.event_time;
        }
        self.last_arrival
    }

    /// The time of the next packet.
    pub(super) fn follow(
        &mut self,
        board: usize,
        name: &str,
        stamp: Stamp,
    ) -> (Timestamp, Option<ClockEvent>) {
        let noted = self.noted(board, name, stamp);
        let (time, event) = self.track.follow(board, stamp);
        let Some(event_time) = noted else {
            return (Timestamp(self.start.0.saturating_add(time)), event);
        };
        let time = event_time.0.saturating_sub(self.start.0);
        self.track.settle(board, stamp, time);
        (event_time, event)
    }

    /// What notes say about a packet, if they say anything.
    fn noted(&mut self, board: usize, name: &str, stamp: Stamp) -> Option<Timestamp> {
        if self.track.is_again(board, stamp) {
            return None;
        }
        let (_, notes) = self.notes.iter_mut().find(|(noted, _)| noted == name)?;
        let mut ahead = notes.iter().take(LOOK_AHEAD);
        if let Some(place) = ahead.position(|note| note.ts == stamp.uptime_ms) {
            return notes
                .drain(..=place)
                .next_back()
                .map(|note| note.event_time);
        }
        // The noted packet was half read when the recording began.
        let is_first = !self.track.has(board);
        let note = notes.pop_front_if(|note| is_first && note.ts <= stamp.uptime_ms)?;
        let since = i64::from(stamp.uptime_ms - note.ts);
        Some(note.event_time.plus_millis(since))
    }

    /// The count of a board's last packet was too high, as its next one tells.
    pub(super) fn correct(&mut self, board: usize, next: Stamp) {
        self.track.correct(board, next);
    }

    pub(super) fn forget_board(&mut self, board: usize, staying: usize) {
        self.track.forget_board(board, staying);
    }

    pub(super) fn forget_boards(&mut self) {
        self.track.forget_boards();
    }
}

/// How long a recording is, found by the counts in it alone.
#[derive(Debug, Default)]
pub struct RecordedSpan {
    track: Track,
    boards: Vec<Counts>,
}

/// A count that stands out from those around it is damage, so each waits for the next.
#[derive(Debug)]
struct Counts {
    board: Vec<u8>,
    last: Option<u32>,
    pending: u32,
}

impl RecordedSpan {
    /// Takes the next packet: its board, by whatever name, and its count.
    pub fn take(&mut self, board: &[u8], uptime_ms: u32) {
        let place = self.boards.iter().position(|counts| counts.board == board);
        let Some(place) = place else {
            if self.boards.len() < MAX_BOARDS {
                self.boards.push(Counts {
                    board: board.to_vec(),
                    last: None,
                    pending: uptime_ms,
                });
            }
            return;
        };
        let counts = &mut self.boards[place];
        let pending = std::mem::replace(&mut counts.pending, uptime_ms);
        let stands_out = counts
            .last
            .is_some_and(|last| last <= uptime_ms && !(last..=uptime_ms).contains(&pending));
        if !stands_out {
            counts.last = Some(pending);
            self.track.follow(place, Stamp::of_count(pending));
        }
    }

    /// From the first packet to the last.
    pub fn end(mut self) -> Duration {
        for (place, counts) in self.boards.iter().enumerate() {
            let gap = counts
                .pending
                .saturating_sub(counts.last.unwrap_or(counts.pending));
            if gap <= LONGEST_LAST_GAP {
                self.track.follow(place, Stamp::of_count(counts.pending));
            }
        }
        Duration::from_nanos(u64::try_from(self.track.now()).unwrap_or(0))
    }
}
