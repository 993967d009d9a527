//! Lines for the serial plotter of Arduino: `temp:22.5,hum:40`, or values alone, with commas, spaces or
//! tabs between.

use super::fields::{Fields, Unreadable, Value, printed};
use crate::telemetry::RejectReason;

/// What stands between two values.
const BETWEEN: [char; 3] = [',', ' ', '\t'];

/// A word of a line.
enum Word<'a> {
    /// `temp:22.5`, or `temp:` with its value behind it.
    Labelled(&'a str, Value),
    /// `temp:` and something that is no number, at this place.
    Unreadable(usize),
    Value(Value),
    /// What begins as a number and is none.
    Broken,
    Text,
}

/// Whether a line may be the end of a longer one: without a label nothing says which value is missing.
pub(in crate::telemetry) fn needs_its_beginning(line: &[u8]) -> bool {
    !line.contains(&b':')
}

/// Reads a line; `names` are those of values without labels, in their order.
pub(super) fn read(line: &str, names: &[String]) -> Result<Fields, Unreadable> {
    let mut fields = Fields::new();
    let mut values = Vec::new();
    let mut fault = None;
    let mut words = words(line).peekable();
    while let Some((at, word)) = words.next() {
        let next = words.peek().map(|(_, next)| *next);
        let (word, takes_next) = classify(at, word, next);
        if takes_next {
            words.next();
        }
        match word {
            Word::Labelled(label, value) => fields.push((label.to_owned(), value)),
            Word::Value(value) => values.push((at, value)),
            Word::Unreadable(at) => {
                fault.get_or_insert(at);
            }
            Word::Broken => {
                fault.get_or_insert(at);
            }
            // A sentence, whatever numbers are in it.
            Word::Text => return Err(RejectReason::NotTelemetry.into()),
        }
    }
    let is_empty = fields.is_empty() && values.is_empty();
    match fault {
        _ if is_empty => return Err(RejectReason::NotTelemetry.into()),
        Some(at) => return Err(Unreadable::at(RejectReason::Syntax, at)),
        None => {}
    }
    if let Some((at, _)) = values.first().filter(|_| !fields.is_empty()) {
        // Labels and bare values mixed: something is missing.
        return Err(Unreadable::at(RejectReason::Syntax, *at));
    }
    if values.is_empty() {
        return Ok(fields);
    }
    if names.is_empty() {
        return Err(RejectReason::NotTelemetry.into());
    }
    if values.len() != names.len() {
        let at = values.get(names.len()).map_or(line.len(), |(at, _)| *at);
        return Err(Unreadable::at(RejectReason::Syntax, at));
    }
    let values = values.into_iter().map(|(_, value)| value);
    Ok(names.iter().cloned().zip(values).collect())
}

/// How many values without labels a line holds; `None`: it is another one.
pub(super) fn bare_values(line: &str) -> Option<usize> {
    let mut count = 0;
    for (_, word) in words(line) {
        printed(word)?;
        count += 1;
    }
    (count > 0).then_some(count)
}

/// The words of a line with their places.
fn words(line: &str) -> impl Iterator<Item = (usize, &str)> {
    let start = line.as_ptr().addr();
    let words = line.split(BETWEEN).filter(|word| !word.is_empty());
    words.map(move |word| (word.as_ptr().addr() - start, word))
}

/// What a word is, and whether the next one belongs to it.
fn classify<'a>(at: usize, word: &'a str, next: Option<&str>) -> (Word<'a>, bool) {
    let Some((label, value)) = word.split_once(':') else {
        let is_broken =
            word.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'));
        let word = match printed(word) {
            Some(value) => Word::Value(value),
            None if is_broken => Word::Broken,
            None => Word::Text,
        };
        return (word, false);
    };
    if !label.chars().any(char::is_alphabetic) || label.contains(['"', '{', '[']) {
        // `12:30` is a time of day, `:30` the end of something, `"a":1` JSON.
        let word = if label.is_empty() {
            Word::Unreadable(at)
        } else {
            Word::Text
        };
        return (word, false);
    }
    let (value, at, takes_next) = match next {
        Some(next) if value.is_empty() && !next.contains(':') => (next, at + word.len(), true),
        _ => (value, at + label.len() + 1, false),
    };
    match printed(value) {
        Some(value) => (Word::Labelled(label, value), takes_next),
        None => (Word::Unreadable(at), takes_next),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(line: &str, names: &[&str]) -> Vec<(String, Option<f64>)> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let fields = read(line, &names).unwrap_or_else(|fault| panic!("{line}: {fault:?}"));
        let fields = fields.into_iter();
        fields.map(|(key, value)| (key, value.number())).collect()
    }

    #[test]
    fn labels_name_values_in_every_form_of_the_plotter() {
        let expected = [
            ("temp".to_owned(), Some(22.5)),
            ("hum".to_owned(), Some(40.0)),
        ];
        for line in [
            "temp:22.5,hum:40",
            "temp:22.5 hum:40",
            "temp:22.5\thum:40",
            "temp:22.50, hum:40",
            "temp: 22.5, hum: 40",
            " temp:22.5,hum:40, ",
        ] {
            assert_eq!(numbers(line, &[]), expected, "{line}");
        }
        for line in ["22.5 40", "22.5\t40", "22.5,40", "22.5, 40 "] {
            assert_eq!(numbers(line, &["temp", "hum"]), expected, "{line}");
        }
        assert_eq!(
            numbers("temp:nan,hum:40", &[]),
            [("temp".to_owned(), None), ("hum".to_owned(), Some(40.0))]
        );
    }

    #[test]
    fn what_is_broken_is_rejected_where_it_breaks() {
        let names = ["temp".to_owned(), "hum".to_owned()];
        for (line, at) in [
            ("temp:22.5,hum:", 14),
            ("temp:22.5,hum:4x", 14),
            ("temp:22.5,40", 10),
            ("temp:22.5,hum:40temp:22.6", 14),
            ("temp:22.5,:40", 10),
            ("22.5", 4),
            ("22.5 40 7", 8),
            ("22.5 4o", 5),
        ] {
            let fault = Unreadable::at(RejectReason::Syntax, at);
            assert_eq!(read(line, &names), Err(fault), "{line}");
        }
    }

    #[test]
    fn sentences_are_no_telemetry() {
        for line in [
            "",
            "Sensor ready",
            "WiFi: connected",
            "ets Jul 29 2019 12:21:46",
            "rst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)",
            "12:30",
            "22.5 40",
        ] {
            let fault = Unreadable::from(RejectReason::NotTelemetry);
            assert_eq!(read(line, &[]), Err(fault), "{line}");
        }
    }
}
