//! Several brokers and databases at once: none is in the way of another.

use std::path::Path;
use std::process::Command;
use std::slice;

use fieldgate::journal::Archive;

use crate::outage_influx::assert_same_as_journal;
use crate::outage_mqtt::finish;
use crate::support::numbered::ANY_VALUE;
use crate::support::{
    Conduct, ContractBroker, ContractServer, Fieldgate, Load, MESSAGES, Mosquitto, PATIENCE, Reply,
    Signal, TOPICS, Tally, Tap, VictoriaMetrics, packets, poll,
};

const MAX_INFLIGHT: usize = 50;

/// A gateway that reads standard input, with these sinks.
fn config(sinks: &[String]) -> String {
    format!(
        "shutdown_timeout = \"20s\"\n\
         [source]\nkind = \"stdin\"\n\
         [journal]\npath = \"journal.db\"\n\
         [telemetry]\nclock_tolerance = \"1h\"\n{ANY_VALUE}\n{}",
        sinks.concat()
    )
}

fn broker(name: &str, url: &str, more: &str) -> String {
    format!(
        "[[mqtt]]\nname = \"{name}\"\nbroker_url = \"{url}\"\nmax_inflight = {MAX_INFLIGHT}\n\
         keep_alive = \"2s\"\n{more}\n"
    )
}

fn database(name: &str, server: &ContractServer, more: &str) -> String {
    format!(
        "[[influxdb]]\nname = \"{name}\"\nurl = \"{}\"\norg = \"{}\"\nbucket = \"{}\"\n\
         token = \"{}\"\nflush_interval = \"100ms\"\nmax_batch_size = 500\n{more}\n",
        server.url(),
        ContractServer::ORG,
        ContractServer::BUCKET,
        ContractServer::TOKEN,
    )
}

fn readings(broker: &ContractBroker) -> Tally {
    Tally::of_acknowledged(&broker.record().sessions())
}

/// Waits until so many readings are acknowledged.
fn wait_for_readings(broker: &ContractBroker, count: usize) {
    let arrived = poll(PATIENCE, || {
        (readings(broker).distinct() >= count).then_some(())
    });
    arrived.unwrap_or_else(|| panic!("{} of {count} arrived", readings(broker).distinct()));
}

#[test]
fn dead_and_slow_ones_delay_no_other_and_lose_nothing() {
    let (quick, slow) = (ContractBroker::start(), ContractBroker::start());
    let (quick_server, dead_server) = (ContractServer::start(), ContractServer::start());
    let mut killed = Mosquitto::start();
    let tap = Tap::start(killed.port());
    slow.always(Conduct::AcknowledgeNothing);
    dead_server.always(Reply::Hang);
    let mut gateway = Fieldgate::new(&config(&[
        broker("mqtt", &quick.url(), ""),
        broker("slow", &slow.url(), ""),
        broker("killed", &tap.url(), ""),
        database("influxdb", &quick_server, ""),
        database("dead", &dead_server, "timeout = \"1s\""),
    ]))
    .start();
    killed.kill();
    gateway.write_stdin(packets(1..=500).as_bytes());
    // Everything is with the quick ones before the others have anything.
    wait_for_readings(&quick, 500 * MESSAGES);
    quick_server.wait_for_points(500 * MESSAGES, PATIENCE);
    assert_eq!(dead_server.points().len(), 0);
    assert_eq!(readings(&slow).distinct(), 0);
    killed.start_again();
    slow.always(Conduct::Serve);
    dead_server.always(Reply::Ok);
    finish(&mut gateway);
    for (what, tally) in [
        ("quick", readings(&quick)),
        ("slow", readings(&slow)),
        ("killed", Tally::of_acknowledged(&tap.record().sessions())),
        ("quick database", Tally::of_points(&quick_server.points())),
        ("dead database", Tally::of_points(&dead_server.points())),
    ] {
        tally.assert_complete(what, 1..=500);
    }
    assert_eq!(quick.record().sessions().len(), 1);
}

#[test]
fn a_gateway_that_is_killed_loses_nothing_for_any_of_them() {
    let brokers = [ContractBroker::start(), ContractBroker::start()];
    let servers = [ContractServer::start(), ContractServer::start()];
    let mut gateway = Fieldgate::new(&config(&[
        broker("mqtt", &brokers[0].url(), ""),
        broker("cloud", &brokers[1].url(), ""),
        database("influxdb", &servers[0], ""),
        database("archive", &servers[1], ""),
    ]))
    .start();
    let mut next = 1;
    for kill in 0..6 {
        let load = Load::start(gateway.take_stdin(), next, 1_000);
        let acknowledged = brokers[1].record().acknowledged();
        poll(PATIENCE, || {
            (brokers[1].record().acknowledged() > acknowledged + 100).then_some(())
        })
        .expect("nothing is acknowledged");
        gateway.kill();
        (_, next) = load.stop();
        if kill % 2 == 0 {
            brokers[1].next([Conduct::AcknowledgeNothing]);
            servers[0].next([Reply::CutMidAnswer]);
        }
        gateway.start_again();
    }
    finish(&mut gateway);
    let journal = crate::crash::journaled(&gateway.folder().join("journal.db"));
    assert!(journal.len() > 100, "{} packets", journal.len());
    let numbers = || journal.keys().copied();
    for broker in &brokers {
        readings(broker).assert_complete("MQTT", numbers());
    }
    for server in &servers {
        Tally::of_points(&server.points()).assert_complete("InfluxDB", numbers());
    }
}

