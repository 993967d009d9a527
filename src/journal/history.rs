//! What the journal still has of the past: for charts, condensed to as many points as can be drawn.

use rusqlite::{Connection, OptionalExtension};

use super::encoding::Names;
use super::error::Fault;
use super::shared::{Shared, lock_store};
use super::store::{SELECT_BOUNDS, read_rows};
use super::{JournalError, Position, Row};
use crate::monitor::{HistoryPoint, HistoryQuery};
use crate::telemetry::Timestamp;

/// Messages read at once.
const BLOCK: usize = 4_096;

/// Points that one answer may have.
const MAX_POINTS: usize = 10_000;

/// The history of one metric, in the order of time.
pub(super) fn query(
    shared: &Shared,
    query: &HistoryQuery,
) -> Result<Vec<HistoryPoint>, JournalError> {
    let mut buckets = Buckets::new(query);
    let failed = |fault: Fault| fault.into_error("read", shared.name.clone());
    // While this is held, no row moves from memory to the file.
    let tiers = shared.tiers();
    if let Some(file) = tiers.open_file().map_err(failed)? {
        visit(&file, query, &mut buckets).map_err(failed)?;
    }
    if let Some(memory) = &tiers.memory {
        let store = lock_store(memory);
        visit(store.connection(), query, &mut buckets).map_err(failed)?;
    }
    Ok(buckets.into_points())
}

fn visit(
    connection: &Connection,
    query: &HistoryQuery,
    buckets: &mut Buckets,
) -> Result<(), Fault> {
    let mut names = Names::default();
    let mut after = first_before(connection, query.from)?;
    let mut rows = Vec::new();
    loop {
        rows.clear();
        let is_all = read_rows(connection, after, BLOCK, &mut names, &mut rows)?;
        for row in &rows {
            buckets.add(row);
        }
        match rows.last() {
            Some(last) if !is_all && last.event_time <= query.to => after = last.end(),
            _ => return Ok(()),
        }
    }
}

/// A place before the first row that was measured at `time` or later, found without reading what lies
/// before it: rows are in the order of time but for the moments at which a clock was set.
fn first_before(connection: &Connection, time: Timestamp) -> Result<Position, Fault> {
    let mut bounds = connection
        .prepare_cached(SELECT_BOUNDS)?
        .query_row([], |row| {
            Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, Option<i64>>(1)?))
        })?;
    let mut probe = connection.prepare_cached(
        "SELECT sequence, event_time FROM packets WHERE sequence >= ? ORDER BY sequence LIMIT 1",
    )?;
    while let (Some(low), Some(high)) = bounds
        && low < high
    {
        let middle = low + (high - low) / 2;
        let found: Option<(i64, i64)> = probe
            .query_row([middle], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        bounds = match found {
            Some((sequence, event_time)) if event_time < time.0 => (Some(sequence + 1), Some(high)),
            _ => (Some(low), Some(middle)),
        };
    }
    let sequence = bounds
        .0
        .map_or(0, |low| u64::try_from(low - 1).unwrap_or(0));
    Ok(Position { sequence, total: 0 })
}

/// Equal stretches of the time asked for, each with what was measured in it.
struct Buckets<'a> {
    query: &'a HistoryQuery,
    width: i64,
    filled: Vec<Option<Bucket>>,
}

#[derive(Clone, Copy)]
struct Bucket {
    min: f64,
    max: f64,
    sum: f64,
    count: u64,
    first: i64,
    last: i64,
}

impl<'a> Buckets<'a> {
    fn new(query: &'a HistoryQuery) -> Self {
        let count = query.points.clamp(1, MAX_POINTS);
        let span = query.to.0.saturating_sub(query.from.0).max(1);
        let width = span / i64::try_from(count).unwrap_or(i64::MAX) + 1;
        Self {
            query,
            width,
            filled: vec![None; count],
        }
    }

