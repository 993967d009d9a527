//! One node: what is known of it, its metrics, its last frames, its last events.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::{bar, decibels, lost, state_look};
use crate::monitor::{NodeStatus, Spread};
use crate::telemetry::Name;
use crate::tui::layout::{Areas, is_narrow};
use crate::tui::state::App;
use crate::tui::theme::Role;
use crate::tui::views::{charts, log, put, traffic};
use crate::tui::widgets::{aligned, count, duration, fitted, gap, sparkline};
use crate::tui::words::{link_heading, unit};

/// Cells of the bar of what has passed of its interval.
const BAR: usize = 10;

/// Cells of a value with its unit and the spaces around both.
const VALUE: usize = 1 + 9 + 1 + 3 + 1;

/// A shorter interval is told in more than whole seconds.
const SHORT: Duration = Duration::from_secs(10);

/// Most cells of the trend of a signal.
const TREND: usize = 20;

pub(super) fn draw(buffer: &mut Buffer, areas: &Areas, app: &App, name: &Name) {
    let places = &areas.node;
    let Some(node) = app.opened_node() else {
        let text = format!(" Nothing is known of {name} any more; Esc: back.");
        let line = Line::styled(text, app.theme.style(Role::Dim));
        return put(buffer, places.facts, 0, &line);
    };
    let facts = [
        state(app, node, places.facts.width),
        signal(app, node, places.facts.width),
        packets(app, node),
    ];
    for (row, line) in (0..).zip(&facts) {
        put(buffer, places.facts, row, line);
    }
    draw_values(buffer, places.values, app, node);
    charts::draw_each(buffer, &places.charts, app, app.node_charts());
    if !places.frames.is_empty() {
        traffic::draw_last_of(buffer, places.frames, app, name);
        log::draw_last_of(buffer, places.events, app, name);
    }
}

/// Its name, how it is heard, and the bar of its interval.
pub(super) fn state<'a>(app: &App, node: &NodeStatus, cells: u16) -> Line<'a> {
    let theme = app.theme;
    let (words, role) = state_look(node.state, app.node_alarm(&node.node));
    let bar_cells = if is_narrow(usize::from(cells)) {
        0
    } else {
        BAR
    };
    let (bar, bar_role) = bar(app, node, bar_cells);
    let age = duration(app.now.since(node.last_heard));
    let usual = node.interval.map_or_else(String::new, |interval| {
        let interval = Duration::try_from_secs_f64(interval).unwrap_or_default();
        let words = if interval < SHORT {
            gap(interval)
        } else {
            duration(interval)
        };
        format!(" of {words}")
    });
    Line::from(vec![
        Span::styled(format!(" {} ", node.node), theme.style(Role::Title)),
        Span::styled(format!("{words} "), theme.style(role)),
        Span::styled(bar, theme.style(bar_role)),
        Span::raw(format!(" {age}{usual}")),
    ])
}

/// Strength, ratio to the noise, and what is left of both.
fn signal<'a>(app: &App, node: &NodeStatus, cells: u16) -> Line<'a> {
    let (rssi, snr) = app.signal_of(node);
    if rssi.is_none() && snr.is_none() {
        let text = " No signal is known: nothing tells how it is received.";
        return Line::styled(text, app.theme.style(Role::Dim));
    }
    let factor = app.nodes.factor;
    let margin = decibels(factor.margin(rssi, snr));
    if is_narrow(usize::from(cells)) {
        let (rssi, snr) = (decibels(rssi), decibels(snr));
        let text = format!(" margin {margin} dB  RSSI {rssi}  SNR {snr}");
        return Line::raw(text);
    }
    let text = format!(" margin {margin} dB at {}  ", factor.name());
    let whole = |trend: usize| {
        let mut spans = vec![Span::raw(text.clone())];
        spans.extend(both_signals(app, node, (rssi, snr), trend));
        Line::from(spans)
    };
    // The trends have what the figures leave.
    let left = usize::from(cells).saturating_sub(whole(0).width());
    whole((left / 2).min(TREND))
}

