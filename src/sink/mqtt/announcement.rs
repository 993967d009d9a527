//! How a reading is announced to Home Assistant: as a sensor of a device, by [MQTT discovery][spec].
//! Pure.
//!
//! [spec]: https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use serde::Serialize;

use super::device_class;
use super::identities::Identities;
use super::message::TopicMap;
use crate::config::{HomeAssistant, Payload};
use crate::telemetry::{Choice, DeviceClass, MetricInfo, MetricTable, Name};

/// Who makes these devices, as Home Assistant shows it.
const MANUFACTURER: &str = "fieldgate";

/// The sensor that shows whether the gateway is there. Those of readings have a `_` in their names.
const STATUS: &str = "status";

/// The one that shows whether something is wrong.
const PROBLEMS: &str = "problems";

const ONLINE: &str = "online";
const OFFLINE: &str = "offline";

/// Bytes of a message: brokers need not take longer ones.
const MAX_BYTES: usize = 10_000;

/// The sensor type of what only ever grows until it starts again.
const COUNTER: &str = "counter";

/// The kind of entity that a reading is, and the one that the gateway's status is.
const SENSOR: &str = "sensor";
const BINARY_SENSOR: &str = "binary_sensor";

/// Parts of names that are no words.
const ABBREVIATIONS: [(&str, &str); 9] = [
    ("rssi", "RSSI"),
    ("snr", "SNR"),
    ("crc", "CRC"),
    ("co", "CO"),
    ("co2", "CO2"),
    ("voc", "VOC"),
    ("tvoc", "TVOC"),
    ("uv", "UV"),
    ("ph", "pH"),
];

/// A metric of a node that Home Assistant may have been told of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KnownMetric {
    /// The source of the node.
    pub source: Name,
    /// Its node.
    pub node: Name,
    /// Its name.
    pub metric: Name,
    /// Whether the gateway still has the source.
    pub is_there: bool,
}

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
    /// The first level or levels of all topics.
    prefix: String,
    /// The gateway as a level of them.
    id: String,
    /// The gateway as it is shown: its name or, without one, its topic prefix.
    gateway: String,
    has_name: bool,
    /// Begins the identifiers of everything.
    identifier: String,
    topics: TopicMap,
    metrics: Arc<MetricTable>,
    identities: Identities,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    suggested_display_precision: Option<u8>,
    #[serde(flatten)]
    states: Option<States>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entity_category: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expire_after: Option<u64>,
    #[serde(flatten)]
    availability: Option<Availability>,
    device: Device<'a>,
    origin: Origin,
}

/// What a binary sensor's states are called.
#[derive(Serialize)]
struct States {
    payload_on: &'static str,
    payload_off: &'static str,
}

/// The message of the sensor that shows whether something is wrong.
#[derive(Serialize)]
struct ProblemSensor<'a> {
    name: &'static str,
    unique_id: String,
    state_topic: String,
    value_template: &'static str,
    json_attributes_topic: String,
    json_attributes_template: &'static str,
    device_class: &'static str,
    entity_category: &'static str,
    #[serde(flatten)]
    availability: Availability,
    device: Device<'a>,
    origin: Origin,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Availability {
    /// The gateway's.
    One {
        #[serde(rename = "availability_topic")]
        topic: String,
        payload_available: &'static str,
        payload_not_available: &'static str,
    },
    /// The gateway's and the node's; both must be online, as what is written out says.
    All {
        availability: [AvailabilityTopic; 2],
        availability_mode: &'static str,
    },
}

#[derive(Serialize)]
struct AvailabilityTopic {
    topic: String,
    payload_available: &'static str,
    payload_not_available: &'static str,
}

