//! The MQTT sink.

mod announcement;
pub mod connection;
mod delivery;
mod discovery;
mod encryption;
mod failure;
mod flight;
mod message;

pub use delivery::MqttDelivery;
pub use failure::not_accepted;
pub use message::TopicMap;
