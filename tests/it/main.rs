//! Runs the gateway and its parts against real servers, each started by the test that needs it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a fixture that cannot do its work fails the test that uses it"
)]

mod api;
mod commands;
mod fixtures;
mod influx_client;
mod service;
mod support;
