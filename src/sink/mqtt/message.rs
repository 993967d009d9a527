//! Which topic a reading goes to, and what the message says. Pure.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::Value;

use crate::config::SOURCE_PLACEHOLDER;
use crate::telemetry::{MetricTable, Name, Reading, ShortestValue, Timestamp};

/// The last level of the topic of a node's state, and of that of the gateway's own.
const STATUS: &str = "status";

/// A metric of that name is one level below it.
const VALUE: &str = "/value";

/// The topics of a gateway, `<prefix>/<node>/<metric>`, and what is said there.
#[derive(Debug, Clone)]
pub struct TopicMap {
    /// What stands around each place of the source's name: one part, where it has none.
    prefix: Vec<String>,
    /// The prefix of what the gateway says of itself.
    own_prefix: String,
    /// The nodes that stand for the board's own figures.
    of_board: Vec<Name>,
    /// Whether their last values are of use to a later subscriber.
    retains_all: bool,
    /// Whether each node's state has a topic of its own, `<prefix>/<node>/status`.
    has_node_status: bool,
    /// Where units are found for payloads of JSON; `None`: payloads are plain numbers.
    units: Option<Arc<MetricTable>>,
}

impl TopicMap {
    /// `of_board` are the names under which the board's own figures go, which are not retained.
    pub fn new(prefix: impl Into<String>, of_board: impl IntoIterator<Item = Name>) -> Self {
        let prefix: String = prefix.into();
        Self {
            own_prefix: own_prefix(&prefix),
            prefix: prefix
                .split(SOURCE_PLACEHOLDER)
                .map(str::to_owned)
                .collect(),
            of_board: of_board.into_iter().collect(),
            retains_all: false,
            has_node_status: false,
            units: None,
        }
    }

    /// The same topics with payloads of JSON.
    #[must_use]
    pub fn with_json(self, units: Arc<MetricTable>) -> Self {
        Self {
            units: Some(units),
            ..self
        }
    }

    /// The same topics, all of them retained: whoever subscribes has the board's own figures at once.
    #[must_use]
    pub fn retaining_all(self) -> Self {
        Self {
            retains_all: true,
            ..self
        }
    }

    /// The same topics with one for each node's state, or without.
    #[must_use]
    pub fn with_node_status(self, has_node_status: bool) -> Self {
        Self {
            has_node_status,
            ..self
        }
    }

    /// Whether each node's state has a topic of its own.
    pub fn has_node_status(&self) -> bool {
        self.has_node_status
    }

    /// Where the gateway says whether a node is `online` or `offline`, by its
    /// [full name](Self::full_name); of `+`, a filter for all of them.
    pub fn status_of_node(&self, node: &str) -> String {
        let (source, node) = match node.split_once(' ') {
            Some(names) if self.tells_sources() => names,
            _ => ("+", node),
        };
        format!("{}/{node}/{STATUS}", self.prefix.join(source))
    }

    /// What a node is known by among those of all sources: with the name of its source in front, where
    /// each source has topics of its own.
    pub fn full_name(&self, source: &Name, node: &Name) -> Name {
        if self.tells_sources() {
            Name::new(&format!("{source} {node}"))
        } else {
            node.clone()
        }
    }

    /// The first level or levels of all topics, those apart that name a source.
    pub fn prefix(&self) -> &str {
        &self.own_prefix
    }

    /// Whether each source has topics of its own.
    pub fn tells_sources(&self) -> bool {
        self.prefix.len() > 1
    }

    /// The topic of a reading.
    pub fn topic(&self, source: &Name, reading: &Reading) -> String {
        self.topic_of(source, &reading.node, &reading.metric)
    }

    /// The topic of a node's metric.
    pub fn topic_of(&self, source: &Name, node: &Name, metric: &Name) -> String {
        let (node, metric) = (node.as_str(), metric.as_str());
        let mut topic = String::with_capacity(64 + node.len() + metric.len());
        for (number, part) in self.prefix.iter().enumerate() {
            if number > 0 {
                topic.push_str(source.as_str());
            }
            topic.push_str(part);
        }
        for part in ["/", node, "/", metric] {
            topic.push_str(part);
        }
        if self.has_node_status && metric == STATUS {
            // The other topic says whether the node is there, and must say nothing else.
            topic.push_str(VALUE);
        }
        topic
    }

