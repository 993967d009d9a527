//! The broker goes away, in all the ways in which brokers do.

use std::time::{Duration, Instant};

use crate::support::numbered::ANY_VALUE;
use crate::support::{
    Conduct, ContractBroker, Fieldgate, Load, MESSAGES, Message, Mosquitto, PATIENCE, Session,
    Subscriber, TOPICS, Tally, Tap, TcpProxy, legs, packets,
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
         [telemetry]\nclock_tolerance = \"1h\"\n{ANY_VALUE}"
    )
}

/// Ends the input and waits until everything is delivered.
pub(crate) fn finish(gateway: &mut Fieldgate) {
    gateway.close_stdin();
    assert!(gateway.wait_exit(PATIENCE).success());
}

/// Fails unless every connection repeated at most what can have been in flight: so many messages. The
/// broker may know of fewer, since acknowledgements can be lost on their way with the connection.
pub(crate) fn assert_few_repetitions(sessions: &[Session], max_inflight: usize) {
    let legs = legs(sessions);
    let allowed = max_inflight + REST_OF_A_PACKET;
    for (number, leg) in legs.iter().enumerate() {
        let repeated = leg.repeated;
        assert!(
            repeated <= allowed,
            "connection {number} repeated {repeated} messages: {legs:?}"
        );
    }
}

#[test]
fn a_broker_that_is_killed_under_load_costs_nothing() {
    kill_under_load("max_inflight = 20");
}

#[test]
fn a_broker_that_is_killed_under_load_costs_nothing_with_mqtt_5() {
    kill_under_load("max_inflight = 20\nprotocol = 5");
}

