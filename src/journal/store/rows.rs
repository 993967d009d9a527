//! Rows on their way in and out.

use flate2::Crc;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Transaction, params};

use super::Batch;
use crate::journal::encoding::{Names, decode, encode};
use crate::journal::error::Fault;
use crate::journal::{ONLY_SOURCE, Position, Row, Sourced};
use crate::telemetry::{Name, TimeShift, Timestamp};

/// Whole rows behind a sequence, for [`decode_row`].
pub(in crate::journal) const SELECT_PACKETS: &str =
    "SELECT sequence, total, count, received, event_time, checksum, readings, source
    FROM packets WHERE sequence > ?1 ORDER BY sequence";

/// The first and the last sequence. Asked for in one `SELECT` both would cost a walk over all rows.
pub(in crate::journal) const SELECT_BOUNDS: &str =
    "SELECT (SELECT min(sequence) FROM packets), (SELECT max(sequence) FROM packets)";

pub(super) const INSERT_PACKET: &str = "INSERT INTO packets
    (sequence, total, count, received, event_time, checksum, source, readings)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";

/// Reads whole rows behind a position until `max_messages` are reached, at least one if there is
/// one. Returns whether these were all.
pub(in crate::journal) fn read_rows(
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
pub(in crate::journal) fn check_gap(
    connection: &Connection,
    last: u64,
    next: u64,
    names: &mut Names,
) -> Result<(), Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT sequence, total, count, received, event_time, checksum, readings, source
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
pub(in crate::journal) fn decode_row(
    columns: &rusqlite::Row<'_>,
    names: &mut Names,
) -> Result<Row, Fault> {
    let mut fields = [0; 5];
    for (index, field) in fields.iter_mut().enumerate() {
        *field = columns.get(index)?;
    }
    let checksum: i64 = columns.get(5)?;
    let json = text_of(columns, 6)?;
    let source = text_of(columns, 7)?;
    let Some(source) = verify(checksum, &fields, json, source) else {
        return Err(Fault::Damaged(format!(
            "row {} does not match its checksum",
            fields[0]
        )));
    };
    let [sequence, total, count, received, event_time] = fields;
    let row = Row {
        sequence: natural(sequence)?,
        total: natural(total)?,
        source: names.name(source),
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

pub(super) fn insert_packets(
    transaction: &Transaction<'_>,
    batch: Batch<'_>,
    json: &mut Vec<u8>,
) -> Result<Position, Fault> {
    let mut end = batch.start;
    let mut statement = transaction.prepare_cached(INSERT_PACKET)?;
    for Sourced {
        source,
        entry: packet,
    } in batch.packets
    {
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
        insert(&mut statement, &fields, source.as_str(), json)?;
    }
    Ok(end)
}

pub(super) fn insert_row(
    transaction: &Transaction<'_>,
    row: &Row,
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
        row.source.as_str(),
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
    let checksum = checksum_with(fields, json, source);
    let json = ToSqlOutput::Borrowed(ValueRef::Text(json));
    statement.execute(params![
        sequence, total, count, received, event_time, checksum, source, json
    ])?;
    Ok(())
}

/// The source of a row that matches its checksum. A named source is covered by that; a row of the only one
/// there was has a checksum without it, and says what that was in whatever words.
fn verify<'a>(checksum: i64, fields: &[i64; 5], json: &[u8], source: &'a [u8]) -> Option<&'a str> {
    if checksum == checksum_of(fields, json) {
        return Some(ONLY_SOURCE);
    }
    let source = std::str::from_utf8(source).ok()?;
    (checksum == checksum_with(fields, json, source)).then_some(source)
}

/// The checksum of a row of this source.
fn checksum_with(fields: &[i64; 5], json: &[u8], source: &str) -> i64 {
    if source == ONLY_SOURCE {
        return checksum_of(fields, json);
    }
    let mut checksum = crc_of(fields, json);
    checksum.update(source.as_bytes());
    i64::from(checksum.sum())
}

fn text_of<'a>(columns: &'a rusqlite::Row<'_>, index: usize) -> Result<&'a [u8], Fault> {
    let text = columns.get_ref(index)?.as_bytes();
    Ok(text.map_err(rusqlite::Error::from)?)
}

/// Rows whose times are moved at once.
const CORRECTED_AT_ONCE: i64 = 500;

/// Moves the times of the rows of a source behind `after` up to `up_to`. A row that does not match its checksum
/// stays as it is: whoever reads it will find it damaged.
pub(super) fn correct_rows(
    transaction: &Transaction<'_>,
    after: u64,
    up_to: u64,
    source: &Name,
    shift: TimeShift,
) -> Result<usize, Fault> {
    let mut select = transaction.prepare_cached(
        "SELECT sequence, total, count, received, event_time, checksum, readings, source
         FROM packets WHERE sequence > ?1 AND sequence <= ?2 ORDER BY sequence LIMIT ?3",
    )?;
    let mut update = transaction.prepare_cached(
        "UPDATE packets SET received = ?2, event_time = ?3, checksum = ?4 WHERE sequence = ?1",
    )?;
    let (mut after, mut corrected) = (integer(after), 0);
    loop {
        let mut rows = select.query(params![after, integer(up_to), CORRECTED_AT_ONCE])?;
        let mut moved = Vec::new();
        let mut last = after;
        while let Some(columns) = rows.next()? {
            let mut fields = [0; 5];
            for (index, field) in fields.iter_mut().enumerate() {
                *field = columns.get(index)?;
            }
            last = fields[0];
            let (json, of) = (text_of(columns, 6)?, text_of(columns, 7)?);
            let of = verify(columns.get(5)?, &fields, json, of);
            if of == Some(source.as_str()) {
                let (received, event_time) = shift.of(Timestamp(fields[3]), Timestamp(fields[4]));
                (fields[3], fields[4]) = (received.0, event_time.0);
                moved.push((fields, checksum_with(&fields, json, source.as_str())));
            }
        }
        drop(rows);
        if last == after {
            return Ok(corrected);
        }
        corrected += moved.len();
        for ([sequence, _, _, received, event_time], checksum) in moved {
            update.execute(params![sequence, received, event_time, checksum])?;
        }
        after = last;
    }
}

pub(super) fn copy_table(
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

/// SQLite keeps no checksums of its pages; a flipped bit in a value would otherwise go out as a
/// measurement.
pub(super) fn checksum_of(fields: &[i64], text: &[u8]) -> i64 {
    i64::from(crc_of(fields, text).sum())
}

fn crc_of(fields: &[i64], text: &[u8]) -> Crc {
    let mut checksum = Crc::new();
    for field in fields {
        checksum.update(&field.to_le_bytes());
    }
    checksum.update(text);
    checksum
}

pub(super) fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(in crate::journal) fn natural(value: i64) -> Result<u64, Fault> {
    u64::try_from(value).map_err(|_| Fault::Damaged(format!("a negative number: {value}")))
}
