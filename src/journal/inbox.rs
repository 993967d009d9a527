//! What waits for the writer thread. Packets wait in a bounded queue that makes their source wait, and no
//! other: each has room of its own. Acknowledgements are one slot a sink, so they never wait and never pile up.
//!
//! Acknowledgements ride on the commit that the next packets need anyway. Only when none come, or when a sink
//! has acknowledged much, there is a commit for them alone.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::{Enrolled, JournalError, Position, Rejection, Sourced};
use crate::monitor::KnownNode;
use crate::telemetry::{KnownName, Name, Packet, SetAside, TimeShift};

/// Packets of a source that may wait: a minute of the fastest serial source, a few milliseconds of a file.
const CAPACITY: usize = 4096;

/// Bytes of what is set aside that take as much room as a packet.
const BYTES_OF_A_PLACE: usize = 1024;

/// Under load the writer takes something at most so often, unless much of it waits: a commit costs far more
/// than what is in it.
const INTERVAL: Duration = Duration::from_millis(2);

/// So many packets are much.
const MANY_PACKETS: usize = 256;

/// So many acknowledged messages are worth a commit of their own: a part of what a power cut may have sent again.
const MANY_MESSAGES: u64 = 250;

/// After so many, the last few are committed once no packets have come for a moment.
const MOMENT: Duration = Duration::from_millis(50);

/// What the writer takes at once.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) packets: Vec<Sourced<Packet>>,
    /// By the sink's place among those of the journal.
    pub(super) acknowledged: Vec<Option<Position>>,
    pub(super) rejections: Vec<Rejection>,
    pub(super) set_aside: Vec<Sourced<SetAside>>,
    pub(super) names: Vec<Sourced<KnownName>>,
    pub(super) nodes: Option<Vec<KnownNode>>,
    /// What is to become of the times of all packets that these sources gave in this run before those here.
    pub(super) corrections: Vec<Sourced<TimeShift>>,
    /// Which sinks are enabled from now on.
    pub(super) enrolment: Option<Vec<Enrolled>>,
    /// A file that a cursor could not read, by its generation, and why.
    pub(super) damage: Option<(u64, String)>,
    /// Packets given to the inbox up to here, since it began.
    pub(super) ticket: u64,
    /// Nothing comes after this.
    pub(super) closing: bool,
    owed: Owed,
    /// The room that is taken of each source.
    occupied: Vec<(Arc<Semaphore>, usize)>,
    /// When the writer took this.
    taken: Option<Instant>,
}

/// What the acknowledgements that wait come to.
#[derive(Debug)]
struct Owed {
    messages: u64,
    /// When the first of them came.
    since: Option<Instant>,
    /// One of them must not wait.
    is_urgent: bool,
    /// Acknowledged since a few were last committed for themselves.
    credit: u64,
}

impl Default for Owed {
    fn default() -> Self {
        Self {
            messages: 0,
            since: None,
            is_urgent: false,
            credit: MANY_MESSAGES,
        }
    }
}

impl Owed {
    fn add(&mut self, messages: u64, is_urgent: bool) {
        self.messages += messages;
        self.credit = self.credit.saturating_add(messages);
        self.since.get_or_insert_with(Instant::now);
        self.is_urgent |= is_urgent;
    }

    /// In how long they are worth a commit of their own: at the latest when they have waited for so long as
    /// `patience`. `None`: there are none.
    fn due_in(&self, patience: Duration) -> Option<Duration> {
        let waited = self.since?.elapsed();
        let patience = if self.is_urgent || self.messages >= MANY_MESSAGES {
            Duration::ZERO
        } else if self.credit >= MANY_MESSAGES {
            patience.min(MOMENT)
        } else {
            patience
        };
        Some(patience.saturating_sub(waited))
    }

    fn is_due(&self, patience: Duration) -> bool {
        self.due_in(patience).is_some_and(|left| left.is_zero())
    }

    /// They are taken, with what comes anyway or by themselves.
    fn settle(&mut self, is_alone: bool) {
        let is_few = self.messages < MANY_MESSAGES && !self.is_urgent;
        let credit = if is_alone && is_few { 0 } else { self.credit };
        *self = Self {
            credit,
            ..Self::default()
        };
    }
}

