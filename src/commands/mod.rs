//! What the command line can ask for, one file each.

mod attach;
mod audit;
mod check;
mod decode;
#[cfg(feature = "demo")]
mod demo;
mod export;
mod forget;
mod gateway;
mod init;
mod keys;
mod lend;
mod operate;
mod ports;
mod probe;
mod rejected;
mod reload;
mod rewind;
mod run;
mod screen;
mod send;
mod service;
mod shell;
mod signals;
mod status;
mod tail;
mod unit;
mod view;

use std::io::{self, Write};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::anyhow;

use crate::api::{TIME_FORMS, parse_time};
use crate::config::Config;
use crate::monitor::{LinkId, SinkId};
use crate::pipeline::SinkSettings;
use crate::telemetry::Timestamp;

pub use attach::attach;
pub use audit::audit;
pub use check::check;
pub use decode::decode;
#[cfg(feature = "demo")]
pub use demo::demo;
pub use export::export;
pub use forget::forget;
pub use init::init;
pub use keys::keys;
pub use lend::lend;
pub use operate::operate;
pub use ports::ports;
pub use rejected::rejected;
pub use rewind::rewind;
pub use run::{RunError, run};
pub use send::send;
pub use shell::{completions, man};
pub use status::status;
pub use tail::tail;
pub use view::view;

/// How long somebody who reads nothing is waited for at the end.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Writes the last line of a process. Nobody may be there to read it: a pipe that is closed is no
/// failure, and a pipe or terminal that takes nothing does not hold up the end.
pub fn say_last(mut to: impl Write + Send + 'static, line: String) {
    let (done, is_done) = mpsc::channel::<()>();
    let writing = thread::Builder::new().spawn(move || {
        let _closed = writeln!(to, "{line}");
        drop(done);
    });
    if writing.is_ok() {
        // Nothing is ever sent: it comes back when the line is written, or too late.
        let _written = is_done.recv_timeout(LAST_WORDS);
    }
}

/// Writes to standard output; a reader that has gone has seen what it wanted.
fn print(text: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// A time as it is written, or how long ago it was.
fn time_or_age(flag: &str, text: &str, now: Timestamp) -> anyhow::Result<Timestamp> {
    let age = || {
        let age = humantime::parse_duration(text).ok()?;
        let age = i64::try_from(age.as_nanos()).ok()?;
        Some(Timestamp(now.0.saturating_sub(age)))
    };
    parse_time(text).or_else(age).ok_or_else(|| {
        anyhow!("{flag} {text:?} is no time; {TIME_FORMS}, or as 2h for two hours ago")
    })
}

/// The sink that is meant: as `status` shows it, or the only one of this name that is configured.
fn sink(name: &str, config: &Config) -> anyhow::Result<SinkId> {
    let link = name.parse().or_else(|unknown: String| {
        let sinks = SinkSettings::all(config);
        let links = sinks.iter().map(|sink| sink.sink().link().clone());
        only_of_name(links.collect(), name).ok_or_else(|| anyhow!(unknown))
    })?;
    sink_of(&link)
}

fn sink_of(link: &LinkId) -> anyhow::Result<SinkId> {
    let sink = link.sink();
    sink.ok_or_else(|| anyhow!("{link} delivers nothing; name mqtt or influxdb"))
}

/// The link of this name, if there is one alone.
fn only_of_name(mut links: Vec<LinkId>, name: &str) -> Option<LinkId> {
    links.retain(|link| link.name() == name);
    let link = links.pop();
    link.filter(|_| links.is_empty())
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
