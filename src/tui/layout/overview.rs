//! How the Overview shares out its room: a box for each link, as high as what it says, or a row for
//! each where there is little room; the rest is the table's, and what that does not need goes to the
//! chart of what is chosen in it, and to the last events.

use ratatui::layout::Rect;

use crate::monitor::LinkId;

/// Cells of a box, frame included, in which its counts can be told.
const LEAST_CELLS: u16 = 22;

/// Cells between two boxes, for the arrow.
pub(super) const ARROW: u16 = 3;

/// The rows that boxes leave to the table, its heading included.
const LEAST_REST: u16 = 7;

/// What there is to show, by which the room is shared out.
pub(crate) struct Demand<'a> {
    /// The links in the order of the data path, each with how much it is in trouble.
    pub(crate) links: &'a [(LinkId, Trouble)],
    /// The link that keys act on.
    pub(crate) focus: Option<&'a LinkId>,
    /// The rows of the table.
    pub(crate) rows: usize,
    /// The metrics of the node that is looked into, if there is one.
    pub(crate) opened: Option<usize>,
    /// The rows that a link's box takes inside when it is so many cells wide.
    pub(crate) height: &'a dyn Fn(&LinkId, u16) -> u16,
}

/// How much a link needs somebody to look at it; more comes later in the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trouble {
    None,
    Some,
    Grave,
}

/// Links that have no room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hidden {
    pub(crate) links: usize,
    /// That of the most troubled one.
    pub(crate) trouble: Trouble,
    /// The row at whose end it is told how many they are.
    pub(crate) row: Rect,
    /// Whether that is the lower edge of a box.
    pub(crate) is_on_box: bool,
}

impl Hidden {
    /// What is not among the cards; told at the last box, or else in the heading of the table.
    pub(super) fn of(demand: &Demand<'_>, cards: &[Card], heading: Rect) -> Option<Self> {
        let last = cards.last()?;
        let is_hidden = |link: &LinkId| cards.iter().all(|card| card.link != *link);
        let hidden = demand.links.iter().filter(|(link, _)| is_hidden(link));
        let troubles: Vec<Trouble> = hidden.map(|(_, trouble)| *trouble).collect();
        let row = if last.is_box {
            Rect {
                y: last.area.bottom().saturating_sub(1),
                height: 1,
                ..last.area
            }
        } else {
            heading
        };
        Some(Self {
            links: troubles.len(),
            trouble: troubles.into_iter().max()?,
            row,
            is_on_box: last.is_box,
        })
    }
}

/// Where a link is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Card {
    pub(crate) link: LinkId,
    pub(crate) area: Rect,
    /// Whether it is a box of its own, and not a row of a list.
    pub(crate) is_box: bool,
    /// Whether there is room for an arrow before it.
    pub(crate) has_arrow: bool,
}

/// The cards, and what they leave.
pub(super) fn share_out(body: Rect, is_small: bool, demand: &Demand<'_>) -> (Vec<Card>, Rect) {
    match (is_small, demand.focus) {
        (true, Some(link)) => {
            let card = Card {
                link: link.clone(),
                area: body,
                is_box: true,
                has_arrow: false,
            };
            let nothing = Rect {
                y: body.bottom(),
                height: 0,
                ..body
            };
            (vec![card], nothing)
        }
        (true, None) => strip(body, demand),
        (false, _) => boxes(body, demand),
    }
}

/// A row for each link, as many as a third of the room has.
fn strip(body: Rect, demand: &Demand<'_>) -> (Vec<Card>, Rect) {
    let cards: Vec<Card> = (body.y..)
        .zip(chosen(demand, usize::from(body.height / 3)))
        .map(|(y, link)| Card {
            link,
            area: Rect {
                y,
                height: 1,
                ..body
            },
            is_box: false,
            has_arrow: false,
        })
        .collect();
    let used = u16::try_from(cards.len()).unwrap_or(0);
    (cards, below(body, used))
}

fn below(body: Rect, used: u16) -> Rect {
    Rect {
        y: body.y + used,
        height: body.height - used,
        ..body
    }
}

