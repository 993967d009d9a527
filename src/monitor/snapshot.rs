//! Everything that can be observed, at one instant.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Counters, Incident, JournalStatus, LatencySnapshot, LatestValue, LinkId, LinkState, LinkStatus,
    NodeStatus, Problem, SinkId,
};
use crate::telemetry::{Name, RejectReason, Timestamp};

/// Everything that can be observed, at one instant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The instant.
    pub taken: Timestamp,
    /// When the gateway started.
    pub started: Timestamp,
    /// What came in.
    pub telemetry: TelemetrySnapshot,
    /// The link of the source.
    pub source: LinkStatus,
    /// The sinks, disabled ones included, brokers first.
    pub sinks: Vec<SinkSnapshot>,
    /// The journal.
    pub journal: JournalStatus,
    /// The last value of every metric, by node and name.
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
    /// The recording of the raw stream.
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// From reception to acknowledgement.
    pub latency: LatencySnapshot,
}

impl Snapshot {
    /// A sink's part.
    pub fn sink(&self, sink: &SinkId) -> Option<&SinkSnapshot> {
        self.sinks.iter().find(|snapshot| snapshot.sink == *sink)
    }

    /// A node's status.
    pub fn node(&self, name: &Name) -> Option<&NodeStatus> {
        self.nodes.iter().find(|status| status.node == *name)
    }

    /// All links, in the order of the data path.
    pub fn links(&self) -> impl Iterator<Item = (LinkId, &LinkStatus)> {
        let sinks = self.sinks.iter();
        let sinks = sinks.map(|sink| (sink.sink.link().clone(), &sink.link));
        std::iter::once((LinkId::source(), &self.source)).chain(sinks)
    }

    /// A link's status; `None`: there is no such link.
    pub fn link(&self, link: &LinkId) -> Option<&LinkStatus> {
        let mut links = self.links();
        links.find_map(|(id, status)| (id == *link).then_some(status))
    }
}

impl TelemetrySnapshot {
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

impl SinkSnapshot {
    /// Whether it is not configured.
    pub fn is_disabled(&self) -> bool {
        self.link.state == LinkState::Disabled
    }

    pub(super) fn of(
        sink: SinkId,
        link: LinkStatus,
        counters: &Counters,
        journal: &JournalStatus,
    ) -> Self {
        let counters = counters.sink(&sink);
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
            latency: counters.latency.snapshot(),
        }
    }
}
