//! The journal: the local database that every packet is written to before anything is sent.
//!
//! One writer thread takes all that is waiting, commits once, then wakes the cursors; each cursor
//! reads over a connection of its own. Rows are in the file or behind it in a small database in memory:
//! the last few, which the tail has on the disk, and all while the file cannot be written. The journal
//! `:memory:` is that second one alone.
//!
//! | part | what it is |
//! | --- | --- |
//! | [`Journal`] | the handle: appends, sets aside, asks; hands out cursors |
//! | [`Cursor`] | a sink's way through the rows: reads, acknowledges, rejects |
//! | `inbox` | what waits for the writer: bounded, and never in the way of an acknowledgement |
//! | `writer` | the thread that commits; with a room each for `opening`, `settlement` (of the tail), `enrolment`, `housekeeping`, `requests`, `correction`, and for its two troubles: `trouble` (the file cannot be written, or is damaged) and `astray` (the file is gone) |
//! | `store` | one SQLite database: schema, rows, cursors, `rejected`, names; its front is trimmed |
//! | `shared` | what the writer, the cursors and the handles share: tiers, ledger, progress |
//! | … tiers | where rows are: in the file, behind it in memory |
//! | … ledger | all that is counted: how far each sink is, and what is missing |
//! | … progress | how far the writer is; wakes the cursors |
//! | `tail` | the last few packets, beside the database: what comes one by one costs a block, not several |
//! | `marks` | each sink's last acknowledgement, beside the database: outlives a killed process |
//! | `recovery` | the claim on a path and its lock; moving aside and saving what is damaged |
//! | `place` | the files by device and inode, to see that they are gone |
//! | `retention` | which times are history, whatever the clock did |
//! | `drops` | says what the sinks lose |
//! | `rewind` | the place in the history that a sink goes back to, and going there where no gateway runs |
//! | `history`, [`Archive`], [`RejectedTable`], `names` | what reads a journal beside the sinks |
//! | [`forget`] | takes out what is known of a sink |
//!
//! What holds at any time:
//!
//! 1. Sequences rise and are never used twice; a total counts all messages up to its row, dropped
//!    ones included. The newest row is never removed, so both go on after a restart.
//! 2. A cursor sees rows in order, each once unless it rewinds, and only committed ones.
//! 3. For each sink `acknowledged + dropped + depth + in flight when removed == appended`, to the
//!    message: what is missing before a row follows from its total, nothing is estimated.
//! 4. A committed cursor is never ahead of the rows: both are in the file or both in its tail, in the order
//!    of commits. The tail begins when the file is on the disk, and anew when the file has what was in it.
//!    What was acknowledged after the last commit is in the sink's mark, so that a killed process
//!    repeats only what was read and not acknowledged. After a power cut the marks may be gone: then
//!    a sink repeats at most [`Cursor::unjournaled`] messages.
//! 5. Memory and file stay within their bounds: the oldest rows leave in the transaction that
//!    brings the new ones, at a cost that grows with these alone.
//! 6. A file that is damaged is moved aside, never changed or deleted, and what no sink has
//!    delivered is copied from it as far as it can be read. No row leaves the journal that does not
//!    match its checksum.

mod archive;
mod cursor;
mod encoding;
mod error;
mod forget;
mod history;
mod inbox;
mod ledger;
mod marks;
mod names;
mod place;
mod recovery;
mod rejected;
mod retention;
mod rewind;
mod shared;
mod store;
mod tail;
#[cfg(test)]
mod tests;
mod writer;

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

pub use crate::monitor::{JournalState, JournalStatus, Position, SinkBacklog};
pub use archive::Archive;
pub use cursor::Cursor;
pub use error::JournalError;
pub use forget::{Forgotten, forget};
pub use rejected::{RejectedEntry, RejectedTable};
pub use rewind::take_back;

use crate::config::{self, Begin};
use crate::monitor::{HistoryPoint, HistoryQuery, KnownNode, RewindTo, SinkId};
use crate::telemetry::{KnownName, Name, Packet, Reading, SetAside, TimeShift, Timestamp};

use shared::Shared;
use writer::Writer;

