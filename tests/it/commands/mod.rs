//! The commands beside `run`, as a user calls them.

mod audit;
pub(crate) mod check;
#[cfg(feature = "demo")]
mod demo;
mod export;
mod rejected;
mod rewind;
mod small;

use crate::support::{Fieldgate, PATIENCE};

/// What a command printed and how it ended.
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// A command about the journal of a gateway, with its configuration; it is not started yet.
fn about(gateway: &Fieldgate, command: &str, arguments: &[&str]) -> Fieldgate {
    let folder = gateway.folder();
    Fieldgate::with_arguments(&[&[command], arguments].concat())
        .arg("--config")
        .arg(folder.join("config.toml"))
        .arg("--journal")
        .arg(folder.join("fieldgate/journal.db"))
}

/// Waits for a command that ends by itself.
fn ended(mut process: Fieldgate) -> Ended {
    process.close_stdin();
    let code = process.wait_exit(PATIENCE).code();
    Ended {
        code,
        stdout: process.stdout().join("\n"),
        stderr: process.stderr().join("\n"),
    }
}
