//! A database that keeps what is written to it and says what it holds, in Flux as InfluxDB 2 does or in
//! `InfluxQL` as InfluxDB 1. It understands the very queries that an audit asks, and no others; what it
//! answers is what InfluxDB 2.7.12 and 1.8.10 answered to them.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::io::Write as _;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use fieldgate::demo::write_endpoint::{Bucket, Keeper, Refusal, Write, write_endpoint};
use flate2::Compression;
use flate2::write::GzEncoder;
use regex::Regex;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::http_server::HttpServer;
use super::line_protocol::Point;

/// What it can be asked in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    Flux,
    InfluxQl,
}

/// A database of the test's own.
pub(crate) struct QueriedDatabase {
    server: HttpServer,
    held: Arc<Held>,
}

struct Held {
    speaks: Speaks,
    points: Mutex<Vec<Point>>,
    /// A metric that it refuses.
    refused: Mutex<Option<&'static str>>,
}

impl QueriedDatabase {
    pub(crate) const TOKEN: &str = "audit-token";

    /// May write alone.
    pub(crate) const WRITE_TOKEN: &str = "audit-token-write";

    /// Starts a database that is empty.
    pub(crate) fn start(speaks: Speaks) -> Self {
        let held = Arc::new(Held {
            speaks,
            points: Mutex::default(),
            refused: Mutex::default(),
        });
        let bucket = Bucket {
            token: Self::TOKEN.to_owned(),
            org: "my-org".to_owned(),
            name: "telemetry".to_owned(),
        };
        let queries = Router::new()
            .route("/api/v2/query", post(flux))
            .route("/query", post(influxql))
            .with_state(Arc::clone(&held));
        let router = write_endpoint(bucket, Arc::clone(&held)).merge(queries);
        Self {
            server: HttpServer::start(router, |listener| listener),
            held,
        }
    }

    /// Its address as the configuration wants it.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.server.port())
    }

    /// What it holds; a test may take something away.
    pub(crate) fn points(&self) -> MutexGuard<'_, Vec<Point>> {
        self.held.points.lock().unwrap()
    }

    /// It refuses a metric from now on.
    pub(crate) fn refuse(&self, metric: &'static str) {
        *self.held.refused.lock().unwrap() = Some(metric);
    }
}

fn is_allowed(headers: &HeaderMap, token: &str) -> bool {
    let token = format!("Token {token}");
    headers
        .get(header::AUTHORIZATION)
        .is_some_and(|it| it == &token)
}

impl Keeper for Held {
    async fn answer(&self, write: Write) -> Response {
        let written = match write.points {
            Ok(written) => written,
            Err(refusal) => return refusal.into_response(),
        };
        let mut points = self.points.lock().unwrap();
        let refused = *self.refused.lock().unwrap();
        let (bad, written): (Vec<_>, Vec<_>) = written
            .iter()
            .partition(|point| refused == Some(&*point.measurement));
        for point in written.into_iter().map(Point::from) {
            let key = |it: &Point| (it.measurement.clone(), it.tags.clone(), it.timestamp_ns);
            points.retain(|other| key(other) != key(&point));
            points.push(point);
        }
        if let (Some(metric), dropped @ 1..) = (refused, bad.len()) {
            let words = format!(
                "failure writing points to database: partial write: field type conflict: input field \
                 \"value\" on measurement \"{metric}\" is type float, already exists as type string \
                 dropped={dropped}"
            );
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            return Refusal::new(status, "unprocessable entity", words).into_response();
        }
        StatusCode::NO_CONTENT.into_response()
    }
}

impl Held {
    /// Points by series, each in the order of time.
    fn select(&self, times: Range<i64>, gateway: Option<&str>) -> Tables {
        let mut tables = Tables::new();
        let points = self.points.lock().unwrap();
        let is_meant = |point: &&Point| {
            let tags = &point.tags;
            point.field == "value"
                && times.contains(&point.timestamp_ns)
                && tags.contains_key("node_id")
                && tags.get("gateway").map(String::as_str) == gateway
        };
        for point in points.iter().filter(is_meant) {
            let key = (point.measurement.clone(), point.tags.clone());
            let table = tables.entry(key).or_default();
            table.push((point.timestamp_ns, point.value));
        }
        for table in tables.values_mut() {
            table.sort_by_key(|(time, _)| *time);
        }
        tables
    }
}

fn nanos(text: &str) -> i64 {
    let time = OffsetDateTime::parse(text, &Rfc3339).unwrap();
    time.unix_timestamp_nanos().try_into().unwrap()
}

fn rfc3339(nanos: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanos.into()).unwrap();
    time.format(&Rfc3339).unwrap()
}

