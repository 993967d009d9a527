//! One gateway elsewhere: what is asked of it, one request at a time.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{RequestBuilder, Response};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::stream::Parser;
use super::{ClientError, SILENCE, socket};
use crate::api::lease::{LeaseRequest, Lent};
use crate::api::refusal::ErrorBody;
use crate::api::rewind::{self, RewindRequest, Rewound};
use crate::causes::root_cause;
use crate::http::{self, Proxy};
use crate::monitor::{
    Command, HistoryPoint, HistoryQuery, LinkId, LiveReading, RewindTo, Snapshot,
};

/// A gateway in reach is connected to much sooner.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Of a history or a command.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// A point of a history takes less in JSON.
const MAX_POINT: usize = 256;

/// A snapshot of all values that a gateway remembers takes less than half of this.
pub(super) const MAX_SNAPSHOT: usize = 4 << 20;

/// The line by which a gateway says what it has lent, or that it goes back.
const MAX_LINE: usize = 4 << 10;

/// A gateway elsewhere, to which requests are sent. Cheap to clone. Errors are for people.
#[derive(Clone)]
pub struct Remote {
    http: reqwest::Client,
    base: Url,
    /// The socket in the file system that stands for the address.
    socket: Option<Arc<Path>>,
    pub(super) proxy: Option<Proxy>,
    /// The address in words.
    pub(super) peer: String,
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.peer)
    }
}

/// A source that is lent, until this is dropped.
pub struct Lending {
    /// What it is, as `serial /dev/ttyACM0`.
    pub peer: String,
    /// The gateway takes the end of the connection for the end of the lease.
    connection: Response,
}

impl Lending {
    /// Returns when the gateway ends the lease. To be waited for meanwhile: what it says now and then
    /// must be read.
    pub async fn ended(&mut self) {
        while let Ok(Some(_still_here)) = self.connection.chunk().await {}
    }
}

impl Remote {
    /// The gateway at an address as `http://greenhouse:8787`. Nothing is sent yet.
    pub fn new(url: &str, token: Option<&SecretString>) -> Result<Self, ClientError> {
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
        Ok(Self {
            http: http.build()?,
            base,
            socket: None,
            proxy,
            peer,
        })
    }

    /// The gateway that listens on a socket of this machine.
    pub fn at_socket(path: &Path) -> Result<Self, ClientError> {
        Ok(Self {
            http: http::client(None).build()?,
            base: parse("http://localhost")?,
            socket: Some(path.into()),
            proxy: None,
            peer: path.display().to_string(),
        })
    }

    /// Everything that can be observed, now.
    pub async fn snapshot(&self) -> Result<Snapshot, String> {
        self.ask(self.get("/api/v1/snapshot"), MAX_SNAPSHOT).await
    }

    /// Whether somebody answers there.
    pub async fn is_alive(&self) -> bool {
        let request = self.get("/healthz").timeout(CONNECT_TIMEOUT);
        self.send(request).await.is_ok()
    }

    /// A metric's history, in the order of time.
    pub(super) async fn history(&self, query: HistoryQuery) -> Result<Vec<HistoryPoint>, String> {
        let most = query.points.saturating_add(1).saturating_mul(MAX_POINT);
        let request = self.get("/api/v1/history").query(&[
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
        self.ask(request, most).await
    }

    /// Gives a command; returns when it was taken.
    pub async fn command(&self, command: &Command) -> Result<(), String> {
        let request = self.post("/api/v1/commands", command)?;
        let request = request.timeout(ANSWER_TIMEOUT);
        self.send(request).await.map(drop)
    }

    /// Hands over readings as they come, until `take` says that this is enough or the gateway ends.
    pub async fn readings(
        &self,
        mut take: impl FnMut(Vec<LiveReading>) -> bool,
    ) -> Result<(), String> {
        let request = self.get("/api/v1/events").query(&[("kinds", "reading")]);
        let mut response = self.send(request).await?;
        let mut parser = Parser::default();
        loop {
            let chunk = tokio::time::timeout(SILENCE, response.chunk()).await;
            let chunk = chunk.map_err(|_| "the gateway fell silent".to_owned())?;
            let Some(chunk) = chunk.map_err(explain)? else {
                return Err("the gateway ended".to_owned());
            };
            let events = parser.push(&chunk);
            let events = events.map_err(|_| "the gateway sent an event without end".to_owned())?;
            for event in events.iter().filter(|event| event.name == "reading") {
                let readings = serde_json::from_str(&event.data);
                if !take(readings.map_err(|error| not_understood(&error))?) {
                    return Ok(());
                }
            }
        }
    }

    /// Borrows a source for a program; returns when the gateway has let go of it.
    pub async fn lend(&self, link: LinkId, to: String) -> Result<Lending, String> {
        let request = self.post("/api/v1/leases", &LeaseRequest { link, to })?;
        let mut connection = self.send(request).await?;
        let mut line = Vec::new();
        while !line.contains(&b'\n') {
            let chunk = connection.chunk().await.map_err(explain)?;
            let chunk = chunk.ok_or("the gateway ended the lease at once")?;
            line.extend_from_slice(&chunk);
            if line.len() > MAX_LINE {
                return Err("the gateway answered without end".to_owned());
            }
        }
        let lent: Lent = serde_json::from_slice(&line).map_err(|error| not_understood(&error))?;
        Ok(Lending {
            peer: lent.peer,
            connection,
        })
    }

    /// Has a sink deliver again what it had delivered since; returns how many readings.
    pub async fn rewind(&self, link: LinkId, to: RewindTo) -> Result<u64, String> {
        let to = rewind::text(to);
        let request = self.post("/api/v1/rewinds", &RewindRequest { link, to })?;
        let rewound: Rewound = self.ask(request, MAX_LINE).await?;
        Ok(rewound.readings)
    }

    pub(super) fn get(&self, path: &str) -> RequestBuilder {
        self.http.get(http::url_below(&self.base, path))
    }

    fn post(&self, path: &str, body: &impl Serialize) -> Result<RequestBuilder, String> {
        let body = serde_json::to_vec(body).map_err(|error| error.to_string())?;
        let request = self.http.post(http::url_below(&self.base, path));
        Ok(request.header(CONTENT_TYPE, "application/json").body(body))
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
        most: usize,
    ) -> Result<T, String> {
        let response = self.send(request.timeout(ANSWER_TIMEOUT)).await?;
        let body = http::read_body(response, most, ANSWER_TIMEOUT).await;
        serde_json::from_slice(&body.bytes).map_err(|error| not_understood(&error))
    }

    /// Sends a request; anything but success is an error in the gateway's words.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Response, String> {
        let response = match &self.socket {
            None => request.send().await.map_err(explain)?,
            Some(path) => socket::send(path, request.build().map_err(explain)?).await?,
        };
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
}

fn not_understood(error: &serde_json::Error) -> String {
    format!("the answer is not understood: {error}")
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

/// A failure to reach the gateway, in plain words.
pub(super) fn explain(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".into();
    }
    let root = root_cause(&error.without_url());
    if root.contains("refused") {
        return "connection refused; is the gateway running with api.listen set?".into();
    }
    root
}
