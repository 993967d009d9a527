//! Which nodes a frame is heard of, and how well.

use std::sync::Arc;

use super::catalogue::Catalogue;
use super::group::Group;
use super::{Decoded, Frame, Name, Reading, Timestamp};

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
    pub board: Arc<str>,
    /// The nodes in it that are known, those without readings included.
    pub nodes: Vec<Name>,
    /// Which of them it came from over the radio.
    pub remote: Remote,
    /// How it was received.
    pub signal: Signal,
    /// Whether its packets are numbered, so that missing ones are counted.
    pub is_numbered: bool,
}

/// The node that a radio packet came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remote {
    /// The board speaks of itself alone, or of somebody who is not known yet.
    Nobody,
    /// This one.
    Node(Name),
    /// One of several: nobody can tell which.
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

impl Hearing {
    /// What a judged frame says of its nodes; `readings` are those of it that are believed. If the
    /// signal is to be `given` to nodes, readings of it are added under the one that it is of.
    pub(super) fn of(
        frame: &Frame,
        event_time: Timestamp,
        (readings, given): (&mut Vec<Reading>, bool),
        catalogue: &Catalogue,
    ) -> Self {
        let (nodes, remote) = nodes(&frame.decoded, catalogue);
        let (signal, of_signal) = signal(&frame.decoded, readings, catalogue);
        if let (true, Remote::Node(node)) = (given, &remote) {
            let of_node = of_node(node, of_signal, readings);
            readings.extend(of_node);
        }
        Self {
            received: frame.received.wall,
            event_time,
            board: Arc::clone(&frame.decoded.board),
            nodes,
            remote,
            signal,
            is_numbered: frame.decoded.counter.is_some() || frame.decoded.radio_count.is_some(),
        }
    }
}

/// How it was received, by the readings that are believed; and which of these say so.
fn signal(
    decoded: &Decoded,
    readings: &[Reading],
    catalogue: &Catalogue,
) -> (Signal, [Option<usize>; 2]) {
    let mut signal = Signal::default();
    let mut places = [None; 2];
    for id in decoded.series.iter().flatten() {
        let Some(series) = catalogue.series(*id) else {
            continue;
        };
        let (figure, place) = match series.key.as_str() {
            "rssi" => (&mut signal.rssi, &mut places[0]),
            "snr" => (&mut signal.snr, &mut places[1]),
            _ => continue,
        };
        let node = catalogue.node(series.node);
        let Some(node) = node.filter(|node| node.group == Group::Signal) else {
            continue;
        };
        let is_it = |it: &Reading| it.node == node.name && it.metric == series.name;
        *place = readings.iter().position(is_it);
        *figure = place.and_then(|place| Some(readings.get(place)?.value));
    }
    (signal, places)
}

/// The known nodes of a frame, and which of them it came from.
fn nodes(decoded: &Decoded, catalogue: &Catalogue) -> (Vec<Name>, Remote) {
    let nodes = decoded.nodes.iter().filter_map(|id| catalogue.node(*id));
    let nodes = nodes.filter(|node| node.group.is_of_a_node());
    let mut named = nodes.clone();
    let named = named.find(|node| node.key.eq_ignore_ascii_case(&decoded.board));
    let own = named.map_or(OWN_NODE, |node| node.key.as_str());
    // Who is a node by its own name sends its packets itself.
    let remotes = nodes.clone();
    let remotes = remotes.filter(|node| node.group == Group::Own || node.key != own);
    let mut known = remotes.clone().filter(|node| node.is_known);
    let remote = match (known.next(), known.next(), remotes.count()) {
        (Some(node), None, 1) => Remote::Node(node.name.clone()),
        (_, None, _) => Remote::Nobody,
        _ => Remote::Unclear,
    };
    let mut known = Vec::with_capacity(decoded.nodes.len());
    known.extend(
        nodes
            .filter(|node| node.is_known)
            .map(|node| node.name.clone()),
    );
    (known, remote)
}

/// Readings of the signal, by their places, as readings of the node that it is of, but for those that the
/// node sends itself.
fn of_node(node: &Name, signal: [Option<usize>; 2], readings: &[Reading]) -> Vec<Reading> {
    let is_own = |metric: &Name| {
        let mut own = readings.iter();
        own.any(|reading| reading.node == *node && reading.metric == *metric)
    };
    let signal = signal
        .into_iter()
        .flatten()
        .filter_map(|at| readings.get(at));
    let reading = |reading: &Reading| Reading {
        node: node.clone(),
        ..reading.clone()
    };
    let signal = signal.filter(|reading| !is_own(&reading.metric));
    signal.map(reading).collect()
}
