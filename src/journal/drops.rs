//! Says what the sinks lose: once when it begins, once when it has ended.

use std::time::{Duration, Instant};

use tracing::warn;

use super::shared::Shared;
use crate::monitor::SinkId;

/// Without a drop for so long, an episode of drops is over.
const EPISODE_GAP: Duration = Duration::from_mins(1);

/// Messages dropped, by sink.
type Counts = [u64; SinkId::ALL.len()];

#[derive(Debug)]
pub(super) struct Drops {
    seen: Counts,
    episode: Option<Episode>,
}

#[derive(Debug)]
struct Episode {
    before: Counts,
    last: Instant,
}

impl Drops {
    /// Begins with what was dropped before the journal was opened.
    pub(super) fn new(seen: Counts) -> Self {
        Self {
            seen,
            episode: None,
        }
    }

    /// Looks whether something was dropped since the last time.
    pub(super) fn watch(&mut self, shared: &Shared) {
        let (dropped, stored) = {
            let ledger = shared.ledger();
            (ledger.dropped(), ledger.stored())
        };
        if self.seen == dropped {
            let over = |episode: &Episode| episode.last.elapsed() >= EPISODE_GAP;
            if self.episode.as_ref().is_some_and(over) {
                self.end(shared);
            }
            return;
        }
        if self.episode.is_none() {
            let losing = SinkId::ALL
                .into_iter()
                .filter(|sink| dropped[*sink as usize] > self.seen[*sink as usize]);
            warn!(
                journal = %shared.name.display(),
                stored,
                max_messages = shared.max_messages,
                sinks = losing.map(SinkId::name).collect::<Vec<_>>().join(","),
                "Messages are dropped before they could be delivered: the journal is full or damaged.",
            );
        }
        let before = self.episode.take().map(|episode| episode.before);
        self.episode = Some(Episode {
            before: before.unwrap_or(self.seen),
            last: Instant::now(),
        });
        self.seen = dropped;
    }

    /// Ends an episode, if there is one.
    pub(super) fn end(&mut self, shared: &Shared) {
        let Some(Episode { before, .. }) = self.episode.take() else {
            return;
        };
        let lost = |sink| self.seen[sink as usize].saturating_sub(before[sink as usize]);
        warn!(
            journal = %shared.name.display(),
            mqtt = lost(SinkId::Mqtt),
            influxdb = lost(SinkId::Influxdb),
            "End of the drops: so many messages went before they could be delivered.",
        );
    }
}
