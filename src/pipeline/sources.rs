//! The sources: started, changed, removed, waited for. Each has tasks of its own up to the journal, so that
//! none waits for another.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};

use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::Ingest;
use super::consoles::Consoles;
use super::directives::Directives;
use super::feed::Feed;
use super::recorder::RecordedChunks;
use crate::config::{self, Config, NamedSource, Recorded};
use crate::journal::Journal;
use crate::monitor::{
    Directive, LinkId, LinkKind, Monitor, Order, SourceMonitor, Stage, StageGuard,
};
use crate::source::{self, Chunk, Console, End, SourceError};
use crate::telemetry::RecordedTimes;

/// Chunks between source and ingest, of 16 KiB at the most. What a slow disk holds up waits behind
/// this as packets, in the journal's own queue.
const CHUNKS: usize = 32;

/// What every source is made of, and those that run.
pub(super) struct Sources {
    monitor: Arc<Monitor>,
    journal: Journal,
    directives: Arc<Directives>,
    consoles: Consoles,
    telemetry: config::Telemetry,
    /// Whether each node's own signal is delivered as well.
    gives_signal: bool,
    recordings: PathBuf,
    /// `None`: the gateway is stopping, and no source is started any more.
    running: Mutex<Option<HashMap<LinkId, Running>>>,
    /// How many are at work.
    working: Arc<watch::Sender<usize>>,
    failure: Arc<StdMutex<Option<SourceError>>>,
}

/// A source that runs or has ended.
struct Running {
    settings: NamedSource,
    record: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// The link of a source.
pub(super) fn link_of(source: &NamedSource) -> LinkId {
    LinkId::new(LinkKind::Source, &source.name)
}

impl Sources {
    /// Nothing runs yet. Recordings go into the folder `recordings`.
    pub(super) fn new(
        monitor: Arc<Monitor>,
        journal: Journal,
        directives: Arc<Directives>,
        config: &Config,
        recordings: PathBuf,
    ) -> Self {
        Self {
            monitor,
            journal,
            directives,
            consoles: Consoles::default(),
            telemetry: config.telemetry.clone(),
            gives_signal: config.mqtt.iter().any(|it| it.node_signal),
            recordings,
            running: Mutex::new(Some(HashMap::new())),
            working: Arc::default(),
            failure: Arc::default(),
        }
    }

    /// Has these sources run and no others. One that stays as it was notices nothing.
    pub(super) async fn set(&self, wanted: &[NamedSource]) {
        // Held all the time, so that a stop finds all that there are.
        let mut running = self.running.lock().await;
        let Some(running) = running.as_mut() else {
            return;
        };
        let stays = |source: &Running| wanted.contains(&source.settings);
        let leaving: Vec<LinkId> = running
            .iter()
            .filter(|(_, source)| !stays(source))
            .map(|(link, _)| link.clone())
            .collect();
        for link in leaving {
            self.directives
                .tell(&link, |directive| directive.retired = true);
            if let Some(source) = running.remove(&link) {
                join(source.task).await;
            }
            self.directives.end(&link);
            self.consoles.end(&link);
            if !wanted.iter().any(|source| link_of(source) == link) {
                self.monitor.remove_link(&link);
            }
        }
        for settings in wanted {
            let link = link_of(settings);
            running.entry(link).or_insert_with(|| self.start(settings));
        }
    }

    fn start(&self, settings: &NamedSource) -> Running {
        let link = link_of(settings);
        let monitor = self.monitor.source(&link);
        let directive = self.directives.begin(link.clone());
        let console = Arc::new(Console::new(&settings.source, monitor.clone()));
        self.consoles.begin(link, Arc::clone(&console));
        let (chunk_sender, chunks) = mpsc::channel(CHUNKS);
        let (times_sender, times) = oneshot::channel();
        let (ended_sender, input_ended) = oneshot::channel();
        let source = read(
            settings.clone(),
            chunk_sender,
            (times_sender, ended_sender),
            monitor.clone(),
            (directive, console),
        );
        let source = tokio::spawn(source);
        let record = watch::Sender::new(false);
        let folder = self.recordings.clone();
        let chunks = RecordedChunks::new(chunks, record.subscribe(), folder, monitor.clone());
        let feed = Feed::new(
            self.ingest(settings, monitor.clone()),
            chunks,
            self.journal.clone(),
            monitor.clone(),
            self.telemetry.clock_tolerance,
        );
        let directives = Arc::clone(&self.directives);
        let clock_set = move || directives.tell_sinks(|it| it.obey(Order::Reconnect));
        let feed = tokio::spawn(feed.run(times, input_ended, clock_set));
        self.working.send_modify(|working| *working += 1);
        let (working, failure) = (Arc::clone(&self.working), Arc::clone(&self.failure));
        let task = tokio::spawn(async move {
            let result = source.await;
            let failed = announce_end(result, monitor.own_name().as_deref());
            // Ends by itself once the source is gone and its last chunk is in the journal.
            if let Err(error) = feed.await {
                tracing::error!(error = %error, "The telemetry stage failed.");
            }
            if let Some(error) = failed {
                let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
                failure.get_or_insert(error);
            }
            working.send_modify(|working| *working -= 1);
        });
        Running {
            settings: settings.clone(),
            record,
            task,
        }
    }

