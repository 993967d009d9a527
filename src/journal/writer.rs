//! The writer thread: takes all that is waiting, commits once, wakes the cursors; and keeps the
//! journal in shape in between.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::error::Fault;
use super::fallback::Trouble;
use super::inbox::Work;
use super::ledger::{Account, Missing};
use super::recovery::{self, Claim};
use super::shared::{Ledger, Shared, Tiers, lock_store};
use super::store::{Batch, Limits, NamedPosition, Store, StoredCursor};
use super::{JournalError, JournalState, Position};
use crate::config::{self, Durability, JournalPath};
use crate::monitor::SinkId;
use crate::telemetry::Timestamp;

/// Time between two looks at what is too old.
const TICK: Duration = Duration::from_secs(1);

/// Rows that leave the history in one commit.
const PRUNE_CHUNK: usize = 500;

/// Free pages given back to the file system at a time (1 MiB).
const SHRINK_PAGES: u32 = 256;

/// Without a drop for so long, an episode of drops is over.
const EPISODE_GAP: Duration = Duration::from_mins(1);

/// The thread's own state. Everything else talks to it over [`Shared`].
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) source: String,
    pub(super) durable: bool,
    /// `None`: the journal is in memory, as configured.
    pub(super) claim: Option<Claim>,
    /// `None` as well while a damaged file could not be replaced.
    pub(super) file: Option<Store>,
    pub(super) trouble: Option<Trouble>,
    pub(super) end: Position,
    /// Acknowledgements that are not in the file.
    pub(super) unsaved: [Option<Position>; SinkId::ALL.len()],
    /// The end that the file remembers.
    pub(super) saved_end: Position,
    max_bytes: Option<u64>,
    history: Duration,
    ticket: u64,
    pub(super) housekeeping_due: Instant,
    drops: Drops,
}

/// Watches what the sinks lose, to say it once an episode.
#[derive(Debug)]
struct Drops {
    seen: [u64; SinkId::ALL.len()],
    episode: Option<Episode>,
}

#[derive(Debug)]
struct Episode {
    before: [u64; SinkId::ALL.len()],
    last: Instant,
}

