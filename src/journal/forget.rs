//! Taking out what the journal knows of a sink that is not configured any more.

use std::fs::File;
use std::path::Path;

use rusqlite::OpenFlags;

use super::JournalError;
use super::error::Fault;
use super::recovery::{claim, is_claimed, resolved};
use super::store::{END, connect, forget_cursor, identify, read_readable_cursors};
use super::tail;
use crate::monitor::SinkId;

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forgotten {
    /// Nothing is known of it any more.
    Done,
    /// A gateway that runs delivers to it.
    InUse,
    /// Nothing was known of it, but of these.
    Unknown(Vec<String>),
}

/// Forgets how far the first of these sinks is that anything is known of. A gateway may be writing to the
/// journal.
pub fn forget(path: &Path, sinks: &[SinkId]) -> Result<Forgotten, JournalError> {
    // SQLite has no words for what is wrong with a file that cannot be opened.
    File::open(path).map_err(|error| JournalError::File {
        operation: "open journal",
        path: path.to_owned(),
        error,
    })?;
    let failed = |fault: Fault| fault.into_error("write", path.to_owned());
    if tail::exists(&resolved(path)) && !is_claimed(path) {
        // What is in the tail would be known again at the next start.
        let claim = claim(path)?;
        tail::open_whole(&claim.path).map_err(failed)?;
    }
    forget_in(path, sinks).map_err(failed)
}

fn forget_in(path: &Path, sinks: &[SinkId]) -> Result<Forgotten, Fault> {
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    identify(&connection)?.ok_or(Fault::Foreign)?;
    let (mut known, _) = read_readable_cursors(&connection);
    known.retain(|cursor| cursor.sink != END);
    let is_meant = |name: &str| sinks.iter().any(|sink| sink.as_str() == name);
    let Some(found) = known.iter().find(|cursor| is_meant(&cursor.sink)) else {
        let names = known.into_iter().map(|cursor| cursor.sink);
        return Ok(Forgotten::Unknown(names.collect()));
    };
    if found.enabled && is_claimed(path) {
        return Ok(Forgotten::InUse);
    }
    forget_cursor(&connection, &found.sink)?;
    Ok(Forgotten::Done)
}
