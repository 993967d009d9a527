//! The InfluxDB client against servers that answer well, badly, late and not at all.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fieldgate::config::{Influxdb, Sink};
use fieldgate::sink::influx::line::LineFormat;
use fieldgate::sink::influx::{Answer, Cause, Client, ClientError, Refusal, Setback};
use fieldgate::telemetry::{Name, Reading, Timestamp};
use proptest::prelude::*;

use crate::support::{
    ContractServer, Mosquitto, PATIENCE, Point, Reply, TcpProxy, VictoriaMetrics, parse_lines, poll,
};

const LINES: &str = "temperature,node_id=node1,sensor_type=environmental value=27.6 1703174400123000000\n\
                     humidity,node_id=node1,sensor_type=environmental value=54.1 1703174400123000000\n";

fn config(url: &str) -> Influxdb {
    Influxdb {
        sink: Sink::new("influxdb"),
        gateway: None,
        url: url.parse().unwrap(),
        fallbacks: Vec::new(),
        prefer_first: None,
        ca_file: None,
        org: ContractServer::ORG.into(),
        bucket: ContractServer::BUCKET.into(),
        token: ContractServer::TOKEN.into(),
        batch_size: 10,
        flush_interval: Duration::from_secs(5),
        max_batch_size: 5_000,
        gzip: false,
        timeout: Duration::from_secs(10),
    }
}

fn write(config: &Influxdb) -> Answer {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(Client::new(config).unwrap().write(LINES))
}

fn back_off(reason: &str) -> Answer {
    Answer::BackOff(Setback {
        reason: reason.into(),
        ..Setback::default()
    })
}

fn late(reason: &str) -> Answer {
    Answer::BackOff(Setback {
        reason: reason.into(),
        was_too_much: true,
        ..Setback::default()
    })
}

fn refused(cause: Cause, reason: &str) -> Answer {
    let reason = reason.into();
    Answer::Refused(Refusal { cause, reason })
}

#[test]
fn points_arrive_plain_and_compressed() {
    let server = ContractServer::start();
    for gzip in [false, true] {
        let config = Influxdb {
            gzip,
            ..config(&server.url())
        };
        assert_eq!(write(&config), Answer::Accepted);
        let writes = server.writes();
        let last = writes.last().unwrap();
        assert_eq!((last.gzip, last.lines, last.taken), (gzip, 2, true));
    }
    let points = server.points();
    assert_eq!(points.len(), 4);
    assert_eq!(points[..2], points[2..]);
    assert_eq!(points[..2], parse_lines(LINES).unwrap());
}

#[test]
fn points_arrive_at_a_real_database() {
    let database = VictoriaMetrics::start();
    for (gzip, token) in [(false, ""), (true, "any")] {
        let config = Influxdb {
            gzip,
            token: token.into(),
            ..config(&database.url())
        };
        assert_eq!(write(&config), Answer::Accepted);
    }
    let series = database.wait_for_points("{node_id=\"node1\"}", 2, PATIENCE);
    let temperature = series
        .iter()
        .find(|it| it.labels["__name__"] == "temperature")
        .unwrap();
    assert_eq!(temperature.labels["sensor_type"], "environmental");
    assert_eq!(temperature.values, [27.6]);
    assert_eq!(temperature.timestamps_ms, [1_703_174_400_123]);
}

#[test]
fn wrong_settings_are_refused_with_what_to_do() {
    let server = ContractServer::start();
    let right = config(&server.url());
    for (wrong, cause, reason) in [
        (
            Influxdb {
                token: "wrong".into(),
                ..right.clone()
            },
            Cause::Token,
            "token rejected, set INFLUXDB_TOKEN or influxdb.token",
        ),
        (
            Influxdb {
                token: "".into(),
                ..right.clone()
            },
            Cause::Token,
            "token rejected, set INFLUXDB_TOKEN or influxdb.token",
        ),
        (
            Influxdb {
                bucket: "no such".into(),
                ..right.clone()
            },
            Cause::Place,
            "bucket \"no such\" not found",
        ),
        (
            Influxdb {
                org: "nobody".into(),
                ..right.clone()
            },
            Cause::Place,
            "org \"nobody\" not found",
        ),
    ] {
        assert_eq!(write(&wrong), refused(cause, reason));
    }
    assert_eq!(server.points(), []);
}

#[test]
fn a_redirect_is_not_taken_for_a_success() {
    let server = ContractServer::start();
    server.always(Reply::Status(302, String::new()));
    let reason = "the server answered 302 Found, check influxdb.url";
    assert_eq!(
        write(&config(&server.url())),
        refused(Cause::Address, reason)
    );
}

