//! What is measured, in order.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use fieldgate::source::Generator;
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};

use super::ceilings::{self, runtime};
use super::gateway::{self, Gateway, Input, Targets, acknowledged};
use super::report::{Budget, Report};
use super::servers::{self, Server};

const IN_FLIGHT: u16 = 100;

pub fn all(report: &mut Report) {
    let folder = tempfile::tempdir().unwrap();
    let recording = folder.path().join("recording.ndjson");
    let messages = record(&recording, 110_000);
    throughput(report, &recording, messages);
    latency(report);
    drain(report, &recording, messages);
    idle(report);
    start(report);
    let size = std::fs::metadata(gateway::BINARY).unwrap().len() as f64 / f64::from(1 << 20);
    report.add("binary", size, "MiB", Budget::AtMost(15.0));
}

/// A recording of so many packets; returns how many messages they hold.
fn record(path: &Path, packets: u32) -> u64 {
    let mut generator = Generator::new(3, 0.0, 1);
    let mut bytes = BytesMut::new();
    for _ in 0..packets {
        generator.write_next(Duration::from_millis(100), &mut bytes);
    }
    std::fs::write(path, &bytes).unwrap();
    let count = |key: &str| {
        bytes
            .windows(key.len())
            .filter(|it| *it == key.as_bytes())
            .count()
    };
    [
        "\"t\":",
        "\"h\":",
        "\"g\":",
        "\"p\":",
        "\"rssi\":",
        "\"snr\":",
        "\"rx\":",
        "\"err\":",
    ]
    .iter()
    .map(|key| count(key) as u64)
    .sum()
}

fn throughput(report: &mut Report, recording: &Path, messages: u64) {
    let broker = servers::mosquitto();
    let database = servers::victoria_metrics();
    let ceiling = ceilings::mqtt(broker.port, 400_000, IN_FLIGHT);
    report.add(
        "bare rumqttc loop, QoS 1, 100 in flight",
        ceiling,
        "messages/s",
        Budget::None,
    );
    let posts = ceilings::influxdb(database.port, 200, 5_000);
    report.add(
        "bare HTTP posts of 5,000 points, gzip",
        posts,
        "points/s",
        Budget::None,
    );

    let mqtt = Targets {
        mqtt: Some(broker.port),
        influxdb: None,
    };
    let influxdb = Targets {
        mqtt: None,
        influxdb: Some(database.port),
    };
    let both = Targets {
        mqtt: mqtt.mqtt,
        influxdb: influxdb.influxdb,
    };
    let (rate, _) = deliver(recording, messages, mqtt);
    let budget = Budget::AtLeast(0.9 * ceiling);
    report.add("stdin to last PUBACK", rate, "messages/s", budget);
    report.add(
        "… of the bare loop",
        rate / ceiling,
        "",
        Budget::AtLeast(0.9),
    );
    let (rate, _) = deliver(recording, messages, influxdb);
    report.add(
        "stdin to last acknowledged point",
        rate,
        "points/s",
        Budget::AtLeast(300_000.0),
    );
    report.add("… of the bare posts", rate / posts, "", Budget::None);
    let (rate, memory) = deliver(recording, messages, both);
    report.add(
        "both sinks, until both are done",
        rate,
        "messages/s",
        Budget::None,
    );
    report.add("most memory meanwhile", memory, "MiB", Budget::AtMost(25.0));
}

/// From the start of the process to its end: all of its life counts.
fn deliver(recording: &Path, messages: u64, targets: Targets) -> (f64, f64) {
    let folder = tempfile::tempdir().unwrap();
    let since = Instant::now();
    let mut gateway = Gateway::start(folder.path(), &Input::File(recording), targets);
    let memory = gateway.wait();
    let rate = messages as f64 / since.elapsed().as_secs_f64();
    let journal = folder.path().join("journal.db");
    for (sink, target) in [("mqtt", targets.mqtt), ("influxdb", targets.influxdb)] {
        if target.is_some() {
            assert_eq!(acknowledged(&journal, sink), messages, "{sink} missed some");
        }
    }
    (rate, memory)
}

/// A subscriber that passes on what it sees.
async fn subscribe(broker: &Server, topic: &str) -> (AsyncClient, rumqttc::EventLoop) {
    let options = MqttOptions::new("subscriber", "127.0.0.1", broker.port);
    let (client, mut events) = AsyncClient::new(options, 10);
    events.network_options.set_tcp_nodelay(true);
    client.subscribe(topic, QoS::AtMostOnce).await.unwrap();
    while !matches!(
        events.poll().await.unwrap(),
        Event::Incoming(Packet::SubAck(_))
    ) {}
    (client, events)
}

