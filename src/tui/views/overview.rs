//! The chain from the source to the servers, and the last value of every metric.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Widget};

use super::layout::Areas;
use super::{filter_note, link_title, mark_row, put, spread, state_look};
use crate::monitor::{LatestValue, LinkId, LinkState, LinkStatus, SinkSnapshot, Snapshot};
use crate::telemetry::Timestamp;
use crate::tui::state::{Alarm, App, Flow, Focus, Freshness};
use crate::tui::theme::{Role, Theme};
use crate::tui::widgets::{
    aligned, bytes, count, cut, duration, escape_text, fitted, gauge, rate, sparkline,
};

pub(super) fn draw(buffer: &mut Buffer, areas: &Areas, app: &App) {
    for link in LinkId::ALL {
        draw_link(buffer, areas.links[link as usize], link, app);
    }
    for link in [LinkId::Mqtt, LinkId::Influxdb] {
        let to = areas.links[link as usize];
        let is_up = app
            .snapshot()
            .and_then(|snapshot| snapshot.link(link))
            .is_some_and(|status| status.state == LinkState::Up);
        let (arrow, role) = if is_up {
            ("──▶", Role::Good)
        } else {
            ("╌╌▶", Role::Dim)
        };
        let area = Rect::new(to.x.saturating_sub(4), to.y + 1, 4, 1);
        put(
            buffer,
            area,
            0,
            &Line::styled(format!(" {arrow}"), app.theme.style(role)),
        );
    }
    draw_heading(buffer, areas.heading, app);
    draw_rows(buffer, areas.list, app);
}

fn draw_link(buffer: &mut Buffer, area: Rect, link: LinkId, app: &App) {
    let theme = &app.theme;
    let is_focused = app.focus == Focus::Link(link);
    let (frame, title) = if is_focused {
        (theme.style(Role::Accent), theme.style(Role::Accent))
    } else {
        (theme.style(Role::Dim), theme.style(Role::Title))
    };
    let name = match link {
        LinkId::Source => "Source",
        LinkId::Mqtt | LinkId::Influxdb => link_title(link),
    };
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
    match snapshot.sinks.iter().find(|sink| sink.sink.link() == link) {
        None => lines.extend(source_lines(app, snapshot, status, pad.width)),
        Some(sink) if sink.is_disabled() => {}
        Some(sink) => lines.extend(sink_lines(app, snapshot, sink, pad.width)),
    }
    let room = usize::from(pad.height).saturating_sub(lines.len());
    lines.extend(error_lines(theme, status, pad.width, room));
    for (row, line) in (0..).zip(&lines) {
        put(buffer, pad, row, line);
    }
}

