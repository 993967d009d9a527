//! Several gateways, a row each: whether it is in reach, what is wrong there, how much it does.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::{mark_row, put, spread};
use crate::monitor::Sight;
use crate::tui::layout::{Areas, is_narrow};
use crate::tui::state::{App, Fleet, Observed, Standing};
use crate::tui::theme::{Role, Theme};
use crate::tui::widgets::{
    cut, duration, escape_text, fitted, rate, short_count, time_of_day, width,
};

/// Cells of the columns behind the name.
const COLUMNS: usize = 14 + 12 + 10 + 8;

pub(super) fn draw(buffer: &mut Buffer, areas: &Areas, app: &App, fleet: &Fleet) {
    draw_header(buffer, areas.header, app, fleet);
    let cells = usize::from(areas.body.width);
    let dim = app.theme.style(Role::Dim);
    let heading = if is_narrow(cells) {
        format!("  {}", fitted("gateway", cells))
    } else {
        let name = fitted("gateway", cells.saturating_sub(COLUMNS + 5));
        format!(
            "    {name} {:<14}{:>12}{:>10}{:>8}",
            "problems", "nodes", "waiting", "packets"
        )
    };
    put(buffer, areas.body, 0, &Line::styled(heading, dim));
    let rows = Rect {
        y: areas.body.y + 1,
        height: areas.body.height.saturating_sub(1),
        ..areas.body
    };
    let first = fleet.first(usize::from(rows.height));
    let shown = fleet.members.iter().enumerate().skip(first);
    for (row, (index, member)) in (0..rows.height).zip(shown) {
        let is_selected = index == fleet.selected;
        put(
            buffer,
            rows,
            row,
            &member_line(app, member, cells, is_selected),
        );
        if is_selected {
            mark_row(buffer, rows, row, app.theme);
        }
    }
}

fn draw_header(buffer: &mut Buffer, area: Rect, app: &App, fleet: &Fleet) {
    let theme = app.theme;
    let title = Span::styled(
        format!(" fieldgate  {} gateways", fleet.members.len()),
        theme.style(Role::Title),
    );
    let time = format!("{} UTC ", time_of_day(app.clock));
    let time = Span::styled(time, theme.style(Role::Dim));
    put(
        buffer,
        area,
        0,
        &spread(vec![title], vec![time], area.width),
    );
}

fn member_line<'a>(app: &App, member: &Observed, cells: usize, marked: bool) -> Line<'a> {
    let theme = app.theme;
    let (glyph, role) = match &member.sight {
        Sight::Lost { .. } if member.snapshot.is_none() => ("◌", Role::Warn),
        Sight::Lost { .. } => ("✖", Role::Bad),
        Sight::Local | Sight::Past { .. } | Sight::Connected { .. } => ("●", Role::Good),
    };
    let mark = if marked { "▸ " } else { "  " };
    let mut spans = vec![
        Span::styled(mark, theme.style(Role::Accent)),
        Span::styled(format!("{glyph} "), theme.style(role)),
    ];
    let name = name(&member.sight);
    let room = cells.saturating_sub(5);
    match (&member.sight, Standing::of(member)) {
        (
            Sight::Lost {
                reason, next_try, ..
            },
            _,
        ) => {
            let left = duration(next_try.since(app.clock));
            let why = escape_text(&format!("{reason}, next try in {left}"));
            let kept = width(&name).min(room / 2);
            spans.push(Span::raw(fitted(&name, kept)));
            let why = cut(&format!("  {why}"), room.saturating_sub(kept));
            spans.push(Span::styled(why, theme.style(role)));
        }
        (_, None) => spans.push(Span::raw(cut(&name, room))),
        (_, Some(standing)) if is_narrow(cells) => {
            let (words, role) = problems(&standing);
            let kept = room.saturating_sub(width(&words) + 1);
            spans.push(Span::raw(fitted(&name, kept)));
            spans.push(Span::styled(format!(" {words}"), theme.style(role)));
        }
        (_, Some(standing)) => {
            spans.push(Span::raw(fitted(&name, room.saturating_sub(COLUMNS))));
            spans.extend(columns(theme, &standing));
        }
    }
    Line::from(spans)
}

fn columns<'a>(theme: Theme, standing: &Standing) -> Vec<Span<'a>> {
    let (words, role) = problems(standing);
    let nodes = format!("{} of {}", standing.nodes_heard, standing.nodes);
    let nodes_role = if standing.nodes_heard < standing.nodes {
        Role::Warn
    } else {
        Role::Text
    };
    vec![
        Span::styled(format!(" {}", fitted(&words, 14)), theme.style(role)),
        Span::styled(format!("{nodes:>12}"), theme.style(nodes_role)),
        Span::raw(format!("{:>10}", short_count(standing.waiting))),
        Span::raw(format!("{:>8}", rate(standing.rate))),
    ]
}

fn problems(standing: &Standing) -> (String, Role) {
    match standing.problems {
        0 => ("all well".to_owned(), Role::Good),
        1 => ("▲ 1 problem".to_owned(), Role::Bad),
        many => (format!("▲ {many} problems"), Role::Bad),
    }
}

/// The address without what all have in common.
fn name(sight: &Sight) -> String {
    let peer = match sight {
        Sight::Local => "this gateway",
        Sight::Past { path } => path,
        Sight::Connected { peer } | Sight::Lost { peer, .. } => peer,
    };
    let name = peer.strip_prefix("http://").unwrap_or(peer);
    escape_text(name)
}
