//! Packets of MQTT 3.1.1 and 5, as far as a publishing client uses them.

use std::io::{self, ErrorKind, Read};

/// A packet as it is on the wire.
pub(super) struct Packet {
    bytes: Vec<u8>,
    /// Where the variable header begins.
    body: usize,
}

/// The kinds of packet that the doubles look into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Connect,
    Publish,
    PubAck,
    PubRel,
    PubComp,
    PingRequest,
    Disconnect,
    Other,
}

/// What a CONNECT says.
pub(super) struct Connect {
    /// 4: MQTT 3.1.1; 5: MQTT 5.
    pub(super) level: u8,
    pub(super) client_id: String,
    /// Topic and payload of the last will.
    pub(super) will: Option<(String, String)>,
}

/// What a PUBLISH says.
pub(super) struct PublishPacket {
    pub(super) topic: String,
    pub(super) payload: String,
    pub(super) qos: u8,
    pub(super) retained: bool,
    /// 0 at `QoS` 0.
    pub(super) packet_id: u16,
}

impl Packet {
    /// Reads the next one; `None` at the end of the connection.
    pub(super) fn read(reader: &mut impl Read) -> io::Result<Option<Self>> {
        let mut first = [0];
        match reader.read(&mut first) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => return Self::read(reader),
            Err(error) => return Err(error),
        }
        let mut bytes = first.to_vec();
        let mut length = 0;
        loop {
            let mut digit = [0];
            reader.read_exact(&mut digit)?;
            length += usize::from(digit[0] & 0x7f) << (7 * (bytes.len() - 1));
            bytes.push(digit[0]);
            if digit[0] & 0x80 == 0 {
                break;
            }
        }
        let body = bytes.len();
        bytes.resize(body + length, 0);
        reader.read_exact(&mut bytes[body..])?;
        Ok(Some(Self { bytes, body }))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn kind(&self) -> Kind {
        match self.bytes[0] >> 4 {
            1 => Kind::Connect,
            3 => Kind::Publish,
            4 => Kind::PubAck,
            6 => Kind::PubRel,
            7 => Kind::PubComp,
            12 => Kind::PingRequest,
            14 => Kind::Disconnect,
            _ => Kind::Other,
        }
    }

    /// The packet identifier of an acknowledgement.
    pub(super) fn packet_id(&self) -> u16 {
        Fields(&self.bytes[self.body..]).number()
    }

    /// Whether an acknowledgement of MQTT 5 says no.
    pub(super) fn is_refusal(&self) -> bool {
        self.bytes
            .get(self.body + 2)
            .is_some_and(|code| *code >= 0x80)
    }

    pub(super) fn connect(&self) -> Connect {
        let mut fields = Fields(&self.bytes[self.body..]);
        let _protocol = fields.text();
        let [level, flags] = *fields.take(2) else {
            unreachable!("took two bytes");
        };
        let has_will = flags & 0b100 != 0;
        let _keep_alive = fields.number();
        fields.properties(level);
        Connect {
            level,
            client_id: fields.text(),
            will: has_will.then(|| {
                fields.properties(level);
                (fields.text(), fields.text())
            }),
        }
    }

    /// A PUBLISH of a connection with this protocol level.
    pub(super) fn publish(&self, level: u8) -> PublishPacket {
        let flags = self.bytes[0];
        let qos = (flags >> 1) & 3;
        let mut fields = Fields(&self.bytes[self.body..]);
        let topic = fields.text();
        let packet_id = if qos > 0 { fields.number() } else { 0 };
        fields.properties(level);
        PublishPacket {
            topic,
            payload: String::from_utf8_lossy(fields.0).into_owned(),
            qos,
            retained: flags & 1 == 1,
            packet_id,
        }
    }
}

struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    fn number(&mut self) -> u16 {
        let bytes = self.take(2);
        u16::from_be_bytes([bytes[0], bytes[1]])
    }

    /// Passes over properties, if this level has any.
    fn properties(&mut self, level: u8) {
        if level < 5 {
            return;
        }
        let mut length = 0;
        for position in 0.. {
            let digit = self.take(1)[0];
            length |= usize::from(digit & 0x7f) << (7 * position);
            if digit & 0x80 == 0 {
                break;
            }
        }
        self.take(length);
    }

    fn text(&mut self) -> String {
        let length = usize::from(self.number());
        String::from_utf8_lossy(self.take(length)).into_owned()
    }
}
