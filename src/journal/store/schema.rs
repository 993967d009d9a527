//! What a journal database looks like, and how to tell one.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use url::Url;

use super::Extent;
use super::columns::has_column;
use super::cursors::read_cursors;
use super::rows::decode_row;
use super::{names, nodes};
use crate::journal::encoding::Names;
use crate::journal::error::Fault;
use crate::journal::{Position, Row};

/// The newest schema known here.
pub(in crate::journal) const SCHEMA_VERSION: i64 = 2;

/// `fgjl`: tells `file` and us whose database it is.
const APPLICATION_ID: i64 = 0x6667_6a6c;

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
    checksum INTEGER NOT NULL,
    left_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE VIEW readings AS
    SELECT sequence, received, event_time, node.key AS node, metric.key AS metric, metric.value AS value
    FROM packets, json_each(packets.readings) AS node, json_each(node.value) AS metric;
";

/// What was set aside, or refused by a server; and which of it is to be sent on after all, by number. The number of an entry is never used twice: people ask by it.
const SCHEMA_OF_REJECTED: &str = "
CREATE TABLE rejected (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    rejected_at INTEGER NOT NULL,
    sink TEXT,
    sequence INTEGER,
    received INTEGER,
    event_time INTEGER,
    node TEXT,
    metric TEXT,
    value REAL,
    reason_name TEXT NOT NULL,
    reason TEXT NOT NULL,
    frame BLOB,
    delivered_at INTEGER,
    source TEXT
) STRICT;
CREATE TABLE requests (
    id INTEGER PRIMARY KEY,
    event_time INTEGER NOT NULL,
    readings TEXT NOT NULL
) STRICT;
";

/// From version 1, which kept refusals alone.
const MIGRATION: &str = "
ALTER TABLE rejected RENAME TO refused;
{SCHEMA}
INSERT INTO rejected
    (id, rejected_at, sink, sequence, event_time, node, metric, value, reason_name, reason)
    SELECT id, rejected_at, sink, sequence, event_time, node, metric, value, 'refused', reason
    FROM refused ORDER BY id;
DROP TABLE refused;
";

/// Opens a file to read rows from it.
pub(in crate::journal) fn open_reader(path: &Path) -> Result<Connection, Fault> {
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.pragma_update(None, "cache_size", -512)?;
    Ok(connection)
}

/// Opens a file that nobody writes to, without a lock and without writing a byte anywhere: not even
/// what SQLite keeps beside a database to share it, so that a file system may be read-only.
pub(in crate::journal) fn open_still_reader(path: &Path) -> Result<Connection, Fault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let has_log = std::fs::metadata(log).is_ok_and(|log| log.len() > 0);
    if has_log {
        // Alone with it, SQLite keeps the index of the write-ahead log in memory.
        let connection = Connection::open_with_flags_and_vfs(path, flags, c"unix-none")?;
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        return Ok(connection);
    }
    // A name of a file may hold what means something in an address.
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let Ok(mut address) = Url::from_file_path(absolute) else {
        return Err(Fault::Foreign);
    };
    address.set_query(Some("immutable=1"));
    let flags = flags | OpenFlags::SQLITE_OPEN_URI;
    Ok(Connection::open_with_flags(address.as_str(), flags)?)
}

pub(in crate::journal) fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, Fault> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    // For people who look into the journal with tools that take locks.
    connection.busy_timeout(Duration::from_secs(1))?;
    Ok(connection)
}

/// Makes sure that this is a journal of the newest version: an empty database becomes one, and an
/// older journal is brought up to date.
pub(super) fn adopt(connection: &Connection) -> Result<(), Fault> {
    match identify(connection)? {
        None => create_schema(connection)?,
        Some(SCHEMA_VERSION) => {
            name_sources(connection)?;
            names::name_sources(connection)?;
        }
        Some(_) => migrate(connection)?,
    }
    remember_leaving(connection)?;
    Ok(connection.execute_batch(nodes::TABLE)?)
}

