//! What the outside may do with a running pipeline: look at it, and give it commands.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::sinks::{Sinks, Threads};
use super::{SinkSettings, StartError, Stop};
use crate::monitor::{
    Command, DeliveryEntry, Directive, HistoryPoint, HistoryQuery, LinkId, LogEntry, Monitor,
    Numbered, Observer, Order, Pulse, Reply, Sight, Snapshot, Stage, TrafficEntry,
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
    pub(super) journal_pulse: Pulse,
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

    /// Gives a command. It takes effect in the stage that it names, without being waited for. The error
    /// says, for people, that there is no such link.
    pub fn command(&self, command: &Command) -> Result<(), String> {
        let said = command.clone();
        COMMANDS.say(&format!("{command:?}"), "", move |sum| {
            tracing::info!(command = ?said, repeated = sum.words(), "Command.");
        });
        match command {
            Command::To(order, link) => {
                if !self.direct(link, |directive| directive.obey(*order)) {
                    return Err(format!("{link} is not configured on this gateway"));
                }
            }
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
        Ok(())
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
        let pulse = self.0.journal_pulse.clone();
        if pulse.rests() {
            pulse.beat();
            let journal = self.0.sinks.journal.clone();
            tokio::spawn(async move {
                journal.settle().await;
                pulse.rest();
            });
        }
        self.0.sinks.monitor.pulses.stuck(patience)
    }

    /// The threads of the sinks, to be waited for; from now on none is started.
    pub(super) async fn take_sinks(&self) -> Threads {
        self.0.sinks.threads.lock().await.take().unwrap_or_default()
    }

    pub(super) fn direct_sinks(&self, change: impl Fn(&mut Directive)) {
        self.0.sinks.directives.tell_sinks(change);
    }

    /// Tells a link something; false: there is no such link.
    pub(super) fn direct(&self, link: &LinkId, change: impl FnOnce(&mut Directive)) -> bool {
        self.0.sinks.directives.tell(link, change)
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
        Box::pin(std::future::ready(Self::command(self, &command)))
    }
}