    /// The payload of a reading that was measured at `time`: a plain number in its shortest exact form,
    /// or `{"value":27.6,"unit":"°C","time":"2023-12-21T16:00:00.000Z"}`. There is no unit where nobody
    /// knows it.
    pub fn payload(&self, reading: &Reading, time: Timestamp) -> String {
        let value = ShortestValue(reading.value);
        let Some(metrics) = &self.units else {
            let mut payload = String::with_capacity(16);
            // Writing to a `String` cannot fail.
            let _infallible = write!(payload, "{value}");
            return payload;
        };
        let mut payload = String::with_capacity(80);
        let _infallible = write!(payload, "{{\"value\":{value}");
        let unit = metrics.by_name(&reading.metric).map(|info| &*info.unit);
        if let Some(unit) = unit.filter(|unit| !unit.is_empty()) {
            let _infallible = write!(payload, ",\"unit\":{}", Value::from(unit));
        }
        let _infallible = write!(payload, ",\"time\":\"{time}\"}}");
        payload
    }

    /// Whether the broker shall keep a reading for later subscribers.
    pub fn is_retained(&self, reading: &Reading) -> bool {
        self.retains_all || !self.is_of_board(&reading.node)
    }

    /// Whether a node stands for the board's own figures.
    pub fn is_of_board(&self, node: &Name) -> bool {
        self.of_board.contains(node)
    }

    /// Where the gateway says what is wrong, as a list in JSON; an empty one when all is well.
    pub fn problems_topic(&self) -> String {
        join(&self.own_prefix, "gateway/problems")
    }

    /// Where the gateway says whether it is `online` or `offline`.
    pub fn status_topic(&self) -> String {
        join(&self.own_prefix, "gateway/status")
    }
}

/// A topic prefix without the levels that name a source: what the gateway says of itself is of none.
pub fn own_prefix(prefix: &str) -> String {
    let levels = prefix.split('/');
    let levels = levels.filter(|level| !level.contains(SOURCE_PLACEHOLDER));
    levels.collect::<Vec<_>>().join("/")
}

/// A topic below a prefix, which may be empty.
fn join(prefix: &str, topic: &str) -> String {
    if prefix.is_empty() {
        topic.to_owned()
    } else {
        format!("{prefix}/{topic}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::MetricInfo;

    #[test]
    fn a_source_has_topics_of_its_own_and_the_gateway_those_of_none() {
        let reading = Reading {
            node: "node1".into(),
            metric: "t".into(),
            value: 1.0,
        };
        for (prefix, topic, status) in [
            ("iiot", "iiot/node1/t", "iiot/gateway/status"),
            ("iiot/{source}", "iiot/north/node1/t", "iiot/gateway/status"),
            (
                "a/x-{source}/b",
                "a/x-north/b/node1/t",
                "a/b/gateway/status",
            ),
            ("{source}", "north/node1/t", "gateway/status"),
        ] {
            let topics = TopicMap::new(prefix, []);
            assert_eq!(topics.topic(&"north".into(), &reading), topic);
            assert_eq!(topics.status_topic(), status);
            let node = topics.full_name(&"north".into(), &"node1".into());
            let of_node = topic.replace("/t", "/status");
            assert_eq!(topics.status_of_node(node.as_str()), of_node);
        }
    }

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
            let payload = topics.payload(&reading, Timestamp(0));
            let message = format!("{} {payload}", topics.topic(&"source".into(), &reading));
            assert_eq!(message, expected);
            assert_eq!(topics.is_retained(&reading), retained, "{expected}");
        }
        let of_status =
            |topics: &TopicMap| topics.topic_of(&"source".into(), &"node1".into(), &STATUS.into());
        assert_eq!(of_status(&topics), "iiot/node1/status");
        let topics = topics.with_node_status(true);
        assert_eq!(of_status(&topics), "iiot/node1/status/value");
        assert_eq!(topics.status_of_node("node1"), "iiot/node1/status");
        assert_eq!(topics.status_topic(), "iiot/gateway/status");
    }

    #[test]
    fn a_payload_of_json_has_value_unit_and_time() {
        let mut metrics = MetricTable::default();
        let mut strange = MetricInfo::unknown("x");
        strange.unit = "\"\\".to_owned();
        metrics.set("x", strange);
        let topics = TopicMap::new("iiot", []).with_json(Arc::new(metrics));
        let time = Timestamp(1_703_174_400_000_999_999);
        for (metric, value, expected) in [
            ("temperature", 27.6, r#"{"value":27.6,"unit":"°C","#),
            ("gas_resistance", 84190.0, r#"{"value":84190,"unit":"Ω","#),
            ("crc_errors", 1.0, r#"{"value":1,"unit":"1","#),
            ("lux", 1e300, r#"{"value":1e300,"#),
            ("x", -0.5, r#"{"value":-0.5,"unit":"\"\\","#),
        ] {
            let reading = Reading {
                node: Name::new("node1"),
                metric: Name::new(metric),
                value,
            };
            let payload = topics.payload(&reading, time);
            let expected = format!("{expected}\"time\":\"2023-12-21T16:00:00.000Z\"}}");
            assert_eq!(payload, expected);
            let parsed: Value = serde_json::from_str(&payload).unwrap();
            assert_eq!(parsed["value"].as_f64(), Some(value));
        }
    }
}
