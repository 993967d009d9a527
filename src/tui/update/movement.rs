//! Where the arrows, the wheel and the mouse move to.

use crate::telemetry::Timestamp;
use crate::tui::action::{Direction, Page};
use crate::tui::state::{App, Focus, Overlay, nanos};
use crate::tui::views;

impl App {
    pub(super) fn go(&mut self, direction: Direction) {
        if let Some(Overlay::Send(_)) = self.overlay {
            return self.line.go(direction);
        }
        if let Some(last) = views::last_scroll(self)
            && let Some(Overlay::Help { scroll } | Overlay::Detail { scroll, .. }) =
                &mut self.overlay
        {
            let to = match direction {
                Direction::Up => scroll.saturating_sub(1),
                Direction::PageUp | Direction::First => 0,
                Direction::PageDown | Direction::Last => last,
                _ => *scroll + 1,
            };
            *scroll = to.min(last);
            return;
        }
        if matches!(self.overlay, Some(Overlay::Problems { .. })) {
            return self.go_problems(direction);
        }
        let is_sideways = matches!(direction, Direction::Left | Direction::Right);
        match self.page {
            Page::Overview => self.go_overview(direction),
            Page::Nodes => self.go_nodes(direction),
            Page::Charts => self.go_charts(direction),
            Page::Traffic | Page::Log | Page::Delivery => {
                let height = self.areas().rows();
                let Some(list) = self.list_mut() else {
                    return;
                };
                if is_sideways {
                    let shown = list.turn(direction == Direction::Right);
                    self.say(format!("Shown: {shown}."));
                    return;
                }
                let numbers = list.numbers();
                list.view_mut().go(direction, &numbers, height);
            }
        }
    }

    pub(super) fn go_charts(&mut self, direction: Direction) {
        let charts = &mut self.charts;
        match direction {
            Direction::Left => charts.move_cursor(true, self.now),
            Direction::Right => charts.move_cursor(false, self.now),
            Direction::First => {
                charts.cursor = Some(Timestamp(self.now.0 - nanos(charts.shown_span(self.now))));
            }
            Direction::Last => charts.cursor = None,
            Direction::Up | Direction::PageUp => {
                charts.first_panel = charts.first_panel.saturating_sub(1);
            }
            Direction::Down | Direction::PageDown => charts.first_panel += 1,
        }
        let panels = self.panels().len();
        self.charts.first_panel = self.charts.first_panel.min(panels.saturating_sub(1));
    }

    fn go_overview(&mut self, direction: Direction) {
        if let Focus::Link(link) = &self.focus {
            let links = self.links();
            let at = links.iter().position(|it| it == link).unwrap_or(0);
            let to = match direction {
                Direction::Left => at.saturating_sub(1),
                Direction::Right => at + 1,
                Direction::Down | Direction::PageDown | Direction::Last => {
                    return self.focus = Focus::Table;
                }
                _ => at,
            };
            return self.focus_link(to);
        }
        let rows = self.rows();
        let at = self.selected_row(&rows);
        let height = self.areas().rows();
        let page = height.saturating_sub(1).max(1);
        let last = rows.len().saturating_sub(1);
        let to = match (direction, at) {
            (Direction::Right, _) => return self.focus_link(1),
            (Direction::Left, _) | (Direction::Up, None | Some(0)) => {
                return self.focus_link(0);
            }
            (_, None) => return,
            (Direction::Up, Some(at)) => at - 1,
            (Direction::Down, Some(at)) => at + 1,
            (Direction::PageUp, Some(at)) => at.saturating_sub(page),
            (Direction::PageDown, Some(at)) => at + page,
            (Direction::First, _) => 0,
            (Direction::Last, _) => last,
        };
        self.select_row(to.min(last));
    }

    /// To a link by its place among all, or to the last one.
    fn focus_link(&mut self, at: usize) {
        let mut links = self.links();
        links.truncate(at + 1);
        if let Some(link) = links.pop() {
            self.focus = Focus::Link(link);
        }
    }

    pub(super) fn select_row(&mut self, to: usize) {
        let height = self.areas().rows().max(1);
        let rows = self.rows();
        let Some(row) = rows.get(to) else {
            return;
        };
        let key = (row.node.clone(), row.metric.clone());
        self.table.top = self.table.top.clamp((to + 1).saturating_sub(height), to);
        self.table.selected = Some(key);
        self.focus = Focus::Table;
    }
}
