//! A reading that waits for others to confirm it.

use std::sync::Arc;

use super::catalogue::SeriesId;
use super::quality::FrameNumber;
use super::{Reading, Received, TimeShift, Timestamp};

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
    /// The gateway's clock was set after this was read.
    pub(super) fn shift(&mut self, shift: TimeShift) {
        (self.received.wall, self.event_time) = shift.of(self.received.wall, self.event_time);
    }
}
