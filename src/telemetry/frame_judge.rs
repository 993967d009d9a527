//! Whether a frame belongs where it stands.
//!
//! A board counts its milliseconds and its packets, and both go on from frame to frame. A frame in
//! which one of them does not is either damaged, or the first one after a reboot or a long silence;
//! the next frame tells which. So it waits for that one, and no other frame ever waits.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::clock::wraps;

/// Boards that are told apart in one stream; a source has one, and a damaged name must not become
/// another for ever.
const MAX_BOARDS: usize = 16;

/// Frames of a board that wait.
const MAX_HELD: usize = 6;

/// How long the first frame after a reboot waits on a line without damage,
const PATIENCE: Duration = Duration::from_secs(2);

/// and how long all others wait, beside the time in which some packets come.
const PATIENCE_WITH_DAMAGE: Duration = Duration::from_mins(2);

/// A pace that is longer than so many milliseconds is waited for no longer.
const LONGEST_PACE: f64 = 3_600_000.0;

/// Packets whose pace is remembered.
const PACES: usize = 16;

/// With fewer of them the pace is not known.
const ENOUGH_PACES: usize = 3;

/// How unevenly the packets of any board come, in milliseconds.
const UNEVEN: f64 = 50.0;

/// A pause that needs no explanation while the pace is not known.
const ANY_PAUSE: u32 = 600_000;

/// What a frame says about when it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Milliseconds since the board booted.
    pub uptime_ms: u32,
    /// Packets that the radio received since.
    pub radio: Option<u32>,
    /// When the gateway read it, by its monotonic clock.
    pub read: Duration,
}

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
    },
    /// It contradicts its neighbours.
    SetAside {
        /// The frame.
        frame: T,
        /// What contradicts them.
        detail: &'static str,
    },
}

/// See the module.
#[derive(Debug)]
pub struct FrameJudge<T> {
    boards: Vec<Board<T>>,
    /// Packets that are missing between those accepted, by board.
    missed: Vec<(Arc<str>, u64)>,
    /// Boards that were forgotten.
    forgotten: Vec<Arc<str>>,
}

#[derive(Debug)]
struct Board<T> {
    name: Arc<str>,
    accepted: u64,
    heard: Duration,
    track: Track,
    held: Vec<Held<T>>,
}

#[derive(Debug)]
struct Held<T> {
    frame: T,
    counts: Counts,
    until: Duration,
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
            track: Track {
                // Where others report over a line with damage, one frame is not believed.
                begins: !damaged_line || self.boards.is_empty(),
                ..Track::default()
            },
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

/// A board that was heard so often is no damaged name.
const REAL: u64 = 4;

impl<T> Board<T> {
    fn take_missed(&mut self) -> Option<(Arc<str>, u64)> {
        let missed = std::mem::take(&mut self.track.missed);
        (missed > 0).then(|| (Arc::clone(&self.name), missed))
    }

