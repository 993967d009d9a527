//! The box of one link: how it does, in as many lines as that takes.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Widget};

use super::{put, spread, state_look, state_words};
use crate::monitor::{LinkId, LinkState, LinkStatus, SinkSnapshot, Snapshot};
use crate::telemetry::{RejectReason, Timestamp};
use crate::tui::state::{App, Flow, Focus};
use crate::tui::theme::{Role, Theme};
use crate::tui::widgets::{
    bytes, count, cut, duration, escape_text, fitted, gauge, percent, rate, short_count, width,
    wrap,
};
use crate::tui::words::link_heading;

/// The share of damaged frames from which on a line is a bad one.
const BAD_LINE: f64 = 0.05;

/// Rows of an error that its box is made for.
const ERROR_ROWS: usize = 4;

/// Rows of an error that is over.
const EARLIER_ROWS: usize = 2;

/// Cells at the sides of what a box says: the frame, and a space.
const SIDES: u16 = 4;

/// The rows that a box takes inside when it is so many cells wide.
pub(super) fn height(app: &App, link: &LinkId, cells: u16) -> u16 {
    let lines = lines(app, link, cells.saturating_sub(SIDES), usize::MAX);
    u16::try_from(lines.len()).unwrap_or(u16::MAX)
}

/// Draws the box.
pub(super) fn draw(buffer: &mut Buffer, area: Rect, link: &LinkId, app: &App) {
    let theme = app.theme;
    let is_focused = app.focus == Focus::Link(link.clone());
    let (frame, title) = if is_focused {
        (theme.style(Role::Accent), theme.style(Role::Accent))
    } else {
        (theme.style(Role::Dim), theme.style(Role::Title))
    };
    let mark = if is_focused { "▸ " } else { "" };
    let block = Block::bordered().border_style(frame).title(Span::styled(
        format!(" {mark}{} ", link_heading(link)),
        title,
    ));
    let inner = block.inner(area);
    block.render(area, buffer);
    let pad = Rect {
        x: inner.x + 1,
        width: inner.width.saturating_sub(2),
        ..inner
    };
    let lines = lines(app, link, pad.width, usize::from(pad.height));
    for (row, line) in (0..).zip(&lines) {
        put(buffer, pad, row, line);
    }
}

/// A link in one row: what it is, how it does, and what waits for it or comes from it.
pub(super) fn row<'a>(app: &App, link: &LinkId, cells: u16) -> Line<'a> {
    let theme = app.theme;
    let Some((snapshot, status)) = known(app, link) else {
        return Line::styled(format!("… {}", link_heading(link)), theme.style(Role::Dim));
    };
    let (glyph, role) = state_look(&status.state);
    let sink = link.sink().and_then(|sink| snapshot.sink(&sink));
    let right = match sink {
        None => format!("{} packets", rate(app.observed.packet_rate(link))),
        Some(sink) if sink.is_disabled() => String::new(),
        Some(sink) => format!("{} waiting", short_count(sink.queue_depth)),
    };
    spread(
        vec![
            Span::styled(format!("{glyph} "), theme.style(role)),
            Span::styled(format!("{} ", link_heading(link)), theme.style(Role::Title)),
            Span::styled(state_words(status), theme.style(role)),
        ],
        vec![Span::styled(right, theme.style(Role::Dim))],
        cells,
    )
}

fn known<'a>(app: &'a App, link: &LinkId) -> Option<(&'a Snapshot, &'a LinkStatus)> {
    let snapshot = app.snapshot()?;
    Some((snapshot, snapshot.link(link)?))
}

