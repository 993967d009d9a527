//! What a screen or an API sees of a gateway, be it in this process or elsewhere.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use super::{
    Asker, Command, DeliveryEntry, Lease, LinkId, LiveReadings, LogEntry, Numbered, Snapshot,
    TrafficEntry,
};
use crate::telemetry::{Name, Timestamp};

/// The answer to a question that takes a while. The error is for people.
pub type Reply<T> = Pin<Box<dyn Future<Output = Result<T, String>> + Send>>;

/// Whether what is seen is what is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// The gateway runs in this process.
    Local,
    /// There is no gateway: what is seen is what a journal holds, at the time of its last packet.
    Past {
        /// The journal.
        path: String,
    },
    /// The gateway runs elsewhere and is in reach.
    Connected {
        /// Its address.
        peer: String,
    },
    /// The gateway runs elsewhere and is out of reach; what is seen is old.
    Lost {
        /// Its address.
        peer: String,
        /// Why, in plain words.
        reason: String,
        /// When the next attempt to reach it begins.
        next_try: Timestamp,
    },
}

/// Which stretch of a metric's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryQuery {
    /// The name of the source; `None`: whichever has such a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Name>,
    /// The node.
    pub node: Name,
    /// The metric.
    pub metric: Name,
    /// From this time of measurement on.
    pub from: Timestamp,
    /// Before this time of measurement.
    pub to: Timestamp,
    /// At most so many points; values are put together where there are more.
    pub points: usize,
}

/// One or several values of a metric's history.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct HistoryPoint {
    /// The middle of the time that it stands for.
    pub time: Timestamp,
    /// The smallest value.
    pub min: f64,
    /// The mean of the values.
    pub mean: f64,
    /// The largest value.
    pub max: f64,
    /// How many values.
    pub count: u64,
}

/// From where a sink delivers again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RewindTo {
    /// From the oldest row in the history.
    Oldest,
    /// From the first row that was received or measured then or later.
    Time(Timestamp),
}

/// A gateway as it is seen and commanded. Everything but [`history`](Self::history) and
/// [`command`](Self::command) answers at once with what is known.
pub trait Observer: Send + Sync + 'static {
    /// Whether what is seen is what is.
    fn sight(&self) -> Sight;

    /// Everything at one instant; `None`: nothing is known yet.
    fn snapshot(&self) -> Option<Arc<Snapshot>>;

    /// What arrived from this number on; nothing where no gateway runs.
    fn traffic_since(&self, _number: u64) -> Vec<Numbered<TrafficEntry>> {
        Vec::new()
    }

    /// What was delivered from this number on; nothing where no gateway runs.
    fn deliveries_since(&self, _number: u64) -> Vec<Numbered<DeliveryEntry>> {
        Vec::new()
    }

    /// What was logged from this number on; nothing where no gateway runs.
    fn log_since(&self, _number: u64) -> Vec<Numbered<LogEntry>> {
        Vec::new()
    }

    /// Readings as they come, from now on; `None`: they cannot be watched here.
    fn readings(&self) -> Option<broadcast::Receiver<LiveReadings>> {
        None
    }

    /// A metric's history out of the journal, in the order of time.
    fn history(&self, query: HistoryQuery) -> Reply<Vec<HistoryPoint>>;

    /// Gives a command; answers when it was taken, and when it is done what is sent to a board.
    fn command(&self, command: Command, asker: Asker) -> Reply<()>;

    /// Lends a source to a program of this name; answers when nothing of it is open any more. Only a
    /// gateway itself can.
    fn lend(&self, link: LinkId, to: String, asker: Asker) -> Reply<Lease> {
        let _ = (link, to, asker);
        Box::pin(async { Err("only the gateway itself lends its sources".to_owned()) })
    }

    /// Has a sink deliver again what it had delivered since; answers how many messages that are, once the
    /// journal has it. Only a gateway itself can.
    fn rewind(&self, link: LinkId, to: RewindTo, asker: Asker) -> Reply<u64> {
        let _ = (link, to, asker);
        Box::pin(async { Err("only the gateway itself goes back in its journal".to_owned()) })
    }
}
