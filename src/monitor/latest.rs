//! The last value of every metric, and when each node was last heard of.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::telemetry::{MetricTable, Name, Packet, Timestamp};

/// Values remembered; names that damage makes up must not fill the memory.
const MAX_VALUES: usize = 4096;

/// The last value of one metric of one node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LatestValue {
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
pub(super) struct LatestValues(BTreeMap<(Name, Name), LatestValue>);

impl LatestValues {
    pub(super) fn record(&mut self, packet: &Packet, metrics: &MetricTable) {
        for reading in &packet.readings {
            let key = (reading.node.clone(), reading.metric.clone());
            if self.0.len() >= MAX_VALUES && !self.0.contains_key(&key) {
                continue;
            }
            let value = reading.value;
            let latest = self.0.entry(key).or_insert_with(|| {
                let info = metrics.by_name(&reading.metric);
                LatestValue {
                    node: reading.node.clone(),
                    metric: reading.metric.clone(),
                    unit: info.map_or_else(String::new, |info| info.unit.clone()),
                    min: info.and_then(|info| info.min),
                    max: info.and_then(|info| info.max),
                    value,
                    event_time: packet.event_time,
                    received: packet.received,
                    smallest: value,
                    largest: value,
                    count: 0,
                }
            });
            latest.value = value;
            latest.event_time = packet.event_time;
            latest.received = packet.received;
            latest.smallest = latest.smallest.min(value);
            latest.largest = latest.largest.max(value);
            latest.count += 1;
        }
    }

    /// All of them, by node and metric.
    pub(super) fn all(&self) -> Vec<LatestValue> {
        self.0.values().cloned().collect()
    }
}
