//! What can be wrong.

use serde::{Deserialize, Serialize};

use crate::telemetry::Timestamp;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// A link does not work and is tried again.
    LinkDown,
    /// The other side of a link said no.
    LinkRefused,
    /// A link is down on purpose.
    LinkHeld,
    /// A source is up, and no telemetry comes.
    SourceSilent,
    /// A node is not heard.
    NodeSilent,
    /// A value is beyond its limits.
    ValueBeyondLimits,
    /// Many frames arrive damaged.
    LineDamaged,
    /// Readings were set aside, or refused by a server for good.
    ReadingsSetAside,
    /// What waits for a server grows.
    BacklogGrows,
    /// What waited had to go before it was delivered.
    ReadingsDropped,
    /// The journal's file cannot be written.
    JournalInMemory,
    /// The journal's write-ahead log grows because somebody reads it for long.
    JournalLogGrows,
    /// The disk of the journal is nearly full.
    DiskNearlyFull,
    /// What is written would wear out the memory card that the journal is on.
    CardWears,
    /// The gateway's clock is not right, or drifts apart from a board's.
    ClockWrong,
}

impl ProblemKind {
    /// All kinds.
    pub const ALL: [Self; 15] = [
        Self::LinkDown,
        Self::LinkRefused,
        Self::LinkHeld,
        Self::SourceSilent,
        Self::NodeSilent,
        Self::ValueBeyondLimits,
        Self::LineDamaged,
        Self::ReadingsSetAside,
        Self::BacklogGrows,
        Self::ReadingsDropped,
        Self::JournalInMemory,
        Self::JournalLogGrows,
        Self::DiskNearlyFull,
        Self::CardWears,
        Self::ClockWrong,
    ];

    /// Its name in metrics and the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::LinkDown => "link_down",
            Self::LinkRefused => "link_refused",
            Self::LinkHeld => "link_held",
            Self::SourceSilent => "source_silent",
            Self::NodeSilent => "node_silent",
            Self::ValueBeyondLimits => "value_beyond_limits",
            Self::LineDamaged => "line_damaged",
            Self::ReadingsSetAside => "readings_set_aside",
            Self::BacklogGrows => "backlog_grows",
            Self::ReadingsDropped => "readings_dropped",
            Self::JournalInMemory => "journal_in_memory",
            Self::JournalLogGrows => "journal_log_grows",
            Self::DiskNearlyFull => "disk_nearly_full",
            Self::CardWears => "card_wears",
            Self::ClockWrong => "clock_wrong",
        }
    }
}

/// How grave a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Nothing is lost yet, and somebody should look.
    Warning,
    /// Something is lost, or is not seen, for as long as it lasts.
    Error,
}

impl Severity {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Warning, Self::Error];

    /// Its name in metrics and the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// Something that is wrong now, with what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What is wrong.
    pub kind: ProblemKind,
    /// How grave it is.
    pub severity: Severity,
    /// The link, node, value or file that it is about, as `mqtt`, `node1`, `node1 temperature`.
    pub concerns: String,
    /// When it began.
    pub since: Timestamp,
    /// What is wrong, in a sentence.
    pub sentence: String,
    /// What to do, in a sentence.
    pub fix: String,
}
