//! Wires source → journal → sinks, and owns the way they start and stop.
//!
//! ```text
//! source ─chunks→ ingest ─packets→ journal ─rows→ sinks
//!    ↑ hold, reconnect                               ↑ directives
//!    └───────────── Handle ← commands ───────────────┘
//! ```

mod ending;
mod handle;
mod ingest;
mod recorder;
mod sinks;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, Notify, mpsc, watch};
use tokio::task;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub use ending::{Outcome, RunFailure};
pub use handle::Handle;
pub use ingest::Ingest;
use recorder::RecordedChunks;
pub use sinks::SinkSettings;

use crate::config::{self, Config, JournalPath, Speed};
use crate::journal::{Journal, JournalError};
use crate::monitor::{Activity, Monitor, SinkId, Stage, StageGuard};
use crate::repeated::Topic;
use crate::sink::Directive;
use crate::source::{self, End, SourceError};
use crate::telemetry::{Decoder, MetricInfo, MetricTable, Name, Received, Timeline, Timestamp};
use sinks::Sinks;

const UNKEPT: Topic = Topic::new("packets not taken");

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
    end_of_source: CancellationToken,
    stop: watch::Receiver<Stop>,
    shutdown_timeout: Duration,
    outlives_input: bool,
}

impl Pipeline {
    /// Starts everything. Must be called within a tokio runtime. What happens is kept in `activity`.
    pub fn start(config: &Config, activity: Activity) -> Result<Self, StartError> {
        let metrics = Arc::new(metric_table(&config.telemetry));
        let monitor = Arc::new(Monitor::new(metrics.clone(), activity));
        let enabled = enabled_sinks(config);
        let journal = Journal::open(&config.journal, &enabled, &source::describe(&config.source))?;
        let names = node_names(&config.telemetry);

        let sinks = Sinks {
            monitor: monitor.clone(),
            journal: journal.clone(),
            metrics: metrics.clone(),
            names: names.clone(),
            directives: SinkId::ALL.map(|_| watch::Sender::new(Directive::default())),
            threads: Mutex::new(None),
        };
        let sinks = sinks.start_all(config)?;

        let (chunk_sender, chunks) = mpsc::channel(CHUNKS);
        let reconnect = Arc::new(Notify::new());
        let hold = watch::Sender::new(false);
        let end_of_source = CancellationToken::new();
        let source = tokio::spawn({
            let (source, monitor) = (config.source.clone(), monitor.clone());
            let (reconnect, held) = (reconnect.clone(), hold.subscribe());
            let shutdown = end_of_source.clone();
            async move {
                let _guard = StageGuard::new(Arc::clone(&monitor), Stage::Source);
                source::run(&source, chunk_sender, monitor, reconnect, held, shutdown).await
            }
        });
        let decoder = Decoder::new(MetricTable::clone(&metrics), names);
        let tolerance = config.telemetry.clock_tolerance;
        let ingest = Ingest::new(
            decoder,
            timeline(&config.source),
            tolerance,
            monitor.clone(),
        );
        let record = watch::Sender::new(false);
        let folder = recording_folder(&config.journal);
        let chunks = RecordedChunks::new(chunks, record.subscribe(), folder, monitor.clone());
        let ingest = tokio::spawn(feed_journal(
            ingest,
            chunks,
            journal.clone(),
            monitor.clone(),
        ));

        let (stop_sender, stop) = watch::channel(Stop::No);
        let handle = Handle::new(handle::Parts {
            sinks,
            source_reconnect: reconnect,
            source_hold: hold,
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
            end_of_source,
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

fn enabled_sinks(config: &Config) -> Vec<SinkId> {
    let mqtt = config.mqtt.as_ref().map(|_| SinkId::Mqtt);
    let influxdb = config.influxdb.as_ref().map(|_| SinkId::Influxdb);
    mqtt.into_iter().chain(influxdb).collect()
}

/// The built-in metrics with the configured changes.
pub(crate) fn metric_table(config: &config::Telemetry) -> MetricTable {
    let mut table = MetricTable::default();
    for (key, change) in &config.metrics {
        let mut info = table
            .by_key(key)
            .cloned()
            .unwrap_or_else(|| MetricInfo::unknown(key));
        if let Some(name) = &change.name {
            info.name = Name::new(name);
        }
        if let Some(unit) = &change.unit {
            info.unit.clone_from(unit);
        }
        if let Some(sensor_type) = &change.sensor_type {
            info.sensor_type.clone_from(sensor_type);
        }
        info.min = change.min.or(info.min);
        info.max = change.max.or(info.max);
        table.set(key, info);
    }
    table
}

fn node_names(config: &config::Telemetry) -> HashMap<String, Name> {
    config
        .nodes
        .iter()
        .map(|(key, name)| (key.clone(), Name::new(name)))
        .collect()
}

/// What the gateway makes up, or replays at its own pace, never waited anywhere.
fn timeline(source: &config::Source) -> Timeline {
    match source {
        config::Source::Simulator(_) => Timeline::Live,
        config::Source::File { speed, .. } if *speed == Speed::Factor(1.0) => Timeline::Live,
        _ => Timeline::Line,
    }
}

/// Turns chunks into packets until the source is gone.
async fn feed_journal(
    mut ingest: Ingest,
    mut chunks: RecordedChunks,
    journal: Journal,
    monitor: Arc<Monitor>,
) {
    let _guard = StageGuard::new(Arc::clone(&monitor), Stage::Ingest);
    let started = Instant::now();
    loop {
        // Bytes that are there come first: they may belong to what is held.
        let mut next = pin!(chunks.next());
        let chunk = match ingest.holds_for() {
            None => next.await,
            Some(pause) => match timeout(pause, &mut next).await {
                Ok(chunk) => chunk,
                Err(_elapsed) => {
                    append(&journal, ingest.tick()).await;
                    next.await
                }
            },
        };
        let Some(chunk) = chunk else { break };
        monitor.pulses.beat(Stage::Ingest);
        append(&journal, ingest.take(&chunk)).await;
        monitor.pulses.rest(Stage::Ingest);
    }
    let end = Received {
        wall: Timestamp::now(),
        monotonic: started.elapsed(),
    };
    append(&journal, ingest.finish(end)).await;
}

async fn append(journal: &Journal, packets: Vec<crate::telemetry::Packet>) {
    if packets.is_empty() {
        return;
    }
    if let Err(error) = journal.append(packets).await {
        UNKEPT.say("", "", move |sum| {
            let repeated = sum.words();
            tracing::error!(error = %error, repeated, "Packets could not be given to the journal.");
        });
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
