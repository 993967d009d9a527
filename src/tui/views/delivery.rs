//! The last deliveries, and how long all of them took.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::put;
use super::stream::{self, Look, following};
use crate::monitor::{DeliveryEntry, DeliveryOutcome, LATENCY_BUCKETS, SinkSnapshot};
use crate::tui::layout::{Areas, is_narrow};
use crate::tui::state::{App, Shown};
use crate::tui::theme::{Role, Theme};
use crate::tui::widgets::{
    count, cut, escape_text, fitted_name, fitting, short_count, time_of_day, width,
};
use crate::tui::words::link_title;

/// Cells before what was delivered.
const WHAT: usize = 50;

/// The same where there is little room.
const NARROW_WHAT: usize = 12;

/// Cells for the number of the longest bar, and the axis.
const AXIS: usize = 8;

/// Cells in which a histogram can be read.
const LEAST_HISTOGRAM: u16 = 26;

const BUCKETS: usize = LATENCY_BUCKETS.len() + 1;

pub(super) fn draw(buffer: &mut Buffer, areas: &Areas, app: &App) {
    let view = &app.deliveries.view;
    let look = Look {
        heading: heading(areas) + &following(view),
        nothing: if app.is_past() {
            " A journal does not tell how something was delivered."
        } else if view.filter.is_empty() {
            " Nothing has been delivered yet."
        } else {
            " No delivery matches the filter; Esc: show all."
        },
        line: delivery_line,
    };
    let shown = app.deliveries.shown();
    stream::draw(buffer, areas, app.theme, (&shown, view), look);
    draw_histograms(buffer, areas.histogram, app);
}

fn heading(areas: &Areas) -> String {
    if is_narrow(usize::from(areas.list.width)) {
        return format!(" {:<8}   topic or line", "time");
    }
    format!(
        " {:<8} {:<9} {:<11} {:>7} {:>8}  topic or line",
        "time", "to", "result", "count", "latency",
    )
}

/// Glyph, word and role of an outcome.
pub(super) fn outcome_look(outcome: &DeliveryOutcome) -> (&'static str, &'static str, Role) {
    match outcome {
        DeliveryOutcome::Delivered => ("✓", "delivered", Role::Good),
        DeliveryOutcome::Failed { .. } => ("↻", "failed", Role::Warn),
        DeliveryOutcome::Rejected { .. } => ("✖", "rejected", Role::Bad),
    }
}

fn delivery_line<'a>(theme: Theme, shown: &Shown<'_, DeliveryEntry>, cells: usize) -> Line<'a> {
    let entry = shown.entry;
    let (glyph, word, role) = outcome_look(&entry.outcome);
    let what = match &entry.outcome {
        DeliveryOutcome::Delivered => escape_text(&entry.what),
        DeliveryOutcome::Failed { reason } | DeliveryOutcome::Rejected { reason } => {
            escape_text(&format!("{reason}: {}", entry.what))
        }
    };
    let time = Span::styled(
        format!(" {} ", time_of_day(entry.at)),
        theme.style(Role::Dim),
    );
    if is_narrow(cells) {
        let glyph = Span::styled(format!("{glyph} "), theme.style(role));
        return Line::from(vec![
            time,
            glyph,
            Span::raw(cut(&what, cells.saturating_sub(NARROW_WHAT))),
        ]);
    }
    Line::from(vec![
        time,
        Span::raw(fitted_name(&link_title(entry.sink.link()), 9)),
        Span::raw(" "),
        Span::styled(format!("{glyph} {word:<10}"), theme.style(role)),
        Span::raw(format!("{:>7} ", count(entry.count))),
        Span::styled(
            format!("{:>8}  ", latency(entry.latency)),
            theme.style(Role::Dim),
        ),
        Span::raw(cut(&what, cells.saturating_sub(WHAT))),
    ])
}

/// A latency with its unit: `0.8 ms`, `12 ms`, `3.4 s`, `2m 03s`.
pub(super) fn latency(latency: Duration) -> String {
    let millis = latency.as_secs_f64() * 1_000.0;
    match millis {
        millis if millis < 9.95 => format!("{millis:.1} ms"),
        millis if millis < 999.5 => format!("{millis:.0} ms"),
        millis if millis < 59_950.0 => format!("{:.1} s", millis / 1_000.0),
        _ => crate::tui::widgets::duration(latency),
    }
}