fn state_line<'a>(theme: &Theme, status: &LinkStatus, now: Timestamp, cells: u16) -> Line<'a> {
    let (glyph, role) = state_look(&status.state);
    let text = format!("{glyph} {}", status.state.word());
    let since = if status.state == LinkState::Disabled {
        String::new()
    } else {
        duration(now.since(status.since))
    };
    spread(
        vec![Span::styled(text, theme.style(role))],
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
    let theme = &app.theme;
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
    let rejected: u64 = telemetry
        .frames_rejected
        .iter()
        .map(|(_, count)| count)
        .sum();
    for (number, what) in [(telemetry.packets_missed, "missed"), (rejected, "rejected")] {
        if number > 0 {
            lines.push(spread(
                vec![Span::styled(
                    format!("▲ {}", count(number)),
                    theme.style(Role::Warn),
                )],
                vec![Span::styled(what.to_owned(), theme.style(Role::Warn))],
                cells,
            ));
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
    let theme = &app.theme;
    let bound = snapshot.journal.max_messages;
    let Flow { inward, outward } = app.observed.flow(sink.sink);
    let depth_role = if sink.queue_depth.saturating_mul(10) >= bound.saturating_mul(9) {
        Role::Bad
    } else if sink.link.state == LinkState::Up {
        Role::Good
    } else {
        Role::Warn
    };
    let activity = retry(&sink.link, app.now).or_else(|| {
        let left = app.observed.time_left(sink)?;
        Some(format!("draining, {} left", duration(left)))
    });
    let share = sink.queue_depth as f64 * 100.0 / bound.max(1) as f64;
    let mut lines = vec![
        Line::styled(activity.unwrap_or_default(), theme.style(Role::Warn)),
        spread(
            vec![Span::raw(count(sink.queue_depth))],
            vec![Span::styled(
                format!("of {} waiting", short_count(bound)),
                theme.style(Role::Dim),
            )],
            cells,
        ),
        spread(
            vec![Span::styled(
                gauge(
                    sink.queue_depth,
                    bound,
                    usize::from(cells).saturating_sub(6),
                ),
                theme.style(depth_role),
            )],
            vec![Span::styled(percent(share), theme.style(Role::Dim))],
            cells,
        ),
        spread(
            vec![
                Span::styled("in ", theme.style(Role::Dim)),
                Span::raw(rate(inward)),
            ],
            vec![
                Span::styled("out ", theme.style(Role::Dim)),
                Span::raw(rate(outward)),
            ],
            cells,
        ),
        outcome_line(theme, sink, cells),
    ];
    let lost = [(sink.dropped, "dropped"), (sink.rejected, "rejected")];
    let lost: Vec<String> = lost
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, what)| format!("{} {what}", short_count(number)))
        .collect();
    if !lost.is_empty() {
        let text = format!("✖ {}", lost.join(", "));
        lines.push(Line::styled(text, theme.style(Role::Bad)));
    }
    lines
}

fn outcome_line<'a>(theme: &Theme, sink: &SinkSnapshot, cells: u16) -> Line<'a> {
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
fn error_lines<'a>(theme: &Theme, status: &LinkStatus, cells: u16, rows: usize) -> Vec<Line<'a>> {
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
        if whole == rest && crate::tui::widgets::width(rest) <= cells {
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

fn percent(share: f64) -> String {
    match share {
        share if share <= 0.0 => "0 %".to_owned(),
        share if share < 0.1 => "<0.1%".to_owned(),
        share if share < 9.95 => format!("{share:.1}%"),
        share => format!("{share:.0} %"),
    }
}

/// A count that stays short: `98,765`, `123k`, `10M`.
fn short_count(number: u64) -> String {
    match number {
        0..100_000 => count(number),
        100_000..10_000_000 => format!("{}k", count(number / 1_000)),
        10_000_000..10_000_000_000 => format!("{}M", count(number / 1_000_000)),
        _ => format!("{}G", count(number / 1_000_000_000)),
    }
}

/// The columns of the table, as wide as the terminal allows.
struct Columns {
    node: usize,
    metric: usize,
    unit: usize,
    trend: usize,
    /// Digits before the decimal point of the value, and of its limits.
    digits: usize,
    limits: usize,
}

/// Value: digits, point, three decimals.
const DECIMALS: usize = 3;

/// `◌ stale 3m 20s`
const HEARD: usize = 14;

impl Columns {
    fn of(width: u16) -> Self {
        let mut columns = Self {
            node: 8,
            metric: 11,
            unit: 3,
            trend: 0,
            digits: 6,
            limits: 6,
        };
        let mut spare = usize::from(width).saturating_sub(columns.width());
        let mut grow = |column: &mut usize, by: usize, least: usize| {
            let by = spare.min(by);
            if by >= least {
                *column += by;
                spare -= by;
            }
        };
        grow(&mut columns.trend, 8, 4);
        grow(&mut columns.metric, 5, 1);
        grow(&mut columns.node, 8, 1);
        grow(&mut columns.trend, 22, 1);
        grow(&mut columns.metric, 8, 1);
        grow(&mut columns.node, 16, 1);
        grow(&mut columns.unit, 4, 1);
        grow(&mut columns.trend, 30, 1);
        columns
    }

    /// All with one space between them and two cells for the mark.
    fn width(&self) -> usize {
        let value = self.digits + 1 + DECIMALS;
        let limits = 2 * (self.limits + 2);
        let gap = 1;
        2 + self.node
            + 1
            + self.metric
            + 1
            + value
            + 1
            + self.unit
            + gap
            + self.trend
            + 1
            + HEARD
            + 1
            + limits
            + 1
    }
}

fn draw_heading(buffer: &mut Buffer, area: Rect, app: &App) {
    let columns = Columns::of(area.width);
    let value = columns.digits + 1 + DECIMALS;
    let limit = columns.limits + 2;
    let mut text = format!(
        "  {} {:>digits$}{:rest$} {} ",
        fitted(
            &names_heading(app, area, &columns),
            columns.node + 1 + columns.metric
        ),
        "value",
        "",
        " ".repeat(columns.unit),
        digits = columns.digits,
        rest = value - columns.digits,
    );
    if columns.trend > 0 {
        text += &format!("{} ", fitted("trend", columns.trend));
    }
    text += &format!(
        "{} {:>limits$}  {:>limits$}{}",
        fitted("heard", HEARD),
        "min",
        "max",
        filter_note(&app.table.filter),
        limits = limit - 2,
    );
    put(
        buffer,
        area,
        0,
        &Line::styled(text, app.theme.style(Role::Dim)),
    );
}

/// Names of the first two columns, or which rows of how many are shown.
fn names_heading(app: &App, heading: Rect, columns: &Columns) -> String {
    let all = app.rows().len();
    let height = usize::from(Areas::of(app).list.height);
    if all <= height || heading.height == 0 {
        return format!("{} metric", fitted("node", columns.node));
    }
    let top = app.shown_top(height);
    format!("{}–{} of {all} metrics", top + 1, top + height)
}

fn draw_rows(buffer: &mut Buffer, area: Rect, app: &App) {
    let rows = app.rows();
    if rows.is_empty() {
        let text = match app.table.filter.as_str() {
            "" => "  No telemetry yet: values appear here as soon as a frame is accepted.",
            _ => "  No metric matches the filter; Esc: show all.",
        };
        put(
            buffer,
            area,
            0,
            &Line::styled(text, app.theme.style(Role::Dim)),
        );
        return;
    }
    let columns = Columns::of(area.width);
    let height = usize::from(area.height);
    let top = app.shown_top(height);
    let selected = app.selected_row(&rows);
    for (row, (index, latest)) in (0..).zip(rows.iter().enumerate().skip(top).take(height)) {
        let is_selected = selected == Some(index) && app.focus == Focus::Table;
        put(
            buffer,
            area,
            row,
            &value_line(app, latest, &columns, is_selected),
        );
        if is_selected {
            mark_row(buffer, area, row, &app.theme);
        }
    }
}

fn value_line<'a>(app: &App, latest: &LatestValue, columns: &Columns, marked: bool) -> Line<'a> {
    let theme = &app.theme;
    let freshness = app.observed.freshness(&latest.node, app.now);
    let alarm = Alarm::of(latest);
    let age = duration(app.now.since(latest.received));
    let (heard, heard_role) = match (freshness, alarm) {
        (Freshness::Offline, _) => (format!("✖ offline {age}"), Role::Bad),
        (Freshness::Stale, _) => (format!("◌ stale {age}"), Role::Warn),
        (Freshness::Live, Alarm::High) => (format!("▲ high {age}"), Role::Bad),
        (Freshness::Live, Alarm::Low) => (format!("▼ low {age}"), Role::Bad),
        (Freshness::Live, Alarm::None) => (format!("● {age}"), Role::Good),
    };
    let value_role = match (freshness, alarm) {
        (_, Alarm::High | Alarm::Low) => Role::Bad,
        (Freshness::Live, Alarm::None) => Role::Title,
        (Freshness::Stale | Freshness::Offline, Alarm::None) => Role::Dim,
    };
    let key = (latest.node.clone(), latest.metric.clone());
    let is_picked = app.charts.picked.contains(&key);
    let mark = match (marked, is_picked) {
        (true, _) => "▸ ",
        (false, true) => "• ",
        (false, false) => "  ",
    };
    let mut spans = vec![
        Span::styled(mark, theme.style(Role::Accent)),
        Span::raw(fitted(latest.node.as_str(), columns.node)),
        Span::raw(" "),
        Span::raw(fitted(latest.metric.as_str(), columns.metric)),
        Span::raw(" "),
        Span::styled(
            aligned(latest.value, columns.digits, DECIMALS),
            theme.style(value_role),
        ),
        Span::raw(" "),
        Span::styled(fitted(unit(latest), columns.unit), theme.style(Role::Dim)),
        Span::raw(" "),
    ];
    if columns.trend > 0 {
        let line = sparkline(app.observed.trend(&key), columns.trend);
        spans.push(Span::styled(line + " ", theme.style(Role::Series(0))));
    }
    spans.push(Span::styled(fitted(&heard, HEARD), theme.style(heard_role)));
    for limit in [latest.smallest, latest.largest] {
        let text = format!(" {}", aligned(limit, columns.limits - 1, 2));
        spans.push(Span::styled(text, theme.style(Role::Dim)));
    }
    Line::from(spans)
}

/// The unit as it is read: a plain number has none.
pub(super) fn unit(latest: &LatestValue) -> &str {
    match latest.unit.as_str() {
        "1" => "",
        unit => unit,
    }
}

impl App {
    /// The first row of the table that is shown: what is chosen is always among them.
    pub(crate) fn shown_top(&self, height: usize) -> usize {
        let rows = self.rows();
        let selected = self.selected_row(&rows).unwrap_or(0);
        let last = rows.len().saturating_sub(height);
        let lowest = (selected + 1).saturating_sub(height);
        self.table.top.clamp(lowest, selected.max(lowest)).min(last)
    }
}
