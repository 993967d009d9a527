//! One SQLite database: rows at its end, cursors beside them, the oldest rows leaving at its front.
//!
//! The newest row never leaves, so the last sequence and total used are always in the database.

mod columns;
mod cursors;
mod names;
mod nodes;
mod rejected;
mod requests;
mod rows;
mod schema;
mod trim;

use std::fs::File;
use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

pub(super) use columns::has_column;
pub(super) use cursors::{END, NamedPosition, StoredCursor, forget_cursor, read_readable_cursors};
pub(super) use names::{read_names, read_sources};
pub(super) use nodes::read_nodes;
pub(super) use requests::Request;
pub(super) use rows::{SELECT_BOUNDS, SELECT_PACKETS, check_gap, decode_row, natural, read_rows};
pub(super) use schema::{connect, find_extent, identify, last_row, open_reader, open_still_reader};
pub(super) use trim::Limits;

use super::error::Fault;
use super::marks::Mark;
use super::place::with_suffix;
use super::retention::Keep;
use super::{Position, Rejection, Row, Sourced};
use crate::monitor::KnownNode;
use crate::telemetry::{KnownName, Name, Packet, SetAside, TimeShift, Timestamp};
use cursors::{forget_left_before, note_leaving, read_cursors, write_cursors};
use names::{INSERT_NAME, SELECT_NAMES, SELECT_NAMES_OF_ANY, trim_names, write_names};
use nodes::{INSERT_NODE, SELECT_NODES, write_nodes};
use rejected::{Holdings, INSERT_REJECTED, SELECT_REJECTED, SELECT_REJECTED_OF_ANY};
use requests::{read_requests, settle_requests};
use rows::{INSERT_PACKET, copy_table, correct_rows, insert_packets, insert_row};
use schema::{adopt, create_tables};
use trim::{TRIM_SLACK, remove_front, trim};

/// Free pages that stay in the file for what comes next (4 MiB).
const SPARE_PAGES: i64 = 4096;

/// What is stored, from the place before the first row to the place behind the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) first: Position,
    pub(super) end: Position,
}

/// What one commit brings.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch<'a> {
    /// Where the first packet goes.
    pub(super) start: Position,
    pub(super) packets: &'a [Sourced<Packet>],
    pub(super) cursors: &'a [NamedPosition],
    pub(super) rejections: &'a [Rejection],
    pub(super) set_aside: &'a [Sourced<SetAside>],
    pub(super) names: &'a [Sourced<KnownName>],
    /// The nodes, in place of those that are there.
    pub(super) nodes: Option<&'a [KnownNode]>,
    /// Entries of `rejected` that the packets are of.
    pub(super) sent_on: &'a [i64],
}

impl Batch<'_> {
    /// Where the last packet goes.
    pub(super) fn end(&self) -> Position {
        let messages = self.packets.iter().map(|it| it.entry.readings.len());
        Position {
            sequence: self.start.sequence + self.packets.len() as u64,
            total: self.start.total + messages.sum::<usize>() as u64,
        }
    }
}

/// The writing end of a database. Readers of a file have connections of their own.
#[derive(Debug)]
pub(super) struct Store {
    connection: Connection,
    extent: Extent,
    /// Whether commits wait for the disk.
    synchronous: bool,
    /// Whether there was one since that did not.
    is_unsynced: bool,
    json: Vec<u8>,
    /// Changes when another process has written to the database.
    data_version: i64,
    /// What is in `rejected`; `None`: to be counted.
    holdings: Option<Holdings>,
    /// Entries that left `rejected` before their time since this was last asked.
    forgotten: u64,
}

impl Store {
    /// Opens a file, making it a journal when it is empty. Looks at its ends only, so that a full
    /// journal opens as fast as an empty one.
    pub(super) fn open(path: &Path) -> Result<Self, Fault> {
        let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        // An explicit checkpoint comes at close; one made while giving up a damaged file would
        // change what is to be kept as it is.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        adopt(&connection)?;
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
             PRAGMA wal_autocheckpoint = 4000;
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
        create_tables(&connection)?;
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
            is_unsynced: true,
            json: Vec::new(),
            data_version: -1,
            holdings: None,
            forgotten: 0,
        }
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(super) fn extent(&self) -> Extent {
        self.extent
    }

    /// The last row there is.
    pub(super) fn newest_row(&self) -> Result<Option<Row>, Fault> {
        last_row(&self.connection)
    }

    /// The place behind the last row there is. The end can be further on, when the last rows never
    /// got here.
    pub(super) fn newest(&self) -> Result<Position, Fault> {
        let newest = self.newest_row()?;
        Ok(newest.map_or(self.extent.first, |row| row.end()))
    }

