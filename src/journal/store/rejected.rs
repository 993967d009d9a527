//! What was set aside on its way in, and what servers refused.

use std::borrow::Cow;

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::rows::{integer, natural};
use crate::journal::error::Fault;
use crate::journal::retention::Keep;
use crate::journal::{REFUSED, Rejection, Sourced};
use crate::telemetry::{Name, Reading, SetAside, Timestamp};

/// Entries kept, unless even fewer messages are; the oldest go first.
const MAX_ENTRIES: u64 = 10_000;

/// What they may take of the file, about.
const MAX_BYTES: u64 = 8 * 1024 * 1024;

/// All columns but the number, in the order of [`INSERT_REJECTED`].
pub(super) const SELECT_REJECTED: &str = "SELECT rejected_at, sink, sequence, received, event_time,
    node, metric, value, reason_name, reason, frame, delivered_at, source FROM rejected ORDER BY id";

/// The same where entries did not say which source they came from.
pub(super) const SELECT_REJECTED_OF_ANY: &str = "SELECT rejected_at, sink, sequence, received,
    event_time, node, metric, value, reason_name, reason, frame, delivered_at, NULL FROM rejected
    ORDER BY id";

pub(super) const INSERT_REJECTED: &str = "INSERT INTO rejected
    (rejected_at, sink, sequence, received, event_time,
     node, metric, value, reason_name, reason, frame, delivered_at, source)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";

/// About what an entry takes, as [`Entry::size`] has it.
const SIZE: &str = "100 + octet_length(reason) + ifnull(octet_length(node), 0)
    + ifnull(octet_length(metric), 0) + ifnull(octet_length(frame), 0)";

/// An entry on its way in.
struct Entry<'a> {
    source: &'a Name,
    sink: Option<&'a str>,
    sequence: Option<i64>,
    received: Option<i64>,
    event_time: Option<i64>,
    reading: Option<&'a Reading>,
    reason_name: &'static str,
    reason: Cow<'a, str>,
    frame: Option<&'a [u8]>,
}

impl<'a> Entry<'a> {
    fn of_refusal(rejection: &'a Rejection) -> Self {
        Self {
            source: &rejection.source,
            sink: Some(rejection.sink.as_str()),
            sequence: Some(integer(rejection.sequence)),
            received: None,
            event_time: Some(rejection.event_time.0),
            reading: Some(&rejection.reading),
            reason_name: REFUSED,
            reason: Cow::Borrowed(&rejection.reason),
            frame: None,
        }
    }

    fn set_aside(Sourced { source, entry }: &'a Sourced<SetAside>) -> Self {
        let explanation = entry.reason.explanation();
        Self {
            source,
            sink: None,
            sequence: None,
            received: Some(entry.received.0),
            event_time: entry.event_time.map(|time| time.0),
            reading: entry.reading.as_ref(),
            reason_name: entry.reason.name(),
            reason: if entry.detail.is_empty() {
                Cow::Borrowed(explanation)
            } else {
                Cow::Owned(format!("{explanation}: {}", entry.detail))
            },
            frame: Some(&entry.frame),
        }
    }

    fn size(&self) -> u64 {
        let of_reading =
            |reading: &Reading| reading.node.as_str().len() + reading.metric.as_str().len();
        let size = 100
            + self.reason.len()
            + self.reading.map_or(0, of_reading)
            + self.frame.map_or(0, <[u8]>::len);
        size as u64
    }
}

/// How much there is in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Holdings {
    entries: u64,
    bytes: u64,
}

impl Holdings {
    /// Counts; looks at every entry.
    pub(super) fn of(connection: &Connection) -> Result<Self, Fault> {
        let sql = format!("SELECT count(*), ifnull(sum({SIZE}), 0) FROM rejected");
        let (entries, bytes) =
            connection.query_row(&sql, [], |columns| Ok((columns.get(0)?, columns.get(1)?)))?;
        Ok(Self {
            entries: natural(entries)?,
            bytes: natural(bytes)?,
        })
    }

    /// Adds entries, and removes the oldest that are too many by now; returns how many of those.
    pub(super) fn write(
        &mut self,
        transaction: &Transaction<'_>,
        rejections: &[Rejection],
        set_aside: &[Sourced<SetAside>],
        max_entries: u64,
    ) -> Result<u64, Fault> {
        let now = Timestamp::now().0;
        let mut statement = transaction.prepare_cached(INSERT_REJECTED)?;
        let refused = rejections.iter().map(Entry::of_refusal);
        for entry in refused.chain(set_aside.iter().map(Entry::set_aside)) {
            statement.execute(params![
                now,
                entry.sink,
                entry.sequence,
                entry.received,
                entry.event_time,
                entry.reading.map(|reading| reading.node.as_str()),
                entry.reading.map(|reading| reading.metric.as_str()),
                entry.reading.map(|reading| reading.value),
                entry.reason_name,
                entry.reason,
                entry.frame,
                None::<i64>,
                entry.source.as_str(),
            ])?;
            self.entries += 1;
            self.bytes += entry.size();
        }
        self.trim(transaction, max_entries.min(MAX_ENTRIES))
    }

    /// Removes the oldest entries until both bounds hold.
    fn trim(&mut self, transaction: &Transaction<'_>, max_entries: u64) -> Result<u64, Fault> {
        let is_too_much = |left: &Self| left.entries > max_entries || left.bytes > MAX_BYTES;
        self.remove_front(transaction, |left, _| is_too_much(left))
    }

    /// Whether the oldest entry is old.
    pub(super) fn has_old(self, connection: &Connection, keep: &Keep) -> Result<bool, Fault> {
        if self.entries == 0 {
            return Ok(false);
        }
        let oldest: Option<i64> = connection
            .prepare_cached("SELECT rejected_at FROM rejected ORDER BY id LIMIT 1")?
            .query_row([], |columns| columns.get(0))
            .optional()?;
        Ok(oldest.is_some_and(|oldest| keep.is_old(Timestamp(oldest))))
    }

    /// Removes the oldest entries that are old.
    pub(super) fn prune(
        &mut self,
        transaction: &Transaction<'_>,
        keep: &Keep,
    ) -> Result<u64, Fault> {
        self.remove_front(transaction, |_, rejected_at| keep.is_old(rejected_at))
    }

    fn remove_front(
        &mut self,
        transaction: &Transaction<'_>,
        leaves: impl Fn(&Self, Timestamp) -> bool,
    ) -> Result<u64, Fault> {
        let before = self.entries;
        let mut last = None;
        let sql = format!("SELECT id, rejected_at, {SIZE} FROM rejected ORDER BY id");
        let mut statement = transaction.prepare_cached(&sql)?;
        let mut rows = statement.query([])?;
        while self.entries > 0
            && let Some(columns) = rows.next()?
            && leaves(self, Timestamp(columns.get(1)?))
        {
            last = Some(columns.get::<_, i64>(0)?);
            self.entries -= 1;
            self.bytes = self.bytes.saturating_sub(natural(columns.get(2)?)?);
        }
        drop(rows);
        if let Some(last) = last {
            transaction
                .prepare_cached("DELETE FROM rejected WHERE id <= ?1")?
                .execute([last])?;
        }
        Ok(before - self.entries)
    }
}
