//! MQTT 5.
//!
//! Packets are those of rumqttc; the connection is not. The client for MQTT 5 in rumqttc 0.25 loses
//! what this protocol is used for here: the reason of a DISCONNECT as Mosquitto sends it, and with a
//! reason that it does not know the connection. A refused publish of `QoS` 2 counts as under way for
//! good there, and a keep-alive below 5 s makes it panic.
//!
//! As many messages are under way as the broker's Receive Maximum and `max_inflight` allow. Nothing is
//! ever sent twice on a connection, nor does anything outlive it: what is not acknowledged is still in
//! the journal.

mod connection;
mod handshake;
mod identifiers;
mod incoming;
mod reason;
mod socket;

use futures_util::stream;
use tokio::sync::mpsc::{self, Sender};

use super::client::{Event, Events, Message, Opening};
use super::encryption::client_config;
use crate::config::Mqtt;
use crate::sink::Failure;
use connection::Connection;
use handshake::{Handshake, Reply};
use incoming::Malformed;

/// What the client is asked for.
#[derive(Debug)]
pub(super) enum Request {
    Publish(Message),
    /// To this topic.
    Subscribe(String),
    Disconnect,
}

/// A connection, from before it is made until it has ended.
enum Stage {
    Before(Box<Handshake>),
    During(Box<Connection>),
    After,
}

/// See [`open`](super::client::open).
pub(super) fn open(
    config: &Mqtt,
    opening: Opening,
    message_expiry: Option<u32>,
) -> Result<(Sender<Request>, Events), Failure> {
    let (sender, requests) = mpsc::channel(opening.capacity.max(1));
    let handshake = Handshake {
        tls: config.transport.tls().map(client_config).transpose()?,
        config: config.clone(),
        client_id: opening.client_id,
        will: opening.will,
        message_expiry,
        requests,
    };
    let before = Stage::Before(Box::new(handshake));
    Ok((sender, Box::pin(stream::unfold(before, advance))))
}

/// The next event, and what comes after it.
async fn advance(stage: Stage) -> Option<(Result<Event, Failure>, Stage)> {
    let mut connection = match stage {
        Stage::Before(handshake) => {
            return Some(match handshake.perform().await {
                Ok(Reply::Accepted(connection)) => {
                    let keep_alive = connection.keep_alive();
                    let accepted = Event::Accepted { keep_alive };
                    (Ok(accepted), Stage::During(connection))
                }
                Ok(Reply::NotAccepted(failure)) => (Ok(Event::NotAccepted(failure)), Stage::After),
                Err(failure) => (Err(failure), Stage::After),
            });
        }
        Stage::During(connection) => connection,
        Stage::After => return None,
    };
    Some(match connection.next().await {
        Ok(event) => (Ok(event), Stage::During(connection)),
        Err(failure) => (Err(failure), Stage::After),
    })
}

fn malformed(Malformed(what): Malformed) -> Failure {
    Failure::Unavailable(format!("the broker does not speak MQTT 5: {what}"))
}
