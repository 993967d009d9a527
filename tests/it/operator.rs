//! What an operator does to a running gateway, and how it starts and stops.

use std::time::{Duration, Instant};

use fieldgate::monitor::{Command, LinkId, LinkState, Order, SinkId};

use crate::crash::try_journaled;
use crate::outage_mqtt::{config, finish};
use crate::support::{
    Conduct, ContractBroker, ContractServer, Fieldgate, Gateway, MESSAGES, Mosquitto,
    MosquittoOptions, PATIENCE, Publish, Reply, Session, Signal, Subscriber, Tally, Tap, TcpProxy,
    packets,
};

fn influxdb(server: &ContractServer, more: &str) -> String {
    format!(
        "[influxdb]\nurl = \"{}\"\norg = \"{}\"\nbucket = \"{}\"\ntoken = \"{}\"\n{more}\n",
        server.url(),
        ContractServer::ORG,
        ContractServer::BUCKET,
        ContractServer::TOKEN,
    )
}

fn mqtt(url: &str) -> String {
    format!("[mqtt]\nbroker_url = \"{url}\"\nclient_id = \"gateway\"\n")
}

/// The statuses that a connection published.
fn statuses(session: &Session) -> Vec<&Publish> {
    let is_status = |publish: &&Publish| publish.topic == "iiot/gateway/status";
    session.publishes.iter().filter(is_status).collect()
}

/// Fails unless a connection said `online` first and `offline` last, before it said goodbye.
fn assert_tidy_end(session: &Session) {
    let (first, last) = (&session.publishes[0], session.publishes.last().unwrap());
    assert_eq!(
        (first.payload.as_str(), first.topic.as_str()),
        ("online", "iiot/gateway/status")
    );
    assert_eq!(
        (last.payload.as_str(), last.topic.as_str()),
        ("offline", "iiot/gateway/status")
    );
    assert_eq!(statuses(session).len(), 2);
    assert!(
        statuses(session)
            .iter()
            .all(|it| it.retained && it.qos == 1 && it.acknowledged)
    );
    assert!(session.disconnected);
}

fn wait_for_end_of_connection(tap: &Tap, number: usize) -> Session {
    tap.record()
        .wait_until("end of the connection", PATIENCE, |sessions| {
            sessions
                .get(number)
                .filter(|session| session.ended.is_some())
                .cloned()
        })
}

#[test]
fn a_flush_sends_a_batch_that_is_not_full() {
    let server = ContractServer::start();
    let slow = "batch_size = 1000\nflush_interval = \"1h\"";
    let mut gateway = Gateway::start(&influxdb(&server, slow));
    gateway.wait_until_up(&LinkId::influxdb());
    gateway.send(&packets(1..=2));
    gateway.wait_until("two packets", |snapshot| {
        (snapshot.sink(&SinkId::influxdb())?.queue_depth == 2 * MESSAGES as u64).then_some(())
    });
    assert_eq!(server.writes().len(), 0);
    gateway.command(Command::To(Order::Flush, LinkId::influxdb()));
    gateway.wait_until_delivered(&SinkId::influxdb(), 2 * MESSAGES as u64);
    assert_eq!(server.writes().len(), 1);

    // Asked for during a write, it is for what came meanwhile.
    server.next([Reply::TakeThenHang(Duration::from_millis(500))]);
    gateway.send(&packets(3..=3));
    gateway.wait_until("a packet", |snapshot| {
        (snapshot.journal.end.sequence == 3).then_some(())
    });
    gateway.command(Command::FlushAll);
    server.wait_for_points(3 * MESSAGES, PATIENCE);
    gateway.send(&packets(4..=4));
    gateway.wait_until("a packet", |snapshot| {
        (snapshot.journal.end.sequence == 4).then_some(())
    });
    gateway.command(Command::FlushAll);
    gateway.wait_until_delivered(&SinkId::influxdb(), 4 * MESSAGES as u64);
}

