//! The embedded database: the write endpoint of InfluxDB 2 with SQLite behind it.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use rusqlite::{Connection, params};
use tokio::runtime::Runtime;

use super::write_endpoint::{Bucket, Keeper, Write, internal_error, write_endpoint};
use super::{BUCKET, DemoError, ORG};
use crate::telemetry::line_protocol::Point;
use crate::telemetry::{Timestamp, Value};

/// Points kept; the oldest go first, so that a demonstration can run for days.
const MAX_POINTS: i64 = 200_000;

/// Lines that `/points` shows.
const SHOWN: u32 = 20;

const SCHEMA: &str = "
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE points (
    id INTEGER PRIMARY KEY,
    series TEXT NOT NULL, field TEXT NOT NULL, time INTEGER NOT NULL, value TEXT NOT NULL,
    UNIQUE (series, field, time) ON CONFLICT REPLACE
);";

/// A running database.
pub(super) struct Database {
    address: SocketAddr,
    /// Ends the server with it.
    runtime: Option<Runtime>,
}

impl Database {
    pub(super) fn start(
        listener: TcpListener,
        token: &str,
        file: &Path,
    ) -> Result<Self, DemoError> {
        let connection = Connection::open(file)?;
        connection.execute_batch(SCHEMA)?;
        let points = Arc::new(Points(Mutex::new(connection)));
        let bucket = Bucket {
            token: token.to_owned(),
            org: ORG.to_owned(),
            name: BUCKET.to_owned(),
        };
        let shown = Router::new()
            .route("/points", get(show))
            .with_state(Arc::clone(&points));
        let router = write_endpoint(bucket, points).merge(shown);
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("demo-database")
            .enable_all()
            .build()?;
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

/// What was written; the same point again replaces the one before.
struct Points(Mutex<Connection>);

impl Keeper for Points {
    async fn answer(&self, write: Write) -> Response {
        let points = match write.points {
            Ok(points) => points,
            Err(refusal) => return refusal.into_response(),
        };
        match self.keep(&points) {
            Ok(()) => StatusCode::NO_CONTENT.into_response(),
            Err(error) => internal_error(&error).into_response(),
        }
    }
}

impl Points {
    fn keep(&self, points: &[Point]) -> rusqlite::Result<()> {
        let mut connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = connection.transaction()?;
        {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO points (series, field, time, value) VALUES (?, ?, ?, ?)",
            )?;
            for point in points {
                let time = point.timestamp.unwrap_or_else(|| Timestamp::now().0);
                let series = series_of(point);
                for (field, value) in &point.fields {
                    insert.execute(params![series, field, time, shown_value(value)])?;
                }
            }
            transaction.execute(
                "DELETE FROM points WHERE id <= (SELECT max(id) FROM points) - ?",
                [MAX_POINTS],
            )?;
        }
        transaction.commit()
    }

    fn newest(&self) -> rusqlite::Result<String> {
        let connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count: i64 =
            connection.query_row("SELECT count(*) FROM points", [], |row| row.get(0))?;
        let mut select = connection.prepare_cached(
            "SELECT series || ' ' || field || '=' || value || ' ' || time
             FROM points ORDER BY id DESC LIMIT ?",
        )?;
        let lines = select.query_map([SHOWN], |row| row.get::<_, String>(0))?;
        let lines: Vec<String> = lines.collect::<Result<_, _>>()?;
        Ok(format!(
            "# {count} points; the newest:\n{}\n",
            lines.join("\n")
        ))
    }
}

/// `temperature,node_id=node1,sensor_type=environmental`: the order of tags says nothing.
fn series_of(point: &Point) -> String {
    let mut tags: Vec<String> = point
        .tags
        .iter()
        .map(|(key, value)| format!(",{key}={value}"))
        .collect();
    tags.sort_unstable();
    format!("{}{}", point.measurement, tags.concat())
}

fn shown_value(value: &Value) -> String {
    match value {
        Value::Integer(integer) => integer.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Truth(truth) => truth.to_string(),
        Value::Text(text) | Value::Label(text) => format!("{text:?}"),
        Value::Absent | Value::Other => String::new(),
    }
}

async fn show(State(points): State<Arc<Points>>) -> Response {
    match points.newest() {
        Ok(lines) => lines.into_response(),
        Err(error) => internal_error(&error).into_response(),
    }
}
