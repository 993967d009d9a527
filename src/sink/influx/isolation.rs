//! Which points of a batch a server does not want, and whether it is about the points at all. Pure.
//!
//! A part that is refused is divided until the bad points stand alone or their part is bad as a whole.
//! What is wrong is mostly a range of times, a node or a metric: so when a half by one of them has the same
//! share of bad points as the whole, by the server's own count, it is divided by the next one, and bad
//! points that lie between good ones everywhere cost a few writes and not one each.
//!
//! A server that has something against every write, a wrong organisation for one, often says so with
//! 400 as well. So when single points from all over the batch are refused with the words of the whole and
//! none was taken, it is not about them.

use super::answer::Rejected;
use crate::telemetry::Reading;

/// So many single points, refused with the words of the whole, stand for all.
const SAMPLES: usize = 6;

/// Shares are alike that differ by less than one part in so many.
const LIKENESS: usize = 10;

/// The search through one batch.
pub(super) struct Isolation<'a> {
    reading: Box<dyn Fn(usize) -> &'a Reading + Send + 'a>,
    /// The parts still to be written, the next one last.
    parts: Vec<Part>,
    /// What the server said to the first part that it refused.
    words: Option<String>,
    is_any_taken: bool,
    /// Single points refused with the words of the whole.
    suspects: Vec<usize>,
    rejected: Vec<(usize, String)>,
    random: fastrand::Rng,
}

/// Points that are written together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// In the order of the batch, at least one.
    pub(super) points: Vec<usize>,
    /// By what it was divided from others.
    axis: Axis,
    /// How many points the server dropped of the part that it is of, and of how many, if it said so.
    of: Option<Dropped>,
}

/// How many points of a part the server dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Dropped {
    points: usize,
    of: usize,
}

impl Dropped {
    /// Whether another part may have the same shares of bad and of good points.
    fn is_like(self, other: Self) -> bool {
        let are_alike = |here: usize, there: usize| {
            let (here, there) = (here * other.of, there * self.of);
            here.abs_diff(there) * LIKENESS < here
        };
        are_alike(self.points, other.points)
            && are_alike(self.of - self.points, other.of - other.points)
    }
}

/// By what points are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Axis {
    Time,
    Node,
    Metric,
}

/// What a refused part comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SearchState {
    /// The search goes on.
    Open,
    /// All points of the part are rejected for good.
    Rejected,
    /// Every write is refused, whatever is in it.
    Configuration,
}

impl Axis {
    fn next(self) -> Self {
        match self {
            Self::Time => Self::Node,
            Self::Node => Self::Metric,
            Self::Metric => Self::Time,
        }
    }

    fn name_of(self, reading: &Reading) -> &str {
        match self {
            Self::Time => "",
            Self::Node => reading.node.as_str(),
            Self::Metric => reading.metric.as_str(),
        }
    }
}

impl<'a> Isolation<'a> {
    /// A batch of so many points, in writes of at most `limit`; `reading` is what a point says.
    pub(super) fn new(
        points: usize,
        limit: usize,
        reading: impl Fn(usize) -> &'a Reading + Send + 'a,
    ) -> Self {
        let starts = (0..points).step_by(limit.max(1));
        let mut parts: Vec<_> = starts
            .map(|start| (start..points.min(start.saturating_add(limit))).collect())
            .map(|points| Part {
                points,
                axis: Axis::Time,
                of: None,
            })
            .collect();
        parts.reverse();
        Self {
            reading: Box::new(reading),
            parts,
            words: None,
            is_any_taken: false,
            suspects: Vec::new(),
            rejected: Vec::new(),
            random: fastrand::Rng::new(),
        }
    }

