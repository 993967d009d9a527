//! The frames of one board that wait for what follows them.

use std::sync::Arc;
use std::time::Duration;

use super::Verdict;
use super::counts::Counts;
use super::track::{Between, Track};

/// Frames of a board that wait.
const MAX_HELD: usize = 6;

/// A board, and what of it waits.
#[derive(Debug)]
pub(super) struct Board<T> {
    pub(super) name: Arc<str>,
    pub(super) accepted: u64,
    pub(super) heard: Duration,
    pub(super) track: Track,
    pub(super) held: Vec<Held<T>>,
}

/// A frame that waits.
#[derive(Debug)]
pub(super) struct Held<T> {
    pub(super) frame: T,
    pub(super) counts: Counts,
    pub(super) until: Duration,
}

impl<T> Board<T> {
    /// Packets that are known to be missing since this was asked last.
    pub(super) fn take_missed(&mut self) -> Option<(Arc<str>, u64)> {
        let missed = std::mem::take(&mut self.track.missed);
        (missed > 0).then(|| (Arc::clone(&self.name), missed))
    }

    pub(super) fn observe(
        &mut self,
        frame: T,
        counts: Counts,
        damaged_line: bool,
        out: &mut Vec<Verdict<T>>,
    ) {
        if self.track.is_continued_by(counts, damaged_line) {
            self.reconsider(counts, out);
            self.accept(frame, counts, false, false, out);
            return;
        }
        // Two that wait and fit each other are the beginning of something new.
        // What contradicts the past has to agree with itself the more closely.
        let fits = |held: &Held<T>| {
            let witnesses = counts.radio.is_some() || held.counts.radio.is_none();
            witnesses && self.track.fits(held.counts, counts, true)
        };
        let fitting = self.held.iter().enumerate().filter(|(_, held)| fits(held));
        let beginning = fitting.filter_map(|(first, _)| {
            let agreeing = self.agreeing_behind(first, counts, damaged_line)?;
            Some((agreeing, first))
        });
        // Of several, what leaves the fewest out; else the one closest by.
        if let Some((_, first)) = beginning.max() {
            let mut held = std::mem::take(&mut self.held).into_iter();
            for contradicting in held.by_ref().take(first) {
                out.push(contradicting.set_aside());
            }
            if let Some(first) = held.next() {
                self.track.begin(first.counts);
                self.accept(first.frame, first.counts, false, false, out);
            }
            self.held = held.collect();
            self.reconsider(counts, out);
            self.accept(frame, counts, false, false, out);
            return;
        }
        if self.held.len() >= MAX_HELD {
            self.decide_first(damaged_line, out);
        }
        let patience = self.track.patience(counts, damaged_line);
        self.held.push(Held {
            frame,
            counts,
            until: counts.read + patience,
        });
    }

    /// How many that wait lie between the one at `first` and `next`, if that is the beginning of something
    /// new: two frames are enough where both counts say so. The same digit can be damaged twice, and a letter
    /// of a name as well.
    fn agreeing_behind(&self, first: usize, next: Counts, damaged_line: bool) -> Option<usize> {
        let held = self.held.get(first)?;
        let needed = if self.accepted == 0 && !self.track.begins {
            1
        } else if self.track.both_turn_at(held.counts) {
            0
        } else {
            2
        };
        let between = self.held.iter().skip(first + 1);
        let agreeing = between.filter(|between| {
            self.track.fits(held.counts, between.counts, damaged_line)
                && self.track.fits(between.counts, next, damaged_line)
        });
        let agreeing = agreeing.count();
        (agreeing >= needed).then_some(agreeing)
    }

    /// Looks at what waits between the last accepted frame and one that continues it.
    pub(super) fn reconsider(&mut self, next: Counts, out: &mut Vec<Verdict<T>>) {
        for held in std::mem::take(&mut self.held) {
            match self.track.between(held.counts, next) {
                Between::Whole => self.accept(held.frame, held.counts, false, false, out),
                Between::WrongRadioCount => self.accept(held.frame, held.counts, true, false, out),
                Between::WrongTime => out.push(held.set_aside()),
            }
        }
    }

    /// Decides on the frame that waits longest, without any other one's help.
    pub(super) fn decide_first(&mut self, damaged_line: bool, out: &mut Vec<Verdict<T>>) {
        let held = self.held.remove(0);
        if self.track.may_begin_with(held.counts, damaged_line) {
            self.track.begin(held.counts);
            self.accept(held.frame, held.counts, false, false, out);
        } else {
            out.push(held.set_aside());
        }
    }

    pub(super) fn accept(
        &mut self,
        frame: T,
        counts: Counts,
        wrong_radio_count: bool,
        wrong_board: bool,
        out: &mut Vec<Verdict<T>>,
    ) {
        let radio = counts.radio.filter(|_| !wrong_radio_count);
        let corrects_time = self.track.is_corrected_by(counts);
        self.track.accept(Counts { radio, ..counts });
        self.accepted += 1;
        out.push(Verdict::Accepted {
            frame,
            board: Arc::clone(&self.name),
            wrong_radio_count,
            wrong_board,
            corrects_time,
        });
    }
}

impl<T> Held<T> {
    pub(super) fn set_aside(self) -> Verdict<T> {
        Verdict::SetAside {
            frame: self.frame,
            detail: "the board's counts do not go on in this way",
        }
    }
}
