//! One SQLite database: rows at its end, cursors beside them, the oldest rows leaving at its front.
//!
//! The newest row never leaves, so the last sequence and total used are always in the database.

use std::path::Path;
use std::time::Duration;

use flate2::Crc;
use rusqlite::config::DbConfig;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior, params};

use super::encoding::{Names, decode, encode};
use super::error::Fault;
use super::{Position, Rejection, Row};
use crate::telemetry::{Packet, Timestamp};

/// The newest schema known here.
pub(super) const SCHEMA_VERSION: i64 = 1;

/// `fgjl`: tells `file` and us whose database it is.
const APPLICATION_ID: i64 = 0x6667_6a6c;

/// Refused readings kept; the oldest go first.
const MAX_REJECTED: i64 = 100_000;

/// Rows that a trim may remove beyond what was appended.
const TRIM_SLACK: usize = 500;

/// Rows removed between two looks at the size.
const TRIM_CHUNK: usize = 100;

/// Free pages that stay in the file for what comes next (4 MiB).
const SPARE_PAGES: i64 = 1024;

const SCHEMA: &str = "
CREATE TABLE packets (
    sequence INTEGER PRIMARY KEY,
    total INTEGER NOT NULL,
    count INTEGER NOT NULL,
    received INTEGER NOT NULL,
    event_time INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    source TEXT NOT NULL,
    readings TEXT NOT NULL
) STRICT;
CREATE TABLE cursors (
    sink TEXT PRIMARY KEY,
    sequence INTEGER NOT NULL,
    total INTEGER NOT NULL,
    enabled INTEGER NOT NULL,
    checksum INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE rejected (
    id INTEGER PRIMARY KEY,
    rejected_at INTEGER NOT NULL,
    sink TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    event_time INTEGER NOT NULL,
    node TEXT NOT NULL,
    metric TEXT NOT NULL,
    value REAL NOT NULL,
    reason TEXT NOT NULL
) STRICT;
CREATE VIEW readings AS
    SELECT sequence, received, event_time, node.key AS node, metric.key AS metric, metric.value AS value
    FROM packets, json_each(packets.readings) AS node, json_each(node.value) AS metric;
";

const INSERT_PACKET: &str = "INSERT INTO packets
    (sequence, total, count, received, event_time, checksum, source, readings)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";

const INSERT_REJECTED: &str = "INSERT INTO rejected
    (rejected_at, sink, sequence, event_time, node, metric, value, reason)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";

/// Whole rows behind a sequence, for [`decode_row`].
pub(super) const SELECT_PACKETS: &str =
    "SELECT sequence, total, count, received, event_time, checksum, readings
    FROM packets WHERE sequence > ?1 ORDER BY sequence";

/// The first and the last sequence. Asked for in one `SELECT` both would cost a walk over all rows.
pub(super) const SELECT_BOUNDS: &str =
    "SELECT (SELECT min(sequence) FROM packets), (SELECT max(sequence) FROM packets)";

const SELECT_CURSORS: &str = "SELECT sink, sequence, total, enabled, checksum FROM cursors";

/// What is stored, from the place before the first row to the place behind the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) first: Position,
    pub(super) end: Position,
}

/// The name of a sink, or [`END`], and its place.
pub(super) type NamedPosition = (&'static str, Position);

/// The entry among the cursors that remembers the end of the journal: rows at the end that were in
/// memory alone, or cannot be found in a damaged file, are then missed.
pub(super) const END: &str = "journal";

/// What one commit brings.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch<'a> {
    /// Where the first packet goes.
    pub(super) start: Position,
    pub(super) source: &'a str,
    pub(super) packets: &'a [Packet],
    pub(super) cursors: &'a [NamedPosition],
    pub(super) rejections: &'a [Rejection],
}

/// How much may be stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// From the first row's total to the last one's.
    pub(super) max_messages: u64,
    pub(super) max_bytes: Option<u64>,
}

/// A sink's entry in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredCursor {
    pub(super) sink: String,
    pub(super) position: Position,
    /// Whether the sink was enabled when the journal was last opened.
    pub(super) enabled: bool,
}

/// The writing end of a database. Readers of a file have connections of their own.
#[derive(Debug)]
pub(super) struct Store {
    connection: Connection,
    extent: Extent,
    /// Whether commits wait for the disk.
    synchronous: bool,
    json: Vec<u8>,
}

