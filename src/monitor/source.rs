//! What one source reports, and what is seen of it.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::latest::LatestValues;
use super::{Counters, LatestValue, LinkId, Monitor, Recording, TelemetrySnapshot};
use super::{TrafficEntry, TrafficKind, TrafficVerdict};
use crate::telemetry::{Hearing, LeftOut, Name, Packet, Remote, Timestamp};

/// Keys of values that were left out and are counted by themselves; those of all others as one.
const MAX_LEFT_OUT: usize = 64;

/// What a source has reported since the gateway started.
#[derive(Debug)]
pub(super) struct SourceReport {
    pub(super) link: LinkId,
    counters: Counters,
    latest: Mutex<LatestValues>,
    recording: Mutex<Recording>,
    line: Mutex<LineReport>,
    /// When telemetry came last, in nanoseconds; 0: never.
    last_packet: AtomicI64,
}

/// What is known of the line that telemetry comes over.
#[derive(Debug, Default)]
struct LineReport {
    damaged_ratio: f64,
    left_out: BTreeMap<String, u64>,
}

impl SourceReport {
    pub(super) fn new(link: LinkId) -> Self {
        Self {
            link,
            counters: Counters::default(),
            latest: Mutex::default(),
            recording: Mutex::default(),
            line: Mutex::default(),
            last_packet: AtomicI64::new(0),
        }
    }

    pub(super) fn telemetry(&self) -> TelemetrySnapshot {
        let line = lock(&self.line);
        let last_packet = self.last_packet.load(Ordering::Relaxed);
        let last_packet = (last_packet > 0).then_some(Timestamp(last_packet));
        let left_out = line.left_out.clone();
        TelemetrySnapshot::of(&self.counters, line.damaged_ratio, left_out, last_packet)
    }

    pub(super) fn latest(&self) -> Vec<LatestValue> {
        lock(&self.latest).all()
    }

    pub(super) fn recording(&self) -> Recording {
        lock(&self.recording).clone()
    }
}

/// The monitor as one source reports to it: what it counts is its own.
#[derive(Debug, Clone)]
pub struct SourceMonitor {
    monitor: Arc<Monitor>,
    report: Arc<SourceReport>,
    name: Name,
}

impl Deref for SourceMonitor {
    type Target = Monitor;

    fn deref(&self) -> &Monitor {
        &self.monitor
    }
}

impl SourceMonitor {
    pub(super) fn new(monitor: Arc<Monitor>, report: Arc<SourceReport>) -> Self {
        Self {
            monitor,
            name: Name::new(report.link.name()),
            report,
        }
    }

    /// The source's link.
    pub fn source(&self) -> &LinkId {
        &self.report.link
    }

    /// The source's name among the sources.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The source's name, unless it is the only one and has none of its own.
    pub fn own_name(&self) -> Option<String> {
        let link = self.source();
        (!link.is_only()).then(|| link.name().to_owned())
    }

    /// The monitor of all sources.
    pub fn shared(&self) -> &Arc<Monitor> {
        &self.monitor
    }

    /// What is counted of the source.
    pub fn counters(&self) -> &Counters {
        &self.report.counters
    }

    /// Shows a piece of the stream; returns its number.
    pub fn show(&self, at: Timestamp, bytes: Arc<[u8]>, kind: TrafficKind) -> u64 {
        self.show_piece(at, (bytes, kind), Arc::default())
    }

    /// Shows a telemetry frame that names these nodes; returns its number.
    pub fn show_frame(&self, at: Timestamp, bytes: Arc<[u8]>, nodes: Arc<[Name]>) -> u64 {
        self.show_piece(at, (bytes, TrafficKind::Accepted), nodes)
    }

    fn show_piece(
        &self,
        at: Timestamp,
        (bytes, kind): (Arc<[u8]>, TrafficKind),
        nodes: Arc<[Name]>,
    ) -> u64 {
        let source = self.name.clone();
        self.activity.traffic.push(TrafficEntry {
            source,
            at,
            kind,
            bytes,
            nodes,
        })
    }

    /// Shows what became of a piece that was shown before under this number.
    pub fn show_verdict(&self, at: Timestamp, piece: u64, verdict: TrafficVerdict) {
        self.activity
            .traffic
            .push_about(piece, |back| TrafficEntry {
                source: self.name.clone(),
                at,
                kind: TrafficKind::Judged { back, verdict },
                bytes: Arc::default(),
                nodes: Arc::default(),
            });
    }

    /// Counts the readings that are to be delivered, and keeps their values.
    pub fn record(&self, packets: &[Packet]) {
        if packets.is_empty() {
            return;
        }
        let readings = packets.iter().map(|packet| packet.readings.len() as u64);
        self.counters().readings_processed.add(readings.sum());
        self.monitor.live.pass_on(packets, &self.monitor.metrics);
        let mut latest = lock(&self.report.latest);
        for packet in packets {
            latest.record(&self.name, packet, &self.monitor.metrics);
        }
    }

    /// Takes in which nodes frames are heard of, under the names that they have among those of all sources.
    pub fn hear_nodes(&self, hearings: &[Hearing]) {
        let Some(last) = hearings.last() else { return };
        let received = last.received.0;
        self.report.last_packet.store(received, Ordering::Relaxed);
        if !self.monitor.qualifies_nodes() {
            return self.monitor.hear_nodes(hearings);
        }
        let qualified: Vec<Hearing> = hearings.iter().map(|it| self.qualified(it)).collect();
        self.monitor.hear_nodes(&qualified);
    }

    /// Counts packets of a board that were missed, for the node that they are of.
    pub fn miss(&self, board: &str, missed: u64) {
        if self.monitor.qualifies_nodes() {
            self.monitor.miss(&self.of_all(board), missed);
        } else {
            self.monitor.miss(board, missed);
        }
    }

    fn qualified(&self, hearing: &Hearing) -> Hearing {
        let node = |node: &Name| Name::new(&self.of_all(node.as_str()));
        Hearing {
            board: self.of_all(&hearing.board).into(),
            nodes: hearing.nodes.iter().map(node).collect(),
            remote: match &hearing.remote {
                Remote::Node(name) => Remote::Node(node(name)),
                other => other.clone(),
            },
            ..hearing.clone()
        }
    }

    /// A name of this source among those of all.
    fn of_all(&self, name: &str) -> String {
        format!("{} {name}", self.name)
    }

    /// The share of the last frames that arrived damaged.
    pub fn line_damaged_ratio(&self) -> f64 {
        lock(&self.report.line).damaged_ratio
    }

    /// Says what share of the last frames arrived damaged.
    pub fn set_line_damage(&self, ratio: f64) {
        lock(&self.report.line).damaged_ratio = ratio;
    }

    /// Counts values that were no readings, by their key.
    pub fn note_left_out(&self, values: BTreeMap<String, LeftOut>) {
        let mut line = lock(&self.report.line);
        for (key, values) in values {
            let has_room = line.left_out.len() < MAX_LEFT_OUT || line.left_out.contains_key(&key);
            let key = if has_room { key } else { "…".to_owned() };
            *line.left_out.entry(key).or_default() += values.count;
        }
    }

    /// Says what becomes of the raw stream.
    pub fn set_recording(&self, recording: Recording) {
        *lock(&self.report.recording) = recording;
    }

    /// What becomes of the raw stream.
    pub fn recording(&self) -> Recording {
        self.report.recording()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere leaves whole values behind: each is written in one assignment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
