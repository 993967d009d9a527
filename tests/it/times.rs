//! At which times readings are stored: never in the future, and as far apart as they were measured.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::crash::{journaled, try_journaled};
use crate::support::{
    Fieldgate, Mosquitto, PATIENCE, Pty, Signal, Subscriber, VictoriaMetrics, poll,
};

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_nanos()).unwrap()
}

/// Packets ten seconds apart by the board's clock, numbered from 1 as its radio counts them.
fn packets(count: u64) -> String {
    (1..=count).fold(String::new(), |mut lines, number| {
        let ts = 2_000 + 10_000 * number;
        writeln!(
            lines,
            "{{\"ts\":{ts},\"id\":\"N2\",\"n1\":{{\"t\":{number}}},\"sts\":{{\"rx\":{number},\"err\":0}}}}"
        )
        .unwrap();
        lines
    })
}

fn wait_for_journal(gateway: &Fieldgate, count: u64) -> BTreeMap<u64, i64> {
    let path = gateway.folder().join("journal.db");
    let all = poll(PATIENCE, || {
        let found = try_journaled(&path).ok()?;
        (found.len() as u64 >= count).then_some(found)
    });
    all.expect("packets are missing from the journal")
}

/// Fails unless the times are ten seconds apart and end between these.
fn assert_ends(times: &BTreeMap<u64, i64>, from: i64, to: i64) {
    let (&last, &end) = times.last_key_value().unwrap();
    assert!((from..=to).contains(&end), "{end} is not in {from}..={to}");
    for (number, time) in times {
        let before = i64::try_from(last - number).unwrap();
        assert_eq!((end - time) / 1_000_000, 10_000 * before, "{number}");
    }
}

const JOURNAL: &str = "[journal]\npath = \"journal.db\"\n";

#[test]
fn what_a_pipe_held_ends_now() {
    let mut gateway = Fieldgate::new(&format!("[source]\nkind = \"stdin\"\n{JOURNAL}")).start();
    let from = now();
    gateway.write_stdin(packets(360).as_bytes());
    // The pipe stays open: nothing says that this was all.
    let times = wait_for_journal(&gateway, 360);
    assert_ends(&times, from, now());
}

#[test]
fn what_a_port_held_when_it_was_opened_ends_now() {
    let mut port = Pty::open();
    port.write(packets(30).as_bytes());
    let from = now();
    let mut gateway = Fieldgate::new(JOURNAL)
        .arg("--port")
        .arg(port.path())
        .start();
    let times = wait_for_journal(&gateway, 30);
    assert_ends(&times, from, now());
    // What is measured now follows, and nothing of it is held.
    gateway.signal(Signal::SIGTERM);
    gateway.wait_for_metrics(PATIENCE);
}

#[test]
fn a_pipe_that_holds_more_than_is_kept_stays_in_order_and_never_gets_ahead() {
    let mut gateway = Fieldgate::new(&format!("[source]\nkind = \"stdin\"\n{JOURNAL}")).start();
    let mut stdin = gateway.take_stdin();
    let input = packets(60_000);
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()).unwrap());
    writer.join().unwrap();
    gateway.wait_for_metrics(PATIENCE);
    let end = now();
    let times = journaled(&gateway.folder().join("journal.db"));
    assert_eq!(times.len(), 60_000);
    let times: Vec<i64> = times.into_values().collect();
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(*times.last().unwrap() <= end + 100_000_000);
}

#[test]
fn servers_see_nothing_from_the_future() {
    let (broker, database) = (Mosquitto::start(), VictoriaMetrics::start());
    let subscriber = Subscriber::start(broker.port(), "iiot/node1/temperature");
    let mut gateway = Fieldgate::new(&format!(
        "[source]\nkind = \"stdin\"\n[mqtt]\nbroker_url = \"{}\"\npayload = \"json\"\n\
         [influxdb]\nurl = \"{}\"\nflush_interval = \"100ms\"\n{JOURNAL}",
        broker.url(),
        database.url(),
    ))
    .start();
    gateway.write_stdin(packets(300).as_bytes());
    let messages = subscriber.wait_for_count(300, PATIENCE);
    let series = database.wait_for_points("temperature", 300, PATIENCE);
    let end = now() / 1_000_000;
    assert_eq!(series.len(), 1);
    let points = &series[0].timestamps_ms;
    assert!(points.last().unwrap() <= &end);
    assert!(points.windows(2).all(|pair| pair[1] - pair[0] == 10_000));
    for (message, point) in messages.iter().zip(points) {
        let message: Value = serde_json::from_str(&message.payload).unwrap();
        let time = message["time"].as_str().unwrap();
        let time = humantime::parse_rfc3339(time).unwrap();
        let since = time.duration_since(UNIX_EPOCH).unwrap();
        assert_eq!(i64::try_from(since.as_millis()).unwrap(), *point);
    }
}
