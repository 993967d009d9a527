//! The accounts of the journal: which messages are no longer stored, and how far each sink is. All
//! of it is arithmetic on totals; nothing is ever counted by looking at rows.

use std::collections::VecDeque;
use std::ops::Range;

use tokio::sync::watch;

use super::{Position, Row};
use crate::monitor::SinkId;

/// The messages that are no longer stored, as ranges of totals.
#[derive(Debug, Default)]
pub(super) struct Missing {
    /// Everything up to here: pruned, dropped, or from before the first row.
    front: u64,
    /// Behind it, in order, apart from each other: what overflowed memory while the file could not
    /// be written, or could not be read from a damaged file.
    inner: Vec<Range<u64>>,
}

impl Missing {
    /// Ranges remembered. Each takes a failure of the disk to make; one that is forgotten is still
    /// counted when a cursor comes to it.
    const MAX: usize = 1024;

    pub(super) fn new(front: u64) -> Self {
        Self {
            front,
            inner: Vec::new(),
        }
    }

    /// Everything up to this total is gone.
    pub(super) fn advance(&mut self, total: u64) {
        self.front = self.front.max(total);
        while let Some(range) = self.inner.first()
            && range.start <= self.front
        {
            self.front = self.front.max(range.end);
            self.inner.remove(0);
        }
    }

    /// What lies between these totals is gone.
    pub(super) fn add(&mut self, from: u64, to: u64) {
        if from >= to {
            return;
        }
        if from <= self.front {
            self.advance(to);
            return;
        }
        let first = self.inner.partition_point(|range| range.end < from);
        let last = self.inner.partition_point(|range| range.start <= to);
        let merged = match self.inner.get(first..last) {
            Some([head, .., tail]) => head.start.min(from)..tail.end.max(to),
            Some([one]) => one.start.min(from)..one.end.max(to),
            _ if self.inner.len() >= Self::MAX => return,
            _ => from..to,
        };
        self.inner.splice(first..last, [merged]);
    }

    /// How many messages behind this total are gone.
    pub(super) fn after(&self, total: u64) -> u64 {
        let inner: u64 = self
            .inner
            .iter()
            .map(|range| range.end.saturating_sub(range.start.max(total)))
            .sum();
        self.front.saturating_sub(total) + inner
    }
}

/// Messages that a sink's cursor found missing between two rows.
#[derive(Debug)]
struct Gap {
    /// Total behind it.
    end: u64,
    size: u64,
}

/// How far a sink is.
#[derive(Debug)]
pub(super) struct Account {
    /// Whose it is.
    pub(super) sink: SinkId,
    /// Whether the sink is configured at present. For one that is not, nothing is kept.
    pub(super) enabled: bool,
    /// The acknowledgement that is committed.
    pub(super) committed: watch::Sender<Position>,
    /// Whether a cursor exists.
    pub(super) in_use: bool,
    acknowledged: Position,
    read: Position,
    /// The furthest that it ever acknowledged: less than that is delivered again.
    furthest: Position,
    /// How often it was taken back on purpose, and how many messages it then had to deliver again.
    taken_back: (u64, u64),
    /// Gaps that the cursor went over and may come back to by [`Account::rewind`].
    gaps: VecDeque<Gap>,
    /// Messages in the gaps that it cannot come back to.
    settled: u64,
    /// A read is under way: rows that the writer removes now may be in the sink's hands already.
    reading: bool,
    /// The count of dropped messages before that read began.
    dropped_before_read: u64,
}

impl Account {
    pub(super) fn new(sink: SinkId, at: Position) -> Self {
        Self {
            sink,
            enabled: true,
            committed: watch::Sender::new(at),
            in_use: false,
            acknowledged: at,
            read: at,
            furthest: at,
            taken_back: (0, 0),
            gaps: VecDeque::new(),
            settled: 0,
            reading: false,
            dropped_before_read: 0,
        }
    }

    /// Begins anew at a place.
    pub(super) fn restart(&mut self, at: Position) {
        let committed = self.committed.clone();
        committed.send_replace(at);
        *self = Self {
            committed,
            ..Self::new(self.sink.clone(), at)
        };
    }

    pub(super) fn acknowledged(&self) -> Position {
        self.acknowledged
    }

    pub(super) fn read(&self) -> Position {
        self.read
    }

    /// Begins a read; returns where.
    pub(super) fn begin_read(&mut self, missing: &Missing) -> Position {
        self.dropped_before_read = self.dropped(missing);
        self.reading = true;
        self.read
    }