#[test]
fn a_hold_takes_one_link_down_tidily_and_a_release_brings_it_back() {
    let (broker, server) = (Mosquitto::start(), ContractServer::start());
    let tap = Tap::start(broker.port());
    let watcher = Subscriber::start(broker.port(), "iiot/gateway/status");
    let sections = mqtt(&tap.url()) + &influxdb(&server, "flush_interval = \"50ms\"");
    let mut gateway = Gateway::start(&sections);
    gateway.wait_until_up(&LinkId::mqtt());
    gateway.send(&packets(1..=10));
    gateway.wait_until_delivered(&SinkId::mqtt(), 10 * MESSAGES as u64);
    gateway.command(Command::To(Order::Hold, LinkId::mqtt()));
    gateway.wait_for_link(&LinkId::mqtt(), "hold", |state| {
        (*state == LinkState::Held).then_some(())
    });
    assert_tidy_end(&wait_for_end_of_connection(&tap, 0));

    gateway.send(&packets(11..=30));
    gateway.wait_until_delivered(&SinkId::influxdb(), 30 * MESSAGES as u64);
    assert_eq!(
        gateway.sink(&SinkId::mqtt()).queue_depth,
        20 * MESSAGES as u64
    );
    assert_eq!(tap.record().count(), 1);
    gateway.command(Command::To(Order::Release, LinkId::mqtt()));
    gateway.wait_until_delivered(&SinkId::mqtt(), 30 * MESSAGES as u64);
    assert_eq!(gateway.sink(&SinkId::mqtt()).link.reconnects, 1);

    gateway.command(Command::To(Order::Hold, LinkId::influxdb()));
    gateway.wait_for_link(&LinkId::influxdb(), "hold", |state| {
        (*state == LinkState::Held).then_some(())
    });
    gateway.send(&packets(31..=40));
    gateway.wait_until_delivered(&SinkId::mqtt(), 40 * MESSAGES as u64);
    assert_eq!(
        gateway.sink(&SinkId::influxdb()).queue_depth,
        10 * MESSAGES as u64
    );
    // A link that is held delivers nothing, so the end does not wait for it.
    let quit = Instant::now();
    let (outcome, _folder) = gateway.quit();
    assert!(quit.elapsed() < Duration::from_secs(5));
    assert_eq!(
        outcome
            .snapshot
            .sink(&SinkId::influxdb())
            .unwrap()
            .queue_depth,
        60
    );

    let sessions = tap.record().sessions();
    assert_eq!(sessions.len(), 2);
    let tally = Tally::of_publishes(&sessions);
    tally.assert_complete("MQTT", 1..=40);
    assert_eq!(tally.duplicates, 0);
    assert_tidy_end(&wait_for_end_of_connection(&tap, 1));
    let seen = watcher.wait_for_count(4, PATIENCE);
    let seen: Vec<_> = seen
        .iter()
        .map(|message| message.payload.as_str())
        .collect();
    assert_eq!(seen, ["online", "offline", "online", "offline"]);
}

#[test]
fn a_reconnect_cuts_the_pause_short() {
    let mut broker = Mosquitto::start();
    let server = ContractServer::start();
    let mut gateway = Gateway::start(&(mqtt(&broker.url()) + &influxdb(&server, "")));
    gateway.wait_until_up(&LinkId::mqtt());
    broker.stop();
    gateway.send(&packets(1..=10));
    // The third failure is followed by 4 s.
    gateway.wait_for_link(&LinkId::mqtt(), "long pause", |state| match state {
        LinkState::BackingOff { until, .. } => {
            let left = until.since(fieldgate::telemetry::Timestamp::now());
            (left > Duration::from_secs(3)).then_some(())
        }
        _ => None,
    });
    broker.start_again();
    let asked = Instant::now();
    gateway.command(Command::To(Order::Reconnect, LinkId::mqtt()));
    gateway.wait_until_delivered(&SinkId::mqtt(), 10 * MESSAGES as u64);
    assert!(
        asked.elapsed() < Duration::from_secs(2),
        "{:?}",
        asked.elapsed()
    );
    // A link that is up is connected anew.
    gateway.command(Command::To(Order::Reconnect, LinkId::mqtt()));
    gateway.wait_until("second reconnect", |snapshot| {
        let link = &snapshot.sink(&SinkId::mqtt())?.link;
        (link.reconnects == 2 && link.state == LinkState::Up).then_some(())
    });
}

