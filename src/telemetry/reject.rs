//! Why a frame is no telemetry.

use serde::{Deserialize, Serialize};

/// Why a frame was rejected.
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
}

impl RejectReason {
    /// All reasons.
    pub const ALL: [Self; 6] = [
        Self::Syntax,
        Self::Unfinished,
        Self::TooLong,
        Self::InvalidUtf8,
        Self::NotTelemetry,
        Self::InvalidTime,
    ];

    /// The reason as metrics name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Syntax => "syntax",
            Self::Unfinished => "unfinished",
            Self::TooLong => "too_long",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::NotTelemetry => "not_telemetry",
            Self::InvalidTime => "invalid_time",
        }
    }

    /// The reason in plain words.
    pub fn explanation(self) -> &'static str {
        match self {
            Self::Syntax => "no JSON from here on",
            Self::Unfinished => "the line ended inside the object",
            Self::TooLong => "longer than 4096 bytes",
            Self::InvalidUtf8 => "not UTF-8",
            Self::NotTelemetry => "an object without \"ts\"",
            Self::InvalidTime => "\"ts\" is not between 0 and 4294967295",
        }
    }
}
