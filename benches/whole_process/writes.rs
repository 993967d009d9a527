//! What the journal has written to the disk for each packet, as a card in a Raspberry Pi would have it.

use std::time::Duration;

use super::gateway::{Gateway, Input, Targets};
use super::report::{Budget, Report};
use super::servers;

/// Packets per second.
const RATE: f64 = 1.0;

/// A new journal is made, and what first came is settled.
const SETTLING: Duration = Duration::from_secs(30);

const WATCHED: Duration = Duration::from_mins(3);

pub fn measure(report: &mut Report) {
    let broker = servers::mosquitto();
    let targets = Targets {
        mqtt: Some(broker.port),
        influxdb: None,
    };
    let durabilities = [
        ("full", Budget::AtMost(5.5)),
        ("interval", Budget::None),
        ("normal", Budget::None),
    ];
    let started = durabilities.map(|(durability, budget)| {
        let folder = tempfile::tempdir().unwrap();
        let setting = format!("journal.durability={durability}");
        // They share the broker, where two of one name would end each other's connections.
        let name = format!("mqtt.client_id=durability-{durability}");
        let settings = ["--set", &setting, "--set", &name];
        let input = Input::Simulator { rate: RATE };
        let gateway = Gateway::start(folder.path(), &input, targets, &settings);
        (durability, budget, folder, gateway)
    });
    std::thread::sleep(SETTLING);
    let before = started
        .each_ref()
        .map(|(_, _, _, gateway)| gateway.usage().written());
    std::thread::sleep(WATCHED);
    for ((durability, budget, _folder, gateway), before) in started.into_iter().zip(before) {
        let packets = RATE * WATCHED.as_secs_f64();
        report.add(
            &format!("written for each packet, durability = \"{durability}\""),
            (gateway.usage().written() - before) / 1_000.0 / packets,
            "kB",
            budget,
        );
    }
}