impl Store {
    /// Opens a file, making it a journal when it is empty. Looks at its ends only, so that a full
    /// journal opens as fast as an empty one.
    pub(super) fn open(path: &Path) -> Result<Self, Fault> {
        let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        // An explicit checkpoint comes at close; one made while giving up a damaged file would
        // change what is to be kept as it is.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        check_identity(&connection)?;
        if connection.is_readonly("main")? {
            return Err(Fault::Damaged("its header forbids writing".to_owned()));
        }
        let mode: String =
            connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
        if mode != "wal" {
            return Err(Fault::Unavailable(format!(
                "its file system allows no write-ahead log (mode {mode})"
            )));
        }
        connection.execute_batch(
            "PRAGMA synchronous = NORMAL;
             PRAGMA fullfsync = ON;
             PRAGMA checkpoint_fullfsync = ON;
             PRAGMA journal_size_limit = 8388608;",
        )?;
        let extent = find_extent(&connection)?;
        Ok(Self::new(connection, extent))
    }

    /// A database in memory whose rows come behind a position.
    pub(super) fn in_memory(start: Position) -> Result<Self, Fault> {
        let connection = Connection::open_in_memory_with_flags(
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        connection.execute_batch(SCHEMA)?;
        let extent = Extent {
            first: start,
            end: start,
        };
        Ok(Self::new(connection, extent))
    }

    fn new(connection: Connection, extent: Extent) -> Self {
        Self {
            connection,
            extent,
            synchronous: false,
            json: Vec::new(),
        }
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(super) fn extent(&self) -> Extent {
        self.extent
    }

    /// Says where the first row of an empty database goes.
    pub(super) fn start_at(&mut self, start: Position) {
        if self.extent.first.sequence == self.extent.end.sequence {
            self.extent.first = start;
        }
        self.extent.end = start;
    }

    /// The sinks' entries. One that cannot be trusted is damage.
    pub(super) fn cursors(&self) -> Result<Vec<StoredCursor>, Fault> {
        read_cursors(&self.connection)
    }

    /// Writes the entries of the enabled sinks; the others are disabled from now on.
    pub(super) fn register(&mut self, cursors: &[NamedPosition]) -> Result<(), Fault> {
        let transaction = self.begin(false)?;
        transaction.execute("UPDATE cursors SET enabled = 0", [])?;
        write_cursors(&transaction, cursors)?;
        Ok(transaction.commit()?)
    }

    /// Writes a batch and removes what is too much by now, in one transaction.
    ///
    /// With `durable`, packets in it are on the disk when this returns. What comes without packets
    /// never waits for the disk: losing it repeats deliveries, no more.
    pub(super) fn commit(
        &mut self,
        batch: Batch<'_>,
        limits: Limits,
        durable: bool,
    ) -> Result<(), Fault> {
        let mut json = std::mem::take(&mut self.json);
        let result = self.commit_with(batch, limits, durable, &mut json);
        self.json = json;
        result
    }

    fn commit_with(
        &mut self,
        batch: Batch<'_>,
        limits: Limits,
        durable: bool,
        json: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let mut extent = self.extent;
        let transaction = self.begin(durable && !batch.packets.is_empty())?;
        if !batch.packets.is_empty() {
            extent.end = insert_packets(&transaction, batch, json)?;
            let appended = usize::try_from(extent.end.total - batch.start.total);
            let budget = appended.unwrap_or(usize::MAX).saturating_add(TRIM_SLACK);
            extent.first = trim(&transaction, extent, limits, budget)?;
        }
        write_rejections(&transaction, batch.rejections)?;
        write_cursors(&transaction, batch.cursors)?;
        transaction.commit()?;
        self.extent = extent;
        Ok(())
    }

    /// Takes over all rows and refusals of another database, which come behind the own ones.
    pub(super) fn absorb(
        &mut self,
        other: &Self,
        limits: Limits,
        durable: bool,
    ) -> Result<(), Fault> {
        let mut extent = self.extent;
        extent.end = other.extent.end;
        if self.extent.first.sequence == self.extent.end.sequence {
            extent.first = other.extent.first;
        }
        let transaction = self.begin(durable)?;
        let copied = copy_table(
            &other.connection,
            "SELECT sequence, total, count, received, event_time, checksum, source, readings
             FROM packets ORDER BY sequence",
            &transaction,
            INSERT_PACKET,
        )?;
        copy_table(
            &other.connection,
            "SELECT rejected_at, sink, sequence, event_time, node, metric, value, reason
             FROM rejected ORDER BY id",
            &transaction,
            INSERT_REJECTED,
        )?;
        let appended = usize::try_from(extent.end.total - other.extent.first.total);
        let budget = appended.unwrap_or(usize::MAX).max(copied) + TRIM_SLACK;
        extent.first = trim(&transaction, extent, limits, budget)?;
        transaction.commit()?;
        self.extent = extent;
        Ok(())
    }

    /// Adds rows that were read from another database, as they are.
    pub(super) fn restore(&mut self, rows: &[Row], source: &str) -> Result<(), Fault> {
        let mut extent = self.extent;
        let transaction = self.begin(false)?;
        let mut json = Vec::new();
        for row in rows {
            if extent.first.sequence == extent.end.sequence {
                extent.first = Position {
                    sequence: row.sequence - 1,
                    total: row.before(),
                };
            }
            extent.end = row.end();
            insert_row(&transaction, row, source, &mut json)?;
        }
        transaction.commit()?;
        self.extent = extent;
        Ok(())
    }

    /// Removes the oldest rows up to `delivered` that were received before `cutoff`, at most
    /// `budget` of them; returns whether there may be more.
    pub(super) fn prune(
        &mut self,
        delivered: u64,
        cutoff: Timestamp,
        budget: usize,
    ) -> Result<bool, Fault> {
        let extent = self.extent;
        if extent.first.sequence >= delivered {
            return Ok(false);
        }
        let transaction = self.begin(false)?;
        let (first, removed) = remove_front(&transaction, extent, budget, |row| {
            row.sequence <= delivered && row.received < cutoff
        })?;
        if removed > 0 {
            transaction.commit()?;
            self.extent.first = first;
        }
        Ok(removed == budget)
    }

    /// Gives some free pages back to the file system.
    pub(super) fn shrink(&mut self, pages: u32) -> Result<(), Fault> {
        let free: i64 = self
            .connection
            .query_row("PRAGMA freelist_count", [], |row| row.get(0))?;
        if free <= SPARE_PAGES {
            return Ok(());
        }
        self.set_synchronous(false)?;
        let mut statement = self
            .connection
            .prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
        let mut steps = statement.query([])?;
        while steps.next()?.is_some() {}
        Ok(())
    }

    /// Moves everything from the write-ahead log into the file and closes it.
    pub(super) fn close(self) -> Result<(), Fault> {
        self.connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        self.connection
            .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
        self.connection.close().map_err(|(_, error)| error.into())
    }

    /// Makes the file refuse to grow, as a full disk would.
    #[cfg(test)]
    pub(super) fn limit_pages(&self, pages: u32) {
        self.connection
            .query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))
            .unwrap();
    }

