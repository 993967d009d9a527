//! How a reading is announced to Home Assistant: as a sensor of a device, by [MQTT discovery][spec].
//! Pure.
//!
//! [spec]: https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery

use std::fmt::Write as _;
use std::sync::Arc;

use serde::Serialize;

use super::message::TopicMap;
use crate::config::{HomeAssistant, Payload};
use crate::telemetry::{MetricTable, Name};

/// Who makes these devices, as Home Assistant shows it.
const MANUFACTURER: &str = "fieldgate";

/// The sensor that shows whether the gateway is there. Those of readings have a `_` in their names.
const STATUS: &str = "status";

/// Bytes of a message: brokers need not take longer ones.
const MAX_BYTES: usize = 10_000;

/// The sensor type of what only ever grows until it starts again.
const COUNTER: &str = "counter";

/// Units that tell what is measured, for Home Assistant to choose an icon and to convert units.
const DEVICE_CLASSES: [(&str, &str); 4] = [
    ("°C", "temperature"),
    ("°F", "temperature"),
    ("hPa", "atmospheric_pressure"),
    ("dBm", "signal_strength"),
];

/// What a retained message on the topic says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Announcement {
    pub(super) topic: String,
    /// Empty: the topic is given up.
    pub(super) payload: String,
}

/// Announces what a gateway has.
#[derive(Debug, Clone)]
pub(super) struct Announcer {
    /// `<discovery prefix>/sensor/<gateway>`.
    prefix: String,
    /// The gateway as it is shown: its name or, without one, its topic prefix.
    gateway: String,
    has_name: bool,
    /// Begins the identifiers of everything.
    identifier: String,
    topics: TopicMap,
    metrics: Arc<MetricTable>,
    payload: Payload,
    expire_after: Option<u64>,
}

/// The message of a sensor.
#[derive(Serialize)]
struct Sensor<'a> {
    name: String,
    unique_id: String,
    state_topic: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_template: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit_of_measurement: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_class: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_class: Option<&'a str>,
    /// The states that there are, where they are words.
    #[serde(skip_serializing_if = "Option::is_none")]
    options: Option<[&'a str; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entity_category: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expire_after: Option<u64>,
    #[serde(flatten)]
    availability: Option<Availability>,
    device: Device<'a>,
    origin: Origin,
}

#[derive(Serialize)]
struct Availability {
    #[serde(rename = "availability_topic")]
    topic: String,
    payload_available: &'static str,
    payload_not_available: &'static str,
}

#[derive(Serialize)]
struct Device<'a> {
    identifiers: [String; 1],
    name: String,
    manufacturer: &'static str,
    model: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sw_version: Option<&'static str>,
    #[serde(rename = "via_device", skip_serializing_if = "Option::is_none")]
    via: Option<&'a str>,
}

#[derive(Serialize)]
struct Origin {
    name: &'static str,
    sw_version: &'static str,
}

impl Announcer {
    /// An announcer for the readings that go to these topics.
    pub(super) fn new(
        config: &HomeAssistant,
        topics: TopicMap,
        payload: Payload,
        metrics: Arc<MetricTable>,
    ) -> Self {
        let gateway = config.gateway.as_deref().unwrap_or_else(|| topics.prefix());
        let id = object_id(gateway, false);
        Self {
            prefix: format!("{}/sensor/{id}", config.discovery_prefix),
            gateway: gateway.to_owned(),
            has_name: config.gateway.is_some(),
            identifier: format!("fieldgate_{id}"),
            topics,
            metrics,
            payload,
            expire_after: Some(config.expire_after.as_secs()).filter(|seconds| *seconds > 0),
        }
    }

    /// What fits all topics on which this gateway announces anything.
    pub(super) fn filter(&self) -> String {
        format!("{}/+/config", self.prefix)
    }

    /// Whether this gateway announces on that topic.
    pub(super) fn owns(&self, topic: &str) -> bool {
        let rest = topic.strip_prefix(&self.prefix);
        let rest = rest.and_then(|rest| rest.strip_prefix('/')?.strip_suffix("/config"));
        rest.is_some_and(|object| !object.is_empty() && !object.contains('/'))
    }

    /// Announces the gateway itself, with whether it is online. The devices of nodes hang on it, so
    /// that it must be first.
    pub(super) fn gateway(&self) -> Option<Announcement> {
        self.announcement(
            STATUS,
            &Sensor {
                name: "Status".to_owned(),
                unique_id: format!("{}_{STATUS}", self.identifier),
                state_topic: self.topics.status_topic(),
                value_template: None,
                unit_of_measurement: None,
                device_class: Some("enum"),
                state_class: None,
                options: Some(["online", "offline"]),
                entity_category: Some("diagnostic"),
                expire_after: None,
                // It is there to be seen when the gateway is away.
                availability: None,
                device: self.device(None),
                origin: ORIGIN,
            },
        )
    }

