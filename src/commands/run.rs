//! `fieldgate run`: the gateway itself.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::signals::{Heard, Signals};
use super::{reload, say_last, service};
use crate::api::{ApiError, Server, runtime_folder, socket_path};
use crate::cli::RunArguments;
use crate::config::{self, Config, ConfigErrors, Environment};
use crate::logging::{self, LevelSwitch, LoggingError};
use crate::monitor::{Activity, LinkKind, Snapshot, changes, log_line, metrics};
use crate::pipeline::{Handle, Outcome, Pipeline, RunFailure, StartError, Stop, describe_journal};
use crate::repeated;
use crate::tui::{self, Control, Ended, Guide, Screen, Theme};

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
    /// It did not end as asked.
    #[error(transparent)]
    Failed(#[from] RunFailure),
    /// The terminal went while the terminal UI was open.
    #[error("the terminal was lost, the gateway stopped: {0}")]
    Terminal(io::Error),
    /// The terminal takes nothing.
    #[error("the terminal takes no output and could not be restored; `reset` restores it")]
    TerminalStuck,
    /// The terminal UI panicked.
    #[error("the terminal UI failed, the gateway stopped; please report the message above")]
    Screen,
}

/// Runs the gateway until it is told to stop or its input ends.
pub fn run(arguments: &RunArguments) -> Result<(), RunError> {
    let overrides = arguments.config.overrides();
    let read = move || config::load(&overrides, &Environment::of_process());
    let config = read()?;
    let display = Display::choose(arguments.no_tui, &config, Guide::Off);
    run_with(&config, display, Some(Box::new(read)))
}

