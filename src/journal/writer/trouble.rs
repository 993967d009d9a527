//! What the writer does when the file cannot be written: go on in memory, try the file again, move
//! aside what is damaged, and bring the rows from memory into the file when it works again.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tracing::{debug, error, info};

use super::Writer;
use super::terms::Terms;
use crate::journal::error::Fault;
use crate::journal::inbox::Work;
use crate::journal::ledger::Account;
use crate::journal::recovery::{self, DATABASE};
use crate::journal::retention::Keep;
use crate::journal::shared::lock_store;
use crate::journal::store::{END, NamedPosition, Store};
use crate::journal::tail::Tail;
use crate::journal::{JournalError, JournalState, Position};
use crate::repeated::Topic;
use crate::telemetry::Timestamp;

const TROUBLES: Topic = Topic::new("journal-not-written");
const RECOVERIES: Topic = Topic::new("journal-written-again");
const DAMAGES: Topic = Topic::new("journal-damaged");
const LOSSES: Topic = Topic::new("packets-not-kept");

/// Time between two attempts to write the file again.
const RETRY: Duration = Duration::from_secs(1);

/// Delivered rows that make room on a full disk, an attempt.
const SACRIFICE: usize = 500;

/// The file cannot be written at present.
#[derive(Debug)]
pub(super) struct Trouble {
    next_attempt: Instant,
    fault: Fault,
    /// A damaged file whose place could not be taken yet.
    damaged: Option<Damaged>,
}

/// A damaged file on its way out.
#[derive(Debug)]
struct Damaged {
    reason: String,
    /// Where it is now, once it was moved.
    moved: Option<PathBuf>,
}

impl Writer {
    /// Has the file written; false: it could not be, and everything is still to be kept. `write` says `None`
    /// when there is none.
    pub(super) fn attempt(
        &mut self,
        mut write: impl FnMut(&mut Self) -> Option<Result<(), Fault>>,
    ) -> bool {
        if self.trouble.is_some() {
            return false;
        }
        let first = write(self);
        let second = match first {
            // Files that are gone are not to be moved aside: what is there is somebody else's.
            Some(Err(Fault::Damaged(reason))) if !self.find_astray() => {
                self.replace(&reason);
                write(self)
            }
            other => other,
        };
        match second {
            Some(Ok(())) => true,
            Some(Err(fault)) => {
                self.begin_trouble(fault, None);
                false
            }
            None => false,
        }
    }

    /// Keeps rows and refusals in memory. Acknowledgements stay in `unsaved`, unless the file has
    /// room for them: they need none but what they have already.
    pub(super) fn write_to_memory(&mut self, work: &Work) {
        let is_full = |trouble: &Trouble| trouble.fault == Fault::Full;
        if self.trouble.as_ref().is_some_and(is_full)
            && let Err(fault) = self.save_acknowledgements()
        {
            debug!(error = %fault, "Cannot write acknowledgements into the journal.");
        }
        self.keep_in_memory(work);
    }

    /// Puts rows and refusals behind those that are in memory.
    pub(super) fn keep_in_memory(&self, work: &Work) {
        if let Err(fault) = self.commit_to_memory(work) {
            // Memory itself is short. What is lost is a hole that every cursor will count.
            LOSSES.count("", "", work.packets.len() as u64, move |sum| {
                error!(
                    packets = sum.amount(),
                    error = %fault,
                    repeated = sum.words(),
                    "Cannot keep packets in memory; they are lost.",
                );
            });
        }
    }

    fn commit_to_memory(&self, work: &Work) -> Result<(), Fault> {
        if self.shared.tiers().memory.is_none() {
            let store = Store::in_memory(self.end)?;
            self.shared.tiers_mut().memory = Some(Mutex::new(store));
        }
        match &self.shared.tiers().memory {
            Some(memory) => {
                let batch = Terms::batch(self.end, work, &[]);
                lock_store(memory).commit(batch, self.terms.memory_limits(), false)
            }
            None => Ok(()),
        }
    }

    /// Tries the file again, at most once a second.
    pub(super) fn recover_if_due(&mut self) {
        let due = |trouble: &Trouble| trouble.next_attempt <= Instant::now();
        if self.trouble.as_ref().is_some_and(due)
            && let Err(fault) = self.recover()
        {
            let damaged = match &fault {
                Fault::Damaged(reason) => Some(Damaged::found(reason)),
                _ => None,
            };
            self.begin_trouble(fault, damaged);
        }
    }