    fn begin(&mut self, synchronous: bool) -> Result<Transaction<'_>, Fault> {
        self.set_synchronous(synchronous)?;
        Ok(self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?)
    }

    fn set_synchronous(&mut self, synchronous: bool) -> Result<(), Fault> {
        if self.synchronous != synchronous {
            let level = if synchronous { "FULL" } else { "NORMAL" };
            self.connection.pragma_update(None, "synchronous", level)?;
            self.synchronous = synchronous;
        }
        Ok(())
    }
}

/// Opens a file to read rows from it.
pub(super) fn open_reader(path: &Path) -> Result<Connection, Fault> {
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.pragma_update(None, "cache_size", -512)?;
    Ok(connection)
}

/// Reads whole rows behind a position until `max_messages` are reached, at least one if there is
/// one. Returns whether these were all.
pub(super) fn read_rows(
    connection: &Connection,
    after: Position,
    max_messages: usize,
    names: &mut Names,
    rows: &mut Vec<Row>,
) -> Result<bool, Fault> {
    let mut statement = connection.prepare_cached(SELECT_PACKETS)?;
    let mut found = statement.query([integer(after.sequence)])?;
    let mut last = after;
    let mut messages: usize = rows.iter().map(|row| row.readings.len()).sum();
    while let Some(columns) = found.next()? {
        let count: usize = columns.get::<_, i64>(2)?.try_into().unwrap_or(usize::MAX);
        messages = messages.saturating_add(count);
        if messages > max_messages && !rows.is_empty() {
            return Ok(false);
        }
        let row = decode_row(columns, names)?;
        if row.sequence <= last.sequence || row.before() < last.total {
            return Err(Fault::Damaged("its rows are out of order".to_owned()));
        }
        if row.before() > last.total {
            check_gap(connection, last.sequence, row.sequence, names)?;
        }
        last = row.end();
        rows.push(row);
    }
    Ok(true)
}

