//! Turns a frame into readings.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::catalogue::{Catalogue, Group, Naming, NodeId, SeriesId};
use super::decoded::{Decoded, FrameTime};
use super::format::{Format, Mapper};
use super::non_numbers::without_non_numbers;
use super::{MetricTable, Name, Reading, RejectReason};

/// What a board says of its radio and of itself: the key on the wire, and the name of the node that it
/// stands for.
pub const OWN_FIGURES: [(&str, &str); 2] = [("sig", "signal"), ("sts", "stats")];

/// Keys of values that are left out and are counted by themselves; those of all others as one.
const MAX_LEFT_OUT: usize = 64;

/// Turns frames into readings by a metric table. Remembers names, so that a known one costs no
/// allocation.
#[derive(Debug, Default)]
pub struct Decoder {
    catalogue: Catalogue,
    left_out: BTreeMap<String, LeftOut>,
    /// For formats of fields; `None`: the format `board`.
    mapper: Option<Mapper>,
    /// Whether the last frame had something that only telemetry has.
    met_telemetry: bool,
    /// Where the last frame that was rejected is wrong, as far as it is known.
    fault_at: Option<usize>,
}

/// Values that were left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// How many.
    pub count: u64,
    /// How many of them said that there is no value: `null`, `NaN`, `inf`.
    pub absent: u64,
}

impl Decoder {
    /// A decoder with a metric table and names for nodes, by their key on the wire (`n1`) or their
    /// default name (`node1`).
    pub fn new(table: MetricTable, renamed_nodes: HashMap<String, Name>, format: &Format) -> Self {
        let mapper = Mapper::new(format);
        let naming = if mapper.is_some() {
            Naming::Own
        } else {
            Naming::Wire
        };
        Self {
            catalogue: Catalogue::new(table, renamed_nodes, naming),
            mapper,
            ..Self::default()
        }
    }

    /// Whether a frame that was rejected just now was telemetry before it was damaged, rather than
    /// another object that stands in the stream.
    pub fn met_telemetry(&self) -> bool {
        self.met_telemetry
    }

    /// The place in a frame that was rejected just now at which it is wrong, as far as it is known.
    pub fn fault_at(&self) -> Option<usize> {
        self.fault_at
    }

    /// The names that were met.
    pub fn catalogue(&mut self) -> &mut Catalogue {
        &mut self.catalogue
    }

    /// The values that were left out since this was asked last, by their key: `n1.t`, `temp`.
    pub fn take_left_out(&mut self) -> BTreeMap<String, LeftOut> {
        std::mem::take(&mut self.left_out)
    }

    /// Reads a frame.
    pub fn decode(&mut self, frame: &str) -> Result<Decoded, RejectReason> {
        if let Some(mapper) = &mut self.mapper {
            self.catalogue.begin_frame();
            let decoded = mapper.decode(frame, &mut self.catalogue);
            self.fault_at = decoded.as_ref().err().and_then(|rejection| rejection.at);
            let reason = decoded.as_ref().map_or_else(|it| Some(it.reason), |_| None);
            self.met_telemetry = reason.is_some_and(|it| it != RejectReason::NotTelemetry);
            for (key, is_absent) in mapper.take_left_out() {
                self.leave_out(&key, is_absent);
            }
            return decoded.map_err(|rejection| rejection.reason);
        }
        self.met_telemetry = true;
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
        self.catalogue.begin_frame();
        let mut content = Content::default();
        FrameSeed {
            decoder: self,
            content: &mut content,
        }
        .deserialize(&mut serde_json::Deserializer::from_str(json))?;
        self.met_telemetry = content.time.is_some() || !content.nodes.is_empty();
        let Some(time) = content.time else {
            return Ok(Err(RejectReason::NotTelemetry));
        };
        for (key, is_absent) in &content.left_out {
            self.leave_out(key, *is_absent);
        }
        Ok(match u32::try_from(time) {
            _ if content.repeats => Err(RejectReason::RepeatedKey),
            Err(_) => Err(RejectReason::InvalidTime),
            Ok(_) if content.readings.is_empty() => Err(RejectReason::NoReadings),
            Ok(uptime_ms) => Ok(Decoded {
                time: FrameTime::Uptime(uptime_ms),
                counter: None,
                board: content.board.unwrap_or_default(),
                radio_count: content.radio_count,
                readings: content.readings,
                series: content.series,
                nodes: content.nodes,
                radio_count_at: content.radio_count_at,
            }),
        })
    }

