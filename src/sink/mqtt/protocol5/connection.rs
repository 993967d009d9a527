//! A connection that the broker has accepted.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    Disconnect, DisconnectReasonCode, Filter, Packet, PingReq, PubRel, Publish, PublishProperties,
    Subscribe,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, Sleep};

use super::handshake::{Handshake, Terms};
use super::identifiers::Identifiers;
use super::incoming::{self, Answer, Incoming, Malformed};
use super::reason::{self, IDENTIFIER_IN_USE, PACKET_TOO_LARGE};
use super::socket::Socket;
use super::{Request, malformed};
use crate::config::Qos;
use crate::sink::Failure;
use crate::sink::mqtt::client::{Event, Message};
use crate::sink::mqtt::failure::{CLOSED, explain_io};

/// Requests are put together up to about so many bytes, to be written at once.
const WRITTEN_TOGETHER: usize = 16 * 1024;

/// So many bytes are read at once.
const READ_TOGETHER: usize = 4 * 1024;

/// The name of the user property that says when a reading was measured.
const EVENT_TIME: &str = "time";

/// Whoever uses the subscriptions of this client makes one.
const SUBSCRIPTION: u16 = u16::MAX;

/// See the module.
pub(super) struct Connection {
    client_id: String,
    terms: Terms,
    message_expiry: Option<u32>,
    requests: Receiver<Request>,
    identifiers: Identifiers,
    reader: ReadHalf<Box<dyn Socket>>,
    writer: WriteHalf<Box<dyn Socket>>,
    arrived: BytesMut,
    outgoing: BytesMut,
    /// Whether something was put into `outgoing` since all of it was last on its way.
    is_unflushed: bool,
    /// What becomes an event as soon as `outgoing` is on its way.
    sending: VecDeque<Event>,
    events: VecDeque<Event>,
    /// What ends the connection, once the events are read.
    failure: Option<Failure>,
    /// Why nothing can be written any more. What the broker said before is still to be read.
    write_failure: Option<Failure>,
    ping: Pin<Box<Sleep>>,
    awaits_ping_response: bool,
}

impl Connection {
    /// `arrived` is what came behind the CONNACK.
    pub(super) fn new(
        handshake: Handshake,
        terms: Terms,
        socket: Box<dyn Socket>,
        arrived: BytesMut,
    ) -> Self {
        let (reader, writer) = tokio::io::split(socket);
        let mut connection = Self {
            client_id: handshake.client_id,
            terms,
            message_expiry: handshake.message_expiry,
            requests: handshake.requests,
            identifiers: Identifiers::new(terms.receive_maximum),
            reader,
            writer,
            arrived,
            outgoing: BytesMut::new(),
            is_unflushed: false,
            sending: VecDeque::new(),
            events: VecDeque::new(),
            failure: None,
            write_failure: None,
            ping: Box::pin(tokio::time::sleep(terms.keep_alive)),
            awaits_ping_response: false,
        };
        connection.take_arrived();
        connection
    }

    /// Between pings.
    pub(super) fn keep_alive(&self) -> Duration {
        self.terms.keep_alive
    }

