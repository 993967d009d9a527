//! What is found wrong in one look, and what it is looked at by.

use std::collections::VecDeque;
use std::time::Duration;

use super::{ProblemKind, Severity};
use crate::monitor::{LinkId, Snapshot, SourceSnapshot};

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
    sources: Vec<(LinkId, SourceTally)>,
}

/// Of a source.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SourceTally {
    /// Readings that were set aside.
    pub(super) set_aside: u64,
    /// How often the clocks of board and gateway drifted apart.
    pub(super) drifts: u64,
}

impl SourceTally {
    fn of(source: &SourceSnapshot) -> Self {
        let set_aside = source.telemetry.readings_rejected.iter();
        Self {
            set_aside: set_aside.map(|(_, count)| count).sum(),
            drifts: source.telemetry.clock_drifts,
        }
    }
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
    let sources = snapshot.sources.iter();
    tallies.push_back(Tally {
        at: now,
        sinks: sinks.collect(),
        sources: sources
            .map(|it| (it.source.clone(), SourceTally::of(it)))
            .collect(),
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

    /// What a source counted within five minutes.
    pub(super) fn lately(&self, source: &SourceSnapshot) -> SourceTally {
        let now = SourceTally::of(source);
        let of_source = |tally: &Tally| {
            let mut sources = tally.sources.iter();
            Some(sources.find(|(link, _)| *link == source.source)?.1)
        };
        // One that was added since counts from then on.
        let before = self.since(WINDOW).find_map(of_source).unwrap_or(now);
        SourceTally {
            set_aside: now.set_aside.saturating_sub(before.set_aside),
            drifts: now.drifts.saturating_sub(before.drifts),
        }
    }

    /// What a problem of a source concerns that `otherwise` is said of: its name only where there are others.
    pub(super) fn concerns(&self, source: &SourceSnapshot, otherwise: &str) -> String {
        match self.snapshot.sources.as_slice() {
            [_] => otherwise.to_owned(),
            _ => source.source.to_string(),
        }
    }

    /// The oldest tally that is no older.
    fn before(&self, ago: Duration) -> Option<&Tally> {
        self.since(ago).next()
    }

    /// The tallies that are no older, the oldest first.
    fn since(&self, ago: Duration) -> impl Iterator<Item = &Tally> {
        let tallies = self.tallies.iter();
        tallies.filter(move |tally| self.now.saturating_sub(tally.at) <= ago)
    }
}
