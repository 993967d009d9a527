//! Packets that are missing, by the numbers that nodes give them.

use std::collections::HashMap;

/// Nodes whose numbers are remembered; damage makes up more.
const MAX_NODES: usize = 1024;

/// More than so many at once are no losses: the number itself is another one.
const LARGEST_GAP: u64 = 10_000;

/// Counts what is missing. A gap counts once the next packet goes on behind it: a damaged number is
/// followed by the right one again, and a node that restarted begins anew.
#[derive(Debug, Default)]
pub struct Losses {
    nodes: HashMap<String, Numbers>,
    /// What is known to be missing, by node.
    missed: Vec<(String, u64)>,
}

#[derive(Debug)]
struct Numbers {
    last: u64,
    gap: u64,
}

impl Losses {
    /// Takes the number of a node's next packet.
    pub fn observe(&mut self, node: &str, number: u64) {
        let Some(numbers) = self.nodes.get_mut(node) else {
            if self.nodes.len() < MAX_NODES {
                let numbers = Numbers {
                    last: number,
                    gap: 0,
                };
                self.nodes.insert(node.to_owned(), numbers);
            }
            return;
        };
        if number > numbers.last {
            if numbers.gap > 0 {
                self.missed.push((node.to_owned(), numbers.gap));
            }
            let gap = number - numbers.last - 1;
            numbers.gap = if gap <= LARGEST_GAP { gap } else { 0 };
        } else if number < numbers.last {
            numbers.gap = 0;
        }
        numbers.last = number;
    }

    /// Nothing more will come: what is missing stays so.
    pub fn finish(&mut self) {
        for (node, numbers) in &mut self.nodes {
            if numbers.gap > 0 {
                let gap = std::mem::take(&mut numbers.gap);
                self.missed.push((node.clone(), gap));
            }
        }
    }

    /// Packets that are known to be missing since this was asked last, by node.
    pub fn take_missed(&mut self) -> Vec<(String, u64)> {
        std::mem::take(&mut self.missed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missed(numbers: &[u64]) -> u64 {
        let mut losses = Losses::default();
        for number in numbers {
            losses.observe("a", *number);
            losses.observe("b", 7);
        }
        losses.finish();
        losses.take_missed().iter().map(|(_, missed)| missed).sum()
    }

    #[test]
    fn gaps_are_losses_once_they_are_confirmed() {
        assert_eq!(missed(&[5, 6, 7]), 0);
        assert_eq!(missed(&[5, 8, 9]), 2);
        assert_eq!(missed(&[5, 8]), 2);
        // The same again, a damaged number, a restart, a number that wraps, another kind of number.
        assert_eq!(missed(&[5, 5, 6]), 0);
        assert_eq!(missed(&[5, 900, 7, 8]), 0);
        assert_eq!(missed(&[900, 0, 1]), 0);
        assert_eq!(missed(&[254, 255, 0, 1]), 0);
        assert_eq!(missed(&[5, 4_000_000_000, 4_000_000_001]), 0);
    }

    #[test]
    fn nodes_are_bounded() {
        let mut losses = Losses::default();
        for node in 0..5000 {
            losses.observe(&node.to_string(), 1);
        }
        assert_eq!(losses.nodes.len(), MAX_NODES);
    }
}