/// A packet as the journal keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Counts rows from 1; never used twice.
    pub sequence: u64,
    /// Messages of this row and all before it, since the journal began: the difference of two
    /// totals is the number of messages between them, without counting anything.
    pub total: u64,
    /// The name of the source that it came from.
    pub source: Name,
    /// When the gateway read it.
    pub received: Timestamp,
    /// When the board measured it.
    pub event_time: Timestamp,
    /// One message each.
    pub readings: Vec<Reading>,
}

impl Row {
    /// The place behind this row.
    pub fn end(&self) -> Position {
        Position {
            sequence: self.sequence,
            total: self.total,
        }
    }

    /// Messages of all rows before this one.
    fn before(&self) -> u64 {
        self.total.saturating_sub(self.readings.len() as u64)
    }
}

/// The name of a source that has none of its own, because it is the only one.
const ONLY_SOURCE: &str = "source";

/// Something with the name of the source that it came from.
#[derive(Debug, Clone)]
struct Sourced<T> {
    source: Name,
    entry: T,
}

impl<T> Sourced<T> {
    fn all(source: &Name, entries: Vec<T>) -> impl Iterator<Item = Self> {
        let source = source.clone();
        entries.into_iter().map(move |entry| Self {
            source: source.clone(),
            entry,
        })
    }
}

/// What a server refused has this as its reason, in place of the name of a
/// [`RejectReason`](crate::telemetry::RejectReason).
pub const REFUSED: &str = "refused";

/// A reading that a server refused for good.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejection {
    /// Who refused it.
    pub sink: SinkId,
    /// The name of the source that it came from.
    pub source: Name,
    /// The row it came from.
    pub sequence: u64,
    /// When it was measured.
    pub event_time: Timestamp,
    /// What was refused.
    pub reading: Reading,
    /// The server's words.
    pub reason: String,
}

/// A sink that is configured, and where it begins while nothing is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolled {
    /// Which one.
    pub sink: SinkId,
    /// Where it begins.
    pub begin: Begin,
}

/// The journal, for those who append and those who watch. Clones are handles of the same journal.
///
/// When the last one goes without [`Journal::close`], the writer still commits what it was given.
#[derive(Debug, Clone)]
pub struct Journal(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<Result<(), JournalError>>>>,
}

