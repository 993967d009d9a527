//! `demo`: one command, and nothing left behind.

use std::collections::BTreeSet;

use crate::support::{Fieldgate, PATIENCE, Signal, Subscriber, poll, request};

/// The number behind the last of a character in the part of a line that ends with it.
fn port(line: &str, before: &str) -> u16 {
    let rest = line
        .split_once(before)
        .unwrap_or_else(|| panic!("{line}"))
        .1;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

#[test]
fn made_up_readings_reach_both_embedded_servers_and_nothing_stays() {
    let temporary = tempfile::tempdir().unwrap();
    let demo = Fieldgate::with_arguments(&["demo", "--no-tui", "--rate", "50"])
        .env("TMPDIR", temporary.path().to_str().unwrap())
        // Nothing of this machine's own configuration may come in.
        .env("FIELDGATE_MQTT_BROKER_URL", "mqtt://127.0.0.1:9");
    demo.write_file("config.toml", "broken");
    let mut demo = demo.start();
    let line = demo.wait_for_log("are embedded", PATIENCE);
    assert!(line.contains("made up"), "{line}");
    let broker = port(&line, "broker on 127.0.0.1:");
    let database = port(&line, "endpoint on 127.0.0.1:");

    let subscriber = Subscriber::start(broker, "iiot/#");
    subscriber.wait_until("readings of two nodes", PATIENCE, |messages| {
        let nodes = messages
            .iter()
            .filter_map(|message| message.topic.split('/').nth(1));
        let nodes: BTreeSet<&str> = nodes.filter(|node| node.starts_with("node")).collect();
        nodes.len() >= 2
    });
    let points = poll(PATIENCE, || {
        let points = request(database, "GET", "/points", &[], b"").unwrap().body;
        points.contains("temperature,node_id=").then_some(points)
    });
    assert!(
        points
            .expect("points")
            .contains("sensor_type=environmental value=")
    );

    for (target, token, body, status) in [
        (
            "?org=demo&bucket=telemetry",
            "Token wrong",
            "a value=1 1",
            401,
        ),
        ("?org=demo&bucket=telemetry", "", "a value=1 1", 401),
    ] {
        let target = format!("/api/v2/write{target}");
        let headers = [("Authorization", token)];
        let answer = request(database, "POST", &target, &headers, body.as_bytes()).unwrap();
        assert_eq!(answer.status, status, "{}", answer.body);
    }

    demo.signal(Signal::SIGINT);
    assert!(demo.wait_exit(PATIENCE).success());
    let left: Vec<_> = std::fs::read_dir(temporary.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    let in_folder = std::fs::read_dir(demo.folder()).unwrap();
    assert_eq!(in_folder.count(), 1, "only the file that was there before");
}

#[test]
fn two_demonstrations_run_side_by_side() {
    let start = || {
        let mut demo = Fieldgate::with_arguments(&["demo", "--no-tui"]).start();
        let line = demo.wait_for_log("are embedded", PATIENCE);
        (demo, port(&line, "broker on 127.0.0.1:"))
    };
    let (mut one, one_port) = start();
    let (mut other, other_port) = start();
    assert_ne!(one_port, other_port);
    for demo in [&mut one, &mut other] {
        demo.signal(Signal::SIGTERM);
        assert!(demo.wait_exit(PATIENCE).success());
        let summary = demo.stdout().join("\n");
        assert!(summary.contains("Stopped."), "{summary}");
    }
}