    fn recover(&mut self) -> Result<(), Fault> {
        self.reopen()?;
        if self.file.is_none() {
            return Ok(());
        }
        let packets = self.empty_memory()?;
        self.trouble = None;
        if self.tail.is_none() {
            self.begin_tail();
        }
        if self.astray.is_none() {
            self.shared.ledger().set_state(JournalState::File);
        }
        self.publish(&[]);
        let journal = self.shared.name.clone();
        TROUBLES.over("");
        RECOVERIES.count("", "", packets, move |sum| {
            info!(
                journal = %journal.display(),
                packets = sum.amount(),
                repeated = sum.words(),
                "Journal is written again; what was kept in memory is in it.",
            );
        });
        Ok(())
    }

    /// Brings everything from memory into the file, and all acknowledgements; returns how many packets.
    pub(super) fn empty_memory(&mut self) -> Result<u64, Fault> {
        if self.shared.tiers().memory.is_none() {
            self.save_acknowledgements()?;
            return Ok(0);
        }
        let delivered = self.shared.ledger().delivered().sequence;
        let mut cursors = self.unsaved_cursors();
        cursors.push((END.into(), self.end));
        let Some(file) = &mut self.file else {
            return Ok(0);
        };
        let absorbed = absorb_memory(&self.terms, file, &cursors);
        match absorbed {
            Ok(_) => {
                self.saved_end = self.end;
                self.unsaved.fill(None);
                self.empty_tail();
            }
            // What is delivered gives way to what is not.
            Err(Fault::Full) => {
                file.prune(delivered, &Keep::nothing(), SACRIFICE)?;
                self.save_acknowledgements()?;
            }
            Err(_) => {}
        }
        absorbed
    }

    fn save_acknowledgements(&mut self) -> Result<(), Fault> {
        let cursors = self.unsaved_cursors();
        if !cursors.is_empty() {
            self.save_positions(&cursors)?;
            self.unsaved.fill(None);
        }
        Ok(())
    }

    /// Replaces a file that a cursor or the housekeeping found damaged, unless it has been already.
    pub(super) fn replace_damaged(&mut self, generation: u64, reason: &str) {
        let is_current = generation == self.shared.tiers().generation;
        if self.file.is_some() && is_current && !self.find_astray() {
            self.replace(reason);
        }
    }

    fn replace(&mut self, reason: &str) {
        let (journal, error) = (self.shared.name.clone(), reason.to_owned());
        DAMAGES.say("", reason, move |sum| {
            error!(
                journal = %journal.display(),
                error,
                repeated = sum.words(),
                "Journal is damaged.",
            );
        });
        let fault = Fault::Damaged(reason.to_owned());
        let previous = self.trouble.replace(Trouble {
            next_attempt: Instant::now(),
            fault,
            damaged: Some(Damaged::found(reason)),
        });
        match self.reopen() {
            // Rows in memory still have to follow, with the next attempt.
            Ok(()) => self.trouble = previous,
            Err(fault) => self.begin_trouble(fault, None),
        }
    }

    /// Makes sure that a file is open: the one there was, or a new one in a damaged one's place.
    fn reopen(&mut self) -> Result<(), Fault> {
        let Some(claim) = &self.claim else {
            return Ok(());
        };
        let path = claim.path.clone();
        let damaged = self
            .trouble
            .as_mut()
            .and_then(|trouble| trouble.damaged.as_mut());
        if damaged.is_none() && self.file.is_some() {
            return Ok(());
        }
        self.file = None;
        {
            // Nobody is to take the new file for complete before it is.
            let mut tiers = self.shared.tiers_mut();
            tiers.replacing = tiers.file.is_some();
        }
        if let Some(damaged) = damaged
            && damaged.moved.is_none()
        {
            let moved = recovery::move_aside(&path, &DATABASE, "damaged", Timestamp::now())?;
            damaged.moved = Some(moved);
        }
        let _created = recovery::create_file(&path)?;
        let mut store = Store::open(&path)?;
        store.register(&self.acknowledged(), Timestamp::now())?;
        self.fill(&mut store);
        self.file = Some(store);
        self.saved_end = Position::default();
        let mut tiers = self.shared.tiers_mut();
        tiers.generation += 1;
        tiers.file = Some(path);
        tiers.replacing = false;
        drop(tiers);
        self.note_place();
        Ok(())
    }

    /// Puts into a new file what can be read from the damaged one.
    fn fill(&mut self, store: &mut Store) {
        let trouble = self.trouble.as_mut();
        let damaged = trouble.and_then(|trouble| trouble.damaged.take());
        let start = self.file_end();
        let Some(Damaged {
            reason,
            moved: Some(moved),
        }) = damaged
        else {
            store.start_at(start);
            return;
        };
        let after = self.shared.ledger().delivered();
        let salvage = recovery::salvage_file(&moved, after, start, store);
        let notice = recovery::report(&self.shared.name, &moved, &reason, &salvage);
        let mut ledger = self.shared.ledger();
        ledger.missing = salvage.missing;
        ledger.notice = Some(notice);
    }

