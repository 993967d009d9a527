//! What the gateway knows of itself: counters, link states, latest values, and the snapshot of all
//! of it. Also the commands an operator may give.

mod command;
mod counters;
mod link;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use command::Command;
pub use counters::{
    Counter, Counters, LATENCY_BUCKETS, LatencyHistogram, LatencySnapshot, SinkCounters,
};
pub use link::{LinkId, LinkState, LinkStatus, SinkId};

use crate::telemetry::Timestamp;

/// What every stage reports to. Shared by all of them; never blocks for long.
#[derive(Debug)]
pub struct Monitor {
    /// All that is counted.
    pub counters: Counters,
    started: Timestamp,
    links: Mutex<[LinkStatus; 3]>,
}

impl Default for Monitor {
    fn default() -> Self {
        let now = Timestamp::now();
        let status = || LinkStatus {
            state: LinkState::Disabled,
            since: now,
            peer: String::new(),
            reconnects: 0,
            last_error: None,
        };
        Self {
            counters: Counters::default(),
            started: now,
            links: Mutex::new([status(), status(), status()]),
        }
    }
}

impl Monitor {
    /// When the gateway started.
    pub fn started(&self) -> Timestamp {
        self.started
    }

    /// Says what a link connects to.
    pub fn set_peer(&self, link: LinkId, peer: impl Into<String>) {
        self.links()[link as usize].peer = peer.into();
    }

    /// Says what a link does now.
    pub fn set_link(&self, link: LinkId, state: LinkState) {
        let mut links = self.links();
        let status = &mut links[link as usize];
        if status.state == state {
            return;
        }
        if let LinkState::BackingOff { reason, .. } | LinkState::Refused { reason, .. } = &state {
            status.last_error = Some(reason.clone());
        }
        status.state = state;
        status.since = Timestamp::now();
    }

    /// Counts a connection that came up again.
    pub fn count_reconnect(&self, link: LinkId) {
        self.links()[link as usize].reconnects += 1;
    }

    /// What a link does now.
    pub fn link(&self, link: LinkId) -> LinkStatus {
        self.links()[link as usize].clone()
    }

    fn links(&self) -> MutexGuard<'_, [LinkStatus; 3]> {
        // A panic elsewhere leaves whole values behind: each is written in one assignment.
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