    fn add(&mut self, row: &Row) {
        let time = row.event_time;
        if time < self.query.from || time >= self.query.to {
            return;
        }
        let index = usize::try_from((time.0 - self.query.from.0) / self.width);
        let Some(bucket) = index.ok().and_then(|index| self.filled.get_mut(index)) else {
            return;
        };
        let of_metric = row.readings.iter().filter(|reading| {
            reading.node == self.query.node && reading.metric == self.query.metric
        });
        for reading in of_metric {
            let value = reading.value;
            let bucket = bucket.get_or_insert(Bucket {
                min: value,
                max: value,
                sum: 0.0,
                count: 0,
                first: time.0,
                last: time.0,
            });
            bucket.min = bucket.min.min(value);
            bucket.max = bucket.max.max(value);
            bucket.sum += value;
            bucket.count += 1;
            bucket.first = bucket.first.min(time.0);
            bucket.last = bucket.last.max(time.0);
        }
    }

    fn into_points(self) -> Vec<HistoryPoint> {
        let points = self
            .filled
            .into_iter()
            .flatten()
            .map(|bucket| HistoryPoint {
                time: Timestamp(bucket.first + (bucket.last - bucket.first) / 2),
                min: bucket.min,
                // A sum is rounded, and a mean beyond what it is the mean of would be drawn as such.
                mean: (bucket.sum / bucket.count as f64)
                    .max(bucket.min)
                    .min(bucket.max),
                max: bucket.max,
                count: bucket.count,
            });
        points.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Journal;
    use super::*;
    use crate::config::{self, Durability, JournalPath};
    use crate::telemetry::{Name, Packet, Reading};

    const SECOND: i64 = 1_000_000_000;

    async fn journal(path: JournalPath) -> Journal {
        let config = config::Journal {
            path,
            max_messages: 100_000,
            max_bytes: None,
            durability: Durability::Normal,
            history: Duration::from_hours(24),
        };
        let journal = Journal::open(&config, &[], "test").unwrap();
        let packets = (0..1_000).map(|second| {
            let reading = |node: &str, value| Reading {
                node: Name::new(node),
                metric: Name::new("temperature"),
                value,
            };
            let time = Timestamp::now().0 / SECOND * SECOND - 1_000 * SECOND + second * SECOND;
            Packet {
                received: Timestamp(time),
                event_time: Timestamp(second * SECOND),
                readings: vec![reading("node1", second as f64), reading("node2", -1.0)],
            }
        });
        journal.append(packets.collect()).await.unwrap();
        journal.settle().await;
        journal
    }

    fn query(from: i64, to: i64, points: usize) -> HistoryQuery {
        HistoryQuery {
            node: Name::new("node1"),
            metric: Name::new("temperature"),
            from: Timestamp(from * SECOND),
            to: Timestamp(to * SECOND),
            points,
        }
    }

    #[tokio::test]
    async fn a_stretch_of_the_past_comes_back_value_by_value() {
        let folder = tempfile::tempdir().unwrap();
        for path in [
            JournalPath::File(folder.path().join("j.db")),
            JournalPath::Memory,
        ] {
            let journal = journal(path).await;
            let points = journal.history(&query(100, 110, 1_000)).unwrap();
            let values: Vec<_> = points.iter().map(|p| (p.time.0 / SECOND, p.mean)).collect();
            let expected: Vec<_> = (100..110).map(|second| (second, second as f64)).collect();
            assert_eq!(values, expected);
            assert!(
                journal
                    .history(&query(5_000, 6_000, 10))
                    .unwrap()
                    .is_empty()
            );
        }
    }

    #[tokio::test]
    async fn more_values_than_points_are_put_together_without_losing_extremes() {
        let journal = journal(JournalPath::Memory).await;
        let points = journal.history(&query(0, 1_000, 10)).unwrap();
        assert_eq!(points.len(), 10);
        assert_eq!(points.iter().map(|point| point.count).sum::<u64>(), 1_000);
        assert_eq!(points[0].min.to_bits(), 0.0_f64.to_bits());
        assert!((points[9].max - 999.0).abs() < f64::EPSILON);
    }
}