    /// Where the rows of the file end: where those in memory begin.
    pub(super) fn file_end(&self) -> Position {
        let tiers = self.shared.tiers();
        tiers
            .memory
            .as_ref()
            .map_or(self.end, |memory| lock_store(memory).extent().first)
    }

    pub(super) fn acknowledged(&self) -> Vec<NamedPosition> {
        let ledger = self.shared.ledger();
        let named = |it: &Account| (it.sink.as_str().into(), it.acknowledged());
        ledger.enabled().map(named).collect()
    }

    /// From now on in memory. Said once; afterwards the attempts are quiet until one succeeds.
    fn begin_trouble(&mut self, fault: Fault, damaged: Option<Damaged>) {
        let previous = self.trouble.take();
        let said = previous
            .as_ref()
            .is_some_and(|previous| previous.fault == fault);
        let damaged = damaged.or(previous.and_then(|previous| previous.damaged));
        if self.file.is_none() {
            self.detach();
        }
        let reason = fault.to_string();
        if !said {
            let name = self.shared.name.display();
            let (journal, error) = (self.shared.name.clone(), reason.clone());
            TROUBLES.say("", &reason, move |sum| {
                error!(
                    journal = %journal.display(),
                    error = %error,
                    repeated = sum.words(),
                    "Cannot write the journal; packets are kept in memory until it can be written again.",
                );
            });
            let mut ledger = self.shared.ledger();
            ledger.notice = Some(format!("cannot write journal {name}: {reason}"));
            ledger.set_state(JournalState::Fallback { reason });
        }
        self.trouble = Some(Trouble {
            next_attempt: Instant::now() + RETRY,
            fault,
            damaged,
        });
    }

    /// The file is out of reach: cursors go on with what is in memory.
    fn detach(&self) {
        let mut tiers = self.shared.tiers_mut();
        tiers.replacing = false;
        if tiers.file.take().is_some() {
            tiers.generation += 1;
        }
    }

    /// Makes the next attempt due.
    #[cfg(test)]
    pub(in crate::journal) fn retry_now(&mut self) {
        if let Some(trouble) = &mut self.trouble {
            trouble.next_attempt = Instant::now();
        }
        if let Some(astray) = &mut self.astray {
            astray.try_now();
        }
    }

    /// The last attempt, before the thread ends.
    pub(super) fn rescue(&mut self) -> Result<(), JournalError> {
        self.settle();
        let saved = if self.find_astray() {
            self.save()
        } else {
            Ok(())
        };
        let recovered = match self.trouble {
            Some(_) => self.recover(),
            None => Ok(()),
        };
        let Err(fault) = saved.and(recovered) else {
            return Ok(());
        };
        let messages = self.unsaved_messages();
        if messages == 0 {
            return Ok(());
        }
        let lost = JournalError::Unsaved {
            path: self.shared.name.clone(),
            messages,
            reason: fault.to_string(),
        };
        error!(error = %lost, "Messages are lost.");
        Err(lost)
    }

    /// Messages that no sink has delivered and that are not in a file that the next start finds.
    fn unsaved_messages(&self) -> u64 {
        let found = self.file.as_ref().filter(|_| self.astray.is_none());
        let in_tail = found.and(self.tail.as_ref()).and_then(Tail::end);
        let in_file = found.map(|file| file.extent().end);
        let start = in_tail.or(in_file).unwrap_or_default();
        let ledger = self.shared.ledger();
        let from = start.total.max(ledger.delivered().total);
        ledger
            .end
            .total
            .saturating_sub(from + ledger.missing.after(from))
    }
}

fn absorb_memory(terms: &Terms, file: &mut Store, cursors: &[NamedPosition]) -> Result<u64, Fault> {
    let limits = terms.file_limits(file);
    // No cursor may look while rows are in both places or in neither.
    let mut tiers = terms.shared.tiers_mut();
    let Some(memory) = &tiers.memory else {
        return Ok(0);
    };
    let packets = {
        let memory = lock_store(memory);
        // The tail, which had it on the disk, is written anew from now on.
        let durable = terms.durable || terms.has_tail();
        file.absorb(&memory, cursors, limits, durable)?;
        let extent = memory.extent();
        extent.end.sequence - extent.first.sequence
    };
    tiers.memory = None;
    Ok(packets)
}

impl Damaged {
    fn found(reason: &str) -> Self {
        Self {
            reason: reason.to_owned(),
            moved: None,
        }
    }
}
