//! `rejected`: what was set aside and refused, listed and sent on after all.

use serde_json::{Value, json};

use super::{about, ended};
use crate::support::{Conduct, ContractBroker, Fieldgate, PATIENCE, poll};

fn gateway(broker: &ContractBroker) -> Fieldgate {
    let config = format!(
        "[source]\nkind = \"stdin\"\n[mqtt]\nbroker_url = \"{}\"\n\
         [telemetry.nodes]\nn1 = \"hall\"\n[journal]\nhistory = \"10years\"\n",
        broker.url()
    );
    Fieldgate::new(&config).start()
}

fn rejected(gateway: &Fieldgate, arguments: &[&str]) -> super::Ended {
    ended(about(gateway, "rejected", arguments).start())
}

/// Puts entries into the journal, as the gateway does: a refused reading, a damaged frame, a whole one.
fn fill(gateway: &Fieldgate) {
    let path = gateway.folder().join("fieldgate/journal.db");
    let filled = poll(PATIENCE, || {
        let database = rusqlite::Connection::open(&path).ok()?;
        database
            .execute_batch(
                "INSERT INTO rejected (rejected_at, sink, sequence, event_time, node, metric, value,
                     reason_name, reason)
                 VALUES (1767225600000000000, 'influxdb', 1, 1767225590000000000, 'hall',
                     'temperature', 27.5, 'refused', 'field type' || char(27) || ' conflict');
                 INSERT INTO rejected (rejected_at, received, reason_name, reason, frame)
                 VALUES (1767225601000000000, 1767225601000000000, 'syntax', 'cannot be read from here on',
                     CAST('{\"ts\":1' AS BLOB)),
                     (1767225602000000000, 1767225602000000000, 'invalid_time', 'a jump',
                     CAST('{\"ts\":9,\"id\":\"N2\",\"n1\":{\"t\":1.5,\"h\":2},\"n2\":{\"p\":900}}' AS BLOB));",
            )
            .ok()
    });
    filled.expect("no journal");
}

#[test]
fn entries_are_listed_by_what_is_asked_while_the_gateway_runs_and_after() {
    let broker = ContractBroker::start();
    broker.always(Conduct::Serve);
    let mut gateway = gateway(&broker);
    fill(&gateway);
    let check = |gateway: &Fieldgate| {
        let all = rejected(gateway, &[]);
        assert_eq!(all.code, Some(0), "{}", all.stderr);
        let lines: Vec<&str> = all.stdout.lines().collect();
        assert_eq!(lines.len(), 3, "{}", all.stdout);
        assert!(
            lines[0].contains("1  2026-01-01T00:00:00.000Z  influxdb"),
            "{}",
            lines[0]
        );
        assert!(
            lines[0].ends_with("hall temperature 27.5: field type\\x1b conflict"),
            "{}",
            lines[0]
        );
        assert!(
            lines[1].contains("  {\"ts\":1: cannot be read from here on"),
            "{}",
            lines[1]
        );
        let json = rejected(gateway, &["--json", "--reason", "refused"]);
        let lines = json.stdout.lines();
        let json: Vec<Value> = lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(
            json,
            [json!({
                "id": 1, "rejected_at": "2026-01-01T00:00:00.000000000Z", "received": null,
                "event_time": "2025-12-31T23:59:50.000000000Z", "sink": "influxdb", "source": null,
                "node": "hall", "metric": "temperature", "value": 27.5,
                "reason": "refused", "detail": "field type\u{1b} conflict",
                "frame": null, "delivered_at": null, "requested": false,
            })]
        );
        for (arguments, count) in [
            (&["--node", "hall"][..], 2),
            (&["--node", "node2"], 1),
            (&["--node", "nobody"], 0),
            (&["--reason", "syntax", "--reason", "refused"], 2),
            (&["--since", "2026-01-01T00:00:01Z"], 2),
            (&["--until", "1767225601"], 1),
            (&["--since", "1767225601", "--until", "1767225602"], 1),
            (&["--since", "1h"], 0),
        ] {
            let found = rejected(gateway, arguments);
            assert_eq!(found.stdout.lines().count(), count, "{arguments:?}");
        }
    };
    check(&gateway);
    gateway.close_stdin();
    assert!(gateway.wait_exit(PATIENCE).success());
    check(&gateway);
    for wrong in [&["--reason", "bad luck"][..], &["--deliver", "x"]] {
        assert_eq!(rejected(&gateway, wrong).code, Some(2), "{wrong:?}");
    }
    let wrong = rejected(&gateway, &["--since", "yesterday"]);
    assert!(wrong.stderr.contains("is no time"), "{}", wrong.stderr);
    let wrong = rejected(&gateway, &["--since", "5", "--until", "5"]);
    assert!(
        wrong.stderr.contains("--since must be before --until"),
        "{}",
        wrong.stderr
    );
}

/// Values of a topic that the broker acknowledged.
fn published(broker: &ContractBroker, topic: &str) -> Vec<String> {
    let sessions = broker.record().sessions();
    let publishes = sessions.iter().flat_map(|session| &session.publishes);
    publishes
        .filter(|publish| publish.acknowledged && publish.topic == topic)
        .map(|publish| publish.payload.clone())
        .collect()
}

#[test]
fn what_is_sent_on_reaches_the_servers_once_now_or_after_the_next_start() {
    let broker = ContractBroker::start();
    broker.always(Conduct::Serve);
    let mut gateway = gateway(&broker);
    fill(&gateway);
    let sent = rejected(&gateway, &["--deliver", "1", "2", "99"]);
    assert_eq!(sent.code, Some(1));
    for reason in [
        "ID 2 cannot be sent on: its frame is no telemetry: cannot be read from here on.",
        "ID 99 cannot be sent on: there is no such entry, or not any more.",
    ] {
        assert!(sent.stderr.contains(reason), "{}", sent.stderr);
    }
    assert!(
        sent.stdout
            .contains("1 readings of 1 entries: the gateway has taken them up"),
        "{}",
        sent.stdout
    );
    let again = rejected(&gateway, &["--deliver", "1"]);
    assert_eq!(again.code, Some(1));
    assert!(
        again.stderr.contains("it was sent on before"),
        "{}",
        again.stderr
    );
    gateway.close_stdin();
    assert!(gateway.wait_exit(PATIENCE).success());
    assert_eq!(published(&broker, "iiot/hall/temperature"), ["27.5"]);

    let sent = rejected(&gateway, &["--deliver", "3"]);
    assert_eq!(sent.code, Some(0), "{}", sent.stderr);
    assert!(
        sent.stdout.contains("3 readings of 1 entries: they wait"),
        "{}",
        sent.stdout
    );
    for _ in 0..2 {
        gateway.start_again();
        gateway.wait_for_log("Connected.", PATIENCE);
        gateway.close_stdin();
        assert!(gateway.wait_exit(PATIENCE).success());
    }
    assert_eq!(published(&broker, "iiot/hall/temperature"), ["27.5", "1.5"]);
    assert_eq!(published(&broker, "iiot/node2/pressure"), ["900"]);
    let listed = rejected(&gateway, &[]).stdout;
    assert_eq!(listed.matches("(sent on)").count(), 2, "{listed}");
}
