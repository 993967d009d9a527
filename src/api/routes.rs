//! What can be asked for.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, FromRequest, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::sse::Sse;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::events::{self, Kind};
use super::guard::{self, Guard};
use super::lease::{self, LeaseRequest, MAX_NAME};
use super::parameters::HistoryParameters;
use super::prometheus;
use super::refusal::Refusal;
use super::rewind::{self, RewindRequest, Rewound};
use crate::monitor::{
    Asker, Command, HistoryPoint, JournalState, LinkId, LinkState, Observer, Problem, Snapshot,
};
use crate::telemetry::Timestamp;

/// A command is one short line.
const MAX_BODY: usize = 4 << 10;

/// How long it may take to come.
const BODY: Duration = Duration::from_secs(10);

/// Streams of events at once: half of the seats, so that there are always some for who asks.
const STREAMS: usize = super::seats::SEATS / 2;

/// Histories read from the disk at once: they must not take it from the journal.
const HISTORIES: usize = 2;

/// Marks an answer that goes on for as long as somebody listens.
#[derive(Debug, Clone)]
pub(super) struct Endless;

#[derive(Clone)]
struct Api {
    observer: Arc<dyn Observer>,
    /// Whether texts may be sent to sources.
    may_send: bool,
    stop: CancellationToken,
    streams: Arc<Semaphore>,
    histories: Arc<Semaphore>,
}

/// Everything behind the guard.
pub(super) fn router(observer: Arc<dyn Observer>, guard: Guard, stop: CancellationToken) -> Router {
    let api = Api {
        observer,
        may_send: guard.may_send(),
        stop,
        streams: Arc::new(Semaphore::new(STREAMS)),
        histories: Arc::new(Semaphore::new(HISTORIES)),
    };
    Router::new()
        .route(guard::HEALTH, get(health))
        .route("/readyz", get(readiness))
        .route("/metrics", get(metrics))
        .route("/api/v1/snapshot", get(snapshot))
        .route("/api/v1/problems", get(problems))
        .route("/api/v1/events", get(event_stream))
        .route("/api/v1/history", get(history))
        .route("/api/v1/commands", post(command))
        .route("/api/v1/leases", post(lease))
        .route("/api/v1/rewinds", post(rewind))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn_with_state(Arc::new(guard), guard::check))
        .with_state(api)
}

impl Api {
    fn snapshot(&self) -> Result<Arc<Snapshot>, Refusal> {
        let nothing = || Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "nothing is known yet");
        self.observer.snapshot().ok_or_else(nothing)
    }
}

async fn not_found() -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        "nothing is here; there are /healthz, /readyz, /metrics, /api/v1/snapshot, \
         /api/v1/problems, /api/v1/events, /api/v1/history, /api/v1/commands, /api/v1/leases and \
         /api/v1/rewinds",
    )
}

async fn wrong_method() -> Refusal {
    Refusal::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "not with this method; commands are given with POST, all else is asked for with GET",
    )
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
    version: &'static str,
}

async fn health() -> Json<Health> {
    Json(Health {
        status: "ok",
        version: env!("CARGO_PKG_VERSION"),
    })
}

/// Whether packets are safe here, whatever becomes of source and servers.
#[derive(Serialize)]
struct Readiness {
    ready: bool,
    journal: JournalState,
    links: Vec<LinkReadiness>,
}

#[derive(Serialize)]
struct LinkReadiness {
    link: LinkId,
    #[serde(flatten)]
    state: LinkState,
}

async fn readiness(State(api): State<Api>) -> Result<Response, Refusal> {
    let snapshot = api.snapshot()?;
    let journal = snapshot.journal.state.clone();
    let ready = matches!(journal, JournalState::File | JournalState::Memory);
    let links = snapshot.links().map(|(link, status)| LinkReadiness {
        link,
        state: status.state.clone(),
    });
    let body = Readiness {
        ready,
        journal,
        links: links.collect(),
    };
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    Ok((status, Json(body)).into_response())
}

async fn metrics(State(api): State<Api>) -> Result<Response, Refusal> {
    let text = prometheus::render(&*api.snapshot()?);
    Ok(([(header::CONTENT_TYPE, prometheus::CONTENT_TYPE)], text).into_response())
}

async fn snapshot(State(api): State<Api>) -> Result<Json<Arc<Snapshot>>, Refusal> {
    api.snapshot().map(Json)
}

