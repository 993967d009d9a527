//! `fieldgate run`: the gateway itself.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{reload, service};
use crate::api::{ApiError, Server};
use crate::cli::RunArguments;
use crate::config::{self, Config, ConfigErrors, Environment};
use crate::journal::JournalError;
use crate::logging::{self, LevelSwitch, LoggingError};
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
    /// The HTTP API cannot start.
    #[error(transparent)]
    Api(#[from] ApiError),
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
    let overrides = arguments.config.overrides();
    let read = move || config::load(&overrides, &Environment::of_process());
    let config = read()?;
    run_with(&config, Some(Box::new(read)))
}

/// Runs a gateway that is configured so, until it is told to stop or its input ends. With `read`, the
/// configuration is read again at SIGHUP.
pub(super) fn run_with(config: &Config, read: Option<reload::Read>) -> Result<(), RunError> {
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
    let outcome = runtime.block_on(run_pipeline(config, activity, read, logging.level()))?;
    // A blocked read from a terminal or pipe must not hold up the end.
    runtime.shutdown_background();
    finish(outcome, config)
}

async fn run_pipeline(
    config: &Config,
    activity: Activity,
    read: Option<reload::Read>,
    level: LevelSwitch,
) -> Result<Outcome, RunError> {
    let api = match &config.api {
        Some(api) => Some(Server::bind(api).await?),
        None => None,
    };
    let mut interrupts = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
    let pipeline = Pipeline::start(config, activity)?;
    let handle = pipeline.handle();
    for signals in &mut interrupts {
        if let Err(error) = signals {
            tracing::warn!(error = %error, "A stop signal cannot be watched.");
        }
    }
    let end_of_api = CancellationToken::new();
    let api = api.map(|server| {
        let observer = Arc::new(handle.clone());
        tokio::spawn(server.serve(observer, end_of_api.clone()))
    });
    let signals = tokio::spawn(forward_signals(interrupts, handle.clone()));
    let metrics = tokio::spawn(log_metrics(handle.clone()));
    let reload = read.map(|read| {
        tokio::spawn(reload::at_hangup(
            config.clone(),
            read,
            level,
            handle.clone(),
        ))
    });
    let alive = tokio::spawn(service::keep_alive(handle));
    service::ready();
    let outcome = pipeline.run().await;
    signals.abort();
    metrics.abort();
    alive.abort();
    if let Some(reload) = reload {
        reload.abort();
    }
    end_of_api.cancel();
    if let Some(api) = api
        && let Err(error) = api.await
    {
        tracing::error!(error = %error, "The HTTP API failed.");
    }
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
        service::stopping();
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

/// Says how it went: the metrics to the log, one line for people to standard output.
fn finish(outcome: Outcome, config: &Config) -> Result<(), RunError> {
    tracing::info!("Metrics: {}.", log_line(&outcome.snapshot));
    println!(
        "{}",
        summary(&outcome.snapshot, &describe_journal(&config.journal))
    );
    match outcome {
        Outcome {
            source_error: Some(error),
            ..
        } => Err(RunError::Source(error)),
        Outcome {
            journal_error: Some(error),
            ..
        } => Err(RunError::Journal(error)),
        Outcome { .. } => Ok(()),
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
