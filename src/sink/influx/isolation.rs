//! Which points of a batch a server does not want, and whether it is about the points at all. Pure.
//!
//! A part that is refused is halved until the bad points stand alone. A server that has something
//! against every write, a wrong organisation for one, often says so with 400 as well. So when single
//! points from all over the batch are refused with the words of the whole and none was taken, it is not
//! about them.

use std::ops::Range;

use super::answer::Rejected;

/// So many single points, refused with the words of the whole, stand for all.
const SAMPLES: usize = 6;

/// The search through one batch.
#[derive(Debug)]
pub(super) struct Isolation {
    /// The parts still to be written, the next one last.
    parts: Vec<Range<usize>>,
    /// What the server said to the first part that it refused.
    words: Option<String>,
    is_any_taken: bool,
    /// Single points refused with the words of the whole.
    suspects: Vec<usize>,
    rejected: Vec<(usize, String)>,
    random: fastrand::Rng,
}

/// What a refused part comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The search goes on.
    Open,
    /// All points of the part are rejected for good.
    Rejected,
    /// Every write is refused, whatever is in it.
    Configuration,
}

impl Isolation {
    /// A batch of so many points, in writes of at most `limit`.
    pub(super) fn new(points: usize, limit: usize) -> Self {
        let starts = (0..points).step_by(limit.max(1));
        let mut parts: Vec<_> = starts
            .map(|start| start..points.min(start.saturating_add(limit)))
            .collect();
        parts.reverse();
        Self {
            parts,
            words: None,
            is_any_taken: false,
            suspects: Vec::new(),
            rejected: Vec::new(),
            random: fastrand::Rng::new(),
        }
    }

    /// The part to write next.
    pub(super) fn next_part(&mut self) -> Option<Range<usize>> {
        self.parts.pop()
    }

    /// The server took a part.
    pub(super) fn taken(&mut self) {
        self.is_any_taken = true;
        let words = self.words.clone().unwrap_or_default();
        let suspects = self.suspects.drain(..);
        self.rejected
            .extend(suspects.map(|point| (point, words.clone())));
    }

    /// The server does not take a part of this size.
    pub(super) fn too_large(&mut self, part: Range<usize>, reason: &str) -> Verdict {
        if part.len() > 1 {
            self.parts.extend(halves(part));
            Verdict::Open
        } else {
            self.reject(part, reason)
        }
    }

    /// The server refused a part.
    pub(super) fn bad(&mut self, part: Range<usize>, answer: Rejected) -> Verdict {
        let Rejected {
            reason,
            is_about_points,
            dropped,
        } = answer;
        let words = self.words.get_or_insert_with(|| reason.clone());
        let is_of_the_whole = *words == reason;
        if dropped.is_some_and(|dropped| dropped >= part.len()) {
            return self.reject(part, &reason);
        }
        if part.len() > 1 {
            self.parts.extend(halves(part));
            return Verdict::Open;
        }
        if is_about_points || self.is_any_taken || !is_of_the_whole {
            return self.reject(part, &reason);
        }
        self.suspects.push(part.start);
        if self.suspects.len() >= SAMPLES || self.parts.is_empty() {
            return Verdict::Configuration;
        }
        self.sample();
        Verdict::Open
    }

    /// The points that are rejected for good, and why, in their order.
    pub(super) fn into_rejected(mut self) -> Vec<(usize, String)> {
        self.rejected.sort_unstable_by_key(|(point, _)| *point);
        self.rejected
    }

    fn reject(&mut self, part: Range<usize>, reason: &str) -> Verdict {
        self.rejected
            .extend(part.map(|point| (point, reason.to_owned())));
        Verdict::Rejected
    }

    /// Makes a point from the largest part the next one.
    fn sample(&mut self) {
        let largest = (0..self.parts.len()).max_by_key(|index| self.parts[*index].len());
        let Some(index) = largest else { return };
        let part = self.parts[index].clone();
        let point = self.random.usize(part.clone());
        let around = [point + 1..part.end, part.start..point];
        let around = around.into_iter().filter(|part| !part.is_empty());
        self.parts.splice(index..=index, around);
        self.parts.push(point..point + 1);
    }
}

