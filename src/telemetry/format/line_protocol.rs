//! Line protocol: `weather,station=a temp=22.5,hum=40i 1703174400000000000`.

use super::fields::{Fields, Unreadable, printed};
use super::{MEASUREMENT, TIMESTAMP, Value};
use crate::telemetry::RejectReason;

/// A point as a line writes it, escapes undone.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// What is measured; not empty.
    pub measurement: String,
    /// In the line's order.
    pub tags: Vec<(String, String)>,
    /// In the line's order; one at least.
    pub fields: Vec<(String, Value)>,
    /// As written, in the writer's precision; `None`: when it arrives.
    pub timestamp: Option<i64>,
}

impl Point {
    /// Reads a line; the error is in the words of InfluxDB.
    pub fn parse(line: &str) -> Result<Self, &'static str> {
        parse(line).map_err(|fault| match fault.at {
            None => "missing fields",
            Some(at) if parse(&line[..at]).is_ok() => "bad timestamp",
            Some(_) => "invalid field format",
        })
    }
}

/// Reads a line. Tags come as labels, and the measurement and the timestamp as fields as well.
pub(super) fn read(line: &str) -> Result<Fields, Unreadable> {
    let point = parse(line)?;
    let label = |(key, value)| (key, Value::Label(value));
    let mut fields = vec![label((MEASUREMENT.to_owned(), point.measurement))];
    fields.extend(point.tags.into_iter().map(label));
    fields.extend(point.fields);
    let timestamp = point.timestamp.map(Value::Integer);
    fields.extend(timestamp.map(|it| (TIMESTAMP.to_owned(), it)));
    Ok(fields)
}

fn parse(line: &str) -> Result<Point, Unreadable> {
    let not_telemetry = Unreadable::from(RejectReason::NotTelemetry);
    let mut rest = Rest { line, at: 0 };
    let (measurement, _) = rest.word(", ");
    if measurement.is_empty() || measurement.starts_with('#') {
        return Err(not_telemetry);
    }
    let mut tags = Vec::new();
    while rest.take(',') {
        let (key, _) = rest.word("=, ");
        if !rest.take('=') {
            return Err(not_telemetry);
        }
        let (value, _) = rest.word("=, ");
        tags.push((key, value));
    }
    rest.skip_spaces();
    let mut fields = Vec::new();
    loop {
        let (key, _) = rest.word("=, ");
        if key.is_empty() || !rest.take('=') {
            // Up to here it may be any text.
            return Err(if fields.is_empty() {
                not_telemetry
            } else {
                rest.fault()
            });
        }
        fields.push((key, rest.value()?));
        if !rest.take(',') {
            break;
        }
    }
    rest.skip_spaces();
    let timestamp = match rest.line[rest.at..].trim_end() {
        "" => None,
        timestamp => Some(timestamp.parse().map_err(|_| rest.fault())?),
    };
    Ok(Point {
        measurement,
        tags,
        fields,
        timestamp,
    })
}

/// What is left of a line.
struct Rest<'a> {
    line: &'a str,
    at: usize,
}

