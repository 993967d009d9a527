//! What a frame says, before it has a time.

use std::sync::Arc;

use super::{NodeId, Reading, SeriesId, Timestamp};

/// A frame's content, before it has a time.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// What it says of when it was measured.
    pub time: FrameTime,
    /// The board, or the node that keeps a clock of its own.
    pub board: Arc<str>,
    /// Packets that the radio received since the board booted.
    pub radio_count: Option<u32>,
    /// The packet's number at its node, for losses.
    pub counter: Option<u64>,
    /// Its readings, in the frame's order.
    pub readings: Vec<Reading>,
    /// The series of each of them; `None`: one name too many.
    pub series: Vec<Option<SeriesId>>,
    /// The nodes in it, those without readings included.
    pub nodes: Vec<NodeId>,
    /// Which of the readings is the radio's count.
    pub radio_count_at: Option<usize>,
}

/// What a frame says of when it was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameTime {
    /// Milliseconds since its board booted.
    Uptime(u32),
    /// The time itself, by a clock of the board's.
    Own(Timestamp),
    /// Nothing: the time of arrival counts.
    Arrival,
}

impl Decoded {
    /// Milliseconds since its board booted; 0 for a frame that does not say so.
    pub fn uptime_ms(&self) -> u32 {
        match self.time {
            FrameTime::Uptime(uptime_ms) => uptime_ms,
            FrameTime::Own(_) | FrameTime::Arrival => 0,
        }
    }
}
