//! What is wrong, with what to do about it.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::overlay::{note_more, popup};
use super::put;
use crate::monitor::{Problem, Severity};
use crate::tui::state::App;
use crate::tui::theme::Role;
use crate::tui::widgets::{duration, width, wrap};

/// Cells of the list, where there are so many.
const CELLS: u16 = 100;

/// What is wrong, in a few words or a sign.
pub(super) struct Summary {
    /// `● all well` or `▲ 2 problems`
    pub(super) words: String,
    /// `●` or `▲ 2`
    pub(super) sign: String,
    /// How grave that is.
    pub(super) role: Role,
}

impl Summary {
    /// The words, or else the sign, where there are so many cells.
    pub(super) fn fitting(&self, cells: usize) -> String {
        let is_room = width(&self.words) <= cells;
        let text = if is_room { &self.words } else { &self.sign };
        text.clone()
    }
}

pub(super) fn summary(problems: &[Problem]) -> Summary {
    let role = match problems.iter().map(|it| it.severity).max() {
        None => Role::Good,
        Some(Severity::Warning) => Role::Warn,
        Some(Severity::Error) => Role::Bad,
    };
    let (sign, words) = match problems.len() {
        0 => ("●".to_owned(), "● all well".to_owned()),
        1 => ("▲ 1".to_owned(), "▲ 1 problem".to_owned()),
        count => (format!("▲ {count}"), format!("▲ {count} problems")),
    };
    Summary { words, sign, role }
}

pub(super) fn draw(buffer: &mut Buffer, body: Rect, app: &App, selected: usize) {
    let problems = app.problems();
    let title = summary(problems).words;
    let cells = CELLS.min(body.width.saturating_sub(4));
    let blocks: Vec<Vec<Line<'_>>> = problems
        .iter()
        .enumerate()
        .map(|(index, problem)| block(app, problem, index == selected, cells))
        .collect();
    let rows: usize = blocks.iter().map(Vec::len).sum();
    let rows = u16::try_from(rows.max(1)).unwrap_or(u16::MAX);
    let inner = popup(buffer, body, app, &title, (cells, rows));
    if blocks.is_empty() {
        let line = Line::raw("Everything that comes is delivered.");
        put(buffer, inner, 0, &line);
        return;
    }
    // What is chosen is all there, at the bottom at least.
    let height = usize::from(inner.height);
    let end: usize = blocks.iter().take(selected + 1).map(Vec::len).sum();
    let first = end.saturating_sub(height);
    let all: Vec<Line<'_>> = blocks.into_iter().flatten().collect();
    for (row, line) in (0..inner.height).zip(&all[first..]) {
        put(buffer, inner, row, line);
    }
    if all.len() > height {
        note_more(buffer, inner, app, first + height < all.len());
    }
}

/// A problem: since when, what, and what to do.
fn block<'a>(app: &App, problem: &Problem, is_selected: bool, cells: u16) -> Vec<Line<'a>> {
    let theme = app.theme;
    let (glyph, role) = match problem.severity {
        Severity::Warning => ("▲", Role::Warn),
        Severity::Error => ("✖", Role::Bad),
    };
    let mark = if is_selected { "▸ " } else { "  " };
    let since = duration(app.now.since(problem.since));
    let cells = usize::from(cells.saturating_sub(4));
    let mut lines = vec![Line::from(vec![
        Span::styled(mark, theme.style(Role::Accent)),
        Span::styled(format!("{glyph} {}", problem.concerns), theme.style(role)),
        Span::styled(format!("  for {since}"), theme.style(Role::Dim)),
    ])];
    let texts = [(&problem.sentence, Role::Title), (&problem.fix, Role::Dim)];
    for (text, role) in texts {
        let wrapped = wrap(text, cells, 4);
        let styled = wrapped
            .into_iter()
            .map(|line| Line::styled(format!("    {line}"), theme.style(role)));
        lines.extend(styled);
    }
    lines
}