/// Boxes in columns of equal width, as many as leave something to the table.
fn boxes(body: Rect, demand: &Demand<'_>) -> (Vec<Card>, Rect) {
    let room = body.height.saturating_sub(LEAST_REST);
    let all = u16::try_from(demand.links.len()).unwrap_or(u16::MAX);
    if all == 0 {
        return (Vec::new(), body);
    }
    let most = ((body.width + ARROW) / (LEAST_CELLS + ARROW)).max(1);
    let fewest_rows = all.div_ceil(most);
    for rows in (1..=fewest_rows).rev() {
        let columns = if rows == fewest_rows {
            all.div_ceil(rows)
        } else {
            most
        };
        let links = chosen(demand, usize::from(rows * columns));
        let (cards, used) = grid(body, &links, columns, demand.height);
        if used <= room {
            return (cards, below(body, used));
        }
        if rows == 1 {
            let mut cards = cards;
            for card in &mut cards {
                card.area.height = card.area.height.min(room);
            }
            return (cards, below(body, room));
        }
    }
    (Vec::new(), body)
}

/// Boxes of some links in so many columns, each below the last one of its column, and the rows that they take
/// together.
fn grid(
    body: Rect,
    links: &[LinkId],
    columns: u16,
    height: &dyn Fn(&LinkId, u16) -> u16,
) -> (Vec<Card>, u16) {
    let room = body.width - (columns - 1) * ARROW;
    let places: Vec<(u16, u16)> = (0..columns)
        .scan(body.x, |x, column| {
            // Nothing is left over at the right.
            let width = room / columns + u16::from(column < room % columns);
            let place = (*x, width);
            *x += width + ARROW;
            Some(place)
        })
        .collect();
    let mut ends = vec![body.y; places.len()];
    let mut cards = Vec::new();
    for (index, link) in links.iter().enumerate() {
        let column = index % places.len();
        let (x, width) = places[column];
        let rows = height(link, width).saturating_add(2);
        cards.push(Card {
            link: link.clone(),
            area: Rect::new(x, ends[column], width, rows),
            is_box: true,
            has_arrow: column > 0,
        });
        ends[column] = ends[column].saturating_add(rows);
    }
    let end = ends.into_iter().max().unwrap_or(body.y);
    (cards, end - body.y)
}

/// So many of the links: all in their order, or else the most troubled and the one that keys act on.
fn chosen(demand: &Demand<'_>, most: usize) -> Vec<LinkId> {
    let mut links = demand.links.to_vec();
    if links.len() > most {
        links.sort_by_key(|(_, trouble)| std::cmp::Reverse(*trouble));
        let focused = links
            .iter()
            .position(|(link, _)| demand.focus == Some(link));
        if let Some(focused) = focused.filter(|at| *at >= most && most > 0) {
            links.swap(focused, most - 1);
        }
        links.truncate(most);
    }
    links.into_iter().map(|(link, _)| link).collect()
}

/// Rows of the last events that are worth their heading, which is included.
const LEAST_EVENTS: u16 = 4;

/// Rows that are left to the last events on a terminal with room to spare.
const EVENTS: u16 = 9;

/// From these rows on, the last events have some though the table could use them.
const MANY_ROWS: u16 = 36;

/// Cells that the table needs for all its columns beside a chart.
const TABLE_CELLS: u16 = 104;

/// Cells and rows from which on a chart can be read.
const LEAST_CHART: (u16, u16) = (44, 16);

/// Rows of a chart that has room enough.
const CHART_ROWS: u16 = 22;

/// What lies below the boxes.
pub(super) struct Rest {
    /// The table, its heading included.
    pub(super) table: Rect,
    /// The chart of what is chosen; empty where it has no room.
    pub(super) chart: Rect,
    /// The last events, their heading included; empty where they have no room.
    pub(super) events: Rect,
}

