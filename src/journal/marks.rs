//! How far each sink is, to its last acknowledgement.
//!
//! Acknowledgements are committed in groups: a commit for each would cost more than its delivery. So
//! that a gateway that is killed in between sends nothing again that was acknowledged, each one is
//! also written here, into the file that locks the journal. The system keeps that when the process
//! ends, however suddenly. It is never synced: after a power cut the database says how far a sink is.
//!
//! A mark is believed only if the row that it names is in the journal and was received at that very
//! time. So one that does not belong to the database, or is half-written, does no harm.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use super::{Position, Row};
use crate::monitor::SinkId;
use crate::telemetry::Timestamp;

/// Three numbers of eight bytes.
const LENGTH: usize = 24;

/// A row up to which a sink has acknowledged everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) end: Position,
    pub(super) received: Timestamp,
}

impl Mark {
    pub(super) fn of(row: &Row) -> Self {
        Self {
            end: row.end(),
            received: row.received,
        }
    }

    fn to_bytes(self) -> [u8; LENGTH] {
        let numbers = [
            self.end.sequence.to_le_bytes(),
            self.end.total.to_le_bytes(),
            self.received.0.to_le_bytes(),
        ];
        let mut bytes = [0; LENGTH];
        for (place, number) in bytes.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number);
        }
        bytes
    }

    fn from_bytes(bytes: [u8; LENGTH]) -> Self {
        let mut numbers = bytes.chunks_exact(8).map(|bytes| {
            let mut number = [0; 8];
            number.copy_from_slice(bytes);
            number
        });
        let mut next = || numbers.next().unwrap_or_default();
        Self {
            end: Position {
                sequence: u64::from_le_bytes(next()),
                total: u64::from_le_bytes(next()),
            },
            received: Timestamp(i64::from_le_bytes(next())),
        }
    }
}

/// The marks of all sinks.
#[derive(Debug)]
pub(super) struct Marks(RwLock<File>);

impl Marks {
    /// Marks in a file, which is perhaps empty.
    pub(super) fn new(file: File) -> Self {
        Self(RwLock::new(file))
    }

    /// From now on keeps them in another file.
    pub(super) fn move_to(&self, file: File) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = file;
    }

    fn file(&self) -> RwLockReadGuard<'_, File> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// A sink's mark, if it ever made one.
    pub(super) fn get(&self, sink: SinkId) -> Option<Mark> {
        let mut bytes = [0; LENGTH];
        self.file().read_exact_at(&mut bytes, offset(sink)).ok()?;
        Some(Mark::from_bytes(bytes))
    }

    /// Sets a sink's mark.
    pub(super) fn set(&self, sink: SinkId, mark: Mark) -> io::Result<()> {
        self.file().write_all_at(&mark.to_bytes(), offset(sink))
    }
}

fn offset(sink: SinkId) -> u64 {
    (sink as usize * LENGTH) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sink_has_a_mark_of_its_own() {
        let marks = Marks::new(tempfile::tempfile().unwrap());
        let mark = |sequence, received| Mark {
            end: Position {
                sequence,
                total: 9 * sequence,
            },
            received: Timestamp(received),
        };
        assert_eq!(marks.get(SinkId::Mqtt), None);
        marks.set(SinkId::Influxdb, mark(u64::MAX / 9, -1)).unwrap();
        marks.set(SinkId::Mqtt, mark(7, i64::MAX)).unwrap();
        marks.set(SinkId::Mqtt, mark(8, i64::MIN)).unwrap();
        assert_eq!(marks.get(SinkId::Mqtt), Some(mark(8, i64::MIN)));
        assert_eq!(marks.get(SinkId::Influxdb), Some(mark(u64::MAX / 9, -1)));
    }
}