#[test]
fn the_broker_knows_whether_the_gateway_is_there() {
    let broker = Mosquitto::start();
    let tap = Tap::start(broker.port());
    let watcher = Subscriber::start(broker.port(), "iiot/gateway/status");
    let mut gateway = Fieldgate::new(&config(&tap.url(), "")).start();
    watcher.wait_for_count(1, PATIENCE);
    gateway.kill();
    watcher.wait_for_count(2, PATIENCE);
    assert!(
        Subscriber::start(broker.port(), "iiot/gateway/status").wait_for_count(1, PATIENCE)[0]
            .retained
    );
    gateway.start_again();
    watcher.wait_for_count(3, PATIENCE);
    gateway.signal(Signal::SIGTERM);
    assert!(gateway.wait_exit(PATIENCE).success());
    let seen = watcher.wait_for_count(4, PATIENCE);
    let seen: Vec<_> = seen
        .iter()
        .map(|message| message.payload.as_str())
        .collect();
    assert_eq!(seen, ["online", "offline", "online", "offline"]);
    let killed = wait_for_end_of_connection(&tap, 0);
    assert!(!killed.disconnected);
    let will = ("iiot/gateway/status".to_owned(), "offline".to_owned());
    assert_eq!(
        (killed.will, killed.client_id.as_str()),
        (Some(will), "gateway")
    );
    assert_tidy_end(&wait_for_end_of_connection(&tap, 1));
    let late = Subscriber::start(broker.port(), "iiot/gateway/status").wait_for_count(1, PATIENCE);
    assert_eq!(
        (late[0].payload.as_str(), late[0].retained),
        ("offline", true)
    );
}

#[test]
fn a_wrong_password_is_refused_with_what_to_set() {
    let broker = Mosquitto::start_with(&MosquittoOptions {
        users: vec![("gateway", "secret")],
        ..MosquittoOptions::default()
    });
    for protocol in ["", "protocol = 5\n"] {
        let login = format!("{protocol}username = \"gateway\"");
        let gateway = Fieldgate::new(&config(&broker.url(), &login));
        let mut gateway = gateway.env("MQTT_PASSWORD", "wrong").start();
        let line = gateway.wait_for_log("Refused; trying again.", PATIENCE);
        assert!(
            line.contains("MQTT_PASSWORD") && line.contains("retry_in=1m"),
            "{line}"
        );
        assert!(!line.contains("wrong"), "{line}");
        gateway.kill();
        let gateway = Fieldgate::new(&config(&broker.url(), &login));
        let mut gateway = gateway.env("MQTT_PASSWORD", "secret").start();
        gateway.wait_for_log("Connected.", PATIENCE);
        finish(&mut gateway);
    }
}

#[test]
fn every_return_code_of_a_broker_says_what_to_do() {
    for (code, words, pause) in [
        (
            1,
            "the broker speaks neither MQTT 5 nor MQTT 3.1.1",
            "retry_in=1m",
        ),
        (
            2,
            "client identifier rejected, change mqtt.client_id",
            "retry_in=1m",
        ),
        (3, "the broker says it is unavailable", "retry_in=1s"),
        (
            4,
            "bad user name or password, set mqtt.username and MQTT_PASSWORD",
            "retry_in=1m",
        ),
        (
            5,
            "not authorised, check mqtt.username, MQTT_PASSWORD",
            "retry_in=1m",
        ),
    ] {
        let broker = ContractBroker::start();
        broker.always(Conduct::Refuse(code));
        let mut gateway = Fieldgate::new(&config(&broker.url(), "")).start();
        let line = gateway.wait_for_log("trying again.", PATIENCE);
        assert!(line.contains(words) && line.contains(pause), "{line}");
        // Nothing is lost by that, and nothing is waited for.
        gateway.write_stdin(packets(1..=2).as_bytes());
        gateway.signal(Signal::SIGINT);
        gateway.wait_for_log("a second signal stops at once", PATIENCE);
        gateway.signal(Signal::SIGINT);
        assert!(gateway.wait_exit(PATIENCE).success());
    }
}

