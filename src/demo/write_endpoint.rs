//! The write endpoint of InfluxDB 2 with one token, organisation and bucket.
//! <https://docs.influxdata.com/influxdb/v2/api/#operation/PostWrite>
//!
//! It checks a write as InfluxDB does; a [`Keeper`] answers for what becomes of it.

use std::io::{self, Read};
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use flate2::read::GzDecoder;
use serde::Deserialize;
use serde_json::json;

use crate::telemetry::Value;
use crate::telemetry::line_protocol::Point;

/// The largest write, before and after decompression.
const MAX_BODY: usize = 64 << 20;

/// Where writes go, and who may write.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// The token that opens it.
    pub token: String,
    /// The organisation that it belongs to.
    pub org: String,
    /// Its name.
    pub name: String,
}

/// A write that came in.
#[derive(Debug)]
pub struct Write {
    /// Its body, decompressed.
    pub text: String,
    /// Whether its body was compressed.
    pub is_gzip: bool,
    /// What is in it, or why it cannot be taken.
    pub points: Result<Vec<Point>, Refusal>,
}

/// Why a write is not taken, as InfluxDB says it.
#[derive(Debug)]
pub struct Refusal {
    /// The status.
    pub status: StatusCode,
    /// InfluxDB's word for it.
    pub code: &'static str,
    /// A sentence.
    pub message: String,
}

impl Refusal {
    /// A refusal with its status, code and message.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }

    fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", message)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({"code": self.code, "message": self.message});
        (self.status, Json(body)).into_response()
    }
}

/// Who keeps what was written.
pub trait Keeper: Send + Sync + 'static {
    /// Keeps a write, or not, and answers it.
    fn answer(&self, write: Write) -> impl Future<Output = Response> + Send;
}

/// The endpoint, and beside it `/health`.
pub fn write_endpoint<K: Keeper>(bucket: Bucket, keeper: Arc<K>) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/api/v2/write", post(write::<K>))
        .fallback(|| async { Refusal::new(StatusCode::NOT_FOUND, "not found", "path not found") })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(Endpoint {
            bucket: Arc::new(bucket),
            keeper,
        })
}

struct Endpoint<K> {
    bucket: Arc<Bucket>,
    keeper: Arc<K>,
}

impl<K> Clone for Endpoint<K> {
    fn clone(&self) -> Self {
        Self {
            bucket: Arc::clone(&self.bucket),
            keeper: Arc::clone(&self.keeper),
        }
    }
}

async fn health() -> Response {
    let version = env!("CARGO_PKG_VERSION");
    let message = "embedded in fieldgate";
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

/// A write goes on, and is kept, though its client goes.
async fn write<K: Keeper>(
    State(endpoint): State<Endpoint<K>>,
    Query(target): Query<Target>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let answering = tokio::spawn(async move {
        let write = endpoint.bucket.read(&target, &headers, &body);
        endpoint.keeper.answer(write).await
    });
    let failed = |error: tokio::task::JoinError| internal_error(&error).into_response();
    answering.await.unwrap_or_else(failed)
}

/// What went wrong here and not with the write.
pub(super) fn internal_error(error: &dyn std::error::Error) -> Refusal {
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    Refusal::new(status, "internal error", error.to_string())
}

impl Bucket {
    fn read(&self, target: &Target, headers: &HeaderMap, body: &[u8]) -> Write {
        let is_gzip = headers
            .get(header::CONTENT_ENCODING)
            .is_some_and(|encoding| encoding == "gzip");
        let text = text_of(body, is_gzip).map_err(|error| Refusal::invalid(error.to_string()));
        let (text, unreadable) = match text {
            Ok(text) => (text, None),
            Err(refusal) => (String::new(), Some(refusal)),
        };
        let points = self
            .admit(target, headers)
            .and_then(|()| unreadable.map_or(Ok(()), Err))
            .and_then(|()| parse(&text).map_err(Refusal::invalid));
        Write {
            text,
            is_gzip,
            points,
        }
    }

    fn admit(&self, target: &Target, headers: &HeaderMap) -> Result<(), Refusal> {
        let wanted = format!("Token {}", self.token);
        let given = headers.get(header::AUTHORIZATION);
        let not_found = |what: String| Err(Refusal::new(StatusCode::NOT_FOUND, "not found", what));
        if given.is_none_or(|given| given != wanted.as_str()) {
            let words = "unauthorized access";
            Err(Refusal::new(
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                words,
            ))
        } else if target.org != self.org {
            not_found(format!("organization name {:?} not found", target.org))
        } else if target.bucket != self.name {
            not_found(format!("bucket {:?} not found", target.bucket))
        } else if !matches!(target.precision.as_str(), "" | "ns") {
            Err(Refusal::invalid(
                "only nanoseconds are known here: precision=ns",
            ))
        } else {
            Ok(())
        }
    }
}

fn text_of(body: &[u8], is_gzip: bool) -> io::Result<String> {
    let mut text = String::new();
    // A request without content has none to decompress, whatever its headers say.
    if is_gzip && !body.is_empty() {
        let limit = u64::try_from(MAX_BODY).unwrap_or(u64::MAX);
        GzDecoder::new(body).take(limit).read_to_string(&mut text)?;
    } else {
        { body }.read_to_string(&mut text)?;
    }
    Ok(text)
}

/// All points of a text; the error names the first line that is wrong.
pub fn parse(text: &str) -> Result<Vec<Point>, String> {
    let lines = text.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            Point::parse(line)
                .and_then(check)
                .map_err(|reason| format!("unable to parse '{line}': {reason}"))
        })
        .collect()
}

/// What a board may print and InfluxDB refuses.
fn check(point: Point) -> Result<Point, &'static str> {
    let mut keys: Vec<&str> = point.tags.iter().map(|(key, _)| key.as_str()).collect();
    keys.sort_unstable();
    let is_number_or_text =
        |(_, value): &(String, Value)| !matches!(value, Value::Absent | Value::Other);
    if point
        .tags
        .iter()
        .any(|(key, value)| key.is_empty() || value.is_empty())
    {
        Err("missing tag value")
    } else if keys.windows(2).any(|pair| pair[0] == pair[1]) {
        Err("duplicate tags")
    } else if !point.fields.iter().all(is_number_or_text) {
        Err("invalid number")
    } else {
        Ok(point)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_empty_lines_are_passed_over() {
        let text = "temperature,node_id=node1 value=27.6 5\r\n# a comment\n\n c z=t\n";
        let measurements = parse(text).unwrap().into_iter().map(|it| it.measurement);
        assert_eq!(measurements.collect::<Vec<_>>(), ["temperature", "c"]);
    }

    #[test]
    fn what_influxdb_refuses_is_refused_with_the_line() {
        for line in [
            "temperature",
            ",a=b value=1 5",
            "temperature,a= value=1 5",
            "temperature,a value=1 5",
            "temperature,a=b,a=c value=1 5",
            "temperature value= 5",
            "temperature =1 5",
            "temperature value=NaN 5",
            "temperature value=inf 5",
            "temperature value=1e999 5",
            "temperature value=1x 5",
            "temperature value=1 soon",
            "temperature value=1, 5",
        ] {
            let error = parse(&format!("ok value=1 5\n{line}\n")).unwrap_err();
            assert!(error.contains(line), "{error}");
        }
    }
}
