//! The beginning of a connection: who the client is, and what the broker allows.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnAckProperties, Connect, ConnectProperties, LastWill, Login, Packet,
};
use rustls::ClientConfig;
use secrecy::ExposeSecret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

use super::connection::{Connection, quality_of_service};
use super::incoming::{self, Incoming, Malformed};
use super::reason::{self, QOS_NOT_SUPPORTED, RETAIN_NOT_SUPPORTED};
use super::socket::{self, Socket};
use super::{Request, malformed};
use crate::config::{Mqtt, Qos};
use crate::monitor::SinkId;
use crate::repeated::Topic;
use crate::sink::Failure;
use crate::sink::mqtt::client::Message;
use crate::sink::mqtt::failure::{CLOSED, explain_io};

const LIMITS: Topic = Topic::of_attempts("limits of the broker");

/// How long it may take from the first packet to the broker's answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// All that a connection needs to be made.
pub(super) struct Handshake {
    pub(super) config: Mqtt,
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) client_id: String,
    pub(super) will: Option<Message>,
    /// In seconds.
    pub(super) message_expiry: Option<u32>,
    pub(super) requests: Receiver<Request>,
}

/// What the broker answered.
pub(super) enum Reply {
    Accepted(Box<Connection>),
    NotAccepted(Failure),
}

/// What a broker allows on a connection that it accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    /// Messages that may wait for their acknowledgement at once.
    pub(super) receive_maximum: u16,
    pub(super) maximum_qos: Qos,
    pub(super) keeps_retained: bool,
    /// In bytes.
    pub(super) maximum_packet_size: Option<u32>,
    /// Between pings.
    pub(super) keep_alive: Duration,
}

/// A CONNACK.
struct Answer {
    socket: Box<dyn Socket>,
    /// What came behind it.
    arrived: BytesMut,
    code: u8,
    properties: Option<Box<ConnAckProperties>>,
}

impl Handshake {
    /// Connects, and says who the client is.
    pub(super) async fn perform(mut self) -> Result<Reply, Failure> {
        let answer = loop {
            let late = |_elapsed| Failure::Unavailable("the broker did not answer in time".into());
            let answer = timeout(PATIENCE, self.attempt()).await.map_err(late)??;
            // A client cannot know before what a broker does not take as last will.
            match (&mut self.will, answer.code) {
                (Some(will), RETAIN_NOT_SUPPORTED) if will.retained => will.retained = false,
                (Some(will), QOS_NOT_SUPPORTED) if will.qos != Qos::AtMostOnce => {
                    will.qos = Qos::AtMostOnce;
                }
                _ => break answer,
            }
        };
        let properties = answer.properties.as_deref();
        if answer.code != 0 {
            let words = properties.and_then(|properties| properties.reason_string.as_deref());
            let elsewhere =
                properties.and_then(|properties| properties.server_reference.as_deref());
            let failure = reason::not_accepted(answer.code, words, elsewhere);
            return Ok(Reply::NotAccepted(failure));
        }
        let terms = Terms::new(&self.config, properties);
        if let Some(failure) = terms.unfit(&self.config) {
            return Ok(Reply::NotAccepted(failure));
        }
        terms.announce(&self.config);
        let connection = Connection::new(self, terms, answer.socket, answer.arrived);
        Ok(Reply::Accepted(Box::new(connection)))
    }

    async fn attempt(&self) -> Result<Answer, Failure> {
        let mut socket = socket::connect(&self.config, self.tls.clone()).await?;
        let mut packet = BytesMut::new();
        let written = self.connect_packet().write(&mut packet, None);
        written.map_err(|error| Failure::Refused(error.to_string()))?;
        let sent = socket.write_all(&packet).await;
        sent.map_err(|error| explain_io(&error))?;
        socket.flush().await.map_err(|error| explain_io(&error))?;
        let mut arrived = BytesMut::new();
        loop {
            match incoming::take(&mut arrived).map_err(malformed)? {
                Some(Incoming::ConnAck { code, properties }) => {
                    return Ok(Answer {
                        socket,
                        arrived,
                        code,
                        properties,
                    });
                }
                Some(_) => return Err(malformed(Malformed("no CONNACK".to_owned()))),
                None => {}
            }
            let read = socket.read_buf(&mut arrived).await;
            if read.map_err(|error| explain_io(&error))? == 0 {
                return Err(Failure::Unavailable(CLOSED.to_owned()));
            }
        }
    }

    fn connect_packet(&self) -> Packet {
        let mut properties = ConnectProperties::new();
        properties.max_packet_size = Some(incoming::LONGEST.into());
        let connect = Connect {
            keep_alive: u16::try_from(self.config.keep_alive.as_secs()).unwrap_or(u16::MAX),
            client_id: self.client_id.clone(),
            clean_start: true,
            properties: Some(properties),
        };
        // The status never expires: it holds until the next one.
        let will = self.will.as_ref().map(|will| {
            let (topic, payload) = (will.topic.clone(), will.payload.clone());
            let qos: QoS = quality_of_service(will.qos);
            LastWill::new(topic, payload, qos, will.retained, None)
        });
        let login = self.config.username.as_ref().map(|username| {
            let password = self.config.password.as_ref();
            Login::new(
                username,
                password.map_or("", |secret| secret.expose_secret()),
            )
        });
        Packet::Connect(connect, will, login)
    }
}

