//! The last value of every metric.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::{mark_row, put};
use crate::monitor::{Alarm, LatestValue, NodeState};
use crate::telemetry::Name;
use crate::tui::layout::{Areas, is_narrow};
use crate::tui::state::{App, Focus, RowsBy};
use crate::tui::theme::Role;
use crate::tui::widgets::{aligned, duration, fitted, fitted_name, sparkline, width};
use crate::tui::words::unit;

pub(super) fn draw(buffer: &mut Buffer, areas: &Areas, app: &App) {
    if areas.list.is_empty() {
        return;
    }
    let rows = app.rows();
    draw_heading(buffer, areas, app, &rows);
    draw_rows(buffer, areas.list, app, &rows);
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
    /// Names have what the longest one needs before anything else grows, up to a point.
    fn of(width: u16, longest: usize) -> Self {
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
        let wanted = longest.saturating_sub(columns.node);
        grow(&mut columns.node, wanted.min(4), 1);
        grow(&mut columns.trend, 8, 3);
        grow(&mut columns.metric, 5, 1);
        grow(&mut columns.node, wanted.saturating_sub(4).min(8), 1);
        grow(&mut columns.trend, 22, 1);
        grow(&mut columns.metric, 8, 1);
        grow(&mut columns.node, wanted.saturating_sub(12).min(20), 1);
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

fn draw_heading(buffer: &mut Buffer, areas: &Areas, app: &App, rows: &[&LatestValue]) {
    let area = areas.heading;
    let style = app.theme.style(Role::Dim);
    let longest = longest_name(app);
    if app.table.by == RowsBy::Node {
        let cells = usize::from(area.width);
        let node = node_cells(cells, longest);
        let names = names_heading(app, rows, node, areas.rows());
        let text = if is_narrow(cells) {
            // The sign of how it is heard needs no name.
            format!("  {names:<cells$}  metrics", cells = node + 2)
        } else {
            let names = fitted(&names, node);
            format!("  {names} {}  metrics", fitted("heard", HEARD))
        };
        return put(buffer, area, 0, &Line::styled(text, style));
    }
    if is_narrow(usize::from(area.width)) {
        let columns = Narrow::of(area.width, longest);
        let names = names_heading(app, rows, columns.node, areas.rows());
        let names = fitted(&names, columns.names());
        let heard = if columns.heard > 0 { "heard" } else { "" };
        let text = format!("  {names} {:>6}      {heard}", "value");
        return put(buffer, area, 0, &Line::styled(text, style));
    }
    let columns = Columns::of(area.width, longest);
    let value = columns.digits + 1 + DECIMALS;
    let limit = columns.limits + 2;
    let mut text = format!(
        "  {} {:>digits$}{:rest$} {} ",
        fitted(
            &names_heading(app, rows, columns.node, areas.rows()),
            columns.node + 1 + columns.metric
        ),
        "value",
        "",
        " ".repeat(columns.unit),
        digits = columns.digits,
        rest = value - columns.digits,
    );
    if columns.trend > 0 {
        let name = if columns.trend < 5 { "" } else { "trend" };
        text += &fitted(name, columns.trend + 1);
    }
    let limits = format!(
        "{} {:>limits$}  {:>limits$}",
        fitted("heard", HEARD),
        "min",
        "max",
        limits = limit - 2,
    );
    text += &limits;
    put(buffer, area, 0, &Line::styled(text, style));
}

/// Names of the first two columns, or which rows of how many are shown.
fn names_heading(app: &App, rows: &[&LatestValue], node: usize, height: usize) -> String {
    let all = rows.len();
    if !app.table.filter.is_empty() {
        return format!("filter: {}", app.table.filter);
    }
    if all <= height {
        return match app.table.by {
            RowsBy::Metric => format!("{} metric", fitted("node", node)),
            RowsBy::Node => "node".to_owned(),
        };
    }
    let top = app.shown_top(rows, height);
    let what = match app.table.by {
        RowsBy::Metric => "metrics",
        RowsBy::Node => "nodes",
    };
    format!("{}–{} of {all} {what}", top + 1, top + height)
}

fn draw_rows(buffer: &mut Buffer, area: Rect, app: &App, rows: &[&LatestValue]) {
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
    let line = line_of(app, area.width);
    let height = usize::from(area.height);
    let top = app.shown_top(rows, height);
    let selected = app.selected_row(rows);
    for (row, (index, latest)) in (0..).zip(rows.iter().enumerate().skip(top).take(height)) {
        let is_selected = selected == Some(index) && app.focus == Focus::Table;
        put(buffer, area, row, &line(latest, is_selected));
        if is_selected {
            mark_row(buffer, area, row, app.theme);
        }
    }
}

/// Puts a row into cells; told whether it is marked.
type DrawRow<'a> = dyn Fn(&LatestValue, bool) -> Line<'a> + 'a;

/// How a row is put into so many cells.
fn line_of(app: &App, cells: u16) -> Box<DrawRow<'_>> {
    let longest = longest_name(app);
    if app.table.by == RowsBy::Node {
        Box::new(move |latest, marked| {
            let cells = usize::from(cells);
            node_line(app, latest, (cells, node_cells(cells, longest)), marked)
        })
    } else if is_narrow(usize::from(cells)) {
        let columns = Narrow::of(cells, longest);
        Box::new(move |latest, marked| narrow_line(app, latest, &columns, marked))
    } else {
        let columns = Columns::of(cells, longest);
        Box::new(move |latest, marked| value_line(app, latest, &columns, marked))
    }
}

/// Cells that the longest name of a node takes.
fn longest_name(app: &App) -> usize {
    let latest = app.snapshot().map_or(&[][..], |snapshot| &snapshot.latest);
    let names = latest.iter().map(|latest| width(latest.node.as_str()));
    names.max().unwrap_or(0)
}

/// Cells for a node's name where a row is a node and the longest name takes so many.
fn node_cells(cells: usize, longest: usize) -> usize {
    if is_narrow(cells) {
        longest.clamp(4, 14)
    } else {
        longest.clamp(16, 24)
    }
}

/// Cells for how a node is heard, where a row is a node.
fn heard_cells(cells: usize) -> usize {
    if is_narrow(cells) { 1 } else { HEARD }
}

/// A node with the values of its metrics, as many as fit; a value beyond its limits says so.
fn node_line<'a>(
    app: &App,
    latest: &LatestValue,
    (cells, names): (usize, usize),
    marked: bool,
) -> Line<'a> {
    let theme = app.theme;
    let metrics = app.metrics_of(&latest.node);
    let last = metrics.iter().map(|metric| metric.received).max();
    let age = duration(app.now.since(last.unwrap_or(latest.received)));
    let freshness = app.node_state(&latest.node);
    let (heard, role) = heard(freshness, Alarm::None, &age);
    let heard = match heard_cells(cells) {
        1 => heard_sign(&heard),
        cells => fitted(&heard, cells),
    };
    let mut spans = vec![
        Span::styled(if marked { "▸ " } else { "  " }, theme.style(Role::Accent)),
        Span::raw(fitted_name(latest.node.as_str(), names)),
        Span::styled(format!(" {heard}"), theme.style(role)),
    ];
    let room = cells.saturating_sub(2 + names + 1 + heard_cells(cells));
    spans.extend(values_of(app, &latest.node, room, is_narrow(cells)));
    Line::from(spans)
}