    fn leave_out(&mut self, key: &str, is_absent: bool) {
        let has_room = self.left_out.len() < MAX_LEFT_OUT || self.left_out.contains_key(key);
        let key = if has_room { key } else { "…" };
        let left_out = self.left_out.entry(key.to_owned()).or_default();
        left_out.count += 1;
        left_out.absent += u64::from(is_absent);
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
    board: Option<String>,
    radio_count: Option<u32>,
    radio_count_at: Option<usize>,
    readings: Vec<Reading>,
    series: Vec<Option<SeriesId>>,
    nodes: Vec<NodeId>,
    /// Keys of values that are no readings, and whether they say that there is no value.
    left_out: Vec<(String, bool)>,
    /// Whether a key stands twice in one object.
    repeats: bool,
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
        let content = self.content;
        while let Some(Key(key)) = map.next_key::<Key<'de>>()? {
            match (&*key, Group::of(&key)) {
                ("ts", _) => {
                    let time = match map.next_value_seed(ScalarSeed)? {
                        Scalar::Integer(time) => time,
                        _ => -1,
                    };
                    content.repeats |= content.time.replace(time).is_some();
                }
                ("id", _) => {
                    let board = match map.next_value_seed(ScalarSeed)? {
                        Scalar::Text(board) => board.into_owned(),
                        _ => String::new(),
                    };
                    content.repeats |= content.board.replace(board).is_some();
                }
                (key, Some(group)) => {
                    let catalogue = &mut self.decoder.catalogue;
                    let node = catalogue.node_of_key(key, group);
                    if let Some(node) = node {
                        content.repeats |= !catalogue.decode_node(node);
                        content.nodes.push(node);
                    }
                    map.next_value_seed(ReadingsSeed {
                        catalogue,
                        content: &mut *content,
                        node,
                        key,
                        group,
                    })?;
                }
                (key, None) => {
                    let value = map.next_value_seed(ScalarSeed)?;
                    let is_absent = matches!(value, Scalar::Absent);
                    content.left_out.push((key.to_owned(), is_absent));
                }
            }
        }
        Ok(())
    }
}

struct ReadingsSeed<'a> {
    catalogue: &'a mut Catalogue,
    content: &'a mut Content,
    node: Option<NodeId>,
    key: &'a str,
    group: Group,
}

impl ReadingsSeed<'_> {
    /// A node that is no object carries no readings, and harms nothing else.
    fn leave_out(self, is_absent: bool) {
        self.content.left_out.push((self.key.to_owned(), is_absent));
    }

    fn take(&mut self, key: &str, value: f64, integer: Option<i64>) {
        if self.group == Group::Stats && key == "rx" {
            self.content.radio_count = integer.and_then(|count| u32::try_from(count).ok());
            self.content.radio_count_at = Some(self.content.readings.len());
        }
        let series = self
            .node
            .and_then(|node| self.catalogue.series_of_key(node, key));
        let names = series.and_then(|series| self.catalogue.names(series));
        let (node, metric) = names.unwrap_or_else(|| (Name::new(self.key), Name::new(key)));
        if let Some(series) = series {
            self.content.repeats |= !self.catalogue.decode_series(series);
        }
        self.content.series.push(series);
        self.content.readings.push(Reading {
            node,
            metric,
            value,
        });
    }
}

impl<'de> DeserializeSeed<'de> for ReadingsSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ReadingsSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the readings of a node")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(Key(key)) = map.next_key::<Key<'de>>()? {
            let value = map.next_value_seed(ScalarSeed)?;
            if let Some((value, integer)) = value.number() {
                self.take(&key, value, integer);
            } else {
                let is_absent = matches!(value, Scalar::Absent);
                let key = format!("{}.{key}", self.key);
                self.content.left_out.push((key, is_absent));
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<(), A::Error> {
        self.leave_out(false);
        drain(seq)
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.leave_out(false);
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.leave_out(false);
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        self.leave_out(false);
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.leave_out(false);
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        self.leave_out(false);
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.leave_out(true);
        Ok(())
    }
}

fn drain<'de, A: SeqAccess<'de>>(mut seq: A) -> Result<(), A::Error> {
    while seq.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

/// A value that is no container.
enum Scalar<'de> {
    Integer(i64),
    /// Finite.
    Float(f64),
    Text(Cow<'de, str>),
    /// `null`: there is no value.
    Absent,
    /// A truth value or a container: carries no reading.
    Other,
}

impl Scalar<'_> {
    /// The number that it is, and as a whole number if it is one. A number in quotes is a number.
    fn number(&self) -> Option<(f64, Option<i64>)> {
        match self {
            Self::Integer(integer) => Some((*integer as f64, Some(*integer))),
            Self::Float(value) => Some((*value, None)),
            Self::Text(text) => {
                // As strict as JSON is with those without quotes.
                let number: serde_json::Number = serde_json::from_str(text).ok()?;
                if text.trim() != text {
                    return None;
                }
                Some((number.as_f64()?, number.as_i64()))
            }
            Self::Absent | Self::Other => None,
        }
    }
}

struct ScalarSeed;

