//! The names in one stream: which nodes and metrics there are, and which of them are believed.
//!
//! A *series* is one metric of one node. Telemetry is not to be trusted, and damage makes up names;
//! so the number of those that are not believed is bounded, and they are forgotten again.

mod entries;
mod places;
mod presence;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::format::Format;
use super::group::{Group, OWN_FIGURES, default_node_name, keys_in};
use super::spikes::History;
use super::{KnownName, MetricTable, Name, Range, TimeShift};
use entries::{Node, Series};
use places::{Place, Places};
use presence::{Presence, Sightings};

/// Nodes and series that are told apart, known ones included.
const MAX_NODES: usize = 1024;
const MAX_SERIES: usize = 4096;

/// Series among them that are not believed.
const MAX_UNKNOWN: usize = 256;

/// The place of a node in the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeId(Place);

/// The place of a series in the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeriesId(Place);

/// What keys of nodes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Naming {
    /// `n1`, `sig`: each frame may hold several nodes.
    Wire,
    /// The names themselves: each frame is of one node.
    Own,
}

/// Names that the gateway needs itself: no node has them.
const TAKEN: [&str; 3] = ["gateway", "signal", "stats"];

/// The nodes and series of one stream, with the belief in each.
#[derive(Debug)]
pub struct Catalogue {
    table: MetricTable,
    /// Configured names of nodes, by their key on the wire or their default name.
    renamed_nodes: HashMap<String, Name>,
    nodes: Places<Node>,
    by_key: HashMap<String, NodeId>,
    naming: Naming,
    /// Whether no name needs to be confirmed.
    believes_all: bool,
    /// The board's radio, where keys of nodes may be any text.
    signal: Option<NodeId>,
    series: Places<Series>,
    unknown: usize,
    /// Metric keys that were confirmed for some node, as the metric table writes them.
    confirmed_metrics: HashSet<String>,
    /// Nothing was known when the stream began, so that its first frame is believed.
    is_empty: bool,
    /// Frames decoded.
    decoded: u64,
    /// The nodes whose names were asked for last, with these: most frames are as the one before.
    named: (Vec<NodeId>, Arc<[Name]>),
}

impl Default for Catalogue {
    fn default() -> Self {
        Self::new(MetricTable::default(), HashMap::new(), Naming::Wire)
    }
}

impl Catalogue {
    pub(super) fn new(
        table: MetricTable,
        renamed_nodes: HashMap<String, Name>,
        naming: Naming,
    ) -> Self {
        Self {
            naming,
            believes_all: false,
            signal: None,
            table,
            renamed_nodes,
            nodes: Places::new(MAX_NODES),
            by_key: HashMap::new(),
            series: Places::new(MAX_SERIES),
            unknown: 0,
            confirmed_metrics: HashSet::new(),
            is_empty: true,
            decoded: 0,
            named: Default::default(),
        }
    }

    /// Believes every name that comes: for who looks at what is sent.
    pub fn believe_all(&mut self) {
        self.believes_all = true;
    }

    /// Believes names that were confirmed in an earlier run.
    pub fn know(&mut self, names: &[KnownName]) {
        for KnownName { node, metric } in names {
            let group = match self.naming {
                Naming::Wire => Group::of(node),
                Naming::Own => Some(Group::Own),
            };
            let Some(group) = group else {
                continue;
            };
            let Some(id) = self.node_of_key(node, group) else {
                continue;
            };
            self.is_empty = false;
            self.believe_node(id);
            let Some(metric) = metric else { continue };
            if let Some(series) = self.series_of_key(id, metric) {
                self.believe(series);
                if let Some(series) = self.series_mut(series) {
                    series.is_learnt = true;
                }
            }
        }
    }

    /// Node and metric, as they are delivered, of names that were confirmed in an earlier run.
    pub fn names_of(
        known: &[KnownName],
        table: MetricTable,
        renamed_nodes: HashMap<String, Name>,
        format: &Format,
    ) -> Vec<(Name, Name)> {
        let naming = match format {
            Format::Board => Naming::Wire,
            _ => Naming::Own,
        };
        let mut catalogue = Self::new(table, renamed_nodes, naming);
        catalogue.know(known);
        let series = catalogue.by_key.values().filter_map(|id| {
            let node = catalogue.node(*id)?;
            let series = node.series.values();
            let names = series.filter_map(|id| Some(catalogue.series(*id)?.name.clone()));
            Some(names.map(|metric| (node.name.clone(), metric)))
        });
        series.flatten().collect()
    }

