//! The embedded database: the write endpoint of InfluxDB 2 with one token, org and bucket, and SQLite
//! behind it.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use flate2::read::GzDecoder;
use rusqlite::{Connection, params};
use serde::Deserialize;
use serde_json::json;
use tokio::runtime::Runtime;

use super::points::{self, FieldValue};
use super::{BUCKET, DemoError, ORG};
use crate::telemetry::Timestamp;

/// The largest write, before and after decompression.
const MAX_BODY: u64 = 64 << 20;

/// Points kept; the oldest go first, so that a demonstration can run for days.
const MAX_POINTS: i64 = 200_000;

/// Lines that `/points` shows.
const SHOWN: u32 = 20;

const SCHEMA: &str = "
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE points (
    id INTEGER PRIMARY KEY,
    measurement TEXT NOT NULL, tags TEXT NOT NULL, field TEXT NOT NULL,
    time INTEGER NOT NULL, value TEXT NOT NULL,
    UNIQUE (measurement, tags, field, time) ON CONFLICT REPLACE
);";

/// A running database.
pub(super) struct Database {
    address: SocketAddr,
    /// Ends the server with it.
    runtime: Option<Runtime>,
}

#[derive(Clone)]
struct Shared {
    token: Arc<str>,
    points: Arc<Mutex<Connection>>,
}

impl Database {
    pub(super) fn start(
        listener: TcpListener,
        token: &str,
        file: &Path,
    ) -> Result<Self, DemoError> {
        let connection = Connection::open(file)?;
        connection.execute_batch(SCHEMA)?;
        let shared = Shared {
            token: token.into(),
            points: Arc::new(Mutex::new(connection)),
        };
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("demo-database")
            .enable_all()
            .build()?;
        let router = router(shared);
        let listener = {
            let _context = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        runtime.spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(error = %error, "The embedded database failed.");
            }
        });
        Ok(Self {
            address,
            runtime: Some(runtime),
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(1));
        }
    }
}

fn router(shared: Shared) -> Router {
    let limit = usize::try_from(MAX_BODY).unwrap_or(usize::MAX);
    Router::new()
        .route("/health", get(health))
        .route("/points", get(show))
        .route("/api/v2/write", post(write))
        .layer(DefaultBodyLimit::max(limit))
        .with_state(shared)
}

async fn health() -> Response {
    let version = env!("CARGO_PKG_VERSION");
    let message = "embedded in fieldgate demo";
    let body =
        json!({"name": "influxdb", "status": "pass", "version": version, "message": message});
    Json(body).into_response()
}

#[derive(Deserialize)]
struct Target {
    #[serde(default)]
    org: String,
    #[serde(default)]
    bucket: String,
    #[serde(default)]
    precision: String,
}

async fn write(
    State(shared): State<Shared>,
    Query(target): Query<Target>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match shared.take(&target, &headers, &body) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err((status, code, message)) => {
            (status, Json(json!({"code": code, "message": message}))).into_response()
        }
    }
}

/// Status, InfluxDB's code for it, and its words.
type Refusal = (StatusCode, &'static str, String);

impl Shared {
    fn take(&self, target: &Target, headers: &HeaderMap, body: &[u8]) -> Result<(), Refusal> {
        let wanted = format!("Token {}", self.token);
        if headers
            .get(header::AUTHORIZATION)
            .is_none_or(|given| given != wanted.as_str())
        {
            let words = "unauthorized access".to_owned();
            return Err((StatusCode::UNAUTHORIZED, "unauthorized", words));
        }
        let not_found = |what| Err((StatusCode::NOT_FOUND, "not found", what));
        if target.org != ORG {
            return not_found(format!("organization name {:?} not found", target.org));
        }
        if target.bucket != BUCKET {
            return not_found(format!("bucket {:?} not found", target.bucket));
        }
        let invalid = |words: String| (StatusCode::BAD_REQUEST, "invalid", words);
        if !matches!(target.precision.as_str(), "" | "ns") {
            return Err(invalid("only precision ns is known here".into()));
        }
        let text = text_of(headers, body).map_err(|error| invalid(error.to_string()))?;
        let values = points::parse(&text).map_err(invalid)?;
        let kept = self.keep(&values);
        kept.map_err(|error| {
            (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal error",
                error.to_string(),
            )
        })
    }

    fn keep(&self, values: &[FieldValue]) -> rusqlite::Result<()> {
        let mut connection = self.points.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = connection.transaction()?;
        {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO points (measurement, tags, field, time, value) VALUES (?, ?, ?, ?, ?)",
            )?;
            for value in values {
                let time = value.time.unwrap_or_else(|| Timestamp::now().0);
                let FieldValue {
                    measurement,
                    tags,
                    field,
                    text,
                    ..
                } = value;
                insert.execute(params![measurement, tags, field, time, text])?;
            }
            transaction.execute(
                "DELETE FROM points WHERE id <= (SELECT max(id) FROM points) - ?",
                [MAX_POINTS],
            )?;
        }
        transaction.commit()
    }

    fn newest(&self) -> rusqlite::Result<String> {
        let connection = self.points.lock().unwrap_or_else(PoisonError::into_inner);
        let count: i64 =
            connection.query_row("SELECT count(*) FROM points", [], |row| row.get(0))?;
        let mut select = connection.prepare_cached(
            "SELECT measurement || iif(tags = '', '', ',' || tags) || ' ' || field || '=' || value
                 || ' ' || time FROM points ORDER BY id DESC LIMIT ?",
        )?;
        let lines = select.query_map([SHOWN], |row| row.get::<_, String>(0))?;
        let lines: Vec<String> = lines.collect::<Result<_, _>>()?;
        Ok(format!(
            "# {count} points; the newest:\n{}\n",
            lines.join("\n")
        ))
    }
}

fn text_of(headers: &HeaderMap, body: &[u8]) -> io::Result<String> {
    let is_gzip = headers
        .get(header::CONTENT_ENCODING)
        .is_some_and(|encoding| encoding == "gzip");
    let mut text = String::new();
    if is_gzip {
        GzDecoder::new(body)
            .take(MAX_BODY)
            .read_to_string(&mut text)?;
    } else {
        let mut body = body;
        body.read_to_string(&mut text)?;
    }
    Ok(text)
}

async fn show(State(shared): State<Shared>) -> Response {
    match shared.newest() {
        Ok(lines) => lines.into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
