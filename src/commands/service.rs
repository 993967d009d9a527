//! What the service manager is told: ready, alive, stopping.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::MissedTickBehavior;

use crate::monitor::{LinkState, Snapshot};
use crate::pipeline::Handle;
use crate::repeated::Topic;

const UNTOLD: Topic = Topic::new("service-manager-untold");
const STUCK: Topic = Topic::new("stuck-stages");

/// How often the manager's status line is renewed where there is no watchdog.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);

/// The gateway does its work from here on.
pub(super) fn ready() {
    notify(&[NotifyState::Ready]);
}

/// The gateway ends.
pub(super) fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// Does nothing unless a service manager listens.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        UNTOLD.say("", "", move |sum| {
            let repeated = sum.words();
            tracing::warn!(error = %error, repeated, "The service manager cannot be told anything.");
        });
    }
}

/// Shows that the gateway is alive while all its stages are: a stuck one makes systemd restart it.
pub(super) async fn keep_alive(handle: Handle) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    let patience = sd_notify::watchdog_enabled();
    // Often enough that one late turn is no end.
    let interval = patience.map_or(STATUS_INTERVAL, |patience| patience / 3);
    let mut ticks = tokio::time::interval(interval.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let status = status(&handle.snapshot());
        let status = NotifyState::Status(&status);
        let Some(patience) = patience else {
            notify(&[status]);
            continue;
        };
        match handle.stuck_stage(patience) {
            None => notify(&[status, NotifyState::Watchdog]),
            Some(stage) => STUCK.say(&stage.to_string(), "", move |sum| {
                tracing::error!(
                    %stage,
                    repeated = sum.words(),
                    "A stage is stuck; the service manager will restart the gateway."
                );
            }),
        }
    }
}

/// `source up; mqtt backing off, 12 waiting; 1 problem: mqtt://localhost:1883 is down: …`.
fn status(snapshot: &Snapshot) -> String {
    let links = snapshot.links().filter_map(|(link, status)| {
        let state = &status.state;
        if *state == LinkState::Disabled {
            return None;
        }
        let sink = link.sink().and_then(|sink| snapshot.sink(&sink));
        let waiting = match sink {
            Some(sink) if sink.queue_depth > 0 => format!(", {} waiting", sink.queue_depth),
            _ => String::new(),
        };
        Some(format!("{link} {}{waiting}", state.word()))
    });
    let problems = match &snapshot.problems[..] {
        [] => None,
        [first] => Some(format!("1 problem: {}", first.sentence)),
        [first, ..] => {
            let count = snapshot.problems.len();
            Some(format!("{count} problems, the first: {}", first.sentence))
        }
    };
    links.chain(problems).collect::<Vec<_>>().join("; ")
}
