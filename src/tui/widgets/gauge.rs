//! A bar that is filled as far as something is.

const PARTS: [char; 7] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/// A bar of so many cells; anything above nothing shows, and only what is full looks full.
pub(crate) fn gauge(value: u64, bound: u64, cells: usize) -> String {
    let eighths = cells as u128 * 8;
    let filled = match (value, bound) {
        _ if eighths == 0 => 0,
        (0, _) | (_, 0) => 0,
        (value, bound) if value >= bound => eighths,
        (value, bound) => (u128::from(value) * eighths / u128::from(bound)).clamp(1, eighths - 1),
    };
    let filled = usize::try_from(filled).unwrap_or(0);
    let mut bar = "█".repeat(filled / 8);
    if !filled.is_multiple_of(8) {
        bar.push(PARTS[filled % 8 - 1]);
    }
    bar.push_str(&"░".repeat(cells.saturating_sub(filled.div_ceil(8))));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_looks_empty_little_shows_and_only_full_looks_full() {
        for (value, bound, bar) in [
            (0, 100, "░░░░"),
            (1, 10_000_000, "▏░░░"),
            (50, 100, "██░░"),
            (99_999, 100_000, "███▉"),
            (100, 100, "████"),
            (u64::MAX, u64::MAX, "████"),
            (200, 100, "████"),
            (5, 0, "░░░░"),
        ] {
            assert_eq!(gauge(value, bound, 4), bar, "{value} of {bound}");
        }
        assert_eq!(gauge(1, 2, 0), "");
    }
}
