//! What the writer does between commits: removes what is old, gives room back, and looks whether all is
//! as it was.

use std::time::{Duration, Instant};

use super::{TICK, Writer};
use crate::disk_writes;
use crate::journal::error::Fault;
use crate::journal::retention::Keep;
use crate::journal::shared::{Shared, lock_store};
use crate::journal::store::Store;
use crate::repeated::Topic;
use crate::system_clock;
use crate::telemetry::Timestamp;

const FORGOTTEN: Topic = Topic::new("rejected-forgotten");

/// Rows that leave the history in one commit: less than a millisecond's work on a PC.
const PRUNE_CHUNK: usize = 100;

/// Time between two such commits while there is more to remove, so that new packets, which wait for
/// them, seldom meet one.
const PRUNE_PAUSE: Duration = Duration::from_millis(100);

/// The history may be too long by so much.
const LONGEST_SLACK: Duration = Duration::from_mins(1);

/// After the clock was set, the times of rows follow within this.
const CORRECTED_WITHIN: Duration = Duration::from_secs(10);

/// Free pages given back to the file system at a time (1 MiB).
const SHRINK_PAGES: u32 = 1024;

impl Writer {
    /// Removes what is too old, gives room back, and watches for drops. `appended` rows just came; at
    /// least as many may leave, so that the history cannot outgrow its age.
    pub(in crate::journal) fn keep_house(&mut self, appended: usize) {
        self.drops.watch(&self.shared);
        self.appended += appended;
        let now = Instant::now();
        if now < self.housekeeping_due {
            return;
        }
        self.watch_files();
        self.take_requests();
        self.sync_if_due(now);
        self.settle_if_due(now);
        self.shared.ledger().write_bytes = disk_writes::of_process();
        let more = self.prune(now).unwrap_or_else(|fault| {
            self.housekeeping_failed(&fault);
            false
        });
        self.housekeeping_due = now + if more { PRUNE_PAUSE } else { TICK };
        if !more {
            let shrunk = self.file.as_mut().map(|file| file.shrink(SHRINK_PAGES));
            if let Err(fault) = shrunk.unwrap_or(Ok(())).and_then(|()| self.save_end()) {
                self.housekeeping_failed(&fault);
            }
        }
        self.publish(&[]);
    }

    /// Has the disk take what was committed some time ago.
    fn sync_if_due(&mut self, now: Instant) {
        if self.sync_due.is_none_or(|due| due > now) {
            return;
        }
        self.sync_due = None;
        if let Err(fault) = self.sync() {
            tracing::warn!(
                journal = %self.shared.name.display(),
                error = %fault,
                "Cannot sync the journal; a power cut now may cost what came in since.",
            );
        }
    }

    /// Removes some of what is too old; returns whether there may be more.
    fn prune(&mut self, now: Instant) -> Result<bool, Fault> {
        let distrusts = self.distrusts_times();
        let keep = self.retention.look(Timestamp::now(), Instant::now());
        if distrusts {
            return Ok(false);
        }
        self.forget_gone(now)?;
        if now < self.prune_due {
            return Ok(false);
        }
        let budget = PRUNE_CHUNK.max(2 * std::mem::take(&mut self.appended));
        let more = self.prune_rows(&keep, budget)?;
        if !more {
            // A commit for each row that is too old by now would cost more than it frees.
            let slack = self.retention.history() / 1_000;
            self.prune_due = now + slack.min(LONGEST_SLACK);
        }
        Ok(more)
    }

    fn prune_rows(&mut self, keep: &Keep, budget: usize) -> Result<bool, Fault> {
        // What the file does not know to be delivered stays: after a crash it would count as lost.
        let delivered = self.shared.settled();
        if let Some(file) = &self.file
            && file.begins_old(delivered, keep)?
        {
            self.settle();
        }
        let prune = |store: &mut Store| {
            store.prune_rejected(keep)?;
            say_forgotten(&self.shared, store.take_forgotten());
            store.prune(delivered, keep, budget)
        };
        if let Some(file) = &mut self.file {
            return prune(file);
        }
        match &self.shared.tiers().memory {
            Some(memory) => prune(&mut lock_store(memory)),
            None => Ok(false),
        }
    }

    /// Whether the clock was set just now: until the times of rows follow it, they say nothing of how old
    /// the rows are.
    fn distrusts_times(&mut self) -> bool {
        if self.clock.look(system_clock::now()).is_some() {
            self.distrusted_until = Some(Instant::now() + CORRECTED_WITHIN);
        }
        self.correct_file();
        let now = Instant::now();
        !self.uncorrected.is_empty() || self.distrusted_until.is_some_and(|until| now < until)
    }

    /// An append that fails in the same way says it aloud; only damage cannot wait for one.
    pub(super) fn housekeeping_failed(&mut self, fault: &Fault) {
        if let Fault::Damaged(reason) = fault {
            let generation = self.shared.tiers().generation;
            self.replace_damaged(generation, reason);
        } else {
            tracing::debug!(error = %fault, "Cannot remove old rows from the journal.");
        }
    }
}

/// Says and counts entries that left the table `rejected` before their time, because there is no room.
fn say_forgotten(shared: &Shared, entries: u64) {
    if entries == 0 {
        return;
    }
    shared.ledger().forgotten += entries;
    FORGOTTEN.count("journal", "", entries, |sum| {
        tracing::warn!(
            entries = sum.amount(),
            repeated = sum.words(),
            "The table `rejected` is full; its oldest entries went before journal.history was over."
        );
    });
}
