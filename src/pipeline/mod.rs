//! Wires source → journal → sinks, and owns the way they start and stop.
//!
//! ```text
//! source ─chunks→ ingest ─packets→ journal ─rows→ sinks
//!    ↑ directive                                      ↑ directives
//!    └──────────── Handle ← commands ─────────────────┘
//! ```

mod ending;
mod feed;
mod handle;
mod ingest;
mod recorder;
mod sinks;
mod waiting;

#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task;

pub use ending::{Outcome, RunFailure};
use feed::Feed;
pub use handle::Handle;
pub use ingest::{Ingest, Yield};
use recorder::RecordedChunks;
pub use sinks::SinkSettings;

use crate::config::{self, Config, JournalPath, Recorded};
use crate::journal::{Journal, JournalError};
use crate::monitor::{Activity, Directive, LinkId, Monitor, Order, SinkId, Stage, StageGuard};
use crate::source::{self, Chunk, End, SourceError};
use crate::telemetry::RecordedTimes;
use sinks::Sinks;

/// Chunks between source and ingest, of 16 KiB at the most. What a slow disk holds up waits behind
/// this as packets, in the journal's own queue.
const CHUNKS: usize = 32;

/// Messages a sink may read ahead of its committed acknowledgements, beside those that the server has
/// not acknowledged: bounds what is kept of them, and is large enough that a commit of some
/// milliseconds holds nothing up.
const UNJOURNALED: u64 = 1_000;

/// How far the gateway is told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Stop {
    /// Not at all.
    #[default]
    No,
    /// Stop the source, deliver what is under way for a while, then end.
    Drain,
    /// End now. What is in the journal is delivered after the next start.
    Now,
}

/// Why the gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The journal cannot be opened.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A sink's thread cannot be started.
    #[error("cannot start the thread of the {sink} sink: {error}")]
    Sink {
        /// Which one.
        sink: SinkId,
        /// What the system said.
        error: io::Error,
    },
    /// A sink cannot be built from its configuration.
    #[error("cannot set up the {sink} sink: {reason}")]
    SinkSetup {
        /// Which one.
        sink: SinkId,
        /// What is wrong.
        reason: String,
    },
}

/// A gateway that runs.
pub struct Pipeline {
    handle: Handle,
    journal: Journal,
    source: task::JoinHandle<Result<End, SourceError>>,
    ingest: task::JoinHandle<()>,
    stop: watch::Receiver<Stop>,
    shutdown_timeout: Duration,
    outlives_input: bool,
}

impl Pipeline {
    /// Starts everything. Must be called within a tokio runtime. What happens is kept in `activity`.
    pub fn start(config: &Config, activity: Activity) -> Result<Self, StartError> {
        let metrics = Arc::new(config.metric_table());
        let monitor = Arc::new(Monitor::new(metrics.clone(), activity));
        let enabled = enabled_sinks(config);
        let journal = Journal::open(&config.journal, &enabled, &source::describe(&config.source))?;
        let names = config.telemetry.node_names();

        let sinks = Sinks {
            monitor: monitor.clone(),
            journal: journal.clone(),
            metrics: metrics.clone(),
            names: names.clone(),
            format: config.format.clone(),
            directives: first_directives(config),
            threads: Mutex::new(None),
        };
        let sinks = sinks.start_all(config)?;

        let (chunk_sender, chunks) = mpsc::channel(CHUNKS);
        let (times_sender, times) = oneshot::channel();
        let directive = sinks.directives[LinkId::Source as usize].subscribe();
        let (ended_sender, input_ended) = oneshot::channel();
        let told = (times_sender, ended_sender);
        let source = read_source(config, chunk_sender, told, &monitor, directive);
        let source = tokio::spawn(source);
        let decoder = config.decoder();
        let tolerance = config.telemetry.clock_tolerance;
        let known = journal.known_names();
        let timeline = config.source.timeline(config.recorded);
        let ingest = Ingest::new(decoder, &known, timeline, tolerance, monitor.clone())
            .of_format(&config.format, config.source.beginning())
            .calibrated(config.telemetry.calibration.clone());
        let record = watch::Sender::new(false);
        let folder = recording_folder(&config.journal);
        let chunks = RecordedChunks::new(chunks, record.subscribe(), folder, monitor.clone());
        let sink_directives = sinks.sink_directives();
        let clock_set = {
            let directives = sink_directives.clone();
            move || obeyed_by(&directives, Order::Reconnect)
        };
        if let Some(patience) = config.telemetry.wait_for_clock {
            let waiting = waiting::release_when_synchronised(sink_directives, patience);
            tokio::spawn(waiting);
        }
        let feed = Feed::new(ingest, chunks, journal.clone(), monitor.clone(), tolerance);
        let ingest = tokio::spawn(feed.run(times, input_ended, clock_set));

        let (stop_sender, stop) = watch::channel(Stop::No);
        let handle = Handle::new(handle::Parts {
            sinks,
            record,
            stop: stop_sender,
            shutdown_timeout: config.shutdown_timeout,
        });
        let shutdown_timeout = config.shutdown_timeout;
        Ok(Self {
            handle,
            journal,
            source,
            ingest,
            stop,
            shutdown_timeout,
            outlives_input: false,
        })
    }

