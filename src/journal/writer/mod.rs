//! The writer thread: takes all that is waiting, commits once, wakes the cursors; and keeps the
//! journal in shape in between.

mod astray;
mod correction;
mod drops;
mod enrolment;
mod housekeeping;
mod opening;
mod requests;
mod settlement;
mod terms;
mod trouble;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::error;

use super::error::Fault;
use super::inbox::Work;
use super::place::Place;
use super::recovery::Claim;
use super::retention::Retention;
use super::shared::{Shared, lock_store};
use super::store::{END, NamedPosition, Store};
use super::tail::Tail;
use super::{JournalError, JournalState, Position};
use crate::telemetry::ClockWatch;
use astray::Astray;
use correction::Uncorrected;
use drops::Drops;
use terms::Terms;
use trouble::Trouble;

/// Time between two looks at what is too old.
pub(super) const TICK: Duration = Duration::from_secs(1);

/// Acknowledgements that no packets follow are committed after so long.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(12);

/// The clock was set if it moved by more than this.
pub(super) const CLOCK_TOLERANCE: Duration = Duration::from_secs(1);

/// The thread's own state. Everything else talks to it over [`Shared`].
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    terms: Terms,
    /// `None`: the journal is in memory, as configured.
    claim: Option<Claim>,
    /// `None` as well while a damaged file could not be replaced.
    pub(super) file: Option<Store>,
    /// `None` as well while it cannot be written.
    tail: Option<Tail>,
    /// When what is in the tail has to be in the file.
    settlement_due: Option<Instant>,
    /// Before that, packets go into the file at once.
    tail_from: Instant,
    began: Instant,
    pub(super) place: Option<Place>,
    astray: Option<Astray>,
    trouble: Option<Trouble>,
    end: Position,
    /// The last row of earlier runs.
    began_at: u64,
    uncorrected: Vec<Uncorrected>,
    clock: ClockWatch,
    /// The clock was set, and times were not corrected yet.
    pub(super) distrusted_until: Option<Instant>,
    /// Acknowledgements that are not in the file.
    unsaved: Vec<Option<Position>>,
    /// The end that the file remembers.
    saved_end: Position,
    retention: Retention,
    /// The last packet of the inbox that was dealt with.
    ticket: u64,
    pub(super) housekeeping_due: Instant,
    pub(super) prune_due: Instant,
    /// When what was committed has to be on the disk, where it need not be at once.
    sync_due: Option<Instant>,
    /// When it is looked next which sinks have been gone for long.
    pub(super) forget_due: Instant,
    /// Rows that came since the history was last pruned.
    appended: usize,
    drops: Drops,
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
            let inbox = &self.shared.inbox;
            inbox.take(timeout, ACKNOWLEDGED_WITHIN, &mut work);
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
        if self.unsaved.len() < work.acknowledged.len() {
            self.unsaved.resize(work.acknowledged.len(), None);
        }
        for (slot, acknowledged) in self.unsaved.iter_mut().zip(&work.acknowledged) {
            *slot = acknowledged.or(*slot);
        }
        self.recover_if_due();
        if !work.corrections.is_empty() || work.enrolment.is_some() {
            self.settle();
        }
        self.correct(&work.corrections);
        if work.is_to_be_written() {
            if !self.write_to_tail(work) && !self.attempt(|writer| writer.commit(work)) {
                self.write_to_memory(work);
            }
            self.advance(work);
        }
        if let Some(sinks) = &work.enrolment {
            self.enrol(sinks);
        }
        self.ticket = work.ticket;
        self.publish(&work.acknowledged);
    }

    /// The journal ends behind these packets now.
    pub(super) fn advance(&mut self, work: &Work) {
        self.end = self.end_behind(work);
    }

    fn end_behind(&self, work: &Work) -> Position {
        Terms::batch(self.end, work, &[]).end()
    }

    /// What a batch carries to the file: all acknowledgements that are not there yet.
    pub(super) fn unsaved_cursors(&self) -> Vec<NamedPosition> {
        let ledger = self.shared.ledger();
        let slots = ledger.accounts.iter().zip(&self.unsaved);
        slots
            .filter_map(|(account, slot)| Some((account.sink.as_str().into(), (*slot)?)))
            .collect()
    }

    /// Writes to the file, behind what is in the tail; `None`: there is none.
    fn commit(&mut self, work: &Work) -> Option<Result<(), Fault>> {
        if let Err(fault) = self.bring_home()? {
            return Some(Err(fault));
        }
        let mut cursors = self.unsaved_cursors();
        let end = self.end_behind(work);
        // In the same page: it costs nothing.
        if end != self.saved_end {
            cursors.push((END.into(), end));
        }
        let file = self.file.as_mut()?;
        let limits = self.terms.file_limits(file);
        let batch = Terms::batch(self.end, work, &cursors);
        let result = file.commit(batch, limits, self.terms.durable);
        if result.is_ok() {
            self.saved_end = end;
            if !work.packets.is_empty() {
                self.sync_soon();
            }
            self.unsaved.fill(None);
        }
        Some(result)
    }

    /// Has the file remember how far the journal goes, unless it is about to.
    fn save_end(&mut self) -> Result<(), Fault> {
        if self.saved_end != self.end && self.file.is_some() && self.settlement_due.is_none() {
            self.save_positions(&[(END.into(), self.end)])?;
            self.saved_end = self.end;
        }
        Ok(())
    }

    fn save_positions(&mut self, positions: &[NamedPosition]) -> Result<(), Fault> {
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        let nothing_else = Work::default();
        let limits = self.terms.file_limits(file);
        let batch = Terms::batch(self.end, &nothing_else, positions);
        file.commit(batch, limits, false)
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
        for (account, acknowledged) in self.shared.ledger().accounts.iter().zip(acknowledged) {
            if let Some(position) = *acknowledged {
                account.committed.send_replace(position);
            }
        }
    }

    pub(super) fn finish(mut self) -> Result<(), JournalError> {
        self.drops.watch(&self.shared);
        let rescued = self.rescue();
        if let Err(fault) = self.save_end() {
            self.housekeeping_failed(&fault);
        }
        self.end_tail();
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
