//! Wires source → journal → sinks, and owns the way they start and stop.
//!
//! ```text
//! source ─chunks→ ingest ─packets→ journal ─rows→ sinks
//!    ↑ directive                                      ↑ directives
//!    └──────────── Handle ← commands ─────────────────┘
//! ```

mod consoles;
mod directives;
mod ending;
mod feed;
mod handle;
mod ingest;
mod lookout;
mod machine;
mod node_names;
mod recorder;
mod sinks;
mod waiting;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task;

use consoles::Consoles;
use directives::Directives;
pub use ending::{Outcome, RunFailure};
use feed::Feed;
pub use handle::Handle;
pub use ingest::{Ingest, Yield};
use machine::Machine;
use recorder::RecordedChunks;
pub use sinks::SinkSettings;

use crate::config::{self, Config, JournalPath, Recorded};
use crate::journal::{Journal, JournalError};
use crate::monitor::{
    Activity, Directive, LinkId, LinkKind, Monitor, NodeRules, Order, SinkId, Stage, StageGuard,
};
use crate::source::{self, Chunk, Console, End, SourceError};
use crate::telemetry::{Name, RecordedTimes};
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
    lookout: task::JoinHandle<()>,
    names: HashMap<String, Name>,
    stop: watch::Receiver<Stop>,
    shutdown_timeout: Duration,
    outlives_input: bool,
}

