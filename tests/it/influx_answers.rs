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
    gateway.wait_until_up(&LinkId::influxdb());
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
        let (until, reason) = gateway.wait_for_link(&LinkId::influxdb(), expected, refused);
        assert_eq!(reason, expected);
        // Often is no help, and only a person can change it.
        let pause = until.since(Timestamp::now());
        assert!(
            pause > Duration::from_secs(40) && pause <= Duration::from_mins(1),
            "{pause:?}"
        );
        assert_eq!(
            gateway.sink(&SinkId::influxdb()).queue_depth,
            MESSAGES as u64
        );
        gateway.command(Command::To(Order::Reconnect, LinkId::influxdb()));
        gateway.wait_until_delivered(&SinkId::influxdb(), number * MESSAGES as u64);
    }
    let tally = Tally::of_points(&server.points());
    tally.assert_complete("points", 1..=number);
    assert_eq!(tally.duplicates, 0);
    let (outcome, _folder) = gateway.quit();
    assert_eq!(
        outcome.snapshot.sink(&SinkId::influxdb()).unwrap().rejected,
        0
    );
}

#[test]
fn a_server_in_trouble_is_tried_again_and_gets_everything() {
    let server = ContractServer::start();
    let mut gateway = Gateway::start(&influxdb(&server, "timeout = \"500ms\""));
    gateway.wait_until_up(&LinkId::influxdb());
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
        let reason = gateway.wait_for_link(&LinkId::influxdb(), "failed write", backing_off);
        assert!(
            reason.starts_with(expected) && !reason.is_empty(),
            "{reason}, not {expected}"
        );
        gateway.command(Command::To(Order::Reconnect, LinkId::influxdb()));
        gateway.wait_until_delivered(&SinkId::influxdb(), number * MESSAGES as u64);
    }
    let points = server.points();
    let tally = Tally::of_points(&points);
    tally.assert_complete("points", 1..=number);
    // Of those that were taken: a write after one that took too long is smaller.
    assert!(
        (1..=repeated).contains(&tally.duplicates),
        "{}",
        tally.duplicates
    );
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
    gateway.wait_until_up(&LinkId::influxdb());
    gateway.command(Command::To(Order::Hold, LinkId::influxdb()));
    gateway.wait_for_link(&LinkId::influxdb(), "hold", |state| {
        (*state == LinkState::Held).then_some(())
    });
    gateway.send(&packets(1..=500));
    gateway.wait_until("backlog", |snapshot| {
        (snapshot.sink(&SinkId::influxdb())?.queue_depth == 3_000).then_some(())
    });
    gateway.command(Command::To(Order::Release, LinkId::influxdb()));
    gateway.wait_until_delivered(&SinkId::influxdb(), 3_000);
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
        gateway.wait_until_up(&LinkId::influxdb());
        gateway.command(Command::To(Order::Hold, LinkId::influxdb()));
        gateway.wait_for_link(&LinkId::influxdb(), "hold", |state| {
            (*state == LinkState::Held).then_some(())
        });
        gateway.send(&packets(1..=834));
        gateway.wait_until("backlog", |snapshot| {
            (snapshot.sink(&SinkId::influxdb())?.queue_depth == 5_004).then_some(())
        });
        let is_bad = |measurement: &str, value: f64| {
            measurement == "temperature" && value.total_cmp(&417.0).is_eq()
        };
        server.always(Reply::RejectIf(
            status,
            std::sync::Arc::new(move |point| is_bad(&point.measurement, point.value)),
        ));
        gateway.command(Command::To(Order::Release, LinkId::influxdb()));
        gateway.wait_until_delivered(&SinkId::influxdb(), 5_004);
        gateway.send(&packets(835..=836));
        gateway.wait_until_delivered(&SinkId::influxdb(), 5_016);

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
        let sink = gateway.sink(&SinkId::influxdb());
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
    gateway.wait_until_delivered(&SinkId::influxdb(), 12);
    gateway.wait_until_up(&LinkId::influxdb());
    assert_eq!(gateway.sink(&SinkId::influxdb()).rejected, 12);
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

#[test]
fn a_connection_that_ends_when_it_is_used_again_costs_no_pause() {
    let server = ContractServer::start();
    let mut gateway = Gateway::start(&influxdb(&server, ""));
    gateway.send(&packets(1..=1));
    gateway.wait_until_delivered(&SinkId::influxdb(), MESSAGES as u64);
    // Taken, and the gateway cannot know it: written again, with the same times.
    server.next([Reply::CutMidAnswer]);
    gateway.send(&packets(2..=2));
    gateway.wait_until_delivered(&SinkId::influxdb(), 2 * MESSAGES as u64);
    let points = server.points();
    let tally = Tally::of_points(&points);
    tally.assert_complete("points", 1..=2);
    assert_eq!(tally.duplicates, MESSAGES);
    assert_eq!(points[MESSAGES..2 * MESSAGES], points[2 * MESSAGES..]);
    assert_eq!(gateway.sink(&SinkId::influxdb()).writes_failed, 0);
}

