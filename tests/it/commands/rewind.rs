//! `rewind`: what was delivered goes out again, by a gateway that runs and by the next one.

use super::{Ended, about, ended};
use crate::support::{
    Conduct, ContractBroker, Fieldgate, PATIENCE, TcpProxy, VictoriaMetrics, poll,
};

/// A gateway to both servers, fed by standard input.
fn gateway(broker: &ContractBroker, influxdb: &str) -> Fieldgate {
    let config = format!(
        "[source]\nkind = \"stdin\"\n[mqtt]\nbroker_url = \"{}\"\n\
         [influxdb]\nurl = \"{influxdb}\"\nflush_interval = \"10ms\"\n",
        broker.url()
    );
    Fieldgate::new(&config).start()
}

fn send(gateway: &mut Fieldgate, packets: std::ops::Range<u32>) {
    for number in packets {
        let time = number * 1_000;
        let packet = format!("{{\"ts\":{time},\"id\":\"N1\",\"n1\":{{\"t\":{number}.5}}}}\n");
        gateway.write_stdin(packet.as_bytes());
    }
}

fn start(gateway: &Fieldgate, arguments: &[&str]) -> Fieldgate {
    about(gateway, "rewind", arguments).start()
}

fn rewind(gateway: &Fieldgate, arguments: &[&str]) -> Ended {
    ended(start(gateway, arguments))
}

/// What the broker acknowledged, in its order.
fn published(broker: &ContractBroker) -> Vec<String> {
    let sessions = broker.record().sessions();
    let publishes = sessions.iter().flat_map(|session| &session.publishes);
    publishes
        .filter(|publish| publish.acknowledged && publish.topic == "iiot/node1/temperature")
        .map(|publish| publish.payload.clone())
        .collect()
}

fn wait_for_published(broker: &ContractBroker, expected: &[String]) {
    let found = poll(PATIENCE, || (published(broker) == expected).then_some(()));
    found.unwrap_or_else(|| panic!("{:?}, not {expected:?}", published(broker)));
}

fn values(of: std::ops::Range<u32>) -> Vec<String> {
    of.map(|number| format!("{number}.5")).collect()
}

fn points(database: &VictoriaMetrics) -> usize {
    let series = database.export("temperature");
    series.iter().map(|one| one.values.len()).sum()
}

#[test]
fn a_database_set_up_anew_gets_all_that_the_history_has_and_the_broker_nothing() {
    let broker = ContractBroker::start();
    broker.always(Conduct::Serve);
    let database = VictoriaMetrics::start();
    let mut gateway = gateway(&broker, &database.url());
    send(&mut gateway, 1..9);
    database.wait_for_points("temperature", 8, PATIENCE);
    wait_for_published(&broker, &values(1..9));
    database.delete("temperature");
    assert_eq!(points(&database), 0);
    let rewound = rewind(&gateway, &["influxdb", "--to", "oldest"]);
    assert_eq!(rewound.code, Some(0), "{}", rewound.stderr);
    assert!(
        rewound.stdout.contains("8 readings are sent again")
            && rewound.stdout.contains("8 readings were sent again."),
        "{}",
        rewound.stdout
    );
    database.wait_for_points("temperature", 8, PATIENCE);
    // What the database has stays as it is, and new readings come behind.
    let rewound = rewind(&gateway, &["influxdb", "--to", "2h"]);
    assert_eq!(rewound.code, Some(0), "{}", rewound.stderr);
    send(&mut gateway, 9..10);
    database.wait_for_points("temperature", 9, PATIENCE);
    assert_eq!(points(&database), 9);
    wait_for_published(&broker, &values(1..10));
    gateway.close_stdin();
    assert!(gateway.wait_exit(PATIENCE).success());
}

