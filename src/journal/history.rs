//! What the journal still has of the past: for charts, condensed to as many points as can be drawn.

use std::ops::Range;

use rusqlite::{CachedStatement, Connection};

use super::encoding::Names;
use super::error::Fault;
use super::shared::{Shared, lock_store};
use super::store::{SELECT_BOUNDS, natural, read_rows};
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
    let file = {
        // While this is held, no row moves from memory to the file.
        let tiers = shared.tiers();
        let file = tiers.open_file().map_err(failed)?;
        let mut newest = u64::MAX;
        if let Some(memory) = &tiers.memory {
            let store = lock_store(memory);
            visit(store.connection(), query, &mut buckets, newest).map_err(failed)?;
            newest = store.extent().first.sequence;
        }
        file.map(|file| (file, newest))
    };
    // The file takes longer. What comes into it meanwhile was seen in memory.
    if let Some((file, newest)) = file {
        visit(&file, query, &mut buckets, newest).map_err(failed)?;
    }
    Ok(buckets.into_points())
}

/// The same of the rows that `visit` goes through.
pub(super) fn of_rows<E>(
    query: &HistoryQuery,
    visit: impl FnOnce(Range<Timestamp>, &mut dyn FnMut(&Row) -> bool) -> Result<(), E>,
) -> Result<Vec<HistoryPoint>, E> {
    let mut buckets = Buckets::new(query);
    visit(query.from..query.to, &mut |row| buckets.add(row))?;
    Ok(buckets.into_points())
}

/// Adds the rows up to a sequence.
fn visit(
    connection: &Connection,
    query: &HistoryQuery,
    buckets: &mut Buckets,
    up_to: u64,
) -> Result<(), Fault> {
    visit_rows(connection, query.from..query.to, &mut |row| {
        row.sequence <= up_to && buckets.add(row)
    })
}

/// Calls `take` with every row that was measured within these times, and with some others, in the order of
/// the journal, until it says that this is enough.
pub(super) fn visit_rows(
    connection: &Connection,
    times: Range<Timestamp>,
    take: &mut impl FnMut(&Row) -> bool,
) -> Result<(), Fault> {
    let mut names = Names::default();
    let mut rows = Vec::new();
    for stretch in find_stretches(connection, times)? {
        let mut after = stretch.start.saturating_sub(1);
        loop {
            rows.clear();
            let position = Position {
                sequence: natural(after)?,
                total: 0,
            };
            let is_all = read_rows(connection, position, BLOCK, &mut names, &mut rows)?;
            let mut of_stretch = rows.iter().filter(|row| stretch.holds(row.sequence));
            if !of_stretch.all(&mut *take) {
                return Ok(());
            }
            match rows.last() {
                Some(last) if !is_all && stretch.holds(last.sequence) => {
                    after = i64::try_from(last.sequence).unwrap_or(i64::MAX);
                }
                _ => break,
            }
        }
    }
    Ok(())
}

/// Rows from one sequence to before another.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    start: i64,
    end: i64,
}

impl Stretch {
    fn holds(self, sequence: u64) -> bool {
        i64::try_from(sequence).is_ok_and(|sequence| (self.start..self.end).contains(&sequence))
    }
}

/// How often a journal is halved whatever the times at its ends: rows are in the order of time but
/// for the moments at which a clock was set, and those are to be found.
const HALVINGS: u32 = 8;

/// Rows that are read rather than halved.
const FEW: i64 = 64;

/// A journal of so many rows is read whole.
const SMALL: i64 = 4_096;

/// Where rows of the time asked for can be, found by looking at some of them.
fn find_stretches(connection: &Connection, times: Range<Timestamp>) -> Result<Vec<Stretch>, Fault> {
    let bounds = connection
        .prepare_cached(SELECT_BOUNDS)?
        .query_row([], |row| {
            Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, Option<i64>>(1)?))
        })?;
    let (Some(first), Some(last)) = bounds else {
        return Ok(Vec::new());
    };
    let whole = Stretch {
        start: first,
        end: last + 1,
    };
    if last - first < SMALL {
        return Ok(vec![whole]);
    }
    let mut search = Search {
        probe: connection.prepare_cached(
            "SELECT event_time FROM packets WHERE sequence >= ? ORDER BY sequence LIMIT 1",
        )?,
        times,
        found: Vec::new(),
    };
    let ends = (search.time_at(first)?, search.time_at(last)?);
    search.look(whole, ends, 0)?;
    Ok(search.found)
}

