//! Whether the servers that the other tests stand on behave as those expect.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::{
    ContractServer, Fieldgate, Mosquitto, MosquittoOptions, PATIENCE, Pty, Reply, Signal,
    Subscriber, SubscriberOptions, TcpProxy, VictoriaMetrics, poll, request,
};

fn publish(port: u16, arguments: &[&str]) -> bool {
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-q", "1"]);
    let output = command.args(arguments).output().unwrap();
    output.status.success()
}

#[test]
fn a_subscriber_sees_what_is_published() {
    let broker = Mosquitto::start();
    let subscriber = Subscriber::start(broker.port(), "iiot/#");
    assert!(publish(
        broker.port(),
        &["-t", "iiot/node1/temperature", "-m", "27.6"]
    ));
    assert!(publish(broker.port(), &["-t", "other", "-m", "1"]));
    assert!(publish(
        broker.port(),
        &["-t", "iiot/a b", "-m", "x y", "-q", "2"]
    ));
    let messages = subscriber.wait_for_count(2, PATIENCE);
    let seen: Vec<_> = messages
        .iter()
        .map(|it| (it.topic.as_str(), it.payload.as_str(), it.qos, it.retained))
        .collect();
    let expected = [
        ("iiot/node1/temperature", "27.6", 1, false),
        ("iiot/a b", "x y", 2, false),
    ];
    assert_eq!(seen, expected);
    assert_eq!(subscriber.messages(), messages);
}

#[test]
fn a_persistent_broker_keeps_retained_messages_and_sessions_over_a_restart() {
    let mut broker = Mosquitto::start_with(&MosquittoOptions {
        persistence: true,
        ..MosquittoOptions::default()
    });
    let port = broker.port();
    let options = SubscriberOptions {
        session: Some("keeper"),
        ..SubscriberOptions::default()
    };
    let mut subscriber = Subscriber::start_with(port, "a", &options);
    assert!(publish(port, &["-t", "a", "-m", "1", "-r"]));
    subscriber.wait_for_count(1, PATIENCE);
    broker.restart();
    assert_eq!(broker.port(), port);
    subscriber.wait_for_subscriptions(2);
    let late = Subscriber::start(port, "#");
    let messages = late.wait_for_count(1, PATIENCE);
    assert!(
        messages[0].retained && messages[0].payload == "1",
        "{messages:?}"
    );

    broker.kill();
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());
    broker.start_again();
    subscriber.wait_for_subscriptions(3);
}

#[test]
fn a_suspended_broker_answers_when_it_is_resumed() {
    let mut broker = Mosquitto::start();
    let subscriber = Subscriber::start(broker.port(), "a");
    broker.suspend();
    let port = broker.port();
    let publisher = std::thread::spawn(move || publish(port, &["-t", "a", "-m", "1"]));
    assert!(poll(Duration::from_millis(300), || subscriber.messages().pop()).is_none());
    broker.resume();
    subscriber.wait_for_count(1, PATIENCE);
    assert!(publisher.join().unwrap());
    assert!(broker.url().ends_with(&port.to_string()));
}

#[test]
fn a_broker_with_users_and_rights_refuses_the_others() {
    let broker = Mosquitto::start_with(&MosquittoOptions {
        users: vec![("gateway", "secret"), ("watcher", "other")],
        acl: Some("user gateway\ntopic write iiot/#\nuser watcher\ntopic read #\n"),
        ..MosquittoOptions::default()
    });
    let options = SubscriberOptions {
        user: Some(("watcher", "other")),
        ..SubscriberOptions::default()
    };
    let subscriber = Subscriber::start_with(broker.port(), "#", &options);
    let login = ["-u", "gateway", "-P", "secret", "-m", "1"];
    assert!(!publish(broker.port(), &["-t", "iiot/a", "-m", "1"]));
    assert!(!publish(
        broker.port(),
        &["-t", "iiot/a", "-m", "1", "-u", "gateway", "-P", "no"]
    ));
    // Without the right to publish, the broker confirms and forgets, as MQTT 3.1.1 has it.
    assert!(publish(
        broker.port(),
        &[&login[..], &["-t", "elsewhere"]].concat()
    ));
    assert!(publish(
        broker.port(),
        &[&login[..], &["-t", "iiot/b"]].concat()
    ));
    let messages = subscriber.wait_until("message", PATIENCE, |all| !all.is_empty());
    assert_eq!(messages[0].topic, "iiot/b");
}