    /// What makes packets of a source's bytes.
    fn ingest(&self, settings: &NamedSource, monitor: SourceMonitor) -> Ingest {
        let ingest = Ingest::new(
            self.telemetry.decoder(&settings.format),
            &self.journal.known_names(monitor.name()),
            settings.source.timeline(settings.recorded),
            self.telemetry.clock_tolerance,
            monitor,
        );
        ingest
            .giving_signal(self.gives_signal)
            .of_format(&settings.format, settings.source.beginning())
            .calibrated(self.telemetry.calibration.of_source(&settings.name))
    }

    /// Begins or ends the recording of a source; `None`: of all. False: there is no such source.
    pub(super) fn record(&self, link: Option<&LinkId>, is_wanted: bool) -> bool {
        // Only whoever changes the sources holds it, and then there is nothing to record yet.
        let Ok(running) = self.running.try_lock() else {
            return true;
        };
        let mut found = link.is_none();
        for (id, source) in running.iter().flatten() {
            if link.is_none_or(|link| link == id) {
                source.record.send_replace(is_wanted);
                found = true;
            }
        }
        found
    }

    /// The ways back to the sources.
    pub(super) fn consoles(&self) -> &Consoles {
        &self.consoles
    }

    /// Resolves when all sources have come to their end, and everything of them is in the journal.
    pub(super) async fn ended(&self) {
        let mut working = self.working.subscribe();
        // Cannot end before: the sender lives as long as this.
        let _seen = working.wait_for(|working| *working == 0).await;
    }

    /// Whether a source has failed for good.
    pub(super) fn has_failed(&self) -> bool {
        self.failure().is_some()
    }

    /// Ends all that still run; none is started any more. Returns why the first one failed that did.
    pub(super) async fn end(&self) -> Option<SourceError> {
        let retire = || self.directives.tell_sources(|it| it.retired = true);
        retire();
        let running = self.running.lock().await.take().unwrap_or_default();
        retire();
        for source in running.into_values() {
            join(source.task).await;
        }
        self.failure().take()
    }

    fn failure(&self) -> std::sync::MutexGuard<'_, Option<SourceError>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn join(task: JoinHandle<()>) {
    if let Err(error) = task.await {
        tracing::error!(error = %error, "A source could not be waited for.");
    }
}

/// Says how a source came to its end, and returns why, if it failed.
fn announce_end(
    result: Result<Result<End, SourceError>, tokio::task::JoinError>,
    source: Option<&str>,
) -> Option<SourceError> {
    match result {
        Ok(Ok(End::InputEnded)) => {
            tracing::info!(source, "The input ended; delivering what there is.");
            None
        }
        Ok(Ok(End::Cancelled)) => None,
        Ok(Err(error)) => {
            tracing::error!(source, error = %error, "The source failed; delivering what there is.");
            Some(error)
        }
        Err(error) => {
            tracing::error!(source, error = %error, "The source failed; delivering what there is.");
            None
        }
    }
}

/// Reads a source until it ends or is told to; says before what is known of a recording's times, and behind
/// it whether the input ended by itself.
async fn read(
    settings: NamedSource,
    chunks: mpsc::Sender<Chunk>,
    (times, input_ended): (oneshot::Sender<Option<RecordedTimes>>, oneshot::Sender<()>),
    monitor: SourceMonitor,
    (mut directive, console): (watch::Receiver<Directive>, Arc<Console>),
) -> Result<End, SourceError> {
    let stage = Stage::Link(monitor.source().clone());
    let _guard = StageGuard::new(Arc::clone(monitor.shared()), stage);
    let known = tokio::select! {
        biased;
        times = recorded_times(settings.source.clone(), settings.recorded) => times,
        _ = directive.wait_for(|directive| directive.retired) => None,
    };
    let _nobody_reads = times.send(known);
    let (source, format) = (&settings.source, &settings.format);
    let end = source::run(source, format, chunks, monitor, directive, console).await;
    if matches!(end, Ok(End::InputEnded)) {
        let _nobody_feeds = input_ended.send(());
    }
    end
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
