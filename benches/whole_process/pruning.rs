//! What a history costs while it leaves the journal.

use super::gateway::{Gateway, Input, Targets, first_stored};
use super::report::{Budget, Report};
use super::{latency, recording, servers};

/// In packets per second.
const RATE: u32 = 200;

pub fn measure(report: &mut Report) {
    let broker = servers::mosquitto();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recording.ndjson");
    recording::write(&path, 110_000);
    let targets = Targets {
        mqtt: Some(broker.port),
        influxdb: None,
    };
    Gateway::start(folder.path(), &Input::File(&path), targets, &[]).wait();

    let p99 = |history: &str| {
        let history = format!("journal.history={history}");
        let settings = ["--set", &history];
        latency::of_gateway(&broker, folder.path(), &settings, RATE, 2_000).percentile(99)
    };
    let kept = p99("7d");
    let journal = folder.path().join("journal.db");
    let first = first_stored(&journal);
    let pruned = p99("1s");
    let rows = (first_stored(&journal) - first) as f64;
    let name = "line in to subscriber, 200 packets/s: p99";
    report.add(name, kept, "ms", Budget::None);
    let bound = Budget::AtMost(2.0 * kept);
    report.add("… while the history is pruned", pruned, "ms", bound);
    let enough = Budget::AtLeast(5_000.0);
    report.add("rows that left meanwhile", rows, "", enough);
}