    /// Whether the row that a mark names is here.
    pub(super) fn holds(&self, mark: Mark) -> bool {
        let Mark { end, received } = mark;
        let (Ok(sequence), Ok(total)) = (i64::try_from(end.sequence), i64::try_from(end.total))
        else {
            return false;
        };
        let found = self.connection.query_row(
            "SELECT total = ?2 AND received = ?3 FROM packets WHERE sequence = ?1",
            [sequence, total, received.0],
            |columns| columns.get(0),
        );
        // A file that cannot be read says so when a sink reads it; until then its entry counts.
        found.unwrap_or(false)
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

    /// Writes the entries of the enabled sinks; the others are disabled from now on, unless they have been
    /// for longer.
    pub(super) fn register(
        &mut self,
        cursors: &[NamedPosition],
        now: Timestamp,
    ) -> Result<(), Fault> {
        let transaction = self.begin(false)?;
        transaction.execute("UPDATE cursors SET enabled = 0", [])?;
        write_cursors(&transaction, cursors)?;
        note_leaving(&transaction, now)?;
        Ok(transaction.commit()?)
    }

    /// Removes the entries of sinks that have been disabled since before that; returns their names.
    pub(super) fn forget_left_before(&mut self, time: Timestamp) -> Result<Vec<String>, Fault> {
        forget_left_before(&self.connection, time)
    }

    /// Takes a sink's entry back, and has that on the disk.
    pub(super) fn take_back(&mut self, cursor: NamedPosition) -> Result<(), Fault> {
        let transaction = self.begin(true)?;
        write_cursors(&transaction, &[cursor])?;
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
        if result.is_err() {
            self.holdings = None;
        }
        result
    }

    fn commit_with(
        &mut self,
        batch: Batch<'_>,
        limits: Limits,
        durable: bool,
        json: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let (mut extent, mut holdings) = (self.extent, self.holdings);
        let transaction = self.begin(durable && !batch.packets.is_empty())?;
        if !batch.packets.is_empty() {
            extent.end = insert_packets(&transaction, batch, json)?;
            let appended = usize::try_from(extent.end.total - batch.start.total);
            let budget = appended.unwrap_or(usize::MAX).saturating_add(TRIM_SLACK);
            extent.first = trim(&transaction, extent, limits, budget)?;
        }
        let mut forgotten = 0;
        if !batch.rejections.is_empty() || !batch.set_aside.is_empty() {
            let mut held = match holdings {
                Some(held) => held,
                None => Holdings::of(&transaction)?,
            };
            let max_entries = limits.max_messages;
            forgotten = held.write(&transaction, batch.rejections, batch.set_aside, max_entries)?;
            holdings = Some(held);
        }
        settle_requests(&transaction, batch.sent_on)?;
        write_names(&transaction, batch.names)?;
        write_nodes(&transaction, batch.nodes)?;
        write_cursors(&transaction, batch.cursors)?;
        transaction.commit()?;
        self.is_unsynced &= !durable || batch.packets.is_empty();
        self.extent = extent;
        self.holdings = holdings;
        self.forgotten += forgotten;
        Ok(())
    }

    /// Moves the times of a source's rows behind `after` up to `up_to`, all or none of them; returns how many.
    pub(super) fn correct(
        &mut self,
        after: u64,
        up_to: u64,
        source: &Name,
        shift: TimeShift,
        durable: bool,
    ) -> Result<usize, Fault> {
        let transaction = self.begin(durable)?;
        let rows = correct_rows(&transaction, after, up_to, source, shift)?;
        transaction.commit()?;
        Ok(rows)
    }

    /// Takes over all rows and refusals of another database, which come behind the own ones, and how far
    /// sinks were acknowledged.
    pub(super) fn absorb(
        &mut self,
        other: &Self,
        cursors: &[NamedPosition],
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
            SELECT_REJECTED,
            &transaction,
            INSERT_REJECTED,
        )?;
        let mut holdings = Holdings::of(&transaction)?;
        let forgotten = holdings.write(&transaction, &[], &[], limits.max_messages)?;
        copy_table(&other.connection, SELECT_NAMES, &transaction, INSERT_NAME)?;
        trim_names(&transaction)?;
        copy_table(&other.connection, SELECT_NODES, &transaction, INSERT_NODE)?;
        let appended = usize::try_from(extent.end.total - other.extent.first.total);
        let budget = appended.unwrap_or(usize::MAX).max(copied) + TRIM_SLACK;
        extent.first = trim(&transaction, extent, limits, budget)?;
        write_cursors(&transaction, cursors)?;
        transaction.commit()?;
        self.is_unsynced &= !durable;
        self.extent = extent;
        self.holdings = Some(holdings);
        self.forgotten += forgotten;
        Ok(())
    }

    /// Adds rows that were read from elsewhere, as they are, and how far sinks were acknowledged.
    pub(super) fn restore(
        &mut self,
        rows: &[Row],
        cursors: &[NamedPosition],
        durable: bool,
    ) -> Result<(), Fault> {
        let mut extent = self.extent;
        let transaction = self.begin(durable)?;
        let mut json = Vec::new();
        for row in rows {
            if extent.first.sequence == extent.end.sequence {
                extent.first = Position {
                    sequence: row.sequence - 1,
                    total: row.before(),
                };
            }
            if row.sequence > extent.end.sequence {
                extent.end = row.end();
            }
            insert_row(&transaction, row, &mut json)?;
        }
        write_cursors(&transaction, cursors)?;
        transaction.commit()?;
        self.extent = extent;
        Ok(())
    }

