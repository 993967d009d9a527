//! The last of many: what is kept of a stream that never ends, in bounded memory.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

/// Entries that a ring keeps unless told otherwise: some minutes of a gateway, a tenth of a second of
/// the fastest stream.
const MAX_ENTRIES: usize = 2_048;

/// Bytes that it keeps.
const MAX_WEIGHT: usize = 512 << 10;

/// An entry with its number in the stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbered<T> {
    /// Counts all entries there ever were, from 0.
    pub number: u64,
    /// The entry.
    pub entry: T,
}

/// Something whose memory a ring accounts for.
pub trait Weighed {
    /// Roughly its bytes on the heap.
    fn weight(&self) -> usize;
}

/// The last entries of a stream, bounded in number and weight. Numbers only rise, also where those of
/// whoever counts begin at 0 again.
#[derive(Debug, Clone)]
pub struct Ring<T> {
    entries: VecDeque<Numbered<T>>,
    /// What is added to the numbers of entries that come with one.
    offset: u64,
    next: u64,
    weight: usize,
    max_entries: usize,
    max_weight: usize,
}

impl<T> Default for Ring<T> {
    fn default() -> Self {
        Self::new(MAX_ENTRIES, MAX_WEIGHT)
    }
}

impl<T> Ring<T> {
    /// An empty ring with its bounds.
    pub fn new(max_entries: usize, max_weight: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            offset: 0,
            next: 0,
            weight: 0,
            max_entries,
            max_weight,
        }
    }

    /// The lowest number that the next entry can have.
    pub fn next_number(&self) -> u64 {
        self.next
    }

    /// The entries, the oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Numbered<T>> {
        self.entries.iter()
    }

    /// The entry with a number, if it is still there.
    pub fn get(&self, number: u64) -> Option<&T> {
        let found = &self.entries.get(self.position(number))?;
        (found.number == number).then_some(&found.entry)
    }

    /// Says that whoever numbers the entries begins at 0 again.
    pub fn restart(&mut self) {
        self.offset = self.next;
    }

    /// Forgets the entries; their numbers are not given again.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.weight = 0;
    }

    fn position(&self, number: u64) -> usize {
        self.entries.partition_point(|entry| entry.number < number)
    }
}

impl<T: Weighed> Ring<T> {
    /// Adds an entry under the next number; the oldest ones go.
    pub fn push(&mut self, entry: T) {
        self.put(self.next, entry);
    }

    /// Takes entries that were numbered elsewhere, but for those that came before. Says whether there
    /// were any.
    pub fn take(&mut self, entries: Vec<Numbered<T>>) -> bool {
        let before = self.next;
        for Numbered { number, entry } in entries {
            let number = self.offset.saturating_add(number);
            if number >= self.next {
                self.put(number, entry);
            }
        }
        self.next > before
    }

    fn put(&mut self, number: u64, entry: T) {
        self.next = number.saturating_add(1);
        self.weight += entry.weight();
        self.entries.push_back(Numbered { number, entry });
        while self.entries.len() > self.max_entries || self.weight > self.max_weight {
            let Some(oldest) = self.entries.pop_front() else {
                break;
            };
            self.weight -= oldest.entry.weight();
        }
    }
}

impl<T> Ring<T> {
    /// The entry with a number, if it is still there, to change it. Its weight must stay.
    pub fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        let position = self.position(number);
        let found = self.entries.get_mut(position)?;
        (found.number == number).then_some(&mut found.entry)
    }
}

impl<T: Clone> Ring<T> {
    /// The entries from this number on that are still there. A first number above the one asked for
    /// says that some are gone.
    pub fn since(&self, number: u64) -> Vec<Numbered<T>> {
        self.entries
            .range(self.position(number)..)
            .cloned()
            .collect()
    }
}

/// A ring that several threads write to and read.
#[derive(Debug)]
pub struct SharedRing<T>(Mutex<Ring<T>>);

impl<T> Default for SharedRing<T> {
    fn default() -> Self {
        Self::new(Ring::default())
    }
}

impl<T> SharedRing<T> {
    /// Shares a ring.
    pub fn new(ring: Ring<T>) -> Self {
        Self(Mutex::new(ring))
    }

