//! The MQTT sink.

mod announcement;
pub mod client;
mod delivery;
mod discovery;
mod encryption;
mod failure;
mod flight;
mod message;
mod protocol4;
mod protocol5;

pub use delivery::MqttDelivery;
pub use message::TopicMap;
