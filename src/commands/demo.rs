//! `fieldgate demo`: everything at work, without hardware, services or configuration.

use super::run::{Display, run_with};
use super::{RunError, print};
use crate::cli::DemoArguments;
use crate::demo::{Demo, DemoError, Settings};
use crate::tui::Guide;

/// Runs a gateway between made-up nodes and servers of its own until it is told to stop.
pub fn demo(arguments: &DemoArguments) -> anyhow::Result<()> {
    let demo = Demo::start(Settings {
        nodes: arguments.nodes,
        rate: arguments.rate,
    })?;
    let config = demo.config().map_err(DemoError::Config)?;
    print(format!("{}\n\n", demo.introduction()).as_bytes())?;
    let display = Display::choose(arguments.no_tui, &config, Guide::Demonstration);
    run_with(&config, display, None).map_err(|error: RunError| error.into())
}
