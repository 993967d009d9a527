//! From values and times to places in a chart. Pure arithmetic.

use crate::monitor::HistoryPoint;
use crate::tui::state::Limits;

/// A gap this many times the usual one is not drawn over, nor read across.
const GAP: i64 = 4;

const SECOND: i64 = 1_000_000_000;

pub(super) const MINUTE: i64 = 60 * SECOND;

/// Seconds between two times at the axis.
const TIME_STEPS: [i64; 16] = [
    1, 2, 5, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200,
];

/// The smallest and the largest value that are shown, with some room around them. Limits are among
/// them where they are no further away than the values are from each other.
pub(super) fn bounds(
    lines: &[(usize, &[HistoryPoint])],
    from: i64,
    (min, max): Limits,
) -> Option<(f64, f64)> {
    let mut low = f64::INFINITY;
    let mut high = f64::NEG_INFINITY;
    for (_, points) in lines {
        for point in points.iter().filter(|point| point.time.0 >= from) {
            low = low.min(point.min);
            high = high.max(point.max);
        }
    }
    if low > high {
        return None;
    }
    let reach = high - low;
    if let Some(min) = min.filter(|min| *min < low && low - *min <= reach) {
        low = min;
    }
    if let Some(max) = max.filter(|max| *max > high && *max - high <= reach) {
        high = max;
    }
    let room = (high / 2.0 - low / 2.0) * 0.1;
    let room = if room > 0.0 {
        room
    } else {
        // A straight line lies in the middle.
        (high.abs() * 1e-3).max(1e-3)
    };
    Some((
        (low - room).max(f64::MIN / 4.0),
        (high + room).min(f64::MAX / 4.0),
    ))
}

/// A line: the number that gives it its colour, and points in shares of the width.
pub(super) type Stroke = (usize, Vec<(f64, f64)>);

/// The lines to draw; interrupted where nothing was measured.
pub(super) fn strokes(lines: &[(usize, &[HistoryPoint])], (from, to): (i64, i64)) -> Vec<Stroke> {
    let span = (to - from).max(1) as f64;
    let mut strokes = Vec::new();
    for (number, points) in lines {
        let usual = usual_gap(points);
        let mut stroke: Vec<(f64, f64)> = Vec::new();
        let mut last: Option<i64> = None;
        for point in points.iter().filter(|point| point.time.0 >= from) {
            let is_interrupted =
                last.is_some_and(|last| point.time.0 - last > usual.saturating_mul(GAP));
            if is_interrupted {
                strokes.push((*number, std::mem::take(&mut stroke)));
            }
            last = Some(point.time.0);
            stroke.push(((point.time.0 - from) as f64 / span, point.mean));
        }
        strokes.push((*number, stroke));
    }
    strokes
}

/// From the smallest to the largest value that a point stands for: the number that gives it its
/// colour, its place in shares of the width, and both values.
pub(super) type Spread = (usize, f64, (f64, f64));

/// What lies around the lines where points stand for several values.
pub(super) fn spreads(lines: &[(usize, &[HistoryPoint])], (from, to): (i64, i64)) -> Vec<Spread> {
    let span = (to - from).max(1) as f64;
    let spread = |number: usize, point: &HistoryPoint| {
        let x = (point.time.0 - from) as f64 / span;
        (number, x, (point.min, point.max))
    };
    lines
        .iter()
        .flat_map(|(number, points)| points.iter().map(move |point| (*number, point)))
        .filter(|(_, point)| point.time.0 >= from && point.min < point.max)
        .map(|(number, point)| spread(number, point))
        .collect()
}

/// The value at a time; `None` where the line is interrupted or has not begun.
pub(super) fn value_at(points: &[HistoryPoint], at: i64) -> Option<f64> {
    let nearest = points
        .iter()
        .min_by_key(|point| point.time.0.abs_diff(at))?;
    let reach = usual_gap(points).saturating_mul(GAP) / 2;
    let is_near = nearest.time.0.abs_diff(at) <= reach.unsigned_abs();
    is_near.then_some(nearest.mean)
}

/// The median distance between two points.
fn usual_gap(points: &[HistoryPoint]) -> i64 {
    let mut gaps: Vec<i64> = points
        .windows(2)
        .map(|pair| pair[1].time.0 - pair[0].time.0)
        .collect();
    gaps.sort_unstable();
    gaps.get(gaps.len() / 2).copied().unwrap_or(MINUTE)
}

