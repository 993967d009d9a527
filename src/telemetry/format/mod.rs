//! How the bytes of a source become packets: its format, and the rules by which fields become readings.
//!
//! A file here for each format takes a frame apart into *fields*, keys with values; [`mapper`] makes a
//! packet of them, the same way for all. The format `board` is read by the decoder itself.

mod fields;
mod json;
mod learn;
pub mod line_protocol;
mod mapper;
mod plotter;
mod preset;

pub use fields::Value;
pub use learn::{Proposal, learn};
pub(super) use mapper::Mapper;
pub(super) use plotter::needs_its_beginning;
pub use preset::{PRESETS, Preset};

use super::{MetricInfo, MetricTable, Name};

/// The key of a line's measurement among its fields, in line protocol.
pub const MEASUREMENT: &str = "measurement";

/// The key of a line's timestamp among its fields, in line protocol.
pub const TIMESTAMP: &str = "timestamp";

/// How the bytes of a source become packets.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Format {
    /// What a gateway board sends: objects with `ts`, nodes `n1`, `n2`, … and counts.
    #[default]
    Board,
    /// Any JSON objects.
    Json(Rules),
    /// Lines for the serial plotter of Arduino.
    Plotter(Rules),
    /// Line protocol, as InfluxDB takes it.
    LineProtocol(Rules),
}

/// How the fields of a frame become readings. Keys of inner objects are joined by `_`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rules {
    /// Whose readings they are.
    pub node: NodeRule,
    /// Where the time of measurement stands; `None`: the time of arrival counts.
    pub time: Option<TimeRule>,
    /// The keys that are readings; empty: all numbers. Of lines without labels, their names in order.
    pub metrics: Vec<String>,
    /// Keys that are no readings.
    pub ignore: Vec<String>,
    /// The key of the signal's strength in dBm.
    pub rssi: Option<String>,
    /// The key of the signal's distance from noise in dB.
    pub snr: Option<String>,
    /// The key that numbers a node's packets.
    pub counter: Option<String>,
    /// For frames with one reading each: the keys of its name and of its value.
    pub reading: Option<(String, String)>,
    /// What is known of metrics, by their keys.
    pub known: Vec<(String, MetricInfo)>,
}

/// Where the name of a node comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeRule {
    /// It is always this one.
    Name(Name),
    /// The values of these keys, those that a frame has, joined by `_`.
    Keys(Vec<String>),
}

impl NodeRule {
    /// The node of a source that says nothing of nodes.
    pub const DEFAULT_NAME: &'static str = "board";
}

impl Default for NodeRule {
    fn default() -> Self {
        Self::Name(Name::new(Self::DEFAULT_NAME))
    }
}

/// Where the time of measurement stands in a frame, and what it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeRule {
    /// Its key.
    pub key: String,
    /// What it counts.
    pub kind: TimeKind,
}

/// What a time counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeKind {
    /// Text as `2026-03-01T12:00:00Z`.
    Rfc3339,
    /// Seconds since 1970, with or without a fraction.
    Seconds,
    /// Milliseconds since 1970.
    Milliseconds,
    /// Microseconds since 1970.
    Microseconds,
    /// Nanoseconds since 1970.
    Nanoseconds,
    /// Milliseconds since the board booted.
    Uptime,
}

impl Format {
    /// The rules for fields; `None`: the format has none.
    pub fn rules(&self) -> Option<&Rules> {
        match self {
            Self::Board => None,
            Self::Json(rules) | Self::Plotter(rules) | Self::LineProtocol(rules) => Some(rules),
        }
    }

    /// Whether frames may say when they were measured, by a clock of their own.
    pub fn tells_time(&self) -> bool {
        let time = self.rules().and_then(|rules| rules.time.as_ref());
        time.is_some_and(|time| time.kind != TimeKind::Uptime)
    }

    /// Adds to a table what the format knows of metrics, and takes out keys that mean something in the
    /// format `board` alone. What the configuration says of a key stays.
    pub fn complete(&self, table: &mut MetricTable, configured: impl Fn(&str) -> bool) {
        let Some(rules) = self.rules() else { return };
        for key in MetricTable::built_in_keys() {
            if !key.contains('.') && !configured(key) {
                table.forget_key(key);
            }
        }
        let listed = rules.metrics.iter();
        let listed = listed.map(|key| (key.clone(), MetricInfo::unknown(key)));
        for (key, info) in rules.known.iter().cloned().chain(listed) {
            if table.by_key(&key).is_none() {
                table.set(&key, info);
            }
        }
    }
}
