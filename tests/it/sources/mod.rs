//! Every way in, from the bytes to the broker.

mod alone;

use std::fs;
use std::path::Path;

use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::support::{
    Fieldgate, Message, Mosquitto, PATIENCE, Pty, Sample, Signal, Subscriber, SubscriberOptions,
    by_topic, poll,
};

fn is_reading(message: &Message) -> bool {
    !message.is_of_gateway()
}

/// A broker and who listens to it.
struct Broker {
    broker: Mosquitto,
    subscriber: Subscriber,
}

impl Broker {
    fn start() -> Self {
        let broker = Mosquitto::start();
        let options = SubscriberOptions {
            retain_as_published: true,
            ..SubscriberOptions::default()
        };
        let subscriber = Subscriber::start_with(broker.port(), "iiot/#", &options);
        Self { broker, subscriber }
    }

    /// A gateway that reads from a source and publishes here.
    fn gateway(&self, source: &str) -> Fieldgate {
        Fieldgate::new(&format!(
            "[source]\n{source}\n[mqtt]\nbroker_url = \"{}\"\n",
            self.broker.url()
        ))
    }

    /// What has arrived so far.
    fn readings(&self) -> Vec<Message> {
        let mut messages = self.subscriber.messages();
        messages.retain(is_reading);
        messages
    }

    /// Waits until so many readings have arrived, and returns all.
    fn wait_for_count(&self, count: usize) -> Vec<Message> {
        let what = format!("{count} readings");
        let mut messages = self.subscriber.wait_until(&what, PATIENCE, |messages| {
            messages.iter().filter(|it| is_reading(it)).count() >= count
        });
        messages.retain(is_reading);
        messages
    }

    /// Waits until exactly what some samples hold has arrived, in its order.
    fn wait_for(&self, samples: &[Sample]) {
        let readings = samples.iter().flat_map(|sample| sample.readings());
        let expected: Vec<Message> = readings.map(|it| it.message("iiot", 1)).collect();
        let arrived = self.wait_for_count(expected.len());
        assert_eq!(by_topic(arrived), by_topic(expected));
    }
}

fn assert_summary(gateway: &mut Fieldgate, packets: usize, messages: usize) {
    let summary = gateway.stdout().pop().unwrap();
    let expected = format!(
        "Stopped. {packets} packets received; delivered {messages} messages to MQTT (0 waiting)."
    );
    assert!(summary.starts_with(&expected), "{summary}");
}

#[test]
fn standard_input_is_delivered_to_its_end() {
    let broker = Broker::start();
    for (sample, packets) in [(Sample::LiteralNewline, 40), (Sample::Dirty, 43)] {
        let before = broker.readings().len();
        let mut gateway = broker
            .gateway("kind = \"serial\"")
            .arg("--source=-")
            .start();
        gateway.write_stdin(&fs::read(sample.path()).unwrap());
        gateway.close_stdin();
        gateway.wait_for_metrics(PATIENCE);
        let count = sample.readings().len();
        assert_summary(&mut gateway, packets, count);
        assert_eq!(broker.wait_for_count(before + count).len(), before + count);
    }
    broker.wait_for(&[Sample::LiteralNewline, Sample::Dirty]);
}

#[test]
fn what_is_no_telemetry_is_counted_by_its_reason() {
    let mut gateway = Fieldgate::new("")
        .arg("--file")
        .arg(Sample::Dirty.path())
        .arg("--speed=max")
        .start();
    let metrics = gateway.wait_for_metrics(PATIENCE);
    let rejected = |reason: &str| {
        let name = format!("telemetry_frames_rejected_total{{reason=\"{reason}\"}}");
        metrics[&name]
    };
    for reason in ["syntax", "unfinished", "invalid_utf8", "invalid_time"] {
        assert!(rejected(reason) >= 1.0, "{reason}: {metrics:?}");
    }
    assert!(metrics["telemetry_packets_missed_total"] >= 1.0);
}

