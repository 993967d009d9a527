//! What happened while a panel's values were measured: reboots, outages, alarms, in a row above them.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::{put, share_of};
use crate::monitor::{HistoryPoint, Incident, IncidentKind};
use crate::tui::layout::LABELS;
use crate::tui::state::{App, Limits, Panel};
use crate::tui::theme::Role;
use crate::tui::words::link_heading;

/// What one column is marked with; what comes later covers what came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mark {
    None,
    Low,
    High,
    Outage,
    /// The first letter of the link that is out.
    OutageOf(char),
    Reboot,
}

/// The marks of so many columns that show this stretch of time.
pub(super) fn of(app: &App, panel: &Panel, (from, to): (i64, i64), columns: u16) -> Vec<Mark> {
    let mut lane = vec![Mark::None; usize::from(columns)];
    let span = (to - from).max(1) as f64;
    let column = |at: i64| usize::from(share_of((at - from) as f64 / span, columns));
    let mut mark = |first: usize, last: usize, mark: Mark| {
        for place in lane.iter_mut().take(last + 1).skip(first) {
            *place = (*place).max(mark);
        }
    };
    for metric in &panel.metrics {
        let points = app
            .charts
            .series(&metric.key)
            .map_or(&[][..], |it| &it.points);
        for point in points.iter().filter(|point| point.time.0 >= from) {
            let at = column(point.time.0);
            mark(at, at, alarm(point, metric.limits));
        }
    }
    let incidents = app
        .snapshot()
        .map_or(&[][..], |snapshot| &snapshot.incidents);
    let shown = |incident: &&Incident| {
        let until = incident.until.map_or(to, |until| until.0);
        incident.at.0 <= to && until >= from
    };
    for incident in incidents.iter().filter(shown) {
        let first = column(incident.at.0.max(from));
        match incident.kind {
            IncidentKind::Reboot => mark(first, first, Mark::Reboot),
            IncidentKind::Outage => {
                let last = column(incident.until.map_or(to, |until| until.0.min(to)));
                let initial = link_heading(&incident.link).chars().next().unwrap_or('!');
                mark(first, first, Mark::OutageOf(initial));
                mark(first, last, Mark::Outage);
            }
        }
    }
    lane
}

fn alarm(point: &HistoryPoint, (min, max): Limits) -> Mark {
    if max.is_some_and(|max| point.max > max) {
        Mark::High
    } else if min.is_some_and(|min| point.min < min) {
        Mark::Low
    } else {
        Mark::None
    }
}

/// Draws them into the first row of a plot; says whether there were any.
pub(super) fn draw(buffer: &mut Buffer, plot: Rect, app: &App, lane: &[Mark]) -> bool {
    if lane.iter().all(|mark| *mark == Mark::None) {
        return false;
    }
    let theme = app.theme;
    let name = format!(" {:>9} │", words(lane));
    let mut line = vec![Span::styled(name, theme.style(Role::Dim))];
    line.extend(lane.iter().map(|mark| {
        let (symbol, role) = match mark {
            Mark::None => (' ', Role::Dim),
            Mark::Low => ('▼', Role::Bad),
            Mark::High => ('▲', Role::Bad),
            Mark::Outage => ('━', Role::Warn),
            Mark::OutageOf(initial) => (*initial, Role::Warn),
            Mark::Reboot => ('R', Role::Accent),
        };
        Span::styled(symbol.to_string(), theme.style(role))
    }));
    let area = Rect {
        x: plot.x - LABELS,
        width: plot.width + LABELS,
        ..plot
    };
    put(buffer, area, 0, &Line::from(line));
    true
}

/// What the row shows, in a word that fits before it.
fn words(lane: &[Mark]) -> &'static str {
    let has = |wanted: fn(&Mark) -> bool| lane.iter().any(wanted);
    let is_alarm = has(|mark| matches!(mark, Mark::Low | Mark::High));
    let is_outage = has(|mark| matches!(mark, Mark::Outage | Mark::OutageOf(_)));
    let is_reboot = has(|mark| *mark == Mark::Reboot);
    match (is_alarm, is_outage, is_reboot) {
        (true, false, false) => "alarms",
        (false, true, false) => "outages",
        (false, false, true) => "reboots",
        _ => "marks",
    }
}