/// The table has what it needs, and what it does not need is not left empty.
pub(super) fn divide(rest: Rect, rows: usize) -> Rest {
    let needed = u16::try_from(rows.max(1))
        .unwrap_or(u16::MAX)
        .saturating_add(1);
    let has_chart = rest.width >= TABLE_CELLS + LEAST_CHART.0 && rest.height >= LEAST_CHART.1;
    let upper = if has_chart {
        needed.max(CHART_ROWS)
    } else {
        needed
    };
    let kept = if rest.height >= MANY_ROWS { EVENTS } else { 0 };
    let upper = upper.min(rest.height - kept);
    let left = rest.height - upper;
    let events = if left >= LEAST_EVENTS { left } else { 0 };
    let upper = Rect {
        height: rest.height - events,
        ..rest
    };
    let cells = if has_chart { TABLE_CELLS } else { rest.width };
    Rest {
        table: Rect {
            width: cells,
            ..upper
        },
        chart: Rect {
            x: upper.x + cells,
            width: upper.width - cells,
            ..upper
        },
        events: Rect {
            y: upper.bottom(),
            height: events,
            ..rest
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::LinkKind;

    fn demand<'a>(
        links: &'a [(LinkId, Trouble)],
        focus: Option<&'a LinkId>,
        height: &'a dyn Fn(&LinkId, u16) -> u16,
    ) -> Demand<'a> {
        Demand {
            links,
            focus,
            rows: 9,
            opened: None,
            height,
        }
    }

    const BODY: Rect = Rect {
        x: 0,
        y: 1,
        width: 80,
        height: 21,
    };

    #[test]
    fn boxes_are_as_high_as_what_they_say() {
        let links = LinkKind::ALL.map(|kind| (LinkId::only(kind), Trouble::None));
        let height = |link: &LinkId, _| if *link == LinkId::mqtt() { 7 } else { 5 };
        let (cards, rest) = share_out(BODY, false, &demand(&links, None, &height));
        let heights: Vec<u16> = cards.iter().map(|card| card.area.height).collect();
        assert_eq!(heights, [7, 9, 7]);
        assert_eq!((rest.y, rest.height), (10, 12));
        let cells: u16 = cards.iter().map(|card| card.area.width).sum();
        assert_eq!(cells + 2 * ARROW, BODY.width, "nothing is left over");
        // One that says more than its neighbour pushes down what is below it alone.
        let body = Rect { height: 40, ..BODY };
        let links: Vec<_> = links.iter().cycle().take(6).cloned().collect();
        let (cards, rest) = share_out(body, false, &demand(&links, None, &height));
        let tops: Vec<u16> = cards[3..].iter().map(|card| card.area.y).collect();
        assert_eq!((tops, rest.y), (vec![8, 10, 8], 19));
    }

    #[test]
    fn where_not_all_fit_the_troubled_ones_are_shown_and_the_one_that_keys_act_on() {
        let trouble = |at| match at {
            4 => Trouble::Grave,
            7 => Trouble::Some,
            _ => Trouble::None,
        };
        let all = LinkKind::ALL.map(LinkId::only).into_iter().cycle().take(9);
        let links: Vec<_> = (0..)
            .zip(all)
            .map(|(at, link)| (link, trouble(at)))
            .collect();
        let height = |_: &LinkId, _| 5;
        let (cards, _) = share_out(BODY, false, &demand(&links, None, &height));
        let shown: Vec<LinkId> = cards.iter().map(|card| card.link.clone()).collect();
        // 4 and 7 are brokers; of the others the first.
        let expected = [LinkId::mqtt(), LinkId::mqtt(), LinkId::source()];
        assert_eq!(shown[..3], expected, "{shown:?}");
        assert_eq!(shown.len(), 6, "two rows leave something to the table");
        let strip = share_out(BODY, true, &demand(&links[..2], None, &height)).0;
        assert!(
            strip
                .iter()
                .all(|card| !card.is_box && card.area.height == 1)
        );
    }

    #[test]
    fn a_box_never_takes_the_room_of_the_table() {
        let links = LinkKind::ALL.map(|kind| (LinkId::only(kind), Trouble::None));
        let height = |_: &LinkId, _| 400;
        let (cards, rest) = share_out(BODY, false, &demand(&links, None, &height));
        assert_eq!((cards.len(), rest.height), (3, LEAST_REST));
    }

    #[test]
    fn what_the_table_does_not_need_is_not_left_empty() {
        for (width, height, rows, chart, table, events) in [
            (80, 12, 9, 0, 12, 0),
            (80, 12, 40, 0, 12, 0),
            (120, 28, 9, 0, 10, 18),
            (120, 28, 60, 0, 28, 0),
            (200, 46, 9, 96, 22, 24),
            (200, 46, 160, 96, 37, 9),
        ] {
            let rest = divide(Rect::new(0, 10, width, height), rows);
            let found = (rest.chart.width, rest.table.height, rest.events.height);
            assert_eq!(found, (chart, table, events), "{width}x{height} {rows}");
            assert_eq!(rest.table.height + rest.events.height, height);
        }
    }
}
