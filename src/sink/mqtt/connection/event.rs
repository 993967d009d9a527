//! What goes over a connection, and how it ends.

use crate::config::Qos;
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

/// What became of a message that was given to a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Published {
    /// It is on its way under this packet identifier. At `QoS` 0 that is 0, and there is no
    /// acknowledgement.
    Sent(u16),
    /// The broker takes none like it.
    NotSent(Refusal),
    /// As many messages are under way as may be, or nothing is written at the moment.
    NoRoom,
}

/// What happens on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// All messages that were published at `QoS` 0 are on their way.
    Written,
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
    /// The broker answered a ping.
    PingAnswered,
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

/// The end of a connection, or of the attempt to make one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// Why, in plain words.
    pub failure: Failure,
    /// Who ended it.
    pub cause: Cause,
}

/// Who ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The broker, without a word.
    HangUp,
    /// The broker, with words that can be about a message.
    Objection,
    /// The broker for a reason that has nothing to do with what was sent, the network, or this side.
    Other,
}

impl Ending {
    /// An end that has nothing to do with what was sent.
    pub fn other(failure: Failure) -> Self {
        let cause = Cause::Other;
        Self { failure, cause }
    }

    /// Such an end that may pass by itself.
    pub(in crate::sink::mqtt) fn unavailable(reason: impl Into<String>) -> Self {
        Self::other(Failure::Unavailable(reason.into()))
    }
}

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenError {
    /// There is no way to the broker.
    NotReached(Ending),
    /// The broker was spoken to, and gave no answer that says why it does not accept the connection: it
    /// hung up, was silent, or said something that is no MQTT or no reason.
    NotAnswered(Ending),
    /// The broker says that it does not speak this protocol.
    NotSpoken(Failure),
    /// The broker understood, and did not accept the connection.
    NotAccepted(Failure),
}
