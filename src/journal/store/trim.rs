//! Rows on their way out at the front.

use rusqlite::{Connection, Transaction, params};

use super::Extent;
use super::rows::{integer, natural};
use crate::journal::Position;
use crate::journal::error::Fault;
use crate::telemetry::Timestamp;

/// Rows that a trim may remove beyond what was appended.
pub(super) const TRIM_SLACK: usize = 500;

/// Rows removed between two looks at the size.
const TRIM_CHUNK: usize = 100;

/// How much may be stored.
#[derive(Debug, Clone, Copy)]
pub(in crate::journal) struct Limits {
    /// From the first row's total to the last one's.
    pub(in crate::journal) max_messages: u64,
    pub(in crate::journal) max_bytes: Option<u64>,
}

/// What a row at the front is judged by.
pub(super) struct FrontRow {
    pub(super) sequence: u64,
    total: u64,
    count: u64,
    pub(super) received: Timestamp,
}

/// Removes the oldest rows until all limits hold, at most `budget` of them.
pub(super) fn trim(
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
pub(super) fn remove_front(
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
