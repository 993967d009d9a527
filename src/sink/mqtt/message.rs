//! Which topic a reading goes to. Pure.

use std::collections::HashSet;
use std::fmt::Write as _;

use crate::telemetry::{Name, Reading, ShortestValue};

/// The topics of a gateway: `<prefix>/<node>/<metric>`.
#[derive(Debug, Clone)]
pub struct TopicMap {
    prefix: String,
    /// Nodes whose last value is of no use to a later subscriber.
    not_retained: HashSet<Name>,
}

impl TopicMap {
    /// `not_retained` are the names under which the board's own figures go.
    pub fn new(prefix: impl Into<String>, not_retained: impl IntoIterator<Item = Name>) -> Self {
        Self {
            prefix: prefix.into(),
            not_retained: not_retained.into_iter().collect(),
        }
    }

    /// The topic of a reading.
    pub fn topic(&self, reading: &Reading) -> String {
        let (node, metric) = (reading.node.as_str(), reading.metric.as_str());
        let mut topic = String::with_capacity(self.prefix.len() + node.len() + metric.len() + 2);
        for part in [&self.prefix, "/", node, "/", metric] {
            topic.push_str(part);
        }
        topic
    }

    /// The payload of a reading: a plain number in its shortest exact form.
    pub fn payload(reading: &Reading) -> String {
        let mut payload = String::with_capacity(16);
        // Writing to a `String` cannot fail.
        let _infallible = write!(payload, "{}", ShortestValue(reading.value));
        payload
    }

    /// Whether the broker shall keep a reading for later subscribers.
    pub fn is_retained(&self, reading: &Reading) -> bool {
        !self.not_retained.contains(&reading.node)
    }

    /// Where the gateway says whether it is `online` or `offline`.
    pub fn status_topic(&self) -> String {
        format!("{}/gateway/status", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_payloads_and_retain_flags() {
        let topics = TopicMap::new("iiot", ["signal", "stats"].map(Name::new));
        for (node, metric, value, expected, retained) in [
            (
                "node1",
                "temperature",
                27.6,
                "iiot/node1/temperature 27.6",
                true,
            ),
            (
                "node2",
                "pressure",
                1013.2,
                "iiot/node2/pressure 1013.2",
                true,
            ),
            ("signal", "rssi", -39.0, "iiot/signal/rssi -39", false),
            ("stats", "crc_errors", 1.0, "iiot/stats/crc_errors 1", false),
            ("a/b", "#", 0.5, "iiot/a_b/_ 0.5", true),
        ] {
            let reading = Reading {
                node: Name::new(node),
                metric: Name::new(metric),
                value,
            };
            let message = format!("{} {}", topics.topic(&reading), TopicMap::payload(&reading));
            assert_eq!(message, expected);
            assert_eq!(topics.is_retained(&reading), retained, "{expected}");
        }
        assert_eq!(topics.status_topic(), "iiot/gateway/status");
    }
}
