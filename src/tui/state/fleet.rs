//! Several gateways, a row each, and which of them is looked into.

use std::sync::Arc;

use super::Observed;
use crate::monitor::{NodeState, Sight, Snapshot};
use crate::telemetry::Timestamp;
use crate::tui::action::Direction;

/// All gateways.
#[derive(Debug, Clone)]
pub(crate) struct Fleet {
    pub(crate) members: Vec<Observed>,
    pub(crate) selected: usize,
    /// Which one is looked into; `None`: they are listed.
    pub(crate) entered: Option<usize>,
}

/// What a row says of a gateway beside its name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Standing {
    pub(crate) problems: usize,
    pub(crate) nodes_heard: usize,
    pub(crate) nodes: usize,
    /// Messages and points that wait for its servers.
    pub(crate) waiting: u64,
    /// Packets per second.
    pub(crate) rate: f64,
}

impl Fleet {
    /// So many gateways of which nothing is known yet.
    pub(crate) fn new(gateways: usize) -> Self {
        Self {
            members: vec![Observed::default(); gateways],
            selected: 0,
            entered: None,
        }
    }

    /// Takes in what was seen of a gateway; says whether anything of it is new.
    pub(crate) fn take(
        &mut self,
        member: usize,
        (sight, snapshot): (Sight, Option<Arc<Snapshot>>),
        now: Timestamp,
    ) -> bool {
        let Some(member) = self.members.get_mut(member) else {
            return false;
        };
        let mut is_new = member.sight != sight;
        member.sight = sight;
        if let Some(snapshot) = snapshot {
            is_new |= member.take(snapshot, now, &mut Vec::new());
        }
        is_new
    }

    /// Chooses another row.
    pub(crate) fn go(&mut self, direction: Direction, rows: usize) {
        let last = self.members.len().saturating_sub(1);
        let page = rows.max(1);
        let to = match direction {
            Direction::Up => self.selected.saturating_sub(1),
            Direction::Down => self.selected + 1,
            Direction::PageUp => self.selected.saturating_sub(page),
            Direction::PageDown => self.selected + page,
            Direction::First => 0,
            Direction::Last => last,
            Direction::Left | Direction::Right => self.selected,
        };
        self.selected = to.min(last);
    }

    /// The first row that is shown of so many.
    pub(crate) fn first(&self, rows: usize) -> usize {
        (self.selected + 1).saturating_sub(rows.max(1))
    }

    /// How many are in reach.
    pub(crate) fn in_reach(&self) -> usize {
        let mut reached = self.members.iter();
        reached
            .by_ref()
            .filter(|member| is_in_reach(member))
            .count()
    }
}

/// Whether what is seen of a gateway is what is.
pub(crate) fn is_in_reach(member: &Observed) -> bool {
    !matches!(member.sight, Sight::Lost { .. })
}

impl Standing {
    /// Of a gateway of which something is known.
    pub(crate) fn of(member: &Observed) -> Option<Self> {
        let snapshot = member.snapshot.as_deref()?;
        let heard = snapshot.nodes.iter();
        let heard = heard.filter(|node| node.state == NodeState::Heard);
        let links = snapshot.links().map(|(link, _)| link);
        let sources = links.filter(|link| link.sink().is_none());
        Some(Self {
            problems: snapshot.problems.len(),
            nodes_heard: heard.count(),
            nodes: snapshot.nodes.len(),
            waiting: snapshot.sinks.iter().map(|sink| sink.queue_depth).sum(),
            rate: sources.map(|source| member.packet_rate(&source)).sum(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_chosen_and_stays_in_what_is_shown() {
        let mut fleet = Fleet::new(20);
        for (direction, selected, first) in [
            (Direction::Up, 0, 0),
            (Direction::Down, 1, 0),
            (Direction::PageDown, 9, 2),
            (Direction::Last, 19, 12),
            (Direction::Down, 19, 12),
            (Direction::PageUp, 11, 4),
            (Direction::First, 0, 0),
        ] {
            fleet.go(direction, 8);
            assert_eq!((fleet.selected, fleet.first(8)), (selected, first));
        }
        Fleet::new(0).go(Direction::Down, 0);
    }
}
