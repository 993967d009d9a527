//! The beginning of a connection: who the client is, and whether the broker accepts it.

use std::time::Duration;

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::v5::ConnAckProperties;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::codec::{Codec, Version};
use super::event::{Ending, Message, OpenError};
use super::incoming::{self, Incoming, Malformed};
use super::reason::{self, QOS_NOT_SUPPORTED, RETAIN_NOT_SUPPORTED, Understanding};
use super::socket::{self, Socket};
use super::terms::Terms;
use super::{Connection, malformed};
use crate::config::{Mqtt, Qos, Retain};
use crate::sink::Failure;
use crate::sink::mqtt::encryption::client_config;
use crate::sink::mqtt::failure::{ended_by, hung_up};

/// How long it may take from the first packet to the broker's answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A CONNACK.
struct ConnAck {
    socket: Box<dyn Socket>,
    /// What came behind it.
    arrived: BytesMut,
    code: u8,
    properties: Option<Box<ConnAckProperties>>,
}

/// Connects to the broker in one protocol, and says who the client is and what its last will.
pub async fn open(
    config: &Mqtt,
    version: Version,
    client_id: &str,
    mut will: Option<Message>,
) -> Result<Connection, OpenError> {
    let codec = Codec::new(version, config);
    let conn_ack = loop {
        let attempt = timeout(PATIENCE, attempt(config, codec, client_id, will.as_ref())).await;
        let late = |_elapsed| {
            let ending = Ending::unavailable("the broker did not answer in time");
            OpenError::NotAnswered(ending)
        };
        let conn_ack = attempt.map_err(late)??;
        // A client cannot know before what a broker does not take as last will.
        match (&mut will, conn_ack.code) {
            (Some(will), RETAIN_NOT_SUPPORTED)
                if will.retained && config.retain == Retain::Auto =>
            {
                will.retained = false;
            }
            (Some(will), QOS_NOT_SUPPORTED) if will.qos != Qos::AtMostOnce => {
                will.qos = Qos::AtMostOnce;
            }
            _ => break conn_ack,
        }
    };
    let properties = conn_ack.properties.as_deref();
    if conn_ack.code != 0 {
        let words = properties.and_then(|properties| properties.reason_string.as_deref());
        let elsewhere = properties.and_then(|properties| properties.server_reference.as_deref());
        let failure = reason::not_accepted(codec, conn_ack.code, words, elsewhere);
        return Err(match reason::understanding(codec, conn_ack.code) {
            Understanding::None => OpenError::NotSpoken(failure),
            Understanding::Doubtful => OpenError::NotAnswered(Ending::other(failure)),
            Understanding::Full => OpenError::NotAccepted(failure),
        });
    }
    let terms = Terms::new(config, properties);
    if let Some(failure) = terms.unfit(config) {
        return Err(OpenError::NotAccepted(failure));
    }
    let (socket, arrived) = (conn_ack.socket, conn_ack.arrived);
    Ok(Connection::new(codec, client_id, terms, socket, arrived))
}

async fn attempt(
    config: &Mqtt,
    codec: Codec,
    client_id: &str,
    will: Option<&Message>,
) -> Result<ConnAck, OpenError> {
    let tls = config.transport.tls().map(client_config).transpose();
    let tls = tls.map_err(|failure| OpenError::NotReached(Ending::other(failure)))?;
    let socket = socket::connect(config, tls).await;
    let socket = socket.map_err(OpenError::NotReached)?;
    let greeting = greet(socket, config, codec, client_id, will);
    greeting.await.map_err(OpenError::NotAnswered)
}

/// Says who the client is, and waits for the answer.
async fn greet(
    mut socket: Box<dyn Socket>,
    config: &Mqtt,
    codec: Codec,
    client_id: &str,
    will: Option<&Message>,
) -> Result<ConnAck, Ending> {
    let mut packet = BytesMut::new();
    let written = codec.connect(config, client_id, will, &mut packet);
    written.map_err(|_| {
        let reason = "client identifier, login and last will are too long together";
        Ending::other(Failure::Refused(reason.to_owned()))
    })?;
    let sent = socket.write_all(&packet).await;
    sent.map_err(|error| ended_by(&error))?;
    socket.flush().await.map_err(|error| ended_by(&error))?;
    let mut arrived = BytesMut::new();
    loop {
        match incoming::take(&mut arrived, codec).map_err(|it| malformed(codec, it))? {
            Some(Incoming::ConnAck { code, properties }) => {
                return Ok(ConnAck {
                    socket,
                    arrived,
                    code,
                    properties,
                });
            }
            Some(_) => return Err(malformed(codec, Malformed("no CONNACK".to_owned()))),
            None => {}
        }
        let read = socket.read_buf(&mut arrived).await;
        if read.map_err(|error| ended_by(&error))? == 0 {
            return Err(hung_up());
        }
    }
}
