//! The pages that list what happens: a heading above the entries, of which one may be chosen.

use ratatui::buffer::Buffer;
use ratatui::text::Line;

use super::{filter_note, mark_row, put};
use crate::tui::layout::Areas;
use crate::tui::state::{ListView, Shown};
use crate::tui::theme::{Role, Theme};

/// What a page puts around and into its list.
pub(super) struct Look<F> {
    pub(super) heading: String,
    /// Stands in the place of the entries where there are none.
    pub(super) nothing: &'static str,
    /// An entry in one line of so many cells.
    pub(super) line: F,
}

pub(super) fn draw<T, F>(
    buffer: &mut Buffer,
    areas: &Areas,
    theme: Theme,
    (shown, view): (&[Shown<'_, T>], &ListView),
    look: Look<F>,
) where
    F: Fn(Theme, &Shown<'_, T>, usize) -> Line<'static>,
{
    let style = theme.style(Role::Dim);
    put(buffer, areas.heading, 0, &Line::styled(look.heading, style));
    if shown.is_empty() {
        put(buffer, areas.list, 0, &Line::styled(look.nothing, style));
        return;
    }
    let numbers: Vec<u64> = shown.iter().map(|entry| entry.number).collect();
    let height = areas.rows();
    let first = view.first(&numbers, height);
    let selected = view.selected_index(&numbers);
    let cells = usize::from(areas.list.width);
    for (row, (index, entry)) in (0..).zip(shown.iter().enumerate().skip(first).take(height)) {
        put(buffer, areas.list, row, &(look.line)(theme, entry, cells));
        if selected == Some(index) {
            mark_row(buffer, areas.list, row, theme);
        }
    }
}

/// Whether a list shows its newest entries as they come, and its filter: for its heading.
pub(super) fn following(view: &ListView) -> String {
    let stopped = match view.selected {
        None => "",
        Some(_) => "  (stopped; Esc: follow)",
    };
    format!("{stopped}{}", filter_note(&view.filter))
}
