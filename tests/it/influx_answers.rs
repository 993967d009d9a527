//! Every answer that a database gives to a write, and what becomes of the points.

use std::time::Duration;

use fieldgate::monitor::{Command, LinkId, LinkState, Order, SinkId};
use fieldgate::telemetry::Timestamp;

use crate::support::{ContractServer, Gateway, MESSAGES, Reply, Tally, packets};

fn influxdb(server: &ContractServer, more: &str) -> String {
    format!(
        "[influxdb]\nurl = \"{}\"\norg = \"{}\"\nbucket = \"{}\"\ntoken = \"{}\"\n\
         flush_interval = \"100ms\"\n{more}",
        server.url(),
        ContractServer::ORG,
        ContractServer::BUCKET,
        ContractServer::TOKEN,
    )
}

/// An error as InfluxDB 2.7 words it.
fn error(status: u16, code: &str, message: &str) -> Reply {
    let body = serde_json::json!({ "code": code, "message": message });
    Reply::Status(status, body.to_string())
}

fn refused(state: &LinkState) -> Option<(Timestamp, String)> {
    match state {
        LinkState::Refused { until, reason } => Some((*until, reason.clone())),
        _ => None,
    }
}

fn backing_off(state: &LinkState) -> Option<String> {
    match state {
        LinkState::BackingOff { reason, .. } => Some(reason.clone()),
        _ => None,
    }
}

#[test]
fn a_refusal_says_what_to_do_and_keeps_everything() {
    let server = ContractServer::start();
    let mut gateway = Gateway::start(&influxdb(&server, ""));
    gateway.wait_until_up(LinkId::Influxdb);
    let cases = [
        (
            error(401, "unauthorized", "unauthorized access"),
            "token rejected, set INFLUXDB_TOKEN or influxdb.token",
        ),
        (
            error(403, "forbidden", "insufficient permissions for write"),
            "token rejected, set INFLUXDB_TOKEN or influxdb.token (insufficient permissions for write)",
        ),
        (
            error(404, "not found", "organization name \"iiot\" not found"),
            "org \"iiot\" not found",
        ),
        (
            error(404, "not found", "bucket \"telemetry\" not found"),
            "bucket \"telemetry\" not found",
        ),
    ];
    let mut number = 0;
    for (reply, expected) in cases {
        number += 1;
        server.next([reply]);
        gateway.send(&packets(number..=number));
        let (until, reason) = gateway.wait_for_link(LinkId::Influxdb, expected, refused);
        assert_eq!(reason, expected);
        // Often is no help, and only a person can change it.
        let pause = until.since(Timestamp::now());
        assert!(
            pause > Duration::from_secs(40) && pause <= Duration::from_mins(1),
            "{pause:?}"
        );
        assert_eq!(gateway.sink(SinkId::Influxdb).queue_depth, MESSAGES as u64);
        gateway.command(Command::To(Order::Reconnect, LinkId::Influxdb));
        gateway.wait_until_delivered(SinkId::Influxdb, number * MESSAGES as u64);
    }
    let tally = Tally::of_points(&server.points());
    tally.assert_complete("points", 1..=number);
    assert_eq!(tally.duplicates, 0);
    let (outcome, _folder) = gateway.quit();
    assert_eq!(outcome.snapshot.sink(SinkId::Influxdb).unwrap().rejected, 0);
}

#[test]
fn a_server_in_trouble_is_tried_again_and_gets_everything() {
    let server = ContractServer::start();
    let mut gateway = Gateway::start(&influxdb(&server, "timeout = \"500ms\""));
    gateway.wait_until_up(LinkId::Influxdb);
    let cases = [
        (
            Reply::RetryAfter(429, 1),
            "the server answered 429 Too Many Requests",
            0,
        ),
        (
            Reply::RetryAfter(503, 1),
            "the server answered 503 Service Unavailable",
            0,
        ),
        (
            error(
                500,
                "internal error",
                "unexpected error writing points to database: timeout",
            ),
            "the server answered 500 Internal Server Error (unexpected error writing points to \
             database: timeout)",
            0,
        ),
        // Taken, and the gateway cannot know it: written again, with the same times.
        (Reply::CutMidAnswer, "", 1),
        (
            Reply::TakeThenHang(Duration::from_mins(1)),
            "no answer within 500ms",
            1,
        ),
        (Reply::Hang, "no answer within 500ms", 0),
    ];
    let (mut number, mut repeated) = (0, 0);
    for (reply, expected, taken) in cases {
        number += 1;
        repeated += taken * MESSAGES;
        server.next([reply]);
        gateway.send(&packets(number..=number));
        let reason = gateway.wait_for_link(LinkId::Influxdb, "failed write", backing_off);
        assert!(
            reason.starts_with(expected) && !reason.is_empty(),
            "{reason}, not {expected}"
        );
        gateway.command(Command::To(Order::Reconnect, LinkId::Influxdb));
        gateway.wait_until_delivered(SinkId::Influxdb, number * MESSAGES as u64);
    }
    let points = server.points();
    let tally = Tally::of_points(&points);
    tally.assert_complete("points", 1..=number);
    assert_eq!(tally.duplicates, repeated);
    for point in &points {
        let same = |other: &&crate::support::Point| {
            (&other.measurement, other.value) == (&point.measurement, point.value)
        };
        for other in points.iter().filter(same) {
            assert_eq!(other.timestamp_ns, point.timestamp_ns);
        }
    }
}

