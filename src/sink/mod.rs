//! Where readings go. A sink is a [`Delivery`] that knows one kind of server, driven by [`run`], which
//! knows about retries, holds and the way to stop, alike for all. Both see the journal through a
//! [`Lane`].
//!
//! Every sink runs on a thread of its own ([`spawn`]): its reads from the journal block nobody else,
//! and a slow server holds up neither the source nor another sink.

mod dial;
mod driver;
mod failure;
pub mod influx;
mod lane;
pub mod mqtt;
mod rotation;
mod tls;

pub use driver::{Delivery, run, spawn};
pub use failure::Failure;
pub use lane::{Lane, Wake};
