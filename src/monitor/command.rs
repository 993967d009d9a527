//! What an operator may ask of the running gateway.

use serde::{Deserialize, Serialize};

use super::{LinkId, SinkId};

/// What an operator may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", content = "link", rename_all = "snake_case")]
pub enum Command {
    /// Sends what is waiting now, without waiting for a full batch; `None`: both sinks.
    Flush(Option<SinkId>),
    /// Ends a link's pause, or connects it anew.
    Reconnect(LinkId),
    /// Takes a link down until it is released.
    Hold(LinkId),
    /// Ends a hold.
    Release(LinkId),
    /// Begins or ends recording the raw stream.
    Record(bool),
    /// Stops the gateway; asked for once more, it stops at once.
    Quit,
}
