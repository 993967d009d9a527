//! Readings to JSON and back: `{"node1":{"temperature":27.6},"signal":{"rssi":-39.0}}`.
//!
//! The order of readings and repeated ones survive: readings that follow each other with the same
//! node share an object, and a key may stand twice. SQLite's `json_each` sees the same.

use std::collections::HashMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::telemetry::{Name, Reading};

/// Writes readings as JSON behind what the buffer holds.
pub(super) fn encode(readings: &[Reading], buffer: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    serde_json::to_writer(buffer, &Nodes(readings))
}

/// Reads them back.
pub(super) fn decode(json: &[u8], names: &mut Names) -> Result<Vec<Reading>, serde_json::Error> {
    let mut readings = Vec::with_capacity(8);
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    deserializer.deserialize_map(NodesVisitor {
        names,
        readings: &mut readings,
    })?;
    deserializer.end()?;
    Ok(readings)
}

struct Nodes<'a>(&'a [Reading]);

impl Serialize for Nodes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for readings in self.0.chunk_by(|a, b| a.node == b.node) {
            map.serialize_entry(&readings[0].node, &Metrics(readings))?;
        }
        map.end()
    }
}

struct Metrics<'a>(&'a [Reading]);

impl Serialize for Metrics<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(
            self.0
                .iter()
                .map(|reading| (&reading.metric, reading.value)),
        )
    }
}

struct NodesVisitor<'a> {
    names: &'a mut Names,
    readings: &'a mut Vec<Reading>,
}

impl<'de> Visitor<'de> for NodesVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of nodes")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(node) = map.next_key_seed(&mut *self.names)? {
            map.next_value_seed(MetricsSeed {
                node,
                names: self.names,
                readings: self.readings,
            })?;
        }
        Ok(())
    }
}

struct MetricsSeed<'a> {
    node: Name,
    names: &'a mut Names,
    readings: &'a mut Vec<Reading>,
}

impl<'de> DeserializeSeed<'de> for MetricsSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for MetricsSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of metrics")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(metric) = map.next_key_seed(&mut *self.names)? {
            let value: f64 = map.next_value()?;
            if !value.is_finite() {
                return Err(A::Error::custom("a value is not finite"));
            }
            self.readings.push(Reading {
                node: self.node.clone(),
                metric,
                value,
            });
        }
        Ok(())
    }
}

/// The names met so far, so that a name that comes again costs no allocation.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<Box<str>, Name>);

impl Names {
    /// Far more than any site has; a stream of made-up names must not grow it for ever.
    const MAX: usize = 4096;

    pub(super) fn name(&mut self, text: &str) -> Name {
        if let Some(name) = self.0.get(text) {
            return name.clone();
        }
        if self.0.len() >= Self::MAX {
            self.0.clear();
        }
        let name = Name::new(text);
        self.0.insert(text.into(), name.clone());
        name
    }
}

impl<'de> DeserializeSeed<'de> for &mut Names {
    type Value = Name;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Name, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for &mut Names {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, text: &str) -> Result<Name, E> {
        Ok(self.name(text))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reading(node: &str, metric: &str, value: f64) -> Reading {
        Reading {
            node: node.into(),
            metric: metric.into(),
            value,
        }
    }

    fn json(readings: &[Reading]) -> String {
        let mut buffer = Vec::new();
        encode(readings, &mut buffer).unwrap();
        String::from_utf8(buffer).unwrap()
    }

    #[test]
    fn readings_of_a_node_share_an_object() {
        let readings = [
            reading("node1", "temperature", 27.6),
            reading("node1", "humidity", 54.1),
            reading("signal", "rssi", -39.0),
        ];
        assert_eq!(
            json(&readings),
            r#"{"node1":{"temperature":27.6,"humidity":54.1},"signal":{"rssi":-39.0}}"#
        );
    }

    #[test]
    fn what_is_no_readings_is_refused() {
        for text in ["", "[]", "{", r#"{"a":1}"#, r#"{"a":{"b":null}}"#, "{}x"] {
            assert!(
                decode(text.as_bytes(), &mut Names::default()).is_err(),
                "{text}"
            );
        }
    }

    #[test]
    fn the_cache_of_names_is_bounded() {
        let mut names = Names::default();
        for i in 0..3 * Names::MAX {
            assert_eq!(names.name(&i.to_string()).as_str(), i.to_string());
        }
        assert!(names.0.len() <= Names::MAX);
    }

    proptest! {
        #[test]
        fn order_repetitions_and_every_bit_of_a_value_survive(
            raw in prop::collection::vec(("[ab\"é ]{1,2}", "[xy\u{7f}{}]{1,2}", any::<f64>()), 0..12)
        ) {
            let readings: Vec<Reading> = raw
                .iter()
                .filter(|(_, _, value)| value.is_finite())
                .map(|(node, metric, value)| reading(node, metric, *value))
                .collect();
            let decoded = decode(json(&readings).as_bytes(), &mut Names::default()).unwrap();
            prop_assert_eq!(decoded.len(), readings.len());
            for (a, b) in decoded.iter().zip(&readings) {
                prop_assert_eq!((&a.node, &a.metric), (&b.node, &b.metric));
                prop_assert_eq!(a.value.to_bits(), b.value.to_bits());
            }
        }
    }
}