    /// Whether this is the first frame of a stream of which nothing is known; asked once.
    pub(super) fn takes_first_frame(&mut self) -> bool {
        std::mem::take(&mut self.is_empty)
    }

    /// A frame is decoded. Returns its number.
    pub(super) fn begin_frame(&mut self) -> u64 {
        self.decoded += 1;
        self.decoded
    }

    /// The node of a key that stands behind another one; `None`: there are too many.
    ///
    /// Frames are alike, so what stood there before is most likely what stands there now, and a look is
    /// cheaper than a search.
    pub(super) fn node_behind(
        &mut self,
        before: Option<NodeId>,
        key: &str,
        group: Group,
    ) -> Option<NodeId> {
        let next = before.and_then(|before| self.node(before)?.next);
        if let Some(next) = next
            && self.node(next).is_some_and(|node| node.key == key)
        {
            return Some(next);
        }
        let found = self.node_of_key(key, group);
        if let Some(before) = before.and_then(|before| self.node_mut(before)) {
            before.next = found;
        }
        found
    }

    /// As [`node_behind`](Self::node_behind), for a metric's key in a node.
    pub(super) fn series_behind(
        &mut self,
        node: NodeId,
        before: Option<SeriesId>,
        key: &str,
    ) -> Option<SeriesId> {
        let next = match before {
            Some(before) => self.series(before).and_then(|series| series.next),
            None => self.node(node).and_then(|node| node.first),
        };
        if let Some(next) = next
            && self
                .series(next)
                .is_some_and(|series| series.node == node && series.key == key)
        {
            return Some(next);
        }
        let found = self.series_of_key(node, key);
        let place = match before {
            Some(before) => self.series_mut(before).map(|series| &mut series.next),
            None => self.node_mut(node).map(|node| &mut node.first),
        };
        if let Some(place) = place {
            *place = found;
        }
        found
    }

    /// The name of a node on the way out, and whether it is one that was configured.
    fn name_of_node(&self, key: &str, group: Group) -> (Name, bool) {
        let default = match group {
            Group::Own if TAKEN.contains(&key) => format!("{key}_"),
            Group::Own => key.to_owned(),
            Group::Node | Group::Signal | Group::Stats => default_node_name(key),
        };
        let renamed = self.renamed_nodes.get(key);
        let renamed = renamed.or_else(|| self.renamed_nodes.get(&default));
        let name = renamed.cloned().unwrap_or_else(|| Name::new(&default));
        (name, renamed.is_some())
    }

    /// The names of the nodes in some bytes, also where these are no whole frame.
    pub(super) fn nodes_in(&self, bytes: &[u8]) -> Vec<Name> {
        if self.naming == Naming::Own {
            return Vec::new();
        }
        let names = keys_in(bytes).filter_map(|key| Some(self.name_of_node(key, Group::of(key)?)));
        names.map(|(name, _)| name).collect()
    }

    /// The node of a key; `None`: there are too many.
    fn node_of_key(&mut self, key: &str, group: Group) -> Option<NodeId> {
        if let Some(id) = self.by_key.get(key) {
            return Some(*id);
        }
        let id = self.add_node(key, group)?;
        self.by_key.insert(key.to_owned(), id);
        Some(id)
    }

    /// The node of a key that is its name. One that is `certain` needs no confirmation.
    pub(super) fn own_node(&mut self, key: &str, certain: bool) -> Option<NodeId> {
        let id = self.node_of_key(key, Group::Own)?;
        if certain {
            self.believe_node(id);
        }
        Some(id)
    }

    /// The board's radio, where keys of nodes may be any text.
    pub(super) fn signal_node(&mut self) -> Option<NodeId> {
        if self.signal.is_none() {
            self.signal = self.add_node(OWN_FIGURES[0].0, Group::Signal);
        }
        self.signal
    }

    fn add_node(&mut self, key: &str, group: Group) -> Option<NodeId> {
        self.make_room();
        let (name, is_renamed) = self.name_of_node(key, group);
        let is_own = matches!(group, Group::Signal | Group::Stats);
        let id = NodeId(self.nodes.add(Node {
            key: key.to_owned(),
            group,
            is_known: is_renamed || self.believes_all || is_own,
            name,
            sightings: Sightings::default(),
            presence: Presence::default(),
            frames: 0,
            series: HashMap::new(),
            decoded_in: 0,
            first: None,
            next: None,
        })?);
        Some(id)
    }

