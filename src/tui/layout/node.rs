//! How the room is shared out when one node is looked into: what is known of it above, its charts side by
//! side, and below them its last frames and its last events.

use ratatui::layout::Rect;

/// Rows of what is known of the node.
const FACTS: u16 = 3;

/// Cells and rows from which on a chart can be read.
const LEAST_CHART: (u16, u16) = (38, 7);

/// The highest chart; what is left belongs to what lies below.
const HIGHEST_CHART: u16 = 14;

/// Rows that the charts leave, the headings of both lists included.
const LEAST_LISTS: u16 = 6;

/// Rows of one list that are worth its heading, which is included.
const LEAST_LIST: u16 = 2;

/// From these cells on, both lists stand side by side.
const SIDE_BY_SIDE: u16 = 160;

/// Where everything of one node lies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NodeAreas {
    pub(crate) facts: Rect,
    /// The values of its metrics where there is no room for charts; else empty.
    pub(crate) values: Rect,
    /// One place for each chart that has room.
    pub(crate) charts: Vec<Rect>,
    /// How many of them stand side by side.
    pub(crate) columns: usize,
    /// The last frames with their heading.
    pub(crate) frames: Rect,
    /// The last events with their heading.
    pub(crate) events: Rect,
}

/// Shares out the body for a node with so many metrics.
pub(super) fn divide(body: Rect, is_small: bool, metrics: usize) -> NodeAreas {
    let facts = Rect {
        height: FACTS.min(body.height),
        ..body
    };
    let rest = below(body, facts.height);
    let metrics = u16::try_from(metrics).unwrap_or(u16::MAX);
    if is_small || rest.height < LEAST_CHART.1 + LEAST_LISTS {
        let values = Rect {
            height: metrics.min(rest.height),
            ..rest
        };
        let left = below(rest, values.height);
        let (frames, events) = match left.height {
            0..LEAST_LIST => Default::default(),
            LEAST_LIST..LEAST_LISTS => (left, Rect::default()),
            _ => lists(left),
        };
        return NodeAreas {
            facts,
            values,
            frames,
            events,
            ..NodeAreas::default()
        };
    }
    let columns = (rest.width / LEAST_CHART.0).min(metrics).max(1);
    let room = rest.height - LEAST_LISTS;
    let rows = (room / LEAST_CHART.1).min(metrics.div_ceil(columns));
    let height = (room / rows.max(1)).min(HIGHEST_CHART);
    let width = rest.width / columns;
    let place = |at: u16| Rect {
        x: rest.x + at % columns * width,
        y: rest.y + at / columns * height,
        width,
        height,
    };
    let charts = (0..(rows * columns).min(metrics)).map(place).collect();
    let (frames, events) = lists(below(rest, rows * height));
    NodeAreas {
        facts,
        charts,
        columns: usize::from(columns),
        frames,
        events,
        ..NodeAreas::default()
    }
}

fn lists(room: Rect) -> (Rect, Rect) {
    if room.width >= SIDE_BY_SIDE {
        let half = room.width / 2;
        let left = Rect {
            width: half,
            ..room
        };
        let right = Rect {
            x: room.x + half,
            width: room.width - half,
            ..room
        };
        return (left, right);
    }
    let upper = Rect {
        height: room.height / 2,
        ..room
    };
    (upper, below(room, upper.height))
}

fn below(area: Rect, used: u16) -> Rect {
    Rect {
        y: area.y + used,
        height: area.height - used,
        ..area
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charts_stand_side_by_side_and_leave_something_to_the_lists() {
        for (width, height, metrics, charts, columns, chart_rows, list_rows) in [
            (80, 21, 3, 2, 2, 12, 3),
            (120, 37, 3, 3, 3, 14, 10),
            (120, 37, 9, 9, 3, 9, 3),
            (200, 57, 2, 2, 2, 14, 40),
            (200, 57, 0, 0, 1, 0, 54),
        ] {
            let body = Rect::new(0, 1, width, height);
            let areas = divide(body, false, metrics);
            assert_eq!((areas.charts.len(), areas.columns), (charts, columns));
            let rows = areas.charts.first().map_or(0, |chart| chart.height);
            assert_eq!((rows, areas.frames.height), (chart_rows, list_rows));
            assert_eq!(areas.events.bottom(), body.bottom());
            assert!(areas.charts.iter().all(|it| it.bottom() <= areas.frames.y));
        }
        for (height, metrics, values, frames, events) in [
            (9, 3, 3, 3, 0),
            (9, 5, 5, 0, 0),
            (9, 9, 6, 0, 0),
            (17, 3, 3, 5, 6),
        ] {
            let small = divide(Rect::new(0, 1, 40, height), true, metrics);
            let rows = [&small.values, &small.frames, &small.events].map(|it| it.height);
            assert_eq!(rows, [values, frames, events], "{height} {metrics}");
            assert_eq!(small.charts.len(), 0);
        }
    }
}
