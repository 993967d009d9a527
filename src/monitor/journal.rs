//! What the journal shows of itself.

use serde::{Deserialize, Serialize};

use super::SinkId;
use crate::telemetry::Timestamp;

/// A place in the journal: behind the row with this sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Position {
    /// The last row before this place; 0: before the first one.
    pub sequence: u64,
    /// Messages before this place.
    pub total: u64,
}

/// The journal at one instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalStatus {
    /// Where packets are written.
    pub state: JournalState,
    /// Since when.
    pub since: Timestamp,
    /// The last thing that went wrong, in plain words; stays when all is well again.
    pub notice: Option<String>,
    /// Behind the newest row.
    pub end: Position,
    /// Messages stored, delivered ones included.
    pub stored: u64,
    /// Messages that may be stored.
    pub max_messages: u64,
    /// Entries that left the full table `rejected` before their time, since the journal was opened.
    #[serde(default)]
    pub rejected_dropped: u64,
    /// Bytes that the process has written to disks, most of them here; `None`: the system does not say.
    #[serde(default)]
    pub write_bytes: Option<u64>,
    /// The enabled sinks.
    pub sinks: Vec<SinkBacklog>,
}

/// Where packets are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum JournalState {
    /// Into the file.
    File,
    /// Into memory, as configured.
    Memory,
    /// Into memory, because the file cannot be written.
    Fallback {
        /// Why not.
        reason: String,
    },
    /// Nowhere: the journal is closed.
    Closed,
}

/// What one sink has before it and what it lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkBacklog {
    /// Which sink.
    pub sink: SinkId,
    /// Messages stored that it has not acknowledged.
    pub depth: u64,
    /// Messages that went before it could read them, since the journal was opened.
    pub dropped: u64,
    /// How far it has acknowledged.
    pub acknowledged: Position,
    /// Of those that wait, messages that it had acknowledged before it was taken back.
    #[serde(default)]
    pub again: u64,
}

impl JournalStatus {
    /// A sink's part; `None`: it is not enabled.
    pub fn sink(&self, sink: &SinkId) -> Option<&SinkBacklog> {
        self.sinks.iter().find(|backlog| backlog.sink == *sink)
    }
}
