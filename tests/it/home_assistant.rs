//! What Home Assistant is told, as a broker retains it.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use crate::support::{
    Fieldgate, Message, Mosquitto, MosquittoOptions, PATIENCE, Signal, Subscriber, TOPICS, Tally,
    Tap, packets, poll,
};

const FIRST: &str = r#"{"ts":12000,"id":"N2","n1":{"t":27.6,"h":54.1,"g":84190},"n2":{"p":1013.25},"sig":{"rssi":-39,"snr":13},"sts":{"rx":1,"err":0}}"#;

/// Names that nobody knows are delivered once they have come in three packets.
const NEW_NODE: &str = r#"{"ts":13000,"id":"N2","n3":{"t":20.5,"co2":417}}
{"ts":13100,"id":"N2","n3":{"t":20.5,"co2":417}}
{"ts":13200,"id":"N2","n3":{"t":20.5,"co2":417}}"#;

const OF_FIRST: [&str; 9] = [
    "status",
    "node1_temperature",
    "node1_humidity",
    "node1_gas_resistance",
    "node2_pressure",
    "signal_rssi",
    "signal_snr",
    "stats_packets_received",
    "stats_crc_errors",
];

fn config(broker_url: &str, gateway: &str, home_assistant: &str) -> String {
    format!(
        "gateway = \"{gateway}\"\n[source]\nkind = \"stdin\"\n\
         [mqtt]\nbroker_url = \"{broker_url}\"\ntopic_prefix = \"iiot/{{gateway}}\"\n\
         {home_assistant}\n[telemetry]\nclock_tolerance = \"1h\"\nmetrics.t.range = 'any'\nmetrics.h.range = 'any'\nmetrics.p.range = 'any'\nnodes.n3 = \"n_1\"\n"
    )
}

/// What the broker tells somebody who comes when so many topics are there; it is all that there is.
fn retained(broker: &Mosquitto, filter: &str, count: usize) -> Vec<Message> {
    const MARKER: &str = "homeassistant/end";
    let now = Subscriber::start(broker.port(), filter);
    now.wait_until(&format!("{count} topics"), PATIENCE, |messages| {
        // What is given up is none.
        let there = messages.iter().filter(|it| !it.payload.is_empty());
        let topics: BTreeSet<&str> = there.map(|it| it.topic.as_str()).collect();
        topics.len() >= count
    });
    let late = Subscriber::start(broker.port(), filter);
    // It comes behind everything that was retained when the subscription was confirmed.
    let published = Command::new("mosquitto_pub")
        .args(["-h", "127.0.0.1", "-p", &broker.port().to_string()])
        .args(["-t", MARKER, "-n", "-q", "1"])
        .status();
    assert!(published.unwrap().success());
    let mut messages = late.wait_until("end", PATIENCE, |messages| {
        messages.iter().any(|message| message.topic == MARKER)
    });
    messages.retain(|message| message.retained);
    messages
}

fn topics(gateway: &str, objects: &[&str]) -> BTreeSet<String> {
    let topic = |object: &&str| {
        let component = match *object {
            "status" => "binary_sensor",
            _ => "sensor",
        };
        format!("homeassistant/{component}/{gateway}/{object}/config")
    };
    let sensors = objects.iter().map(topic);
    // What is wrong is a sensor of another kind, beside that of the gateway itself.
    let is_of_gateway = objects.contains(&"status");
    let problems = format!("homeassistant/binary_sensor/{gateway}/problems/config");
    sensors.chain(is_of_gateway.then_some(problems)).collect()
}

/// Everything that is retained for Home Assistant, by topic, once it is there.
fn announced(broker: &Mosquitto, expected: &BTreeSet<String>) -> BTreeMap<String, Value> {
    let messages = retained(broker, "homeassistant/#", expected.len());
    let sensors: BTreeMap<String, Value> = messages
        .into_iter()
        .map(|it| {
            assert_eq!(it.qos, 1, "{it:?}");
            (it.topic, serde_json::from_str(&it.payload).unwrap())
        })
        .collect();
    assert!(sensors.keys().eq(expected), "{:?}", sensors.keys());
    sensors
}

