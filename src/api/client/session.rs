//! Keeps the stream of events open and takes in what it says.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::remote::explain;
use super::stream::{Event, Parser};
use super::{SILENCE, Seen, Watched};
use crate::backoff::Backoff;
use crate::http::Proxy;
use crate::monitor::{Sight, Snapshot};
use crate::telemetry::Timestamp;

/// Whoever watches wants to see the gateway soon after it is back.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Stays connected until told to stop.
pub(super) async fn keep_connected(watched: Arc<Watched>, stop: CancellationToken) {
    let remote = &watched.remote;
    let mut backoff = Backoff::new(LONGEST_PAUSE);
    loop {
        let began = Instant::now();
        let (reason, heard) = tokio::select! {
            end = session(&watched) => end,
            () = stop.cancelled() => return,
        };
        let reason = Proxy::named(remote.proxy.as_ref(), reason);
        backoff.connection_ended(began.elapsed(), heard);
        let delay = backoff.next_delay();
        tracing::debug!(
            peer = remote.peer,
            error = reason,
            "The gateway is out of reach."
        );
        watched.seen().sight = Sight::Lost {
            peer: remote.peer.clone(),
            reason,
            next_try: Timestamp::now().plus(delay),
        };
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// One connection: why it ended, and whether anything came over it.
async fn session(watched: &Watched) -> (String, bool) {
    let remote = &watched.remote;
    let silent = || format!("the gateway was silent for {} s", SILENCE.as_secs());
    let opened = tokio::time::timeout(SILENCE, remote.send(remote.get("/api/v1/events"))).await;
    let mut response = match opened {
        Ok(Ok(response)) => response,
        Ok(Err(reason)) => return (reason, false),
        Err(_elapsed) => return (silent(), false),
    };
    let mut parser = Parser::default();
    let mut heard = false;
    loop {
        let chunk = match tokio::time::timeout(SILENCE, response.chunk()).await {
            Ok(Ok(Some(chunk))) => chunk,
            Ok(Ok(None)) => return ("the gateway ended the connection".into(), heard),
            Ok(Err(error)) => return (explain(error), heard),
            Err(_elapsed) => return (silent(), heard),
        };
        let Ok(events) = parser.push(&chunk) else {
            return ("the gateway sent an event without end".into(), heard);
        };
        for event in events {
            if let Err(error) = watched.seen().take(&event) {
                let name = event.name;
                return (
                    format!("the gateway sent {name} that this version does not know ({error})"),
                    heard,
                );
            }
            heard = true;
            let peer = remote.peer.clone();
            watched.seen().sight = Sight::Connected { peer };
        }
    }
}

impl Seen {
    fn take(&mut self, event: &Event) -> serde_json::Result<()> {
        fn read<'a, T: Deserialize<'a>>(event: &'a Event) -> serde_json::Result<T> {
            serde_json::from_str(&event.data)
        }
        match event.name.as_str() {
            "snapshot" => {
                let snapshot: Snapshot = read(event)?;
                let before = self.snapshot.as_ref().map(|snapshot| snapshot.started);
                if before.is_some_and(|started| started != snapshot.started) {
                    self.traffic.restart();
                    self.deliveries.restart();
                    self.log.restart();
                }
                self.snapshot = Some(Arc::new(snapshot));
            }
            "traffic" => {
                self.traffic.take(read(event)?);
            }
            "delivery" => {
                self.deliveries.take(read(event)?);
            }
            "log" => {
                self.log.take(read(event)?);
            }
            // A newer gateway may have more to say.
            _ => {}
        }
        Ok(())
    }
}
