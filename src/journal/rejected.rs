//! The table of what was rejected, for those who look into a journal beside a gateway, or without one.

use std::fs::File;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::JournalError;
use super::encoding::encode;
use super::error::Fault;
use super::store::{connect, has_column, identify, open_reader, open_still_reader};
use crate::telemetry::{Reading, Timestamp};

/// Version 1 kept what servers refused alone.
const SELECT_OF_VERSION_1: &str = "SELECT id, rejected_at, sink, NULL, event_time, node, metric,
    value, 'refused', reason, NULL, NULL, NULL, NULL FROM rejected";

/// Of version 2 before entries said which source they came from.
const SELECT_OF_ANY: &str =
    "SELECT id, rejected_at, sink, received, event_time, node, metric, value,
    reason_name, reason, frame, delivered_at,
    (SELECT id FROM requests WHERE requests.id = rejected.id), NULL FROM rejected";

const SELECT: &str = "SELECT id, rejected_at, sink, received, event_time, node, metric, value,
    reason_name, reason, frame, delivered_at,
    (SELECT id FROM requests WHERE requests.id = rejected.id), source FROM rejected";

/// What was set aside on its way in, or refused by a server.
#[derive(Debug, Clone, PartialEq)]
pub struct RejectedEntry {
    /// Its number, never used twice.
    pub id: i64,
    /// When it came into the table.
    pub rejected_at: Timestamp,
    /// The name of the source that it came from; `None`: an earlier version wrote it.
    pub source: Option<String>,
    /// The sink whose server refused it; `None`: the gateway set it aside.
    pub sink: Option<String>,
    /// When the gateway read it, if it was set aside.
    pub received: Option<Timestamp>,
    /// When it was measured, as far as that is known.
    pub event_time: Option<Timestamp>,
    /// The reading; `None`: the whole frame.
    pub reading: Option<Reading>,
    /// The reason as metrics name it, or [`REFUSED`](super::REFUSED).
    pub reason_name: String,
    /// The reason in words, those of the server if it refused.
    pub reason: String,
    /// The bytes that it came in, if it was set aside.
    pub frame: Option<Vec<u8>>,
    /// When it was sent on after all.
    pub delivered_at: Option<Timestamp>,
    /// It is asked for, and no gateway has taken it up yet.
    pub is_requested: bool,
}

/// The table in a journal's file.
#[derive(Debug)]
pub struct RejectedTable {
    path: PathBuf,
    connection: Connection,
    select: &'static str,
}

impl RejectedTable {
    /// Opens a journal to read what is there, without changing anything in it.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        Self::open_by(path, open_reader)
    }

    /// Opens a journal that no gateway has, as [`Archive::open_still`](super::Archive::open_still) does.
    pub fn open_still(path: &Path) -> Result<Self, JournalError> {
        Self::open_by(path, open_still_reader)
    }

    /// Opens a journal to have entries of it sent on. A gateway may be writing to it.
    pub fn open_to_ask(path: &Path) -> Result<Self, JournalError> {
        let open = |path: &Path| connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE);
        let table = Self::open_by(path, open)?;
        if table.select == SELECT_OF_VERSION_1 {
            let reason = "an earlier fieldgate wrote it; start this one with it once".to_owned();
            return Err(table.failed("write", Fault::Unavailable(reason)));
        }
        Ok(table)
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
        let select = match identify(&connection).map_err(failed)? {
            None => return Err(failed(Fault::Foreign)),
            Some(1) => SELECT_OF_VERSION_1,
            Some(_) if has_column(&connection, "rejected", "source").map_err(failed)? => SELECT,
            Some(_) => SELECT_OF_ANY,
        };
        Ok(Self {
            path: path.to_owned(),
            connection,
            select,
        })
    }

    /// Calls `visit` with every entry, the oldest first, until it says `false`.
    pub fn visit(&self, visit: impl FnMut(RejectedEntry) -> bool) -> Result<(), JournalError> {
        let visited = self.visit_all(visit);
        visited.map_err(|fault| self.failed("read", fault))
    }

    fn visit_all(&self, mut visit: impl FnMut(RejectedEntry) -> bool) -> Result<(), Fault> {
        let sql = format!("{} ORDER BY id", self.select);
        let mut statement = self.connection.prepare(&sql)?;
        let mut rows = statement.query([])?;
        while let Some(columns) = rows.next()?
            && visit(read_entry(columns)?)
        {}
        Ok(())
    }

    /// The entry with this number.
    pub fn find(&self, id: i64) -> Result<Option<RejectedEntry>, JournalError> {
        let sql = format!("{} WHERE id = ?1", self.select);
        let found = self.connection.query_row(&sql, [id], read_entry).optional();
        found.map_err(|error| self.failed("read", error.into()))
    }

    /// Asks for an entry to be sent on with these readings: the running gateway takes it up, or the
    /// next one. Returns whether it was not asked for or sent on before.
    pub fn ask(
        &self,
        id: i64,
        event_time: Timestamp,
        readings: &[Reading],
    ) -> Result<bool, JournalError> {
        let ask = || -> Result<usize, Fault> {
            let mut json = Vec::new();
            encode(readings, &mut json)?;
            let json = String::from_utf8_lossy(&json);
            let sql = "INSERT OR IGNORE INTO requests (id, event_time, readings)
                SELECT id, ?2, ?3 FROM rejected WHERE id = ?1 AND delivered_at IS NULL";
            Ok(self
                .connection
                .execute(sql, params![id, event_time.0, json])?)
        };
        let asked = ask().map_err(|fault| self.failed("write", fault))?;
        Ok(asked == 1)
    }

    fn failed(&self, operation: &'static str, fault: Fault) -> JournalError {
        fault.into_error(operation, self.path.clone())
    }
}

fn read_entry(columns: &rusqlite::Row<'_>) -> rusqlite::Result<RejectedEntry> {
    let time = |index| -> rusqlite::Result<Option<Timestamp>> {
        Ok(columns.get::<_, Option<i64>>(index)?.map(Timestamp))
    };
    let node: Option<String> = columns.get(5)?;
    let metric: Option<String> = columns.get(6)?;
    let value: Option<f64> = columns.get(7)?;
    let reading = node.zip(metric).zip(value);
    Ok(RejectedEntry {
        id: columns.get(0)?,
        rejected_at: Timestamp(columns.get(1)?),
        sink: columns.get(2)?,
        received: time(3)?,
        event_time: time(4)?,
        reading: reading.map(|((node, metric), value)| Reading {
            node: node.as_str().into(),
            metric: metric.as_str().into(),
            value,
        }),
        reason_name: columns.get(8)?,
        reason: columns.get(9)?,
        frame: columns.get(10)?,
        delivered_at: time(11)?,
        is_requested: columns.get::<_, Option<i64>>(12)?.is_some(),
        source: columns.get(13)?,
    })
}