/// Makes sure that there are no rows between two places, by walking back from the second one: in a
/// damaged tree there can be rows that no search finds.
pub(super) fn check_gap(
    connection: &Connection,
    last: u64,
    next: u64,
    names: &mut Names,
) -> Result<(), Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT sequence, total, count, received, event_time, checksum, readings
         FROM packets WHERE sequence < ?1 ORDER BY sequence DESC LIMIT 1",
    )?;
    let mut found = statement.query([integer(next)])?;
    let Some(columns) = found.next()? else {
        return Ok(());
    };
    if decode_row(columns, names)?.sequence > last {
        return Err(Fault::Damaged(format!(
            "rows behind row {last} cannot be found"
        )));
    }
    Ok(())
}

/// Reads one row of [`SELECT_PACKETS`] and verifies it.
pub(super) fn decode_row(columns: &rusqlite::Row<'_>, names: &mut Names) -> Result<Row, Fault> {
    let mut fields = [0; 5];
    for (index, field) in fields.iter_mut().enumerate() {
        *field = columns.get(index)?;
    }
    let checksum: i64 = columns.get(5)?;
    let json = columns
        .get_ref(6)?
        .as_bytes()
        .map_err(rusqlite::Error::from)?;
    if checksum != checksum_of(&fields, json) {
        return Err(Fault::Damaged(format!(
            "row {} does not match its checksum",
            fields[0]
        )));
    }
    let [sequence, total, count, received, event_time] = fields;
    let row = Row {
        sequence: natural(sequence)?,
        total: natural(total)?,
        received: Timestamp(received),
        event_time: Timestamp(event_time),
        readings: decode(json, names)?,
    };
    let counted = row.readings.len() as u64;
    if natural(count)? != counted || row.total < counted || row.sequence == 0 {
        return Err(Fault::Damaged(format!("row {sequence} contradicts itself")));
    }
    Ok(row)
}

/// Reads the sinks' entries; one that cannot be trusted is damage.
fn read_cursors(connection: &Connection) -> Result<Vec<StoredCursor>, Fault> {
    connection
        .prepare(SELECT_CURSORS)?
        .query_and_then([], decode_cursor)?
        .collect()
}

/// Reads the sinks' entries of a damaged database that can be trusted, and whether all can.
pub(super) fn read_readable_cursors(connection: &Connection) -> (Vec<StoredCursor>, bool) {
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

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, Fault> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    // For people who look into the journal with tools that take locks.
    connection.busy_timeout(Duration::from_secs(1))?;
    Ok(connection)
}

/// Finds out whose database this is; makes it ours when it is empty.
pub(super) fn check_identity(connection: &Connection) -> Result<(), Fault> {
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let application = number("PRAGMA application_id")?;
    let version = number("PRAGMA user_version")?;
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    if (application, version, tables) == (0, 0, 0) {
        return create_schema(connection);
    }
    let own_tables = number(
        "SELECT count(*) FROM sqlite_schema WHERE name IN ('packets', 'cursors', 'rejected')",
    )?;
    match (application == APPLICATION_ID, version) {
        (true, SCHEMA_VERSION) if own_tables == 3 => Ok(()),
        (true, version) if version > SCHEMA_VERSION => Err(Fault::Newer(version)),
        (false, _) if own_tables < 3 => Err(Fault::Foreign),
        _ => Err(Fault::Damaged(
            "its header or schema is not ours".to_owned(),
        )),
    }
}

