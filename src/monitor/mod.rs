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
mod live;
mod metrics;
mod nodes;
mod observer;
mod problem;
mod problems;
mod pulse;
mod ring;
mod snapshot;
mod source;
mod standing;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use tokio::sync::{broadcast, watch};

pub use activity::{
    Activity, DeliveryEntry, DeliveryOutcome, LogEntry, LogLevel, TrafficEntry, TrafficKind,
    TrafficVerdict,
};
pub use changes::changes;
pub use command::{Asker, Command, Directive, MAX_TEXT, Order, Rewind};
pub use counters::{
    Counter, Counters, LATENCY_BUCKETS, LatencyHistogram, LatencySnapshot, SinkCounters,
};
pub use incident::{Incident, IncidentKind};
pub use journal::{JournalState, JournalStatus, Position, SinkBacklog};
pub use latest::{Alarm, LatestValue};
pub use lease::Lease;
pub use link::{LinkId, LinkKind, LinkState, LinkStatus, SinkId};
pub use live::{LiveReading, LiveReadings};
pub use metrics::{MetricFamily, MetricKind, Sample, log_line, metrics};
pub use nodes::{
    KnownNode, MAX_NODES, NodeChange, NodeRules, NodeSignal, NodeState, NodeStatus, Nodes, Spread,
};
pub use observer::{HistoryPoint, HistoryQuery, Observer, Reply, RewindTo, Sight};
pub use problem::{Problem, ProblemKind, Severity};
pub use problems::{ProblemChange, Problems};
pub use pulse::{Pulse, Pulses, Stage, StageGuard};
pub use ring::{Numbered, Ring, SharedRing, Weighed};
pub use snapshot::{Recording, SinkSnapshot, Snapshot, SourceSnapshot, Storage, TelemetrySnapshot};
pub use source::SourceMonitor;
pub use standing::Standing;

use crate::telemetry::{Hearing, MetricTable, Timestamp};
use incident::Incidents;
use live::Live;
use source::SourceReport;

/// What every stage reports to. Shared by all of them; never blocks for long.
#[derive(Debug)]
pub struct Monitor {
    /// The last of what happened.
    pub activity: Activity,
    /// Whether every stage still does something.
    pub pulses: Pulses,
    started: Timestamp,
    metrics: Arc<MetricTable>,
    /// In the order of the data path.
    links: Mutex<Vec<(LinkId, LinkStatus)>>,
    /// Also those that were taken out of the configuration.
    sources: Mutex<Vec<Arc<SourceReport>>>,
    sinks: Mutex<Vec<(SinkId, Arc<SinkCounters>)>>,
    nodes: Mutex<Nodes>,
    live: Live,
    /// Whether nodes are known by their source as well.
    qualifies_nodes: AtomicBool,
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

/// What is known of the machine.
#[derive(Debug, Clone, Copy, Default)]
struct Machine {
    storage: Option<Storage>,
    clock_unsynchronised: bool,
}

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
            activity,
            pulses: Pulses::default(),
            started: now,
            metrics,
            links: Mutex::new(links.into_iter().map(unknown).collect()),
            sources: Mutex::default(),
            sinks: Mutex::default(),
            nodes: Mutex::default(),
            live: Live::default(),
            qualifies_nodes: AtomicBool::new(false),
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

    /// The monitor as a source reports to it. A link that is not known yet is known from now on.
    pub fn source(self: &Arc<Self>, link: &LinkId) -> SourceMonitor {
        self.add_link(link);
        let mut sources = self.sources();
        let known = sources.iter().find(|report| report.link == *link).cloned();
        let report = known.unwrap_or_else(|| {
            let report = Arc::new(SourceReport::new(link.clone()));
            sources.push(Arc::clone(&report));
            report
        });
        drop(sources);
        SourceMonitor::new(Arc::clone(self), report)
    }

    /// Whether there is more than one source.
    pub fn has_several_sources(&self) -> bool {
        let links = self.links();
        let mut sources = links.iter().filter(|(id, _)| id.kind() == LinkKind::Source);
        sources.nth(1).is_some()
    }