impl Writer {
    /// Opens the journal and finds out where everybody is.
    pub(super) fn open(
        config: &config::Journal,
        sinks: &[SinkId],
        source: &str,
    ) -> Result<Self, JournalError> {
        let mut opened = Opened::default();
        let (name, claim) = match &config.path {
            JournalPath::Memory => (PathBuf::from(":memory:"), None),
            JournalPath::File(path) => (path.clone(), Some(recovery::claim(path)?)),
        };
        let failed = |fault: Fault| fault.into_error("open", name.clone());
        let mut memory = None;
        if let Some(claim) = &claim {
            opened.notice = claim.notice();
            opened.open_file(claim, sinks, source).map_err(failed)?;
        } else {
            let store = Store::in_memory(Position::default()).map_err(failed)?;
            memory = Some(Mutex::new(store));
        }
        let starts = opened.starting_positions(sinks);
        let end = opened.end();
        let ledger = Ledger {
            end,
            missing: opened.missing,
            accounts: starts.map(Account::new),
            sinks: SinkId::ALL
                .into_iter()
                .filter(|sink| sinks.contains(sink))
                .collect(),
            state: claim
                .as_ref()
                .map_or(JournalState::Memory, |_| JournalState::File),
            since: Timestamp::now(),
            notice: opened.notice,
        };
        let tiers = Tiers {
            generation: 1,
            file: claim.as_ref().map(|claim| claim.path.clone()),
            replacing: false,
            memory,
        };
        let drops = Drops {
            seen: ledger.dropped(),
            episode: None,
        };
        let mut writer = Self {
            shared: Arc::new(Shared::new(name, config.max_messages, tiers, ledger)),
            source: source.to_owned(),
            durable: config.durability == Durability::Full,
            claim,
            file: opened.store,
            trouble: None,
            end,
            unsaved: [None; SinkId::ALL.len()],
            saved_end: end,
            max_bytes: config.max_bytes,
            history: config.history,
            ticket: 0,
            housekeeping_due: Instant::now(),
            drops,
        };
        writer.register();
        Ok(writer)
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Works until the inbox is closed and empty.
    pub(super) fn run(mut self) -> Result<(), JournalError> {
        let _end = EndGuard(Arc::clone(&self.shared));
        let mut work = Work::default();
        loop {
            let timeout = self
                .housekeeping_due
                .saturating_duration_since(Instant::now());
            self.shared.inbox.take(timeout, &mut work);
            self.write(&work);
            self.keep_house(work.packets.len());
            if work.closing {
                break;
            }
        }
        self.finish()
    }

    /// Commits what was taken from the inbox, into the file or into memory.
    pub(super) fn write(&mut self, work: &Work) {
        if let Some((generation, reason)) = &work.damage {
            self.replace_damaged(*generation, reason);
        }
        for (slot, acknowledged) in self.unsaved.iter_mut().zip(work.acknowledged) {
            *slot = acknowledged.or(*slot);
        }
        self.recover_if_due();
        let acknowledged = work.acknowledged.iter().any(Option::is_some);
        if acknowledged || !work.packets.is_empty() || !work.rejections.is_empty() {
            if !self.write_to_file(work) {
                self.write_to_memory(work);
            }
            let messages: usize = work
                .packets
                .iter()
                .map(|packet| packet.readings.len())
                .sum();
            self.end.sequence += work.packets.len() as u64;
            self.end.total += messages as u64;
        }
        self.ticket = work.ticket;
        self.publish(&work.acknowledged);
    }

    /// What a batch carries to the file: all acknowledgements that are not there yet.
    pub(super) fn unsaved_cursors(&self) -> Vec<NamedPosition> {
        let slots = SinkId::ALL.into_iter().zip(self.unsaved);
        slots
            .filter_map(|(sink, slot)| Some((sink.name(), slot?)))
            .collect()
    }

    pub(super) fn file_limits(&self, file: &Store) -> Limits {
        let inside = self
            .shared
            .ledger()
            .missing
            .after(file.extent().first.total);
        Limits {
            max_messages: self.shared.max_messages.saturating_add(inside),
            max_bytes: self.max_bytes,
        }
    }

    pub(super) fn memory_limits(&self) -> Limits {
        Limits {
            max_messages: if self.claim.is_some() {
                self.shared.max_messages.min(super::fallback::MAX_MESSAGES)
            } else {
                self.shared.max_messages
            },
            max_bytes: self.max_bytes,
        }
    }

    /// Lets everybody know what is committed, the accounts first.
    pub(super) fn publish(&mut self, acknowledged: &[Option<Position>]) {
        let file = self.file.as_ref().map(Store::extent);
        let (memory, generation) = {
            let tiers = self.shared.tiers();
            let memory = tiers
                .memory
                .as_ref()
                .map(|store| lock_store(store).extent());
            (memory, tiers.generation)
        };
        {
            let mut ledger = self.shared.ledger();
            ledger.end = self.end;
            match (file, memory) {
                (Some(file), None) => ledger.missing.advance(file.first.total),
                (Some(file), Some(memory)) => {
                    ledger.missing.advance(file.first.total);
                    ledger.missing.add(file.end.total, memory.first.total);
                }
                (None, Some(memory)) => ledger.missing.advance(memory.first.total),
                (None, None) => ledger.missing.advance(self.end.total),
            }
        }
        self.shared.progress.send_if_modified(|progress| {
            let changed = progress.ticket != self.ticket
                || progress.generation != generation
                || progress.end != self.end;
            progress.end = self.end;
            progress.ticket = self.ticket;
            progress.generation = generation;
            changed
        });
        for (committed, acknowledged) in self.shared.committed.iter().zip(acknowledged) {
            if let Some(position) = *acknowledged {
                committed.send_replace(position);
            }
        }
    }

    /// Removes what is too old, gives room back, and watches for drops. `appended` rows came since
    /// the last time; at least as many may leave, so that the history cannot outgrow its age.
    pub(super) fn keep_house(&mut self, appended: usize) {
        self.watch_drops();
        let now = Instant::now();
        if now < self.housekeeping_due {
            return;
        }
        let more = self
            .prune(PRUNE_CHUNK.max(2 * appended))
            .unwrap_or_else(|fault| {
                self.housekeeping_failed(&fault);
                false
            });
        self.housekeeping_due = if more { now } else { now + TICK };
        if !more {
            let shrunk = self.file.as_mut().map(|file| file.shrink(SHRINK_PAGES));
            if let Err(fault) = shrunk.unwrap_or(Ok(())).and_then(|()| self.save_end()) {
                self.housekeeping_failed(&fault);
            }
        }
        self.publish(&[]);
    }

    fn prune(&mut self, budget: usize) -> Result<bool, Fault> {
        let delivered = self.shared.ledger().delivered().sequence;
        let history = i64::try_from(self.history.as_nanos()).unwrap_or(i64::MAX);
        let cutoff = Timestamp(Timestamp::now().0.saturating_sub(history));
        if let Some(file) = &mut self.file {
            return file.prune(delivered, cutoff, budget);
        }
        match &self.shared.tiers().memory {
            Some(memory) => lock_store(memory).prune(delivered, cutoff, budget),
            None => Ok(false),
        }
    }

    /// An append that fails in the same way says it aloud; only damage cannot wait for one.
    fn housekeeping_failed(&mut self, fault: &Fault) {
        if let Fault::Damaged(reason) = fault {
            let generation = self.shared.tiers().generation;
            self.replace_damaged(generation, reason);
        } else {
            tracing::debug!(error = %fault, "Cannot remove old rows from the journal.");
        }
    }

    fn watch_drops(&mut self) {
        let (dropped, stored) = {
            let ledger = self.shared.ledger();
            (ledger.dropped(), ledger.stored())
        };
        if self.drops.seen == dropped {
            let over = |episode: &Episode| episode.last.elapsed() >= EPISODE_GAP;
            if self.drops.episode.as_ref().is_some_and(over) {
                self.end_episode();
            }
            return;
        }
        if self.drops.episode.is_none() {
            let losing: Vec<_> = SinkId::ALL
                .into_iter()
                .filter(|sink| dropped[*sink as usize] > self.drops.seen[*sink as usize])
                .map(SinkId::name)
                .collect();
            warn!(
                journal = %self.shared.name.display(),
                stored,
                max_messages = self.shared.max_messages,
                sinks = losing.join(","),
                "Journal is full: the oldest messages are dropped before they could be delivered.",
            );
        }
        let before = self
            .drops
            .episode
            .take()
            .map_or(self.drops.seen, |episode| episode.before);
        self.drops.episode = Some(Episode {
            before,
            last: Instant::now(),
        });
        self.drops.seen = dropped;
    }

    fn end_episode(&mut self) {
        let Some(episode) = self.drops.episode.take() else {
            return;
        };
        let lost = |sink: SinkId| {
            self.drops.seen[sink as usize].saturating_sub(episode.before[sink as usize])
        };
        warn!(
            journal = %self.shared.name.display(),
            mqtt = lost(SinkId::Mqtt),
            influxdb = lost(SinkId::Influxdb),
            "End of the drops: so many messages went before they could be delivered.",
        );
    }

    /// Puts the sinks' positions into the file. A disk that is full says so at the first append,
    /// and an entry that is not written costs nothing but exactness in a message.
    fn register(&mut self) {
        let cursors = self.acknowledged();
        if let Some(file) = &mut self.file
            && let Err(fault) = file.register(&cursors)
        {
            warn!(
                journal = %self.shared.name.display(),
                error = %fault,
                "Cannot write the sinks' positions into the journal.",
            );
        }
    }

    pub(super) fn finish(mut self) -> Result<(), JournalError> {
        self.watch_drops();
        self.end_episode();
        let rescued = self.rescue();
        if let Err(fault) = self.save_end() {
            self.housekeeping_failed(&fault);
        }
        if let Some(file) = self.file.take()
            && let Err(fault) = file.close()
        {
            // The rows are safe in the write-ahead log; the next start moves them.
            error!(
                journal = %self.shared.name.display(),
                error = %fault,
                "Cannot move the write-ahead log into the journal.",
            );
        }
        rescued
    }
}

/// What opening a file found.
#[derive(Default)]
struct Opened {
    store: Option<Store>,
    cursors: Vec<StoredCursor>,
    missing: Missing,
    notice: Option<String>,
}

impl Opened {
    fn open_file(&mut self, claim: &Claim, sinks: &[SinkId], source: &str) -> Result<(), Fault> {
        let opened = if recovery::is_cut_off(&claim.path) {
            Err(Fault::Damaged("it is empty but its log is not".to_owned()))
        } else {
            Store::open(&claim.path).and_then(|store| Ok((store.cursors()?, store)))
        };
        match opened {
            Ok((cursors, store)) => {
                self.cursors = cursors;
                self.missing = Missing::new(store.extent().first.total);
                self.store = Some(store);
                Ok(())
            }
            Err(Fault::Damaged(reason)) => self.replace(claim, &reason, sinks, source),
            Err(fault) => Err(fault),
        }
    }

