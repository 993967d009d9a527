//! Going back in the history, so that a sink delivers again what it had delivered.

use std::fs::File;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};

use super::error::Fault;
use super::marks::Mark;
use super::recovery;
use super::shared::{Shared, lock_store};
use super::store::{END, StoredCursor, natural};
use super::tail;
use super::{JournalError, Position};
use crate::monitor::{RewindTo, SinkId};
use crate::telemetry::Timestamp;

/// The place before the first row that is delivered again, of a journal that is open.
pub(super) fn place(shared: &Shared, to: RewindTo) -> Result<Position, JournalError> {
    let failed = |fault: Fault| fault.into_error("read", shared.name.clone());
    let mut search = Search::new(to);
    // While this is held, no row moves from memory to the file.
    let tiers = shared.tiers();
    if let Some(file) = tiers.open_file().map_err(failed)? {
        search.look(&file).map_err(failed)?;
    }
    if let Some(memory) = &tiers.memory {
        let store = lock_store(memory);
        search.look(store.connection()).map_err(failed)?;
    }
    let end = shared.ledger().end;
    search.result(end, &shared.name)
}

/// Takes a sink back in a journal that no gateway has; returns how many messages it will deliver again.
///
/// It is one transaction: a command that is interrupted has done it or not.
pub fn take_back(path: &Path, sink: &SinkId, to: RewindTo) -> Result<u64, JournalError> {
    // Claiming it would make a journal where there is none.
    File::open(path).map_err(|error| JournalError::File {
        operation: "open journal",
        path: path.to_owned(),
        error,
    })?;
    let failed = |fault: Fault| fault.into_error("change", path.to_owned());
    let claim = recovery::claim(path)?;
    let mut store = tail::open_whole(&claim.path).map_err(failed)?;
    let cursors = store.cursors().map_err(failed)?;
    let entry = cursors.iter().find(|cursor| cursor.sink == sink.as_str());
    let entry = entry.ok_or_else(|| unknown(sink, path, &cursors))?;
    let marks = claim.marks(std::slice::from_ref(sink)).ok_or_else(|| {
        let reason = "its lock file cannot be written".to_owned();
        failed(Fault::Unavailable(reason))
    })?;
    let mark = marks.get(0).filter(|mark| store.holds(*mark));
    let acknowledged = match mark {
        Some(mark) if mark.end.sequence > entry.position.sequence => mark.end,
        _ => entry.position,
    };
    let mut search = Search::new(to);
    search.look(store.connection()).map_err(failed)?;
    let place = search.result(store.extent().end, path)?;
    if place.sequence >= acknowledged.sequence {
        return Ok(0);
    }
    let again = count(store.connection(), place, acknowledged).map_err(failed)?;
    // First of all: one that is further on would be believed at the next start.
    let forgotten = marks.set(0, Mark::NONE);
    forgotten.map_err(|error| failed(error.into()))?;
    let taken_back = store.take_back((sink.as_str().into(), place));
    taken_back.and_then(|()| store.close()).map_err(failed)?;
    Ok(again)
}

fn unknown(sink: &SinkId, path: &Path, cursors: &[StoredCursor]) -> JournalError {
    let known = cursors.iter().map(|cursor| cursor.sink.as_str());
    let known: Vec<&str> = known.filter(|name| *name != END).collect();
    JournalError::UnknownSink {
        sink: sink.clone(),
        path: path.to_owned(),
        known: known.join(", "),
    }
}

/// Messages of the rows behind one place up to another.
fn count(connection: &Connection, after: Position, up_to: Position) -> Result<u64, Fault> {
    let sequence = |position: Position| i64::try_from(position.sequence).unwrap_or(i64::MAX);
    let sum = connection.query_row(
        "SELECT coalesce(sum(count), 0) FROM packets WHERE sequence > ?1 AND sequence <= ?2",
        params![sequence(after), sequence(up_to)],
        |columns| columns.get(0),
    )?;
    natural(sum)
}

/// The way through the rows, tier by tier, to the first that is asked for.
struct Search {
    to: RewindTo,
    /// The oldest row there is: the place before it, and when it was received.
    oldest: Option<(Position, Timestamp)>,
    found: Option<Position>,
}

const OLDEST: &str =
    "SELECT sequence, total - count, received FROM packets ORDER BY sequence LIMIT 1";

/// Times have no index: this looks at every row before the one that it finds.
const SINCE: &str = "SELECT sequence, total - count, received FROM packets
    WHERE received >= ?1 OR event_time >= ?1 ORDER BY sequence LIMIT 1";

impl Search {
    fn new(to: RewindTo) -> Self {
        Self {
            to,
            oldest: None,
            found: None,
        }
    }

    fn look(&mut self, connection: &Connection) -> Result<(), Fault> {
        if self.oldest.is_none() {
            self.oldest = first(connection, OLDEST, None)?;
        }
        if let RewindTo::Time(time) = self.to
            && self.found.is_none()
        {
            let found = first(connection, SINCE, Some(time))?;
            self.found = found.map(|(place, _)| place);
        }
        Ok(())
    }

    /// The place; the end of the journal where no row is asked for.
    fn result(self, end: Position, path: &Path) -> Result<Position, JournalError> {
        let Some((oldest, received)) = self.oldest else {
            return Ok(end);
        };
        match self.to {
            RewindTo::Oldest => Ok(oldest),
            // A journal that has lost nothing yet goes back to the beginning of everything.
            RewindTo::Time(time) if time < received && oldest.sequence > 0 => {
                Err(JournalError::BeyondHistory {
                    path: path.to_owned(),
                    oldest: received,
                })
            }
            RewindTo::Time(_) => Ok(self.found.unwrap_or(end)),
        }
    }
}

fn first(
    connection: &Connection,
    sql: &str,
    since: Option<Timestamp>,
) -> Result<Option<(Position, Timestamp)>, Fault> {
    let mut statement = connection.prepare(sql)?;
    let columns = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let found: Option<(i64, i64, i64)> = match since {
        Some(time) => statement.query_row([time.0], columns),
        None => statement.query_row([], columns),
    }
    .optional()?;
    let Some((sequence, before, received)) = found else {
        return Ok(None);
    };
    let place = Position {
        sequence: natural(sequence - 1)?,
        total: natural(before)?,
    };
    Ok(Some((place, Timestamp(received))))
}
