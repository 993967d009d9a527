//! Several brokers and several databases, of which the first that works is used.

use std::time::{Duration, Instant};

use fieldgate::monitor::{LinkId, SinkId};

use crate::commands::check::{assert_failed, check};
use crate::support::{
    ContractServer, Gateway, MESSAGES, Mosquitto, Reply, Tally, Tap, TcpProxy, packets,
};

fn peer(gateway: &Gateway, sink: &SinkId) -> String {
    gateway.sink(sink).link.peer
}

#[test]
fn the_next_broker_is_used_at_once_and_the_first_one_gone_back_to() {
    let mut first = Mosquitto::start();
    let second = Mosquitto::start();
    let taps = [first.port(), second.port()].map(Tap::start);
    let [one, two] = [taps[0].url(), taps[1].url()];
    let mut gateway = Gateway::start(&format!(
        "[mqtt]\nbroker_url = [\"{one}\", \"{two}\"]\nprefer_first = \"2s\"\n"
    ));
    gateway.wait_until_up(&LinkId::mqtt());
    assert_eq!(peer(&gateway, &SinkId::mqtt()), one);
    gateway.send(&packets(1..=10));
    gateway.wait_until_delivered(&SinkId::mqtt(), 10 * MESSAGES as u64);
    first.kill();
    let since = Instant::now();
    gateway.send(&packets(11..=20));
    gateway.wait_until_delivered(&SinkId::mqtt(), 20 * MESSAGES as u64);
    assert!(
        since.elapsed() < Duration::from_millis(1_900),
        "{:?}",
        since.elapsed()
    );
    assert_eq!(peer(&gateway, &SinkId::mqtt()), two);
    // The tap takes connections while the broker is away: it is tried, and the second one used again.
    first.restart();
    gateway.wait_until("the first one", |snapshot| {
        let link = &snapshot.sink(&SinkId::mqtt())?.link;
        (link.peer == one && link.state.word() == "up").then_some(())
    });
    gateway.send(&packets(21..=30));
    gateway.wait_until_delivered(&SinkId::mqtt(), 30 * MESSAGES as u64);
    gateway.quit();
    let sessions: Vec<_> = taps
        .iter()
        .flat_map(|tap| tap.record().sessions())
        .collect();
    let publishes = sessions
        .iter()
        .flat_map(|it| &it.publishes)
        .filter(|it| it.acknowledged);
    let counted = publishes.filter(|it| it.topic.ends_with("packets_received"));
    let mut numbers: Vec<u64> = counted.map(|it| it.payload.parse().unwrap()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers, (1..=30).collect::<Vec<_>>());
}

#[test]
fn the_next_database_is_used_at_once() {
    let servers = [ContractServer::start(), ContractServer::start()];
    let proxy = TcpProxy::start(servers[0].port());
    let [one, two] = [
        format!("http://127.0.0.1:{}/", proxy.port()),
        servers[1].url() + "/",
    ];
    let keys = |token: &str| {
        format!(
            "[influxdb]\nurl = [\"{one}\", \"{two}\"]\norg = \"{}\"\nbucket = \"{}\"\n\
             token = \"{token}\"\nflush_interval = \"100ms\"\n",
            ContractServer::ORG,
            ContractServer::BUCKET,
        )
    };
    let mut gateway = Gateway::start(&keys(ContractServer::TOKEN));
    gateway.send(&packets(1..=10));
    gateway.wait_until_delivered(&SinkId::influxdb(), 10 * MESSAGES as u64);
    assert_eq!(peer(&gateway, &SinkId::influxdb()), one);
    // One that says no is passed over as well.
    servers[0].always(Reply::Status(
        401,
        r#"{"message":"unauthorized access"}"#.into(),
    ));
    gateway.send(&packets(11..=20));
    gateway.wait_until_delivered(&SinkId::influxdb(), 20 * MESSAGES as u64);
    assert_eq!(peer(&gateway, &SinkId::influxdb()), two);
    gateway.quit();
    let points = servers.each_ref().map(ContractServer::points).concat();
    Tally::of_points(&points).assert_complete("points", 1..=20);

    proxy.refuse();
    let (code, report) = check(&format!(
        "[source]\nkind = \"stdin\"\n{}",
        keys(ContractServer::TOKEN)
    ));
    assert_eq!(code, Some(1));
    assert_failed(&report, "influxdb", "server reached", &["refused"]);
    let text = report.to_string();
    assert!(text.contains(&two[..two.len() - 1]), "{text}");
}