fn create_schema(connection: &Connection) -> Result<(), Fault> {
    // Has to come before the first table, outside of a transaction.
    connection.execute_batch("PRAGMA auto_vacuum = INCREMENTAL")?;
    let transaction = connection.unchecked_transaction()?;
    transaction.execute_batch(SCHEMA)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    Ok(transaction.commit()?)
}

fn find_extent(connection: &Connection) -> Result<Extent, Fault> {
    let first = check_end_rows(connection, "ASC")?;
    let last = check_end_rows(connection, "DESC")?;
    // The last rows may never have got into the file; their numbers are used all the same.
    let cursors = read_cursors(connection)?;
    let furthest = cursors.iter().map(|cursor| cursor.position);
    let end = furthest
        .chain(last.map(|row| row.end()))
        .max_by_key(|position| position.sequence)
        .unwrap_or_default();
    let first = first.map_or(end, |row| Position {
        sequence: row.sequence - 1,
        total: row.before(),
    });
    if first.sequence > end.sequence || first.total > end.total {
        return Err(Fault::Damaged("its ends contradict each other".to_owned()));
    }
    Ok(Extent { first, end })
}

/// Verifies the rows at one end, a page at least: new rows come into the same page as the last.
/// Returns the outermost.
fn check_end_rows(connection: &Connection, order: &str) -> Result<Option<Row>, Fault> {
    let mut names = Names::default();
    let sql = format!(
        "SELECT sequence, total, count, received, event_time, checksum, readings
         FROM packets ORDER BY sequence {order} LIMIT 100"
    );
    let mut statement = connection.prepare(&sql)?;
    let mut found = statement.query([])?;
    let mut outermost = None;
    while let Some(columns) = found.next()? {
        let row = decode_row(columns, &mut names)?;
        outermost.get_or_insert(row);
    }
    Ok(outermost)
}

fn insert_packets(
    transaction: &Transaction<'_>,
    batch: Batch<'_>,
    json: &mut Vec<u8>,
) -> Result<Position, Fault> {
    let mut end = batch.start;
    let mut statement = transaction.prepare_cached(INSERT_PACKET)?;
    for packet in batch.packets {
        let count = packet.readings.len() as u64;
        end.sequence += 1;
        end.total += count;
        json.clear();
        encode(&packet.readings, json)?;
        let fields = [
            integer(end.sequence),
            integer(end.total),
            integer(count),
            packet.received.0,
            packet.event_time.0,
        ];
        insert(&mut statement, &fields, batch.source, json)?;
    }
    Ok(end)
}

fn insert_row(
    transaction: &Transaction<'_>,
    row: &Row,
    source: &str,
    json: &mut Vec<u8>,
) -> Result<(), Fault> {
    json.clear();
    encode(&row.readings, json)?;
    let fields = [
        integer(row.sequence),
        integer(row.total),
        integer(row.readings.len() as u64),
        row.received.0,
        row.event_time.0,
    ];
    insert(
        &mut *transaction.prepare_cached(INSERT_PACKET)?,
        &fields,
        source,
        json,
    )
}

fn insert(
    statement: &mut rusqlite::Statement<'_>,
    fields: &[i64; 5],
    source: &str,
    json: &[u8],
) -> Result<(), Fault> {
    let [sequence, total, count, received, event_time] = fields;
    let checksum = checksum_of(fields, json);
    let json = ToSqlOutput::Borrowed(ValueRef::Text(json));
    statement.execute(params![
        sequence, total, count, received, event_time, checksum, source, json
    ])?;
    Ok(())
}

fn write_cursors(transaction: &Transaction<'_>, cursors: &[NamedPosition]) -> Result<(), Fault> {
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
            .execute(params![name, fields[0], fields[1], checksum])?;
    }
    Ok(())
}

fn write_rejections(transaction: &Transaction<'_>, rejections: &[Rejection]) -> Result<(), Fault> {
    if rejections.is_empty() {
        return Ok(());
    }
    let now = Timestamp::now();
    let mut statement = transaction.prepare_cached(INSERT_REJECTED)?;
    for rejection in rejections {
        statement.execute(params![
            now.0,
            rejection.sink.name(),
            integer(rejection.sequence),
            rejection.event_time.0,
            rejection.reading.node.as_str(),
            rejection.reading.metric.as_str(),
            rejection.reading.value,
            rejection.reason,
        ])?;
    }
    let newest = transaction.last_insert_rowid();
    transaction
        .prepare_cached("DELETE FROM rejected WHERE id <= ?1")?
        .execute([newest - MAX_REJECTED])?;
    Ok(())
}

