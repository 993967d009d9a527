//! Where readings go.

pub mod influx;
