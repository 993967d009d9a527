//! A decoded frame and the times that belong to it.

use std::fmt;
use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;

use super::Reading;

/// Nanoseconds of a second.
const NANOS: i64 = 1_000_000_000;

/// A point in time: nanoseconds since the Unix epoch, UTC, as InfluxDB counts them.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Default,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The system clock's time now.
    pub fn now() -> Self {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self(i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX))
    }

    /// This time moved by a number of milliseconds.
    #[must_use]
    pub fn plus_millis(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis.saturating_mul(1_000_000)))
    }

    /// This time moved on by a stretch of time.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let nanos = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(nanos))
    }

    /// RFC 3339 in UTC, to the nanosecond: `2026-03-01T12:00:00.123456789Z`.
    pub fn to_rfc3339_nanos(self) -> String {
        format!("{}Z", self.rfc3339(9))
    }

    /// RFC 3339 in UTC, with fractions of a second as far as they are not zero.
    pub fn to_rfc3339(self) -> String {
        let text = self.rfc3339(9);
        format!("{}Z", text.trim_end_matches('0').trim_end_matches('.'))
    }

    /// RFC 3339 with so many digits behind the second, without the zone. Every message of MQTT 5 may
    /// carry one, so it is written digit by digit.
    fn rfc3339(self, digits: usize) -> String {
        let seconds = self.0.div_euclid(NANOS);
        // Every number of nanoseconds that fits is a time.
        let time =
            OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let mut text = *b"0000-00-00T00:00:00.000000000";
        let mut put = |place: Range<usize>, mut value: i64| {
            for digit in text[place].iter_mut().rev() {
                *digit = b'0' + u8::try_from(value % 10).unwrap_or(0);
                value /= 10;
            }
        };
        put(0..4, time.year().into());
        put(5..7, u8::from(time.month()).into());
        put(8..10, time.day().into());
        put(11..13, time.hour().into());
        put(14..16, time.minute().into());
        put(17..19, time.second().into());
        put(20..29, self.0.rem_euclid(NANOS));
        let end = text.len() - 9 + digits;
        String::from_utf8_lossy(&text[..end]).into_owned()
    }

    /// How much later this is than `earlier`; zero when it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// RFC 3339 in UTC with milliseconds: `2026-03-01T12:00:00.000Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}Z", self.rfc3339(3))
    }
}

/// The readings of one radio packet, as they go into the journal.
#[derive(Debug, Clone, PartialEq)]
pub struct Packet {
    /// When the gateway read it.
    pub received: Timestamp,
    /// When the board measured it: the time that InfluxDB gets.
    pub event_time: Timestamp,
    /// What it carries; may be empty, when every sensor of it was silent.
    pub readings: Vec<Reading>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::format_description::well_known::Rfc3339;

    use super::*;

    #[test]
    fn a_time_is_written_with_the_digits_that_are_asked_for() {
        let time = Timestamp(1_772_366_400_120_000_000);
        assert_eq!(time.to_string(), "2026-03-01T12:00:00.120Z");
        assert_eq!(time.to_rfc3339_nanos(), "2026-03-01T12:00:00.120000000Z");
        assert_eq!(time.to_rfc3339(), "2026-03-01T12:00:00.12Z");
        assert_eq!(
            Timestamp(1_772_366_400_000_000_000).to_rfc3339(),
            "2026-03-01T12:00:00Z"
        );
        assert_eq!(Timestamp(-1).to_string(), "1969-12-31T23:59:59.999Z");
    }

    proptest! {
        #[test]
        fn every_time_is_written_as_others_write_it(nanos in any::<i64>()) {
            let expected = OffsetDateTime::from_unix_timestamp_nanos(nanos.into()).unwrap();
            let time = Timestamp(nanos);
            prop_assert_eq!(time.to_rfc3339(), expected.format(&Rfc3339).unwrap());
            prop_assert_eq!(time.to_rfc3339_nanos().len(), "2026-03-01T12:00:00.000000000Z".len());
        }
    }
}
