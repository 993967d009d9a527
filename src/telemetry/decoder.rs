//! Turns a frame into readings.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::framer::is_not_finite;
use super::{MetricTable, Name, Reading, RejectReason};

/// What a board says of its radio and of itself: the key on the wire, and the name of the node that it
/// stands for.
pub const OWN_FIGURES: [(&str, &str); 2] = [("sig", "signal"), ("sts", "stats")];

/// How many names are remembered; made-up ones beyond that cost an allocation each.
const MAX_NAMES: usize = 4096;

/// A frame's content, before it has a time.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// Milliseconds since the board booted.
    pub uptime_ms: u32,
    /// The board.
    pub board: String,
    /// Packets that the radio received since the board booted.
    pub radio_count: Option<u32>,
    /// Its readings, in the frame's order.
    pub readings: Vec<Reading>,
    /// Keys of a node that the metric table does not know and that were not met before.
    pub new_keys: Vec<String>,
}

/// Turns frames into readings by a metric table. Remembers names, so that a known one costs no
/// allocation.
#[derive(Debug, Default)]
pub struct Decoder {
    table: MetricTable,
    /// Configured names of nodes, by their key on the wire or their default name.
    renamed_nodes: HashMap<String, Name>,
    nodes: HashMap<String, Name>,
    metrics: [HashMap<String, Name>; 3],
}

/// Where in a frame a reading stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Group {
    Node,
    Signal,
    Stats,
}

impl Group {
    /// `None`: the key is not about readings.
    fn of(key: &str) -> Option<Self> {
        match key.as_bytes() {
            b"sig" => Some(Self::Signal),
            b"sts" => Some(Self::Stats),
            [b'n', digits @ ..] if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => {
                Some(Self::Node)
            }
            _ => None,
        }
    }
}

impl Decoder {
    /// A decoder with a metric table and names for nodes, by their key on the wire (`n1`) or their
    /// default name (`node1`).
    pub fn new(table: MetricTable, renamed_nodes: HashMap<String, Name>) -> Self {
        Self {
            table,
            renamed_nodes,
            ..Self::default()
        }
    }

    /// Reads a frame.
    pub fn decode(&mut self, frame: &str) -> Result<Decoded, RejectReason> {
        match self.read(frame) {
            Ok(decoded) => decoded,
            // No JSON: most likely a float that is no number. Rare, so it may cost a second pass.
            Err(_) => match without_non_numbers(frame) {
                Cow::Owned(json) => self.read(&json).unwrap_or(Err(RejectReason::Syntax)),
                Cow::Borrowed(_) => Err(RejectReason::Syntax),
            },
        }
    }

    fn read(&mut self, json: &str) -> Result<Result<Decoded, RejectReason>, serde_json::Error> {
        let mut content = Content::default();
        FrameSeed {
            decoder: self,
            content: &mut content,
        }
        .deserialize(&mut serde_json::Deserializer::from_str(json))?;
        Ok(match content.time {
            None => Err(RejectReason::NotTelemetry),
            Some(time) => match u32::try_from(time) {
                Err(_) => Err(RejectReason::InvalidTime),
                Ok(uptime_ms) => Ok(Decoded {
                    uptime_ms,
                    board: content.board,
                    radio_count: content.radio_count,
                    readings: content.readings,
                    new_keys: content.new_keys,
                }),
            },
        })
    }

    fn node_name(&mut self, key: &str, group: Group) -> Name {
        if let Some(name) = self.nodes.get(key) {
            return name.clone();
        }
        let default = match group {
            Group::Node => format!("node{}", &key[1..]),
            Group::Signal => OWN_FIGURES[0].1.to_owned(),
            Group::Stats => OWN_FIGURES[1].1.to_owned(),
        };
        let renamed = self
            .renamed_nodes
            .get(key)
            .or_else(|| self.renamed_nodes.get(&default));
        let name = renamed.cloned().unwrap_or_else(|| Name::new(&default));
        if self.nodes.len() < MAX_NAMES {
            self.nodes.insert(key.to_owned(), name.clone());
        }
        name
    }

    fn metric_name(&mut self, key: &str, group: Group, new_keys: &mut Vec<String>) -> Name {
        let names = &mut self.metrics[group as usize];
        if let Some(name) = names.get(key) {
            return name.clone();
        }
        let wire_key = match group {
            Group::Node => Cow::Borrowed(key),
            Group::Signal => Cow::Owned(format!("sig.{key}")),
            Group::Stats => Cow::Owned(format!("sts.{key}")),
        };
        let known = self.table.by_key(&wire_key).map(|info| info.name.clone());
        let is_new = known.is_none() && names.len() < MAX_NAMES;
        let name = known.unwrap_or_else(|| Name::new(key));
        if is_new {
            new_keys.push(wire_key.into_owned());
        }
        if names.len() < MAX_NAMES {
            names.insert(key.to_owned(), name.clone());
        }
        name
    }
}

