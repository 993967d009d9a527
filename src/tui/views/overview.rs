//! The chain from the source to the servers, above the table of metrics.

use ratatui::buffer::Buffer;
use ratatui::layout::{Rect, Size};
use ratatui::text::Line;

use super::{card, charts, log, put, table};
use crate::monitor::{LinkId, LinkState, LinkStatus};
use crate::tui::action::Page;
use crate::tui::layout::{Areas, Card, Demand, Hidden, Trouble};
use crate::tui::state::{App, Focus};
use crate::tui::theme::Role;
use crate::tui::widgets::width;

/// Where everything lies on the page, by what there is to show.
pub(super) fn areas(app: &App, size: Size) -> Areas {
    let links: Vec<(LinkId, Trouble)> = app
        .links()
        .into_iter()
        .map(|link| {
            let status = app.snapshot().and_then(|snapshot| snapshot.link(&link));
            (link, status.map_or(Trouble::None, trouble))
        })
        .collect();
    let focus = match &app.focus {
        Focus::Link(link) => Some(link),
        Focus::Table => None,
    };
    let opened = app.nodes.opened.as_ref();
    let opened = opened.filter(|_| app.nodes.walk.is_none());
    let demand = Demand {
        links: &links,
        focus,
        // To sort them takes time.
        rows: match app.page {
            Page::Overview => app.rows().len(),
            _ => 0,
        },
        opened: opened.map(|node| app.metrics_of(node).len()),
        height: &|link, cells| card::height(app, link, cells),
    };
    Areas::of(size, app.page, &demand)
}

fn trouble(status: &LinkStatus) -> Trouble {
    match status.state {
        LinkState::Up | LinkState::Disabled => Trouble::None,
        LinkState::Connecting | LinkState::Held | LinkState::Ended => Trouble::Some,
        LinkState::BackingOff { .. } | LinkState::Refused { .. } => Trouble::Grave,
    }
}

pub(super) fn draw(buffer: &mut Buffer, areas: &Areas, app: &App) {
    for place in &areas.cards {
        if !place.is_box {
            put(
                buffer,
                place.area,
                0,
                &card::row(app, &place.link, place.area.width),
            );
            continue;
        }
        card::draw(buffer, place.area, &place.link, app);
        if place.has_arrow && place.link.sink().is_some() {
            draw_arrow(buffer, place, app);
        }
    }
    table::draw(buffer, areas, app);
    if let Some(hidden) = &areas.hidden {
        draw_hidden(buffer, hidden, app);
    }
    if !areas.chart.is_empty() {
        charts::draw_chosen(buffer, areas.chart, app);
    }
    if !areas.events.is_empty() {
        log::draw_last(buffer, areas.events, app);
    }
}

/// How many links have no room, at the end of a row; on the edge of a box also which keys lead to them.
fn draw_hidden(buffer: &mut Buffer, hidden: &Hidden, app: &App) {
    let keys = if hidden.is_on_box { "← → " } else { "" };
    let text = format!(" +{} more {keys}", hidden.links);
    let role = match hidden.trouble {
        Trouble::None => Role::Dim,
        Trouble::Some => Role::Warn,
        Trouble::Grave => Role::Bad,
    };
    let cells = u16::try_from(width(&text)).unwrap_or(0);
    let place = Rect {
        x: hidden.row.right().saturating_sub(cells + 1),
        width: cells,
        ..hidden.row
    };
    put(buffer, place, 0, &Line::styled(text, app.theme.style(role)));
}

fn draw_arrow(buffer: &mut Buffer, to: &Card, app: &App) {
    let status = app.snapshot().and_then(|snapshot| snapshot.link(&to.link));
    let is_up = status.is_some_and(|status| status.state == LinkState::Up);
    let (arrow, role) = if is_up {
        ("─▶", Role::Good)
    } else {
        ("╌▶", Role::Dim)
    };
    let area = Rect::new(to.area.x.saturating_sub(3), to.area.y + 1, 3, 1);
    let line = Line::styled(format!(" {arrow}"), app.theme.style(role));
    put(buffer, area, 0, &line);
}
