//! What was seen of the gateway, and what follows from it over time: rates and trends.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::monitor::{
    DeliveryEntry, HistoryPoint, LatestValue, LinkId, LinkState, LogEntry, NodeStatus, Numbered,
    Sight, SinkId, SinkSnapshot, Snapshot, TrafficEntry,
};
use crate::telemetry::{Name, Timestamp};
use crate::tui::action::MetricKey;

/// Rates are means over this stretch.
const RATE_WINDOW: Duration = Duration::from_secs(10);

/// Values of a trend, one a second at most.
const TREND: usize = 60;

/// A sink that has less than this waiting does not drain, it works.
const SMALLEST_BACKLOG: f64 = 50.0;

/// What one look at the gateway yields.
#[derive(Debug, Clone)]
pub(crate) struct Observation {
    pub(crate) sight: Sight,
    pub(crate) snapshot: Option<Arc<Snapshot>>,
    pub(crate) traffic: Vec<Numbered<TrafficEntry>>,
    pub(crate) deliveries: Vec<Numbered<DeliveryEntry>>,
    pub(crate) log: Vec<Numbered<LogEntry>>,
}

/// Messages per second into and out of a sink's queue.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Flow {
    pub(crate) inward: f64,
    pub(crate) outward: f64,
}

/// What was counted at a time.
#[derive(Debug, Clone)]
struct Tally {
    at: Timestamp,
    packets: Vec<(LinkId, u64)>,
    messages: u64,
    acknowledged: Vec<(SinkId, u64)>,
}

/// How a node was heard lately, packet by packet as far as each was seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heard {
    /// Strengths of its signal.
    pub(crate) rssi: VecDeque<f64>,
    /// Ratios of its signal to the noise.
    pub(crate) snr: VecDeque<f64>,
    packets: u64,
}

impl Heard {
    fn follow(&mut self, node: &NodeStatus) {
        if self.packets == node.packets {
            return;
        }
        self.packets = node.packets;
        push(&mut self.rssi, node.signal.rssi.map(|rssi| rssi.last));
        push(&mut self.snr, node.signal.snr.map(|snr| snr.last));
    }
}

fn push<T>(values: &mut VecDeque<T>, value: Option<T>) {
    values.extend(value);
    if values.len() > TREND {
        values.pop_front();
    }
}

#[derive(Debug, Clone, Default)]
struct Trend {
    values: VecDeque<f64>,
    last: Timestamp,
    count: u64,
}

/// The gateway as it was seen so far.
#[derive(Debug, Clone)]
pub(crate) struct Observed {
    pub(crate) sight: Sight,
    pub(crate) snapshot: Option<Arc<Snapshot>>,
    tallies: VecDeque<Tally>,
    trends: BTreeMap<MetricKey, Trend>,
    heard: BTreeMap<Name, Heard>,
}

impl Default for Observed {
    fn default() -> Self {
        Self {
            sight: Sight::Local,
            snapshot: None,
            tallies: VecDeque::new(),
            trends: BTreeMap::new(),
            heard: BTreeMap::new(),
        }
    }
}

impl Observed {
    /// Whether a snapshot is of another run of the gateway than what was seen before.
    pub(crate) fn is_of_another_run(&self, snapshot: &Snapshot) -> bool {
        let before = self.snapshot.as_ref();
        before.is_some_and(|before| before.started != snapshot.started)
    }

    /// Takes in a snapshot; says whether anything of it is new. Metrics that were not there before are
    /// added to `newcomers`.
    pub(crate) fn take(
        &mut self,
        snapshot: Arc<Snapshot>,
        now: Timestamp,
        newcomers: &mut Vec<MetricKey>,
    ) -> bool {
        let is_of_another_run = self.is_of_another_run(&snapshot);
        let before = self.snapshot.take();
        if is_of_another_run {
            // A gateway elsewhere that was started again counts from zero.
            let sight = self.sight.clone();
            *self = Self {
                sight,
                ..Self::default()
            };
        }
        self.tally(&snapshot, now);
        for latest in &snapshot.latest {
            if self.follow_trend(latest) {
                newcomers.push((latest.node.clone(), latest.metric.clone()));
            }
        }
        self.follow_nodes(&snapshot);
        let is_new = before.is_none_or(|before| differ(&before, &snapshot));
        self.snapshot = Some(snapshot);
        is_new
    }

    /// A gateway elsewhere sends no snapshot while nothing changes: then its counts stand still.
    fn tally(&mut self, snapshot: &Snapshot, now: Timestamp) {
        let backlogs = snapshot.journal.sinks.iter();
        let acknowledged = backlogs.map(|it| (it.sink.clone(), it.acknowledged.total));
        let sources = snapshot.links().map(|(link, _)| link);
        let sources = sources.filter(|link| link.sink().is_none());
        let packets = sources.map(|link| {
            let packets = snapshot.telemetry_of(&link).packets_processed;
            (link, packets)
        });
        self.tallies.push_back(Tally {
            at: now,
            packets: packets.collect(),
            messages: snapshot.journal.end.total,
            acknowledged: acknowledged.collect(),
        });
        while self.tallies.len() > 2 && now.since(self.tallies[1].at) >= RATE_WINDOW {
            self.tallies.pop_front();
        }
    }

