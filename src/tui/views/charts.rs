//! Metrics over time: one panel for each unit, all over the same stretch.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;
use ratatui::widgets::canvas::{Canvas, Line as Stroke, Points};

use super::layout::Areas;
use super::put;
use crate::monitor::HistoryPoint;
use crate::telemetry::Timestamp;
use crate::tui::state::{App, Charts, MetricKey, nanos};
use crate::tui::theme::Role;
use crate::tui::widgets::{aligned, duration, fitted, time_of_day};

/// Cells for the labels of the values.
const LABELS: u16 = 11;

/// The least rows of a panel, its heading and its axis included.
const LEAST_ROWS: u16 = 7;

/// A gap this many times the usual one is not drawn over.
const GAP: i64 = 4;

/// Metrics of one unit.
struct Panel {
    unit: String,
    /// With the number that gives the line its colour.
    metrics: Vec<(usize, MetricKey)>,
}

fn panels(app: &App) -> Vec<Panel> {
    let mut panels: Vec<Panel> = Vec::new();
    for (number, key) in app.charted().into_iter().enumerate() {
        let latest = app.snapshot().and_then(|snapshot| {
            let mut all = snapshot.latest.iter();
            all.find(|latest| latest.node == key.0 && latest.metric == key.1)
        });
        let unit = latest.map_or("", super::table::unit).to_owned();
        match panels.iter_mut().find(|panel| panel.unit == unit) {
            Some(panel) => panel.metrics.push((number, key)),
            None => panels.push(Panel {
                unit,
                metrics: vec![(number, key)],
            }),
        }
    }
    panels
}

/// How many panels there are.
pub(crate) fn panel_count(app: &App) -> usize {
    panels(app).len()
}

pub(super) fn draw(buffer: &mut Buffer, areas: &Areas, app: &App) {
    let panels = panels(app);
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
    let span = duration(app.charts.span());
    let text = format!(" last {span}, times in UTC{cursor}{picked}{more}");
    put(
        buffer,
        area,
        0,
        &Line::styled(text, app.theme.style(Role::Dim)),
    );
}

/// The part of a panel in which lines are drawn.
fn plot(area: Rect) -> Rect {
    Rect {
        x: area.x + LABELS,
        y: area.y + 1,
        width: area.width.saturating_sub(LABELS + 1),
        height: area.height.saturating_sub(2),
    }
}

fn draw_panel(buffer: &mut Buffer, area: Rect, app: &App, panel: &Panel) {
    draw_legend(buffer, area, app, panel);
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
    let Some((low, high)) = bounds(&lines, from) else {
        put(buffer, plot, plot.height / 2, &nothing(app, panel));
        return;
    };
    draw_axes(buffer, area, plot, app, (low, high));
    let strokes = strokes(&lines, (from, to));
    let canvas = Canvas::default()
        .marker(Marker::Braille)
        .x_bounds([0.0, 1.0])
        .y_bounds([low, high])
        .paint(|context| {
            for (number, stroke) in &strokes {
                let color = app
                    .theme
                    .style(Role::Series(*number))
                    .fg
                    .unwrap_or_default();
                if stroke.len() == 1 {
                    context.draw(&Points::new(stroke, color));
                }
                for pair in stroke.windows(2) {
                    let ((x1, y1), (x2, y2)) = (pair[0], pair[1]);
                    context.draw(&Stroke::new(x1, y1, x2, y2, color));
                }
            }
        });
    canvas.render(plot, buffer);
    draw_cursor(buffer, plot, app);
}

/// The stretch of time shown.
fn stretch(app: &App) -> (i64, i64) {
    let span = nanos(app.charts.span());
    (app.now.0 - span, app.now.0)
}

/// Names, and the values at the cursor or the newest ones.
fn draw_legend(buffer: &mut Buffer, area: Rect, app: &App, panel: &Panel) {
    let theme = app.theme;
    let mut line = Line::styled(
        format!(" {}", fitted(&panel.unit, usize::from(LABELS) - 2)),
        theme.style(Role::Title),
    );
    for (number, key) in &panel.metrics {
        let points = app
            .charts
            .series(key)
            .map_or(&[][..], |series| &series.points);
        let shown = match app.charts.cursor {
            Some(at) => points
                .iter()
                .min_by_key(|point| point.time.0.abs_diff(at.0)),
            None => points.last(),
        };
        let value = shown.map_or_else(
            || "–".to_owned(),
            |point| aligned(point.mean, 6, 2).trim().to_owned(),
        );
        // Lines are told apart by number where there are no colours.
        line.push_span(Span::styled(
            format!(" {} ", number + 1),
            theme.style(Role::Series(*number)),
        ));
        line.push_span(Span::styled(
            format!("{} {} ", key.0, key.1),
            theme.style(Role::Series(*number)),
        ));
        line.push_span(Span::styled(value, theme.style(Role::Title)));
        line.push_span(Span::raw(" "));
    }
    put(buffer, area, 0, &line);
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
            duration(app.charts.span())
        )
    } else {
        "Reading the journal …".to_owned()
    };
    Line::styled(text, app.theme.style(Role::Dim))
}

