//! Waits at a start for a clock that is right, where that was asked for.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::directives::Directives;
use crate::system_clock::is_synchronised;

/// Time between two looks at what the system says.
const INTERVAL: Duration = Duration::from_millis(500);

/// Whether delivery must wait.
pub(super) fn must_wait(wait_for_clock: Option<Duration>) -> bool {
    wait_for_clock.is_some_and(|patience| !patience.is_zero()) && is_synchronised() == Some(false)
}

/// Ends a wait as soon as the system says that its clock is right, and when it does not within
/// `patience`.
pub(super) async fn release_when_synchronised(directives: Arc<Directives>, patience: Duration) {
    if !must_wait(Some(patience)) {
        return;
    }
    tracing::info!("The system's clock is not synchronised; nothing is delivered until it is.");
    let since = Instant::now();
    while is_synchronised() == Some(false) {
        if since.elapsed() >= patience {
            tracing::warn!(
                "The system's clock is still not synchronised; delivery begins all the same."
            );
            break;
        }
        sleep(INTERVAL.min(patience.saturating_sub(since.elapsed()))).await;
    }
    directives.release_sinks();
}