impl Terms {
    fn new(config: &Mqtt, properties: Option<&ConnAckProperties>) -> Self {
        let receive_maximum = properties.and_then(|terms| terms.receive_max);
        let keep_alive = properties.and_then(|terms| terms.server_keep_alive);
        // 0: the broker does not mind silence. The gateway does.
        let keep_alive = keep_alive.filter(|seconds| *seconds > 0);
        Self {
            receive_maximum: receive_maximum.map_or(config.max_inflight, |most| {
                // A broker may not say 0.
                most.clamp(1, config.max_inflight)
            }),
            maximum_qos: match properties.and_then(|terms| terms.max_qos) {
                Some(0) => Qos::AtMostOnce,
                Some(1) => Qos::AtLeastOnce,
                _ => Qos::ExactlyOnce,
            },
            keeps_retained: properties.and_then(|terms| terms.retain_available) != Some(0),
            maximum_packet_size: properties.and_then(|terms| terms.max_packet_size),
            keep_alive: keep_alive.map_or(config.keep_alive, |seconds| {
                Duration::from_secs(seconds.into())
            }),
        }
    }

    /// A quality of service without acknowledgements is never chosen for whoever wants them.
    fn unfit(&self, config: &Mqtt) -> Option<Failure> {
        let is_unfit = self.maximum_qos == Qos::AtMostOnce && config.qos != Qos::AtMostOnce;
        is_unfit.then(|| {
            Failure::Refused(
                "the broker takes QoS 0 alone, which acknowledges nothing; allow more there, or set \
                 mqtt.qos = 0"
                    .to_owned(),
            )
        })
    }

    /// Says what the broker does not take as it is configured.
    fn announce(&self, config: &Mqtt) {
        if !self.keeps_retained {
            LIMITS.say("", "retained", |sum| {
                tracing::warn!(
                    link = %SinkId::Mqtt, repeated = sum.words(),
                    "The broker keeps no retained messages: later subscribers see no last values."
                );
            });
        }
        if self.maximum_qos == Qos::AtLeastOnce && config.qos == Qos::ExactlyOnce {
            LIMITS.say("", "qos", |sum| {
                tracing::warn!(
                    link = %SinkId::Mqtt, repeated = sum.words(),
                    "The broker takes no QoS 2: readings go out with QoS 1."
                );
            });
        }
        if self.receive_maximum < config.max_inflight {
            tracing::debug!(
                link = %SinkId::Mqtt, receive_maximum = self.receive_maximum,
                "The broker takes fewer messages at once than mqtt.max_inflight."
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Payload, Protocol, Transport};

    fn config(qos: Qos, max_inflight: u16) -> Mqtt {
        Mqtt {
            host: "localhost".to_owned(),
            port: 1883,
            transport: Transport::Tcp,
            protocol: Protocol::Mqtt5 {
                message_expiry: None,
            },
            client_id: "gateway".to_owned(),
            topic_prefix: "iiot".to_owned(),
            payload: Payload::Plain,
            home_assistant: None,
            qos,
            keep_alive: Duration::from_secs(30),
            username: None,
            password: None,
            max_inflight,
        }
    }

    fn terms(config: &Mqtt, properties: &[u8]) -> Terms {
        let length = u8::try_from(properties.len()).unwrap();
        let bytes = [&[length], properties].concat();
        let properties = ConnAckProperties::read(&mut bytes.into()).unwrap();
        Terms::new(config, properties.as_ref())
    }

    #[test]
    fn a_broker_that_says_nothing_allows_everything() {
        let config = config(Qos::ExactlyOnce, 70);
        let expected = Terms {
            receive_maximum: 70,
            maximum_qos: Qos::ExactlyOnce,
            keeps_retained: true,
            maximum_packet_size: None,
            keep_alive: config.keep_alive,
        };
        let terms = terms(&config, &[]);
        assert_eq!(terms, expected);
        assert_eq!(terms.unfit(&config), None);
    }

    #[test]
    fn what_a_broker_says_counts_where_it_allows_less() {
        let config = config(Qos::ExactlyOnce, 70);
        let said = terms(
            &config,
            b"\x21\x00\x07\x24\x01\x25\x00\x27\x00\x00\x00\x40\x13\x00\x78",
        );
        let expected = Terms {
            receive_maximum: 7,
            maximum_qos: Qos::AtLeastOnce,
            keeps_retained: false,
            maximum_packet_size: Some(64),
            keep_alive: Duration::from_mins(2),
        };
        assert_eq!(said, expected);
        assert_eq!(said.unfit(&config), None);
        let said = terms(&config, b"\x21\xff\xff\x13\x00\x00");
        assert_eq!(said.receive_maximum, 70);
        assert_eq!(said.keep_alive, Duration::from_secs(30));
    }

    #[test]
    fn acknowledgements_are_not_given_up() {
        for (qos, is_unfit) in [
            (Qos::AtMostOnce, false),
            (Qos::AtLeastOnce, true),
            (Qos::ExactlyOnce, true),
        ] {
            let config = config(qos, 10);
            let failure = terms(&config, b"\x24\x00").unfit(&config);
            assert_eq!(matches!(failure, Some(Failure::Refused(_))), is_unfit);
        }
    }
}
