//! The header, the line that answers, and the footer.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};

use super::{problems, put, spread};
use crate::monitor::{
    JournalState, LinkId, LinkKind, LinkState, Order, Recording, Sight, SinkId, Snapshot,
};
use crate::tui::action::Page;
use crate::tui::keymap::{self, Context};
use crate::tui::layout::{Areas, name, tab_text};
use crate::tui::state::{App, Asked, Guide, Overlay};
use crate::tui::theme::Role;
use crate::tui::widgets::{
    bytes, count, cut, cut_front, duration, escape_text, time_of_day, width,
};
use crate::tui::words::link_title;

pub(super) fn header(buffer: &mut Buffer, areas: &Areas, app: &App) {
    let theme = app.theme;
    let cells = areas.header.width;
    let mut left = vec![Span::styled(name(cells), theme.style(Role::Title))];
    for page in Page::ALL {
        let style = if page == app.page {
            theme.style(Role::Accent).add_modifier(Modifier::REVERSED)
        } else {
            theme.style(Role::Dim)
        };
        left.push(Span::styled(tab_text(page, app.page, cells), style));
    }
    let used: usize = left.iter().map(|span| width(&span.content)).sum();
    let room = usize::from(areas.header.width).saturating_sub(used + 1);
    let mut right = Vec::new();
    let mut left_over = room;
    // The first ones matter most, and stand at the right.
    for (text, role) in standing(app, room.saturating_sub(2)) {
        let cells = width(&text) + 2;
        if cells > left_over {
            break;
        }
        left_over -= cells;
        right.insert(0, Span::styled(format!("  {text}"), theme.style(role)));
    }
    right.push(Span::raw(" "));
    put(
        buffer,
        areas.header,
        0,
        &spread(left, right, areas.header.width),
    );
}

/// Cells in which it can be told where a gateway is.
const LEAST_PLACE: usize = 9;

/// What holds on every page, what matters most first. Where the gateway is and what is wrong there share so
/// many cells.
fn standing(app: &App, cells: usize) -> Vec<(String, Role)> {
    let mut notes = Vec::new();
    if app.frozen.is_some() {
        notes.push(("‖ frozen".to_owned(), Role::Warn));
    }
    let is_seen = !matches!(app.observed.sight, Sight::Lost { .. });
    let problems = app.live().filter(|_| is_seen);
    let problems = problems.map(|live| problems::summary(&live.problems));
    let kept = problems.as_ref().map_or(0, |it| width(&it.sign) + 2);
    let used: usize = notes.iter().map(|(text, _)| width(text) + 2).sum();
    let mut room = cells.saturating_sub(used);
    let place = match &app.observed.sight {
        Sight::Local => None,
        Sight::Past { path } => Some(("■", path.as_str(), Role::Warn)),
        Sight::Connected { peer } => Some(("●", host(peer), Role::Good)),
        Sight::Lost { peer, .. } => Some(("✖ lost", host(peer), Role::Bad)),
    };
    if let Some((sign, name, role)) = place.filter(|_| room >= kept + LEAST_PLACE) {
        let cells = room.saturating_sub(kept + width(sign) + 1);
        // A path tells most at its end.
        let name = if app.is_past() {
            cut_front(name, cells)
        } else {
            cut(name, cells)
        };
        let text = format!("{sign} {name}");
        room = room.saturating_sub(width(&text) + 2);
        notes.push((text, role));
    }
    notes.extend(problems.map(|it| (it.fitting(room), it.role)));
    if let Some(snapshot) = app.live() {
        if snapshot.ends_by.is_some() {
            notes.push(("■ stopping".to_owned(), Role::Warn));
        }
        if let Recording::On { bytes: size, .. } = &snapshot.recording {
            notes.push((format!("● rec {}", bytes(*size)), Role::Bad));
        }
    }
    notes.push((format!("{} UTC", time_of_day(app.now)), Role::Dim));
    if let Some(snapshot) = app.snapshot() {
        let running = duration(app.now.since(snapshot.started));
        notes.push((format!("runs {running}"), Role::Dim));
    }
    notes
}

/// An address without what is the same in all of them.
fn host(peer: &str) -> &str {
    let host = peer.strip_prefix("http://").unwrap_or(peer);
    host.trim_end_matches('/')
}

/// The question that is asked, what an action did, or how the gateway does.
pub(super) fn message(buffer: &mut Buffer, area: Rect, app: &App) {
    let cells = usize::from(area.width).saturating_sub(2);
    let (text, role) = said(app, cells);
    let text = cut(&text, cells);
    let line = Line::styled(format!(" {text}"), app.theme.style(role));
    put(buffer, area, 0, &line);
}

/// The line that is typed, so much of it that the cursor can be seen.
fn line(app: &App, link: &LinkId, cells: usize) -> String {
    let prompt = format!("to {}: ", link_title(link));
    let room = cells.saturating_sub(width(&prompt) + 1);
    let (before, behind) = app.line.parts();
    let (before, behind) = (escape_text(before), escape_text(behind));
    let kept_behind = width(&behind).min(room / 4);
    let before = cut_front(&before, room.saturating_sub(kept_behind));
    let behind = cut(&behind, room.saturating_sub(width(&before)));
    format!("{prompt}{before}▏{behind}")
}

