//! Figures that can be read from across a room.

/// Rows of a figure in dots.
const DOTS: usize = 5;

/// A text of digits in blocks, in the largest size that fits into so many cells and rows; the text itself
/// where no size does. Characters that are no part of a number are left out.
pub(crate) fn figures(text: &str, cells: usize, rows: usize) -> Vec<String> {
    let glyphs: Vec<Glyph> = text.chars().filter_map(glyph).collect();
    let dots: usize = glyphs.iter().map(|glyph| glyph[0].len() + 1).sum();
    let dots = dots.saturating_sub(1);
    let scale = (rows / DOTS).min(cells / (2 * dots.max(1)));
    if scale > 0 {
        return scaled(&glyphs, scale);
    }
    if rows >= DOTS.div_ceil(2) && cells >= dots {
        return halved(&glyphs);
    }
    vec![text.to_owned()]
}

/// A dot is twice as many cells wide as it is rows high, which is about square.
fn scaled(glyphs: &[Glyph], scale: usize) -> Vec<String> {
    let row = |dots: String| {
        let wide = dots.chars().map(|dot| {
            let cell = if dot == '#' { "█" } else { " " };
            cell.repeat(2 * scale)
        });
        std::iter::repeat_n(wide.collect::<String>(), scale)
    };
    (0..DOTS).flat_map(|at| row(line(glyphs, at))).collect()
}

/// Two rows of dots in one of cells.
fn halved(glyphs: &[Glyph]) -> Vec<String> {
    let pair = |at: usize| {
        let above = line(glyphs, at);
        let below = if at + 1 < DOTS {
            line(glyphs, at + 1)
        } else {
            " ".repeat(above.len())
        };
        let both = above.chars().zip(below.chars());
        both.map(|both| match both {
            ('#', '#') => '█',
            ('#', _) => '▀',
            (_, '#') => '▄',
            _ => ' ',
        })
        .collect()
    };
    (0..DOTS).step_by(2).map(pair).collect()
}

/// One row of dots of all glyphs, a gap between two.
fn line(glyphs: &[Glyph], at: usize) -> String {
    let rows: Vec<&str> = glyphs.iter().map(|glyph| glyph[at]).collect();
    rows.join(" ")
}

type Glyph = [&'static str; DOTS];

fn glyph(character: char) -> Option<Glyph> {
    Some(match character {
        '0' => ["###", "# #", "# #", "# #", "###"],
        '1' => [" # ", "## ", " # ", " # ", "###"],
        '2' => ["###", "  #", "###", "#  ", "###"],
        '3' => ["###", "  #", "###", "  #", "###"],
        '4' => ["# #", "# #", "###", "  #", "  #"],
        '5' => ["###", "#  ", "###", "  #", "###"],
        '6' => ["###", "#  ", "###", "# #", "###"],
        '7' => ["###", "  #", "  #", "  #", "  #"],
        '8' => ["###", "# #", "###", "# #", "###"],
        '9' => ["###", "# #", "###", "  #", "###"],
        '-' | '–' => ["  ", "  ", "##", "  ", "  "],
        '.' => [" ", " ", " ", " ", "#"],
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_as_large_as_there_is_room() {
        assert_eq!(figures("-7", 9, 2), ["-7"], "two rows are no figure");
        assert_eq!(figures("-7", 9, 4), ["   ▀▀█", "▀▀   █", "     ▀"]);
        assert_eq!(
            figures("1.5", 40, 9),
            [
                "  ██        ██████",
                "████        ██    ",
                "  ██        ██████",
                "  ██            ██",
                "██████  ██  ██████",
            ]
        );
        let largest = figures("-120", 60, 16);
        assert_eq!((largest.len(), largest[0].chars().count()), (10, 56));
        assert!(figures("", 10, 10).iter().all(|row| row.trim().is_empty()));
    }

    #[test]
    fn no_figure_sticks_out() {
        for text in ["-120", "9.5", "1234567", "–"] {
            for cells in 10..90 {
                for rows in 1..24 {
                    let figure = figures(text, cells, rows);
                    assert!(figure.len() <= rows, "{text} {cells} {rows}");
                    let width = figure.iter().map(|row| row.chars().count()).max();
                    assert!(width <= Some(cells), "{text} {cells} {rows}: {figure:?}");
                }
            }
        }
    }
}
