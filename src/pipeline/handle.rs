//! What the outside may do with a running pipeline: look at it, and give it commands.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use super::sinks::Sinks;
use super::{SinkSettings, StartError, Stop};
use crate::monitor::{
    Command, DeliveryEntry, Directive, HistoryPoint, HistoryQuery, LinkId, LogEntry, Monitor,
    Numbered, Observer, Order, Reply, Sight, SinkId, Snapshot, Stage, TrafficEntry,
};
use crate::repeated::Topic;
use crate::telemetry::Timestamp;

const COMMANDS: Topic = Topic::of_attempts("commands");

/// Observes and commands a pipeline. Cheap to clone.
#[derive(Clone)]
pub struct Handle(Arc<Parts>);

pub(super) struct Parts {
    pub(super) sinks: Sinks,
    pub(super) record: watch::Sender<bool>,
    pub(super) stop: watch::Sender<Stop>,
    pub(super) shutdown_timeout: Duration,
}

impl Handle {
    pub(super) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    pub(super) fn monitor(&self) -> &Arc<Monitor> {
        &self.0.sinks.monitor
    }

    /// Everything that can be observed, now.
    pub fn snapshot(&self) -> Snapshot {
        self.0.sinks.monitor.snapshot(self.0.sinks.journal.status())
    }

    /// Gives a command. It takes effect in the stage that it names, without being waited for.
    pub fn command(&self, command: Command) {
        COMMANDS.say(&format!("{command:?}"), "", move |sum| {
            tracing::info!(command = ?command, repeated = sum.words(), "Command.");
        });
        match command {
            Command::To(order, link) => self.direct(link, |directive| directive.obey(order)),
            Command::FlushAll => self.direct_sinks(|directive| directive.obey(Order::Flush)),
            Command::StartRecording => {
                self.0.record.send_replace(true);
            }
            Command::StopRecording => {
                self.0.record.send_replace(false);
            }
            Command::Quit => {
                self.stop_further();
            }
        }
    }

    /// Tells the pipeline to stop tidily, and at once when it was told before.
    pub fn stop_further(&self) -> Stop {
        let stop = match *self.0.stop.borrow() {
            Stop::No => Stop::Drain,
            Stop::Drain | Stop::Now => Stop::Now,
        };
        self.stop(stop);
        stop
    }

    /// Tells the pipeline to stop. A stop is never taken back.
    pub fn stop(&self, stop: Stop) {
        self.0
            .sinks
            .monitor
            .set_ends_by(Timestamp::now().plus(self.0.shutdown_timeout));
        self.0.stop.send_if_modified(|current| {
            let is_further = stop > *current;
            *current = stop.max(*current);
            is_further
        });
    }

    /// Gives a sink other settings. A sink that was not configured at the start cannot get any.
    pub async fn restart_sink(&self, settings: &SinkSettings) -> Result<(), StartError> {
        self.0.sinks.restart(settings).await
    }

    /// A stage that works and was silent for longer than `patience`. Begins to ask the journal, too,
    /// so this is to be called now and then.
    pub fn stuck_stage(&self, patience: Duration) -> Option<Stage> {
        let monitor = Arc::clone(&self.0.sinks.monitor);
        if monitor.pulses.rests(Stage::Journal) {
            monitor.pulses.beat(Stage::Journal);
            let journal = self.0.sinks.journal.clone();
            tokio::spawn(async move {
                journal.settle().await;
                monitor.pulses.rest(Stage::Journal);
            });
        }
        self.0.sinks.monitor.pulses.stuck(patience)
    }

    /// The threads of the sinks, to be waited for; from now on none is started.
    pub(super) async fn take_sinks(&self) -> [Option<JoinHandle<()>>; 2] {
        self.0.sinks.threads.lock().await.take().unwrap_or_default()
    }

    pub(super) fn direct_sinks(&self, change: impl Fn(&mut Directive)) {
        for sink in SinkId::ALL {
            self.direct(sink.link(), &change);
        }
    }

    pub(super) fn direct(&self, link: LinkId, change: impl FnOnce(&mut Directive)) {
        self.0.sinks.directives[link as usize].send_modify(change);
    }
}

impl Observer for Handle {
    fn sight(&self) -> Sight {
        Sight::Local
    }

    fn snapshot(&self) -> Option<Arc<Snapshot>> {
        Some(Arc::new(Self::snapshot(self)))
    }

    fn traffic_since(&self, number: u64) -> Vec<Numbered<TrafficEntry>> {
        self.0.sinks.monitor.activity.traffic.since(number)
    }

    fn deliveries_since(&self, number: u64) -> Vec<Numbered<DeliveryEntry>> {
        self.0.sinks.monitor.activity.deliveries.since(number)
    }

    fn log_since(&self, number: u64) -> Vec<Numbered<LogEntry>> {
        self.0.sinks.monitor.activity.log.since(number)
    }

    fn history(&self, query: HistoryQuery) -> Reply<Vec<HistoryPoint>> {
        let journal = self.0.sinks.journal.clone();
        Box::pin(async move {
            let read = tokio::task::spawn_blocking(move || journal.history(&query)).await;
            match read {
                Ok(points) => points.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            }
        })
    }

    fn command(&self, command: Command) -> Reply<()> {
        Self::command(self, command);
        Box::pin(std::future::ready(Ok(())))
    }
}
