//! A database that keeps what is written to it and says what it holds, in Flux as InfluxDB 2 does or in
//! `InfluxQL` as InfluxDB 1. It understands the very queries that an audit asks, and no others.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use fieldgate::demo::write_endpoint::{Bucket, Keeper, Refusal, Write, write_endpoint};
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
    queries: Mutex<Vec<String>>,
}

impl QueriedDatabase {
    pub(crate) const TOKEN: &str = "audit-token";

    /// Starts a database that is empty.
    pub(crate) fn start(speaks: Speaks) -> Self {
        let held = Arc::new(Held {
            speaks,
            points: Mutex::default(),
            queries: Mutex::default(),
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

    /// What it was asked.
    pub(crate) fn queries(&self) -> Vec<String> {
        self.held.queries.lock().unwrap().clone()
    }
}

fn is_allowed(headers: &HeaderMap) -> bool {
    let token = format!("Token {}", QueriedDatabase::TOKEN);
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
        for point in written.iter().map(Point::from) {
            let key = |it: &Point| (it.measurement.clone(), it.tags.clone(), it.timestamp_ns);
            points.retain(|other| key(other) != key(&point));
            points.push(point);
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

async fn flux(State(held): State<Arc<Held>>, headers: HeaderMap, body: Bytes) -> Response {
    if held.speaks != Speaks::Flux {
        let words = r#"{"error":"Flux query service disabled. Verify flux-enabled=true"}"#;
        return (StatusCode::FORBIDDEN, words).into_response();
    }
    if !is_allowed(&headers) {
        let status = StatusCode::UNAUTHORIZED;
        return Refusal::new(status, "unauthorized", "unauthorized access").into_response();
    }
    let asked: Value = serde_json::from_slice(&body).unwrap();
    let query = asked["query"].as_str().unwrap().to_owned();
    held.queries.lock().unwrap().push(query.clone());
    let pattern = Regex::new(concat!(
        r#"^from\(bucket: "telemetry"\)\n"#,
        r"  \|> range\(start: (\S+), stop: (\S+)\)\n",
        r#"  \|> filter\(fn: \(r\) => r\._field == "value" and exists r\.node_id "#,
        r#"and (?:not exists r\.gateway|r\.gateway == "(\w+)")\)\n"#,
        r#"  \|> drop\(columns: \["_start", "_stop", "_field"\]\)\n"#,
        r"  \|> toFloat\(\)\n",
        r"(  \|> reduce\(\n    identity: \{count: 0, first: 0, last: 0, checksum: 0\.0\},\n",
        r"    fn: \(r, accumulator\) => \(\{\n",
        r"      count: accumulator\.count \+ 1,\n",
        r"      first: if accumulator\.count == 0 then int\(v: r\._time\) else accumulator\.first,\n",
        r"      last: int\(v: r\._time\),\n",
        r"      checksum: accumulator\.checksum \+ r\._value \* ",
        r"float\(v: int\(v: r\._time\) / 1000000 % 65521 \+ 1\),\n    \}\),\n  \)\n)?$",
    ))
    .unwrap();
    let Some(found) = pattern.captures(&query) else {
        let words = json!({"code": "invalid", "message": format!("cannot compile: {query}")});
        return (StatusCode::BAD_REQUEST, words.to_string()).into_response();
    };
    let times = nanos(&found[1])..nanos(&found[2]);
    let gateway = found.get(3).map(|name| name.as_str());
    let tables = held.select(times, gateway);
    let csv = annotated(&tables, found.get(4).is_some());
    ([(header::CONTENT_TYPE, "text/csv; charset=utf-8")], csv).into_response()
}

/// Points by measurement and tags.
type Tables = BTreeMap<(String, BTreeMap<String, String>), Vec<(i64, f64)>>;

/// As the published API has it: a header for each table, and an empty line behind it.
fn annotated(tables: &Tables, is_summed_up: bool) -> String {
    let mut csv = String::new();
    for (number, ((measurement, tags), points)) in tables.iter().enumerate() {
        let names: Vec<&str> = tags.keys().map(String::as_str).collect();
        let values: Vec<String> = tags.values().map(|value| quoted(value)).collect();
        let (names, values) = (names.join(","), values.join(","));
        let start = format!(",,{number},{},{values}", quoted(measurement));
        if is_summed_up {
            let checksum = points.iter().fold(0.0, |sum, (time, value)| {
                sum + value * ((time / 1_000_000 % 65_521) + 1) as f64
            });
            let (first, last) = (points[0].0, points[points.len() - 1].0);
            let count = points.len();
            let _infallible = write!(
                csv,
                ",result,table,_measurement,{names},count,first,last,checksum\r\n\
                 {start},{count},{first},{last},{checksum}\r\n\r\n"
            );
            continue;
        }
        let _infallible = write!(csv, ",result,table,_measurement,{names},_value,_time\r\n");
        for (time, value) in points {
            let _infallible = write!(csv, "{start},{value},{}\r\n", rfc3339(*time));
        }
        csv.push_str("\r\n");
    }
    csv
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
) -> Response {
    if held.speaks != Speaks::InfluxQl {
        return StatusCode::NOT_FOUND.into_response();
    }
    assert_eq!((&*asked["db"], &*asked["epoch"]), ("telemetry", "ns"));
    let query = &asked["q"];
    held.queries.lock().unwrap().push(query.clone());
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
    chunks.into_response()
}
