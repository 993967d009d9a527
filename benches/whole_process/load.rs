//! What the gateway takes of the machine, with and without its terminal UI: while next to nothing
//! happens, and under more than any radio brings.

use std::time::Duration;

use super::gateway::{Gateway, Input, Targets, Usage};
use super::report::{Budget, Report};
use super::screen::Screen;
use super::servers;

const SETTLING: Duration = Duration::from_secs(2);

/// A load, and what it may take.
struct Load {
    name: &'static str,
    /// In packets per second.
    rate: f64,
    watched: Duration,
    /// In percent of a core.
    headless: Budget,
    terminal_ui: Budget,
}

const LOADS: [Load; 2] = [
    Load {
        name: "idle",
        // Three nodes that report every ten seconds, as they do in the field.
        rate: 0.3,
        watched: Duration::from_secs(30),
        headless: Budget::AtMost(0.5),
        terminal_ui: Budget::AtMost(1.0),
    },
    Load {
        name: "1,000 packets/s",
        rate: 1_000.0,
        watched: Duration::from_secs(10),
        headless: Budget::None,
        terminal_ui: Budget::None,
    },
];

pub fn measure(report: &mut Report) {
    let broker = servers::mosquitto();
    let database = servers::victoria_metrics();
    let targets = Targets {
        mqtt: Some(broker.port),
        influxdb: Some(database.port),
    };
    for load in LOADS {
        let input = Input::Simulator { rate: load.rate };
        let folder = tempfile::tempdir().unwrap();
        let gateway = Gateway::start(folder.path(), &input, targets, &[]);
        let name = format!("{}, headless", load.name);
        let memory = Budget::AtMost(25.0);
        watch(
            report,
            &name,
            gateway.usage(),
            load.watched,
            [load.headless, memory],
        );
        drop(gateway);

        let folder = tempfile::tempdir().unwrap();
        let screen = Screen::start(folder.path(), &input, targets);
        let name = format!("{}, terminal UI", load.name);
        let memory = Budget::None;
        watch(
            report,
            &name,
            screen.usage(),
            load.watched,
            [load.terminal_ui, memory],
        );
    }
}

fn watch(report: &mut Report, name: &str, usage: Usage, time: Duration, budgets: [Budget; 2]) {
    std::thread::sleep(SETTLING);
    let percent = usage.cpu_percent(time);
    let [cpu, memory] = budgets;
    report.add(&format!("CPU, {name}"), percent, "% of a core", cpu);
    let most = usage.memory("VmHWM").unwrap();
    report.add(&format!("most memory, {name}"), most, "MiB", memory);
}