#[test]
fn the_database_shows_what_was_written_also_after_a_restart() {
    let mut database = VictoriaMetrics::start();
    let lines = b"temperature,node_id=node1 value=27.6 1703174400123000000\n\
                  temperature,node_id=node1 value=27.6 1703174400123000000\n\
                  temperature,node_id=node1 value=27.8 1703174410123000000\n\
                  humidity,node_id=node2 value=54.1 1703174400123000000\n";
    let write = request(database.port(), "POST", "/api/v2/write", &[], lines).unwrap();
    assert_eq!(write.status, 204, "{}", write.body);
    for round in 0..2 {
        let series = database.wait_for_points("temperature", 2, PATIENCE);
        assert_eq!(series.len(), 1, "{series:?}");
        assert_eq!(series[0].labels["node_id"], "node1");
        assert_eq!(
            series[0].timestamps_ms,
            [1_703_174_400_123, 1_703_174_410_123]
        );
        assert_eq!(series[0].values, [27.6, 27.8]);
        assert_eq!(database.export("{node_id=~\".+\"}").len(), 2);
        if round == 0 {
            database.stop();
            assert!(request(database.port(), "GET", "/health", &[], b"").is_err());
            database.start_again();
        }
    }
    database.kill();
    assert!(database.url().ends_with(&database.port().to_string()));
    assert!(request(database.port(), "GET", "/health", &[], b"").is_err());
}

const GOOD_LINE: &str = "temperature,node_id=node\\ 1 value=27.6 1703174400000000000\n";

/// Writes to a contract server with a token: status and body of its answer.
fn write(server: &ContractServer, query: &str, token: &str, body: &str) -> (u16, String) {
    let authorization = format!("Token {token}");
    let target = format!("/api/v2/write?{query}");
    let headers = [("Authorization", authorization.as_str())];
    let answer = request(server.port(), "POST", &target, &headers, body.as_bytes());
    answer.map_or_else(|error| (0, error.to_string()), |it| (it.status, it.body))
}

/// A write in which only the body can be wrong.
fn write_body(server: &ContractServer, body: &str) -> (u16, String) {
    let query = "org=iiot&bucket=telemetry&precision=ns";
    write(server, query, ContractServer::TOKEN, body)
}

#[test]
fn the_contract_server_takes_only_correct_writes() {
    let server = ContractServer::start();
    let token = ContractServer::TOKEN;
    for (query, token, body, status, message) in [
        (
            "org=iiot&bucket=telemetry",
            "x",
            GOOD_LINE,
            401,
            "unauthorized access",
        ),
        (
            "org=y&bucket=telemetry",
            token,
            GOOD_LINE,
            404,
            "organization name \\\"y\\\" not found",
        ),
        (
            "org=iiot&bucket=x",
            token,
            GOOD_LINE,
            404,
            "bucket \\\"x\\\" not found",
        ),
        (
            "org=iiot&bucket=telemetry&precision=s",
            token,
            GOOD_LINE,
            400,
            "nanoseconds",
        ),
        (
            "org=iiot&bucket=telemetry",
            token,
            "a value=1 x",
            400,
            "bad timestamp",
        ),
        (
            "org=iiot&bucket=telemetry",
            token,
            "a",
            400,
            "missing fields",
        ),
        (
            "org=iiot&bucket=telemetry",
            token,
            "a value=NaN 1",
            400,
            "invalid number",
        ),
        (
            "org=iiot&bucket=telemetry",
            token,
            "a,b= value=1 1",
            400,
            "missing tag value",
        ),
    ] {
        let answer = write(&server, query, token, body);
        assert!(
            answer.0 == status && answer.1.contains(message),
            "{query} {body}: {answer:?}"
        );
    }
    assert_eq!(server.points(), []);
    assert_eq!(write_body(&server, GOOD_LINE), (204, String::new()));
    let points = server.wait_for_points(1, PATIENCE);
    assert_eq!(points[0].measurement, "temperature");
    assert_eq!(points[0].tags["node_id"], "node 1");
    assert_eq!((points[0].field.as_str(), points[0].value), ("value", 27.6));
    assert_eq!(points[0].timestamp_ns, 1_703_174_400_000_000_000);
    let writes = server.writes();
    assert_eq!(
        (writes.len(), writes[0].taken, writes[8].taken),
        (9, false, true)
    );
    assert_eq!((writes[8].lines, writes[8].gzip), (1, false));
}

