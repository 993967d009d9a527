//! What is kept from the servers, and the names that need no confirmation.

use std::sync::Arc;

use super::{Reading, RejectReason, Timestamp};

/// A reading, or a whole frame, that is not delivered: the journal keeps it with the reason.
#[derive(Debug, Clone, PartialEq)]
pub struct SetAside {
    /// When the gateway read it.
    pub received: Timestamp,
    /// When the board measured it, as far as that is known.
    pub event_time: Option<Timestamp>,
    /// The reading; `None`: the whole frame.
    pub reading: Option<Reading>,
    /// Why it was set aside.
    pub reason: RejectReason,
    /// What this case adds to the reason; may be empty.
    pub detail: String,
    /// The bytes that it came in.
    pub frame: Arc<[u8]>,
}

/// Where something stands that was set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The number of the piece of what arrived.
    pub piece: u64,
    /// The place of the value in the frame; `None`: it cannot be told.
    pub at: Option<usize>,
    /// Why it was set aside.
    pub reason: RejectReason,
}

/// A name that was confirmed once, by its key on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KnownName {
    /// The node's key.
    pub node: String,
    /// The key of one of its metrics; `None`: the node itself.
    pub metric: Option<String>,
}