    /// Ends it with the rows that the sink now has. Without any, nothing is left up to `end`, the
    /// end of the journal when the read began.
    pub(super) fn end_read(&mut self, rows: &[Row], end: Position, missing: &mut Missing) {
        self.reading = false;
        for row in rows {
            self.note_gap(row.before(), missing);
            self.read = row.end();
        }
        if rows.is_empty() && end.sequence > self.read.sequence {
            self.note_gap(end.total, missing);
            self.read = end;
        }
    }

    /// Ends a read that failed: as if it had not been.
    pub(super) fn abandon_read(&mut self) {
        self.reading = false;
    }

    fn note_gap(&mut self, end: u64, missing: &mut Missing) {
        let size = end.saturating_sub(self.read.total);
        if size > 0 {
            missing.add(self.read.total, end);
            self.gaps.push_back(Gap { end, size });
        }
    }

    /// Moves the acknowledged position; returns whether it moved. It never goes back by this, and never
    /// beyond what was read.
    pub(super) fn acknowledge(&mut self, up_to: Position) -> bool {
        let moves =
            up_to.sequence > self.acknowledged.sequence && up_to.sequence <= self.read.sequence;
        if moves {
            self.acknowledged = up_to;
        }
        moves
    }

    /// The acknowledgement up to this position is committed.
    pub(super) fn settle(&mut self, committed: Position) {
        while let Some(gap) = self.gaps.pop_front_if(|gap| gap.end <= committed.total) {
            self.settled += gap.size;
        }
    }

    /// Back to the acknowledged position. Gaps behind it are found again, maybe larger.
    pub(super) fn rewind(&mut self) {
        self.read = self.acknowledged;
        let acknowledged = self.acknowledged.total;
        self.gaps.retain(|gap| gap.end <= acknowledged);
    }

    /// Takes both positions back, so that everything behind `to` is delivered again. What was lost is
    /// counted once, though the gaps are found again.
    pub(super) fn take_back(&mut self, number: u64, to: Position, missing: &Missing) {
        let lost = self.dropped(missing);
        if to.sequence < self.acknowledged.sequence {
            if self.furthest.sequence < self.acknowledged.sequence {
                self.furthest = self.acknowledged;
            }
            self.acknowledged = Position {
                // What was removed in the meantime has been delivered.
                total: to.total.max(missing.front),
                ..to
            };
        }
        self.rewind();
        self.gaps.clear();
        self.settled = lost.saturating_sub(missing.after(self.read.total));
        self.taken_back = (number, self.again(missing));
    }

    /// How often it was taken back on purpose, and how many messages it then had to deliver again.
    pub(super) fn taken_back(&self) -> (u64, u64) {
        self.taken_back
    }

    /// Messages that it had acknowledged before it was taken back, and not since.
    pub(super) fn again(&self, missing: &Missing) -> u64 {
        let behind = self.furthest.total.saturating_sub(self.acknowledged.total);
        let missing = |total| missing.after(total);
        let gone = missing(self.acknowledged.total).saturating_sub(missing(self.furthest.total));
        behind.saturating_sub(gone)
    }

    /// Messages that went before the sink could read them.
    pub(super) fn dropped(&self, missing: &Missing) -> u64 {
        if self.reading {
            return self.dropped_before_read;
        }
        self.settled + gap_sizes(&self.gaps, 0) + missing.after(self.read.total)
    }

    /// Stored messages that the sink has not acknowledged.
    pub(super) fn depth(&self, end: Position, missing: &Missing) -> u64 {
        let behind = end.total.saturating_sub(self.acknowledged.total);
        behind.saturating_sub(missing.after(self.acknowledged.total))
    }

    /// Messages that the sink has or had whose acknowledgement is not committed.
    pub(super) fn unjournaled(&self, committed: Position) -> u64 {
        let behind = self.read.total.saturating_sub(committed.total);
        behind.saturating_sub(gap_sizes(&self.gaps, committed.total))
    }
}

fn gap_sizes(gaps: &VecDeque<Gap>, behind: u64) -> u64 {
    let behind = gaps.iter().filter(|gap| gap.end > behind);
    behind.map(|gap| gap.size).sum()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn missing_agrees_with_a_set(
            steps in prop::collection::vec((any::<bool>(), 0..60_u64, 0..20_u64), 0..40)
        ) {
            let mut missing = Missing::default();
            let mut gone = BTreeSet::new();
            for (advance, from, length) in steps {
                if advance {
                    missing.advance(from);
                    gone.extend(0..from);
                } else {
                    missing.add(from, from + length);
                    gone.extend(from..from + length);
                }
                for total in 0..90 {
                    prop_assert_eq!(missing.after(total), gone.range(total..).count() as u64);
                }
            }
        }
    }
}
