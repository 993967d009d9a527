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
