//! What lies over the page: the help, something in full, and the end of the gateway.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Widget};

use super::delivery::{latency, outcome_look};
use super::traffic::{Form, PLACE, around_place, fault, look};
use super::{put, state_look, state_words};
use crate::monitor::{
    DeliveryEntry, DeliveryOutcome, JournalState, LinkId, LogEntry, SinkSnapshot, Snapshot,
    TelemetrySnapshot, TrafficKind,
};
use crate::tui::keymap::help_of;
use crate::tui::layout::{Areas, is_narrow, rows_over};
use crate::tui::state::{App, Detail, Overlay, Piece};
use crate::tui::theme::Role;
use crate::tui::widgets::{count, dump, duration, escape_text, fitted, percent, width, wrap};
use crate::tui::words::{level_word, link_title};

pub(super) fn draw(buffer: &mut Buffer, areas: &Areas, app: &App) {
    match &app.overlay {
        Some(Overlay::Help { scroll }) => draw_help(buffer, areas.body, app, *scroll),
        Some(Overlay::Detail { detail, scroll }) => {
            draw_detail(buffer, areas.body, app, (detail, *scroll));
        }
        Some(Overlay::Confirm { question, .. }) => draw_question(buffer, areas.body, app, question),
        _ => {}
    }
    if let Some(snapshot) = app.snapshot()
        && snapshot.ends_by.is_some()
    {
        draw_stopping(buffer, areas.body, app, snapshot);
    }
}

/// A frame in the middle of the page, emptied.
pub(super) fn popup(
    buffer: &mut Buffer,
    body: Rect,
    app: &App,
    title: &str,
    size: (u16, u16),
) -> Rect {
    let cells = (size.0 + SIDES).min(body.width);
    let rows = (size.1 + 2).min(body.height);
    let area = Rect::new(
        body.x + (body.width - cells) / 2,
        body.y + (body.height - rows) / 2,
        cells,
        rows,
    );
    Clear.render(area, buffer);
    let block = Block::bordered()
        .border_style(app.theme.style(Role::Accent))
        .title(Span::styled(
            format!(" {title} "),
            app.theme.style(Role::Accent),
        ));
    let inner = block.inner(area);
    block.render(area, buffer);
    Rect {
        x: inner.x + 1,
        width: inner.width.saturating_sub(2),
        ..inner
    }
}

fn draw_question(buffer: &mut Buffer, body: Rect, app: &App, question: &str) {
    let cells = body.width.saturating_sub(SIDES).min(60);
    let rows = rows_over(body).saturating_sub(2);
    let lines = wrap(question, usize::from(cells), rows);
    let rows = u16::try_from(lines.len()).unwrap_or(u16::MAX);
    let inner = popup(buffer, body, app, "Are you sure?", (cells, rows + 2));
    for (row, line) in (0..).zip(lines) {
        put(buffer, inner, row, &Line::raw(line));
    }
    let answers = Line::styled("y yes    n no", app.theme.style(Role::Accent));
    put(buffer, inner, rows + 1, &answers);
}

/// Keys of values that are no readings, as many as are named.
const MAX_LEFT_OUT: usize = 4;

/// Cells of a frame and the spaces within.
const SIDES: u16 = 4;

/// Cells of the help where there is room.
const HELP_CELLS: u16 = 68;

/// Cells for the keys of a binding.
const KEYS: usize = 18;

/// Cells before the help of a binding that stands below its keys.
const INDENT: usize = 2;

/// How far what lies over the page can be scrolled; `None`: nothing lies there that can be.
pub(in crate::tui) fn last_scroll(app: &App) -> Option<usize> {
    let body = app.areas().body;
    let lines = match &app.overlay {
        Some(Overlay::Help { .. }) => help_lines(app, help_cells(body)).len(),
        Some(Overlay::Detail { detail, .. }) => {
            detail_lines(app, detail, detail_cells(body)).1.len()
        }
        _ => return None,
    };
    Some(lines.saturating_sub(rows_over(body)))
}