    fn replace(
        &mut self,
        claim: &Claim,
        reason: &str,
        sinks: &[SinkId],
        source: &str,
    ) -> Result<(), Fault> {
        error!(journal = %claim.path.display(), error = reason, "Journal is damaged.");
        let moved = recovery::move_aside(&claim.path, Timestamp::now()).map_err(|error| {
            Fault::Unavailable(format!("damaged ({reason}) and not movable ({error})"))
        })?;
        let _created = recovery::create_file(&claim.path)
            .map_err(|error| Fault::Unavailable(error.to_string()))?;
        let mut store = Store::open(&claim.path)?;
        let (cursors, complete) = recovery::salvage_cursors(&moved);
        let positions = || cursors.iter().map(|cursor| cursor.position);
        let furthest = positions().max_by_key(|position| position.sequence);
        let is_enabled =
            |cursor: &&StoredCursor| sinks.iter().any(|sink| sink.name() == cursor.sink);
        let delivered = cursors
            .iter()
            .filter(is_enabled)
            .map(|cursor| cursor.position)
            .min_by_key(|position| position.sequence);
        // A sink whose cursor cannot be read gets all again that there is.
        let after = delivered.filter(|_| complete).unwrap_or_default();
        let start = furthest.unwrap_or_default();
        let salvage = recovery::salvage(&moved, after, start, &mut store, source);
        self.notice = Some(recovery::report(&claim.path, &moved, reason, &salvage));
        self.missing = salvage.missing;
        self.cursors = cursors;
        self.store = Some(store);
        Ok(())
    }

