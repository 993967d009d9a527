//! Where readings go.
