//! The write endpoint of InfluxDB 2, with every answer that the real one gives only on bad days. The endpoint is
//! the demonstration's; what becomes of a correct write is scripted here.

mod breakable;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use fieldgate::demo::write_endpoint::{Bucket, Keeper, Refusal, Write, write_endpoint};
use futures_util::{StreamExt as _, stream};

use super::http_server::HttpServer;
use super::line_protocol::Point;
use super::poll;
use breakable::{Break, Breakable};

/// What happens to a write that is correct.
#[derive(Clone, Default)]
pub(crate) enum Reply {
    /// Taken: 204.
    #[default]
    Ok,
    /// Not taken: a status and a body.
    Status(u16, String),
    /// Not taken: a status, a line of the head, and a body.
    Page(u16, String, String),
    /// Not taken: a status, and a body without an end, in chunks of so many bytes; with 0 nothing
    /// comes behind the head.
    Endless(u16, usize),
    /// Taken after so long for each point.
    Each(Duration),
    /// Not taken with this status and these words if a point of it is bad; else [`Reply::Ok`].
    RefuseIf(u16, String, Arc<dyn Fn(&Point) -> bool + Send + Sync>),
    /// Not taken: 429 or 503 and the seconds after which to come again.
    RetryAfter(u16, u32),
    /// Taken, and the connection ends in the middle of the answer.
    CutMidAnswer,
    /// Taken, and the answer comes only after this time.
    TakeThenHang(Duration),
    /// Not taken, and no answer ever comes.
    Hang,
    /// Not taken with this status, 400 or 422, if a point of it is bad; else [`Reply::Ok`].
    RejectIf(u16, Arc<dyn Fn(&Point) -> bool + Send + Sync>),
    /// Not taken with 413 if the body is longer, before compression; else [`Reply::Ok`].
    MaxBody(usize),
}

/// A write that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReceivedWrite {
    /// Lines in it.
    pub(crate) lines: usize,
    /// Whether its body was compressed.
    pub(crate) gzip: bool,
    /// Whether its points were taken.
    pub(crate) taken: bool,
}

/// A server with one organisation, one bucket and one token.
pub(crate) struct ContractServer {
    server: HttpServer,
    prefix: String,
    keeper: Arc<Scripted>,
}

/// Does with writes what a script says.
#[derive(Default)]
struct Scripted {
    /// Bytes of bodies without an end that were sent.
    endless_bytes: Arc<AtomicUsize>,
    /// Cuts the next answer.
    cut: Arc<Break>,
    script: Mutex<Script>,
    writes: Mutex<Vec<ReceivedWrite>>,
    points: Mutex<Vec<Point>>,
}

#[derive(Default)]
struct Script {
    next: VecDeque<Reply>,
    then: Reply,
}

impl ContractServer {
    pub(crate) const ORG: &str = "iiot";
    pub(crate) const BUCKET: &str = "telemetry";
    pub(crate) const TOKEN: &str = "contract-token";

    /// Starts a server that takes every correct write.
    pub(crate) fn start() -> Self {
        Self::start_below("")
    }

    /// The same behind a proxy, which has another page for whatever is not below a path.
    pub(crate) fn start_below(prefix: &str) -> Self {
        let keeper = Arc::new(Scripted::default());
        let bucket = Bucket {
            token: Self::TOKEN.to_owned(),
            org: Self::ORG.to_owned(),
            name: Self::BUCKET.to_owned(),
        };
        let queries = Router::new()
            .route("/api/v2/query", post(query))
            .with_state(Arc::clone(&keeper));
        let server = write_endpoint(bucket, Arc::clone(&keeper)).merge(queries);
        let router = match prefix {
            "" => server,
            prefix => Router::new().nest(prefix, server).fallback(other_page),
        };
        let cut = Arc::clone(&keeper.cut);
        Self {
            server: HttpServer::start(router, |listener| Breakable::new(listener, cut)),
            prefix: prefix.to_owned(),
            keeper,
        }
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.server.port()
    }

