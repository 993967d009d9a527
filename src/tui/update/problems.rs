//! The list of problems: choosing one, and going to the page that it is about.

use crate::monitor::{LinkId, Problem, ProblemKind};
use crate::tui::action::{Direction, Effect, Page};
use crate::tui::state::{App, Focus, Overlay};

impl App {
    /// Moves through the list.
    pub(super) fn go_problems(&mut self, direction: Direction) {
        let last = self.problems().len().saturating_sub(1);
        if let Some(Overlay::Problems { selected }) = &mut self.overlay {
            let to = match direction {
                Direction::Up | Direction::Left => selected.saturating_sub(1),
                Direction::Down | Direction::Right => *selected + 1,
                Direction::PageUp | Direction::First => 0,
                Direction::PageDown | Direction::Last => last,
            };
            *selected = to.min(last);
        }
    }

    /// Goes to the page that a problem is about.
    pub(super) fn open_problem(&mut self, selected: usize) -> Vec<Effect> {
        let Some(problem) = self.problems().get(selected).cloned() else {
            self.overlay = None;
            return Vec::new();
        };
        self.point_at(&problem);
        self.show(page_of(problem.kind))
    }

    /// Has its page choose what a problem concerns.
    fn point_at(&mut self, problem: &Problem) {
        let link = problem.concerns.parse::<LinkId>();
        let node = problem.concerns.split(' ').next().unwrap_or_default();
        match problem.kind {
            ProblemKind::LinkDown | ProblemKind::LinkRefused | ProblemKind::LinkHeld => {
                self.focus = link.map_or(Focus::Table, Focus::Link);
            }
            ProblemKind::NodeSilent => {
                self.close_node();
                self.nodes.filter.clear();
                self.nodes.selected = Some(problem.concerns.as_str().into());
            }
            ProblemKind::ValueBeyondLimits => {
                self.focus = Focus::Table;
                let rows = self.rows();
                let place = |row: &&crate::monitor::LatestValue| {
                    problem.concerns == format!("{} {}", row.node, row.metric)
                };
                let of_value = rows.iter().position(place);
                let of_node = || rows.iter().position(|row| row.node.as_str() == node);
                if let Some(row) = of_value.or_else(of_node) {
                    self.select_row(row);
                }
            }
            _ => {}
        }
    }
}

/// Where more is seen of it.
fn page_of(kind: ProblemKind) -> Page {
    match kind {
        ProblemKind::LinkDown
        | ProblemKind::LinkRefused
        | ProblemKind::LinkHeld
        | ProblemKind::ValueBeyondLimits => Page::Overview,
        ProblemKind::NodeSilent => Page::Nodes,
        ProblemKind::SourceSilent | ProblemKind::LineDamaged | ProblemKind::ReadingsSetAside => {
            Page::Traffic
        }
        ProblemKind::BacklogGrows | ProblemKind::ReadingsDropped => Page::Delivery,
        ProblemKind::JournalInMemory
        | ProblemKind::JournalLogGrows
        | ProblemKind::DiskNearlyFull
        | ProblemKind::CardWears
        | ProblemKind::ClockWrong => Page::Log,
    }
}
