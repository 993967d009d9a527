//! What the gateway knows of itself: counters, link states, latest values, and the snapshot of all
//! of it. Also the commands an operator may give.

mod activity;
mod command;
mod counters;
mod journal;
mod latest;
mod link;
mod metrics;
mod observer;
mod pulse;
mod ring;
mod snapshot;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

pub use activity::{
    Activity, DeliveryEntry, DeliveryOutcome, LogEntry, LogLevel, TrafficEntry, TrafficKind,
    TrafficVerdict,
};
pub use command::{Command, Directive, Order};
pub use counters::{
    Counter, Counters, LATENCY_BUCKETS, LatencyHistogram, LatencySnapshot, SinkCounters,
};
pub use journal::{JournalState, JournalStatus, Position, SinkBacklog};
pub use latest::LatestValue;
pub use link::{LinkId, LinkState, LinkStatus, SinkId};
pub use metrics::{MetricFamily, MetricKind, Sample, log_line, metrics};
pub use observer::{HistoryPoint, HistoryQuery, Observer, Reply, Sight};
pub use pulse::{Pulses, Stage, StageGuard};
pub use ring::{Numbered, Ring, SharedRing, Weighed};
pub use snapshot::{Recording, SinkSnapshot, Snapshot, TelemetrySnapshot};

use crate::telemetry::{LeftOut, MetricTable, Packet, Timestamp};
use latest::LatestValues;

/// What every stage reports to. Shared by all of them; never blocks for long.
#[derive(Debug)]
pub struct Monitor {
    /// All that is counted.
    pub counters: Counters,
    /// The last of what happened.
    pub activity: Activity,
    /// Whether every stage still does something.
    pub pulses: Pulses,
    started: Timestamp,
    metrics: Arc<MetricTable>,
    links: Mutex<[LinkStatus; 3]>,
    latest: Mutex<LatestValues>,
    recording: Mutex<Recording>,
    line: Mutex<Line>,
    ends_by: OnceLock<Timestamp>,
}

/// What is known of the line that telemetry comes over.
#[derive(Debug, Default)]
struct Line {
    damaged_ratio: f64,
    left_out: BTreeMap<String, u64>,
}

/// Keys of values that were left out and are counted by themselves; those of all others as one.
const MAX_LEFT_OUT: usize = 64;

impl Default for Monitor {
    fn default() -> Self {
        Self::new(Arc::default(), Activity::default())
    }
}

impl Monitor {
    /// A monitor to which nothing was reported yet. `metrics` knows units and limits.
    pub fn new(metrics: Arc<MetricTable>, activity: Activity) -> Self {
        let now = Timestamp::now();
        let status = || LinkStatus {
            state: LinkState::Disabled,
            since: now,
            peer: String::new(),
            reconnects: 0,
            last_error: None,
        };
        Self {
            counters: Counters::default(),
            activity,
            pulses: Pulses::default(),
            started: now,
            metrics,
            links: Mutex::new([status(), status(), status()]),
            latest: Mutex::default(),
            recording: Mutex::default(),
            line: Mutex::default(),
            ends_by: OnceLock::new(),
        }
    }

    /// When the gateway started.
    pub fn started(&self) -> Timestamp {
        self.started
    }

    /// Says what a link connects to.
    pub fn set_peer(&self, link: LinkId, peer: impl Into<String>) {
        self.links()[link as usize].peer = peer.into();
    }

    /// Says what a link does now.
    pub fn set_link(&self, link: LinkId, state: LinkState) {
        let mut links = self.links();
        let status = &mut links[link as usize];
        if status.state == state {
            return;
        }
        if let LinkState::BackingOff { reason, .. } | LinkState::Refused { reason, .. } = &state {
            status.last_error = Some(reason.clone());
        }
        status.state = state;
        status.since = Timestamp::now();
    }

    /// Counts a connection that came up again.
    pub fn count_reconnect(&self, link: LinkId) {
        self.links()[link as usize].reconnects += 1;
    }

    /// What a link does now.
    pub fn link(&self, link: LinkId) -> LinkStatus {
        self.links()[link as usize].clone()
    }

    /// Counts the readings that are to be delivered, and keeps their values.
    pub fn record(&self, packets: &[Packet]) {
        if packets.is_empty() {
            return;
        }
        let readings = packets.iter().map(|packet| packet.readings.len() as u64);
        self.counters.readings_processed.add(readings.sum());
        let mut latest = self.latest();
        for packet in packets {
            latest.record(packet, &self.metrics);
        }
    }

    /// Everything that can be observed, with what the journal says of itself.
    pub fn snapshot(&self, journal: JournalStatus) -> Snapshot {
        let sink =
            |sink: SinkId| SinkSnapshot::of(sink, self.link(sink.link()), &self.counters, &journal);
        Snapshot {
            taken: Timestamp::now(),
            started: self.started,
            telemetry: self.telemetry(),
            source: self.link(LinkId::Source),
            sinks: SinkId::ALL.map(sink).to_vec(),
            latest: self.latest().all(),
            recording: self.recording().clone(),
            ends_by: self.ends_by.get().copied(),
            journal,
        }
    }

    /// Says what share of the last frames arrived damaged.
    pub fn set_line_damage(&self, ratio: f64) {
        self.line().damaged_ratio = ratio;
    }

    /// Counts values that were no readings, by their key.
    pub fn note_left_out(&self, values: BTreeMap<String, LeftOut>) {
        let mut line = self.line();
        for (key, values) in values {
            let has_room = line.left_out.len() < MAX_LEFT_OUT || line.left_out.contains_key(&key);
            let key = if has_room { key } else { "…".to_owned() };
            *line.left_out.entry(key).or_default() += values.count;
        }
    }

    fn telemetry(&self) -> TelemetrySnapshot {
        let line = self.line();
        TelemetrySnapshot::of(&self.counters, line.damaged_ratio, line.left_out.clone())
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what becomes of the raw stream.
    pub fn set_recording(&self, recording: Recording) {
        *self.recording() = recording;
    }

    /// Says that the gateway was told to stop; the first time counts.
    pub fn set_ends_by(&self, ends_by: Timestamp) {
        self.ends_by.get_or_init(|| ends_by);
    }

    /// What becomes of the raw stream.
    pub(crate) fn recording(&self) -> MutexGuard<'_, Recording> {
        self.recording
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn latest(&self) -> MutexGuard<'_, LatestValues> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn links(&self) -> MutexGuard<'_, [LinkStatus; 3]> {
        // A panic elsewhere leaves whole values behind: each is written in one assignment.
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
