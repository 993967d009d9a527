//! What the same machine and servers can do without a gateway in between.

use std::io::Write;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use rumqttc::{AsyncClient, Event, MqttOptions, NetworkOptions, Packet, QoS};

/// Messages a second of a bare rumqttc loop, `QoS` 1, with so many in flight.
pub fn mqtt(port: u16, messages: u32, in_flight: u16) -> f64 {
    runtime().block_on(async {
        let mut options = MqttOptions::new("ceiling", "127.0.0.1", port);
        options
            .set_inflight(in_flight)
            .set_keep_alive(Duration::from_secs(30));
        let (client, mut events) = AsyncClient::new(options, usize::from(in_flight));
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        events.set_network_options(network);
        while !matches!(
            events.poll().await.unwrap(),
            Event::Incoming(Packet::ConnAck(_))
        ) {}
        let (mut sent, mut acknowledged) = (0, 0);
        let since = Instant::now();
        while acknowledged < messages {
            while sent < messages {
                let topic = format!("ceiling/node{}/temperature", sent % 9);
                let payload = format!("{}.{}", 20 + sent % 9, sent % 10);
                if client
                    .try_publish(topic, QoS::AtLeastOnce, true, payload)
                    .is_err()
                {
                    break;
                }
                sent += 1;
            }
            if let Event::Incoming(Packet::PubAck(_)) = events.poll().await.unwrap() {
                acknowledged += 1;
            }
        }
        f64::from(messages) / since.elapsed().as_secs_f64()
    })
}

/// Points a second of HTTP posts, one after the other, of batches made before.
pub fn influxdb(port: u16, batches: u32, points: u32) -> f64 {
    let bodies: Vec<Vec<u8>> = (0..batches)
        .map(|batch| {
            let mut body = GzEncoder::new(Vec::new(), Compression::fast());
            for point in 0..points {
                let time = 1_700_000_000_000_u64 + u64::from(batch * points + point);
                writeln!(
                    body,
                    "temperature,node_id=node{},sensor_type=environmental value={}.{} {time}000000",
                    point % 9,
                    20 + point % 7,
                    point % 10
                )
                .unwrap();
            }
            body.finish().unwrap()
        })
        .collect();
    runtime().block_on(async {
        let client = reqwest::Client::new();
        let url = format!("http://127.0.0.1:{port}/api/v2/write?org=bench&bucket=ceiling");
        let since = Instant::now();
        for body in bodies {
            let request = client
                .post(&url)
                .header("Content-Encoding", "gzip")
                .body(body);
            assert!(request.send().await.unwrap().status().is_success());
        }
        f64::from(batches * points) / since.elapsed().as_secs_f64()
    })
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}
