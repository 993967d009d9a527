//! A sink that goes back in the journal: what is asked for, and what is answered.

use serde::{Deserialize, Serialize};

use super::parameters::{TIME_FORMS, parse_time};
use crate::monitor::{LinkId, RewindTo};

/// The word for the whole history.
const OLDEST: &str = "oldest";

/// What is asked for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RewindRequest {
    /// Which sink.
    pub(super) link: LinkId,
    /// From when on it delivers again: a time, or `oldest`.
    pub(super) to: String,
}

/// The answer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Rewound {
    /// Which sink.
    pub(super) rewound: LinkId,
    /// How many readings it delivers again.
    pub(super) readings: u64,
}

/// From where, in words for an answer that is wrong.
pub(super) fn parse(to: &str) -> Result<RewindTo, String> {
    if to == OLDEST {
        return Ok(RewindTo::Oldest);
    }
    let time = parse_time(to).ok_or_else(|| format!("to is no time; {TIME_FORMS}, or {OLDEST}"));
    time.map(RewindTo::Time)
}

/// As it is asked for.
pub(super) fn text(to: RewindTo) -> String {
    match to {
        RewindTo::Oldest => OLDEST.to_owned(),
        RewindTo::Time(time) => time.to_rfc3339_nanos(),
    }
}
