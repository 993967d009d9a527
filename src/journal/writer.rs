//! The writer thread: takes all that is waiting, commits once, wakes the cursors; and keeps the
//! journal in shape in between.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::error;

use super::astray::Astray;
use super::correction::Uncorrected;
use super::drops::Drops;
use super::error::Fault;
use super::fallback::Trouble;
use super::inbox::Work;
use super::place::Place;
use super::recovery::Claim;
use super::retention::Retention;
use super::shared::{Shared, lock_store};
use super::store::{Batch, Limits, NamedPosition, Store};
use super::{JournalError, JournalState, Position};
use crate::monitor::SinkId;
use crate::repeated::Topic;
use crate::system_clock;
use crate::telemetry::{ClockWatch, Timestamp};

const FORGOTTEN: Topic = Topic::new("rejected-forgotten");

/// Time between two looks at what is too old.
pub(super) const TICK: Duration = Duration::from_secs(1);

/// Rows that leave the history in one commit: less than a millisecond's work on a PC.
const PRUNE_CHUNK: usize = 100;

/// Time between two such commits while there is more to remove, so that new packets, which wait for
/// them, seldom meet one.
const PRUNE_PAUSE: Duration = Duration::from_millis(100);

/// The clock was set if it moved by more than this.
pub(super) const CLOCK_TOLERANCE: Duration = Duration::from_secs(1);

/// After the clock was set, the times of rows follow within this.
const CORRECTED_WITHIN: Duration = Duration::from_secs(10);

/// Free pages given back to the file system at a time (1 MiB).
const SHRINK_PAGES: u32 = 256;

/// The thread's own state. Everything else talks to it over [`Shared`].
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) source: String,
    pub(super) durable: bool,
    /// `None`: the journal is in memory, as configured.
    pub(super) claim: Option<Claim>,
    /// `None` as well while a damaged file could not be replaced.
    pub(super) file: Option<Store>,
    pub(super) place: Option<Place>,
    pub(super) astray: Option<Astray>,
    pub(super) trouble: Option<Trouble>,
    pub(super) end: Position,
    /// The last row of earlier runs.
    pub(super) began_at: u64,
    pub(super) uncorrected: Vec<Uncorrected>,
    pub(super) clock: ClockWatch,
    /// The clock was set, and times were not corrected yet.
    pub(super) distrusted_until: Option<Instant>,
    /// Acknowledgements that are not in the file.
    pub(super) unsaved: [Option<Position>; SinkId::ALL.len()],
    /// The end that the file remembers.
    pub(super) saved_end: Position,
    pub(super) max_bytes: Option<u64>,
    pub(super) retention: Retention,
    /// The last packet of the inbox that was dealt with.
    pub(super) ticket: u64,
    pub(super) housekeeping_due: Instant,
    /// Rows that came since the history was last pruned.
    pub(super) appended: usize,
    pub(super) drops: Drops,
}

impl Writer {
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Works until the inbox is closed and empty.
    pub(super) fn run(mut self) -> Result<(), JournalError> {
        let _end = EndGuard(Arc::clone(&self.shared));
        let mut work = Work::default();
        // What was asked for while no gateway ran comes before anything of this run.
        self.take_requests();
        self.publish(&[]);
        loop {
            let timeout = self
                .housekeeping_due
                .saturating_duration_since(Instant::now());
            self.shared.inbox.take(timeout, &mut work);
            self.write(&work);
            self.keep_house(work.packets.len());
            if work.closing {
                break;
            }
        }
        self.finish()
    }

    /// Commits what was taken from the inbox, into the file or into memory.
    pub(super) fn write(&mut self, work: &Work) {
        if let Some((generation, reason)) = &work.damage {
            self.replace_damaged(*generation, reason);
        }
        for (slot, acknowledged) in self.unsaved.iter_mut().zip(work.acknowledged) {
            *slot = acknowledged.or(*slot);
        }
        self.recover_if_due();
        self.correct(work.correction);
        if work.is_to_be_written() {
            if !self.write_to_file(work) {
                self.write_to_memory(work);
            }
            self.advance(work);
        }
        self.ticket = work.ticket;
        self.publish(&work.acknowledged);
    }

    /// The journal ends behind these packets now.
    pub(super) fn advance(&mut self, work: &Work) {
        let messages = work.packets.iter().map(|packet| packet.readings.len());
        self.end.sequence += work.packets.len() as u64;
        self.end.total += messages.sum::<usize>() as u64;
    }