    /// Its address as the configuration wants it.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}{}", self.port(), self.prefix)
    }

    /// How much of bodies without an end was sent.
    pub(crate) fn endless_bytes(&self) -> usize {
        self.keeper.endless_bytes.load(Ordering::Relaxed)
    }

    /// What the next correct writes are answered with, one each, before the standing reply.
    pub(crate) fn next(&self, replies: impl IntoIterator<Item = Reply>) {
        self.keeper.script.lock().unwrap().next.extend(replies);
    }

    /// The standing reply.
    pub(crate) fn always(&self, reply: Reply) {
        self.keeper.script.lock().unwrap().then = reply;
    }

    /// All writes so far, whatever became of them.
    pub(crate) fn writes(&self) -> Vec<ReceivedWrite> {
        self.keeper.writes.lock().unwrap().clone()
    }

    /// All points taken so far, in their order; one that was written twice stands there twice.
    pub(crate) fn points(&self) -> Vec<Point> {
        self.keeper.points.lock().unwrap().clone()
    }

    /// Waits until it has taken at least so many points, and returns them.
    pub(crate) fn wait_for_points(&self, count: usize, patience: Duration) -> Vec<Point> {
        poll(patience, || {
            Some(self.points()).filter(|points| points.len() >= count)
        })
        .unwrap_or_else(|| {
            let (held, writes) = (self.points().len(), self.writes());
            panic!("{held} points after {patience:?}, not {count}; writes: {writes:#?}")
        })
    }
}

impl Keeper for Scripted {
    async fn answer(&self, write: Write) -> Response {
        let points = match write.points {
            Ok(ref points) => points.iter().map(Point::from).collect(),
            Err(refusal) => {
                self.record(&write.text, write.is_gzip, None);
                return refusal.into_response();
            }
        };
        self.play(&write, points).await
    }
}

impl Scripted {
    async fn play(&self, write: &Write, points: Vec<Point>) -> Response {
        let reply = self.next_reply();
        let refusal = refusal(&reply, &write.text, &points);
        let taken = refusal.is_none() && !matches!(reply, Reply::Hang | Reply::Endless(..));
        if let Reply::Each(time) = reply {
            tokio::time::sleep(time * u32::try_from(points.len()).unwrap()).await;
        }
        self.record(&write.text, write.is_gzip, taken.then_some(points));
        match reply {
            Reply::Hang => std::future::pending().await,
            Reply::TakeThenHang(duration) => tokio::time::sleep(duration).await,
            Reply::CutMidAnswer => self.cut.next_answer(),
            Reply::Endless(status, chunk) => return self.endless(status, chunk),
            _ => {}
        }
        refusal.unwrap_or_else(|| StatusCode::NO_CONTENT.into_response())
    }

    fn next_reply(&self) -> Reply {
        let mut script = self.script.lock().unwrap();
        let next = script.next.pop_front();
        next.unwrap_or_else(|| script.then.clone())
    }

    fn record(&self, text: &str, gzip: bool, points: Option<Vec<Point>>) {
        self.writes.lock().unwrap().push(ReceivedWrite {
            lines: text.lines().count(),
            gzip,
            taken: points.is_some(),
        });
        let mut taken = self.points.lock().unwrap();
        taken.extend(points.into_iter().flatten());
    }

    /// Goes on until the client has enough.
    fn endless(&self, status: u16, chunk: usize) -> Response {
        let count = Arc::clone(&self.endless_bytes);
        let chunks = stream::repeat_with(move || {
            count.fetch_add(chunk, Ordering::Relaxed);
            Ok::<_, std::io::Error>(Bytes::from("x".repeat(chunk)))
        });
        let body = if chunk == 0 {
            Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>())
        } else {
            Body::from_stream(chunks.boxed())
        };
        (StatusCode::from_u16(status).unwrap(), body).into_response()
    }
}

