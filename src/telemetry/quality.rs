//! How many of a line's frames arrive damaged.

/// Frames that are looked back at.
const WINDOW: u64 = 200;

/// Frames after which damage is forgotten.
const MEMORY: u64 = 512;

/// Words that hold a bit for each of them.
const WORDS: usize = 4;

/// A share of fewer frames says nothing yet.
const ENOUGH: u64 = 20;

/// From this share on a line is bad,
const BAD: f64 = 0.05;

/// and good again below this one.
const GOOD: f64 = 0.02;

/// The number of a frame in its stream, from 1.
pub type FrameNumber = u64;

/// How a line turned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It is bad from now on.
    Bad,
    /// It is good again.
    Good,
}

/// The quality of a line.
#[derive(Debug, Clone, Default)]
pub struct LineQuality {
    /// Frames so far.
    frames: FrameNumber,
    /// A bit for each of the last frames.
    damaged: [u64; WORDS],
    count: u64,
    /// The last of those that are damaged.
    last_damaged: FrameNumber,
    is_bad: bool,
}

impl LineQuality {
    /// Another frame came.
    pub fn begin(&mut self) -> FrameNumber {
        self.frames += 1;
        let (word, bit) = place(self.frames);
        if let Some(word) = self.damaged.get_mut(word) {
            self.count -= u64::from(*word & bit != 0);
            *word &= !bit;
        }
        self.frames
    }

    /// A frame proves to be damaged, perhaps some time after it came.
    pub fn damage(&mut self, frame: FrameNumber) {
        self.last_damaged = self.last_damaged.max(frame);
        if frame + WINDOW <= self.frames {
            return;
        }
        let (word, bit) = place(frame);
        if let Some(word) = self.damaged.get_mut(word) {
            self.count += u64::from(*word & bit == 0);
            *word |= bit;
        }
    }

    /// Whether there was damage of late: rare damage is remembered for longer than its share is
    /// taken of.
    pub fn is_damaged(&self) -> bool {
        self.last_damaged > 0 && self.frames - self.last_damaged < MEMORY
    }

    /// The share of damaged ones among the last frames.
    pub fn ratio(&self) -> f64 {
        self.count as f64 / self.frames.clamp(1, WINDOW) as f64
    }

    /// How it turned since this was asked last.
    pub fn turn(&mut self) -> Option<Turn> {
        let turn = match self.ratio() {
            share if !self.is_bad && share >= BAD && self.frames >= ENOUGH => Turn::Bad,
            share if self.is_bad && share < GOOD => Turn::Good,
            _ => return None,
        };
        self.is_bad = turn == Turn::Bad;
        Some(turn)
    }
}

fn place(frame: FrameNumber) -> (usize, u64) {
    let place = frame % WINDOW;
    ((place / 64) as usize, 1 << (place % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_frames_count_and_each_once() {
        let mut quality = LineQuality::default();
        let mut turns = Vec::new();
        for number in 1..=1000_u64 {
            let frame = quality.begin();
            assert_eq!(frame, number);
            if number <= 400 && number.is_multiple_of(10) {
                quality.damage(frame);
                quality.damage(frame);
            }
            turns.extend(quality.turn().map(|turn| (number, turn)));
            if number == 400 {
                assert!((quality.ratio() - 0.1).abs() < 1e-9);
            }
            assert_eq!(
                quality.is_damaged(),
                (10..912).contains(&number),
                "{number}"
            );
        }
        assert_eq!(turns, [(20, Turn::Bad), (570, Turn::Good)]);
        // What is found out too late changes nothing.
        quality.damage(488);
        assert!(!quality.is_damaged());
        quality.damage(700);
        assert!(quality.is_damaged() && quality.ratio() == 0.0);
        quality.damage(801);
        assert!(quality.ratio() > 0.0);
    }
}
