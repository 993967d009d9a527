//! The last entries of one kind, as a gateway numbers them.

use std::collections::VecDeque;

use crate::monitor::{Numbered, Weighed};

/// Keeps the last entries. Numbers only rise, also when the gateway restarts and counts from 0 again.
pub(super) struct Feed<T> {
    entries: VecDeque<Numbered<T>>,
    /// What is added to the gateway's numbers.
    offset: u64,
    /// The lowest number that the next entry can have.
    next: u64,
    weight: usize,
    max_entries: usize,
    max_weight: usize,
}

impl<T: Weighed + Clone> Feed<T> {
    pub(super) fn new((max_entries, max_weight): (usize, usize)) -> Self {
        Self {
            entries: VecDeque::new(),
            offset: 0,
            next: 0,
            weight: 0,
            max_entries,
            max_weight,
        }
    }

    /// The gateway restarted: its numbers begin at 0 again.
    pub(super) fn restart(&mut self) {
        self.offset = self.next;
    }

    /// Takes what came; entries that came before are left out.
    pub(super) fn take(&mut self, entries: Vec<Numbered<T>>) {
        for Numbered { number, entry } in entries {
            let number = self.offset.saturating_add(number);
            if number < self.next {
                continue;
            }
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

    /// The entries from this number on that are still there.
    pub(super) fn since(&self, number: u64) -> Vec<Numbered<T>> {
        let first = self.entries.partition_point(|entry| entry.number < number);
        self.entries.range(first..).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, PartialEq)]
    struct Word(&'static str);

    impl Weighed for Word {
        fn weight(&self) -> usize {
            self.0.len()
        }
    }

    fn entries(numbers: &[u64]) -> Vec<Numbered<Word>> {
        let entry = Word("ab");
        let numbered = numbers.iter().map(|number| Numbered {
            number: *number,
            entry: entry.clone(),
        });
        numbered.collect()
    }

    fn numbers(feed: &Feed<Word>, from: u64) -> Vec<u64> {
        feed.since(from).iter().map(|entry| entry.number).collect()
    }

    #[test]
    fn what_comes_again_is_left_out_and_gaps_stay() {
        let mut feed = Feed::new((10, 100));
        feed.take(entries(&[5, 6]));
        feed.take(entries(&[5, 6, 9]));
        assert_eq!(numbers(&feed, 0), [5, 6, 9]);
        assert_eq!(numbers(&feed, 7), [9]);
        assert_eq!(numbers(&feed, 10), [] as [u64; 0]);
    }

    #[test]
    fn numbers_go_on_when_the_gateway_begins_anew() {
        let mut feed = Feed::new((10, 100));
        feed.take(entries(&[0, 1, 2]));
        feed.restart();
        feed.take(entries(&[0, 1]));
        assert_eq!(numbers(&feed, 3), [3, 4]);
        feed.take(entries(&[0, 1, 2]));
        assert_eq!(numbers(&feed, 3), [3, 4, 5]);
    }

    #[test]
    fn memory_is_bounded_by_number_and_weight() {
        for bounds in [(3, 100), (100, 7)] {
            let mut feed = Feed::new(bounds);
            feed.take(entries(&(0..50).collect::<Vec<_>>()));
            assert_eq!(numbers(&feed, 0), [47, 48, 49]);
        }
    }
}
