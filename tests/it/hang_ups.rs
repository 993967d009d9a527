//! Brokers that say no by hanging up: over one message, over what is to be retained, over a protocol.

use std::collections::BTreeSet;

use fieldgate::monitor::{LinkId, LinkState, SinkId};

use crate::commands::check::{assert_failed, check};
use crate::outage_mqtt::{config, finish};
use crate::support::{
    Conduct, ContractBroker, Fieldgate, Gateway, MESSAGES, Mosquitto, PATIENCE, Subscriber, TOPICS,
    Tally, Tap, packets,
};

const LONG_NAME: &str = "a-name-that-is-much-too-long-for-a-message-of-ninety-bytes";

fn mqtt(url: &str, more: &str) -> String {
    format!("[mqtt]\nbroker_url = \"{url}\"\nclient_id = \"gateway\"\n{more}\n")
}

/// What stands in the table `rejected`: node, metric, value, reason.
fn rejected(journal: &std::path::Path) -> Vec<(String, String, f64, String)> {
    let journal = rusqlite::Connection::open(journal).unwrap();
    let sql = "SELECT node, metric, value, reason FROM rejected ORDER BY sequence";
    let mut statement = journal.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.try_into()).unwrap();
    rows.map(Result::unwrap).collect()
}

#[test]
fn the_message_over_which_a_broker_hangs_up_is_set_aside_and_the_others_go_on() {
    the_others_go_on(1, 4, None);
}

#[test]
fn so_it_is_with_exactly_once() {
    the_others_go_on(2, 4, None);
}

#[test]
fn so_it_is_with_mqtt_5() {
    the_others_go_on(1, 5, None);
}

#[test]
fn so_it_is_with_a_broker_that_says_why() {
    the_others_go_on(2, 5, Some(0x81));
}

fn the_others_go_on(qos: u8, protocol: u8, code: Option<u8>) {
    let broker = ContractBroker::start();
    broker.always(Conduct::HangUpOver {
        topic: "iiot/node2/pressure",
        payload: "7",
        code,
    });
    let keys = format!("qos = {qos}\nprotocol = {protocol}\nmax_inflight = 20");
    let mut gateway = Gateway::start(&mqtt(&broker.url(), &keys));
    gateway.send(&packets(1..=20));
    let all = 20 * MESSAGES as u64;
    gateway.wait_until_delivered(&SinkId::mqtt(), all);
    let sink = gateway.sink(&SinkId::mqtt());
    assert_eq!((sink.delivered, sink.rejected), (all - 1, 1));
    // It goes on as before.
    gateway.send(&packets(21..=40));
    gateway.wait_until_delivered(&SinkId::mqtt(), 2 * all);
    let (_, folder) = gateway.quit();
    let rejected = rejected(&folder.path().join("journal.db"));
    let [(node, metric, value, reason)] = &rejected[..] else {
        panic!("{rejected:?}");
    };
    assert_eq!((&**node, &**metric), ("node2", "pressure"));
    assert!((value - 7.0).abs() < f64::EPSILON);
    let words = "the broker ended every connection over this message: the broker";
    assert!(reason.starts_with(words), "{reason}");

    let sessions = broker.record().sessions();
    let publishes = sessions.iter().flat_map(|session| &session.publishes);
    let acknowledged = publishes.filter(|publish| publish.acknowledged);
    let arrived: BTreeSet<_> = acknowledged
        .map(|publish| (publish.topic.clone(), publish.payload.clone()))
        .collect();
    let expected = (1..=40).flat_map(|number| TOPICS.map(|topic| (topic, number)));
    for (topic, number) in expected.filter(|one| *one != ("node2/pressure", 7)) {
        let message = (format!("iiot/{topic}"), number.to_string());
        assert!(arrived.contains(&message), "{message:?}");
    }
    assert_eq!(Tally::of_publishes(&sessions).overtaken, 0);
}

#[test]
fn mosquitto_hangs_up_over_a_packet_that_is_too_large() {
    let broker = Mosquitto::start_with_config(|port, _| {
        format!("listener {port} 127.0.0.1\nallow_anonymous true\nmax_packet_size 90\n")
    });
    let names = format!("[telemetry.nodes]\nn1 = \"{LONG_NAME}\"\n");
    let mut gateway = Gateway::start(&(mqtt(&broker.url(), "") + &names));
    let packet = |number: u64, n1: &str| {
        format!(
            "{{\"ts\":{number},\"id\":\"N2\",\"n1\":{n1},\"n2\":{{\"p\":{number}}},\
             \"sts\":{{\"rx\":{number},\"err\":0}}}}\n"
        )
    };
    // Two next to each other.
    let long = "{\"t\":1.23456789012345,\"g\":1234567890123}";
    for number in 1..=20 {
        gateway.send(&packet(number, if number == 11 { long } else { "{}" }));
    }
    gateway.wait_until_delivered(&SinkId::mqtt(), 20 * 3 + 2);
    let sink = gateway.sink(&SinkId::mqtt());
    assert_eq!((sink.delivered, sink.rejected), (20 * 3, 2));
    let (_, folder) = gateway.quit();
    let rejected = rejected(&folder.path().join("journal.db"));
    assert!(rejected.iter().all(|(node, ..)| node == LONG_NAME));
}

