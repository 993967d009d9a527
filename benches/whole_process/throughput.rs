//! How much the gateway delivers, from its standard input to the last acknowledgement.

use std::path::Path;
use std::time::Instant;

use super::gateway::{Gateway, Input, Spent, Targets, acknowledged};
use super::report::{Budget, Report};
use super::{IN_FLIGHT, ceilings, recording, servers};

pub fn measure(report: &mut Report) {
    let folder = tempfile::tempdir().unwrap();
    let recording = folder.path().join("recording.ndjson");
    let messages = recording::write(&recording, 110_000);
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
    let (live, _) = deliver(&recording, messages, mqtt);
    let budget = Budget::AtLeast(0.9 * ceiling);
    report.add("stdin to last PUBACK", live, "messages/s", budget);
    report.add(
        "… of the bare loop",
        live / ceiling,
        "",
        Budget::AtLeast(0.9),
    );
    let (rate, _) = deliver(&recording, messages, influxdb);
    report.add(
        "stdin to last acknowledged point",
        rate,
        "points/s",
        Budget::AtLeast(300_000.0),
    );
    report.add("… of the bare posts", rate / posts, "", Budget::None);
    let (rate, spent) = deliver(&recording, messages, both);
    report.add(
        "both sinks, until both are done",
        rate,
        "messages/s",
        Budget::None,
    );
    report.add(
        "most memory meanwhile",
        spent.memory,
        "MiB",
        Budget::AtMost(25.0),
    );
    report.add(
        "CPU of the gateway for each reading meanwhile",
        1e6 * spent.cpu / messages as f64,
        "µs",
        Budget::None,
    );
}

/// Messages a second, from the start of the process to its end: all of its life counts. And what it took.
pub fn deliver(recording: &Path, messages: u64, targets: Targets) -> (f64, Spent) {
    let folder = tempfile::tempdir().unwrap();
    let since = Instant::now();
    let mut gateway = Gateway::start(folder.path(), &Input::File(recording), targets, &[]);
    let spent = gateway.wait();
    let rate = messages as f64 / since.elapsed().as_secs_f64();
    let journal = folder.path().join("journal.db");
    for (sink, target) in [("mqtt", targets.mqtt), ("influxdb", targets.influxdb)] {
        if target.is_some() {
            assert_eq!(acknowledged(&journal, sink), messages, "{sink} missed some");
        }
    }
    (rate, spent)
}
