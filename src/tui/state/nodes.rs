//! The page of the nodes: which row is chosen, which node is looked into, and the walk with it.

use std::cmp::Reverse;

use super::{App, first_shown, natural_key};
use crate::monitor::{Alarm, LatestValue, NodeState, NodeStatus, Spread};
use crate::telemetry::{Name, Timestamp};
use crate::tui::action::MetricKey;
use crate::tui::layout::Trouble;

/// What the page of the nodes shows.
#[derive(Debug, Clone, Default)]
pub(crate) struct NodesView {
    pub(crate) selected: Option<Name>,
    pub(crate) top: usize,
    pub(crate) filter: String,
    /// The node that is looked into.
    pub(crate) opened: Option<Name>,
    /// The first of its charts that is shown.
    pub(crate) first_chart: usize,
    /// The walk with it, while that is shown.
    pub(crate) walk: Option<Walk>,
    /// What the radio can do, by which the margin is told.
    pub(crate) factor: SpreadingFactor,
    /// Whether the terminal's bell rings for each packet of a walk.
    pub(crate) has_bell: bool,
}

/// A walk with a node, to find a place for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Walk {
    pub(crate) since: Timestamp,
    /// What was counted before it began.
    packets: u64,
    missed: u64,
    /// Packets that the bell has rung for.
    rung: u64,
}

impl Walk {
    pub(crate) fn begin(node: &NodeStatus, now: Timestamp) -> Self {
        Self {
            since: now,
            packets: node.packets,
            missed: node.missed,
            rung: node.packets,
        }
    }

    /// Packets that came and packets that were missed since it began. A gateway that was started again
    /// counts from zero.
    pub(crate) fn counts(&self, node: &NodeStatus) -> (u64, u64) {
        match node.packets.checked_sub(self.packets) {
            Some(packets) => (packets, node.missed.saturating_sub(self.missed)),
            None => (node.packets, node.missed),
        }
    }

    /// Whether packets came since this was last asked.
    pub(crate) fn hears(&mut self, node: &NodeStatus) -> bool {
        std::mem::replace(&mut self.rung, node.packets) != node.packets
    }
}

/// How a LoRa radio spreads its signal, at a bandwidth of 125 kHz.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SpreadingFactor(usize);

/// Of SF7 to SF12: the weakest signal in dBm, and the least ratio to the noise in dB, that an SX1276
/// receives.
const LIMITS: [(f64, f64); 6] = [
    (-123.0, -7.5),
    (-126.0, -10.0),
    (-129.0, -12.5),
    (-132.0, -15.0),
    (-133.0, -17.5),
    (-136.0, -20.0),
];

impl SpreadingFactor {
    /// `SF7`.
    pub(crate) fn name(self) -> String {
        format!("SF{}", self.0 + 7)
    }

    /// To the next one, or the one before.
    pub(crate) fn turn(&mut self, forward: bool) {
        self.0 = if forward {
            (self.0 + 1).min(LIMITS.len() - 1)
        } else {
            self.0.saturating_sub(1)
        };
    }

    /// How much weaker a signal may become until it is lost, in dB: by its strength or by the noise,
    /// whichever is less.
    pub(crate) fn margin(self, rssi: Option<f64>, snr: Option<f64>) -> Option<f64> {
        let (least_rssi, least_snr) = LIMITS[self.0];
        let margins = [
            rssi.map(|rssi| rssi - least_rssi),
            snr.map(|snr| snr - least_snr),
        ];
        margins.into_iter().flatten().reduce(f64::min)
    }
}

impl App {
    /// The nodes that the page shows: the most troubled first, then by name.
    pub(crate) fn node_rows(&self) -> Vec<&NodeStatus> {
        let filter = self.nodes.filter.to_lowercase();
        let nodes = self.snapshot().map_or(&[][..], |snapshot| &snapshot.nodes);
        let mut rows: Vec<(Trouble, &NodeStatus)> = nodes
            .iter()
            .filter(|node| node.node.as_str().to_lowercase().contains(&filter))
            .map(|node| (self.node_trouble(node), node))
            .collect();
        rows.sort_by_cached_key(|(trouble, node)| (Reverse(*trouble), natural_key(&node.node)));
        rows.into_iter().map(|(_, node)| node).collect()
    }

    fn node_trouble(&self, node: &NodeStatus) -> Trouble {
        match (node.state, self.node_alarm(&node.node)) {
            (NodeState::Offline, _) => Trouble::Grave,
            (NodeState::Heard, Alarm::None) => Trouble::None,
            (NodeState::Stale | NodeState::Heard, _) => Trouble::Some,
        }
    }

    /// The first alarm among the metrics of a node.
    pub(crate) fn node_alarm(&self, node: &Name) -> Alarm {
        let alarms = self.metrics_of(node).iter().map(LatestValue::alarm);
        let mut alarms = alarms.filter(|alarm| *alarm != Alarm::None);
        alarms.next().unwrap_or(Alarm::None)
    }

    /// Which of [`node_rows`](Self::node_rows) is chosen: the first one unless another was.
    pub(crate) fn selected_node(&self, rows: &[&NodeStatus]) -> usize {
        let chosen = self.nodes.selected.as_ref();
        let at = rows.iter().position(|row| Some(&row.node) == chosen);
        at.unwrap_or(0)
    }