    /// Drives the connection up to the next event. An error is its end.
    pub(super) async fn next(&mut self) -> Result<Event, Failure> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            if let Some(failure) = self.failure.take() {
                return Err(failure);
            }
            self.take_requests();
            self.exchange().await;
        }
    }

    /// Waits until something is written, read, asked for or due.
    async fn exchange(&mut self) {
        let may_write = self.is_unflushed && self.write_failure.is_none();
        let may_take = self.may_take();
        self.arrived.reserve(READ_TOGETHER);
        tokio::select! {
            biased;
            written = flush(&mut self.writer, &mut self.outgoing), if may_write => match written {
                Ok(()) => {
                    self.is_unflushed = false;
                    self.events.append(&mut self.sending);
                }
                Err(error) => self.write_failure = Some(explain_io(&error)),
            },
            read = self.reader.read_buf(&mut self.arrived) => match read {
                Ok(1..) => self.take_arrived(),
                Ok(0) => self.end(Failure::Unavailable(CLOSED.to_owned())),
                Err(error) => self.end(explain_io(&error)),
            },
            request = self.requests.recv(), if may_take => match request {
                Some(request) => self.take(request),
                None => self.end(Failure::Unavailable("the client ended".to_owned())),
            },
            () = self.ping.as_mut() => self.ping(),
        }
    }

    /// What could not be written says more than that nothing can be read.
    fn end(&mut self, failure: Failure) {
        self.failure = self.write_failure.take().or(Some(failure));
    }

    /// Takes what is waiting to be sent, as far as it may be.
    fn take_requests(&mut self) {
        while self.may_take()
            && let Ok(request) = self.requests.try_recv()
        {
            self.take(request);
        }
    }

    fn may_take(&self) -> bool {
        self.identifiers.any_free() && self.outgoing.len() < WRITTEN_TOGETHER
    }

    fn take(&mut self, request: Request) {
        match request {
            Request::Publish(message) => self.publish(message),
            Request::Subscribe(topic) => {
                let filter = Filter::new(topic, QoS::AtMostOnce);
                let mut subscribe = Subscribe::new(filter, None);
                subscribe.pkid = SUBSCRIPTION;
                self.write(&Packet::Subscribe(subscribe));
            }
            Request::Disconnect => {
                let reason = DisconnectReasonCode::NormalDisconnection;
                self.write(&Packet::Disconnect(Disconnect::new(reason)));
            }
        }
    }

    fn publish(&mut self, message: Message) {
        let qos = lower(message.qos, self.terms.maximum_qos);
        let packet_id = match qos {
            Qos::AtMostOnce => Some(0),
            Qos::AtLeastOnce => self.identifiers.take(false),
            Qos::ExactlyOnce => self.identifiers.take(true),
        };
        let Some(packet_id) = packet_id else {
            return self.end(Failure::Unavailable("no packet identifier is free".into()));
        };
        // What the gateway says of itself holds until it says something else.
        let properties = message.event_time.map(|time| PublishProperties {
            message_expiry_interval: self.message_expiry,
            user_properties: vec![(EVENT_TIME.to_owned(), time.to_rfc3339_nanos())],
            ..PublishProperties::default()
        });
        let publish = Packet::Publish(Publish {
            qos: quality_of_service(qos),
            retain: message.retained && self.terms.keeps_retained,
            topic: Bytes::from(message.topic),
            pkid: packet_id,
            payload: Bytes::from(message.payload),
            properties,
            ..Publish::default()
        });
        if self.write(&publish) {
            self.sending.push_back(Event::Sent(packet_id));
            return;
        }
        if packet_id > 0 {
            self.identifiers.give_back(packet_id);
        }
        let size = publish.size();
        let most = self.terms.maximum_packet_size.unwrap_or(u32::MAX);
        let words = format!("{size} bytes, and the broker takes {most}");
        let refusal = reason::publish_refused(PACKET_TOO_LARGE, Some(&words));
        self.sending.push_back(Event::NotSent(refusal));
    }

    /// False: the packet is larger than the broker takes.
    fn write(&mut self, packet: &Packet) -> bool {
        let before = self.outgoing.len();
        let written = packet.write(&mut self.outgoing, self.terms.maximum_packet_size);
        if written.is_err() {
            self.outgoing.truncate(before);
        }
        self.is_unflushed = true;
        written.is_ok()
    }

    fn ping(&mut self) {
        if self.awaits_ping_response {
            return self.end(Failure::Unavailable(
                "the broker did not answer a ping".into(),
            ));
        }
        self.awaits_ping_response = true;
        self.write(&Packet::PingReq(PingReq));
        self.ping
            .as_mut()
            .reset(Instant::now() + self.terms.keep_alive);
    }

    fn take_arrived(&mut self) {
        while self.failure.is_none() {
            match incoming::take(&mut self.arrived) {
                Ok(Some(packet)) => self.handle(packet),
                Ok(None) => return,
                Err(error) => self.failure = Some(malformed(error)),
            }
        }
    }

    fn handle(&mut self, packet: Incoming) {
        if matches!(packet, Incoming::PubAck(_) | Incoming::PubRec(_)) {
            // What is answered has been sent, though the rest of it may not be on its way yet.
            self.events.append(&mut self.sending);
        }
        let event = match packet {
            Incoming::PubAck(answer) => {
                if !self.identifiers.acknowledged(answer.packet_id) {
                    return;
                }
                self.answered(&answer)
            }
            Incoming::PubRec(answer) if reason::is_failure(answer.code) => {
                if !self.identifiers.not_received(answer.packet_id) {
                    return;
                }
                self.answered(&answer)
            }
            Incoming::PubRec(answer) => {
                if self.identifiers.received(answer.packet_id) {
                    self.write(&Packet::PubRel(PubRel::new(answer.packet_id, None)));
                }
                Event::Received
            }
            Incoming::PubComp(answer) => {
                if !self.identifiers.completed(answer.packet_id) {
                    return;
                }
                if reason::is_failure(answer.code) {
                    // Whether it still has the message is not known, so it is sent again.
                    let reason = "the broker lost track of a message of QoS 2".to_owned();
                    return self.end(Failure::Unavailable(reason));
                }
                Event::Acknowledged(answer.packet_id)
            }
            Incoming::SubAck { code, words } => {
                let refusal = || reason::subscription_refused(code, words.as_deref());
                let failed = reason::is_failure(code).then(refusal);
                Event::Subscribed(failed.map_or(Ok(()), Err))
            }
            Incoming::Publish(message) => Event::Message(message),
            Incoming::PingResp => {
                self.awaits_ping_response = false;
                Event::Heard
            }
            Incoming::Disconnect {
                code,
                words,
                elsewhere,
            } => {
                let (words, elsewhere) = (words.as_deref(), elsewhere.as_deref());
                let failure = reason::disconnected(code, words, elsewhere, &self.client_id);
                self.failure = Some(failure);
                return;
            }
            Incoming::ConnAck { .. } => {
                self.failure = Some(malformed(Malformed("a second CONNACK".to_owned())));
                return;
            }
        };
        self.events.push_back(event);
    }

    fn answered(&mut self, answer: &Answer) -> Event {
        let packet_id = answer.packet_id;
        if !reason::is_failure(answer.code) {
            return Event::Acknowledged(packet_id);
        }
        if answer.code == IDENTIFIER_IN_USE {
            // It remembers another connection. A new one begins anew.
            let reason = "the broker takes a packet identifier for one in use".to_owned();
            self.failure = Some(Failure::Unavailable(reason));
        }
        Event::Refused {
            packet_id,
            refusal: reason::publish_refused(answer.code, answer.words.as_deref()),
        }
    }
}

/// Cancel safe: what is written leaves the buffer at once.
async fn flush(writer: &mut WriteHalf<Box<dyn Socket>>, outgoing: &mut BytesMut) -> io::Result<()> {
    while !outgoing.is_empty() {
        if writer.write_buf(outgoing).await? == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
    }
    writer.flush().await
}

fn lower(one: Qos, other: Qos) -> Qos {
    match (one, other) {
        (Qos::AtMostOnce, _) | (_, Qos::AtMostOnce) => Qos::AtMostOnce,
        (Qos::AtLeastOnce, _) | (_, Qos::AtLeastOnce) => Qos::AtLeastOnce,
        (Qos::ExactlyOnce, Qos::ExactlyOnce) => Qos::ExactlyOnce,
    }
}

/// As rumqttc counts.
pub(super) fn quality_of_service(qos: Qos) -> QoS {
    match qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
        Qos::ExactlyOnce => QoS::ExactlyOnce,
    }
}
