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
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use super::{Position, Row};
use crate::monitor::{LinkId, LinkKind, SinkId};
use crate::telemetry::Timestamp;

/// Three numbers of eight bytes.
const LENGTH: usize = 24;

/// Sinks that have no name but their kind have a mark each at the beginning of the file, in this order.
const NAMELESS: [LinkKind; 2] = [LinkKind::Mqtt, LinkKind::Influxdb];

/// Behind those come entries, each a name of so many bytes, padded with zeros, and a mark.
const NAME: usize = 64;

/// Bytes of the file that are looked at: more sinks than anybody has.
const MOST: u64 = 64 << 10;

/// A row up to which a sink has acknowledged everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) end: Position,
    pub(super) received: Timestamp,
}

impl Mark {
    /// That of a sink that acknowledged nothing.
    pub(super) const NONE: Self = Self {
        end: Position {
            sequence: 0,
            total: 0,
        },
        received: Timestamp(0),
    };

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
pub(super) struct Marks(RwLock<Places>);

#[derive(Debug)]
struct Places {
    file: File,
    /// In the order of the journal's sinks.
    places: Vec<Place>,
}

/// Where a sink's mark is.
#[derive(Debug)]
struct Place {
    offset: u64,
    /// What stands before it, written together with it; nothing for a sink that needs no name.
    name: Vec<u8>,
}

impl Marks {
    /// The marks of some sinks in a file, which is perhaps empty.
    pub(super) fn new(file: File, sinks: &[SinkId]) -> io::Result<Self> {
        let places = places(&file, sinks)?;
        Ok(Self(RwLock::new(Places { file, places })))
    }

    /// From now on keeps them in another file, which is empty.
    pub(super) fn move_to(&self, file: File) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).file = file;
    }

    /// From now on keeps those of these sinks, in their order.
    pub(super) fn follow(&self, sinks: &[SinkId]) -> io::Result<()> {
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        kept.places = places(&kept.file, sinks)?;
        Ok(())
    }

    fn places(&self) -> RwLockReadGuard<'_, Places> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The mark of the sink at this place among those of the journal, if it ever made one.
    pub(super) fn get(&self, sink: usize) -> Option<Mark> {
        let Places { file, places } = &*self.places();
        let place = places.get(sink)?;
        let mut bytes = [0; LENGTH];
        let behind_name = place.offset + place.name.len() as u64;
        file.read_exact_at(&mut bytes, behind_name).ok()?;
        Some(Mark::from_bytes(bytes))
    }

    /// Sets a sink's mark.
    pub(super) fn set(&self, sink: usize, mark: Mark) -> io::Result<()> {
        let Places { file, places } = &*self.places();
        let Some(place) = places.get(sink) else {
            return Ok(());
        };
        if place.name.is_empty() {
            return file.write_all_at(&mark.to_bytes(), place.offset);
        }
        let entry = [&place.name[..], &mark.to_bytes()].concat();
        file.write_all_at(&entry, place.offset)
    }
}

/// Finds the place of each sink: a new one comes behind all that there are.
fn places(file: &File, sinks: &[SinkId]) -> io::Result<Vec<Place>> {
    const ENTRY: usize = NAME + LENGTH;
    const FIRST: usize = NAMELESS.len() * LENGTH;
    let mut bytes = Vec::new();
    (&*file).seek(SeekFrom::Start(0))?;
    file.take(MOST).read_to_end(&mut bytes)?;
    let entries = bytes.get(FIRST..).unwrap_or_default();
    let mut names: Vec<Vec<u8>> = entries
        .chunks(ENTRY)
        .map(|entry| entry[..entry.len().min(NAME)].to_vec())
        .collect();
    let place = |sink: &SinkId| {
        let nameless = NAMELESS.map(LinkId::only);
        if let Some(at) = nameless.iter().position(|link| link == sink.link()) {
            return Place {
                offset: (at * LENGTH) as u64,
                name: Vec::new(),
            };
        }
        let mut name = sink.as_str().as_bytes().to_vec();
        name.resize(NAME, 0);
        let found = names.iter().position(|known| *known == name);
        let at = found.unwrap_or_else(|| {
            names.push(name.clone());
            names.len() - 1
        });
        Place {
            offset: (FIRST + at * ENTRY) as u64,
            name,
        }
    };
    Ok(sinks.iter().map(place).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(sequence: u64, received: i64) -> Mark {
        Mark {
            end: Position {
                sequence,
                total: 9 * sequence,
            },
            received: Timestamp(received),
        }
    }

    #[test]
    fn each_sink_has_a_mark_of_its_own() {
        let sinks = [SinkId::mqtt(), SinkId::influxdb()];
        let marks = Marks::new(tempfile::tempfile().unwrap(), &sinks).unwrap();
        assert_eq!(marks.get(0), None);
        marks.set(1, mark(u64::MAX / 9, -1)).unwrap();
        marks.set(0, mark(7, i64::MAX)).unwrap();
        marks.set(0, mark(8, i64::MIN)).unwrap();
        assert_eq!(marks.get(0), Some(mark(8, i64::MIN)));
        assert_eq!(marks.get(1), Some(mark(u64::MAX / 9, -1)));
    }

    #[test]
    fn a_mark_is_found_by_its_sink_whatever_others_there_are() {
        let file = tempfile::tempfile().unwrap();
        let open = |sinks: &[SinkId]| Marks::new(file.try_clone().unwrap(), sinks).unwrap();
        let named = |kind, name| LinkId::new(kind, name).sink().unwrap();
        let (mqtt, influxdb) = (SinkId::mqtt(), SinkId::influxdb());
        let cloud = named(LinkKind::Mqtt, "cloud");
        let spare = named(LinkKind::Influxdb, "cloud");
        // As the file was before sinks had names.
        let plain = open(&[mqtt.clone(), influxdb.clone()]);
        plain.set(1, mark(3, 3)).unwrap();
        let more = open(&[cloud.clone(), spare.clone(), influxdb.clone()]);
        assert_eq!(more.get(0), None);
        assert_eq!(more.get(2), Some(mark(3, 3)));
        more.set(1, mark(5, 5)).unwrap();
        more.set(0, mark(4, 4)).unwrap();
        let other = open(&[spare, mqtt, cloud, influxdb]);
        assert_eq!(other.get(0), Some(mark(5, 5)));
        assert_eq!(other.get(2), Some(mark(4, 4)));
        assert_eq!(other.get(3), Some(mark(3, 3)));
    }
}
