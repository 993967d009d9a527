//! The embedded MQTT broker.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};

use super::DemoError;

/// How long it may take to come up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Starts a broker on a thread of its own, which lives as long as the process.
pub(super) fn start(address: SocketAddr) -> Result<SocketAddr, DemoError> {
    let mut broker = Broker::new(config(address));
    std::thread::Builder::new()
        .name("demo-broker".to_owned())
        .spawn(move || {
            if let Err(error) = broker.start() {
                tracing::error!(error = %error, "The embedded broker failed.");
            }
        })?;
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(address).is_err() {
        if Instant::now() > deadline {
            return Err(DemoError::Broker(address));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(address)
}

/// Memory is bounded by the segments: two of one MiB for each topic filter.
fn config(address: SocketAddr) -> Config {
    let connections = ConnectionSettings {
        connection_timeout_ms: 5_000,
        max_payload_size: 64 << 10,
        max_inflight_count: 200,
        auth: None,
        external_auth: None,
        dynamic_filters: true,
    };
    let server = ServerSettings {
        name: "demo".to_owned(),
        listen: address,
        tls: None,
        next_connection_delay_ms: 1,
        connections,
    };
    Config {
        router: RouterConfig {
            max_connections: 100,
            max_outgoing_packet_count: 200,
            max_segment_size: 1 << 20,
            max_segment_count: 2,
            ..RouterConfig::default()
        },
        v4: Some(HashMap::from([("demo".to_owned(), server)])),
        ..Config::default()
    }
}
