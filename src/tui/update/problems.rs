//! The list of problems: choosing one, and going to the page that it is about.

use crate::monitor::{LatestValue, LinkId, LinkKind, Problem, ProblemKind};
use crate::tui::action::{Direction, Effect, Page};
use crate::tui::state::{App, Focus, Overlay, RowsBy};

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
        self.show(page_of(&problem))
    }

    /// Has its page choose what a problem concerns.
    fn point_at(&mut self, problem: &Problem) {
        let link = problem.concerns.parse::<LinkId>();
        match problem.kind {
            ProblemKind::LinkDown | ProblemKind::LinkRefused | ProblemKind::LinkHeld => {
                self.focus = link.map_or(Focus::Table, Focus::Link);
            }
            ProblemKind::NodeSilent => {
                self.close_node();
                self.nodes.filter.clear();
                self.nodes.selected = Some(problem.concerns.as_str().into());
            }
            ProblemKind::ValueBeyondLimits => self.point_at_value(&problem.concerns),
            ProblemKind::SourceSilent
            | ProblemKind::LineDamaged
            | ProblemKind::ReadingsSetAside => {
                let source = link.ok().filter(|_| self.sources().len() > 1);
                if let Some(source) = source.filter(|it| it.kind() == LinkKind::Source) {
                    self.traffic.choice.source = Some(source);
                }
            }
            _ => {}
        }
    }

    /// Has the table choose the value that is concerned, whatever it showed before.
    fn point_at_value(&mut self, concerned: &str) {
        self.focus = Focus::Table;
        self.table.filter.clear();
        let latest = self.snapshot().map_or(&[][..], |snapshot| &snapshot.latest);
        let is_concerned = |value: &&LatestValue| {
            let name = format!("{} {}", value.node, value.metric);
            let of_source = |name: &str| name.strip_prefix(' ') == Some(concerned);
            name == concerned
                || name
                    .strip_prefix(value.source.as_str())
                    .is_some_and(of_source)
        };
        let Some(value) = latest.iter().find(is_concerned) else {
            return;
        };
        let is_by_node = self.table.by == RowsBy::Node;
        let is_row = |row: &&LatestValue| {
            row.node == value.node && (is_by_node || row.metric == value.metric)
        };
        if let Some(row) = self.rows().iter().position(is_row) {
            self.select_row(row);
        }
    }
}

/// Where more is seen of it.
fn page_of(problem: &Problem) -> Page {
    let is_of_sink = || {
        let link = problem.concerns.parse::<LinkId>();
        link.is_ok_and(|link| link.sink().is_some())
    };
    match problem.kind {
        ProblemKind::LinkDown
        | ProblemKind::LinkRefused
        | ProblemKind::LinkHeld
        | ProblemKind::ValueBeyondLimits => Page::Overview,
        ProblemKind::NodeSilent => Page::Nodes,
        ProblemKind::ReadingsSetAside if is_of_sink() => Page::Delivery,
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
