//! Which readings are a message, which topic it goes to, and what it says. Pure.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::Value;

use crate::config::Payload;
use crate::telemetry::{MetricTable, Name, Reading, ShortestValue, Timestamp};

/// The topics of a gateway, `<prefix>/<node>/<metric>` or `<prefix>/<node>`, and what is said there.
#[derive(Debug, Clone)]
pub struct TopicMap {
    prefix: String,
    /// Nodes whose last value is of no use to a later subscriber.
    not_retained: Vec<Name>,
    form: Form,
}

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

impl TopicMap {
    /// `not_retained` are the names under which the board's own figures go.
    pub fn new(prefix: impl Into<String>, not_retained: impl IntoIterator<Item = Name>) -> Self {
        Self {
            prefix: prefix.into(),
            not_retained: not_retained.into_iter().collect(),
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

    /// The first level or levels of all topics.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The topic of a reading.
    pub fn topic(&self, reading: &Reading) -> String {
        self.topic_of(&reading.node, &reading.metric)
    }

    /// The topic of a node's metric.
    pub fn topic_of(&self, node: &Name, metric: &Name) -> String {
        let (node, metric) = (node.as_str(), metric.as_str());
        let room = node.len() + metric.len() + LATE.len() + 2;
        let mut topic = String::with_capacity(self.prefix.len() + room);
        for part in [&self.prefix, "/", node] {
            topic.push_str(part);
        }
        if self.grouping() == Grouping::Reading {
            topic.push('/');
            topic.push_str(metric);
        }
        topic
    }

    /// The topic of a reading that is too old to be told as the present state.
    pub fn late_topic(&self, reading: &Reading) -> String {
        self.topic(reading) + LATE
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
        !self.is_of_board(&reading.node)
    }

    /// Whether a node stands for the board's own figures.
    pub fn is_of_board(&self, node: &Name) -> bool {
        self.not_retained.contains(node)
    }

    /// Where the gateway says whether it is `online` or `offline`.
    pub fn status_topic(&self) -> String {
        format!("{}/gateway/status", self.prefix)
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
            let message = format!("{} {payload}", topics.topic(&reading));
            assert_eq!(message, expected);
            assert_eq!(topics.is_retained(&reading), retained, "{expected}");
        }
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
        assert_eq!(topics.topic(&readings[0]), "iiot/node1");
        assert_eq!(topics.late_topic(&readings[0]), "iiot/node1/late");
        let time = Timestamp(1_703_174_400_000_000_000);
        let payload = topics.payload(&readings[..2], time);
        let expected = r#"{"temperature":27.6,"a\"b":1e300,"time":"2023-12-21T16:00:00.000Z"}"#;
        assert_eq!(payload, expected);
        assert_eq!(topics.payload(&readings[2..], time), r#"{"time":5}"#);
    }
}