    fn end(&self) -> Position {
        self.store
            .as_ref()
            .map(|store| store.extent().end)
            .unwrap_or_default()
    }

    fn first(&self) -> Position {
        self.store
            .as_ref()
            .map(|store| store.extent().first)
            .unwrap_or_default()
    }

    /// A sink begins where it was. One that is new, or that was disabled while rows went, begins
    /// with the first row there is: nobody promised it the others.
    fn starting_positions(&self, sinks: &[SinkId]) -> [Position; SinkId::ALL.len()] {
        let first = self.first();
        SinkId::ALL.map(|sink| {
            let stored = self
                .cursors
                .iter()
                .find(|cursor| cursor.sink == sink.name());
            let Some(stored) = stored else { return first };
            if stored.enabled
                || stored.position.sequence >= first.sequence
                || !sinks.contains(&sink)
            {
                return stored.position;
            }
            info!(
                sink = sink.name(),
                messages = first.total.saturating_sub(stored.position.total),
                "Messages from before this sink was disabled are no longer in the journal.",
            );
            first
        })
    }
}

/// Tells everybody that the writer has ended, whatever the way.
struct EndGuard(Arc<Shared>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        self.0.inbox.close();
        self.0.ledger().set_state(JournalState::Closed);
        self.0
            .progress
            .send_modify(|progress| progress.ended = true);
    }
}

/// A batch for the place where the writer stands.
impl Writer {
    pub(super) fn batch<'a>(&'a self, work: &'a Work, cursors: &'a [NamedPosition]) -> Batch<'a> {
        Batch {
            start: self.end,
            source: &self.source,
            packets: &work.packets,
            cursors,
            rejections: &work.rejections,
        }
    }
}
