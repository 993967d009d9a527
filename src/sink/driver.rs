//! What all sinks do alike: connect, retry, hold, stop.

use std::any::Any;
use std::future::Future;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::task::AbortHandle;

use super::lane::FAILURES;
use super::rotation::{Next, Rotation};
use super::{Failure, Lane};
use crate::backoff::Backoff;
use crate::monitor::{LinkState, Pulse, Stage, StageGuard};
use crate::repeated::Topic;
use crate::telemetry::Timestamp;

const HOLDS: Topic = Topic::of_attempts("link-held");

/// Between attempts while the server says no: only a person can change that, so often is no help.
const REFUSED_PAUSE: Duration = Duration::from_mins(1);

/// How often the thread of a sink shows that it is not blocked.
const PULSE: Duration = Duration::from_secs(1);

/// How readings get to one kind of server.
pub trait Delivery: Send + 'static {
    /// The addresses of its servers, at least one, in the order in which they are wanted.
    fn servers(&self) -> Vec<String>;

    /// When the first server is to be gone back to while another one is in use; `None`: not before that
    /// one fails.
    fn prefer_first(&self) -> Option<Duration> {
        None
    }

    /// What finds out whether the first server can be reached.
    fn reach_first(&self) -> impl Fn() -> BoxFuture<'static, bool> + Send + 'static;

    /// Connects to one of the [servers](Self::servers), by its number, and delivers until the connection
    /// ends or [`Lane::wake`] says to leave.
    ///
    /// Whatever was read and not acknowledged when it returns is read again by the next session. A
    /// panic is a session that failed: what is kept from one session to the next has to survive it.
    fn session(
        &mut self,
        server: usize,
        lane: &mut Lane,
    ) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// Runs a sink on a thread of its own until it is drained or abandoned.
pub fn spawn<D: Delivery>(delivery: D, lane: Lane) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .name(format!("{}-sink", lane.sink()))
        .spawn(move || {
            runtime.block_on(async {
                let monitor = Arc::clone(lane.shared_monitor());
                let stage = Stage::Link(lane.sink().link().clone());
                let pulse = monitor.pulses.of(stage.clone());
                let _guard = StageGuard::new(monitor, stage);
                // Before anything else, so that a thread that blocks at once is missed, too.
                pulse.beat();
                let beats = tokio::spawn(beat(pulse.clone()));
                run(delivery, lane).await;
                beats.abort();
                pulse.rest();
            });
            // A name that is still being looked up must not hold up the end.
            runtime.shutdown_background();
        })
}

/// Shows that the thread of a sink is not blocked.
async fn beat(pulse: Pulse) {
    let mut ticks = tokio::time::interval(PULSE);
    loop {
        ticks.tick().await;
        pulse.beat();
    }
}

/// Keeps a delivery going until it is drained or abandoned.
pub async fn run<D: Delivery>(mut delivery: D, mut lane: Lane) {
    let link = lane.sink().link().clone();
    let servers = delivery.servers();
    let mut rotation = Rotation::new(servers.len());
    let mut backoff = Backoff::default();
    while !lane.is_finished() {
        if lane.is_held() {
            lane.monitor().set_link(&link, LinkState::Held);
            let waiting = lane.waiting();
            let held = link.clone();
            HOLDS.say(link.as_str(), "", move |sum| {
                let repeated = sum.words();
                tracing::info!(link = %held, waiting, repeated, "Held until it is released.");
            });
            while lane.is_held() && !lane.is_finished() {
                lane.directive_changed().await;
            }
            continue;
        }
        let server = rotation.current();
        if let Some(peer) = servers.get(server) {
            lane.monitor().set_peer(&link, peer);
        }
        lane.monitor().set_link(&link, LinkState::Connecting);
        lane.begin_session();
        let recall = (server > 0).then(|| recall(&delivery, &mut lane)).flatten();
        // A session leaves nothing half-done behind: the next one begins at the cursor.
        let session = AssertUnwindSafe(delivery.session(server, &mut lane)).catch_unwind();
        let result = session
            .await
            .unwrap_or_else(|panic| Err(broken(panic.as_ref())));
        if let Err(failure) = result {
            let (held, acknowledged) = lane.session_result();
            backoff.connection_ended(held, acknowledged);
            let next = rotation.failed(&failure, held);
            let delay = announce(&lane, &failure, next, &mut backoff);
            lane.pause(delay).await;
        } else if lane.is_recalled() {
            tracing::info!(link = %link, server = servers.first(), "Going back to the first server.");
            rotation.go_back();
        }
        if let Some(recall) = recall {
            recall.abort();
        }
    }
    lane.monitor().set_link(&link, LinkState::Ended);
}

/// Has the lane's session end once the first server can be reached, tried every so often.
fn recall<D: Delivery>(delivery: &D, lane: &mut Lane) -> Option<AbortHandle> {
    let pause = delivery.prefer_first()?;
    let recall = lane.recall();
    let reaches_first = delivery.reach_first();
    let watch = async move {
        loop {
            tokio::time::sleep(pause).await;
            if reaches_first().await {
                recall.send_replace(true);
                break;
            }
        }
    };
    Some(tokio::spawn(watch).abort_handle())
}

/// What a session that panicked comes to: as if its connection had ended.
fn broken(panic: &(dyn Any + Send)) -> Failure {
    let words = panic.downcast_ref::<String>().map(String::as_str);
    let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
    Failure::Unavailable(format!(
        "a fault in fieldgate itself, please report it: {}",
        words.unwrap_or("it has no words")
    ))
}

/// Says what failed and when it is tried again.
fn announce(lane: &Lane, failure: &Failure, next: Next, backoff: &mut Backoff) -> Duration {
    let link = lane.sink().link().clone();
    let (Failure::Unavailable(reason) | Failure::Refused(reason)) = failure;
    let (reason, is_refusal) = (reason.clone(), matches!(failure, Failure::Refused(_)));
    let delay = match next {
        Next::AtOnce => Duration::ZERO,
        Next::Later { all_refused: true } => REFUSED_PAUSE,
        Next::Later { all_refused: false } => {
            let delay = backoff.next_delay();
            lane.wanted_pause()
                .map_or(delay, |wanted| delay.max(wanted))
        }
    };
    let peer = lane.peer();
    let retry_in = humantime::format_duration(Duration::from_millis(
        u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
    ));
    let (error, waiting) = (reason.clone(), lane.waiting());
    let failed = link.clone();
    FAILURES.say(link.as_str(), &reason, move |sum| {
        tracing::warn!(
            link = %failed, peer, error, retry_in = %retry_in, waiting, repeated = sum.words(),
            "{} {}",
            if is_refusal { "Refused;" } else { "Connection failed;" },
            if next == Next::AtOnce { "trying the next server." } else { "trying again." }
        );
    });
    let until = Timestamp::now().plus(delay);
    lane.monitor().set_link(
        &link,
        if is_refusal {
            LinkState::Refused { until, reason }
        } else {
            LinkState::BackingOff { until, reason }
        },
    );
    delay
}

#[cfg(test)]
mod tests;
