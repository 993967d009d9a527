//! What the outside may do with a running pipeline: look at it, and give it commands.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, watch};

use super::sinks::{Sinks, Threads};
use super::sources::Sources;
use super::{SinkSettings, StartError, Stop, named_formats};
use crate::config::NamedSource;
use crate::monitor::{
    Asker, Command, DeliveryEntry, Directive, HistoryPoint, HistoryQuery, Lease, LinkId, LinkState,
    LinkStatus, LiveReadings, LogEntry, Monitor, Numbered, Observer, Order, Pulse, Reply, RewindTo,
    Sight, SinkId, Snapshot, Stage, TrafficEntry,
};
use crate::repeated::Topic;
use crate::source::ConsoleError;
use crate::telemetry::Timestamp;

const COMMANDS: Topic = Topic::of_attempts("commands");

const LENT: Topic = Topic::of_attempts("lent");

/// How long a source may take to let go: a program gets two seconds to end before it is killed.
const LETTING_GO: Duration = Duration::from_secs(10);

/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(10);

/// Each is a line of its own, as fast as anybody types.
const SENT: Topic = Topic::new("sent").at_once(100);

/// Observes and commands a pipeline. Cheap to clone.
#[derive(Clone)]
pub struct Handle(Arc<Parts>);

pub(super) struct Parts {
    pub(super) sinks: Sinks,
    pub(super) sources: Sources,
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

    /// Sends a text to a source, and says in the log who asked and what became of it.
    fn send(&self, link: LinkId, text: String, asker: &Asker) -> Reply<()> {
        let by = asker.to_string();
        let Some(console) = self.0.sources.consoles().find(&link) else {
            return refused(&link);
        };
        done(async move {
            let outcome = console.send(&text).await;
            let error = outcome.as_ref().err().map(ToString::to_string);
            SENT.say(&link.to_string(), "", move |sum| {
                let repeated = sum.words();
                match &error {
                    None => tracing::info!(%link, text, by, repeated, "A text was sent."),
                    Some(error) => {
                        tracing::warn!(%link, text, by, error, repeated, "A text was not sent.");
                    }
                }
            });
            outcome
        })
    }

    fn record(&self, link: Option<&LinkId>, is_wanted: bool) -> Reply<()> {
        let is_there = self.0.sources.record(link, is_wanted);
        match link {
            Some(link) if !is_there => refused(link),
            _ => Box::pin(std::future::ready(Ok(()))),
        }
    }

    /// Has these sources run and no others; those that stay as they were notice nothing. Points say which
    /// source they come from as long as there are several, and Home Assistant knows those that there are.
    pub async fn set_sources(&self, sources: &[NamedSource]) {
        if sources.len() > 1 {
            self.monitor().qualify_nodes();
        }
        self.0.sources.set(sources).await;
        for sink in self.0.sinks.set_sources(named_formats(sources)).await {
            if let Err(error) = self.0.sinks.restart(&sink).await {
                tracing::error!(sink = %sink, error = %error, "A sink does not start again.");
            }
        }
    }