    fn observe(&mut self, frame: T, counts: Counts, damaged_line: bool, out: &mut Vec<Verdict<T>>) {
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
        if let Some(first) = self.held.iter().position(fits)
            && self.begins_with(first, counts, damaged_line)
        {
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

    /// Whether what waits from `first` on is the beginning of something new: two frames are enough
    /// where both counts say so. The same digit can be damaged twice, and a letter of a name as well.
    fn begins_with(&self, first: usize, next: Counts, damaged_line: bool) -> bool {
        let Some(held) = self.held.get(first) else {
            return false;
        };
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
        agreeing.count() >= needed
    }

    /// Looks at what waits between the last accepted frame and one that continues it.
    fn reconsider(&mut self, next: Counts, out: &mut Vec<Verdict<T>>) {
        for held in std::mem::take(&mut self.held) {
            match self.track.between(held.counts, next) {
                Between::Whole => self.accept(held.frame, held.counts, false, false, out),
                Between::WrongRadioCount => self.accept(held.frame, held.counts, true, false, out),
                Between::WrongTime => out.push(held.set_aside()),
            }
        }
    }

    /// Decides on the frame that waits longest, without any other one's help.
    fn decide_first(&mut self, damaged_line: bool, out: &mut Vec<Verdict<T>>) {
        let held = self.held.remove(0);
        if self.track.may_begin_with(held.counts, damaged_line) {
            self.track.begin(held.counts);
            self.accept(held.frame, held.counts, false, false, out);
        } else {
            out.push(held.set_aside());
        }
    }

    fn accept(
        &mut self,
        frame: T,
        counts: Counts,
        wrong_radio_count: bool,
        wrong_board: bool,
        out: &mut Vec<Verdict<T>>,
    ) {
        let radio = counts.radio.filter(|_| !wrong_radio_count);
        self.track.accept(Counts { radio, ..counts });
        self.accepted += 1;
        out.push(Verdict::Accepted {
            frame,
            board: Arc::clone(&self.name),
            wrong_radio_count,
            wrong_board,
        });
    }
}

impl<T> Held<T> {
    fn set_aside(self) -> Verdict<T> {
        Verdict::SetAside {
            frame: self.frame,
            detail: "the board's counts do not go on in this way",
        }
    }
}

/// What a frame is between two that fit each other.
enum Between {
    /// It is as it should be.
    Whole,
    /// Only its count of packets is wrong.
    WrongRadioCount,
    /// Its time is wrong, and with it all of it.
    WrongTime,
}

/// What the counts of a board did so far.
#[derive(Debug, Clone, Default)]
struct Track {
    /// Whether the first frame is believed.
    begins: bool,
    last: Option<Counts>,
    /// The accepted frame before the last one.
    previous: Option<Counts>,
    /// The last accepted frame with a count of packets that was right.
    counted: Option<Counts>,
    /// Frames accepted since then.
    uncounted: i64,
    /// Packets that are missing if the last count is right.
    gap: u64,
    missed: u64,
    /// Milliseconds for each packet, of the last ones.
    paces: VecDeque<f64>,
}

impl Track {
    /// Whether a frame goes on from the last one.
    fn is_continued_by(&self, next: Counts, damaged_line: bool) -> bool {
        let Some(last) = self.last else {
            return self.begins;
        };
        // Without a count, one thing less speaks for its time.
        if damaged_line && next.radio.is_none() && self.counted.is_some() {
            return false;
        }
        // One that goes on from the frame before the last one is right: the last one was not.
        self.fits(last, next, damaged_line)
            || self
                .previous
                .is_some_and(|previous| damaged_line && self.fits(previous, next, true))
    }

    /// Whether a frame is the very next one, or repeats none: by both of its counts.
    fn is_followed_by(&self, next: Counts) -> bool {
        let (Some(last), Some(counted)) = (self.last, self.counted) else {
            return false;
        };
        let steps = radio_step(counted, next);
        steps.is_some_and(|steps| (1..=16).contains(&steps)) && self.fits(last, next, true)
    }

    /// Whether both counts step back, as after a reboot, or both go on by as much.
    fn both_turn_at(&self, next: Counts) -> bool {
        let (Some(last), Some(counted)) = (self.last, self.counted) else {
            return true;
        };
        let Some(steps) = radio_step(counted, next) else {
            return true;
        };
        match pause(last, next) {
            None => steps <= 0,
            Some(_) if steps <= 0 => false,
            Some(passed) => {
                arrives_so(last, next, passed)
                    || self.pace().is_none_or(|(low, high)| {
                        let (passed, steps) = (f64::from(passed), steps as f64);
                        passed >= low * steps / 2.0 && passed <= high * steps * 2.0
                    })
            }
        }
    }

    /// Whether a frame lies on the line of the last one, before or behind it, by both counts.
    fn meets(&self, other: Counts) -> bool {
        self.counted.is_some_and(|counted| {
            let is_counted = radio_step(counted, other).is_some_and(|steps| steps != 0);
            is_counted && (self.fits(counted, other, true) || self.fits(other, counted, true))
        })
    }

    /// How long a doubtful frame waits for others.
    fn patience(&self, next: Counts, damaged_line: bool) -> Duration {
        let steps_back = self.last.is_some_and(|last| pause(last, next).is_none());
        if !damaged_line && steps_back && self.both_turn_at(next) {
            return PATIENCE;
        }
        let pace = self
            .pace()
            .map_or(0.0, |(_, high)| high.clamp(0.0, LONGEST_PACE));
        PATIENCE_WITH_DAMAGE + Duration::from_secs_f64(4.0 * pace / 1000.0)
    }

    /// Whether `next` can come after `before`.
    fn fits(&self, before: Counts, next: Counts, damaged_line: bool) -> bool {
        let Some(pause) = pause(before, next) else {
            return false;
        };
        // A frame whose own count was wrong is no witness for the next one's.
        let counted = if self.last == Some(before) || before.radio.is_none() {
            self.counted
        } else {
            Some(before)
        };
        let counted = counted.and_then(|counted| Some((counted, radio_step(counted, next)?)));
        let arrives = arrives_so(before, next, pause);
        match counted {
            Some((counted, steps)) if steps >= 1 => {
                let Some(since) = self::pause(counted, next) else {
                    return false;
                };
                self.is_pace(since, steps, damaged_line, arrives)
            }
            // A packet that came again.
            Some((_, 0)) if pause == 0 => true,
            // Where packets are counted, they are counted always.
            Some((_, 0)) => !(damaged_line && self.knows_pace()),
            Some(_) => !self.knows_pace(),
            None => self.is_pause(pause, damaged_line, arrives),
        }
    }

    /// Whether so many packets can have taken so long.
    fn is_pace(&self, pause: u32, steps: i64, damaged_line: bool, arrives: bool) -> bool {
        let Some((low, high)) = self.pace() else {
            let is_short = pause <= ANY_PAUSE || arrives;
            return is_short && steps <= 1000;
        };
        let (pause, steps) = (f64::from(pause), steps as f64);
        // Single packets may follow close on each other, many of them do not.
        let mean = self.paces.iter().sum::<f64>() / self.paces.len().max(1) as f64;
        let low = if steps > 4.0 {
            low.max(mean / 4.0)
        } else {
            low
        };
        let uneven = UNEVEN.min(high + 2.0);
        let (shortest, longest) = if damaged_line {
            // As even as the last packets were, and not more so than clocks are.
            let spread = (high - low) / 2.0 + high / 50.0;
            (
                (steps * (low - spread)).max(steps * low / 2.0) - uneven,
                steps * (high + spread) + uneven,
            )
        } else {
            (steps * low / 16.0 - uneven, steps * high * 16.0 + 1000.0)
        };
        // A board may be silent for any time, in step with the gateway's clock.
        pause >= shortest && (pause <= longest || arrives)
    }

    /// Whether a board that does not count packets can have been silent for so long.
    fn is_pause(&self, pause: u32, damaged_line: bool, arrives: bool) -> bool {
        if arrives {
            return true;
        }
        match self.pace() {
            None => pause <= ANY_PAUSE,
            Some((_, high)) => {
                let times = if damaged_line { 6.0 } else { 64.0 };
                f64::from(pause) <= high * times + 1000.0
            }
        }
    }

    fn knows_pace(&self) -> bool {
        self.paces.len() >= ENOUGH_PACES
    }

    /// Milliseconds for each packet, at the least and at the most.
    fn pace(&self) -> Option<(f64, f64)> {
        if !self.knows_pace() {
            return None;
        }
        let mut paces: Vec<f64> = self.paces.iter().copied().collect();
        paces.sort_unstable_by(f64::total_cmp);
        // A single one that is out of place is not to count.
        let spared = usize::from(paces.len() >= 8);
        Some((*paces.get(spared)?, *paces.get(paces.len() - 1 - spared)?))
    }

    /// What a frame is that waited between the last one and one that continues it.
    #[expect(
        clippy::match_same_arms,
        reason = "the cases stand in the order in which they are told apart"
    )]
    fn between(&self, held: Counts, next: Counts) -> Between {
        let Some(last) = self.last else {
            return Between::WrongTime;
        };
        let in_time = pause(last, held).is_some() && pause(held, next).is_some();
        let whole = pause(last, next).unwrap_or(0);
        let in_time = in_time && pause(last, held).unwrap_or(u32::MAX) <= whole;
        let counts_on = match (self.counted, held.radio, next.radio) {
            (Some(counted), Some(_), Some(_)) => {
                let steps = radio_step(counted, held);
                steps.is_some_and(|steps| steps >= 1)
                    && radio_step(held, next).is_some_and(|steps| steps >= 1)
            }
            (_, None, _) => true,
            _ => false,
        };
        match (in_time, counts_on) {
            (false, _) => Between::WrongTime,
            (true, true) if held.radio.is_none() && next.radio.is_some() => {
                if self.is_about_where(last, held, next) {
                    Between::Whole
                } else {
                    Between::WrongTime
                }
            }
            (true, true) if self.fits(last, held, true) && self.fits(held, next, true) => {
                Between::Whole
            }
            // Both counts are in order, and do not agree: the time is what does not fit the pace.
            (true, true) => Between::WrongTime,
            // It agrees with the next one, so that what was counted before is what was wrong.
            (true, false) if next.radio.is_some() && self.fits(held, next, true) => Between::Whole,
            (true, false) => {
                let uncounted = Counts {
                    radio: None,
                    ..held
                };
                if self.is_about_where(last, uncounted, next) {
                    Between::WrongRadioCount
                } else {
                    Between::WrongTime
                }
            }
        }
    }

