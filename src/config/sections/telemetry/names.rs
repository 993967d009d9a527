//! Names that would be two things at once: points of one frame would overwrite each other in a database,
//! and messages in a broker.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::error::{ConfigError, Fault, Place};
use crate::config::section::Section;
use crate::telemetry::{MetricTable, Name, default_node_name};

/// What stands beside the nodes under a topic prefix, or is a node without being one.
const TAKEN: [&str; 3] = ["gateway", "signal", "stats"];

/// A name that a configuration gives to a key of the wire.
pub(super) struct Given {
    /// What is named, as `n1` or `sig.rssi`.
    pub(super) of: String,
    pub(super) name: String,
    /// The key that gives the name, as `telemetry.nodes.n1`.
    pub(super) key: String,
    pub(super) place: Place,
    pub(super) found: String,
}

impl Given {
    /// Of the value of a key that was read; `None` when it was not set.
    pub(super) fn of_key(
        section: &Section<'_, '_>,
        key: &str,
        of: &str,
        name: &str,
    ) -> Option<Self> {
        let (place, found) = section.answer(key)?;
        Some(Self {
            of: of.to_owned(),
            name: name.to_owned(),
            key: section.path_of(key),
            place,
            found,
        })
    }

    fn refused(&self, advice: String) -> ConfigError {
        ConfigError {
            place: self.place.clone(),
            key: self.key.clone(),
            fault: Fault::Wrong,
            problem: format!("{} is a name that is taken", self.key),
            found: self.found.clone(),
            allowed: "a name that nothing else has".into(),
            advice: Some(advice),
        }
    }
}

/// Refuses names of nodes that something else has.
pub(super) fn check_nodes(given: &[Given]) -> Vec<ConfigError> {
    let named: BTreeSet<String> = given.iter().map(|it| default_node_name(&it.of)).collect();
    let mut first: BTreeMap<Name, &Given> = BTreeMap::new();
    let mut refused = Vec::new();
    for it in given {
        let own = default_node_name(&it.of);
        let name = Name::new(&it.name);
        let is_own_default = name.as_str() == own;
        if TAKEN.contains(&name.as_str()) && !is_own_default {
            let advice =
                "gateway, signal and stats are taken by the gateway itself: choose another one";
            refused.push(it.refused(advice.to_owned()));
        } else if is_default(name.as_str()) && !is_own_default && !named.contains(name.as_str()) {
            let other = name.as_str().replacen("node", "n", 1);
            let advice = format!("{other} has it: choose another one, or name {other} as well");
            refused.push(it.refused(advice));
        } else {
            let other = *first.entry(name).or_insert(it);
            if default_node_name(&other.of) != own {
                let advice = format!("{} has it: give one of the two another name", other.of);
                refused.push(it.refused(advice));
            }
        }
    }
    refused
}

fn is_default(name: &str) -> bool {
    name.strip_prefix("node").is_some_and(is_number)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Refuses names of metrics that another metric of the same nodes has. `keys` are all that the
/// configuration describes, with a name or without.
pub(super) fn check_metrics(given: &[Given], keys: &[&str]) -> Vec<ConfigError> {
    let named: BTreeSet<&str> = given.iter().map(|it| &*it.of).collect();
    let table = MetricTable::default();
    let mut all: Vec<&str> = MetricTable::built_in_keys().collect();
    all.extend(keys);
    let mut first: BTreeMap<(&str, Name), &str> = BTreeMap::new();
    for key in all.into_iter().filter(|key| !named.contains(key)) {
        let built_in = table.by_key(key).map(|info| info.name.clone());
        let name = built_in.unwrap_or_else(|| Name::new(parts(key).1));
        first.entry((parts(key).0, name)).or_insert(key);
    }
    let mut refused = Vec::new();
    for it in given {
        let name = (parts(&it.of).0, Name::new(&it.name));
        let other = *first.entry(name).or_insert(&it.of);
        if other != it.of {
            let advice = format!(
                "{other} has it: choose another one, or set the name of telemetry.metrics.{}",
                quoted(other)
            );
            refused.push(it.refused(advice));
        }
    }
    refused
}

/// Whose metric a key is, and its key there: `sig.rssi` is one of the signal, `t` one of every node.
fn parts(key: &str) -> (&'static str, &str) {
    for group in ["sig", "sts"] {
        let rest = key
            .strip_prefix(group)
            .and_then(|rest| rest.strip_prefix('.'));
        if let Some(rest) = rest {
            return (group, rest);
        }
    }
    ("", key)
}

/// As a part of a key in TOML.
fn quoted(key: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !key.is_empty() && key.chars().all(is_bare) {
        key.to_owned()
    } else {
        format!("{key:?}")
    }
}
