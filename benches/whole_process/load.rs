//! What the gateway takes while next to nothing happens.

use std::time::Duration;

use super::gateway::{Gateway, Input, Targets, Usage};
use super::report::{Budget, Report};
use super::screen::Screen;
use super::servers;

/// A packet every three seconds: three nodes that report as they do in the field.
const QUIET: Input<'static> = Input::Simulator { rate: 0.3 };

const SETTLING: Duration = Duration::from_secs(2);
const WATCHED: Duration = Duration::from_secs(30);

pub fn measure(report: &mut Report) {
    let broker = servers::mosquitto();
    let database = servers::victoria_metrics();
    let targets = Targets {
        mqtt: Some(broker.port),
        influxdb: Some(database.port),
    };
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(folder.path(), &QUIET, targets, &[]);
    watch(
        report,
        "headless",
        gateway.usage(),
        0.5,
        Budget::AtMost(25.0),
    );
    drop(gateway);

    let folder = tempfile::tempdir().unwrap();
    let screen = Screen::start(folder.path(), &QUIET, targets);
    watch(report, "terminal UI", screen.usage(), 1.0, Budget::None);
}

fn watch(report: &mut Report, what: &str, usage: Usage, cpu: f64, memory: Budget) {
    std::thread::sleep(SETTLING);
    let percent = usage.cpu_percent(WATCHED);
    let name = format!("CPU, idle, {what}");
    report.add(&name, percent, "% of a core", Budget::AtMost(cpu));
    let name = format!("memory, idle, {what}");
    report.add(&name, usage.memory("VmRSS").unwrap(), "MiB", memory);
}
