//! The HTTP API of a running gateway, held against its own document.

mod attached;
mod crowd;
mod document;
mod event_stream;
mod exposition;

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Fieldgate, Mosquitto, PATIENCE, Signal, Subscriber, poll, request};
use document::Document;

/// A gateway with its API, fed by standard input.
struct Gateway {
    process: Fieldgate,
    port: u16,
    document: Document,
}

/// One packet of two nodes.
const PACKET: &str = r#"{"ts":12000,"id":"N2","n1":{"t":27.6,"h":54.1},"n2":{"t":25.3,"p":1013.25},"sig":{"rssi":-39,"snr":13},"sts":{"rx":1,"err":0}}"#;

impl Gateway {
    /// Starts with these lines of configuration beside the API's own.
    fn start(config: &str) -> Self {
        Self::start_with("", config)
    }

    /// As [`Gateway::start`], with more lines for `[api]`.
    fn start_with(api: &str, config: &str) -> Self {
        let config = format!(
            "shutdown_timeout = \"1s\"\n[source]\nkind = \"stdin\"\n[api]\nlisten = \"127.0.0.1:0\"\n{api}\n{config}"
        );
        let mut process = Fieldgate::new(&config).start();
        let port = listening_port(&mut process);
        Self {
            process,
            port,
            document: Document::load(),
        }
    }

