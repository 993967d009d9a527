//! The last log lines, by level and filter.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::put;
use super::stream::{self, Look, following};
use crate::monitor::{LogEntry, LogLevel};
use crate::telemetry::Name;
use crate::tui::layout::{Areas, is_narrow};
use crate::tui::state::{App, Shown};
use crate::tui::theme::{Role, Theme};
use crate::tui::widgets::{cut, escape_text, fitted, time_of_day};
use crate::tui::words::{level_word, levels};

/// Cells before the message: time, level, module.
const MESSAGE: usize = 10 + 5 + TARGET + 2;

/// How the line begins that tells of everything.
const METRICS: &str = "Metrics: ";

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
        nothing: if app.is_past() {
            " A journal holds no log."
        } else {
            " No line matches."
        },
        line: log_line,
    };
    stream::draw(buffer, areas, app.theme, (&shown, view), look);
}

/// The last lines but the most talkative, below a heading.
pub(super) fn draw_last(buffer: &mut Buffer, area: Rect, app: &App) {
    draw_some(buffer, area, app, "last events", |it| {
        it.level <= LogLevel::Info
    });
}

/// The last lines that name a node, below a heading.
pub(super) fn draw_last_of(buffer: &mut Buffer, area: Rect, app: &App, node: &Name) {
    draw_some(buffer, area, app, "its last events", |it| {
        !it.message.starts_with(METRICS) && names(&it.message, node.as_str())
    });
}

/// Whether a text holds a name that is no part of a longer one.
fn names(text: &str, name: &str) -> bool {
    let is_part = |character: Option<char>| {
        character.is_some_and(|it| it.is_alphanumeric() || matches!(it, '_' | '-'))
    };
    text.match_indices(name).any(|(at, name)| {
        let (before, behind) = (&text[..at], &text[at + name.len()..]);
        !is_part(before.chars().next_back()) && !is_part(behind.chars().next())
    })
}

fn draw_some(
    buffer: &mut Buffer,
    area: Rect,
    app: &App,
    heading: &str,
    is_wanted: impl Fn(&LogEntry) -> bool,
) {
    let style = app.theme.style(Role::Dim);
    put(buffer, area, 0, &Line::styled(format!(" {heading}"), style));
    let rows = usize::from(area.height.saturating_sub(1));
    let entries = app.log.entries.iter().rev();
    let wanted = entries.filter(|it| is_wanted(&it.entry));
    let last: Vec<_> = wanted.take(rows).collect();
    for (row, numbered) in (1..).zip(last.into_iter().rev()) {
        let shown = Shown {
            number: numbered.number,
            entry: &numbered.entry,
            before: None,
            line_end: &[],
        };
        put(
            buffer,
            area,
            row,
            &log_line(app.theme, &shown, usize::from(area.width)),
        );
    }
}

fn log_line<'a>(theme: Theme, shown: &Shown<'_, LogEntry>, cells: usize) -> Line<'a> {
    let entry = shown.entry;
    let target = entry
        .target
        .strip_prefix("fieldgate::")
        .unwrap_or(&entry.target);
    let (target, before) = if is_narrow(cells) {
        (" ".to_owned(), MESSAGE - TARGET - 1)
    } else {
        (
            format!(" {} ", fitted(&escape_text(target), TARGET)),
            MESSAGE,
        )
    };
    Line::from(vec![
        Span::styled(
            format!(" {} ", time_of_day(entry.at)),
            theme.style(Role::Dim),
        ),
        Span::styled(
            level_word(entry.level),
            theme.style(level_role(entry.level)),
        ),
        Span::styled(target, theme.style(Role::Dim)),
        Span::raw(cut(
            &escape_text(&entry.message),
            cells.saturating_sub(before),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_about_a_node_whose_whole_name_it_holds() {
        for (text, name, is_named) in [
            ("Node is late. node=node1 silence=30s", "node1", true),
            ("Node is late. node=node12 silence=30s", "node1", false),
            ("Problem. concerns=\"node1 humidity\"", "node1", true),
            ("node1", "node1", true),
            ("node=north node1", "north node1", true),
            ("north-node1 and node11, node1", "node1", true),
            ("north-node1", "node1", false),
        ] {
            assert_eq!(names(text, name), is_named, "{text}");
        }
    }
}
