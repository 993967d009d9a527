//! Who is silent and what is wrong: said in MQTT, to whoever asks, and still known after a restart.

use std::process::{Command, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::{Fieldgate, Mosquitto, PATIENCE, Subscriber};

/// A gateway on standard input with a broker, whose nodes report five times a second.
struct Site {
    broker: Mosquitto,
    subscriber: Subscriber,
    gateway: Fieldgate,
    frames: u64,
}

impl Site {
    fn start() -> Self {
        let broker = Mosquitto::start();
        let subscriber = Subscriber::start(broker.port(), "iiot/#");
        let gateway = Fieldgate::new(&format!(
            "[source]\nkind = \"stdin\"\n[mqtt]\nbroker_url = \"{}\"\nnode_signal = true\n\
             [telemetry]\nstale_after = 3\noffline_after = 8\n\
             metrics.t.max = 40\nnodes.n1.interval = \"200ms\"\nnodes.n2.interval = \"30s\"\n",
            broker.url()
        ));
        Self {
            broker,
            subscriber,
            gateway: gateway.start(),
            frames: 0,
        }
    }

    /// Sends a frame of the board with what else stands in it, a fifth of a second after the last one.
    fn send(&mut self, nodes: &str) {
        self.frames += 1;
        let (time, count) = (self.frames * 200, self.frames);
        let frame = format!(
            "{{\"ts\":{time},\"id\":\"N2\",{nodes}\"n2\":{{\"p\":1013}},\
             \"sig\":{{\"rssi\":-40,\"snr\":9}},\"sts\":{{\"rx\":{count},\"err\":0}}}}\n"
        );
        self.gateway.write_stdin(frame.as_bytes());
        sleep(Duration::from_millis(200));
    }

    /// Sends such frames until the last message of a topic is this.
    fn send_until(&mut self, nodes: &str, topic: &str, payload: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !self.last(topic).is_some_and(|it| payload(&it)) {
            assert!(Instant::now() < deadline, "{topic}: {:?}", self.last(topic));
            self.send(nodes);
        }
    }

    fn last(&self, topic: &str) -> Option<String> {
        let messages = self.subscriber.messages().into_iter().rev();
        let mut of_topic = messages.filter(|message| message.topic == topic);
        of_topic.next().map(|message| message.payload)
    }

    /// What a command says that asks the gateway over its socket.
    fn ask(&self, arguments: &[&str]) -> (i32, String) {
        ask(&self.gateway, arguments)
    }
}

/// What a command says that asks a gateway over its socket.
fn ask(gateway: &Fieldgate, arguments: &[&str]) -> (i32, String) {
    let Output { status, stdout, .. } = Command::new(env!("CARGO_BIN_EXE_fieldgate"))
        .args(arguments)
        .args(["--config", "config.toml"])
        .current_dir(gateway.folder())
        .env("HOME", gateway.folder())
        .env_remove("RUNTIME_DIRECTORY")
        .env_remove("STATE_DIRECTORY")
        .env("XDG_STATE_HOME", gateway.folder())
        .output()
        .unwrap();
    let text = String::from_utf8(stdout).unwrap();
    (status.code().unwrap(), text)
}

const WARM: &str = r#""n1":{"t":27.5},"#;

#[test]
fn a_silent_node_is_told_everywhere_and_missed_after_a_restart() {
    let mut site = Site::start();
    let status = "iiot/node1/status";
    site.send_until(WARM, status, |it| it == "online");
    site.send_until(WARM, "iiot/node1/rssi", |it| it == "-40");
    assert_eq!(site.last("iiot/gateway/problems").as_deref(), Some("[]"));
    let (code, text) = site.ask(&["status"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.starts_with("● all well"), "{text}");

    site.send_until("", status, |it| it == "offline");
    site.send_until("", "iiot/gateway/problems", |it| it.contains("node_silent"));
    let (code, text) = site.ask(&["status"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("node1 is offline"), "{text}");
    let (_, json) = site.ask(&["status", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["problems"][0]["concerns"], "node1");
    let retained = Subscriber::start(site.broker.port(), status);
    let message = &retained.wait_for_count(1, PATIENCE)[0];
    assert!(
        message.retained && message.payload == "offline",
        "{message:?}"
    );

    site.send_until(WARM, status, |it| it == "online");
    site.send_until(WARM, "iiot/gateway/problems", |it| it == "[]");
    site.send_until("", status, |it| it == "offline");
    site.gateway.close_stdin();
    assert!(site.gateway.wait_exit(PATIENCE).success());
    assert_eq!(site.ask(&["status"]).0, 3);

    // Nothing has come in this run, and it is known who is missing.
    let count = site.subscriber.messages().len();
    site.gateway.start_again();
    site.subscriber
        .wait_until("who is missing", PATIENCE, |messages| {
            let new = messages.iter().skip(count);
            let mut of_node = new.filter(|it| it.topic == status);
            of_node.any(|it| it.payload == "offline")
        });
}

#[test]
fn a_value_beyond_its_limits_and_a_held_link_are_problems_until_they_end() {
    let mut site = Site::start();
    let problems = "iiot/gateway/problems";
    site.send_until(r#""n1":{"t":41},"#, problems, |it| {
        it.contains("value_beyond_limits") && it.contains("node1 temperature is 41 °C, above 40")
    });
    // Near its limit it is not over.
    site.send(r#""n1":{"t":39.9},"#);
    site.send(r#""n1":{"t":39.9},"#);
    assert!(site.ask(&["status"]).1.contains("1 problem"));
    site.send_until(WARM, problems, |it| it == "[]");
    assert_eq!(site.ask(&["hold", "mqtt"]).0, 0);
    let deadline = Instant::now() + PATIENCE;
    while !site.ask(&["status"]).1.contains("mqtt is held") {
        assert!(Instant::now() < deadline);
        site.send(WARM);
    }
    assert_eq!(site.ask(&["release", "mqtt"]).0, 0);
    site.send_until(WARM, problems, |it| it == "[]");
    let deadline = Instant::now() + PATIENCE;
    while site.ask(&["status"]).0 != 0 {
        assert!(Instant::now() < deadline);
        site.send(WARM);
    }
}

#[test]
fn a_node_of_any_format_is_known_and_misses_count_for_the_one_that_numbers_its_packets() {
    let mut gateway = Fieldgate::new(
        "[source]\nkind = \"stdin\"\nformat = \"json\"\nnode.keys = [\"dev\"]\ncounter = \"seq\"\n",
    )
    .start();
    let (mut number, mut seen) = (0, serde_json::Value::Null);
    let deadline = Instant::now() + PATIENCE;
    while seen[1]["missed"] != 2 {
        assert!(Instant::now() < deadline, "{seen}");
        // Two are missing of the one that came later.
        number += 1;
        let missing = if number > 7 { 2 } else { 0 };
        let line = format!("{{\"dev\":\"tank\",\"seq\":{number},\"temp\":20.5}}\n");
        gateway.write_stdin(line.as_bytes());
        if number > 3 {
            let number = number + missing;
            let line = format!("{{\"dev\":\"well\",\"seq\":{number},\"level\":1.5}}\n");
            gateway.write_stdin(line.as_bytes());
        }
        let status = ask(&gateway, &["status", "--json"]).1;
        let status: serde_json::Value = serde_json::from_str(&status).unwrap_or_default();
        seen = status["nodes"].clone();
    }
    for (node, name, missed) in [(&seen[0], "tank", 0), (&seen[1], "well", 2)] {
        assert_eq!(node["node"], name);
        assert_eq!(node["missed"], missed);
        assert_eq!(node["misses_known"], true);
    }
}
