//! One of the two servers goes away; the other one must not feel it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::crash::journaled;
use crate::outage_mqtt::finish;
use crate::support::{
    Conduct, ContractBroker, Fieldgate, PATIENCE, TOPICS, Tally, VictoriaMetrics, packets, poll,
};

pub(crate) fn config(broker_url: &str, database: &VictoriaMetrics) -> String {
    format!(
        "shutdown_timeout = \"20s\"\n\
         [source]\nkind = \"stdin\"\n\
         [mqtt]\nbroker_url = \"{broker_url}\"\n\
         [influxdb]\nurl = \"{}\"\norg = \"iiot\"\nbucket = \"telemetry\"\n\
         flush_interval = \"200ms\"\ntimeout = \"1s\"\n\
         [journal]\npath = \"journal.db\"\n\
         [telemetry]\nclock_tolerance = \"1h\"\nmetrics.t.range = 'any'\nmetrics.h.range = 'any'\nmetrics.p.range = 'any'\n",
        database.url(),
    )
}

/// Fails unless the database holds just the readings of the journal, at their times.
pub(crate) fn assert_same_as_journal(database: &VictoriaMetrics, gateway: &Fieldgate) {
    let journal = journaled(&gateway.folder().join("journal.db"));
    let expected: BTreeSet<(i64, u64)> = journal
        .iter()
        .map(|(number, event_time)| (event_time / 1_000_000, *number))
        .collect();
    for topic in TOPICS {
        let (node, metric) = topic.split_once('/').unwrap();
        let selector = format!("{metric}{{node_id=\"{node}\"}}");
        let series = database.wait_for_points(&selector, expected.len(), PATIENCE);
        assert_eq!(series.len(), 1, "{series:?}");
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the values are the numbers"
        )]
        let values = series[0].values.iter().map(|value| *value as u64);
        let held: BTreeSet<_> = series[0]
            .timestamps_ms
            .iter()
            .copied()
            .zip(values)
            .collect();
        assert!(
            held == expected,
            "{topic}: {:?} are not as in the journal",
            held.symmetric_difference(&expected)
                .take(10)
                .collect::<Vec<_>>()
        );
    }
}

/// Writes packets one by one; returns the median of the times that MQTT took for each.
fn median_latency(
    gateway: &mut Fieldgate,
    broker: &ContractBroker,
    numbers: std::ops::Range<u64>,
) -> Duration {
    let written: Vec<_> = numbers
        .map(|number| {
            let line = packets(number..=number);
            let at = Instant::now();
            gateway.write_stdin(line.as_bytes());
            std::thread::sleep(Duration::from_millis(4));
            (number.to_string(), at)
        })
        .collect();
    let mut latencies = broker
        .record()
        .wait_until("all packets", PATIENCE, |sessions| {
            let publishes = &sessions[0].publishes;
            let arrived = |number: &String| {
                let mut recent = publishes.iter().rev();
                let is_it = |it: &&crate::support::Publish| {
                    it.payload == *number && it.topic.ends_with(TOPICS[4])
                };
                Some(recent.find(is_it)?.at)
            };
            let latency =
                |(number, at): &(String, Instant)| Some(arrived(number)?.duration_since(*at));
            written.iter().map(latency).collect::<Option<Vec<_>>>()
        });
    latencies.sort_unstable();
    latencies[latencies.len() / 2]
}

#[test]
fn a_database_that_is_away_costs_nothing_and_mqtt_feels_nothing() {
    let (broker, mut database) = (ContractBroker::start(), VictoriaMetrics::start());
    let mut gateway = Fieldgate::new(&config(&broker.url(), &database)).start();
    gateway.wait_for_log_count("Connected.", 2, PATIENCE);
    let before = median_latency(&mut gateway, &broker, 1..201);
    database.stop();
    let during = median_latency(&mut gateway, &broker, 201..401);
    let line = gateway.wait_for_log("Connection failed", PATIENCE);
    assert!(
        line.contains("link=influxdb") && line.contains("connection refused"),
        "{line}"
    );
    database.start_again();
    let numbers = 401..601;
    median_latency(&mut gateway, &broker, numbers);
    // Below the floor, the machine is measured and not the gateway.
    let longest = (2 * before).max(Duration::from_millis(20));
    assert!(
        during <= longest,
        "MQTT took {during:?} during the outage, {before:?} before"
    );
    finish(&mut gateway);
    assert_eq!(broker.record().count(), 1);
    Tally::of_acknowledged(&broker.record().sessions()).assert_complete("MQTT", 1..601);
    assert_same_as_journal(&database, &gateway);
}

#[test]
fn a_broker_that_is_away_does_not_hold_up_the_database() {
    let (broker, database) = (ContractBroker::start(), VictoriaMetrics::start());
    broker.next([Conduct::HangUp, Conduct::HangUp]);
    let mut gateway = Fieldgate::new(&config(&broker.url(), &database)).start();
    gateway.write_stdin(packets(1..=100).as_bytes());
    let arrived = poll(Duration::from_secs(2), || {
        let series = database.export("packets_received");
        (series.first()?.values.len() == 100).then_some(())
    });
    arrived.expect("the database waits for the broker");
    assert_eq!(
        broker.record().count(),
        0,
        "the broker was there too early to prove anything"
    );
    finish(&mut gateway);
    Tally::of_acknowledged(&broker.record().sessions()).assert_complete("MQTT", 1..=100);
    assert_same_as_journal(&database, &gateway);
}

#[test]
fn a_database_that_hangs_is_given_up_in_time_and_loses_nothing() {
    let (broker, database) = (ContractBroker::start(), VictoriaMetrics::start());
    let cable = crate::support::TcpProxy::start(database.port());
    let config = config(&broker.url(), &database)
        .replace(&database.port().to_string(), &cable.port().to_string());
    let mut gateway = Fieldgate::new(&config).start();
    gateway.write_stdin(packets(1..=50).as_bytes());
    gateway.wait_for_log_count("Connected.", 2, PATIENCE);
    cable.swallow();
    gateway.write_stdin(packets(51..=150).as_bytes());
    let line = gateway.wait_for_log("no answer within 1s", PATIENCE);
    assert!(
        line.contains("link=influxdb") && line.contains("retry_in=1"),
        "{line}"
    );
    cable.resume();
    finish(&mut gateway);
    Tally::of_acknowledged(&broker.record().sessions()).assert_complete("MQTT", 1..=150);
    assert_same_as_journal(&database, &gateway);
}
