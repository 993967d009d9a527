//! What a message holds, and what becomes of readings that are not present any more.

use std::time::{Duration, Instant};

use fieldgate::monitor::{Command, LinkId, LinkState, Order, SinkId};

use crate::outage_mqtt::config;
use crate::support::{
    Fieldgate, Gateway, MESSAGES, Mosquitto, PATIENCE, Publish, Subscriber, Tap, packets,
};

const LATE: Duration = Duration::from_secs(5);

/// Whether something was measured, and it is not the gateway that speaks of itself.
fn is_reading(topic: &str) -> bool {
    topic.starts_with("iiot/") && !topic.starts_with("iiot/gateway/") && !topic.ends_with("/status")
}

#[test]
fn a_node_says_all_in_one_message() {
    let broker = Mosquitto::start();
    let subscriber = Subscriber::start(broker.port(), "#");
    let keys = "payload = \"node\"\nqos = 2\n[mqtt.home_assistant]";
    let mut gateway = Fieldgate::new(&config(&broker.url(), keys)).start();
    gateway.write_stdin(
        b"{\"ts\":1,\"id\":\"N2\",\"n1\":{\"t\":27.6,\"h\":54.1},\"n2\":{\"p\":1013.2},\
          \"sts\":{\"rx\":1,\"err\":0}}\n",
    );
    gateway.close_stdin();
    assert!(gateway.wait_exit(PATIENCE).success());
    let line = gateway.logged("Stopped.");
    assert!(line.contains("delivered 5 messages"), "{line}");
    let messages = subscriber.wait_until("all", PATIENCE, |messages| {
        messages.iter().any(|it| it.payload == "offline")
    });
    let said: Vec<(&str, &str)> = messages
        .iter()
        .filter(|it| is_reading(&it.topic))
        .map(|it| {
            (
                &*it.topic,
                it.payload.split(",\"time\":\"20").next().unwrap(),
            )
        })
        .collect();
    let expected = [
        ("iiot/node1", "{\"temperature\":27.6,\"humidity\":54.1"),
        ("iiot/node2", "{\"pressure\":1013.2"),
        ("iiot/stats", "{\"packets_received\":1,\"crc_errors\":0"),
    ];
    assert_eq!(said, expected);
    let sensor = messages
        .iter()
        .find(|it| it.topic.ends_with("/node1_temperature/config"))
        .unwrap();
    let sensor: serde_json::Value = serde_json::from_str(&sensor.payload).unwrap();
    assert_eq!(sensor["state_topic"], "iiot/node1");
    let template = "{{ value_json[\"temperature\"] | default('') }}";
    assert_eq!(sensor["value_template"], template);
}

/// Publishes a backlog that is late and then something present; returns what came, and how many readings
/// were not sent.
fn after_an_outage(keys: &str) -> (Vec<Publish>, u64) {
    let broker = Mosquitto::start();
    let tap = Tap::start(broker.port());
    let link = LinkId::mqtt();
    let mut gateway = Gateway::start(&format!(
        "[mqtt]\nbroker_url = \"{}\"\nlate_after = \"4s\"\n{keys}\n",
        tap.url()
    ));
    gateway.wait_until_up(&link);
    gateway.command(Command::To(Order::Hold, link.clone()));
    gateway.wait_for_link(&link, "hold", |state| {
        (*state == LinkState::Held).then_some(())
    });
    let since = Instant::now();
    gateway.send(&packets(1..=20));
    gateway.wait_until("backlog", |snapshot| {
        let sink = snapshot.sink(&SinkId::mqtt())?;
        (sink.queue_depth == 20 * MESSAGES as u64).then_some(())
    });
    std::thread::sleep(LATE);
    gateway.command(Command::To(Order::Release, link));
    gateway.wait_until("what waited", |snapshot| {
        (snapshot.sink(&SinkId::mqtt())?.queue_depth == 0).then_some(())
    });
    // What is present was measured now, by the board's clock, too.
    let now = since.elapsed().as_millis();
    let present = packets(21..=22)
        .replace("\"ts\":21,", &format!("\"ts\":{now},"))
        .replace("\"ts\":22,", &format!("\"ts\":{},", now + 1));
    gateway.send(&present);
    gateway.wait_until("the rest", |snapshot| {
        let sink = snapshot.sink(&SinkId::mqtt())?;
        (sink.delivered + sink.skipped == 22 * MESSAGES as u64).then_some(())
    });
    let skipped = gateway.sink(&SinkId::mqtt()).skipped;
    gateway.quit();
    let sessions = tap.record().sessions();
    let published = sessions.into_iter().flat_map(|session| session.publishes);
    (
        published.filter(|it| is_reading(&it.topic)).collect(),
        skipped,
    )
}

fn numbers(published: &[Publish], topic: &str) -> Vec<u64> {
    let of_topic = published.iter().filter(|it| it.topic == topic);
    of_topic.map(|it| it.payload.parse().unwrap()).collect()
}

#[test]
fn late_readings_go_to_topics_of_their_own() {
    let (published, skipped) = after_an_outage("late = \"topic\"");
    let late = numbers(&published, "iiot/stats/packets_received/late");
    assert_eq!(late, (1..=20).collect::<Vec<_>>());
    let present = numbers(&published, "iiot/stats/packets_received");
    assert_eq!((present, skipped), (vec![21, 22], 0));
    for publish in published {
        let is_of_node = publish.topic.starts_with("iiot/node");
        let is_late = publish.topic.ends_with("/late");
        assert_eq!(publish.retained, is_of_node && !is_late, "{publish:?}");
    }
}

#[test]
fn of_late_readings_the_newest_alone_go_out() {
    let (published, skipped) = after_an_outage("late = \"skip\"");
    assert_eq!(
        numbers(&published, "iiot/stats/packets_received"),
        [20, 21, 22]
    );
    assert_eq!(numbers(&published, "iiot/node2/pressure"), [20, 21, 22]);
    assert_eq!(published.len(), 3 * MESSAGES);
    assert_eq!(skipped, 19 * MESSAGES as u64);
}

#[test]
fn unless_told_late_readings_go_where_all_go() {
    let (published, skipped) = after_an_outage("");
    assert_eq!((published.len(), skipped), (22 * MESSAGES, 0));
}