    /// What was taken from the inbox, for the place where the journal ends.
    pub(super) fn batch<'a>(&'a self, work: &'a Work, cursors: &'a [NamedPosition]) -> Batch<'a> {
        Batch {
            start: self.end,
            source: &self.source,
            packets: &work.packets,
            cursors,
            rejections: &work.rejections,
            set_aside: &work.set_aside,
            names: &work.names,
            sent_on: &[],
        }
    }

    /// What a batch carries to the file: all acknowledgements that are not there yet.
    pub(super) fn unsaved_cursors(&self) -> Vec<NamedPosition> {
        let slots = SinkId::ALL.into_iter().zip(self.unsaved);
        slots
            .filter_map(|(sink, slot)| Some((sink.name(), slot?)))
            .collect()
    }

    pub(super) fn file_limits(&self, file: &Store) -> Limits {
        let inside = self
            .shared
            .ledger()
            .missing
            .after(file.extent().first.total);
        Limits {
            max_messages: self.shared.max_messages.saturating_add(inside),
            max_bytes: self.max_bytes,
        }
    }

    pub(super) fn memory_limits(&self) -> Limits {
        Limits {
            max_messages: if self.claim.is_some() {
                self.shared.max_messages.min(super::fallback::MAX_MESSAGES)
            } else {
                self.shared.max_messages
            },
            max_bytes: self.max_bytes,
        }
    }

    /// Lets everybody know what is committed, the accounts first.
    pub(super) fn publish(&mut self, acknowledged: &[Option<Position>]) {
        let file = self.file.as_ref().map(Store::extent);
        let (memory, generation) = {
            let tiers = self.shared.tiers();
            let memory = tiers
                .memory
                .as_ref()
                .map(|store| lock_store(store).extent());
            (memory, tiers.generation)
        };
        {
            let mut ledger = self.shared.ledger();
            ledger.end = self.end;
            match (file, memory) {
                (Some(file), None) => ledger.missing.advance(file.first.total),
                (Some(file), Some(memory)) => {
                    ledger.missing.advance(file.first.total);
                    ledger.missing.add(file.end.total, memory.first.total);
                }
                (None, Some(memory)) => ledger.missing.advance(memory.first.total),
                (None, None) => ledger.missing.advance(self.end.total),
            }
        }
        self.shared.progress.send_if_modified(|progress| {
            let changed = progress.ticket != self.ticket
                || progress.generation != generation
                || progress.end != self.end;
            progress.end = self.end;
            progress.ticket = self.ticket;
            progress.generation = generation;
            changed
        });
        for (committed, acknowledged) in self.shared.committed.iter().zip(acknowledged) {
            if let Some(position) = *acknowledged {
                committed.send_replace(position);
            }
        }
    }

    /// Removes what is too old, gives room back, and watches for drops. `appended` rows just came; at
    /// least as many may leave, so that the history cannot outgrow its age.
    pub(super) fn keep_house(&mut self, appended: usize) {
        self.drops.watch(&self.shared);
        self.appended += appended;
        let now = Instant::now();
        if now < self.housekeeping_due {
            return;
        }
        self.watch_files();
        self.take_requests();
        let budget = PRUNE_CHUNK.max(2 * std::mem::take(&mut self.appended));
        let more = self.prune(budget).unwrap_or_else(|fault| {
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

    fn prune(&mut self, budget: usize) -> Result<bool, Fault> {
        if self.distrusts_times() {
            return Ok(false);
        }
        let delivered = self.shared.ledger().delivered().sequence;
        let keep = self.retention.look(Timestamp::now(), Instant::now());
        let prune = |store: &mut Store| {
            store.prune_rejected(&keep)?;
            say_forgotten(&self.shared, store.take_forgotten());
            store.prune(delivered, &keep, budget)
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

    pub(super) fn finish(mut self) -> Result<(), JournalError> {
        self.drops.watch(&self.shared);
        let rescued = self.rescue();
        if let Err(fault) = self.save_end() {
            self.housekeeping_failed(&fault);
        }
        if let Some(file) = self.file.take()
            && let Err(fault) = file.close()
        {
            // The rows are safe in the write-ahead log; the next start moves them.
            error!(
                journal = %self.shared.name.display(),
                error = %fault,
                "Cannot move the write-ahead log into the journal.",
            );
        }
        rescued
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

/// Tells everybody that the writer has ended, whatever the way.
struct EndGuard(Arc<Shared>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        let broken = std::thread::panicking();
        self.0.inbox.close();
        {
            let mut ledger = self.0.ledger();
            ledger.set_state(JournalState::Closed);
            if broken {
                ledger.notice = Some("the writer failed, nothing is kept any more".to_owned());
            }
        }
        self.0.progress.send_modify(|progress| {
            progress.ended = true;
            progress.broken = broken;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::JournalPath;
    use crate::journal::tests::{Bench, config, packet};

    #[test]
    fn a_writer_that_panics_keeps_nobody_waiting() {
        let bench = Bench::open(&config(JournalPath::Memory, 1_000));
        let shared = Arc::clone(bench.writer.shared());
        bench.give(vec![packet(1, 1)]);
        let guard = EndGuard(Arc::clone(&shared));
        let thread = std::thread::spawn(move || {
            let _end = guard;
            panic!("on purpose");
        });
        assert!(thread.join().is_err());
        let progress = *shared.progress.borrow();
        assert!(progress.ended && progress.broken);
        assert_eq!(shared.status().state, JournalState::Closed);
        assert!(shared.status().notice.unwrap().contains("failed"));
        let refused = bench.try_give(vec![packet(2, 1)]);
        assert!(matches!(refused, Err(JournalError::Closed)));
    }
}
