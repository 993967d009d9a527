//! A reading that waits for others to confirm it.

use std::sync::Arc;

use super::catalogue::SeriesId;
use super::quality::FrameNumber;
use super::{Reading, Received, Timestamp};

/// A reading that waits to be confirmed.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    pub(super) reading: Reading,
    pub(super) received: Received,
    pub(super) event_time: Timestamp,
    pub(super) bytes: Arc<[u8]>,
    pub(super) number: FrameNumber,
    pub(super) piece: u64,
    pub(super) series: Option<SeriesId>,
}

impl Waiting {
    /// The gateway's clock was set by so many nanoseconds after this was read; `follows` says whether
    /// the time of measurement was by that clock.
    pub(super) fn set_clock(&mut self, step: i64, follows: bool) {
        let wall = &mut self.received.wall.0;
        *wall = wall.saturating_add(step);
        if follows {
            self.event_time.0 = self.event_time.0.saturating_add(step);
        }
    }
}