fn list<'a>(value: &'a Value, at: &str) -> Vec<&'a str> {
    let list = value.pointer(at).and_then(Value::as_array).expect(at);
    list.iter().map(|it| it.as_str().unwrap()).collect()
}

/// Fails unless Home Assistant takes the message, by what it publishes of its fields.
fn assert_allowed(topic: &str, sensor: &Value, devices: &BTreeSet<&str>) {
    if topic.ends_with("/problems/config") {
        assert_eq!(sensor["device_class"], "problem", "{topic}");
        return;
    }
    if topic.starts_with("homeassistant/binary_sensor/") {
        assert_eq!(sensor["device_class"], "connectivity", "{topic}");
        assert_eq!(sensor["payload_on"], "online", "{topic}");
        assert_eq!(sensor["payload_off"], "offline", "{topic}");
        return;
    }
    let text = std::fs::read_to_string("tests/data/home-assistant.json").unwrap();
    let table: Value = serde_json::from_str(&text).unwrap();
    let mut needed = list(&table, "/fields/required");
    needed.extend(list(&table, "/fields/required_by_discovery"));
    for field in &needed {
        assert!(!sensor[field].is_null(), "{topic} has no {field}");
    }
    let only = |value: &Value, allowed: &[&str]| {
        for key in value.as_object().unwrap().keys() {
            assert!(allowed.contains(&key.as_str()), "{topic}: {key}");
        }
    };
    only(sensor, &[needed, list(&table, "/fields/optional")].concat());
    only(&sensor["device"], &list(&table, "/device"));
    let origin = [
        list(&table, "/origin/required"),
        list(&table, "/origin/optional"),
    ];
    only(&sensor["origin"], &origin.concat());
    assert_eq!(sensor["origin"]["name"], "fieldgate");

    let one_of = |field: &str, allowed: &[&str]| {
        let value = sensor[field].as_str();
        assert!(
            value.is_none_or(|it| allowed.contains(&it)),
            "{topic}: {value:?}"
        );
    };
    one_of("entity_category", &list(&table, "/entity_categories"));
    one_of("state_class", &list(&table, "/state_classes"));
    if let Some(class) = sensor["device_class"].as_str() {
        let class = &table["device_classes"][class];
        let units = class["units"].as_array().expect(topic);
        assert!(units.contains(&sensor["unit_of_measurement"]), "{topic}");
        one_of("state_class", &list(class, "/state_classes"));
        let is_enum = sensor["device_class"] == "enum";
        assert_eq!(sensor["options"].is_array(), is_enum, "{topic}");
    }
    let identifiers = list(sensor, "/device/identifiers");
    assert!(!identifiers.is_empty(), "{topic}");
    if let Some(via) = sensor["device"]["via_device"].as_str() {
        assert!(devices.contains(via), "{topic}: nobody announces {via}");
    }
    let expires = &sensor["expire_after"];
    assert!(expires.is_null() || expires.as_u64() > Some(0), "{topic}");
    // The characters that Home Assistant finds in the levels of a discovery topic.
    let levels: Vec<&str> = topic.split('/').collect();
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    assert!(
        levels[2..4]
            .iter()
            .all(|level| level.chars().all(is_allowed))
    );
    assert_eq!(levels.len(), 5, "{topic}");
}

fn assert_all_allowed(sensors: &BTreeMap<String, Value>) {
    let devices: BTreeSet<&str> = sensors
        .values()
        .flat_map(|sensor| list(sensor, "/device/identifiers"))
        .collect();
    let unique: BTreeSet<&str> = sensors
        .values()
        .map(|sensor| sensor["unique_id"].as_str().unwrap())
        .collect();
    assert_eq!(unique.len(), sensors.len(), "an identifier is not unique");
    for (topic, sensor) in sensors {
        assert_allowed(topic, sensor, &devices);
    }
}

