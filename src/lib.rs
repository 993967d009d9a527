//! fieldgate: a gateway from sensor telemetry to MQTT and InfluxDB that loses nothing on the way.
//!
//! ```text
//! source ─bytes→ framer ─frames→ decoder ─packets→ journal ─┬→ mqtt sink ──→ broker
//!                                                           └→ influx sink → InfluxDB
//! every stage reports to → monitor (counters, link states, latest values) → snapshot → tui | HTTP API
//!                                                                                     | log
//! operator → command → the stage that it names
//! ```
//!
//! Data flows in one direction. Live data and backlog are the same thing: a sink that reads the
//! journal from its cursor. A module may use those before it in this order:
//! `telemetry` < `config` < `monitor` < `journal` < `source`, `sink` < `pipeline` < `api` < `tui` <
//! `commands`; `tui` uses nothing between `monitor` and itself.

pub mod api;
pub mod backoff;
mod causes;
pub mod cli;
pub mod commands;
pub mod config;
#[cfg(feature = "demo")]
pub mod demo;
mod disk_writes;
mod escape;
pub mod http;
pub mod journal;
pub mod logging;
pub mod monitor;
mod ownership;
pub mod pipeline;
pub mod repeated;
pub mod sink;
pub mod source;
pub mod system_clock;
pub mod telemetry;
pub mod tui;
