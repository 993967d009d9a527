//! The InfluxDB sink: readings as line protocol, the HTTP client that writes them, what the server's
//! answers mean, and the batches that are delivered.

mod answer;
mod apart;
mod batch;
mod client;
mod delivery;
mod failure;
mod isolation;
pub mod line;
mod pace;
pub mod query;
mod retry_after;
mod words;

pub use answer::{Answer, Cause, Refusal, Rejected, Setback};
pub use apart::write_apart;
pub use client::{Client, ClientError, Server, query_client};
pub use delivery::InfluxDelivery;
