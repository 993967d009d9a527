//! Runs the gateway and its parts against real servers, each started by the test that needs it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a fixture that cannot do its work fails the test that uses it"
)]

mod fixtures;
mod influx_client;
mod support;
mod terminal;
