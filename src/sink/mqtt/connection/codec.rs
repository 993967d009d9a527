//! What the gateway says to a broker, in either protocol. Pure.
//!
//! The packets are those of rumqttc.

use bytes::{Bytes, BytesMut};
use rumqttc::mqttbytes::{self, v4};
use rumqttc::v5::mqttbytes::{self as mqttbytes5, v5};
use secrecy::ExposeSecret;

use super::event::Message;
use crate::config::{Mqtt, Qos};

/// The name of the user property that says when a reading was measured.
const EVENT_TIME: &str = "time";

/// Whoever uses the subscriptions of a connection makes one.
const SUBSCRIPTION: u16 = u16::MAX;

/// Longer packets of a broker are refused: nothing that is of use to a publisher comes near it.
pub(super) const LONGEST: u16 = u16::MAX;

/// A version of MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1.1.
    Mqtt311,
    /// MQTT 5.
    Mqtt5,
}

impl Version {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mqtt311 => "MQTT 3.1.1",
            Self::Mqtt5 => "MQTT 5",
        }
    }
}

/// Writes packets of one protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    V4,
    V5 {
        /// Of readings, in seconds.
        message_expiry: Option<u32>,
    },
}

/// A packet cannot be written: it has so many bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLarge(pub(super) usize);

impl Codec {
    pub(super) fn new(version: Version, config: &Mqtt) -> Self {
        match version {
            Version::Mqtt311 => Self::V4,
            Version::Mqtt5 => Self::V5 {
                message_expiry: config.protocol.message_expiry(),
            },
        }
    }

    /// Which protocol it is.
    pub(super) fn version(self) -> Version {
        match self {
            Self::V4 => Version::Mqtt311,
            Self::V5 { .. } => Version::Mqtt5,
        }
    }

    /// Says who the client is, with its last will.
    pub(super) fn connect(
        self,
        config: &Mqtt,
        client_id: &str,
        will: Option<&Message>,
        to: &mut BytesMut,
    ) -> Result<(), TooLarge> {
        let keep_alive = u16::try_from(config.keep_alive.as_secs()).unwrap_or(u16::MAX);
        let password = config.password.as_ref();
        let password = password.map_or("", |secret| secret.expose_secret());
        match self {
            Self::V4 => {
                let mut connect = v4::Connect::new(client_id);
                connect.keep_alive = keep_alive;
                connect.last_will = will.map(|will| {
                    let (topic, payload) = (&*will.topic, &*will.payload);
                    v4::LastWill::new(topic, payload, quality_of_service(will.qos), will.retained)
                });
                if let Some(username) = &config.username {
                    connect.set_login(username, password);
                }
                write(to, connect.size(), None, |to| connect.write(to))
            }
            Self::V5 { .. } => {
                let mut properties = v5::ConnectProperties::new();
                properties.max_packet_size = Some(LONGEST.into());
                let connect = v5::Connect {
                    keep_alive,
                    client_id: client_id.to_owned(),
                    clean_start: true,
                    properties: Some(properties),
                };
                // The status never expires: it holds until the next one.
                let will = will.map(|will| {
                    let (topic, payload) = (&*will.topic, &*will.payload);
                    let qos = quality_of_service5(will.qos);
                    v5::LastWill::new(topic, payload, qos, will.retained, None)
                });
                let username = config.username.as_ref();
                let login = username.map(|username| v5::Login::new(username, password));
                let size = connect.size(&will, &login);
                write(to, size, None, |to| connect.write(&will, &login, to))
            }
        }
    }

