//! Which readings are a message, which topic it goes to, and what it says. Pure.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::Value;

use crate::config::{Payload, SOURCE_PLACEHOLDER};
use crate::telemetry::{MetricTable, Name, Reading, ShortestValue, Timestamp};

/// What a message says.
#[derive(Debug, Clone)]
enum Form {
    /// A value.
    Value,
    /// A value with its time and its unit, which is found here.
    Object(Arc<MetricTable>),
    /// All that a node said at a time.
    Node,
}

/// The last level of the topic of a reading that is too old to be told as the present state.
const LATE: &str = "/late";

/// Which readings of a packet are one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Grouping {
    /// Each.
    #[default]
    Reading,
    /// Those of a node.
    Node,
}

impl Grouping {
    /// How many of these readings are a message with the first one.
    pub(super) fn count(self, readings: &[Reading]) -> usize {
        let Some(first) = readings.first() else {
            return 0;
        };
        match self {
            Self::Reading => 1,
            Self::Node => {
                let others = readings
                    .iter()
                    .position(|reading| reading.node != first.node);
                others.unwrap_or(readings.len())
            }
        }
    }
}

/// The last level of the topic of a node's state, and of that of the gateway's own.
const STATUS: &str = "status";

/// A metric of that name is one level below it.
const VALUE: &str = "/value";

/// The topics of a gateway, `<prefix>/<node>/<metric>` or `<prefix>/<node>`, and what is said there.
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
    form: Form,
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
            form: Form::Value,
        }
    }

    /// The same nodes and metrics, told in this form. `units` knows the units.
    #[must_use]
    pub fn with_payload(self, payload: Payload, units: Arc<MetricTable>) -> Self {
        let form = match payload {
            Payload::Plain => Form::Value,
            Payload::Json => Form::Object(units),
            Payload::Node => Form::Node,
        };
        Self { form, ..self }
    }

    /// Which readings are a message.
    pub(super) fn grouping(&self) -> Grouping {
        match self.form {
            Form::Value | Form::Object(_) => Grouping::Reading,
            Form::Node => Grouping::Node,
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
    /// [full name](Self::full_name). One without its source is from before sources had topics of their own.
    pub fn status_of_node(&self, node: &str) -> String {
        match node.split_once(' ') {
            Some((source, node)) if self.tells_sources() => {
                format!("{}/{node}/{STATUS}", self.prefix.join(source))
            }
            _ => join(&self.own_prefix, &format!("{node}/{STATUS}")),
        }
    }

    /// A filter for what is said so of all nodes.
    pub fn status_of_nodes(&self) -> String {
        self.status_of_node(if self.tells_sources() { "+ +" } else { "+" })
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
        topic.push('/');
        topic.push_str(node);
        if self.grouping() == Grouping::Node {
            return topic;
        }
        topic.push('/');
        topic.push_str(metric);
        if self.has_node_status && metric == STATUS {
            // The other topic says whether the node is there, and must say nothing else.
            topic.push_str(VALUE);
        }
        topic
    }

    /// The topic of a reading that is too old to be told as the present state.
    pub fn late_topic(&self, source: &Name, reading: &Reading) -> String {
        self.topic(source, reading) + LATE
    }

    /// The payload of the readings of one message, which were measured at `time`: a plain number in its
    /// shortest exact form; or `{"value":27.6,"unit":"°C","time":"2023-12-21T16:00:00.000Z"}`, without
    /// a unit where nobody knows it; or `{"temperature":27.6,"humidity":54.1,"time":"…"}`.
    pub fn payload<'a>(
        &self,
        readings: impl IntoIterator<Item = &'a Reading>,
        time: Timestamp,
    ) -> String {
        let mut readings = readings.into_iter();
        let metrics = match &self.form {
            Form::Node => return node_payload(readings, time),
            Form::Value => None,
            Form::Object(metrics) => Some(metrics),
        };
        let Some(reading) = readings.next() else {
            return String::new();
        };
        let value = ShortestValue(reading.value);
        let Some(metrics) = metrics else {
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

/// All that a node said, with its time, unless a metric is called that.
fn node_payload<'a>(readings: impl Iterator<Item = &'a Reading>, time: Timestamp) -> String {
    let mut payload = String::with_capacity(120);
    let (mut separator, mut has_time) = ('{', false);
    for reading in readings {
        let (metric, value) = (reading.metric.as_str(), ShortestValue(reading.value));
        has_time |= metric == "time";
        let _infallible = write!(payload, "{separator}{}:{value}", Value::from(metric));
        separator = ',';
    }
    if !has_time {
        let _infallible = write!(payload, "{separator}\"time\":\"{time}\"");
    }
    payload.push('}');
    payload
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
            let before = status.replace("gateway", "node1");
            assert_eq!(topics.status_of_node("node1"), before);
            let filter = of_node.replace("north", "+").replace("node1", "+");
            assert_eq!(topics.status_of_nodes(), filter);
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
            let payload = topics.payload([&reading], Timestamp(0));
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
        let topics = TopicMap::new("iiot", []).with_payload(Payload::Json, Arc::new(metrics));
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
            let payload = topics.payload([&reading], time);
            let expected = format!("{expected}\"time\":\"2023-12-21T16:00:00.000Z\"}}");
            assert_eq!(payload, expected);
            let parsed: Value = serde_json::from_str(&payload).unwrap();
            assert_eq!(parsed["value"].as_f64(), Some(value));
        }
    }

    #[test]
    fn a_node_says_all_in_one_message() {
        let topics = TopicMap::new("iiot", []).with_payload(Payload::Node, Arc::default());
        let reading = |node: &str, metric: &str, value| Reading {
            node: node.into(),
            metric: metric.into(),
            value,
        };
        let readings = [
            reading("node1", "temperature", 27.6),
            reading("node1", "a\"b", 1e300),
            reading("node2", "time", 5.0),
        ];
        let grouping = topics.grouping();
        assert_eq!(
            [0, 2, 3].map(|start| grouping.count(&readings[start..])),
            [2, 1, 0]
        );
        assert_eq!(Grouping::Reading.count(&readings), 1);
        assert_eq!(topics.topic(&"source".into(), &readings[0]), "iiot/node1");
        assert_eq!(
            topics.late_topic(&"source".into(), &readings[0]),
            "iiot/node1/late"
        );
        let time = Timestamp(1_703_174_400_000_000_000);
        let payload = topics.payload(&readings[..2], time);
        let expected = r#"{"temperature":27.6,"a\"b":1e300,"time":"2023-12-21T16:00:00.000Z"}"#;
        assert_eq!(payload, expected);
        assert_eq!(topics.payload(&readings[2..], time), r#"{"time":5}"#);
    }
}
