//! What the gateway knows of itself: counters, link states, latest values, and the snapshot of all
//! of it. Also the commands an operator may give.

mod activity;
mod changes;
mod command;
mod counters;
mod incident;
mod journal;
mod latest;
mod lease;
mod link;
mod metrics;
mod nodes;
mod observer;
mod problem;
mod problems;
mod pulse;
mod ring;
mod snapshot;
mod standing;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use tokio::sync::watch;

pub use activity::{
    Activity, DeliveryEntry, DeliveryOutcome, LogEntry, LogLevel, TrafficEntry, TrafficKind,
    TrafficVerdict,
};
pub use changes::changes;
pub use command::{Asker, Command, Directive, MAX_TEXT, Order};
pub use counters::{
    Counter, Counters, LATENCY_BUCKETS, LatencyHistogram, LatencySnapshot, SinkCounters,
};
pub use incident::{Incident, IncidentKind};
pub use journal::{JournalState, JournalStatus, Position, SinkBacklog};
pub use latest::{Alarm, LatestValue};
pub use lease::Lease;
pub use link::{LinkId, LinkKind, LinkState, LinkStatus, SinkId};
pub use metrics::{MetricFamily, MetricKind, Sample, log_line, metrics};
pub use nodes::{
    KnownNode, MAX_NODES, NodeChange, NodeRules, NodeSignal, NodeState, NodeStatus, Nodes, Spread,
};
pub use observer::{HistoryPoint, HistoryQuery, Observer, Reply, Sight};
pub use problem::{Problem, ProblemKind, Severity};
pub use problems::{ProblemChange, Problems};
pub use pulse::{Pulse, Pulses, Stage, StageGuard};
pub use ring::{Numbered, Ring, SharedRing, Weighed};
pub use snapshot::{Recording, SinkSnapshot, Snapshot, Storage, TelemetrySnapshot};
pub use standing::Standing;

use crate::telemetry::{Hearing, LeftOut, MetricTable, Packet, Timestamp};
use incident::Incidents;
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
    /// In the order of the data path.
    links: Mutex<Vec<(LinkId, LinkStatus)>>,
    latest: Mutex<LatestValues>,
    recording: Mutex<Recording>,
    line: Mutex<Line>,
    nodes: Mutex<Nodes>,
    problems: Mutex<Problems>,
    machine: Mutex<Machine>,
    /// When telemetry came last, in nanoseconds; 0: never.
    last_packet: AtomicI64,
    standing: watch::Sender<Standing>,
    /// The clock that nodes are heard by: it is never set.
    began: Instant,
    incidents: Mutex<Incidents>,
    ends_by: OnceLock<Timestamp>,
}

/// What is known of the line that telemetry comes over.
#[derive(Debug, Default)]
struct Line {
    damaged_ratio: f64,
    left_out: BTreeMap<String, u64>,
}

/// What is known of the machine.
#[derive(Debug, Clone, Copy, Default)]
struct Machine {
    storage: Option<Storage>,
    clock_unsynchronised: bool,
}

/// Keys of values that were left out and are counted by themselves; those of all others as one.
const MAX_LEFT_OUT: usize = 64;

impl Default for Monitor {
    fn default() -> Self {
        let links = LinkKind::ALL.map(LinkId::only);
        Self::new(Arc::default(), Activity::default(), links.to_vec())
    }
}

impl Monitor {
    /// A monitor to which nothing was reported yet. `metrics` knows units and limits; `links` are those
    /// that there are, disabled ones included, in the order of the data path.
    pub fn new(metrics: Arc<MetricTable>, activity: Activity, links: Vec<LinkId>) -> Self {
        let now = Timestamp::now();
        let unknown = |link| (link, LinkStatus::unknown(now));
        Self {
            counters: Counters::default(),
            activity,
            pulses: Pulses::default(),
            started: now,
            metrics,
            links: Mutex::new(links.into_iter().map(unknown).collect()),
            latest: Mutex::default(),
            recording: Mutex::default(),
            line: Mutex::default(),
            nodes: Mutex::default(),
            problems: Mutex::default(),
            machine: Mutex::default(),
            last_packet: AtomicI64::new(0),
            standing: watch::Sender::default(),
            began: Instant::now(),
            incidents: Mutex::default(),
            ends_by: OnceLock::new(),
        }
    }

    /// Has nodes judged by other rules than the usual ones.
    #[must_use]
    pub fn with_nodes(self, rules: NodeRules) -> Self {
        *self.nodes() = Nodes::new(rules);
        self
    }

    /// When the gateway started.
    pub fn started(&self) -> Timestamp {
        self.started
    }

    /// Says what a link connects to.
    pub fn set_peer(&self, link: &LinkId, peer: impl Into<String>) {
        self.with_link(link, |status| status.peer = peer.into());
    }

    /// Says what a link does now.
    pub fn set_link(&self, link: &LinkId, state: LinkState) {
        self.with_link(link, |status| {
            if status.state == state {
                return;
            }
            if let LinkState::BackingOff { reason, .. } | LinkState::Refused { reason, .. } = &state
            {
                status.last_error = Some(reason.clone());
            }
            let now = Timestamp::now();
            self.incidents().turn(link, (&status.state, &state), now);
            status.state = state;
            status.since = now;
        });
    }

    /// Says that the board behind a source rebooted.
    pub fn note_reboot(&self, link: &LinkId) {
        self.incidents().reboot(link, Timestamp::now());
    }

