//! The way back to what a source reads from: text that is sent to it, and resets of the board.
//!
//! Whoever has something open serves its requests one after the other, and stops before it is closed.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::config::{self, LineEnding, Reset};
use crate::monitor::{MAX_TEXT, SourceMonitor, TrafficKind};
use crate::telemetry::Timestamp;

/// Requests that may wait: people type one at a time.
const DEPTH: usize = 8;

/// How long what was sent may take to be taken.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// Why nothing, or not all of it, was sent, or why the board was not reset. The text is for the
/// operator.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// There is nobody who could read it.
    #[error("this kind of source takes no input; a serial port and a program do")]
    TakesNoInput,
    /// The text is too long.
    #[error("the text is longer than {MAX_TEXT} bytes; send it in parts")]
    TooLong,
    /// There is nothing to send.
    #[error("there is nothing to send: the text is empty, and source.line_ending is \"none\"")]
    Empty,
    /// It is not open, or was closed meanwhile.
    #[error("the source is not open")]
    NotOpen,
    /// More is sent than it takes.
    #[error("the source has not taken yet what was sent before; try again")]
    Busy,
    /// It takes no more.
    #[error(
        "only {taken} of {length} bytes were taken within {} s; the other side does not read, or \
         flow control holds it up",
        PATIENCE.as_secs()
    )]
    Stuck {
        /// Bytes that were taken.
        taken: usize,
        /// Bytes that were to be sent.
        length: usize,
    },
    /// It cannot be written to.
    #[error("cannot write to the source: {0}")]
    Write(io::Error),
    /// It is not configured how to reset the board.
    #[error(
        "source.reset is \"none\"; set it to \"dtr\", \"rts\" or \"esp\", as the board wants it"
    )]
    ResetNotConfigured,
    /// It is no serial port.
    #[error("only a board on a serial port can be reset")]
    NoPort,
    /// The port cannot move its lines.
    #[error("the port cannot move its control lines: {0}")]
    Lines(serialport::Error),
}

/// What is asked of whatever is open.
#[derive(Debug)]
pub(super) enum Request {
    /// To write some bytes.
    Write {
        bytes: Bytes,
        answer: oneshot::Sender<Written>,
    },
    /// To reset the board.
    Reset {
        answer: oneshot::Sender<Result<(), ConsoleError>>,
    },
}

/// What became of bytes that were to be written.
#[derive(Debug)]
pub(super) struct Written {
    /// So many of them were taken.
    pub(super) taken: usize,
    /// All of them, or why not.
    pub(super) outcome: Result<(), ConsoleError>,
}

/// The way back to one source, whether it is open or not.
#[derive(Debug)]
pub struct Console {
    /// `None`: it takes no input.
    line_ending: Option<LineEnding>,
    /// `None`: it is no serial port.
    reset: Option<Reset>,
    monitor: SourceMonitor,
    open: Mutex<Option<mpsc::Sender<Request>>>,
}

impl Console {
    /// The way back to a source that is configured so.
    pub fn new(source: &config::Source, monitor: SourceMonitor) -> Self {
        let reset = match source {
            config::Source::Serial(port) => Some(port.reset),
            _ => None,
        };
        Self {
            line_ending: source.line_ending(),
            reset,
            monitor,
            open: Mutex::default(),
        }
    }

    /// Whether there is somebody at the other end who could be written to.
    pub fn takes_input(&self) -> bool {
        self.line_ending.is_some()
    }

    /// Sends a text with the configured line ending behind it; what was taken of it stands in the
    /// traffic. Returns when all of it was taken.
    pub async fn send(&self, text: &str) -> Result<(), ConsoleError> {
        let line_ending = self.line_ending.ok_or(ConsoleError::TakesNoInput)?;
        if text.len() > MAX_TEXT {
            return Err(ConsoleError::TooLong);
        }
        let bytes = Bytes::from([text.as_bytes(), line_ending.bytes()].concat());
        if bytes.is_empty() {
            return Err(ConsoleError::Empty);
        }
        let (answer, answered) = oneshot::channel();
        self.ask(Request::Write {
            bytes: bytes.clone(),
            answer,
        })?;
        let written = answered.await.map_err(|_| ConsoleError::NotOpen)?;
        if written.taken > 0 {
            let bytes = bytes[..written.taken].into();
            self.monitor
                .show(Timestamp::now(), bytes, TrafficKind::Sent);
        }
        written.outcome
    }

    /// Resets the board as configured. Returns when that is done.
    pub async fn reset(&self) -> Result<(), ConsoleError> {
        match self.reset {
            None => return Err(ConsoleError::NoPort),
            Some(Reset::None) => return Err(ConsoleError::ResetNotConfigured),
            Some(Reset::Dtr | Reset::Rts | Reset::Esp) => {}
        }
        let (answer, answered) = oneshot::channel();
        self.ask(Request::Reset { answer })?;
        answered.await.map_err(|_| ConsoleError::NotOpen)?
    }

    fn ask(&self, request: Request) -> Result<(), ConsoleError> {
        use mpsc::error::TrySendError::{Closed, Full};
        let open = self.lock();
        let requests = open.as_ref().ok_or(ConsoleError::NotOpen)?;
        requests.try_send(request).map_err(|error| match error {
            Full(_) => ConsoleError::Busy,
            Closed(_) => ConsoleError::NotOpen,
        })
    }

    /// Leads to what is open until the connection is dropped.
    pub(super) fn connect(&self, requests: mpsc::Sender<Request>) -> Connection<'_> {
        *self.lock() = Some(requests);
        Connection(self)
    }

    fn lock(&self) -> MutexGuard<'_, Option<mpsc::Sender<Request>>> {
        // A panic elsewhere leaves one value or the other.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something is open, and the console leads to it.
pub(super) struct Connection<'a>(&'a Console);

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        *self.0.lock() = None;
    }
}

/// Requests to something that is opened, and where they come out.
pub(super) fn requests() -> (mpsc::Sender<Request>, mpsc::Receiver<Request>) {
    mpsc::channel(DEPTH)
}
