//! Every reading of a recording arrives at the broker and in the database as it should.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::support::{
    ContractServer, Fieldgate, Message, Mosquitto, MosquittoOptions, PATIENCE, Reading, Sample,
    Subscriber, SubscriberOptions, VictoriaMetrics, by_topic, poll,
};

const STATUS: &str = "iiot/gateway/status";

fn is_reading(message: &Message) -> bool {
    !message.is_of_gateway()
}

fn status(payload: &str) -> Message {
    Message {
        topic: STATUS.into(),
        payload: payload.into(),
        qos: 1,
        retained: true,
    }
}

/// The last message of each retained topic, as a late subscriber sees it.
fn last_values(readings: &[Reading], qos: u8) -> BTreeMap<String, String> {
    let of_sensors = readings.iter().filter(|reading| reading.is_of_a_sensor());
    of_sensors
        .map(|reading| reading.message("iiot", qos))
        .map(|message| (message.topic, message.payload))
        .collect()
}

fn arrives_with(qos: u8, protocol: u8) {
    let broker = Mosquitto::start();
    let options = SubscriberOptions {
        retain_as_published: true,
        ..SubscriberOptions::default()
    };
    let subscriber = Subscriber::start_with(broker.port(), "iiot/#", &options);
    let mut gateway = Fieldgate::new(&format!(
        "[source]\nkind = \"file\"\npath = '{}'\nspeed = \"max\"\n\
         [mqtt]\nbroker_url = \"{}\"\nqos = {qos}\nprotocol = {protocol}\n",
        Sample::Clean.path().display(),
        broker.url(),
    ))
    .start();
    let readings = Sample::Clean.readings();
    let count = readings.len();
    assert!(count > 3_000, "{count} readings");
    let metrics = gateway.wait_for_metrics(PATIENCE);

    let messages = subscriber.wait_until("all readings and the end", PATIENCE, |messages| {
        let readings = messages.iter().filter(|it| is_reading(it)).count();
        readings >= count && messages.contains(&status("offline"))
    });
    // A message of QoS 2 is there only after its second handshake, so that one of QoS 1 overtakes it:
    // where `offline` stands among the readings says nothing.
    assert_eq!(messages.first(), Some(&status("online")));
    let (arrived, mut told): (Vec<Message>, Vec<Message>) =
        messages.into_iter().partition(is_reading);
    told.retain(|message| message.topic == STATUS);
    assert_eq!(told, ["online", "offline"].map(status));
    let expected = readings.iter().map(|reading| reading.message("iiot", qos));
    assert_eq!(by_topic(arrived), by_topic(expected));
    assert_eq!(
        gateway.stdout().last().unwrap(),
        &format!(
            "Stopped. 360 packets received; delivered {count} messages to MQTT (0 waiting). \
             Journal: {}/fieldgate/journal.db.",
            gateway.folder().display()
        )
    );
    let success = metrics[r#"mqtt_publishes_total{status="success"}"#];
    assert_eq!(success.to_string(), count.to_string());
    assert_eq!(
        metrics["telemetry_packets_processed_total"].to_string(),
        "360"
    );
}

/// Slow: both protocols, one after the other.
#[test]
fn every_reading_arrives_at_most_once() {
    arrives_with(0, 4);
    arrives_with(0, 5);
}

/// Slow: both protocols, one after the other.
#[test]
fn every_reading_arrives_at_least_once() {
    arrives_with(1, 4);
    arrives_with(1, 5);
}

/// Slow: both protocols, one after the other.
#[test]
fn every_reading_arrives_exactly_once() {
    arrives_with(2, 4);
    arrives_with(2, 5);
}

#[test]
fn the_last_values_wait_at_the_broker_also_after_its_restart() {
    let mut broker = Mosquitto::start_with(&MosquittoOptions {
        persistence: true,
        ..MosquittoOptions::default()
    });
    let readings = Sample::Clean.readings();
    let expected = last_values(&readings, 1);
    assert_eq!(expected.len(), 5, "{expected:?}");

    let subscriber = Subscriber::start(broker.port(), "iiot/#");
    let mut gateway = Fieldgate::new(&format!(
        "[source]\nkind = \"command\"\ncommand = [\"sh\", \"-c\", \"cat {}; exec sleep 1000\"]\n\
         [mqtt]\nbroker_url = \"{}\"\n",
        Sample::Clean.path().display(),
        broker.url(),
    ))
    .start();
    subscriber.wait_for_count(readings.len() + 1, PATIENCE);
    let seen_at_once = |broker: &Mosquitto| {
        let late = Subscriber::start(broker.port(), "iiot/#");
        let messages = late.wait_until("last values", PATIENCE, |messages| {
            messages
                .iter()
                .filter(|message| is_reading(message))
                .count()
                >= expected.len()
        });
        assert!(
            messages
                .iter()
                .all(|message| message.retained || message.is_of_gateway()),
            "{messages:?}"
        );
        let values = messages.into_iter().filter(is_reading);
        values
            .map(|message| (message.topic, message.payload))
            .collect::<BTreeMap<_, _>>()
    };
    assert_eq!(seen_at_once(&broker), expected);

    gateway.signal(crate::support::Signal::SIGTERM);
    gateway.wait_for_metrics(PATIENCE);
    broker.restart();
    assert_eq!(seen_at_once(&broker), expected);
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

#[test]
fn every_reading_is_in_the_database_at_the_boards_own_times() {
    let database = VictoriaMetrics::start();
    let mut gateway = Fieldgate::new(&format!(
        "[source]\nkind = \"stdin\"\n[influxdb]\nurl = \"{}\"\n",
        database.url()
    ))
    .start();
    let before = now_ms();
    gateway.write_stdin(&std::fs::read(Sample::Clean.path()).unwrap());
    gateway.close_stdin();
    let metrics = gateway.wait_for_metrics(PATIENCE);
    let after = now_ms();

    let readings = Sample::Clean.readings();
    let mut expected = BTreeMap::<_, Vec<(i64, f64)>>::new();
    for reading in &readings {
        let name = [&reading.metric, &reading.node, reading.sensor_type()].map(str::to_owned);
        let points = expected.entry(name).or_default();
        points.push((reading.uptime_ms, reading.value));
    }
    let series = database.wait_for_points("{__name__!=\"\"}", readings.len(), PATIENCE);
    let last_point = series.iter().flat_map(|one| &one.timestamps_ms).max();
    // When the board booted, by the gateway's clock.
    let boot = last_point.unwrap() - readings.last().unwrap().uptime_ms;
    assert!((before..=after).contains(last_point.unwrap()));
    let stored = series.iter().map(|one| {
        assert_eq!(one.labels.len(), 3, "{:?}", one.labels);
        let name = ["__name__", "node_id", "sensor_type"].map(|label| one.labels[label].clone());
        let uptimes = one.timestamps_ms.iter().map(|time| time - boot);
        (name, uptimes.zip(one.values.iter().copied()).collect())
    });
    assert_eq!(stored.collect::<BTreeMap<_, Vec<_>>>(), expected);
    assert_eq!(
        expected[&["temperature", "node1", "environmental"].map(str::to_owned)][1].0,
        22_000
    );

    let success = metrics[r#"influxdb_points_total{status="success"}"#];
    assert_eq!(success.to_string(), readings.len().to_string());
    assert!(metrics[r#"influxdb_writes_total{status="success"}"#] >= 1.0);
}

#[test]
fn both_sinks_get_everything_and_the_journal_keeps_it() {
    let broker = Mosquitto::start();
    let database = VictoriaMetrics::start();
    let subscriber = Subscriber::start(broker.port(), "iiot/#");
    let mut gateway = Fieldgate::new(&format!(
        "[source]\nkind = \"stdin\"\n[mqtt]\nbroker_url = \"{}\"\n[influxdb]\nurl = \"{}\"\n\
         flush_interval = \"100ms\"\n",
        broker.url(),
        database.url(),
    ))
    .start();
    // Packet by packet, as a board sends them.
    let recording = std::fs::read(Sample::LiteralNewline.path()).unwrap();
    for part in recording.chunks(97) {
        gateway.write_stdin(part);
    }
    let readings = Sample::LiteralNewline.readings();
    subscriber.wait_for_count(readings.len() + 1, PATIENCE);
    database.wait_for_points("{node_id!=\"\"}", readings.len(), PATIENCE);
    gateway.close_stdin();
    let metrics = gateway.wait_for_metrics(PATIENCE);
    for sink in ["mqtt", "influxdb"] {
        let labels = format!("{{sink=\"{sink}\"}}");
        let deliveries = metrics[&format!("delivery_latency_seconds_count{labels}")];
        assert_eq!(deliveries.to_string(), readings.len().to_string());
        assert_eq!(metrics[&format!("queue_depth{labels}")].to_string(), "0");
    }
    assert_eq!(journaled(&gateway), in_order(&readings));
}

#[test]
fn without_any_sink_the_journal_alone_is_written() {
    let mut gateway = Fieldgate::new("[source]\nkind = \"stdin\"\n").start();
    gateway.write_stdin(&std::fs::read(Sample::Clean.path()).unwrap());
    gateway.wait_for_log("mqtt: disabled", PATIENCE);
    gateway.wait_for_log("influxdb: disabled", PATIENCE);
    let readings = Sample::Clean.readings();
    poll(PATIENCE, || {
        (journaled(&gateway).len() == readings.len()).then_some(())
    })
    .expect("no readings in the journal");
    gateway.close_stdin();
    gateway.wait_for_metrics(PATIENCE);
    assert_eq!(journaled(&gateway), in_order(&readings));
    let summary = gateway.stdout().pop().unwrap();
    assert!(
        summary.starts_with("Stopped. 360 packets received; no sink is configured."),
        "{summary}"
    );
}

type Values = Vec<(String, String, String)>;

fn in_order(readings: &[Reading]) -> Values {
    let mut values: Values = readings
        .iter()
        .map(|reading| {
            let value = reading.value.to_string();
            (reading.node.clone(), reading.metric.clone(), value)
        })
        .collect();
    values.sort();
    values
}

/// What anybody can read out of the journal with SQL; nothing before it is there.
fn journaled(gateway: &Fieldgate) -> Values {
    let path = gateway.folder().join("fieldgate/journal.db");
    let Ok(journal) = rusqlite::Connection::open(path) else {
        return Values::new();
    };
    let Ok(mut query) = journal.prepare("SELECT node, metric, value FROM readings") else {
        return Values::new();
    };
    let rows = query.query_map((), |row| {
        let value: f64 = row.get(2)?;
        Ok((row.get(0)?, row.get(1)?, value.to_string()))
    });
    let mut values: Values = rows.unwrap().map(Result::unwrap).collect();
    values.sort();
    values
}

#[test]
fn a_message_of_json_has_the_unit_and_the_time_of_its_point() {
    let broker = Mosquitto::start();
    let server = ContractServer::start();
    let subscriber = Subscriber::start(broker.port(), "iiot/#");
    let mut gateway = Fieldgate::new(&format!(
        "[source]\nkind = \"file\"\npath = '{}'\nspeed = \"max\"\n\
         [mqtt]\nbroker_url = \"{}\"\npayload = \"json\"\n\
         [influxdb]\nurl = \"{}\"\norg = \"{}\"\nbucket = \"{}\"\ntoken = \"{}\"\n",
        Sample::Clean.path().display(),
        broker.url(),
        server.url(),
        ContractServer::ORG,
        ContractServer::BUCKET,
        ContractServer::TOKEN,
    ))
    .start();
    gateway.wait_for_metrics(PATIENCE);
    let points = server.points();
    assert_eq!(points.len(), Sample::Clean.readings().len());
    let mut messages = subscriber.wait_until("all readings", PATIENCE, |messages| {
        messages.iter().filter(|it| is_reading(it)).count() >= points.len()
    });
    messages.retain(is_reading);

    let mut arrived = BTreeMap::<String, Vec<String>>::new();
    for Message { topic, payload, .. } in messages {
        arrived.entry(topic).or_default().push(payload);
    }
    let mut expected = BTreeMap::<String, Vec<String>>::new();
    for point in points {
        let unit = match point.measurement.as_str() {
            "temperature" => "°C",
            "humidity" => "%",
            "gas_resistance" => "Ω",
            "pressure" => "hPa",
            "rssi" => "dBm",
            "snr" => "dB",
            _ => "1",
        };
        let time = UNIX_EPOCH + Duration::from_nanos(point.timestamp_ns.try_into().unwrap());
        let time = humantime::format_rfc3339_millis(time);
        let value = point.value;
        let payload = format!(r#"{{"value":{value},"unit":"{unit}","time":"{time}"}}"#);
        let topic = format!("iiot/{}/{}", point.tags["node_id"], point.measurement);
        expected.entry(topic).or_default().push(payload);
    }
    assert_eq!(arrived, expected);
}
