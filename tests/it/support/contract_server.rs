//! The write endpoint of InfluxDB 2 as its API documentation has it, with every answer that the
//! real one gives only on bad days.
//! <https://docs.influxdata.com/influxdb/v2/api/#operation/PostWrite>

mod http;

use std::collections::VecDeque;
use std::io::{self, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::line_protocol::{self, Point};
use super::poll;
use http::{Request, Response};

/// What happens to a write that is correct.
#[derive(Clone)]
pub(crate) enum Reply {
    /// Taken: 204.
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
    port: u16,
    prefix: String,
    shared: Arc<Shared>,
}

struct Shared {
    /// The path that everything is below.
    prefix: String,
    /// Bytes of bodies without an end that were sent.
    endless_bytes: AtomicUsize,
    ended: AtomicBool,
    script: Mutex<Script>,
    writes: Mutex<Vec<ReceivedWrite>>,
    points: Mutex<Vec<Point>>,
    connections: Mutex<Vec<TcpStream>>,
}

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
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            prefix: prefix.into(),
            endless_bytes: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
            script: Mutex::new(Script {
                next: VecDeque::new(),
                then: Reply::Ok,
            }),
            writes: Mutex::default(),
            points: Mutex::default(),
            connections: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || accepting.accept(&listener));
        let prefix = prefix.into();
        Self {
            port,
            prefix,
            shared,
        }
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Its address as the configuration wants it.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}{}", self.port, self.prefix)
    }

    /// How much of bodies without an end was sent.
    pub(crate) fn endless_bytes(&self) -> usize {
        self.shared.endless_bytes.load(Ordering::Relaxed)
    }

    /// What the next correct writes are answered with, one each, before the standing reply.
    pub(crate) fn next(&self, replies: impl IntoIterator<Item = Reply>) {
        self.shared.script.lock().unwrap().next.extend(replies);
    }

    /// The standing reply.
    pub(crate) fn always(&self, reply: Reply) {
        self.shared.script.lock().unwrap().then = reply;
    }

    /// All writes so far, whatever became of them.
    pub(crate) fn writes(&self) -> Vec<ReceivedWrite> {
        self.shared.writes.lock().unwrap().clone()
    }

    /// All points taken so far, in their order; one that was written twice stands there twice.
    pub(crate) fn points(&self) -> Vec<Point> {
        self.shared.points.lock().unwrap().clone()
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

impl Drop for ContractServer {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
        for connection in self.shared.connections.lock().unwrap().drain(..) {
            drop(connection.shutdown(Shutdown::Both));
        }
    }
}

impl Shared {
    fn ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    fn accept(self: Arc<Self>, listener: &TcpListener) {
        for connection in listener.incoming() {
            let Ok(connection) = connection else { continue };
            if self.ended() {
                return;
            }
            self.connections
                .lock()
                .unwrap()
                .extend(connection.try_clone());
            let shared = Arc::clone(&self);
            std::thread::spawn(move || {
                // An error is the client's end of the connection.
                drop(shared.serve(&connection));
                drop(connection.shutdown(Shutdown::Both));
            });
        }
    }

    fn serve(&self, mut connection: &TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(connection);
        while let Some(request) = Request::read(&mut reader)? {
            let answer = self.answer(&request);
            if let Some(Answer::Endless(status, chunk)) = answer {
                self.answer_without_end(connection, status, chunk)?;
                break;
            }
            let Some(Answer::Whole(response)) = answer else {
                // Half an answer: the client knows that one began and never sees it whole.
                connection.write_all(b"HTTP/1.1 204 No Con")?;
                break;
            };
            connection.write_all(response.to_string().as_bytes())?;
            if request.last {
                break;
            }
        }
        Ok(())
    }

    /// Goes on until the client has enough.
    fn answer_without_end(
        &self,
        mut connection: &TcpStream,
        status: u16,
        chunk: usize,
    ) -> io::Result<()> {
        write!(
            connection,
            "HTTP/1.1 {status} Answer\r\nTransfer-Encoding: chunked\r\n\r\n"
        )?;
        if chunk == 0 {
            self.sleep(Duration::MAX);
        }
        let text = format!("{chunk:x}\r\n{}\r\n", "x".repeat(chunk));
        while !self.ended() {
            connection.write_all(text.as_bytes())?;
            self.endless_bytes.fetch_add(chunk, Ordering::Relaxed);
        }
        Ok(())
    }

