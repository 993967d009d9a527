//! The journal: the local database that every packet is written to before anything is sent.

use crate::monitor::SinkId;
use crate::telemetry::{Reading, Timestamp};

/// A packet as the journal keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Counts rows from 1; never used twice.
    pub sequence: u64,
    /// Messages of this row and all before it, since the journal began: the difference of two
    /// totals is the number of messages between them, without counting anything.
    pub total: u64,
    /// When the gateway read it.
    pub received: Timestamp,
    /// When the board measured it.
    pub event_time: Timestamp,
    /// One message each.
    pub readings: Vec<Reading>,
}

/// A place in the journal: behind the row with this sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// The last row before this place; 0: before the first one.
    pub sequence: u64,
    /// Messages before this place.
    pub total: u64,
}

impl Row {
    /// The place behind this row.
    pub fn end(&self) -> Position {
        Position {
            sequence: self.sequence,
            total: self.total,
        }
    }
}

/// A reading that a server refused for good.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejection {
    /// Who refused it.
    pub sink: SinkId,
    /// The row it came from.
    pub sequence: u64,
    /// When it was measured.
    pub event_time: Timestamp,
    /// What was refused.
    pub reading: Reading,
    /// The server's words.
    pub reason: String,
}
