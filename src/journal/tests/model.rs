//! Random operations, compared with a plain model: what each sink has of each packet is counted one
//! by one, and has to agree with the journal's arithmetic.

use super::both;
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::journal::shared::lock_store;
use crate::journal::{JournalState, Position};

const BOUND: u64 = 40;

#[derive(Debug, Clone)]
enum Operation {
    Append(Vec<usize>),
    Step,
    Read(SinkId, usize),
    /// Of the rows in flight, so many (in per cent).
    Acknowledge(SinkId, usize),
    Rewind(SinkId),
    Prune,
    Crash,
    Close,
    DiskFull(bool),
}

fn operation() -> impl Strategy<Value = Operation> {
    let sink = prop_oneof![Just(SinkId::mqtt()), Just(SinkId::influxdb())];
    prop_oneof![
        6 => prop::collection::vec(1..7_usize, 1..8).prop_map(Operation::Append),
        1 => prop::collection::vec(100..150_usize, 1..3).prop_map(Operation::Append),
        6 => Just(Operation::Step),
        6 => (sink.clone(), 0..40_usize).prop_map(|(sink, max)| Operation::Read(sink, max)),
        6 => (sink.clone(), 0..=100_usize).prop_map(|(sink, part)| Operation::Acknowledge(sink, part)),
        2 => sink.prop_map(Operation::Rewind),
        1 => Just(Operation::Prune),
        1 => Just(Operation::Crash),
        1 => Just(Operation::Close),
        1 => any::<bool>().prop_map(Operation::DiskFull),
    ]
}

/// What a sink has, packet by packet.
#[derive(Default)]
struct Sink {
    cursor: Option<Cursor>,
    /// Where it began when the journal was opened.
    start: u64,
    acknowledged: Position,
    /// The acknowledgement that the writer has dealt with.
    committed: Position,
    delivered: BTreeSet<u64>,
    in_flight: Vec<Position>,
    read: u64,
}

struct Model {
    config: config::Journal,
    bench: Option<Bench>,
    sinks: BTreeMap<SinkId, Sink>,
    /// Messages of each committed row.
    rows: BTreeMap<u64, u64>,
    /// Rows that should be stored while all is well.
    stored: Vec<u64>,
    given: Vec<(u32, u64)>,
    ids: BTreeMap<u64, u32>,
    next_id: u32,
    end: u64,
    /// Since the disk was full once, only accounts and order are compared, not which rows are kept.
    was_full: bool,
}

impl Model {
    fn new(config: config::Journal) -> Self {
        let mut model = Self {
            config,
            bench: None,
            sinks: both().map(|sink| (sink, Sink::default())).into(),
            rows: BTreeMap::new(),
            stored: Vec::new(),
            given: Vec::new(),
            ids: BTreeMap::new(),
            next_id: 0,
            end: 0,
            was_full: false,
        };
        model.open();
        model
    }

    fn bench(&mut self) -> &mut Bench {
        self.bench.as_mut().unwrap()
    }

    fn open(&mut self) {
        let bench = Bench::open(&self.config);
        let status = bench.status();
        if self.was_full {
            // Rows that were in memory alone are gone; the model goes on with what is there.
            let end = status.end.sequence;
            assert!(end <= self.end);
            self.rows.retain(|sequence, _| *sequence <= end);
            self.end = end;
        } else {
            assert_eq!(status.end.sequence, self.end);
        }
        for (id, sink) in &mut self.sinks {
            let acknowledged = status.sink(id).unwrap().acknowledged;
            // An acknowledgement of a row that is not in the file is known once it is committed.
            let is_known = self.stored.contains(&sink.acknowledged.sequence);
            let may_be_lost = acknowledged == sink.committed && (self.was_full || !is_known);
            assert!(
                acknowledged == sink.acknowledged || may_be_lost,
                "{acknowledged:?}, {:?} committed, {:?} acknowledged",
                sink.committed,
                sink.acknowledged
            );
            sink.committed = acknowledged;
            sink.start = acknowledged.sequence;
            sink.acknowledged = acknowledged;
            sink.read = acknowledged.sequence;
            sink.in_flight.clear();
            sink.delivered.retain(|row| *row <= acknowledged.sequence);
            let mut cursor = bench.cursor(id);
            // Gaps inside of the file are known when they have been read.
            cursor.read(1_000_000).unwrap();
            cursor.rewind();
            sink.cursor = Some(cursor);
        }
        self.given.clear();
        self.bench = Some(bench);
    }

    fn leave(&mut self) -> Bench {
        for sink in self.sinks.values_mut() {
            sink.cursor = None;
        }
        self.bench.take().unwrap()
    }

    fn step(&mut self) {
        self.bench().writer.retry_now();
        self.bench().step();
        for (id, count) in std::mem::take(&mut self.given) {
            self.end += 1;
            self.rows.insert(self.end, count);
            self.ids.insert(self.end, id);
            self.stored.push(self.end);
        }
        for sink in self.sinks.values_mut() {
            sink.committed = sink.acknowledged;
        }
        let size = |stored: &[u64]| {
            stored
                .iter()
                .map(|row| self.rows.get(row))
                .map(|n| n.copied().unwrap_or(0))
                .sum::<u64>()
        };
        while self.stored.len() > 1 && size(&self.stored) > BOUND {
            self.stored.remove(0);
        }
        self.was_full |= matches!(self.bench().status().state, JournalState::Fallback { .. });
    }

    fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::Append(counts) => {
                for count in counts {
                    self.next_id += 1;
                    let id = self.next_id;
                    self.bench().give(vec![packet(id, count)]);
                    self.given.push((id, count as u64));
                }
            }
            Operation::Step => self.step(),
            Operation::Read(sink, max) => self.read(&sink, max),
            Operation::Acknowledge(sink, part) => {
                let sink = self.sinks.get_mut(&sink).unwrap();
                let count = (sink.in_flight.len() * part).div_ceil(100);
                for position in sink.in_flight.drain(..count) {
                    sink.delivered.insert(position.sequence);
                    sink.acknowledged = position;
                    sink.cursor.as_mut().unwrap().acknowledge(position);
                }
            }
            Operation::Rewind(sink) => {
                let sink = self.sinks.get_mut(&sink).unwrap();
                sink.in_flight.clear();
                sink.read = sink.acknowledged.sequence;
                sink.cursor.as_mut().unwrap().rewind();
            }
            Operation::Prune => {
                self.bench().keep_house();
                let delivered = self
                    .sinks
                    .values()
                    .map(|sink| sink.committed.sequence)
                    .min();
                let end = self.end;
                self.stored
                    .retain(|row| Some(*row) > delivered || *row == end);
            }
            Operation::Crash => {
                drop(self.leave());
                self.open();
            }
            Operation::Close => {
                self.step();
                let closed = self.leave().close();
                assert!(closed.is_ok() || self.was_full);
                self.open();
            }
            Operation::DiskFull(full) => {
                if let Some(file) = &self.bench().writer.file {
                    file.limit_pages(if full { 1 } else { u32::MAX - 1 });
                }
            }
        }
    }

    fn read(&mut self, id: &SinkId, max: usize) {
        let sink = self.sinks.get_mut(id).unwrap();
        let rows = sink.cursor.as_mut().unwrap().read(max).unwrap();
        for row in &rows {
            assert!(row.sequence > sink.read);
            assert_eq!(super::id(row), self.ids[&row.sequence]);
            assert_eq!(row.readings.len() as u64, self.rows[&row.sequence]);
            sink.read = row.sequence;
            sink.in_flight.push(row.end());
        }
    }

    /// The sequences that are in file and memory.
    fn stored_rows(&self) -> BTreeSet<u64> {
        let writer = &self.bench.as_ref().unwrap().writer;
        let tiers = writer.shared().tiers();
        let memory = tiers.memory.as_ref().map(lock_store);
        let stores = writer.file.iter().chain(memory.as_deref());
        stores
            .flat_map(|store| {
                let mut statement = store
                    .connection()
                    .prepare("SELECT sequence FROM packets")
                    .unwrap();
                let rows = statement.query_map([], |row| row.get::<_, i64>(0)).unwrap();
                rows.map(|row| row.unwrap().unsigned_abs())
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    fn check(&self) {
        let stored = self.stored_rows();
        if !self.was_full {
            assert_eq!(stored, self.stored.iter().copied().collect());
        }
        let status = self.bench.as_ref().unwrap().status();
        assert_eq!(status.end.sequence, self.end);
        for (id, sink) in &self.sinks {
            let (mut depth, mut dropped) = (0, 0);
            for (row, count) in self.rows.range(sink.start + 1..) {
                if *row <= sink.acknowledged.sequence {
                    if !sink.delivered.contains(row) {
                        dropped += count;
                    }
                } else if stored.contains(row) {
                    depth += count;
                } else if !sink
                    .in_flight
                    .iter()
                    .any(|position| position.sequence == *row)
                {
                    dropped += count;
                }
            }
            let backlog = status.sink(id).unwrap();
            assert_eq!((backlog.depth, backlog.dropped), (depth, dropped), "{id}");
            assert_eq!(backlog.acknowledged, sink.acknowledged);
        }
    }
}

fn run(config: config::Journal, operations: Vec<Operation>) {
    let in_memory = config.path == JournalPath::Memory;
    let mut model = Model::new(config);
    for operation in operations {
        if in_memory && matches!(operation, Operation::Crash | Operation::Close) {
            continue;
        }
        let stepped = matches!(operation, Operation::Read(..) | Operation::DiskFull(_));
        model.apply(operation);
        if !stepped {
            model.check();
        }
    }
    model.check();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_file_agrees_with_the_model(operations in prop::collection::vec(operation(), 1..80)) {
        let folder = tempfile::tempdir().unwrap();
        run(
            config::Journal { history: Duration::ZERO, ..file_config(folder.path(), BOUND) },
            operations,
        );
    }

    #[test]
    fn a_file_with_a_tail_agrees_with_the_model(
        operations in prop::collection::vec(operation(), 1..80),
        is_full in any::<bool>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let durability = if is_full {
            Durability::Full
        } else {
            Durability::Interval(Duration::from_nanos(1))
        };
        run(
            config::Journal {
                history: Duration::ZERO,
                durability,
                ..file_config(folder.path(), BOUND)
            },
            operations,
        );
    }

    #[test]
    fn memory_agrees_with_the_model(operations in prop::collection::vec(operation(), 1..80)) {
        run(
            config::Journal { history: Duration::ZERO, ..config(JournalPath::Memory, BOUND) },
            operations,
        );
    }
}