#[test]
fn a_broker_that_fails_again_and_again_is_no_fault_of_any_message() {
    for protocol in [4, 5] {
        let broker = ContractBroker::start();
        // Over the first reading, behind what the gateway says of itself; then before it accepts anybody.
        let fails = Conduct::HangUpAfter {
            publishes: 3,
            unacknowledged: 1,
        };
        broker.next([fails; 5]);
        broker.next([Conduct::HangUp]);
        let keys = format!("protocol = {protocol}\nmax_inflight = 20\nnode_status = false");
        let mut gateway = Fieldgate::new(&config(&broker.url(), &keys)).start();
        gateway.write_stdin(packets(1..=50).as_bytes());
        gateway.wait_for_log_count("Connection failed; trying again.", 6, 2 * PATIENCE);
        finish(&mut gateway);
        let line = gateway.logged("Stopped.");
        let all = 50 * MESSAGES;
        let words = format!("delivered {all} messages to MQTT (0 waiting)");
        assert!(line.contains(&words), "{line}");
        assert_eq!(rejected(&gateway.folder().join("journal.db")), []);
        Tally::of_acknowledged(&broker.record().sessions()).assert_complete("acknowledged", 1..=50);
    }
}

/// A broker that keeps no retained messages, and hangs up over them.
fn forgetful() -> Mosquitto {
    Mosquitto::start_with_config(|port, _| {
        format!("listener {port} 127.0.0.1\nallow_anonymous true\nretain_available false\n")
    })
}

#[test]
fn a_broker_that_keeps_no_retained_messages_gets_none() {
    for (protocol, retain) in [(4, "\"auto\""), (4, "false"), (5, "\"auto\""), (5, "false")] {
        let mut broker = forgetful();
        let tap = Tap::start(broker.port());
        let keys = format!("protocol = {protocol}\nretain = {retain}");
        let mut gateway = Fieldgate::new(&config(&tap.url(), &keys)).start();
        gateway.wait_for_log("Connected.", PATIENCE);
        let subscriber = Subscriber::start(broker.port(), "iiot/#");
        gateway.write_stdin(packets(1..=5).as_bytes());
        subscriber.wait_for_count(5 * MESSAGES, PATIENCE);
        // It is found out and said once.
        drop(subscriber);
        broker.restart();
        gateway.wait_for_log_count("Connected.", 2, PATIENCE);
        gateway.write_stdin(packets(6..=9).as_bytes());
        finish(&mut gateway);
        let said = gateway.count_log("The broker keeps no retained messages");
        assert_eq!(said, usize::from(retain != "false"));
        assert_eq!(gateway.count_log("TLS"), 0);
        let sessions = tap.record().sessions();
        Tally::of_acknowledged(&sessions).assert_complete("acknowledged", 1..=9);
        let published = sessions.iter().flat_map(|session| &session.publishes);
        let mut readings = published.filter(|publish| !publish.topic.ends_with("/status"));
        assert!(readings.all(|publish| !publish.retained));
    }
}

#[test]
fn whoever_insists_on_retained_messages_is_told_that_there_are_none() {
    let words =
        "the broker keeps no retained messages, allow them there or set mqtt.retain = \"auto\"";
    for protocol in [4, 5] {
        let broker = forgetful();
        let keys = format!("protocol = {protocol}\nretain = true");
        let sections = mqtt(&broker.url(), &keys);
        let gateway = Gateway::start(&sections);
        let reason = gateway.wait_for_link(&LinkId::mqtt(), "refusal", |state| match state {
            LinkState::Refused { reason, .. } => Some(reason.clone()),
            _ => None,
        });
        assert_eq!(reason, words);
        gateway.quit();
        let (code, report) = check(&format!("[source]\nkind = \"stdin\"\n{sections}"));
        assert_eq!(code, Some(1));
        let words = &words[..words.find('"').unwrap()];
        assert_failed(&report, "mqtt", "login accepted", &[words]);
    }
}

#[test]
fn nothing_without_bounds_is_read_from_a_broker() {
    for (protocol, name) in [(4, "MQTT 3.1.1"), (5, "MQTT 5")] {
        let broker = ContractBroker::start();
        broker.next([Conduct::AcceptAndFlood]);
        let keys = format!("protocol = {protocol}");
        let mut gateway = Fieldgate::new(&config(&broker.url(), &keys)).start();
        let line = gateway.wait_for_log("Connection failed; trying again.", PATIENCE);
        let words = format!("the broker does not speak {name}: a packet of 268435455 bytes");
        assert!(line.contains(&words), "{line}");
        gateway.write_stdin(packets(1..=2).as_bytes());
        finish(&mut gateway);
        Tally::of_acknowledged(&broker.record().sessions()).assert_complete("acknowledged", 1..=2);
    }
}

#[test]
fn a_broker_that_hangs_up_over_mqtt_5_may_speak_the_other_one() {
    let broker = ContractBroker::start();
    broker.always(Conduct::HangUp);
    for (protocol, advises) in [(4, false), (5, true)] {
        let keys = format!("protocol = {protocol}");
        let mut gateway = Fieldgate::new(&config(&broker.url(), &keys)).start();
        let advice = "or it does not speak MQTT 5: mqtt.protocol = 4";
        let line = gateway.wait_for_log("Connection failed; trying again.", PATIENCE);
        assert!(
            line.contains("the port may be one for TLS (mqtts://)"),
            "{line}"
        );
        assert_eq!(line.contains(advice), advises, "{line}");
        gateway.kill();
        let sections = mqtt(&broker.url(), &keys);
        let (_, report) = check(&format!("[source]\nkind = \"stdin\"\n{sections}"));
        let words = ["the port may be one for TLS (mqtts://)", advice];
        let count = if advises { 2 } else { 1 };
        assert_failed(&report, "mqtt", "broker reached", &words[..count]);
    }
}
