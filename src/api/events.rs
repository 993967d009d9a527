//! Server-sent events: what changes, for as long as somebody listens.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::Event;
use futures_util::stream::{Stream, unfold};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::TryRecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast};
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::monitor::{LiveReadings, Numbered, Observer, Snapshot};
use crate::repeated::Topic;

const SLOW_READERS: Topic = Topic::new("slow-readers-of-events");
const UNWRITABLE: Topic = Topic::new("unwritable-events");

/// Between two looks: four snapshots a second at most.
const INTERVAL: Duration = Duration::from_millis(250);

/// When nothing happens, a comment says so after this time, so that a dead connection is noticed.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Who takes longer than this to take what there was to say is dropped.
const SLOW: Duration = Duration::from_secs(10);

/// Entries of one kind in one look: more than anybody can read. The oldest are left out, and their
/// numbers tell.
const MAX_ENTRIES: usize = 1_024;

/// What an event is about: its name in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// A [`Snapshot`].
    Snapshot,
    /// Numbered log lines.
    Log,
    /// Numbered pieces of what arrived.
    Traffic,
    /// Numbered deliveries.
    Delivery,
    /// Readings as they come; only for who asks for them.
    Reading,
}

impl Kind {
    pub(super) const ALL: [Self; 5] = [
        Self::Snapshot,
        Self::Log,
        Self::Traffic,
        Self::Delivery,
        Self::Reading,
    ];

    /// What comes unless something else is asked for.
    pub(super) const USUAL: [Self; 4] = [Self::Snapshot, Self::Log, Self::Traffic, Self::Delivery];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Log => "log",
            Self::Traffic => "traffic",
            Self::Delivery => "delivery",
            Self::Reading => "reading",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// One listener.
struct Listener {
    observer: Arc<dyn Observer>,
    kinds: Vec<Kind>,
    stop: CancellationToken,
    ticks: Interval,
    /// The last snapshot that was sent.
    last: Option<Arc<Snapshot>>,
    /// The number of the next entry, in the order of [`Kind::ALL`].
    next: [u64; Kind::ALL.len()],
    ready: VecDeque<Event>,
    readings: Option<broadcast::Receiver<LiveReadings>>,
    /// When the listener took the last event.
    taken: Instant,
    _permit: OwnedSemaphorePermit,
}

/// The stream for one listener. It begins with a snapshot and what is still known of the past.
pub(super) fn stream(
    observer: Arc<dyn Observer>,
    kinds: Vec<Kind>,
    stop: CancellationToken,
    permit: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Event, Infallible>> + Send {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let wants_readings = kinds.contains(&Kind::Reading);
    let listener = Listener {
        readings: observer.readings().filter(|_| wants_readings),
        observer,
        kinds,
        stop,
        ticks,
        last: None,
        next: [0; Kind::ALL.len()],
        ready: VecDeque::new(),
        taken: Instant::now(),
        _permit: permit,
    };
    unfold(listener, |mut listener| async move {
        let event = listener.next().await?;
        Some((Ok(event), listener))
    })
}

impl Listener {
    /// Asked for only when the connection has room for more.
    async fn next(&mut self) -> Option<Event> {
        if self.taken.elapsed() > SLOW {
            SLOW_READERS.say("", "", |sum| {
                let repeated = sum.words();
                tracing::info!(repeated, "A reader of events was too slow and is dropped.");
            });
            return None;
        }
        while self.ready.is_empty() {
            tokio::select! {
                _ = self.ticks.tick() => {}
                () = self.stop.cancelled() => return None,
            }
            self.look();
            if self.ready.is_empty() && self.taken.elapsed() >= KEEP_ALIVE {
                self.ready.push_back(Event::default().comment("still here"));
            }
        }
        self.taken = Instant::now();
        self.ready.pop_front()
    }

    fn look(&mut self) {
        let observer = Arc::clone(&self.observer);
        for kind in self.kinds.clone() {
            let next = self.next[kind as usize];
            match kind {
                Kind::Snapshot => self.look_at(observer.snapshot()),
                Kind::Log => self.put(kind, &observer.log_since(next)),
                Kind::Traffic => self.put(kind, &observer.traffic_since(next)),
                Kind::Delivery => self.put(kind, &observer.deliveries_since(next)),
                Kind::Reading => self.put_readings(),
            }
        }
    }

    fn look_at(&mut self, snapshot: Option<Arc<Snapshot>>) {
        let Some(snapshot) = snapshot else { return };
        let is_new = self.last.as_deref().is_none_or(|last| {
            // All but what changes by itself: when it was taken, and what others write to the disk.
            let mut same = Snapshot::clone(&snapshot);
            same.taken = last.taken;
            same.storage = last.storage;
            same.journal.write_bytes = last.journal.write_bytes;
            *last != same
        });
        if is_new {
            self.put_event(Kind::Snapshot, &*snapshot);
            self.last = Some(snapshot);
        }
    }

    /// Readings since the last look, but for those that were too many to wait.
    fn put_readings(&mut self) {
        let Some(receiver) = &mut self.readings else {
            return;
        };
        let mut readings = Vec::new();
        loop {
            match receiver.try_recv() {
                Ok(batch) => readings.extend(batch.iter().cloned()),
                Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        // Each in an event of its own size.
        for readings in readings.chunks(MAX_ENTRIES) {
            self.put_event(Kind::Reading, readings);
        }
    }

    fn put<T: Serialize>(&mut self, kind: Kind, entries: &[Numbered<T>]) {
        let Some(last) = entries.last() else { return };
        self.next[kind as usize] = last.number + 1;
        let left_out = entries.len().saturating_sub(MAX_ENTRIES);
        self.put_event(kind, &entries[left_out..]);
    }

    fn put_event(&mut self, kind: Kind, data: &(impl Serialize + ?Sized)) {
        match Event::default().event(kind.name()).json_data(data) {
            Ok(event) => self.ready.push_back(event),
            Err(error) => UNWRITABLE.say("", "", move |sum| {
                let repeated = sum.words();
                tracing::error!(error = %error, repeated, "An event cannot be written as JSON.");
            }),
        }
    }
}