async fn other_page() -> Response {
    let page = "<html><head><title>404 Not Found</title></head></html>";
    answer(404, page, Some("Content-Type: text/html"))
}

/// The points of the asked measurement and value, as a table in annotated CSV.
async fn query(State(keeper): State<Arc<Scripted>>, headers: HeaderMap, body: String) -> Response {
    let expected = format!("Token {}", ContractServer::TOKEN);
    if headers
        .get(header::AUTHORIZATION)
        .is_none_or(|it| it != expected.as_str())
    {
        let status = StatusCode::UNAUTHORIZED;
        return Refusal::new(status, "unauthorized", "unauthorized access").into_response();
    }
    let query: serde_json::Value = serde_json::from_str(&body).unwrap();
    let query = query["query"].as_str().unwrap();
    let asked = |name: &str| {
        let (_, rest) = query.split_once(&format!("r.{name} == "))?;
        let end = rest.find([' ', ')'])?;
        Some(rest[..end].trim_matches('"').to_owned())
    };
    let (measurement, value) = (asked("_measurement").unwrap(), asked("_value").unwrap());
    let mut table = String::from(
        "#datatype,string,long,double,string\r\n#group,false,false,false,true\r\n\
         #default,_result,,,\r\n,result,table,_value,_measurement\r\n",
    );
    let points = keeper.points.lock().unwrap();
    let value = value.parse::<f64>().unwrap();
    let is_asked =
        |point: &&Point| point.measurement == measurement && point.value.total_cmp(&value).is_eq();
    for point in points.iter().filter(is_asked) {
        let (value, measurement) = (point.value, &point.measurement);
        table.extend([",,0,", &value.to_string(), ",", measurement, "\r\n"]);
    }
    table.into_response()
}

/// An answer with a status, a body, and a line of the head.
fn answer(status: u16, body: &str, line: Option<&str>) -> Response {
    let mut response = Response::builder().status(status);
    if let Some((name, value)) = line.and_then(|line| line.split_once(": ")) {
        response = response.header(name, value);
    }
    response.body(Body::from(body.to_owned())).unwrap()
}

/// As InfluxDB words it.
fn error(status: u16, code: &'static str, message: impl Into<String>) -> Response {
    Refusal::new(StatusCode::from_u16(status).unwrap(), code, message).into_response()
}

/// The answer of a reply that does not take the points.
fn refusal(reply: &Reply, text: &str, points: &[Point]) -> Option<Response> {
    match reply {
        Reply::Status(status, body) => Some(answer(*status, body, None)),
        Reply::Page(status, header, body) => Some(answer(*status, body, Some(header))),
        Reply::RefuseIf(status, words, bad) => points
            .iter()
            .any(bad.as_ref())
            .then(|| error(*status, "internal error", words)),
        Reply::RetryAfter(status, seconds) => {
            let code = if *status == 429 {
                "too many requests"
            } else {
                "unavailable"
            };
            let mut response = error(*status, code, "come again later");
            let seconds = seconds.to_string().parse().unwrap();
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
            Some(response)
        }
        Reply::RejectIf(status, bad) => {
            let count = points.iter().filter(|point| bad(point)).count();
            (count > 0).then(|| reject(*status, count))
        }
        Reply::MaxBody(longest) => (text.len() > *longest).then(|| {
            let message = "unable to read data: points batch is too large";
            error(413, "request too large", message)
        }),
        Reply::Ok
        | Reply::CutMidAnswer
        | Reply::Each(_)
        | Reply::Endless(..)
        | Reply::Hang
        | Reply::TakeThenHang(_) => None,
    }
}

fn reject(status: u16, count: usize) -> Response {
    if status == 400 {
        return error(400, "invalid", "unable to parse 'bad': missing fields");
    }
    let message = format!(
        "failure writing points to database: partial write: field type conflict: input field \
         \"value\" on measurement \"temperature\" is type float, already exists as type integer \
         dropped={count}"
    );
    error(status, "unprocessable entity", message)
}