#[test]
fn a_recording_is_replayed_at_any_speed() {
    for speed in ["max", "3600"] {
        let broker = Broker::start();
        let mut gateway = broker
            .gateway("kind = \"file\"")
            .arg("--file")
            .arg(Sample::ProbeRs.path())
            .args(["--speed", speed])
            .start();
        gateway.wait_for_metrics(PATIENCE);
        broker.wait_for(&[Sample::ProbeRs]);
    }
}

#[test]
fn a_command_is_read_and_ended_with_the_gateway() {
    let broker = Broker::start();
    let script = format!(
        "echo $$ >pid; echo ready >&2; cat {}; sleep 1000 & sleep 1000",
        Sample::LiteralNewline.path().display()
    );
    let mut gateway = broker
        .gateway(&format!(
            "kind = \"command\"\ncommand = [\"sh\", \"-c\", {script:?}]"
        ))
        .start();
    broker.wait_for(&[Sample::LiteralNewline]);
    let line = gateway.wait_for_log("ready", PATIENCE);
    assert!(line.contains("source"), "{line}");
    let group = read_pid(&gateway.folder().join("pid"));
    gateway.signal(Signal::SIGTERM);
    gateway.wait_for_metrics(PATIENCE);
    assert_gone(group);
    let count = Sample::LiteralNewline.readings().len();
    assert_summary(&mut gateway, 40, count);
}

fn read_pid(path: &Path) -> Pid {
    let pid = poll(PATIENCE, || {
        let text = fs::read_to_string(path).ok()?;
        text.trim().parse().ok()
    });
    Pid::from_raw(pid.expect("no process id"))
}

/// Nothing of a process group runs any more. What has ended may stay listed until somebody takes note
/// of it.
fn assert_gone(group: Pid) {
    let state = |pid: i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, fields) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        (fields[2] == group.as_raw().to_string()).then(|| fields[0].to_owned())
    };
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let name = entry.ok()?.file_name();
        name.to_str()?.parse().ok()
    });
    let alive: Vec<i32> = processes
        .filter(|pid| state(*pid).is_some_and(|state| state != "Z" && state != "X"))
        .collect();
    assert!(alive.is_empty(), "{alive:?} of {group} still run");
}

/// Stands in for the real one: prints what it printed. The first run fails at its end.
const PROBE_RS: &str = r#"
echo "$@" >>arguments
echo $$ >pid
echo "Programming 100.00%" >&2
cat "$RECORDING"
if [ "$(wc -l <arguments)" -eq 1 ]; then
    echo "Error: the probe was unplugged" >&2
    exit 1
fi
exec sleep 1000
"#;

