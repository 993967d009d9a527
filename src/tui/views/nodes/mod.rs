//! The nodes, a row each, or one of them that is looked into.

mod detail;
mod walk;

use ratatui::buffer::Buffer;
use ratatui::text::{Line, Span};

use super::{filter_note, mark_row, put, table};
use crate::monitor::{Alarm, NodeState, NodeStatus};
use crate::telemetry::Name;
use crate::tui::layout::{Areas, is_narrow};
use crate::tui::state::App;
use crate::tui::theme::Role;
use crate::tui::widgets::{count, duration, fitted, fitted_name, gauge, percent, sparkline, width};

pub(super) fn draw(buffer: &mut Buffer, areas: &Areas, app: &App) {
    match (&app.nodes.opened, &app.nodes.walk) {
        (Some(node), Some(walk)) => walk::draw(buffer, areas.body, app, (node, walk)),
        (Some(node), None) => detail::draw(buffer, areas, app, node),
        (None, _) => draw_list(buffer, areas, app),
    }
}

fn draw_list(buffer: &mut Buffer, areas: &Areas, app: &App) {
    let rows = app.node_rows();
    let dim = app.theme.style(Role::Dim);
    let height = areas.rows();
    let top = app.shown_top_node(&rows, height);
    let columns = Columns::of(app, &rows, usize::from(areas.list.width));
    let heading = columns.heading(app, (top, rows.len()), height);
    put(buffer, areas.heading, 0, &Line::styled(heading, dim));
    if rows.is_empty() {
        let text = match app.nodes.filter.as_str() {
            "" => "  No node yet: one is known after three of its frames.",
            _ => "  No node matches the filter; Esc: show all.",
        };
        put(buffer, areas.list, 0, &Line::styled(text, dim));
        return;
    }
    let selected = app.selected_node(&rows);
    for (row, (index, node)) in (0..).zip(rows.iter().enumerate().skip(top).take(height)) {
        let is_selected = index == selected;
        let line = columns.line(app, node, is_selected);
        put(buffer, areas.list, row, &line);
        if is_selected {
            mark_row(buffer, areas.list, row, app.theme);
        }
    }
}

/// `✖ offline`
const STATE: usize = 9;

/// The bar of what has passed of a node's interval.
const BAR: usize = 6;

/// `23h 59m`
const AGE: usize = 7;

/// `-120.5`
const SIGNAL: usize = 6;

/// `● 23h 59m`, where there is room for little else. What is not well says so in a word, and its old values
/// make room for that.
const HEARD: usize = 9;

/// `1–50 of 99`, in the heading.
const LEAST_NAME: usize = 10;

/// ` 84190 Ω` and how many have no room.
const VALUE: usize = 14;

/// Cells that have room for a value.
const LEAST_VALUES: usize = 10;

/// Cells that have room for values with the names of their metrics.
const ROOM_FOR_NAMES: usize = 60;

/// The columns of the list, as wide as the terminal allows.
struct Columns {
    cells: usize,
    name: usize,
    /// The name of the source; 0: there is one alone, or no room.
    source: usize,
    /// The trend of either signal.
    trend: usize,
}

impl Columns {
    fn of(app: &App, rows: &[&NodeStatus], cells: usize) -> Self {
        let is_wide = cells >= 110;
        let several = app.snapshot().is_some_and(|it| it.sources.len() > 1);
        let source = if several && is_wide { 10 } else { 0 };
        let names = rows.iter().map(|node| {
            let source = app.source_of(&node.node).filter(|_| source > 0);
            width(own_name(&node.node, source))
        });
        let most = match cells {
            _ if is_narrow(cells) => cells.saturating_sub(2 + 1 + HEARD + VALUE).min(24),
            140.. => 24,
            100.. => 18,
            _ => 13,
        };
        Self {
            cells,
            name: names.max().unwrap_or(0).clamp(LEAST_NAME.min(most), most),
            source,
            trend: if is_wide { 8 } else { 4 },
        }
    }

    fn heading(&self, app: &App, (top, all): (usize, usize), height: usize) -> String {
        let names = if !app.nodes.filter.is_empty() {
            filter_note(&app.nodes.filter).trim_start().to_owned()
        } else if all > height {
            format!("{}–{} of {all}", top + 1, top + height)
        } else {
            "node".to_owned()
        };
        let names = fitted(&names, self.name);
        if is_narrow(self.cells) {
            return format!("  {names} heard");
        }
        let source = match self.source {
            0 => String::new(),
            cells => format!(" {}", fitted("source", cells)),
        };
        let signal = SIGNAL + 1 + self.trend;
        let heading = format!(
            "  {names}{source} {:STATE$} {:heard$} {:signal$} {:signal$} {:>7} {:>6}",
            "state",
            "heard",
            "  RSSI",
            "   SNR",
            "packets",
            "lost",
            heard = BAR + 1 + AGE,
        );
        let has_values = width(&heading) + 1 + LEAST_VALUES < self.cells;
        let values = if has_values { "  values" } else { "" };
        heading + values
    }