#[test]
fn the_contract_server_follows_its_script() {
    let server = ContractServer::start();
    let bad = Arc::new(|point: &_| is_hot(point));
    let hot_line = GOOD_LINE.replace("27.6", "99");
    server.next([
        Reply::Status(500, r#"{"code":"internal error","message":"disk"}"#.into()),
        Reply::RetryAfter(503, 7),
        Reply::CutMidAnswer,
        Reply::TakeThenHang(Duration::from_millis(200)),
        Reply::RejectIf(400, Arc::clone(&bad) as _),
    ]);
    assert_eq!(write_body(&server, GOOD_LINE).0, 500);
    assert_eq!(write_body(&server, GOOD_LINE).0, 503);
    assert_eq!(server.points().len(), 0);
    assert_eq!(write_body(&server, GOOD_LINE).0, 0);
    assert_eq!(server.points().len(), 1);
    let start = Instant::now();
    assert_eq!(write_body(&server, GOOD_LINE).0, 204);
    assert!(start.elapsed() >= Duration::from_millis(200));
    assert_eq!(
        write_body(&server, &(GOOD_LINE.to_owned() + &hot_line)).0,
        400
    );
    assert_eq!(server.points().len(), 2);

    server.always(Reply::RejectIf(422, bad));
    let answer = write_body(&server, &(GOOD_LINE.to_owned() + &hot_line));
    assert!(
        answer.0 == 422 && answer.1.contains("dropped=1"),
        "{answer:?}"
    );
    assert_eq!(write_body(&server, GOOD_LINE).0, 204);
    server.always(Reply::MaxBody(GOOD_LINE.len()));
    assert_eq!(write_body(&server, GOOD_LINE).0, 204);
    assert_eq!(write_body(&server, &GOOD_LINE.repeat(2)).0, 413);
    server.always(Reply::Ok);
    assert_eq!(write_body(&server, &GOOD_LINE.repeat(2)).0, 204);
    assert_eq!(server.points().len(), 6);
    let health = request(server.port(), "GET", "/health", &[], b"").unwrap();
    assert_eq!(health.status, 200);
}

fn is_hot(point: &crate::support::Point) -> bool {
    point.value > 90.0
}

#[test]
fn the_contract_server_can_leave_a_write_unanswered() {
    let server = ContractServer::start();
    server.always(Reply::Hang);
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).unwrap();
    let length = GOOD_LINE.len();
    write!(
        stream,
        "POST /api/v2/write?org=iiot&bucket=telemetry HTTP/1.1\r\nHost: {}\r\n\
         Authorization: Token contract-token\r\nContent-Length: {length}\r\n\r\n{GOOD_LINE}",
        server.url(),
    )
    .unwrap();
    poll(PATIENCE, || (!server.writes().is_empty()).then_some(())).expect("no write");
    stream
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    assert!(stream.read(&mut [0; 1]).is_err());
    assert_eq!(server.points(), []);
}

/// A line that goes through a proxy to a server that is asked for its health, and back.
fn is_alive(stream: &mut TcpStream) -> bool {
    stream
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\n\r\n").is_ok() && healthy(stream)
}

