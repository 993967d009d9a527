//! What waits for the writer thread. Packets wait in a bounded queue that makes their source wait;
//! acknowledgements are one slot a sink, so they never wait and never pile up.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::{Correction, JournalError, Position, Rejection};
use crate::monitor::SinkId;
use crate::telemetry::Packet;

/// Packets that may wait: a minute of the fastest serial source, a few milliseconds of a file.
const CAPACITY: usize = 4096;

/// Acknowledgements alone are taken at most so often: a busy sink has one for every row, and a commit
/// for each would cost more than the delivery.
const ACKNOWLEDGEMENT_INTERVAL: Duration = Duration::from_millis(2);

/// What the writer takes at once.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) packets: Vec<Packet>,
    pub(super) acknowledged: [Option<Position>; SinkId::ALL.len()],
    pub(super) rejections: Vec<Rejection>,
    /// What is to become of the times of all packets of this run before those here.
    pub(super) correction: Correction,
    /// A file that a cursor could not read, by its generation, and why.
    pub(super) damage: Option<(u64, String)>,
    /// Packets given to the inbox up to here, since it began.
    pub(super) ticket: u64,
    /// Nothing comes after this.
    pub(super) closing: bool,
    permits: usize,
    /// When the writer took this.
    taken: Option<Instant>,
}

impl Work {
    fn is_waiting(&self) -> bool {
        self.is_urgent() || self.acknowledged.iter().any(Option::is_some)
    }

    /// Whether there is more than acknowledgements.
    fn is_urgent(&self) -> bool {
        !self.packets.is_empty()
            || !self.rejections.is_empty()
            || self.damage.is_some()
            || !self.correction.is_nothing()
            || self.closing
    }
}

#[derive(Debug)]
pub(super) struct Inbox {
    waiting: Mutex<Work>,
    wake: Condvar,
    room: Semaphore,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self {
            waiting: Mutex::default(),
            wake: Condvar::new(),
            room: Semaphore::new(CAPACITY),
        }
    }

    /// Adds packets as soon as there is room, all of them or, when cancelled, none.
    pub(super) async fn append(&self, mut packets: Vec<Packet>) -> Result<(), JournalError> {
        let cost = packets.len().min(CAPACITY);
        let permits = self
            .room
            .acquire_many(u32::try_from(cost).unwrap_or(u32::MAX))
            .await
            .map_err(|_| JournalError::Closed)?;
        let mut waiting = self.lock();
        if waiting.closing {
            return Err(JournalError::Closed);
        }
        permits.forget();
        waiting.permits += cost;
        waiting.ticket += packets.len() as u64;
        waiting.packets.append(&mut packets);
        drop(waiting);
        self.wake.notify_one();
        Ok(())
    }

    pub(super) fn acknowledge(&self, sink: SinkId, up_to: Position) {
        let before = self.lock().acknowledged[sink as usize].replace(up_to);
        if before.is_none() {
            self.wake.notify_one();
        }
    }

    pub(super) fn reject(&self, mut rejections: Vec<Rejection>) {
        self.lock().rejections.append(&mut rejections);
        self.wake.notify_one();
    }

    /// Moves the times of everything that was given so far.
    pub(super) fn correct(&self, correction: Correction) {
        let mut waiting = self.lock();
        for packet in &mut waiting.packets {
            let Packet {
                received,
                event_time,
                ..
            } = packet;
            received.0 = received.0.saturating_add(correction.received);
            event_time.0 = event_time.0.saturating_add(correction.event_time);
        }
        waiting.correction = waiting.correction.and(correction);
        waiting.ticket += 1;
        drop(waiting);
        self.wake.notify_one();
    }

    pub(super) fn report_damage(&self, generation: u64, reason: String) {
        self.lock().damage = Some((generation, reason));
        self.wake.notify_one();
    }

    /// How many packets were given to the inbox so far.
    pub(super) fn ticket(&self) -> u64 {
        self.lock().ticket
    }

    /// Takes nothing more; what waits is still written.
    pub(super) fn close(&self) {
        self.room.close();
        self.lock().closing = true;
        self.wake.notify_one();
    }

    /// Waits until there is something or the time is over, and takes all that is there.
    ///
    /// `work` is used again, with the memory of its lists.
    pub(super) fn take(&self, timeout: Duration, work: &mut Work) {
        work.packets.clear();
        work.rejections.clear();
        let mut waiting = self
            .wake
            .wait_timeout_while(self.lock(), timeout, |waiting| !waiting.is_waiting())
            .unwrap_or_else(PoisonError::into_inner)
            .0;
        let pause = work
            .taken
            .map(|taken| ACKNOWLEDGEMENT_INTERVAL.saturating_sub(taken.elapsed()));
        if let Some(pause) = pause.filter(|_| waiting.is_waiting()) {
            waiting = self
                .wake
                .wait_timeout_while(waiting, pause, |waiting| !waiting.is_urgent())
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        work.taken = Some(Instant::now());
        std::mem::swap(&mut work.packets, &mut waiting.packets);
        std::mem::swap(&mut work.rejections, &mut waiting.rejections);
        work.acknowledged = std::mem::take(&mut waiting.acknowledged);
        work.correction = std::mem::take(&mut waiting.correction);
        work.damage = waiting.damage.take();
        work.ticket = waiting.ticket;
        work.closing = waiting.closing;
        let permits = std::mem::take(&mut waiting.permits);
        drop(waiting);
        self.room.add_permits(permits);
    }

    fn lock(&self) -> MutexGuard<'_, Work> {
        // Nothing in here panics between two changes that belong together.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
