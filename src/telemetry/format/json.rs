//! Any JSON object: inner objects are flattened, their keys joined by `_`.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::fields::{Fields, Unreadable, Value};
use crate::telemetry::RejectReason;
use crate::telemetry::non_numbers::without_non_numbers;

/// Objects within objects; what is deeper is no reading.
const DEEPEST: usize = 8;

/// What serde is told when a key stands twice; no error of its own begins so.
const TWICE: &str = "a key stands twice";

/// Reads a frame.
pub(super) fn read(frame: &str) -> Result<Fields, Unreadable> {
    let error = match flatten(frame) {
        Ok(fields) => return Ok(fields),
        Err(error) => error,
    };
    if error.to_string().starts_with(TWICE) {
        return Err(RejectReason::RepeatedKey.into());
    }
    // No JSON: most likely a float that is no number. Rare, so it may cost a second pass.
    let json = without_non_numbers(frame);
    flatten(&json).map_err(|error| {
        if error.to_string().starts_with(TWICE) {
            RejectReason::RepeatedKey.into()
        } else {
            Unreadable::from(RejectReason::Syntax)
        }
    })
}

fn flatten(json: &str) -> Result<Fields, serde_json::Error> {
    let mut fields = Fields::new();
    let object = Object {
        prefix: "",
        depth: 0,
        fields: &mut fields,
    };
    object.deserialize(&mut serde_json::Deserializer::from_str(json))?;
    Ok(fields)
}

/// An object, whose fields go among those of the frame.
struct Object<'a> {
    prefix: &'a str,
    depth: usize,
    fields: &'a mut Fields,
}

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut keys: Vec<String> = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            if keys.contains(&key) {
                return Err(A::Error::custom(TWICE));
            }
            let path = if self.prefix.is_empty() {
                key.clone()
            } else {
                format!("{}_{key}", self.prefix)
            };
            keys.push(key);
            map.next_value_seed(Field {
                path: &path,
                depth: self.depth + 1,
                fields: &mut *self.fields,
            })?;
        }
        Ok(())
    }
}

/// The value of a key.
struct Field<'a> {
    path: &'a str,
    depth: usize,
    fields: &'a mut Fields,
}

impl Field<'_> {
    fn put(self, value: Value) {
        self.fields.push((self.path.to_owned(), value));
    }
}

impl<'de> DeserializeSeed<'de> for Field<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Field<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, truth: bool) -> Result<(), E> {
        self.put(Value::Truth(truth));
        Ok(())
    }

    fn visit_i64<E>(self, integer: i64) -> Result<(), E> {
        self.put(Value::Integer(integer));
        Ok(())
    }

    fn visit_u64<E>(self, integer: u64) -> Result<(), E> {
        self.put(i64::try_from(integer).map_or(Value::Number(integer as f64), Value::Integer));
        Ok(())
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        self.put(Value::Number(number));
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.put(Value::Text(text.to_owned()));
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.put(Value::Absent);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        self.put(Value::Other);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        if self.depth >= DEEPEST {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            self.put(Value::Other);
            return Ok(());
        }
        let object = Object {
            prefix: self.path,
            depth: self.depth,
            fields: self.fields,
        };
        object.visit_map(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(frame: &str) -> Vec<(String, Value)> {
        read(frame).unwrap()
    }

    #[test]
    fn inner_objects_are_flattened() {
        let frame =
            r#"{"id":"a","air":{"t":22.5,"in":{"h":40}},"on":true,"x":null,"l":[1,{"y":2}]}"#;
        let expected = [
            ("id", Value::Text("a".to_owned())),
            ("air_t", Value::Number(22.5)),
            ("air_in_h", Value::Integer(40)),
            ("on", Value::Truth(true)),
            ("x", Value::Absent),
            ("l", Value::Other),
        ];
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect();
        assert_eq!(fields(frame), expected);
    }

    #[test]
    fn floats_that_are_no_numbers_have_no_value() {
        assert_eq!(
            fields(r#"{"a":NaN,"b":-inf,"c":1e999,"d":"NaN"}"#)
                .into_iter()
                .map(|(_, value)| value)
                .collect::<Vec<_>>(),
            [
                Value::Absent,
                Value::Absent,
                Value::Other,
                Value::Text("NaN".to_owned())
            ]
        );
    }

    #[test]
    fn a_key_that_stands_twice_in_an_object_is_damage() {
        for frame in [
            r#"{"a":1,"a":2}"#,
            r#"{"x":{"a":1,"a":NaN}}"#,
            r#"{"x":{"a":1},"x":{"b":2}}"#,
        ] {
            assert_eq!(
                read(frame),
                Err(RejectReason::RepeatedKey.into()),
                "{frame}"
            );
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = format!("{}{}{}", "{\"a\":".repeat(600), 1, "}".repeat(600));
        let read = fields(&deep);
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].1, Value::Other);
        assert_eq!(read[0].0, ["a"; DEEPEST].join("_"));
    }
}
