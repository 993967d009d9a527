//! What a packet carries: readings with a node, a metric and a value.

use std::fmt;
use std::sync::Arc;

/// A node or metric name that is safe in every place it ends up in: an MQTT topic level, an Influx
/// measurement or tag, a SQL query, a terminal.
///
/// Telemetry is not to be trusted: a flipped byte can put `#`, `/` or a control character into a
/// key. Such characters are replaced by `_` here, once, so that nobody after this has to care.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<str>);

impl Name {
    /// The longest name kept, in characters; the rest is cut off.
    pub const MAX_CHARS: usize = 128;

    /// Makes a safe name out of any text. An empty text becomes `_`.
    pub fn new(text: &str) -> Self {
        if is_safe(text) {
            return Self(text.into());
        }
        let safe: String = text
            .chars()
            .take(Self::MAX_CHARS)
            .map(|c| if is_safe_char(c) { c } else { '_' })
            .collect();
        Self(if safe.is_empty() {
            "_".into()
        } else {
            safe.into()
        })
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a text can be a [`Name`] without any change.
pub fn is_safe(text: &str) -> bool {
    !text.is_empty() && text.len() <= Name::MAX_CHARS && text.chars().all(is_safe_char)
}

fn is_safe_char(c: char) -> bool {
    is_mqtt_char(c)
        && !matches!(
            c,
            '/' | '+' | '#' | '\\' | '\u{feff}' | '\u{2028}' | '\u{2029}'
        )
}

/// Whether a character may stand in a text of MQTT. Over U+0000 a broker has to end the connection, and
/// over the other control characters and Unicode's 66 noncharacters it may ([MQTT-1.5.3]).
pub fn is_mqtt_char(c: char) -> bool {
    let is_noncharacter = matches!(c, '\u{fdd0}'..='\u{fdef}') || u32::from(c) & 0xfffe == 0xfffe;
    !c.is_control() && !is_noncharacter
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl serde::Serialize for Name {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Name {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<'de, str>::deserialize(deserializer).map(|text| Self::new(&text))
    }
}

/// One measured value: `node1 temperature 27.6`. Its time is the packet's; its unit and sensor type
/// are the metric table's.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Which node measured it, or `signal` and `stats` for the gateway board's own figures.
    pub node: Name,
    /// What was measured.
    pub metric: Name,
    /// The value in the metric's unit; always finite.
    pub value: f64,
}

/// Prints a value in its shortest exact form, as it goes into MQTT payloads and line protocol:
/// `27.6`, `84190`, `-39`, and `1e300` where writing out the zeros would be longer.
pub struct ShortestValue(pub f64);

impl fmt::Display for ShortestValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.0.abs();
        if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
            write!(f, "{:e}", self.0)
        } else {
            write!(f, "{}", self.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_print_shortest_and_exact() {
        for (value, text) in [
            (27.6, "27.6"),
            (84190.0, "84190"),
            (-39.0, "-39"),
            (1013.25, "1013.25"),
            (0.0, "0"),
            (0.1 + 0.2, "0.30000000000000004"),
            (f64::from(27.6_f32), "27.600000381469727"),
            (1e300, "1e300"),
            (1.5e-10, "1.5e-10"),
            (f64::MAX, "1.7976931348623157e308"),
        ] {
            let printed = ShortestValue(value).to_string();
            assert_eq!(printed, text);
            assert_eq!(printed.parse::<f64>().unwrap().to_bits(), value.to_bits());
        }
    }

    #[test]
    fn names_lose_what_would_break_a_topic_or_a_line() {
        assert_eq!(Name::new("temperature").as_str(), "temperature");
        assert_eq!(Name::new("a/b+c#d\n\\").as_str(), "a_b_c_d__");
        assert_eq!(Name::new("").as_str(), "_");
        assert_eq!(Name::new(&"x".repeat(4000)).as_str().len(), Name::MAX_CHARS);
        assert_eq!(Name::new("Küche 1").as_str(), "Küche 1");
    }

    #[test]
    fn names_lose_what_mqtt_does_not_allow() {
        let controls = (0..0x20).chain(0x7f..0xa0);
        let ends = (0..=0x10).flat_map(|plane| [plane << 16 | 0xfffe, plane << 16 | 0xffff]);
        let forbidden: Vec<char> = controls
            .chain(0xfdd0..=0xfdef)
            .chain(ends)
            .map(|code| char::from_u32(code).unwrap())
            .collect();
        assert_eq!(forbidden.len(), 65 + 66);
        for c in forbidden {
            assert!(!is_mqtt_char(c), "{c:?}");
            assert_eq!(Name::new(&format!("a{c}b")).as_str(), "a_b", "{c:?}");
        }
        for c in ['\u{fdcf}', '\u{fdf0}', '\u{fffd}', '\u{10000}', '\u{1f600}'] {
            assert_eq!(Name::new(&c.to_string()).as_str(), c.to_string());
        }
    }
}
