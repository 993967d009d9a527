//! Bytes as hexadecimal digits.

use std::fmt::Write as _;

/// Bytes with a space between two: `7b 22 74`.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 3);
    for byte in bytes {
        let space = if text.is_empty() { "" } else { " " };
        // Writing to a `String` cannot fail.
        let _infallible = write!(text, "{space}{byte:02x}");
    }
    text
}

/// Lines of bytes with their place before and their characters behind, as wide as fits into so many
/// cells and at most so many: `0010  7b 22 74 73  {"ts`.
pub(crate) fn dump(bytes: &[u8], cells: usize, lines: usize) -> Vec<String> {
    let each = [16, 8, 4]
        .into_iter()
        .find(|each| width_of(*each) <= cells)
        .unwrap_or(2);
    let mut dumped: Vec<String> = bytes
        .chunks(each)
        .enumerate()
        .take(lines)
        .map(|(line, bytes)| {
            let digits = each * 3 - 1;
            let place = line * each;
            format!("{place:04x}  {:<digits$}  {}", hex(bytes), printable(bytes))
        })
        .collect();
    if bytes.len() > each.saturating_mul(lines)
        && let Some(last) = dumped.last_mut()
    {
        *last = format!("… {} bytes in all", bytes.len());
    }
    dumped
}

/// Cells of a line with so many bytes.
fn width_of(each: usize) -> usize {
    4 + 2 + (each * 3 - 1) + 2 + each
}

fn printable(bytes: &[u8]) -> String {
    let shown = |byte: &u8| match byte {
        b' '..=b'~' => char::from(*byte),
        _ => '.',
    };
    bytes.iter().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_dumped_in_lines_that_fit() {
        assert_eq!(hex(b""), "");
        assert_eq!(hex(b"{\"\x00\xff"), "7b 22 00 ff");
        let bytes: Vec<u8> = (0x18..0x2c).collect();
        assert_eq!(
            dump(&bytes, 71, 9),
            [
                "0000  18 19 1a 1b 1c 1d 1e 1f 20 21 22 23 24 25 26 27  ........ !\"#$%&'",
                "0010  28 29 2a 2b                                      ()*+",
            ]
        );
        assert_eq!(
            dump(&bytes, 70, 9)[1].trim_end(),
            "0008  20 21 22 23 24 25 26 27   !\"#$%&'"
        );
        assert_eq!(
            dump(&bytes, 30, 2),
            ["0000  18 19 1a 1b  ....", "… 20 bytes in all"]
        );
        assert_eq!(dump(&[], 30, 2), [] as [&str; 0]);
        for line in dump(&bytes, 39, 9) {
            assert!(line.len() <= 39, "{line}");
        }
    }
}