async fn problems(State(api): State<Api>) -> Result<Json<Vec<Problem>>, Refusal> {
    api.snapshot().map(|it| Json(it.problems.clone()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventParameters {
    kinds: Option<String>,
}

async fn event_stream(
    State(api): State<Api>,
    parameters: Result<Query<EventParameters>, QueryRejection>,
) -> Result<Response, Refusal> {
    let Query(parameters) = parameters.map_err(|error| Refusal::bad_request(error.body_text()))?;
    let kinds = match &parameters.kinds {
        None => Kind::USUAL.to_vec(),
        Some(names) => Kind::ALL
            .into_iter()
            .filter(|kind| names.split(',').any(|name| name.trim() == kind.name()))
            .collect(),
    };
    let names = parameters.kinds.as_deref().map(|names| names.split(','));
    let is_known = |name: &str| Kind::named(name.trim()).is_some();
    if !names.is_none_or(|mut names| names.all(is_known)) {
        return Err(Refusal::bad_request(
            "kinds is a list of snapshot, log, traffic, delivery and reading with commas between",
        ));
    }
    let permit = Arc::clone(&api.streams).try_acquire_owned();
    let permit = permit.map_err(|_| {
        let reason = format!("{STREAMS} streams of events are open, more there cannot be");
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, reason)
    })?;
    let stream = events::stream(api.observer, kinds, api.stop, permit);
    Ok((Extension(Endless), Sse::new(stream)).into_response())
}

async fn history(
    State(api): State<Api>,
    parameters: Result<Query<HistoryParameters>, QueryRejection>,
) -> Result<Json<Vec<HistoryPoint>>, Refusal> {
    let Query(parameters) = parameters.map_err(|error| Refusal::bad_request(error.body_text()))?;
    let query = parameters
        .query(Timestamp::now())
        .map_err(Refusal::bad_request)?;
    // Held until the disk has been read, though whoever asked may be gone by then.
    let permit = Arc::clone(&api.histories).acquire_owned().await;
    let reply = api.observer.history(query);
    let read = tokio::spawn(async move {
        let points = reply.await;
        drop(permit);
        points
    });
    let unavailable = |reason: String| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, reason);
    let points = read.await.map_err(|error| unavailable(error.to_string()))?;
    points.map(Json).map_err(unavailable)
}

#[derive(Serialize)]
struct Accepted {
    accepted: Command,
}

/// The body of a request that asks for something to be done.
async fn read_json<T: DeserializeOwned>(
    headers: &HeaderMap,
    request: Request,
    (what, example): (&str, &str),
) -> Result<T, Refusal> {
    // A form of a page elsewhere can send other types without asking; this one it cannot.
    let content_type = headers.get(header::CONTENT_TYPE);
    let media_type = content_type.and_then(|value| value.to_str().ok()?.split(';').next());
    if !media_type.is_some_and(|it| it.trim().eq_ignore_ascii_case("application/json")) {
        return Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!("send the {what} as JSON with the header Content-Type: application/json"),
        ));
    }
    let body = tokio::time::timeout(BODY, Bytes::from_request(request, &())).await;
    let body = body.map_err(|_| {
        let reason = format!("the {what} did not come within 10 s; send it in one piece");
        Refusal::new(StatusCode::REQUEST_TIMEOUT, reason)
    })?;
    let body = body.map_err(|error| Refusal::new(error.status(), error.body_text()))?;
    serde_json::from_slice(&body).map_err(|error| {
        Refusal::bad_request(format!("this is no {what} ({error}); one is {example}"))
    })
}

async fn command(
    State(api): State<Api>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Refusal> {
    let asker = asker(&request);
    let words = ("command", r#"{"command":"hold","link":"mqtt"}"#);
    let command: Command = read_json(&headers, request, words).await?;
    if matches!(command, Command::Send(..)) && !api.may_send {
        return Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "this gateway has no api.token, so that nothing is sent to its source for whoever asks; \
             set one, or api.allow_send = true",
        ));
    }
    if let Some(link) = command.link() {
        refuse_disabled(&*api.snapshot()?, link)?;
    }
    api.observer
        .command(command.clone(), asker)
        .await
        .map_err(|reason| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, reason))?;
    let accepted = Json(Accepted { accepted: command });
    Ok((StatusCode::ACCEPTED, accepted).into_response())
}

async fn lease(
    State(api): State<Api>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Refusal> {
    let asker = asker(&request);
    let words = ("lease", r#"{"link":"source","to":"esptool"}"#);
    let LeaseRequest { link, to } = read_json(&headers, request, words).await?;
    let is_name = (1..=MAX_NAME).contains(&to.len()) && !to.contains(char::is_control);
    if link.sink().is_some() || !is_name {
        return Err(Refusal::bad_request(
            "a lease is of a source, and names the program that it is lent to",
        ));
    }
    refuse_disabled(&*api.snapshot()?, &link)?;
    let refused = |reason: String| Refusal::new(StatusCode::CONFLICT, reason);
    let lease = api
        .observer
        .lend(link.clone(), to, asker)
        .await
        .map_err(refused)?;
    let lines = lease::lines(link, lease, api.stop);
    let lines = lines.map_err(|error| refused(error.to_string()))?;
    let content_type = [(header::CONTENT_TYPE, "application/x-ndjson")];
    let answer = (content_type, Body::from_stream(lines));
    Ok((Extension(Endless), answer).into_response())
}

async fn rewind(
    State(api): State<Api>,
    headers: HeaderMap,
    request: Request,
) -> Result<Json<Rewound>, Refusal> {
    let asker = asker(&request);
    let words = (
        "rewind",
        r#"{"link":"influxdb","to":"2026-03-01T12:00:00Z"}"#,
    );
    let RewindRequest { link, to } = read_json(&headers, request, words).await?;
    let to = rewind::parse(&to).map_err(Refusal::bad_request)?;
    refuse_disabled(&*api.snapshot()?, &link)?;
    let answer = api.observer.rewind(link.clone(), to, asker).await;
    let readings = answer.map_err(|reason| Refusal::new(StatusCode::CONFLICT, reason))?;
    let rewound = link;
    Ok(Json(Rewound { rewound, readings }))
}

/// Who asks, as far as the connection tells.
fn asker(request: &Request) -> Asker {
    let known = request.extensions().get::<Asker>().cloned();
    known.unwrap_or_else(|| Asker::Peer("an unknown address".to_owned()))
}

/// What is not configured cannot be commanded, and whoever tries is to know.
fn refuse_disabled(snapshot: &Snapshot, link: &LinkId) -> Result<(), Refusal> {
    let status = snapshot.link(link);
    if status.is_some_and(|status| status.state != LinkState::Disabled) {
        return Ok(());
    }
    let reason = format!("{link} is not configured on this gateway");
    Err(Refusal::new(StatusCode::CONFLICT, reason))
}
