//! Everything that can be observed, at one instant.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Counters, Incident, JournalStatus, LatencySnapshot, LatestValue, LinkId, LinkState, LinkStatus,
    NodeStatus, Problem, SinkCounters, SinkId,
};
use crate::telemetry::{Name, RejectReason, Timestamp};

/// Everything that can be observed, at one instant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The instant.
    pub taken: Timestamp,
    /// When the gateway started.
    pub started: Timestamp,
    /// What came in from all sources.
    pub telemetry: TelemetrySnapshot,
    /// The link of the first source.
    pub source: LinkStatus,
    /// The sources, in the order of the configuration; empty in what an earlier gateway says.
    #[serde(default)]
    pub sources: Vec<SourceSnapshot>,
    /// The sinks, disabled ones included, brokers first.
    pub sinks: Vec<SinkSnapshot>,
    /// The journal.
    pub journal: JournalStatus,
    /// The last value of every metric, by source, node and name.
    pub latest: Vec<LatestValue>,
    /// The nodes, by name.
    #[serde(default)]
    pub nodes: Vec<NodeStatus>,
    /// What is wrong now, the gravest first.
    #[serde(default)]
    pub problems: Vec<Problem>,
    /// The journal on its disk; `None`: it is in memory, or nobody has looked yet.
    #[serde(default)]
    pub storage: Option<Storage>,
    /// Whether the system says that its clock is not synchronised, where `telemetry.wait_for_clock` says
    /// that it is to be.
    #[serde(default)]
    pub clock_unsynchronised: bool,
    /// Reboots and outages, the last of them, the oldest first.
    #[serde(default)]
    pub incidents: Vec<Incident>,
    /// The recording of the raw stream, with several sources the first of those that are recorded.
    pub recording: Recording,
    /// When the gateway will have ended at the latest; `None`: nobody told it to stop.
    pub ends_by: Option<Timestamp>,
}

/// What becomes of the raw stream, beside being read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "recording", rename_all = "snake_case")]
pub enum Recording {
    /// It is not recorded.
    #[default]
    Off,
    /// It is written to a file, byte for byte.
    On {
        /// The file.
        path: String,
        /// Bytes written so far.
        bytes: u64,
    },
    /// It was recorded.
    Ended {
        /// The file.
        path: String,
        /// Bytes in it.
        bytes: u64,
    },
    /// It cannot be recorded, or could not be any longer.
    Failed {
        /// The file.
        path: String,
        /// What the system said.
        reason: String,
    },
}

/// What came in since the gateway started.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TelemetrySnapshot {
    /// Bytes read from the source.
    pub source_bytes: u64,
    /// Bytes of them that were no frames.
    pub ignored_bytes: u64,
    /// Packets decoded.
    pub packets_processed: u64,
    /// Readings in them.
    pub readings_processed: u64,
    /// Packets lost between board and gateway.
    pub packets_missed: u64,
    /// Frames rejected, by reason.
    pub frames_rejected: Vec<(RejectReason, u64)>,
    /// Readings set aside, by reason.
    #[serde(default)]
    pub readings_rejected: Vec<(RejectReason, u64)>,
    /// The share of damaged ones among the last 200 frames.
    #[serde(default)]
    pub line_damaged_ratio: f64,
    /// Values that are no readings, by their key.
    #[serde(default)]
    pub left_out: BTreeMap<String, u64>,
    /// When telemetry last came.
    #[serde(default)]
    pub last_packet: Option<Timestamp>,
    /// How often a board's clock and the gateway's drifted apart.
    #[serde(default)]
    pub clock_drifts: u64,
}

/// The journal on its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Storage {
    /// Bytes of its file.
    pub journal_bytes: u64,
    /// Bytes of its write-ahead log.
    pub log_bytes: u64,
    /// Bytes of its data beyond which the oldest go; `None`: there is no such bound.
    pub max_bytes: Option<u64>,
    /// Bytes that are free on the disk, to a MiB.
    pub free_bytes: u64,
    /// Bytes of the disk.
    pub disk_bytes: u64,
    /// Whether it is a memory card.
    #[serde(default)]
    pub is_card: bool,
}

/// A source since the gateway started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceSnapshot {
    /// Which one.
    pub source: LinkId,
    /// Its link.
    pub link: LinkStatus,
    /// What came in from it.
    pub telemetry: TelemetrySnapshot,
    /// The recording of its raw stream.
    pub recording: Recording,
}

/// A sink since the gateway started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SinkSnapshot {
    /// Which one.
    pub sink: SinkId,
    /// Its link.
    pub link: LinkStatus,
    /// Messages or points behind its cursor.
    pub queue_depth: u64,
    /// Messages or points that had to go before they were delivered.
    pub dropped: u64,
    /// Messages or points acknowledged.
    pub delivered: u64,
    /// Failed deliveries of messages or points; each was or is tried again.
    pub failed: u64,
    /// HTTP writes that succeeded.
    pub writes_succeeded: u64,
    /// HTTP writes that failed.
    pub writes_failed: u64,
    /// Messages or points refused for good.
    pub rejected: u64,
    /// Late readings that were not sent because newer ones were.
    #[serde(default)]
    pub skipped: u64,
    /// From reception to acknowledgement.
    pub latency: LatencySnapshot,
}

