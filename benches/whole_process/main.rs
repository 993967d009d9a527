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

mod ceilings;
mod gateway;
mod measurements;
mod report;
mod servers;

use std::path::PathBuf;

use report::Report;

fn main() {
    // `cargo bench` passes `--bench`; the only argument of our own is where the JSON goes.
    let output = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with("--"));
    let output = output.map_or_else(|| PathBuf::from("target/bench.json"), PathBuf::from);
    let mut report = Report::default();
    measurements::all(&mut report);
    print!("{report}");
    report.write(&output);
    println!("\nFigures in {}.", output.display());
    if report.has_missed() {
        std::process::exit(1);
    }
}