impl Work {
    /// So many places of a room are taken.
    fn occupy(&mut self, room: &Arc<Semaphore>, places: usize) {
        let mut rooms = self.occupied.iter_mut();
        match rooms.find(|(it, _)| Arc::ptr_eq(it, room)) {
            Some((_, taken)) => *taken += places,
            None => self.occupied.push((Arc::clone(room), places)),
        }
    }

    /// Notes how far the sink at this place is; returns what waited of it.
    fn acknowledge(&mut self, sink: usize, up_to: Position) -> Option<Position> {
        if self.acknowledged.len() <= sink {
            self.acknowledged.resize(sink + 1, None);
        }
        self.acknowledged.get_mut(sink)?.replace(up_to)
    }

    fn is_waiting(&self, patience: Duration) -> bool {
        self.has_more() || self.owed.is_due(patience)
    }

    /// Whether there is more than can wait a moment for what comes behind it.
    fn is_pressing(&self) -> bool {
        self.packets.len() >= MANY_PACKETS
            || !self.corrections.is_empty()
            || self.enrolment.is_some()
            || self.damage.is_some()
            || self.closing
    }

    /// Whether there is more than acknowledgements.
    fn has_more(&self) -> bool {
        self.has_entries() || self.enrolment.is_some() || self.damage.is_some() || self.closing
    }

    /// Whether there is something that belongs into the database.
    pub(super) fn is_to_be_written(&self) -> bool {
        self.has_entries() || self.has_acknowledgements()
    }

    fn has_entries(&self) -> bool {
        !self.packets.is_empty() || !self.is_plain()
    }

    /// Whether there is nothing but packets and acknowledgements.
    pub(super) fn is_plain(&self) -> bool {
        !self.has_rejected()
            && self.names.is_empty()
            && self.nodes.is_none()
            && self.corrections.is_empty()
    }

    /// Whether something was set aside or refused.
    pub(super) fn has_rejected(&self) -> bool {
        !self.rejections.is_empty() || !self.set_aside.is_empty()
    }

    fn has_acknowledgements(&self) -> bool {
        self.acknowledged.iter().any(Option::is_some)
    }
}

#[derive(Debug)]
pub(super) struct Inbox {
    waiting: Mutex<Work>,
    wake: Condvar,
    /// Of each source.
    rooms: Mutex<HashMap<Name, Arc<Semaphore>>>,
}

impl Default for Inbox {
    fn default() -> Self {
        Self {
            waiting: Mutex::default(),
            wake: Condvar::new(),
            rooms: Mutex::default(),
        }
    }
}

