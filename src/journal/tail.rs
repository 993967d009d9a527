//! The tail of a journal: the last few packets, in a small file beside the database.
//!
//! A commit to the database writes several of its pages, and more of them later, however small the packet.
//! So what comes packet by packet is appended here, which writes one block of the disk, and is brought into
//! the database many packets at a time. The rows are in memory until then.
//!
//! A block is written whole when it is first used: later appends change neither the file's length nor where
//! it lies, and the system takes this block alone for written. The file begins anew by a first record of
//! another generation, so that this costs nothing either. A record that is half-written,
//! or of an earlier generation, ends what is read.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::{Buf, BufMut, TryGetError};
use flate2::Crc;
use rusqlite::Connection;

use super::encoding::{Names, decode, encode};
use super::error::Fault;
use super::place::{TAIL, with_suffix};
use super::recovery::create_file;
use super::store::{Batch, Extent, NamedPosition, Store, find_extent, last_row};
use super::{Position, Row};
use crate::telemetry::Timestamp;

/// What a file system writes at least.
const BLOCK: usize = 4 << 10;

/// How long it may become.
const LENGTH: usize = 32 * BLOCK;

/// The length of what follows, and its checksum.
const HEADER: usize = 8;

/// The file that is appended to.
#[derive(Debug)]
pub(super) struct Tail {
    file: File,
    /// What all records since it began anew share, and none before them.
    generation: u64,
    /// How much of the file was used so far, in whole blocks.
    used: usize,
    /// Where the next record goes.
    at: usize,
    /// Behind the last row of it; `None`: it is empty.
    end: Option<Position>,
}

/// What is read from a tail.
#[derive(Debug)]
pub(super) struct Entries {
    /// Where the rows begin.
    start: Position,
    /// When the row before them was received.
    before: Timestamp,
    /// Those rows, at least one.
    pub(super) rows: Vec<Row>,
    /// How far sinks were acknowledged in the meantime, the newest last.
    pub(super) positions: Vec<NamedPosition>,
}

