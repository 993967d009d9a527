//! How a run ends: its input did, somebody asked for it, or a part of it failed. And that it does end,
//! whatever hangs.

use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::task;
use tokio_util::sync::CancellationToken;

use super::{Handle, Pipeline, Stop, lookout};
use crate::journal::{Journal, JournalError};
use crate::monitor::{Snapshot, Stage};
use crate::source::SourceError;

/// What a stop may take beside the time that the sinks have: the source is closed, what is in memory
/// is written, the journal is closed. A disk that needs longer hangs.
const TIDYING: Duration = Duration::from_secs(10);

/// The same when there is to be no delay: what is not done by then was never quick.
const TIDYING_AT_ONCE: Duration = Duration::from_secs(1);

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    /// Everything, at its end.
    pub snapshot: Snapshot,
    /// Why it did not end as asked.
    pub failure: Option<RunFailure>,
}

/// Why a run did not end as asked.
#[derive(Debug, thiserror::Error)]
pub enum RunFailure {
    /// The source failed for good.
    #[error(transparent)]
    Source(SourceError),
    /// A stage panicked.
    #[error(
        "a fault in fieldgate itself ended its {} stage; please report it with the log. What is in \
         the journal is delivered after the next start", .0
    )]
    Broken(Stage),
    /// The journal could not be closed properly.
    #[error("the journal could not be closed: {0}")]
    Journal(JournalError),
    /// Something did not end in time and was left behind.
    #[error(
        "the disk or a device does not answer and was not waited for. What is in the journal is \
         delivered after the next start; what could not be written to it is lost"
    )]
    Hung,
}

impl Pipeline {
    /// Runs until it is told to stop, or until its sources have no more input and everything of them is
    /// delivered. A part of it that fails ends all: whoever started it starts it again, and nothing is
    /// lost by that.
    pub async fn run(self) -> Outcome {
        let (handle, journal) = (self.handle.clone(), self.journal.clone());
        let mut hung = pin!(hung(self.stop.clone(), self.shutdown_timeout));
        let mut running = pin!(self.run_to_end());
        let mut broken = None;
        let outcome = loop {
            tokio::select! {
                outcome = &mut running => break outcome,
                stage = broken_stage(&handle, &journal), if broken.is_none() => {
                    tracing::error!(%stage, "A stage failed; the gateway ends.");
                    // Without a journal no delivery can be written down.
                    handle.stop(if stage == Stage::Journal { Stop::Now } else { Stop::Drain });
                    broken = Some(stage);
                }
                () = &mut hung => {
                    tracing::error!("The gateway hangs; it ends without waiting any longer.");
                    let (snapshot, failure) = (handle.snapshot(), Some(RunFailure::Hung));
                    break Outcome { snapshot, failure };
                }
            }
        };
        // It may have been what ended the run.
        match broken.or_else(|| broken_stage(&handle, &journal).now_or_never()) {
            None => outcome,
            Some(stage) => Outcome {
                failure: Some(RunFailure::Broken(stage)),
                ..outcome
            },
        }
    }

    async fn run_to_end(mut self) -> Outcome {
        let source_error = self.end_sources().await.map(RunFailure::Source);
        let last = self.journal.settle().await;
        self.handle
            .direct_sinks(|directive| directive.drain_to = Some(last.sequence));
        self.end_sinks().await;
        let snapshot = self.handle.snapshot();
        let Self {
            handle,
            journal,
            lookout,
            naming,
            ..
        } = self;
        lookout.abort();
        lookout::remember(handle.monitor(), &journal, &naming);
        drop(handle);
        let journal_error = journal.close().await.err().map(RunFailure::Journal);
        let failure = source_error.or(journal_error);
        Outcome { snapshot, failure }
    }

    /// Waits for the end of all sources, or ends them when told to stop.
    async fn end_sources(&mut self) -> Option<SourceError> {
        let sources = self.handle.sources();
        tokio::select! {
            () = sources.ended() => if self.outlives_input && !sources.has_failed() {
                stop_asked(&mut self.stop).await;
            },
            () = stop_asked(&mut self.stop) => {}
        }
        sources.end().await
    }

