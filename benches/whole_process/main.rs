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
mod latency;
mod load;
mod pruning;
mod recording;
mod report;
mod screen;
mod servers;
mod start;
mod throughput;
mod writes;

use std::path::PathBuf;

use report::{Budget, Report};

/// Publishes that may wait for their acknowledgement, here and in the bare loop beside it.
const IN_FLIGHT: u16 = 100;

/// Fills in a part of the report.
type Measure = fn(&mut Report);

const PARTS: [(&str, Measure); 7] = [
    ("throughput", throughput::measure),
    ("latency", latency::measure),
    ("backlog", backlog::measure),
    ("pruning", pruning::measure),
    ("load", load::measure),
    ("start", start::measure),
    ("writes", writes::measure),
];

fn main() {
    // `cargo bench` passes `--bench`; of our own are where the JSON goes, and which parts.
    let arguments = std::env::args().skip(1);
    let mut arguments = arguments.filter(|argument| !argument.starts_with("--"));
    let output = arguments.next();
    let output = output.map_or_else(|| PathBuf::from("target/bench.json"), PathBuf::from);
    let wanted: Vec<String> = arguments.collect();
    let mut report = Report::default();
    for (name, measure) in PARTS {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            measure(&mut report);
        }
    }
    let size = std::fs::metadata(gateway::BINARY).unwrap().len() as f64 / 1e6;
    report.add("binary", size, "MB", Budget::AtMost(15.0));
    print!("{report}");
    report.write(&output);
    println!("\nFigures in {}.", output.display());
    if report.has_missed() {
        std::process::exit(1);
    }
}