#[test]
fn firmware_is_run_by_probe_rs_again_when_it_fails() {
    let broker = Broker::start();
    let source = "kind = \"probe-rs\"\nprobe_id = \"0483:374b\"\nchip = \"STM32F446RETx\"\n\
                  firmware_path = \"gateway firmware.elf\"";
    let mut gateway = broker
        .gateway(source)
        .env("RECORDING", Sample::ProbeRs.path().to_str().unwrap())
        .stand_in("probe-rs", PROBE_RS)
        .start();
    broker.wait_for(&[Sample::ProbeRs; 2]);
    let failure = gateway.wait_for_log("does not deliver", PATIENCE);
    for part in [
        "probe-rs ended with exit status: 1",
        "the probe was unplugged",
        "retry_in=1.",
    ] {
        assert!(failure.contains(part), "{failure}");
    }
    gateway.wait_for_log_count("Programming 100.00%", 2, PATIENCE);
    let arguments = fs::read_to_string(gateway.folder().join("arguments")).unwrap();
    let expected = "run --probe 0483:374b --chip STM32F446RETx gateway firmware.elf\n";
    assert_eq!(arguments, expected.repeat(2));

    let program = read_pid(&gateway.folder().join("pid"));
    kill(program, None).expect("the second run has ended by itself");
    gateway.signal(Signal::SIGTERM);
    let metrics = gateway.wait_for_metrics(PATIENCE);
    assert_gone(program);
    assert_eq!(
        metrics[r#"reconnects_total{link="source"}"#].to_string(),
        "1"
    );
    assert_summary(&mut gateway, 80, 2 * Sample::ProbeRs.readings().len());
}

#[test]
fn a_port_that_is_unplugged_is_read_again_when_it_returns() {
    let broker = Broker::start();
    let mut port = Pty::open();
    let mut gateway = broker
        .gateway("baud = 9600")
        .arg("--port")
        .arg(port.path())
        .start();
    let recording = fs::read_to_string(Sample::Clean.path()).unwrap();
    let lines: Vec<&str> = recording.split_inclusive('\n').take(40).collect();
    let readings = Sample::Clean.readings();
    let last_uptime = |lines: usize| 2_000 + 10_000 * i64::try_from(lines).unwrap();
    let arrived = |lines: usize| {
        let whole = readings
            .iter()
            .filter(|it| it.uptime_ms <= last_uptime(lines));
        let expected: Vec<Message> = whole.map(|it| it.message("iiot", 1)).collect();
        let arrived = broker.wait_for_count(expected.len());
        assert_eq!(by_topic(arrived), by_topic(expected));
    };

    port.write(lines[..20].concat().as_bytes());
    // The cable is pulled in the middle of an object.
    port.write(&lines[20].as_bytes()[..40]);
    arrived(20);
    port.close();
    let lost = gateway.wait_for_log("does not deliver", PATIENCE);
    assert!(lost.contains(port.path().to_str().unwrap()), "{lost}");
    assert!(
        lost.contains("was lost") && lost.contains("retry_in="),
        "{lost}"
    );

    port.reopen();
    port.write(lines[20..].concat().as_bytes());
    gateway.wait_for_log_count("Source opened.", 2, PATIENCE);
    arrived(40);
    gateway.signal(Signal::SIGTERM);
    let metrics = gateway.wait_for_metrics(PATIENCE);
    assert_eq!(
        metrics[r#"reconnects_total{link="source"}"#].to_string(),
        "1"
    );
    assert_eq!(
        metrics[r#"telemetry_frames_rejected_total{reason="unfinished"}"#].to_string(),
        "1"
    );
    assert_eq!(metrics["telemetry_packets_missed_total"].to_string(), "0");
    let delivered = broker.readings().len();
    assert_summary(&mut gateway, 40, delivered);
}

#[test]
fn a_port_that_is_not_there_is_waited_for() {
    let broker = Broker::start();
    let mut port = Pty::open();
    port.close();
    let mut gateway = broker.gateway("").arg("--port").arg(port.path()).start();
    let missing = gateway.wait_for_log("is the board plugged in?", PATIENCE);
    assert!(missing.contains(port.path().to_str().unwrap()), "{missing}");
    port.reopen();
    port.write(&fs::read(Sample::LiteralNewline.path()).unwrap());
    broker.wait_for(&[Sample::LiteralNewline]);
}

#[test]
fn the_simulator_repeats_itself_and_ends() {
    let simulate = |seed: &str| {
        let broker = Broker::start();
        let mut gateway = broker
            .gateway("kind = \"simulator\"")
            .args(["--count=200", "--rate=2000", "--nodes=4", "--seed", seed])
            .start();
        gateway.wait_for_metrics(PATIENCE);
        let summary = gateway.stdout().pop().unwrap();
        let (_, delivered) = summary
            .split_once("200 packets received; delivered ")
            .expect(&summary);
        let count: usize = delivered.split(' ').next().unwrap().parse().unwrap();
        assert!(count > 400, "{summary}");
        let readings = by_topic(broker.wait_for_count(count));
        assert_eq!(readings.values().map(Vec::len).sum::<usize>(), count);
        readings
    };
    let first = simulate("7");
    for node in 1..=4 {
        let topic = format!("iiot/node{node}/temperature");
        assert!(first.contains_key(&topic), "{:?}", first.keys());
    }
    assert_eq!(first, simulate("7"));
    assert_ne!(first, simulate("8"));
}
