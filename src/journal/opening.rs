//! Opening the journal and finding out where everybody is.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tracing::{error, info, warn};

use super::drops::Drops;
use super::error::Fault;
use super::ledger::{Account, Missing};
use super::marks::Marks;
use super::recovery::{self, Claim};
use super::retention::Retention;
use super::shared::{Ledger, Shared, Tiers};
use super::store::{Store, StoredCursor};
use super::writer::{CLOCK_TOLERANCE, Writer};
use super::{JournalError, JournalState, Position};
use crate::config::{self, Durability, JournalPath};
use crate::monitor::SinkId;
use crate::telemetry::{ClockWatch, Timestamp};

impl Writer {
    /// Opens the journal and finds out where everybody is.
    pub(super) fn open(
        config: &config::Journal,
        sinks: &[SinkId],
        source: &str,
    ) -> Result<Self, JournalError> {
        let mut opened = Opened::default();
        let (name, claim) = match &config.path {
            JournalPath::Memory => (PathBuf::from(":memory:"), None),
            JournalPath::File(path) => (path.clone(), Some(recovery::claim(path)?)),
        };
        let failed = |fault: Fault| fault.into_error("open", name.clone());
        let mut memory = None;
        if let Some(claim) = &claim {
            opened.notice = claim.notice();
            opened.open_file(claim, sinks, source).map_err(failed)?;
            opened.marks = claim.marks();
        } else {
            let store = Store::in_memory(Position::default()).map_err(failed)?;
            memory = Some(Mutex::new(store));
        }
        let starts = opened.starting_positions(sinks);
        let end = opened.end();
        let ledger = Ledger {
            end,
            missing: opened.missing,
            accounts: starts.map(Account::new),
            sinks: SinkId::ALL
                .into_iter()
                .filter(|sink| sinks.contains(sink))
                .collect(),
            state: claim
                .as_ref()
                .map_or(JournalState::Memory, |_| JournalState::File),
            since: Timestamp::now(),
            notice: opened.notice,
            forgotten: 0,
        };
        let tiers = Tiers {
            generation: 1,
            file: claim.as_ref().map(|claim| claim.path.clone()),
            replacing: false,
            astray: false,
            memory,
        };
        let drops = Drops::new(ledger.dropped());
        let mut writer = Self {
            shared: Arc::new(Shared::new(
                name,
                config.max_messages,
                opened.marks,
                tiers,
                ledger,
            )),
            source: source.to_owned(),
            durable: config.durability == Durability::Full,
            claim,
            file: opened.store,
            place: None,
            astray: None,
            trouble: None,
            end,
            began_at: end.sequence,
            uncorrected: Vec::new(),
            clock: ClockWatch::new(CLOCK_TOLERANCE),
            distrusted_until: None,
            unsaved: [None; SinkId::ALL.len()],
            saved_end: Position::default(),
            max_bytes: config.max_bytes,
            retention: Retention::new(config.history),
            ticket: 0,
            housekeeping_due: Instant::now(),
            appended: 0,
            drops,
        };
        writer.register();
        writer.note_place();
        Ok(writer)
    }

    /// Puts the sinks' positions into the file. A disk that is full says so at the first append,
    /// and an entry that is not written costs nothing but exactness in a message.
    fn register(&mut self) {
        let cursors = self.acknowledged();
        if let Some(file) = &mut self.file
            && let Err(fault) = file.register(&cursors)
        {
            warn!(
                journal = %self.shared.name.display(),
                error = %fault,
                "Cannot write the sinks' positions into the journal.",
            );
        }
    }
}

/// What opening a file found.
#[derive(Default)]
struct Opened {
    store: Option<Store>,
    cursors: Vec<StoredCursor>,
    missing: Missing,
    marks: Option<Marks>,
    notice: Option<String>,
}

impl Opened {
    fn open_file(&mut self, claim: &Claim, sinks: &[SinkId], source: &str) -> Result<(), Fault> {
        let opened = if recovery::is_cut_off(&claim.path) {
            Err(Fault::Damaged("it is empty but its log is not".to_owned()))
        } else {
            Store::open(&claim.path)
                .and_then(|store| Ok((store.cursors()?, store.newest()?, store)))
        };
        match opened {
            Ok((cursors, newest, store)) => {
                self.cursors = cursors;
                self.missing = Missing::new(store.extent().first.total);
                self.missing.add(newest.total, store.extent().end.total);
                self.store = Some(store);
                Ok(())
            }
            Err(Fault::Damaged(reason)) => self.replace(claim, &reason, sinks, source),
            Err(fault) => Err(fault),
        }
    }

    fn replace(
        &mut self,
        claim: &Claim,
        reason: &str,
        sinks: &[SinkId],
        source: &str,
    ) -> Result<(), Fault> {
        error!(journal = %claim.path.display(), error = reason, "Journal is damaged.");
        let moved =
            recovery::move_aside(&claim.path, "damaged", Timestamp::now()).map_err(|error| {
                Fault::Unavailable(format!("damaged ({reason}) and not movable ({error})"))
            })?;
        let _created = recovery::create_file(&claim.path)?;
        let mut store = Store::open(&claim.path)?;
        let (cursors, complete) = recovery::salvage_cursors(&moved);
        let positions = || cursors.iter().map(|cursor| cursor.position);
        let furthest = positions().max_by_key(|position| position.sequence);
        let is_enabled =
            |cursor: &&StoredCursor| sinks.iter().any(|sink| sink.name() == cursor.sink);
        let delivered = cursors
            .iter()
            .filter(is_enabled)
            .map(|cursor| cursor.position)
            .min_by_key(|position| position.sequence);
        // A sink whose cursor cannot be read gets all again that there is.
        let after = delivered.filter(|_| complete).unwrap_or_default();
        let start = furthest.unwrap_or_default();
        let salvage = recovery::salvage_file(&moved, after, start, &mut store, source);
        self.notice = Some(recovery::report(&claim.path, &moved, reason, &salvage));
        self.missing = salvage.missing;
        self.cursors = cursors;
        self.store = Some(store);
        Ok(())
    }

    fn end(&self) -> Position {
        self.store
            .as_ref()
            .map(|store| store.extent().end)
            .unwrap_or_default()
    }

    fn first(&self) -> Position {
        self.store
            .as_ref()
            .map(|store| store.extent().first)
            .unwrap_or_default()
    }

    /// A sink begins where it was. One that is new, or that was disabled while rows went, begins
    /// with the first row there is: nobody promised it the others.
    fn starting_positions(&self, sinks: &[SinkId]) -> [Position; SinkId::ALL.len()] {
        let first = self.first();
        SinkId::ALL.map(|sink| {
            let stored = self
                .cursors
                .iter()
                .find(|cursor| cursor.sink == sink.name());
            let Some(stored) = stored else { return first };
            if stored.enabled
                || stored.position.sequence >= first.sequence
                || !sinks.contains(&sink)
            {
                return self
                    .marked(sink, stored.position)
                    .unwrap_or(stored.position);
            }
            info!(
                sink = sink.name(),
                messages = first.total.saturating_sub(stored.position.total),
                "Messages from before this sink was disabled are no longer in the journal.",
            );
            first
        })
    }

    /// How far a sink acknowledged beyond its entry in the file before the process was killed.
    fn marked(&self, sink: SinkId, stored: Position) -> Option<Position> {
        let mark = self.marks.as_ref()?.get(sink)?;
        let is_further = mark.end.sequence > stored.sequence;
        (is_further && self.store.as_ref()?.holds(mark)).then_some(mark.end)
    }
}
