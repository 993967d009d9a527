//! Where bytes come from.
//!
//! Every kind of source opens a stream of chunks; the driver forwards it, obeys the
//! operator, and opens it again where that makes sense:
//!
//! ```text
//! serial, probe-rs, command   opened again with backoff whenever they end
//! stdin, file, simulator      read to their end
//! ```

mod console;
mod driver;
mod file;
mod generator;
mod ports;
mod probe;
mod process;
mod recording;
mod serial;
mod simulator;
mod splitter;
mod stdin;
mod stream;

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

pub use console::{Console, ConsoleError};
pub use generator::{Damage, Generator};
pub use ports::{PortInfo, UsbInfo, ports};
pub use probe::listen;
pub use recording::{recorded_times, times_path};

use crate::config;
use crate::monitor::{Directive, SourceMonitor};
use crate::ownership;
use crate::telemetry::{Format, Timestamp};
use driver::Driver;

/// Bytes as they came from the source, cut anywhere.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// The bytes; never empty.
    pub bytes: Bytes,
    /// When they were read, by the system clock.
    pub received: Timestamp,
    /// When they were read, since the source was started, by a clock that never jumps.
    pub monotonic: Duration,
    /// Whether the stream was interrupted before these bytes: what went before is not continued.
    pub discontinuity: bool,
}

/// How a source came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// There is no more input: end of standard input or of the file, or the simulator's count.
    InputEnded,
    /// It was told to stop, or nobody takes its chunks any more.
    Cancelled,
}

/// Why a source does not deliver. The text is for the operator.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A port chosen by USB properties is not there.
    #[error("no serial port with {selector}; is the board plugged in? Ports present: {present}")]
    NoSuchPort {
        /// What was looked for.
        selector: String,
        /// What is there instead.
        present: String,
    },
    /// A port chosen by its path is not there.
    #[error("serial port {} does not exist; is the board plugged in?", path.display())]
    PortMissing {
        /// The port.
        path: PathBuf,
    },
    /// The user may not open the port.
    #[error(
        "cannot open serial port {}: permission denied; {}",
        path.display(),
        ownership::advice_for_device(path)
    )]
    PortPermission {
        /// The port.
        path: PathBuf,
    },
    /// Somebody else has the port.
    #[error("serial port {} is in use by another program; close that program", path.display())]
    PortBusy {
        /// The port.
        path: PathBuf,
    },
    /// The port cannot be opened for another reason.
    #[error("cannot open serial port {}: {error}", path.display())]
    PortOpen {
        /// The port.
        path: PathBuf,
        /// What the system said.
        error: serialport::Error,
    },
    /// The port went away while it was open.
    #[error("serial port {} was lost: {reason}", path.display())]
    PortLost {
        /// The port.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The program is not installed.
    #[error("program {program} was not found; {advice}")]
    ProgramNotFound {
        /// The program.
        program: String,
        /// What to do about it.
        advice: &'static str,
    },
    /// The program cannot be started for another reason.
    #[error("cannot start program {program}: {error}")]
    ProgramStart {
        /// The program.
        program: String,
        /// What the system said.
        error: io::Error,
    },
    /// The program ended, or closed its output.
    #[error("program {program} ended with {status}{}", last_words(last_line.as_deref()))]
    ProgramEnded {
        /// The program.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// The last line of its standard error.
        last_line: Option<String>,
    },
    /// The program's end cannot be waited for.
    #[error("lost track of program {program}: {error}")]
    ProgramWait {
        /// The program.
        program: String,
        /// What the system said.
        error: io::Error,
    },
    /// A recording or standard input cannot be opened or read.
    #[error("cannot read {name}: {error}")]
    Read {
        /// What was read.
        name: String,
        /// What the system said.
        error: io::Error,
    },
    /// No thread could be started to read with.
    #[error("cannot start a thread to read {name}: {error}")]
    Thread {
        /// What was to be read.
        name: String,
        /// What the system said.
        error: io::Error,
    },
    /// The reader ended without a word.
    #[error("the reader of the source stopped unexpectedly")]
    ReaderStopped,
}

fn last_words(line: Option<&str>) -> String {
    line.map_or_else(String::new, |line| format!(": {line}"))
}

/// Opens a serial port as the gateway would and closes it again; returns the path that it has now.
pub fn try_serial_port(port: &config::Port) -> Result<PathBuf, SourceError> {
    serial::try_open(port)
}

/// Reads from the configured source, of boards of this format, until it ends or is told to.
///
/// - `out` is bounded: while it is full nothing more is read.
/// - A reconnect cuts a pause short, or closes an open source and opens it anew. Standard input, files
///   and the simulator cannot be opened anew; they go on.
/// - While it is held, a serial port stays closed and a program stays ended; the other kinds pause.
/// - While it is open, `console` leads to it.
/// - Once it is retired, what has been read already is still put into `out` as far as there is room,
///   the port is closed and the program ended before this returns. That takes under 100 ms, unless a
///   program ignores SIGTERM: that one is killed after two seconds.
///
/// An error is returned only by a source that is not opened again: standard input and files.
pub async fn run(
    config: &config::Source,
    format: &Format,
    out: mpsc::Sender<Chunk>,
    monitor: SourceMonitor,
    directive: watch::Receiver<Directive>,
    console: Arc<Console>,
) -> Result<End, SourceError> {
    let driver = Driver::new(out, monitor, directive, console);
    match config {
        config::Source::Serial(port) => {
            let port = serial::Serial(port.clone());
            Ok(driver.keep_open(&port).await)
        }
        config::Source::ProbeRs {
            probe_id,
            chip,
            firmware_path,
            ..
        } => {
            let program = process::Program::probe_rs(probe_id.as_deref(), chip, firmware_path);
            Ok(driver.keep_open(&program).await)
        }
        config::Source::Command { argv, .. } => {
            let program = process::Program::command(argv);
            Ok(driver.keep_open(&program).await)
        }
        config::Source::Stdin => driver.play("standard input", stdin::open).await,
        config::Source::File { path, speed } => {
            let peer = format!("file {}", path.display());
            driver
                .play(&peer, |started| file::open(path, *speed, format, started))
                .await
        }
        config::Source::Simulator(settings) => {
            driver
                .play("simulator", |started| simulator::open(settings, started))
                .await
        }
    }
}
