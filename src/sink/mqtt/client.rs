//! A connection to a broker as the delivery knows it, whichever protocol it speaks.

use std::pin::Pin;
use std::time::Duration;

use futures_util::Stream;
use tokio::sync::mpsc::Sender;

use super::{protocol4, protocol5};
use crate::config::{Mqtt, Protocol, Qos};
use crate::sink::Failure;
use crate::telemetry::Timestamp;

/// A message, or a last will.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where it goes.
    pub topic: String,
    /// What it says.
    pub payload: String,
    /// Its quality of service.
    pub qos: Qos,
    /// Whether the broker shall keep it for later subscribers.
    pub retained: bool,
    /// When what it says was measured; `None` for what the gateway says of itself. MQTT 3.1.1 has no
    /// place for it.
    pub event_time: Option<Timestamp>,
}

/// Who connects, beside what the configuration says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// The name towards the broker.
    pub client_id: String,
    /// What the broker publishes when the connection breaks off.
    pub will: Option<Message>,
    /// Requests that the client takes before it sends any; at least one.
    pub capacity: usize,
}

/// What happens on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The broker accepted the connection.
    Accepted {
        /// Between the pings that it wants.
        keep_alive: Duration,
    },
    /// The broker answered, and did not accept the connection.
    NotAccepted(Failure),
    /// The next of the messages that the client took was sent, under this packet identifier. At
    /// `QoS` 0 it is 0, and being sent is all there is.
    Sent(u16),
    /// The next of the messages that the client took was not sent: the broker takes none like it.
    NotSent(Refusal),
    /// The broker has the message with this identifier for good.
    Acknowledged(u16),
    /// The broker did not take the message with this identifier. MQTT 3.1.1 cannot say so.
    Refused {
        /// Of the message.
        packet_id: u16,
        /// Why.
        refusal: Refusal,
    },
    /// The broker has a message of `QoS` 2, whose handshake goes on.
    Received,
    /// The broker took the subscription, or said why not.
    Subscribed(Result<(), String>),
    /// A message that was subscribed to.
    Message(Received),
    /// The broker said something else.
    Heard,
}

/// A message that the broker passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Where it was published.
    pub topic: String,
    /// What it says.
    pub payload: Vec<u8>,
    /// Whether it was published before the subscription.
    pub is_retained: bool,
}

/// Why a broker does not take a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// In plain words, with what to do.
    pub reason: String,
    /// Whether something is wrong with this message, so that it would be refused again whatever is
    /// changed at the broker. Otherwise the broker may take it later.
    pub is_of_this_message: bool,
}

/// A connection's events, read without ever dropping a half-done read. They move the connection:
/// nothing is sent while nobody reads them. After a failure there are no more.
pub type Events = Pin<Box<dyn Stream<Item = Result<Event, Failure>> + Send>>;

/// Hands requests to a connection. None of its functions waits.
#[derive(Debug)]
pub struct Client(Speaker);

#[derive(Debug)]
enum Speaker {
    Protocol4(rumqttc::AsyncClient),
    Protocol5(Sender<protocol5::Request>),
}

/// Prepares a connection: it is made when its events are read. An error is one of files that the
/// configuration names.
pub fn open(config: &Mqtt, opening: Opening) -> Result<(Client, Events), Failure> {
    let (speaker, events) = match config.protocol {
        Protocol::Mqtt311 => {
            let (client, events) = protocol4::open(config, opening)?;
            (Speaker::Protocol4(client), events)
        }
        Protocol::Mqtt5 { message_expiry } => {
            let (requests, events) = protocol5::open(config, opening, message_expiry)?;
            (Speaker::Protocol5(requests), events)
        }
    };
    Ok((Client(speaker), events))
}

impl Client {
    /// Hands a message over; false: there is no room for it.
    ///
    /// Topics are valid by their making, so that there is no other reason.
    pub fn publish(&self, message: Message) -> bool {
        match &self.0 {
            Speaker::Protocol4(client) => protocol4::publish(client, message),
            Speaker::Protocol5(requests) => requests
                .try_send(protocol5::Request::Publish(message))
                .is_ok(),
        }
    }

    /// Subscribes to a topic at `QoS` 0; false: there is no room for it.
    pub fn subscribe(&self, topic: &str) -> bool {
        match &self.0 {
            Speaker::Protocol4(client) => client
                .try_subscribe(topic, rumqttc::QoS::AtMostOnce)
                .is_ok(),
            Speaker::Protocol5(requests) => {
                let topic = topic.to_owned();
                requests
                    .try_send(protocol5::Request::Subscribe(topic))
                    .is_ok()
            }
        }
    }

    /// Ends the connection when what was handed over before is sent; false: there is no room for it.
    pub fn disconnect(&self) -> bool {
        match &self.0 {
            Speaker::Protocol4(client) => client.try_disconnect().is_ok(),
            Speaker::Protocol5(requests) => {
                requests.try_send(protocol5::Request::Disconnect).is_ok()
            }
        }
    }
}
