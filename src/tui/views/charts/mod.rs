//! Metrics over time: one panel for each unit, all over the same stretch.

mod legend;
mod marks;
mod scale;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::symbols::Marker;
use ratatui::text::Line;
use ratatui::widgets::Widget;
use ratatui::widgets::canvas::{Canvas, Line as Segment, Points};

use scale::{Spread, Stroke};

use super::put;
use crate::monitor::HistoryPoint;
use crate::telemetry::Timestamp;
use crate::tui::action::MetricKey;
use crate::tui::layout::{Areas, LABELS, plot};
use crate::tui::state::{App, Limits, Panel, nanos};
use crate::tui::theme::Role;
use crate::tui::widgets::{duration, fitting, span, time_of_day, time_of_minute};

/// The least rows of a panel, its heading and its axis included.
const LEAST_ROWS: u16 = 7;

/// The least rows of a plot from which on one can be spared for marks.
const LEAST_LANE_ROWS: u16 = 4;

pub(super) fn draw(buffer: &mut Buffer, areas: &Areas, app: &App) {
    let panels = app.panels();
    let fitting = usize::from(areas.list.height / LEAST_ROWS).max(1);
    draw_heading(buffer, areas.heading, app, panels.len() > fitting);
    if panels.is_empty() {
        let text = " No metric yet: pick some on the page Overview with c.";
        put(
            buffer,
            areas.list,
            0,
            &Line::styled(text, app.theme.style(Role::Dim)),
        );
        return;
    }
    let first = app
        .charts
        .first_panel
        .min(panels.len().saturating_sub(fitting));
    let shown = &panels[first..(first + fitting).min(panels.len())];
    let rows = areas.list.height / u16::try_from(shown.len()).unwrap_or(1).max(1);
    for (index, panel) in (0..).zip(shown) {
        let area = Rect::new(
            areas.list.x,
            areas.list.y + index * rows,
            areas.list.width,
            rows,
        );
        draw_panel(buffer, area, app, panel);
    }
}

/// The chart of what is chosen in the table, beside it.
pub(super) fn draw_chosen(buffer: &mut Buffer, area: Rect, app: &App) {
    for panel in app.panels_of(app.selected_keys()).into_iter().take(1) {
        draw_panel(buffer, area, app, &panel);
    }
}

/// The chart of each of some metrics in its place.
pub(super) fn draw_each(buffer: &mut Buffer, places: &[Rect], app: &App, metrics: Vec<MetricKey>) {
    for (place, metric) in places.iter().zip(metrics) {
        for panel in app.panels_of(vec![metric]) {
            draw_panel(buffer, *place, app, &panel);
        }
    }
}

fn draw_heading(buffer: &mut Buffer, area: Rect, app: &App, is_more: bool) {
    let cursor = match app.charts.cursor {
        Some(at) => format!(
            "  cursor {}, {} ago",
            time_of_day(at),
            duration(app.now.since(at))
        ),
        None => String::new(),
    };
    let more = if is_more { "  ↑ ↓: more units" } else { "" };
    let picked = if app.charts.picked.is_empty() {
        "  (c on Overview: pick others)"
    } else {
        ""
    };
    let texts = [
        format!(" last {}", span_words(app)),
        ", times in UTC".to_owned(),
        cursor,
        more.to_owned(),
        picked.to_owned(),
    ];
    let text = fitting(&texts, usize::from(area.width));
    put(
        buffer,
        area,
        0,
        &Line::styled(text, app.theme.style(Role::Dim)),
    );
}

