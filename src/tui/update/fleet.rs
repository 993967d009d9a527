//! What keys do where several gateways are listed, and the way in and back.

use std::sync::Arc;

use crate::monitor::{Sight, Snapshot};
use crate::telemetry::Timestamp;
use crate::tui::action::{Action, Effect};
use crate::tui::state::{App, Fleet};

impl App {
    /// Lists so many gateways.
    pub(in crate::tui) fn list_gateways(&mut self, gateways: usize) {
        self.fleet = Some(Fleet::new(gateways));
    }

    /// Takes in what was seen of one of them.
    pub(in crate::tui) fn observe_member(
        &mut self,
        member: usize,
        seen: (Sight, Option<Arc<Snapshot>>),
        now: Timestamp,
    ) {
        if let Some(fleet) = &mut self.fleet {
            self.is_changed |= fleet.take(member, seen, now);
        }
    }

    pub(super) fn apply_to_fleet(&mut self, action: Action) -> Vec<Effect> {
        let rows = usize::from(self.areas().body.height).saturating_sub(1);
        let top = self.areas().body.y + 1;
        let Some(fleet) = &mut self.fleet else {
            return Vec::new();
        };
        match action {
            Action::Quit | Action::Interrupt => return vec![Effect::Leave],
            Action::Suspend => return vec![Effect::Suspend],
            Action::Repaint => return vec![Effect::Repaint],
            Action::Move(direction) | Action::Scroll(_, direction) => fleet.go(direction, rows),
            Action::Click(at) if at.y >= top => {
                let row = fleet.first(rows) + usize::from(at.y - top);
                if row < fleet.members.len() {
                    fleet.selected = row;
                }
            }
            Action::Open => self.enter(),
            _ => {}
        }
        Vec::new()
    }

    /// Looks into the gateway that is chosen, of which nothing is known yet.
    fn enter(&mut self) {
        let mut fleet = self.fleet.take();
        if let Some(fleet) = &mut fleet {
            fleet.entered = Some(fleet.selected);
        }
        let mut fresh = Self::new(self.theme, self.size, self.clock);
        (fresh.guide, fresh.fleet) = (self.guide, fleet);
        if let Some(fleet) = &fresh.fleet
            && let Some(member) = fleet.members.get(fleet.selected)
        {
            fresh.observed.sight = member.sight.clone();
        }
        *self = fresh;
    }

    /// Back to the list; nothing where there is none.
    pub(super) fn come_back(&mut self) {
        if let Some(fleet) = &mut self.fleet {
            fleet.entered = None;
            self.frozen = None;
        }
    }
}
