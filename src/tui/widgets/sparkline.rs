//! A trend in one line.

const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The last values that fit, between their smallest and largest; values that do not change lie in
/// the middle. Always exactly so many cells wide, the newest value at the right.
pub(crate) fn sparkline(values: impl DoubleEndedIterator<Item = f64>, cells: usize) -> String {
    let mut shown: Vec<f64> = values.rev().take(cells).collect();
    shown.reverse();
    let smallest = shown.iter().copied().fold(f64::INFINITY, f64::min);
    let largest = shown.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut line = " ".repeat(cells - shown.len());
    // The difference of two finite values can be infinite; that of their halves cannot.
    let span = largest / 2.0 - smallest / 2.0;
    line.extend(shown.iter().map(|value| {
        if span <= 0.0 {
            return LEVELS[3];
        }
        let height = (value / 2.0 - smallest / 2.0) / span * 7.0;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and 7"
        )]
        let level = height.round() as usize;
        LEVELS[level.min(7)]
    }));
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_values_stand_at_the_right() {
        let of = |values: &[f64], cells| sparkline(values.iter().copied(), cells);
        assert_eq!(of(&[], 3), "   ");
        assert_eq!(of(&[5.0], 3), "  ▄");
        assert_eq!(of(&[0.0, 7.0, 3.0], 5), "  ▁█▄");
        assert_eq!(of(&[100.0, 1.0, 2.0], 2), "▁█");
        assert_eq!(of(&[f64::MIN, f64::MAX, 0.0], 3), "▁█▅");
    }
}