impl Pipeline {
    /// Starts everything. Must be called within a tokio runtime. What happens is kept in `activity`.
    pub fn start(config: &Config, activity: Activity) -> Result<Self, StartError> {
        let metrics = Arc::new(config.telemetry.metric_table());
        let monitor = Monitor::new(metrics.clone(), activity, links(config));
        let monitor = Arc::new(monitor.with_nodes(node_rules(&config.telemetry)));
        let enabled = enabled_sinks(config);
        let journal = Journal::open(&config.journal, &enabled, &source::describe(&config.source))?;
        let names = config.telemetry.node_names();
        restore_nodes(&monitor, &journal, &names);

        let sinks = Sinks {
            monitor: monitor.clone(),
            journal: journal.clone(),
            metrics: metrics.clone(),
            names: names.clone(),
            directives: first_directives(config),
            threads: Mutex::new(None),
        };
        let sinks = sinks.start_all(config)?;
        let directives = Arc::clone(&sinks.directives);

        let consoles = Consoles::default();
        let source = SourceRead::begin(config, &directives, &consoles, &monitor);
        let decoder = config.telemetry.decoder();
        let tolerance = config.telemetry.clock_tolerance;
        let known = journal.known_names();
        let timeline = config.source.timeline(config.recorded);
        let ingest = Ingest::new(decoder, &known, timeline, tolerance, monitor.clone());
        let ingest = ingest.giving_signal(config.mqtt.as_ref().is_some_and(|it| it.node_signal));
        let lookout = look_out(config, &monitor, &journal, &names);
        let record = watch::Sender::new(false);
        let folder = recording_folder(&config.journal);
        let chunks =
            RecordedChunks::new(source.chunks, record.subscribe(), folder, monitor.clone());
        let clock_set = {
            let directives = Arc::clone(&directives);
            move || directives.tell_sinks(|directive| directive.obey(Order::Reconnect))
        };
        if let Some(patience) = config.telemetry.wait_for_clock {
            let waiting = waiting::release_when_synchronised(directives, patience);
            tokio::spawn(waiting);
        }
        let feed = Feed::new(ingest, chunks, journal.clone(), monitor.clone(), tolerance);
        let ingest = tokio::spawn(feed.run(source.times, clock_set));

        let (stop_sender, stop) = watch::channel(Stop::No);
        let handle = Handle::new(handle::Parts {
            sinks,
            consoles,
            record,
            stop: stop_sender,
            shutdown_timeout: config.shutdown_timeout,
            journal_pulse: monitor.pulses.of(Stage::Journal),
        });
        let shutdown_timeout = config.shutdown_timeout;
        Ok(Self {
            handle,
            journal,
            source: source.task,
            ingest,
            lookout,
            names,
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

/// Takes up which nodes an earlier run knew.
fn restore_nodes(monitor: &Monitor, journal: &Journal, names: &HashMap<String, Name>) {
    let (nodes, gone) = node_names::remembered(journal.known_nodes(), names);
    monitor.restore_nodes(nodes);
    monitor.stand(|standing| standing.gone.extend(gone));
}

/// Looks after nodes and problems from now on.
fn look_out(
    config: &Config,
    monitor: &Arc<Monitor>,
    journal: &Journal,
    names: &HashMap<String, Name>,
) -> task::JoinHandle<()> {
    let machine = Machine::new(config);
    machine.look(monitor);
    let monitor = Arc::clone(monitor);
    let lookout = lookout::keep(monitor, journal.clone(), names.clone(), machine);
    tokio::spawn(lookout)
}

/// When a silent node is what.
fn node_rules(config: &config::Telemetry) -> NodeRules {
    NodeRules {
        stale_after: config.stale_after,
        offline_after: config.offline_after,
        intervals: config.node_intervals(),
    }
}

/// What every sink is told at first: to wait for a clock that is right, where that is wanted.
fn first_directives(config: &Config) -> Arc<Directives> {
    let first = Directive {
        held: waiting::must_wait(config.telemetry.wait_for_clock),
        ..Directive::default()
    };
    let directives = Directives::default();
    for sink in enabled_sinks(config) {
        directives.begin(sink.link().clone(), first.clone());
    }
    Arc::new(directives)
}

/// The source while it is read.
struct SourceRead {
    task: task::JoinHandle<Result<End, SourceError>>,
    chunks: mpsc::Receiver<Chunk>,
    /// What is known of a recording's times, before the first chunk.
    times: oneshot::Receiver<Option<RecordedTimes>>,
}

impl SourceRead {
    fn begin(
        config: &Config,
        directives: &Directives,
        consoles: &Consoles,
        monitor: &Arc<Monitor>,
    ) -> Self {
        let (chunk_sender, chunks) = mpsc::channel(CHUNKS);
        let (times_sender, times) = oneshot::channel();
        let link = LinkId::source();
        let directive = directives.begin(link.clone(), Directive::default());
        let console = Arc::new(Console::new(&config.source, Arc::clone(monitor)));
        consoles.begin(link.clone(), Arc::clone(&console));
        let told = (directive, console);
        let reading = read_source(link, config, chunk_sender, times_sender, monitor, told);
        Self {
            task: tokio::spawn(reading),
            chunks,
            times,
        }
    }
}

/// Reads the source until it ends or is told to; says before what is known of a recording's times.
fn read_source(
    link: LinkId,
    config: &Config,
    chunks: mpsc::Sender<Chunk>,
    times: oneshot::Sender<Option<RecordedTimes>>,
    monitor: &Arc<Monitor>,
    (mut directive, console): (watch::Receiver<Directive>, Arc<Console>),
) -> impl Future<Output = Result<End, SourceError>> + Send + use<> {
    let (source, recorded) = (config.source.clone(), config.recorded);
    let monitor = Arc::clone(monitor);
    async move {
        let stage = Stage::Link(link.clone());
        let _guard = StageGuard::new(Arc::clone(&monitor), stage);
        let known = tokio::select! {
            biased;
            times = recorded_times(source.clone(), recorded) => times,
            _ = directive.wait_for(|directive| directive.retired) => None,
        };
        let _nobody_reads = times.send(known);
        source::run(link, &source, chunks, monitor, directive, console).await
    }
}

/// All links, in the order of the data path. Of a kind that is not configured there is one all the same, to
/// say so.
fn links(config: &Config) -> Vec<LinkId> {
    let mut links = vec![LinkId::source()];
    for kind in [LinkKind::Mqtt, LinkKind::Influxdb] {
        let before = links.len();
        let sinks = enabled_sinks(config).into_iter();
        links.extend(
            sinks
                .map(|sink| sink.link().clone())
                .filter(|it| it.kind() == kind),
        );
        if links.len() == before {
            links.push(LinkId::only(kind));
        }
    }
    links
}

fn enabled_sinks(config: &Config) -> Vec<SinkId> {
    let settings = SinkSettings::all(config);
    settings.iter().map(SinkSettings::sink).collect()
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
