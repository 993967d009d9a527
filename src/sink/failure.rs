//! What a session of a sink can fail by.

/// Why a session ended that should have gone on. Both are tried again; nothing is given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The server is away or in trouble: tried again with growing pauses.
    Unavailable(String),
    /// The server said no, and will until somebody changes something: says what.
    Refused(String),
}
