//! Standard input, read to its end.

use std::time::Instant;

use super::SourceError;
use super::stream::{Stream, read_in_thread};

/// Opens standard input.
pub(super) fn open(started: Instant) -> Result<Stream, SourceError> {
    read_in_thread(
        "standard input".to_owned(),
        || Ok(std::io::stdin().lock()),
        started,
    )
}