    fn incidents(&self) -> MutexGuard<'_, Incidents> {
        self.incidents
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Says to which program a source is lent, or that it is given back.
    pub fn set_lent(&self, link: &LinkId, to: Option<String>) {
        self.with_link(link, |status| status.lent_to = to);
    }

    /// Says when something was read from a source.
    pub fn hear(&self, link: &LinkId, at: Timestamp) {
        self.with_link(link, |status| status.heard = Some(at));
    }

    /// Counts a connection that came up again.
    pub fn count_reconnect(&self, link: &LinkId) {
        self.with_link(link, |status| status.reconnects += 1);
    }

    /// What a link does now; `None`: there is no such link.
    pub fn link(&self, link: &LinkId) -> Option<LinkStatus> {
        self.with_link(link, |status| status.clone())
    }

    /// Whoever reports for a link that was taken out of the configuration reports to nobody.
    fn with_link<T>(&self, link: &LinkId, use_it: impl FnOnce(&mut LinkStatus) -> T) -> Option<T> {
        let mut links = self.links();
        let (_, status) = links.iter_mut().find(|(id, _)| id == link)?;
        Some(use_it(status))
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

    /// Takes in which nodes frames are heard of.
    pub fn hear_nodes(&self, hearings: &[Hearing]) {
        let Some(last) = hearings.last() else { return };
        self.last_packet.store(last.received.0, Ordering::Relaxed);
        let now = self.began.elapsed();
        let mut nodes = self.nodes();
        for hearing in hearings {
            nodes.hear(hearing, now);
        }
    }

    /// Takes in what the machine says of the journal's disk and of its clock.
    pub fn set_machine(&self, storage: Option<Storage>, clock_unsynchronised: bool) {
        *self.machine() = Machine {
            storage,
            clock_unsynchronised,
        };
    }

    /// Looks at what is wrong. Returns what changed since this was last called.
    pub fn look_for_problems(&self, snapshot: &Snapshot) -> Vec<ProblemChange> {
        self.problems().look(snapshot, self.began.elapsed())
    }

    /// What is wrong, as it was last looked at.
    pub fn problems_found(&self) -> Vec<Problem> {
        self.problems().all()
    }

    /// Counts packets of a board that were missed, for the node that they are of.
    pub fn miss(&self, board: &str, missed: u64) {
        self.nodes().miss(board, missed);
    }

    /// Takes in which nodes an earlier run knew.
    pub fn restore_nodes(&self, known: Vec<KnownNode>) {
        let now = self.began.elapsed();
        self.nodes().restore(known, now, Timestamp::now());
    }

    /// Judges which nodes are heard. Returns what changed since this was last called.
    pub fn advance_nodes(&self) -> Vec<NodeChange> {
        let now = self.began.elapsed();
        self.nodes().advance(now, Timestamp::now())
    }

    /// What is said of nodes and of the gateway itself, and when it changes.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Changes what is said of nodes and of the gateway itself.
    pub fn stand(&self, change: impl FnOnce(&mut Standing)) {
        self.standing.send_if_modified(|standing| {
            let before = standing.clone();
            change(standing);
            *standing != before
        });
    }

    /// What is to be remembered of the nodes.
    pub fn known_nodes(&self) -> Vec<KnownNode> {
        self.nodes().known()
    }

    /// Everything that can be observed, with what the journal says of itself.
    pub fn snapshot(&self, journal: JournalStatus) -> Snapshot {
        let links = self.links().clone();
        let source = |(id, _): &&(LinkId, LinkStatus)| id.kind() == LinkKind::Source;
        let unknown = || LinkStatus::unknown(self.started);
        let source = links
            .iter()
            .find(source)
            .map_or_else(unknown, |(_, it)| it.clone());
        let sink = |(id, status): (LinkId, LinkStatus)| {
            Some(SinkSnapshot::of(
                id.sink()?,
                status,
                &self.counters,
                &journal,
            ))
        };
        let machine = *self.machine();
        Snapshot {
            taken: Timestamp::now(),
            started: self.started,
            telemetry: self.telemetry(),
            source,
            sinks: links.into_iter().filter_map(sink).collect(),
            latest: self.latest().all(),
            nodes: self.nodes().all(),
            problems: self.problems().all(),
            storage: machine.storage,
            clock_unsynchronised: machine.clock_unsynchronised,
            recording: self.recording().clone(),
            incidents: self.incidents().all(),
            ends_by: self.ends_by.get().copied(),
            journal,
        }
    }

    /// Says what share of the last frames arrived damaged.
    pub fn set_line_damage(&self, ratio: f64) {
        self.line().damaged_ratio = ratio;
    }

    /// The share of the last frames that arrived damaged.
    pub fn line_damaged_ratio(&self) -> f64 {
        self.line().damaged_ratio
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
        let last_packet = self.last_packet.load(Ordering::Relaxed);
        let last_packet = (last_packet > 0).then_some(Timestamp(last_packet));
        let left_out = line.left_out.clone();
        TelemetrySnapshot::of(&self.counters, line.damaged_ratio, left_out, last_packet)
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

    fn nodes(&self) -> MutexGuard<'_, Nodes> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn problems(&self) -> MutexGuard<'_, Problems> {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn latest(&self) -> MutexGuard<'_, LatestValues> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn links(&self) -> MutexGuard<'_, Vec<(LinkId, LinkStatus)>> {
        // A panic elsewhere leaves whole values behind: each is written in one assignment.
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
