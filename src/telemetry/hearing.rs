//! Which nodes a frame is heard of, and how well.

use super::catalogue::{Catalogue, Group, SeriesId};
use super::{Decoded, Name, Reading, Timestamp};

/// The board itself, among the nodes of its frames, unless its name says otherwise.
const OWN_NODE: &str = "n2";

/// What a frame says of its nodes, beside their readings.
#[derive(Debug, Clone, PartialEq)]
pub struct Hearing {
    /// When the gateway read it.
    pub received: Timestamp,
    /// When the board measured it.
    pub event_time: Timestamp,
    /// The board that sent it.
    pub board: String,
    /// The nodes in it that are known, those without readings included.
    pub nodes: Vec<Name>,
    /// Which of them it came from over the radio.
    pub remote: Remote,
    /// How it was received.
    pub signal: Signal,
}

/// The node that a radio packet came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remote {
    /// The board speaks of itself alone.
    Nobody,
    /// This one.
    Node(Name),
    /// One of several, or one that is not known: nobody can tell which.
    Unclear,
}

/// How a radio packet was received.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Signal {
    /// Its strength in dBm.
    pub rssi: Option<f64>,
    /// How far it stood out of the noise, in dB.
    pub snr: Option<f64>,
}

impl Signal {
    /// Takes in a reading that is believed, if it is one of the signal.
    pub(super) fn take(&mut self, id: SeriesId, value: f64, catalogue: &Catalogue) -> bool {
        let Some(series) = catalogue.series(id) else {
            return false;
        };
        let group = catalogue.node(series.node).map(|node| node.group);
        match (group, series.key.as_str()) {
            (Some(Group::Signal), "rssi") => self.rssi = Some(value),
            (Some(Group::Signal), "snr") => self.snr = Some(value),
            _ => return false,
        }
        true
    }
}

/// The known nodes of a frame, and which of them it came from.
pub(super) fn nodes(decoded: &Decoded, catalogue: &Catalogue) -> (Vec<Name>, Remote) {
    let nodes = decoded.nodes.iter().filter_map(|id| catalogue.node(*id));
    let nodes: Vec<_> = nodes.filter(|node| node.group == Group::Node).collect();
    let named = nodes
        .iter()
        .find(|node| node.key.eq_ignore_ascii_case(&decoded.board));
    let own = named.map_or(OWN_NODE, |node| node.key.as_str());
    let mut remote = nodes.iter().filter(|node| node.key != own);
    let remote = match (remote.next(), remote.next()) {
        (None, _) => Remote::Nobody,
        (Some(node), None) if node.is_known => Remote::Node(node.name.clone()),
        _ => Remote::Unclear,
    };
    let known = nodes.iter().filter(|node| node.is_known);
    (known.map(|node| node.name.clone()).collect(), remote)
}

/// Readings of the signal as readings of the node that it is of, but for those that the node sends
/// itself.
pub(super) fn of_node(node: &Name, signal: &[Reading], readings: &[Reading]) -> Vec<Reading> {
    let is_own = |metric: &Name| {
        let mut own = readings.iter();
        own.any(|reading| reading.node == *node && reading.metric == *metric)
    };
    let signal = signal.iter().filter(|reading| !is_own(&reading.metric));
    let reading = |reading: &Reading| Reading {
        node: node.clone(),
        ..reading.clone()
    };
    signal.map(reading).collect()
}
