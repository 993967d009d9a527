//! How soon after its start the gateway works.

use std::path::Path;
use std::time::Instant;

use rumqttc::{Event, Packet};

use super::ceilings::runtime;
use super::gateway::{Gateway, Input, Targets};
use super::latency::subscribe;
use super::report::{Budget, Report};
use super::servers::{self, Server};

pub fn measure(report: &mut Report) {
    let broker = servers::mosquitto();
    let starts = (0..5).map(|_| {
        let folder = tempfile::tempdir().unwrap();
        first_publish(&broker, folder.path(), &[])
    });
    let longest = starts.fold(0.0, f64::max);
    let name = "start to first publish, longest of 5";
    report.add(name, longest, "ms", Budget::AtMost(150.0));
}

/// Milliseconds from the start of a gateway until a subscriber sees the first reading. Retained
/// messages from before do not count.
pub fn first_publish(broker: &Server, folder: &Path, settings: &[&str]) -> f64 {
    let targets = Targets {
        mqtt: Some(broker.port),
        influxdb: None,
    };
    runtime().block_on(async {
        let (_client, mut events) = subscribe(broker, "iiot/+/+").await;
        let since = Instant::now();
        let input = Input::Simulator { rate: 100.0 };
        let _gateway = Gateway::start(folder, &input, targets, settings);
        loop {
            if let Event::Incoming(Packet::Publish(message)) = events.poll().await.unwrap()
                && !message.retain
                && !message.topic.ends_with("/status")
            {
                return since.elapsed().as_secs_f64() * 1e3;
            }
        }
    })
}
