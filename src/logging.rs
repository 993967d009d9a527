//! Where log lines go: the terminal or the system's journal, and rotating files when configured.

mod journald;
mod line;
mod rolling;

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::Arc;

use tracing::{Event, Level, Subscriber};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{FilterExt, LevelFilter, dynamic_filter_fn};
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::{Context, Filter, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use crate::config::{Log, LogFormat, LogOutput};
use crate::monitor::{LogEntry, LogLevel, SharedRing};
use crate::ownership;
use crate::repeated::{self, Topic};
use crate::telemetry::Timestamp;
use journald::JournaldLayer;
use line::Line;
use rolling::RollingFile;

const PANICS: Topic = Topic::new("panics");

/// Lines that may wait for a slow terminal or disk; beyond, new ones are dropped rather than waited
/// for, so that nobody who only reads the log can hold up the pipeline.
const WAITING_LINES: usize = 8_192;

/// Why logging cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The folder or the file in it cannot be written.
    #[error("cannot write log files into {}: {error}; {}", dir.display(), ownership::advice(dir, error))]
    Files {
        /// The folder.
        dir: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The level is no filter.
    #[error("cannot use log level {level:?}: {error}")]
    Level {
        /// As configured.
        level: String,
        /// What is wrong with it.
        error: tracing_subscriber::filter::ParseError,
    },
    /// The level cannot be changed.
    #[error("cannot change the log level: {0}")]
    Reload(reload::Error),
    /// Nobody can sum up what repeats.
    #[error("cannot start the thread that sums up the log: {0}")]
    Sums(io::Error),
    /// Somebody else logs already.
    #[error("logging was set up before: {0}")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Writes out the last lines when it is dropped: keep it until the end.
#[derive(Debug)]
#[must_use = "lines are lost when it is dropped early"]
pub struct LoggingGuard {
    _workers: Vec<WorkerGuard>,
    level: LevelSwitch,
}

/// Changes which lines are written.
#[derive(Debug, Clone, Default)]
pub struct LevelSwitch(Vec<reload::Handle<EnvFilter, Registry>>);

impl LoggingGuard {
    /// What changes which lines are written.
    pub fn level(&self) -> LevelSwitch {
        self.level.clone()
    }
}

impl LevelSwitch {
    /// From now on writes the lines of this level.
    pub fn set(&self, config: &Log) -> Result<(), LoggingError> {
        for filter in &self.0 {
            filter
                .reload(own_filter(config)?)
                .map_err(LoggingError::Reload)?;
        }
        Ok(())
    }

    fn filter(&mut self, config: &Log) -> Result<reload::Layer<EnvFilter, Registry>, LoggingError> {
        let (filter, handle) = reload::Layer::new(own_filter(config)?);
        self.0.push(handle);
        Ok(filter)
    }
}

/// Begins to log, the sums of what repeats too; `ring` gets every line as well. While the terminal is not
/// free, because a screen has it, nothing is written over it: lines go to the files and the ring alone.
pub fn start(
    config: &Log,
    ring: Arc<SharedRing<LogEntry>>,
    is_terminal_free: impl Fn() -> bool + Send + Sync + 'static,
) -> Result<LoggingGuard, LoggingError> {
    let mut workers = Vec::new();
    let mut level = LevelSwitch::default();
    let mut layers = Vec::new();
    let is_free = dynamic_filter_fn(move |_, _| is_terminal_free());
    let filter = level.filter(config)?.and(is_free);
    layers.push(terminal(config, filter, &mut workers));
    if let Some(dir) = &config.dir {
        let unwritable = |error| LoggingError::Files {
            dir: dir.clone(),
            error,
        };
        let files =
            RollingFile::open(dir, config.rotation, config.max_files).map_err(unwritable)?;
        let filter = level.filter(config)?;
        layers.push(layer(
            config,
            filter,
            non_blocking(files, &mut workers),
            false,
        ));
    }
    layers.push(RingLayer(ring).with_filter(level.filter(config)?).boxed());
    tracing_subscriber::registry().with(layers).try_init()?;
    log_panics();
    repeated::start().map_err(LoggingError::Sums)?;
    Ok(LoggingGuard {
        _workers: workers,
        level,
    })
}

/// A panic stands in the log as well, where somebody finds it who does not see standard error.
fn log_panics() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let error = info.to_string();
        PANICS.say("", &error.clone(), move |sum| {
            let repeated = sum.words();
            tracing::error!(error = %error, repeated, "A part of the gateway failed.");
        });
        report(info);
    }));
}