impl Inbox {
    /// Adds packets as soon as there is room, all of them or, when cancelled, none.
    pub(super) async fn append(
        &self,
        source: &Name,
        packets: Vec<Packet>,
    ) -> Result<(), JournalError> {
        let mut waiting = self.make_room(source, packets.len()).await?;
        // Who waits for more than has come so far is not woken by less.
        let had_more = waiting.has_more();
        waiting.ticket += packets.len() as u64;
        waiting.packets.extend(Sourced::all(source, packets));
        let wakes = !had_more || waiting.is_pressing();
        drop(waiting);
        if wakes {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Adds what is set aside, in the same way.
    pub(super) async fn set_aside(
        &self,
        source: &Name,
        entries: Vec<SetAside>,
    ) -> Result<(), JournalError> {
        let size = |entry: &SetAside| 1 + entry.frame.len() / BYTES_OF_A_PLACE;
        let mut waiting = self
            .make_room(source, entries.iter().map(size).sum())
            .await?;
        waiting.set_aside.extend(Sourced::all(source, entries));
        drop(waiting);
        self.wake.notify_one();
        Ok(())
    }

    /// Waits for so many places of a source, or for all there are.
    async fn make_room(
        &self,
        source: &Name,
        places: usize,
    ) -> Result<MutexGuard<'_, Work>, JournalError> {
        let places = places.min(CAPACITY);
        let room = self.room_of(source);
        let permits = room
            .acquire_many(u32::try_from(places).unwrap_or(u32::MAX))
            .await
            .map_err(|_| JournalError::Closed)?;
        let mut waiting = self.lock();
        if waiting.closing {
            return Err(JournalError::Closed);
        }
        permits.forget();
        waiting.occupy(&room, places);
        Ok(waiting)
    }

    fn room_of(&self, source: &Name) -> Arc<Semaphore> {
        let mut rooms = self.rooms();
        if let Some(room) = rooms.get(source) {
            return Arc::clone(room);
        }
        let room = Arc::new(Semaphore::new(CAPACITY));
        rooms.insert(source.clone(), Arc::clone(&room));
        room
    }

    fn rooms(&self) -> MutexGuard<'_, HashMap<Name, Arc<Semaphore>>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds names; those for which there is no room are asked for again one day.
    pub(super) fn learn(&self, source: &Name, names: Vec<KnownName>) {
        let mut waiting = self.lock();
        let room = CAPACITY.saturating_sub(waiting.names.len());
        let names = Sourced::all(source, names);
        waiting.names.extend(names.take(room));
        drop(waiting);
        self.wake.notify_one();
    }

    /// Takes the nodes that are known, in place of those before.
    pub(super) fn remember(&self, nodes: Vec<KnownNode>) {
        self.lock().nodes = Some(nodes);
        self.wake.notify_one();
    }

    /// Of the sink at this place among those of the journal.
    pub(super) fn acknowledge(&self, sink: usize, up_to: Position, messages: u64, is_urgent: bool) {
        let mut waiting = self.lock();
        let before = waiting.acknowledge(sink, up_to);
        let was_due = waiting.owed.is_due(Duration::MAX);
        waiting.owed.add(messages, is_urgent);
        let is_due = waiting.owed.is_due(Duration::MAX);
        drop(waiting);
        if before.is_none() || is_due && !was_due {
            self.wake.notify_one();
        }
    }

    /// Takes the sink at this place back to an earlier position.
    pub(super) fn take_back(&self, sink: usize, to: Position) {
        let mut waiting = self.lock();
        waiting.acknowledge(sink, to);
        waiting.owed.add(0, true);
        waiting.ticket += 1;
        drop(waiting);
        self.wake.notify_one();
    }

    pub(super) fn reject(&self, mut rejections: Vec<Rejection>) {
        self.lock().rejections.append(&mut rejections);
        self.wake.notify_one();
    }

    /// Moves the times of everything that a source gave so far.
    pub(super) fn correct(&self, source: &Name, shift: TimeShift) {
        let mut waiting = self.lock();
        for packet in waiting.packets.iter_mut().filter(|it| it.source == *source) {
            let Packet {
                received,
                event_time,
                ..
            } = &mut packet.entry;
            (*received, *event_time) = shift.of(*received, *event_time);
        }
        let mut corrections = waiting.corrections.iter_mut();
        match corrections.find(|it| it.source == *source) {
            Some(before) => before.entry = before.entry.and(shift),
            None => waiting.corrections.push(Sourced {
                source: source.clone(),
                entry: shift,
            }),
        }
        waiting.ticket += 1;
        drop(waiting);
        self.wake.notify_one();
    }

    /// Has these sinks be enabled and no others.
    pub(super) fn enrol(&self, sinks: Vec<Enrolled>) {
        let mut waiting = self.lock();
        waiting.enrolment = Some(sinks);
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
        self.lock().closing = true;
        for room in self.rooms().values() {
            room.close();
        }
        self.wake.notify_one();
    }

    /// Waits until there is something or the time is over, and takes all that is there. Acknowledgements
    /// alone are something when they have waited for so long as `patience`.
    ///
    /// `work` is used again, with the memory of its lists.
    pub(super) fn take(&self, timeout: Duration, patience: Duration, work: &mut Work) {
        work.packets.clear();
        work.rejections.clear();
        work.set_aside.clear();
        work.names.clear();
        let mut waiting = self.wait(timeout, patience);
        let pause = work
            .taken
            .map(|taken| INTERVAL.saturating_sub(taken.elapsed()));
        if let Some(pause) = pause.filter(|_| waiting.is_waiting(patience)) {
            waiting = self
                .wake
                .wait_timeout_while(waiting, pause, |waiting| !waiting.is_pressing())
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        work.taken = Some(Instant::now());
        let is_waiting = waiting.is_waiting(patience);
        std::mem::swap(&mut work.packets, &mut waiting.packets);
        std::mem::swap(&mut work.rejections, &mut waiting.rejections);
        std::mem::swap(&mut work.set_aside, &mut waiting.set_aside);
        std::mem::swap(&mut work.names, &mut waiting.names);
        work.nodes = waiting.nodes.take();
        work.acknowledged.clear();
        if is_waiting {
            work.acknowledged
                .extend(waiting.acknowledged.iter_mut().map(Option::take));
            waiting.owed.settle(work.packets.is_empty());
        }
        work.corrections = std::mem::take(&mut waiting.corrections);
        work.enrolment = waiting.enrolment.take();
        work.damage = waiting.damage.take();
        work.ticket = waiting.ticket;
        work.closing = waiting.closing;
        let occupied = std::mem::take(&mut waiting.occupied);
        drop(waiting);
        for (room, places) in occupied {
            room.add_permits(places);
        }
    }

    /// Waits until there is something or the time is over.
    fn wait(&self, timeout: Duration, patience: Duration) -> MutexGuard<'_, Work> {
        let until = Instant::now() + timeout;
        let mut waiting = self.lock();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || waiting.is_waiting(patience) {
                return waiting;
            }
            let due_in = waiting.owed.due_in(patience).unwrap_or(left);
            let woken = self.wake.wait_timeout(waiting, left.min(due_in));
            waiting = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Work> {
        // Nothing in here panics between two changes that belong together.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Timestamp;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn packet() -> Packet {
        Packet {
            received: Timestamp(1),
            event_time: Timestamp(1),
            readings: Vec::new(),
        }
    }

    #[tokio::test]
    async fn a_source_that_floods_makes_nobody_wait_but_itself() {
        let inbox = Inbox::default();
        let (flood, quiet) = (Name::new("flood"), Name::new("quiet"));
        let full = inbox.append(&flood, vec![packet(); CAPACITY]);
        full.await.unwrap();
        let mut more = std::pin::pin!(inbox.append(&flood, vec![packet(); CAPACITY]));
        let moment = Duration::from_millis(20);
        let waits = tokio::time::timeout(moment, &mut more).await;
        assert!(waits.is_err(), "there is no room left for it");
        let quiet = inbox.append(&quiet, vec![packet()]);
        tokio::time::timeout(PATIENCE, quiet)
            .await
            .unwrap()
            .unwrap();
        let mut work = Work::default();
        inbox.take(PATIENCE, PATIENCE, &mut work);
        assert_eq!(work.packets.len(), CAPACITY + 1);
        tokio::time::timeout(PATIENCE, more).await.unwrap().unwrap();
        inbox.close();
        let late = inbox.append(&flood, vec![packet()]).await;
        assert!(matches!(late, Err(JournalError::Closed)));
    }

    #[test]
    fn acknowledgements_wait_for_company_unless_they_are_many() {
        let mut owed = Owed::default();
        assert_eq!(owed.due_in(PATIENCE), None);
        // The first few are committed soon.
        owed.add(9, false);
        assert!(owed.due_in(PATIENCE) <= Some(MOMENT) && !owed.is_due(PATIENCE));
        owed.settle(true);
        // Those that follow wait for packets.
        owed.add(9, false);
        assert!(owed.due_in(PATIENCE) > Some(PATIENCE / 2));
        owed.settle(false);
        owed.add(MANY_MESSAGES - 1, false);
        assert!(!owed.is_due(PATIENCE) && owed.is_due(Duration::ZERO));
        owed.add(1, false);
        assert!(owed.is_due(PATIENCE));
        owed.settle(true);
        // The last few of many do not wait.
        owed.add(1, false);
        assert!(owed.due_in(PATIENCE) <= Some(MOMENT));
        owed.settle(true);
        owed.add(1, true);
        assert!(owed.is_due(PATIENCE));
    }
}