#[test]
fn every_sensor_is_announced_where_its_readings_are() {
    let broker = Mosquitto::start();
    let subscriber = Subscriber::start(broker.port(), "iiot/#");
    let config = config(
        &broker.url(),
        "hall",
        "payload = \"json\"\n[mqtt.home_assistant]\nenabled = true\nexpire_after = \"10m\"",
    );
    let mut gateway = Fieldgate::new(&config).start();
    // The gateway is there before anything is measured.
    announced(&broker, &topics("hall", &["status"]));
    gateway.write_stdin(format!("{FIRST}\n").as_bytes());
    let first = topics("hall", &OF_FIRST);
    let sensors = announced(&broker, &first);
    assert_all_allowed(&sensors);
    let sensor = |object: &str| &sensors[&format!("homeassistant/sensor/hall/{object}/config")];
    for (object, class, unit) in [
        ("node1_temperature", Some("temperature"), Some("°C")),
        ("node1_humidity", Some("humidity"), Some("%")),
        ("node1_gas_resistance", None, Some("Ω")),
        ("node2_pressure", Some("atmospheric_pressure"), Some("hPa")),
        ("signal_rssi", Some("signal_strength"), Some("dBm")),
        ("signal_snr", Some("signal_strength"), Some("dB")),
        ("stats_crc_errors", None, None),
    ] {
        let sensor = sensor(object);
        assert_eq!(sensor["device_class"].as_str(), class, "{object}");
        assert_eq!(sensor["unit_of_measurement"].as_str(), unit, "{object}");
        assert_eq!(sensor["expire_after"], 600, "{object}");
        assert_eq!(sensor["value_template"], "{{ value_json.value }}");
        let is_of_board = !object.starts_with("node");
        if is_of_board {
            assert_eq!(sensor["availability_topic"], "iiot/hall/gateway/status");
        } else {
            let node = object.split('_').next().unwrap();
            let topics = [0, 1].map(|it| sensor["availability"][it]["topic"].clone());
            let of_node = format!("iiot/hall/{node}/status");
            assert_eq!(topics, ["iiot/hall/gateway/status", &of_node], "{object}");
            assert_eq!(sensor["availability_mode"], "all");
        }
        assert_eq!(sensor["entity_category"] == "diagnostic", is_of_board);
        let device = if is_of_board {
            "fieldgate_hall"
        } else {
            "fieldgate_hall_node"
        };
        let identifier = list(sensor, "/device/identifiers")[0];
        assert!(identifier.starts_with(device), "{object}: {identifier}");
    }

    // Every state topic carries a value, and every reading has a sensor.
    let states = sensors
        .values()
        .map(|it| it["state_topic"].as_str().unwrap());
    let states: BTreeSet<&str> = states.collect();
    let messages = subscriber.wait_until("all states", PATIENCE, |messages| {
        let has = |state: &&str| messages.iter().any(|it| it.topic == **state);
        states.iter().all(has)
            && ["node1", "node2"]
                .iter()
                .all(|node| has(&&*format!("iiot/hall/{node}/status")))
    });
    let published: BTreeSet<&str> = messages.iter().map(|it| it.topic.as_str()).collect();
    let of_nodes = ["iiot/hall/node1/status", "iiot/hall/node2/status"];
    assert_eq!(
        states
            .iter()
            .copied()
            .chain(of_nodes)
            .collect::<BTreeSet<_>>(),
        published
    );

    // A node that comes later.
    gateway.write_stdin(format!("{NEW_NODE}\n").as_bytes());
    let later = topics("hall", &["node3_temperature", "node3_co2"]);
    let sensors = announced(&broker, &first.union(&later).cloned().collect());
    assert_all_allowed(&sensors);
    // It is known by its key on the wire, and shown under its name.
    let sensor = &sensors["homeassistant/sensor/hall/node3_co2/config"];
    assert_eq!(sensor["unique_id"], "fieldgate_hall_node3_co2");
    assert_eq!(sensor["state_topic"], "iiot/hall/n_1/co2");
    assert_eq!(sensor["device"]["name"], "hall n_1");
    gateway.close_stdin();
    assert!(gateway.wait_exit(PATIENCE).success());
}

