//! A gateway elsewhere, as seen over its API.

mod remote;
mod session;
mod socket;
mod stream;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use std::time::Duration;

use secrecy::SecretString;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::monitor::{
    Asker, Command, DeliveryEntry, HistoryPoint, HistoryQuery, LogEntry, Numbered, Observer, Reply,
    Ring, Sight, Snapshot, TrafficEntry,
};
use crate::telemetry::Timestamp;
pub use remote::{Lending, Remote};

/// The gateway says something at least every five seconds; after this silence it is gone.
const SILENCE: Duration = Duration::from_secs(12);

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is none.
    #[error("{url:?} is no address of a gateway; write it as http://HOST:8787")]
    Address {
        /// As given, without what could be a secret.
        url: String,
    },
    /// The token cannot be sent.
    #[error("the token holds a character that HTTP does not allow")]
    Token,
    /// The HTTP client could not be built.
    #[error("cannot set up HTTP: {0}")]
    Http(#[from] reqwest::Error),
}

/// Watches and commands a gateway elsewhere. Connects again by itself whenever the connection is
/// lost, until the last clone is dropped.
#[derive(Clone)]
pub struct Client {
    watched: Arc<Watched>,
    _session: Arc<DropGuard>,
}

/// Whom it talks to, and what it has heard.
struct Watched {
    remote: Remote,
    seen: Mutex<Seen>,
}

struct Seen {
    sight: Sight,
    snapshot: Option<Arc<Snapshot>>,
    traffic: Ring<TrafficEntry>,
    deliveries: Ring<DeliveryEntry>,
    log: Ring<LogEntry>,
}

impl Client {
    /// Begins to watch the gateway at an address as `http://greenhouse:8787`. Must be called within a
    /// tokio runtime.
    pub fn start(url: &str, token: Option<&SecretString>) -> Result<Self, ClientError> {
        Ok(Self::watch(Remote::new(url, token)?))
    }

    /// Begins to watch a gateway. Must be called within a tokio runtime.
    pub fn watch(remote: Remote) -> Self {
        let sight = Sight::Lost {
            peer: remote.peer.clone(),
            reason: "connecting".into(),
            next_try: Timestamp::now(),
        };
        let seen = Seen {
            sight,
            snapshot: None,
            traffic: Ring::default(),
            deliveries: Ring::default(),
            log: Ring::default(),
        };
        let watched = Arc::new(Watched {
            remote,
            seen: Mutex::new(seen),
        });
        let stop = CancellationToken::new();
        tokio::spawn(session::keep_connected(Arc::clone(&watched), stop.clone()));
        Self {
            watched,
            _session: Arc::new(stop.drop_guard()),
        }
    }
}

impl Watched {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        // A panic elsewhere leaves whole values behind.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Client {
    fn sight(&self) -> Sight {
        self.watched.seen().sight.clone()
    }

    fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.watched.seen().snapshot.clone()
    }

    fn traffic_since(&self, number: u64) -> Vec<Numbered<TrafficEntry>> {
        self.watched.seen().traffic.since(number)
    }

    fn deliveries_since(&self, number: u64) -> Vec<Numbered<DeliveryEntry>> {
        self.watched.seen().deliveries.since(number)
    }

    fn log_since(&self, number: u64) -> Vec<Numbered<LogEntry>> {
        self.watched.seen().log.since(number)
    }

    fn history(&self, query: HistoryQuery) -> Reply<Vec<HistoryPoint>> {
        let remote = self.watched.remote.clone();
        Box::pin(async move { remote.history(query).await })
    }

    /// The gateway sees itself who asks.
    fn command(&self, command: Command, _asker: Asker) -> Reply<()> {
        let remote = self.watched.remote.clone();
        Box::pin(async move { remote.command(&command).await })
    }
}
