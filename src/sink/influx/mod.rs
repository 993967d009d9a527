//! The InfluxDB sink: readings as line protocol, the HTTP client that writes them, what the server's
//! answers mean, and the batches that are delivered.

mod answer;
mod client;
mod delivery;
pub mod line;

pub use answer::Answer;
pub(crate) use answer::words;
pub use client::{Client, ClientError};
pub(crate) use client::{compress, with_trust};
pub use delivery::InfluxDelivery;
