//! What editors, and programs that read env files, leave around a text: no part of what was meant.

/// Windows' editors begin a file with it.
const BYTE_ORDER_MARK: char = '\u{feff}';

const LINE_END: [char; 2] = ['\r', '\n'];

/// The name of a variable, without what its file began with.
pub(super) fn of_name(name: &str) -> &str {
    name.trim_start_matches(BYTE_ORDER_MARK)
}

/// The value of a variable: without the end of its line, and without one pair of quotes around it, which a
/// shell takes away and `docker run --env-file` does not.
pub(super) fn of_value(value: &str) -> &str {
    let value = value.trim_end_matches(LINE_END);
    let inside = ['"', '\''].into_iter().find_map(|quote| {
        let inside = value.strip_prefix(quote)?.strip_suffix(quote)?;
        // Two words in quotes are no word in quotes.
        let is_pair =
            !inside.contains(quote) || inside.starts_with(quote) && inside.ends_with(quote);
        is_pair.then_some(inside)
    });
    inside.unwrap_or(value)
}

/// A file that holds one secret and nothing else.
pub(super) fn of_file(text: &str) -> &str {
    of_name(text).trim_end_matches(LINE_END)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_what_was_meant() {
        for (value, meant) in [
            ("1", "1"),
            ("1\r", "1"),
            ("\"mqtt://localhost\"\r\n", "mqtt://localhost"),
            ("'secret'", "secret"),
            ("\"\"", ""),
            ("\"", "\""),
            ("it's", "it's"),
            ("\"one\" and \"two\"", "\"one\" and \"two\""),
            ("[\"cat\", \"file\"]", "[\"cat\", \"file\"]"),
            // Who means quotes puts them into quotes.
            ("'\"secret\"'", "\"secret\""),
            ("\"\"secret\"\"", "\"secret\""),
            (" spaced ", " spaced "),
        ] {
            assert_eq!(of_value(value), meant, "{value:?}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_a_name_or_a_secret() {
        assert_eq!(of_name("\u{feff}FIELDGATE_MQTT_QOS"), "FIELDGATE_MQTT_QOS");
        assert_eq!(of_file("\u{feff}s3cret\r\n"), "s3cret");
        assert_eq!(of_file("\"s3cret\""), "\"s3cret\"");
    }
}
