//! Text that fits.

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Cells that a text takes.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// A text in at most so many cells, cut with `…`.
pub(crate) fn cut(text: &str, cells: usize) -> String {
    if text.width() <= cells {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut used = 0;
    for grapheme in text.graphemes(true) {
        let next = grapheme.width();
        if used + next + 1 > cells {
            break;
        }
        used += next;
        kept.push_str(grapheme);
    }
    if cells > 0 {
        kept.push('…');
    }
    kept
}

/// The end of a text in at most so many cells, cut with `…` at its front.
pub(crate) fn cut_front(text: &str, cells: usize) -> String {
    let total = text.width();
    if total <= cells {
        return text.to_owned();
    }
    let mut skipped = 0;
    let mut characters = text.chars();
    while total - skipped + 1 > cells {
        let Some(character) = characters.next() else {
            break;
        };
        skipped += character.width().unwrap_or(0);
    }
    format!("…{}", characters.as_str())
}

/// A text in at most so many cells, cut with `…` in its middle.
fn cut_middle(text: &str, cells: usize) -> String {
    if text.width() <= cells {
        return text.to_owned();
    }
    let end = cut_front(text, cells / 2 + 1);
    cut(text, cells - cells / 2) + end.trim_start_matches('…')
}

/// A text in exactly so many cells: cut, or filled up with spaces.
pub(crate) fn fitted(text: &str, cells: usize) -> String {
    filled(cut(text, cells), cells)
}

/// A name in exactly so many cells; what is cut is its middle, because those of one site are alike at
/// their beginning and differ at their end.
pub(crate) fn fitted_name(name: &str, cells: usize) -> String {
    filled(cut_middle(name, cells), cells)
}

/// The first of some texts, as many as fit whole into so many cells.
pub(crate) fn fitting(texts: &[String], cells: usize) -> String {
    let mut line = String::new();
    for text in texts {
        if line.width() + text.width() > cells {
            break;
        }
        line.push_str(text);
    }
    line
}

fn filled(mut text: String, cells: usize) -> String {
    let missing = cells.saturating_sub(text.width());
    text.extend(std::iter::repeat_n(' ', missing));
    text
}

/// A text in some rows, broken between words where that is possible.
pub(crate) fn wrap(text: &str, cells: usize, rows: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut rest = text;
    while !rest.is_empty() && lines.len() + 1 < rows {
        let whole = cut(rest, cells + 1);
        if whole == rest && width(rest) <= cells {
            break;
        }
        let fitting = whole.trim_end_matches('…');
        let end = match fitting.rfind(' ') {
            Some(space) if space > fitting.len() / 3 => space,
            _ => fitting.len(),
        };
        if end == 0 {
            break;
        }
        lines.push(rest[..end].to_owned());
        rest = rest[end..].trim_start();
    }
    if !rest.is_empty() && lines.len() < rows {
        lines.push(cut(rest, cells));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut_where_it_can_be_seen() {
        assert_eq!(cut("gas_resistance", 14), "gas_resistance");
        assert_eq!(cut("gas_resistance", 5), "gas_…");
        assert_eq!(cut("温度计", 5), "温度…");
        assert_eq!(cut("温度计", 4), "温…");
        assert_eq!(cut("abc", 1), "…");
        assert_eq!(cut("abc", 0), "");
        assert_eq!(fitted("温度计", 4), "温… ");
        assert_eq!(fitted("ab", 4), "ab  ");
    }

    #[test]
    fn a_name_keeps_both_ends() {
        assert_eq!(fitted_name("north node1", 11), "north node1");
        assert_eq!(fitted_name("north node1", 9), "nort…ode1");
        assert_eq!(fitted_name("north node1", 8), "nor…ode1");
        assert_eq!(fitted_name("north", 8), "north   ");
        assert_eq!(fitted_name("温度计一号", 6), "温…号 ");
        assert_eq!(
            (fitted_name("abc", 1), fitted_name("abc", 0)),
            ("…".to_owned(), String::new())
        );
    }

    #[test]
    fn what_does_not_fit_whole_is_left_out_with_all_behind_it() {
        let texts = ["one", ", two", ", three", ", 4"].map(str::to_owned);
        assert_eq!(fitting(&texts, 20), "one, two, three, 4");
        assert_eq!(fitting(&texts, 14), "one, two");
        assert_eq!(fitting(&texts, 2), "");
    }
}
