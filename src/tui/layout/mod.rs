//! Where everything lies: asked by what draws and by what the mouse hits.

mod node;
mod overview;

use ratatui::layout::{Position, Rect, Size};

use super::action::Page;
use super::widgets::width;
use crate::monitor::LinkId;

pub(crate) use node::NodeAreas;
pub(crate) use overview::{Card, Demand, Hidden, Trouble};

/// The smallest terminal that shows what matters.
pub(crate) const SMALLEST: (u16, u16) = (40, 12);

/// Below this there is no room for boxes beside each other, nor for every column of a table.
const ROOMY: (u16, u16) = (72, 20);

/// Cells for the labels of the values in a chart.
pub(crate) const LABELS: u16 = 12;

/// A terminal from here on has room to spare.
const LARGE: u16 = 36;

/// Below so many cells the tabs need the room of the name.
const ROOM_FOR_NAME: u16 = 92;

/// Before the first tab, where there is room for it.
pub(crate) const NAME: &str = " fieldgate ";

/// The place of everything on a screen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Areas {
    pub(crate) header: Rect,
    pub(crate) tabs: [Rect; Page::ALL.len()],
    /// Between header and message.
    pub(crate) body: Rect,
    /// On the Overview: the boxes of the links that are shown, or a row for each; empty elsewhere.
    pub(crate) cards: Vec<Card>,
    /// On the Overview: the links that have no room there.
    pub(crate) hidden: Option<Hidden>,
    /// The row above the list.
    pub(crate) heading: Rect,
    /// The rows of the page's list or table; the charts on their page.
    pub(crate) list: Rect,
    /// On the Overview: the chart of what is chosen in the table; empty where it has no room.
    pub(crate) chart: Rect,
    /// On the Overview: the last events with their heading; empty where they have no room.
    pub(crate) events: Rect,
    /// On Nodes, of the node that is looked into; empty elsewhere.
    pub(crate) node: NodeAreas,
    /// On Delivery: the histograms; empty elsewhere.
    pub(crate) histogram: Rect,
    pub(crate) message: Rect,
    pub(crate) footer: Rect,
}

impl Areas {
    /// Of a page on a terminal; all empty where it is too small.
    pub(crate) fn of(size: Size, page: Page, demand: &Demand<'_>) -> Self {
        if is_too_small(size) {
            return Self::default();
        }
        let area = Rect::from((Position::ORIGIN, size));
        let row = |y: u16| Rect::new(area.x, area.y + y, area.width, 1);
        let body = Rect::new(area.x, area.y + 1, area.width, area.height - 3);
        let mut areas = Self {
            header: row(0),
            tabs: tabs(area, page),
            body,
            message: row(area.height - 2),
            footer: row(area.height - 1),
            ..Self::default()
        };
        let mut rest = body;
        let is_small = is_narrow(usize::from(area.width)) || area.height < ROOMY.1;
        if let (Page::Nodes, Some(metrics)) = (page, demand.opened) {
            areas.node = node::divide(body, is_small, metrics);
            return areas;
        }
        if page == Page::Overview {
            (areas.cards, rest) = overview::share_out(body, is_small, demand);
            let divided = overview::divide(rest, demand.rows);
            (areas.chart, areas.events) = (divided.chart, divided.events);
            rest = divided.table;
        }
        if page == Page::Delivery && area.height >= ROOMY.1 {
            let rows = if area.height >= LARGE { 12 } else { 8 };
            rest.height -= rows;
            areas.histogram = Rect::new(body.x, rest.bottom(), body.width, rows);
        }
        areas.heading = rest.intersection(Rect { height: 1, ..rest });
        areas.hidden = Hidden::of(demand, &areas.cards, areas.heading);
        areas.list = Rect {
            y: areas.heading.bottom(),
            height: rest.height.saturating_sub(1),
            ..rest
        };
        areas
    }

    /// Rows of the page's list.
    pub(crate) fn rows(&self) -> usize {
        usize::from(self.list.height)
    }

    /// The page whose name stands at a place.
    pub(crate) fn tab(&self, at: Position) -> Option<Page> {
        let found = self.tabs.iter().position(|tab| tab.contains(at))?;
        Some(Page::ALL[found])
    }

    /// The link whose box or row is at a place.
    pub(crate) fn link(&self, at: Position) -> Option<LinkId> {
        let card = self.cards.iter().find(|card| card.area.contains(at))?;
        Some(card.link.clone())
    }
}

fn tabs(area: Rect, page: Page) -> [Rect; Page::ALL.len()] {
    let mut x = area.x + cells(name(area.width));
    Page::ALL.map(|tab| {
        let cells = cells(&tab_text(tab, page, area.width));
        let place = Rect::new(x, area.y, cells, 1).intersection(area);
        x += cells;
        place
    })
}

fn cells(text: &str) -> u16 {
    u16::try_from(width(text)).unwrap_or(0)
}

/// What stands before the first tab of a header with so many cells.
pub(crate) fn name(cells: u16) -> &'static str {
    if cells < ROOM_FOR_NAME { "" } else { NAME }
}

/// A tab, as it stands in a header with so many cells while a page is shown: where there is little
/// room, other pages have their numbers alone.
pub(crate) fn tab_text(tab: Page, shown: Page, cells: u16) -> String {
    let number = tab as usize + 1;
    if cells < ROOMY.0 && tab != shown {
        format!(" {number} ")
    } else {
        format!(" {number} {} ", tab.name())
    }
}

/// Whether so many cells have room for little more than the two main columns of a table.
pub(crate) fn is_narrow(cells: usize) -> bool {
    cells < usize::from(ROOMY.0)
}

/// Whether a terminal is too small for any page.
pub(crate) fn is_too_small(size: Size) -> bool {
    size.width < SMALLEST.0 || size.height < SMALLEST.1
}

/// The part of a chart's panel in which lines are drawn.
pub(crate) fn plot(panel: Rect) -> Rect {
    Rect {
        x: panel.x + LABELS,
        y: panel.y + 1,
        width: panel.width.saturating_sub(LABELS + 1),
        height: panel.height.saturating_sub(2),
    }
}

/// The lines of what lies over a page in a frame that fit into the body.
pub(crate) fn rows_over(body: Rect) -> usize {
    usize::from(body.height).saturating_sub(2)
}