/// One broker and one database fall under load, and then the gateway does; the other two feel nothing, and
/// in the end all four have everything.
#[test]
fn real_ones_that_fall_with_the_gateway_lose_nothing_and_delay_no_other() {
    let mut brokers = [Mosquitto::start(), Mosquitto::start()];
    let taps = [0, 1].map(|number: usize| Tap::start(brokers[number].port()));
    let mut databases = [VictoriaMetrics::start(), VictoriaMetrics::start()];
    let of_database = |name: &str, database: &VictoriaMetrics| {
        format!(
            "[[influxdb]]\nname = \"{name}\"\nurl = \"{}\"\nflush_interval = \"100ms\"\n",
            database.url()
        )
    };
    let mut gateway = Fieldgate::new(&config(&[
        broker("stays", &taps[0].url(), ""),
        broker("falls", &taps[1].url(), ""),
        of_database("stays", &databases[0]),
        of_database("falls", &databases[1]),
    ]))
    .start();
    let arrived = |tap: &Tap| Tally::of_acknowledged(&tap.record().sessions()).distinct();
    let held = |database: &VictoriaMetrics| -> usize {
        let series = database.export("packets_received");
        series.iter().map(|one| one.values.len()).sum()
    };
    gateway.wait_for_log_count("Connected.", 4, PATIENCE);
    let load = Load::start(gateway.take_stdin(), 1, 200);
    let begun = poll(PATIENCE, || {
        let all_have = taps.iter().all(|tap| arrived(tap) > 100 * MESSAGES);
        (all_have && databases.iter().all(|it| held(it) > 100)).then_some(())
    });
    begun.expect("not all four get anything");

    brokers[1].kill();
    databases[1].stop();
    gateway.wait_for_log_count("Connection failed", 2, PATIENCE);
    let (stdin, next) = load.stop();
    // What stays has all of it while the others are away.
    let sent = usize::try_from(next - 1).unwrap();
    let is_undelayed = poll(PATIENCE, || {
        (arrived(&taps[0]) == sent * MESSAGES && held(&databases[0]) == sent).then_some(())
    });
    is_undelayed.expect("what stays waits for what fell");
    assert!(arrived(&taps[1]) < sent * MESSAGES);

    let load = Load::start(stdin, next, 200);
    let goes_on = poll(PATIENCE, || (held(&databases[0]) > sent + 50).then_some(()));
    goes_on.expect("the load does not arrive");
    gateway.kill();
    let (_, next) = load.stop();
    brokers[1].start_again();
    databases[1].start_again();
    gateway.start_again();
    gateway.write_stdin(packets(next..=next + 100).as_bytes());
    finish(&mut gateway);
    let journal = crate::crash::journaled(&gateway.folder().join("journal.db"));
    for tap in &taps {
        let tally = Tally::of_acknowledged(&tap.record().sessions());
        tally.assert_complete("MQTT", journal.keys().copied());
    }
    for database in &databases {
        // Each once, at its time.
        assert_same_as_journal(database, &gateway);
    }
}

/// The topics of readings that arrived.
fn topics(broker: &ContractBroker) -> Vec<&'static str> {
    let sessions = broker.record().sessions();
    let publishes = || sessions.iter().flat_map(|session| &session.publishes);
    let arrived = |topic: &&str| publishes().any(|it| it.topic == format!("iiot/{topic}"));
    TOPICS.into_iter().filter(arrived).collect()
}

/// How far every sink is.
fn acknowledged(folder: &Path) -> Vec<(String, u64)> {
    let archive = Archive::open(&folder.join("journal.db")).unwrap();
    let sinks = archive.acknowledged().into_iter();
    sinks.map(|(sink, end)| (sink, end.sequence)).collect()
}

#[test]
fn each_gets_what_is_chosen_for_it() {
    let brokers: [ContractBroker; 3] = std::array::from_fn(|_| ContractBroker::start());
    let server = ContractServer::start();
    let mut gateway = Fieldgate::new(&config(&[
        broker("first", &brokers[0].url(), "only = [\"node1/*\"]"),
        broker(
            "second",
            &brokers[1].url(),
            "not = [\"node1/*\", \"stats/*\"]",
        ),
        broker("nothing", &brokers[2].url(), "only = [\"attic/*\"]"),
        database("influxdb", &server, "only = [\"*/pressure\"]"),
    ]))
    .start();
    gateway.wait_for_log_count("Connected.", 4, PATIENCE);
    // More than any of them may have in hand, had it to acknowledge what it does not get.
    gateway.write_stdin(packets(1..=3_000).as_bytes());
    server.wait_for_points(3_000, PATIENCE);
    finish(&mut gateway);
    assert_eq!(topics(&brokers[0]), TOPICS[..3]);
    assert_eq!(topics(&brokers[1]), ["node2/pressure"]);
    assert_eq!(topics(&brokers[2]), [""; 0]);
    assert_eq!(readings(&brokers[1]).distinct(), 3_000);
    assert!(
        server
            .points()
            .iter()
            .all(|it| it.measurement == "pressure")
    );
    // The statuses of nodes go where their readings do.
    let says = |broker: &ContractBroker, topic: &str| {
        let sessions = broker.record().sessions();
        let mut publishes = sessions.iter().flat_map(|session| &session.publishes);
        publishes.any(|it| it.topic == topic)
    };
    assert!(says(&brokers[0], "iiot/node1/status") && !says(&brokers[0], "iiot/node2/status"));
    let ends = acknowledged(gateway.folder());
    assert_eq!(ends.len(), 4);
    assert!(ends.iter().all(|(_, end)| *end == 3_000), "{ends:?}");
}

