//! How often a node usually reports.

use std::collections::VecDeque;
use std::time::Duration;

/// Pauses between packets by which the usual interval is judged.
const PAUSES: usize = 9;

/// Fewer of them say nothing yet.
const ENOUGH: usize = 2;

/// The usual interval of a node of which too little is known.
const UNKNOWN: Duration = Duration::from_mins(1);

/// A node that reports more often is not called stale for a hiccup.
const SHORTEST: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Interval {
    configured: Option<Duration>,
    pauses: VecDeque<Duration>,
}

impl Interval {
    /// As it is configured, or else as it was once.
    pub(super) fn new(configured: Option<Duration>, before: Option<Duration>) -> Self {
        let pauses = before.map(|it| [it; ENOUGH]);
        Self {
            configured,
            pauses: pauses.into_iter().flatten().collect(),
        }
    }

    pub(super) fn note(&mut self, pause: Duration) {
        self.pauses.push_back(pause);
        if self.pauses.len() > PAUSES {
            self.pauses.pop_front();
        }
    }

    /// What is configured or was learnt. The median: one outage does not make a habit.
    pub(super) fn known(&self) -> Option<Duration> {
        if self.configured.is_some() {
            return self.configured;
        }
        if self.pauses.len() < ENOUGH {
            return None;
        }
        let mut pauses: Vec<Duration> = self.pauses.iter().copied().collect();
        pauses.sort_unstable();
        pauses.get(pauses.len() / 2).copied()
    }

    /// What silence is measured by.
    pub(super) fn usual(&self) -> Duration {
        match self.configured {
            Some(configured) => configured,
            None => self.known().unwrap_or(UNKNOWN).max(SHORTEST),
        }
    }
}
