//! The chain from the source to the servers, above the table of metrics.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Widget};

use super::{put, spread, state_look, state_words, table};
use crate::monitor::{LinkId, LinkState, LinkStatus, SinkSnapshot, Snapshot};
use crate::telemetry::{RejectReason, Timestamp};
use crate::tui::layout::Areas;
use crate::tui::state::{App, Flow, Focus};
use crate::tui::theme::{Role, Theme};
use crate::tui::widgets::{bytes, count, cut, duration, escape_text, fitted, gauge, rate, width};
use crate::tui::words::link_heading;

/// The share of damaged frames from which on a line is a bad one.
const BAD_LINE: f64 = 0.05;

pub(super) fn draw(buffer: &mut Buffer, areas: &Areas, app: &App) {
    for (link, area) in &areas.links {
        draw_link(buffer, *area, link, app);
    }
    let sinks = areas.links.iter().filter(|(link, _)| link.sink().is_some());
    for (link, to) in sinks {
        let is_up = app
            .snapshot()
            .and_then(|snapshot| snapshot.link(link))
            .is_some_and(|status| status.state == LinkState::Up);
        let (arrow, role) = if is_up {
            ("─▶", Role::Good)
        } else {
            ("╌▶", Role::Dim)
        };
        let area = Rect::new(to.x.saturating_sub(3), to.y + 1, 3, 1);
        put(
            buffer,
            area,
            0,
            &Line::styled(format!(" {arrow}"), app.theme.style(role)),
        );
    }
    table::draw(buffer, areas, app);
}

fn draw_link(buffer: &mut Buffer, area: Rect, link: &LinkId, app: &App) {
    let theme = app.theme;
    let is_focused = app.focus == Focus::Link(link.clone());
    let (frame, title) = if is_focused {
        (theme.style(Role::Accent), theme.style(Role::Accent))
    } else {
        (theme.style(Role::Dim), theme.style(Role::Title))
    };
    let name = link_heading(link);
    let mark = if is_focused { "▸ " } else { "" };
    let block = Block::bordered()
        .border_style(frame)
        .title(Span::styled(format!(" {mark}{name} "), title));
    let inner = block.inner(area);
    block.render(area, buffer);
    let Some(snapshot) = app.snapshot() else {
        put(
            buffer,
            inner,
            0,
            &Line::styled(" …", theme.style(Role::Dim)),
        );
        return;
    };
    let Some(status) = snapshot.link(link) else {
        return;
    };
    let pad = Rect {
        x: inner.x + 1,
        width: inner.width.saturating_sub(2),
        ..inner
    };
    let mut lines = vec![
        state_line(theme, status, app.now, pad.width),
        Line::styled(
            fitted(&escape_text(&status.peer), usize::from(pad.width)),
            theme.style(Role::Dim),
        ),
    ];
    match link.sink().and_then(|sink| snapshot.sink(&sink)) {
        None => {
            lines.extend(source_lines(app, snapshot, status, pad.width));
            if status.last_error.is_some() && status.state != LinkState::Up {
                // Why it is down matters more than the last of the counts.
                lines.truncate(usize::from(pad.height.saturating_sub(2)));
            }
        }
        Some(sink) if sink.is_disabled() => {}
        Some(sink) => lines.extend(sink_lines(app, snapshot, sink, pad.width)),
    }
    let room = usize::from(pad.height).saturating_sub(lines.len());
    lines.extend(error_lines(theme, status, pad.width, room));
    for (row, line) in (0..).zip(&lines) {
        put(buffer, pad, row, line);
    }
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
    snapshot: &Snapshot,
    status: &LinkStatus,
    cells: u16,
) -> Vec<Line<'a>> {
    let theme = app.theme;
    let telemetry = &snapshot.telemetry;
    let pair = |left: String, right: String| {
        spread(
            vec![Span::raw(left)],
            vec![Span::styled(right, theme.style(Role::Dim))],
            cells,
        )
    };
    let mut lines = vec![
        Line::styled(
            retry(status, app.now).unwrap_or_default(),
            theme.style(Role::Warn),
        ),
        pair(rate(app.observed.packet_rate()), "packets".to_owned()),
        pair(count(telemetry.packets_processed), "received".to_owned()),
        pair(bytes(telemetry.source_bytes), "read".to_owned()),
    ];
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
    let mut lines = vec![
        Line::styled(activity.unwrap_or_default(), theme.style(Role::Warn)),
        spread(
            vec![Span::raw(count(sink.queue_depth))],
            vec![Span::styled("waiting".to_owned(), theme.style(Role::Dim))],
            cells,
        ),
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
    ];
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

/// The last error in plain words, in as many rows as are left.
fn error_lines<'a>(theme: Theme, status: &LinkStatus, cells: u16, rows: usize) -> Vec<Line<'a>> {
    let (Some(error), true) = (&status.last_error, rows > 0) else {
        return Vec::new();
    };
    let (label, role) = match status.state {
        LinkState::BackingOff { .. } | LinkState::Connecting => ("", Role::Warn),
        LinkState::Refused { .. } => ("", Role::Bad),
        _ => ("earlier: ", Role::Dim),
    };
    let text = escape_text(&format!("{label}{error}"));
    wrap(&text, usize::from(cells), rows)
        .into_iter()
        .map(|line| Line::styled(line, theme.style(role)))
        .collect()
}

/// A text in some rows, broken between words where that is possible.
pub(super) fn wrap(text: &str, cells: usize, rows: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut rest = text;
    while !rest.is_empty() && lines.len() + 1 < rows {
        let whole = cut(rest, cells + 1);
        if whole == rest && width(rest) <= cells {
            break;
        }
        let fitting = whole.trim_end_matches('…');
        let end = match fitting.rfind(' ') {
            Some(space) if space > fitting.len() / 3 => space,
            _ => fitting.len(),
        };
        if end == 0 {
            break;
        }
        lines.push(rest[..end].to_owned());
        rest = rest[end..].trim_start();
    }
    if !rest.is_empty() && lines.len() < rows {
        lines.push(cut(rest, cells));
    }
    lines
}

pub(super) fn percent(share: f64) -> String {
    match share {
        share if share <= 0.0 => "0 %".to_owned(),
        share if share < 0.1 => "<0.1%".to_owned(),
        share if share < 9.95 => format!("{share:.1}%"),
        share => format!("{share:.0} %"),
    }
}

/// A count that stays short: `98,765`, `123k`, `10M`.
pub(super) fn short_count(number: u64) -> String {
    match number {
        0..100_000 => count(number),
        100_000..1_000_000 => format!("{}k", count(number / 1_000)),
        1_000_000..10_000_000 => format!("{:.1}M", number as f64 / 1e6),
        10_000_000..10_000_000_000 => format!("{}M", count(number / 1_000_000)),
        _ => format!("{}G", count(number / 1_000_000_000)),
    }
}