    fn line<'a>(&self, app: &App, node: &NodeStatus, marked: bool) -> Line<'a> {
        let theme = app.theme;
        let source = app.source_of(&node.node).filter(|_| self.source > 0);
        let mark = if marked { "▸ " } else { "  " };
        let mut spans = vec![
            Span::styled(mark, theme.style(Role::Accent)),
            Span::raw(fitted_name(own_name(&node.node, source), self.name)),
        ];
        let age = duration(app.now.since(node.last_heard));
        let alarm = app.node_alarm(&node.node);
        if is_narrow(self.cells) {
            let (words, role) = table::heard(node.state, alarm, &age);
            let cells = HEARD.max(width(&words));
            let words = format!(" {}", fitted(&words, cells));
            spans.push(Span::styled(words, theme.style(role)));
            let room = self.cells.saturating_sub(2 + self.name + 1 + cells);
            spans.extend(table::values_of(app, &node.node, room, true));
            return Line::from(spans);
        }
        if self.source > 0 {
            let source = fitted_name(source.unwrap_or_default(), self.source);
            spans.push(Span::styled(format!(" {source}"), theme.style(Role::Dim)));
        }
        let (state, role) = state_look(node.state, alarm);
        spans.push(Span::styled(
            format!(" {}", fitted(state, STATE)),
            theme.style(role),
        ));
        let (bar, role) = bar(app, node, BAR);
        spans.push(Span::styled(format!(" {bar}"), theme.style(role)));
        spans.push(Span::raw(format!(" {age:>AGE$}")));
        spans.extend(self.signals(app, node));
        spans.extend(counts(app, node));
        let used: usize = spans.iter().map(|it| width(&it.content)).sum();
        let room = self.cells.saturating_sub(used + 1);
        if room >= LEAST_VALUES {
            let by_unit_alone = room < ROOM_FOR_NAMES;
            spans.extend(table::values_of(app, &node.node, room, by_unit_alone));
        }
        Line::from(spans)
    }

    fn signals<'a>(&self, app: &App, node: &NodeStatus) -> [Span<'a>; 4] {
        let (rssi, snr) = app.signal_of(node);
        let heard = app.observed.heard(&node.node);
        let number = |value: Option<f64>| Span::raw(format!(" {:>SIGNAL$}", decibels(value)));
        let trend = |values: Option<String>| {
            let line = values.unwrap_or_else(|| " ".repeat(self.trend));
            Span::styled(format!(" {line}"), app.theme.style(Role::Series(0)))
        };
        let of = |values: &std::collections::VecDeque<f64>| {
            sparkline(values.iter().copied(), self.trend)
        };
        [
            number(rssi),
            trend(heard.map(|heard| of(&heard.rssi))),
            number(snr),
            trend(heard.map(|heard| of(&heard.snr))),
        ]
    }
}

fn counts<'a>(app: &App, node: &NodeStatus) -> [Span<'a>; 2] {
    let (lost, role) = lost(node);
    [
        Span::raw(format!(" {:>7}", count(node.packets))),
        Span::styled(format!(" {lost:>6}"), app.theme.style(role)),
    ]
}

/// A node's name without that of its source, where this stands beside it.
fn own_name<'a>(node: &'a Name, source: Option<&str>) -> &'a str {
    let name = source.and_then(|source| node.as_str().strip_prefix(source));
    name.map_or(node.as_str(), str::trim_start)
}

fn state_look(state: NodeState, alarm: Alarm) -> (&'static str, Role) {
    match (state, alarm) {
        (NodeState::Offline, _) => ("✖ offline", Role::Bad),
        (NodeState::Stale, _) => ("◌ stale", Role::Warn),
        (NodeState::Heard, Alarm::High) => ("▲ high", Role::Bad),
        (NodeState::Heard, Alarm::Low) => ("▼ low", Role::Bad),
        (NodeState::Heard, Alarm::None) => ("● heard", Role::Good),
    }
}

/// How much of its usual interval has passed since a node was heard; nothing where that is not known.
fn bar(app: &App, node: &NodeStatus, cells: usize) -> (String, Role) {
    let Some(interval) = node.interval else {
        return (" ".repeat(cells), Role::Dim);
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an interval is positive, and of no more than days"
    )]
    let interval = (interval * 1_000.0) as u64;
    let age = u64::try_from(app.now.since(node.last_heard).as_millis()).unwrap_or(u64::MAX);
    let role = match node.state {
        NodeState::Heard => Role::Good,
        NodeState::Stale => Role::Warn,
        NodeState::Offline => Role::Bad,
    };
    (gauge(age, interval, cells), role)
}

/// `-39`, `9.5`, or `–` where it is not known.
fn decibels(value: Option<f64>) -> String {
    let Some(value) = value else {
        return "–".to_owned();
    };
    let text = format!("{value:.1}");
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}

/// The share of its packets that were lost, where that can be told.
fn lost(node: &NodeStatus) -> (String, Role) {
    if !node.misses_known {
        return ("–".to_owned(), Role::Dim);
    }
    let role = if node.missed > 0 {
        Role::Warn
    } else {
        Role::Text
    };
    (percent(node.missed_ratio() * 100.0), role)
}