/// Entries of `cursors` did not say at first when a sink left. Whoever does not know that column can do
/// without it.
fn remember_leaving(connection: &Connection) -> Result<(), Fault> {
    if !has_column(connection, "cursors", "left_at")? {
        connection.execute_batch("ALTER TABLE cursors ADD COLUMN left_at INTEGER")?;
    }
    Ok(())
}

/// Entries of `rejected` did not say at first which source they came from. Whoever does not know that
/// column can do without it, so that it makes no new version.
fn name_sources(connection: &Connection) -> Result<(), Fault> {
    if !has_column(connection, "rejected", "source")? {
        connection.execute_batch("ALTER TABLE rejected ADD COLUMN source TEXT")?;
    }
    Ok(())
}

/// Finds out whose database this is; returns the version of its schema, or none when it is empty.
pub(in crate::journal) fn identify(connection: &Connection) -> Result<Option<i64>, Fault> {
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let application = number("PRAGMA application_id")?;
    let stamp = number("PRAGMA user_version")?;
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    if (application, stamp, tables) == (0, 0, 0) {
        return Ok(None);
    }
    let own_tables = number(
        "SELECT count(*) FROM sqlite_schema WHERE name IN ('packets', 'cursors', 'rejected')",
    )?;
    match (application == APPLICATION_ID, version_of(stamp)) {
        (true, Some(version @ 1..=SCHEMA_VERSION)) if own_tables == 3 => Ok(Some(version)),
        (true, Some(version)) if version > SCHEMA_VERSION => Err(Fault::Newer {
            found: version,
            known: SCHEMA_VERSION,
        }),
        (false, _) if own_tables < 3 => Err(Fault::Foreign),
        _ => Err(Fault::Damaged(
            "its header or schema is not ours".to_owned(),
        )),
    }
}

/// A version stands twice in its stamp, once in each half: a flipped bit must not be taken for a newer
/// fieldgate's journal, which is left alone where a damaged one is replaced.
const fn stamp_of(version: i64) -> i64 {
    version << 16 | version
}

/// The version in a stamp; `None`: this is no stamp.
fn version_of(stamp: i64) -> Option<i64> {
    let version = stamp & 0xffff;
    (stamp == stamp_of(version)).then_some(version)
}

fn create_schema(connection: &Connection) -> Result<(), Fault> {
    // Both have to come before the first table, outside of a transaction. A commit writes whole pages, and a
    // packet fills a small part of one.
    connection.execute_batch("PRAGMA page_size = 1024; PRAGMA auto_vacuum = INCREMENTAL")?;
    let transaction = connection.unchecked_transaction()?;
    create_tables(&transaction)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", stamp_of(SCHEMA_VERSION))?;
    Ok(transaction.commit()?)
}

pub(super) fn create_tables(connection: &Connection) -> Result<(), Fault> {
    connection.execute_batch(SCHEMA)?;
    connection.execute_batch(SCHEMA_OF_REJECTED)?;
    connection.execute_batch(names::TABLE)?;
    Ok(connection.execute_batch(nodes::TABLE)?)
}

fn migrate(connection: &Connection) -> Result<(), Fault> {
    let transaction = connection.unchecked_transaction()?;
    transaction.execute_batch(&MIGRATION.replace("{SCHEMA}", SCHEMA_OF_REJECTED))?;
    transaction.execute_batch(names::TABLE)?;
    transaction.pragma_update(None, "user_version", stamp_of(SCHEMA_VERSION))?;
    Ok(transaction.commit()?)
}

pub(in crate::journal) fn find_extent(connection: &Connection) -> Result<Extent, Fault> {
    let first = check_end_rows(connection, "ASC")?;
    let last = last_row(connection)?;
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

/// The newest row there is.
pub(in crate::journal) fn last_row(connection: &Connection) -> Result<Option<Row>, Fault> {
    check_end_rows(connection, "DESC")
}

/// Verifies the rows at one end, a page at least: new rows come into the same page as the last.
/// Returns the outermost.
fn check_end_rows(connection: &Connection, order: &str) -> Result<Option<Row>, Fault> {
    let mut names = Names::default();
    let sql = format!(
        "SELECT sequence, total, count, received, event_time, checksum, readings, source
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