fn draw_panel(buffer: &mut Buffer, area: Rect, app: &App, panel: &Panel) {
    legend::draw(buffer, area, app, panel);
    let mut plot = plot(area);
    if plot.width == 0 || plot.height == 0 {
        return;
    }
    let (from, to) = stretch(app);
    let lane = marks::of(app, panel, (from, to), plot.width);
    if plot.height >= LEAST_LANE_ROWS && marks::draw(buffer, plot, app, &lane) {
        plot.y += 1;
        plot.height -= 1;
    }
    let lines: Vec<(usize, &[HistoryPoint])> = panel
        .metrics
        .iter()
        .filter_map(|metric| {
            let series = app.charts.series(&metric.key)?;
            Some((metric.number, &*series.points))
        })
        .collect();
    let limits = panel.limits();
    let Some(bounds) = scale::bounds(&lines, from, limits) else {
        put(buffer, plot, plot.height / 2, &nothing(app, panel));
        return;
    };
    draw_value_axis(buffer, area, plot, app, bounds);
    draw_time_axis(buffer, area, plot, app);
    let strokes = scale::strokes(&lines, (from, to));
    let spreads = scale::spreads(&lines, (from, to));
    draw_lines(buffer, plot, app, (&strokes, &spreads), bounds);
    draw_limits(buffer, plot, app, limits, bounds);
    if panel.metrics.len() > 1 {
        draw_numbers(buffer, plot, app, &strokes, bounds);
    }
    draw_cursor(buffer, plot, app);
}

fn draw_lines(
    buffer: &mut Buffer,
    plot: Rect,
    app: &App,
    (strokes, spreads): (&[Stroke], &[Spread]),
    (low, high): (f64, f64),
) {
    let canvas = Canvas::default()
        .marker(Marker::Braille)
        .x_bounds([0.0, 1.0])
        .y_bounds([low, high])
        .paint(|context| {
            let color = |number| {
                let style = app.theme.style(Role::Series(number));
                style.fg.unwrap_or_default()
            };
            for (number, x, (least, most)) in spreads {
                context.draw(&Segment::new(*x, *least, *x, *most, color(*number)));
            }
            for (number, stroke) in strokes {
                let color = color(*number);
                if stroke.len() == 1 {
                    context.draw(&Points::new(stroke, color));
                }
                for pair in stroke.windows(2) {
                    let ((x1, y1), (x2, y2)) = (pair[0], pair[1]);
                    context.draw(&Segment::new(x1, y1, x2, y2, color));
                }
            }
        });
    canvas.render(plot, buffer);
}

/// Dots where a value would be an alarm, so that what is none is a band between them.
fn draw_limits(
    buffer: &mut Buffer,
    plot: Rect,
    app: &App,
    (min, max): Limits,
    (low, high): (f64, f64),
) {
    let shown = |limit: &f64| (low..=high).contains(limit);
    let top = max
        .filter(shown)
        .map(|max| row_of(max, (low, high), plot.height));
    let bottom = min
        .filter(shown)
        .map(|min| row_of(min, (low, high), plot.height));
    let style = app.theme.style(Role::Dim);
    for row in 0..plot.height {
        let is_limit = Some(row) == top || Some(row) == bottom;
        let is_beyond = top.is_some_and(|top| row < top) || bottom.is_some_and(|it| row > it);
        let symbol = match (is_limit, is_beyond) {
            (true, _) => "╌",
            (false, true) => "·",
            (false, false) => continue,
        };
        for column in plot.left()..plot.right() {
            let cell = &mut buffer[(column, plot.y + row)];
            if matches!(cell.symbol(), " " | "\u{2800}") {
                cell.set_symbol(symbol).set_style(style);
            }
        }
    }
}

/// The number of each line at its end: colours alone would tell nothing to those who see none.
fn draw_numbers(
    buffer: &mut Buffer,
    plot: Rect,
    app: &App,
    strokes: &[Stroke],
    bounds: (f64, f64),
) {
    for (number, stroke) in strokes {
        let is_last = strokes
            .iter()
            .rfind(|(other, _)| other == number)
            .map(|last| &last.1);
        let (Some((x, y)), Some(last)) = (stroke.last(), is_last) else {
            continue;
        };
        if !std::ptr::eq(last, stroke) {
            continue;
        }
        let text = (number + 1).to_string();
        let cells = u16::try_from(text.len()).unwrap_or(1);
        let column = share_of(*x, plot.width).min(plot.width.saturating_sub(cells));
        let style = app.theme.style(Role::Series(*number));
        let place = Rect::new(
            plot.x + column,
            plot.y + row_of(*y, bounds, plot.height),
            cells,
            1,
        );
        put(buffer, place, 0, &Line::styled(text, style));
    }
}

/// The cell at a share of some.
fn share_of(share: f64, cells: u16) -> u16 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a number of cells that is a u16"
    )]
    let cell = (share.clamp(0.0, 1.0) * f64::from(cells.saturating_sub(1))).round() as u16;
    cell
}

