//! What is wrong now, and what to do about it. Pure: it follows from snapshots and from the times at
//! which they were looked at.
//!
//! A finding is what a snapshot shows to be wrong. It becomes a problem when it has lasted for a moment,
//! and ends when it has been away for one, so that each begins once and ends once.

mod finding;
mod links;
mod storage;
mod telemetry;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Snapshot;
use crate::telemetry::Timestamp;
use finding::{Finding, Tally, View};

/// Problems listed; with more of them, the first ones say enough.
const MAX_PROBLEMS: usize = 200;

/// The words of a problem that lasts are renewed at most so often: they go to brokers.
const RENEWED_EVERY: Duration = Duration::from_mins(1);

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
    /// The gateway's clock is not right, or drifts apart from a board's.
    ClockWrong,
}

impl ProblemKind {
    /// All kinds.
    pub const ALL: [Self; 14] = [
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
            Self::ClockWrong => "clock_wrong",
        }
    }

    /// How long it has to last to be a problem, and to be away to be none.
    fn patience(self) -> (Duration, Duration) {
        let (begins, ends) = match self {
            Self::LinkDown => (1_500, 2_000),
            Self::LinkRefused | Self::LinkHeld => (0, 1_000),
            Self::BacklogGrows => (0, 15_000),
            Self::JournalLogGrows => (3_000, 5_000),
            Self::SourceSilent
            | Self::NodeSilent
            | Self::ValueBeyondLimits
            | Self::LineDamaged
            | Self::ReadingsSetAside
            | Self::ReadingsDropped
            | Self::JournalInMemory
            | Self::DiskNearlyFull
            | Self::ClockWrong => (0, 0),
        };
        (Duration::from_millis(begins), Duration::from_millis(ends))
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

/// A problem that begins or ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProblemChange {
    /// It begins.
    Begins(Problem),
    /// It ends.
    Ends(Problem),
}

#[derive(Debug)]
struct Known {
    problem: Problem,
    first_found: Duration,
    last_found: Duration,
    renewed: Duration,
    /// Whether it has lasted for long enough.
    has_begun: bool,
}

/// Follows what is wrong.
#[derive(Debug, Default)]
pub struct Problems {
    known: BTreeMap<(ProblemKind, String), Known>,
    tallies: VecDeque<Tally>,
}

impl Problems {
    /// Looks at the gateway as it is `now`, by a clock that is never set. Returns what changed.
    pub fn look(&mut self, snapshot: &Snapshot, now: Duration) -> Vec<ProblemChange> {
        finding::tally(&mut self.tallies, snapshot, now);
        let is_known = |kind: ProblemKind, concerns: &str| {
            let known = self.known.get(&(kind, concerns.to_owned()));
            known.is_some_and(|known| known.has_begun)
        };
        let view = View {
            snapshot,
            tallies: &self.tallies,
            now,
            is_known: &is_known,
        };
        let mut findings = links::find(&view);
        findings.extend(telemetry::find(&view));
        findings.extend(storage::find(&view));
        findings.truncate(MAX_PROBLEMS);
        let mut changes = Vec::new();
        for finding in findings {
            changes.extend(self.take(finding, snapshot.taken, now));
        }
        changes.extend(self.end(now));
        changes
    }

    fn take(&mut self, finding: Finding, at: Timestamp, now: Duration) -> Option<ProblemChange> {
        let Finding {
            kind,
            severity,
            concerns,
            sentence,
            fix,
        } = finding;
        let key = (kind, concerns.clone());
        let known = self.known.entry(key).or_insert_with(|| Known {
            problem: Problem {
                kind,
                severity,
                concerns,
                since: at,
                sentence: sentence.clone(),
                fix: fix.clone(),
            },
            first_found: now,
            last_found: now,
            renewed: now,
            has_begun: false,
        });
        known.last_found = now;
        let is_graver = known.problem.severity != severity;
        if is_graver || !known.has_begun || now.saturating_sub(known.renewed) >= RENEWED_EVERY {
            known.renewed = now;
            known.problem.severity = severity;
            known.problem.sentence = sentence;
            known.problem.fix = fix;
        }
        let has_lasted = now.saturating_sub(known.first_found) >= kind.patience().0;
        if known.has_begun || !has_lasted {
            return None;
        }
        known.has_begun = true;
        Some(ProblemChange::Begins(known.problem.clone()))
    }

    /// Ends what was not found for long enough.
    fn end(&mut self, now: Duration) -> Vec<ProblemChange> {
        let mut ended = Vec::new();
        self.known.retain(|(kind, _), known| {
            let away = now.saturating_sub(known.last_found);
            let stays = away.is_zero() || known.has_begun && away < kind.patience().1;
            if !stays && known.has_begun {
                ended.push(ProblemChange::Ends(known.problem.clone()));
            }
            stays
        });
        ended
    }

    /// What is wrong now, the gravest first, of these the oldest.
    pub fn all(&self) -> Vec<Problem> {
        let begun = self.known.values().filter(|known| known.has_begun);
        let mut all: Vec<Problem> = begun.map(|known| known.problem.clone()).collect();
        all.sort_by_key(|it| (std::cmp::Reverse(it.severity), it.since, it.kind));
        all
    }
}