    /// Sends a request with a token or none; the answer must be one that the document has.
    fn ask(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (u16, Value) {
        let response = request(self.port, method, target, headers, body.as_bytes()).unwrap();
        let path = target.split('?').next().unwrap();
        self.document
            .check(method, path, response.status, &response.body);
        let body = serde_json::from_str(&response.body).unwrap_or(Value::String(response.body));
        (response.status, body)
    }

    fn get(&self, target: &str) -> (u16, Value) {
        self.ask("GET", target, &[], "")
    }

    fn command(&self, command: &Value) -> (u16, Value) {
        let headers = [("Content-Type", "application/json")];
        self.ask("POST", "/api/v1/commands", &headers, &command.to_string())
    }

    fn snapshot(&self) -> Value {
        let (status, snapshot) = self.get("/api/v1/snapshot");
        assert_eq!(status, 200);
        snapshot
    }

    /// Waits for a snapshot that is as it should be.
    fn wait_for(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let found = poll(PATIENCE, || {
            Some(self.snapshot()).filter(|snapshot| holds(snapshot))
        });
        found.unwrap_or_else(|| panic!("no {what}: {:#}", self.snapshot()))
    }
}

pub(crate) fn listening_port(process: &mut Fieldgate) -> u16 {
    let line = process.wait_for_log("The HTTP API listens", PATIENCE);
    let port = line.rsplit(':').next().unwrap().trim();
    port.parse().unwrap_or_else(|_| panic!("{line}"))
}

#[test]
fn every_answer_is_as_documented() {
    let broker = Mosquitto::start();
    let mut gateway = Gateway::start(&format!(
        "[mqtt]\nbroker_url = \"{}\"\nclient_id = \"api\"",
        broker.url()
    ));
    gateway
        .process
        .write_stdin(format!("{PACKET}\nnoise {{broken\n").as_bytes());
    let snapshot = gateway.wait_for("delivered packet", |snapshot| {
        snapshot["sinks"][0]["delivered"] == 8
    });
    assert_eq!(snapshot["telemetry"]["packets_processed"], 1);
    assert_eq!(snapshot["latest"][1]["metric"], "temperature");
    assert_eq!(snapshot["latest"][1]["value"], 27.6);

    assert_eq!(gateway.get("/healthz").0, 200);
    let (status, readiness) = gateway.get("/readyz");
    assert_eq!((status, &readiness["ready"]), (200, &json!(true)));
    assert_eq!(
        readiness["links"][1],
        json!({"link": "mqtt", "state": "up"})
    );

    let (status, points) = gateway.get("/api/v1/history?node=node1&metric=temperature");
    assert_eq!(status, 200);
    let point = &points[0];
    assert_eq!((&point["mean"], &point["count"]), (&json!(27.6), &json!(1)));
    let elsewhere =
        "/api/v1/history?node=node1&metric=temperature&from=1703174400&to=2023-12-21T17:00:00Z";
    assert_eq!(gateway.get(elsewhere), (200, json!([])));

    for (target, status) in [
        ("/api/v1/history", 400),
        ("/api/v1/history?node=node1", 400),
        ("/api/v1/history?node=a&metric=b&from=yesterday", 400),
        ("/api/v1/history?node=a&metric=b&points=0", 400),
        ("/api/v1/history?node=a&metric=b&colour=red", 400),
        ("/api/v1/events?kinds=gossip", 400),
    ] {
        assert_eq!(gateway.get(target).0, status, "{target}");
    }
    let nothing = request(gateway.port, "GET", "/api/v2", &[], b"").unwrap();
    assert_eq!(nothing.status, 404);
    assert!(
        nothing.body.contains("/api/v1/snapshot"),
        "{}",
        nothing.body
    );
    for (method, target) in [
        ("POST", "/metrics"),
        ("GET", "/api/v1/commands"),
        ("DELETE", "/healthz"),
    ] {
        let response = request(gateway.port, method, target, &[], b"").unwrap();
        assert_eq!(response.status, 405, "{method} {target}");
        gateway.document.check_error(&response.body);
    }
}

#[test]
fn commands_are_obeyed() {
    let broker = Mosquitto::start();
    let subscriber = Subscriber::start(broker.port(), "api/#");
    let mut gateway = Gateway::start(&format!(
        "[mqtt]\nbroker_url = \"{}\"\ntopic_prefix = \"api\"",
        broker.url()
    ));
    let state = |snapshot: &Value| snapshot["sinks"][0]["link"]["state"].clone();
    gateway.wait_for("connection", |snapshot| state(snapshot) == "up");

    let hold = json!({"command": "hold", "link": "mqtt"});
    assert_eq!(gateway.command(&hold), (202, json!({"accepted": hold})));
    gateway.wait_for("hold", |snapshot| state(snapshot) == "held");
    gateway
        .process
        .write_stdin(format!("{PACKET}\n").as_bytes());
    gateway.wait_for("backlog", |snapshot| {
        snapshot["sinks"][0]["queue_depth"] == 8
    });

    gateway.command(&json!({"command": "release", "link": "mqtt"}));
    subscriber.wait_until("delivery after the release", PATIENCE, |messages| {
        messages
            .iter()
            .any(|message| message.topic == "api/node1/temperature")
    });
    gateway.wait_for("empty queue", |snapshot| {
        snapshot["sinks"][0]["queue_depth"] == 0
    });

    assert_eq!(
        gateway
            .command(&json!({"command": "reconnect", "link": "mqtt"}))
            .0,
        202
    );
    gateway.wait_for("reconnect", |snapshot| {
        snapshot["sinks"][0]["link"]["reconnects"] == 2
    });
    assert_eq!(gateway.command(&json!({"command": "flush"})).0, 202);
    assert_eq!(
        gateway
            .command(&json!({"command": "hold", "link": "influxdb"}))
            .0,
        409
    );
    let send = json!({"command": "send", "link": "source", "text": "led on"});
    assert_eq!(gateway.command(&send).0, 403);
    let headers = [("Content-Type", "application/json")];
    for (lease, status) in [
        (json!({"link": "source", "to": "esptool"}), 409),
        (json!({"link": "mqtt", "to": "esptool"}), 400),
        (json!({"link": "source", "to": ""}), 400),
    ] {
        let answer = gateway.ask("POST", "/api/v1/leases", &headers, &lease.to_string());
        assert_eq!(answer.0, status, "{lease}");
    }
    assert_eq!(gateway.command(&json!({"command": "explode"})).0, 400);
    assert_eq!(gateway.command(&json!("x".repeat(10_000))).0, 413);
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let quit = r#"{"command":"quit"}"#;
    assert_eq!(gateway.ask("POST", "/api/v1/commands", &form, quit).0, 415);
    assert_eq!(gateway.ask("POST", "/api/v1/commands", &[], quit).0, 415);

    assert_eq!(gateway.command(&json!({"command": "quit"})).0, 202);
    assert!(gateway.process.wait_exit(PATIENCE).success());
}

#[test]
fn nobody_without_the_token_and_no_other_site_is_answered() {
    let gateway = Gateway::start_with("token = \"s3cret-token\"", "");
    let json_type = ("Content-Type", "application/json");
    let bearer = ("Authorization", "Bearer s3cret-token");
    let quit = r#"{"command":"quit"}"#;
    for target in [
        "/readyz",
        "/metrics",
        "/api/v1/snapshot",
        "/api/v1/events",
        "/api/v1/history",
    ] {
        assert_eq!(gateway.get(target).0, 401, "{target}");
    }
    assert_eq!(gateway.get("/healthz").0, 200);
    assert_eq!(
        gateway
            .ask("POST", "/api/v1/commands", &[json_type], quit)
            .0,
        401
    );
    for (name, value) in [
        ("Origin", "http://evil.example"),
        ("Origin", "null"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Host", "evil.example"),
    ] {
        let headers = [json_type, bearer, (name, value)];
        let mut headers = headers.to_vec();
        if name == "Host" {
            // The client sends a Host of its own, and two are one too many.
            headers.pop();
            let raw = raw_request(gateway.port, "evil.example");
            assert!(raw.starts_with("HTTP/1.1 403"), "{raw}");
            continue;
        }
        assert_eq!(
            gateway.ask("POST", "/api/v1/commands", &headers, quit).0,
            403,
            "{name}"
        );
    }
    let (status, snapshot) = gateway.ask("GET", "/api/v1/snapshot", &[bearer], "");
    assert_eq!((status, &snapshot["source"]["state"]), (200, &json!("up")));
}

fn raw_request(port: u16, host: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "GET /api/v1/snapshot HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn an_address_that_is_taken_ends_the_start_with_advice() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let config = format!("[source]\nkind = \"stdin\"\n[api]\nlisten = \"{address}\"\n");
    let mut process = Fieldgate::new(&config).start();
    assert_eq!(process.wait_exit(PATIENCE).code(), Some(1));
    let error = process.stderr().join("\n");
    assert!(
        error.contains(&format!("cannot listen on {address}")),
        "{error}"
    );
    assert!(error.contains("api.listen"), "{error}");
}

#[test]
fn a_stop_does_not_wait_for_those_who_watch() {
    let mut gateway = Gateway::start("");
    let mut watching = event_stream::Events::open(gateway.port, "");
    watching.next_of("snapshot");
    let before = std::time::Instant::now();
    gateway.process.signal(Signal::SIGTERM);
    assert!(gateway.process.wait_exit(PATIENCE).success());
    assert!(
        before.elapsed() < Duration::from_secs(5),
        "{:?}",
        before.elapsed()
    );
    assert!(watching.ends());
}
