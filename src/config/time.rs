//! Times as people write them.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::kind::{Kind, OrRefuse};
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

/// A time in the configuration: as everywhere, or as `date` and `ls` print it, in UTC.
pub(super) fn time() -> Kind<Timestamp> {
    let allowed = "a time as \"2026-03-01T12:00:00Z\", \"2026-03-01T13:00:00+01:00\" or, in UTC, \
                   \"2026-03-01 12:00:00\"";
    Kind::of_text(allowed, |text| {
        let in_utc = || {
            let time = humantime::parse_rfc3339_weak(text.trim()).ok()?;
            parse_time(&humantime::format_rfc3339_nanos(time).to_string())
        };
        parse_time(text).or_else(in_utc).ok_or_default()
    })
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

    #[test]
    fn a_time_of_the_configuration_may_leave_out_the_zone() {
        let time = time();
        let expected = Timestamp(1_703_174_400_500_000_000);
        for text in [
            "2023-12-21T16:00:00.5Z",
            "2023-12-21 16:00:00.5",
            "1703174400500",
        ] {
            assert_eq!(time.parse(&text.into()).ok(), Some(expected), "{text}");
        }
        assert!(time.parse(&"soon".into()).is_err());
    }
}
