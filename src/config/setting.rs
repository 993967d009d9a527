//! What was written somewhere, before anything is known about its meaning.

use std::collections::BTreeMap;
use std::fmt;

use super::error::{Place, printable};

/// Settings by their names.
pub(super) type Table = BTreeMap<String, Setting>;

/// A value, where it was written, and how.
#[derive(Clone)]
pub(super) struct Setting {
    pub(super) place: Place,
    /// As it was written, fit to be printed unless the key is a secret.
    pub(super) found: String,
    pub(super) value: Value,
}

/// What was written.
#[derive(Clone)]
pub(super) enum Value {
    /// Text of an environment variable or a flag: the key decides what it is.
    Untyped(String),
    Text(String),
    Integer(i128),
    Float(f64),
    Boolean(bool),
    List(Vec<Value>),
    Table(Table),
    /// Several sections of one name, each a table.
    Tables(Vec<Setting>),
    /// What no key takes: a date or time, bytes that are no UTF-8.
    Unusable,
}

impl Setting {
    /// Text from outside the file.
    pub(super) fn untyped(place: Place, text: &str) -> Self {
        Self {
            place,
            found: printable(text),
            value: Value::Untyped(text.to_owned()),
        }
    }
}

/// Puts a setting at a path, in place of what stands there. Where the path leads through something
/// that is no table, that stays, to be reported. Of several sections of one name it is the first that is
/// meant where the name is one of `led_by_first`; otherwise that is to be reported here: the answer is
/// false.
pub(super) fn insert(
    table: &mut Table,
    path: &[String],
    setting: Setting,
    led_by_first: &[&str],
) -> bool {
    match path {
        [] => true,
        [name] => {
            table.insert(name.clone(), setting);
            true
        }
        [name, rest @ ..] => {
            let inner = table.entry(name.clone()).or_insert_with(|| Setting {
                place: setting.place.clone(),
                found: "a section".into(),
                value: Value::Table(Table::new()),
            });
            match &mut inner.value {
                Value::Table(inner) => insert(inner, rest, setting, led_by_first),
                Value::Tables(sections) if led_by_first.contains(&name.as_str()) => {
                    match sections.first_mut().map(|first| &mut first.value) {
                        Some(Value::Table(first)) => insert(first, rest, setting, led_by_first),
                        _ => true,
                    }
                }
                Value::Tables(_) => false,
                _ => true,
            }
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<i32> for Value {
    fn from(number: i32) -> Self {
        Self::Integer(number.into())
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

/// As it would be written in a file.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untyped(text) | Self::Text(text) => write!(f, "{text:?}"),
            Self::Integer(number) => number.fmt(f),
            Self::Float(number) => write!(f, "{number:?}"),
            Self::Boolean(value) => value.fmt(f),
            Self::List(values) => {
                let values: Vec<String> = values.iter().map(ToString::to_string).collect();
                write!(f, "[{}]", values.join(", "))
            }
            Self::Table(_) | Self::Tables(_) => f.write_str("a section"),
            Self::Unusable => f.write_str("nothing that any key takes"),
        }
    }
}
