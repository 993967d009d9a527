//! A sink's way through the journal.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::encoding::Names;
use super::error::Fault;
use super::marks::Mark;
use super::shared::{Progress, Shared, Tiers, lock_store};
use super::store::{check_gap, read_rows};
use super::{JournalError, Position, Rejection, Row};
use crate::monitor::SinkId;

/// Time until a read that failed is worth another try.
const RETRY: Duration = Duration::from_secs(1);

/// A file that could not be read for so long is given up as damaged.
const PATIENCE: Duration = Duration::from_mins(1);

/// A sink's place in the journal: how far it has read and how far it has acknowledged.
///
/// Each sink has one, and uses it on its own thread: reads go to the disk, for about a millisecond.
/// Dropping it is as [`Cursor::rewind`]: what was read and not acknowledged waits for the next one.
#[derive(Debug)]
pub struct Cursor {
    shared: Arc<Shared>,
    /// The sink's place among those of the journal.
    sink: usize,
    reader: Option<Connection>,
    generation: u64,
    names: Names,
    progress: watch::Receiver<Progress>,
    committed: watch::Receiver<Position>,
    /// Rows read and not acknowledged, as the marks that they will be.
    unmarked: VecDeque<Mark>,
    /// What was refused before is not committed.
    refused: Option<Refused>,
    failure: Option<Unreadable>,
}

/// Up to where acknowledgements pass what the server refused, so that they must not be known before
/// that is committed.
#[derive(Debug, Clone, Copy)]
enum Refused {
    /// To the next acknowledgement.
    BeforeNext,
    /// To this row.
    UpTo(u64),
}

/// The file cannot be read at present.
#[derive(Debug)]
struct Unreadable {
    since: Instant,
    retry: Instant,
}

impl Cursor {
    pub(super) fn open(shared: Arc<Shared>, id: &SinkId) -> Result<Self, JournalError> {
        let (sink, committed) = {
            let mut ledger = shared.ledger();
            let place = ledger.place_of(id);
            let place = place.filter(|place| ledger.accounts[*place].enabled);
            let place = place.ok_or_else(|| JournalError::NotEnabled(id.clone()))?;
            let account = &mut ledger.accounts[place];
            if account.in_use {
                return Err(JournalError::CursorInUse(id.clone()));
            }
            account.in_use = true;
            (place, account.committed.subscribe())
        };
        Ok(Self {
            progress: shared.progress.subscribe(),
            committed,
            shared,
            sink,
            reader: None,
            generation: 0,
            names: Names::default(),
            unmarked: VecDeque::new(),
            refused: None,
            failure: None,
        })
    }

    /// Reads whole rows behind the read position and moves it: as many as have `max_messages`
    /// together, at least one if there is one.
    ///
    /// After an error [`Cursor::available`] waits a second, so that a loop of both is no busy one.
    /// A damaged file is replaced by the journal itself.
    pub fn read(&mut self, max_messages: usize) -> Result<Vec<Row>, JournalError> {
        let after = {
            let ledger = &mut *self.shared.ledger();
            ledger.accounts[self.sink].begin_read(&ledger.missing)
        };
        let end = self.end();
        let found = self.fetch(after, end, max_messages);
        {
            let ledger = &mut *self.shared.ledger();
            let account = &mut ledger.accounts[self.sink];
            match &found {
                Ok(rows) => account.end_read(rows, end, &mut ledger.missing),
                Err(_) => account.abandon_read(),
            }
        }
        match &found {
            Ok(rows) => {
                self.unmarked.extend(rows.iter().map(Mark::of));
                self.failure = None;
            }
            Err(fault) => self.fail(fault),
        }
        found.map_err(|fault| fault.into_error("read", self.shared.name.clone()))
    }

    /// Whole rows behind a place, as [`read`](Self::read) would give them; no position moves.
    pub fn look_ahead(
        &mut self,
        after: Position,
        max_messages: usize,
    ) -> Result<Vec<Row>, JournalError> {
        let found = self.fetch(after, after, max_messages);
        found.map_err(|fault| fault.into_error("read", self.shared.name.clone()))
    }