/// The last values of a node's metrics, as many as fit into so many cells. Where there is little room, the
/// unit tells what each is.
pub(super) fn values_of<'a>(
    app: &App,
    node: &Name,
    mut room: usize,
    by_unit_alone: bool,
) -> Vec<Span<'a>> {
    let theme = app.theme;
    let metrics = app.metrics_of(node);
    let mut spans = Vec::new();
    for (index, latest) in metrics.iter().enumerate() {
        let alarm = match latest.alarm() {
            Alarm::None => "",
            Alarm::High => "▲ ",
            Alarm::Low => "▼ ",
        };
        let name = if by_unit_alone {
            format!(" {alarm}")
        } else {
            format!("  {} {alarm}", latest.metric)
        };
        let value = format!("{} {}", short_value(latest.value), unit(latest));
        let value = value.trim_end().to_owned();
        let left = metrics.len() - index;
        let used = width(&name) + width(&value);
        let needed = if left > 1 { used + MORE } else { used };
        if needed > room {
            spans.push(Span::styled(format!("  +{left}"), theme.style(Role::Dim)));
            break;
        }
        room -= used;
        let look = Look::of(app, latest);
        spans.push(Span::styled(name, theme.style(Role::Dim)));
        spans.push(Span::styled(value, theme.style(look.value_role)));
    }
    spans
}

/// Cells that tell how many values had no room.
const MORE: usize = 5;

fn short_value(value: f64) -> String {
    aligned(value, 6, 2).trim().to_owned()
}

/// The columns where there is room for two: what it is, and its value with a sign of how it does.
struct Narrow {
    node: usize,
    metric: usize,
    /// How long ago it was heard; 0: there is room for the sign alone.
    heard: usize,
}

impl Narrow {
    /// Value and unit, with the spaces and the mark before them.
    const VALUE: usize = 2 + 1 + 6 + 1 + DECIMALS - 1 + 1 + 3 + 1;

