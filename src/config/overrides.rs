//! What the command line sets.

use std::path::PathBuf;

use super::error::{ConfigError, Fault, Place};
use super::file;
use super::setting::{self, Setting, Table};

/// What the command line sets: the strongest layer.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// The file to read, by `--config`.
    pub file: Option<PathBuf>,
    flags: Vec<(&'static str, &'static str, String)>,
    assignments: Vec<String>,
}

/// The flag that sets any key.
const ASSIGNMENT: &str = "--set";

impl Overrides {
    /// Sets a key by a flag of its own: `flag("--broker-url", "mqtt.broker_url", "mqtt://server")`.
    pub fn flag(&mut self, flag: &'static str, key: &'static str, value: impl Into<String>) {
        self.flags.push((flag, key, value.into()));
    }

    /// Sets any key, as `mqtt.qos=2`.
    pub fn assign(&mut self, assignment: impl Into<String>) {
        self.assignments.push(assignment.into());
    }

    /// Whether nothing is set at all.
    pub(super) fn is_empty(&self) -> bool {
        self.flags.is_empty() && self.assignments.is_empty()
    }

    /// Puts the values over those of the file. A flag of its own wins over an assignment. Where there are
    /// several sections of a name in `led_by_first`, the first is meant.
    pub(super) fn apply(&self, settings: &mut Table, led_by_first: &[&str]) -> Vec<ConfigError> {
        let mut errors = Vec::new();
        for assignment in &self.assignments {
            let (key, value) = assignment.split_once('=').unzip();
            match (key.and_then(|key| file::parse_key(key.trim())), value) {
                (Some(path), Some(value)) => {
                    let setting = Setting::untyped(Place::Flag(ASSIGNMENT), value);
                    if !setting::insert(settings, &path, setting, led_by_first) {
                        errors.push(ambiguous(ASSIGNMENT, &path.join(".")));
                    }
                }
                _ => errors.push(malformed(assignment)),
            }
        }
        for (flag, key, value) in &self.flags {
            let path: Vec<String> = key.split('.').map(str::to_owned).collect();
            let setting = Setting::untyped(Place::Flag(flag), value);
            if !setting::insert(settings, &path, setting, led_by_first) {
                errors.push(ambiguous(flag, key));
            }
        }
        errors
    }
}

/// Where there are several sections of one name, a flag cannot say which it means.
fn ambiguous(flag: &'static str, key: &str) -> ConfigError {
    let section = key.split('.').next().unwrap_or_default();
    ConfigError {
        place: Place::Flag(flag),
        key: key.to_owned(),
        fault: Fault::Wrong,
        problem: format!("there are several sections [[{section}]]"),
        found: key.to_owned(),
        allowed: format!("a key of the file; flags set those of one [{section}] alone"),
        advice: None,
    }
}

/// Names what can be a key alone: the rest can be a secret.
fn malformed(assignment: &str) -> ConfigError {
    let is_of_key = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-');
    let end = assignment.find(|c| !is_of_key(c));
    let key = &assignment[..end.unwrap_or(assignment.len())];
    ConfigError {
        place: Place::Flag(ASSIGNMENT),
        key: String::new(),
        fault: Fault::Wrong,
        problem: "this sets no key".into(),
        found: super::error::printable(key),
        allowed: "section.key=value, as mqtt.qos=2".into(),
        advice: None,
    }
}