struct Search<'a> {
    probe: CachedStatement<'a>,
    times: Range<Timestamp>,
    found: Vec<Stretch>,
}

impl Search<'_> {
    fn time_at(&mut self, sequence: i64) -> Result<i64, Fault> {
        Ok(self.probe.query_row([sequence], |row| row.get(0))?)
    }

    fn look(
        &mut self,
        stretch: Stretch,
        (first, last): (i64, i64),
        halvings: u32,
    ) -> Result<(), Fault> {
        let (from, to) = (self.times.start.0, self.times.end.0);
        let is_apart = first <= last && (last < from || first >= to);
        if halvings >= HALVINGS && is_apart {
            return Ok(());
        }
        if stretch.end - stretch.start <= FEW {
            match self.found.last_mut() {
                Some(before) if before.end == stretch.start => before.end = stretch.end,
                _ => self.found.push(stretch),
            }
            return Ok(());
        }
        let middle = stretch.start + (stretch.end - stretch.start) / 2;
        let time = self.time_at(middle)?;
        let (left, right) = (
            Stretch {
                end: middle,
                ..stretch
            },
            Stretch {
                start: middle,
                ..stretch
            },
        );
        self.look(left, (first, time), halvings + 1)?;
        self.look(right, (time, last), halvings + 1)
    }
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

    /// Adds what belongs to it; says that there can be more.
    fn add(&mut self, row: &Row) -> bool {
        let time = row.event_time;
        let is_of_source = self
            .query
            .source
            .as_ref()
            .is_none_or(|it| *it == row.source);
        if !is_of_source || time < self.query.from || time >= self.query.to {
            return true;
        }
        let index = usize::try_from((time.0 - self.query.from.0) / self.width);
        let Some(bucket) = index.ok().and_then(|index| self.filled.get_mut(index)) else {
            return true;
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
        true
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
        let journal = Journal::open(&config, &[]).unwrap();
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
        journal
            .append(&"source".into(), packets.collect())
            .await
            .unwrap();
        journal.settle().await;
        journal
    }

    fn query(from: i64, to: i64, points: usize) -> HistoryQuery {
        HistoryQuery {
            source: None,
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

    /// A journal of rows a second apart, measured from each of these seconds on, so many.
    async fn journal_of(stretches: &[Range<i64>]) -> Journal {
        let config = config::Journal {
            path: JournalPath::Memory,
            max_messages: 1_000_000,
            max_bytes: None,
            durability: Durability::Normal,
            history: Duration::from_hours(24),
        };
        let journal = Journal::open(&config, &[]).unwrap();
        let packet = |second| Packet {
            received: Timestamp::now(),
            event_time: Timestamp(second * SECOND),
            readings: vec![Reading {
                node: Name::new("node1"),
                metric: Name::new("temperature"),
                value: second as f64,
            }],
        };
        for stretch in stretches {
            journal
                .append(&"source".into(), stretch.clone().map(packet).collect())
                .await
                .unwrap();
        }
        journal.settle().await;
        journal
    }

    #[tokio::test]
    async fn a_clock_that_was_set_hides_nothing() {
        const YEAR: i64 = 365 * 24 * 3_600;
        for (before, after) in [
            (40, 40),
            (3_000, 300),
            (300, 3_000),
            (9_000, 9_000),
            (50_000, 2_000),
        ] {
            for wrong in [YEAR, -YEAR] {
                let start = 2 * YEAR;
                let right = start + before..start + before + after;
                let journal =
                    journal_of(&[start + wrong..start + wrong + before, right.clone()]).await;
                let points = journal
                    .history(&query(right.start, right.end, 10_000))
                    .unwrap();
                let count: u64 = points.iter().map(|point| point.count).sum();
                assert_eq!(count, after.unsigned_abs(), "{before} {after} {wrong}");
            }
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