/// The row in which the canvas draws a value: four dots a row, the largest value in the first.
fn row_of(value: f64, (low, high): (f64, f64), rows: u16) -> u16 {
    let share = (high / 2.0 - value / 2.0) / (high / 2.0 - low / 2.0);
    share_of(share, rows.saturating_mul(4)) / 4
}

/// The stretch of time shown.
fn stretch(app: &App) -> (i64, i64) {
    let span = nanos(app.charts.shown_span(app.now));
    (app.now.0 - span, app.now.0)
}

/// How long that is.
fn span_words(app: &App) -> String {
    let shown = app.charts.shown_span(app.now);
    if shown == app.charts.span() {
        span(shown)
    } else {
        duration(shown)
    }
}

fn nothing<'a>(app: &App, panel: &Panel) -> Line<'a> {
    let series: Vec<_> = panel
        .metrics
        .iter()
        .filter_map(|metric| app.charts.series(&metric.key))
        .collect();
    let text = if let Some(error) = series.iter().find_map(|series| series.error.clone()) {
        format!("The journal cannot be read: {error}")
    } else if series.iter().any(|series| series.is_known) {
        format!(
            "Nothing was measured in the last {}; +: show more.",
            span(app.charts.span())
        )
    } else {
        "Reading the journal …".to_owned()
    };
    Line::styled(text, app.theme.style(Role::Dim))
}

/// Round values at the left.
fn draw_value_axis(buffer: &mut Buffer, area: Rect, plot: Rect, app: &App, bounds: (f64, f64)) {
    let style = app.theme.style(Role::Dim);
    let mut put_row = |row: u16, label: &str, tick: &str| {
        let place = Rect::new(area.x, plot.y + row, LABELS, 1);
        let text = format!(" {label:>9} {tick}");
        put(buffer, place, 0, &Line::styled(text, style));
    };
    for row in 0..plot.height {
        put_row(row, "", "│");
    }
    let (ticks, decimals) = scale::value_ticks(bounds, (plot.height / 3).clamp(4, 10));
    for tick in ticks {
        let mut label = format!("{tick:.decimals$}");
        if label.len() > 9 {
            label = format!("{tick:.2e}");
        }
        put_row(row_of(tick, bounds, plot.height), &label, "┤");
    }
}

/// Round times below, the middle of each below its place.
fn draw_time_axis(buffer: &mut Buffer, area: Rect, plot: Rect, app: &App) {
    let (from, to) = stretch(app);
    let mut line = " ".repeat(usize::from(LABELS));
    let ticks = scale::time_ticks((from, to), plot.width / 12);
    let are_minutes = ticks.iter().all(|tick| tick % scale::MINUTE == 0);
    for tick in ticks {
        let label = if are_minutes {
            time_of_minute(Timestamp(tick))
        } else {
            time_of_day(Timestamp(tick))
        };
        let column = share_of((tick - from) as f64 / (to - from).max(1) as f64, plot.width);
        let start = usize::from(LABELS + column).saturating_sub(label.len() / 2);
        let used = line.len();
        let is_whole = start + label.len() <= usize::from(area.width);
        if start >= used && is_whole {
            line.push_str(&" ".repeat(start - used));
            line.push_str(&label);
        }
    }
    let place = Rect::new(area.x, plot.bottom(), area.width, 1);
    put(
        buffer,
        place,
        0,
        &Line::styled(line, app.theme.style(Role::Dim)),
    );
}

fn draw_cursor(buffer: &mut Buffer, plot: Rect, app: &App) {
    let Some(at) = app.charts.cursor else {
        return;
    };
    let (from, to) = stretch(app);
    let share = (at.0 - from) as f64 / (to - from).max(1) as f64;
    let column = share_of(share, plot.width);
    for row in plot.top()..plot.bottom() {
        let cell = &mut buffer[(plot.x + column, row)];
        if matches!(cell.symbol(), " " | "\u{2800}") {
            cell.set_symbol("│").set_style(app.theme.style(Role::Dim));
        } else {
            cell.set_style(app.theme.style(Role::Selected));
        }
    }
}