fn said(app: &App, cells: usize) -> (String, Role) {
    match (&app.overlay, &app.notice) {
        (Some(Overlay::WhichLink { asked, among }), _) => {
            (which(app, *asked, *among), Role::Accent)
        }
        (Some(Overlay::Confirm { .. }), _) => ("y yes, n no".to_owned(), Role::Accent),
        (Some(Overlay::Send(link)), _) => (line(app, link, cells), Role::Accent),
        (Some(Overlay::Filter), _) => (format!("/{}▏", app.filter()), Role::Accent),
        (_, Some(notice)) if notice.is_error => (format!("✖ {}", notice.text), Role::Bad),
        (_, Some(notice)) => (notice.text.clone(), Role::Accent),
        (_, None) => condition(app),
    }
}

/// Asks which link is meant; with a kind, which one of that kind.
pub(super) fn which(app: &App, asked: Asked, among: Option<LinkKind>) -> String {
    let (question, others) = match asked {
        Asked::Order(Order::Flush) => ("Flush which?", "a all, Esc none"),
        Asked::Order(Order::Reconnect) => ("Reconnect which?", "a all, Esc none"),
        Asked::Order(Order::Hold | Order::Release) => ("Hold or release which?", "a all, Esc none"),
        Asked::Line => ("Send a line to which?", "Esc none"),
        Asked::Reset => ("Reset the board of which?", "Esc none"),
    };
    let choices = match (among, asked) {
        (None, Asked::Order(Order::Flush)) => "m MQTT, i InfluxDB".to_owned(),
        (None, _) => "s source, m MQTT, i InfluxDB".to_owned(),
        (Some(kind), _) => {
            let links = app.links().into_iter().filter(|link| link.kind() == kind);
            let numbered = (1..=9).zip(links);
            let choices = numbered.map(|(number, link)| format!("{number} {}", link.name()));
            choices.collect::<Vec<_>>().join(", ")
        }
    };
    format!("{question} {choices}, {others}")
}

fn condition(app: &App) -> (String, Role) {
    if let Some(fleet) = app.listed() {
        let (all, reached) = (fleet.members.len(), fleet.in_reach());
        let role = if reached < all { Role::Warn } else { Role::Dim };
        return (format!("{reached} of {all} gateways in reach"), role);
    }
    if let Sight::Lost {
        peer,
        reason,
        next_try,
    } = &app.observed.sight
    {
        let left = duration(next_try.since(app.clock));
        return (
            format!("✖ Old: {peer} is out of reach, next try in {left}: {reason}"),
            Role::Bad,
        );
    }
    if let Some(since) = app.frozen {
        let ago = duration(app.clock.since(since));
        return (
            format!("‖ Frozen {ago} ago; the gateway goes on. Space: show it as it is"),
            Role::Warn,
        );
    }
    match app.snapshot() {
        None if app.is_past() => ("Reading the journal …".to_owned(), Role::Dim),
        None => ("Waiting for the gateway.".to_owned(), Role::Dim),
        Some(snapshot) if app.guide == Guide::Demonstration => {
            (next_step(snapshot).to_owned(), Role::Accent)
        }
        Some(snapshot) => journal(snapshot),
    }
}

/// What to try next in the demonstration, by what was tried already.
fn next_step(snapshot: &Snapshot) -> &'static str {
    let mqtt = snapshot.sink(&SinkId::mqtt());
    let is_held = mqtt.is_some_and(|mqtt| mqtt.link.state == LinkState::Held);
    let is_draining = mqtt.is_some_and(|mqtt| mqtt.queue_depth > 100);
    if is_held {
        "MQTT is down: its queue grows, InfluxDB goes on. Press h and m again to release it."
    } else if is_draining {
        "Released: the queue drains in its order, and nothing is lost."
    } else {
        "Demo: made-up nodes, embedded broker and database. Press h, then m, to drop the broker."
    }
}

fn journal(snapshot: &Snapshot) -> (String, Role) {
    let journal = &snapshot.journal;
    let fill = format!(
        "{} of {} messages",
        count(journal.stored),
        count(journal.max_messages)
    );
    match &journal.state {
        JournalState::File => match &journal.notice {
            None => (format!("Journal: file, {fill}"), Role::Dim),
            Some(notice) => (format!("Journal: file, {fill}. {notice}"), Role::Warn),
        },
        JournalState::Memory => (
            format!("Journal: memory alone, {fill}; lost with the process"),
            Role::Dim,
        ),
        JournalState::Fallback { reason } => (
            format!("✖ Journal: in memory, because {reason} ({fill})"),
            Role::Bad,
        ),
        JournalState::Closed => ("Journal: closed".to_owned(), Role::Dim),
    }
}

/// The keys that work here, as many as fit.
pub(super) fn footer(buffer: &mut Buffer, area: Rect, app: &App) {
    let theme = app.theme;
    let context = Context::of(app);
    let mut shown: Vec<(String, &str)> = keymap::bindings(context)
        .into_iter()
        .flatten()
        .filter(|binding| !binding.short.is_empty())
        .map(|binding| (binding.keys[0].name(theme.ascii), binding.short))
        .collect();
    if context.is_page() {
        // Quit and help stand where the hand looks for them, and never fall off.
        shown.sort_by_key(|(_, short)| match *short {
            "quit" => 0,
            "help" => 1,
            _ => 2,
        });
    }
    let mut line = Line::default();
    let mut room = usize::from(area.width).saturating_sub(1);
    line.push_span(Span::raw(" "));
    for (key, short) in shown {
        let short = match (short, app.frozen) {
            ("freeze", Some(_)) => "go on",
            (short, _) => short,
        };
        let cells = width(&key) + 1 + width(short) + 2;
        if cells > room + 2 {
            break;
        }
        room = room.saturating_sub(cells);
        line.push_span(Span::styled(key, theme.style(Role::Accent)));
        line.push_span(Span::styled(format!(" {short}  "), theme.style(Role::Dim)));
    }
    put(buffer, area, 0, &line);
}
