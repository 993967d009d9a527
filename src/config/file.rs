//! From TOML text to settings that know their line.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Fault, HIDDEN, Place, printable};
use super::setting::{Setting, Table, Value};

/// What a file holds: all that could be understood, and what could not.
#[derive(Default)]
pub(super) struct Parsed {
    pub(super) settings: Table,
    pub(super) errors: Vec<ConfigError>,
}

/// Parses the text of a file.
pub(super) fn parse(path: &Arc<Path>, text: &str) -> Parsed {
    let (table, errors) = DeTable::parse_recoverable(text);
    let file = File { path, text };
    let mut errors: Vec<ConfigError> = errors.iter().map(|error| file.syntax(error)).collect();
    // One slip can be noticed more than once; the first notice is the one to the point.
    errors.sort_by(|one, other| one.place.cmp(&other.place));
    errors.dedup_by(|later, first| later.place == first.place);
    Parsed {
        settings: file.table(table.get_ref()),
        errors,
    }
}

/// Parses a single value, as a list in an environment variable.
pub(super) fn parse_value(text: &str) -> Option<Value> {
    let value = DeValue::parse(text).ok()?;
    let path: Arc<Path> = Path::new("").into();
    Some(File { path: &path, text }.value(value.get_ref()))
}

/// Parses a dotted key: `telemetry.nodes."node 1"`.
pub(super) fn parse_key(key: &str) -> Option<Vec<String>> {
    let document = format!("{key} = 0");
    let table = DeTable::parse(&document).ok()?;
    let mut names = Vec::new();
    let mut table = table.get_ref();
    loop {
        let mut entries = table.iter();
        let (name, value) = entries.next()?;
        if entries.next().is_some() {
            return None;
        }
        names.push(name.get_ref().to_string());
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => return Some(names),
        }
    }
}

struct File<'t> {
    path: &'t Arc<Path>,
    text: &'t str,
}

impl File<'_> {
    fn line(&self, offset: usize) -> usize {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        before
            .iter()
            .fold(1, |line, byte| line + usize::from(*byte == b'\n'))
    }

    fn slice(&self, span: Range<usize>) -> &str {
        self.text.get(span).unwrap_or_default()
    }

    fn table(&self, table: &DeTable<'_>) -> Table {
        table
            .iter()
            .map(|(name, value)| {
                let line = self.line(name.span().start);
                let setting = Setting {
                    place: Place::Line(self.path.clone(), line),
                    found: match value.get_ref() {
                        DeValue::Table(_) => "a section".into(),
                        _ => printable(self.slice(value.span())),
                    },
                    value: self.value(value.get_ref()),
                };
                (name.get_ref().to_string(), setting)
            })
            .collect()
    }

    fn value(&self, value: &DeValue<'_>) -> Value {
        match value {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(integer) => {
                let number = i128::from_str_radix(integer.as_str(), integer.radix());
                // Out of the range of every key, whatever it is.
                Value::Integer(number.unwrap_or(i128::MAX))
            }
            DeValue::Float(float) => Value::Float(float.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(value) => Value::Boolean(*value),
            DeValue::Datetime(_) => Value::Unusable,
            DeValue::Array(values) if are_sections(values) => {
                let sections = values.iter();
                Value::Tables(sections.map(|it| self.section(it)).collect())
            }
            DeValue::Array(values) => Value::List(
                values
                    .iter()
                    .map(|value| self.value(value.get_ref()))
                    .collect(),
            ),
            DeValue::Table(table) => Value::Table(self.table(table)),
        }
    }

    /// One of several sections of the same name.
    fn section(&self, value: &Spanned<DeValue<'_>>) -> Setting {
        Setting {
            place: Place::Line(self.path.clone(), self.line(value.span().start)),
            found: "a section".into(),
            value: self.value(value.get_ref()),
        }
    }

    fn syntax(&self, error: &toml::de::Error) -> ConfigError {
        let start = error.span().map_or(self.text.len(), |span| span.start);
        let line = self.line(start);
        let text = self.text.lines().nth(line - 1).unwrap_or_default();
        ConfigError {
            place: Place::Line(self.path.clone(), line),
            key: String::new(),
            fault: Fault::Wrong,
            problem: format!("this is not TOML: {}", error.message()),
            found: if self.may_hold_secret(line) {
                HIDDEN.into()
            } else if text.trim().is_empty() {
                "the end of the line".into()
            } else {
                printable(text)
            },
            allowed: "[section], or key = value, with text in \"quotes\"".into(),
            advice: None,
        }
    }

    /// Whether a line belongs to a secret's value, as far as that can be told of text that is no
    /// TOML: a value may reach over several lines, and its key may be misspelt.
    fn may_hold_secret(&self, line: usize) -> bool {
        let lines: Vec<&str> = self.text.lines().take(line).map(str::trim_start).collect();
        let begins_anew = |text: &&str| text.starts_with('[') || key_of(text).is_some();
        let begin = lines.iter().rposition(begins_anew).unwrap_or(0);
        let named = lines[begin..].iter().any(|text| {
            let text = text.to_lowercase();
            text.contains("password") || text.contains("token")
        });
        let key = lines.get(begin).and_then(|text| key_of(text));
        named || key.is_some_and(resembles_secret)
    }
}

/// Whether a list is one of sections: `[[source]]`.
fn are_sections(values: &[Spanned<DeValue<'_>>]) -> bool {
    let is_table = |value: &Spanned<DeValue<'_>>| matches!(value.get_ref(), DeValue::Table(_));
    !values.is_empty() && values.iter().all(is_table)
}

/// The key that a line sets; its last name where it is dotted.
fn key_of(line: &str) -> Option<&str> {
    let (key, _) = line.split_once('=')?;
    let key = key.trim_end();
    let is_key = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '"' | '\'');
    let name = key.rsplit('.').next()?.trim_matches(['"', '\'']);
    (!key.is_empty() && key.chars().all(is_key)).then_some(name)
}

fn resembles_secret(key: &str) -> bool {
    let distance = |secret| strsim::damerau_levenshtein(&key.to_lowercase(), secret);
    distance("password") <= 3 || distance("token") <= 2
}
