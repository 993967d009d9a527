//! Taking hold of a journal file, and what to do when it is damaged.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::encoding::Names;
use super::error::Fault;
use super::ledger::Missing;
use super::marks::Marks;
use super::place::{Identity, with_suffix};
use super::store::{
    SELECT_PACKETS, Store, StoredCursor, decode_row, open_reader, read_readable_cursors,
};
use super::{JournalError, Position, Row};
use crate::monitor::SinkId;
use crate::telemetry::Timestamp;

/// A journal file that this process alone writes to, for as long as this lives.
#[derive(Debug)]
pub(super) struct Claim {
    /// The file itself, with links followed: SQLite puts its companions beside it.
    pub(super) path: PathBuf,
    /// There was none, though one had been here.
    is_gone: bool,
    lock_path: PathBuf,
    lock: File,
}

impl Claim {
    /// What is to be said of the file as it was found.
    pub(super) fn notice(&self) -> Option<String> {
        self.is_gone.then(|| {
            let path = self.path.display();
            let notice = format!("journal {path} was empty or gone; a new one is begun");
            tracing::warn!(journal = %path, "Journal was empty or gone; a new one is begun.");
            notice
        })
    }

    /// How far the sinks are. `None`: they cannot be kept.
    pub(super) fn marks(&self, sinks: &[SinkId]) -> Option<Marks> {
        // Opened for itself: what is shared with the lock would keep it when the claim has gone.
        let file = create_file(&self.lock_path);
        file.and_then(|file| Marks::new(file, sinks)).ok()
    }

    /// Whether the file that locks the journal is still the one that was locked.
    pub(super) fn is_locked(&self) -> bool {
        let own = self
            .lock
            .metadata()
            .ok()
            .map(|own| Identity::of_metadata(&own));
        Identity::of(&self.lock_path).is_ok_and(|found| found == own)
    }