    /// Whether the time of a frame whose count is wrong is where a packet can have been.
    fn is_about_where(&self, last: Counts, held: Counts, next: Counts) -> bool {
        let (Some(before), Some(behind), Some((low, _))) =
            (pause(last, held), pause(held, next), self.pace())
        else {
            return true;
        };
        let least = low * 0.8 - UNEVEN;
        f64::from(before) >= least && f64::from(behind) >= least
    }

    /// Whether a frame that nothing confirmed or contradicted is believed.
    fn may_begin_with(&self, counts: Counts, damaged_line: bool) -> bool {
        let Some(last) = self.last else {
            return !damaged_line;
        };
        match (pause(last, counts), radio_step(last, counts)) {
            // Both step back, which no single byte can do.
            (None, Some(steps)) => steps < 0,
            (None, None) => !damaged_line,
            // Ahead of the time at which it was read: on a line that is not read from a recording.
            (Some(pause), _) => {
                let passed = counts.read.saturating_sub(last.read);
                let is_live = passed >= Duration::from_millis(20);
                let is_ahead = u64::from(pause) > 2 * millis(passed) + u64::from(ANY_PAUSE);
                !(damaged_line || is_live && is_ahead)
            }
        }
    }

    /// From here on the counts go on from this frame.
    fn begin(&mut self, _first: Counts) {
        // Nothing confirmed it.
        self.gap = 0;
        self.last = None;
        self.previous = None;
        self.counted = None;
        self.begins = true;
    }

