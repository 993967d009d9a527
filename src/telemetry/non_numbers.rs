//! Floats that are no numbers, as firmware prints them into JSON.

use std::borrow::Cow;

use super::framer::is_not_finite;

/// The frame with `null` in the place of every `NaN` and `inf`, and with an empty list, which is no
/// number either, in the place of numbers beyond the range of `f64`. Borrowed where there is none.
pub(super) fn without_non_numbers(frame: &str) -> Cow<'_, str> {
    let mut json = String::new();
    let mut copied = 0;
    let mut rest = 0;
    let bytes = frame.as_bytes();
    while rest < bytes.len() {
        match bytes[rest] {
            b'"' => rest = end_of_text(bytes, rest),
            byte if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+') => {
                let length = bytes[rest..]
                    .iter()
                    .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'+' | b'.'))
                    .count();
                let token = &frame[rest..rest + length];
                let is_absent = is_not_finite(token.as_bytes());
                if is_absent || token.parse().is_ok_and(f64::is_infinite) {
                    json.push_str(&frame[copied..rest]);
                    json.push_str(if is_absent { "null" } else { "[]" });
                    copied = rest + length;
                }
                rest += length;
            }
            _ => rest += 1,
        }
    }
    if copied == 0 {
        return Cow::Borrowed(frame);
    }
    json.push_str(&frame[copied..]);
    Cow::Owned(json)
}

/// The place behind the string that begins at `start`.
fn end_of_text(bytes: &[u8], start: usize) -> usize {
    let mut place = start + 1;
    while place < bytes.len() && bytes[place] != b'"' {
        place += if bytes[place] == b'\\' { 2 } else { 1 };
    }
    place + 1
}