/// Gives a gateway other sinks while it runs; returns what it says of that.
fn reload(gateway: &mut Fieldgate, sinks: &[String], count: usize) {
    gateway.write_file("config.toml", &config(sinks));
    gateway.signal(Signal::SIGHUP);
    gateway.wait_for_log_count("The configuration was read again.", count, PATIENCE);
}

#[test]
fn sinks_come_change_and_go_while_the_gateway_runs() {
    let [stays, oldest, new] = std::array::from_fn(|_| ContractBroker::start());
    let first = broker("mqtt", &stays.url(), "");
    let mut gateway = Fieldgate::new(&config(slice::from_ref(&first))).start();
    gateway.write_stdin(packets(1..=10).as_bytes());
    wait_for_readings(&stays, 10 * MESSAGES);

    let of_oldest = broker("oldest", &oldest.url(), "begin = \"oldest\"");
    let of_new = broker("new", &new.url(), "");
    reload(
        &mut gateway,
        &[first.clone(), of_oldest.clone(), of_new.clone()],
        1,
    );
    gateway.write_stdin(packets(11..=20).as_bytes());
    wait_for_readings(&oldest, 20 * MESSAGES);
    wait_for_readings(&new, 10 * MESSAGES);

    // One goes, another changes.
    let changed = broker("oldest", &oldest.url(), "topic_prefix = \"other\"");
    reload(&mut gateway, &[first.clone(), changed.clone()], 2);
    gateway.write_stdin(packets(21..=30).as_bytes());
    wait_for_readings(&oldest, 30 * MESSAGES);
    let ends = acknowledged(gateway.folder());
    assert!(ends.iter().all(|(sink, _)| sink != "mqtt new"), "{ends:?}");

    // It comes back, and goes on where it was.
    reload(&mut gateway, &[first, changed, of_new], 3);
    gateway.write_stdin(packets(31..=40).as_bytes());
    finish(&mut gateway);
    readings(&new).assert_complete("the one that came and went", 11..=40);
    readings(&oldest).assert_complete("the one that began with the oldest", 1..=40);
    readings(&stays).assert_complete("the one that stayed", 1..=40);
    assert_eq!(stays.record().sessions().len(), 1);
    assert_eq!(oldest.record().sessions().len(), 2);
}

fn forget(folder: &Path, sink: &str) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_fieldgate"))
        .args(["forget", "--sink", sink, "--config", "config.toml"])
        .current_dir(folder)
        .env("HOME", folder)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[test]
fn a_sink_that_is_forgotten_is_a_new_one() {
    let [stays, goes] = std::array::from_fn(|_| ContractBroker::start());
    let (first, second) = (
        broker("mqtt", &stays.url(), ""),
        broker("cloud", &goes.url(), ""),
    );
    let mut gateway = Fieldgate::new(&config(&[first.clone(), second.clone()])).start();
    gateway.write_stdin(packets(1..=10).as_bytes());
    wait_for_readings(&goes, 10 * MESSAGES);
    let (is_done, text) = forget(gateway.folder(), "cloud");
    assert!(
        !is_done && text.contains("mqtt cloud is configured"),
        "{text}"
    );
    // Not read by the gateway yet.
    gateway.write_file("config.toml", &config(slice::from_ref(&first)));
    let (is_done, text) = forget(gateway.folder(), "cloud");
    assert!(
        !is_done && text.contains("the gateway that runs delivers to cloud"),
        "{text}"
    );
    reload(&mut gateway, slice::from_ref(&first), 1);
    gateway.write_stdin(packets(11..=20).as_bytes());
    wait_for_readings(&stays, 20 * MESSAGES);
    let (is_done, text) = forget(gateway.folder(), "cloud");
    assert!(is_done, "{text}");
    let (is_done, text) = forget(gateway.folder(), "cloud");
    assert!(
        !is_done && text.contains("nothing is known of cloud, but of mqtt"),
        "{text}"
    );
    reload(&mut gateway, &[first, second], 2);
    gateway.write_stdin(packets(21..=30).as_bytes());
    finish(&mut gateway);
    let numbers = (1..=10).chain(21..=30);
    readings(&goes).assert_complete("the one that was forgotten", numbers);
    readings(&stays).assert_complete("the other one", 1..=30);
}
