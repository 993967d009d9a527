//! Runs the gateway and its parts against real servers, each started by the test that needs it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a fixture that cannot do its work fails the test that uses it"
)]

mod api;
mod assets;
mod attach;
mod boards;
mod bounds;
mod commands;
mod configuration;
mod crash;
mod delivery;
mod disk;
mod documents;
mod examples;
mod failover;
mod faults;
mod fixtures;
mod formats;
mod gateways;
mod gone;
mod hang_ups;
mod home_assistant;
mod house;
mod influx_answers;
mod influx_client;
mod late;
mod logs;
mod mqtt5;
mod nodes;
mod operator;
mod outage_influx;
mod outage_mqtt;
mod protocols;
mod secrets;
mod service;
mod several_sinks;
mod soak;
mod sources;
mod stopping;
mod support;
mod talking;
mod terminal;
mod times;
mod tls;
mod truth;
mod view;
