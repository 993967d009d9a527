//! Whether a value departs from those before it by more than a metric ever did.
//!
//! What comes next is foretold in three ways, of which the one that was best of late is believed: that
//! the last value stays (a slow drift), that it goes on as it went (a counter, a ramp), or that it is
//! the middle of the last ones (noise). How far off that was is the measure for how far a value may be
//! off: robust against single wrong ones, and wide enough for the long tails of real noise.
//!
//! A real step begins a new *segment*: nothing is foretold across it, so that a heater that is
//! switched on does not make the measure any wider.

use super::{ShortestValue, Timestamp};

/// Values that are looked back at.
const WINDOW: usize = 128;

/// Older ones that are kept before they are thrown away together.
const SLACK: usize = WINDOW / 4;

/// With fewer values nothing is foretold.
const ENOUGH: usize = 6;

/// With fewer values little is known of how far off they may be.
const MANY: usize = 16;

/// Values whose middle foretells the next one.
const MIDDLE: usize = 7;

/// Steps whose middle foretells the next one.
const STEPS: usize = 5;

/// The measure for one metric of one node.
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    /// The last values; more than are looked back at, so that few pushes move the others.
    values: Vec<Point>,
    measure: Option<Measure>,
    /// Values since it was taken.
    age: usize,
}

#[derive(Debug, Clone, Copy)]
struct Point {
    value: f64,
    /// When it was measured, in seconds from some moment.
    at: f64,
    begins_segment: bool,
    /// How far it was from what each way foretold, in their order; `None`: not looked at yet.
    errors: Option<Errors>,
}

/// Not a number where nothing was foretold.
type Errors = [f32; Foretells::ALL.len()];

#[derive(Debug, Clone, Copy)]
struct Measure {
    foretells: Foretells,
    limit: f64,
}

#[derive(Debug, Clone, Copy)]
enum Foretells {
    Last,
    Trend,
    Pace,
    Middle,
}

impl Foretells {
    const ALL: [Self; 4] = [Self::Last, Self::Trend, Self::Pace, Self::Middle];
}

/// What is expected of the next value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    /// The value itself,
    pub(super) value: f64,
    /// and without the last one, which may have been wrong by less than was noticed.
    before: f64,
    /// How far off it may be.
    pub(super) limit: f64,
    /// By how much it rises in a second.
    slope: f64,
}

impl Expected {
    /// Whether a value is as expected.
    pub(super) fn fits(&self, value: f64) -> bool {
        self.lies_within(self.limit, value)
    }

    /// Whether a value is as expected of one that damage can have made.
    pub(super) fn fits_closely(&self, value: f64) -> bool {
        self.lies_within(CLOSE * self.limit, value)
    }

    fn lies_within(&self, limit: f64, value: f64) -> bool {
        (value - self.value).abs() <= limit || (value - self.before).abs() <= limit
    }

    /// Whether a value confirms an unexpected one before it: the metric stays where that one was, or
    /// moves on in the same direction.
    pub(super) fn confirms(
        &self,
        (unexpected, then): (f64, Timestamp),
        (value, now): (f64, Timestamp),
    ) -> bool {
        let rise = self.slope * now.since(then).as_secs_f64();
        let (step, next) = (unexpected - self.value, value - unexpected - rise);
        let near = self.limit.max((step.abs() / 4.0).min(3.0 * self.limit));
        let ramp = step.abs() / 4.0..=2.0 * step.abs() + self.limit;
        let goes_on = step * next > 0.0 && ramp.contains(&next.abs());
        next.abs() <= near || goes_on
    }
}

impl History {
    /// A value was delivered.
    pub(super) fn push(&mut self, value: f64, at: Timestamp) {
        self.add(value, at, false);
    }

    /// A value was delivered that nobody expected, and that was confirmed.
    pub(super) fn step_to(&mut self, value: f64, at: Timestamp) {
        self.add(value, at, true);
    }

    /// Whether one byte that was lost, changed or added can have made this of what was to be expected.
    pub(super) fn is_one_byte_from(&self, expected: &Expected, value: f64) -> bool {
        let text = ShortestValue(value).to_string();
        let is_near = |other: f64| is_one_byte_apart(&text, &ShortestValue(other).to_string());
        let quantum = quantum(self.values.iter());
        let rounded = (expected.value / quantum).round() * quantum;
        let usual = self.values.iter().rev().take(WINDOW).map(|it| it.value);
        is_near(rounded) || usual.filter(|it| expected.fits(*it)).any(is_near)
    }