impl Journal {
    /// Opens or creates the journal for the enabled sinks.
    ///
    /// A damaged file is moved aside to `<name>.damaged-<time>` and a new one is begun with what no
    /// sink had and could still be read; the log and [`JournalStatus::notice`] say so.
    pub fn open(config: &config::Journal, sinks: &[Enrolled]) -> Result<Self, JournalError> {
        let writer = Writer::open(config, sinks)?;
        let shared = Arc::clone(writer.shared());
        let writer = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer.run())
            .map_err(JournalError::Thread)?;
        Ok(Self(Arc::new(Handle {
            shared,
            writer: Mutex::new(Some(writer)),
        })))
    }

    /// Gives packets of a source to the writer, all of them or, when cancelled, none; waits only for room in
    /// its bounded queue. Packets without readings are left out: nothing of them can be delivered.
    pub async fn append(
        &self,
        source: &Name,
        mut packets: Vec<Packet>,
    ) -> Result<(), JournalError> {
        for packet in &mut packets {
            packet.readings.retain(|reading| reading.value.is_finite());
        }
        packets.retain(|packet| !packet.readings.is_empty());
        if packets.is_empty() {
            return Ok(());
        }
        self.0.shared.inbox.append(source, packets).await
    }

    /// Keeps what is not to be delivered, with its reason. Waits only for room in the writer's bounded
    /// queue; all of it is taken or, when cancelled, none.
    pub async fn set_aside(
        &self,
        source: &Name,
        entries: Vec<SetAside>,
    ) -> Result<(), JournalError> {
        if entries.is_empty() {
            return Ok(());
        }
        self.0.shared.inbox.set_aside(source, entries).await
    }

    /// Remembers names that were confirmed at a source. Never waits; of very many, the oldest are forgotten.
    pub fn learn(&self, source: &Name, names: Vec<KnownName>) {
        self.0.shared.inbox.learn(source, names);
    }

    /// The names that were confirmed at a source, committed ones alone: to be asked for at a start. Reads the
    /// disk. Names that cannot be read have to be confirmed once more.
    pub fn known_names(&self, source: &Name) -> Vec<KnownName> {
        names::known(&self.0.shared, source)
    }

    /// The sources at which names were confirmed, also such as have gone since; none where that cannot be read.
    pub fn known_sources(&self) -> Vec<Name> {
        names::sources(&self.0.shared)
    }

    /// Remembers the nodes as they are now, in place of what was remembered of them. Never waits.
    pub fn remember_nodes(&self, nodes: Vec<KnownNode>) {
        self.0.shared.inbox.remember(nodes);
    }

    /// The nodes that were remembered: to be asked for at a start. Reads the disk.
    pub fn known_nodes(&self) -> Vec<KnownNode> {
        names::nodes(&self.0.shared)
    }

    /// Moves the times of everything that a source gave in this run, because they come from a clock that
    /// was set since; returns when that is committed. What sinks have read already keeps its times until
    /// they read it again.
    pub async fn correct_times(&self, source: &Name, shift: TimeShift) {
        self.0.shared.inbox.correct(source, shift);
        self.settle().await;
    }

    /// Waits until everything appended before is committed; returns the end of the journal.
    pub async fn settle(&self) -> Position {
        let ticket = self.0.shared.inbox.ticket();
        let mut progress = self.0.shared.progress.subscribe();
        let settled = progress
            .wait_for(|progress| progress.ticket >= ticket || progress.ended)
            .await
            .map(|progress| progress.end);
        settled.unwrap_or_default()
    }

    /// Resolves when the writer has panicked: nothing is kept any more. Cancel safe.
    pub async fn broken(&self) {
        let mut progress = self.0.shared.progress.subscribe();
        if progress.wait_for(|progress| progress.broken).await.is_err() {
            // Cannot happen while `self` lives.
            std::future::pending::<()>().await;
        }
    }

    /// Has these sinks be enabled and no others; returns when that is so. Of one that was enabled before, it
    /// goes on where it was, as far as that is still there.
    pub async fn enrol(&self, sinks: Vec<Enrolled>) {
        self.0.shared.inbox.enrol(sinks);
        self.settle().await;
    }

    /// A sink's cursor, at the position that it has acknowledged. There is one at a time.
    pub fn cursor(&self, sink: &SinkId) -> Result<Cursor, JournalError> {
        Cursor::open(Arc::clone(&self.0.shared), sink)
    }

    /// The journal as it is now. Cheap: some arithmetic.
    pub fn status(&self) -> JournalStatus {
        self.0.shared.status()
    }

    /// A metric's history, condensed to as many points as asked for. Reads the disk.
    pub fn history(&self, query: &HistoryQuery) -> Result<Vec<HistoryPoint>, JournalError> {
        history::query(&self.0.shared, query)
    }

    /// The place before what a sink delivers again that goes back so far. Reads the disk.
    pub fn place(&self, to: RewindTo) -> Result<Position, JournalError> {
        rewind::place(&self.0.shared, to)
    }

    /// How often a sink was taken back, by the last number given, and how many messages it then had to
    /// deliver again.
    pub fn taken_back(&self, sink: &SinkId) -> (u64, u64) {
        let ledger = self.0.shared.ledger();
        let place = ledger.place_of(sink);
        place.map_or((0, 0), |place| ledger.accounts[place].taken_back())
    }

    /// Commits all that was appended and acknowledged, moves it from the write-ahead log into the
    /// file and ends the writer. Other handles then take nothing any more, and the file can be
    /// opened again.
    pub async fn close(self) -> Result<(), JournalError> {
        self.0.shared.inbox.close();
        let writer = self
            .0
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(writer) = writer else {
            return Ok(());
        };
        tokio::task::spawn_blocking(move || writer.join())
            .await
            .ok()
            .and_then(Result::ok)
            .unwrap_or(Err(JournalError::Closed))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.inbox.close();
    }
}
