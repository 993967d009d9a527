//! What the command line can ask for, one file each.

mod attach;
mod check;
#[cfg(feature = "demo")]
mod demo;
mod export;
mod init;
mod ports;
mod reload;
mod run;
mod service;
mod shell;

use std::io::{self, Write};

pub use attach::attach;
pub use check::check;
#[cfg(feature = "demo")]
pub use demo::demo;
pub use export::export;
pub use init::init;
pub use ports::ports;
pub use run::{RunError, run};
pub use shell::{completions, man};

/// Writes to standard output; a reader that has gone has seen what it wanted.
fn print(text: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Texts side by side in columns, each as wide as its widest text.
fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let texts = rows.iter().filter_map(|row| row.get(column));
        texts.map(|text| text.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths);
        let cells: Vec<String> = cells
            .map(|(text, width)| format!("{text:width$}"))
            .collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}