#[test]
fn one_of_several_goes_back_alone_and_sends_what_is_chosen_for_it() {
    let broker = ContractBroker::start();
    broker.always(Conduct::Serve);
    let databases = [VictoriaMetrics::start(), VictoriaMetrics::start()];
    let [attic, cellar] = &databases;
    let mut gateway = Fieldgate::new(&format!(
        "[source]\nkind = \"stdin\"\n[mqtt]\nbroker_url = \"{}\"\n\
         [[influxdb]]\nname = \"attic\"\nurl = \"{}\"\nflush_interval = \"10ms\"\n\
         only = [\"node1/*\"]\n\
         [[influxdb]]\nname = \"cellar\"\nurl = \"{}\"\nflush_interval = \"10ms\"\n",
        broker.url(),
        attic.url(),
        cellar.url(),
    ))
    .start();
    for number in 1..9 {
        let time = number * 1_000;
        let packet = format!(
            "{{\"ts\":{time},\"id\":\"N1\",\"n1\":{{\"t\":{number}.5}},\"n2\":{{\"t\":{number}}}}}\n"
        );
        gateway.write_stdin(packet.as_bytes());
    }
    attic.wait_for_points("temperature", 8, PATIENCE);
    cellar.wait_for_points("temperature", 16, PATIENCE);
    wait_for_published(&broker, &values(1..9));
    for database in &databases {
        database.delete("temperature");
        assert_eq!(points(database), 0);
    }
    for sinks_name in ["attic", "influxdb attic"] {
        let rewound = rewind(&gateway, &[sinks_name, "--to", "oldest"]);
        assert_eq!(rewound.code, Some(0), "{}", rewound.stderr);
    }
    let sent_again = attic.wait_for_points("temperature", 8, PATIENCE);
    assert!(
        sent_again
            .iter()
            .all(|one| one.labels["node_id"] == "node1")
    );
    gateway.close_stdin();
    assert!(gateway.wait_exit(PATIENCE).success());
    assert_eq!((points(attic), points(cellar)), (8, 0));
    assert_eq!(published(&broker), values(1..9));
    // And without a gateway.
    let rewound = rewind(&gateway, &["cellar", "--to", "oldest"]);
    assert_eq!(rewound.code, Some(0), "{}", rewound.stderr);
    gateway.start_again();
    cellar.wait_for_points("temperature", 16, PATIENCE);
    gateway.close_stdin();
    assert!(gateway.wait_exit(PATIENCE).success());
    assert_eq!(published(&broker), values(1..9));
}

#[test]
fn a_gateway_that_does_not_run_sends_again_when_it_starts() {
    let broker = ContractBroker::start();
    broker.always(Conduct::Serve);
    let database = VictoriaMetrics::start();
    let mut gateway = gateway(&broker, &database.url());
    send(&mut gateway, 1..5);
    gateway.close_stdin();
    assert!(gateway.wait_exit(PATIENCE).success());
    let rewound = rewind(&gateway, &["mqtt", "--to", "1h"]);
    assert_eq!(rewound.code, Some(0), "{}", rewound.stderr);
    assert!(
        rewound
            .stdout
            .contains("4 readings are sent again when the gateway starts"),
        "{}",
        rewound.stdout
    );
    gateway.start_again();
    send(&mut gateway, 5..6);
    let all = [values(1..5), values(1..6)].concat();
    wait_for_published(&broker, &all);
    gateway.close_stdin();
    assert!(gateway.wait_exit(PATIENCE).success());
}

#[test]
fn a_command_that_is_interrupted_leaves_nothing_half_done() {
    let broker = ContractBroker::start();
    broker.always(Conduct::Serve);
    let database = VictoriaMetrics::start();
    let proxy = TcpProxy::start(database.port());
    let mut gateway = gateway(&broker, &format!("http://127.0.0.1:{}", proxy.port()));
    send(&mut gateway, 1..9);
    database.wait_for_points("temperature", 8, PATIENCE);
    proxy.refuse();
    proxy.cut();
    let mut command = start(&gateway, &["influxdb", "--to", "oldest"]);
    command.wait_for_log("8 readings are sent again.", PATIENCE);
    command.signal(crate::support::Signal::SIGINT);
    assert!(!command.wait_exit(PATIENCE).success());
    // It stays so, whatever becomes of the gateway.
    gateway.kill();
    proxy.resume();
    gateway.start_again();
    gateway.wait_for_log("waiting=8", PATIENCE);
    gateway.close_stdin();
    let metrics = gateway.wait_for_metrics(PATIENCE);
    assert_eq!(
        metrics["queue_depth{sink=\"influxdb\"}"].to_bits(),
        0.0_f64.to_bits()
    );
    assert_eq!(points(&database), 8);
}

#[test]
fn what_cannot_be_is_said_with_what_can() {
    let broker = ContractBroker::start();
    broker.always(Conduct::Serve);
    let mut gateway = gateway(&broker, "http://127.0.0.1:1");
    send(&mut gateway, 1..3);
    wait_for_published(&broker, &values(1..3));
    for (arguments, words) in [
        (
            &["source", "--to", "2h"][..],
            "source delivers nothing; name mqtt or influxdb",
        ),
        (&["influx", "--to", "2h"], "unknown link `influx`"),
        (
            &["influxdb-2", "--to", "2h"],
            "influxdb-2 is not configured on this gateway",
        ),
        (
            &["mqtt", "--to", "yesterday"],
            "--to \"yesterday\" is no time",
        ),
    ] {
        let wrong = rewind(&gateway, arguments);
        assert_eq!(wrong.code, Some(1));
        assert!(wrong.stderr.contains(words), "{}", wrong.stderr);
    }
    assert_eq!(rewind(&gateway, &["mqtt"]).code, Some(2));
}
