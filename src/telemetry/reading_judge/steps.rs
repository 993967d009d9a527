//! Which unexpected values are believed after all.

use super::MAX_UNEXPECTED;
use crate::telemetry::Timestamp;
use crate::telemetry::spikes::{Expected, History, middle};
use crate::telemetry::waiting::Waiting;

/// From this share of damaged frames on, wrong values confirm each other.
const MUCH_DAMAGE: f64 = 0.7;

/// What departs from the middle of some by no more than so many times what is usual is alike.
const ALIKE: f64 = 4.0;

/// The places of those that a value confirms which nobody expected either; `share` is that of damaged
/// frames.
///
/// The next value is enough. Only where much is damaged, and damage can have made both, a third one is
/// needed.
pub(super) fn confirmed(
    unexpected: &[Waiting],
    history: &History,
    expected: &Expected,
    measured: (f64, Timestamp),
    share: f64,
) -> Vec<usize> {
    let confirms = |it: &Waiting| expected.confirms((it.reading.value, it.event_time), measured);
    let confirmed = unexpected.iter().enumerate().filter(|(_, it)| confirms(it));
    let mut places: Vec<usize> = confirmed.map(|(place, _)| place).collect();
    let last = places.last().and_then(|place| unexpected.get(*place));
    let is_made = |value| history.is_one_byte_from(expected, value);
    let is_doubtful = share >= MUCH_DAMAGE
        && last.is_some_and(|it| is_made(it.reading.value))
        && is_made(measured.0);
    let needed = if is_doubtful { 2 } else { 1 };
    let first = places.len().checked_sub(needed);
    first.map_or_else(Vec::new, |first| places.split_off(first))
}

/// Those that are alike, and the others.
pub(super) fn alike(unexpected: Vec<Waiting>) -> (Vec<Waiting>, Vec<Waiting>) {
    const ALL: usize = MAX_UNEXPECTED + 1;
    let values = || unexpected.iter().map(|it| it.reading.value);
    let center = middle::<ALL>(values()).unwrap_or_default();
    let off = |value: f64| (value - center).abs();
    let usual = middle::<ALL>(values().map(off)).unwrap_or_default();
    unexpected
        .into_iter()
        .partition(|it| off(it.reading.value) <= ALIKE * usual)
}