    /// The part to write next.
    pub(super) fn next_part(&mut self) -> Option<Part> {
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
    pub(super) fn too_large(&mut self, part: &Part, reason: &str) -> SearchState {
        let middle = part.points.len() / 2;
        if middle == 0 {
            return self.reject(part, reason);
        }
        let (first, second) = part.points.split_at(middle);
        let halves = [second, first].map(|half| Part {
            points: half.to_vec(),
            ..*part
        });
        self.parts.extend(halves);
        SearchState::Open
    }

    /// The server refused a part.
    pub(super) fn bad(&mut self, part: &Part, answer: Rejected) -> SearchState {
        let Rejected {
            reason,
            is_about_points,
            dropped,
        } = answer;
        let words = self.words.get_or_insert_with(|| reason.clone());
        let is_of_the_whole = *words == reason;
        if dropped.is_some_and(|dropped| dropped >= part.points.len()) {
            return self.reject(part, &reason);
        }
        let [point] = part.points[..] else {
            self.divide(part, dropped);
            return SearchState::Open;
        };
        if is_about_points || self.is_any_taken || !is_of_the_whole {
            return self.reject(part, &reason);
        }
        self.suspects.push(point);
        if self.suspects.len() >= SAMPLES || self.parts.is_empty() {
            return SearchState::Configuration;
        }
        self.sample();
        SearchState::Open
    }

    /// The points that are rejected for good, and why, in their order.
    pub(super) fn into_rejected(mut self) -> Vec<(usize, String)> {
        self.rejected.sort_unstable_by_key(|(point, _)| *point);
        self.rejected
    }

    fn reject(&mut self, part: &Part, reason: &str) -> SearchState {
        let points = part.points.iter();
        self.rejected
            .extend(points.map(|point| (*point, reason.to_owned())));
        SearchState::Rejected
    }

    /// Divides a part, by another axis than before if that told nothing.
    fn divide(&mut self, part: &Part, dropped: Option<usize>) {
        let dropped = dropped.map(|points| Dropped {
            points,
            of: part.points.len(),
        });
        let told_nothing = dropped
            .zip(part.of)
            .is_some_and(|(here, of)| here.is_like(of));
        let first = if told_nothing {
            part.axis.next()
        } else {
            part.axis
        };
        let axes = [first, first.next(), first.next().next()].into_iter();
        let mut halves = axes.filter_map(|axis| Some((axis, self.halves(&part.points, axis)?)));
        // By times every part can be halved.
        if let Some((axis, [first, second])) = halves.next() {
            self.parts.extend([second, first].map(|points| Part {
                points,
                axis,
                of: dropped,
            }));
        }
    }

    /// Two parts, of names of their own if it is by names, as equal as that allows. `None`: there is
    /// but one.
    fn halves(&self, points: &[usize], axis: Axis) -> Option<[Vec<usize>; 2]> {
        let name = |point: &usize| axis.name_of((self.reading)(*point));
        let mut sorted = points.to_vec();
        sorted.sort_by_key(name);
        let middle = sorted.len() / 2;
        let border = match axis {
            Axis::Time => Some(middle),
            Axis::Node | Axis::Metric => {
                let borders = (1..sorted.len())
                    .filter(|border| name(&sorted[border - 1]) != name(&sorted[*border]));
                borders.min_by_key(|border| border.abs_diff(middle))
            }
        };
        let mut second = sorted.split_off(border.filter(|border| *border > 0)?);
        sorted.sort_unstable();
        second.sort_unstable();
        Some([sorted, second])
    }

    /// Makes a point from the largest part the next one.
    fn sample(&mut self) {
        let largest = (0..self.parts.len()).max_by_key(|index| self.parts[*index].points.len());
        let Some(index) = largest else { return };
        let mut part = self.parts.remove(index);
        let point = part.points.remove(self.random.usize(..part.points.len()));
        let sample = Part {
            points: vec![point],
            ..part
        };
        if !part.points.is_empty() {
            self.parts.insert(index, part);
        }
        self.parts.push(sample);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: usize = 8;
    const METRICS: usize = 3;

    /// Readings of several nodes and metrics by turns.
    fn readings(count: usize) -> Vec<Reading> {
        let reading = |number| Reading {
            node: format!("node{}", number / METRICS % NODES).as_str().into(),
            metric: format!("metric{}", number % METRICS).as_str().into(),
            value: 1.0,
        };
        (0..count).map(reading).collect()
    }

    /// Writes a batch to a server; returns how many writes it took, the state, and what was
    /// rejected.
    fn write(
        points: usize,
        limit: usize,
        server: impl Fn(&[usize]) -> Option<Rejected>,
    ) -> (usize, SearchState, Vec<(usize, String)>) {
        let readings = readings(points);
        let mut isolation = Isolation::new(points, limit, |point| &readings[point]);
        let mut writes = 0;
        let mut seen = vec![0; points];
        while let Some(part) = isolation.next_part() {
            writes += 1;
            assert!(!part.points.is_empty() && part.points.len() <= limit);
            assert!(part.points.is_sorted());
            match server(&part.points) {
                None => {
                    part.points.iter().for_each(|point| seen[*point] += 1);
                    isolation.taken();
                }
                Some(rejected) => {
                    if isolation.bad(&part, rejected) == SearchState::Configuration {
                        return (writes, SearchState::Configuration, Vec::new());
                    }
                }
            }
        }
        let rejected = isolation.into_rejected();
        for (point, _) in &rejected {
            seen[*point] += 1;
        }
        assert!(seen.iter().all(|seen| *seen == 1), "each once: {seen:?}");
        (writes, SearchState::Open, rejected)
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
            let (writes, state, _) = write(points, 5_000, |_| Some(no("Bad Request", false, None)));
            assert_eq!(state, SearchState::Configuration, "{points}");
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
                let (writes, state, rejected) = write(5_000, 5_000, |part| {
                    let has_bad = bad.iter().any(|point| part.contains(point));
                    has_bad.then(|| no("bad", is_about_points, None))
                });
                let found: Vec<usize> = rejected.iter().map(|(point, _)| *point).collect();
                assert_eq!((state, found), (SearchState::Open, bad));
                assert!(writes < 100, "{writes}");
            }
        }
    }