async fn flux(
    State(held): State<Arc<Held>>,
    Query(place): Query<HashMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if held.speaks != Speaks::Flux {
        let words = "Flux query service disabled. Verify flux-enabled=true in the [http] section of \
                     the InfluxDB config.\n";
        return (StatusCode::FORBIDDEN, words).into_response();
    }
    let may_read = is_allowed(&headers, QueriedDatabase::TOKEN);
    if !may_read && !is_allowed(&headers, QueriedDatabase::WRITE_TOKEN) {
        let status = StatusCode::UNAUTHORIZED;
        return Refusal::new(status, "unauthorized", "unauthorized access").into_response();
    }
    let org = &place["org"];
    if org != "my-org" {
        let words = format!("failed to decode request body: organization name {org:?} not found");
        return Refusal::new(StatusCode::BAD_REQUEST, "invalid", words).into_response();
    }
    let asked: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(asked["dialect"]["annotations"], json!(["datatype"]));
    let query = asked["query"].as_str().unwrap();
    let pattern = Regex::new(concat!(
        r#"^from\(bucket: "(\w+)"\)\n"#,
        r"  \|> range\(start: (\S+), stop: (\S+)\)\n",
        r#"  \|> filter\(fn: \(r\) => r\._field == "value" and exists r\.node_id "#,
        r#"and (?:not exists r\.gateway|r\.gateway == "(\w+)")\)\n"#,
        r#"  \|> drop\(columns: \["_start", "_stop", "_field"\]\)\n$"#,
    ))
    .unwrap();
    let Some(found) = pattern.captures(query) else {
        let words = json!({"code": "invalid", "message": format!("cannot compile: {query}")});
        return (StatusCode::BAD_REQUEST, words.to_string()).into_response();
    };
    let bucket = &found[1];
    if bucket != "telemetry" || !may_read {
        let words = format!("failed to initialize execute state: could not find bucket {bucket:?}");
        return Refusal::new(StatusCode::NOT_FOUND, "not found", words).into_response();
    }
    let times = nanos(&found[2])..nanos(&found[3]);
    let gateway = found.get(4).map(|name| name.as_str());
    let tables = held.select(times.clone(), gateway);
    let csv = annotated(&tables, &rfc3339(times.start));
    compressed("text/csv; charset=utf-8", &csv, &headers)
}

/// Points by measurement and tags.
type Tables = BTreeMap<(String, BTreeMap<String, String>), Vec<(i64, f64)>>;

/// Annotations and a header for each table, an empty line behind it, and a text of another program.
fn annotated(tables: &Tables, start: &str) -> String {
    let mut csv = format!(
        "#datatype,string,long,dateTime:RFC3339,string,string,string\r\n\
         ,result,table,_time,_value,_measurement,node_id\r\n\
         ,_result,0,{start},open,door,front\r\n\r\n"
    );
    for (number, ((measurement, tags), points)) in tables.iter().enumerate() {
        let names: Vec<&str> = tags.keys().map(String::as_str).collect();
        let values: Vec<String> = tags.values().map(|value| quoted(value)).collect();
        let (names, values) = (names.join(","), values.join(","));
        let _infallible = write!(
            csv,
            "#datatype,string,long,dateTime:RFC3339,double,string{}\r\n\
             ,result,table,_time,_value,_measurement,{names}\r\n",
            ",string".repeat(tags.len())
        );
        let end = format!("{},{values}", quoted(measurement));
        for (time, value) in points {
            let time = rfc3339(*time);
            let _infallible = write!(csv, ",_result,{},{time},{value},{end}\r\n", number + 1);
        }
        csv.push_str("\r\n");
    }
    csv
}

/// Compressed for whoever asks for it.
fn compressed(kind: &'static str, text: &str, headers: &HeaderMap) -> Response {
    let asked = headers.get(header::ACCEPT_ENCODING);
    assert!(asked.is_some_and(|it| it == "gzip"));
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_ENCODING, "gzip"),
    ];
    (headers, encoder.finish().unwrap()).into_response()
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

async fn influxql(
    State(held): State<Arc<Held>>,
    Query(asked): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let (database, query) = (&asked["db"], &asked["q"]);
    assert_eq!(asked["epoch"], "ns");
    // InfluxDB 2 answers here as well, whatever the organisation.
    if database != "telemetry" || !may_answer(&held, &headers) {
        let words = format!("database not found: {database}");
        let answer = json!({"results": [{"statement_id": 0, "error": words}]});
        return answer.to_string().into_response();
    }
    let pattern = Regex::new(concat!(
        r#"^SELECT "value" FROM /\.\*/ WHERE time >= (\d+) AND time < (\d+) "#,
        r#"AND "node_id" != '' AND "gateway" = '(\w*)' GROUP BY "node_id", "source"$"#,
    ))
    .unwrap();
    let Some(found) = pattern.captures(query) else {
        return (
            StatusCode::BAD_REQUEST,
            r#"{"error":"error parsing query"}"#,
        )
            .into_response();
    };
    let times = found[1].parse().unwrap()..found[2].parse().unwrap();
    let gateway = Some(&found[3]).filter(|name| !name.is_empty());
    let mut chunks = String::new();
    // In chunks of one series, as the real one has them when it is asked so.
    for ((measurement, tags), points) in held.select(times, gateway) {
        let tag = |name: &str| tags.get(name).cloned().unwrap_or_default();
        let chunk = json!({"results": [{"statement_id": 0, "series": [{
            "name": measurement,
            "tags": {"node_id": tag("node_id"), "source": tag("source")},
            "columns": ["time", "value"],
            "values": points,
        }]}]});
        let _infallible = writeln!(chunks, "{chunk}");
    }
    if chunks.is_empty() {
        chunks.push_str("{\"results\":[{\"statement_id\":0}]}\n");
    }
    compressed("application/json", &chunks, &headers)
}

fn may_answer(held: &Held, headers: &HeaderMap) -> bool {
    held.speaks == Speaks::InfluxQl || is_allowed(headers, QueriedDatabase::TOKEN)
}