impl<'de> DeserializeSeed<'de> for ScalarSeed {
    type Value = Scalar<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Scalar<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ScalarSeed {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_i64<E>(self, value: i64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Scalar<'de>, E> {
        Ok(i64::try_from(value).map_or(Scalar::Float(value as f64), Scalar::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Float(value))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, text: &'de str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Other)
    }

    fn visit_unit<E>(self) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Absent)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Scalar<'de>, A::Error> {
        drain(seq).map(|()| Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }
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
        assert_eq!((decoded.uptime_ms(), decoded.radio_count), (12000, Some(1)));
        assert_eq!(decoded.board, "N2");
    }

    #[test]
    fn what_is_no_number_costs_that_reading_alone() {
        for value in [
            "NaN", "nan", "inf", "-inf", "null", "1e999", "-1e999", "\"warm\"", "true", "[1]", "{}",
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
        assert_eq!(
            decode(r#"{"ts":4294967295,"n1":{"t":1}}"#)
                .unwrap()
                .uptime_ms(),
            u32::MAX
        );
    }

    #[test]
    fn a_number_in_quotes_is_a_number() {
        for (text, value) in [("27.6", 27.6), ("-3", -3.0), ("1e3", 1000.0), ("0", 0.0)] {
            let frame = format!(r#"{{"ts":1,"n1":{{"t":"{text}"}}}}"#);
            assert_eq!(readings(&frame), [("node1/temperature".to_owned(), value)]);
        }
        for text in ["", " 1", "1 ", "0x1f", "1,5", "+1", "NaN", "1e999", "01"] {
            let frame = format!(r#"{{"ts":1,"n1":{{"t":"{text}"}}}}"#);
            assert_eq!(decode(&frame), Err(RejectReason::NoReadings), "{text}");
        }
        let counted = decode(r#"{"ts":1,"sts":{"rx":"17"}}"#).unwrap();
        assert_eq!(counted.radio_count, Some(17));
    }

    #[test]
    fn what_is_left_out_is_counted_by_its_key() {
        let mut decoder = Decoder::default();
        let frame = r#"{"ts":1,"temp":21,"n1":{"t":true,"h":[],"g":1e999,"p":null},"n2":5}"#;
        assert_eq!(decoder.decode(frame), Err(RejectReason::NoReadings));
        let frame = r#"{"ts":2,"temp":21,"n1":{"t":"warm","p":NaN,"h":5},"sig":{"rssi":{}}}"#;
        assert_eq!(decoder.decode(frame).unwrap().readings.len(), 1);
        let left_out = decoder.take_left_out();
        let counts: Vec<_> = left_out
            .iter()
            .map(|(key, it)| (key.as_str(), it.count, it.absent))
            .collect();
        let expected = [
            ("n1.g", 1, 0),
            ("n1.h", 1, 0),
            ("n1.p", 2, 2),
            ("n1.t", 2, 0),
            ("n2", 1, 0),
            ("sig.rssi", 1, 0),
            ("temp", 2, 0),
        ];
        assert_eq!(counts, expected);
        for number in 0..1000 {
            let frame = format!(r#"{{"ts":2,"x{number}":21,"n1":{{"t":1}}}}"#);
            assert!(decoder.decode(&frame).is_ok());
        }
        let left_out = decoder.take_left_out();
        assert_eq!(left_out.len(), MAX_LEFT_OUT + 1);
        assert_eq!(left_out.values().map(|it| it.count).sum::<u64>(), 1000);
    }

    #[test]
    fn a_key_that_stands_twice_is_damage() {
        for frame in [
            r#"{"ts":1,"n1":{"t":1},"n1":{"h":2}}"#,
            r#"{"ts":1,"n1":{"t":1,"t":2}}"#,
            r#"{"ts":1,"ts":2,"n1":{"t":1}}"#,
            r#"{"id":"A","ts":1,"id":"A","n1":{"t":1}}"#,
            r#"{"ts":1,"n1":{"a/b":1,"a+b":2}}"#,
        ] {
            assert_eq!(decode(frame), Err(RejectReason::RepeatedKey), "{frame}");
        }
    }

    #[test]
    fn telemetry_without_readings_is_none() {
        for frame in [
            r#"{"ts":1,"id":"A","temp":21.4}"#,
            r#"{"ts":1,"n2":{}}"#,
            r#"{"ts":1,"n2":{"t":null}}"#,
            r#"{"ts":1}"#,
        ] {
            assert_eq!(decode(frame), Err(RejectReason::NoReadings), "{frame}");
        }
        assert_eq!(readings(r#"{"ts":1,"n2":{},"n1":{"t":1}}"#).len(), 1);
    }

    #[test]
    fn nodes_are_renamed_by_either_name() {
        let names = [("n1", "kitchen"), ("node2", "attic"), ("signal", "radio")];
        let names = names.map(|(key, name)| (key.to_owned(), Name::new(name)));
        let mut decoder = Decoder::new(MetricTable::default(), HashMap::from(names), &Format::Board);
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
