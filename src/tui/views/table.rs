//! The last value of every metric.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::{mark_row, put};
use crate::monitor::{Alarm, LatestValue, NodeState};
use crate::tui::layout::Areas;
use crate::tui::state::{App, Focus};
use crate::tui::theme::Role;
use crate::tui::widgets::{aligned, duration, fitted, sparkline};
use crate::tui::words::unit;

pub(super) fn draw(buffer: &mut Buffer, areas: &Areas, app: &App) {
    draw_heading(buffer, areas.heading, app);
    draw_rows(buffer, areas.list, app);
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

/// `✖ offline 1h 01m`
const HEARD: usize = 16;

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
            &names_heading(app, &columns),
            columns.node + 1 + columns.metric
        ),
        "value",
        "",
        " ".repeat(columns.unit),
        digits = columns.digits,
        rest = value - columns.digits,
    );
    if columns.trend > 0 {
        text += &fitted("trend", columns.trend + 1);
    }
    let limits = format!(
        "{} {:>limits$}  {:>limits$}",
        fitted("heard", HEARD),
        "min",
        "max",
        limits = limit - 2,
    );
    text += &limits;
    put(
        buffer,
        area,
        0,
        &Line::styled(text, app.theme.style(Role::Dim)),
    );
}

/// Names of the first two columns, or which rows of how many are shown.
fn names_heading(app: &App, columns: &Columns) -> String {
    let all = app.rows().len();
    let height = app.areas().rows();
    if !app.table.filter.is_empty() {
        return format!("filter: {}", app.table.filter);
    }
    if all <= height {
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
            mark_row(buffer, area, row, app.theme);
        }
    }
}

fn value_line<'a>(app: &App, latest: &LatestValue, columns: &Columns, marked: bool) -> Line<'a> {
    let theme = app.theme;
    let state = app.node_state(&latest.node);
    let alarm = latest.alarm();
    let age = duration(app.now.since(latest.received));
    let (heard, heard_role) = match (state, alarm) {
        (NodeState::Offline, _) => (format!("✖ offline {age}"), Role::Bad),
        (NodeState::Stale, _) => (format!("◌ stale {age}"), Role::Warn),
        (NodeState::Heard, Alarm::High) => (format!("▲ high {age}"), Role::Bad),
        (NodeState::Heard, Alarm::Low) => (format!("▼ low {age}"), Role::Bad),
        (NodeState::Heard, Alarm::None) => (format!("● {age}"), Role::Good),
    };
    let value_role = match (state, alarm) {
        (_, Alarm::High | Alarm::Low) => Role::Bad,
        (NodeState::Heard, Alarm::None) => Role::Title,
        (NodeState::Stale | NodeState::Offline, Alarm::None) => Role::Dim,
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