    /// The series of a metric's key in a node; `None`: there are too many.
    pub(super) fn series_of_key(&mut self, id: NodeId, key: &str) -> Option<SeriesId> {
        if let Some(series) = self.node(id)?.series.get(key) {
            return Some(*series);
        }
        self.make_room();
        let node = self.node(id)?;
        let wire_key = node.group.wire_key(key);
        let info = self.table.by_key(&wire_key);
        let is_own = matches!(node.group, Group::Signal | Group::Stats);
        let is_known = self.believes_all || info.is_some() && is_own;
        let series = Series {
            node: id,
            key: key.to_owned(),
            name: info.map_or_else(|| Name::new(key), |info| info.name.clone()),
            range: info.map_or(Range::ANY, |info| info.range),
            is_known,
            is_learnt: is_known,
            metric_is_known: info.is_some() || self.confirmed_metrics.contains(&*wire_key),
            sightings: Sightings::default(),
            waiting: Vec::new(),
            unexpected: Vec::new(),
            history: History::default(),
            shares_name: false,
            presence: Presence::default(),
            decoded_in: 0,
            next: None,
        };
        let name = series.name.clone();
        let place = SeriesId(self.series.add(series)?);
        self.unknown += usize::from(!is_known);
        let node = self.nodes.get_mut(id.0)?;
        node.series.insert(key.to_owned(), place);
        let named: Vec<SeriesId> = node.series.values().copied().collect();
        let same = |id: &SeriesId| self.series.get(id.0).is_some_and(|it| it.name == name);
        let same: Vec<SeriesId> = named.into_iter().filter(same).collect();
        if same.len() > 1 {
            for id in same {
                self.series.get_mut(id.0)?.shares_name = true;
            }
        }
        Some(place)
    }

    /// The names of a series on the way out.
    pub(super) fn names(&self, id: SeriesId) -> Option<(Name, Name)> {
        let series = self.series(id)?;
        Some((self.node(series.node)?.name.clone(), series.name.clone()))
    }

    /// The key of a series on the wire, as the metric table writes it, with its node's.
    pub(super) fn known_name(&self, id: SeriesId) -> Option<KnownName> {
        let series = self.series(id)?;
        Some(KnownName {
            node: self.node(series.node)?.key.clone(),
            metric: Some(series.key.clone()),
        })
    }

    /// The series of a node that wait, or were met, and are not believed.
    pub(super) fn unknown_of(&self, id: NodeId) -> Vec<SeriesId> {
        let series = self
            .node(id)
            .into_iter()
            .flat_map(|node| node.series.values());
        let unknown = series.filter(|id| self.series(**id).is_some_and(|it| !it.is_known));
        unknown.copied().collect()
    }

