//! Metrics over time: one panel for each unit, all over the same stretch.

mod legend;
mod scale;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::symbols::Marker;
use ratatui::text::Line;
use ratatui::widgets::Widget;
use ratatui::widgets::canvas::{Canvas, Line as Segment, Points};

use scale::Stroke;

use super::put;
use crate::monitor::HistoryPoint;
use crate::telemetry::Timestamp;
use crate::tui::layout::{Areas, LABELS, plot};
use crate::tui::state::{App, Panel, nanos};
use crate::tui::theme::Role;
use crate::tui::widgets::{duration, span, time_of_day, time_of_minute};

/// The least rows of a panel, its heading and its axis included.
const LEAST_ROWS: u16 = 7;

pub(super) fn draw(buffer: &mut Buffer, areas: &Areas, app: &App) {
    let panels = app.panels();
    draw_heading(buffer, areas.heading, app, panels.len());
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
    let fitting = usize::from(areas.list.height / LEAST_ROWS).max(1);
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

fn draw_heading(buffer: &mut Buffer, area: Rect, app: &App, panels: usize) {
    let cursor = match app.charts.cursor {
        Some(at) => format!(
            "  cursor {}, {} ago",
            time_of_day(at),
            duration(app.now.since(at))
        ),
        None => String::new(),
    };
    let picked = if app.charts.picked.is_empty() {
        "  (pick more on Overview with c)"
    } else {
        ""
    };
    let more = if panels > usize::from(app.size.height.saturating_sub(4) / LEAST_ROWS) {
        "  ↑ ↓: more units"
    } else {
        ""
    };
    let span = span(app.charts.span());
    let text = format!(" last {span}, times in UTC{cursor}{picked}{more}");
    put(
        buffer,
        area,
        0,
        &Line::styled(text, app.theme.style(Role::Dim)),
    );
}

fn draw_panel(buffer: &mut Buffer, area: Rect, app: &App, panel: &Panel) {
    legend::draw(buffer, area, app, panel);
    let plot = plot(area);
    if plot.width == 0 || plot.height == 0 {
        return;
    }
    let (from, to) = stretch(app);
    let lines: Vec<(usize, &[HistoryPoint])> = panel
        .metrics
        .iter()
        .filter_map(|(number, key)| Some((*number, &*app.charts.series(key)?.points)))
        .collect();
    let Some(bounds) = scale::bounds(&lines, from) else {
        put(buffer, plot, plot.height / 2, &nothing(app, panel));
        return;
    };
    draw_value_axis(buffer, area, plot, app, bounds);
    draw_time_axis(buffer, area, plot, app);
    let strokes = scale::strokes(&lines, (from, to));
    draw_lines(buffer, plot, app, &strokes, bounds);
    if panel.metrics.len() > 1 {
        draw_numbers(buffer, plot, app, &strokes, bounds);
    }
    draw_cursor(buffer, plot, app);
}

fn draw_lines(
    buffer: &mut Buffer,
    plot: Rect,
    app: &App,
    strokes: &[Stroke],
    (low, high): (f64, f64),
) {
    let canvas = Canvas::default()
        .marker(Marker::Braille)
        .x_bounds([0.0, 1.0])
        .y_bounds([low, high])
        .paint(|context| {
            for (number, stroke) in strokes {
                let style = app.theme.style(Role::Series(*number));
                let color = style.fg.unwrap_or_default();
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
    let span = nanos(app.charts.span());
    (app.now.0 - span, app.now.0)
}

fn nothing<'a>(app: &App, panel: &Panel) -> Line<'a> {
    let series: Vec<_> = panel
        .metrics
        .iter()
        .filter_map(|(_, key)| app.charts.series(key))
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

/// Round times below, the colon of each below its place.
fn draw_time_axis(buffer: &mut Buffer, area: Rect, plot: Rect, app: &App) {
    let (from, to) = stretch(app);
    let mut line = " ".repeat(usize::from(LABELS));
    for tick in scale::time_ticks((from, to), plot.width / 12) {
        let column = share_of((tick - from) as f64 / (to - from).max(1) as f64, plot.width);
        let start = usize::from(LABELS + column).saturating_sub(2);
        let used = line.len();
        let is_whole = start + 5 <= usize::from(area.width);
        if start >= used && is_whole {
            line.push_str(&" ".repeat(start - used));
            line.push_str(&time_of_minute(Timestamp(tick)));
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