/// What the box says in so many cells, and in at most so many rows: where not all fits, why a link is
/// down matters more than the last of its counts.
fn lines<'a>(app: &App, link: &LinkId, cells: u16, rows: usize) -> Vec<Line<'a>> {
    let theme = app.theme;
    let Some((snapshot, status)) = known(app, link) else {
        return vec![Line::styled("…", theme.style(Role::Dim))];
    };
    let peer = fitted(&escape_text(&status.peer), usize::from(cells));
    let mut lines = vec![state_line(theme, status, app.now, cells)];
    if !peer.trim().is_empty() {
        lines.push(Line::styled(peer, theme.style(Role::Dim)));
    }
    match link.sink().and_then(|sink| snapshot.sink(&sink)) {
        None => lines.extend(source_lines(app, (link, snapshot), status, cells)),
        Some(sink) if sink.is_disabled() => {}
        Some(sink) => lines.extend(sink_lines(app, snapshot, sink, cells)),
    }
    let errors = error_lines(theme, status, cells, rows);
    let is_down = status.state != LinkState::Up;
    let kept = if is_down {
        rows.saturating_sub(errors.len().min(2))
    } else {
        rows
    };
    lines.truncate(kept);
    lines.extend(errors);
    lines.truncate(rows);
    lines
}

fn state_line<'a>(theme: Theme, status: &LinkStatus, now: Timestamp, cells: u16) -> Line<'a> {
    let (glyph, role) = state_look(&status.state);
    let text = format!("{glyph} {}", state_words(status));
    let since = if status.state == LinkState::Disabled {
        String::new()
    } else {
        duration(now.since(status.since))
    };
    let room = usize::from(cells).saturating_sub(width(&since) + 1);
    spread(
        vec![Span::styled(cut(&text, room), theme.style(role))],
        vec![Span::styled(since, theme.style(Role::Dim))],
        cells,
    )
}

/// When the next attempt begins; empty while none is needed.
fn retry(status: &LinkStatus, now: Timestamp) -> Option<String> {
    match &status.state {
        LinkState::BackingOff { until, .. } | LinkState::Refused { until, .. } => {
            Some(match duration(until.since(now)).as_str() {
                "0s" => "trying again now".to_owned(),
                left => format!("next try in {left}"),
            })
        }
        _ => None,
    }
}

fn source_lines<'a>(
    app: &App,
    (link, snapshot): (&LinkId, &Snapshot),
    status: &LinkStatus,
    cells: u16,
) -> Vec<Line<'a>> {
    let theme = app.theme;
    let telemetry = snapshot.telemetry_of(link);
    let pair = |left: String, right: String| {
        spread(
            vec![Span::raw(left)],
            vec![Span::styled(right, theme.style(Role::Dim))],
            cells,
        )
    };
    let retry = retry(status, app.now);
    let mut lines: Vec<Line<'_>> = retry
        .map(|retry| Line::styled(retry, theme.style(Role::Warn)))
        .into_iter()
        .collect();
    let received = pair(count(telemetry.packets_processed), "received".to_owned());
    if app.is_past() {
        return vec![received];
    }
    lines.extend([
        pair(rate(app.observed.packet_rate(link)), "packets".to_owned()),
        received,
        pair(bytes(telemetry.source_bytes), "read".to_owned()),
    ]);
    let warning = |text: String, what: &'static str, role: Role| {
        let style = theme.style(role);
        let left = Span::styled(format!("▲ {text}"), style);
        spread(vec![left], vec![Span::styled(what, style)], cells)
    };
    let damaged = telemetry.line_damaged_ratio;
    if damaged > 0.0 {
        let role = if damaged >= BAD_LINE {
            Role::Bad
        } else {
            Role::Warn
        };
        lines.push(warning(percent(damaged * 100.0), "damaged", role));
    }
    let sum = |counts: &[(RejectReason, u64)]| counts.iter().map(|(_, count)| count).sum();
    let (rejected, aside) = (
        sum(&telemetry.frames_rejected),
        sum(&telemetry.readings_rejected),
    );
    for (number, what) in [
        (telemetry.packets_missed, "missed"),
        (rejected, "rejected"),
        (aside, "set aside"),
    ] {
        if number > 0 {
            lines.push(warning(count(number), what, Role::Warn));
        }
    }
    lines
}

