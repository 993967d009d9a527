//! Whether a value departs from those before it by more than a metric ever did.
//!
//! What comes next is foretold in three ways, of which the one that was best of late is believed: that
//! the last value stays (a slow drift), that it goes on as it went (a counter, a ramp), or that it is
//! the middle of the last ones (noise). How far off that was is the measure for how far a value may be
//! off: robust against single wrong ones, and wide enough for the long tails of real noise.
//!
//! A real step begins a new *segment*: nothing is foretold across it, so that a heater that is
//! switched on does not make the measure any wider.

use std::collections::VecDeque;

/// Values that are looked back at.
const WINDOW: usize = 128;

/// With fewer values nothing is foretold.
const ENOUGH: usize = 6;

/// Values whose middle foretells the next one.
const MIDDLE: usize = 7;

/// Steps whose middle foretells the next one.
const STEPS: usize = 5;

/// The measure for one metric of one node.
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    values: VecDeque<Value>,
    measure: Option<Measure>,
    /// Values since it was taken.
    age: usize,
}

#[derive(Debug, Clone, Copy)]
struct Value {
    value: f64,
    begins_segment: bool,
}

#[derive(Debug, Clone, Copy)]
struct Measure {
    foretells: Foretells,
    limit: f64,
}

#[derive(Debug, Clone, Copy)]
enum Foretells {
    Last,
    Trend,
    Middle,
}

/// What is expected of the next value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    /// The value itself.
    pub(super) value: f64,
    /// How far off it may be.
    pub(super) limit: f64,
}

impl Expected {
    /// Whether a value is as expected.
    pub(super) fn fits(&self, value: f64) -> bool {
        (value - self.value).abs() <= self.limit
    }

    /// Whether a value confirms an unexpected one before it: the metric stays where that one was, or
    /// moves on in the same direction.
    pub(super) fn confirms(&self, unexpected: f64, value: f64) -> bool {
        let (step, next) = (unexpected - self.value, value - unexpected);
        let near = self.limit.max(step.abs() / 4.0);
        let goes_on = step * next > 0.0 && next.abs() <= 2.0 * step.abs() + self.limit;
        next.abs() <= near || goes_on
    }
}

impl History {
    /// A value was delivered.
    pub(super) fn push(&mut self, value: f64) {
        self.add(value, false);
    }

    /// A value was delivered that nobody expected, and that was confirmed.
    pub(super) fn step_to(&mut self, value: f64) {
        self.add(value, true);
    }

    fn add(&mut self, value: f64, begins_segment: bool) {
        if self.values.len() == WINDOW {
            self.values.pop_front();
        }
        self.values.push_back(Value {
            value,
            begins_segment,
        });
        self.age += 1;
    }

    /// What is expected of the next value; `None`: too little is known.
    pub(super) fn expected(&mut self, counts: bool) -> Option<Expected> {
        if self.values.len() < ENOUGH {
            return None;
        }
        let values = self.values.make_contiguous();
        let measure = match self.measure {
            Some(measure) if self.age <= values.len() / 8 => measure,
            _ => {
                let measure = Measure::of(values, counts)?;
                self.age = 0;
                *self.measure.insert(measure)
            }
        };
        let value = foretell(measure.foretells, segment(values))?;
        Some(Expected {
            value,
            limit: measure.limit,
        })
    }
}

/// The last values up to which nothing was foretold.
fn segment(values: &[Value]) -> &[Value] {
    let start = values.iter().rposition(|it| it.begins_segment);
    let start = start
        .unwrap_or(0)
        .max(values.len().saturating_sub(MIDDLE.max(STEPS + 1)));
    values.get(start..).unwrap_or_default()
}

fn foretell(how: Foretells, segment: &[Value]) -> Option<f64> {
    let last = segment.last()?.value;
    Some(match how {
        Foretells::Last => last,
        Foretells::Trend => {
            let steps = segment.windows(2).map(|pair| pair[1].value - pair[0].value);
            last + middle::<STEPS>(steps.rev()).unwrap_or(0.0)
        }
        Foretells::Middle => middle::<MIDDLE>(segment.iter().rev().map(|it| it.value))?,
    })
}

/// The middle of the first few of some numbers.
fn middle<const N: usize>(numbers: impl Iterator<Item = f64>) -> Option<f64> {
    let mut kept = [0.0; N];
    let mut count = 0;
    for (place, number) in kept.iter_mut().zip(numbers) {
        *place = number;
        count += 1;
    }
    let kept = kept.get_mut(..count)?;
    kept.sort_unstable_by(f64::total_cmp);
    let (low, high) = (kept.get(count.checked_sub(1)? / 2)?, kept.get(count / 2)?);
    Some(low + (high - low) / 2.0)
}

impl Measure {
    /// What fits the values best.
    fn of(values: &[Value], counts: bool) -> Option<Self> {
        let all = [Foretells::Last, Foretells::Trend, Foretells::Middle];
        let measures = all.into_iter().filter_map(|foretells| {
            let mut errors = errors(foretells, values);
            errors.sort_unstable_by(f64::total_cmp);
            // Single wrong values are not to widen the measure.
            let usual = errors.get(..errors.len() - errors.len() / 10)?;
            let mean = usual.iter().sum::<f64>() / usual.len().max(1) as f64;
            let largest = *errors.get(errors.len().checked_sub(1 + errors.len() / 40)?)?;
            let few = if errors.len() < 16 { 2.0 } else { 1.0 };
            let limit = few * (MEANS * mean).max(LARGEST * largest);
            Some((mean, Self { foretells, limit }))
        });
        let (_, mut best) = measures.min_by(|(a, _), (b, _)| a.total_cmp(b))?;
        let quantum = quantum(values);
        best.limit = best.limit.max(if counts { 0.5 } else { QUANTA * quantum });
        Some(best)
    }
}

/// A value may be off by so many times the usual,
const MEANS: f64 = 9.0;
/// by so many times the largest, single ones aside,
const LARGEST: f64 = 2.5;
/// and by so many of the smallest steps there are.
const QUANTA: f64 = 2.5;

/// How far off each value was.
fn errors(how: Foretells, values: &[Value]) -> Vec<f64> {
    let mut errors = Vec::with_capacity(values.len());
    let mut start = 0;
    for (place, it) in values.iter().enumerate() {
        if it.begins_segment {
            start = place;
        }
        let from = start.max(place.saturating_sub(MIDDLE.max(STEPS + 1)));
        if place > from
            && let Some(foretold) = values.get(from..place).and_then(|it| foretell(how, it))
        {
            errors.push((it.value - foretold).abs());
        }
    }
    errors
}

/// The smallest step between two values.
fn quantum(values: &[Value]) -> f64 {
    let steps = values
        .windows(2)
        .map(|pair| (pair[1].value - pair[0].value).abs());
    let smallest = steps
        .filter(|step| *step > 0.0)
        .fold(f64::INFINITY, f64::min);
    if smallest.is_finite() { smallest } else { 0.0 }
}