fn terminal(
    config: &Log,
    filter: impl Filter<Registry> + Send + Sync + 'static,
    workers: &mut Vec<WorkerGuard>,
) -> Box<dyn Layer<Registry> + Send + Sync> {
    let stream = std::env::var_os("JOURNAL_STREAM").filter(|_| config.format == LogFormat::Text);
    let journal = match config.output {
        LogOutput::Stdout => journald::behind(&io::stdout(), stream.as_deref()),
        LogOutput::Stderr => journald::behind(&io::stderr(), stream.as_deref()),
    };
    if let Some(journal) = journal {
        let journal = JournaldLayer(non_blocking(journal, workers));
        return journal.with_filter(filter).boxed();
    }
    let (writer, is_terminal) = match config.output {
        LogOutput::Stdout => (
            non_blocking(io::stdout(), workers),
            io::stdout().is_terminal(),
        ),
        LogOutput::Stderr => (
            non_blocking(io::stderr(), workers),
            io::stderr().is_terminal(),
        ),
    };
    let is_coloured =
        is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    layer(config, filter, writer, is_coloured)
}

fn non_blocking(
    writer: impl io::Write + Send + 'static,
    workers: &mut Vec<WorkerGuard>,
) -> NonBlocking {
    let (writer, worker) = NonBlockingBuilder::default()
        .buffered_lines_limit(WAITING_LINES)
        .finish(writer);
    workers.push(worker);
    writer
}

fn layer<W>(
    config: &Log,
    filter: impl Filter<Registry> + Send + Sync + 'static,
    writer: W,
    is_coloured: bool,
) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
    Registry: for<'span> LookupSpan<'span>,
{
    let lines = fmt::layer().with_writer(writer).with_ansi(is_coloured);
    match config.format {
        LogFormat::Text => lines.with_filter(filter).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_filter(filter).boxed(),
    }
}

fn own_filter(config: &Log) -> Result<EnvFilter, LoggingError> {
    filter(&config.level).map_err(|error| LoggingError::Level {
        level: config.level.clone(),
        error,
    })
}

/// A bare level is meant for fieldgate: what the libraries under it say below a warning helps nobody
/// who did not ask for it by name, and can hold what must not be logged.
fn filter(level: &str) -> Result<EnvFilter, tracing_subscriber::filter::ParseError> {
    match level.parse::<LevelFilter>() {
        Ok(own) => EnvFilter::try_new(format!("{},fieldgate={own}", own.min(LevelFilter::WARN))),
        Err(_) => EnvFilter::try_new(level),
    }
}

/// Keeps the last lines for screens.
struct RingLayer(Arc<SharedRing<LogEntry>>);

impl<S: Subscriber> Layer<S> for RingLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        self.0.push(LogEntry {
            at: Timestamp::now(),
            level: match *metadata.level() {
                Level::ERROR => LogLevel::Error,
                Level::WARN => LogLevel::Warn,
                Level::INFO => LogLevel::Info,
                Level::DEBUG => LogLevel::Debug,
                Level::TRACE => LogLevel::Trace,
            },
            target: metadata.target().to_owned(),
            message: Line::of(event).text(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_level_is_for_fieldgate_alone() {
        for (level, expected) in [
            ("trace", ["fieldgate=trace", "warn"]),
            ("info", ["fieldgate=info", "warn"]),
            ("error", ["fieldgate=error", "error"]),
        ] {
            let text = filter(level).unwrap().to_string();
            for part in expected {
                assert!(
                    text.split(',').any(|directive| directive == part),
                    "{level}: {text}"
                );
            }
        }
        assert_eq!(
            filter("fieldgate::sink=debug").unwrap().to_string(),
            "fieldgate::sink=debug"
        );
    }
}
