//! The journal as a whole. Most of it is driven without its thread, step by step.

mod astray;
mod basics;
mod corrections;
mod damage;
mod enrolment;
mod model;
mod rejected;
mod rewind;
mod tail;
mod trouble;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;

use super::inbox::Work;
use super::writer::{TICK, Writer};
use super::{Cursor, Enrolled, JournalError, JournalStatus, Row};
use crate::config::{self, Begin, Durability, JournalPath};
use crate::monitor::SinkId;
use crate::telemetry::{Packet, Reading, Timestamp};

/// The only broker and the only database.
pub(super) fn both() -> [SinkId; 2] {
    [SinkId::mqtt(), SinkId::influxdb()]
}

/// These sinks; one that is new begins with the oldest that there is.
pub(super) fn from_oldest(sinks: &[SinkId]) -> Vec<Enrolled> {
    let enrolled = |sink: &SinkId| Enrolled {
        sink: sink.clone(),
        begin: Begin::Oldest,
    };
    sinks.iter().map(enrolled).collect()
}

pub(super) const DAY: Duration = Duration::from_hours(24);

/// A packet of so many readings that can be told from any other.
pub(super) fn packet(id: u32, readings: usize) -> Packet {
    let reading = |index| Reading {
        node: "node1".into(),
        metric: format!("metric{index}").as_str().into(),
        value: f64::from(id),
    };
    Packet {
        received: Timestamp(i64::from(id)),
        event_time: Timestamp(i64::from(id) + 7),
        readings: (0..readings).map(reading).collect(),
    }
}

/// Which packet a row was made of.
pub(super) fn id(row: &Row) -> u32 {
    let id = u32::try_from(row.received.0).unwrap();
    assert_eq!(row.event_time, Timestamp(i64::from(id) + 7));
    assert_eq!(row.readings, packet(id, row.readings.len()).readings);
    id
}

pub(super) fn ids(rows: &[Row]) -> Vec<u32> {
    rows.iter().map(id).collect()
}

pub(super) fn config(path: JournalPath, max_messages: u64) -> config::Journal {
    config::Journal {
        path,
        max_messages,
        max_bytes: None,
        durability: Durability::Normal,
        history: DAY,
    }
}

/// A configuration of a file in a folder.
pub(super) fn file_config(folder: &Path, max_messages: u64) -> config::Journal {
    config(JournalPath::File(folder.join("journal.db")), max_messages)
}

/// The files that were moved aside.
pub(super) fn damaged_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.to_string_lossy();
            name.contains(".damaged-") && !name.ends_with("-wal") && !name.ends_with("-shm")
        })
        .collect()
}

/// A journal whose writer works when it is told to. Dropping it is a crash: what waits is lost and
/// nothing is tidied up.
pub(super) struct Bench {
    pub(super) writer: Writer,
    work: Work,
}

impl Bench {
    pub(super) fn open(config: &config::Journal) -> Self {
        Self::try_open(config).unwrap()
    }

    pub(super) fn try_open(config: &config::Journal) -> Result<Self, JournalError> {
        Self::open_for(config, &both())
    }

    pub(super) fn open_for(
        config: &config::Journal,
        sinks: &[SinkId],
    ) -> Result<Self, JournalError> {
        Ok(Self {
            writer: Writer::open(config, &from_oldest(sinks))?,
            work: Work::default(),
        })
    }

    /// Gives packets to the writer.
    pub(super) fn give(&self, packets: Vec<Packet>) {
        self.try_give(packets).unwrap();
    }

    /// Gives packets to a writer that perhaps takes none any more.
    pub(super) fn try_give(&self, packets: Vec<Packet>) -> Result<(), JournalError> {
        let source = "source".into();
        let append = self.writer.shared().inbox.append(&source, packets);
        append.now_or_never().unwrap()
    }

    /// Lets the writer deal with what waits.
    pub(super) fn step(&mut self) {
        let inbox = &self.writer.shared.inbox;
        inbox.take(Duration::ZERO, Duration::ZERO, &mut self.work);
        self.writer.write(&self.work);
    }

    pub(super) fn append(&mut self, packets: Vec<Packet>) {
        self.give(packets);
        self.step();
    }

    /// Appends packets of one reading with these ids.
    pub(super) fn append_ids(&mut self, ids: std::ops::Range<u32>) {
        self.append(ids.map(|id| packet(id, 1)).collect());
    }

    /// Keeps house until there is nothing more to do before the next tick.
    pub(super) fn keep_house(&mut self) {
        loop {
            let now = Instant::now();
            self.writer.housekeeping_due = now;
            self.writer.prune_due = now;
            self.writer.keep_house(0);
            if self.writer.housekeeping_due >= now + TICK {
                return;
            }
        }
    }

    pub(super) fn cursor(&self, sink: &SinkId) -> Cursor {
        Cursor::open(Arc::clone(self.writer.shared()), sink).unwrap()
    }

    pub(super) fn status(&self) -> JournalStatus {
        self.writer.shared().status()
    }

    pub(super) fn dropped(&self, sink: &SinkId) -> u64 {
        self.status().sink(sink).unwrap().dropped
    }

    pub(super) fn depth(&self, sink: &SinkId) -> u64 {
        self.status().sink(sink).unwrap().depth
    }

    /// Ends in good order.
    pub(super) fn close(self) -> Result<(), JournalError> {
        self.writer.shared().inbox.close();
        let mut bench = self;
        bench.step();
        bench.writer.finish()
    }
}

/// Reads and acknowledges all there is.
pub(super) fn drain(bench: &mut Bench, cursor: &mut Cursor) -> Vec<u32> {
    let mut all = Vec::new();
    loop {
        let rows = cursor.read(50).unwrap();
        let Some(last) = rows.last() else { break };
        cursor.acknowledge(last.end());
        all.extend(ids(&rows));
        bench.step();
    }
    all
}
