//! What MQTT 5 adds: times and expiry of readings, reasons in words, and a broker's limits.

use std::process::Command as Program;

use fieldgate::journal::{Archive, Row};
use fieldgate::monitor::{Command, LinkId, LinkState, Order, SinkId};

use crate::outage_mqtt::{config, finish};
use crate::support::{
    Conduct, ContractBroker, Fieldgate, Gateway, MESSAGES, Mosquitto, MosquittoOptions, PATIENCE,
    Subscriber, SubscriberOptions, Tally, Tap, is_of_gateway, packets,
};

fn mqtt(url: &str, more: &str) -> String {
    format!("[mqtt]\nbroker_url = \"{url}\"\nclient_id = \"gateway\"\nprotocol = 5\n{more}\n")
}

/// A broker with these lines in its configuration.
fn broker_with(lines: &'static str) -> Mosquitto {
    Mosquitto::start_with_config(|port, _| {
        format!("listener {port} 127.0.0.1\nallow_anonymous true\n{lines}")
    })
}

/// So many messages that the broker keeps, each as topic, payload, seconds to its expiry, and user
/// properties.
fn retained(broker: &Mosquitto, count: usize) -> Vec<[String; 4]> {
    let mut command = Program::new("mosquitto_sub");
    command.args([
        "-V",
        "mqttv5",
        "-h",
        "127.0.0.1",
        "-W",
        "20",
        "-t",
        "iiot/#",
    ]);
    command.args(["-p", &broker.port().to_string(), "-C", &count.to_string()]);
    let output = command.args(["-F", r"%t\t%p\t%E\t%P"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let fields = |line: &str| {
        let mut fields = line.split('\t').map(str::to_owned);
        std::array::from_fn(|_| fields.next().unwrap_or_default())
    };
    let messages: Vec<_> = text.lines().map(fields).collect();
    assert_eq!(messages.len(), count, "{messages:?}");
    messages
}

#[test]
fn readings_carry_their_time_and_expire_and_the_status_does_neither() {
    let broker = Mosquitto::start();
    let sections = mqtt(&broker.url(), "message_expiry = \"1h\"");
    let mut gateway = Gateway::start(&sections);
    gateway.send("{\"ts\":1000,\"id\":\"N2\",\"n1\":{\"t\":1},\"n2\":{}}\n");
    gateway.send("{\"ts\":2500,\"id\":\"N2\",\"n1\":{\"h\":2},\"n2\":{}}\n");
    gateway.wait_until_delivered(&SinkId::mqtt(), 2);
    let messages = retained(&broker, 6);
    let message = |topic: &str| {
        let mut messages = messages.iter();
        messages.find(|message| message[0] == topic).unwrap()
    };
    let rows = Archive::open(&gateway.journal()).unwrap().read().unwrap();
    let measured = |metric: &str| -> i64 {
        let is_of = |row: &&Row| row.readings.iter().any(|it| it.metric.as_str() == metric);
        rows.iter().find(is_of).unwrap().event_time.0
    };
    for (metric, value) in [("temperature", "1"), ("humidity", "2")] {
        let [_, payload, expiry, properties] = message(&format!("iiot/node1/{metric}"));
        assert_eq!(payload, value);
        let expiry: u32 = expiry.parse().unwrap();
        assert!((3_500..=3_600).contains(&expiry), "{expiry}");
        let time = properties.strip_prefix("time:").unwrap();
        let format = &time::format_description::well_known::Rfc3339;
        let told = time::OffsetDateTime::parse(time, format).unwrap();
        assert_eq!(told.unix_timestamp_nanos(), measured(metric).into());
        assert!(time.ends_with('Z'), "{time}");
    }
    assert_eq!(
        measured("humidity") - measured("temperature"),
        1_500_000_000
    );
    let [_, payload, expiry, properties] = message("iiot/gateway/status");
    assert_eq!([payload, expiry, properties], ["online", "", ""]);
    gateway.quit();
}

#[test]
fn a_forbidden_topic_is_named_and_nothing_is_lost() {
    const WATCHER: &str = "user watcher\ntopic read iiot/#\nuser gateway\n";
    for qos in [1, 2] {
        let mut broker = Mosquitto::start_with(&MosquittoOptions {
            users: vec![("gateway", "secret"), ("watcher", "watcher")],
            acl: Some("user gateway\ntopic write iiot/gateway/#\ntopic write iiot/node1/#\n"),
            ..MosquittoOptions::default()
        });
        let tap = Tap::start(broker.port());
        let keys = format!("qos = {qos}\nusername = \"gateway\"\npassword = \"secret\"");
        let mut gateway = Gateway::start(&mqtt(&tap.url(), &keys));
        gateway.wait_until_up(&LinkId::mqtt());
        gateway.send(&packets(1..=20));
        let reason = gateway.wait_for_link(&LinkId::mqtt(), "refusal", |state| match state {
            LinkState::Refused { reason, .. } => Some(reason.clone()),
            _ => None,
        });
        assert_eq!(
            reason,
            "the broker refused a message to iiot/node2/pressure: not authorised, allow it in the \
             broker's access rules"
        );
        let all = 20 * MESSAGES as u64;
        gateway.wait_until("complete backlog", |snapshot| {
            (snapshot.sink(&SinkId::mqtt())?.queue_depth == all).then_some(())
        });

        broker.set_acl(&format!("{WATCHER}topic write iiot/#\n"));
        let options = SubscriberOptions {
            user: Some(("watcher", "watcher")),
            ..SubscriberOptions::default()
        };
        let watcher = Subscriber::start_with(broker.port(), "iiot/+/pressure", &options);
        // The broker needs a moment for its new rules: until then the answer is the old one.
        gateway.wait_until("delivery", |snapshot| {
            let sink = snapshot.sink(&SinkId::mqtt())?;
            if let LinkState::Refused { .. } = sink.link.state {
                gateway.command(Command::To(Order::Reconnect, LinkId::mqtt()));
            }
            (sink.queue_depth == 0).then_some(())
        });
        assert_eq!(gateway.sink(&SinkId::mqtt()).delivered, all);
        assert_eq!(gateway.sink(&SinkId::mqtt()).rejected, 0);
        Tally::of_acknowledged(&tap.record().sessions()).assert_complete("acknowledged", 1..=20);
        let last = |messages: &[crate::support::Message]| {
            messages
                .last()
                .is_some_and(|message| message.payload == "20")
        };
        watcher.wait_until("last pressure", PATIENCE, last);
        gateway.quit();
    }
}

#[test]
fn without_the_right_to_tell_its_status_a_gateway_delivers() {
    let broker = Mosquitto::start_with(&MosquittoOptions {
        users: vec![("gateway", "secret")],
        acl: Some("user gateway\ntopic write iiot/+/temperature\n"),
        ..MosquittoOptions::default()
    });
    let keys = "protocol = 5\nusername = \"gateway\"\npassword = \"secret\"";
    let mut gateway = Fieldgate::new(&config(&broker.url(), keys)).start();
    gateway.write_stdin(b"{\"ts\":1000,\"id\":\"N2\",\"n1\":{\"t\":1},\"n2\":{}}\n");
    let line = gateway.wait_for_log(
        "The broker refused what the gateway says of itself",
        PATIENCE,
    );
    assert!(line.contains("iiot/gateway/status"), "{line}");
    finish(&mut gateway);
    let line = gateway.logged("Stopped.");
    assert!(
        line.contains("delivered 1 messages to MQTT (0 waiting)"),
        "{line}"
    );
}

#[test]
fn a_message_that_is_too_large_is_set_aside_and_the_rest_goes_on() {
    // Mosquitto says one limit beforehand, and the other when a payload is beyond it.
    for (limit, names, reason) in [
        ("message_size_limit 7\n", "", "too large"),
        (
            "max_packet_size 90\n",
            "[telemetry.nodes]\nn1 = \"a-name-that-is-much-too-long-for-a-message-of-ninety-bytes\"\n",
            "bytes, and the broker takes 90",
        ),
    ] {
        for qos in [1, 2] {
            let broker = broker_with(limit);
            let sections = mqtt(&broker.url(), &format!("qos = {qos}\nmax_inflight = 2")) + names;
            let mut gateway = Gateway::start(&sections);
            let packet = |number| {
                format!(
                    "{{\"ts\":{number},\"id\":\"N2\",\"n1\":{{\"t\":12345678}},\"n2\":{{\"p\":{number}}}}}\n"
                )
            };
            let sent: Vec<String> = (0..20).map(packet).collect();
            gateway.send(&sent.concat());
            gateway.wait_until_delivered(&SinkId::mqtt(), 40);
            let sink = gateway.sink(&SinkId::mqtt());
            assert_eq!((sink.delivered, sink.rejected), (20, 20));
            assert_eq!((sink.link.reconnects, sink.failed), (0, 0));
            let (outcome, folder) = gateway.quit();
            assert_eq!(
                outcome.snapshot.sink(&SinkId::mqtt()).unwrap().queue_depth,
                0
            );
            let journal = rusqlite::Connection::open(folder.path().join("journal.db")).unwrap();
            let sql = "SELECT count(*), count(DISTINCT sequence), min(sink), min(metric), \
                       min(value), min(reason) FROM rejected";
            let rejected: (u32, u32, String, String, f64, String) =
                journal.query_row(sql, [], |row| row.try_into()).unwrap();
            assert_eq!((rejected.0, rejected.1), (20, 20));
            assert_eq!((&*rejected.2, &*rejected.3), ("mqtt", "temperature"));
            assert!((rejected.4 - 12_345_678.0).abs() < f64::EPSILON);
            assert!(rejected.5.contains(reason), "{}", rejected.5);
        }
    }
}

#[test]
fn a_broker_that_takes_few_messages_at_once_gets_no_more() {
    for qos in [1, 2] {
        let broker = broker_with("max_inflight_messages 2\n");
        let tap = Tap::start(broker.port());
        let keys = format!("protocol = 5\nqos = {qos}\nmax_inflight = 50");
        let gateway = Fieldgate::new(&config(&tap.url(), &keys));
        let level = "info,fieldgate::sink::mqtt=debug";
        let mut gateway = gateway.env("FIELDGATE_LOG_LEVEL", level).start();
        gateway.write_stdin(packets(1..=300).as_bytes());
        finish(&mut gateway);
        let line = gateway.logged("The broker takes fewer messages at once");
        assert!(line.contains("receive_maximum=2"), "{line}");
        // At more, Mosquitto ends the connection.
        let sessions = tap.record().sessions();
        let tally = Tally::of_acknowledged(&sessions);
        tally.assert_complete("acknowledged", 1..=300);
        assert_eq!((sessions.len(), tally.duplicates), (1, 0));
        assert!(sessions[0].publishes.iter().all(|it| it.acknowledged));
        let is_reading = |topic: &str| !is_of_gateway(topic);
        let mut readings = sessions[0].publishes.iter();
        assert!(readings.all(|it| !is_reading(&it.topic) || it.qos == qos));
    }
}

#[test]
fn what_a_broker_does_not_take_at_all_is_not_sent() {
    let broker = broker_with("retain_available false\n");
    let tap = Tap::start(broker.port());
    let mut gateway = Fieldgate::new(&config(&tap.url(), "protocol = 5")).start();
    gateway.write_stdin(packets(1..=5).as_bytes());
    gateway.wait_for_log("The broker keeps no retained messages", PATIENCE);
    finish(&mut gateway);
    let sessions = tap.record().sessions();
    Tally::of_acknowledged(&sessions).assert_complete("acknowledged", 1..=5);
    let mut publishes = sessions.iter().flat_map(|session| &session.publishes);
    assert!(publishes.all(|publish| !publish.retained));

    for (most, qos, sent) in [(1, 2, 1), (0, 0, 0)] {
        let broker = Mosquitto::start_with_config(|port, _| {
            format!("listener {port} 127.0.0.1\nallow_anonymous true\nmax_qos {most}\n")
        });
        let tap = Tap::start(broker.port());
        let keys = format!("protocol = 5\nqos = {qos}");
        let mut gateway = Fieldgate::new(&config(&tap.url(), &keys)).start();
        gateway.wait_for_log("Connected.", PATIENCE);
        gateway.write_stdin(packets(1..=5).as_bytes());
        finish(&mut gateway);
        let sessions = tap.record().sessions();
        Tally::of_acknowledged(&sessions).assert_complete("acknowledged", 1..=5);
        let publishes = sessions.iter().flat_map(|session| &session.publishes);
        assert!(publishes.clone().all(|publish| publish.qos <= sent));
    }
    let broker = broker_with("max_qos 0\n");
    let mut gateway = Fieldgate::new(&config(&broker.url(), "protocol = 5")).start();
    let line = gateway.wait_for_log("Refused; trying again.", PATIENCE);
    assert!(line.contains("the broker takes QoS 0 alone"), "{line}");
}

#[test]
fn whose_connection_a_broker_ends_says_what_the_broker_says() {
    for (code, words, pause) in [
        (
            0x8e,
            "another client connected as \"gateway\" and took the session over, give each gateway \
             its own mqtt.client_id",
            "Refused; trying again.",
        ),
        (
            0x87,
            "not authorised, check mqtt.username",
            "Refused; trying again.",
        ),
        (
            0x97,
            "the broker's quota is exceeded",
            "Refused; trying again.",
        ),
        (
            0x8b,
            "the broker ended the connection: it is shutting down",
            "Connection failed; trying again.",
        ),
        (
            0x98,
            "the broker ended the connection: somebody ended it there",
            "Connection failed; trying again.",
        ),
    ] {
        let broker = ContractBroker::start();
        broker.next([Conduct::Dismiss(code)]);
        let mut gateway = Fieldgate::new(&config(&broker.url(), "protocol = 5")).start();
        // Quotes within a field are escaped.
        let line = gateway.wait_for_log(pause, PATIENCE).replace('\\', "");
        assert!(line.contains(words), "{line}");
        gateway.kill();
        gateway.start_again();
        gateway.write_stdin(packets(1..=2).as_bytes());
        finish(&mut gateway);
        Tally::of_acknowledged(&broker.record().sessions()).assert_complete("acknowledged", 1..=2);
    }
}

#[test]
fn every_refusal_of_a_connection_says_what_to_do() {
    for (code, words, pause) in [
        (
            0x86,
            "bad user name or password, set mqtt.username and MQTT_PASSWORD",
            "retry_in=1m",
        ),
        (
            0x85,
            "client identifier rejected, change mqtt.client_id",
            "retry_in=1m",
        ),
        (0x97, "the broker's quota is exceeded", "retry_in=1m"),
        (0x88, "the broker says it is unavailable", "retry_in=1s"),
        (0x89, "the broker is busy", "retry_in=1s"),
    ] {
        let broker = ContractBroker::start();
        broker.always(Conduct::Refuse(code));
        let mut gateway = Fieldgate::new(&config(&broker.url(), "protocol = 5")).start();
        let line = gateway.wait_for_log("trying again.", PATIENCE);
        assert!(line.contains(words) && line.contains(pause), "{line}");
    }
}

#[test]
fn a_broker_without_mqtt_5_is_told_from_one_that_is_away() {
    let broker = ContractBroker::start();
    // It answers in its own protocol: unacceptable protocol version.
    broker.always(Conduct::Refuse(1));
    let mut gateway = Fieldgate::new(&config(&broker.url(), "protocol = 5")).start();
    let line = gateway.wait_for_log("Refused; trying again.", PATIENCE);
    let words = "the broker does not speak MQTT 5, set mqtt.protocol = 4";
    assert!(line.contains(words), "{line}");
}