    pub(super) fn sources(&self) -> &Sources {
        &self.0.sources
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

    /// Has these sinks run and no others; those that stay as they were notice nothing. Returns what came of
    /// each that was to change: one that cannot have its new settings goes on with the old ones.
    pub async fn set_sinks(
        &self,
        wanted: &[SinkSettings],
    ) -> Vec<(SinkId, Result<(), StartError>)> {
        self.0.sinks.set(wanted).await
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

    fn readings(&self) -> Option<broadcast::Receiver<LiveReadings>> {
        Some(self.0.sinks.monitor.watch_readings())
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

    fn lend(&self, link: LinkId, to: String, asker: Asker) -> Reply<Lease> {
        let handle = self.clone();
        Box::pin(handle.lend_source(link, to, asker.to_string()))
    }

    fn rewind(&self, link: LinkId, to: RewindTo, asker: Asker) -> Reply<u64> {
        let handle = self.clone();
        Box::pin(handle.go_back(link, to, asker.to_string()))
    }

    /// It takes effect in the stage that it names. What is sent to a board is waited for.
    fn command(&self, command: Command, asker: Asker) -> Reply<()> {
        let (said, by) = (command.clone(), asker.to_string());
        if !matches!(command, Command::Send(..)) {
            COMMANDS.say(&format!("{command:?}"), "", move |sum| {
                tracing::info!(command = ?said, by, repeated = sum.words(), "Command.");
            });
        }
        match command {
            Command::To(order, link) => {
                if !self.direct(&link, |directive| directive.obey(order)) {
                    return refused(&link);
                }
            }
            Command::Send(link, text) => return self.send(link, text, &asker),
            Command::Reset(link) => {
                return match self.0.sources.consoles().find(&link) {
                    Some(console) => done(async move { console.reset().await }),
                    None => refused(&link),
                };
            }
            Command::FlushAll => self.direct_sinks(|directive| directive.obey(Order::Flush)),
            Command::StartRecording(link) => return self.record(link.as_ref(), true),
            Command::StopRecording(link) => return self.record(link.as_ref(), false),
            Command::Quit => {
                self.stop_further();
            }
        }
        Box::pin(std::future::ready(Ok(())))
    }
}

impl Handle {
    /// Holds a source for a program until the lease is dropped, if it is not lent already.
    async fn lend_source(self, link: LinkId, to: String, by: String) -> Result<Lease, String> {
        let console = self.0.sources.consoles().find(&link);
        if !console.ok_or_else(|| unknown(&link))?.takes_input() {
            return Err("only a serial port and a program can be lent".to_owned());
        }
        let mut lent_to = None;
        self.direct(&link, |directive| {
            lent_to.clone_from(&directive.lent_to);
            directive.lent_to.get_or_insert_with(|| to.as_str().into());
        });
        if let Some(to) = lent_to {
            return Err(format!("{link} is lent to {to} already"));
        }
        let monitor = Arc::clone(self.monitor());
        monitor.set_lent(&link, Some(to.clone()));
        LENT.say(&link.to_string(), "lent", {
            let (link, to) = (link.clone(), to.clone());
            move |sum| tracing::info!(%link, to, by, repeated = sum.words(), "The source is lent.")
        });
        // From here on whatever ends this gives it back.
        let peer = monitor.link(&link).map(|status| status.peer);
        let lease = Lease::new(peer.unwrap_or_default(), {
            let (handle, link) = (self.clone(), link.clone());
            move || handle.take_back(link, to)
        });
        let let_go = async {
            let is_held = |status: LinkStatus| status.state == LinkState::Held;
            while !monitor.link(&link).is_some_and(is_held) {
                tokio::time::sleep(LOOK).await;
            }
        };
        match tokio::time::timeout(LETTING_GO, let_go).await {
            Ok(()) => Ok(lease),
            Err(_elapsed) => Err(format!("{link} is not let go of; is the gateway stopping?")),
        }
    }

    /// Has a sink go back in the journal; returns how many messages it delivers again, once that is committed.
    async fn go_back(self, link: LinkId, to: RewindTo, by: String) -> Result<u64, String> {
        let sink = link.sink();
        let sink = sink.ok_or_else(|| format!("{link} delivers nothing; name mqtt or influxdb"))?;
        let journal = self.0.sinks.journal.clone();
        let place = tokio::task::spawn_blocking({
            let journal = journal.clone();
            move || journal.place(to)
        });
        let place = place.await.map_err(|error| error.to_string())?;
        let place = place.map_err(|error| error.to_string())?;
        let mut number = 0;
        if !self.direct(&link, |directive| number = directive.rewind_to(place)) {
            return Err(unknown(&link));
        }
        let taken_back = async {
            loop {
                match journal.taken_back(&sink) {
                    (done, messages) if done >= number => return messages,
                    _ => tokio::time::sleep(LOOK).await,
                }
            }
        };
        let messages = tokio::time::timeout(LETTING_GO, taken_back).await;
        let messages = messages.map_err(|_| {
            format!("{link} does not let go of what it sends; is the gateway stopping?")
        })?;
        journal.settle().await;
        COMMANDS.say(&format!("rewind {link}"), "", move |sum| {
            tracing::info!(
                %link, messages, by, repeated = sum.words(),
                "The sink goes back in the journal and delivers again."
            );
        });
        Ok(messages)
    }

    fn take_back(&self, link: LinkId, from: String) {
        self.monitor().set_lent(&link, None);
        self.direct(&link, |directive| directive.lent_to = None);
        LENT.say(&link.to_string(), "given back", move |sum| {
            tracing::info!(%link, from, repeated = sum.words(), "The source is given back.");
        });
    }
}

fn unknown(link: &LinkId) -> String {
    format!("{link} is not configured on this gateway")
}

fn refused(link: &LinkId) -> Reply<()> {
    Box::pin(std::future::ready(Err(unknown(link))))
}

/// Has something done to its end, though whoever asked for it be gone by then.
fn done(work: impl Future<Output = Result<(), ConsoleError>> + Send + 'static) -> Reply<()> {
    Box::pin(async move {
        let outcome = tokio::spawn(work).await;
        let outcome = outcome.map_err(|error| error.to_string())?;
        outcome.map_err(|error| error.to_string())
    })
}