    fn lock(&self) -> MutexGuard<'_, Ring<T>> {
        // Only `weight()` of an entry could panic, and no implementation does.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Weighed + Clone> SharedRing<T> {
    /// Adds an entry; the oldest ones go. Returns its number.
    pub fn push(&self, entry: T) -> u64 {
        let mut ring = self.lock();
        ring.push(entry);
        ring.next - 1
    }

    /// Adds an entry about an earlier one, as long as that is there; `entry` is told how many entries
    /// it lies back.
    pub fn push_about(&self, number: u64, entry: impl FnOnce(u64) -> T) {
        let mut ring = self.lock();
        if ring.get(number).is_some() {
            let back = ring.next - number;
            ring.push(entry(back));
        }
    }

    /// The entries from this number on that are still there.
    pub fn since(&self, number: u64) -> Vec<Numbered<T>> {
        self.lock().since(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Weighed for &str {
        fn weight(&self) -> usize {
            self.len()
        }
    }

    fn entries(numbers: &[u64]) -> Vec<Numbered<&'static str>> {
        let numbered = numbers.iter().map(|number| Numbered {
            number: *number,
            entry: "ab",
        });
        numbered.collect()
    }

    fn numbers(ring: &Ring<&str>, from: u64) -> Vec<u64> {
        ring.since(from).iter().map(|entry| entry.number).collect()
    }

    #[test]
    fn the_oldest_entries_go_and_numbers_stay() {
        let mut ring = Ring::new(3, 6);
        for entry in ["a", "b", "c", "d"] {
            ring.push(entry);
        }
        let numbers = |ring: &Ring<&'static str>, from| -> Vec<_> {
            let entries = ring.since(from).into_iter();
            entries.map(|it| (it.number, it.entry)).collect()
        };
        assert_eq!(numbers(&ring, 0), [(1, "b"), (2, "c"), (3, "d")]);
        assert_eq!(numbers(&ring, 3), [(3, "d")]);
        assert_eq!(numbers(&ring, 4), []);
        ring.push("heavy");
        assert_eq!(numbers(&ring, 0), [(3, "d"), (4, "heavy")]);
        ring.push("too heavy");
        assert_eq!(numbers(&ring, 0), []);
        assert_eq!(ring.next_number(), 6);
        ring.push("last");
        ring.clear();
        assert_eq!(numbers(&ring, 0), []);
        ring.push("next");
        assert_eq!(numbers(&ring, 0), [(7, "next")]);
    }

    #[test]
    fn what_comes_again_is_left_out_and_gaps_stay() {
        let mut ring = Ring::new(10, 100);
        assert!(ring.take(entries(&[5, 6])));
        assert!(ring.take(entries(&[5, 6, 9])));
        assert!(!ring.take(entries(&[9])));
        assert_eq!(numbers(&ring, 0), [5, 6, 9]);
        assert_eq!(numbers(&ring, 7), [9]);
        assert_eq!(numbers(&ring, 10), [] as [u64; 0]);
        assert_eq!((ring.get(6), ring.get(7)), (Some(&"ab"), None));
    }

    #[test]
    fn numbers_go_on_when_whoever_counts_begins_anew() {
        let mut ring = Ring::new(10, 100);
        ring.take(entries(&[0, 1, 2]));
        ring.restart();
        ring.take(entries(&[0, 1]));
        assert_eq!(numbers(&ring, 3), [3, 4]);
        ring.take(entries(&[0, 1, 2]));
        assert_eq!(numbers(&ring, 3), [3, 4, 5]);
    }

    #[test]
    fn memory_is_bounded_by_number_and_weight() {
        for (max_entries, max_weight) in [(3, 100), (100, 7)] {
            let mut ring = Ring::new(max_entries, max_weight);
            ring.take(entries(&(0..50).collect::<Vec<_>>()));
            assert_eq!(numbers(&ring, 0), [47, 48, 49]);
        }
    }

    #[test]
    fn a_ring_is_bounded_unless_told_otherwise_and_knows_what_comes_next() {
        let mut ring = Ring::default();
        let many: Vec<u64> = (0..5_000).collect();
        assert!(ring.take(entries(&many)));
        assert!(!ring.take(Vec::new()));
        assert_eq!(ring.next_number(), 5_000);
        assert_eq!(ring.iter().count(), MAX_ENTRIES);
        assert_eq!(ring.get(4_999), Some(&"ab"));
        assert_eq!(ring.get(0), None);
    }
}