/// Runs a gateway that is configured so, until it is told to stop or its input ends. Without a screen,
/// SIGHUP has the configuration read again by `read`.
pub(super) fn run_with(
    config: &Config,
    display: Display,
    read: Option<reload::Read>,
) -> Result<(), RunError> {
    let activity = Activity::default();
    let guide = match display {
        Display::Screen(guide) => Some(guide),
        Display::Headless(_) => None,
    };
    let is_screen = guide.is_some();
    let read = read.filter(|_| !is_screen);
    let control = if is_screen {
        tui::outlive_the_background();
        Control::of_screen()
    } else {
        Control::default()
    };
    let screen = control.clone();
    let is_free = move || !screen.has_terminal();
    let logging = logging::start(&config.log, activity.log.clone(), is_free)?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "Starting.");
    explain_display(display, &control);
    for line in config.summary() {
        tracing::info!("{line}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("fieldgate")
        .enable_all()
        .build()?;
    let running = run_pipeline(config, activity, guide, control, read, logging.level());
    let (outcome, screen) = runtime.block_on(running)?;
    // A blocked read from a terminal or pipe must not hold up the end.
    runtime.shutdown_background();
    repeated::finish();
    let metrics = log_line(&outcome.snapshot);
    if config.log.metrics.is_some() && !metrics.is_empty() {
        tracing::info!("Metrics: {metrics}.");
    }
    let summary = summary(&outcome.snapshot, &place_of_journal(&outcome, config));
    // Who lost the terminal has nowhere to print, and must not wait for one that takes nothing.
    let is_stuck = matches!(screen, Ended::Stuck);
    if is_stuck {
        tracing::info!("{summary}");
    }
    // Writes out what is left, so that the summary is the last line also where both go to one place.
    drop(logging);
    if !is_stuck {
        say_last(io::stdout(), summary);
    }
    finish(outcome, screen)
}

/// Says why the gateway shows itself in the log, where somebody may have expected the screen.
fn explain_display(display: Display, control: &Control) {
    match display {
        Display::Headless(Some(reason)) => {
            tracing::info!("Running without the terminal UI: {reason}.");
        }
        Display::Screen(_) if !control.has_terminal() => {
            tracing::info!(
                "Running without the terminal UI: it is in the background, fg shows it."
            );
        }
        Display::Headless(None) | Display::Screen(_) => {}
    }
}

/// Where the gateway shows itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Display {
    /// In the terminal UI.
    Screen(Guide),
    /// In the log; with the reason, unless that was asked for.
    Headless(Option<&'static str>),
}

impl Display {
    pub(super) fn choose(no_tui: bool, config: &Config, guide: Guide) -> Self {
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb" || term.is_empty());
        if no_tui {
            Self::Headless(None)
        } else if !io::stdout().is_terminal() {
            Self::Headless(Some("standard output is no terminal"))
        } else if is_dumb {
            Self::Headless(Some("TERM names no terminal that can show it"))
        } else if reads_stdin(config) && io::stdin().is_terminal() {
            Self::Headless(Some("the source is what is typed into the terminal"))
        } else if tui::is_vacant() {
            Self::Headless(Some("the terminal has no size and does not answer"))
        } else {
            Self::Screen(guide)
        }
    }
}

fn reads_stdin(config: &Config) -> bool {
    let mut sources = config.sources.iter();
    sources.any(|source| source.source == config::Source::Stdin)
}

async fn run_pipeline(
    config: &Config,
    activity: Activity,
    guide: Option<Guide>,
    control: Control,
    read: Option<reload::Read>,
    level: LevelSwitch,
) -> Result<(Outcome, Ended), RunError> {
    let api = match &config.api {
        Some(api) => Some(Server::bind(api).await?),
        None => None,
    };
    let signals = Signals::watch(guide.is_some());
    let mut pipeline = Pipeline::start(config, activity).await?;
    if guide.is_some() {
        pipeline = pipeline.outliving_its_input();
    }
    let handle = pipeline.handle();
    let end_of_api = CancellationToken::new();
    let socket = bind_socket(config);
    let servers = api.into_iter().chain(socket).map(|server| {
        let observer = Arc::new(handle.clone());
        tokio::spawn(server.serve(observer, end_of_api.clone()))
    });
    let servers: Vec<_> = servers.collect();
    let signals = tokio::spawn(obey(signals, handle.clone(), control.clone()));
    let metrics = tokio::spawn(log_metrics(handle.clone(), config.log.metrics));
    let reload = read.map(|read| {
        tokio::spawn(reload::at_hangup(
            config.clone(),
            read,
            level,
            handle.clone(),
        ))
    });
    let alive = tokio::spawn(service::keep_alive(handle.clone()));
    service::ready();
    let (outcome, ended) = if let Some(guide) = guide {
        let theme = Theme::detect(config.tui, |name| std::env::var(name).ok());
        let screen = Screen::open(Arc::new(handle.clone()), theme, control, guide)?;
        run_with_screen(pipeline, &handle, screen).await
    } else {
        (pipeline.run().await, Ended::Closed)
    };
    signals.abort();
    metrics.abort();
    alive.abort();
    if let Some(reload) = reload {
        reload.abort();
    }
    end_of_api.cancel();
    for server in servers {
        if let Err(error) = server.await {
            tracing::error!(error = %error, "The HTTP API failed.");
        }
    }
    Ok((outcome, ended))
}

/// The socket for whoever asks on this machine. A gateway without one runs all the same.
fn bind_socket(config: &Config) -> Option<Server> {
    let path = socket_path(runtime_folder().as_deref(), &config.journal.path)?;
    match Server::bind_socket(path.clone()) {
        Ok(server) => Some(server),
        Err(error) => {
            tracing::warn!(
                path = %path.display(), error = %error,
                "Cannot listen on the socket: `fieldgate status` and others need --gateway URL."
            );
            None
        }
    }
}

/// A screen that ends before the gateway was told to stop lost its terminal: nobody could tell it any
/// more.
async fn run_with_screen(
    pipeline: Pipeline,
    handle: &Handle,
    mut screen: Screen,
) -> (Outcome, Ended) {
    let running = pipeline.run();
    tokio::pin!(running);
    let outcome = tokio::select! {
        outcome = &mut running => outcome,
        () = screen.ended() => {
            tracing::warn!("The terminal UI ended; stopping.");
            handle.stop(Stop::Drain);
            running.await
        }
    };
    (outcome, screen.close())
}

/// The first signal ends the gateway tidily, the second one at once.
async fn obey(mut signals: Signals, handle: Handle, control: Control) {
    loop {
        match signals.next().await {
            Heard::Continued => control.process_continued(),
            Heard::End => {
                service::stopping();
                if handle.stop_further() == Stop::Now {
                    tracing::warn!("Stopping at once; what is in the journal waits there.");
                } else {
                    tracing::info!("Stopping; a second signal stops at once.");
                }
            }
        }
    }
}

/// Writes what changed, in intervals.
async fn log_metrics(handle: Handle, interval: Option<Duration>) {
    let Some(interval) = interval else { return };
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut before = Vec::new();
    loop {
        ticks.tick().await;
        let now = metrics(&handle.snapshot());
        if let Some(changes) = changes(&before, &now) {
            tracing::info!("Metrics: {changes}.");
        }
        before = now;
    }
}

fn finish(outcome: Outcome, screen: Ended) -> Result<(), RunError> {
    match (outcome.failure, screen) {
        (Some(failure), _) => Err(failure.into()),
        (None, Ended::Closed) => Ok(()),
        (None, Ended::Failed(error)) => Err(RunError::Terminal(error)),
        (None, Ended::Panicked) => Err(RunError::Screen),
        (None, Ended::Stuck) => Err(RunError::TerminalStuck),
    }
}

/// Where what waits is. A file that could not be written does not have it.
fn place_of_journal(outcome: &Outcome, config: &Config) -> String {
    match &outcome.failure {
        Some(RunFailure::Journal(_)) => "not written, see the error".to_owned(),
        _ => describe_journal(&config.journal),
    }
}

/// What was delivered and what waits.
fn summary(snapshot: &Snapshot, journal: &str) -> String {
    let mut parts = Vec::new();
    for sink in snapshot.sinks.iter().filter(|sink| !sink.is_disabled()) {
        let link = sink.sink.link();
        let what = match link.kind() {
            LinkKind::Mqtt => "messages to MQTT",
            LinkKind::Source | LinkKind::Influxdb => "points to InfluxDB",
        };
        let name = if link.is_only() {
            what.to_owned()
        } else {
            format!("{what} {}", link.name())
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
