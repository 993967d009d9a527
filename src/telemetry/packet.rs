//! A decoded frame and the times that belong to it.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Reading;

/// A point in time: nanoseconds since the Unix epoch, UTC, as InfluxDB counts them.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
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

    /// RFC 3339 in UTC, to the nanosecond: `2026-03-01T12:00:00.123456789Z`.
    pub fn to_rfc3339_nanos(self) -> String {
        humantime::format_rfc3339_nanos(self.to_system_time()).to_string()
    }

    fn to_system_time(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(u64::try_from(self.0).unwrap_or(0))
    }

    /// How much later this is than `earlier`; zero when it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// RFC 3339 in UTC with milliseconds: `2026-03-01T12:00:00.000Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_millis(self.to_system_time()).fmt(f)
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
