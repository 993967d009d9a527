//! The last log lines, by level and filter.

use ratatui::buffer::Buffer;
use ratatui::text::{Line, Span};

use super::stream::{self, Look, following};
use crate::monitor::{LogEntry, LogLevel};
use crate::tui::layout::Areas;
use crate::tui::state::{App, Shown};
use crate::tui::theme::{Role, Theme};
use crate::tui::widgets::{cut, escape_text, fitted, time_of_day};
use crate::tui::words::{level_word, levels};

/// Cells before the message: time, level, module.
const MESSAGE: usize = 10 + 5 + TARGET + 2;

/// Cells for the module that wrote a line.
const TARGET: usize = 12;

pub(super) fn draw(buffer: &mut Buffer, areas: &Areas, app: &App) {
    let (shown, view) = (app.log.shown(), &app.log.view);
    let look = Look {
        heading: format!(
            " {} lines, {}{}",
            shown.len(),
            levels(app.log.choice),
            following(view)
        ),
        nothing: " No line matches.",
        line: log_line,
    };
    stream::draw(buffer, areas, app.theme, (&shown, view), look);
}

fn log_line<'a>(theme: Theme, shown: &Shown<'_, LogEntry>, cells: usize) -> Line<'a> {
    let entry = shown.entry;
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
