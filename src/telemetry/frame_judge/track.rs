//! What the counts of a board did so far, and what can come next.

use std::collections::VecDeque;
use std::time::Duration;

use super::counts::{self, Counts, arrives_so, millis, pause, radio_step};

/// How long the first frame after a reboot waits on a line without damage,
const PATIENCE: Duration = Duration::from_secs(2);

/// and how long all others wait, beside the time in which some packets come.
const PATIENCE_WITH_DAMAGE: Duration = Duration::from_mins(2);

/// A pace that is longer than so many milliseconds is waited for no longer.
const LONGEST_PACE: f64 = 3_600_000.0;

/// Packets whose pace is remembered.
const PACES: usize = 16;

/// With fewer of them the pace is not known.
pub(super) const ENOUGH_PACES: usize = 3;

/// How unevenly the packets of any board come, in milliseconds.
const UNEVEN: f64 = 50.0;

/// A pause that needs no explanation while the pace is not known.
const ANY_PAUSE: u32 = 600_000;

/// What a frame is between two that fit each other.
pub(super) enum Between {
    /// It is as it should be.
    Whole,
    /// Only its count of packets is wrong.
    WrongRadioCount,
    /// Its time is wrong, and with it all of it.
    WrongTime,
}

/// What the counts of a board did so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Track {
    /// Whether the first frame is believed.
    pub(super) begins: bool,
    last: Option<Counts>,
    /// The last accepted frame with a count of packets that was right.
    counted: Option<Counts>,
    /// Both before the last frame was accepted.
    previous: (Option<Counts>, Option<Counts>),
    /// Frames accepted since then.
    uncounted: i64,
    /// Packets that are missing if the last count is right.
    gap: u64,
    pub(super) missed: u64,
    /// Milliseconds for each packet, of the last ones.
    paces: VecDeque<f64>,
}

impl Track {
    /// `begins`: the first frame is believed.
    pub(super) fn new(begins: bool) -> Self {
        Self {
            begins,
            ..Self::default()
        }
    }

    /// Whether a frame goes on from the last one.
    pub(super) fn is_continued_by(&self, next: Counts, damaged_line: bool) -> bool {
        let Some(last) = self.last else {
            return self.begins;
        };
        // Without a count, one thing less speaks for its time.
        if damaged_line && next.radio.is_none() && self.counted.is_some() {
            return false;
        }
        // One that goes on from the frame before the last one is right: the last one was not.
        let (previous, counted) = self.previous;
        self.fits(last, next, damaged_line)
            || damaged_line
                && previous.is_some_and(|previous| self.goes_on(previous, counted, next, true))
    }

    /// Whether a frame that is accepted tells that the time of the last one was wrong.
    pub(super) fn is_corrected_by(&self, next: Counts) -> bool {
        self.last.is_some_and(|last| pause(last, next).is_none())
    }

    /// Whether a frame is the very next one, or repeats none: by both of its counts.
    pub(super) fn is_followed_by(&self, next: Counts) -> bool {
        let (Some(last), Some(counted)) = (self.last, self.counted) else {
            return false;
        };
        let steps = radio_step(counted, next);
        steps.is_some_and(|steps| (1..=16).contains(&steps)) && self.fits(last, next, true)
    }

    /// Whether both counts step back, as after a reboot, or both go on by as much.
    pub(super) fn both_turn_at(&self, next: Counts) -> bool {
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
    pub(super) fn meets(&self, other: Counts) -> bool {
        self.counted.is_some_and(|counted| {
            let is_counted = radio_step(counted, other).is_some_and(|steps| steps != 0);
            is_counted && (self.fits(counted, other, true) || self.fits(other, counted, true))
        })
    }

    /// How long a doubtful frame waits for others.
    pub(super) fn patience(&self, next: Counts, damaged_line: bool) -> Duration {
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
    pub(super) fn fits(&self, before: Counts, next: Counts, damaged_line: bool) -> bool {
        // A frame whose own count was wrong is no witness for the next one's.
        let counted = if self.last == Some(before) || before.radio.is_none() {
            self.counted
        } else {
            Some(before)
        };
        self.goes_on(before, counted, next, damaged_line)
    }

    /// The same with the frame that counted packets last.
    fn goes_on(
        &self,
        before: Counts,
        counted: Option<Counts>,
        next: Counts,
        damaged_line: bool,
    ) -> bool {
        let Some(pause) = pause(before, next) else {
            return false;
        };
        let counted = counted.and_then(|counted| Some((counted, radio_step(counted, next)?)));
        let arrives = arrives_so(before, next, pause);
        match counted {
            Some((counted, steps)) if steps >= 1 => {
                let Some(since) = counts::pause(counted, next) else {
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
    pub(super) fn is_pace(
        &self,
        pause: u32,
        steps: i64,
        damaged_line: bool,
        arrives: bool,
    ) -> bool {
        let Some((low, high)) = self.pace() else {
            let is_short = pause <= ANY_PAUSE || arrives;
            return is_short && steps <= 1000;
        };
        let (pause, steps) = (f64::from(pause), steps as f64);
        // Single packets may follow close on each other, many of them do not.
        let low = if steps > 4.0 {
            let mean = self.paces.iter().sum::<f64>() / self.paces.len().max(1) as f64;
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
    pub(super) fn is_pause(&self, pause: u32, damaged_line: bool, arrives: bool) -> bool {
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

    pub(super) fn knows_pace(&self) -> bool {
        self.paces.len() >= ENOUGH_PACES
    }

    /// Milliseconds for each packet, at the least and at the most.
    pub(super) fn pace(&self) -> Option<(f64, f64)> {
        if !self.knows_pace() {
            return None;
        }
        // The two least and the two greatest. Asked at every frame, so without sorting.
        let (mut least, mut greatest) = ([f64::INFINITY; 2], [f64::NEG_INFINITY; 2]);
        for pace in &self.paces {
            least = [least[0].min(*pace), least[1].min(pace.max(least[0]))];
            greatest = [
                greatest[0].max(*pace),
                greatest[1].max(pace.min(greatest[0])),
            ];
        }
        // A single one that is out of place is not to count.
        let spared = usize::from(self.paces.len() >= 8);
        Some((least[spared], greatest[spared]))
    }

    /// What a frame is that waited between the last one and one that continues it.
    #[expect(
        clippy::match_same_arms,
        reason = "the cases stand in the order in which they are told apart"
    )]
    pub(super) fn between(&self, held: Counts, next: Counts) -> Between {
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
    pub(super) fn is_about_where(&self, last: Counts, held: Counts, next: Counts) -> bool {
        let (Some(before), Some(behind), Some((low, _))) =
            (pause(last, held), pause(held, next), self.pace())
        else {
            return true;
        };
        let least = low * 0.8 - UNEVEN;
        f64::from(before) >= least && f64::from(behind) >= least
    }

    /// Whether a frame that nothing confirmed or contradicted is believed.
    pub(super) fn may_begin_with(&self, counts: Counts, damaged_line: bool) -> bool {
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
    pub(super) fn begin(&mut self, _first: Counts) {
        // Nothing confirmed it.
        self.gap = 0;
        self.last = None;
        self.counted = None;
        self.previous = (None, None);
        self.begins = true;
    }

    pub(super) fn accept(&mut self, next: Counts) {
        self.previous = (self.last, self.counted);
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
    pub(super) fn count_gap(&mut self) {
        self.missed += std::mem::take(&mut self.gap);
    }

    pub(super) fn note_pace(&mut self, pace: f64) {
        if self.paces.len() == PACES {
            self.paces.pop_front();
        }
        self.paces.push_back(pace);
    }
}
