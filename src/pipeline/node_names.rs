//! What nodes are called without a configuration, and with this one. Pure.

use std::collections::HashMap;

use crate::monitor::KnownNode;
use crate::telemetry::{Name, default_node_name};

/// What a node is called without a configuration: `node1`, whatever name it was given.
pub(super) fn key_of(node: &Name, names: &HashMap<String, Name>) -> String {
    let given = names.iter().find(|(_, name)| *name == node);
    given.map_or_else(|| node.to_string(), |(key, _)| default_node_name(key))
}

/// What a node is called by this configuration.
pub(super) fn name_of(key: &str, names: &HashMap<String, Name>) -> Name {
    let given = names
        .iter()
        .find(|(given, _)| default_node_name(given) == key);
    given.map_or_else(|| Name::new(key), |(_, name)| name.clone())
}

/// Whose names nodes have.
#[derive(Debug, Clone)]
pub(super) struct Naming {
    /// The configured ones, by what they are called without a configuration.
    pub(super) names: HashMap<String, Name>,
    /// The names of the sources.
    pub(super) sources: Vec<String>,
    /// Whether that of its source stands before a node's own.
    pub(super) is_qualified: bool,
}

/// Nodes as the journal is to remember them.
pub(super) fn to_remember(known: Vec<KnownNode>, naming: &Naming) -> Vec<KnownNode> {
    let key = |node: &Name| match node.as_str().split_once(' ') {
        Some((source, own)) if naming.is_qualified => {
            format!("{source} {}", key_of(&Name::new(own), &naming.names))
        }
        _ => key_of(node, &naming.names),
    };
    let keyed = known.into_iter().map(|it| KnownNode {
        key: key(&it.node),
        ..it
    });
    keyed.collect()
}

/// What a node that the journal remembers is called now; `None`: its source is not there any more.
fn name_now(key: &str, naming: &Naming) -> Option<Name> {
    let of_source = key.split_once(' ');
    let of_source = of_source.filter(|(source, _)| naming.sources.iter().any(|it| it == source));
    match of_source {
        Some((source, own)) if naming.is_qualified => {
            let own = name_of(own, &naming.names);
            Some(Name::new(&format!("{source} {own}")))
        }
        // It has been the only one since.
        Some((_, own)) => Some(name_of(own, &naming.names)),
        None if naming.is_qualified => None,
        None => Some(name_of(key, &naming.names)),
    }
}

/// Nodes that the journal remembers, as they are called now, and the names that they had and that
/// nothing has any more.
pub(super) fn remembered(known: Vec<KnownNode>, naming: &Naming) -> (Vec<KnownNode>, Vec<Name>) {
    let before: Vec<Name> = known.iter().map(|it| it.node.clone()).collect();
    let renamed = known.into_iter().filter_map(|it| {
        let node = name_now(&it.key, naming)?;
        Some(KnownNode { node, ..it })
    });
    let renamed: Vec<KnownNode> = renamed.collect();
    let is_gone = |name: &Name| renamed.iter().all(|it| it.node != *name);
    let gone = before.into_iter().filter(is_gone).collect();
    (renamed, gone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Timestamp;

    fn names(given: &[(&str, &str)]) -> HashMap<String, Name> {
        let given = given.iter();
        given
            .map(|(key, name)| ((*key).to_owned(), Name::new(name)))
            .collect()
    }

    fn naming(given: &[(&str, &str)], sources: &[&str]) -> Naming {
        Naming {
            names: names(given),
            sources: sources.iter().map(|it| (*it).to_owned()).collect(),
            is_qualified: sources.len() > 1,
        }
    }

    fn known(node: &str) -> KnownNode {
        KnownNode {
            key: String::new(),
            node: Name::new(node),
            first_heard: Timestamp(1),
            last_heard: Timestamp(2),
            interval: None,
            is_offline: true,
        }
    }

    #[test]
    fn nodes_of_several_sources_keep_to_theirs() {
        let given = [("n1", "hall")];
        let both = naming(&given, &["north", "south"]);
        let nodes = ["north hall", "south hall", "south node2"].map(known);
        let kept = to_remember(nodes.to_vec(), &both);
        let keys: Vec<_> = kept.iter().map(|it| it.key.as_str()).collect();
        assert_eq!(keys, ["north node1", "south node1", "south node2"]);
        let old = KnownNode {
            key: "node1".to_owned(),
            ..known("hall")
        };
        for (now, expected) in [
            (&both, vec!["north hall", "south hall", "south node2"]),
            // One of them has gone, and another one has come.
            (
                &naming(&[], &["south", "east"]),
                vec!["south node1", "south node2"],
            ),
        ] {
            let all = kept.iter().chain([&old]).cloned().collect();
            let (nodes, _) = remembered(all, now);
            let names: Vec<_> = nodes.iter().map(|it| it.node.as_str()).collect();
            assert_eq!(names, expected);
        }
        let alone = naming(&given, &["south"]);
        let (nodes, gone) = remembered(kept[1..].to_vec(), &alone);
        let names: Vec<_> = nodes.iter().map(|it| it.node.as_str()).collect();
        assert_eq!(names, ["hall", "node2"]);
        let gone: Vec<_> = gone.iter().map(Name::as_str).collect();
        assert_eq!(gone, ["south hall", "south node2"]);
    }

    #[test]
    fn a_node_is_the_same_under_every_name() {
        let naming = |given: &[(&str, &str)]| naming(given, &["source"]);
        let before = naming(&[("n1", "hall"), ("node3", "roof")]);
        let nodes = ["hall", "node2", "roof"].map(known).to_vec();
        let kept = to_remember(nodes, &before);
        let keys: Vec<_> = kept.iter().map(|it| it.key.as_str()).collect();
        assert_eq!(keys, ["node1", "node2", "node3"]);
        for (now, expected, gone) in [
            (before, ["hall", "node2", "roof"], vec![]),
            (
                naming(&[]),
                ["node1", "node2", "node3"],
                vec!["hall", "roof"],
            ),
            (
                naming(&[("node1", "cellar"), ("n3", "hall")]),
                ["cellar", "node2", "hall"],
                vec!["roof"],
            ),
        ] {
            let (nodes, gone_names) = remembered(kept.clone(), &now);
            let names: Vec<_> = nodes.iter().map(|it| it.node.as_str()).collect();
            assert_eq!(names, expected);
            let gone_names: Vec<_> = gone_names.iter().map(Name::as_str).collect();
            assert_eq!(gone_names, gone);
        }
    }
}
