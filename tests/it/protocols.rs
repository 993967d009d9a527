//! Which MQTT is spoken with brokers that do not say which they know.

use crate::outage_mqtt::{config, finish};
use crate::support::{Conduct, ContractBroker, Fieldgate, PATIENCE, Session, Tally, packets};

fn levels(sessions: &[Session]) -> Vec<u8> {
    sessions.iter().map(|session| session.level).collect()
}

#[test]
fn the_older_protocol_is_spoken_with_a_broker_that_knows_no_other() {
    // Connections until it is known: one that does not say so has to fail again.
    for (answer, connections) in [
        (&b"\x20\x02\x00\x01"[..], &[5, 4][..]),
        (b"\x20\x02\x00\x05", &[5, 4]),
        (b"\x20\x02\x00\x00", &[5, 4]),
        (b"\x20\x03\x00\x84\x00", &[5, 4]),
        (b"\x20\x03\x00\x82\x00", &[5, 4, 5, 4]),
        (b"\x20\x03\x00", &[5, 4, 5, 4]),
        (b"HTTP/1.1 400 Bad Request\r\n", &[5, 4, 5, 4]),
        (b"", &[5, 4, 5, 4]),
    ] {
        let broker = ContractBroker::start();
        broker.always(Conduct::ServeOlder(answer));
        let mut gateway = Fieldgate::new(&config(&broker.url(), "")).start();
        gateway.wait_for_log("MQTT 3.1.1 is spoken with it", PATIENCE);
        gateway.wait_for_log("Connected.", PATIENCE);
        gateway.write_stdin(packets(1..=5).as_bytes());
        finish(&mut gateway);
        assert_eq!(gateway.count_log("Connection failed"), 0, "{answer:?}");
        let sessions = broker.record().sessions();
        Tally::of_acknowledged(&sessions).assert_complete("acknowledged", 1..=5);
        assert_eq!(levels(&sessions), connections, "{answer:?}");
    }
}

/// A broker that ends the connection in the middle of what is sent.
const FAILS: Conduct = Conduct::HangUpAfter {
    publishes: 3,
    unacknowledged: 1,
};

/// The protocol of each connection until all is delivered, one of which breaks off.
fn levels_over_a_lost_connection(broker: &ContractBroker) -> Vec<u8> {
    let mut gateway = Fieldgate::new(&config(&broker.url(), "")).start();
    gateway.wait_for_log("Connected.", PATIENCE);
    gateway.write_stdin(packets(1..=5).as_bytes());
    gateway.wait_for_log_count("Connected.", 2, 2 * PATIENCE);
    finish(&mut gateway);
    let sessions = broker.record().sessions();
    Tally::of_acknowledged(&sessions).assert_complete("acknowledged", 1..=5);
    levels(&sessions)
}

#[test]
fn what_a_broker_does_not_speak_is_remembered() {
    let broker = ContractBroker::start();
    broker.next([Conduct::ServeOlder(b"\x20\x02\x00\x01"), FAILS]);
    assert_eq!(levels_over_a_lost_connection(&broker), [5, 4, 4]);
}

#[test]
fn a_broker_that_was_away_for_a_moment_is_no_older_one() {
    let broker = ContractBroker::start();
    // It comes up after the first attempt; later it goes away again and again.
    broker.next([
        Conduct::Refuse(0x80),
        Conduct::Serve,
        FAILS,
        Conduct::HangUp,
    ]);
    assert_eq!(levels_over_a_lost_connection(&broker), [5, 4, 5, 5]);
}

#[test]
fn a_reason_in_the_older_protocol_is_worth_more_than_none_in_the_newer_one() {
    let broker = ContractBroker::start();
    broker.next([Conduct::ServeOlder(b""), Conduct::Refuse(5)]);
    let mut gateway = Fieldgate::new(&config(&broker.url(), "username = \"x\"")).start();
    let line = gateway.wait_for_log("Refused; trying again.", PATIENCE);
    assert!(line.contains("not authorised"), "{line}");
    let broker = ContractBroker::start();
    broker.always(Conduct::Refuse(1));
    let mut gateway = Fieldgate::new(&config(&broker.url(), "")).start();
    let line = gateway.wait_for_log("Refused; trying again.", PATIENCE);
    let words = "the broker speaks neither MQTT 5 nor MQTT 3.1.1";
    assert!(line.contains(words), "{line}");
}
