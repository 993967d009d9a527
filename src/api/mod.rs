//! The gateway over HTTP: a server over any [`Observer`](crate::monitor::Observer), and a client that
//! is one again, on another machine.
//!
//! What is served is described in `docs/openapi.json`. Nobody who asks can hold up the gateway: all is
//! bounded, and who reads too slowly is dropped.

mod client;
mod connection;
mod events;
mod guard;
mod lease;
mod parameters;
mod prometheus;
mod refusal;
mod rewind;
mod routes;
mod seats;
mod server;
mod socket;

pub use client::{Client, ClientError, Lending, Remote};
pub(crate) use parameters::{TIME_FORMS, parse_time};
pub use prometheus::render as render_metrics;
pub use server::{ApiError, Server};
pub use socket::{runtime_folder, socket_path};
