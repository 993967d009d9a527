//! The broker goes away, in all the ways in which brokers do.

use crate::support::{
    Fieldgate, Leg, Load, MESSAGES, Mosquitto, PATIENCE, Session, Subscriber, TOPICS, Tally, Tap,
    legs, packets,
};

/// More than one of a packet's messages can be acknowledged without the packet being so.
const REST_OF_A_PACKET: usize = MESSAGES - 1;

/// A gateway that reads standard input and publishes to this broker.
pub(crate) fn config(broker_url: &str, more: &str) -> String {
    format!(
        "shutdown_timeout = \"20s\"\n\
         [source]\nkind = \"stdin\"\n\
         [mqtt]\nbroker_url = \"{broker_url}\"\nclient_id = \"gateway\"\n{more}\n\
         [journal]\npath = \"journal.db\"\n\
         [telemetry]\nclock_tolerance = \"1h\"\n"
    )
}

/// Ends the input and waits until everything is delivered.
pub(crate) fn finish(gateway: &mut Fieldgate) {
    gateway.close_stdin();
    assert!(gateway.wait_exit(PATIENCE).success());
}

/// Fails unless every connection repeated at most what the one before it had in flight.
pub(crate) fn assert_few_repetitions(sessions: &[Session]) {
    let legs = legs(sessions);
    let mut allowed = 0;
    for (number, Leg { repeated, in_flight }) in legs.iter().enumerate() {
        assert!(
            *repeated <= allowed,
            "connection {number} repeated {repeated} messages, {allowed} allowed: {legs:?}"
        );
        // What was not even acknowledged to a connection that repeated them stays in flight.
        allowed = in_flight + REST_OF_A_PACKET;
    }
}

#[test]
fn a_broker_that_is_killed_under_load_costs_nothing() {
    let mut broker = Mosquitto::start();
    let tap = Tap::start(broker.port());
    let mut gateway = Fieldgate::new(&config(&tap.url(), "max_inflight = 20")).start();
    let load = Load::start(gateway.take_stdin(), 1, 1_000);
    for round in 1..=2 {
        let before = tap.record().acknowledged();
        tap.record().wait_until("acknowledgements", PATIENCE, |sessions| {
            let acknowledged = sessions.iter().flat_map(|session| &session.publishes);
            let count = acknowledged.filter(|publish| publish.acknowledged).count();
            (count > before + 500).then_some(())
        });
        // It comes back with neither session nor retained messages.
        broker.kill();
        gateway.wait_for_log_count("Connection failed; trying again.", round * 2, PATIENCE);
        broker.start_again();
        gateway.wait_for_log_count("Connected.", round + 1, PATIENCE);
    }
    let (stdin, next) = load.stop();
    drop(stdin);
    finish(&mut gateway);

    let sessions = tap.record().sessions();
    Tally::of_acknowledged(&sessions).assert_complete("acknowledged", 1..next);
    assert_eq!(Tally::of_publishes(&sessions).overtaken, 0);
    assert_few_repetitions(&sessions);
    // What the last broker knows is the newest.
    let late = Subscriber::start(broker.port(), "iiot/node1/#");
    for message in late.wait_for_count(3, PATIENCE) {
        assert_eq!(message.payload, (next - 1).to_string(), "{message:?}");
    }
}

#[test]
fn the_log_says_why_and_when_the_next_attempt_comes() {
    let mut broker = Mosquitto::start();
    let mut gateway = Fieldgate::new(&config(&broker.url(), "")).start();
    gateway.wait_for_log("Connected.", PATIENCE);
    broker.kill();
    gateway.write_stdin(packets(1..=3).as_bytes());
    let first = gateway.wait_for_log("Connection failed", PATIENCE);
    assert!(first.contains("the broker closed the connection"), "{first}");
    assert!(first.contains("retry_in=1s") && first.contains("link=mqtt"), "{first}");
    let second = gateway.wait_for_log("connection refused, is the broker running?", PATIENCE);
    assert!(second.contains("retry_in=2s"), "{second}");
    let third = gateway.wait_for_log("waiting=18", PATIENCE);
    assert!(third.contains(&broker.url()), "{third}");
    gateway.wait_for_log("retry_in=4s", PATIENCE);
    broker.start_again();
    finish(&mut gateway);
    let late = Subscriber::start(broker.port(), "iiot/node1/#");
    late.wait_for_count(TOPICS[..3].len(), PATIENCE);
}