    /// Waits until all sinks are drained, at most for the shutdown timeout once a stop was asked for.
    async fn end_sinks(&mut self) {
        let threads = self.handle.take_sinks().await;
        let ended = CancellationToken::new();
        let joined = task::spawn_blocking({
            let ended = ended.clone();
            move || {
                for running in threads.into_values() {
                    if running.thread.join().is_err() {
                        tracing::error!("A sink failed.");
                    }
                }
                ended.cancel();
            }
        });
        tokio::select! {
            () = ended.cancelled() => return,
            _ = is_urged(&mut self.stop, self.shutdown_timeout) => {}
        }
        self.handle
            .direct_sinks(|directive| directive.abandon = true);
        if let Err(error) = joined.await {
            tracing::error!(error = %error, "The sinks could not be waited for.");
        }
    }
}

/// Waits until a stop is asked for. Nothing of what was seen is handed out: as long as a guard of it
/// lived, whoever tells to stop further would wait.
async fn stop_asked(stop: &mut watch::Receiver<Stop>) {
    // A closed channel cannot happen while the handle lives; it would mean to stop.
    let _seen = stop.wait_for(|stop| *stop > Stop::No).await;
}

/// Waits until a stop at once is asked for, or until a stop was asked for `patience` ago. Returns
/// whether it is the former.
async fn is_urged(stop: &mut watch::Receiver<Stop>, patience: Duration) -> bool {
    stop_asked(stop).await;
    let now = stop.wait_for(|stop| *stop == Stop::Now);
    tokio::time::timeout(patience, now).await.is_ok()
}

/// Resolves when a stage has panicked.
async fn broken_stage(handle: &Handle, journal: &Journal) -> Stage {
    tokio::select! {
        biased;
        () = journal.broken() => Stage::Journal,
        stage = handle.monitor().pulses.broken() => stage,
    }
}

/// Resolves when the end that was asked for takes too long.
async fn hung(mut stop: watch::Receiver<Stop>, shutdown_timeout: Duration) {
    if is_urged(&mut stop, shutdown_timeout + TIDYING).await {
        tokio::time::sleep(TIDYING_AT_ONCE).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::{Instant, timeout};

    use super::*;
    use crate::config::{self, Overrides};
    use crate::monitor::{Activity, LinkId, StageGuard};

    #[tokio::test]
    async fn a_stage_that_panics_ends_the_run_and_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let mut overrides = Overrides::default();
        let file = folder.path().join("config.toml");
        let text = "[source]\nkind = \"simulator\"\n[journal]\npath = \":memory:\"\n";
        std::fs::write(&file, text).unwrap();
        overrides.file = Some(file);
        let environment = [("HOME", "/")].into_iter().collect();
        let config = config::load(&overrides, &environment).unwrap();
        let pipeline = Pipeline::start(&config, Activity::default()).await.unwrap();
        let guard = StageGuard::new(
            Arc::clone(pipeline.handle().monitor()),
            Stage::Ingest(LinkId::source()),
        );
        let thread = std::thread::spawn(move || {
            let _guard = guard;
            panic!("on purpose");
        });
        assert!(thread.join().is_err());
        let ended = timeout(Duration::from_secs(30), pipeline.run()).await;
        let failure = ended.unwrap().failure.unwrap();
        assert!(
            matches!(failure, RunFailure::Broken(Stage::Ingest(_))),
            "{failure:?}"
        );
    }

    /// Seconds from the first request to stop until the end is given up. `now`: when a second one
    /// comes.
    async fn given_up_after(now: Option<u64>) -> u64 {
        let (sender, stop) = watch::channel(Stop::No);
        let watching = tokio::spawn(hung(stop, Duration::from_secs(5)));
        tokio::time::sleep(Duration::from_hours(1)).await;
        assert!(!watching.is_finished());
        let asked = Instant::now();
        sender.send_replace(Stop::Drain);
        if let Some(seconds) = now {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            sender.send_replace(Stop::Now);
        }
        watching.await.unwrap();
        asked.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_that_hangs_is_given_up_and_soon_when_asked_twice() {
        assert_eq!(given_up_after(None).await, 15);
        assert_eq!(given_up_after(Some(3)).await, 4);
        assert_eq!(given_up_after(Some(12)).await, 13);
    }
}
