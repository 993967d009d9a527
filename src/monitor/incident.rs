//! What happened to the gateway's links and boards, for whoever looks at what was measured then.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{LinkId, LinkState};
use crate::telemetry::Timestamp;

/// Incidents remembered; the oldest go first.
const MAX_INCIDENTS: usize = 64;

/// A reboot, or an outage from its beginning to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// What happened.
    pub kind: IncidentKind,
    /// Whose link it is.
    pub link: LinkId,
    /// When it began.
    pub at: Timestamp,
    /// When it was over; `None`: it goes on.
    pub until: Option<Timestamp>,
}

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IncidentKind {
    /// The board began to count its time anew.
    Reboot,
    /// A link that was up went down.
    Outage,
}

/// The last incidents, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Incidents(VecDeque<Incident>);

impl Incidents {
    /// A link changes its state. One that was never up has no outage, and neither has one that ends.
    pub(super) fn turn(
        &mut self,
        link: &LinkId,
        (before, after): (&LinkState, &LinkState),
        now: Timestamp,
    ) {
        match (before, after) {
            (_, LinkState::Up | LinkState::Ended) => {
                let open = self.0.iter_mut().rev().find(|incident| {
                    incident.kind == IncidentKind::Outage
                        && incident.link == *link
                        && incident.until.is_none()
                });
                if let Some(open) = open {
                    open.until = Some(now);
                }
            }
            (LinkState::Up, _) => self.push(Incident {
                kind: IncidentKind::Outage,
                link: link.clone(),
                at: now,
                until: None,
            }),
            _ => {}
        }
    }

    /// The board behind a source rebooted.
    pub(super) fn reboot(&mut self, link: &LinkId, now: Timestamp) {
        self.push(Incident {
            kind: IncidentKind::Reboot,
            link: link.clone(),
            at: now,
            until: Some(now),
        });
    }

    fn push(&mut self, incident: Incident) {
        if self.0.len() >= MAX_INCIDENTS {
            self.0.pop_front();
        }
        self.0.push_back(incident);
    }

    /// All of them, the oldest first.
    pub(super) fn all(&self) -> Vec<Incident> {
        self.0.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn down() -> LinkState {
        LinkState::BackingOff {
            until: Timestamp(9),
            reason: "away".to_owned(),
        }
    }

    #[test]
    fn an_outage_begins_when_a_link_goes_down_and_ends_when_it_is_up() {
        let mut incidents = Incidents::default();
        let states = [
            LinkState::Disabled,
            LinkState::Connecting,
            down(),
            LinkState::Up,
            down(),
            LinkState::Connecting,
            down(),
            LinkState::Up,
            LinkState::Held,
            LinkState::Ended,
        ];
        for (at, pair) in (1..).zip(states.windows(2)) {
            incidents.turn(&LinkId::mqtt(), (&pair[0], &pair[1]), Timestamp(at));
        }
        let times: Vec<_> = incidents
            .all()
            .iter()
            .map(|incident| (incident.at.0, incident.until.map(|until| until.0)))
            .collect();
        assert_eq!(times, [(4, Some(7)), (8, Some(9))]);
    }

    #[test]
    fn only_the_last_ones_are_remembered() {
        let mut incidents = Incidents::default();
        for at in 0..100 {
            incidents.reboot(&LinkId::source(), Timestamp(at));
        }
        let all = incidents.all();
        assert_eq!((all.len(), all[0].at.0), (MAX_INCIDENTS, 36));
    }
}
