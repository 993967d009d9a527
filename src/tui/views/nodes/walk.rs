//! A walk with a node, to find a place for it: how it is received, in figures that can be read while
//! somebody carries it.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::{decibels, detail};
use crate::monitor::{NodeStatus, Spread};
use crate::telemetry::Name;
use crate::tui::state::{App, Walk};
use crate::tui::theme::Role;
use crate::tui::views::put;
use crate::tui::widgets::{count, duration, figures, fitting};

/// Less than this is lost when it rains, or when somebody stands in between.
const THIN_MARGIN: f64 = 10.0;

/// Rows from which on one can be spared for words below the figures.
const ROOMY: u16 = 12;

/// A figure with the words above it, the second ones where there is room for them.
struct Figure {
    words: [String; 2],
    text: String,
    role: Role,
}

pub(super) fn draw(buffer: &mut Buffer, body: Rect, app: &App, (name, walk): (&Name, &Walk)) {
    let Some(node) = app.opened_node() else {
        let text = format!(" Nothing is known of {name} any more; Esc: back.");
        let line = Line::styled(text, app.theme.style(Role::Dim));
        return put(buffer, body, 0, &line);
    };
    put(buffer, body, 0, &detail::state(app, node, body.width));
    let bell = if app.nodes.has_bell {
        ", the bell rings for each packet"
    } else {
        ""
    };
    let time = duration(app.now.since(walk.since));
    let text = format!(" walking for {time}{bell}");
    let mut room = Rect {
        y: body.y + 1,
        height: body.height.saturating_sub(1),
        ..body
    };
    // Where there is little room, all of it is the figures'.
    if room.height >= ROOMY {
        room.height -= 1;
        let line = Line::styled(text, app.theme.style(Role::Dim));
        put(buffer, body, body.height - 1, &line);
    }
    draw_figures(buffer, room, app, &of_node(app, node, walk));
}

fn of_node(app: &App, node: &NodeStatus, walk: &Walk) -> [Figure; 4] {
    let (rssi, snr) = app.signal_of(node);
    let factor = app.nodes.factor;
    let margin = factor.margin(rssi, snr);
    let (packets, missed) = walk.counts(node);
    let figure = |words: [String; 2], text: String, role| Figure { words, text, role };
    [
        figure(
            ["RSSI in dBm".to_owned(), mean(node.signal.rssi)],
            decibels(rssi.map(f64::round)),
            Role::Text,
        ),
        figure(
            ["SNR in dB".to_owned(), mean(node.signal.snr)],
            decibels(snr),
            Role::Text,
        ),
        figure(
            ["margin in dB".to_owned(), format!(" at {}", factor.name())],
            decibels(margin.map(f64::round)),
            match margin {
                Some(margin) if margin <= 0.0 => Role::Bad,
                Some(margin) if margin < THIN_MARGIN => Role::Warn,
                Some(_) => Role::Good,
                None => Role::Dim,
            },
        ),
        if node.misses_known {
            figure(
                ["missed".to_owned(), format!(", {} came", count(packets))],
                missed.to_string(),
                if missed > 0 { Role::Bad } else { Role::Good },
            )
        } else {
            figure(
                [
                    "packets".to_owned(),
                    "; misses count for the source".to_owned(),
                ],
                packets.to_string(),
                Role::Text,
            )
        },
    ]
}

fn mean(spread: Option<Spread>) -> String {
    spread.map_or_else(String::new, |spread| {
        format!(", mean {}", decibels(Some(spread.mean)))
    })
}

/// What has to have room, so that figures keep their size while they change.
const WIDEST: &str = "-120";

/// Beside or below each other, as lets them be largest.
fn draw_figures(buffer: &mut Buffer, room: Rect, app: &App, all: &[Figure; 4]) {
    let grids = [4_u16, 1, 2].map(|columns| {
        let (cells, height) = (room.width / columns, room.height / (4 / columns));
        // A space at either side, and the words above.
        let (inner, left) = (cells.saturating_sub(2), height.saturating_sub(1));
        let rows = figures(WIDEST, usize::from(inner), usize::from(left)).len();
        (rows, columns, cells, height)
    });
    let Some((rows, columns, cells, height)) = grids.into_iter().max_by_key(|it| it.0) else {
        return;
    };
    for (at, figure) in (0..).zip(all) {
        let place = Rect {
            x: room.x + at % columns * cells + 1,
            y: room.y + at / columns * height,
            width: cells.saturating_sub(2),
            height,
        };
        let dim = app.theme.style(Role::Dim);
        let words = fitting(&figure.words, usize::from(place.width));
        put(buffer, place, 0, &Line::styled(words, dim));
        let style = app.theme.style(figure.role);
        let lines = figures(&figure.text, usize::from(place.width), rows);
        for (row, line) in (1..).zip(lines) {
            put(buffer, place, row, &Line::styled(line, style));
        }
    }
}