/// Waits for a hold, sends packets, and lets them go as one backlog.
fn send_as_backlog(gateway: &mut Gateway, last: u64, meanwhile: impl FnOnce()) {
    gateway.wait_until_up(&LinkId::influxdb());
    gateway.command(Command::To(Order::Hold, LinkId::influxdb()));
    gateway.wait_for_link(&LinkId::influxdb(), "hold", |state| {
        (*state == LinkState::Held).then_some(())
    });
    gateway.send(&packets(1..=last));
    gateway.wait_until("backlog", |snapshot| {
        let depth = snapshot.sink(&SinkId::influxdb())?.queue_depth;
        (depth == last * MESSAGES as u64).then_some(())
    });
    meanwhile();
    gateway.command(Command::To(Order::Release, LinkId::influxdb()));
}

#[test]
fn a_page_is_no_acknowledgement() {
    let page = "<!doctype html><title>Hotel &amp; Spa</title><body>Log in";
    let html = |status: u16| Reply::Page(status, "Content-Type: text/html".into(), page.into());
    let redirect = "Location: http://portal.example/login?id=s3cret".to_owned();
    let cases = [
        (
            html(200),
            "this is not InfluxDB, check influxdb.url (it answered 200 OK with the page \"Hotel & Spa\")",
        ),
        (
            html(203),
            "this is not InfluxDB, check influxdb.url (it answered 203",
        ),
        (
            Reply::Status(200, "It works!".into()),
            "this is not InfluxDB, check influxdb.url (it answered 200 OK with \"It works!\")",
        ),
        (
            html(404),
            "the server answered 404 Not Found, check influxdb.url (Hotel & Spa)",
        ),
        (
            Reply::Page(302, redirect, String::new()),
            "the server answered 302 Found and points to http://portal.example/login, check influxdb.url",
        ),
    ];
    let server = ContractServer::start();
    let mut gateway = Gateway::start(&influxdb(&server, ""));
    gateway.wait_until_up(&LinkId::influxdb());
    let mut number = 0;
    for (reply, expected) in cases {
        number += 1;
        server.next([reply]);
        gateway.send(&packets(number..=number));
        let (_, reason) = gateway.wait_for_link(&LinkId::influxdb(), expected, refused);
        assert!(reason.starts_with(expected), "{reason}");
        let sink = gateway.sink(&SinkId::influxdb());
        let delivered = (number - 1) * MESSAGES as u64;
        assert_eq!((sink.delivered, sink.rejected), (delivered, 0));
        gateway.command(Command::To(Order::Reconnect, LinkId::influxdb()));
        gateway.wait_until_delivered(&SinkId::influxdb(), number * MESSAGES as u64);
    }
    Tally::of_points(&server.points()).assert_complete("points", 1..=number);
}

#[test]
fn an_answer_without_end_is_not_read_to_its_end() {
    // With words, and without a word.
    for chunk in [64 << 10, 0] {
        let server = ContractServer::start();
        let mut gateway = Gateway::start(&influxdb(&server, "timeout = \"1h\""));
        gateway.wait_until_up(&LinkId::influxdb());
        server.next([Reply::Endless(500, chunk)]);
        gateway.send(&packets(1..=1));
        let reason = gateway.wait_for_link(&LinkId::influxdb(), "failed write", backing_off);
        assert!(reason.starts_with("the server answered 500"), "{reason}");
        assert!(reason.len() < 1_000, "{}", reason.len());
        gateway.wait_until_delivered(&SinkId::influxdb(), MESSAGES as u64);
        // What lies between is in the system's buffers.
        let sent = server.endless_bytes();
        assert!(sent < 16 << 20, "{sent} bytes");
    }
}

#[test]
fn the_server_says_when_it_wants_to_be_asked_again() {
    let server = ContractServer::start();
    let mut gateway = Gateway::start(&influxdb(&server, ""));
    gateway.wait_until_up(&LinkId::influxdb());
    for (number, (status, asked, kept)) in (1..).zip([(429, 120, 120), (503, 100_000, 900)]) {
        server.next([Reply::RetryAfter(status, asked)]);
        gateway.send(&packets(number..=number));
        let until =
            gateway.wait_for_link(&LinkId::influxdb(), "failed write", |state| match state {
                LinkState::BackingOff { until, .. } => Some(*until),
                _ => None,
            });
        let pause = until.since(Timestamp::now());
        let kept = Duration::from_secs(kept);
        assert!(
            pause <= kept && pause + Duration::from_secs(20) > kept,
            "{pause:?}"
        );
        // The operator knows better.
        gateway.command(Command::To(Order::Reconnect, LinkId::influxdb()));
        gateway.wait_until_delivered(&SinkId::influxdb(), number * MESSAGES as u64);
    }
}

