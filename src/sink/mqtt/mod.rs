//! The MQTT sink.

mod announcement;
pub mod connection;
mod delivery;
mod device_class;
mod discovery;
mod encryption;
mod failure;
mod flight;
mod identities;
mod message;
mod negotiation;
mod report;
mod retain;
mod session;
mod suspicion;

pub use announcement::KnownMetric;
pub use delivery::MqttDelivery;
pub use failure::{not_accepted, remedy, remedy_of_refusal};
pub use identities::Identities;
pub use message::{TopicMap, own_prefix};
pub use negotiation::Negotiation;