impl Rest<'_> {
    fn fault(&self) -> Unreadable {
        Unreadable::at(RejectReason::Syntax, self.at)
    }

    fn take(&mut self, character: char) -> bool {
        let is_next = self.line[self.at..].starts_with(character);
        if is_next {
            self.at += character.len_utf8();
        }
        is_next
    }

    fn skip_spaces(&mut self) {
        while self.take(' ') {}
    }

    /// Up to one of these characters, unless a backslash stands before it, which means something before no
    /// other; and where it began.
    fn word(&mut self, ends: &str) -> (String, usize) {
        let start = self.at;
        let mut word = String::new();
        let mut characters = self.line[start..].chars().peekable();
        while let Some(character) = characters.next() {
            if ends.contains(character) {
                break;
            }
            self.at += character.len_utf8();
            let escaped = characters.next_if(|next| character == '\\' && ends.contains(*next));
            match escaped {
                Some(escaped) => {
                    self.at += escaped.len_utf8();
                    word.push(escaped);
                }
                None => word.push(character),
            }
        }
        (word, start)
    }

    /// The value of a field.
    fn value(&mut self) -> Result<Value, Unreadable> {
        if self.take('"') {
            return self.text();
        }
        let (word, start) = self.word(", ");
        let unreadable = Unreadable::at(RejectReason::Syntax, start);
        let integer = word.strip_suffix(['i', 'u']);
        match (&*word, integer) {
            ("t" | "T" | "true" | "True" | "TRUE", _) => Ok(Value::Truth(true)),
            ("f" | "F" | "false" | "False" | "FALSE", _) => Ok(Value::Truth(false)),
            (_, Some(integer)) => match (integer.parse(), integer.parse::<u64>()) {
                (Ok(integer), _) => Ok(Value::Integer(integer)),
                (_, Ok(integer)) => Ok(Value::Number(integer as f64)),
                _ => Err(unreadable),
            },
            (word, None) => printed(word).ok_or(unreadable),
        }
    }

    /// The rest of a text in quotes.
    fn text(&mut self) -> Result<Value, Unreadable> {
        let start = self.at - 1;
        let mut text = String::new();
        let mut characters = self.line[self.at..].chars();
        while let Some(character) = characters.next() {
            self.at += character.len_utf8();
            match character {
                '"' => return Ok(Value::Label(text)),
                '\\' => {
                    let escaped = characters.next().unwrap_or('\\');
                    self.at += escaped.len_utf8();
                    if !matches!(escaped, '"' | '\\') {
                        text.push('\\');
                    }
                    text.push(escaped);
                }
                _ => text.push(character),
            }
        }
        Err(Unreadable::at(RejectReason::Syntax, start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(text: &str) -> Value {
        Value::Label(text.to_owned())
    }

    #[test]
    fn a_line_is_read_with_its_tags_fields_and_time() {
        let line =
            r#"weather,station=a temp=22.5,hum=40i,on=t,note="a, \"b\" c" 1703174400000000000"#;
        let expected = [
            (MEASUREMENT, label("weather")),
            ("station", label("a")),
            ("temp", Value::Number(22.5)),
            ("hum", Value::Integer(40)),
            ("on", Value::Truth(true)),
            ("note", label("a, \"b\" c")),
            (TIMESTAMP, Value::Integer(1_703_174_400_000_000_000)),
        ];
        let expected = expected.map(|(key, value)| (key.to_owned(), value));
        assert_eq!(read(line).unwrap(), expected);
    }

    #[test]
    fn escapes_are_undone() {
        let line = r"my\ room,a\,b=c\=d e\ f=1u,g=-1.5e3 ";
        let expected = [
            (MEASUREMENT, label("my room")),
            ("a,b", label("c=d")),
            ("e f", Value::Integer(1)),
            ("g", Value::Number(-1500.0)),
        ];
        let expected = expected.map(|(key, value)| (key.to_owned(), value));
        assert_eq!(read(line).unwrap(), expected);
    }

    #[test]
    fn what_is_broken_is_rejected_where_it_breaks() {
        for (line, at) in [
            ("weather temp=", 13),
            ("weather temp=22.5,hum", 21),
            ("weather temp=22x", 13),
            ("weather temp=4.5i", 13),
            ("weather temp=\"a", 13),
            ("weather temp=22.5 17031x", 18),
            ("weather temp=22.5weather temp=1", 13),
            ("weather temp=22.5 weather temp=1", 18),
        ] {
            let fault = Unreadable::at(RejectReason::Syntax, at);
            assert_eq!(read(line), Err(fault), "{line}");
        }
    }

    #[test]
    fn other_lines_are_no_telemetry() {
        for line in [
            "",
            "# comment=1",
            "hello",
            "hello world",
            "I (1234) wifi: state=5",
            "a,b c=1",
            " weather temp=1",
        ] {
            let fault = Unreadable::from(RejectReason::NotTelemetry);
            assert_eq!(read(line), Err(fault), "{line}");
        }
    }
}
