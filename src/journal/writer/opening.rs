//! Opening the journal and finding out where everybody is.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tracing::error;

use super::drops::Drops;
use super::enrolment::{Bounds, ids};
use super::terms::Terms;
use super::{CLOCK_TOLERANCE, Writer};
use crate::config::{self, Durability, JournalPath};
use crate::journal::error::Fault;
use crate::journal::ledger::{Account, Missing};
use crate::journal::marks::{Mark, Marks};
use crate::journal::recovery::{self, Claim, DATABASE};
use crate::journal::retention::Retention;
use crate::journal::shared::{Ledger, Shared, Tiers};
use crate::journal::store::{Store, StoredCursor};
use crate::journal::tail;
use crate::journal::{Enrolled, JournalError, JournalState, Position};
use crate::telemetry::{ClockWatch, Timestamp};

impl Writer {
    /// Opens the journal and finds out where everybody is.
    pub(in crate::journal) fn open(
        config: &config::Journal,
        sinks: &[Enrolled],
    ) -> Result<Self, JournalError> {
        let mut opened = Opened::default();
        let (name, claim) = match &config.path {
            JournalPath::Memory => (PathBuf::from(":memory:"), None),
            JournalPath::File(path) => (path.clone(), Some(recovery::claim(path)?)),
        };
        let failed = |fault: Fault| fault.into_error("open", name.clone());
        if let Some(claim) = &claim {
            opened.notice = claim.notice();
            opened.open_file(claim, sinks).map_err(failed)?;
            opened.take_up_tail(claim).map_err(failed)?;
            opened.marks = claim.marks(&ids(sinks));
        } else {
            let store = Store::in_memory(Position::default()).map_err(failed)?;
            opened.memory = Some(store);
        }
        let mut tiers = Tiers {
            generation: 1,
            file: claim.as_ref().map(|claim| claim.path.clone()),
            replacing: false,
            astray: false,
            memory: None,
        };
        let ledger = opened.ledger(sinks, claim.is_none());
        let (marks, store) = (opened.marks, opened.store);
        tiers.memory = opened.memory.map(Mutex::new);
        let shared = Shared::new(name, config.max_messages, marks, tiers, ledger);
        let terms = Terms {
            shared: Arc::new(shared),
            durable: config.durability == Durability::Full,
            sync_interval: match config.durability {
                Durability::Interval(interval) => Some(interval),
                Durability::Full | Durability::Normal => None,
            },
            max_bytes: config.max_bytes,
            is_in_memory: claim.is_none(),
        };
        let mut writer = Self::begin(terms, claim, store, config.history);
        if writer.file.is_some() && writer.shared.tiers().memory.is_some() {
            writer.unsaved = writer.positions();
            writer.settle();
        }
        if writer.trouble.is_none() {
            writer.begin_tail();
        }
        writer.register();
        writer.note_place();
        Ok(writer)
    }

    /// The writer of a journal that is open, at its end.
    fn begin(terms: Terms, claim: Option<Claim>, file: Option<Store>, history: Duration) -> Self {
        let shared = Arc::clone(&terms.shared);
        let (end, dropped) = {
            let ledger = shared.ledger();
            (ledger.end, ledger.dropped())
        };
        Self {
            unsaved: Vec::new(),
            shared,
            terms,
            claim,
            file,
            tail: None,
            settlement_due: None,
            tail_from: Instant::now(),
            began: Instant::now(),
            place: None,
            astray: None,
            trouble: None,
            end,
            began_at: end.sequence,
            uncorrected: Vec::new(),
            clock: ClockWatch::new(CLOCK_TOLERANCE),
            distrusted_until: None,
            saved_end: Position::default(),
            retention: Retention::new(history),
            ticket: 0,
            housekeeping_due: Instant::now(),
            prune_due: Instant::now(),
            sync_due: None,
            forget_due: Instant::now(),
            appended: 0,
            drops: Drops::new(dropped),
        }
    }
}

/// What opening a file found.
#[derive(Default)]
struct Opened {
    store: Option<Store>,
    /// What the tail of the file holds.
    memory: Option<Store>,
    cursors: Vec<StoredCursor>,
    /// Some could not be read.
    has_lost_cursors: bool,
    missing: Missing,
    marks: Option<Marks>,
    notice: Option<String>,
}

impl Opened {
    fn open_file(&mut self, claim: &Claim, sinks: &[Enrolled]) -> Result<(), Fault> {
        let opened = if recovery::is_cut_off(&claim.path) {
            Err(Fault::Damaged("it is empty but its log is not".to_owned()))
        } else {
            Store::open(&claim.path).and_then(|store| Ok((store.cursors()?, store)))
        };
        match opened {
            Ok((cursors, store)) => {
                self.cursors = cursors;
                self.missing = Missing::new(store.extent().first.total);
                self.store = Some(store);
                Ok(())
            }
            Err(Fault::Damaged(reason)) => self.replace(claim, &reason, sinks),
            Err(fault) => Err(fault),
        }
    }

