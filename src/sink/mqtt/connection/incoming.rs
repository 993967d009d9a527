//! What a broker says, in either protocol. Pure.
//!
//! rumqttc 0.25 reads most of it, and is not asked where brokers are looser than it: it takes a
//! DISCONNECT without properties, as Mosquitto sends it, for one that is not complete, and does not know
//! all reason codes that brokers send.

use bytes::{Buf, Bytes, BytesMut};
use rumqttc::mqttbytes::{self, v4};
use rumqttc::v5::mqttbytes::v5::{
    self, ConnAckProperties, DisconnectProperties, PubAckProperties, SubAckProperties,
};

use super::codec::{Codec, LONGEST};
use super::event::Received;
use super::reason::OLD_UNSUPPORTED_PROTOCOL;

/// The kind of a PUBLISH.
const PUBLISH: u8 = 3;

/// A packet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    ConnAck {
        code: u8,
        properties: Option<Box<ConnAckProperties>>,
    },
    PubAck(Acknowledgement),
    PubRec(Acknowledgement),
    PubComp(Acknowledgement),
    SubAck {
        code: u8,
        words: Option<String>,
    },
    /// Of a topic that was subscribed to.
    Publish(Received),
    PingResp,
    Disconnect {
        code: u8,
        words: Option<String>,
        /// Where the broker sends its clients.
        elsewhere: Option<String>,
    },
}

/// A PUBACK, PUBREC or PUBCOMP.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Acknowledgement {
    pub(super) packet_id: u16,
    pub(super) code: u8,
    /// The broker's own words.
    pub(super) words: Option<String>,
}

/// What came is not what the protocol has, in words.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) String);

/// Takes the next packet out of what has arrived; `None`: there is no whole one yet.
pub(super) fn take(arrived: &mut BytesMut, codec: Codec) -> Result<Option<Incoming>, Malformed> {
    let Some((header, length)) = frame(arrived)? else {
        return Ok(None);
    };
    let whole = header + length;
    if arrived.len() < whole {
        return Ok(None);
    }
    let packet = read(&arrived[..whole], header, codec)?;
    arrived.advance(whole);
    Ok(Some(packet))
}

/// Lengths of the fixed header and of what follows it.
fn frame(arrived: &[u8]) -> Result<Option<(usize, usize)>, Malformed> {
    // Only a PUBLISH has flags among what a broker sends.
    if let Some(first) = arrived.first()
        && first >> 4 != PUBLISH
        && first & 0x0f != 0
    {
        return Err(Malformed(format!(
            "a packet that begins with 0x{first:02x}"
        )));
    }
    let mut length = 0;
    for (position, byte) in arrived.iter().skip(1).take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * position);
        if byte & 0x80 == 0 {
            if length > usize::from(LONGEST) {
                return Err(Malformed(format!("a packet of {length} bytes")));
            }
            return Ok(Some((position + 2, length)));
        }
    }
    match arrived.len() {
        0..5 => Ok(None),
        _ => Err(Malformed("a length that does not end".to_owned())),
    }
}

fn read(packet: &[u8], header: usize, codec: Codec) -> Result<Incoming, Malformed> {
    let body = &packet[header..];
    Ok(match (packet[0] >> 4, codec) {
        (2, _) => conn_ack(body, codec)?,
        (PUBLISH, _) => Incoming::Publish(publish(packet, header, codec)?),
        (4, _) => Incoming::PubAck(answer(body)?),
        (5, _) => Incoming::PubRec(answer(body)?),
        (7, _) => Incoming::PubComp(answer(body)?),
        (9, _) => sub_ack(body, codec)?,
        (13, _) => Incoming::PingResp,
        (14, Codec::V5 { .. }) => disconnect(body)?,
        (kind, _) => return Err(Malformed(format!("a packet of kind {kind}"))),
    })
}

fn conn_ack(body: &[u8], codec: Codec) -> Result<Incoming, Malformed> {
    let [_session_present, code, properties @ ..] = body else {
        return Err(Malformed("a CONNACK that is too short".to_owned()));
    };
    let (code, properties) = match codec {
        Codec::V4 => (*code, None),
        // A broker that does not look at the version answers in its own, which has no properties, and
        // would take those of a message for its payload.
        Codec::V5 { .. } if properties.is_empty() && *code == 0 => (OLD_UNSUPPORTED_PROTOCOL, None),
        // An older broker says in its own protocol, without any, that it does not know this one.
        Codec::V5 { .. } => (*code, read_properties(properties, ConnAckProperties::read)?),
    };
    Ok(Incoming::ConnAck {
        code,
        properties: properties.map(Box::new),
    })
}

