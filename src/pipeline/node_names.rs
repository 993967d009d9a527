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

/// Nodes as the journal is to remember them.
pub(super) fn to_remember(known: Vec<KnownNode>, names: &HashMap<String, Name>) -> Vec<KnownNode> {
    let keyed = known.into_iter().map(|it| KnownNode {
        key: key_of(&it.node, names),
        ..it
    });
    keyed.collect()
}

/// Whether nodes are called so: behind the name of their source where that is told, alone where it is not.
pub(super) fn is_called_so(node: &Name, sources: &[&str], tells_sources: bool) -> bool {
    let source = node.as_str().split_once(' ').map(|(source, _)| source);
    let names_source = source.is_some_and(|name| sources.contains(&name));
    names_source == tells_sources
}

/// Nodes that the journal remembers, as they are called now, and the names that they had and that
/// nothing has any more. Of names that [nodes do not have](is_called_so) nothing is left but that.
pub(super) fn remembered(
    known: Vec<KnownNode>,
    names: &HashMap<String, Name>,
    is_called_so: impl Fn(&Name) -> bool,
) -> (Vec<KnownNode>, Vec<Name>) {
    let before: Vec<Name> = known.iter().map(|it| it.node.clone()).collect();
    let known = known.into_iter().filter(|it| is_called_so(&it.node));
    let renamed = known.map(|it| KnownNode {
        node: name_of(&it.key, names),
        ..it
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

    #[test]
    fn a_node_is_the_same_under_every_name() {
        let known = |node: &str| KnownNode {
            key: String::new(),
            node: Name::new(node),
            first_heard: Timestamp(1),
            last_heard: Timestamp(2),
            interval: None,
            is_offline: true,
        };
        let before = names(&[("n1", "hall"), ("node3", "roof")]);
        let nodes = ["hall", "node2", "roof"].map(known).to_vec();
        let kept = to_remember(nodes, &before);
        let keys: Vec<_> = kept.iter().map(|it| it.key.as_str()).collect();
        assert_eq!(keys, ["node1", "node2", "node3"]);
        for (now, expected, gone) in [
            (before.clone(), ["hall", "node2", "roof"], vec![]),
            (
                names(&[]),
                ["node1", "node2", "node3"],
                vec!["hall", "roof"],
            ),
            (
                names(&[("node1", "cellar"), ("n3", "hall")]),
                ["cellar", "node2", "hall"],
                vec!["roof"],
            ),
        ] {
            let (nodes, gone_names) = remembered(kept.clone(), &now, |_| true);
            let names: Vec<_> = nodes.iter().map(|it| it.node.as_str()).collect();
            assert_eq!(names, expected);
            let gone_names: Vec<_> = gone_names.iter().map(Name::as_str).collect();
            assert_eq!(gone_names, gone);
        }
        let (nodes, gone) = remembered(kept, &before, |name| name.as_str() != "hall");
        assert_eq!((nodes.len(), gone), (2, vec![Name::new("hall")]));
    }

    #[test]
    fn nodes_are_called_with_their_sources_or_without() {
        for (node, with, without) in [
            ("node1", false, true),
            ("north node1", true, false),
            ("south node1", false, true),
        ] {
            for (tells_sources, expected) in [(true, with), (false, without)] {
                let is_so = is_called_so(&node.into(), &["north"], tells_sources);
                assert_eq!(is_so, expected, "{node}");
            }
        }
    }
}
