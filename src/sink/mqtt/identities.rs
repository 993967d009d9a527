//! What nodes and metrics would be called if nobody had named them: by that Home Assistant knows them, so that
//! another name changes what it shows and not which sensor it is. Pure.

use std::collections::HashMap;

use crate::telemetry::{MetricTable, Name, default_node_name};

/// The names that come from the keys on the wire.
#[derive(Debug, Clone, Default)]
pub struct Identities {
    /// By the name that a node has now.
    nodes: HashMap<Name, String>,
    /// By the key of the board's own figures, or none, and the name that a metric has now.
    metrics: HashMap<(Option<&'static str>, Name), String>,
}

/// The keys of the board's own figures, and what they are called.
const OF_BOARD: [(&str, &str); 2] = [("sig", "signal"), ("sts", "stats")];

impl Identities {
    /// Of nodes that are named by their keys or default names, and metrics of a table.
    pub fn new(nodes: &HashMap<String, Name>, metrics: &MetricTable) -> Self {
        let nodes = nodes
            .iter()
            .map(|(key, name)| (name.clone(), default_node_name(key)))
            .collect();
        let built_in = MetricTable::default();
        let metrics = metrics
            .names()
            .map(|(key, name)| {
                let (group, own_key) = parts(key);
                let default = built_in.by_key(key).map(|info| info.name.as_str());
                ((group, name.clone()), default.unwrap_or(own_key).to_owned())
            })
            .collect();
        Self { nodes, metrics }
    }

    /// What a node would be called.
    pub fn node<'a>(&'a self, node: &'a Name) -> &'a str {
        self.nodes.get(node).map_or(node.as_str(), String::as_str)
    }

    /// What a metric of a node would be called.
    pub fn metric<'a>(&'a self, node: &Name, metric: &'a Name) -> &'a str {
        let default = self.node(node);
        let group = OF_BOARD.iter().find(|(_, name)| *name == default);
        let key = (group.map(|(key, _)| *key), metric.clone());
        self.metrics
            .get(&key)
            .map_or(metric.as_str(), String::as_str)
    }
}

/// Whose metric a key is, and its key there.
fn parts(key: &str) -> (Option<&'static str>, &str) {
    for (group, _) in OF_BOARD {
        let rest = key.strip_prefix(group);
        if let Some(rest) = rest.and_then(|rest| rest.strip_prefix('.')) {
            return (Some(group), rest);
        }
    }
    (None, key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::MetricInfo;

    #[test]
    fn a_rename_does_not_change_which_sensor_it_is() {
        let nodes = [("n1", "greenhouse"), ("node2", "attic"), ("sig", "radio")];
        let nodes = nodes.map(|(key, name)| (key.to_owned(), Name::new(name)));
        let mut metrics = MetricTable::default();
        for (key, name) in [("t", "air"), ("co2", "carbon"), ("sig.rssi", "strength")] {
            let known = metrics.by_key(key).cloned();
            let info = MetricInfo {
                name: name.into(),
                ..known.unwrap_or_else(|| MetricInfo::unknown(key))
            };
            metrics.set(key, info);
        }
        let identities = Identities::new(&nodes.into_iter().collect(), &metrics);
        for (node, metric, expected) in [
            ("greenhouse", "air", "node1 temperature"),
            ("attic", "carbon", "node2 co2"),
            ("node3", "lux", "node3 lux"),
            ("radio", "strength", "signal rssi"),
            ("stats", "crc_errors", "stats crc_errors"),
            ("node3", "strength", "node3 strength"),
        ] {
            let (node, metric) = (Name::new(node), Name::new(metric));
            let identity = format!(
                "{} {}",
                identities.node(&node),
                identities.metric(&node, &metric)
            );
            assert_eq!(identity, expected);
        }
    }
}
