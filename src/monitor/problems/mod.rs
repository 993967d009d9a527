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

use super::{Problem, ProblemKind, Severity, Snapshot};
use crate::telemetry::Timestamp;
use finding::{Finding, Tally, View, Written};

/// Problems listed; with more of them, the first ones say enough.
const MAX_PROBLEMS: usize = 200;

/// The words of a problem that lasts are renewed at most so often: they go to brokers.
const RENEWED_EVERY: Duration = Duration::from_mins(1);

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
    written: Written,
}

impl Problems {
    /// Looks at the gateway as it is `now`, by a clock that is never set. Returns what changed.
    pub fn look(&mut self, snapshot: &Snapshot, now: Duration) -> Vec<ProblemChange> {
        finding::tally(&mut self.tallies, snapshot, now);
        self.written.note(snapshot.journal.write_bytes, now);
        let is_known = |kind: ProblemKind, concerns: &str| {
            let known = self.known.get(&(kind, concerns.to_owned()));
            known.is_some_and(|known| known.has_begun)
        };
        let view = View {
            snapshot,
            tallies: &self.tallies,
            written: &self.written,
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
        let has_lasted = now.saturating_sub(known.first_found) >= patience(kind).0;
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
            let stays = away.is_zero() || known.has_begun && away < patience(*kind).1;
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

/// How long it has to last to be a problem, and to be away to be none.
fn patience(kind: ProblemKind) -> (Duration, Duration) {
    let (begins, ends) = match kind {
        ProblemKind::LinkDown => (1_500, 2_000),
        ProblemKind::LinkRefused | ProblemKind::LinkHeld => (0, 1_000),
        ProblemKind::BacklogGrows => (0, 15_000),
        ProblemKind::JournalLogGrows => (3_000, 5_000),
        ProblemKind::SourceSilent
        | ProblemKind::NodeSilent
        | ProblemKind::ValueBeyondLimits
        | ProblemKind::LineDamaged
        | ProblemKind::ReadingsSetAside
        | ProblemKind::ReadingsDropped
        | ProblemKind::JournalInMemory
        | ProblemKind::DiskNearlyFull
        | ProblemKind::CardWears
        | ProblemKind::ClockWrong => (0, 0),
    };
    (Duration::from_millis(begins), Duration::from_millis(ends))
}
