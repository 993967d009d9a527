//! A frame on its way through the judges.

use std::sync::Arc;

use super::quality::FrameNumber;
use super::{Decoded, Received};

/// A frame that was decoded.
#[derive(Debug, Clone)]
pub struct Frame {
    /// What it carries.
    pub decoded: Decoded,
    /// Its bytes.
    pub bytes: Arc<[u8]>,
    /// Its number on the line.
    pub number: FrameNumber,
    /// The number of its piece of what arrived.
    pub piece: u64,
    /// Whether it waited for others.
    pub was_doubted: bool,
    /// When it was read.
    pub received: Received,
    /// Whether its count of packets is wrong, though all else is right.
    pub wrong_radio_count: bool,
}
