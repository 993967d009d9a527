//! What can go wrong, once for callers and once by what the journal can do about it.

use std::io;
use std::path::PathBuf;

use rusqlite::ffi::ErrorCode;

use crate::monitor::SinkId;
use crate::ownership;
use crate::telemetry::Timestamp;

/// What the journal tells its callers.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The folder, the file or its lock cannot be made or opened.
    #[error(
        "cannot {operation} {path}: {error}; {}",
        ownership::advice(path, error)
    )]
    File {
        /// What was tried.
        operation: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// The system's words.
        error: io::Error,
    },
    /// Another process holds the journal.
    #[error(
        "journal {path} is in use by another fieldgate; stop that one or set journal.path to another file"
    )]
    InUse {
        /// The journal.
        path: PathBuf,
    },
    /// A later version wrote it.
    #[error(
        "journal {path} has schema version {found} and this fieldgate knows only {known}; run the newer fieldgate or set journal.path to another file"
    )]
    Newer {
        /// The journal.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The newest one known here.
        known: i64,
    },
    /// A database of another program.
    #[error(
        "{path} is a SQLite database but no fieldgate journal; set journal.path to another file"
    )]
    Foreign {
        /// The database.
        path: PathBuf,
    },
    /// The database refused.
    #[error("cannot {operation} journal {path}: {reason}")]
    Database {
        /// What was tried.
        operation: &'static str,
        /// The journal.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// Rows that were only in memory are lost because the file took no more.
    #[error("{messages} messages could not be written to journal {path} and are lost: {reason}")]
    Unsaved {
        /// The journal.
        path: PathBuf,
        /// How many that no sink had delivered.
        messages: u64,
        /// Why not.
        reason: String,
    },
    /// The system gave no thread.
    #[error("cannot start the journal's writer thread: {0}")]
    Thread(io::Error),
    /// It takes nothing any more.
    #[error("the journal is closed")]
    Closed,
    /// The sink was not among those named at open.
    #[error("sink {0} is not enabled and has no cursor")]
    NotEnabled(SinkId),
    /// Rows of then were removed.
    #[error(
        "the history in journal {path} goes back to {oldest} and no further; --to oldest sends all of it"
    )]
    BeyondHistory {
        /// The journal.
        path: PathBuf,
        /// When its oldest row was received.
        oldest: Timestamp,
    },
    /// The sink never read this journal.
    #[error("sink {sink} has never read journal {path}; these have: {known}")]
    UnknownSink {
        /// The sink.
        sink: SinkId,
        /// The journal.
        path: PathBuf,
        /// The sinks that have.
        known: String,
    },
    /// A cursor has one owner.
    #[error("the cursor of sink {0} is already in use")]
    CursorInUse(SinkId),
}

/// Why an operation on a database failed, by what can be done about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// It is not what was written: move it aside and begin a new one.
    #[error("{0}")]
    Damaged(String),
    /// No room: go on in memory; letting delivered history go can help.
    #[error("disk full")]
    Full,
    /// The file is out of reach for now: go on in memory.
    #[error("{0}")]
    Unavailable(String),
    /// A later version wrote it: leave it alone.
    #[error("its schema version {found} is newer than this fieldgate")]
    Newer {
        /// Its schema version.
        found: i64,
        /// The newest that this program knows.
        known: i64,
    },
    /// Another program wrote it: leave it alone.
    #[error("it belongs to another program")]
    Foreign,
}

impl From<rusqlite::Error> for Fault {
    /// What is not plainly the surroundings' fault is the file's: every statement here is fixed, so
    /// one that fails in any other way met a database that is not as it was made.
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(
                ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::OutOfMemory
                | ErrorCode::FileLockingProtocolFailed
                | ErrorCode::NoLargeFileSupport,
            ) => Self::Unavailable(error.to_string()),
            _ => Self::Damaged(error.to_string()),
        }
    }
}

/// What concerns files rather than what is in them.
impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Self::Damaged(format!("readings of a row: {error}"))
    }
}

impl Fault {
    /// The same for a caller.
    pub(super) fn into_error(self, operation: &'static str, path: PathBuf) -> JournalError {
        match self {
            Self::Newer { found, known } => JournalError::Newer { path, found, known },
            Self::Foreign => JournalError::Foreign { path },
            fault => JournalError::Database {
                operation,
                path,
                reason: fault.to_string(),
            },
        }
    }
}