#[test]
fn trouble_of_the_server_backs_off() {
    let server = ContractServer::start();
    let config = config(&server.url());
    server.next([
        Reply::Status(
            500,
            r#"{"code":"internal error","message":"disk full"}"#.into(),
        ),
        Reply::RetryAfter(503, 30),
        Reply::Status(413, String::new()),
        Reply::Status(200, String::new()),
        Reply::CutMidAnswer,
    ]);
    let reason = "the server answered 500 Internal Server Error (disk full)";
    assert_eq!(write(&config), back_off(reason));
    let reason = "the server answered 503 Service Unavailable (come again later)";
    let retry_after = Some(Duration::from_secs(30));
    assert_eq!(
        write(&config),
        Answer::BackOff(Setback {
            reason: reason.into(),
            retry_after,
            ..Setback::default()
        })
    );
    assert!(matches!(write(&config), Answer::TooLarge { .. }));
    assert_eq!(write(&config), Answer::Accepted);
    assert!(matches!(write(&config), Answer::BackOff(_)));
    assert_eq!(write(&config), Answer::Accepted);
}

#[test]
fn a_server_that_does_not_answer_is_given_up_in_time() {
    let server = ContractServer::start();
    server.next([Reply::Hang]);
    let impatient = Influxdb {
        timeout: Duration::from_millis(250),
        ..config(&server.url())
    };
    let start = Instant::now();
    assert_eq!(write(&impatient), late("no answer within 250ms"));
    assert!(start.elapsed() < PATIENCE);
    poll(PATIENCE, || (!server.writes().is_empty()).then_some(())).expect("no write");
    assert_eq!(server.points(), []);
    server.next([Reply::TakeThenHang(Duration::from_hours(1))]);
    assert_eq!(write(&impatient), late("no answer within 250ms"));
    server.wait_for_points(2, PATIENCE);
}

#[test]
fn a_server_out_of_reach_is_told_in_plain_words() {
    let server = ContractServer::start();
    let proxy = TcpProxy::start(server.port());
    let config_of_proxy = config(&format!("http://user:secret@127.0.0.1:{}", proxy.port()));
    proxy.refuse();
    assert_eq!(write(&config_of_proxy), back_off("connection refused"));

    // Too long for the name system: no resolver is asked, so this works without a network.
    let host = "x".repeat(64) + ".invalid";
    let answer = write(&config(&format!("http://{host}:8086")));
    let reason = answer.reason();
    assert!(matches!(answer, Answer::BackOff(_)), "{answer:?}");
    assert!(
        reason.starts_with(&format!("host {host:?} not found (")),
        "{reason}"
    );

    // A server that speaks something else.
    let broker = Mosquitto::start();
    let url = format!("http://user:secret@127.0.0.1:{}", broker.port());
    let answer = write(&config(&url));
    let reason = answer.reason();
    assert!(matches!(answer, Answer::BackOff(_)), "{answer:?}");
    assert!(reason.starts_with("connection closed"), "{reason}");
}

#[test]
fn a_token_that_http_cannot_carry_is_an_error_without_the_token() {
    let config = Influxdb {
        token: "secret\nline".into(),
        ..config("http://localhost:8086")
    };
    let error = Client::new(&config).unwrap_err();
    assert!(matches!(error, ClientError::Token));
    assert!(!error.to_string().contains("secret"));
}

#[test]
fn nothing_shows_the_token() {
    let client = Client::new(&config("http://localhost:8086")).unwrap();
    assert!(!format!("{client:?}").contains(ContractServer::TOKEN));
}

proptest! {
    /// Whatever a board or a configuration names things, the server reads back the same names.
    #[test]
    fn every_reading_is_read_back_as_it_was(
        gateway in proptest::option::of("[ -~äß€]{1,12}|[,= ]{1,4}"),
        node in "[ -~äß€]{1,12}|[,= \\\\]{1,4}",
        metric in "[ -~äß€]{1,12}|[,= \\\\]{1,4}",
        sensor_type in "[ -~äß€\\n\\\\]{0,12}",
        value in any::<f64>().prop_filter("readings are finite", |value| value.is_finite()),
        time in any::<i64>(),
    ) {
        let reading = Reading { node: Name::new(&node), metric: Name::new(&metric), value };
        let mut lines = String::new();
        let format = LineFormat::new(gateway.as_deref());
        format.push_reading(&mut lines, &reading, Timestamp(time), &sensor_type);
        format.push_reading(&mut lines, &reading, Timestamp(time), &sensor_type);
        let mut tags = BTreeMap::from([("node_id".into(), reading.node.to_string())]);
        if let Some(gateway) = gateway {
            tags.insert("gateway".into(), gateway.replace('\\', "_"));
        }
        if !sensor_type.is_empty() {
            tags.insert("sensor_type".into(), sensor_type.replace(['\n', '\\'], "_"));
        }
        let expected = Point {
            measurement: reading.metric.to_string(),
            tags,
            field: "value".into(),
            value,
            timestamp_ns: time,
        };
        let points = parse_lines(&lines).map_err(TestCaseError::fail)?;
        prop_assert_eq!(&points, &[expected.clone(), expected]);
        prop_assert_eq!(points[0].value.to_bits(), value.to_bits());
    }
}
