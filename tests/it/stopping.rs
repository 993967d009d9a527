//! How the gateway says that it is there, and how it goes.

use std::time::Duration;

use crate::support::{Fieldgate, Mosquitto, PATIENCE, Sample, Signal, Subscriber};

const STATUS: &str = "iiot/gateway/status";

/// A gateway that has published a sample and waits for more.
fn deliver_and_wait(broker: &Mosquitto) -> Fieldgate {
    let subscriber = Subscriber::start(broker.port(), "iiot/#");
    let mut gateway = Fieldgate::new(&format!(
        "[source]\nkind = \"stdin\"\n[mqtt]\nbroker_url = \"{}\"\n",
        broker.url()
    ))
    .start();
    gateway.write_stdin(&std::fs::read(Sample::LiteralNewline.path()).unwrap());
    let count = Sample::LiteralNewline.readings().len();
    subscriber.wait_for_count(count + 1, PATIENCE);
    gateway
}

/// What a subscriber that comes now is told of the gateway.
fn status(broker: &Mosquitto) -> (String, bool) {
    let subscriber = Subscriber::start(broker.port(), STATUS);
    let message = subscriber.wait_for_count(1, PATIENCE).swap_remove(0);
    (message.payload, message.retained)
}

#[test]
fn a_stop_is_tidy_by_either_signal() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let broker = Mosquitto::start();
        let mut gateway = deliver_and_wait(&broker);
        assert_eq!(status(&broker), ("online".into(), true));
        gateway.signal(signal);
        let metrics = gateway.wait_for_metrics(PATIENCE);
        assert_eq!(status(&broker), ("offline".into(), true));
        let expected = format!(
            "Stopped. 40 packets received; delivered {} messages to MQTT (0 waiting). Journal: \
             {}/fieldgate/journal.db.",
            Sample::LiteralNewline.readings().len(),
            gateway.folder().display()
        );
        assert_eq!(gateway.stdout().pop().as_deref(), Some(expected.as_str()));
        assert_eq!(gateway.stderr(), [""; 0]);
        assert_eq!(metrics[r#"queue_depth{sink="mqtt"}"#].to_string(), "0");
    }
}

#[test]
fn the_broker_tells_of_a_gateway_that_is_gone_without_a_word() {
    let broker = Mosquitto::start();
    let watcher = Subscriber::start(broker.port(), STATUS);
    let mut gateway = deliver_and_wait(&broker);
    watcher.wait_for_count(1, PATIENCE);
    gateway.signal(Signal::SIGKILL);
    gateway.wait_exit(PATIENCE);
    let told = watcher.wait_for_count(2, PATIENCE);
    let payloads: Vec<&str> = told
        .iter()
        .map(|message| message.payload.as_str())
        .collect();
    assert_eq!(payloads, ["online", "offline"]);
    assert_eq!(status(&broker), ("offline".into(), true));
    // And when it is back.
    gateway.start_again();
    watcher.wait_for_count(3, PATIENCE);
    assert_eq!(status(&broker), ("online".into(), true));
}

#[test]
fn a_second_signal_does_not_wait_for_a_broker_that_is_away() {
    let mut broker = Mosquitto::start();
    let mut gateway = Fieldgate::new(&format!(
        "shutdown_timeout = \"1h\"\n[source]\nkind = \"stdin\"\n[mqtt]\nbroker_url = \"{}\"\n",
        broker.url()
    ))
    .start();
    gateway.wait_for_log("Connected.", PATIENCE);
    broker.stop();
    gateway.wait_for_log("Connection failed", PATIENCE);
    gateway.write_stdin(&std::fs::read(Sample::LiteralNewline.path()).unwrap());
    gateway.wait_for_log("Board reports", PATIENCE);
    gateway.signal(Signal::SIGINT);
    gateway.wait_for_log("a second signal stops at once", PATIENCE);
    gateway.signal(Signal::SIGINT);
    gateway.wait_for_metrics(PATIENCE);
    let count = Sample::LiteralNewline.readings().len();
    let summary = gateway.stdout().pop().unwrap();
    let expected = format!("delivered 0 messages to MQTT ({count} waiting).");
    assert!(summary.contains(&expected), "{summary}");

    // What waited is delivered after the next start.
    broker.start_again();
    let subscriber = Subscriber::start(broker.port(), "iiot/#");
    gateway.start_again();
    gateway.close_stdin();
    gateway.wait_for_metrics(PATIENCE);
    subscriber.wait_for_count(count + 2, Duration::ZERO);
}
