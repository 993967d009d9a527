//! Bytes that people are shown: on the screen, in the log, on the command line, one way everywhere.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthChar;

/// Bytes as text without loss: what cannot be shown is escaped, and so is the backslash.
pub(crate) fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        escape_into(&mut text, chunk.valid());
        for byte in chunk.invalid() {
            // Writing to a `String` cannot fail.
            let _infallible = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// [`escape`] for text.
pub(crate) fn escape_text(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    escape_into(&mut escaped, text);
    escaped
}

fn escape_into(escaped: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            '\\' => escaped.push_str("\\\\"),
            ' '..='~' => escaped.push(character),
            // Takes no cell of its own: control characters, marks, what turns the direction round.
            _ if character.width().unwrap_or(0) == 0 => {
                let code = u32::from(character);
                // Writing to a `String` cannot fail.
                let _infallible = if code < 0x80 {
                    write!(escaped, "\\x{code:02x}")
                } else {
                    write!(escaped, "\\u{{{code:x}}}")
                };
            }
            _ => escaped.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_can_be_told() {
        assert_eq!(escape(b"{\"ts\":1}\r\n"), "{\"ts\":1}\\r\\n");
        assert_eq!(escape(br"literal \n"), r"literal \\n");
        assert_eq!(
            escape(b"\x1b[2J\x00\x7f\xff\xc3"),
            r"\x1b[2J\x00\x7f\xff\xc3"
        );
        assert_eq!(escape("27 °C Ω".as_bytes()), "27 °C Ω");
        assert_eq!(escape("a\u{202e}b\u{85}".as_bytes()), r"a\u{202e}b\u{85}");
    }
}
