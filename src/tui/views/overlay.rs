//! What lies over the page: the help, something in full, and the end of the gateway.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Widget};

use super::delivery::{latency, outcome_look};
use super::overview::{percent, wrap};
use super::traffic::{PLACE, around_place, fault, look};
use super::{put, state_look};
use crate::monitor::{
    DeliveryEntry, DeliveryOutcome, JournalState, LinkId, LogEntry, SinkSnapshot, Snapshot,
    TelemetrySnapshot, TrafficKind,
};
use crate::tui::keymap::help_of;
use crate::tui::layout::Areas;
use crate::tui::state::{App, Detail, Overlay, Piece};
use crate::tui::theme::Role;
use crate::tui::widgets::{count, duration, escape_text, fitted, width};
use crate::tui::words::{level_word, link_title};

pub(super) fn draw(buffer: &mut Buffer, areas: &Areas, app: &App) {
    match &app.overlay {
        Some(Overlay::Help { scroll }) => draw_help(buffer, areas.body, app, *scroll),
        Some(Overlay::Detail(detail)) => draw_detail(buffer, areas.body, app, detail),
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
fn popup(buffer: &mut Buffer, body: Rect, app: &App, title: &str, size: (u16, u16)) -> Rect {
    let cells = (size.0 + 4).min(body.width);
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
    let lines = wrap(question, 60, usize::from(body.height.saturating_sub(4)));
    let rows = u16::try_from(lines.len()).unwrap_or(u16::MAX);
    let inner = popup(buffer, body, app, "Are you sure?", (60, rows + 2));
    for (row, line) in (0..).zip(lines) {
        put(buffer, inner, row, &Line::raw(line));
    }
    let answers = Line::styled("y yes    n no", app.theme.style(Role::Accent));
    put(buffer, inner, rows + 1, &answers);
}

/// Keys of values that are no readings, as many as are named.
const MAX_LEFT_OUT: usize = 4;

/// Cells for the keys of a binding.
const KEYS: usize = 18;

fn draw_help(buffer: &mut Buffer, body: Rect, app: &App, scroll: usize) {
    let theme = app.theme;
    let title = format!("Keys on {}", app.page.name());
    let lines: Vec<Line<'_>> = help_of(app.page)
        .map(|binding| {
            let keys: Vec<String> = binding.keys.iter().map(|key| key.name()).collect();
            Line::from(vec![
                Span::styled(fitted(&keys.join("  "), KEYS), theme.style(Role::Accent)),
                Span::raw(binding.help),
            ])
        })
        .collect();
    let rows = u16::try_from(lines.len()).unwrap_or(u16::MAX);
    let inner = popup(buffer, body, app, &title, (68, rows));
    let last = lines.len().saturating_sub(usize::from(inner.height));
    for (row, line) in (0..inner.height).zip(lines.iter().skip(scroll.min(last))) {
        put(buffer, inner, row, line);
    }
    if last > 0 {
        let note = if scroll < last {
            " ▼ more below "
        } else {
            " ▲ more above "
        };
        let cells = u16::try_from(width(note)).unwrap_or(0);
        let place = Rect::new(
            inner.right().saturating_sub(cells),
            inner.bottom(),
            cells,
            1,
        );
        put(
            buffer,
            place,
            0,
            &Line::styled(note, theme.style(Role::Accent)),
        );
    }
}

fn draw_detail(buffer: &mut Buffer, body: Rect, app: &App, detail: &Detail) {
    let (title, facts, text) = match detail {
        Detail::Link(link) => link_detail(app, link),
        Detail::Traffic(piece) => traffic_detail(piece),
        Detail::Log(entry) => log_detail(entry),
        Detail::Delivery(entry) => delivery_detail(entry),
    };
    let cells = body.width.saturating_sub(12).min(100);
    let rows = usize::from(body.height)
        .saturating_sub(facts.len() + 4)
        .max(1);
    let text = wrap(&text, usize::from(cells), rows);
    let height = u16::try_from(facts.len() + 1 + text.len()).unwrap_or(u16::MAX);
    let inner = popup(buffer, body, app, &title, (cells, height));
    let mut row = 0;
    for (label, value) in facts {
        let line = Line::from(vec![
            Span::styled(fitted(label, 14), app.theme.style(Role::Dim)),
            Span::raw(value),
        ]);
        put(buffer, inner, row, &line);
        row += 1;
    }
    for line in text {
        row += 1;
        put(buffer, inner, row, &Line::raw(line));
    }
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
            format!("{glyph} {} for {since}", status.state.word()),
        ),
        ("connects to", escape_text(&status.peer)),
        (
            "came up again",
            format!("{} times", count(status.reconnects)),
        ),
    ];
    match link.sink().and_then(|sink| snapshot.sink(&sink)) {
        Some(sink) => facts.extend(sink_facts(sink)),
        None => facts.extend(source_facts(&snapshot.telemetry)),
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

fn traffic_detail(piece: &Piece) -> Described {
    let entry = &piece.entry;
    let (glyph, word, _) = look(piece);
    let mut facts = vec![
        ("arrived", entry.at.to_string()),
        ("kind", format!("{glyph} {word}")),
        (
            "length",
            format!("{} bytes", count(entry.bytes.len() as u64)),
        ),
    ];
    let (mut text, after) = around_place(piece);
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
    (String::from("What arrived"), facts, text)
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
    let cells = lines.iter().map(|line| width(line)).max().unwrap_or(0);
    let size = (
        u16::try_from(cells)
            .unwrap_or(u16::MAX)
            .min(body.width.saturating_sub(4)),
        u16::try_from(lines.len()).unwrap_or(u16::MAX),
    );
    let inner = popup(buffer, body, app, "Stopping: delivering what waits", size);
    for (row, line) in (0..).zip(lines) {
        put(buffer, inner, row, &Line::raw(line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::action::Page;

    #[test]
    fn every_line_of_the_help_fits_into_its_frame() {
        for page in Page::ALL {
            for binding in help_of(page) {
                let keys: Vec<String> = binding.keys.iter().map(|key| key.name()).collect();
                assert!(width(&keys.join("  ")) < KEYS, "{keys:?}");
                assert!(KEYS + width(binding.help) <= 68, "{}", binding.help);
            }
        }
    }
}
