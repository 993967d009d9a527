//! Where everything lies: asked by what draws and by what the mouse hits.

use ratatui::layout::{Position, Rect, Size};

use super::action::Page;
use super::widgets::width;
use crate::monitor::{LinkId, LinkKind};

/// The smallest terminal that shows what matters.
pub(crate) const SMALLEST: (u16, u16) = (72, 20);

/// Cells for the labels of the values in a chart.
pub(crate) const LABELS: u16 = 12;

/// Rows of a link's box, frame included, on a small and on a large terminal.
const LINK_ROWS: (u16, u16) = (12, 14);

/// Rows of the smallest box: a frame and the link's state.
const SMALLEST_BOX: u16 = 3;

/// Cells between two boxes, for the arrow.
const ARROW: u16 = 3;

/// A terminal from here on has room to spare.
const LARGE: u16 = 36;

/// Before the first tab.
pub(crate) const NAME: &str = " fieldgate ";

/// The place of everything on a screen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Areas {
    pub(crate) header: Rect,
    pub(crate) tabs: [Rect; Page::ALL.len()],
    /// Between header and message.
    pub(crate) body: Rect,
    /// On the Overview: the boxes of the links; empty elsewhere.
    pub(crate) links: Vec<(LinkId, Rect)>,
    /// The row above the list.
    pub(crate) heading: Rect,
    /// The rows of the page's list or table; the charts on their page.
    pub(crate) list: Rect,
    /// On Delivery: the histograms; empty elsewhere.
    pub(crate) histogram: Rect,
    pub(crate) message: Rect,
    pub(crate) footer: Rect,
}

impl Areas {
    /// Of a page on a terminal; all empty where it is too small.
    pub(crate) fn of(size: Size, page: Page, all_links: &[LinkId]) -> Self {
        if is_too_small(size) {
            return Self::default();
        }
        let area = Rect::from((Position::ORIGIN, size));
        let row = |y: u16| Rect::new(area.x, area.y + y, area.width, 1);
        let body = Rect::new(area.x, area.y + 1, area.width, area.height - 3);
        let mut areas = Self {
            header: row(0),
            tabs: tabs(area),
            body,
            message: row(area.height - 2),
            footer: row(area.height - 1),
            ..Self::default()
        };
        let mut rest = body;
        if page == Page::Overview {
            let rows = if area.height >= LARGE {
                LINK_ROWS.1
            } else {
                LINK_ROWS.0
            };
            let boxes = Rect {
                height: rows,
                ..body
            };
            areas.links = links(boxes, all_links);
            rest.y += rows;
            rest.height -= rows;
        }
        if page == Page::Delivery {
            let rows = if area.height >= LARGE { 12 } else { 8 };
            rest.height -= rows;
            areas.histogram = Rect::new(body.x, rest.bottom(), body.width, rows);
        }
        areas.heading = Rect { height: 1, ..rest };
        areas.list = Rect {
            y: rest.y + 1,
            height: rest.height - 1,
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
}

fn tabs(area: Rect) -> [Rect; Page::ALL.len()] {
    let mut x = area.x + u16::try_from(width(NAME)).unwrap_or(0);
    Page::ALL.map(|page| {
        let cells = u16::try_from(width(&tab_text(page))).unwrap_or(0);
        let tab = Rect::new(x, area.y, cells, 1).intersection(area);
        x += cells;
        tab
    })
}

/// A tab, as it stands in the header.
pub(crate) fn tab_text(page: Page) -> String {
    format!(" {} {} ", page as usize + 1, page.name())
}

/// Three columns side by side with arrows between them, and nothing left over at the right: one for each
/// kind of link, with the boxes of its links one above the other.
fn links(area: Rect, all: &[LinkId]) -> Vec<(LinkId, Rect)> {
    let room = area.width - 2 * ARROW;
    let mut x = area.x;
    let mut boxes = Vec::new();
    for (index, kind) in (0..).zip(LinkKind::ALL) {
        let cells = room / 3 + u16::from(index < room % 3);
        let column = Rect::new(x, area.y, cells, area.height);
        x += cells + ARROW;
        let of_kind = all.iter().filter(|link| link.kind() == kind);
        let count = of_kind.clone().count();
        let shown = count.min(usize::from(column.height / SMALLEST_BOX)).max(1);
        let shown = u16::try_from(shown).unwrap_or(1);
        let mut y = column.y;
        for (at, link) in (0..shown).zip(of_kind) {
            let height = column.height / shown + u16::from(at < column.height % shown);
            boxes.push((
                link.clone(),
                Rect {
                    y,
                    height,
                    ..column
                },
            ));
            y += height;
        }
    }
    boxes
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

/// The lines of the help that fit into the body of a page.
pub(crate) fn help_rows(body: Rect) -> usize {
    usize::from(body.height).saturating_sub(2)
}
