//! Numbers, rates and times as text that keeps its place while its value changes.

use std::time::Duration;

use crate::telemetry::{ShortestValue, Timestamp};

/// A value with its decimal point always at the same place: so many digits before it and at most so
/// many behind, without trailing zeros. What does not fit is written with an exponent.
pub(crate) fn aligned(value: f64, before: usize, behind: usize) -> String {
    let width = before + 1 + behind;
    let shortest = ShortestValue(value).to_string();
    let (whole, fraction) = shortest.split_once('.').unwrap_or((&shortest, ""));
    let is_short = whole.len() <= before && fraction.len() <= behind && !shortest.contains('e');
    let rounded = if is_short {
        shortest.clone()
    } else {
        format!("{value:.behind$}")
    };
    let rounded = match rounded.split_once('.') {
        Some((whole, fraction)) => match fraction.trim_end_matches('0') {
            "" => whole.to_owned(),
            fraction => format!("{whole}.{fraction}"),
        },
        None => rounded,
    };
    let whole = rounded.split('.').next().unwrap_or("");
    // A value that rounds to nothing would look like nothing.
    let vanishes = value != 0.0 && !rounded.contains(['1', '2', '3', '4', '5', '6', '7', '8', '9']);
    if whole.len() <= before && !vanishes {
        let indent = before - whole.len();
        return format!("{:<width$}", format!("{:indent$}{rounded}", ""));
    }
    for digits in (0..=3).rev() {
        let exponent = format!("{value:.digits$e}");
        if exponent.len() <= width {
            return format!("{exponent:>width$}");
        }
    }
    "#".repeat(width)
}

/// A count with its thousands set apart: `1,234,567`.
pub(crate) fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A share in hundredths: `0 %`, `<0.1%`, `6.2%`, `62 %`.
pub(crate) fn percent(share: f64) -> String {
    match share {
        share if share <= 0.0 => "0 %".to_owned(),
        share if share < 0.1 => "<0.1%".to_owned(),
        share if share < 9.95 => format!("{share:.1}%"),
        share => format!("{share:.0} %"),
    }
}

/// A count that stays short: `98,765`, `123k`, `10M`.
pub(crate) fn short_count(number: u64) -> String {
    match number {
        0..100_000 => count(number),
        100_000..1_000_000 => format!("{}k", count(number / 1_000)),
        1_000_000..10_000_000 => format!("{:.1}M", number as f64 / 1e6),
        10_000_000..10_000_000_000 => format!("{}M", count(number / 1_000_000)),
        _ => format!("{}G", count(number / 1_000_000_000)),
    }
}

/// A number of bytes: `812 B`, `1.2 MB`.
pub(crate) fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB", "GB", "TB"] {
        if value < 999.5 || unit == "TB" {
            let digits = usize::from(unit != "B" && value < 99.95);
            return format!("{value:.digits$} {unit}");
        }
        value /= 1000.0;
    }
    String::new()
}

/// A rate per second, or per minute where that reads better; at most six characters up to a
/// million.
pub(crate) fn rate(per_second: f64) -> String {
    match per_second {
        rate if rate <= 0.0 => "0/s".to_owned(),
        rate if rate < 0.95 => format!("{:.0}/min", (rate * 60.0).max(1.0)),
        rate if rate < 9.95 => format!("{rate:.1}/s"),
        rate if rate < 9_999.5 => format!("{rate:.0}/s"),
        rate => format!("{:.0}k/s", rate / 1000.0),
    }
}

/// A stretch of time in its two largest units: `12s`, `3m 20s`, `2h 03m`, `3d 04h`.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m {:02}s", seconds % 60),
        3600..86_400 => format!("{hours}h {:02}m", minutes % 60),
        _ => format!("{days}d {:02}h", hours % 24),
    }
}

/// The time between two lines in at most six characters: `12ms`, `9.87s`, `98.7s`, `59m59s`, `23h59m`,
/// `3d`.
pub(crate) fn gap(gap: Duration) -> String {
    let millis = gap.as_millis();
    let seconds = gap.as_secs();
    match seconds {
        0 => format!("{millis}ms"),
        1..10 => format!("{}.{:02}s", seconds, millis % 1000 / 10),
        10..100 => format!("{}.{}s", seconds, millis % 1000 / 100),
        100..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A round stretch of time: `5 min`, `24 h`.
pub(crate) fn span(span: Duration) -> String {
    let minutes = span.as_secs() / 60;
    if minutes.is_multiple_of(60) {
        format!("{} h", minutes / 60)
    } else {
        format!("{minutes} min")
    }
}

/// `12:34` in UTC.
pub(crate) fn time_of_minute(time: Timestamp) -> String {
    let mut text = time_of_day(time);
    text.truncate(5);
    text
}

/// `12:34:56` in UTC.
pub(crate) fn time_of_day(time: Timestamp) -> String {
    let seconds = time.0.div_euclid(1_000_000_000).rem_euclid(86_400);
    format!(
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_between_lines_fit_into_their_column() {
        for (millis, expected) in [
            (0, "0ms"),
            (999, "999ms"),
            (1_000, "1.00s"),
            (9_999, "9.99s"),
            (10_000, "10.0s"),
            (99_999, "99.9s"),
            (100_000, "1m40s"),
            (3_599_999, "59m59s"),
            (86_399_999, "23h59m"),
            (86_400_000, "1d"),
        ] {
            assert_eq!(gap(Duration::from_millis(millis)), expected);
        }
    }

    #[test]
    fn decimal_points_stand_under_each_other() {
        let column = [
            27.6,
            1013.25,
            -39.0,
            84190.0,
            0.0,
            27.600_000_381,
            1e7,
            0.0001,
            -1e300,
            999_999.999_9,
        ]
        .map(|value| aligned(value, 6, 3));
        assert_eq!(
            column,
            [
                "    27.6  ",
                "  1013.25 ",
                "   -39    ",
                " 84190    ",
                "     0    ",
                "    27.6  ",
                "   1.000e7",
                "  1.000e-4",
                "-1.000e300",
                "   1.000e6",
            ]
        );
        assert_eq!(aligned(-1e300, 2, 1), "####");
    }

    #[test]
    fn every_width_is_kept() {
        for exponent in -320..=308 {
            for sign in [1.0, -1.0] {
                let value = sign * 9.999_999 * 10_f64.powi(exponent);
                assert_eq!(aligned(value, 5, 2).len(), 8, "{value}");
            }
        }
    }

    #[test]
    fn counts_and_sizes_read_well() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(bytes(812), "812 B");
        assert_eq!(bytes(1_234), "1.2 kB");
        assert_eq!(bytes(999_700), "1.0 MB");
        assert_eq!(bytes(123_456_789), "123 MB");
        assert_eq!(rate(0.0), "0/s");
        assert_eq!(rate(0.1), "6/min");
        assert_eq!(rate(3.04), "3.0/s");
        assert_eq!(rate(4_812.3), "4812/s");
        assert_eq!(rate(20_000.0), "20k/s");
        assert_eq!(rate(312_345.0), "312k/s");
        assert_eq!(span(Duration::from_mins(5)), "5 min");
        assert_eq!(span(Duration::from_hours(24)), "24 h");
    }

    #[test]
    fn stretches_of_time_have_two_units() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (200, "3m 20s"),
            (7_380, "2h 03m"),
            (273_600, "3d 04h"),
        ] {
            assert_eq!(duration(Duration::from_secs(seconds)), text);
        }
        assert_eq!(
            time_of_day(Timestamp(1_700_000_000_000_000_000)),
            "22:13:20"
        );
    }
}
