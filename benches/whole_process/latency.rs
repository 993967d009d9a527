//! How long a packet takes from the gateway's standard input to a subscriber.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};

use super::ceilings::runtime;
use super::gateway::{Gateway, Input, Targets};
use super::report::{Budget, Report};
use super::servers::{self, Server};

/// Packets that are not counted: they belong to the start.
const WARM_UP: u32 = 50;

/// How long packets took, in milliseconds, the shortest first.
pub struct Latencies(Vec<f64>);

impl Latencies {
    pub fn percentile(&self, percent: usize) -> f64 {
        self.0[(self.0.len() - 1) * percent / 100]
    }
}

pub fn measure(report: &mut Report) {
    let broker = servers::mosquitto();
    let folder = tempfile::tempdir().unwrap();
    let latencies = of_gateway(&broker, folder.path(), &[], 50, 1_000);
    let figures = [
        ("line in to subscriber, 50 packets/s: p50", 50, Budget::None),
        ("… p99", 99, Budget::AtMost(5.0)),
        ("… longest", 100, Budget::None),
    ];
    for (name, percent, budget) in figures {
        report.add(name, latencies.percentile(percent), "ms", budget);
    }
}

/// Feeds a gateway with `packets` packets, so many a second, and watches them arrive.
pub fn of_gateway(
    broker: &Server,
    folder: &Path,
    settings: &[&str],
    rate: u32,
    packets: u32,
) -> Latencies {
    let targets = Targets {
        mqtt: Some(broker.port),
        influxdb: None,
    };
    let mut latencies = runtime().block_on(async {
        let (_client, mut events) = subscribe(broker, "iiot/node1/gas_resistance").await;
        let mut gateway = Gateway::start(folder, &Input::Pipe, targets, settings);
        let mut input = gateway.child.stdin.take().unwrap();
        let mut written = HashMap::new();
        let mut latencies = Vec::new();
        let period = Duration::from_secs(1) / rate;
        let mut ticks = tokio::time::interval(period);
        let mut next = 0;
        while latencies.len() < packets as usize {
            tokio::select! {
                _ = ticks.tick(), if next < packets + WARM_UP => {
                    let ts = 1_000 + u128::from(next) * period.as_millis();
                    let line = format!(
                        "{{\"ts\":{ts},\"id\":\"N2\",\"n1\":{{\"g\":{next},\"h\":50}}}}\n"
                    );
                    written.insert(next.to_string(), Instant::now());
                    input.write_all(line.as_bytes()).unwrap();
                    next += 1;
                }
                event = events.poll() => if let Event::Incoming(Packet::Publish(message)) = event.unwrap() {
                    let payload = String::from_utf8(message.payload.to_vec()).unwrap();
                    if let Some(since) = written.remove(&payload)
                        && payload.parse::<u32>().unwrap() >= WARM_UP
                    {
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
    Latencies(latencies)
}

/// A subscriber that sees what is published from now on.
pub async fn subscribe(broker: &Server, topic: &str) -> (AsyncClient, EventLoop) {
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
