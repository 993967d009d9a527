//! Whether a frame belongs where it stands.
//!
//! A board counts its milliseconds and its packets, and both go on from frame to frame. A frame in
//! which one of them does not is either damaged, or the first one after a reboot or a long silence;
//! the next frame tells which. So it waits for that one, and no other frame ever waits.

mod board;
mod counts;
mod track;

use std::sync::Arc;
use std::time::Duration;

use super::clock::MAX_BOARDS;
use board::Board;
pub use counts::Counts;
use track::{ENOUGH_PACES, Track};

/// A board that was heard so often is no damaged name.
const REAL: u64 = 4;

/// What becomes of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict<T> {
    /// It belongs where it stands.
    Accepted {
        /// The frame.
        frame: T,
        /// Its board.
        board: Arc<str>,
        /// Whether its count of packets is wrong, though all else is right.
        wrong_radio_count: bool,
        /// Whether its board's name is wrong, though all else is right.
        wrong_board: bool,
        /// Whether it goes on from the frame before the board's last one, whose time was wrong.
        corrects_time: bool,
    },
    /// It contradicts its neighbours.
    SetAside {
        /// The frame.
        frame: T,
        /// What contradicts them.
        detail: &'static str,
    },
}

/// The judge of frames, board by board.
#[derive(Debug)]
pub struct FrameJudge<T> {
    boards: Vec<Board<T>>,
    /// Packets that are missing between those accepted, by board.
    missed: Vec<(Arc<str>, u64)>,
    /// Boards that were forgotten.
    forgotten: Vec<Arc<str>>,
}

impl<T> Default for FrameJudge<T> {
    fn default() -> Self {
        Self {
            boards: Vec::new(),
            missed: Vec::new(),
            forgotten: Vec::new(),
        }
    }
}

impl<T> FrameJudge<T> {
    /// Takes the next frame, and puts out what is certain after it. `damaged_line`: there was damage
    /// of late, so that less is believed.
    pub fn observe(
        &mut self,
        name: &str,
        counts: Counts,
        damaged_line: bool,
        frame: T,
        out: &mut Vec<Verdict<T>>,
    ) {
        let place = self.boards.iter().position(|board| &*board.name == name);
        let (place, wrong_board) = match place.map(|place| (place, false)) {
            Some(known) => known,
            None => match self.board_of_wrong_name(counts) {
                Some(place) => (place, true),
                None => (self.add_board(name, counts, damaged_line, out), false),
            },
        };
        self.give_up_wrong_names(place, out);
        let Some(board) = self.boards.get_mut(place) else {
            return;
        };
        board.heard = counts.read;
        if wrong_board {
            // Found by what it counts, so it fits.
            board.reconsider(counts, out);
            board.accept(frame, counts, false, true, out);
        } else {
            board.observe(frame, counts, damaged_line, out);
        }
        self.missed.extend(board.take_missed());
    }

    /// When a frame has waited for long enough; `None`: none waits.
    pub fn deadline(&self) -> Option<Duration> {
        let held = self.boards.iter().flat_map(|board| &board.held);
        held.map(|held| held.until).min()
    }

    /// Decides on what has waited for long enough.
    pub fn advance(&mut self, now: Duration, damaged_line: bool, out: &mut Vec<Verdict<T>>) {
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            for board in &mut self.boards {
                while board.held.first().is_some_and(|held| held.until <= now) {
                    board.decide_first(damaged_line, out);
                }
                self.missed.extend(board.take_missed());
            }
        }
    }

    /// Nothing more will come: decides on all that waits.
    pub fn finish(&mut self, damaged_line: bool, out: &mut Vec<Verdict<T>>) {
        for board in &mut self.boards {
            while !board.held.is_empty() {
                board.decide_first(damaged_line, out);
            }
            board.track.count_gap();
            self.missed.extend(board.take_missed());
        }
    }

    /// The frames that wait for what follows them.
    pub fn held_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let held = self.boards.iter_mut().flat_map(|board| &mut board.held);
        held.map(|held| &mut held.frame)
    }

    /// Packets that are known to be missing since this was asked last, by board.
    pub fn take_missed(&mut self) -> Vec<(Arc<str>, u64)> {
        std::mem::take(&mut self.missed)
    }

    /// Boards that are remembered no longer since this was asked last.
    pub fn take_forgotten(&mut self) -> Vec<Arc<str>> {
        std::mem::take(&mut self.forgotten)
    }

    /// What waits under a name that was never confirmed, and counts as another board does, is that
    /// one's: its name was damaged while nobody could tell.
    fn give_up_wrong_names(&mut self, place: usize, out: &mut Vec<Verdict<T>>) {
        let unheard = |board: &Board<T>| board.accepted == 0 && !board.held.is_empty();
        if !self.boards.get(place).is_some_and(unheard) {
            return;
        }
        let others = self.boards.iter().filter(|board| board.accepted > REAL);
        let others: Vec<Track> = others.map(|board| board.track.clone()).collect();
        let Some(board) = self.boards.get_mut(place) else {
            return;
        };
        for held in std::mem::take(&mut board.held) {
            if others.iter().any(|track| track.meets(held.counts)) {
                out.push(held.set_aside());
            } else {
                board.held.push(held);
            }
        }
    }

    /// The board whose next frame this is by all that it counts, though its name is another one.
    fn board_of_wrong_name(&self, counts: Counts) -> Option<usize> {
        let mut fitting = self.boards.iter().enumerate().filter(|(_, board)| {
            board.accepted > ENOUGH_PACES as u64 && board.track.is_followed_by(counts)
        });
        let (place, _) = fitting.next()?;
        fitting.next().is_none().then_some(place)
    }

    fn add_board(
        &mut self,
        name: &str,
        counts: Counts,
        damaged_line: bool,
        out: &mut Vec<Verdict<T>>,
    ) -> usize {
        if self.boards.len() >= MAX_BOARDS {
            self.forget_board(out);
        }
        self.boards.push(Board {
            name: name.into(),
            accepted: 0,
            heard: counts.read,
            // Where others report over a line with damage, one frame is not believed.
            track: Track::new(!damaged_line || self.boards.is_empty()),
            held: Vec::new(),
        });
        self.boards.len() - 1
    }

    /// Forgets the board that is most likely made up, and of those the one heard longest ago.
    fn forget_board(&mut self, out: &mut Vec<Verdict<T>>) {
        let boards = self.boards.iter().enumerate();
        let oldest = boards.min_by_key(|(_, board)| (board.accepted.min(REAL), board.heard));
        if let Some((place, _)) = oldest {
            let board = self.boards.swap_remove(place);
            self.forgotten.push(board.name);
            let held = board.held.into_iter();
            out.extend(held.map(|held| Verdict::SetAside {
                frame: held.frame,
                detail: "a board that was not heard again",
            }));
        }
    }
}

#[cfg(test)]
mod tests;