    /// Announces a metric of a node. `None`: its names are too long to be announced.
    pub(super) fn reading(&self, node: &Name, metric: &Name) -> Option<Announcement> {
        let info = self.metrics.by_name(metric);
        let is_counter = info.is_some_and(|info| info.sensor_type == COUNTER);
        let unit = info.map(|info| &*info.unit);
        // Home Assistant counts without a unit.
        let unit = unit.filter(|unit| !unit.is_empty() && *unit != "1");
        let is_of_board = self.topics.is_of_board(node);
        let object = format!(
            "{}_{}",
            object_id(node.as_str(), false),
            object_id(metric.as_str(), true)
        );
        self.announcement(
            &object,
            &Sensor {
                name: in_words(metric.as_str()),
                unique_id: format!("{}_{object}", self.identifier),
                state_topic: self.topics.topic_of(node, metric),
                value_template: self.value_template(metric),
                unit_of_measurement: unit,
                device_class: unit
                    .filter(|_| !is_counter)
                    .and_then(|unit| self.device_class(metric, unit)),
                state_class: Some(if is_counter {
                    "total_increasing"
                } else {
                    "measurement"
                }),
                options: None,
                entity_category: is_of_board.then_some("diagnostic"),
                expire_after: self.expire_after,
                availability: Some(Availability {
                    topic: self.topics.status_topic(),
                    payload_available: "online",
                    payload_not_available: "offline",
                }),
                device: self.device((!is_of_board).then_some(node)),
                origin: ORIGIN,
            },
        )
    }

    /// Where a value stands in a message. A node need not say all at once: without the metric nothing
    /// changes.
    fn value_template(&self, metric: &Name) -> Option<String> {
        match self.payload {
            Payload::Plain => None,
            Payload::Json => Some("{{ value_json.value }}".to_owned()),
            Payload::Node => {
                let metric = serde_json::Value::from(metric.as_str());
                Some(format!("{{{{ value_json[{metric}] | default('') }}}}"))
            }
        }
    }

    fn device_class(&self, metric: &Name, unit: &str) -> Option<&'static str> {
        // A share can be anything: a charge, a moisture.
        let is_humidity = || {
            let humidity = self.metrics.by_key("h");
            humidity.is_some_and(|humidity| humidity.name == *metric)
        };
        if unit == "%" && is_humidity() {
            return Some("humidity");
        }
        let mut classes = DEVICE_CLASSES.iter();
        classes.find_map(|(of, class)| (*of == unit).then_some(*class))
    }

    /// The device of a node; `None`: the gateway.
    fn device(&self, node: Option<&Name>) -> Device<'_> {
        let Some(node) = node else {
            return Device {
                identifiers: [self.identifier.clone()],
                name: format!("fieldgate {}", self.gateway),
                manufacturer: MANUFACTURER,
                model: "Gateway",
                sw_version: Some(env!("CARGO_PKG_VERSION")),
                via: None,
            };
        };
        Device {
            identifiers: [format!(
                "{}_{}",
                self.identifier,
                object_id(node.as_str(), false)
            )],
            // Other gateways may have nodes of the same name.
            name: if self.has_name {
                format!("{} {node}", self.gateway)
            } else {
                node.to_string()
            },
            manufacturer: MANUFACTURER,
            model: "Sensor node",
            sw_version: None,
            via: Some(&self.identifier),
        }
    }

    fn announcement(&self, object: &str, sensor: &Sensor<'_>) -> Option<Announcement> {
        let topic = format!("{}/{object}/config", self.prefix);
        let payload = serde_json::to_string(sensor).ok()?;
        (topic.len() + payload.len() <= MAX_BYTES).then_some(Announcement { topic, payload })
    }
}

const ORIGIN: Origin = Origin {
    name: "fieldgate",
    sw_version: env!("CARGO_PKG_VERSION"),
};

/// A text in the characters that discovery topics may have, `[a-zA-Z0-9_-]`, and never the same for
/// two texts: `-` is doubled, and all else becomes `-` with two hexadecimal digits for each byte.
/// Where names follow each other with a `_` between them, only the last one keeps its own.
fn object_id(text: &str, keeps_underscores: bool) -> String {
    let mut id = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'-' => id.push_str("--"),
            b'_' if keeps_underscores => id.push('_'),
            _ if byte.is_ascii_alphanumeric() => id.push(byte.into()),
            _ => {
                // Writing to a `String` cannot fail.
                let _infallible = write!(id, "-{byte:02X}");
            }
        }
    }
    id
}