fn copy_table(
    from: &Connection,
    select: &str,
    to: &Transaction<'_>,
    insert: &str,
) -> Result<usize, Fault> {
    let mut source = from.prepare_cached(select)?;
    let mut target = to.prepare_cached(insert)?;
    let columns = source.column_count();
    let mut rows = source.query([])?;
    let mut copied = 0;
    while let Some(row) = rows.next()? {
        for index in 0..columns {
            let value = ToSqlOutput::Borrowed(row.get_ref(index)?);
            target.raw_bind_parameter(index + 1, value)?;
        }
        target.raw_execute()?;
        copied += 1;
    }
    Ok(copied)
}

/// What a row at the front is judged by.
struct FrontRow {
    sequence: u64,
    total: u64,
    count: u64,
    received: Timestamp,
}

/// Removes the oldest rows until all limits hold, at most `budget` of them.
fn trim(
    transaction: &Transaction<'_>,
    mut extent: Extent,
    limits: Limits,
    budget: usize,
) -> Result<Position, Fault> {
    let end = extent.end.total;
    (extent.first, _) = if end - extent.first.total > limits.max_messages {
        remove_front(transaction, extent, budget, |row| {
            end - (row.total - row.count) > limits.max_messages
        })?
    } else {
        (extent.first, 0)
    };
    let Some(max_bytes) = limits.max_bytes else {
        return Ok(extent.first);
    };
    let mut left = budget;
    while left > 0 && used_bytes(transaction)? > max_bytes {
        let (first, removed) = remove_front(transaction, extent, left.min(TRIM_CHUNK), |_| true)?;
        if removed == 0 {
            break;
        }
        extent.first = first;
        left -= removed;
    }
    Ok(extent.first)
}

/// Removes rows from the front while `leaves` says so, at most `budget`, and never the last one.
fn remove_front(
    transaction: &Transaction<'_>,
    extent: Extent,
    budget: usize,
    leaves: impl Fn(&FrontRow) -> bool,
) -> Result<(Position, usize), Fault> {
    let mut first = extent.first;
    let mut removed = 0;
    let mut statement = transaction.prepare_cached(
        "SELECT sequence, total, count, received FROM packets
         WHERE sequence < ?1 ORDER BY sequence LIMIT ?2",
    )?;
    let mut rows = statement.query(params![
        integer(extent.end.sequence),
        i64::try_from(budget).unwrap_or(i64::MAX)
    ])?;
    while let Some(columns) = rows.next()? {
        let row = FrontRow {
            sequence: natural(columns.get(0)?)?,
            total: natural(columns.get(1)?)?,
            count: natural(columns.get(2)?)?,
            received: Timestamp(columns.get(3)?),
        };
        if row.count > row.total || row.total > extent.end.total {
            return Err(Fault::Damaged(format!(
                "row {} contradicts itself",
                row.sequence
            )));
        }
        if !leaves(&row) {
            break;
        }
        first = Position {
            sequence: row.sequence,
            total: row.total,
        };
        removed += 1;
    }
    drop(rows);
    if removed > 0 {
        transaction
            .prepare_cached("DELETE FROM packets WHERE sequence <= ?1")?
            .execute([integer(first.sequence)])?;
    }
    Ok((first, removed))
}

fn used_bytes(connection: &Connection) -> Result<u64, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT (page_count - freelist_count) * page_size
         FROM pragma_page_count, pragma_freelist_count, pragma_page_size",
    )?;
    natural(statement.query_row([], |row| row.get(0))?)
}

/// SQLite keeps no checksums of its pages; a flipped bit in a value would otherwise go out as a
/// measurement.
fn checksum_of(fields: &[i64], text: &[u8]) -> i64 {
    let mut checksum = Crc::new();
    for field in fields {
        checksum.update(&field.to_le_bytes());
    }
    checksum.update(text);
    i64::from(checksum.sum())
}

fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn natural(value: i64) -> Result<u64, Fault> {
    u64::try_from(value).map_err(|_| Fault::Damaged(format!("a negative number: {value}")))
}
