//! What is known of a node, and of a metric of one.

use std::collections::HashMap;

use super::presence::{Presence, Sightings};
use super::{NodeId, SeriesId};
use crate::telemetry::group::Group;
use crate::telemetry::spikes::History;
use crate::telemetry::waiting::Waiting;
use crate::telemetry::{Name, Range};

/// A node, and what is known of it.
#[derive(Debug)]
pub(in crate::telemetry) struct Node {
    pub(in crate::telemetry) key: String,
    pub(in crate::telemetry) group: Group,
    pub(in crate::telemetry) name: Name,
    pub(in crate::telemetry) is_known: bool,
    pub(in crate::telemetry) sightings: Sightings,
    pub(super) presence: Presence,
    /// Frames with it.
    pub(super) frames: u64,
    pub(super) series: HashMap<String, SeriesId>,
    /// The last frame that was decoded with it.
    pub(super) decoded_in: u64,
    /// What stood first in it.
    pub(super) first: Option<SeriesId>,
    /// The node that stood behind it.
    pub(super) next: Option<NodeId>,
}

/// A metric of a node, and what is known of it.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, and none follows from another"
)]
pub(in crate::telemetry) struct Series {
    pub(in crate::telemetry) node: NodeId,
    pub(in crate::telemetry) key: String,
    pub(in crate::telemetry) name: Name,
    pub(in crate::telemetry) range: Range,
    /// Whether it is delivered as it comes.
    pub(in crate::telemetry) is_known: bool,
    /// Whether the journal has its name.
    pub(in crate::telemetry) is_learnt: bool,
    pub(in crate::telemetry) metric_is_known: bool,
    pub(in crate::telemetry) sightings: Sightings,
    /// Its readings that wait for the name to be confirmed.
    pub(in crate::telemetry) waiting: Vec<Waiting>,
    /// Its readings that nobody expected and the next one is to confirm.
    pub(in crate::telemetry) unexpected: Vec<Waiting>,
    pub(in crate::telemetry) history: History,
    /// Whether another metric of the node has the same name.
    pub(super) shares_name: bool,
    pub(super) presence: Presence,
    pub(super) decoded_in: u64,
    /// The metric of the node that stood behind it.
    pub(super) next: Option<SeriesId>,
}
