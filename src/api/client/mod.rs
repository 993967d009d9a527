//! A gateway elsewhere, as seen over its API.

mod session;
mod stream;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::RequestBuilder;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;

use super::refusal::ErrorBody;
use crate::causes::root_cause;
use crate::http::{self, Proxy};
use crate::monitor::{
    Command, DeliveryEntry, HistoryPoint, HistoryQuery, LogEntry, Numbered, Observer, Reply, Ring,
    Sight, Snapshot, TrafficEntry,
};
use crate::telemetry::Timestamp;

/// A gateway in reach is connected to much sooner.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Of a history or a command.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// A point of a history takes less in JSON.
const MAX_POINT: usize = 256;

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
    remote: Arc<Remote>,
    _session: Arc<DropGuard>,
}

/// Whom it talks to, and what it has heard.
struct Remote {
    http: reqwest::Client,
    base: Url,
    proxy: Option<Proxy>,
    /// The address in words.
    peer: String,
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
        let base = parse(url)?;
        let peer = base.as_str().trim_end_matches('/').to_owned();
        let proxy = Proxy::of_environment(&base);
        let mut http = http::client(proxy.as_ref()).connect_timeout(CONNECT_TIMEOUT);
        if let Some(token) = token {
            let value = format!("Bearer {}", token.expose_secret());
            let mut value = HeaderValue::try_from(value).map_err(|_| ClientError::Token)?;
            value.set_sensitive(true);
            http = http.default_headers(HeaderMap::from_iter([(AUTHORIZATION, value)]));
        }
        let sight = Sight::Lost {
            peer: peer.clone(),
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
        let remote = Arc::new(Remote {
            http: http.build()?,
            base,
            proxy,
            peer,
            seen: Mutex::new(seen),
        });
        let stop = CancellationToken::new();
        tokio::spawn(session::keep_connected(Arc::clone(&remote), stop.clone()));
        Ok(Self {
            remote,
            _session: Arc::new(stop.drop_guard()),
        })
    }
}

fn parse(url: &str) -> Result<Url, ClientError> {
    let refused = || ClientError::Address {
        url: url.rsplit('@').next().unwrap_or_default().into(),
    };
    let base = Url::parse(url).map_err(|_| refused())?;
    let is_plain = base.username().is_empty() && base.password().is_none();
    let ends = base.query().is_none() && base.fragment().is_none();
    match base.scheme() {
        "http" | "https" if is_plain && ends && base.has_host() => Ok(base),
        _ => Err(refused()),
    }
}

impl Remote {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        // A panic elsewhere leaves whole values behind.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn url(&self, path: &str) -> Url {
        http::url_below(&self.base, path)
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.http.get(self.url(path))
    }
}

/// Sends a request; anything but success is an error in the gateway's words.
async fn send(request: RequestBuilder) -> Result<reqwest::Response, String> {
    let response = request.send().await.map_err(explain)?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let body = http::read_words(response).await;
    Err(match serde_json::from_slice::<ErrorBody>(&body.bytes) {
        Ok(body) => body.error,
        Err(_) => format!("the server answered {status}; is it a fieldgate?"),
    })
}

/// A failure to reach the gateway, in plain words.
fn explain(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".into();
    }
    let root = root_cause(&error.without_url());
    if root.contains("refused") {
        return "connection refused; is the gateway running with api.listen set?".into();
    }
    root
}

impl Observer for Client {
    fn sight(&self) -> Sight {
        self.remote.seen().sight.clone()
    }

    fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.remote.seen().snapshot.clone()
    }

    fn traffic_since(&self, number: u64) -> Vec<Numbered<TrafficEntry>> {
        self.remote.seen().traffic.since(number)
    }

    fn deliveries_since(&self, number: u64) -> Vec<Numbered<DeliveryEntry>> {
        self.remote.seen().deliveries.since(number)
    }

    fn log_since(&self, number: u64) -> Vec<Numbered<LogEntry>> {
        self.remote.seen().log.since(number)
    }

    fn history(&self, query: HistoryQuery) -> Reply<Vec<HistoryPoint>> {
        let request = self.remote.get("/api/v1/history").query(&[
            ("node", query.node.as_str()),
            ("metric", query.metric.as_str()),
            ("from", &query.from.to_rfc3339()),
            ("to", &query.to.to_rfc3339()),
            ("points", &query.points.to_string()),
        ]);
        let request = match &query.source {
            Some(source) => request.query(&[("source", source.as_str())]),
            None => request,
        };
        let most = query.points.saturating_add(1).saturating_mul(MAX_POINT);
        Box::pin(async move {
            let response = send(request.timeout(ANSWER_TIMEOUT)).await?;
            let body = http::read_body(response, most, ANSWER_TIMEOUT).await;
            serde_json::from_slice(&body.bytes).map_err(|error| format!("no history came: {error}"))
        })
    }

    fn command(&self, command: Command) -> Reply<()> {
        let request = self.remote.http.post(self.remote.url("/api/v1/commands"));
        Box::pin(async move {
            let body = serde_json::to_vec(&command).map_err(|error| error.to_string())?;
            let request = request
                .header("content-type", "application/json")
                .timeout(ANSWER_TIMEOUT)
                .body(body);
            send(request).await.map(drop)
        })
    }
}