    /// A node; `None`: it was forgotten.
    pub(super) fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id.0)
    }

    /// The names of some nodes, but for what their board says of itself.
    pub fn named(&mut self, nodes: &[NodeId]) -> Arc<[Name]> {
        if self.named.0 != nodes {
            let found = nodes.iter().filter_map(|id| self.node(*id));
            let found = found.filter(|node| node.group.is_of_a_node());
            self.named = (
                nodes.to_owned(),
                found.map(|node| node.name.clone()).collect(),
            );
        }
        Arc::clone(&self.named.1)
    }

    /// A node; `None`: it was forgotten.
    pub(super) fn node_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.nodes.get_mut(id.0)
    }

    /// A series; `None`: it was forgotten.
    pub(super) fn series(&self, id: SeriesId) -> Option<&Series> {
        self.series.get(id.0)
    }

    /// A series; `None`: it was forgotten.
    pub(super) fn series_mut(&mut self, id: SeriesId) -> Option<&mut Series> {
        self.series.get_mut(id.0)
    }

    /// Believes a node from now on.
    pub(super) fn believe_node(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(id.0) {
            node.is_known = true;
        }
    }

    /// Believes a series from now on, and with it the names it is made of.
    pub(super) fn believe(&mut self, id: SeriesId) {
        let Some(series) = self.series.get_mut(id.0) else {
            return;
        };
        self.unknown -= usize::from(!series.is_known);
        series.is_known = true;
        let was_known = std::mem::replace(&mut series.metric_is_known, true);
        let (node, key) = (series.node, series.key.clone());
        self.believe_node(node);
        let group = self.node(node).map(|node| node.group);
        if let (false, Some(group)) = (was_known, group) {
            let key = group.wire_key(&key).into_owned();
            self.confirmed_metrics.insert(key);
        }
    }

    /// Forgets a series that is not believed, and its node with the last one of it.
    pub(super) fn forget(&mut self, id: SeriesId) {
        let Some(series) = self.series.remove(id.0) else {
            return;
        };
        self.unknown -= usize::from(!series.is_known);
        let Some(node) = self.nodes.get_mut(series.node.0) else {
            return;
        };
        node.series.remove(&series.key);
        if node.series.is_empty() && !node.is_known {
            let key = node.key.clone();
            self.nodes.remove(series.node.0);
            self.by_key.remove(&key);
        }
    }

    /// Forgets the oldest names that nobody believes and nothing waits for.
    fn make_room(&mut self) {
        if self.unknown >= MAX_UNKNOWN || self.nodes.is_worn() {
            let unknown = self.series.iter().filter(|(_, series)| {
                !series.is_known && series.waiting.is_empty() && series.decoded_in < self.decoded
            });
            let oldest = unknown.min_by_key(|(_, series)| series.decoded_in);
            if let Some(oldest) = oldest.map(|(place, _)| SeriesId(place)) {
                self.forget(oldest);
            }
        }
    }

    /// All series.
    pub(super) fn all(&self) -> impl Iterator<Item = (SeriesId, &Series)> {
        self.series
            .iter()
            .map(|(place, series)| (SeriesId(place), series))
    }

    /// Notes that a node stands in the frame that is decoded. Whether it does so for the first time.
    pub(super) fn decode_node(&mut self, id: NodeId) -> bool {
        let decoded = self.decoded;
        self.node_mut(id)
            .is_none_or(|node| std::mem::replace(&mut node.decoded_in, decoded) < decoded)
    }

    /// As [`decode_node`](Self::decode_node), for a series and the name that it goes out under.
    pub(super) fn decode_series(&mut self, id: SeriesId) -> bool {
        let decoded = self.decoded;
        let Some(series) = self.series_mut(id) else {
            return true;
        };
        if std::mem::replace(&mut series.decoded_in, decoded) == decoded {
            return false;
        }
        !series.shares_name || !self.is_name_decoded(id)
    }

    /// Whether another metric of the node stands in this frame, too, under the same name.
    fn is_name_decoded(&self, id: SeriesId) -> bool {
        let Some(series) = self.series(id) else {
            return false;
        };
        let all = self
            .node(series.node)
            .into_iter()
            .flat_map(|node| node.series.values());
        let mut others = all
            .filter(|other| **other != id)
            .filter_map(|id| self.series(*id));
        others.any(|it| it.name == series.name && it.decoded_in == self.decoded)
    }

    /// The gateway's clock was set: what waits moves along.
    pub fn shift(&mut self, shift: TimeShift) {
        for series in self.series.iter_mut() {
            let waiting = series.waiting.iter_mut().chain(&mut series.unexpected);
            waiting.for_each(|waiting| waiting.shift(shift));
        }
    }

    /// Notes what stands in an accepted frame.
    pub(super) fn note(&mut self, frame: u64, nodes: &[NodeId], series: &[Option<SeriesId>]) {
        for id in nodes {
            if let Some(node) = self.nodes.get_mut(id.0) {
                node.presence.note(frame);
                node.frames += 1;
            }
        }
        for id in series.iter().flatten() {
            if let Some(series) = self.series.get_mut(id.0)
                && let Some(node) = self.nodes.get(series.node.0)
            {
                series.presence.note(node.frames);
            }
        }
    }

    /// Whether a frame that was noted lacks a node that is always sent. Nodes that send frames of their
    /// own lack nothing.
    pub(super) fn lacks_node(&self, frame: u64, damaged_line: bool) -> bool {
        self.naming == Naming::Wire
            && self
                .nodes
                .iter()
                .any(|(_, node)| node.is_known && node.presence.is_missed_in(frame, damaged_line))
    }

    /// Whether the last frame with this node lacked a metric that the node always sends.
    pub(super) fn lacks_metric(&self, id: NodeId, damaged_line: bool) -> bool {
        self.node(id).is_some_and(|node| {
            let mut series = node.series.values().filter_map(|id| self.series(*id));
            series.any(|series| {
                series.is_known && series.presence.is_missed_in(node.frames, damaged_line)
            })
        })
    }
}