    /// Nothing goes on as it did.
    pub(super) fn forget(&mut self) {
        self.values.clear();
        self.measure = None;
    }

    fn add(&mut self, value: f64, at: Timestamp, begins_segment: bool) {
        if self.values.len() == WINDOW + SLACK {
            self.values.drain(..SLACK);
        }
        self.values.push(Point {
            value,
            at: at.0 as f64 / 1e9,
            begins_segment,
            errors: None,
        });
        self.age += 1;
    }

    /// What is expected of the next value; `None`: too little is known.
    pub(super) fn expected(&mut self, at: Timestamp, counts: bool) -> Option<Expected> {
        if self.values.len() < ENOUGH {
            return None;
        }
        let last = self.values.len().saturating_sub(WINDOW);
        let values = &mut self.values[last..];
        let measure = match self.measure {
            Some(measure) if self.age <= values.len() / 4 => measure,
            _ => {
                take_errors(values);
                let measure = Measure::of(values, counts)?;
                self.age = 0;
                *self.measure.insert(measure)
            }
        };
        let segment = segment(values);
        let slope = match measure.foretells {
            Foretells::Pace => slope(segment)?,
            _ => 0.0,
        };
        let at = at.0 as f64 / 1e9;
        let value = foretell(measure.foretells, segment, at)?;
        let earlier = segment.get(..segment.len() - 1).unwrap_or_default();
        Some(Expected {
            value,
            before: foretell(measure.foretells, earlier, at).unwrap_or(value),
            limit: measure.limit,
            slope,
        })
    }
}

/// The last values up to which nothing was foretold.
fn segment(values: &[Point]) -> &[Point] {
    let last = values.len().saturating_sub(MIDDLE.max(STEPS + 1));
    let values = values.get(last..).unwrap_or_default();
    let start = values.iter().rposition(|it| it.begins_segment);
    values.get(start.unwrap_or(0)..).unwrap_or_default()
}

fn foretell(how: Foretells, segment: &[Point], at: f64) -> Option<f64> {
    let last = segment.last()?.value;
    Some(match how {
        Foretells::Last => last,
        Foretells::Trend => {
            let steps = segment.windows(2).map(|pair| pair[1].value - pair[0].value);
            last + middle::<STEPS>(steps.rev()).unwrap_or(0.0)
        }
        Foretells::Pace => {
            let passed = (at - segment.last()?.at).max(0.0);
            last + slope(segment)? * passed
        }
        Foretells::Middle => middle::<MIDDLE>(segment.iter().rev().map(|it| it.value))?,
    })
}

/// By how much the last values rose in a second.
fn slope(segment: &[Point]) -> Option<f64> {
    middle::<STEPS>(segment.windows(2).rev().map(|pair| {
        let passed = pair[1].at - pair[0].at;
        (pair[1].value - pair[0].value) / passed.max(1e-3)
    }))
}

/// The middle of the first few of some numbers.
pub(super) fn middle<const N: usize>(numbers: impl Iterator<Item = f64>) -> Option<f64> {
    let mut kept = [0.0; N];
    let mut count = 0;
    for (place, number) in kept.iter_mut().zip(numbers) {
        *place = number;
        count += 1;
    }
    let kept = kept.get_mut(..count)?;
    sort_few(kept);
    let (low, high) = (kept.get(count.checked_sub(1)? / 2)?, kept.get(count / 2)?);
    Some(low + (high - low) / 2.0)
}

/// Puts a few numbers in order without a branch that could be foretold wrongly.
fn sort_few(numbers: &mut [f64]) {
    for end in (1..numbers.len()).rev() {
        for at in 0..end {
            let (one, other) = (numbers[at], numbers[at + 1]);
            numbers[at] = one.min(other);
            numbers[at + 1] = one.max(other);
        }
    }
}

