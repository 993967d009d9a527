//! Draws the state. Every page is a file of its own; here is what all have in common.
//!
//! ```text
//! fieldgate  1 Overview  2 Nodes  3 Charts  4 Traffic  5 Log  6 Delivery     ● all well  12:34:56 UTC
//! ┌──────────┐
//! │   page   │
//! └──────────┘
//! what an action did, a question, or how the gateway does
//! keys that work here
//! ```

mod card;
mod charts;
mod delivery;
mod fleet;
mod log;
mod nodes;
mod overlay;
mod overview;
mod problems;
mod status;
mod stream;
mod table;
mod traffic;

#[cfg(test)]
mod tests;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::action::Page;
use super::layout::{Areas, SMALLEST, is_too_small};
use super::state::{App, Overlay};
use super::theme::{Role, Theme};
use super::widgets::{cut, escape_text, width, wrap};
use crate::monitor::{LinkState, LinkStatus};

pub(super) use overlay::last_scroll;

impl App {
    /// Where everything lies: by the size of the terminal, and by what there is to show.
    pub(crate) fn areas(&self) -> Areas {
        overview::areas(self, self.size)
    }
}

/// Draws all of it.
pub(crate) fn draw(frame: &mut Frame<'_>, app: &App) {
    let area = frame.area();
    let buffer = frame.buffer_mut();
    if is_too_small(area.as_size()) {
        too_small(buffer, area, app);
    } else {
        let areas = overview::areas(app, area.as_size());
        if let Some(fleet) = app.listed() {
            fleet::draw(buffer, &areas, app, fleet);
        } else {
            draw_page(buffer, &areas, app);
        }
        status::message(buffer, areas.message, app);
        status::footer(buffer, areas.footer, app);
    }
    if app.theme.ascii {
        to_ascii(buffer, area);
    }
}

/// Header and page of the gateway that is looked at, and what lies over the page.
fn draw_page(buffer: &mut Buffer, areas: &Areas, app: &App) {
    status::header(buffer, areas, app);
    match app.page {
        Page::Overview => overview::draw(buffer, areas, app),
        Page::Nodes => nodes::draw(buffer, areas, app),
        Page::Charts => charts::draw(buffer, areas, app),
        Page::Traffic => traffic::draw(buffer, areas, app),
        Page::Log => log::draw(buffer, areas, app),
        Page::Delivery => delivery::draw(buffer, areas, app),
    }
    if let Some(Overlay::Problems { selected }) = app.overlay {
        problems::draw(buffer, areas.body, app, selected);
    }
    overlay::draw(buffer, areas, app);
}

/// Keys work here too, so what they ask is asked.
fn too_small(buffer: &mut Buffer, area: Rect, app: &App) {
    let (cells, rows) = (usize::from(area.width), usize::from(area.height));
    let is_stopping = app.live().is_some_and(|live| live.ends_by.is_some());
    let lines = match &app.overlay {
        Some(Overlay::Confirm { question, .. }) => {
            let mut lines = wrap(question, cells, rows.saturating_sub(1));
            lines.push("y yes, n no".to_owned());
            lines
        }
        Some(Overlay::WhichLink { asked, among }) => {
            wrap(&status::which(app, *asked, *among), cells, rows)
        }
        _ if is_stopping => vec!["stopping".to_owned(), "q: at once".to_owned()],
        _ => vec![
            "fieldgate".to_owned(),
            format!("needs {}×{}", SMALLEST.0, SMALLEST.1),
            format!("has {}×{}", area.width, area.height),
            "q: quit".to_owned(),
        ],
    };
    for (row, line) in (area.y..).zip(lines.iter().take(rows)) {
        let line = cut(line, cells);
        buffer.set_string(area.x, row, line, ratatui::style::Style::new());
    }
}

/// Nothing but ASCII leaves, whatever was drawn.
fn to_ascii(buffer: &mut Buffer, area: Rect) {
    for position in area.positions() {
        let cell = &mut buffer[position];
        if !cell.symbol().is_ascii() {
            cell.set_symbol(Theme::ascii_of(cell.symbol()));
        }
    }
}

/// The glyph and the role that go with a state's word.
fn state_look(state: &LinkState) -> (&'static str, Role) {
    match state {
        LinkState::Disabled => ("·", Role::Dim),
        LinkState::Connecting => ("◌", Role::Warn),
        LinkState::Up => ("●", Role::Good),
        LinkState::BackingOff { .. } => ("↻", Role::Warn),
        LinkState::Held => ("‖", Role::Accent),
        LinkState::Refused { .. } => ("✖", Role::Bad),
        LinkState::Ended => ("■", Role::Dim),
    }
}

/// What a link does, in a few words.
fn state_words(status: &LinkStatus) -> String {
    match (&status.lent_to, &status.state) {
        (Some(to), LinkState::Held) => format!("lent to {}", escape_text(to)),
        (_, state) => state.word().to_owned(),
    }
}

/// Puts a line into one row, cut at its end.
fn put(buffer: &mut Buffer, area: Rect, row: u16, line: &Line<'_>) {
    if row < area.height {
        buffer.set_line(area.x, area.y + row, line, area.width);
    }
}

/// Spans at the left and at the right of one row.
fn spread<'a>(mut left: Vec<Span<'a>>, right: Vec<Span<'a>>, cells: u16) -> Line<'a> {
    let used: usize = left
        .iter()
        .chain(&right)
        .map(|span| width(&span.content))
        .sum();
    let gap = usize::from(cells).saturating_sub(used);
    left.push(Span::raw(" ".repeat(gap)));
    left.extend(right);
    Line::from(left)
}

/// Gives a row the look of what keys act on.
fn mark_row(buffer: &mut Buffer, area: Rect, row: u16, theme: Theme) {
    if row < area.height {
        let row = Rect::new(area.x, area.y + row, area.width, 1);
        buffer.set_style(row, theme.style(Role::Selected));
    }
}

/// The filter of a page, for its heading.
fn filter_note(filter: &str) -> String {
    if filter.is_empty() {
        String::new()
    } else {
        format!("  filter: {filter}")
    }
}
