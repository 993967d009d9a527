//! A journal's file, read from its first row to its last while a gateway may be writing to it.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension};

use super::encoding::Names;
use super::error::Fault;
use super::history;
use super::recovery::resolved;
use super::store::{
    END, NamedPosition, SELECT_BOUNDS, identify, natural, open_reader, open_still_reader,
    read_nodes, read_readable_cursors, read_rows,
};
use super::tail;
use super::{JournalError, Position, Row};
use crate::monitor::{HistoryPoint, HistoryQuery, KnownNode};
use crate::telemetry::Timestamp;

/// Messages read at once: each time as one short transaction, so that the gateway's log does not grow
/// meanwhile.
const BLOCK: usize = 4_096;

/// A reader of the file and its tail. What a gateway holds in memory alone is not seen.
#[derive(Debug)]
pub struct Archive {
    path: PathBuf,
    connection: Connection,
    /// What was in the tail when this was opened.
    tail: Vec<Row>,
    positions: Vec<NamedPosition>,
    names: Names,
    after: Position,
}

impl Archive {
    /// Opens a journal without changing anything in it.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        Self::open_by(path, open_reader)
    }

    /// Opens a journal that no gateway has, as one that was copied: nothing is locked and nothing is
    /// written, so that it may lie on a read-only file system.
    pub fn open_still(path: &Path) -> Result<Self, JournalError> {
        Self::open_by(path, open_still_reader)
    }

    fn open_by(
        path: &Path,
        open: fn(&Path) -> Result<Connection, Fault>,
    ) -> Result<Self, JournalError> {
        // SQLite has no words for what is wrong with a file that cannot be opened.
        File::open(path).map_err(|error| JournalError::File {
            operation: "open journal",
            path: path.to_owned(),
            error,
        })?;
        let failed = |fault: Fault| fault.into_error("read", path.to_owned());
        let connection = open(path).map_err(failed)?;
        let version = identify(&connection).map_err(failed)?;
        version.ok_or_else(|| failed(Fault::Foreign))?;
        // Of a damaged file, what can be read is read.
        let behind = tail::behind(&resolved(path), &connection).ok().flatten();
        let (tail, positions) = behind.map_or_else(Default::default, |it| (it.rows, it.positions));
        Ok(Self {
            path: path.to_owned(),
            connection,
            tail,
            positions,
            names: Names::default(),
            after: Position::default(),
        })
    }

    /// The first and the last sequence that are there now; `None`: there are no rows.
    pub fn sequences(&self) -> Result<Option<(u64, u64)>, JournalError> {
        let of_file = self.sequences_of_file()?;
        let ends = self.tail.first().zip(self.tail.last());
        let of_tail = ends.map(|(first, last)| (first.sequence, last.sequence));
        Ok(match (of_file, of_tail) {
            (Some((first, end)), Some((_, last))) => Some((first, end.max(last))),
            (one, other) => one.or(other),
        })
    }

    fn sequences_of_file(&self) -> Result<Option<(u64, u64)>, JournalError> {
        let bounds = self.connection.query_row(SELECT_BOUNDS, [], |row| {
            Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, Option<i64>>(1)?))
        });
        let (first, last) = bounds.map_err(|error| self.failed(error.into()))?;
        let natural = |number| natural(number).map_err(|fault| self.failed(fault));
        first
            .zip(last)
            .map(|(first, last)| Ok((natural(first)?, natural(last)?)))
            .transpose()
    }

    /// The next rows, a bounded number of them; empty at the end.
    pub fn read(&mut self) -> Result<Vec<Row>, JournalError> {
        let mut rows = Vec::new();
        let read = read_rows(
            &self.connection,
            self.after,
            BLOCK,
            &mut self.names,
            &mut rows,
        );
        let is_all = read.map_err(|fault| self.failed(fault))?;
        if is_all {
            let last = rows.last().map_or(self.after, Row::end).sequence;
            let behind = self.tail.iter().filter(|row| row.sequence > last);
            rows.extend(behind.cloned());
        }
        if let Some(last) = rows.last() {
            self.after = last.end();
        }
        Ok(rows)
    }

    /// The history of one metric, in the order of time.
    pub fn history(&self, query: &HistoryQuery) -> Result<Vec<HistoryPoint>, JournalError> {
        history::of_rows(query, |times, take| self.visit(times, take))
    }

    /// Calls `take` with every row that was measured within these times, in the order of the journal, until
    /// it says that this is enough.
    pub fn visit(
        &self,
        times: Range<Timestamp>,
        mut take: impl FnMut(&Row) -> bool,
    ) -> Result<(), JournalError> {
        // What comes from the tail into the file meanwhile is not to be taken twice.
        let newest = self.sequences_of_file()?.map_or(0, |(_, newest)| newest);
        let mut goes_on = true;
        let mut take = |row: &Row| {
            goes_on = goes_on && (!times.contains(&row.event_time) || take(row));
            goes_on
        };
        let visited = history::visit_rows(&self.connection, times.clone(), &mut |row| {
            row.sequence <= newest && take(row)
        });
        visited.map_err(|fault| self.failed(fault))?;
        let mut behind = self.tail.iter().filter(|row| row.sequence > newest);
        behind.all(take);
        Ok(())
    }

    /// When the oldest row that is there was received.
    pub fn oldest(&self) -> Result<Option<Timestamp>, JournalError> {
        let sql = "SELECT received FROM packets ORDER BY sequence LIMIT 1";
        let oldest = self.connection.query_row(sql, [], |row| row.get(0));
        let oldest = oldest.optional();
        let oldest = oldest.map_err(|error| self.failed(error.into()))?;
        let of_tail = || self.tail.first().map(|row| row.received);
        Ok(oldest.map(Timestamp).or_else(of_tail))
    }

    /// When the first of the rows that are there was measured.
    pub fn earliest(&self) -> Result<Option<Timestamp>, JournalError> {
        let sql = "SELECT min(event_time) FROM packets";
        let of_file = self.connection.query_row(sql, [], |row| row.get(0));
        let of_file: Option<i64> = of_file.map_err(|error| self.failed(error.into()))?;
        let of_tail = self.tail.iter().map(|row| row.event_time);
        Ok(of_tail.chain(of_file.map(Timestamp)).min())
    }

    /// How far the sinks were acknowledged whose entries can be read, in the order of their names.
    pub fn acknowledged(&self) -> Vec<(String, Position)> {
        let (cursors, _) = read_readable_cursors(&self.connection);
        let sinks = cursors.into_iter().filter(|cursor| cursor.sink != END);
        let enabled = sinks.filter(|cursor| cursor.enabled);
        enabled
            .map(|cursor| {
                let mut positions = self.positions.iter().rev();
                let newer = positions.find(|(sink, _)| **sink == *cursor.sink);
                let position = newer.map_or(cursor.position, |(_, position)| *position);
                (cursor.sink, position)
            })
            .collect()
    }

    /// The nodes that the journal remembers; those of earlier versions remember none.
    pub fn nodes(&self) -> Result<Vec<KnownNode>, JournalError> {
        let has_any = self.connection.table_exists(None, "nodes");
        if !has_any.map_err(|error| self.failed(error.into()))? {
            return Ok(Vec::new());
        }
        read_nodes(&self.connection).map_err(|fault| self.failed(fault))
    }

    fn failed(&self, fault: Fault) -> JournalError {
        fault.into_error("read", self.path.clone())
    }
}
