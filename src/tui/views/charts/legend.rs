//! What a panel shows, and the values at the cursor or the newest ones.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::{put, scale};
use crate::tui::action::{MetricKey, Page};
use crate::tui::layout::LABELS;
use crate::tui::state::{App, Charted, Panel};
use crate::tui::theme::Role;
use crate::tui::widgets::{aligned, cut, fitted};

/// Cells for a value: it must not move what follows it.
const VALUE: usize = 9;

/// The least cells in which number, name and value can be told.
const LEAST: usize = 20;

pub(super) fn draw(buffer: &mut Buffer, area: Rect, app: &App, panel: &Panel) {
    let theme = app.theme;
    let mut line = Line::styled(
        format!(" {} ", fitted(&panel.unit, usize::from(LABELS) - 2)),
        theme.style(Role::Title),
    );
    let room = usize::from(area.width.saturating_sub(LABELS));
    let all = panel.metrics.len();
    let most = (room / LEAST).max(1);
    // The last place tells how many have none.
    let shown = if all <= most { all } else { most - 1 };
    let cells = room / all.min(most).max(1);
    for Charted { number, key, .. } in panel.metrics.iter().take(shown) {
        let label = if app.page == Page::Nodes {
            key.1.to_string()
        } else {
            format!("{} {} {}", number + 1, key.0, key.1)
        };
        let name = cut(&label, cells.saturating_sub(VALUE + 2));
        line.push_span(Span::styled(name, theme.style(Role::Series(*number))));
        let value = format!(" {:<VALUE$} ", value(app, key));
        line.push_span(Span::styled(value, theme.style(Role::Title)));
    }
    if shown < all {
        let text = format!("and {} more", all - shown);
        line.push_span(Span::styled(text, theme.style(Role::Dim)));
    }
    put(buffer, area, 0, &line);
}

fn value(app: &App, key: &MetricKey) -> String {
    let points = app
        .charts
        .series(key)
        .map_or(&[][..], |series| &series.points);
    let value = match app.charts.cursor {
        Some(at) => scale::value_at(points, at.0),
        None => points.last().map(|point| point.mean),
    };
    value.map_or_else(
        || "–".to_owned(),
        |value| aligned(value, 6, 2).trim().to_owned(),
    )
}
