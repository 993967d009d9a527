//! All that the screen knows. It is changed by [`update`](super::update) alone and drawn by
//! [`views`](super::views); neither needs a terminal.

mod charts;
mod editor;
mod fleet;
mod list;
mod nodes;
mod observed;
mod stream;
mod traffic;

use std::sync::Arc;

use ratatui::layout::Size;

pub(crate) use charts::{Charted, Charts, Limits, Panel, nanos};
pub(crate) use editor::LineEditor;
pub(crate) use fleet::{Fleet, Standing};
pub(crate) use list::ListView;
pub(crate) use nodes::{NodesView, Walk};
pub(crate) use observed::{Flow, Observation, Observed};
pub(crate) use stream::{Choice, Everything, List, Shown, Stream};
pub(crate) use traffic::{Narrowing, Piece};

use super::action::{MetricKey, Page};
use super::theme::Theme;
use super::words::unit;
use crate::monitor::{
    Command, DeliveryEntry, LatestValue, LinkId, LinkKind, LogEntry, LogLevel, NodeState, Order,
    Problem, Sight, Snapshot,
};
use crate::telemetry::{Name, Timestamp};

/// Units charted while nothing is picked: each history takes the journal's time.
const MAX_UNITS: usize = 8;

/// What keys act on, on the Overview.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Focus {
    Table,
    Link(LinkId),
}

/// What lies over the page and takes the keys.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Overlay {
    /// A filter is being typed.
    Filter,
    /// A line is being typed that goes to this source.
    Send(LinkId),
    WhichLink {
        asked: Asked,
        /// One of several of this kind.
        among: Option<LinkKind>,
    },
    /// A question to which yes gives commands.
    Confirm {
        question: String,
        commands: Vec<Command>,
        /// What yes does, in words.
        done: String,
    },
    Detail {
        detail: Detail,
        scroll: usize,
    },
    Help {
        scroll: usize,
    },
    /// What is wrong, and which of it is chosen.
    Problems {
        selected: usize,
    },
}

/// What is asked of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Order(Order),
    /// To send a line to its board.
    Line,
    /// To reset its board.
    Reset,
}

/// Something shown in full.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Detail {
    Link(LinkId),
    Traffic(Piece),
    Log(LogEntry),
    Delivery(DeliveryEntry),
}

/// What an action did, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) text: String,
    pub(crate) is_error: bool,
    pub(crate) until: Timestamp,
}

/// Who looks at the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Guide {
    /// Somebody who knows what it shows.
    #[default]
    Off,
    /// Somebody who sees the demonstration for the first time, and is told what to try.
    Demonstration,
}

/// The whole state of the screen.
#[derive(Debug, Clone)]
pub(crate) struct App {
    /// Who looks at it.
    pub(crate) guide: Guide,
    /// The gateways, where there are several.
    pub(crate) fleet: Option<Fleet>,
    pub(crate) theme: Theme,
    pub(crate) size: Size,
    /// The time that everything shown refers to.
    pub(crate) now: Timestamp,
    /// Since when the display is frozen.
    pub(crate) frozen: Option<Timestamp>,
    /// The time, though the display be frozen.
    pub(crate) clock: Timestamp,
    /// How far the clock of a gateway elsewhere is ahead of this machine's, in nanoseconds.
    pub(super) ahead: Option<i64>,
    pub(crate) observed: Observed,
    /// The newest snapshot, though the display be frozen: what is asked of the gateway is asked of
    /// it as it is.
    pub(super) live: Option<Arc<Snapshot>>,
    pub(crate) page: Page,
    pub(crate) overlay: Option<Overlay>,
    pub(crate) notice: Option<Notice>,
    pub(crate) focus: Focus,
    pub(crate) table: TableView,
    pub(crate) nodes: NodesView,
    pub(crate) charts: Charts,
    pub(crate) traffic: Stream<Piece, Narrowing>,
    /// Whether the traffic is shown as hexadecimal digits.
    pub(crate) traffic_as_hex: bool,
    /// The line that is sent to a source next.
    pub(crate) line: LineEditor,
    pub(crate) log: Stream<LogEntry, LogLevel>,
    pub(crate) deliveries: Stream<DeliveryEntry, Everything>,
    /// Whether the screen shows something else than what was drawn last.
    pub(crate) is_changed: bool,
    pub(super) recording_seen: crate::monitor::Recording,
}

/// What a row of the table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum RowsBy {
    /// One metric of a node.
    #[default]
    Metric,
    /// A node with all its metrics.
    Node,
}