    fn accept(&mut self, next: Counts) {
        self.previous = self.last;
        let Some(radio) = next.radio else {
            if let Some(last) = self.last
                && self.counted.is_none()
                && let Some(pause) = pause(last, next)
            {
                self.note_pace(f64::from(pause));
            }
            self.last = Some(next);
            self.uncounted += 1;
            return;
        };
        let uncounted = std::mem::take(&mut self.uncounted);
        let before = self.counted.replace(next);
        if let Some(before) = before
            && let Some(steps) = radio_step(before, next)
        {
            if steps >= 1 {
                self.count_gap();
                self.gap = u64::try_from(steps - 1 - uncounted).unwrap_or(0);
                if let Some(pause) = pause(before, next) {
                    self.note_pace(f64::from(pause) / steps as f64);
                }
            } else if Some(radio) != before.radio {
                // The count before was too high, so nothing says that anything is missing.
                self.gap = 0;
            }
        }
        self.last = Some(next);
    }

    /// The last count proved to be right.
    fn count_gap(&mut self) {
        self.missed += std::mem::take(&mut self.gap);
    }

    fn note_pace(&mut self, pace: f64) {
        if self.paces.len() == PACES {
            self.paces.pop_front();
        }
        self.paces.push_back(pace);
    }
}

/// The milliseconds from one frame to a later one; `None`: the second one is not later.
fn pause(before: Counts, next: Counts) -> Option<u32> {
    let forward = next.uptime_ms.wrapping_sub(before.uptime_ms);
    if next.uptime_ms >= before.uptime_ms {
        return Some(forward);
    }
    let passed = next.read.saturating_sub(before.read);
    wraps(before.uptime_ms, next.uptime_ms, passed).then_some(forward)
}

/// The packets from one frame to another one, which may be fewer than none; the count wraps as well.
fn radio_step(before: Counts, next: Counts) -> Option<i64> {
    let step = next.radio?.wrapping_sub(before.radio?);
    Some(i64::from(step.cast_signed()))
}

/// Whether a pause by the board's clock is one by the gateway's as well.
fn arrives_so(before: Counts, next: Counts, pause: u32) -> bool {
    let passed = millis(next.read.saturating_sub(before.read));
    let pause = u64::from(pause);
    passed * 2 >= pause && passed.abs_diff(pause) <= 2000 + passed / 16
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
