//! Configuration as it reaches the program that runs.

mod files;

use crate::support::{
    Fieldgate, Mosquitto, MosquittoOptions, PATIENCE, Sample, Subscriber, SubscriberOptions,
    VictoriaMetrics, by_topic,
};

#[test]
fn the_environment_wins_over_the_file_and_a_flag_over_both() {
    let broker = Mosquitto::start_with(&MosquittoOptions {
        users: vec![("gateway", "from the environment"), ("watcher", "other")],
        ..MosquittoOptions::default()
    });
    let options = SubscriberOptions {
        user: Some(("watcher", "other")),
        retain_as_published: true,
        ..SubscriberOptions::default()
    };
    let subscriber = Subscriber::start_with(broker.port(), "#", &options);
    let gateway = || {
        Fieldgate::new(&format!(
            "[source]\nkind = \"file\"\npath = '{}'\nspeed = \"max\"\n\
             [mqtt]\nbroker_url = \"{}\"\nusername = \"gateway\"\npassword = \"of the file\"\n\
             topic_prefix = \"file\"\nqos = 0\n",
            Sample::LiteralNewline.path().display(),
            broker.url(),
        ))
        .env("MQTT_PASSWORD", "from the environment")
        .env("FIELDGATE_MQTT_TOPIC_PREFIX", "environment")
    };
    let mut by_environment = gateway().start();
    by_environment.wait_for_metrics(PATIENCE);
    let mut by_flag = gateway()
        .arg("--set")
        .arg("mqtt.topic_prefix=flag/level")
        .arg("--set=mqtt.qos=2")
        .start();
    by_flag.wait_for_metrics(PATIENCE);

    let readings = Sample::LiteralNewline.readings();
    let messages = subscriber.wait_until("all readings", PATIENCE, |messages| {
        let readings_of = messages.iter().filter(|it| !it.is_of_gateway());
        readings_of.count() >= 2 * readings.len()
    });
    let expected = [("environment", 0), ("flag/level", 2)]
        .into_iter()
        .flat_map(|(prefix, qos)| readings.iter().map(move |it| it.message(prefix, qos)));
    let arrived = messages
        .into_iter()
        .filter(|message| !message.is_of_gateway());
    assert_eq!(by_topic(arrived), by_topic(expected));
    for gateway in [&mut by_environment, &mut by_flag] {
        let printed = [gateway.stdout(), gateway.stderr()].concat().join("\n");
        assert!(!printed.contains("from the environment"), "{printed}");
        assert!(!printed.contains("of the file"), "{printed}");
    }
}

/// Starts a gateway that must refuse, and returns what it says.
fn refusal(gateway: Fieldgate) -> String {
    let mut gateway = gateway.start();
    assert_eq!(gateway.wait_exit(PATIENCE).code(), Some(2));
    assert_eq!(gateway.stdout(), [""; 0]);
    gateway.stderr().join("\n")
}

#[test]
fn a_wrong_configuration_ends_the_gateway_before_it_does_anything() {
    let wrong = Fieldgate::new("[mqtt]\nqos = 3\npassword = \"hunter2\"\n[soruce]\n");
    let folder = wrong.folder().to_owned();
    let mut gateway = wrong.start();
    assert_eq!(gateway.wait_exit(PATIENCE).code(), Some(2));
    let expected = "\
config.toml:1: mqtt.username is missing
  found:   nothing
  allowed: 1 to 65535 bytes of text without control characters and noncharacters
  advice:  MQTT has no password without a user name

config.toml:2: mqtt.qos has a value that is not allowed
  found:   3
  allowed: 0 (at most once), 1 (at least once) or 2 (exactly once)

config.toml:4: [soruce] is not a known section
  found:   soruce
  allowed: shutdown_timeout, gateway, source, mqtt, ";
    let printed = gateway.stderr().join("\n");
    assert!(printed.starts_with(expected), "{printed}");
    assert!(printed.ends_with("did you mean source?"), "{printed}");
    assert_eq!(gateway.stdout(), [""; 0]);
    assert!(!folder.join("fieldgate").exists());
}

#[test]
fn what_cannot_be_used_is_answered_with_what_can() {
    let nothing = refusal(Fieldgate::with_arguments(&["run", "--no-tui"]));
    assert!(nothing.contains("nothing is configured"), "{nothing}");
    assert!(nothing.contains("fieldgate init"), "{nothing}");
    let missing = refusal(Fieldgate::with_arguments(&["--config", "other.toml"]));
    assert!(missing.contains("other.toml"), "{missing}");
    let flag = refusal(Fieldgate::with_arguments(&["--sorce", "stdin"]));
    assert!(flag.contains("--source"), "{flag}");
    let variable = Fieldgate::new("").env("FIELDGATE_MQTT_QOSS", "1");
    let variable = refusal(variable);
    assert!(variable.contains("FIELDGATE_MQTT_QOS?"), "{variable}");
}

#[test]
fn what_an_orchestrator_sets_is_no_configuration() {
    let mut gateway = Fieldgate::new("[source]\nkind = \"stdin\"\n")
        .env("FIELDGATE_SERVICE_HOST", "10.96.0.7")
        .env("FIELDGATE_SERVICE_PORT_HTTP", "8787")
        .env("FIELDGATE_PORT", "tcp://10.96.0.7:8787")
        .env("FIELDGATE_PORT_8787_TCP_ADDR", "10.96.0.7")
        .start();
    gateway.close_stdin();
    assert!(gateway.wait_exit(PATIENCE).success());
    let alone = Fieldgate::with_arguments(&["run"]).env("FIELDGATE_SERVICE_HOST", "10.96.0.7");
    assert!(refusal(alone).contains("nothing is configured"));
}

#[test]
fn the_example_delivers_with_no_more_than_its_addresses_changed() {
    let broker = Mosquitto::start();
    let database = VictoriaMetrics::start();
    let subscriber = Subscriber::start(broker.port(), "iiot/#");
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/config.toml.example");
    let mut gateway = Fieldgate::new(&std::fs::read_to_string(example).unwrap())
        .arg("--source=-")
        .arg(format!("--broker-url={}", broker.url()))
        .arg(format!("--influxdb-url={}", database.url()))
        .start();
    gateway.write_stdin(&std::fs::read(Sample::LiteralNewline.path()).unwrap());
    gateway.close_stdin();
    gateway.wait_for_metrics(PATIENCE);
    let count = Sample::LiteralNewline.readings().len();
    subscriber.wait_for_count(count + 2, PATIENCE);
    database.wait_for_points("{node_id!=\"\"}", count, PATIENCE);
}
