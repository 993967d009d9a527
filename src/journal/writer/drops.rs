//! Says what the sinks lose: when it begins, in sums while it lasts, and when it has ended.

use tracing::warn;

use crate::journal::shared::Shared;
use crate::monitor::{LinkKind, SinkId};
use crate::repeated::Topic;

const DROPS: Topic = Topic::new("drops");

#[derive(Debug)]
pub(super) struct Drops {
    /// Messages dropped, of each enabled sink.
    seen: Vec<(SinkId, u64)>,
}

impl Drops {
    /// Begins with what was dropped before the journal was opened.
    pub(super) fn new(seen: Vec<(SinkId, u64)>) -> Self {
        Self { seen }
    }

    /// Looks whether something was dropped since the last time.
    pub(super) fn watch(&mut self, shared: &Shared) {
        let (dropped, stored) = {
            let ledger = shared.ledger();
            (ledger.dropped(), ledger.stored())
        };
        for (sink, dropped) in &dropped {
            let before = self.seen.iter().find(|(known, _)| known == sink);
            let more = before.map_or(0, |(_, before)| dropped.saturating_sub(*before));
            if more > 0 {
                announce(sink, more, stored, shared);
            }
        }
        self.seen = dropped;
    }
}

fn announce(sink: &SinkId, dropped: u64, stored: u64, shared: &Shared) {
    let (journal, max_messages) = (shared.name.clone(), shared.max_messages);
    let link = sink.link().clone();
    DROPS.count(sink.as_str(), "", dropped, move |sum| {
        let lost = sum.amount();
        let of = |kind| (link.kind() == kind).then_some(lost);
        let name = (!link.is_only()).then(|| link.as_str());
        if sum.is_over() {
            warn!(
                journal = %journal.display(),
                mqtt = of(LinkKind::Mqtt),
                influxdb = of(LinkKind::Influxdb),
                sink = name,
                repeated = sum.words(),
                "End of the drops: so many messages went before they could be delivered.",
            );
        } else {
            warn!(
                journal = %journal.display(),
                stored,
                max_messages,
                mqtt = of(LinkKind::Mqtt),
                influxdb = of(LinkKind::Influxdb),
                sink = name,
                repeated = sum.words(),
                "Messages are dropped before they could be delivered: the journal is full or damaged.",
            );
        }
    });
}