impl Tail {
    /// Makes an empty one for a database, in place of what is there. The first sync has it on the disk.
    pub(super) fn create(database: &Path) -> io::Result<Self> {
        let file = create_file(&with_suffix(database, TAIL))?;
        file.set_len(0)?;
        Ok(Self {
            file,
            generation: fastrand::u64(..),
            used: 0,
            at: 0,
            end: None,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.end.is_none()
    }

    /// The place behind the last row that is in it.
    pub(super) fn end(&self) -> Option<Position> {
        self.end
    }

    /// What is in it is in the database.
    pub(super) fn begin_anew(&mut self) {
        self.generation = fastrand::u64(..);
        self.at = 0;
        self.end = None;
    }

    /// Appends what a batch has of packets and positions; false: there is no room for it. `before` is when
    /// the row before the first one of all was received.
    pub(super) fn append(&mut self, batch: Batch<'_>, before: Timestamp) -> Result<bool, Fault> {
        let mut record = self.record(batch, before)?;
        // What lies in two blocks has both written.
        let fits = self.at % BLOCK + record.len() <= BLOCK || record.len() > BLOCK;
        let at = if fits { self.at } else { next_block(self.at) };
        let end = at + record.len();
        if end > LENGTH {
            return Ok(false);
        }
        if end > self.used {
            record.resize(next_block(end) - at, 0);
        }
        match self.file.write_all_at(&record, at as u64) {
            Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(false),
            written => written?,
        }
        self.used = self.used.max(next_block(end));
        self.at = end;
        self.end = Some(batch.end());
        Ok(true)
    }

    fn record(&self, batch: Batch<'_>, before: Timestamp) -> Result<Vec<u8>, Fault> {
        let mut record = vec![0; HEADER];
        record.put_u64_le(self.generation);
        record.put_i64_le(before.0);
        put_position(&mut record, batch.start);
        record.put_u32_le(count(batch.packets));
        let mut json = Vec::new();
        for packet in batch.packets {
            record.put_i64_le(packet.entry.received.0);
            record.put_i64_le(packet.entry.event_time.0);
            put_text(&mut record, packet.source.as_str().as_bytes());
            json.clear();
            encode(&packet.entry.readings, &mut json)?;
            put_text(&mut record, &json);
        }
        record.put_u32_le(count(batch.cursors));
        for (name, position) in batch.cursors {
            put_text(&mut record, name.as_bytes());
            put_position(&mut record, *position);
        }
        let (length, checksum) = (count(&record[HEADER..]), checksum(&record[HEADER..]));
        let mut header = &mut record[..HEADER];
        header.put_u32_le(length);
        header.put_u32_le(checksum);
        Ok(record)
    }

    /// Returns when all that was appended is on the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Makes the file refuse to be written.
    #[cfg(test)]
    pub(super) fn spoil(&mut self) {
        self.file = File::open("/dev/null").unwrap();
    }

    /// Has the next record begin with a block of its own: one that is on the disk is not written again.
    pub(super) fn leave_block(&mut self) {
        self.at = next_block(self.at);
    }
}

/// What the tail of a database holds; `None`: it has none, or an empty one.
pub(super) fn read(database: &Path) -> io::Result<Option<Entries>> {
    let mut bytes = Vec::new();
    match File::open(with_suffix(database, TAIL)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file?.take(LENGTH as u64).read_to_end(&mut bytes)?,
    };
    let mut names = Names::default();
    let Some(first) = record_at(&bytes, 0, &mut names) else {
        return Ok(None);
    };
    let Record {
        generation,
        mut end,
        mut entries,
    } = first;
    // The next one is here or, where the rest of the block was left, in the next block.
    while let Some(next) = [end, next_block(end)].into_iter().find_map(|at| {
        let next = record_at(&bytes, at, &mut names)?;
        let follows = next.generation == generation && next.entries.start == entries.end();
        follows.then_some(next)
    }) {
        end = next.end;
        entries.rows.extend(next.entries.rows);
        entries.positions.extend(next.entries.positions);
    }
    Ok((!entries.rows.is_empty()).then_some(entries))
}

/// The rows that come behind those of a database which is only read, and how far sinks were acknowledged
/// meanwhile.
pub(super) fn behind(database: &Path, connection: &Connection) -> Result<Option<Entries>, Fault> {
    // In this order: what is brought into the database between the two is found there.
    let found = read(database)?;
    let (newest, extent) = (last_row(connection)?, find_extent(connection)?);
    Ok(found.filter(|found| found.follow_row(newest.as_ref(), extent)))
}

/// Opens a database that no gateway has, and brings into it what its tail holds.
pub(super) fn open_whole(database: &Path) -> Result<Store, Fault> {
    let mut store = Store::open(database)?;
    if let Some(entries) = read(database)?
        && entries.follow(&store)
    {
        store.restore(&entries.rows, &entries.positions, true)?;
    }
    Ok(store)
}

/// Whether a database has a tail, be it empty.
pub(super) fn exists(database: &Path) -> bool {
    with_suffix(database, TAIL).exists()
}

/// Removes the tail of a database that has all of it.
pub(super) fn remove(database: &Path) -> io::Result<()> {
    match fs::remove_file(with_suffix(database, TAIL)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl Entries {
    /// Whether these rows come behind those of a database. Otherwise it has them, or they are another's.
    pub(super) fn follow(&self, store: &Store) -> bool {
        self.follow_row(store.newest_row().ok().flatten().as_ref(), store.extent())
    }

    /// The same of one that has this row as its newest.
    fn follow_row(&self, newest: Option<&Row>, extent: Extent) -> bool {
        match newest {
            Some(row) if row.sequence == self.start.sequence => {
                row.total == self.start.total && row.received == self.before
            }
            // Rows that were never on the disk are missing before these.
            _ => self.start.sequence >= extent.end.sequence && self.start.total >= extent.end.total,
        }
    }

    /// The place before the first row.
    pub(super) fn start(&self) -> Position {
        self.start
    }

    /// The place behind the last row.
    pub(super) fn end(&self) -> Position {
        self.rows.last().map_or(self.start, Row::end)
    }
}

/// One append.
struct Record {
    generation: u64,
    /// Where it ends in the file.
    end: usize,
    entries: Entries,
}

/// The record that begins there, if it is whole.
fn record_at(bytes: &[u8], at: usize, names: &mut Names) -> Option<Record> {
    let mut rest = bytes.get(at..)?;
    let length = rest.try_get_u32_le().ok()? as usize;
    let sum = rest.try_get_u32_le().ok()?;
    let mut body = rest.get(..length)?;
    if length == 0 || checksum(body) != sum {
        return None;
    }
    let generation = body.try_get_u64_le().ok()?;
    Some(Record {
        generation,
        end: at + HEADER + length,
        entries: parse(body, names)?,
    })
}

fn parse(mut bytes: &[u8], names: &mut Names) -> Option<Entries> {
    let bytes = &mut bytes;
    let before = Timestamp(bytes.try_get_i64_le().ok()?);
    let start = get_position(bytes).ok()?;
    let mut end = start;
    let mut rows = Vec::new();
    for _ in 0..bytes.try_get_u32_le().ok()? {
        let received = Timestamp(bytes.try_get_i64_le().ok()?);
        let event_time = Timestamp(bytes.try_get_i64_le().ok()?);
        let source = names.name(std::str::from_utf8(get_text(bytes)?).ok()?);
        let readings = decode(get_text(bytes)?, names).ok()?;
        end.sequence += 1;
        end.total += readings.len() as u64;
        rows.push(Row {
            sequence: end.sequence,
            total: end.total,
            source,
            received,
            event_time,
            readings,
        });
    }
    let mut positions = Vec::new();
    for _ in 0..bytes.try_get_u32_le().ok()? {
        let name: Arc<str> = std::str::from_utf8(get_text(bytes)?).ok()?.into();
        positions.push((name, get_position(bytes).ok()?));
    }
    Some(Entries {
        start,
        before,
        rows,
        positions,
    })
}

fn put_position(record: &mut Vec<u8>, position: Position) {
    record.put_u64_le(position.sequence);
    record.put_u64_le(position.total);
}

fn get_position(bytes: &mut &[u8]) -> Result<Position, TryGetError> {
    Ok(Position {
        sequence: bytes.try_get_u64_le()?,
        total: bytes.try_get_u64_le()?,
    })
}

fn put_text(record: &mut Vec<u8>, text: &[u8]) {
    record.put_u32_le(count(text));
    record.put_slice(text);
}

fn get_text<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = bytes.try_get_u32_le().ok()?;
    bytes.split_off(..length as usize)
}

/// How many there are; what has more than fit into the number has no room either.
fn count<T>(things: &[T]) -> u32 {
    u32::try_from(things.len()).unwrap_or(u32::MAX)
}

fn checksum(record: &[u8]) -> u32 {
    let mut checksum = Crc::new();
    checksum.update(record);
    checksum.sum()
}

fn next_block(at: usize) -> usize {
    at.next_multiple_of(BLOCK)
}