/// A key as it stands in the frame; a `Cow` by itself is always read into a string of its own.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// What has been read of a frame.
#[derive(Default)]
struct Content {
    /// As it stands there; -1 where it is no whole number.
    time: Option<i64>,
    board: String,
    radio_count: Option<u32>,
    readings: Vec<Reading>,
    new_keys: Vec<String>,
}

struct FrameSeed<'a> {
    decoder: &'a mut Decoder,
    content: &'a mut Content,
}

impl<'de> DeserializeSeed<'de> for FrameSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for FrameSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a telemetry object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Key(key)) = map.next_key::<Key<'de>>()? {
            match (&*key, Group::of(&key)) {
                ("ts", _) => {
                    let time = map.next_value_seed(ScalarSeed)?;
                    self.content.time = Some(match time {
                        Scalar::Integer(time) => time,
                        Scalar::Float(_) | Scalar::Text(_) | Scalar::Other => -1,
                    });
                }
                ("id", _) => {
                    if let Scalar::Text(board) = map.next_value_seed(ScalarSeed)? {
                        self.content.board = board;
                    }
                }
                (key, Some(group)) => {
                    let node = self.decoder.node_name(key, group);
                    map.next_value_seed(ReadingsSeed {
                        decoder: &mut *self.decoder,
                        content: &mut *self.content,
                        node,
                        group,
                    })?;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

struct ReadingsSeed<'a> {
    decoder: &'a mut Decoder,
    content: &'a mut Content,
    node: Name,
    group: Group,
}

impl<'de> DeserializeSeed<'de> for ReadingsSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// A node that is no object carries no readings, and harms nothing else.
impl<'de> Visitor<'de> for ReadingsSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the readings of a node")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Key(key)) = map.next_key::<Key<'de>>()? {
            let (value, integer) = match map.next_value_seed(ScalarSeed)? {
                Scalar::Integer(integer) => (integer as f64, Some(integer)),
                Scalar::Float(value) => (value, None),
                Scalar::Text(_) | Scalar::Other => continue,
            };
            if self.group == Group::Stats && key == "rx" {
                self.content.radio_count = integer.and_then(|count| u32::try_from(count).ok());
            }
            let metric = self
                .decoder
                .metric_name(&key, self.group, &mut self.content.new_keys);
            self.content.readings.push(Reading {
                node: self.node.clone(),
                metric,
                value,
            });
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<(), A::Error> {
        drain(seq)
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

fn drain<'de, A: SeqAccess<'de>>(mut seq: A) -> Result<(), A::Error> {
    while seq.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

/// A value that is no container.
enum Scalar {
    Integer(i64),
    /// Finite.
    Float(f64),
    Text(String),
    /// `null`, a truth value or a container: carries no reading.
    Other,
}

struct ScalarSeed;

impl<'de> DeserializeSeed<'de> for ScalarSeed {
    type Value = Scalar;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Scalar, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ScalarSeed {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_i64<E>(self, value: i64) -> Result<Scalar, E> {
        Ok(Scalar::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Scalar, E> {
        Ok(i64::try_from(value).map_or(Scalar::Float(value as f64), Scalar::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Scalar, E> {
        Ok(Scalar::Float(value))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_unit<E>(self) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Scalar, A::Error> {
        drain(seq).map(|()| Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }
}

/// The frame with `null` in the place of every `NaN`, `inf`, and number beyond the range of `f64`.
/// Borrowed where there is none.
fn without_non_numbers(frame: &str) -> Cow<'_, str> {
    let mut json = String::new();
    let mut copied = 0;
    let mut rest = 0;
    let bytes = frame.as_bytes();
    while rest < bytes.len() {
        match bytes[rest] {
            b'"' => rest = end_of_text(bytes, rest),
            byte if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+') => {
                let length = bytes[rest..]
                    .iter()
                    .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'+' | b'.'))
                    .count();
                let token = &frame[rest..rest + length];
                if is_not_finite(token.as_bytes()) || token.parse().is_ok_and(f64::is_infinite) {
                    json.push_str(&frame[copied..rest]);
                    json.push_str("null");
                    copied = rest + length;
                }
                rest += length;
            }
            _ => rest += 1,
        }
    }
    if copied == 0 {
        return Cow::Borrowed(frame);
    }
    json.push_str(&frame[copied..]);
    Cow::Owned(json)
}

/// The place behind the string that begins at `start`.
fn end_of_text(bytes: &[u8], start: usize) -> usize {
    let mut place = start + 1;
    while place < bytes.len() && bytes[place] != b'"' {
        place += if bytes[place] == b'\\' { 2 } else { 1 };
    }
    place + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(frame: &str) -> Result<Decoded, RejectReason> {
        Decoder::default().decode(frame)
    }

    fn readings(frame: &str) -> Vec<(String, f64)> {
        let text = |reading: &Reading| format!("{}/{}", reading.node, reading.metric);
        decode(frame)
            .unwrap()
            .readings
            .iter()
            .map(|r| (text(r), r.value))
            .collect()
    }

    #[test]
    fn a_packet_of_every_kind_of_reading() {
        let frame = r#"{"ts":12000,"id":"N2","n1":{"t":27.6,"h":54.1,"g":84190},"n12":{"p":1013.25},"sig":{"rssi":-39,"snr":13},"sts":{"rx":1,"err":0}}"#;
        let expected = [
            ("node1/temperature", 27.6),
            ("node1/humidity", 54.1),
            ("node1/gas_resistance", 84190.0),
            ("node12/pressure", 1013.25),
            ("signal/rssi", -39.0),
            ("signal/snr", 13.0),
            ("stats/packets_received", 1.0),
            ("stats/crc_errors", 0.0),
        ];
        assert_eq!(
            readings(frame),
            expected.map(|(name, value)| (name.to_owned(), value))
        );
        let decoded = decode(frame).unwrap();
        assert_eq!((decoded.uptime_ms, decoded.radio_count), (12000, Some(1)));
        assert_eq!(decoded.board, "N2");
        assert!(decoded.new_keys.is_empty());
    }

    #[test]
    fn what_is_no_number_costs_that_reading_alone() {
        for value in [
            "NaN", "nan", "inf", "-inf", "null", "1e999", "-1e999", "\"27\"", "true", "[1]", "{}",
        ] {
            let frame = format!(r#"{{"ts":1,"n1":{{"t":{value},"h":50}},"x":"NaN inf"}}"#);
            assert_eq!(
                readings(&frame),
                [("node1/humidity".to_owned(), 50.0)],
                "{value}"
            );
        }
    }

    #[test]
    fn rejections_have_a_reason() {
        for (frame, reason) in [
            ("{}", RejectReason::NotTelemetry),
            (r#"{"len":37}"#, RejectReason::NotTelemetry),
            (r#"{"ts":-5}"#, RejectReason::InvalidTime),
            (r#"{"ts":4294967296}"#, RejectReason::InvalidTime),
            (r#"{"ts":18446744073709551615}"#, RejectReason::InvalidTime),
            (r#"{"ts":1.5}"#, RejectReason::InvalidTime),
            (r#"{"ts":NaN}"#, RejectReason::InvalidTime),
            (r#"{"ts":"12"}"#, RejectReason::InvalidTime),
            (r#"{"ts":1,"id":"\ud800"}"#, RejectReason::Syntax),
        ] {
            assert_eq!(decode(frame), Err(reason), "{frame}");
        }
        assert_eq!(decode(r#"{"ts":4294967295}"#).unwrap().uptime_ms, u32::MAX);
    }

    #[test]
    fn unknown_keys_pass_and_are_said_once() {
        let mut decoder = Decoder::default();
        let frame = r#"{"ts":1,"v":2,"extra":{"t":1},"n3":{"lux":120},"sig":{"lqi":7}}"#;
        let first = decoder.decode(frame).unwrap();
        assert_eq!(first.new_keys, ["lux", "sig.lqi"]);
        assert_eq!(first.readings.len(), 2);
        assert_eq!(first.readings[0].metric.as_str(), "lux");
        assert!(decoder.decode(frame).unwrap().new_keys.is_empty());
    }

    #[test]
    fn nodes_are_renamed_by_either_name() {
        let names = [("n1", "kitchen"), ("node2", "attic"), ("signal", "radio")];
        let names = names.map(|(key, name)| (key.to_owned(), Name::new(name)));
        let mut decoder = Decoder::new(MetricTable::default(), HashMap::from(names));
        let frame = r#"{"ts":1,"n1":{"t":1},"n2":{"t":2},"n3":{"t":3},"sig":{"snr":4}}"#;
        let decoded = decoder.decode(frame).unwrap();
        let nodes: Vec<_> = decoded.readings.iter().map(|r| r.node.as_str()).collect();
        assert_eq!(nodes, ["kitchen", "attic", "node3", "radio"]);
    }

    #[test]
    fn nesting_as_deep_as_a_frame_can_be_is_survived() {
        let deep = format!(
            r#"{{"ts":1,"x":{}1{},"n1":{{"t":2}}}}"#,
            "[".repeat(2000),
            "]".repeat(2000)
        );
        assert_eq!(decode(&deep).unwrap().readings.len(), 1);
        let deep = format!(
            r#"{{"ts":1,"n1":{{"t":{}1{},"h":2}}}}"#,
            "[".repeat(2000),
            "]".repeat(2000)
        );
        assert_eq!(decode(&deep).unwrap().readings.len(), 1);
    }
}