fn disconnect(body: &[u8]) -> Result<Incoming, Malformed> {
    let properties = body.get(1..).unwrap_or_default();
    let properties = read_properties(properties, DisconnectProperties::extract)?;
    let (words, elsewhere) = properties
        .map(|properties| (properties.reason_string, properties.server_reference))
        .unwrap_or_default();
    Ok(Incoming::Disconnect {
        code: body.first().copied().unwrap_or(0),
        words,
        elsewhere,
    })
}

/// PUBACK, PUBREC and PUBCOMP have the same fields, of which only the identifier must be there. In MQTT
/// 3.1.1 there are no others.
fn answer(body: &[u8]) -> Result<Acknowledgement, Malformed> {
    let [high, low, rest @ ..] = body else {
        return Err(Malformed("an answer without an identifier".to_owned()));
    };
    let properties = rest.get(1..).unwrap_or_default();
    let properties = read_properties(properties, PubAckProperties::read)?;
    Ok(Acknowledgement {
        packet_id: u16::from_be_bytes([*high, *low]),
        code: rest.first().copied().unwrap_or(0),
        words: properties.and_then(|properties| properties.reason_string),
    })
}

fn sub_ack(body: &[u8], codec: Codec) -> Result<Incoming, Malformed> {
    let mut fields = Bytes::copy_from_slice(body.get(2..).unwrap_or_default());
    let properties = match codec {
        Codec::V4 => None,
        Codec::V5 { .. } => SubAckProperties::read(&mut fields).map_err(|it| malformed(&it))?,
    };
    // One topic was subscribed to, so there is one code.
    let Some(code) = fields.first() else {
        return Err(Malformed("a SUBACK without a code".to_owned()));
    };
    Ok(Incoming::SubAck {
        code: *code,
        words: properties.and_then(|properties| properties.reason_string),
    })
}

fn publish(packet: &[u8], header: usize, codec: Codec) -> Result<Received, Malformed> {
    let (first, rest) = (packet[0], packet.len() - header);
    let bytes = Bytes::copy_from_slice(packet);
    Ok(match codec {
        Codec::V4 => {
            let fixed = mqttbytes::FixedHeader::new(first, header - 1, rest);
            let publish = v4::Publish::read(fixed, bytes).map_err(|it| malformed(&it))?;
            Received {
                topic: publish.topic,
                payload: publish.payload.into(),
                is_retained: publish.retain,
            }
        }
        Codec::V5 { .. } => {
            let fixed = v5::FixedHeader::new(first, header - 1, rest);
            let publish = v5::Publish::read(fixed, bytes).map_err(|it| malformed(&it))?;
            let topic = String::from_utf8(publish.topic.into());
            Received {
                topic: topic.map_err(|_| Malformed("a topic that is no UTF-8".to_owned()))?,
                payload: publish.payload.into(),
                is_retained: publish.retain,
            }
        }
    })
}

/// Properties may be left out altogether.
fn read_properties<P>(
    bytes: &[u8],
    read: fn(&mut Bytes) -> Result<Option<P>, rumqttc::v5::mqttbytes::Error>,
) -> Result<Option<P>, Malformed> {
    if bytes.is_empty() {
        return Ok(None);
    }
    read(&mut Bytes::copy_from_slice(bytes)).map_err(|error| malformed(&error))
}