    /// Publishes a message under an identifier, in a packet of at most so many bytes. Its quality of
    /// service and whether it is retained stand beside it: a broker may allow less than it asks for.
    pub(super) fn publish(
        self,
        message: Message,
        qos: Qos,
        packet_id: u16,
        most: Option<u32>,
        to: &mut BytesMut,
    ) -> Result<(), TooLarge> {
        match self {
            Self::V4 => {
                let publish = v4::Publish {
                    dup: false,
                    qos: quality_of_service(qos),
                    retain: message.retained,
                    topic: message.topic,
                    pkid: packet_id,
                    payload: Bytes::from(message.payload),
                };
                write(to, publish.size(), most, |to| publish.write(to))
            }
            Self::V5 { message_expiry } => {
                // What the gateway says of itself holds until it says something else.
                let properties = message.event_time.map(|time| v5::PublishProperties {
                    message_expiry_interval: message_expiry,
                    user_properties: vec![(EVENT_TIME.to_owned(), time.to_rfc3339_nanos())],
                    ..v5::PublishProperties::default()
                });
                let publish = v5::Publish {
                    qos: quality_of_service5(qos),
                    retain: message.retained,
                    topic: Bytes::from(message.topic),
                    pkid: packet_id,
                    payload: Bytes::from(message.payload),
                    properties,
                    ..v5::Publish::default()
                };
                write(to, publish.size(), most, |to| publish.write(to))
            }
        }
    }

    /// Subscribes to a filter at `QoS` 0.
    pub(super) fn subscribe(self, filter: &str, to: &mut BytesMut) -> Result<(), TooLarge> {
        match self {
            Self::V4 => {
                let mut subscribe = v4::Subscribe::new(filter, mqttbytes::QoS::AtMostOnce);
                subscribe.pkid = SUBSCRIPTION;
                write(to, subscribe.size(), None, |to| subscribe.write(to))
            }
            Self::V5 { .. } => {
                let filter = v5::Filter::new(filter, mqttbytes5::QoS::AtMostOnce);
                let mut subscribe = v5::Subscribe::new(filter, None);
                subscribe.pkid = SUBSCRIPTION;
                write(to, subscribe.size(), None, |to| subscribe.write(to))
            }
        }
    }

    /// The third step of `QoS` 2.
    pub(super) fn release(self, packet_id: u16, to: &mut BytesMut) -> Result<(), TooLarge> {
        match self {
            Self::V4 => {
                let release = v4::PubRel::new(packet_id);
                write(to, release.size(), None, |to| release.write(to))
            }
            Self::V5 { .. } => {
                let release = v5::PubRel::new(packet_id, None);
                write(to, release.size(), None, |to| release.write(to))
            }
        }
    }

    /// Asks for a sign of life.
    pub(super) fn ping(self, to: &mut BytesMut) -> Result<(), TooLarge> {
        match self {
            Self::V4 => write(to, v4::PingReq.size(), None, |to| v4::PingReq.write(to)),
            Self::V5 { .. } => write(to, v5::PingReq.size(), None, v5::PingReq::write),
        }
    }

    /// Says goodbye, so that the last will is not published.
    pub(super) fn disconnect(self, to: &mut BytesMut) -> Result<(), TooLarge> {
        match self {
            Self::V4 => write(to, v4::Disconnect.size(), None, |to| {
                v4::Disconnect.write(to)
            }),
            Self::V5 { .. } => {
                let reason = v5::DisconnectReasonCode::NormalDisconnection;
                let disconnect = v5::Disconnect::new(reason);
                write(to, disconnect.size(), None, |to| disconnect.write(to))
            }
        }
    }
}

/// Writes a packet of so many bytes, or nothing of it.
fn write<E>(
    to: &mut BytesMut,
    size: usize,
    most: Option<u32>,
    write: impl FnOnce(&mut BytesMut) -> Result<usize, E>,
) -> Result<(), TooLarge> {
    let fits = most.is_none_or(|most| u32::try_from(size).is_ok_and(|size| size <= most));
    let before = to.len();
    if fits && write(to).is_ok() {
        return Ok(());
    }
    to.truncate(before);
    Err(TooLarge(size))
}

fn quality_of_service(qos: Qos) -> mqttbytes::QoS {
    match qos {
        Qos::AtMostOnce => mqttbytes::QoS::AtMostOnce,
        Qos::AtLeastOnce => mqttbytes::QoS::AtLeastOnce,
        Qos::ExactlyOnce => mqttbytes::QoS::ExactlyOnce,
    }
}

fn quality_of_service5(qos: Qos) -> mqttbytes5::QoS {
    match qos {
        Qos::AtMostOnce => mqttbytes5::QoS::AtMostOnce,
        Qos::AtLeastOnce => mqttbytes5::QoS::AtLeastOnce,
        Qos::ExactlyOnce => mqttbytes5::QoS::ExactlyOnce,
    }
}
