//! What the gateway says of its nodes and of itself, beside readings, to whoever wants to know.

use std::collections::{BTreeMap, BTreeSet};

use super::{NodeStatus, Problem};
use crate::telemetry::Name;

/// What is to be said at an instant.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Standing {
    /// Whether each node is online.
    pub nodes: BTreeMap<Name, bool>,
    /// Names that nodes had and that nothing has any more: what was said of them is to be taken back.
    pub gone: BTreeSet<Name>,
    /// What is wrong; `None`: nobody has looked yet.
    pub problems: Option<Vec<Problem>>,
}

impl Standing {
    /// Takes in how the nodes are; those that are not among them any more are gone.
    pub fn take_nodes(&mut self, nodes: &[NodeStatus]) {
        let now = nodes
            .iter()
            .map(|it| (it.node.clone(), it.state.is_online()));
        let before = std::mem::replace(&mut self.nodes, now.collect());
        self.gone.extend(before.into_keys());
        self.gone.retain(|name| !self.nodes.contains_key(name));
    }
}