/// The second half first: the next part is taken from the end.
fn halves(part: Range<usize>) -> [Range<usize>; 2] {
    let middle = part.start + part.len() / 2;
    [middle..part.end, part.start..middle]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a batch to a server; returns how many writes it took, the verdict, and what was
    /// rejected.
    fn write(
        points: usize,
        limit: usize,
        server: impl Fn(&Range<usize>) -> Option<Rejected>,
    ) -> (usize, Verdict, Vec<(usize, String)>) {
        let mut isolation = Isolation::new(points, limit);
        let mut writes = 0;
        let mut seen = vec![0; points];
        while let Some(part) = isolation.next_part() {
            writes += 1;
            assert!(!part.is_empty() && part.len() <= limit);
            match server(&part) {
                None => {
                    part.for_each(|point| seen[point] += 1);
                    isolation.taken();
                }
                Some(rejected) => {
                    if isolation.bad(part, rejected) == Verdict::Configuration {
                        return (writes, Verdict::Configuration, Vec::new());
                    }
                }
            }
        }
        let rejected = isolation.into_rejected();
        for (point, _) in &rejected {
            seen[*point] += 1;
        }
        assert!(seen.iter().all(|seen| *seen == 1), "each once: {seen:?}");
        (writes, Verdict::Open, rejected)
    }

    fn no(reason: &str, is_about_points: bool, dropped: Option<usize>) -> Rejected {
        Rejected {
            reason: reason.into(),
            is_about_points,
            dropped,
        }
    }

    #[test]
    fn every_write_refused_alike_is_no_matter_of_points() {
        for points in [1, 2, 3, 10, 5_000] {
            let (writes, verdict, _) =
                write(points, 5_000, |_| Some(no("Bad Request", false, None)));
            assert_eq!(verdict, Verdict::Configuration, "{points}");
            assert!(writes <= 13 + SAMPLES, "{writes}");
        }
    }

    #[test]
    fn bad_points_are_found_whatever_the_words_are() {
        for is_about_points in [false, true] {
            for bad in [
                vec![0],
                vec![4_999],
                vec![0, 1, 2, 3],
                vec![7, 2_500, 4_000],
            ] {
                let (writes, verdict, rejected) = write(5_000, 5_000, |part| {
                    let has_bad = bad.iter().any(|point| part.contains(point));
                    has_bad.then(|| no("bad", is_about_points, None))
                });
                let found: Vec<usize> = rejected.iter().map(|(point, _)| *point).collect();
                assert_eq!((verdict, found), (Verdict::Open, bad));
                assert!(writes < 100, "{writes}");
            }
        }
    }

    #[test]
    fn points_that_are_all_bad_by_the_words_are_rejected() {
        let (_, verdict, rejected) = write(12, 5, |_| Some(no("beyond retention", true, None)));
        assert_eq!((verdict, rejected.len()), (Verdict::Open, 12));
        let (writes, _, rejected) = write(5_000, 5_000, |part| {
            Some(no("partial write", true, Some(part.len())))
        });
        assert_eq!((writes, rejected.len()), (1, 5_000));
        // Words of its own for each point are about it.
        let (_, verdict, rejected) =
            write(12, 12, |part| Some(no(&format!("{part:?}"), false, None)));
        assert_eq!((verdict, rejected.len()), (Verdict::Open, 12));
    }

    #[test]
    fn a_batch_is_written_in_parts_of_the_limit() {
        let (writes, _, _) = write(10, 3, |_| None);
        assert_eq!(writes, 4);
        let (writes, _, _) = write(10, usize::MAX, |_| None);
        assert_eq!(writes, 1);
        assert!(Isolation::new(0, 3).next_part().is_none());
    }
}