    /// `None` when the connection is to end in the middle of the answer.
    fn answer(&self, request: &Request) -> Option<Answer> {
        let Some(path) = request.target.path().strip_prefix(&self.prefix) else {
            let page = "<html><head><title>404 Not Found</title></head></html>";
            let page = Response::new(404, page).with_header("Content-Type", "text/html");
            return Some(Answer::Whole(page));
        };
        if path == "/health" {
            let health = Response::new(200, r#"{"status":"pass"}"#);
            return Some(Answer::Whole(health));
        }
        if path == "/api/v2/query" {
            return Some(Answer::Whole(self.query(request)));
        }
        let points = check(request, path).and_then(|()| {
            line_protocol::parse(&request.body)
                .map_err(|message| Response::error(400, "invalid", &message))
        });
        match points {
            Ok(points) => self.play(request, points),
            Err(response) => {
                self.record(request, None);
                Some(Answer::Whole(response))
            }
        }
    }

    /// The points of the asked measurement and value, as a table in annotated CSV.
    fn query(&self, request: &Request) -> Response {
        let expected = format!("Token {}", ContractServer::TOKEN);
        if request.authorization.as_deref() != Some(&expected) {
            return Response::error(401, "unauthorized", "unauthorized access");
        }
        let query: serde_json::Value = serde_json::from_str(&request.body).unwrap();
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
        let points = self.points.lock().unwrap();
        let value = value.parse::<f64>().unwrap();
        let is_asked = |point: &&Point| {
            point.measurement == measurement && point.value.total_cmp(&value).is_eq()
        };
        for point in points.iter().filter(is_asked) {
            let (value, measurement) = (point.value, &point.measurement);
            table.extend([",,0,", &value.to_string(), ",", measurement, "\r\n"]);
        }
        Response::new(200, &table)
    }

    fn play(&self, request: &Request, points: Vec<Point>) -> Option<Answer> {
        let reply = self.next_reply();
        let refusal = refusal(&reply, request, &points);
        let taken = refusal.is_none() && !matches!(reply, Reply::Hang | Reply::Endless(..));
        if let Reply::Each(time) = reply {
            self.sleep(time * u32::try_from(points.len()).unwrap());
        }
        self.record(request, taken.then_some(points));
        match reply {
            Reply::Hang => self.sleep(Duration::MAX),
            Reply::TakeThenHang(duration) => self.sleep(duration),
            Reply::CutMidAnswer => return None,
            Reply::Endless(status, chunk) => return Some(Answer::Endless(status, chunk)),
            _ => {}
        }
        let response = refusal.unwrap_or_else(|| Response::new(204, ""));
        Some(Answer::Whole(response))
    }

    fn next_reply(&self) -> Reply {
        let mut script = self.script.lock().unwrap();
        let next = script.next.pop_front();
        next.unwrap_or_else(|| script.then.clone())
    }

    fn record(&self, request: &Request, points: Option<Vec<Point>>) {
        self.writes.lock().unwrap().push(ReceivedWrite {
            lines: request.body.lines().count(),
            gzip: request.gzip,
            taken: points.is_some(),
        });
        self.points
            .lock()
            .unwrap()
            .extend(points.into_iter().flatten());
    }

    fn sleep(&self, duration: Duration) {
        let start = Instant::now();
        while start.elapsed() < duration && !self.ended() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// What goes back to the client.
enum Answer {
    Whole(Response),
    Endless(u16, usize),
}

/// What is wrong with a request, whatever its points are.
fn check(request: &Request, path: &str) -> Result<(), Response> {
    if request.method != "POST" || path != "/api/v2/write" {
        return Err(Response::error(404, "not found", "path not found"));
    }
    let expected = format!("Token {}", ContractServer::TOKEN);
    if request.authorization.as_deref() != Some(&expected) {
        return Err(Response::error(401, "unauthorized", "unauthorized access"));
    }
    let parameter = |name: &str| {
        let mut pairs = request.target.query_pairs();
        pairs
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
            .unwrap_or_default()
    };
    let (org, bucket, precision) = (
        parameter("org"),
        parameter("bucket"),
        parameter("precision"),
    );
    let (code, message) = if org != ContractServer::ORG {
        ("not found", format!("organization name {org:?} not found"))
    } else if bucket != ContractServer::BUCKET {
        ("not found", format!("bucket {bucket:?} not found"))
    } else if !matches!(precision.as_str(), "" | "ns") {
        (
            "invalid",
            format!("only nanoseconds here, not {precision:?}"),
        )
    } else {
        return Ok(());
    };
    Err(Response::error(
        if code == "invalid" { 400 } else { 404 },
        code,
        &message,
    ))
}

/// The answer of a reply that does not take the points.
fn refusal(reply: &Reply, request: &Request, points: &[Point]) -> Option<Response> {
    match reply {
        Reply::Status(status, body) => Some(Response::new(*status, body)),
        Reply::Page(status, header, body) => {
            let (name, value) = header.split_once(": ").unwrap();
            Some(Response::new(*status, body).with_header(name, value))
        }
        Reply::RefuseIf(status, words, bad) => points
            .iter()
            .any(bad.as_ref())
            .then(|| Response::error(*status, "internal error", words)),
        Reply::RetryAfter(status, seconds) => {
            let code = if *status == 429 {
                "too many requests"
            } else {
                "unavailable"
            };
            let response = Response::error(*status, code, "come again later");
            Some(response.with_header("Retry-After", &seconds.to_string()))
        }
        Reply::RejectIf(status, bad) => {
            let count = points.iter().filter(|point| bad(point)).count();
            (count > 0).then(|| reject(*status, count))
        }
        Reply::MaxBody(longest) => (request.body.len() > *longest).then(|| {
            let message = "unable to read data: points batch is too large";
            Response::error(413, "request too large", message)
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
        return Response::error(400, "invalid", "unable to parse 'bad': missing fields");
    }
    let message = format!(
        "failure writing points to database: partial write: field type conflict: input field \
         \"value\" on measurement \"temperature\" is type float, already exists as type integer \
         dropped={count}"
    );
    Response::error(status, "unprocessable entity", &message)
}
