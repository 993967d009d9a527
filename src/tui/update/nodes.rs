//! What keys do on the page of the nodes: choosing one, looking into it, walking with it.

use crate::monitor::NodeStatus;
use crate::tui::action::{Direction, Effect};
use crate::tui::state::{App, Walk};

impl App {
    pub(super) fn go_nodes(&mut self, direction: Direction) {
        let is_sideways = matches!(direction, Direction::Left | Direction::Right);
        if self.nodes.walk.is_some() {
            if is_sideways {
                self.nodes.factor.turn(direction == Direction::Right);
            }
        } else if self.nodes.opened.is_none() {
            self.go_node_rows(direction);
        } else if is_sideways {
            self.go_charts(direction);
        } else {
            self.go_node_charts(direction);
        }
    }

    fn go_node_rows(&mut self, direction: Direction) {
        let rows = self.node_rows();
        let at = self.selected_node(&rows);
        let page = self.areas().rows().saturating_sub(1).max(1);
        let last = rows.len().saturating_sub(1);
        let to = match direction {
            Direction::Up => at.saturating_sub(1),
            Direction::Down => at + 1,
            Direction::PageUp => at.saturating_sub(page),
            Direction::PageDown => at + page,
            Direction::First => 0,
            Direction::Last => last,
            Direction::Left | Direction::Right => at,
        };
        self.select_node(to.min(last));
    }

    pub(super) fn select_node(&mut self, to: usize) {
        let height = self.areas().rows().max(1);
        let rows = self.node_rows();
        let Some(node) = rows.get(to).map(|row| row.node.clone()) else {
            return;
        };
        self.nodes.top = self.nodes.top.clamp((to + 1).saturating_sub(height), to);
        self.nodes.selected = Some(node);
    }

    /// A row of charts up or down.
    fn go_node_charts(&mut self, direction: Direction) {
        let node = self.areas().node;
        let opened = self.nodes.opened.as_ref();
        let metrics = opened.map_or(0, |node| self.metrics_of(node).len());
        let last = metrics.saturating_sub(node.charts.len().max(1));
        let step = node.columns.max(1);
        let first = self.nodes.first_chart;
        let to = match direction {
            Direction::Up | Direction::PageUp => first.saturating_sub(step),
            Direction::First => 0,
            Direction::Last => last,
            _ => first + step,
        };
        self.nodes.first_chart = to.min(last);
    }

    pub(super) fn open_node(&mut self) -> Vec<Effect> {
        if self.nodes.opened.is_some() {
            return Vec::new();
        }
        let rows = self.node_rows();
        let Some(node) = rows.get(self.selected_node(&rows)) else {
            self.say("There is no node yet.");
            return Vec::new();
        };
        let node = node.node.clone();
        self.nodes.selected = Some(node.clone());
        self.nodes.opened = Some(node);
        self.ask_charts()
    }

    /// Back to the list.
    pub(super) fn close_node(&mut self) {
        (self.nodes.opened, self.nodes.walk) = (None, None);
        self.nodes.first_chart = 0;
    }

    /// Begins to walk with the node that is chosen or looked into, or ends that.
    pub(super) fn walk(&mut self) {
        if self.nodes.walk.take().is_some() {
            return;
        }
        if self.is_past() {
            return self.say("Nothing comes any more: a journal stands still.");
        }
        self.open_node();
        let now = self.now;
        let walk = self.opened_node().map(|node| Walk::begin(node, now));
        self.nodes.walk = walk;
    }

    pub(super) fn turn_bell(&mut self) {
        self.nodes.has_bell = !self.nodes.has_bell;
        self.say(if self.nodes.has_bell {
            "The bell rings for each packet; b: be silent."
        } else {
            "The bell is silent."
        });
    }

    /// Rings for what came of the node of a walk.
    pub(super) fn ring(&mut self) -> Option<Effect> {
        let node: NodeStatus = self.opened_node()?.clone();
        let is_heard = self.nodes.walk.as_mut()?.hears(&node);
        (is_heard && self.nodes.has_bell).then_some(Effect::Bell)
    }
}