fn help_cells(body: Rect) -> u16 {
    body.width.saturating_sub(SIDES).min(HELP_CELLS)
}

/// The keys of the page: each with its help beside it, or below where there is too little room.
fn help_lines<'a>(app: &App, cells: u16) -> Vec<Line<'a>> {
    let mut lines = Vec::new();
    for binding in help_of(app) {
        let keys: Vec<String> = binding
            .keys
            .iter()
            .map(|key| key.name(app.theme.ascii))
            .collect();
        let keys = keys.join("  ");
        let style = app.theme.style(Role::Accent);
        if cells >= HELP_CELLS {
            lines.push(Line::from(vec![
                Span::styled(fitted(&keys, KEYS), style),
                Span::raw(binding.help),
            ]));
            continue;
        }
        lines.push(Line::styled(keys, style));
        let room = usize::from(cells).saturating_sub(INDENT);
        let help = wrap(binding.help, room, usize::MAX).into_iter();
        lines.extend(help.map(|line| Line::raw(format!("{:INDENT$}{line}", ""))));
    }
    lines
}

fn draw_help(buffer: &mut Buffer, body: Rect, app: &App, scroll: usize) {
    let title = format!("Keys on {}", app.page.name());
    let cells = help_cells(body);
    let lines = help_lines(app, cells);
    draw_scrolled(buffer, body, app, &title, cells, (&lines, scroll));
}

