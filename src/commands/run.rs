//! `fieldgate run`: the gateway itself.

use std::io::{self, Write as _};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::MissedTickBehavior;

use crate::cli::RunArguments;
use crate::config::{self, Config, ConfigErrors, Environment};
use crate::journal::JournalError;
use crate::logging::{self, LoggingError};
use crate::monitor::{Activity, SinkId, Snapshot, log_line};
use crate::pipeline::{Handle, Outcome, Pipeline, StartError, Stop, describe_journal};
use crate::source::SourceError;

/// How often the metrics are logged.
const METRICS_INTERVAL: Duration = Duration::from_mins(1);

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// Logging cannot begin.
    #[error(transparent)]
    Logging(#[from] LoggingError),
    /// The gateway cannot start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The system lacks something.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
    /// The source failed for good.
    #[error("{0}")]
    Source(SourceError),
    /// The journal could not be closed.
    #[error("the journal could not be closed: {0}")]
    Journal(JournalError),
}

/// Runs the gateway until it is told to stop or its input ends.
pub fn run(arguments: &RunArguments) -> Result<(), RunError> {
    let config = config::load(&arguments.config.overrides(), &Environment::of_process())?;
    let activity = Activity::default();
    let logging = logging::start(&config.log, activity.log.clone())?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "Starting.");
    for line in config.summary() {
        tracing::info!("{line}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("fieldgate")
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(run_pipeline(&config, activity))?;
    // A blocked read from a terminal or pipe must not hold up the end.
    runtime.shutdown_background();
    tracing::info!("Metrics: {}.", log_line(&outcome.snapshot));
    // Writes out what is left, so that the summary is the last line also where both go to one place.
    drop(logging);
    let summary = summary(&outcome.snapshot, &describe_journal(&config.journal));
    // Nobody may be there to read it: a closed pipe is no failure of the gateway.
    let _closed = writeln!(io::stdout(), "{summary}");
    finish(outcome)
}

async fn run_pipeline(config: &Config, activity: Activity) -> Result<Outcome, RunError> {
    let mut interrupts = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
    let pipeline = Pipeline::start(config, activity)?;
    let handle = pipeline.handle();
    for signals in &mut interrupts {
        if let Err(error) = signals {
            tracing::warn!(error = %error, "A stop signal cannot be watched.");
        }
    }
    let signals = tokio::spawn(forward_signals(interrupts, handle.clone()));
    let metrics = tokio::spawn(log_metrics(handle));
    let outcome = pipeline.run().await;
    signals.abort();
    metrics.abort();
    Ok(outcome)
}

/// The first signal ends the gateway tidily, the second one at once.
async fn forward_signals(
    [interrupt, terminate]: [io::Result<tokio::signal::unix::Signal>; 2],
    handle: Handle,
) {
    let (Ok(mut interrupt), Ok(mut terminate)) = (interrupt, terminate) else {
        return;
    };
    for stop in [Stop::Drain, Stop::Now] {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if stop == Stop::Now {
            tracing::warn!("Stopping at once; what is in the journal waits there.");
        } else {
            tracing::info!("Stopping; a second signal stops at once.");
        }
        handle.stop(stop);
    }
}

async fn log_metrics(handle: Handle) {
    let mut ticks = tokio::time::interval(METRICS_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        tracing::info!("Metrics: {}.", log_line(&handle.snapshot()));
    }
}

/// Whether something failed for good on the way.
fn finish(outcome: Outcome) -> Result<(), RunError> {
    match (outcome.source_error, outcome.journal_error) {
        (Some(error), _) => Err(RunError::Source(error)),
        (None, Some(error)) => Err(RunError::Journal(error)),
        (None, None) => Ok(()),
    }
}

/// What was delivered and what waits.
fn summary(snapshot: &Snapshot, journal: &str) -> String {
    let mut parts = Vec::new();
    let names = [
        (SinkId::Mqtt, "messages to MQTT"),
        (SinkId::Influxdb, "points to InfluxDB"),
    ];
    for (sink, name) in names {
        let Some(sink) = snapshot.sink(sink).filter(|sink| !sink.is_disabled()) else {
            continue;
        };
        let mut rest = format!("{} waiting", sink.queue_depth);
        for (count, what) in [(sink.dropped, "dropped"), (sink.rejected, "rejected")] {
            if count > 0 {
                rest = format!("{rest}, {count} {what}");
            }
        }
        parts.push(format!("{} {name} ({rest})", sink.delivered));
    }
    if parts.is_empty() {
        return format!(
            "Stopped. {} packets received; no sink is configured. Journal: {journal}.",
            snapshot.telemetry.packets_processed
        );
    }
    format!(
        "Stopped. {} packets received; delivered {}. Journal: {journal}.",
        snapshot.telemetry.packets_processed,
        parts.join(" and ")
    )
}