fn sink_lines<'a>(
    app: &App,
    snapshot: &Snapshot,
    sink: &SinkSnapshot,
    cells: u16,
) -> Vec<Line<'a>> {
    let theme = app.theme;
    let bound = snapshot.journal.max_messages;
    let Flow { inward, outward } = app.observed.flow(&sink.sink);
    let activity = retry(&sink.link, app.now).or_else(|| {
        let left = app.observed.time_left(sink)?;
        Some(format!("drains in {}", duration(left)))
    });
    let mut lines: Vec<Line<'_>> = activity
        .map(|activity| Line::styled(activity, theme.style(Role::Warn)))
        .into_iter()
        .collect();
    let waiting = spread(
        vec![Span::raw(count(sink.queue_depth))],
        vec![Span::styled("waiting".to_owned(), theme.style(Role::Dim))],
        cells,
    );
    if app.is_past() {
        return vec![waiting];
    }
    lines.extend([
        waiting,
        fill_line(theme, sink, bound, cells),
        spread(
            vec![
                Span::styled("in ", theme.style(Role::Dim)),
                Span::raw(steady(inward, cells)),
            ],
            vec![
                Span::styled("out ", theme.style(Role::Dim)),
                Span::raw(steady(outward, cells)),
            ],
            cells,
        ),
        outcome_line(theme, sink, cells),
    ]);
    let lost = [(sink.dropped, "dropped"), (sink.rejected, "rejected")];
    for (number, what) in lost.into_iter().filter(|(number, _)| *number > 0) {
        let style = theme.style(Role::Bad);
        lines.push(spread(
            vec![Span::styled(format!("✖ {}", short_count(number)), style)],
            vec![Span::styled(what, style)],
            cells,
        ));
    }
    lines
}

/// How full the queue of a sink is.
fn fill_line<'a>(theme: Theme, sink: &SinkSnapshot, bound: u64, cells: u16) -> Line<'a> {
    let role = if sink.queue_depth.saturating_mul(10) >= bound.saturating_mul(9) {
        Role::Bad
    } else if sink.link.state == LinkState::Up {
        Role::Good
    } else {
        Role::Warn
    };
    // As wide as it can become, so that the gauge keeps its length.
    let share_cells = width(&format!("100 % of {} ", short_count(bound)));
    let share = sink.queue_depth as f64 * 100.0 / bound.max(1) as f64;
    let bar = usize::from(cells).saturating_sub(share_cells);
    spread(
        vec![Span::styled(
            gauge(sink.queue_depth, bound, bar),
            theme.style(role),
        )],
        vec![Span::styled(
            format!("{} of {}", percent(share), short_count(bound)),
            theme.style(Role::Dim),
        )],
        cells,
    )
}

/// A rate that does not move its label as it changes, where there is room for that.
fn steady(per_second: f64, cells: u16) -> String {
    let rate = rate(per_second);
    if cells < 20 {
        rate
    } else {
        format!("{rate:>6}")
    }
}

fn outcome_line<'a>(theme: Theme, sink: &SinkSnapshot, cells: u16) -> Line<'a> {
    let failed_role = if sink.failed > 0 {
        Role::Warn
    } else {
        Role::Dim
    };
    spread(
        vec![
            Span::styled("✓ ", theme.style(Role::Good)),
            Span::raw(short_count(sink.delivered)),
        ],
        vec![Span::styled(
            format!("{} failed", short_count(sink.failed)),
            theme.style(failed_role),
        )],
        cells,
    )
}

/// The last error in plain words, in at most so many rows.
fn error_lines<'a>(theme: Theme, status: &LinkStatus, cells: u16, rows: usize) -> Vec<Line<'a>> {
    let Some(error) = &status.last_error else {
        return Vec::new();
    };
    let (label, role, most) = match status.state {
        LinkState::BackingOff { .. } | LinkState::Connecting => ("", Role::Warn, ERROR_ROWS),
        LinkState::Refused { .. } => ("", Role::Bad, ERROR_ROWS),
        _ => ("earlier: ", Role::Dim, EARLIER_ROWS),
    };
    let text = escape_text(&format!("{label}{error}"));
    wrap(&text, usize::from(cells), rows.min(most))
        .into_iter()
        .map(|line| Line::styled(line, theme.style(role)))
        .collect()
}