/// The table: what its rows are, which is chosen, the first one shown, what is shown.
#[derive(Debug, Clone, Default)]
pub(crate) struct TableView {
    pub(crate) by: RowsBy,
    pub(crate) selected: Option<MetricKey>,
    pub(crate) top: usize,
    pub(crate) filter: String,
}

impl App {
    pub(crate) fn new(theme: Theme, size: Size, now: Timestamp) -> Self {
        Self {
            guide: Guide::Off,
            fleet: None,
            theme,
            size,
            now,
            frozen: None,
            clock: now,
            ahead: None,
            observed: Observed::default(),
            live: None,
            page: Page::Overview,
            overlay: None,
            notice: None,
            focus: Focus::Table,
            table: TableView::default(),
            nodes: NodesView::default(),
            charts: Charts::default(),
            traffic: Stream::new(Narrowing::none()),
            traffic_as_hex: false,
            line: LineEditor::default(),
            log: Stream::new(LogLevel::Trace),
            deliveries: Stream::new(Everything),
            is_changed: true,
            recording_seen: crate::monitor::Recording::Off,
        }
    }

    /// The links that there are, in the order of the data path; before anything is known, one of each kind.
    pub(crate) fn links(&self) -> Vec<LinkId> {
        self.snapshot().map_or_else(
            || LinkKind::ALL.map(LinkId::only).to_vec(),
            |snapshot| snapshot.links().map(|(link, _)| link).collect(),
        )
    }

    /// The sources among them.
    pub(crate) fn sources(&self) -> Vec<LinkId> {
        let mut links = self.links();
        links.retain(|link| link.kind() == LinkKind::Source);
        links
    }

    pub(crate) fn snapshot(&self) -> Option<&Snapshot> {
        self.observed.snapshot.as_deref()
    }

    /// The gateway as it is, whatever is shown.
    pub(crate) fn live(&self) -> Option<&Snapshot> {
        self.live.as_deref()
    }

    /// Whether a node is heard. What a board says of itself is as fresh as its freshest node.
    pub(crate) fn node_state(&self, name: &Name) -> NodeState {
        let Some(snapshot) = self.snapshot() else {
            return NodeState::Heard;
        };
        let all = || snapshot.nodes.iter().map(|node| node.state).min();
        let own = snapshot.node(name).map(|node| node.state);
        own.or_else(all).unwrap_or(NodeState::Heard)
    }

    /// What is wrong, as far as that is shown.
    pub(crate) fn problems(&self) -> &[Problem] {
        self.snapshot().map_or(&[], |snapshot| &snapshot.problems)
    }

    /// The gateways while they are listed, and none of them is looked into.
    pub(crate) fn listed(&self) -> Option<&Fleet> {
        self.fleet.as_ref().filter(|fleet| fleet.entered.is_none())
    }

    /// The number of the gateway that is looked at.
    pub(crate) fn member(&self) -> usize {
        self.fleet
            .as_ref()
            .and_then(|fleet| fleet.entered)
            .unwrap_or(0)
    }

    /// Whether a journal is looked at, where nothing goes on and little but readings is known.
    pub(crate) fn is_past(&self) -> bool {
        matches!(self.observed.sight, Sight::Past { .. })
    }

    pub(crate) fn is_local(&self) -> bool {
        self.observed.sight == Sight::Local
    }

    /// The metrics that the table shows, or the first metric of each node that it shows.
    pub(crate) fn rows(&self) -> Vec<&LatestValue> {
        let filter = self.table.filter.to_lowercase();
        let latest = self.snapshot().map_or(&[][..], |snapshot| &snapshot.latest);
        let mut rows: Vec<&LatestValue> = latest
            .iter()
            .filter(|value| {
                filter.is_empty()
                    || format!("{} {}", value.node, value.metric)
                        .to_lowercase()
                        .contains(&filter)
            })
            .collect();
        rows.sort_by_cached_key(|value| (natural_key(&value.node), &value.metric));
        if self.table.by == RowsBy::Node {
            rows.dedup_by(|next, before| next.node == before.node);
        }
        rows
    }

    /// All metrics of a node, by their names.
    pub(crate) fn metrics_of(&self, node: &Name) -> &[LatestValue] {
        let latest = self.snapshot().map_or(&[][..], |snapshot| &snapshot.latest);
        let from = latest.partition_point(|value| value.node < *node);
        let to = latest.partition_point(|value| value.node <= *node);
        &latest[from..to.max(from)]
    }

