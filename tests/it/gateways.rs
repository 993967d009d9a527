//! Several gateways on one broker, told apart by their names.

use std::collections::BTreeMap;

use crate::support::numbered::ANY_VALUE;
use crate::support::{
    ContractServer, Fieldgate, Mosquitto, MosquittoOptions, PATIENCE, Signal, Subscriber,
    SubscriberOptions, TOPICS, by_topic, is_of_gateway, packets,
};

const GATEWAYS: u64 = 20;
const PACKETS: u64 = 50;

fn config(broker: &Mosquitto, rest: &str) -> String {
    format!(
        "{rest}\n[source]\nkind = \"stdin\"\n\
         [mqtt]\nbroker_url = \"{}\"\ntopic_prefix = \"iiot/{{gateway}}\"\n{ANY_VALUE}",
        broker.url()
    )
}

#[test]
fn twenty_gateways_share_a_broker_and_nothing_else() {
    let broker = Mosquitto::start();
    let subscriber = Subscriber::start(broker.port(), "#");
    let mut gateways = Vec::new();
    for number in 1..=GATEWAYS {
        let name = format!("gateway = \"hall-{number}\"");
        gateways.push(Fieldgate::new(&config(&broker, &name)).start());
    }
    let count = |payload: &'static str, wanted: u64| {
        subscriber.wait_until(payload, PATIENCE * 3, |messages| {
            let of_gateway = messages
                .iter()
                .filter(|it| it.topic.ends_with("/gateway/status"));
            let told = of_gateway.filter(|it| it.payload == payload).count();
            told as u64 >= wanted
        })
    };
    // All of them at the same time: none takes another one's place.
    let told = count("online", GATEWAYS);
    let mut told = told
        .iter()
        .filter(|it| it.topic.ends_with("/gateway/status"));
    assert!(told.all(|message| message.payload == "online"));

    // Every packet of all gateways has a number of its own.
    let mut expected = BTreeMap::new();
    for (gateway, number) in gateways.iter_mut().zip(1..) {
        let numbers = number * 1_000 + 1..=number * 1_000 + PACKETS;
        gateway.write_stdin(packets(numbers.clone()).as_bytes());
        let payloads: Vec<String> = numbers.map(|it| it.to_string()).collect();
        for topic in TOPICS {
            expected.insert(format!("iiot/hall-{number}/{topic}"), payloads.clone());
        }
        let status = ["online", "offline"].map(str::to_owned).to_vec();
        expected.insert(format!("iiot/hall-{number}/gateway/status"), status);
    }
    for gateway in &mut gateways {
        gateway.close_stdin();
    }
    for gateway in &mut gateways {
        assert!(gateway.wait_exit(PATIENCE * 3).success());
    }
    let arrived = by_topic(count("offline", GATEWAYS));
    for (topic, payloads) in &expected {
        let arrived = arrived.get(topic).into_iter().flatten();
        let arrived: Vec<&str> = arrived.map(|message| message.payload.as_str()).collect();
        assert_eq!(&arrived, payloads, "{topic}");
    }
    let is_expected = |topic: &&String| expected.contains_key(*topic) || is_of_gateway(topic);
    assert!(
        arrived.keys().all(|it| is_expected(&it)),
        "{:?}",
        arrived.keys()
    );
}

#[test]
fn a_broker_can_keep_gateways_to_their_own_topics() {
    let broker = Mosquitto::start_with(&MosquittoOptions {
        users: vec![("hall-1", "1"), ("hall-2", "2"), ("watcher", "3")],
        acl: Some("user watcher\ntopic read #\n\npattern readwrite iiot/%u/#\n"),
        ..MosquittoOptions::default()
    });
    let options = SubscriberOptions {
        user: Some(("watcher", "3")),
        ..SubscriberOptions::default()
    };
    let subscriber = Subscriber::start_with(broker.port(), "#", &options);
    let start = |user: &str, number| {
        let mut gateway = Fieldgate::new(&config(&broker, "gateway = \"hall-1\""))
            .env("FIELDGATE_MQTT_CLIENT_ID", user)
            .env("FIELDGATE_MQTT_USERNAME", user)
            .env("MQTT_PASSWORD", &user["hall-".len()..])
            .start();
        gateway.write_stdin(packets(number..=number).as_bytes());
        gateway.close_stdin();
        gateway
    };
    // Mosquitto 2.0.11 ends its connection; others take its messages and throw them away.
    let mut intruder = start("hall-2", 666);
    intruder.wait_for_log("Connected.", PATIENCE);
    let mut gateway = start("hall-1", 1);
    assert!(gateway.wait_exit(PATIENCE).success());
    let messages = subscriber.wait_until("a clean stop", PATIENCE, |messages| {
        messages.iter().any(|message| message.payload == "offline")
    });
    let readings = messages.iter().filter(|it| !it.is_of_gateway());
    assert_eq!(readings.count(), TOPICS.len(), "{messages:?}");
    assert!(messages.iter().all(|message| message.payload != "666"));
}

#[test]
fn a_name_reaches_both_servers_and_can_change_while_the_gateway_runs() {
    let broker = Mosquitto::start();
    let server = ContractServer::start();
    let config = |name: &str| {
        let text = config(&broker, &format!("gateway = \"{name}\""));
        let (url, org) = (server.url(), ContractServer::ORG);
        let (bucket, token) = (ContractServer::BUCKET, ContractServer::TOKEN);
        format!(
            "{text}[influxdb]\nurl = \"{url}\"\norg = \"{org}\"\nbucket = \"{bucket}\"\n\
             token = \"{token}\"\nflush_interval = \"10ms\"\n[telemetry]\nclock_tolerance = \"1h\"\n"
        )
    };
    let subscriber = Subscriber::start(broker.port(), "iiot/#");
    let mut gateway = Fieldgate::new(&config("hall 1")).start();
    gateway.write_stdin(packets(1..=1).as_bytes());
    server.wait_for_points(TOPICS.len(), PATIENCE);
    subscriber.wait_until("all readings", PATIENCE, |messages| {
        let readings = messages.iter().filter(|it| !it.is_of_gateway());
        readings.count() >= TOPICS.len()
    });

    gateway.write_file("config.toml", &config("hall 2"));
    gateway.signal(Signal::SIGHUP);
    let line = gateway.wait_for_log("The configuration was read again", PATIENCE);
    assert!(line.contains("changed=\"mqtt, influxdb\""), "{line}");
    assert!(line.contains("need_restart=\"nothing\""), "{line}");
    gateway.write_stdin(packets(2..=2).as_bytes());
    gateway.close_stdin();
    assert!(gateway.wait_exit(PATIENCE).success());

    for point in server.wait_for_points(2 * TOPICS.len(), PATIENCE) {
        let expected = if point.value < 1.5 {
            "hall 1"
        } else {
            "hall 2"
        };
        assert_eq!(point.tags["gateway"], expected, "{point:?}");
    }
    let messages = by_topic(subscriber.messages());
    for (name, number) in [("hall 1", "1"), ("hall 2", "2")] {
        for topic in TOPICS {
            let messages = &messages[&format!("iiot/{name}/{topic}")];
            assert_eq!(messages.len(), 1, "{messages:?}");
            assert_eq!(messages[0].payload, number);
        }
    }
    let of_readings = messages.keys().filter(|topic| !is_of_gateway(topic));
    assert_eq!(of_readings.count(), 2 * TOPICS.len());
}
