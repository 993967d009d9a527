//! The last value of every metric, and when each node was last heard of.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::link::{is_only_source, only_source};
use crate::telemetry::{MetricTable, Name, Packet, Reading, Timestamp};

/// Values remembered of a source; names that damage makes up must not fill the memory.
const MAX_VALUES: usize = 4096;

/// The last value of one metric of one node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LatestValue {
    /// The name of the source that it comes from; in JSON only where that has one.
    #[serde(default = "only_source", skip_serializing_if = "is_only_source")]
    pub source: Name,
    /// The node.
    pub node: Name,
    /// The metric.
    pub metric: Name,
    /// The metric's unit; empty when nobody knows it.
    pub unit: String,
    /// Below it a value is an alarm.
    pub min: Option<f64>,
    /// Above it a value is an alarm.
    pub max: Option<f64>,
    /// Its last value.
    pub value: f64,
    /// When that was measured.
    pub event_time: Timestamp,
    /// When that was received.
    pub received: Timestamp,
    /// The smallest value since the gateway started.
    pub smallest: f64,
    /// The largest value since the gateway started.
    pub largest: f64,
    /// How many values there were since the gateway started.
    pub count: u64,
}

/// Whether a value is within its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alarm {
    /// It is, or has none.
    None,
    /// It is below the lower one.
    Low,
    /// It is above the upper one.
    High,
}

impl LatestValue {
    /// Whether its last value is within its limits.
    pub fn alarm(&self) -> Alarm {
        if self.min.is_some_and(|min| self.value < min) {
            Alarm::Low
        } else if self.max.is_some_and(|max| self.value > max) {
            Alarm::High
        } else {
            Alarm::None
        }
    }
}

/// The last value of every metric.
#[derive(Debug, Default)]
pub(super) struct LatestValues {
    /// By node and metric.
    values: BTreeMap<Name, BTreeMap<Name, LatestValue>>,
    count: usize,
}

impl LatestValues {
    pub(super) fn record(&mut self, source: &Name, packet: &Packet, metrics: &MetricTable) {
        for reading in &packet.readings {
            let of_node = self.values.get_mut(&reading.node);
            let Some(latest) = of_node.and_then(|values| values.get_mut(&reading.metric)) else {
                self.add(source, reading, packet, metrics);
                continue;
            };
            let value = reading.value;
            latest.value = value;
            latest.event_time = packet.event_time;
            latest.received = packet.received;
            latest.smallest = latest.smallest.min(value);
            latest.largest = latest.largest.max(value);
            latest.count += 1;
        }
    }

    fn add(&mut self, source: &Name, reading: &Reading, packet: &Packet, metrics: &MetricTable) {
        if self.count >= MAX_VALUES {
            return;
        }
        self.count += 1;
        let Reading {
            node,
            metric,
            value,
        } = reading;
        let info = metrics.by_name(metric);
        let latest = LatestValue {
            source: source.clone(),
            node: node.clone(),
            metric: metric.clone(),
            unit: info.map_or_else(String::new, |info| info.unit.clone()),
            min: info.and_then(|info| info.min),
            max: info.and_then(|info| info.max),
            value: *value,
            event_time: packet.event_time,
            received: packet.received,
            smallest: *value,
            largest: *value,
            count: 1,
        };
        let of_node = self.values.entry(node.clone()).or_default();
        of_node.insert(metric.clone(), latest);
    }

    /// All of them, by node and metric.
    pub(super) fn all(&self) -> Vec<LatestValue> {
        let values = self.values.values();
        values.flat_map(BTreeMap::values).cloned().collect()
    }
}