    fn follow_nodes(&mut self, snapshot: &Snapshot) {
        for node in &snapshot.nodes {
            self.heard
                .entry(node.node.clone())
                .or_default()
                .follow(node);
        }
        if self.heard.len() > snapshot.nodes.len() {
            self.heard.retain(|node, _| snapshot.node(node).is_some());
        }
    }

    /// How a node was heard lately.
    pub(crate) fn heard(&self, node: &Name) -> Option<&Heard> {
        self.heard.get(node)
    }

    /// Whether the metric is a new one.
    fn follow_trend(&mut self, latest: &LatestValue) -> bool {
        let key = (latest.node.clone(), latest.metric.clone());
        let is_new = !self.trends.contains_key(&key);
        let trend = self.trends.entry(key).or_default();
        if trend.count == latest.count {
            return is_new;
        }
        trend.count = latest.count;
        let is_next = latest.received.since(trend.last) >= Duration::from_secs(1);
        if let Some(newest) = trend.values.back_mut()
            && !is_next
        {
            *newest = latest.value;
            return is_new;
        }
        trend.last = latest.received;
        trend.values.push_back(latest.value);
        if trend.values.len() > TREND {
            trend.values.pop_front();
        }
        is_new
    }

    /// Puts what the journal remembers before what was seen since.
    pub(crate) fn prepend_trend(&mut self, key: &MetricKey, points: &[HistoryPoint]) {
        let Some(trend) = self.trends.get_mut(key) else {
            return;
        };
        let room = TREND.saturating_sub(trend.values.len());
        for point in points.iter().rev().take(room) {
            trend.values.push_front(point.mean);
        }
    }

    /// The last values of a metric.
    pub(crate) fn trend(&self, key: &MetricKey) -> impl DoubleEndedIterator<Item = f64> {
        let trend = self.trends.get(key).into_iter();
        trend.flat_map(|trend| trend.values.iter().copied())
    }

    /// Packets per second of a source.
    pub(crate) fn packet_rate(&self, source: &LinkId) -> f64 {
        let of_source = |(id, packets): &(LinkId, u64)| (id == source).then_some(*packets);
        self.mean(Timestamp::default(), |tally| {
            tally.packets.iter().find_map(of_source)
        })
    }

    /// Messages per second through a sink's queue. What came before an outage says nothing about
    /// what goes out now.
    pub(crate) fn flow(&self, sink: &SinkId) -> Flow {
        let snapshot = self.snapshot.as_ref();
        let link = snapshot.and_then(|snapshot| Some(&snapshot.sink(sink)?.link));
        let outward = match link {
            Some(link) if link.state == LinkState::Up => {
                let of_sink = |(id, total): &(SinkId, u64)| (id == sink).then_some(*total);
                self.mean(link.since, |tally| {
                    tally.acknowledged.iter().find_map(of_sink)
                })
            }
            _ => 0.0,
        };
        Flow {
            inward: self.mean(Timestamp::default(), |tally| Some(tally.messages)),
            outward,
        }
    }

    /// The mean of what is counted per second, since a time at the earliest.
    fn mean(&self, since: Timestamp, count: impl Fn(&Tally) -> Option<u64>) -> f64 {
        let first = self.tallies.iter().find(|tally| tally.at >= since);
        let (Some(first), Some(last)) = (first, self.tallies.back()) else {
            return 0.0;
        };
        let (Some(from), Some(to)) = (count(first), count(last)) else {
            return 0.0;
        };
        let seconds = last.at.since(first.at).as_secs_f64();
        if seconds <= 0.0 {
            return 0.0;
        }
        to.saturating_sub(from) as f64 / seconds
    }

    /// How long a sink that is catching up will need; `None`: it is not.
    pub(crate) fn time_left(&self, sink: &SinkSnapshot) -> Option<Duration> {
        let Flow { inward, outward } = self.flow(&sink.sink);
        let waiting = sink.queue_depth as f64;
        let is_backlog = waiting >= SMALLEST_BACKLOG.max(inward * 5.0);
        if !is_backlog || sink.link.state != LinkState::Up || outward <= inward * 1.1 {
            return None;
        }
        Duration::try_from_secs_f64(waiting / (outward - inward)).ok()
    }
}

/// Whether two snapshots show anything different but the time at which they were taken.
fn differ(before: &Snapshot, now: &Snapshot) -> bool {
    before.telemetry != now.telemetry
        || before.source != now.source
        || before.sources != now.sources
        || before.sinks != now.sinks
        || before.journal != now.journal
        || before.incidents != now.incidents
        || before.recording != now.recording
        || before.ends_by != now.ends_by
        || before.latest != now.latest
        || before.nodes != now.nodes
        || before.problems != now.problems
}