/// `gas_resistance` as `Gas resistance`.
fn in_words(metric: &str) -> String {
    let mut characters = metric.chars();
    let first = characters.next().into_iter().flat_map(char::to_uppercase);
    let rest = characters.map(|c| if c == '_' { ' ' } else { c });
    first.chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn announcer(gateway: Option<&str>, payload: Payload) -> Announcer {
        let config = HomeAssistant {
            enabled: true,
            discovery_prefix: "homeassistant".to_owned(),
            expire_after: Duration::from_mins(5),
            gateway: gateway.map(str::to_owned),
        };
        let topics = TopicMap::new("iiot/hall", ["signal", "stats"].map(Name::new));
        Announcer::new(&config, topics, payload, Arc::new(MetricTable::default()))
    }

    fn message(announcement: Option<Announcement>) -> (String, Value) {
        let Announcement { topic, payload } = announcement.unwrap();
        (topic, serde_json::from_str(&payload).unwrap())
    }

    #[test]
    fn a_reading_is_a_sensor_of_its_node() {
        let announcer = announcer(Some("green-house"), Payload::Json);
        let announcement = announcer.reading(&"node1".into(), &"temperature".into());
        let version = env!("CARGO_PKG_VERSION");
        let expected = json!({
            "name": "Temperature",
            "unique_id": "fieldgate_green--house_node1_temperature",
            "state_topic": "iiot/hall/node1/temperature",
            "value_template": "{{ value_json.value }}",
            "unit_of_measurement": "°C",
            "device_class": "temperature",
            "state_class": "measurement",
            "expire_after": 300,
            "availability_topic": "iiot/hall/gateway/status",
            "payload_available": "online",
            "payload_not_available": "offline",
            "device": {
                "identifiers": ["fieldgate_green--house_node1"],
                "name": "green-house node1",
                "manufacturer": "fieldgate",
                "model": "Sensor node",
                "via_device": "fieldgate_green--house",
            },
            "origin": { "name": "fieldgate", "sw_version": version },
        });
        let topic = "homeassistant/sensor/green--house/node1_temperature/config";
        assert_eq!(message(announcement), (topic.to_owned(), expected));
    }

    #[test]
    fn what_the_board_says_of_itself_is_of_the_gateway() {
        let announcer = announcer(None, Payload::Plain);
        let (topic, gateway) = message(announcer.gateway());
        assert_eq!(topic, "homeassistant/sensor/iiot-2Fhall/status/config");
        assert_eq!(gateway["device"]["name"], "fieldgate iiot/hall");
        assert_eq!(gateway["options"], json!(["online", "offline"]));
        let (_, count) = message(announcer.reading(&"stats".into(), &"crc_errors".into()));
        assert_eq!(count["device"], gateway["device"]);
        assert_eq!(count["entity_category"], "diagnostic");
        assert_eq!(count["state_class"], "total_increasing");
        for absent in ["unit_of_measurement", "device_class", "value_template"] {
            assert_eq!(count[absent], Value::Null, "{absent}");
        }
        let (_, strange) = message(announcer.reading(&"node7".into(), &"lux".into()));
        assert_eq!(strange["device"]["name"], "node7");
        assert_eq!(strange["state_class"], "measurement");
    }

    #[test]
    fn what_is_too_long_is_not_announced() {
        let announcer = announcer(None, Payload::Plain);
        let long = Name::new(&"\u{10348}".repeat(Name::MAX_CHARS));
        assert_eq!(announcer.reading(&long, &long), None);
    }

    #[test]
    fn only_its_own_topics_are_the_gateways() {
        let announcer = announcer(Some("a"), Payload::Plain);
        assert!(announcer.owns("homeassistant/sensor/a/node1_lux/config"));
        for other in [
            "homeassistant/sensor/ab/node1_lux/config",
            "homeassistant/sensor/a/b/node1_lux/config",
            "homeassistant/sensor/a//config",
            "homeassistant/sensor/a/node1_lux",
        ] {
            assert!(!announcer.owns(other), "{other}");
        }
    }

    proptest! {
        #[test]
        fn no_two_readings_share_a_topic(
            names in proptest::collection::vec(("[aA_ä-]{1,3}", "[aA_ä-]{1,3}", "[aA_ä-]{1,3}"), 2..50),
        ) {
            let mut topics = HashMap::new();
            for (gateway, node, metric) in names {
                let announcer = announcer(Some(&gateway), Payload::Plain);
                let reading = announcer.reading(&node.as_str().into(), &metric.as_str().into());
                let (topic, sensor) = message(reading);
                let levels: Vec<&str> = topic.split('/').collect();
                prop_assert_eq!(levels.len(), 5);
                let is_allowed = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
                prop_assert!(levels[2..4].iter().all(|level| level.chars().all(is_allowed)));
                let unique_id = sensor["unique_id"].as_str().unwrap().to_owned();
                let named = (gateway, node, metric);
                for key in [topic, unique_id] {
                    let other = topics.entry(key).or_insert_with(|| named.clone());
                    prop_assert_eq!(&*other, &named);
                }
            }
        }
    }
}
