//! The MQTT sink.
//!
//! One connection is one `EventLoop` of rumqttc. When it ends it is thrown away, and the next one
//! begins at the journal's cursor: rumqttc 0.25 empties its queue of unacknowledged publishes when a
//! broker has no session for it, so its own resending cannot be trusted with data.

mod announcement;
mod delivery;
mod discovery;
mod failure;
mod flight;
mod message;
mod options;

pub use delivery::MqttDelivery;
pub use failure::explain;
pub use message::TopicMap;
pub use options::options;