#[test]
fn a_slow_server_gets_everything_in_smaller_writes() {
    let server = ContractServer::start();
    let mut gateway = Gateway::start(&influxdb(&server, "timeout = \"400ms\""));
    send_as_backlog(&mut gateway, 200, || {
        server.always(Reply::Each(Duration::from_millis(1)));
    });
    gateway.wait_until_delivered(&SinkId::influxdb(), 200 * MESSAGES as u64);
    Tally::of_points(&server.points()).assert_complete("points", 1..=200);
    let writes = server.writes();
    let sizes: Vec<usize> = writes.iter().map(|write| write.lines).collect();
    assert_eq!(sizes[..2], [1_200, 600], "{sizes:?}");
}

#[test]
fn a_refusal_of_every_write_keeps_everything() {
    let server = ContractServer::start();
    let mut gateway = Gateway::start(&influxdb(&server, ""));
    send_as_backlog(&mut gateway, 500, || {
        server.always(error(400, "invalid", "Please provide either orgID or org"));
    });
    let (_, reason) = gateway.wait_for_link(&LinkId::influxdb(), "refusal", refused);
    let expected = "the server refuses every write with the same words, check influxdb.org, \
                    influxdb.bucket and influxdb.url (Please provide either orgID or org)";
    assert_eq!(reason, expected);
    assert!(server.writes().len() < 25, "{}", server.writes().len());
    // The same batch again is one try.
    let before = server.writes().len();
    gateway.command(Command::To(Order::Reconnect, LinkId::influxdb()));
    gateway.wait_until("another refusal", |_| {
        (server.writes().len() > before).then_some(())
    });
    gateway.wait_for_link(&LinkId::influxdb(), "refusal", refused);
    assert_eq!(server.writes().len(), before + 1);
    let sink = gateway.sink(&SinkId::influxdb());
    assert_eq!(
        (sink.rejected, sink.queue_depth),
        (0, 500 * MESSAGES as u64)
    );
    server.always(Reply::Ok);
    gateway.command(Command::To(Order::Reconnect, LinkId::influxdb()));
    gateway.wait_until_delivered(&SinkId::influxdb(), 500 * MESSAGES as u64);
    let tally = Tally::of_points(&server.points());
    tally.assert_complete("points", 1..=500);
    assert_eq!(tally.duplicates, 0);
}

#[test]
fn bad_points_are_found_whatever_status_and_words_they_are_refused_with() {
    let is_bad = |measurement: &str, value: f64| {
        measurement == "temperature" && value.total_cmp(&41.0).is_eq()
    };
    for (status, words) in [
        (
            500,
            "unexpected error writing points to database: partial write: points beyond retention policy dropped=1",
        ),
        (400, "no"),
    ] {
        let server = ContractServer::start();
        let mut gateway = Gateway::start(&influxdb(&server, ""));
        send_as_backlog(&mut gateway, 100, || {
            let is_bad =
                move |point: &crate::support::Point| is_bad(&point.measurement, point.value);
            server.always(Reply::RefuseIf(
                status,
                words.into(),
                std::sync::Arc::new(is_bad),
            ));
        });
        gateway.wait_until_delivered(&SinkId::influxdb(), 100 * MESSAGES as u64);
        let sink = gateway.sink(&SinkId::influxdb());
        assert_eq!((sink.rejected, sink.delivered), (1, 599), "{words}");
        let path = gateway.journal();
        let (_outcome, _folder) = gateway.quit();
        let rejected = rejected(&path);
        assert_eq!(rejected.len(), 1, "{rejected:?}");
        assert_eq!(rejected[0].2, words);
    }
}

#[test]
fn a_server_that_does_not_decompress_is_told_from_bad_points() {
    let server = ContractServer::start();
    let mut gateway = Gateway::start(&influxdb(&server, ""));
    gateway.wait_until_up(&LinkId::influxdb());
    for (number, (status, words)) in (1..).zip([(415, ""), (400, "gzip: invalid header")]) {
        server.next([Reply::Status(status, words.into())]);
        gateway.send(&packets(number..=number));
        let (_, reason) = gateway.wait_for_link(&LinkId::influxdb(), "refusal", refused);
        assert!(reason.contains("set influxdb.gzip = false"), "{reason}");
        gateway.command(Command::To(Order::Reconnect, LinkId::influxdb()));
        gateway.wait_until_delivered(&SinkId::influxdb(), number * MESSAGES as u64);
    }
    assert_eq!(gateway.sink(&SinkId::influxdb()).rejected, 0);
}

#[test]
fn a_path_in_the_address_is_kept() {
    for (prefix, suffix) in [("/influx", ""), ("/a/b", "/")] {
        let server = ContractServer::start_below(prefix);
        let config = influxdb(&server, "").replace(prefix, &format!("{prefix}{suffix}"));
        let mut gateway = Gateway::start(&config);
        gateway.wait_until_up(&LinkId::influxdb());
        gateway.send(&packets(1..=1));
        gateway.wait_until_delivered(&SinkId::influxdb(), MESSAGES as u64);
        assert_eq!(gateway.sink(&SinkId::influxdb()).writes_failed, 0);
    }
}