    type IsBad = fn(usize) -> bool;

    #[test]
    fn bad_points_of_one_kind_cost_few_writes() {
        let kinds: [(&str, IsBad); 6] = [
            ("a node", |point| point / METRICS % NODES == 3),
            ("some nodes", |point| {
                [1, 2, 6].contains(&(point / METRICS % NODES))
            }),
            ("a metric", |point| point % METRICS == 1),
            ("a metric of a node", |point| point % (METRICS * NODES) == 5),
            ("old ones", |point| point < 1_234),
            ("old ones of a node", |point| {
                point < 3_210 && point / METRICS % NODES == 3
            }),
        ];
        for (what, is_bad) in kinds {
            let (writes, state, rejected) = write(5_000, 5_000, |part| {
                let dropped = part.iter().filter(|point| is_bad(**point)).count();
                (dropped > 0).then(|| no("partial write", true, Some(dropped)))
            });
            let found: Vec<usize> = rejected.iter().map(|(point, _)| *point).collect();
            let expected: Vec<usize> = (0..5_000).filter(|point| is_bad(*point)).collect();
            assert_eq!((state, found), (SearchState::Open, expected), "{what}");
            assert!(writes < 120, "{what}: {writes}");
        }
    }

    #[test]
    fn points_that_are_all_bad_by_the_words_are_rejected() {
        let (_, state, rejected) = write(12, 5, |_| Some(no("beyond retention", true, None)));
        assert_eq!((state, rejected.len()), (SearchState::Open, 12));
        let (writes, _, rejected) = write(5_000, 5_000, |part| {
            Some(no("partial write", true, Some(part.len())))
        });
        assert_eq!((writes, rejected.len()), (1, 5_000));
        // Words of its own for each point are about it.
        let (_, state, rejected) =
            write(12, 12, |part| Some(no(&format!("{part:?}"), false, None)));
        assert_eq!((state, rejected.len()), (SearchState::Open, 12));
    }

    #[test]
    fn a_batch_is_written_in_parts_of_the_limit() {
        let (writes, _, _) = write(10, 3, |_| None);
        assert_eq!(writes, 4);
        let (writes, _, _) = write(10, usize::MAX, |_| None);
        assert_eq!(writes, 1);
        let (writes, _, _) = write(0, 3, |_| None);
        assert_eq!(writes, 0);
    }
}
