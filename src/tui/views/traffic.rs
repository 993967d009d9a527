//! What arrives, byte for byte, as on a serial monitor.

use ratatui::buffer::Buffer;
use ratatui::text::{Line, Span};

use super::layout::Areas;
use super::log::following;
use super::{filter_note, mark_row, put};
use crate::monitor::{Recording, TrafficKind};
use crate::tui::state::{App, TrafficLine};
use crate::tui::theme::{Role, Theme};
use crate::tui::widgets::{bytes, count, cut, escape, time_of_day, width};

/// `12:34:56 ✖ rejected `
const PREFIX: usize = 21;

pub(super) fn draw(buffer: &mut Buffer, areas: &Areas, app: &App) {
    let lines = app.traffic_lines();
    let numbers: Vec<u64> = lines.iter().map(|line| line.number).collect();
    let height = areas.rows();
    let style = app.theme.style(Role::Dim);
    put(buffer, areas.heading, 0, &Line::styled(heading(app), style));
    if lines.is_empty() {
        let text = if app.observed.traffic.iter().next().is_none() {
            " Nothing has arrived yet."
        } else {
            " Nothing of the last traffic is of this kind; ← →: others."
        };
        put(buffer, areas.list, 0, &Line::styled(text, style));
        return;
    }
    let first = app.traffic.first(&numbers, height);
    let selected = app.traffic.selected_index(&numbers);
    let cells = usize::from(areas.list.width);
    for (row, (index, line)) in (0..).zip(lines.iter().enumerate().skip(first).take(height)) {
        put(
            buffer,
            areas.list,
            row,
            &traffic_line(app.theme, line, cells),
        );
        if selected == Some(index) {
            mark_row(buffer, areas.list, row, app.theme);
        }
    }
}

fn heading(app: &App) -> String {
    let counts = app.snapshot().map_or_else(String::new, |snapshot| {
        let telemetry = &snapshot.telemetry;
        let rejected = telemetry.frames_rejected.iter().map(|(_, count)| count);
        format!(
            "  {} accepted, {} rejected, {} ignored",
            count(telemetry.packets_processed),
            count(rejected.sum()),
            bytes(telemetry.ignored_bytes)
        )
    });
    let recording = match app.snapshot().map(|snapshot| &snapshot.recording) {
        Some(Recording::On { path, bytes: size }) => {
            format!("  ● recording {} to {path}", bytes(*size))
        }
        _ => String::new(),
    };
    format!(
        " {}{counts}{recording}{}{}",
        app.kinds.word(),
        following(app.traffic.selected.is_none()),
        filter_note(&app.traffic.filter)
    )
}

/// Glyph, word and role of a kind.
pub(super) fn kind_look(kind: TrafficKind) -> (&'static str, &'static str, Role) {
    match kind {
        TrafficKind::Accepted => ("✓", "accepted", Role::Good),
        TrafficKind::Text => ("·", "text", Role::Dim),
        TrafficKind::Rejected { .. } => ("✖", "rejected", Role::Bad),
    }
}

fn traffic_line<'a>(theme: Theme, line: &TrafficLine<'_>, cells: usize) -> Line<'a> {
    let entry = line.entry;
    let (glyph, word, role) = kind_look(entry.kind);
    let mut spans = vec![
        Span::styled(
            format!(" {} ", time_of_day(entry.at)),
            theme.style(Role::Dim),
        ),
        Span::styled(format!("{glyph} {word:<8} "), theme.style(role)),
    ];
    let content = escape(&entry.bytes);
    let room = cells.saturating_sub(PREFIX);
    let TrafficKind::Rejected {
        reason,
        broke_at_end,
    } = entry.kind
    else {
        let style = match entry.kind {
            TrafficKind::Text => theme.style(Role::Dim),
            _ => theme.style(Role::Text),
        };
        let line_end = escape(line.line_end);
        spans.push(Span::styled(
            cut(&content, room.saturating_sub(width(&line_end))),
            style,
        ));
        spans.push(Span::styled(line_end, theme.style(Role::Dim)));
        return Line::from(spans);
    };
    // The place is what matters: the end of a frame that broke off there.
    let mark = format!("◀ {}", reason.explanation());
    let room = room.saturating_sub(width(&mark) + 1);
    let content = if broke_at_end {
        cut_front(&content, room)
    } else {
        cut(&content, room)
    };
    spans.push(Span::raw(content));
    spans.push(Span::styled(mark, theme.style(Role::Bad)));
    Line::from(spans)
}

/// The end of a text in at most so many cells, cut with `…` at its front.
fn cut_front(text: &str, cells: usize) -> String {
    let total = width(text);
    if total <= cells {
        return text.to_owned();
    }
    let mut skipped = 0;
    let mut characters = text.chars();
    while total - skipped + 1 > cells {
        let Some(character) = characters.next() else {
            break;
        };
        skipped += width(character.encode_utf8(&mut [0; 4]));
    }
    format!("…{}", characters.as_str())
}
