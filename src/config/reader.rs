//! Reads settings key by key, and notices what nobody asked for. A key is defined by the place that
//! reads it, with its default and its kind.

use std::collections::BTreeSet;

use super::environment::{Environment, FILE_VARIABLE, PREFIX};
use super::error::{ConfigError, Fault, Place, nearest};
use super::setting::{Table, Value};

/// A key that can be set.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct KnownKey {
    /// Its full path, as `mqtt.qos`.
    pub path: String,
    /// What holds when it is not set, as it would be written in the file; `None`: nothing does.
    pub default: Option<String>,
    /// What is allowed, in words.
    pub allowed: String,
    /// The environment variables that set it, the first that is set wins.
    pub variables: Vec<String>,
}

/// What is common to all sections while they are read.
pub(super) struct Reader<'e> {
    pub(super) environment: &'e Environment,
    pub(super) known: Vec<KnownKey>,
    sections: BTreeSet<String>,
    unasked: Vec<Unasked>,
    pub(super) errors: Vec<ConfigError>,
}

/// A setting that nobody asked for.
struct Unasked {
    section: String,
    name: String,
    place: Place,
    is_section: bool,
}

impl<'e> Reader<'e> {
    pub(super) fn new(environment: &'e Environment) -> Self {
        Self {
            environment,
            known: Vec::new(),
            sections: BTreeSet::new(),
            unasked: Vec::new(),
            errors: Vec::new(),
        }
    }

    /// Ends the reading: refuses what nobody asked for. Returns what can be set, and all errors.
    pub(super) fn finish(mut self) -> (Vec<KnownKey>, Vec<ConfigError>) {
        self.refuse_unasked_settings();
        self.refuse_unasked_variables();
        (self.known, self.errors)
    }

    /// A key can be set, once in each section where there are several of one name.
    pub(super) fn know(&mut self, key: KnownKey) {
        if !self.known.iter().any(|known| known.path == key.path) {
            self.known.push(key);
        }
    }

    /// Takes what is left of a section when all its keys have been read.
    pub(super) fn leave(&mut self, section: String, left: Table) {
        let unasked = left.into_iter().map(|(name, setting)| Unasked {
            section: section.clone(),
            name,
            place: setting.place,
            is_section: matches!(setting.value, Value::Table(_) | Value::Tables(_)),
        });
        self.unasked.extend(unasked);
        self.sections.insert(section);
    }

    fn refuse_unasked_settings(&mut self) {
        for unasked in std::mem::take(&mut self.unasked) {
            let error = self.unknown(unasked);
            self.errors.push(error);
        }
    }

    fn unknown(&self, unasked: Unasked) -> ConfigError {
        let Unasked {
            section,
            name,
            place,
            is_section,
        } = unasked;
        let path = join(&section, &name);
        let siblings = self.names_in(&section);
        let elsewhere = || {
            let all = self.known.iter().map(|key| key.path.as_str());
            let mut named_alike = all.filter(|path| last_name(path) == name);
            named_alike.next().map(str::to_owned)
        };
        let near = nearest(&name, siblings.iter().copied()).map(|near| join(&section, near));
        let meant = near.or_else(elsewhere);
        ConfigError {
            place,
            fault: Fault::Wrong,
            problem: if is_section {
                format!("[{path}] is not a known section")
            } else {
                format!("{path} is not a known key")
            },
            key: path,
            found: name,
            allowed: siblings.join(", "),
            advice: meant.map(|path| format!("did you mean {path}?")),
        }
    }

    /// The names of the keys and sections directly inside a section, in their order.
    fn names_in(&self, section: &str) -> Vec<&str> {
        let paths = self.known.iter().map(|key| key.path.as_str());
        let paths = paths.chain(self.sections.iter().map(String::as_str));
        let mut names = Vec::new();
        for path in paths {
            let inside = match path.strip_prefix(section) {
                Some(rest) if section.is_empty() => rest,
                Some(rest) => rest.strip_prefix('.').unwrap_or_default(),
                None => continue,
            };
            let name = inside.split('.').next().unwrap_or_default();
            if !name.is_empty() && !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    fn refuse_unasked_variables(&mut self) {
        let known: Vec<&str> = self
            .known
            .iter()
            .flat_map(|key| &key.variables)
            .map(String::as_str)
            .chain([FILE_VARIABLE])
            .collect();
        let strange = self
            .environment
            .own_names()
            .filter(|name| !known.contains(name));
        let errors: Vec<ConfigError> = strange
            .map(|name| {
                let short = known.iter().filter_map(|known| known.strip_prefix(PREFIX));
                let meant = nearest(&name[PREFIX.len()..], short);
                ConfigError {
                    place: Place::Variable(name.to_owned()),
                    key: String::new(),
                    fault: Fault::Wrong,
                    problem: "no key is set by this variable".into(),
                    found: name.to_owned(),
                    allowed:
                        "FIELDGATE_SECTION_KEY for any key, as FIELDGATE_MQTT_QOS for mqtt.qos"
                            .into(),
                    advice: meant.map(|meant| format!("did you mean {PREFIX}{meant}?")),
                }
            })
            .collect();
        self.errors.extend(errors);
    }
}

pub(super) fn join(section: &str, name: &str) -> String {
    if section.is_empty() {
        name.to_owned()
    } else {
        format!("{section}.{name}")
    }
}

fn last_name(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or_default()
}
