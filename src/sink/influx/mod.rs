//! The InfluxDB sink: readings as line protocol, the HTTP client that writes them, what the server's
//! answers mean, and the batches that are delivered.

mod answer;
mod client;
mod delivery;
pub mod line;

pub use answer::Answer;
pub(crate) use answer::words;
pub(crate) use client::compress;
pub(crate) use client::with_trust;
pub use client::{Client, ClientError};
pub use delivery::InfluxDelivery;
