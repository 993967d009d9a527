//! Which sinks are enabled, and where each begins.

use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::Writer;
use crate::config::Begin;
use crate::journal::error::Fault;
use crate::journal::ledger::Account;
use crate::journal::marks::{Mark, Marks};
use crate::journal::shared::lock_store;
use crate::journal::store::{Store, StoredCursor};
use crate::journal::{Enrolled, Position};
use crate::monitor::SinkId;
use crate::telemetry::Timestamp;

/// What is known of a sink that is not configured any more is kept for so long.
const FORGOTTEN_AFTER: Duration = Duration::from_hours(30 * 24);

/// Time between two looks at that.
const FORGOTTEN_EVERY: Duration = Duration::from_hours(1);

/// What there is for a sink to begin with.
pub(super) struct Bounds {
    /// Before the first row.
    pub(super) first: Position,
    pub(super) end: Position,
    /// Whether every sink that is not known is new: no entry was lost.
    pub(super) are_all_known: bool,
}

impl Bounds {
    /// Where a sink begins: where it was or, if it is new, where it is to. One that was not enabled while
    /// rows went begins with the first there is: nobody promised it the others.
    pub(super) fn start(&self, enrolled: &Enrolled, stored: Option<&StoredCursor>) -> Position {
        let Some(stored) = stored else {
            return match enrolled.begin {
                Begin::Now if self.are_all_known => self.end,
                Begin::Now | Begin::Oldest => self.first,
            };
        };
        if stored.enabled || stored.position.sequence >= self.first.sequence {
            return stored.position;
        }
        info!(
            sink = %enrolled.sink,
            messages = self.first.total.saturating_sub(stored.position.total),
            "Messages from before this sink was disabled are no longer in the journal.",
        );
        self.first
    }
}

/// The sinks alone.
pub(super) fn ids(sinks: &[Enrolled]) -> Vec<SinkId> {
    sinks.iter().map(|enrolled| enrolled.sink.clone()).collect()
}

/// Has marks kept for these sinks. What was noted of an earlier sink by the name of a new one says nothing
/// of that.
fn follow(marks: &Marks, sinks: &[SinkId], new: &[usize]) {
    let followed = marks.follow(sinks);
    let cleared = new
        .iter()
        .try_for_each(|place| marks.set(*place, Mark::NONE));
    if let Err(error) = followed.and(cleared) {
        // Acknowledgements are committed all the same.
        tracing::debug!(error = %error, "Cannot note acknowledgements of all sinks.");
    }
}

impl Writer {
    /// From now on these sinks are enabled and no others.
    pub(super) fn enrol(&mut self, sinks: &[Enrolled]) {
        let before = self.known_cursors();
        let bounds = Bounds {
            first: self.first(),
            end: self.end,
            are_all_known: true,
        };
        let mut new = Vec::new();
        let all: Vec<SinkId> = {
            let mut ledger = self.shared.ledger();
            for account in &mut ledger.accounts {
                account.enabled &= sinks.iter().any(|it| it.sink == account.sink);
            }
            for enrolled in sinks {
                let place = ledger.place_of(&enrolled.sink);
                if place.is_some_and(|place| ledger.accounts[place].enabled) {
                    continue;
                }
                let known = before.iter().find(|it| it.sink == enrolled.sink.as_str());
                let start = bounds.start(enrolled, known);
                let place = place.unwrap_or(ledger.accounts.len());
                if known.is_none() {
                    new.push(place);
                }
                match ledger.accounts.get_mut(place) {
                    Some(account) => account.restart(start),
                    None => ledger
                        .accounts
                        .push(Account::new(enrolled.sink.clone(), start)),
                }
            }
            ledger.accounts.iter().map(|it| it.sink.clone()).collect()
        };
        if let Some(marks) = &self.shared.marks {
            follow(marks, &all, &new);
        }
        self.register();
    }

    /// How far each sink is that anything is known of; of one that was forgotten that is nothing.
    fn known_cursors(&self) -> Vec<StoredCursor> {
        let stored = self.file.as_ref().map(Store::cursors);
        let stored = stored.and_then(Result::ok);
        let ledger = self.shared.ledger();
        let of_run = ledger.accounts.iter().map(|account| StoredCursor {
            sink: account.sink.as_str().to_owned(),
            position: account.acknowledged(),
            enabled: account.enabled,
        });
        let Some(stored) = stored else {
            return of_run.collect();
        };
        let of_run: Vec<StoredCursor> = of_run.collect();
        let newest = |stored: StoredCursor| {
            let of_run = of_run.iter().find(|it| it.sink == stored.sink);
            of_run.cloned().unwrap_or(stored)
        };
        stored.into_iter().map(newest).collect()
    }

    /// Before the first row that there is.
    fn first(&self) -> Position {
        if let Some(file) = &self.file {
            return file.extent().first;
        }
        let tiers = self.shared.tiers();
        let memory = tiers.memory.as_ref();
        memory.map_or(self.end, |memory| lock_store(memory).extent().first)
    }

    /// Forgets sinks that have not been configured for a month.
    pub(super) fn forget_gone(&mut self, now: Instant) -> Result<(), Fault> {
        if now < self.forget_due {
            return Ok(());
        }
        self.forget_due = now + FORGOTTEN_EVERY;
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        let month = i64::try_from(FORGOTTEN_AFTER.as_nanos()).unwrap_or(i64::MAX);
        let since = Timestamp(Timestamp::now().0.saturating_sub(month));
        for sink in file.forget_left_before(since)? {
            info!(sink, "Forgotten: it has not been configured for a month.");
        }
        Ok(())
    }

    /// Puts the sinks' positions into the file. A disk that is full says so at the first append; the
    /// entries are then written with what comes next.
    pub(super) fn register(&mut self) {
        let cursors = self.acknowledged();
        let Some(file) = &mut self.file else { return };
        if let Err(fault) = file.register(&cursors, Timestamp::now()) {
            warn!(
                journal = %self.shared.name.display(),
                error = %fault,
                "Cannot write the sinks' positions into the journal.",
            );
            self.unsaved = self.positions();
        }
    }

    /// How far each enabled sink is.
    pub(super) fn positions(&self) -> Vec<Option<Position>> {
        let ledger = self.shared.ledger();
        let position = |it: &Account| it.enabled.then(|| it.acknowledged());
        ledger.accounts.iter().map(position).collect()
    }
}