/// The smallest and the largest value that are shown, with some room around them.
fn bounds(lines: &[(usize, &[HistoryPoint])], from: i64) -> Option<(f64, f64)> {
    let mut low = f64::INFINITY;
    let mut high = f64::NEG_INFINITY;
    for (_, points) in lines {
        for point in points.iter().filter(|point| point.time.0 >= from) {
            low = low.min(point.min);
            high = high.max(point.max);
        }
    }
    if low > high {
        return None;
    }
    let room = ((high / 2.0 - low / 2.0) * 0.1).max(high.abs().max(low.abs()) * 1e-3);
    let room = if room > 0.0 { room } else { 1.0 };
    Some((
        (low - room).max(f64::MIN / 4.0),
        (high + room).min(f64::MAX / 4.0),
    ))
}

/// The lines to draw, in shares of the width; interrupted where nothing was measured.
fn strokes(
    lines: &[(usize, &[HistoryPoint])],
    (from, to): (i64, i64),
) -> Vec<(usize, Vec<(f64, f64)>)> {
    let span = (to - from).max(1) as f64;
    let mut strokes = Vec::new();
    for (number, points) in lines {
        let usual = usual_gap(points);
        let mut stroke: Vec<(f64, f64)> = Vec::new();
        let mut last: Option<i64> = None;
        for point in points.iter().filter(|point| point.time.0 >= from) {
            let is_interrupted = last.is_some_and(|last| point.time.0 - last > usual * GAP);
            if is_interrupted {
                strokes.push((*number, std::mem::take(&mut stroke)));
            }
            last = Some(point.time.0);
            stroke.push(((point.time.0 - from) as f64 / span, point.mean));
        }
        strokes.push((*number, stroke));
    }
    strokes
}

/// The median distance between two points.
fn usual_gap(points: &[HistoryPoint]) -> i64 {
    let mut gaps: Vec<i64> = points
        .windows(2)
        .map(|pair| pair[1].time.0 - pair[0].time.0)
        .collect();
    gaps.sort_unstable();
    gaps.get(gaps.len() / 2).copied().unwrap_or(i64::MAX / GAP)
}

fn draw_axes(buffer: &mut Buffer, area: Rect, plot: Rect, app: &App, (low, high): (f64, f64)) {
    let style = app.theme.style(Role::Dim);
    let last = plot.height - 1;
    for row in 0..plot.height {
        let is_labelled = row == 0 || row == last || (plot.height >= 7 && row == last / 2);
        let label = if is_labelled {
            let share = if last == 0 {
                0.0
            } else {
                f64::from(row) / f64::from(last)
            };
            tick_label(high - (high - low) * share, high - low)
        } else {
            " ".repeat(9)
        };
        let tick = if is_labelled { "┤" } else { "│" };
        let place = Rect::new(area.x, plot.y + row, LABELS, 1);
        put(
            buffer,
            place,
            0,
            &Line::styled(format!(" {label}{tick}"), style),
        );
    }
    let (from, to) = stretch(app);
    let labels = (plot.width / 24).clamp(2, 8);
    let mut line = " ".repeat(usize::from(LABELS));
    let mut used = LABELS;
    for index in 0..=labels {
        let at = plot.x - area.x + (plot.width - 1) * index / labels;
        let time = from + (to - from) / i64::from(labels) * i64::from(index);
        let label = time_of_day(Timestamp(time));
        let start = at
            .saturating_sub(4)
            .min(area.width.saturating_sub(9))
            .max(used);
        line.push_str(&" ".repeat(usize::from(start - used)));
        line.push_str(&label);
        used = start + 8;
    }
    let place = Rect::new(area.x, plot.bottom(), area.width, 1);
    put(buffer, place, 0, &Line::styled(line, style));
}

/// A value at the axis, as exact as the stretch of values asks for.
fn tick_label(value: f64, span: f64) -> String {
    let digits = if span >= 20.0 {
        0
    } else if span >= 2.0 {
        1
    } else {
        2
    };
    let scale = 10_f64.powi(digits);
    let rounded = (value * scale).round() / scale;
    if rounded.is_finite() && span > 0.02 {
        aligned(rounded, 6, 2)
    } else {
        aligned(value, 6, 2)
    }
}

fn draw_cursor(buffer: &mut Buffer, plot: Rect, app: &App) {
    let Some(at) = app.charts.cursor else {
        return;
    };
    let (from, to) = stretch(app);
    let share = (at.0 - from).clamp(0, to - from) as f64 / (to - from).max(1) as f64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a width that is a u16"
    )]
    let column = (share * f64::from(plot.width - 1)).round() as u16;
    for row in plot.top()..plot.bottom() {
        let cell = &mut buffer[(plot.x + column, row)];
        if matches!(cell.symbol(), " " | "\u{2800}") {
            cell.set_symbol("│").set_style(app.theme.style(Role::Dim));
        } else {
            cell.set_style(app.theme.style(Role::Selected));
        }
    }
}

impl Charts {
    /// Puts the cursor where the mouse points to.
    pub(crate) fn point(&mut self, x: u16, area: Rect, now: Timestamp) {
        let plot = plot(area);
        if plot.width < 2 || x < plot.left() || x >= plot.right() {
            return;
        }
        let span = nanos(self.span());
        let share = i64::from(x - plot.x) * span / i64::from(plot.width - 1);
        self.cursor = Some(Timestamp(now.0 - span + share));
    }
}
