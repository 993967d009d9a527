//! What is found wrong in one look, and what it is looked at by.

use std::collections::VecDeque;
use std::time::Duration;

use super::{ProblemKind, Severity};
use crate::monitor::Snapshot;

/// How far is looked back.
const WINDOW: Duration = Duration::from_mins(5);

/// What is counted is noted so often.
const NOTED_EVERY: Duration = Duration::from_secs(2);

/// What was written is looked at over this stretch; a shorter one says nothing of a day.
const HOUR: Duration = Duration::from_hours(1);

/// What was written is noted so often.
const WRITTEN_EVERY: Duration = Duration::from_mins(1);

/// What one look shows to be wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) kind: ProblemKind,
    pub(super) severity: Severity,
    pub(super) concerns: String,
    pub(super) sentence: String,
    pub(super) fix: String,
}

/// What was counted at a time.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    at: Duration,
    sinks: Vec<(String, SinkTally)>,
    set_aside: u64,
    drifts: u64,
}

/// Of a sink.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SinkTally {
    pub(super) depth: u64,
    pub(super) dropped: u64,
    pub(super) rejected: u64,
}

/// Notes what is counted, for later looks.
pub(super) fn tally(tallies: &mut VecDeque<Tally>, snapshot: &Snapshot, now: Duration) {
    let last = tallies.back().map(|last| last.at);
    if last.is_some_and(|last| now.saturating_sub(last) < NOTED_EVERY) {
        return;
    }
    let sinks = snapshot.sinks.iter().map(|sink| {
        let tally = SinkTally {
            depth: sink.queue_depth,
            dropped: sink.dropped,
            rejected: sink.rejected,
        };
        (sink.sink.to_string(), tally)
    });
    tallies.push_back(Tally {
        at: now,
        sinks: sinks.collect(),
        set_aside: set_aside(snapshot),
        drifts: snapshot.telemetry.clock_drifts,
    });
    while tallies
        .front()
        .is_some_and(|first| now.saturating_sub(first.at) > WINDOW)
    {
        tallies.pop_front();
    }
}

/// What the process had written to disks, minute by minute, for an hour.
#[derive(Debug, Default)]
pub(super) struct Written(VecDeque<(Duration, u64)>);

impl Written {
    /// Notes what was written by `now`.
    pub(super) fn note(&mut self, bytes: Option<u64>, now: Duration) {
        let Some(bytes) = bytes else { return };
        let Self(noted) = self;
        let last = noted.back().map(|(at, _)| *at);
        if last.is_some_and(|last| now.saturating_sub(last) < WRITTEN_EVERY) {
            return;
        }
        noted.push_back((now, bytes));
        // The first of them stays an hour old.
        while noted
            .get(1)
            .is_some_and(|(at, _)| now.saturating_sub(*at) >= HOUR)
        {
            noted.pop_front();
        }
    }

    /// Bytes a day, by the last hour; `None`: it is not over yet.
    pub(super) fn per_day(&self) -> Option<f64> {
        let (first, last) = (self.0.front()?, self.0.back()?);
        let stretch = last.0.saturating_sub(first.0);
        let bytes = last.1.saturating_sub(first.1) as f64;
        (stretch >= HOUR).then(|| bytes * 86_400.0 / stretch.as_secs_f64())
    }
}

/// Readings that were set aside.
pub(super) fn set_aside(snapshot: &Snapshot) -> u64 {
    let reasons = snapshot.telemetry.readings_rejected.iter();
    reasons.map(|(_, count)| count).sum()
}

/// The gateway at one look, and what was counted before.
pub(super) struct View<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) tallies: &'a VecDeque<Tally>,
    pub(super) written: &'a Written,
    pub(super) now: Duration,
    pub(super) is_known: &'a dyn Fn(ProblemKind, &str) -> bool,
}

impl View<'_> {
    /// Whether something is a problem already: what ends it lies further than what begins it.
    pub(super) fn is_known(&self, kind: ProblemKind, concerns: &str) -> bool {
        (self.is_known)(kind, concerns)
    }

    /// What a sink had counted `ago`, and how long ago that really was.
    pub(super) fn sink_before(&self, sink: &str, ago: Duration) -> Option<(SinkTally, Duration)> {
        let tally = self.before(ago)?;
        let of_sink = tally.sinks.iter().find(|(name, _)| name == sink);
        Some((of_sink?.1, self.now.saturating_sub(tally.at)))
    }

    /// Readings set aside within five minutes.
    pub(super) fn set_aside_lately(&self) -> u64 {
        let before = self.before(WINDOW).map_or(0, |tally| tally.set_aside);
        set_aside(self.snapshot).saturating_sub(before)
    }

    /// How often board and gateway clock drifted apart within five minutes.
    pub(super) fn drifts_lately(&self) -> u64 {
        let before = self.before(WINDOW).map_or(0, |tally| tally.drifts);
        self.snapshot.telemetry.clock_drifts.saturating_sub(before)
    }

    /// The oldest tally that is no older.
    fn before(&self, ago: Duration) -> Option<&Tally> {
        let mut tallies = self.tallies.iter();
        tallies.find(|tally| self.now.saturating_sub(tally.at) <= ago)
    }
}
