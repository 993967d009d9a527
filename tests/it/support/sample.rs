//! What the samples in `tests/data` hold, found out without the gateway's own code.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use super::subscriber::Message;

/// A recording in `tests/data`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sample {
    /// One object a line.
    Clean,
    /// Objects that end with the characters `\` and `n` instead of a line feed.
    LiteralNewline,
    /// What `probe-rs run` prints.
    ProbeRs,
    /// Everything that can go wrong on the way; what must come out of it stands in a file beside it.
    Dirty,
}

/// A reading as it must arrive.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reading {
    /// The board's clock.
    pub(crate) uptime_ms: i64,
    pub(crate) node: String,
    pub(crate) metric: String,
    pub(crate) value: f64,
}

impl Sample {
    /// Where it lies.
    pub(crate) fn path(self) -> PathBuf {
        Self::file(match self {
            Self::Clean => "clean.ndjson",
            Self::LiteralNewline => "literal-newline.txt",
            Self::ProbeRs => "probe-rs.log",
            Self::Dirty => "dirty.bin",
        })
    }

    fn file(name: &str) -> PathBuf {
        [env!("CARGO_MANIFEST_DIR"), "tests/data", name]
            .iter()
            .collect()
    }

    /// All readings in it, in their order.
    pub(crate) fn readings(self) -> Vec<Reading> {
        if self == Self::Dirty {
            let text = std::fs::read_to_string(Self::file("dirty.expected.json")).unwrap();
            let packets: Vec<Value> = serde_json::from_str(&text).unwrap();
            return packets.iter().flat_map(listed_readings).collect();
        }
        let text = std::fs::read_to_string(self.path()).unwrap();
        let objects: Vec<&str> = match self {
            Self::LiteralNewline => text.split_terminator("\\n").collect(),
            Self::ProbeRs => text
                .lines()
                .filter_map(|line| line.split_once("VCP: ")?.1.split_once("\\n ("))
                .map(|(object, _)| object)
                .collect(),
            Self::Clean | Self::Dirty => text.lines().collect(),
        };
        objects.into_iter().flat_map(object_readings).collect()
    }
}

/// The readings of an object on the wire.
fn object_readings(text: &str) -> Vec<Reading> {
    let object: Value = serde_json::from_str(text).unwrap();
    let mut readings = Vec::new();
    for (group, fields) in object.as_object().unwrap() {
        let node = match group.as_str() {
            "ts" | "id" => continue,
            "sig" => "signal".to_owned(),
            "sts" => "stats".to_owned(),
            node => node.replacen('n', "node", 1),
        };
        for (key, value) in fields.as_object().unwrap() {
            let metric = match key.as_str() {
                "t" => "temperature",
                "h" => "humidity",
                "g" => "gas_resistance",
                "p" => "pressure",
                "rx" => "packets_received",
                "err" => "crc_errors",
                same => same,
            };
            readings.push(Reading {
                uptime_ms: object["ts"].as_i64().unwrap(),
                node: node.clone(),
                metric: metric.to_owned(),
                value: value.as_f64().unwrap(),
            });
        }
    }
    readings
}

/// The readings of a packet in the file that lists what must come out.
fn listed_readings(packet: &Value) -> Vec<Reading> {
    let uptime_ms = packet["ts"].as_i64().unwrap();
    let readings = packet["readings"].as_object().unwrap();
    let readings = readings.iter().map(|(name, value)| {
        let (node, metric) = name.split_once('/').unwrap();
        Reading {
            uptime_ms,
            node: node.to_owned(),
            metric: metric.to_owned(),
            value: value.as_f64().unwrap(),
        }
    });
    readings.collect()
}

impl Reading {
    /// What its node is when nothing is renamed: a sensor, or the board that speaks of itself.
    pub(crate) fn is_of_a_sensor(&self) -> bool {
        self.node.starts_with("node")
    }

    /// Its tag `sensor_type`.
    pub(crate) fn sensor_type(&self) -> &'static str {
        match self.metric.as_str() {
            "temperature" | "humidity" | "gas_resistance" => "environmental",
            "pressure" => "barometric",
            "rssi" | "snr" => "radio",
            "packets_received" | "crc_errors" => "counter",
            _ => "other",
        }
    }

    /// The message that it must become.
    pub(crate) fn message(&self, prefix: &str, qos: u8) -> Message {
        Message {
            topic: format!("{prefix}/{}/{}", self.node, self.metric),
            // The shortest text that means the same number.
            payload: self.value.to_string(),
            qos,
            retained: self.is_of_a_sensor(),
        }
    }
}

/// Messages by their topics; those of one topic stay in their order.
pub(crate) fn by_topic(
    messages: impl IntoIterator<Item = Message>,
) -> BTreeMap<String, Vec<Message>> {
    let mut topics = BTreeMap::<String, Vec<Message>>::new();
    for message in messages {
        topics
            .entry(message.topic.clone())
            .or_default()
            .push(message);
    }
    topics
}
