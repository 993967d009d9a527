//! What the mouse does: it picks, scrolls and switches pages.

use ratatui::layout::Position;

use crate::tui::action::{Direction, Effect, Page};
use crate::tui::state::{App, Focus, Overlay};

/// Lines that one turn of the wheel moves.
const WHEEL: usize = 3;

impl App {
    pub(super) fn click(&mut self, at: Position) -> Vec<Effect> {
        let areas = self.areas();
        if let Some(page) = areas.tab(at) {
            return self.show(page);
        }
        match self.overlay {
            None => {}
            Some(Overlay::Detail { .. } | Overlay::Help { .. } | Overlay::Problems { .. }) => {
                self.overlay = None;
                return Vec::new();
            }
            Some(_) => return Vec::new(),
        }
        if let Some(link) = areas.link(at) {
            self.focus = Focus::Link(link);
            return Vec::new();
        }
        if !areas.list.contains(at) {
            return Vec::new();
        }
        let row = usize::from(at.y - areas.list.y);
        match self.page {
            Page::Overview => {
                let top = self.shown_top(&self.rows(), areas.rows());
                self.select_row(top + row);
            }
            Page::Nodes => {
                let top = self.shown_top_node(&self.node_rows(), areas.rows());
                self.select_node(top + row);
            }
            Page::Charts => self.charts.point(at.x, areas.list, self.now),
            Page::Traffic | Page::Log | Page::Delivery => {
                if let Some(list) = self.list_mut() {
                    let numbers = list.numbers();
                    list.view_mut().click(row, &numbers, areas.rows());
                }
            }
        }
        Vec::new()
    }

    pub(super) fn scroll(&mut self, _at: Position, direction: Direction) {
        let is_choosing = matches!(
            self.overlay,
            Some(Overlay::WhichLink { .. } | Overlay::Confirm { .. } | Overlay::Send(_))
        );
        if is_choosing {
            return;
        }
        for _ in 0..WHEEL {
            // The wheel stays in the table, where the arrow would leave it.
            let is_at_top = self.page == Page::Overview
                && self.focus == Focus::Table
                && self.selected_row(&self.rows()) == Some(0);
            if !(is_at_top && direction == Direction::Up) {
                self.go(direction);
            }
        }
    }
}
