//! The last of many: what a screen shows of a stream that never ends, in bounded memory.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

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

/// Keeps the last entries of a stream, bounded in number and weight.
#[derive(Debug)]
pub struct Ring<T> {
    inner: Mutex<Inner<T>>,
    max_entries: usize,
    max_weight: usize,
}

#[derive(Debug)]
struct Inner<T> {
    entries: VecDeque<T>,
    /// The number of the next entry.
    next: u64,
    weight: usize,
}

impl<T: Weighed + Clone> Ring<T> {
    /// An empty ring with its bounds.
    pub fn new(max_entries: usize, max_weight: usize) -> Self {
        let inner = Inner {
            entries: VecDeque::new(),
            next: 0,
            weight: 0,
        };
        Self {
            inner: Mutex::new(inner),
            max_entries,
            max_weight,
        }
    }

    /// Adds an entry; the oldest ones go.
    pub fn push(&self, entry: T) {
        let mut inner = self.lock();
        inner.weight += entry.weight();
        inner.next += 1;
        inner.entries.push_back(entry);
        while inner.entries.len() > self.max_entries || inner.weight > self.max_weight {
            let Some(oldest) = inner.entries.pop_front() else {
                break;
            };
            inner.weight -= oldest.weight();
        }
    }

    /// The entries from this number on that are still there. A first number above the one asked for
    /// says that some are gone.
    pub fn since(&self, number: u64) -> Vec<Numbered<T>> {
        let inner = self.lock();
        let first = inner.next - inner.entries.len() as u64;
        let gone = usize::try_from(number.saturating_sub(first)).unwrap_or(usize::MAX);
        let entries = inner.entries.iter().cloned();
        (first..)
            .zip(entries)
            .skip(gone)
            .map(|(number, entry)| Numbered { number, entry })
            .collect()
    }

    /// The number that the next entry will have.
    pub fn next_number(&self) -> u64 {
        self.lock().next
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        // Only `weight()` of an entry could panic, and no implementation does.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
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

    #[test]
    fn the_oldest_entries_go_and_numbers_stay() {
        let ring = Ring::new(3, 6);
        for entry in ["a", "b", "c", "d"] {
            ring.push(entry);
        }
        let numbers = |from| -> Vec<_> {
            let entries = ring.since(from).into_iter();
            entries.map(|it| (it.number, it.entry)).collect()
        };
        assert_eq!(numbers(0), [(1, "b"), (2, "c"), (3, "d")]);
        assert_eq!(numbers(3), [(3, "d")]);
        assert_eq!(numbers(4), []);
        ring.push("heavy");
        assert_eq!(numbers(0), [(3, "d"), (4, "heavy")]);
        ring.push("too heavy");
        assert_eq!(numbers(0), []);
        assert_eq!(ring.next_number(), 6);
    }
}