#[test]
fn a_write_that_is_too_large_is_halved() {
    let server = ContractServer::start();
    server.always(Reply::MaxBody(20_000));
    let mut gateway = Gateway::start(&influxdb(&server, ""));
    gateway.wait_until_up(LinkId::Influxdb);
    gateway.command(Command::To(Order::Hold, LinkId::Influxdb));
    gateway.wait_for_link(LinkId::Influxdb, "hold", |state| {
        (*state == LinkState::Held).then_some(())
    });
    gateway.send(&packets(1..=500));
    gateway.wait_until("backlog", |snapshot| {
        (snapshot.sink(SinkId::Influxdb)?.queue_depth == 3_000).then_some(())
    });
    gateway.command(Command::To(Order::Release, LinkId::Influxdb));
    gateway.wait_until_delivered(SinkId::Influxdb, 3_000);
    let tally = Tally::of_points(&server.points());
    tally.assert_complete("points", 1..=500);
    assert_eq!(tally.duplicates, 0);
    let writes = server.writes();
    assert!(writes.len() < 60, "{} writes", writes.len());
    assert!(
        writes
            .iter()
            .any(|write| !write.taken && write.lines == 3_000),
        "{writes:?}"
    );
}

#[test]
fn one_bad_point_of_5000_is_set_aside_and_stops_nothing() {
    for status in [400, 422] {
        let server = ContractServer::start();
        let mut gateway = Gateway::start(&influxdb(&server, ""));
        gateway.wait_until_up(LinkId::Influxdb);
        gateway.command(Command::To(Order::Hold, LinkId::Influxdb));
        gateway.wait_for_link(LinkId::Influxdb, "hold", |state| {
            (*state == LinkState::Held).then_some(())
        });
        gateway.send(&packets(1..=834));
        gateway.wait_until("backlog", |snapshot| {
            (snapshot.sink(SinkId::Influxdb)?.queue_depth == 5_004).then_some(())
        });
        let is_bad = |measurement: &str, value: f64| {
            measurement == "temperature" && value.total_cmp(&417.0).is_eq()
        };
        server.always(Reply::RejectIf(
            status,
            std::sync::Arc::new(move |point| is_bad(&point.measurement, point.value)),
        ));
        gateway.command(Command::To(Order::Release, LinkId::Influxdb));
        gateway.wait_until_delivered(SinkId::Influxdb, 5_004);
        gateway.send(&packets(835..=836));
        gateway.wait_until_delivered(SinkId::Influxdb, 5_016);

        let points = server.points();
        assert_eq!(points.len(), 5_015);
        assert!(
            !points
                .iter()
                .any(|point| is_bad(&point.measurement, point.value))
        );
        let tally = Tally::of_points(&points);
        assert_eq!((tally.duplicates, tally.overtaken), (0, 0));
        let writes = server.writes().len();
        assert!(writes < 40, "{writes} writes");
        let sink = gateway.sink(SinkId::Influxdb);
        assert_eq!((sink.delivered, sink.rejected), (5_015, 1));

        let path = gateway.journal();
        let (_outcome, _folder) = gateway.quit();
        let rejected = rejected(&path);
        assert_eq!(rejected.len(), 1, "{rejected:?}");
        let (what, value, reason) = &rejected[0];
        assert_eq!(what, "influxdb node1 temperature");
        assert!(value.total_cmp(&417.0).is_eq());
        let words = if status == 400 {
            "unable to parse"
        } else {
            "partial write: field type"
        };
        assert!(reason.contains(words), "{reason}");
    }
}

/// What the journal keeps of refused readings.
fn rejected(path: &std::path::Path) -> Vec<(String, f64, String)> {
    let journal = rusqlite::Connection::open(path).unwrap();
    let mut query = journal
        .prepare("SELECT sink || ' ' || node || ' ' || metric, value, reason FROM rejected")
        .unwrap();
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    rows.unwrap().map(Result::unwrap).collect()
}

#[test]
fn points_that_are_all_bad_leave_the_link_up() {
    let server = ContractServer::start();
    server.always(error(400, "invalid", "points beyond retention policy"));
    let mut gateway = Gateway::start(&influxdb(&server, ""));
    gateway.send(&packets(1..=2));
    gateway.wait_until_delivered(SinkId::Influxdb, 12);
    gateway.wait_until_up(LinkId::Influxdb);
    assert_eq!(gateway.sink(SinkId::Influxdb).rejected, 12);
    let path = gateway.journal();
    let (_outcome, _folder) = gateway.quit();
    let reasons = rejected(&path);
    assert_eq!(reasons.len(), 12);
    assert!(
        reasons
            .iter()
            .all(|(_, _, reason)| reason == "points beyond retention policy")
    );
}