/// Strength and ratio to the noise, each with its unit, a trend of so many cells and its range.
fn both_signals<'a>(
    app: &App,
    node: &NodeStatus,
    (rssi, snr): (Option<f64>, Option<f64>),
    trend: usize,
) -> Vec<Span<'a>> {
    let heard = app.observed.heard(&node.node);
    let values = heard.map(|heard| (&heard.rssi, &heard.snr)).unzip();
    let both = [
        ("RSSI", "dBm", rssi, node.signal.rssi, values.0),
        ("SNR", "dB", snr, node.signal.snr, values.1),
    ];
    let mut spans = Vec::new();
    for (label, unit, value, spread, values) in both {
        let label = format!("{label} ");
        spans.push(Span::styled(label, app.theme.style(Role::Dim)));
        spans.push(Span::raw(format!("{} {unit} ", decibels(value))));
        if let Some(values) = values.filter(|values| values.len() > 1) {
            let cells = trend.min(values.len());
            let line = sparkline(values.iter().copied(), cells);
            spans.push(Span::styled(line, app.theme.style(Role::Series(0))));
        }
        spans.push(Span::styled(range(spread), app.theme.style(Role::Dim)));
    }
    spans
}

/// ` (-46 … -38)  `
fn range(spread: Option<Spread>) -> String {
    let Some(spread) = spread else {
        return "  ".to_owned();
    };
    let (lowest, highest) = (
        decibels(Some(spread.lowest)),
        decibels(Some(spread.highest)),
    );
    format!(" ({lowest} … {highest})  ")
}

fn packets<'a>(app: &App, node: &NodeStatus) -> Line<'a> {
    let (lost, role) = lost(node);
    let lost = if node.misses_known {
        format!(", {lost} lost")
    } else {
        lost_by_source(app, &node.node)
    };
    let first = duration(app.now.since(node.first_heard));
    Line::from(vec![
        Span::raw(format!(" {} packets", count(node.packets))),
        Span::styled(lost, app.theme.style(role)),
        Span::styled(format!("  known for {first}"), app.theme.style(Role::Dim)),
    ])
}

/// What was lost of the source of a node, where nobody can tell of which node that was.
fn lost_by_source(app: &App, node: &Name) -> String {
    let source = app.source_of(node);
    let sources = app.sources();
    let link = match source {
        Some(name) => sources.into_iter().find(|link| link.name() == name),
        None => sources.into_iter().next(),
    };
    let snapshot = app.snapshot().filter(|_| !app.is_past());
    match (snapshot, link) {
        // None may mean that nobody counts.
        (Some(snapshot), Some(link)) => match snapshot.telemetry_of(&link).packets_missed {
            0 => String::new(),
            missed => format!("; {} missed {}", link_heading(&link), count(missed)),
        },
        _ => String::new(),
    }
}

/// The metrics with their last values and trends, where there is no room for charts.
fn draw_values(buffer: &mut Buffer, area: Rect, app: &App, node: &NodeStatus) {
    let cells = usize::from(area.width);
    let name = (cells / 2).saturating_sub(2).min(24);
    let trend = cells.saturating_sub(1 + name + VALUE + 1);
    let metrics = app
        .metrics_of(&node.node)
        .iter()
        .skip(app.nodes.first_chart);
    for (row, latest) in (0..area.height).zip(metrics) {
        let key = (latest.node.clone(), latest.metric.clone());
        let line = Line::from(vec![
            Span::raw(format!(" {}", fitted(latest.metric.as_str(), name))),
            Span::styled(
                format!(" {} ", aligned(latest.value, 6, 2)),
                app.theme.style(Role::Title),
            ),
            Span::styled(
                format!("{} ", fitted(unit(latest), 3)),
                app.theme.style(Role::Dim),
            ),
            Span::styled(
                sparkline(app.observed.trend(&key), trend),
                app.theme.style(Role::Series(0)),
            ),
        ]);
        put(buffer, area, row, &line);
    }
}