#[test]
fn two_gateways_with_one_name_do_not_fight() {
    do_not_fight("");
}

#[test]
fn two_gateways_with_one_name_do_not_fight_with_mqtt_5_either() {
    do_not_fight("protocol = 5");
}

fn do_not_fight(keys: &str) {
    let broker = Mosquitto::start();
    let tap = Tap::start(broker.port());
    let mut gateways = [(); 2].map(|()| Fieldgate::new(&config(&tap.url(), keys)).start());
    // Mosquitto tells a client of MQTT 5 who took its session from 2.0.15 on.
    let advice = "ive each gateway its own mqtt.client_id";
    let said = |gateway: &mut Fieldgate| gateway.count_log(advice) > 0;
    let started = Instant::now();
    while !gateways.iter_mut().any(said) {
        assert!(started.elapsed() < PATIENCE, "they fight in silence");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(
        tap.record().count() <= 8,
        "{} connections",
        tap.record().count()
    );
    let loser = gateways
        .iter_mut()
        .find_map(|it| said(it).then_some(it))
        .unwrap();
    let line = loser.logged(advice);
    assert!(
        line.contains("another client connected as") && line.contains("retry_in=1m"),
        "{line}"
    );
}

#[test]
fn a_stop_with_a_backlog_and_dead_servers_ends_in_time_and_goes_on_at_the_next_start() {
    let (broker, server) = (ContractBroker::start(), ContractServer::start());
    let cables = [broker.port(), server.port()].map(TcpProxy::start);
    let mut text = config(&format!("mqtt://127.0.0.1:{}", cables[0].port()), "")
        + &influxdb(&server, "").replace(&server.port().to_string(), &cables[1].port().to_string());
    text = text.replace("shutdown_timeout = \"20s\"", "shutdown_timeout = \"700ms\"");
    let mut gateway = Fieldgate::new(&text).start();
    gateway.wait_for_log_count("Connected.", 2, PATIENCE);
    for cable in &cables {
        cable.swallow();
    }
    gateway.write_stdin(packets(1..=500).as_bytes());
    wait_for_journal(&gateway, 500);
    let asked = Instant::now();
    gateway.signal(Signal::SIGINT);
    assert!(gateway.wait_exit(PATIENCE).success());
    let took = asked.elapsed();
    assert!(took < Duration::from_millis(1_700), "took {took:?}");
    let line = gateway.logged("Stopped.");
    assert!(
        line.contains("500 packets received") && line.contains("(3000 waiting)"),
        "{line}"
    );

    for cable in &cables {
        cable.resume();
    }
    gateway.start_again();
    finish(&mut gateway);
    Tally::of_acknowledged(&broker.record().sessions()).assert_complete("MQTT", 1..=500);
    Tally::of_points(&server.points()).assert_complete("InfluxDB", 1..=500);
}

/// Waits until the journal holds so many packets.
fn wait_for_journal(gateway: &Fieldgate, count: usize) {
    let path = gateway.folder().join("journal.db");
    let journaled = crate::support::poll(PATIENCE, || {
        (try_journaled(&path).ok()?.len() == count).then_some(())
    });
    journaled.expect("the packets are not in the journal");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let broker = ContractBroker::start();
    broker.next([Conduct::AcknowledgeNothing]);
    let mut gateway = Fieldgate::new(&config(&broker.url(), "")).start();
    gateway.write_stdin(packets(1..=500).as_bytes());
    wait_for_journal(&gateway, 500);
    gateway.signal(Signal::SIGINT);
    gateway.wait_for_log("a second signal stops at once", PATIENCE);
    let asked = Instant::now();
    gateway.signal(Signal::SIGINT);
    assert!(gateway.wait_exit(PATIENCE).success());
    assert!(
        asked.elapsed() < Duration::from_secs(1),
        "{:?}",
        asked.elapsed()
    );
    gateway.start_again();
    finish(&mut gateway);
    Tally::of_acknowledged(&broker.record().sessions()).assert_complete("MQTT", 1..=500);
}