impl Measure {
    /// What fits the values best.
    fn of(values: &[Point], counts: bool) -> Option<Self> {
        let quantum = quantum(values.iter());
        let rises = slope(segment(values)).is_some_and(|slope| slope != 0.0);
        let mut errors = Vec::with_capacity(values.len());
        let measures = (0..).zip(Foretells::ALL).filter_map(|(way, foretells)| {
            let known = values.iter().filter_map(|it| it.errors?.get(way).copied());
            errors.clear();
            errors.extend(known.filter(|error| !error.is_nan()));
            let few = if errors.len() < MANY { 8.0 } else { 1.0 };
            // Single wrong values are not to widen the measure.
            let spared = if errors.len() < MANY {
                errors.len() / 4
            } else {
                1 + errors.len() / 16
            };
            let last = (errors.len() - spared).checked_sub(1)?;
            let (less, largest, _) = errors.select_nth_unstable_by(last, f32::total_cmp);
            let largest = f64::from(*largest);
            let sum = less.iter().copied().map(f64::from).sum::<f64>() + largest;
            let mean = sum / (last + 1) as f64;
            // What rises as evenly as a clock is known to less than its smallest step.
            let is_exact =
                matches!(foretells, Foretells::Pace) && rises && LARGEST * largest < quantum;
            let quanta = match (counts, is_exact) {
                (true, _) => 0.5,
                (false, true) => 0.9,
                (false, false) => QUANTA,
            };
            let limit = (MEANS * mean).max(LARGEST * largest).max(quanta * quantum);
            let limit = few * limit;
            // One that is exact also foretells across a gap.
            let merit = if is_exact { -1.0 } else { mean };
            Some((merit, Self { foretells, limit }))
        });
        let (_, best) = measures.min_by(|(a, _), (b, _)| a.total_cmp(b))?;
        Some(best)
    }
}

/// What damage can have made is to be nearer than the limit by this.
const CLOSE: f64 = 0.95;

/// A value may be off by so many times the usual,
const MEANS: f64 = 9.0;
/// by so many times the largest, some aside,
const LARGEST: f64 = 3.2;
/// and by so many of the smallest steps there are.
const QUANTA: f64 = 2.5;

#[expect(
    clippy::cast_possible_truncation,
    reason = "seven digits are enough of an error, and halve what each value takes"
)]
fn error(value: f64, foretold: f64) -> f32 {
    (value - foretold).abs() as f32
}

/// Looks how far off each value was that is new. That never changes, so it is done once; and not on the way
/// of every value, because a line without damage needs no measure.
fn take_errors(values: &mut [Point]) {
    for place in (0..values.len()).rev() {
        let (before, rest) = values.split_at_mut(place);
        let Some(it) = rest.first_mut().filter(|it| it.errors.is_none()) else {
            return;
        };
        let segment = if it.begins_segment {
            &[]
        } else {
            segment(before)
        };
        it.errors = Some(Foretells::ALL.map(|how| {
            let foretold = foretell(how, segment, it.at);
            foretold.map_or(f32::NAN, |foretold| error(it.value, foretold))
        }));
    }
}

/// The place value of the last digit that the values have.
fn quantum<'a>(values: impl DoubleEndedIterator<Item = &'a Point>) -> f64 {
    let digits = |value: f64| {
        let mut scaled = value;
        let mut quantum = 1.0;
        for _ in 0..6 {
            if (scaled - scaled.round()).abs() < 1e-6 {
                break;
            }
            scaled *= 10.0;
            quantum /= 10.0;
        }
        quantum
    };
    let last = values.rev().take(16);
    last.map(|it| digits(it.value)).fold(1.0, f64::min)
}

/// Whether two texts are the same but for one byte that is in one of them alone, or another one.
fn is_one_byte_apart(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let same = one.iter().zip(other).take_while(|(a, b)| a == b).count();
    let (one, other) = (&one[same..], &other[same..]);
    match (one, other) {
        ([_, rest @ ..], [_, other_rest @ ..]) if rest == other_rest => true,
        ([_, rest @ ..], _) if rest == other => true,
        (_, [_, rest @ ..]) => rest == one,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_that_is_lost_changed_or_added_is_one_byte() {
        for (one, other) in [
            ("21.1", "2.1"),
            ("10", "1"),
            ("-65", "-25"),
            ("7", "77"),
            ("-3", "3"),
        ] {
            assert!(is_one_byte_apart(one, other) && is_one_byte_apart(other, one));
        }
        for (one, other) in [
            ("21.1", "36.1"),
            ("21.1", "21.1"),
            ("10", "9"),
            ("100", "1"),
            ("12", "21"),
        ] {
            assert!(!is_one_byte_apart(one, other) && !is_one_byte_apart(other, one));
        }
    }
}
