//! The sinks' entries.

use std::sync::Arc;

use rusqlite::{Connection, Transaction, params};

use super::rows::{checksum_of, integer, natural};
use crate::journal::Position;
use crate::journal::error::Fault;
use crate::telemetry::Timestamp;

/// The name of a sink, or [`END`], and its place.
pub(in crate::journal) type NamedPosition = (Arc<str>, Position);

/// The entry among the cursors that remembers the end of the journal: rows at the end that were in
/// memory alone, or cannot be found in a damaged file, are then missed.
pub(in crate::journal) const END: &str = "journal";

/// The beginning of 2020: an earlier time comes from a clock that was never set.
const FIRST_TIME: Timestamp = Timestamp(1_577_836_800_000_000_000);

const SELECT_CURSORS: &str = "SELECT sink, sequence, total, enabled, checksum FROM cursors";

/// A sink's entry in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::journal) struct StoredCursor {
    pub(in crate::journal) sink: String,
    pub(in crate::journal) position: Position,
    /// Whether the sink was enabled when the journal was last opened.
    pub(in crate::journal) enabled: bool,
}

/// Reads the sinks' entries; one that cannot be trusted is damage.
pub(super) fn read_cursors(connection: &Connection) -> Result<Vec<StoredCursor>, Fault> {
    connection
        .prepare(SELECT_CURSORS)?
        .query_and_then([], decode_cursor)?
        .collect()
}

/// Reads the sinks' entries of a damaged database that can be trusted, and whether all can.
pub(in crate::journal) fn read_readable_cursors(
    connection: &Connection,
) -> (Vec<StoredCursor>, bool) {
    let mut cursors = Vec::new();
    let mut read = || -> Result<bool, Fault> {
        let mut complete = true;
        for cursor in connection
            .prepare(SELECT_CURSORS)?
            .query_and_then([], decode_cursor)?
        {
            match cursor {
                Ok(cursor) => cursors.push(cursor),
                Err(_) => complete = false,
            }
        }
        Ok(complete)
    };
    let complete = read().unwrap_or(false);
    (cursors, complete)
}

fn decode_cursor(columns: &rusqlite::Row<'_>) -> Result<StoredCursor, Fault> {
    let sink: String = columns.get(0)?;
    let (sequence, total) = (columns.get(1)?, columns.get(2)?);
    if columns.get::<_, i64>(4)? != checksum_of(&[sequence, total], sink.as_bytes()) {
        return Err(Fault::Damaged(format!(
            "the cursor of {sink:?} does not match its checksum"
        )));
    }
    Ok(StoredCursor {
        sink,
        position: Position {
            sequence: natural(sequence)?,
            total: natural(total)?,
        },
        enabled: columns.get::<_, i64>(3)? != 0,
    })
}

/// Notes when the sinks left that are disabled. What a clock says that was never set is no time.
pub(super) fn note_leaving(transaction: &Transaction<'_>, now: Timestamp) -> Result<(), Fault> {
    transaction.execute("UPDATE cursors SET left_at = NULL WHERE enabled = 1", [])?;
    transaction.execute(
        "UPDATE cursors SET left_at = ?1
         WHERE enabled = 0 AND (left_at IS NULL OR left_at < ?2)",
        [now.0, FIRST_TIME.0],
    )?;
    Ok(())
}

/// Removes the entries of sinks that left before a time; returns their names.
pub(super) fn forget_left_before(
    connection: &Connection,
    time: Timestamp,
) -> Result<Vec<String>, Fault> {
    let mut statement = connection.prepare_cached(
        "DELETE FROM cursors WHERE enabled = 0 AND sink <> ?1 AND left_at BETWEEN ?2 AND ?3
         RETURNING sink",
    )?;
    let sinks = statement.query_map(params![END, FIRST_TIME.0, time.0], |row| row.get(0))?;
    Ok(sinks.collect::<Result<_, _>>()?)
}

/// Removes the entry of a sink.
pub(in crate::journal) fn forget_cursor(connection: &Connection, sink: &str) -> Result<(), Fault> {
    connection.execute("DELETE FROM cursors WHERE sink = ?1", [sink])?;
    Ok(())
}

pub(super) fn write_cursors(
    transaction: &Transaction<'_>,
    cursors: &[NamedPosition],
) -> Result<(), Fault> {
    for (name, position) in cursors {
        let fields = [integer(position.sequence), integer(position.total)];
        let checksum = checksum_of(&fields, name.as_bytes());
        transaction
            .prepare_cached(
                "INSERT INTO cursors (sink, sequence, total, enabled, checksum)
                 VALUES (?1, ?2, ?3, 1, ?4)
                 ON CONFLICT (sink) DO UPDATE SET sequence = excluded.sequence,
                     total = excluded.total, enabled = 1, checksum = excluded.checksum",
            )?
            .execute(params![&**name, fields[0], fields[1], checksum])?;
    }
    Ok(())
}
