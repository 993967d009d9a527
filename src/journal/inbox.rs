//! What waits for the writer thread. Packets wait in a bounded queue that makes their source wait;
//! acknowledgements are one slot a sink, so they never wait and never pile up.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::{Correction, JournalError, Position, Rejection};
use crate::telemetry::{KnownName, Packet, SetAside};

/// Packets that may wait: a minute of the fastest serial source, a few milliseconds of a file.
const CAPACITY: usize = 4096;

/// Bytes of what is set aside that take as much room as a packet.
const BYTES_OF_A_PLACE: usize = 1024;

/// Acknowledgements alone are taken at most so often: a busy sink has one for every row, and a commit
/// for each would cost more than the delivery.
const ACKNOWLEDGEMENT_INTERVAL: Duration = Duration::from_millis(2);

/// What the writer takes at once.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) packets: Vec<Packet>,
    /// By the sink's place among those of the journal.
    pub(super) acknowledged: Vec<Option<Position>>,
    pub(super) rejections: Vec<Rejection>,
    pub(super) set_aside: Vec<SetAside>,
    pub(super) names: Vec<KnownName>,
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
        self.is_urgent() || self.has_acknowledgements()
    }

    /// Whether there is more than acknowledgements.
    fn is_urgent(&self) -> bool {
        self.has_entries() || !self.correction.is_nothing() || self.damage.is_some() || self.closing
    }

    /// Whether there is something that belongs into the database.
    pub(super) fn is_to_be_written(&self) -> bool {
        self.has_entries() || self.has_acknowledgements()
    }

    fn has_entries(&self) -> bool {
        !self.packets.is_empty()
            || !self.rejections.is_empty()
            || !self.set_aside.is_empty()
            || !self.names.is_empty()
            || !self.correction.is_nothing()
    }

    fn has_acknowledgements(&self) -> bool {
        self.acknowledged.iter().any(Option::is_some)
    }
}

#[derive(Debug)]
pub(super) struct Inbox {
    waiting: Mutex<Work>,
    wake: Condvar,
    room: Semaphore,
}

impl Inbox {
    pub(super) fn new(sinks: usize) -> Self {
        let waiting = Work {
            acknowledged: vec![None; sinks],
            ..Work::default()
        };
        Self {
            waiting: Mutex::new(waiting),
            wake: Condvar::new(),
            room: Semaphore::new(CAPACITY),
        }
    }

    /// Adds packets as soon as there is room, all of them or, when cancelled, none.
    pub(super) async fn append(&self, mut packets: Vec<Packet>) -> Result<(), JournalError> {
        let mut waiting = self.make_room(packets.len()).await?;
        waiting.ticket += packets.len() as u64;
        waiting.packets.append(&mut packets);
        drop(waiting);
        self.wake.notify_one();
        Ok(())
    }

    /// Adds what is set aside, in the same way.
    pub(super) async fn set_aside(&self, mut entries: Vec<SetAside>) -> Result<(), JournalError> {
        let size = |entry: &SetAside| 1 + entry.frame.len() / BYTES_OF_A_PLACE;
        let mut waiting = self.make_room(entries.iter().map(size).sum()).await?;
        waiting.set_aside.append(&mut entries);
        drop(waiting);
        self.wake.notify_one();
        Ok(())
    }

    /// Waits for so many places, or for all there are.
    async fn make_room(&self, places: usize) -> Result<MutexGuard<'_, Work>, JournalError> {
        let places = places.min(CAPACITY);
        let permits = self
            .room
            .acquire_many(u32::try_from(places).unwrap_or(u32::MAX))
            .await
            .map_err(|_| JournalError::Closed)?;
        let mut waiting = self.lock();
        if waiting.closing {
            return Err(JournalError::Closed);
        }
        permits.forget();
        waiting.permits += places;
        Ok(waiting)
    }

    /// Adds names; those for which there is no room are asked for again one day.
    pub(super) fn learn(&self, names: Vec<KnownName>) {
        let mut waiting = self.lock();
        let room = CAPACITY.saturating_sub(waiting.names.len());
        waiting.names.extend(names.into_iter().take(room));
        drop(waiting);
        self.wake.notify_one();
    }

    /// Of the sink at this place among those of the journal.
    pub(super) fn acknowledge(&self, sink: usize, up_to: Position) {
        let before = self.lock().acknowledged[sink].replace(up_to);
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
        work.set_aside.clear();
        work.names.clear();
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
        std::mem::swap(&mut work.set_aside, &mut waiting.set_aside);
        std::mem::swap(&mut work.names, &mut waiting.names);
        work.acknowledged.clear();
        work.acknowledged
            .extend(waiting.acknowledged.iter_mut().map(Option::take));
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