    /// The first of the rows that is shown of so many: what is chosen is always among them.
    pub(crate) fn shown_top_node(&self, rows: &[&NodeStatus], height: usize) -> usize {
        let selected = self.selected_node(rows);
        first_shown(self.nodes.top, selected, rows.len(), height)
    }

    /// The node that is looked into, while the page of the nodes is shown.
    pub(crate) fn opened_node(&self) -> Option<&NodeStatus> {
        let opened = self.nodes.opened.as_ref()?;
        self.snapshot()?.node(opened)
    }

    /// The source that a node is heard through; nothing where there is one alone.
    pub(crate) fn source_of(&self, node: &Name) -> Option<&str> {
        let sources = &self.snapshot()?.sources;
        let of_node = |source: &&str| {
            let rest = node.as_str().strip_prefix(source);
            rest.is_some_and(|rest| rest.starts_with(' '))
        };
        let mut names = sources.iter().map(|source| source.source.name());
        names.find(of_node).filter(|_| sources.len() > 1)
    }

    /// The last strength of a node's signal and its ratio to the noise: as its gateway board tells them,
    /// or as the node itself does.
    pub(crate) fn signal_of(&self, node: &NodeStatus) -> (Option<f64>, Option<f64>) {
        let of = |spread: Option<Spread>, metric: &str| {
            let own = || {
                let mut metrics = self.metrics_of(&node.node).iter();
                let found = metrics.find(|latest| latest.metric.as_str() == metric);
                found.map(|latest| latest.value)
            };
            spread.map(|spread| spread.last).or_else(own)
        };
        (of(node.signal.rssi, "rssi"), of(node.signal.snr, "snr"))
    }

    /// The metrics of the node that is looked into, as many as have a chart.
    pub(crate) fn node_charts(&self) -> Vec<MetricKey> {
        let Some(node) = self.nodes.opened.as_ref() else {
            return Vec::new();
        };
        let charts = self.areas().node.charts.len();
        let metrics = self.metrics_of(node);
        let first = self
            .nodes
            .first_chart
            .min(metrics.len().saturating_sub(charts));
        let shown = metrics.iter().skip(first).take(charts);
        shown
            .map(|latest| (latest.node.clone(), latest.metric.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::NodeSignal;
    use crate::tui::testing::{self, NOW, app};

    #[test]
    fn the_margin_is_what_is_left_of_the_worse_of_the_two() {
        let mut factor = SpreadingFactor::default();
        assert_eq!(factor.name(), "SF7");
        for (rssi, snr, margin) in [
            (Some(-100.0), Some(10.0), Some(17.5)),
            (Some(-120.0), Some(10.0), Some(3.0)),
            (Some(-110.0), Some(-9.0), Some(-1.5)),
            (None, Some(2.5), Some(10.0)),
            (None, None, None),
        ] {
            assert_eq!(factor.margin(rssi, snr), margin, "{rssi:?} {snr:?}");
        }
        (0..9).for_each(|_| factor.turn(true));
        assert_eq!(factor.name(), "SF12");
        assert_eq!(factor.margin(Some(-130.0), Some(-18.0)), Some(2.0));
        (0..9).for_each(|_| factor.turn(false));
        assert_eq!(factor, SpreadingFactor::default());
    }

    #[test]
    fn the_most_troubled_nodes_come_first() {
        let mut snapshot = testing::silent();
        let node = |name: &str, state| {
            let mut node = snapshot.nodes[0].clone();
            (node.node, node.state) = (name.into(), state);
            node
        };
        snapshot.nodes = vec![
            node("node10", NodeState::Heard),
            node("node2", NodeState::Heard),
            node("node3", NodeState::Stale),
            node("node4", NodeState::Offline),
            node("node9", NodeState::Heard),
        ];
        let mut app = app(80, 24, [snapshot]);
        let names = |app: &App| -> Vec<String> {
            let rows = app.node_rows();
            rows.iter().map(|row| row.node.to_string()).collect()
        };
        // A value of node2 is beyond its limits.
        assert_eq!(names(&app), ["node4", "node2", "node3", "node9", "node10"]);
        app.nodes.filter = "ODE1".to_owned();
        assert_eq!(names(&app), ["node10"]);
    }

    #[test]
    fn a_walk_counts_from_its_beginning_and_anew_when_the_gateway_does() {
        let mut node = testing::healthy().nodes.remove(0);
        let mut walk = Walk::begin(&node, NOW);
        assert!(!walk.hears(&node));
        (node.packets, node.missed) = (740, 4);
        assert_eq!(walk.counts(&node), (2, 1));
        assert!(walk.hears(&node) && !walk.hears(&node));
        (node.packets, node.missed) = (1, 0);
        assert_eq!(walk.counts(&node), (1, 0));
        assert!(walk.hears(&node));
    }

    #[test]
    fn a_node_without_a_board_tells_its_own_signal() {
        let mut snapshot = testing::healthy();
        snapshot.latest[4].metric = "rssi".into();
        snapshot.latest[4].value = -71.0;
        snapshot.nodes[1].signal = NodeSignal::default();
        let app = app(80, 24, [snapshot]);
        let nodes = &app.snapshot().unwrap().nodes;
        assert_eq!(app.signal_of(&nodes[0]), (Some(-39.0), Some(13.0)));
        assert_eq!(app.signal_of(&nodes[1]), (Some(-71.0), None));
    }
}