fn malformed(error: &impl ToString) -> Malformed {
    Malformed(error.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const V5: Codec = Codec::V5 {
        message_expiry: None,
    };

    fn taken(bytes: &[u8]) -> Result<Option<Incoming>, Malformed> {
        take(&mut BytesMut::from(bytes), V5)
    }

    fn taken4(bytes: &[u8]) -> Result<Option<Incoming>, Malformed> {
        take(&mut BytesMut::from(bytes), Codec::V4)
    }

    fn answer(packet_id: u16, code: u8, words: Option<&str>) -> Acknowledgement {
        let words = words.map(str::to_owned);
        Acknowledgement {
            packet_id,
            code,
            words,
        }
    }

    #[test]
    fn answers_are_read_short_and_long() {
        for (bytes, expected) in [
            (&b"\x40\x02\x01\x02"[..], answer(0x102, 0, None)),
            (b"\x40\x03\x00\x07\x10", answer(7, 0x10, None)),
            // Mosquitto's words for a message that is too long; the specification has no such PUBACK.
            (b"\x40\x03\x00\x07\x95", answer(7, 0x95, None)),
            (b"\x40\x04\x00\x07\x87\x00", answer(7, 0x87, None)),
            (
                b"\x40\x09\x00\x07\x87\x05\x1f\x00\x02no",
                answer(7, 0x87, Some("no")),
            ),
        ] {
            assert_eq!(taken(bytes), Ok(Some(Incoming::PubAck(expected))));
        }
        let mut both = BytesMut::from(&b"\x50\x02\x00\x01\x70\x02\x00\x01"[..]);
        let first = take(&mut both, V5);
        assert_eq!(first, Ok(Some(Incoming::PubRec(answer(1, 0, None)))));
        let second = take(&mut both, V5);
        assert_eq!(second, Ok(Some(Incoming::PubComp(answer(1, 0, None)))));
        assert_eq!(take(&mut both, V5), Ok(None));
    }

    #[test]
    fn a_disconnect_is_read_with_and_without_properties() {
        let disconnect = |code, words: Option<&str>, elsewhere: Option<&str>| {
            Ok(Some(Incoming::Disconnect {
                code,
                words: words.map(str::to_owned),
                elsewhere: elsewhere.map(str::to_owned),
            }))
        };
        assert_eq!(taken(b"\xe0\x00"), disconnect(0, None, None));
        assert_eq!(taken(b"\xe0\x01\x8e"), disconnect(0x8e, None, None));
        assert_eq!(taken(b"\xe0\x02\x8e\x00"), disconnect(0x8e, None, None));
        assert_eq!(
            taken(b"\xe0\x0c\x9d\x0a\x1f\x00\x02on\x1c\x00\x02to"),
            disconnect(0x9d, Some("on"), Some("to"))
        );
    }

    #[test]
    fn a_connack_of_an_older_protocol_is_read() {
        let code = |bytes| match taken(bytes) {
            Ok(Some(Incoming::ConnAck { code, properties })) => (code, properties.is_some()),
            other => panic!("{other:?}"),
        };
        assert_eq!(code(b"\x20\x02\x00\x01"), (1, false));
        assert_eq!(code(b"\x20\x02\x00\x00"), (1, false));
        assert_eq!(code(b"\x20\x03\x00\x00\x00"), (0, false));
        assert_eq!(code(b"\x20\x03\x00\x87\x00"), (0x87, false));
        assert_eq!(code(b"\x20\x06\x00\x00\x03\x21\x00\x14"), (0, true));
    }

    #[test]
    fn mqtt_3_1_1_has_no_properties_and_no_reasons() {
        let puback = Incoming::PubAck(answer(0x102, 0, None));
        assert_eq!(taken4(b"\x40\x02\x01\x02"), Ok(Some(puback)));
        let (code, properties) = (5, None);
        let refused = Incoming::ConnAck { code, properties };
        assert_eq!(taken4(b"\x20\x02\x00\x05"), Ok(Some(refused)));
        let (code, words) = (0x80, None);
        let refused = Incoming::SubAck { code, words };
        assert_eq!(taken4(b"\x90\x03\xff\xff\x80"), Ok(Some(refused)));
        let message = |payload: &[u8]| {
            Incoming::Publish(Received {
                topic: "t".to_owned(),
                payload: payload.to_owned(),
                is_retained: true,
            })
        };
        let bytes = b"\x31\x05\x00\x01t\x00x";
        assert_eq!(taken4(bytes), Ok(Some(message(b"\x00x"))));
        assert_eq!(taken(bytes), Ok(Some(message(b"x"))));
        assert!(taken4(b"\xe0\x00").is_err());
    }

    #[test]
    fn what_is_no_mqtt_is_said_so() {
        for bytes in [
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            b"\x20\x01\x00",
            b"\x40\x01\x00",
            b"\x40\xff\xff\xff\xff\x01",
            b"\x40\xff\xff\x7f",
            b"\x40\x05\x00\x01\x00\x09\x1f",
            b"\x90\x03\x00\x01\x00",
        ] {
            assert!(taken(bytes).is_err(), "{bytes:?}: {:?}", taken(bytes));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            for codec in [Codec::V4, V5] {
                let mut arrived = BytesMut::from(&bytes[..]);
                while let Ok(Some(_)) = take(&mut arrived, codec) {}
            }
        }

        #[test]
        fn no_packet_makes_it_panic(
            kind in 0_u8..16,
            body in proptest::collection::vec(any::<u8>(), 0..48),
        ) {
            let length = u8::try_from(body.len()).unwrap();
            let bytes = [&[kind << 4, length][..], &body].concat();
            let _anything = (taken(&bytes), taken4(&bytes));
        }
    }
}