impl Snapshot {
    /// A sink's part.
    pub fn sink(&self, sink: &SinkId) -> Option<&SinkSnapshot> {
        self.sinks.iter().find(|snapshot| snapshot.sink == *sink)
    }

    /// What came in from a source.
    pub fn telemetry_of(&self, source: &LinkId) -> &TelemetrySnapshot {
        let mut sources = self.sources.iter();
        let found = sources.find(|snapshot| snapshot.source == *source);
        found.map_or(&self.telemetry, |source| &source.telemetry)
    }

    /// The source that a node is heard by: the only one there is, or the one whose name stands before its own.
    pub fn source_of(&self, node: &Name) -> Option<&SourceSnapshot> {
        if let [only] = self.sources.as_slice() {
            return Some(only);
        }
        let (source, _) = node.as_str().split_once(' ')?;
        self.sources.iter().find(|it| it.source.name() == source)
    }

    /// A node's status.
    pub fn node(&self, name: &Name) -> Option<&NodeStatus> {
        self.nodes.iter().find(|status| status.node == *name)
    }

    /// All links, in the order of the data path.
    pub fn links(&self) -> impl Iterator<Item = (LinkId, &LinkStatus)> {
        let old = self.sources.is_empty();
        let only = old.then(|| (LinkId::source(), &self.source));
        let sources = self.sources.iter();
        let sources = sources.map(|source| (source.source.clone(), &source.link));
        let sinks = self.sinks.iter();
        let sinks = sinks.map(|sink| (sink.sink.link().clone(), &sink.link));
        only.into_iter().chain(sources).chain(sinks)
    }

    /// A link's status; `None`: there is no such link.
    pub fn link(&self, link: &LinkId) -> Option<&LinkStatus> {
        let mut links = self.links();
        links.find_map(|(id, status)| (id == *link).then_some(status))
    }
}

impl Recording {
    /// What is said of several in one word: one that is on, or else the first that ever was.
    pub(super) fn of_all<'a>(recordings: impl Iterator<Item = &'a Self> + Clone) -> Self {
        let mut on = recordings
            .clone()
            .filter(|it| matches!(it, Self::On { .. }));
        let mut others = recordings.filter(|it| **it != Self::Off);
        on.next()
            .or_else(|| others.next())
            .cloned()
            .unwrap_or_default()
    }
}

impl TelemetrySnapshot {
    /// Adds what came in from another source; the worse line counts.
    pub(super) fn add(&mut self, other: &Self) {
        self.source_bytes += other.source_bytes;
        self.ignored_bytes += other.ignored_bytes;
        self.packets_processed += other.packets_processed;
        self.readings_processed += other.readings_processed;
        self.packets_missed += other.packets_missed;
        add_counts(&mut self.frames_rejected, &other.frames_rejected);
        add_counts(&mut self.readings_rejected, &other.readings_rejected);
        self.last_packet = self.last_packet.max(other.last_packet);
        self.clock_drifts += other.clock_drifts;
        self.line_damaged_ratio = self.line_damaged_ratio.max(other.line_damaged_ratio);
        for (key, count) in &other.left_out {
            *self.left_out.entry(key.clone()).or_default() += count;
        }
    }

    pub(super) fn of(
        counters: &Counters,
        line_damaged_ratio: f64,
        left_out: BTreeMap<String, u64>,
        last_packet: Option<Timestamp>,
    ) -> Self {
        let frames = |reason| (reason, counters.frames_rejected[reason as usize].get());
        let readings = |reason| (reason, counters.readings_rejected[reason as usize].get());
        Self {
            source_bytes: counters.source_bytes.get(),
            ignored_bytes: counters.ignored_bytes.get(),
            packets_processed: counters.packets_processed.get(),
            readings_processed: counters.readings_processed.get(),
            packets_missed: counters.packets_missed.get(),
            frames_rejected: RejectReason::of_frames().map(frames).collect(),
            readings_rejected: RejectReason::of_readings().map(readings).collect(),
            line_damaged_ratio,
            left_out,
            last_packet,
            clock_drifts: counters.clock_drifts.get(),
        }
    }
}

fn add_counts(counts: &mut Vec<(RejectReason, u64)>, others: &[(RejectReason, u64)]) {
    for (reason, other) in others {
        match counts.iter_mut().find(|(known, _)| known == reason) {
            Some((_, count)) => *count += other,
            None => counts.push((*reason, *other)),
        }
    }
}

impl SinkSnapshot {
    /// Whether it is not configured.
    pub fn is_disabled(&self) -> bool {
        self.link.state == LinkState::Disabled
    }

    pub(super) fn of(
        sink: SinkId,
        link: LinkStatus,
        counters: &SinkCounters,
        journal: &JournalStatus,
    ) -> Self {
        let backlog = journal.sink(&sink);
        Self {
            sink,
            link,
            queue_depth: backlog.map_or(0, |backlog| backlog.depth),
            dropped: backlog.map_or(0, |backlog| backlog.dropped),
            delivered: counters.delivered.get(),
            failed: counters.failed.get(),
            writes_succeeded: counters.writes_succeeded.get(),
            writes_failed: counters.writes_failed.get(),
            rejected: counters.rejected.get(),
            skipped: counters.skipped.get(),
            latency: counters.latency.snapshot(),
        }
    }
}