    /// The metrics in the row that is chosen.
    pub(crate) fn selected_keys(&self) -> Vec<MetricKey> {
        let rows = self.rows();
        let Some(row) = self.selected_row(&rows).map(|at| rows[at]) else {
            return Vec::new();
        };
        let metrics = match self.table.by {
            RowsBy::Metric => std::slice::from_ref(row),
            RowsBy::Node => self.metrics_of(&row.node),
        };
        metrics
            .iter()
            .map(|latest| (latest.node.clone(), latest.metric.clone()))
            .collect()
    }

    /// Which of [`rows`](Self::rows) is chosen: the first one unless another was.
    pub(crate) fn selected_row(&self, rows: &[&LatestValue]) -> Option<usize> {
        let chosen = self.table.selected.as_ref();
        let at = chosen.and_then(|(node, metric)| {
            rows.iter().position(|row| {
                row.node == *node && (self.table.by == RowsBy::Node || row.metric == *metric)
            })
        });
        at.or((!rows.is_empty()).then_some(0))
    }

    /// What is charted: what was picked, or else the first metric of each unit.
    pub(crate) fn charted(&self) -> Vec<MetricKey> {
        if !self.charts.picked.is_empty() {
            return self.charts.picked.clone();
        }
        let mut units: Vec<&str> = Vec::new();
        let mut charted = Vec::new();
        for row in self.rows() {
            if charted.len() < MAX_UNITS && !units.contains(&unit(row)) {
                units.push(unit(row));
                charted.push((row.node.clone(), row.metric.clone()));
            }
        }
        charted
    }

    /// The panels of the charts: one for each unit.
    pub(crate) fn panels(&self) -> Vec<Panel> {
        self.panels_of(self.charted())
    }

    /// The panels of some metrics: one for each unit.
    pub(crate) fn panels_of(&self, keys: Vec<MetricKey>) -> Vec<Panel> {
        let mut panels: Vec<Panel> = Vec::new();
        for (number, key) in keys.into_iter().enumerate() {
            let latest = self.snapshot().and_then(|snapshot| {
                let mut all = snapshot.latest.iter();
                all.find(|latest| latest.node == key.0 && latest.metric == key.1)
            });
            let unit = latest.map_or("", unit).to_owned();
            let metric = Charted {
                number,
                key,
                limits: latest.map_or_else(Limits::default, |latest| (latest.min, latest.max)),
            };
            match panels.iter_mut().find(|panel| panel.unit == unit) {
                Some(panel) => panel.metrics.push(metric),
                None => panels.push(Panel {
                    unit,
                    metrics: vec![metric],
                }),
            }
        }
        panels
    }

    /// The first of the table's rows that is shown: what is chosen is always among them.
    pub(crate) fn shown_top(&self, rows: &[&LatestValue], height: usize) -> usize {
        let selected = self.selected_row(rows).unwrap_or(0);
        first_shown(self.table.top, selected, rows.len(), height)
    }

    /// The list of the page; the pages of charts and tables have none.
    pub(crate) fn list(&self) -> Option<&dyn List> {
        match self.page {
            Page::Overview | Page::Nodes | Page::Charts => None,
            Page::Traffic => Some(&self.traffic),
            Page::Log => Some(&self.log),
            Page::Delivery => Some(&self.deliveries),
        }
    }

    /// [`list`](Self::list), to be changed.
    pub(crate) fn list_mut(&mut self) -> Option<&mut dyn List> {
        match self.page {
            Page::Overview | Page::Nodes | Page::Charts => None,
            Page::Traffic => Some(&mut self.traffic),
            Page::Log => Some(&mut self.log),
            Page::Delivery => Some(&mut self.deliveries),
        }
    }

    /// The text by which the page is filtered.
    pub(crate) fn filter(&self) -> &str {
        match self.list() {
            Some(list) => &list.view().filter,
            None if self.page == Page::Nodes => &self.nodes.filter,
            None => &self.table.filter,
        }
    }
}

/// The first of some rows that is shown of so many that fit, as near to `top` as lets the chosen one be
/// among them.
fn first_shown(top: usize, selected: usize, rows: usize, height: usize) -> usize {
    let last = rows.saturating_sub(height);
    let lowest = (selected + 1).saturating_sub(height);
    top.clamp(lowest, selected.max(lowest)).min(last)
}

/// Puts names in the order in which people count: `node2` before `node10`.
fn natural_key(name: &Name) -> (&str, Option<u64>, &Name) {
    let whole = name.as_str();
    let text = whole.trim_end_matches(|character: char| character.is_ascii_digit());
    (text, whole[text.len()..].parse().ok(), name)
}
