//! Wires source → journal → sinks, and owns the way they start and stop.
//!
//! ```text
//! sources ─chunks→ ingest ─packets→ journal ─rows→ sinks
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
mod sources;
mod speed_limit;
mod waiting;

#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::task;

use directives::Directives;
pub use ending::{Outcome, RunFailure};
pub use handle::Handle;
pub use ingest::{Ingest, Yield};
use machine::Machine;
use node_names::Naming;
pub use recorder::recording_prefix;
pub use sinks::SinkSettings;

use crate::config::{self, Config, JournalPath, NamedSource, SOURCE_PLACEHOLDER};
use crate::journal::{Enrolled, Journal, JournalError};
use crate::monitor::{Activity, Monitor, NodeRules, SinkId, Stage};
use crate::telemetry::{Format, Name};
use sinks::Sinks;
use sources::{Sources, link_of};

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
    lookout: task::JoinHandle<()>,
    naming: Naming,
    stop: watch::Receiver<Stop>,
    shutdown_timeout: Duration,
    outlives_input: bool,
}

impl Pipeline {
    /// Starts everything. Must be called within a tokio runtime. What happens is kept in `activity`.
    pub async fn start(config: &Config, activity: Activity) -> Result<Self, StartError> {
        let metrics = Arc::new(config.metric_table());
        let sources = config.sources.iter().map(link_of).collect();
        let monitor = Monitor::new(metrics.clone(), activity, sources);
        let sinks = enabled_sinks(config).into_iter();
        monitor.set_sink_links(sinks.map(|sink| sink.link().clone()).collect());
        let monitor = Arc::new(monitor.with_nodes(node_rules(&config.telemetry)));
        let settings = SinkSettings::all(config);
        let enrolled: Vec<Enrolled> = settings.iter().map(SinkSettings::enrolled).collect();
        let journal = Journal::open(&config.journal, &enrolled)?;
        let naming = naming(config);
        if naming.is_qualified {
            monitor.qualify_nodes();
        }
        restore_nodes(&monitor, &journal, &naming);

        let sinks = Sinks {
            monitor: monitor.clone(),
            journal: journal.clone(),
            metrics: metrics.clone(),
            names: naming.names.clone(),
            sources: named_formats(&config.sources).into(),
            directives: first_directives(config),
            threads: Mutex::new(None),
        };
        let sinks = sinks.start_all(config)?;
        let directives = Arc::clone(&sinks.directives);

        let lookout = look_out(config, &monitor, &journal, &naming);
        let sources = Sources::new(
            monitor.clone(),
            journal.clone(),
            Arc::clone(&directives),
            config,
            recording_folder(&config.journal),
        );
        sources.set(&config.sources).await;
        if let Some(patience) = config.telemetry.wait_for_clock {
            let waiting = waiting::release_when_synchronised(directives, patience);
            tokio::spawn(waiting);
        }

        let (stop_sender, stop) = watch::channel(Stop::No);
        let handle = Handle::new(handle::Parts {
            sinks,
            sources,
            stop: stop_sender,
            shutdown_timeout: config.shutdown_timeout,
            journal_pulse: monitor.pulses.of(Stage::Journal),
        });
        let shutdown_timeout = config.shutdown_timeout;
        Ok(Self {
            handle,
            journal,
            lookout,
            naming,
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

/// What nodes are called, and whether by their source as well.
fn naming(config: &Config) -> Naming {
    let tells_sources = |mqtt: &config::Mqtt| mqtt.topic_prefix.contains(SOURCE_PLACEHOLDER);
    let sources = config.sources.iter();
    Naming {
        names: config.telemetry.node_names(),
        sources: sources.map(|it| it.name.clone()).collect(),
        is_qualified: config.sources.len() > 1 || config.mqtt.iter().any(tells_sources),
    }
}

/// Takes up which nodes an earlier run knew.
fn restore_nodes(monitor: &Monitor, journal: &Journal, naming: &Naming) {
    let (nodes, gone) = node_names::remembered(journal.known_nodes(), naming);
    monitor.restore_nodes(nodes);
    monitor.stand(|standing| standing.gone.extend(gone));
}

/// Looks after nodes and problems from now on.
fn look_out(
    config: &Config,
    monitor: &Arc<Monitor>,
    journal: &Journal,
    naming: &Naming,
) -> task::JoinHandle<()> {
    let machine = Machine::new(config);
    machine.look(monitor);
    let monitor = Arc::clone(monitor);
    let lookout = lookout::keep(monitor, journal.clone(), naming.clone(), machine);
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

/// Those of all sinks, which wait at first for a clock that is right, where that is wanted.
fn first_directives(config: &Config) -> Arc<Directives> {
    let directives = Directives::new(waiting::must_wait(config.telemetry.wait_for_clock));
    for sink in enabled_sinks(config) {
        directives.begin(sink.link().clone());
    }
    Arc::new(directives)
}

/// The names and formats of these sources.
fn named_formats(sources: &[NamedSource]) -> Vec<(Name, Format)> {
    let named = sources.iter();
    named
        .map(|it| (Name::new(&it.name), it.format.clone()))
        .collect()
}

fn enabled_sinks(config: &Config) -> Vec<SinkId> {
    let settings = SinkSettings::all(config);
    settings.iter().map(SinkSettings::sink).collect()
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