    /// A sink's counters, to be kept by whoever counts.
    pub fn sink_counters(&self, sink: &SinkId) -> Arc<SinkCounters> {
        let mut sinks = self.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, counters)) = sinks.iter().find(|(id, _)| id == sink) {
            return Arc::clone(counters);
        }
        let counters = Arc::<SinkCounters>::default();
        sinks.push((sink.clone(), Arc::clone(&counters)));
        counters
    }

    /// There are these links of sinks and no others. Of a kind without any there is one all the same, to say
    /// that it is disabled.
    pub fn set_sink_links(&self, mut sinks: Vec<LinkId>) {
        for kind in [LinkKind::Mqtt, LinkKind::Influxdb] {
            if !sinks.iter().any(|link| link.kind() == kind) {
                sinks.push(LinkId::only(kind));
            }
        }
        for link in &sinks {
            self.add_link(link);
        }
        let mut links = self.links();
        links.retain(|(id, _)| id.sink().is_none() || sinks.contains(id));
    }

    /// There is a link from now on, behind those of its kind.
    pub fn add_link(&self, link: &LinkId) {
        let mut links = self.links();
        if links.iter().any(|(id, _)| id == link) {
            return;
        }
        let at = links.partition_point(|(id, _)| id.kind() <= link.kind());
        let status = LinkStatus::unknown(Timestamp::now());
        links.insert(at, (link.clone(), status));
    }

    /// There is no such link any more, and none of its nodes is missed. What was counted of it still counts.
    pub fn remove_link(&self, link: &LinkId) {
        self.links().retain(|(id, _)| id != link);
        if link.kind() == LinkKind::Source && self.qualifies_nodes() {
            self.nodes().forget(link.name());
        }
    }

    /// Readings as they come, from now on.
    pub fn watch_readings(&self) -> broadcast::Receiver<LiveReadings> {
        self.live.watch()
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
        let reports = self.sources().clone();
        let report = |link: &LinkId| reports.iter().find(|report| report.link == *link);
        let mut sources = Vec::new();
        let mut latest = Vec::new();
        for (link, status) in links.iter().filter(|(id, _)| id.sink().is_none()) {
            let report = report(link);
            latest.extend(report.map(|it| it.latest()).unwrap_or_default());
            sources.push(SourceSnapshot {
                source: link.clone(),
                link: status.clone(),
                telemetry: report.map(|it| it.telemetry()).unwrap_or_default(),
                recording: report.map(|it| it.recording()).unwrap_or_default(),
            });
        }
        let nothing = Counters::default();
        let mut telemetry = TelemetrySnapshot::of(&nothing, 0.0, BTreeMap::new(), None);
        for report in &reports {
            telemetry.add(&report.telemetry());
        }
        let sinks = links.into_iter().filter_map(|(id, status)| {
            let sink = id.sink()?;
            let counters = self.sink_counters(&sink);
            Some(SinkSnapshot::of(sink, status, &counters, &journal))
        });
        let first = sources.first();
        let machine = *self.machine();
        Snapshot {
            taken: Timestamp::now(),
            started: self.started,
            telemetry,
            source: first.map_or_else(
                || LinkStatus::unknown(self.started),
                |source| source.link.clone(),
            ),
            sinks: sinks.collect(),
            latest,
            nodes: self.nodes().all(),
            problems: self.problems().all(),
            storage: machine.storage,
            clock_unsynchronised: machine.clock_unsynchronised,
            recording: Recording::of_all(sources.iter().map(|it| &it.recording)),
            incidents: self.incidents().all(),
            ends_by: self.ends_by.get().copied(),
            journal,
            sources,
        }
    }

    /// Has nodes be known by their source as well, from now on: two boards may use one name. Those that are
    /// known already are of the source that was the only one.
    pub fn qualify_nodes(&self) {
        if self.qualifies_nodes.swap(true, Ordering::Relaxed) {
            return;
        }
        let links = self.links().clone();
        let mut sources = links.iter().filter(|(id, _)| id.sink().is_none());
        if let Some((only, _)) = sources.next() {
            self.nodes().qualify(only.name());
        }
    }

    /// Whether nodes are known by their source as well.
    pub fn qualifies_nodes(&self) -> bool {
        self.qualifies_nodes.load(Ordering::Relaxed)
    }

    /// Says that the gateway was told to stop; the first time counts.
    pub fn set_ends_by(&self, ends_by: Timestamp) {
        self.ends_by.get_or_init(|| ends_by);
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

    fn sources(&self) -> MutexGuard<'_, Vec<Arc<SourceReport>>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn links(&self) -> MutexGuard<'_, Vec<(LinkId, LinkStatus)>> {
        // A panic elsewhere leaves whole values behind: each is written in one assignment.
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