fn latency(report: &mut Report) {
    const PACKETS: u32 = 1_000;
    let broker = servers::mosquitto();
    let folder = tempfile::tempdir().unwrap();
    let targets = Targets {
        mqtt: Some(broker.port),
        influxdb: None,
    };
    let mut latencies = runtime().block_on(async {
        let (_client, mut events) = subscribe(&broker, "iiot/node1/temperature").await;
        let mut gateway = Gateway::start(folder.path(), &Input::Pipe, targets);
        let mut input = gateway.child.stdin.take().unwrap();
        let mut written = HashMap::new();
        let mut latencies = Vec::new();
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        let mut next = 0;
        while latencies.len() < PACKETS as usize {
            tokio::select! {
                _ = ticks.tick(), if next < PACKETS + 50 => {
                    let mut line = String::new();
                    let ts = 1_000 + next * 20;
                    writeln!(line, "{{\"ts\":{ts},\"id\":\"N2\",\"n1\":{{\"t\":{next},\"h\":50}}}}").unwrap();
                    written.insert(next.to_string(), Instant::now());
                    input.write_all(line.as_bytes()).unwrap();
                    next += 1;
                }
                event = events.poll() => if let Event::Incoming(Packet::Publish(message)) = event.unwrap() {
                    let payload = String::from_utf8(message.payload.to_vec()).unwrap();
                    // The first second belongs to connecting.
                    if let Some(since) = written.remove(&payload) && payload.parse::<u32>().unwrap() >= 50 {
                        latencies.push(since.elapsed().as_secs_f64() * 1e3);
                    }
                },
            }
        }
        drop(input);
        gateway.wait();
        latencies
    });
    latencies.sort_by(f64::total_cmp);
    let at = |percent: usize| latencies[(latencies.len() - 1) * percent / 100];
    report.add(
        "line in to subscriber, 50 packets/s: p50",
        at(50),
        "ms",
        Budget::None,
    );
    report.add("… p99", at(99), "ms", Budget::AtMost(5.0));
    report.add("… longest", at(100), "ms", Budget::None);
}

/// Fills a journal while the broker is away, then brings the broker back.
fn drain(report: &mut Report, recording: &Path, messages: u64) {
    let folder = tempfile::tempdir().unwrap();
    let journal: PathBuf = folder.path().join("journal.db");
    let mut copies = 0;
    while copies * messages < 1_000_000 {
        let away = Targets {
            mqtt: Some(servers::free_port()),
            influxdb: None,
        };
        let mut gateway = Gateway::start(folder.path(), &Input::File(recording), away);
        let expected = (copies + 1) * messages;
        while stored(&journal) < expected {
            std::thread::sleep(Duration::from_millis(20));
        }
        copies += 1;
        let memory = gateway.memory("VmHWM").unwrap();
        report.add(
            "most memory while a backlog grows",
            memory,
            "MiB",
            Budget::AtMost(25.0),
        );
        gateway.stop();
    }
    let backlog = copies * messages;
    let broker = servers::mosquitto();
    let ceiling = ceilings::mqtt(broker.port, 400_000, IN_FLIGHT);
    let targets = Targets {
        mqtt: Some(broker.port),
        influxdb: None,
    };
    let since = Instant::now();
    let gateway = Gateway::start(folder.path(), &Input::Simulator { rate: 50.0 }, targets);
    while acknowledged(&journal, "mqtt") < backlog {
        std::thread::sleep(Duration::from_millis(10));
    }
    let rate = backlog as f64 / since.elapsed().as_secs_f64();
    let name = "drain of a backlog of 1,000,000, live data in";
    report.add(name, rate, "messages/s", Budget::AtLeast(0.9 * ceiling));
    report.add(
        "… of the bare loop",
        rate / ceiling,
        "",
        Budget::AtLeast(0.9),
    );
    let memory = gateway.memory("VmHWM").unwrap();
    report.add("most memory meanwhile", memory, "MiB", Budget::AtMost(25.0));
}

fn stored(journal: &PathBuf) -> u64 {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let Ok(connection) = rusqlite::Connection::open_with_flags(journal, flags) else {
        return 0;
    };
    let query = "SELECT total FROM packets ORDER BY sequence DESC LIMIT 1";
    connection
        .query_row(query, [], |row| row.get::<_, i64>(0))
        .unwrap_or(0)
        .unsigned_abs()
}

fn idle(report: &mut Report) {
    let broker = servers::mosquitto();
    let database = servers::victoria_metrics();
    let folder = tempfile::tempdir().unwrap();
    let targets = Targets {
        mqtt: Some(broker.port),
        influxdb: Some(database.port),
    };
    let gateway = Gateway::start(folder.path(), &Input::Simulator { rate: 0.3 }, targets);
    std::thread::sleep(Duration::from_secs(2));
    let percent = gateway.cpu_percent(Duration::from_secs(30));
    report.add(
        "CPU, idle, headless",
        percent,
        "% of a core",
        Budget::AtMost(0.5),
    );
    let memory = gateway.memory("VmRSS").unwrap();
    report.add(
        "memory, idle, headless",
        memory,
        "MiB",
        Budget::AtMost(25.0),
    );
}

fn start(report: &mut Report) {
    let mut longest: f64 = 0.0;
    for _ in 0..5 {
        let broker = servers::mosquitto();
        let folder = tempfile::tempdir().unwrap();
        let targets = Targets {
            mqtt: Some(broker.port),
            influxdb: None,
        };
        let took = runtime().block_on(async {
            let (_client, mut events) = subscribe(&broker, "iiot/+/+").await;
            let since = Instant::now();
            let input = Input::Simulator { rate: 100.0 };
            let _gateway = Gateway::start(folder.path(), &input, targets);
            while !matches!(
                events.poll().await.unwrap(),
                Event::Incoming(Packet::Publish(_))
            ) {}
            since.elapsed().as_secs_f64() * 1e3
        });
        longest = longest.max(took);
    }
    report.add(
        "start to first publish, longest of 5",
        longest,
        "ms",
        Budget::AtMost(150.0),
    );
}