fn kill_under_load(keys: &str) {
    let mut broker = Mosquitto::start();
    let tap = Tap::start(broker.port());
    let mut gateway = Fieldgate::new(&config(&tap.url(), keys)).start();
    let load = Load::start(gateway.take_stdin(), 1, 1_000);
    for round in 1..=2 {
        let before = tap.record().acknowledged();
        wait_for_acknowledgements(&tap, before + 500);
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
    assert_few_repetitions(&sessions, 20);
    // What the last broker knows is the newest.
    let late = Subscriber::start(broker.port(), "iiot/node1/#");
    let is_reading = |it: &&Message| !it.is_of_gateway();
    let messages = late.wait_until("last values", PATIENCE, |messages| {
        messages.iter().filter(is_reading).count() >= 3
    });
    for message in messages.iter().filter(is_reading) {
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
    assert!(
        first.contains("the broker closed the connection"),
        "{first}"
    );
    assert!(
        first.contains("retry_in=1s") && first.contains("link=mqtt"),
        "{first}"
    );
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

#[test]
fn a_cable_that_is_pulled_is_noticed_within_one_and_a_half_keep_alives() {
    pull_the_cable("");
}

#[test]
fn a_cable_that_is_pulled_is_noticed_with_mqtt_5_too() {
    pull_the_cable("protocol = 5");
}

fn pull_the_cable(keys: &str) {
    const KEEP_ALIVE: Duration = Duration::from_secs(2);
    let broker = Mosquitto::start();
    let tap = Tap::start(broker.port());
    let cable = TcpProxy::start(tap.port());
    let url = format!("mqtt://127.0.0.1:{}", cable.port());
    let mut gateway =
        Fieldgate::new(&config(&url, &format!("keep_alive = \"2s\"\n{keys}"))).start();
    let load = Load::start(gateway.take_stdin(), 1, 500);
    wait_for_acknowledgements(&tap, 1_000);
    cable.swallow();
    let pulled = Instant::now();
    let line = gateway.wait_for_log("Connection failed", PATIENCE);
    let noticed = pulled.elapsed();
    // Whichever comes first: a ping without an answer, or silence for as long as it may last.
    let reasons = [
        "the broker did not answer a ping",
        "the broker was silent for 3.",
    ];
    assert!(reasons.iter().any(|reason| line.contains(reason)), "{line}");
    // What a loaded machine adds is not the gateway's.
    let longest = KEEP_ALIVE.mul_f64(1.5) + Duration::from_millis(500);
    assert!(noticed < longest, "noticed after {noticed:?}");
    cable.resume();
    gateway.wait_for_log_count("Connected.", 2, PATIENCE);
    let (stdin, next) = load.stop();
    drop(stdin);
    finish(&mut gateway);
    let sessions = tap.record().sessions();
    Tally::of_acknowledged(&sessions).assert_complete("acknowledged", 1..next);
    let repeated: usize = legs(&sessions).iter().map(|leg| leg.repeated).sum();
    // The cable may hold what was under way when it was pulled, and so may the connection tried
    // before it was mended.
    assert!(
        repeated <= 2 * (100 + REST_OF_A_PACKET),
        "{repeated} repeated"
    );
}

fn wait_for_acknowledgements(tap: &Tap, count: usize) {
    tap.record()
        .wait_until("acknowledgements", PATIENCE, |sessions| {
            let publishes = sessions.iter().flat_map(|session| &session.publishes);
            (publishes.filter(|publish| publish.acknowledged).count() >= count).then_some(())
        });
}

#[test]
fn an_idle_link_that_dies_is_noticed_too() {
    for protocol in [4, 5] {
        let mut broker = Mosquitto::start();
        let keys = format!("keep_alive = \"1s\"\nprotocol = {protocol}");
        let mut gateway = Fieldgate::new(&config(&broker.url(), &keys)).start();
        gateway.wait_for_log("Connected.", PATIENCE);
        broker.suspend();
        let line = gateway.wait_for_log("Connection failed", Duration::from_secs(4));
        assert!(line.contains("the broker was silent for 1."), "{line}");
        broker.resume();
        gateway.wait_for_log_count("Connected.", 2, PATIENCE);
        finish(&mut gateway);
    }
}

#[test]
fn a_broker_that_answers_pings_and_acknowledges_nothing_is_left() {
    let broker = ContractBroker::start();
    broker.next([Conduct::AcknowledgeNothing]);
    let mut gateway = Fieldgate::new(&config(&broker.url(), "keep_alive = \"1s\"")).start();
    gateway.write_stdin(packets(1..=10).as_bytes());
    let line = gateway.wait_for_log("Connection failed", PATIENCE);
    assert!(
        line.contains("the broker acknowledged nothing for 1."),
        "{line}"
    );
    finish(&mut gateway);
    let sessions = broker.record().sessions();
    assert_eq!(sessions.len(), 2);
    Tally::of_acknowledged(&sessions).assert_complete("acknowledged", 1..=10);
}

#[test]
fn acknowledgements_in_the_wrong_order_acknowledge_the_right_messages() {
    let broker = ContractBroker::start();
    broker.always(Conduct::AcknowledgeBackwards);
    for (qos, protocol) in [(1, 4), (2, 4), (1, 5), (2, 5)] {
        let before = broker.record().count();
        let more = format!("qos = {qos}\nmax_inflight = 20\nprotocol = {protocol}");
        let mut gateway = Fieldgate::new(&config(&broker.url(), &more)).start();
        gateway.write_stdin(packets(1..=50).as_bytes());
        finish(&mut gateway);
        let sessions = &broker.record().sessions()[before..];
        let tally = Tally::of_acknowledged(sessions);
        tally.assert_complete("acknowledged", 1..=50);
        assert!(sessions.iter().all(|session| !session.misused));
        assert_eq!((sessions.len(), tally.duplicates), (1, 0));
    }
}

#[test]
fn a_broker_that_hangs_up_in_the_middle_gets_what_it_did_not_acknowledge_again() {
    for (qos, protocol) in [(1, 4), (2, 4), (1, 5), (2, 5)] {
        let broker = ContractBroker::start();
        broker.next(
            [(100, 7), (15, 15)].map(|(publishes, unacknowledged)| Conduct::HangUpAfter {
                publishes,
                unacknowledged,
            }),
        );
        let more = format!("qos = {qos}\nmax_inflight = 20\nprotocol = {protocol}");
        let mut gateway = Fieldgate::new(&config(&broker.url(), &more)).start();
        gateway.write_stdin(packets(1..=200).as_bytes());
        let line = gateway.wait_for_log("Connection failed", PATIENCE);
        assert!(line.contains("the broker closed the connection"), "{line}");
        finish(&mut gateway);
        let sessions = broker.record().sessions();
        Tally::of_acknowledged(&sessions).assert_complete("acknowledged", 1..=200);
        assert_few_repetitions(&sessions, 20);
    }
}

#[test]
fn a_broker_that_accepts_and_hangs_up_is_not_hammered() {
    let broker = ContractBroker::start();
    broker.always(Conduct::HangUp);
    let mut gateway = Fieldgate::new(&config(&broker.url(), "")).start();
    gateway.write_stdin(packets(1..=3).as_bytes());
    for delay in ["retry_in=1s", "retry_in=2s", "retry_in=4s"] {
        let line = gateway.wait_for_log(delay, PATIENCE);
        assert!(line.contains("the broker closed the connection"), "{line}");
    }
    // Said nowhere, since another client would have let it in first.
    assert_eq!(gateway.count_log("is another client connected"), 0);
    broker.always(Conduct::Serve);
    finish(&mut gateway);
    Tally::of_acknowledged(&broker.record().sessions()).assert_complete("acknowledged", 1..=3);
}
