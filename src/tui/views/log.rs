//! The last log lines, by level and filter.

use ratatui::buffer::Buffer;
use ratatui::text::{Line, Span};

use super::{filter_note, mark_row, put};
use crate::monitor::{LogEntry, LogLevel};
use crate::tui::layout::Areas;
use crate::tui::state::App;
use crate::tui::theme::{Role, Theme};
use crate::tui::widgets::{cut, escape_text, fitted, time_of_day};
use crate::tui::words::{level_word, levels};

/// Cells before the message: time, level, module.
const MESSAGE: usize = 10 + 5 + TARGET + 2;

/// Cells for the module that wrote a line.
const TARGET: usize = 12;

pub(super) fn draw(buffer: &mut Buffer, areas: &Areas, app: &App) {
    let lines = app.log_lines();
    let numbers: Vec<u64> = lines.iter().map(|line| line.number).collect();
    let height = areas.rows();
    let heading = format!(
        " {} lines, {}{}{}",
        lines.len(),
        levels(app.level),
        following(app.log.selected.is_none()),
        filter_note(&app.log.filter)
    );
    let style = app.theme.style(Role::Dim);
    put(buffer, areas.heading, 0, &Line::styled(heading, style));
    if lines.is_empty() {
        put(
            buffer,
            areas.list,
            0,
            &Line::styled(" No line matches.", style),
        );
        return;
    }
    let first = app.log.first(&numbers, height);
    let selected = app.log.selected_index(&numbers);
    for (row, (index, line)) in (0..).zip(lines.iter().enumerate().skip(first).take(height)) {
        put(
            buffer,
            areas.list,
            row,
            &log_line(app.theme, &line.entry, usize::from(areas.list.width)),
        );
        if selected == Some(index) {
            mark_row(buffer, areas.list, row, app.theme);
        }
    }
}

/// Whether a list shows its newest entries as they come.
pub(super) fn following(is_following: bool) -> &'static str {
    if is_following {
        ""
    } else {
        "  (stopped; Esc: follow)"
    }
}

fn log_line<'a>(theme: Theme, entry: &LogEntry, cells: usize) -> Line<'a> {
    let target = entry
        .target
        .strip_prefix("fieldgate::")
        .unwrap_or(&entry.target);
    Line::from(vec![
        Span::styled(
            format!(" {} ", time_of_day(entry.at)),
            theme.style(Role::Dim),
        ),
        Span::styled(
            level_word(entry.level),
            theme.style(level_role(entry.level)),
        ),
        Span::styled(
            format!(" {} ", fitted(&escape_text(target), TARGET)),
            theme.style(Role::Dim),
        ),
        Span::raw(cut(
            &escape_text(&entry.message),
            cells.saturating_sub(MESSAGE),
        )),
    ])
}

fn level_role(level: LogLevel) -> Role {
    match level {
        LogLevel::Error => Role::Bad,
        LogLevel::Warn => Role::Warn,
        LogLevel::Info => Role::Good,
        LogLevel::Debug | LogLevel::Trace => Role::Dim,
    }
}
