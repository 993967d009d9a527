//! Why a frame or a reading is not delivered.

use serde::{Deserialize, Serialize};

/// Why a frame was rejected, or a reading of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectReason {
    /// The text is no JSON from some byte on.
    Syntax,
    /// A line ended inside the object.
    Unfinished,
    /// The object is longer than a frame may be.
    TooLong,
    /// The bytes are no UTF-8.
    InvalidUtf8,
    /// A whole object that is no telemetry: without `ts`.
    NotTelemetry,
    /// `ts` is no unsigned 32-bit number.
    InvalidTime,
    /// Telemetry that carries no reading.
    NoReadings,
    /// The same key stands twice in one object.
    RepeatedKey,
    /// `ts` or `rx` fits neither what came before nor what came next.
    ContradictsNeighbours,
    /// A value that its sensor cannot measure.
    OutOfRange,
    /// A node or metric that is not known, and did not come again.
    UnconfirmedName,
    /// A value far from those before and after it.
    Spike,
}

impl RejectReason {
    /// All reasons.
    pub const ALL: [Self; 12] = [
        Self::Syntax,
        Self::Unfinished,
        Self::TooLong,
        Self::InvalidUtf8,
        Self::NotTelemetry,
        Self::InvalidTime,
        Self::NoReadings,
        Self::RepeatedKey,
        Self::ContradictsNeighbours,
        Self::OutOfRange,
        Self::UnconfirmedName,
        Self::Spike,
    ];

    /// The reasons for which whole frames are rejected.
    pub fn of_frames() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().take(9)
    }

    /// The reasons for which single readings are set aside.
    pub fn of_readings() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().skip(8)
    }

    /// The reason as metrics name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Syntax => "syntax",
            Self::Unfinished => "unfinished",
            Self::TooLong => "too_long",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::NotTelemetry => "not_telemetry",
            Self::InvalidTime => "invalid_time",
            Self::NoReadings => "no_readings",
            Self::RepeatedKey => "repeated_key",
            Self::ContradictsNeighbours => "contradicts_neighbours",
            Self::OutOfRange => "out_of_range",
            Self::UnconfirmedName => "unconfirmed_name",
            Self::Spike => "spike",
        }
    }

    /// The reason in plain words.
    pub fn explanation(self) -> &'static str {
        match self {
            Self::Syntax => "cannot be read from here on",
            Self::Unfinished => "the line ended inside the object",
            Self::TooLong => "longer than 4096 bytes",
            Self::InvalidUtf8 => "not UTF-8",
            Self::NotTelemetry => "an object without \"ts\", or without its node",
            Self::InvalidTime => "\"ts\" is not between 0 and 4294967295",
            Self::NoReadings => "telemetry without any reading",
            Self::RepeatedKey => "the same key twice in one object",
            Self::ContradictsNeighbours => {
                "\"ts\" or \"rx\" fits neither the packet before nor the next one"
            }
            Self::OutOfRange => "beyond what the sensor can measure",
            Self::UnconfirmedName => "a new name that did not come often enough to be believed",
            Self::Spike => "far from the values before it, and the next one did not confirm it",
        }
    }
}