fn draw_histograms(buffer: &mut Buffer, area: Rect, app: &App) {
    let Some(snapshot) = app.snapshot() else {
        return;
    };
    let sinks: Vec<&SinkSnapshot> = snapshot
        .sinks
        .iter()
        .filter(|sink| !sink.is_disabled())
        .collect();
    if sinks.is_empty() {
        let text = " No sink is configured: nothing is delivered anywhere.";
        let line = Line::styled(text, app.theme.style(Role::Dim));
        put(buffer, area, 1, &line);
        return;
    }
    let fitting = (area.width / LEAST_HISTOGRAM).max(1);
    let all = u16::try_from(sinks.len()).unwrap_or(u16::MAX);
    let columns = all.clamp(2.min(fitting), fitting);
    let cells = area.width / columns;
    for (index, sink) in (0..columns).zip(sinks) {
        let place = Rect::new(area.x + index * cells, area.y, cells, area.height);
        let hidden = if index + 1 < columns {
            0
        } else {
            all.saturating_sub(columns)
        };
        histogram(buffer, place, app.theme, (sink, hidden));
    }
}

/// One bar for each bucket, over their bounds; the last one says how many sinks have no room.
fn histogram(buffer: &mut Buffer, area: Rect, theme: Theme, (sink, hidden): (&SinkSnapshot, u16)) {
    let buckets = &sink.latency.buckets;
    let total: u64 = buckets.iter().sum();
    let name = format!(" {}", link_title(sink.sink.link()));
    let mut facts = if total == 0 {
        vec!["  nothing yet".to_owned()]
    } else {
        let mean = Duration::try_from_secs_f64(sink.latency.sum_seconds / total as f64);
        let mean = mean.map_or_else(|_| "?".to_owned(), latency);
        let half = median_bound(buckets, total);
        vec![format!("  mean {mean}"), format!(", half < {half}")]
    };
    if hidden > 0 {
        facts.insert(0, format!("  +{hidden} more"));
    }
    let facts = fitting(&facts, usize::from(area.width).saturating_sub(width(&name)));
    let title = vec![
        Span::styled(name, theme.style(Role::Title)),
        Span::styled(facts, theme.style(Role::Dim)),
    ];
    put(buffer, area, 0, &Line::from(title));
    let cells = usize::from(area.width).saturating_sub(AXIS + 2) / BUCKETS;
    let (cells, rows) = (cells.max(1), area.height.saturating_sub(3));
    let most = buckets.iter().copied().max().unwrap_or(0);
    for row in 0..rows {
        let line: String = buckets
            .iter()
            .map(|count| bar(*count, most, rows, rows - 1 - row, cells))
            .collect();
        let axis = match (row, most) {
            (0, 1..) => format!("{:>6} ┤", short_count(most)),
            _ => format!("{:>6} │", ""),
        };
        let line = Line::from(vec![
            Span::styled(axis, theme.style(Role::Dim)),
            Span::styled(line, theme.style(Role::Series(0))),
        ]);
        put(buffer, area, row + 1, &line);
    }
    let axis = format!("{:>6} ┼{}", 0, "─".repeat(cells * BUCKETS));
    put(
        buffer,
        area,
        rows + 1,
        &Line::styled(axis, theme.style(Role::Dim)),
    );
    put(
        buffer,
        area,
        rows + 2,
        &Line::styled(bounds(cells), theme.style(Role::Dim)),
    );
}

/// The part of a bar that lies in one row, counted from below. What there is shows.
fn bar(value: u64, most: u64, rows: u16, row: u16, cells: usize) -> String {
    const PARTS: [&str; 9] = [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];
    let eighths = if most == 0 {
        0
    } else {
        let whole = u128::from(rows) * 8;
        (u128::from(value) * whole).div_ceil(u128::from(most))
    };
    let here = eighths.saturating_sub(u128::from(row) * 8).min(8);
    let part = PARTS[usize::try_from(here).unwrap_or(8)];
    let mut text = part.repeat(cells.saturating_sub(1).max(1));
    if cells > 1 {
        text.push(' ');
    }
    text
}

/// The bounds of some buckets, each below the end of its bar.
fn bounds(cells: usize) -> String {
    let mut line = " ".repeat(AXIS);
    for (index, bound) in LATENCY_BUCKETS.iter().enumerate() {
        let label = match *bound {
            bound if bound < 1.0 => format!("{}ms", bound * 1_000.0),
            bound if bound < 60.0 => format!("{bound}s"),
            bound if bound < 3600.0 => format!("{}m", bound / 60.0),
            bound => format!("{}h", bound / 3600.0),
        };
        let end = AXIS + (index + 1) * cells;
        // Only whole labels with a space before them.
        if width(&line) + label.len() < end {
            line = format!("{line:<width$}{label}", width = end - label.len());
        }
    }
    line
}

/// The bound below which half of all lie.
fn median_bound(buckets: &[u64], total: u64) -> String {
    let mut sum = 0;
    let reached = buckets.iter().position(|count| {
        sum += count;
        sum * 2 >= total
    });
    match reached.and_then(|index| LATENCY_BUCKETS.get(index)) {
        Some(bound) => latency(Duration::from_secs_f64(*bound)),
        None => "∞".to_owned(),
    }
}