    fn of(width: u16, longest: usize) -> Self {
        let width = usize::from(width);
        let heard = if width >= 56 { HEARD } else { 0 };
        let names = width.saturating_sub(Self::VALUE + heard.max(1) + 1);
        let node = longest.clamp(4, (names / 2 + 1).min(16));
        Self {
            node,
            metric: names.saturating_sub(node + 1),
            heard,
        }
    }

    fn names(&self) -> usize {
        self.node + 1 + self.metric
    }
}

fn narrow_line<'a>(app: &App, latest: &LatestValue, columns: &Narrow, marked: bool) -> Line<'a> {
    let theme = app.theme;
    let look = Look::of(app, latest);
    let heard = fitted(&look.heard, columns.heard.max(1));
    let heard = match columns.heard {
        0 => heard_sign(&look.heard),
        _ => heard,
    };
    Line::from(vec![
        Span::styled(mark(app, latest, marked), theme.style(Role::Accent)),
        Span::raw(fitted_name(latest.node.as_str(), columns.node)),
        Span::raw(" "),
        Span::raw(fitted(latest.metric.as_str(), columns.metric)),
        Span::raw(" "),
        Span::styled(
            aligned(latest.value, 6, DECIMALS - 1),
            theme.style(look.value_role),
        ),
        Span::raw(" "),
        Span::styled(fitted(unit(latest), 3), theme.style(Role::Dim)),
        Span::raw(" "),
        Span::styled(heard, theme.style(look.heard_role)),
    ])
}

/// The glyph that a state begins with.
fn heard_sign(heard: &str) -> String {
    heard.chars().take(1).collect()
}

/// Glyph, state and age, and the role that goes with them.
pub(super) fn heard(freshness: NodeState, alarm: Alarm, age: &str) -> (String, Role) {
    match (freshness, alarm) {
        (NodeState::Offline, _) => (format!("✖ offline {age}"), Role::Bad),
        (NodeState::Stale, _) => (format!("◌ stale {age}"), Role::Warn),
        (NodeState::Heard, Alarm::High) => (format!("▲ high {age}"), Role::Bad),
        (NodeState::Heard, Alarm::Low) => (format!("▼ low {age}"), Role::Bad),
        (NodeState::Heard, Alarm::None) => (format!("● {age}"), Role::Good),
    }
}

/// How a metric does.
struct Look {
    /// Glyph, state and age.
    heard: String,
    heard_role: Role,
    value_role: Role,
}

impl Look {
    fn of(app: &App, latest: &LatestValue) -> Self {
        let freshness = app.node_state(&latest.node);
        let alarm = latest.alarm();
        let age = duration(app.now.since(latest.received));
        let (heard, heard_role) = heard(freshness, alarm, &age);
        let value_role = match (freshness, alarm) {
            (_, Alarm::High | Alarm::Low) => Role::Bad,
            (NodeState::Heard, Alarm::None) => Role::Title,
            (NodeState::Stale | NodeState::Offline, Alarm::None) => Role::Dim,
        };
        Self {
            heard,
            heard_role,
            value_role,
        }
    }
}

/// What stands before a row: whether keys act on it, and whether it is charted.
fn mark(app: &App, latest: &LatestValue, marked: bool) -> &'static str {
    let key = (latest.node.clone(), latest.metric.clone());
    match (marked, app.charts.picked.contains(&key)) {
        (true, _) => "▸ ",
        (false, true) => "• ",
        (false, false) => "  ",
    }
}

fn value_line<'a>(app: &App, latest: &LatestValue, columns: &Columns, marked: bool) -> Line<'a> {
    let theme = app.theme;
    let look = Look::of(app, latest);
    let mut spans = vec![
        Span::styled(mark(app, latest, marked), theme.style(Role::Accent)),
        Span::raw(fitted_name(latest.node.as_str(), columns.node)),
        Span::raw(" "),
        Span::raw(fitted(latest.metric.as_str(), columns.metric)),
        Span::raw(" "),
        Span::styled(
            aligned(latest.value, columns.digits, DECIMALS),
            theme.style(look.value_role),
        ),
        Span::raw(" "),
        Span::styled(fitted(unit(latest), columns.unit), theme.style(Role::Dim)),
        Span::raw(" "),
    ];
    if columns.trend > 0 {
        let key = (latest.node.clone(), latest.metric.clone());
        let line = sparkline(app.observed.trend(&key), columns.trend);
        spans.push(Span::styled(line + " ", theme.style(Role::Series(0))));
    }
    spans.push(Span::styled(
        fitted(&look.heard, HEARD),
        theme.style(look.heard_role),
    ));
    for limit in [latest.smallest, latest.largest] {
        let text = format!(" {}", aligned(limit, columns.limits - 1, 2));
        spans.push(Span::styled(text, theme.style(Role::Dim)));
    }
    Line::from(spans)
}