fn healthy(stream: &mut TcpStream) -> bool {
    let mut answer = Vec::new();
    let mut byte = [0];
    // The rest of one answer is not to be taken for the next.
    while !(String::from_utf8_lossy(&answer).contains(r#""status":"pass""#)
        && answer.ends_with(b"}"))
    {
        match stream.read(&mut byte) {
            Ok(1) => answer.push(byte[0]),
            _ => return false,
        }
    }
    true
}

#[test]
fn a_proxy_passes_swallows_cuts_and_refuses() {
    let server = ContractServer::start();
    let proxy = TcpProxy::start(server.port());
    let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port()));
    let mut stream = connect().unwrap();
    assert!(is_alive(&mut stream));
    proxy.swallow();
    assert!(!is_alive(&mut stream));
    let mut begun_meanwhile = connect().unwrap();
    assert!(!is_alive(&mut begun_meanwhile));
    proxy.resume();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    begun_meanwhile.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(healthy(&mut stream) && healthy(&mut begun_meanwhile));
    proxy.cut();
    assert!(!is_alive(&mut stream));
    assert!(is_alive(&mut connect().unwrap()));
    proxy.refuse();
    assert!(connect().is_err());
    proxy.resume();
    assert!(is_alive(&mut connect().unwrap()));
}

#[test]
fn a_port_keeps_its_path_when_it_is_plugged_in_again() {
    let mut port = Pty::open();
    for line in ["{\"ts\":1}\n", "{\"ts\":2}\n"] {
        port.write(line.as_bytes());
        let mut reader = BufReader::new(std::fs::File::open(port.path()).unwrap());
        let mut read = String::new();
        reader.read_line(&mut read).unwrap();
        assert_eq!(read, line);
        port.close();
        assert!(!port.path().exists());
        // The end of the hardware is the end of the file, or an error.
        assert!(reader.read_line(&mut read).is_ok_and(|count| count == 0) || read == line);
        port.reopen();
    }
}

#[test]
fn the_gateway_is_run_as_a_user_runs_it() {
    let mut gateway = Fieldgate::new("").arg("--help").start();
    assert!(gateway.wait_exit(PATIENCE).success());
}

#[test]
fn a_gateway_can_be_watched_fed_stopped_and_started_again() {
    let script = "echo state in $XDG_STATE_HOME, $EXTRA, ${INFLUXDB_TOKEN-no token}; \
                  trap 'echo stopping >&2; exit 3' TERM; read line; cp note copy; \
                  echo got $line; while read line; do :; done; echo end of input; \
                  while true; do sleep 0.01; done";
    let gateway = Fieldgate::with_program("/bin/sh", &["-c", script]).env("EXTRA", "more");
    gateway.write_file("note", "kept");
    let mut gateway = gateway.start();
    let state = format!("state in {}, more, no token", gateway.folder().display());
    for _ in 0..2 {
        gateway.wait_for_log("state in", PATIENCE);
        gateway.write_stdin(b"a line\n");
        assert_eq!(gateway.wait_for_log("got", PATIENCE), "got a line");
        gateway.close_stdin();
        gateway.wait_for_log("end of", PATIENCE);
        assert_eq!(
            gateway.stdout(),
            [state.as_str(), "got a line", "end of input"]
        );
        gateway.signal(Signal::SIGTERM);
        assert_eq!(gateway.wait_exit(PATIENCE).code(), Some(3));
        assert_eq!(gateway.stderr(), ["stopping"]);
        assert_eq!(
            std::fs::read(gateway.folder().join("copy")).unwrap(),
            b"kept"
        );
        gateway.start_again();
    }
}

#[test]
fn a_fixture_ends_its_program_when_its_test_fails() {
    let port = std::sync::Mutex::new(0);
    let failed = std::panic::catch_unwind(|| {
        let broker = Mosquitto::start();
        *port.lock().unwrap() = broker.port();
        std::panic::resume_unwind(Box::new(()));
    });
    assert!(failed.is_err());
    let port = *port.lock().unwrap();
    assert!(port > 0 && TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());
}
