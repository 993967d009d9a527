//! What every commit is made with, ordinary or not.

use std::sync::Arc;
use std::time::Duration;

use crate::journal::Position;
use crate::journal::inbox::Work;
use crate::journal::shared::Shared;
use crate::journal::store::{Batch, Limits, NamedPosition, Store};

/// Messages kept in memory while the file cannot be written: some megabytes, and more than one
/// group commit, which would otherwise not survive the moment.
const MAX_MESSAGES: u64 = 50_000;

/// The terms of a commit.
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) shared: Arc<Shared>,
    /// Whether packets are on the disk when they are committed.
    pub(super) durable: bool,
    /// How long after that at the latest, where they are not.
    pub(super) sync_interval: Option<Duration>,
    pub(super) max_bytes: Option<u64>,
    /// Whether there is no file, as configured.
    pub(super) is_in_memory: bool,
}

impl Terms {
    /// Whether what comes packet by packet waits in a tail for its way into the file: not where commits do
    /// not wait for the disk anyway.
    pub(super) fn has_tail(&self) -> bool {
        !self.is_in_memory && (self.durable || self.sync_interval.is_some())
    }

    /// What was taken from the inbox, for the place where the journal ends.
    pub(super) fn batch<'a>(
        start: Position,
        work: &'a Work,
        cursors: &'a [NamedPosition],
    ) -> Batch<'a> {
        Batch {
            start,
            packets: &work.packets,
            cursors,
            rejections: &work.rejections,
            set_aside: &work.set_aside,
            names: &work.names,
            nodes: work.nodes.as_deref(),
            sent_on: &[],
        }
    }

    pub(super) fn file_limits(&self, file: &Store) -> Limits {
        let ledger = self.shared.ledger();
        let inside = ledger.missing.after(file.extent().first.total);
        Limits {
            max_messages: self.shared.max_messages.saturating_add(inside),
            max_bytes: self.max_bytes,
        }
    }

    pub(super) fn memory_limits(&self) -> Limits {
        let max_messages = self.shared.max_messages;
        Limits {
            max_messages: if self.is_in_memory {
                max_messages
            } else {
                max_messages.min(MAX_MESSAGES)
            },
            max_bytes: self.max_bytes,
        }
    }
}