    /// Resolves as soon as there are committed rows behind the read position. Cancel safe.
    pub async fn available(&mut self) {
        if let Some(failure) = &self.failure {
            let retry = failure.retry;
            let generation = self.generation;
            tokio::select! {
                () = sleep_until(retry) => {}
                _ = self.progress.wait_for(|progress| progress.generation != generation) => {}
            }
        }
        let position = self.position();
        let behind = |progress: &Progress| progress.end.sequence > position.sequence;
        if self.progress.wait_for(behind).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The read position.
    pub fn position(&self) -> Position {
        self.shared.ledger().accounts[self.sink].read()
    }

    /// The acknowledged position, committed or not.
    pub fn acknowledged(&self) -> Position {
        self.shared.ledger().accounts[self.sink].acknowledged()
    }

    /// The end of the journal.
    pub fn end(&self) -> Position {
        self.progress.borrow().end
    }

    /// Messages stored that are not acknowledged.
    pub fn depth(&self) -> u64 {
        let ledger = self.shared.ledger();
        ledger.accounts[self.sink].depth(ledger.end, &ledger.missing)
    }

    /// Says that everything up to here is delivered. Never waits; the writer commits it with the
    /// next packets, or when there is enough of it.
    /// A place that is not between the acknowledged and the read position changes nothing.
    pub fn acknowledge(&mut self, up_to: Position) {
        let (moved, before) = {
            let mut ledger = self.shared.ledger();
            let account = &mut ledger.accounts[self.sink];
            account.settle(*self.committed.borrow());
            let before = account.acknowledged().total;
            (account.acknowledge(up_to), before)
        };
        if moved {
            // What was refused would be set aside once more unless what passes it is committed.
            let is_urgent = self.refused.is_some();
            self.mark(up_to);
            let messages = up_to.total.saturating_sub(before);
            let inbox = &self.shared.inbox;
            inbox.acknowledge(self.sink, up_to, messages, is_urgent);
        }
    }

    /// Has an acknowledgement outlive this process, whenever it ends.
    fn mark(&mut self, up_to: Position) {
        let mut last = None;
        while let Some(mark) = self
            .unmarked
            .pop_front_if(|mark| mark.end.sequence <= up_to.sequence)
        {
            last = Some(mark);
        }
        if self.passes_refused(up_to) {
            return;
        }
        if let (Some(marks), Some(mark)) = (&self.shared.marks, last)
            && let Err(error) = marks.set(self.sink, mark)
        {
            // It is committed all the same, a moment later.
            let sink = &self.shared.ledger().accounts[self.sink].sink.clone();
            tracing::debug!(%sink, error = %error, "Cannot note an acknowledgement.");
        }
    }

    fn passes_refused(&mut self, up_to: Position) -> bool {
        let limit = match self.refused {
            None => return false,
            Some(Refused::BeforeNext) => up_to.sequence,
            Some(Refused::UpTo(sequence)) => sequence,
        };
        let is_committed = self.committed.borrow().sequence >= limit;
        self.refused = (!is_committed).then_some(Refused::UpTo(limit));
        !is_committed
    }

    /// Keeps readings that the server refused for good, with its words. To be called before the
    /// acknowledgement that passes them; both are then committed in this order or at once.
    pub fn reject(&mut self, rejections: Vec<Rejection>) {
        self.refused = Some(Refused::BeforeNext);
        self.shared.inbox.reject(rejections);
    }

    /// Takes the read position back to the acknowledged one.
    pub fn rewind(&mut self) {
        self.unmarked.clear();
        self.shared.ledger().accounts[self.sink].rewind();
    }

    /// How often the sink was [taken back](Self::take_back), by the last number given.
    pub fn taken_back(&self) -> u64 {
        self.shared.ledger().accounts[self.sink].taken_back().0
    }

    /// Takes the sink back to an earlier place, so that everything behind it is read and delivered again.
    /// It is committed as an acknowledgement is, at once.
    pub fn take_back(&mut self, number: u64, to: Position) {
        self.unmarked.clear();
        self.refused = None;
        let to = {
            let ledger = &mut *self.shared.ledger();
            let account = &mut ledger.accounts[self.sink];
            account.take_back(number, to, &ledger.missing);
            account.acknowledged()
        };
        // A mark that is further on would be believed at the next start.
        if let Some(marks) = &self.shared.marks
            && let Err(error) = marks.set(self.sink, Mark::NONE)
        {
            let sink = &self.shared.ledger().accounts[self.sink].sink.clone();
            tracing::warn!(%sink, error = %error, "Cannot forget an acknowledgement.");
        }
        self.shared.inbox.take_back(self.sink, to);
    }

    /// Messages read whose acknowledgement is not committed: what a power cut now could repeat.
    pub fn unjournaled(&self) -> u64 {
        let committed = *self.committed.borrow();
        self.shared.ledger().accounts[self.sink].unjournaled(committed)
    }

    /// Resolves when an acknowledgement has been committed since this was last asked. Cancel safe.
    pub async fn acknowledgement_committed(&mut self) {
        if self.committed.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    fn fetch(
        &mut self,
        after: Position,
        end: Position,
        max_messages: usize,
    ) -> Result<Vec<Row>, Fault> {
        let shared = Arc::clone(&self.shared);
        let tiers = shared.tiers();
        self.follow(&tiers)?;
        let mut rows = Vec::new();
        let complete = match &self.reader {
            Some(file) => read_rows(file, after, max_messages, &mut self.names, &mut rows)?,
            None => true,
        };
        if complete && let Some(memory) = &tiers.memory {
            let after = rows.last().map_or(after, Row::end);
            let store = lock_store(memory);
            let names = &mut self.names;
            read_rows(store.connection(), after, max_messages, names, &mut rows)?;
        }
        if rows.is_empty()
            && let Some(file) = &self.reader
        {
            check_gap(file, after.sequence, end.sequence + 1, &mut self.names)?;
        }
        Ok(rows)
    }

    /// Opens the file that rows are in now, unless it is open already.
    fn follow(&mut self, tiers: &Tiers) -> Result<(), Fault> {
        if tiers.replacing {
            return Err(Fault::Unavailable(
                "it was damaged and is being replaced".to_owned(),
            ));
        }
        if self.generation != tiers.generation {
            self.reader = None;
            self.generation = tiers.generation;
        }
        if self.reader.is_none() {
            self.reader = tiers.open_file()?;
        }
        Ok(())
    }

    fn fail(&mut self, fault: &Fault) {
        let now = Instant::now();
        let since = self.failure.as_ref().map_or(now, |failure| failure.since);
        self.failure = Some(Unreadable {
            since,
            retry: now + RETRY,
        });
        let damaged = matches!(fault, Fault::Damaged(_));
        if damaged || now - since >= PATIENCE {
            let inbox = &self.shared.inbox;
            inbox.report_damage(self.generation, fault.to_string());
        }
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        let mut ledger = self.shared.ledger();
        let account = &mut ledger.accounts[self.sink];
        account.rewind();
        account.in_use = false;
    }
}
