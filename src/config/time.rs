//! Times as people write them.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::telemetry::Timestamp;

/// How a time can be written, for people.
pub(crate) const TIME_FORMS: &str = "write it as 2026-03-01T12:00:00Z, or as seconds, milliseconds or \
                                     nanoseconds since 1970";

/// A time as RFC 3339, or as a number since 1970 that tells its unit by its size: seconds below
/// 10¹¹ (the year 5138), then milliseconds below 10¹⁴, microseconds below 10¹⁷, nanoseconds.
pub(crate) fn parse_time(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(number) = text.parse::<i64>() {
        let nanos_per_unit = match number.unsigned_abs() {
            0..100_000_000_000 => 1_000_000_000,
            100_000_000_000..100_000_000_000_000 => 1_000_000,
            100_000_000_000_000..100_000_000_000_000_000 => 1_000,
            _ => 1,
        };
        return number.checked_mul(nanos_per_unit).map(Timestamp);
    }
    // In a query a `+` that nobody encoded arrives as a space.
    let time = OffsetDateTime::parse(&text.replace(' ', "+"), &Rfc3339).ok()?;
    i64::try_from(time.unix_timestamp_nanos())
        .ok()
        .map(Timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_can_be_written_in_many_ways() {
        let expected = Some(Timestamp(1_703_174_400_000_000_000));
        for text in [
            "2023-12-21T16:00:00Z",
            "2023-12-21t16:00:00.000z",
            "2023-12-21T18:00:00+02:00",
            "2023-12-21T18:00:00 02:00",
            "1703174400",
            "1703174400000",
            "1703174400000000",
            "1703174400000000000",
        ] {
            assert_eq!(parse_time(text), expected, "{text}");
        }
        for text in ["", "yesterday", "2023-12-21", "1e9", "99999999999999999999"] {
            assert_eq!(parse_time(text), None, "{text}");
        }
        assert_eq!(parse_time("0"), Some(Timestamp(0)));
        assert_eq!(parse_time("-1"), Some(Timestamp(-1_000_000_000)));
    }
}
