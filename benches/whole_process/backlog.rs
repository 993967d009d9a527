//! What a backlog costs: how fast it drains, and that a long one costs no more than a short one.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::gateway::{Gateway, Input, Targets, acknowledged, stored};
use super::report::{Budget, Report};
use super::{recording, servers, throughput};

/// Live data that flows in meanwhile, in packets per second.
const LIVE: Input<'static> = Input::Simulator { rate: 50.0 };

/// More than the longest backlog.
const MAX_MESSAGES: &str = "journal.max_messages=20000000";

/// Of a packet of the recording, nine or so: these make 1,000,000 and 10,000,000 messages.
const SHORT: u32 = 110_000;
const LONG: u32 = 1_100_000;

pub fn measure(report: &mut Report) {
    let broker = servers::mosquitto();
    let rate = short(report, broker.port);
    long(report, &broker, rate);
}

fn mqtt(port: u16) -> Targets {
    Targets {
        mqtt: Some(port),
        influxdb: None,
    }
}

fn recording_in(folder: &Path) -> PathBuf {
    folder.join("recording.ndjson")
}

/// Fills a journal while the broker is away; returns how many messages it holds.
fn fill(folder: &Path, packets: u32) -> (u64, f64) {
    let path = recording_in(folder);
    let messages = recording::write(&path, packets);
    let away = mqtt(servers::free_port());
    let input = Input::File(&path);
    let mut gateway = Gateway::start(folder, &input, away, &["--set", MAX_MESSAGES]);
    let journal = folder.join("journal.db");
    while stored(&journal) < messages {
        std::thread::sleep(Duration::from_millis(20));
    }
    let memory = gateway.memory("VmHWM").unwrap();
    gateway.stop();
    (messages, memory)
}

/// Messages a second from the start of the gateway until `messages` are acknowledged.
fn drain(journal: &Path, messages: u64, since: Instant) -> f64 {
    let before = acknowledged(journal, "mqtt");
    while acknowledged(journal, "mqtt") < before + messages {
        std::thread::sleep(Duration::from_millis(10));
    }
    messages as f64 / since.elapsed().as_secs_f64()
}

/// Beside the rate from standard input, which is measured before and after: minutes later a virtual
/// machine can be another one.
fn short(report: &mut Report, port: u16) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal.db");
    let (messages, memory) = fill(folder.path(), SHORT);
    let bound = Budget::AtMost(25.0);
    report.add("most memory while a backlog grows", memory, "MiB", bound);
    let recording = recording_in(folder.path());
    let from_input = || throughput::deliver(&recording, messages, mqtt(port)).0;
    let before = from_input();
    let since = Instant::now();
    let gateway = Gateway::start(folder.path(), &LIVE, mqtt(port), &[]);
    let rate = drain(&journal, messages, since);
    let memory = gateway.memory("VmHWM").unwrap();
    drop(gateway);
    let live = f64::midpoint(before, from_input());
    let name = "drain of a backlog of 1,000,000, live data in";
    report.add(name, rate, "messages/s", Budget::None);
    let share = Budget::AtLeast(0.9);
    report.add("… of that from standard input", rate / live, "", share);
    report.add("most memory meanwhile", memory, "MiB", Budget::AtMost(25.0));
    rate
}

fn long(report: &mut Report, broker: &servers::Server, short: f64) {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal.db");
    let (messages, memory) = fill(folder.path(), LONG);
    let size = std::fs::metadata(&journal).unwrap().len() as f64 / f64::from(1 << 20);
    report.add("journal of 10,000,000 messages", size, "MiB", Budget::None);
    let bound = Budget::AtMost(25.0);
    report.add("most memory while it grows", memory, "MiB", bound);

    let started = super::start::first_publish(broker, folder.path(), &["--set", MAX_MESSAGES]);
    let bound = Budget::AtMost(300.0);
    report.add("start to first publish on it", started, "ms", bound);

    let since = Instant::now();
    let mut gateway = Gateway::start(
        folder.path(),
        &LIVE,
        mqtt(broker.port),
        &["--set", MAX_MESSAGES],
    );
    let rate = drain(&journal, 1_000_000, since);
    report.add(
        "drain of its first 1,000,000",
        rate,
        "messages/s",
        Budget::None,
    );
    let share = Budget::AtLeast(0.9);
    report.add("… of the short backlog's", rate / short, "", share);
    while acknowledged(&journal, "mqtt") < messages {
        std::thread::sleep(Duration::from_millis(20));
    }
    let rate = messages as f64 / since.elapsed().as_secs_f64();
    report.add("drain of all of it", rate, "messages/s", Budget::None);
    let memory = gateway.memory("VmHWM").unwrap();
    report.add("most memory meanwhile", memory, "MiB", Budget::AtMost(25.0));
    gateway.stop();
}