#[test]
fn what_was_announced_is_removed_again_and_nothing_else() {
    let broker = Mosquitto::start();
    let url = broker.url();
    let mut other = Fieldgate::new(&config(&url, "hall2", "[mqtt.home_assistant]")).start();
    let mut gateway = Fieldgate::new(&config(&url, "hall", "[mqtt.home_assistant]")).start();
    for gateway in [&mut other, &mut gateway] {
        gateway.write_stdin(format!("{FIRST}\n").as_bytes());
    }
    let (own, others) = (topics("hall", &OF_FIRST), topics("hall2", &OF_FIRST));
    announced(&broker, &own.union(&others).cloned().collect());

    // Without the section nothing changes.
    gateway.write_file("config.toml", &config(&url, "hall", ""));
    gateway.signal(Signal::SIGHUP);
    gateway.wait_for_log("changed=\"mqtt\"", PATIENCE);
    gateway.write_stdin(format!("{FIRST}\n").as_bytes());
    gateway.wait_for_log_count("Connected.", 2, PATIENCE);
    announced(&broker, &own.union(&others).cloned().collect());

    let disabled = "[mqtt.home_assistant]\nenabled = false";
    gateway.write_file("config.toml", &config(&url, "hall", disabled));
    gateway.signal(Signal::SIGHUP);
    let line = gateway.wait_for_log("Removed sensors from Home Assistant.", PATIENCE);
    assert!(
        line.contains(&format!("removed={}", OF_FIRST.len() + 1)),
        "{line}"
    );
    announced(&broker, &others);

    // Readings go on.
    let subscriber = Subscriber::start(broker.port(), "iiot/hall/node9/#");
    for time in [14_000, 14_100, 14_200] {
        let packet = format!("{{\"ts\":{time},\"id\":\"N2\",\"n9\":{{\"t\":1}}}}\n");
        gateway.write_stdin(packet.as_bytes());
    }
    subscriber.wait_for_count(1, PATIENCE);
    announced(&broker, &others);
    for gateway in [&mut other, &mut gateway] {
        gateway.close_stdin();
        assert!(gateway.wait_exit(PATIENCE).success());
    }
}

#[test]
fn what_a_broker_does_not_send_is_removed_by_the_names_in_the_journal() {
    // It grants the subscription, and sends nothing.
    let broker = Mosquitto::start_with_config(|port, folder| {
        let rules = format!("{folder}/acl");
        let text =
            "topic readwrite #\nuser gateway\ntopic write homeassistant/#\ntopic write iiot/#\n";
        std::fs::write(&rules, text).unwrap();
        format!("listener {port} 127.0.0.1\nallow_anonymous true\nacl_file {rules}\n")
    });
    let text = |enabled: bool| {
        let more = format!("username = \"gateway\"\n[mqtt.home_assistant]\nenabled = {enabled}");
        config(&broker.url(), "hall", &more) + "[journal]\npath = \"journal.db\"\n"
    };
    let mut gateway = Fieldgate::new(&text(true)).start();
    for time in [14_000, 14_100, 14_200] {
        let packet = FIRST.replace("12000", &time.to_string());
        gateway.write_stdin(format!("{packet}\n").as_bytes());
    }
    announced(&broker, &topics("hall", &OF_FIRST));
    gateway.close_stdin();
    assert!(gateway.wait_exit(PATIENCE).success());
    gateway.write_file("config.toml", &text(false));
    gateway.start_again();
    let words = "The broker sends nothing that Home Assistant was told";
    let line = gateway.wait_for_log(words, PATIENCE);
    assert!(line.contains("removed=10"), "{line}");
    announced(&broker, &BTreeSet::new());
    gateway.close_stdin();
    assert!(gateway.wait_exit(PATIENCE).success());
}