/// Some lines in a frame, from one of them on, with a note where there are more.
fn draw_scrolled(
    buffer: &mut Buffer,
    body: Rect,
    app: &App,
    title: &str,
    cells: u16,
    (lines, scroll): (&[Line<'_>], usize),
) {
    let rows = u16::try_from(lines.len()).unwrap_or(u16::MAX - SIDES);
    let inner = popup(buffer, body, app, title, (cells, rows));
    let last = lines.len().saturating_sub(usize::from(inner.height));
    for (row, line) in (0..inner.height).zip(lines.iter().skip(scroll.min(last))) {
        put(buffer, inner, row, line);
    }
    if last > 0 {
        note_more(buffer, inner, app, scroll < last);
    }
}

/// Says on the lower edge of a frame that there is more than fits into it.
pub(super) fn note_more(buffer: &mut Buffer, inner: Rect, app: &App, is_below: bool) {
    let note = if is_below {
        " ▼ more below "
    } else {
        " ▲ more above "
    };
    let cells = u16::try_from(width(note)).unwrap_or(0);
    let x = inner.right().saturating_sub(cells);
    let place = Rect::new(x, inner.bottom(), cells, 1);
    let line = Line::styled(note, app.theme.style(Role::Accent));
    put(buffer, place, 0, &line);
}

/// Cells for the names of facts.
const FACTS: usize = 14;

fn detail_cells(body: Rect) -> u16 {
    // A wide terminal has room for something beside it, a small one has none to give away.
    let beside = if body.width >= HELP_CELLS + SIDES {
        12
    } else {
        SIDES
    };
    body.width.saturating_sub(beside).min(100)
}

/// The title of a detail, and its facts above its text.
fn detail_lines<'a>(app: &App, detail: &Detail, cells: u16) -> (String, Vec<Line<'a>>) {
    let (title, facts, text) = match detail {
        Detail::Link(link) => link_detail(app, link),
        Detail::Traffic(piece) => traffic_detail(app, piece),
        Detail::Log(entry) => log_detail(entry),
        Detail::Delivery(entry) => delivery_detail(entry),
    };
    let cells = usize::from(cells);
    let labels = facts.iter().map(|(label, _)| width(label) + 1).max();
    // Where there is room, values of all details stand at one place.
    let labels = match labels {
        Some(labels) if is_narrow(cells) => labels.min(FACTS),
        _ => FACTS,
    };
    let mut lines = Vec::new();
    for (label, value) in facts {
        let values = wrap(&value, cells.saturating_sub(labels), usize::MAX);
        for (index, value) in values.into_iter().enumerate() {
            let label = if index == 0 { label } else { "" };
            lines.push(Line::from(vec![
                Span::styled(fitted(label, labels), app.theme.style(Role::Dim)),
                Span::raw(value),
            ]));
        }
    }
    lines.push(Line::default());
    let text = match detail {
        Detail::Traffic(piece) if app.traffic_as_hex => dump(&piece.entry.bytes, cells, usize::MAX),
        _ => wrap(&text, cells, usize::MAX),
    };
    lines.extend(text.into_iter().map(Line::raw));
    (title, lines)
}

fn draw_detail(buffer: &mut Buffer, body: Rect, app: &App, (detail, scroll): (&Detail, usize)) {
    let cells = detail_cells(body);
    let (title, lines) = detail_lines(app, detail, cells);
    draw_scrolled(buffer, body, app, &title, cells, (&lines, scroll));
}

type Described = (String, Vec<(&'static str, String)>, String);

fn link_detail(app: &App, link: &LinkId) -> Described {
    let title = format!("About {}", link_title(link));
    let Some((snapshot, status)) = app
        .snapshot()
        .and_then(|snapshot| Some((snapshot, snapshot.link(link)?)))
    else {
        return (title, Vec::new(), "Nothing is known yet.".to_owned());
    };
    let (glyph, _) = state_look(&status.state);
    let since = duration(app.now.since(status.since));
    let mut facts = vec![
        (
            "state",
            format!("{glyph} {} for {since}", state_words(status)),
        ),
        ("connects to", escape_text(&status.peer)),
        (
            "came up again",
            format!("{} times", count(status.reconnects)),
        ),
    ];
    match link.sink().and_then(|sink| snapshot.sink(&sink)) {
        Some(sink) => facts.extend(sink_facts(sink)),
        None => facts.extend(source_facts(snapshot.telemetry_of(link))),
    }
    let error = match &status.last_error {
        Some(error) => format!("Last error: {}", escape_text(error)),
        None => "There was no error.".to_owned(),
    };
    (title, facts, error)
}

fn source_facts(telemetry: &TelemetrySnapshot) -> Vec<(&'static str, String)> {
    let share = percent(telemetry.line_damaged_ratio * 100.0);
    let mut facts = vec![("damaged", format!("{share} of the last 200 frames"))];
    for (label, counts) in [
        ("rejected", &telemetry.frames_rejected),
        ("set aside", &telemetry.readings_rejected),
    ] {
        let counts = counts.iter().filter(|(_, number)| *number > 0);
        facts.extend(counts.map(|(reason, number)| {
            (
                label,
                format!("{}: {}", count(*number), reason.explanation()),
            )
        }));
    }
    for (key, number) in telemetry.left_out.iter().take(MAX_LEFT_OUT) {
        facts.push((
            "left out",
            format!("{}: {}", count(*number), escape_text(key)),
        ));
    }
    facts
}

fn sink_facts(sink: &SinkSnapshot) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("waiting", count(sink.queue_depth)),
        ("delivered", count(sink.delivered)),
        (
            "failed",
            format!("{} (each tried again)", count(sink.failed)),
        ),
        ("dropped", count(sink.dropped)),
        ("rejected", count(sink.rejected)),
    ];
    if sink.skipped > 0 {
        facts.push(("skipped", format!("{} (late)", count(sink.skipped))));
    }
    if sink.writes_succeeded + sink.writes_failed > 0 {
        let (good, bad) = (count(sink.writes_succeeded), count(sink.writes_failed));
        facts.push(("writes", format!("{good} succeeded, {bad} failed")));
    }
    facts
}

fn traffic_detail(app: &App, piece: &Piece) -> Described {
    let entry = &piece.entry;
    let (glyph, word, _) = look(piece);
    let (title, moved) = match entry.kind {
        TrafficKind::Sent => ("What was sent", "sent"),
        _ => ("What arrived", "arrived"),
    };
    let mut facts = vec![
        (moved, entry.at.to_string()),
        ("kind", format!("{glyph} {word}")),
        (
            "length",
            format!("{} bytes", count(entry.bytes.len() as u64)),
        ),
    ];
    if app.sources().len() > 1 {
        facts.insert(0, ("source", entry.source.to_string()));
    }
    let (mut text, after) = around_place(piece, Form::of(app));
    if let Some(after) = after {
        text = format!("{text}{PLACE}{after}");
    }
    if let Some(reason) = fault(piece) {
        facts.push(("reason", reason.explanation().to_owned()));
    }
    if piece.marks.len() > 1 {
        facts.push(("set aside", format!("{} readings", piece.marks.len())));
    }
    let kind = entry.kind;
    if matches!(kind, TrafficKind::Rejected { broke_at_end, .. } if broke_at_end) {
        text.push_str(" ◀ here");
    }
    (title.to_owned(), facts, text)
}

fn log_detail(entry: &LogEntry) -> Described {
    let facts = vec![
        ("written", entry.at.to_string()),
        ("level", level_word(entry.level).trim_end().to_owned()),
        ("module", escape_text(&entry.target)),
    ];
    ("Log line".to_owned(), facts, escape_text(&entry.message))
}

fn delivery_detail(entry: &DeliveryEntry) -> Described {
    let (glyph, word, _) = outcome_look(&entry.outcome);
    let mut facts = vec![
        ("answered", entry.at.to_string()),
        ("by", link_title(entry.sink.link())),
        ("result", format!("{glyph} {word}")),
        ("count", count(entry.count)),
        ("latency", latency(entry.latency)),
    ];
    if let DeliveryOutcome::Failed { reason } | DeliveryOutcome::Rejected { reason } =
        &entry.outcome
    {
        facts.push(("reason", escape_text(reason)));
    }
    ("Delivery".to_owned(), facts, escape_text(&entry.what))
}

/// What the gateway waits for before it ends.
fn draw_stopping(buffer: &mut Buffer, body: Rect, app: &App, snapshot: &Snapshot) {
    let mut lines: Vec<String> = snapshot
        .sinks
        .iter()
        .filter(|sink| !sink.is_disabled())
        .map(|sink| {
            let name = link_title(sink.sink.link());
            match sink.queue_depth {
                0 => format!("✓ {name} has everything."),
                depth => format!(
                    "◌ {name}: {} waiting ({})",
                    count(depth),
                    sink.link.state.word()
                ),
            }
        })
        .collect();
    if let Some(ends_by) = snapshot.ends_by {
        let left = duration(ends_by.since(app.now));
        lines.push(format!("Ends in {left} at the latest."));
    }
    lines.push(match snapshot.journal.state {
        JournalState::File | JournalState::Closed => {
            "q: end at once; what waits stays in the journal.".to_owned()
        }
        JournalState::Memory | JournalState::Fallback { .. } => {
            "q: end at once; what waits is LOST, the journal is in memory.".to_owned()
        }
    });
    let room = body.width.saturating_sub(SIDES);
    let wrapped = |line: &String| wrap(line, usize::from(room), usize::MAX);
    let lines: Vec<String> = lines.iter().flat_map(wrapped).collect();
    let cells = lines.iter().map(|line| width(line)).max().unwrap_or(0);
    let size = (
        u16::try_from(cells).unwrap_or(u16::MAX).min(room),
        u16::try_from(lines.len()).unwrap_or(u16::MAX - SIDES),
    );
    let inner = popup(buffer, body, app, "Stopping: delivering what waits", size);
    for (row, line) in (0..).zip(lines) {
        put(buffer, inner, row, &Line::raw(line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::keymap::{CONTEXTS, bindings};

    #[test]
    fn every_line_of_the_help_fits_into_its_frame() {
        for context in CONTEXTS {
            for binding in bindings(context).into_iter().flatten() {
                for is_ascii in [false, true] {
                    let keys = binding.keys.iter().map(|key| key.name(is_ascii));
                    let keys: Vec<String> = keys.collect();
                    assert!(width(&keys.join("  ")) < KEYS, "{keys:?}");
                }
                assert!(KEYS + width(binding.help) <= 68, "{}", binding.help);
            }
        }
    }
}
