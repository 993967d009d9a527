//! What the writer thread, the cursors and the handles share.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use rusqlite::Connection;
use tokio::sync::watch;

use super::error::Fault;
use super::inbox::Inbox;
use super::ledger::{Account, Missing};
use super::marks::Marks;
use super::store::{Store, open_reader};
use super::{JournalState, JournalStatus, Position, SinkBacklog};
use crate::monitor::SinkId;
use crate::telemetry::Timestamp;

#[derive(Debug)]
pub(super) struct Shared {
    /// The journal's name in messages: its path as configured.
    pub(super) name: PathBuf,
    pub(super) max_messages: u64,
    pub(super) inbox: Inbox,
    /// What is committed; changes wake the readers.
    pub(super) progress: watch::Sender<Progress>,
    /// What is acknowledged, committed or not. `None`: the journal is in memory.
    pub(super) marks: Option<Marks>,
    tiers: RwLock<Tiers>,
    ledger: Mutex<Ledger>,
}

/// How far the writer is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Progress {
    /// Behind the last committed row.
    pub(super) end: Position,
    /// The last packet of the inbox that was dealt with.
    pub(super) ticket: u64,
    /// Counts the files: a new one began after damage.
    pub(super) generation: u64,
    /// The writer has ended.
    pub(super) ended: bool,
    /// It ended by a panic.
    pub(super) broken: bool,
}

/// Where rows are. Those in memory come behind those in the file; while a reader holds this, none
/// moves from one to the other.
#[derive(Debug)]
pub(super) struct Tiers {
    pub(super) generation: u64,
    pub(super) file: Option<PathBuf>,
    /// The file is damaged and its successor is not complete yet.
    pub(super) replacing: bool,
    /// The path leads elsewhere at present: whoever has the file open may read on, and nobody may
    /// open it.
    pub(super) astray: bool,
    pub(super) memory: Option<Mutex<Store>>,
}

/// All that is counted. Locked for moments only, and never together with anything else.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) end: Position,
    pub(super) missing: Missing,
    /// Of all sinks of this run. A sink's place among them is its place wherever else something is kept of
    /// it, so that none ever leaves.
    pub(super) accounts: Vec<Account>,
    pub(super) state: JournalState,
    pub(super) since: Timestamp,
    pub(super) notice: Option<String>,
    /// Entries that left `rejected` before their time, since the journal was opened.
    pub(super) forgotten: u64,
    /// What the process has written to disks so far.
    pub(super) write_bytes: Option<u64>,
}

impl Tiers {
    /// Opens the file to read rows from it, if there is one.
    pub(super) fn open_file(&self) -> Result<Option<Connection>, Fault> {
        if self.replacing {
            return Err(Fault::Unavailable(
                "it was damaged and is being replaced".to_owned(),
            ));
        }
        match &self.file {
            Some(_) if self.astray => Err(Fault::Unavailable(
                "its file was deleted, moved or replaced and is being saved".to_owned(),
            )),
            Some(path) => open_reader(path).map(Some),
            None => Ok(None),
        }
    }
}

impl Shared {
    pub(super) fn new(
        name: PathBuf,
        max_messages: u64,
        marks: Option<Marks>,
        tiers: Tiers,
        ledger: Ledger,
    ) -> Self {
        let progress = Progress {
            end: ledger.end,
            generation: tiers.generation,
            ..Progress::default()
        };
        Self {
            name,
            max_messages,
            inbox: Inbox::default(),
            progress: watch::Sender::new(progress),
            marks,
            tiers: RwLock::new(tiers),
            ledger: Mutex::new(ledger),
        }
    }

    // Whatever panicked while holding one of these locks left whole values behind.

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn tiers(&self) -> RwLockReadGuard<'_, Tiers> {
        self.tiers.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn tiers_mut(&self) -> RwLockWriteGuard<'_, Tiers> {
        self.tiers.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Up to which row the acknowledgements of every enabled sink are committed.
    pub(super) fn settled(&self) -> u64 {
        let ledger = self.ledger();
        let delivered = ledger.delivered().sequence;
        let committed = ledger.enabled().map(|it| it.committed.borrow().sequence);
        committed.min().unwrap_or(delivered).min(delivered)
    }

    pub(super) fn status(&self) -> JournalStatus {
        let ledger = self.ledger();
        let backlog = |account: &Account| SinkBacklog {
            sink: account.sink.clone(),
            depth: account.depth(ledger.end, &ledger.missing),
            dropped: account.dropped(&ledger.missing),
            acknowledged: account.acknowledged(),
            again: account.again(&ledger.missing),
        };
        JournalStatus {
            state: ledger.state.clone(),
            since: ledger.since,
            notice: ledger.notice.clone(),
            end: ledger.end,
            stored: ledger.stored(),
            max_messages: self.max_messages,
            rejected_dropped: ledger.forgotten,
            write_bytes: ledger.write_bytes,
            sinks: ledger.enabled().map(backlog).collect(),
        }
    }
}

impl Ledger {
    pub(super) fn set_state(&mut self, state: JournalState) {
        if self.state != state {
            self.state = state;
            self.since = Timestamp::now();
        }
    }

    /// The accounts of the enabled sinks.
    pub(super) fn enabled(&self) -> impl Iterator<Item = &Account> {
        self.accounts.iter().filter(|account| account.enabled)
    }

    /// A sink's place among those of the journal.
    pub(super) fn place_of(&self, sink: &SinkId) -> Option<usize> {
        self.accounts.iter().position(|it| it.sink == *sink)
    }

    /// Up to where every enabled sink has acknowledged; the end when none is enabled.
    pub(super) fn delivered(&self) -> Position {
        let positions = self.enabled().map(Account::acknowledged);
        positions
            .min_by_key(|position| position.sequence)
            .unwrap_or(self.end)
    }

    /// Messages stored.
    pub(super) fn stored(&self) -> u64 {
        self.end.total.saturating_sub(self.missing.after(0))
    }

    /// What each sink lost so far.
    pub(super) fn dropped(&self) -> Vec<(SinkId, u64)> {
        let dropped = |it: &Account| (it.sink.clone(), it.dropped(&self.missing));
        self.enabled().map(dropped).collect()
    }
}

/// Locks the memory tier's database.
pub(super) fn lock_store(store: &Mutex<Store>) -> MutexGuard<'_, Store> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}
