//! Line protocol as its specification reads it: the counterpart of what the gateway writes.
//! <https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/>

use std::collections::BTreeMap;

/// A point with its one field, as all points of the gateway have.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Point {
    pub(crate) measurement: String,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) field: String,
    pub(crate) value: f64,
    pub(crate) timestamp_ns: i64,
}

/// Reads all lines of a body; the error is in the words of InfluxDB.
pub(crate) fn parse(body: &str) -> Result<Vec<Point>, String> {
    body.split('\n')
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| parse_line(line).map_err(|what| format!("unable to parse '{line}': {what}")))
        .collect()
}

fn parse_line(line: &str) -> Result<Point, &'static str> {
    let parts = split(line, ' ');
    let [key, field, timestamp] = parts[..] else {
        return Err(if parts.len() < 2 {
            "missing fields"
        } else {
            "bad timestamp"
        });
    };
    let mut key = split(key, ',').into_iter();
    let measurement = unescape(key.next().unwrap_or_default(), ", ");
    if measurement.is_empty() {
        return Err("missing measurement");
    }
    let mut tags = BTreeMap::new();
    for tag in key {
        let (name, value) = pair(tag).ok_or("missing tag value")?;
        if tags.insert(name, unescape(value, ",= ")).is_some() {
            return Err("duplicate tags");
        }
    }
    let (field, value) = pair(field).ok_or("missing field value")?;
    Ok(Point {
        measurement,
        tags,
        field,
        value: float(value).ok_or("invalid number")?,
        timestamp_ns: timestamp.parse().map_err(|_| "bad timestamp")?,
    })
}

/// `key=value` with neither of them empty.
fn pair(text: &str) -> Option<(String, &str)> {
    let [name, value] = split(text, '=')[..] else {
        return None;
    };
    (!name.is_empty() && !value.is_empty()).then(|| (unescape(name, ",= "), value))
}

/// Cuts at every separator that no backslash stands before.
fn split(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, c) in text.char_indices() {
        if c == separator && !escaped {
            parts.push(&text[start..at]);
            start = at + c.len_utf8();
        }
        escaped = c == '\\' && !escaped;
    }
    parts.push(&text[start..]);
    parts
}

/// A backslash counts only before a character that needs one.
fn unescape(text: &str, special: &str) -> String {
    let mut plain = String::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match rest.peek() {
            Some(next) if c == '\\' && special.contains(*next) => plain.extend(rest.next()),
            _ => plain.push(c),
        }
    }
    plain
}

/// Rust also reads `inf` and `nan`, InfluxDB does not.
fn float(text: &str) -> Option<f64> {
    let number = |c: char| c.is_ascii_digit() || "+-.eE".contains(c);
    text.parse().ok().filter(|_| text.chars().all(number))
}