    /// Adds what another database has beside its rows, as far as it can be read.
    pub(super) fn restore_beside(&mut self, other: &Connection) -> Result<(), Fault> {
        self.holdings = None;
        let transaction = self.begin(false)?;
        let has_source = |table| has_column(other, table, "source").unwrap_or(false);
        let select_rejected = if has_source("rejected") {
            SELECT_REJECTED
        } else {
            SELECT_REJECTED_OF_ANY
        };
        let select_names = if has_source("known_names") {
            SELECT_NAMES
        } else {
            SELECT_NAMES_OF_ANY
        };
        let tables = [
            (select_rejected, INSERT_REJECTED),
            (select_names, INSERT_NAME),
            (SELECT_NODES, INSERT_NODE),
        ];
        let copied = tables.map(|(select, insert)| copy_table(other, select, &transaction, insert));
        transaction.commit()?;
        copied.into_iter().collect::<Result<Vec<_>, _>>().map(drop)
    }

    /// Whether [`prune`](Self::prune) would find the first row old, or there is none.
    pub(super) fn begins_old(&self, delivered: u64, keep: &Keep) -> Result<bool, Fault> {
        if self.extent.first.sequence >= delivered {
            return Ok(false);
        }
        let mut statement = self
            .connection
            .prepare_cached("SELECT received FROM packets ORDER BY sequence LIMIT 1")?;
        let mut rows = statement.query([])?;
        let first = rows.next()?.map(|row| row.get(0)).transpose()?;
        Ok(first.is_none_or(|received| keep.is_old(Timestamp(received))))
    }

    /// Removes the oldest rows up to `delivered` that are old, at most `budget` of them; returns
    /// whether there may be more.
    pub(super) fn prune(
        &mut self,
        delivered: u64,
        keep: &Keep,
        budget: usize,
    ) -> Result<bool, Fault> {
        let extent = self.extent;
        if extent.first.sequence >= delivered {
            return Ok(false);
        }
        let transaction = self.begin(false)?;
        let (first, removed) = remove_front(&transaction, extent, budget, |row| {
            row.sequence <= delivered && keep.is_old(row.received)
        })?;
        if removed > 0 {
            transaction.commit()?;
            self.extent.first = first;
        }
        Ok(removed == budget)
    }

    /// Removes what was rejected long ago.
    pub(super) fn prune_rejected(&mut self, keep: &Keep) -> Result<(), Fault> {
        let mut held = match self.holdings {
            Some(held) => held,
            None => Holdings::of(&self.connection)?,
        };
        self.holdings = Some(held);
        if !held.has_old(&self.connection, keep)? {
            return Ok(());
        }
        let transaction = self.begin(false)?;
        held.prune(&transaction, keep)?;
        transaction.commit()?;
        self.holdings = Some(held);
        Ok(())
    }

    /// What another process asked for since this was last asked, or ever.
    pub(super) fn requests(&mut self) -> Result<Vec<Request>, Fault> {
        let version = self
            .connection
            .prepare_cached("PRAGMA data_version")?
            .query_row([], |row| row.get(0))?;
        if version == self.data_version {
            return Ok(Vec::new());
        }
        let requests = read_requests(&self.connection)?;
        if requests.is_empty() {
            self.data_version = version;
        }
        Ok(requests)
    }

    /// Entries that left `rejected` before their time since this was last asked.
    pub(super) fn take_forgotten(&mut self) -> u64 {
        std::mem::take(&mut self.forgotten)
    }

    /// Writes all there is into an empty file, and has it on the disk.
    pub(super) fn copy_to(&self, path: &Path) -> Result<(), Fault> {
        let name = path
            .to_str()
            .ok_or_else(|| Fault::Unavailable("its name is no Unicode".to_owned()))?;
        self.connection.execute("VACUUM INTO ?1", [name])?;
        Ok(File::open(path)?.sync_all()?)
    }

    /// Gives up a file that nobody will find at its path: what is in its log goes into the file itself
    /// as far as that is possible, for whoever moved it.
    pub(super) fn leave(self) {
        let checkpoint = "PRAGMA wal_checkpoint(PASSIVE)";
        if let Err(error) = self.connection.query_row(checkpoint, [], |_| Ok(())) {
            tracing::debug!(error = %error, "The log of the old journal stays as it is.");
        }
    }

    /// Returns when all that was committed is on the disk: in the log, if not in the file.
    pub(super) fn sync(&mut self) -> Result<(), Fault> {
        if self.is_unsynced
            && let Some(path) = self.connection.path()
        {
            File::open(with_suffix(Path::new(path), "-wal"))?.sync_data()?;
            self.is_unsynced = false;
        }
        Ok(())
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
        self.is_unsynced = true;
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
        self.is_unsynced |= !synchronous;
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