    /// Takes hold of the journal's path anew, after its files went: makes what is missing and locks
    /// it. What is there is not touched.
    pub(super) fn renew(&mut self, configured: &Path, marks: Option<&Marks>) -> Result<(), Fault> {
        if let Some(folder) = configured.parent() {
            fs::create_dir_all(folder)?;
        }
        if Identity::of(configured)?.is_none() {
            create_file(configured)?;
        }
        self.path = fs::canonicalize(configured)?;
        self.lock_path = with_suffix(&self.path, ".lock");
        if self.is_locked() {
            return Ok(());
        }
        let lock = create_file(&self.lock_path)?;
        match lock.try_lock() {
            Ok(()) => self.lock = lock,
            Err(TryLockError::WouldBlock) => {
                return Err(Fault::Unavailable(
                    "another fieldgate has a journal in its place".to_owned(),
                ));
            }
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        if let Some(marks) = marks {
            marks.move_to(create_file(&self.lock_path)?);
        }
        Ok(())
    }
}

/// What came out of a damaged file.
#[derive(Debug)]
pub(super) struct Salvage {
    pub(super) rows: u64,
    pub(super) messages: u64,
    /// What is not stored of what had been.
    pub(super) missing: Missing,
    /// Why it ended early, if it did.
    pub(super) fault: Option<Fault>,
}

/// Makes folder and file where there are none, and locks the file against other processes.
pub(super) fn claim(configured: &Path) -> Result<Claim, JournalError> {
    let failed = |operation, path: &Path| {
        let path = path.to_owned();
        move |error| JournalError::File {
            operation,
            path,
            error,
        }
    };
    if let Some(folder) = configured.parent() {
        fs::create_dir_all(folder).map_err(failed("create the folder", folder))?;
    }
    create_file(configured).map_err(failed("open journal", configured))?;
    let path = fs::canonicalize(configured).map_err(failed("open journal", configured))?;
    let lock_path = with_suffix(&path, ".lock");
    let was_used = lock_path.exists();
    let lock = create_file(&lock_path).map_err(failed("open the lock file", &lock_path))?;
    match lock.try_lock() {
        Ok(()) => Ok(Claim {
            is_gone: was_used && length(&path) == 0,
            path,
            lock_path,
            lock,
        }),
        Err(TryLockError::WouldBlock) => Err(JournalError::InUse {
            path: configured.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(failed("lock", &lock_path)(error)),
    }
}

/// A path with links followed, as far as they lead anywhere.
pub(super) fn resolved(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// Whether a gateway has hold of a journal at present.
pub(super) fn is_claimed(path: &Path) -> bool {
    let path = resolved(path);
    let lock = File::open(with_suffix(&path, ".lock"));
    lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Opens a file for writing, making it for its owner alone.
pub(super) fn create_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Whether a file is empty though its log is not: it has been cut off.
pub(super) fn is_cut_off(path: &Path) -> bool {
    length(path) == 0 && length(&with_suffix(path, "-wal")) > 0
}

pub(super) fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// A database and what SQLite has beside it. Behind a damaged one, its tail goes on behind the successor.
pub(super) const DATABASE: [&str; 3] = ["", "-wal", "-shm"];

/// Renames files whose names begin with a path and end so, saying what they are; returns the new path.
pub(super) fn move_aside(
    path: &Path,
    suffixes: &[&str],
    what: &str,
    now: Timestamp,
) -> io::Result<PathBuf> {
    let time: String = now.to_string().replace(['-', ':'], "");
    let target = (0..1000)
        .map(|attempt| match attempt {
            0 => with_suffix(path, &format!(".{what}-{time}")),
            _ => with_suffix(path, &format!(".{what}-{time}-{attempt}")),
        })
        .find(|target| !target.exists())
        .ok_or(io::ErrorKind::AlreadyExists)?;
    // One that is not there has nothing to keep.
    for suffix in suffixes {
        match fs::rename(with_suffix(path, suffix), with_suffix(&target, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(target)
}

/// The entries of the sinks that can be trusted in a damaged file, and whether all can.
pub(super) fn salvage_cursors(damaged: &Path) -> (Vec<StoredCursor>, bool) {
    open_reader(damaged).map_or_else(
        |_| (Vec::new(), false),
        |connection| read_readable_cursors(&connection),
    )
}

/// As [`salvage`], from a file that was moved aside.
pub(super) fn salvage_file(
    damaged: &Path,
    after: Position,
    start: Position,
    store: &mut Store,
) -> Salvage {
    let connection = open_reader(damaged);
    let connection = connection.as_ref().map_err(Fault::clone);
    salvage(connection, after, start, store)
}

/// Copies the rows behind a position that can be read from a damaged file into an empty store, and
/// has new rows begin at `start`, or behind the last one copied if that is further.
///
/// A row that does not match its checksum is left out; where a page cannot be read, it goes on
/// behind it in growing steps.
pub(super) fn salvage(
    damaged: Result<&Connection, Fault>,
    after: Position,
    start: Position,
    store: &mut Store,
) -> Salvage {
    let mut copy = Copy {
        after: after.sequence,
        last: after,
        chunk: Vec::with_capacity(CHUNK),
        store,
        salvage: Salvage {
            rows: 0,
            messages: 0,
            missing: Missing::new(after.total),
            fault: None,
        },
    };
    copy.salvage.fault = damaged
        .and_then(|damaged| {
            if let Err(fault) = copy.store.restore_beside(damaged) {
                tracing::warn!(error = %fault, "What was rejected, or the known names, could not all be copied from the damaged journal.");
            }
            copy.run(damaged)
        })
        .err();
    let mut salvage = copy.salvage;
    let copied = store.extent().end.total.max(after.total);
    salvage.missing.add(copied, start.total);
    if store.extent().end.sequence < start.sequence {
        store.start_at(start);
    }
    salvage.missing.advance(store.extent().first.total);
    salvage
}

/// Rows copied in one transaction.
const CHUNK: usize = 1000;

/// Places tried in a damaged file.
const MAX_ATTEMPTS: usize = 10_000;

struct Copy<'a> {
    /// The sequence behind which to read on.
    after: u64,
    last: Position,
    chunk: Vec<Row>,
    store: &'a mut Store,
    salvage: Salvage,
}

impl Copy<'_> {
    fn run(&mut self, connection: &Connection) -> Result<(), Fault> {
        let mut step = 1;
        let mut unreadable = None;
        for _ in 0..MAX_ATTEMPTS {
            let before = self.last;
            let finished = self.copy_readable(connection)?;
            let Err(fault) = finished else {
                return Ok(());
            };
            step = if self.last == before { step * 2 } else { 1 };
            self.after += step;
            unreadable = Some(fault);
            if i64::try_from(self.after).is_err() || step > u64::MAX / 8 {
                break;
            }
        }
        unreadable.map_or(Ok(()), Err)
    }

    /// Copies rows until the end or a place that cannot be read (the inner error). The outer error
    /// is the new store's.
    fn copy_readable(&mut self, connection: &Connection) -> Result<Result<(), Fault>, Fault> {
        let mut names = Names::default();
        let finished = self.read_rows(connection, &mut names);
        self.flush()?;
        match finished {
            Ok(()) => Ok(Ok(())),
            Err(Stop::Unreadable(fault)) => Ok(Err(fault)),
            Err(Stop::Store(fault)) => Err(fault),
        }
    }

    fn read_rows(&mut self, connection: &Connection, names: &mut Names) -> Result<(), Stop> {
        let unreadable = |error: rusqlite::Error| Stop::Unreadable(error.into());
        let mut statement = connection.prepare(SELECT_PACKETS).map_err(unreadable)?;
        let after = i64::try_from(self.after).unwrap_or(i64::MAX);
        let mut found = statement.query([after]).map_err(unreadable)?;
        while let Some(columns) = found.next().map_err(unreadable)? {
            if let Ok(sequence) = columns.get::<_, i64>(0) {
                self.after = self.after.max(sequence.unsigned_abs());
            }
            if let Ok(row) = decode_row(columns, names) {
                self.keep(row);
            }
            if self.chunk.len() >= CHUNK {
                self.flush().map_err(Stop::Store)?;
            }
        }
        Ok(())
    }

    fn keep(&mut self, row: Row) {
        let before = row.before();
        if row.sequence <= self.last.sequence || before < self.last.total {
            return;
        }
        let missing = &mut self.salvage.missing;
        missing.add(self.last.total, before);
        self.last = row.end();
        self.chunk.push(row);
    }

    fn flush(&mut self) -> Result<(), Fault> {
        self.store.restore(&self.chunk, &[], false)?;
        self.salvage.rows += self.chunk.len() as u64;
        let messages = self.chunk.iter().map(|row| row.readings.len() as u64);
        self.salvage.messages += messages.sum::<u64>();
        self.chunk.clear();
        Ok(())
    }
}

enum Stop {
    Unreadable(Fault),
    Store(Fault),
}

/// Says what became of a damaged file.
pub(super) fn report(path: &Path, moved: &Path, reason: &str, salvage: &Salvage) -> String {
    let notice = format!(
        "journal {} was damaged ({reason}); moved to {}, {} undelivered messages copied from it",
        path.display(),
        moved.display(),
        salvage.messages,
    );
    tracing::warn!(
        journal = %path.display(),
        moved = %moved.display(),
        packets = salvage.rows,
        messages = salvage.messages,
        unreadable = salvage.fault.as_ref().map(tracing::field::display),
        "A new journal is begun; the damaged one was moved aside, and what was undelivered and readable is copied.",
    );
    notice
}
