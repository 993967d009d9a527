//! InfluxDB: readings as line protocol, the HTTP client that writes them, and what the server's
//! answers mean.

mod answer;
mod client;
pub mod line;

pub use answer::Answer;
pub use client::{Client, ClientError};
