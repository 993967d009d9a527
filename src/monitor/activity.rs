//! What happens, entry by entry: bytes that arrive, deliveries, log lines. Each kind is kept in a
//! [`Ring`](super::Ring).

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::link::{is_only_source, only_source};
use super::{Ring, SharedRing, SinkId, Weighed};
use crate::telemetry::{Name, RejectReason, Timestamp};

/// Deliveries kept, and bytes of them.
const DELIVERIES: (usize, usize) = (512, 256 << 10);

/// A piece of what arrived, what became of one, or what was sent. The bytes of all that arrived from a
/// source, one after the other, are its stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficEntry {
    /// The name of the source that it came from; in JSON only where that has one.
    #[serde(default = "only_source", skip_serializing_if = "is_only_source")]
    pub source: Name,
    /// When it arrived, or was sent.
    pub at: Timestamp,
    /// What it is.
    pub kind: TrafficKind,
    /// The bytes themselves; as JSON a text with one character, U+0000 to U+00FF, for each byte: no
    /// byte is lost, and what is ASCII can be read.
    #[serde(with = "text_of_bytes")]
    pub bytes: Arc<[u8]>,
    /// The nodes that a telemetry frame names, as its source alone calls them.
    #[serde(default, skip_serializing_if = "<[Name]>::is_empty")]
    pub nodes: Arc<[Name]>,
}

mod text_of_bytes {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(
            &bytes
                .iter()
                .map(|byte| char::from(*byte))
                .collect::<String>(),
        )
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<[u8]>, D::Error> {
        let text = String::deserialize(from)?;
        let bytes: Result<Vec<u8>, _> = text.chars().map(u8::try_from).collect();
        bytes.map(Into::into).map_err(de::Error::custom)
    }
}

/// What a piece of the stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TrafficKind {
    /// A telemetry frame.
    Accepted,
    /// What stands between frames.
    Text,
    /// What was sent to the source.
    Sent,
    /// What began as a frame and was none.
    Rejected {
        /// Why.
        reason: RejectReason,
        /// Whether it broke off at the end of these bytes; else all of it was rejected as a whole.
        broke_at_end: bool,
        /// The place in the bytes at which all of it is wrong, where the reason does not tell it.
        #[serde(default)]
        place: Option<u64>,
    },
    /// What became of an earlier piece. Has no bytes.
    Judged {
        /// How many entries before this one it stands.
        back: u64,
        /// What became of it.
        verdict: TrafficVerdict,
    },
}

/// What is found out of a piece after it was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum TrafficVerdict {
    /// It waits for the next frames, which tell whether it belongs there.
    Doubted,
    /// It belongs there.
    Accepted,
    /// It is not believed.
    Rejected {
        /// Why.
        reason: RejectReason,
    },
    /// A reading of it was set aside.
    SetAside {
        /// The place of its value among the bytes, from 0; `None`: it cannot be told.
        at: Option<u64>,
        /// Why.
        reason: RejectReason,
    },
}

impl Weighed for TrafficEntry {
    fn weight(&self) -> usize {
        self.bytes.len() + size_of_val(&*self.nodes) + size_of::<Self>()
    }
}

/// A delivery to a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryEntry {
    /// When the server answered.
    pub at: Timestamp,
    /// Whose delivery it was.
    pub sink: SinkId,
    /// Topic and payload, or the first line.
    pub what: String,
    /// Messages or points that went together.
    pub count: u64,
    /// What became of it.
    pub outcome: DeliveryOutcome,
    /// From reception to this answer.
    pub latency: Duration,
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum DeliveryOutcome {
    /// The server has it.
    Delivered,
    /// It failed and is tried again.
    Failed {
        /// Why.
        reason: String,
    },
    /// The server refused it for good.
    Rejected {
        /// The server's words.
        reason: String,
    },
}

impl Weighed for DeliveryEntry {
    fn weight(&self) -> usize {
        let reason = match &self.outcome {
            DeliveryOutcome::Delivered => 0,
            DeliveryOutcome::Failed { reason } | DeliveryOutcome::Rejected { reason } => {
                reason.len()
            }
        };
        self.what.len() + reason + size_of::<Self>()
    }
}

/// How grave a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Something failed for good.
    Error,
    /// Something failed and is tried again.
    Warn,
    /// What an operator wants to know.
    Info,
    /// What a developer wants to know.
    Debug,
    /// Everything.
    Trace,
}

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// When it was written.
    pub at: Timestamp,
    /// How grave it is.
    pub level: LogLevel,
    /// The module that wrote it.
    pub target: String,
    /// The message with its fields behind it.
    pub message: String,
}

impl Weighed for LogEntry {
    fn weight(&self) -> usize {
        self.target.len() + self.message.len() + size_of::<Self>()
    }
}

/// The last of everything that happened.
#[derive(Debug)]
pub struct Activity {
    /// What arrived.
    pub traffic: SharedRing<TrafficEntry>,
    /// What was delivered. Under load only a sample of what succeeded.
    pub deliveries: SharedRing<DeliveryEntry>,
    /// What was logged.
    pub log: Arc<SharedRing<LogEntry>>,
}

impl Default for Activity {
    fn default() -> Self {
        Self {
            traffic: SharedRing::default(),
            deliveries: SharedRing::new(Ring::new(DELIVERIES.0, DELIVERIES.1)),
            log: Arc::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives_as_json() {
        let entry = TrafficEntry {
            source: only_source(),
            at: Timestamp(1),
            kind: TrafficKind::Text,
            bytes: (0..=255).collect(),
            nodes: ["node1".into()].into(),
        };
        let json = serde_json::to_string(&entry).unwrap();
        assert!(json.contains(" !\\\"#$%&'()*+,-./0123456789"), "{json}");
        assert_eq!(serde_json::from_str::<TrafficEntry>(&json).unwrap(), entry);
        let beyond = json.replace('~', "€");
        assert!(serde_json::from_str::<TrafficEntry>(&beyond).is_err());
    }
}