/// Round values between two bounds, at most about so many, and the decimals that tell them apart.
pub(super) fn value_ticks((low, high): (f64, f64), most: u16) -> (Vec<f64>, usize) {
    let raw = (high / 2.0 - low / 2.0) * 2.0 / f64::from(most.max(1));
    let exponent = raw.log10().floor();
    let magnitude = 10_f64.powf(exponent);
    let factor = match raw / magnitude {
        share if share <= 1.0 => 1.0,
        share if share <= 2.0 => 2.0,
        share if share <= 5.0 => 5.0,
        _ => 10.0,
    };
    let step = magnitude * factor;
    if !step.is_normal() {
        return (vec![low, high], 0);
    }
    let decimals = if factor >= 10.0 {
        exponent + 1.0
    } else {
        exponent
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an exponent of 10, negated and clamped"
    )]
    let decimals = (-decimals).clamp(0.0, 9.0) as usize;
    let first = (low / step).ceil();
    let ticks = (0..=most)
        // Adding nothing turns -0 into 0.
        .map(|index| (first + f64::from(index)) * step + 0.0)
        .take_while(|tick| *tick <= high)
        .collect();
    (ticks, decimals)
}

/// Round times between two, at most about so many.
pub(super) fn time_ticks((from, to): (i64, i64), most: u16) -> Vec<i64> {
    let most = i64::from(most.max(1));
    let step = TIME_STEPS
        .into_iter()
        .map(|seconds| seconds * SECOND)
        .find(|step| (to - from) / step <= most)
        .unwrap_or(24 * 60 * MINUTE);
    let first = from.div_euclid(step) + 1;
    let last = to.div_euclid(step);
    (first..=last).map(|index| index * step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Timestamp;

    fn point(seconds: i64, value: f64) -> HistoryPoint {
        HistoryPoint {
            time: Timestamp(seconds * 1_000_000_000),
            min: value,
            mean: value,
            max: value,
            count: 1,
        }
    }

    #[test]
    fn ticks_are_round_and_have_the_decimals_that_tell_them_apart() {
        for (bounds, most, ticks, decimals) in [
            ((14.5, 26.5), 4, &[15.0, 20.0, 25.0][..], 0),
            ((0.0, 1.0), 5, &[0.0, 0.2, 0.4, 0.6, 0.8, 1.0], 1),
            ((27.5995, 27.6025), 4, &[27.6, 27.601, 27.602], 3),
            ((-1.0, 50.0), 3, &[0.0, 20.0, 40.0], 0),
        ] {
            let (found, found_decimals) = value_ticks(bounds, most);
            assert_eq!(found_decimals, decimals, "{bounds:?}");
            assert_eq!(found.len(), ticks.len(), "{bounds:?}: {found:?}");
            for (found, tick) in found.iter().zip(ticks) {
                assert!((found - tick).abs() < 1e-9, "{bounds:?}: {found}");
            }
        }
    }

    #[test]
    fn no_bounds_are_too_strange_for_ticks() {
        for (low, high) in [
            (f64::MIN / 4.0, f64::MAX / 4.0),
            (0.0, f64::MIN_POSITIVE / 8.0),
            (1e300, 1.1e300),
            (5.0, 5.0),
        ] {
            let (ticks, _) = value_ticks((low, high), 5);
            assert!(ticks.len() <= 7, "{ticks:?}");
        }
    }

    #[test]
    fn times_at_the_axis_are_round() {
        let second = 1_000_000_000;
        let ticks = time_ticks((7 * second, 307 * second), 6);
        assert_eq!(ticks, [60, 120, 180, 240, 300].map(|at| at * second));
        let ticks = time_ticks((7 * second, 47 * second), 3);
        assert_eq!(ticks, [15, 30, 45].map(|at| at * second));
        let day = 86_400 * second;
        assert_eq!(time_ticks((1, day), 5).len(), 4);
    }

    #[test]
    fn nothing_is_read_where_nothing_was_measured() {
        let points: Vec<HistoryPoint> = (0..10)
            .chain(100..110)
            .map(|at| point(at, at as f64))
            .collect();
        let at = |seconds: i64| value_at(&points, seconds * 1_000_000_000);
        assert_eq!(at(5), Some(5.0));
        assert_eq!(at(11), Some(9.0));
        assert_eq!(at(50), None);
        assert_eq!(at(105), Some(105.0));
        assert_eq!(value_at(&[], 5), None);
    }

    #[test]
    fn limits_are_shown_where_they_are_near() {
        let points = [point(1, 20.0), point(2, 24.0)];
        let of = |limits| bounds(&[(0, &points)], 0, limits).unwrap();
        let (low, high) = of((Some(-40.0), Some(25.0)));
        assert!(low > 0.0 && high > 25.0, "{low} {high}");
        let (low, high) = of((Some(18.0), Some(90.0)));
        assert!(low < 18.0 && high < 30.0, "{low} {high}");
    }

    #[test]
    fn a_straight_line_lies_in_the_middle() {
        let points = [point(1, 20.0), point(2, 20.0)];
        let (low, high) = bounds(&[(0, &points)], 0, Limits::default()).unwrap();
        assert!(low < 20.0 && high > 20.0 && (high - 20.0 - (20.0 - low)).abs() < 1e-9);
        assert!(bounds(&[(0, &points)], i64::MAX, Limits::default()).is_none());
    }
}
