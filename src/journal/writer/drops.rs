//! Says what the sinks lose: when it begins, in sums while it lasts, and when it has ended.

use tracing::warn;

use crate::journal::shared::Shared;
use crate::monitor::SinkId;
use crate::repeated::Topic;

const DROPS: Topic = Topic::new("drops");

/// Messages dropped, by sink.
type Counts = [u64; SinkId::ALL.len()];

#[derive(Debug)]
pub(super) struct Drops {
    seen: Counts,
}

impl Drops {
    /// Begins with what was dropped before the journal was opened.
    pub(super) fn new(seen: Counts) -> Self {
        Self { seen }
    }

    /// Looks whether something was dropped since the last time.
    pub(super) fn watch(&mut self, shared: &Shared) {
        let (dropped, stored) = {
            let ledger = shared.ledger();
            (ledger.dropped(), ledger.stored())
        };
        for sink in SinkId::ALL {
            let more = dropped[sink as usize].saturating_sub(self.seen[sink as usize]);
            if more > 0 {
                announce(sink, more, stored, shared);
            }
        }
        self.seen = dropped;
    }
}

fn announce(sink: SinkId, dropped: u64, stored: u64, shared: &Shared) {
    let (journal, max_messages) = (shared.name.clone(), shared.max_messages);
    DROPS.count(sink.name(), "", dropped, move |sum| {
        let lost = sum.amount();
        let of = |id| (sink == id).then_some(lost);
        if sum.is_over() {
            warn!(
                journal = %journal.display(),
                mqtt = of(SinkId::Mqtt),
                influxdb = of(SinkId::Influxdb),
                repeated = sum.words(),
                "End of the drops: so many messages went before they could be delivered.",
            );
        } else {
            warn!(
                journal = %journal.display(),
                stored,
                max_messages,
                mqtt = of(SinkId::Mqtt),
                influxdb = of(SinkId::Influxdb),
                repeated = sum.words(),
                "Messages are dropped before they could be delivered: the journal is full or damaged.",
            );
        }
    });
}
