//! What comes packet by packet goes into the tail and into memory; settlement brings it into the file, in one
//! transaction.

use std::time::{Duration, Instant};

use super::Writer;
use super::terms::Terms;
use crate::journal::error::Fault;
use crate::journal::inbox::Work;
use crate::journal::tail::{self, Tail};
use crate::telemetry::Timestamp;

/// What is in the tail is in the file after so long at least, and at most. In between it is so many times as
/// long as the gateway has run: who tries it out soon finds in the database what came in.
const SETTLED_AFTER: Duration = Duration::from_secs(1);
const SETTLED_WITHIN: Duration = Duration::from_mins(5);
const OF_THE_RUN: u32 = 4;

/// More packets at once cost less in the file than in both.
const FEW_PACKETS: usize = 16;

/// After more, they go into the file for so long.
const AFTER_MANY: Duration = Duration::from_secs(1);

/// So they do after something was set aside or refused, which goes into the file behind what is in the tail:
/// where that comes again and again, a settlement each time would cost more than it spares.
const AFTER_REJECTED: Duration = Duration::from_mins(1);

impl Writer {
    /// Writes a few packets and acknowledgements to the tail; false: they are to go into the file.
    pub(super) fn write_to_tail(&mut self, work: &Work) -> bool {
        if !self.suits_tail(work) {
            return false;
        }
        match self.append_to_tail(work) {
            Ok(true) => {}
            Ok(false) => return false,
            Err(fault) => {
                // All goes into the file at once until it begins anew.
                tracing::debug!(error = %fault, "Cannot write the tail of the journal.");
                self.tail = None;
                return false;
            }
        }
        let within = (OF_THE_RUN * self.began.elapsed()).clamp(SETTLED_AFTER, SETTLED_WITHIN);
        self.settlement_due
            .get_or_insert_with(|| Instant::now() + within);
        self.sync_soon();
        self.keep_in_memory(work);
        true
    }

    /// Whether it is little, of the kind that comes all the time, and the file has room for it.
    fn suits_tail(&mut self, work: &Work) -> bool {
        let now = Instant::now();
        if work.packets.len() > FEW_PACKETS {
            self.tail_from = self.tail_from.max(now + AFTER_MANY);
        }
        if work.has_rejected() {
            self.tail_from = now + AFTER_REJECTED;
        }
        let (Some(tail), Some(file)) = (&self.tail, &self.file) else {
            return false;
        };
        let end = self.end_behind(work).total;
        let stored = end.saturating_sub(file.extent().first.total);
        now >= self.tail_from
            && self.trouble.is_none()
            && self.astray.is_none()
            && work.is_plain()
            // A tail begins with packets: by them it is known whether the file has what is in it.
            && !(tail.is_empty() && work.packets.is_empty())
            && stored <= self.terms.file_limits(file).max_messages
    }

    fn append_to_tail(&mut self, work: &Work) -> Result<bool, Fault> {
        let cursors = self.unsaved_cursors();
        let (Some(tail), Some(file)) = (&mut self.tail, &mut self.file) else {
            return Ok(false);
        };
        let before = if tail.is_empty() {
            // What is on the disk of this journal is always what came first.
            file.sync()?;
            file.newest_row()?.map(|row| row.received)
        } else {
            None
        };
        let batch = Terms::batch(self.end, work, &cursors);
        let is_appended = tail.append(batch, before.unwrap_or(Timestamp(0)))?;
        if is_appended && self.terms.durable && !work.packets.is_empty() {
            tail.sync()?;
        }
        Ok(is_appended)
    }

    /// Has the disk take what was committed within the interval, if that is how it is to be.
    pub(super) fn sync_soon(&mut self) {
        if let Some(interval) = self.terms.sync_interval {
            self.sync_due
                .get_or_insert_with(|| Instant::now() + interval);
        }
    }

    /// Has the disk take what is in file and tail.
    pub(super) fn sync(&mut self) -> Result<(), Fault> {
        if let Some(file) = &mut self.file {
            file.sync()?;
        }
        if let Some(tail) = self.tail.as_mut().filter(|tail| !tail.is_empty()) {
            tail.sync()?;
            tail.leave_block();
        }
        Ok(())
    }

    /// Brings what is in the tail into the file. Where that cannot be, it stays in memory and in the tail.
    pub(in crate::journal) fn settle(&mut self) {
        self.attempt(Self::bring_home);
    }

    /// The same when it has been there for long.
    pub(super) fn settle_if_due(&mut self, now: Instant) {
        if self.settlement_due.is_some_and(|due| due <= now) {
            self.settle();
        }
    }

    /// Brings what is in memory into the file; `None`: there is none.
    pub(super) fn bring_home(&mut self) -> Option<Result<(), Fault>> {
        self.file.as_ref()?;
        let is_home = self.shared.tiers().memory.is_none();
        Some(if is_home {
            Ok(())
        } else {
            self.empty_memory().map(drop)
        })
    }

    /// All that is in the tail is in the file.
    pub(super) fn empty_tail(&mut self) {
        self.settlement_due = None;
        if let Some(tail) = &mut self.tail {
            tail.begin_anew();
        }
    }

    /// Makes the tail of a file that has all there is.
    pub(super) fn begin_tail(&mut self) {
        self.tail = None;
        let Some(claim) = &self.claim else { return };
        let made = if self.terms.has_tail() {
            Tail::create(&claim.path).map(Some)
        } else {
            tail::remove(&claim.path).map(|()| None)
        };
        match made {
            Ok(tail) => self.tail = tail,
            Err(error) => tracing::debug!(error = %error, "Cannot make the tail of the journal."),
        }
    }

    /// Makes the tail refuse to be written.
    #[cfg(test)]
    pub(in crate::journal) fn spoil_tail(&mut self) {
        self.tail.as_mut().unwrap().spoil();
    }

    /// Removes the tail at the end, unless it is needed.
    pub(super) fn end_tail(&mut self) {
        let is_whole = self.shared.tiers().memory.is_none() && self.astray.is_none();
        if self.tail.take().is_some()
            && is_whole
            && let Some(claim) = &self.claim
            && let Err(error) = tail::remove(&claim.path)
        {
            tracing::debug!(error = %error, "Cannot remove the tail of the journal.");
        }
    }
}
