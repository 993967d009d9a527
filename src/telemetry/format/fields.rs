//! What a frame holds, whatever its format: keys with values.

use crate::telemetry::RejectReason;

/// The fields of a frame in its order.
pub(super) type Fields = Vec<(String, Value)>;

/// A value that is no container.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A whole number.
    Integer(i64),
    /// Any other number; finite.
    Number(f64),
    /// `true` or `false`.
    Truth(bool),
    /// Text, which may be a number in quotes.
    Text(String),
    /// Text that is no number whatever it looks like.
    Label(String),
    /// There is no value: `null`, `NaN`.
    Absent,
    /// A list, or what is nested too deeply.
    Other,
}

impl Value {
    /// The number that it is as a reading: truth is 1, a number in quotes is a number.
    pub(super) fn reading(&self) -> Option<f64> {
        match self {
            Self::Truth(truth) => Some(f64::from(u8::from(*truth))),
            value => value.number(),
        }
    }

    /// The number that it is.
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::Integer(integer) => Some(*integer as f64),
            Self::Number(number) => Some(*number),
            // As strict as JSON is with those without quotes.
            Self::Text(text) if text.trim() == text => serde_json::from_str(text).ok(),
            _ => None,
        }
    }

    /// The whole number that it is.
    pub(super) fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(integer) => Some(*integer),
            Self::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// As a part of a name.
    pub(super) fn name(&self) -> Option<String> {
        match self {
            Self::Integer(integer) => Some(integer.to_string()),
            Self::Number(number) => Some(number.to_string()),
            Self::Truth(truth) => Some(truth.to_string()),
            Self::Text(text) | Self::Label(text) => {
                let text = text.trim();
                (!text.is_empty()).then(|| text.to_owned())
            }
            Self::Absent | Self::Other => None,
        }
    }
}

/// A number as boards print it, with fewer rules than JSON has: `22.50`, `.5`, `+3`, `nan`, `ovf`.
pub(super) fn printed(token: &str) -> Option<Value> {
    let word = token.trim_start_matches(['-', '+']);
    let is_absent = ["nan", "inf", "infinity", "ovf"]
        .iter()
        .any(|known| word.eq_ignore_ascii_case(known));
    if is_absent {
        return Some(Value::Absent);
    }
    let is_number =
        |byte: u8| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E');
    if !token.bytes().all(is_number) {
        return None;
    }
    let number: f64 = token.parse().ok()?;
    let is_negative_zero = number == 0.0 && number.is_sign_negative();
    if let Ok(integer) = token.parse()
        && !is_negative_zero
    {
        return Some(Value::Integer(integer));
    }
    Some(if number.is_finite() {
        Value::Number(number)
    } else {
        Value::Other
    })
}

/// Why a frame is none, and where that shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreadable {
    pub(super) reason: RejectReason,
    /// The place in its bytes.
    pub(super) at: Option<usize>,
}

impl Unreadable {
    pub(super) fn at(reason: RejectReason, at: usize) -> Self {
        Self {
            reason,
            at: Some(at),
        }
    }
}

impl From<RejectReason> for Unreadable {
    fn from(reason: RejectReason) -> Self {
        Self { reason, at: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_boards_print_them() {
        for (token, value) in [
            ("22.50", Some(Value::Number(22.5))),
            ("40", Some(Value::Integer(40))),
            ("-.5", Some(Value::Number(-0.5))),
            ("+3", Some(Value::Integer(3))),
            ("-0", Some(Value::Number(-0.0))),
            ("1e3", Some(Value::Number(1000.0))),
            ("nan", Some(Value::Absent)),
            ("-INF", Some(Value::Absent)),
            ("ovf", Some(Value::Absent)),
            ("1e999", Some(Value::Other)),
            ("", None),
            ("-", None),
            ("1.2.3", None),
            ("0x1f", None),
            ("22.5C", None),
        ] {
            assert_eq!(printed(token), value, "{token}");
        }
    }

    #[test]
    fn a_number_in_quotes_is_one_and_a_label_is_none() {
        let text = |text: &str| Value::Text(text.to_owned());
        assert_eq!(text("22.5").reading(), Some(22.5));
        for no in ["", " 22.5", "012", "nan", "12 °C"] {
            assert_eq!(text(no).reading(), None, "{no}");
        }
        assert_eq!(Value::Label("22.5".to_owned()).reading(), None);
        assert_eq!(Value::Truth(true).reading(), Some(1.0));
        assert_eq!(Value::Truth(true).number(), None);
    }
}