impl AvailabilityTopic {
    fn new(topic: String) -> Self {
        Self {
            topic,
            payload_available: ONLINE,
            payload_not_available: OFFLINE,
        }
    }
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
        identities: Identities,
    ) -> Self {
        let gateway = config.gateway.as_deref().unwrap_or_else(|| topics.prefix());
        let id = object_id(gateway, false);
        Self {
            prefix: config.discovery_prefix.clone(),
            gateway: gateway.to_owned(),
            has_name: config.gateway.is_some(),
            identifier: format!("fieldgate_{id}"),
            id,
            topics,
            metrics,
            identities,
            payload,
            expire_after: Some(config.expire_after.as_secs()).filter(|seconds| *seconds > 0),
        }
    }

    /// Whether nodes of each source are announced for themselves: names alone do not say of which.
    pub(super) fn tells_sources(&self) -> bool {
        self.topics.tells_sources()
    }

    /// What fits all topics on which this gateway announces anything.
    pub(super) fn filter(&self) -> String {
        format!("{}/+/{}/+/config", self.prefix, self.id)
    }

    /// Where Home Assistant says that it has started.
    pub(super) fn birth_topic(&self) -> String {
        format!("{}/status", self.prefix)
    }

    /// Whether this gateway announces on that topic.
    pub(super) fn owns(&self, topic: &str) -> bool {
        let rest = topic.strip_prefix(&self.prefix);
        let rest = rest.and_then(|rest| rest.strip_prefix('/')?.strip_suffix("/config"));
        let levels: Option<Vec<&str>> = rest.map(|rest| rest.split('/').collect());
        matches!(levels.as_deref(), Some([SENSOR | BINARY_SENSOR, id, object])
            if *id == self.id && !object.is_empty())
    }

    /// Announces the gateway itself, with whether it is online. The devices of nodes hang on it, so
    /// that it must be first.
    pub(super) fn gateway(&self) -> Option<Announcement> {
        self.announcement(
            BINARY_SENSOR,
            STATUS,
            &Sensor {
                name: "Status".to_owned(),
                unique_id: format!("{}_{STATUS}", self.identifier),
                state_topic: self.topics.status_topic(),
                value_template: None,
                unit_of_measurement: None,
                device_class: Some("connectivity"),
                state_class: None,
                suggested_display_precision: None,
                states: Some(States {
                    payload_on: ONLINE,
                    payload_off: OFFLINE,
                }),
                entity_category: Some("diagnostic"),
                expire_after: None,
                // It is there to be seen when the gateway is away.
                availability: None,
                device: self.device(None),
                origin: ORIGIN,
            },
        )
    }

    /// Announces that the gateway says what is wrong.
    pub(super) fn problems(&self) -> Option<Announcement> {
        let sensor = ProblemSensor {
            name: "Problems",
            unique_id: format!("{}_{PROBLEMS}", self.identifier),
            state_topic: self.topics.problems_topic(),
            value_template: "{{ 'ON' if value_json | count > 0 else 'OFF' }}",
            json_attributes_topic: self.topics.problems_topic(),
            json_attributes_template: "{{ {'problems': value_json} | tojson }}",
            device_class: "problem",
            entity_category: "diagnostic",
            availability: self.availability(None),
            device: self.device(None),
            origin: ORIGIN,
        };
        let payload = serde_json::to_string(&sensor).ok()?;
        Some(Announcement {
            topic: self.topic(BINARY_SENSOR, PROBLEMS),
            payload,
        })
    }

    /// The topics on which these metrics may have been announced before and nothing is announced any more.
    /// Earlier versions went by the names of then, topics may have told sources and do so no more or the
    /// other way round, and some are not chosen or of a source that has gone.
    pub(super) fn former_topics(&self, names: &[KnownMetric], choice: &Choice) -> BTreeSet<String> {
        let mut former = BTreeSet::from([STATUS.to_owned()]);
        let mut present = BTreeSet::new();
        for it in names {
            let (node, metric) = (&it.node, &it.metric);
            let by_name = format!(
                "{}_{}",
                object_id(node.as_str(), false),
                object_id(metric.as_str(), true)
            );
            let by_key = self.object(None, node, metric);
            let of_source = self.object(Some(&it.source), node, metric);
            let (now, is_there) = if self.tells_sources() {
                (&of_source, it.is_there)
            } else {
                // Another source may have the node since.
                (&by_key, true)
            };
            if is_there && choice.takes(node.as_str(), metric.as_str()) {
                present.insert(now.clone());
            }
            former.extend([by_name, by_key, of_source]);
        }
        let former = former.difference(&present);
        former.map(|object| self.topic(SENSOR, object)).collect()
    }

    /// Announces a metric of a node. `None`: its names are too long to be announced.
    pub(super) fn reading(
        &self,
        source: &Name,
        node: &Name,
        metric: &Name,
    ) -> Option<Announcement> {
        let info = self.metrics.by_name(metric);
        let is_counter = info.is_some_and(|info| info.sensor_type == COUNTER);
        let unit = info.map(|info| &*info.unit);
        // Home Assistant counts without a unit.
        let unit = unit.filter(|unit| !unit.is_empty() && *unit != "1");
        let is_of_board = self.topics.is_of_board(node);
        let source_of_node = self.topics.tells_sources().then_some(source);
        let object = self.object(source_of_node, node, metric);
        let device_class = if is_counter {
            None
        } else {
            self.device_class(node, metric, info, unit)
        };
        self.announcement(
            SENSOR,
            &object,
            &Sensor {
                name: in_words(metric.as_str()),
                unique_id: format!("{}_{object}", self.identifier),
                state_topic: self.topics.topic_of(source, node, metric),
                value_template: self.value_template(metric),
                unit_of_measurement: unit,
                device_class: device_class.map(DeviceClass::name),
                state_class: Some(if is_counter {
                    "total_increasing"
                } else if device_class.is_some_and(DeviceClass::is_amount) {
                    "total"
                } else {
                    "measurement"
                }),
                suggested_display_precision: info.and_then(|info| info.precision),
                states: None,
                entity_category: is_of_board.then_some("diagnostic"),
                expire_after: self.expire_after,
                availability: Some(
                    self.availability((!is_of_board).then(|| self.topics.full_name(source, node))),
                ),
                device: self.device((!is_of_board).then_some((source_of_node, node))),
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

    /// When a sensor is available: while the gateway is there, and the node that it is of. A node that is
    /// away stays away, also when Home Assistant is started anew and finds a retained value.
    fn availability(&self, node: Option<Name>) -> Availability {
        let gateway = self.topics.status_topic();
        match node.filter(|_| self.topics.has_node_status()) {
            Some(node) => {
                let node = self.topics.status_of_node(node.as_str());
                Availability::All {
                    availability: [gateway, node].map(AvailabilityTopic::new),
                    availability_mode: "all",
                }
            }
            None => Availability::One {
                topic: gateway,
                payload_available: ONLINE,
                payload_not_available: OFFLINE,
            },
        }
    }

    /// What tells a reading from all others of the gateway.
    fn object(&self, source: Option<&Name>, node: &Name, metric: &Name) -> String {
        let metric = self.identities.metric(node, metric);
        format!("{}_{}", self.node_id(source, node), object_id(metric, true))
    }

    /// A node among those of all sources, in the characters that discovery topics may have.
    fn node_id(&self, source: Option<&Name>, node: &Name) -> String {
        let node = object_id(self.identities.node(node), false);
        source.map_or_else(
            || node.clone(),
            |source| format!("{}_{node}", object_id(source.as_str(), false)),
        )
    }

    /// As configured, or by the metric's key and unit, or by its name.
    fn device_class(
        &self,
        node: &Name,
        metric: &Name,
        info: Option<&MetricInfo>,
        unit: Option<&str>,
    ) -> Option<DeviceClass> {
        let configured = info.and_then(|info| info.device_class);
        let of_unit = |unit| {
            let by_key = device_class::of(self.identities.metric(node, metric), unit);
            by_key.or_else(|| device_class::of(metric.as_str(), unit))
        };
        configured.or_else(|| of_unit(unit?))
    }

    /// The device of a node; `None`: the gateway.
    fn device(&self, node: Option<(Option<&Name>, &Name)>) -> Device<'_> {
        let Some((source, node)) = node else {
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
                self.node_id(source, node)
            )],
            // Other gateways and sources may have nodes of the same name.
            name: {
                let gateway = self.has_name.then_some(self.gateway.as_str());
                let names = [gateway, source.map(Name::as_str), Some(node.as_str())];
                names.into_iter().flatten().collect::<Vec<_>>().join(" ")
            },
            manufacturer: MANUFACTURER,
            model: "Sensor node",
            sw_version: None,
            via: Some(&self.identifier),
        }
    }

    fn topic(&self, component: &str, object: &str) -> String {
        format!("{}/{component}/{}/{object}/config", self.prefix, self.id)
    }

    fn announcement(
        &self,
        component: &str,
        object: &str,
        sensor: &Sensor<'_>,
    ) -> Option<Announcement> {
        let topic = self.topic(component, object);
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

/// `gas_resistance` as `Gas resistance`, `crc_errors` as `CRC errors`, `pm2_5` as `PM2.5`.
fn in_words(metric: &str) -> String {
    if metric == "pm2_5" {
        return "PM2.5".to_owned();
    }
    let mut words = String::with_capacity(metric.len());
    for (number, word) in metric.split('_').enumerate() {
        let abbreviation = ABBREVIATIONS.iter().find(|(it, _)| *it == word);
        if number > 0 {
            words.push(' ');
        }
        match abbreviation {
            Some((_, capitals)) => words.push_str(capitals),
            None if number == 0 => {
                let mut characters = word.chars();
                words.extend(characters.next().into_iter().flat_map(char::to_uppercase));
                words.push_str(characters.as_str());
            }
            None => words.push_str(word),
        }
    }
    words
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
        let topics = topics.with_node_status(true);
        let metrics = Arc::new(MetricTable::default());
        let identities = Identities::default();
        Announcer::new(&config, topics, payload, metrics, identities)
    }

    fn message(announcement: Option<Announcement>) -> (String, Value) {
        let Announcement { topic, payload } = announcement.unwrap();
        (topic, serde_json::from_str(&payload).unwrap())
    }

    #[test]
    fn a_reading_is_a_sensor_of_its_node() {
        let announcer = announcer(Some("green-house"), Payload::Json);
        let announcement =
            announcer.reading(&"source".into(), &"node1".into(), &"temperature".into());
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
            "availability": [
                {
                    "topic": "iiot/hall/gateway/status",
                    "payload_available": "online",
                    "payload_not_available": "offline",
                },
                {
                    "topic": "iiot/hall/node1/status",
                    "payload_available": "online",
                    "payload_not_available": "offline",
                },
            ],
            "availability_mode": "all",
            "device": {
                "identifiers": ["fieldgate_green--house_node1"],
                "name": "green-house node1",
                "manufacturer": "fieldgate",
                "model": "Sensor node",
                "via_device": "fieldgate_green--house",
            },
            "origin": {
                "name": "fieldgate",
                "sw_version": version,
            },
        });
        let topic = "homeassistant/sensor/green--house/node1_temperature/config";
        assert_eq!(message(announcement), (topic.to_owned(), expected));
    }

    #[test]
    fn what_the_board_says_of_itself_is_of_the_gateway() {
        let announcer = announcer(None, Payload::Plain);
        let (topic, gateway) = message(announcer.gateway());
        assert_eq!(
            topic,
            "homeassistant/binary_sensor/iiot-2Fhall/status/config"
        );
        assert_eq!(gateway["device"]["name"], "fieldgate iiot/hall");
        assert_eq!(gateway["device_class"], "connectivity");
        assert_eq!(gateway["payload_on"], "online");
        assert!(announcer.owns(&topic));
        let (_, count) =
            message(announcer.reading(&"source".into(), &"stats".into(), &"crc_errors".into()));
        assert_eq!(count["device"], gateway["device"]);
        assert_eq!(count["name"], "CRC errors");
        assert_eq!(count["entity_category"], "diagnostic");
        assert_eq!(count["state_class"], "total_increasing");
        assert_eq!(count["availability_topic"], "iiot/hall/gateway/status");
        for absent in ["unit_of_measurement", "device_class", "value_template"] {
            assert_eq!(count[absent], Value::Null, "{absent}");
        }
        let (_, strange) =
            message(announcer.reading(&"source".into(), &"node7".into(), &"lux".into()));
        assert_eq!(strange["device"]["name"], "node7");
        assert_eq!(strange["state_class"], "measurement");
    }

    #[test]
    fn a_metric_is_what_the_configuration_says() {
        let mut metrics = MetricTable::default();
        let info = |name: &str, unit: &str, class: Option<&str>| MetricInfo {
            name: name.into(),
            unit: unit.to_owned(),
            device_class: class.and_then(DeviceClass::of_name),
            precision: class.map(|_| 1),
            ..MetricInfo::unknown("")
        };
        metrics.set("vbat", info("supply", "V", None));
        metrics.set("wh", info("energy", "kWh", None));
        metrics.set("x", info("soil", "%", Some("moisture")));
        metrics.set("h", info("air", "%", None));
        let metrics = Arc::new(metrics);
        let mut announcer = announcer(None, Payload::Plain);
        announcer.identities = Identities::new(&HashMap::new(), &metrics);
        announcer.metrics = metrics;
        for (name, object, class, state_class, precision) in [
            ("supply", "vbat", "voltage", "measurement", Value::Null),
            ("energy", "wh", "energy", "total", Value::Null),
            ("soil", "x", "moisture", "measurement", json!(1)),
            ("air", "humidity", "humidity", "measurement", Value::Null),
        ] {
            let (topic, sensor) =
                message(announcer.reading(&"source".into(), &"node1".into(), &name.into()));
            assert!(
                topic.ends_with(&format!("/node1_{object}/config")),
                "{topic}"
            );
            assert_eq!(sensor["device_class"], class, "{name}");
            assert_eq!(sensor["state_class"], state_class, "{name}");
            assert_eq!(sensor["suggested_display_precision"], precision, "{name}");
        }
    }

    #[test]
    fn what_went_by_a_name_is_given_up_where_nothing_goes_by_it() {
        let mut announcer = announcer(Some("a"), Payload::Plain);
        let nodes = [("n1", "node2"), ("n2", "attic")];
        let nodes = nodes.map(|(key, name)| (key.to_owned(), Name::new(name)));
        announcer.identities = Identities::new(&nodes.into_iter().collect(), &announcer.metrics);
        let metric = |source: &str, node: &str| KnownMetric {
            source: source.into(),
            node: node.into(),
            metric: "lux".into(),
            is_there: source != "gone",
        };
        let names = [
            ("s", "node2"),
            ("s", "attic"),
            ("s", "node3"),
            ("gone", "node4"),
        ];
        let names = names.map(|(source, node)| metric(source, node));
        let all = Choice::default();
        let some = Choice::new(Vec::new(), vec!["node3/*".parse().unwrap()]);
        let of_source = ["s_node1_lux", "s_node2_lux", "s_node3_lux"];
        let without = ["attic_lux", "node1_lux", "node2_lux", "node3_lux"];
        for (prefix, choice, present) in [
            (
                "iiot",
                &all,
                &["node1_lux", "node2_lux", "node3_lux", "node4_lux"][..],
            ),
            ("iiot", &some, &["node1_lux", "node2_lux", "node4_lux"]),
            ("iiot/{source}", &all, &of_source),
            ("iiot/{source}", &some, &of_source[..2]),
        ] {
            announcer.topics = TopicMap::new(prefix, []);
            let expected = [
                &without[..],
                &of_source,
                &["gone_node4_lux", "node4_lux", "status"],
            ];
            let mut expected = expected.concat();
            expected.retain(|object| !present.contains(object));
            let former = announcer.former_topics(&names, choice);
            assert!(former.iter().all(|topic| announcer.owns(topic)));
            let expected: BTreeSet<_> = expected
                .iter()
                .map(|object| format!("homeassistant/sensor/a/{object}/config"))
                .collect();
            assert_eq!(former, expected, "{prefix}");
        }
    }

    #[test]
    fn names_are_words_and_abbreviations() {
        for (metric, words) in [
            ("gas_resistance", "Gas resistance"),
            ("crc_errors", "CRC errors"),
            ("rssi", "RSSI"),
            ("co2", "CO2"),
            ("pm2_5", "PM2.5"),
            ("soil_ph", "Soil pH"),
            ("count", "Count"),
        ] {
            assert_eq!(in_words(metric), words);
        }
    }

    #[test]
    fn what_is_too_long_is_not_announced() {
        let announcer = announcer(None, Payload::Plain);
        let long = Name::new(&"\u{10348}".repeat(Name::MAX_CHARS));
        assert_eq!(announcer.reading(&"source".into(), &long, &long), None);
    }

    #[test]
    fn only_its_own_topics_are_the_gateways() {
        let announcer = announcer(Some("a"), Payload::Plain);
        assert!(announcer.owns("homeassistant/sensor/a/node1_lux/config"));
        for other in [
            "homeassistant/sensor/ab/node1_lux/config",
            "homeassistant/sensor/a/b/node1_lux/config",
            "homeassistant/sensor/a//config",
            "homeassistant/device/a/node1_lux/config",
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
                let reading = announcer.reading(&"source".into(), &node.as_str().into(), &metric.as_str().into());
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
