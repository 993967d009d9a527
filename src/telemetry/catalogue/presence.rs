//! How regularly names come: what is always sent, and what came often enough to be believed.

/// A run this long makes a name one that is always sent,
const ALWAYS: u8 = 8;

/// and this long on a line whose damage breaks runs.
const ALWAYS_WITH_DAMAGE: u8 = 4;

/// Longer runs count as this long.
const LONGEST_RUN: u8 = 32;

/// What was sent always and is missing so often in a row is not sent any more.
const GONE_AFTER: u64 = 3;

/// How regularly a name comes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Presence {
    /// The last frame with it.
    last: u64,
    run: u8,
}

impl Presence {
    /// It stands in a frame, one of those in which it could.
    pub(super) fn note(&mut self, frame: u64) {
        if frame == self.last + 1 {
            self.run = (self.run + 1).min(LONGEST_RUN);
        } else if frame > self.last {
            self.run /= 2;
        }
        self.last = frame;
    }

    /// Whether a frame without it lacks something.
    pub(super) fn is_missed_in(&self, frame: u64, damaged_line: bool) -> bool {
        let always = if damaged_line {
            ALWAYS_WITH_DAMAGE
        } else {
            ALWAYS
        };
        self.run >= always && self.last < frame && frame - self.last <= GONE_AFTER
    }
}

/// The frames in which a name came that is not believed yet.
#[derive(Debug, Default)]
pub(in crate::telemetry) struct Sightings(Vec<(u64, bool)>);

impl Sightings {
    const NEEDED: usize = 3;
    /// On a line with damage, the needed ones come within so many frames.
    const NEAR: u64 = 32;
    /// A node that reports rarely needs more.
    const NEEDED_FAR: usize = 5;
    const FAR: u64 = 512;
    /// So many in a row are no accident, whatever else is missing in them.
    const IN_A_ROW: usize = 5;
    const KEPT: usize = 8;

    /// It came in a frame; `plausible`: and took nobody's place.
    pub(in crate::telemetry) fn note(&mut self, frame: u64, plausible: bool) {
        if self.0.last().is_none_or(|(last, _)| *last != frame) {
            if self.0.len() == Self::KEPT {
                self.0.remove(0);
            }
            self.0.push((frame, plausible));
        }
    }

    /// How many of the last ones are enough to believe it; `None`: it did not come often enough.
    ///
    /// One byte that is lost or changed can make up the same name again and again, so on a damaged line
    /// it has to come often within a short time.
    pub(in crate::telemetry) fn sufficient(&self, damaged_line: bool) -> Option<usize> {
        if !damaged_line {
            return (self.0.len() >= Self::NEEDED).then_some(self.0.len());
        }
        let within = |needed: usize, span: u64, strict: bool| {
            let last = self.last();
            let near = self.0.iter().rev().take_while(|(at, _)| last - at < span);
            let counted = near.clone().filter(|(_, plausible)| *plausible || !strict);
            (counted.count() >= needed).then(|| near.count())
        };
        within(Self::NEEDED, Self::NEAR, true)
            .or_else(|| within(Self::NEEDED_FAR, Self::FAR, true))
            .or_else(|| within(Self::IN_A_ROW, Self::IN_A_ROW as u64 + 1, false))
    }

    /// In how many of the last frames it came.
    pub(in crate::telemetry) fn count(&self) -> usize {
        self.0.len()
    }

    /// The last frame in which it came.
    pub(in crate::telemetry) fn last(&self) -> u64 {
        self.0.last().map_or(0, |(frame, _)| *frame)
    }
}