    /// What observes and commands it from elsewhere.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Has it run until it is told to stop, though its input ended: for whoever is looking at it.
    #[must_use]
    pub fn outliving_its_input(mut self) -> Self {
        self.outlives_input = true;
        self
    }
}

/// What every link is told at first: sinks wait for a clock that is right, where that is wanted.
fn first_directives(config: &Config) -> [watch::Sender<Directive>; LinkId::ALL.len()] {
    let must_wait = waiting::must_wait(config.telemetry.wait_for_clock);
    LinkId::ALL.map(|link| {
        watch::Sender::new(Directive {
            held: must_wait && link.sink().is_some(),
            ..Directive::default()
        })
    })
}

fn obeyed_by(directives: &[watch::Sender<Directive>], order: Order) {
    for directive in directives {
        directive.send_modify(|directive| directive.obey(order));
    }
}

/// Reads the source until it ends or is told to; says before what is known of a recording's times, and
/// behind it whether the input ended by itself.
fn read_source(
    config: &Config,
    chunks: mpsc::Sender<Chunk>,
    (times, input_ended): (oneshot::Sender<Option<RecordedTimes>>, oneshot::Sender<()>),
    monitor: &Arc<Monitor>,
    mut directive: watch::Receiver<Directive>,
) -> impl Future<Output = Result<End, SourceError>> + Send + use<> {
    let (source, recorded) = (config.source.clone(), config.recorded);
    let monitor = Arc::clone(monitor);
    async move {
        let _guard = StageGuard::new(Arc::clone(&monitor), Stage::Source);
        let known = tokio::select! {
            biased;
            times = recorded_times(source.clone(), recorded) => times,
            _ = directive.wait_for(|directive| directive.retired) => None,
        };
        let _nobody_reads = times.send(known);
        let end = source::run(&source, chunks, monitor, directive).await;
        if matches!(end, Ok(End::InputEnded)) {
            let _nobody_feeds = input_ended.send(());
        }
        end
    }
}

fn enabled_sinks(config: &Config) -> Vec<SinkId> {
    let mqtt = config.mqtt.as_ref().map(|_| SinkId::Mqtt);
    let influxdb = config.influxdb.as_ref().map(|_| SinkId::Influxdb);
    mqtt.into_iter().chain(influxdb).collect()
}

/// When the packets of a recording were measured, if the source is one and is not measured anew.
async fn recorded_times(source: config::Source, recorded: Recorded) -> Option<RecordedTimes> {
    if source.is_measured_anew(recorded) {
        return None;
    }
    let can_be_one = matches!(source, config::Source::File { .. } | config::Source::Stdin);
    // A thread of nobody's: a long recording on a slow disk must not hold up a stop.
    let (sender, looked) = oneshot::channel();
    let look = move || drop(sender.send(source::recorded_times(&source, recorded)));
    std::thread::Builder::new()
        .name("recording".to_owned())
        .spawn(look)
        .ok()?;
    match (looked.await.ok()?, recorded) {
        (Ok(Some(times)), _) => {
            tracing::info!(start = %times.start, noted = times.notes.len(), "A recording is read.");
            Some(times)
        }
        (Ok(None), Recorded::StartsAt(start)) if can_be_one => Some(RecordedTimes {
            start,
            notes: Vec::new(),
        }),
        (Ok(None), Recorded::EndsAt(_)) if can_be_one => {
            tracing::warn!(
                "The source is no file, so that nothing says how long it is: source.ends_at does not \
                 apply, and what is read ends now."
            );
            None
        }
        (Ok(None), _) => None,
        (Err(error), _) => {
            // Opening it says so aloud.
            tracing::debug!(error = %error, "The recording cannot be looked at.");
            None
        }
    }
}

/// Where recordings go: beside the journal's file, or into the current folder.
fn recording_folder(config: &config::Journal) -> PathBuf {
    let folder = match &config.path {
        JournalPath::Memory => None,
        JournalPath::File(path) => path.parent(),
    };
    folder.map_or_else(PathBuf::new, Path::to_path_buf)
}

/// Where the journal lives, in words.
pub fn describe_journal(config: &config::Journal) -> String {
    match &config.path {
        JournalPath::Memory => "memory".to_owned(),
        JournalPath::File(path) => path.display().to_string(),
    }
}