    fn replace(&mut self, claim: &Claim, reason: &str, sinks: &[Enrolled]) -> Result<(), Fault> {
        error!(journal = %claim.path.display(), error = reason, "Journal is damaged.");
        let moved = recovery::move_aside(&claim.path, &DATABASE, "damaged", Timestamp::now())
            .map_err(|error| {
                Fault::Unavailable(format!("damaged ({reason}) and not movable ({error})"))
            })?;
        let _created = recovery::create_file(&claim.path)?;
        let mut store = Store::open(&claim.path)?;
        let (cursors, complete) = recovery::salvage_cursors(&moved);
        let positions = || cursors.iter().map(|cursor| cursor.position);
        let furthest = positions().max_by_key(|position| position.sequence);
        let is_enabled =
            |cursor: &&StoredCursor| sinks.iter().any(|it| it.sink.as_str() == cursor.sink);
        let delivered = cursors
            .iter()
            .filter(is_enabled)
            .map(|cursor| cursor.position)
            .min_by_key(|position| position.sequence);
        // A sink whose cursor cannot be read gets all again that there is.
        let after = delivered.filter(|_| complete).unwrap_or_default();
        let start = furthest.unwrap_or_default();
        let salvage = recovery::salvage_file(&moved, after, start, &mut store);
        self.notice = Some(recovery::report(&claim.path, &moved, reason, &salvage));
        self.missing = salvage.missing;
        self.has_lost_cursors = !complete;
        self.cursors = cursors;
        self.store = Some(store);
        Ok(())
    }

    /// Takes up what the tail holds, as if it had just been written.
    fn take_up_tail(&mut self, claim: &Claim) -> Result<(), Fault> {
        let Some(store) = &self.store else {
            return Ok(());
        };
        let (newest, end) = (store.newest()?, store.extent().end);
        let found = tail::read(&claim.path)?;
        let Some(entries) = found.filter(|found| found.follow(store)) else {
            self.missing.add(newest.total, end.total);
            return Ok(());
        };
        self.missing.add(newest.total, entries.start().total);
        self.missing.add(entries.end().total, end.total);
        for (name, position) in &entries.positions {
            let mut cursors = self.cursors.iter_mut();
            if let Some(cursor) = cursors.find(|cursor| *cursor.sink == **name) {
                cursor.position = *position;
            }
        }
        let mut memory = Store::in_memory(entries.start())?;
        memory.restore(&entries.rows, &[], false)?;
        self.memory = Some(memory);
        Ok(())
    }

    /// All that is counted, as it was found.
    fn ledger(&mut self, sinks: &[Enrolled], is_in_memory: bool) -> Ledger {
        Ledger {
            end: self.end(),
            accounts: self.starting_positions(sinks),
            missing: std::mem::take(&mut self.missing),
            state: if is_in_memory {
                JournalState::Memory
            } else {
                JournalState::File
            },
            since: Timestamp::now(),
            notice: self.notice.take(),
            forgotten: 0,
            write_bytes: None,
        }
    }

    fn end(&self) -> Position {
        self.stores()
            .map(|store| store.extent().end)
            .max_by_key(|end| end.sequence)
            .unwrap_or_default()
    }

    fn stores(&self) -> impl Iterator<Item = &Store> {
        self.store.iter().chain(&self.memory)
    }

    fn first(&self) -> Position {
        self.store
            .as_ref()
            .map(|store| store.extent().first)
            .unwrap_or_default()
    }

    /// Where each sink begins.
    fn starting_positions(&self, sinks: &[Enrolled]) -> Vec<Account> {
        let bounds = Bounds {
            first: self.first(),
            end: self.end(),
            are_all_known: !self.has_lost_cursors,
        };
        let account = |(place, enrolled): (usize, &Enrolled)| {
            let mut cursors = self.cursors.iter();
            let stored = cursors.find(|cursor| cursor.sink == enrolled.sink.as_str());
            let position = bounds.start(enrolled, stored);
            if let (None, Some(marks)) = (stored, &self.marks) {
                // What was noted of an earlier sink by that name says nothing of this one.
                let _not_noted = marks.set(place, Mark::NONE);
            }
            let marked = stored.filter(|stored| stored.position == position);
            let marked = marked.and_then(|_| self.marked(place, position));
            Account::new(enrolled.sink.clone(), marked.unwrap_or(position))
        };
        sinks.iter().enumerate().map(account).collect()
    }

    /// How far the sink at this place acknowledged beyond its entry in the file before the process was
    /// killed.
    fn marked(&self, sink: usize, stored: Position) -> Option<Position> {
        let mark = self.marks.as_ref()?.get(sink)?;
        let is_further = mark.end.sequence > stored.sequence;
        (is_further && self.stores().any(|store| store.holds(mark))).then_some(mark.end)
    }
}
