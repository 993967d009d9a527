//! Measures the whole gateway as a process against real servers, beside ceilings measured in the same
//! run. Run it by `scripts/bench`.

#![expect(
    unreachable_pub,
    reason = "a program of its own: its modules are all there is"
)]
#![expect(
    clippy::unwrap_used,
    reason = "a measurement that fails has nothing better to do"
)]

mod backlog;
mod ceilings;
mod gateway;
mod idle;
mod latency;
mod recording;
mod report;
mod screen;
mod servers;
mod start;
mod throughput;

use std::path::PathBuf;

use report::{Budget, Report};

/// Publishes that may wait for their acknowledgement, here and in the bare loop beside it.
const IN_FLIGHT: u16 = 100;

fn main() {
    // `cargo bench` passes `--bench`; the only argument of our own is where the JSON goes.
    let output = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with("--"));
    let output = output.map_or_else(|| PathBuf::from("target/bench.json"), PathBuf::from);
    let mut report = Report::default();
    let live = throughput::measure(&mut report);
    latency::measure(&mut report);
    backlog::measure(&mut report, live);
    idle::measure(&mut report);
    start::measure(&mut report);
    let size = std::fs::metadata(gateway::BINARY).unwrap().len() as f64 / 1e6;
    report.add("binary", size, "MB", Budget::AtMost(15.0));
    print!("{report}");
    report.write(&output);
    println!("\nFigures in {}.", output.display());
    if report.has_missed() {
        std::process::exit(1);
    }
}