#[test]
fn what_is_not_announced_any_more_is_taken_back() {
    let broker = Mosquitto::start();
    let text = |place: &str, chosen: &str| {
        let text = config(
            &broker.url(),
            "hall",
            &format!("{chosen}\n[mqtt.home_assistant]"),
        );
        text.replace("iiot/{gateway}", &format!("iiot{place}"))
    };
    let of_source = OF_FIRST[1..]
        .iter()
        .map(|object| format!("source_{object}"));
    let of_source: Vec<String> = of_source.collect();
    let of_source: Vec<&str> = of_source.iter().map(String::as_str).collect();
    let mut gateway = Fieldgate::new(&text("/{source}", "")).start();
    let steps = [
        ("/{source}", "", of_source.clone()),
        // The source leaves the topics, and a node what is chosen.
        (
            "",
            "not = [\"node2/*\", \"signal/*\"]",
            [&OF_FIRST[1..4], &OF_FIRST[7..]].concat(),
        ),
        ("", "", OF_FIRST[1..].to_vec()),
        ("/{source}", "only = [\"node1/*\"]", of_source[..3].to_vec()),
    ];
    for (number, (place, chosen, objects)) in steps.into_iter().enumerate() {
        if number > 0 {
            gateway.write_file("config.toml", &text(place, chosen));
            gateway.signal(Signal::SIGHUP);
            gateway.wait_for_log_count("changed=\"mqtt\"", number, PATIENCE);
        }
        for packet in 0..3 {
            let time = 12_000 + 1_000 * number + 100 * packet;
            let packet = FIRST.replace("12000", &time.to_string());
            gateway.write_stdin(format!("{packet}\n").as_bytes());
        }
        let expected = topics("hall", &[&["status"][..], &objects].concat());
        let mut held = BTreeSet::new();
        poll(PATIENCE, || {
            let messages = retained(&broker, "homeassistant/#", 0);
            held = messages.into_iter().map(|it| it.topic).collect();
            (held == expected).then_some(())
        })
        .unwrap_or_else(|| panic!("{place} {chosen}: {held:?}"));
    }
    gateway.close_stdin();
    assert!(gateway.wait_exit(PATIENCE).success());
}

#[test]
fn a_source_that_goes_takes_its_devices_with_it() {
    let broker = Mosquitto::start();
    let text = |sources: &[&str]| {
        let sources = sources.iter().map(|name| {
            format!("[[source]]\nname = \"{name}\"\nkind = \"simulator\"\nnodes = 1\nrate = 20.0\n")
        });
        let sources: String = sources.collect();
        format!(
            "gateway = \"hall\"\n{sources}[mqtt]\nbroker_url = \"{}\"\n\
             topic_prefix = \"iiot/{{source}}\"\n[mqtt.home_assistant]\n",
            broker.url()
        )
    };
    let both = ["north", "south"];
    let mut gateway = Fieldgate::new(&text(&both)).start();
    for (number, sources) in [&both[..], &both[..1], &both].into_iter().enumerate() {
        if number > 0 {
            gateway.write_file("config.toml", &text(sources));
            gateway.signal(Signal::SIGHUP);
            gateway.wait_for_log_count("The configuration was read again.", number, PATIENCE);
        }
        // By then the journal knows their names.
        for source in sources {
            let counts = format!("iiot/{source}/stats/packets_received");
            Subscriber::start(broker.port(), &counts).wait_for_count(10, PATIENCE);
        }
        let mut held = BTreeSet::new();
        poll(PATIENCE, || {
            let messages = retained(&broker, "homeassistant/#", 0);
            let source = |it: Message| {
                let object = it.topic.strip_prefix("homeassistant/sensor/hall/")?;
                object.split('_').next().map(str::to_owned)
            };
            held = messages.into_iter().filter_map(source).collect();
            held.iter().eq(sources).then_some(())
        })
        .unwrap_or_else(|| panic!("{sources:?}: {held:?}"));
    }
    gateway.signal(Signal::SIGTERM);
    assert!(gateway.wait_exit(PATIENCE).success());
}

#[test]
fn a_broker_that_forgot_everything_is_told_again() {
    let mut broker = Mosquitto::start();
    let mut gateway =
        Fieldgate::new(&config(&broker.url(), "hall", "[mqtt.home_assistant]")).start();
    gateway.write_stdin(format!("{FIRST}\n").as_bytes());
    let expected = topics("hall", &OF_FIRST);
    announced(&broker, &expected);
    broker.restart();
    // Nothing is measured meanwhile.
    announced(&broker, &expected);
    gateway.close_stdin();
    assert!(gateway.wait_exit(PATIENCE).success());
}

#[test]
fn everything_is_said_again_when_home_assistant_starts() {
    let broker = Mosquitto::start();
    let mut gateway =
        Fieldgate::new(&config(&broker.url(), "hall", "[mqtt.home_assistant]")).start();
    gateway.write_stdin(format!("{FIRST}\n").as_bytes());
    announced(&broker, &topics("hall", &OF_FIRST));
    // The board's figures are there for who comes later.
    let figures = Subscriber::start(broker.port(), "iiot/hall/signal/+");
    let figures = figures.wait_for_count(2, PATIENCE);
    assert!(figures.iter().all(|it| it.retained), "{figures:?}");
    let later = Subscriber::start(broker.port(), "homeassistant/+/hall/+/config");
    later.wait_for_count(OF_FIRST.len() + 1, PATIENCE);
    let port = broker.port().to_string();
    let born = ["-h", "127.0.0.1", "-p", &port, "-q", "1"];
    let published = Command::new("mosquitto_pub")
        .args(born)
        .args(["-t", "homeassistant/status", "-m", "online"])
        .status();
    assert!(published.unwrap().success());
    let messages = later.wait_for_count(2 * (OF_FIRST.len() + 1), PATIENCE);
    let again: Vec<_> = messages.iter().filter(|it| !it.retained).collect();
    assert!(
        again[0].topic.ends_with("binary_sensor/hall/status/config"),
        "{again:?}"
    );
    gateway.close_stdin();
    assert!(gateway.wait_exit(PATIENCE).success());
}

#[test]
fn announcements_cost_no_reading_and_no_place_in_the_journal() {
    for (qos, max_inflight) in [(0, 1), (1, 1), (2, 3), (1, 100)] {
        let broker = Mosquitto::start();
        let tap = Tap::start(broker.port());
        let more = format!(
            "qos = {qos}\nmax_inflight = {max_inflight}\n[mqtt.home_assistant]\nenabled = true"
        );
        let config = config(&tap.url(), "hall", &more).replace(
            "topic_prefix = \"iiot/{gateway}\"",
            "topic_prefix = \"iiot\"",
        );
        let mut gateway = Fieldgate::new(&config).start();
        gateway.write_stdin(packets(1..=100).as_bytes());
        gateway.close_stdin();
        let metrics = gateway.wait_for_metrics(PATIENCE);
        let messages = 100.0 * TOPICS.len() as f64;
        let counted = metrics["mqtt_publishes_total{status=\"success\"}"];
        assert!((counted - messages).abs() < 0.5, "QoS {qos}: {counted}");
        assert!(metrics["queue_depth{sink=\"mqtt\"}"] < 0.5, "QoS {qos}");
        let mut sessions = tap.record().sessions();
        for session in &mut sessions {
            session.publishes.retain(|it| it.topic.starts_with("iiot/"));
        }
        let tally = Tally::of_publishes(&sessions);
        tally.assert_complete(&format!("QoS {qos}"), 1..101);
        assert_eq!(tally.duplicates, 0, "QoS {qos}");
        let expected = retained(&broker, "homeassistant/#", 2 + TOPICS.len());
        assert_eq!(expected.len(), 2 + TOPICS.len(), "QoS {qos}");
    }
}

#[test]
fn a_broker_that_does_not_allow_announcements_gets_the_readings() {
    for enabled in [true, false] {
        let broker = Mosquitto::start_with(&MosquittoOptions {
            users: vec![("gateway", "1")],
            acl: Some("user gateway\ntopic readwrite iiot/#\n"),
            ..MosquittoOptions::default()
        });
        let more = format!("username = \"gateway\"\n[mqtt.home_assistant]\nenabled = {enabled}");
        let mut gateway = Fieldgate::new(&config(&broker.url(), "hall", &more))
            .env("MQTT_PASSWORD", "1")
            .start();
        gateway.write_stdin(packets(1..=10).as_bytes());
        gateway.close_stdin();
        let metrics = gateway.wait_for_metrics(PATIENCE);
        assert!(metrics["queue_depth{sink=\"mqtt\"}"] < 0.5, "{metrics:?}");
        // Mosquitto 2.0.11 closes the connection, others throw the announcements away.
        if gateway.count_log("the broker closed the connection") > 0 {
            gateway.logged("topics=\"homeassistant/+/hall/+/config\"");
        }
    }
}
