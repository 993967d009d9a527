//! A connection to a broker, over MQTT 3.1.1 or MQTT 5.
//!
//! Packets are those of rumqttc; the connection is not. What rumqttc 0.25 has for one cannot be trusted
//! with data: it empties its queue of unacknowledged publishes when a broker has no session for it, uses
//! identifiers of `QoS` 2 again before their PUBCOMP, hides which message got which, and flushes at each
//! publish. Its client for MQTT 5 loses the reason of a DISCONNECT as Mosquitto sends it, and panics on a
//! keep-alive below 5 s.
//!
//! As many messages are under way as the broker's Receive Maximum and `max_inflight` allow, and all that
//! waits is sent in one write. Nothing is ever sent twice on a connection, nor does anything outlive it:
//! what is not acknowledged is still in the journal.

mod codec;
mod event;
mod handshake;
mod identifiers;
mod incoming;
mod reason;
mod socket;
mod terms;

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use nix::sys::prctl::set_timerslack;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, Sleep};

use super::failure::{ended_by, hung_up};
use crate::config::{Mqtt, Qos};
use crate::monitor::SinkId;
pub use codec::Version;
use codec::{Codec, TooLarge};
pub use event::{Cause, Ending, Event, Message, OpenError, Published, Received, Refusal};
pub use handshake::open;
use identifiers::Identifiers;
use incoming::{Acknowledgement, Incoming, Malformed};
use reason::{IDENTIFIER_IN_USE, PACKET_TOO_LARGE};
use socket::Socket;
use terms::Terms;

/// Packets are put together up to about so many bytes, to be written at once.
const WRITTEN_TOGETHER: usize = 16 * 1024;

/// So many bytes are read at once.
const READ_TOGETHER: usize = 4 * 1024;

/// Brokers acknowledge message by message, and to be woken for each costs more than all else that is done
/// for it. While no more may be under way, what comes meanwhile is taken together: for each message that is,
/// so long, and not longer than this. A broker on the same machine needs ten times as long for them, but a longer
/// pause costs more than it spares where its TCP waits for answers (Mosquitto without `set_tcp_nodelay`).
const GATHERING: Duration = Duration::from_nanos(500);
const LONGEST_GATHERING: Duration = Duration::from_micros(100);

/// With fewer messages under way at once, there is too little to gather.
const MANY: u16 = 16;

/// How long acknowledgements are gathered for; `None`: each is taken as it comes.
fn gathering(receive_maximum: u16) -> Option<Duration> {
    let longest = GATHERING * receive_maximum.into();
    (receive_maximum >= MANY).then(|| longest.min(LONGEST_GATHERING))
}

/// What becomes of messages that nobody acknowledges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unacknowledged {
    /// There are none.
    None,
    /// They wait to be written.
    Unwritten,
    /// They are on their way.
    Written,
}

/// A connection that a broker has accepted.
pub struct Connection {
    codec: Codec,
    client_id: String,
    terms: Terms,
    gathering: Option<Duration>,
    identifiers: Identifiers,
    socket: Box<dyn Socket>,
    arrived: BytesMut,
    outgoing: BytesMut,
    /// Whether something was put into `outgoing` since all of it was last on its way.
    is_unflushed: bool,
    /// What became of messages of `QoS` 0 since that was last said.
    unacknowledged: Unacknowledged,
    /// What ends the connection, once the events are read.
    ending: Option<Ending>,
    /// Why nothing can be written any more. What the broker said before is still to be read.
    write_error: Option<Ending>,
    ping: Pin<Box<Sleep>>,
    awaits_ping_response: bool,
    last_heard: Instant,
}

impl Connection {
    /// `arrived` is what came behind the CONNACK.
    fn new(
        codec: Codec,
        client_id: &str,
        terms: Terms,
        socket: Box<dyn Socket>,
        arrived: BytesMut,
    ) -> Self {
        // Or what is gathered would be so for half as long again.
        let _imprecise = set_timerslack(1);
        Self {
            codec,
            client_id: client_id.to_owned(),
            terms,
            gathering: gathering(terms.receive_maximum),
            identifiers: Identifiers::new(terms.receive_maximum),
            socket,
            arrived,
            outgoing: BytesMut::new(),
            is_unflushed: false,
            unacknowledged: Unacknowledged::None,
            ending: None,
            write_error: None,
            ping: Box::pin(tokio::time::sleep(terms.keep_alive)),
            awaits_ping_response: false,
            last_heard: Instant::now(),
        }
    }

    /// Which MQTT is spoken on it.
    pub fn version(&self) -> Version {
        self.codec.version()
    }

    /// Between pings.
    pub fn keep_alive(&self) -> Duration {
        self.terms.keep_alive
    }

    /// Whether the broker keeps what is to be retained, as far as it says.
    pub fn keeps_retained(&self) -> bool {
        self.terms.keeps_retained
    }

    /// Says what the broker does not take as it is configured.
    pub fn announce_terms(&self, config: &Mqtt, sink: &SinkId) {
        self.terms.announce(config, sink);
    }

    /// When the broker last said anything.
    pub fn last_heard(&self) -> Instant {
        self.last_heard
    }

    /// Whether a message may be [published](Self::publish).
    pub fn has_room(&self) -> bool {
        self.identifiers.any_free() && self.outgoing.len() < WRITTEN_TOGETHER
    }

    /// Publishes a message with the next [exchange](Self::exchange).
    pub fn publish(&mut self, mut message: Message) -> Published {
        if !self.has_room() {
            return Published::NoRoom;
        }
        let qos = lower(message.qos, self.terms.maximum_qos);
        let packet_id = match qos {
            Qos::AtMostOnce => Some(0),
            Qos::AtLeastOnce => self.identifiers.take(false),
            Qos::ExactlyOnce => self.identifiers.take(true),
        };
        let Some(packet_id) = packet_id else {
            return Published::NoRoom;
        };
        message.retained &= self.terms.keeps_retained;
        let most = self.terms.maximum_packet_size;
        let codec = self.codec;
        let written = codec.publish(message, qos, packet_id, most, &mut self.outgoing);
        if let Err(TooLarge(size)) = written {
            if packet_id > 0 {
                self.identifiers.give_back(packet_id);
            }
            let most = most.unwrap_or(u32::MAX);
            let words = format!("{size} bytes, and the broker takes {most}");
            let refusal = reason::publish_refused(PACKET_TOO_LARGE, Some(&words));
            return Published::NotSent(refusal);
        }
        self.is_unflushed = true;
        if packet_id == 0 {
            self.unacknowledged = Unacknowledged::Unwritten;
        }
        Published::Sent(packet_id)
    }

    /// Subscribes to a filter at `QoS` 0.
    pub fn subscribe(&mut self, filter: &str) {
        self.put(|codec, to| codec.subscribe(filter, to));
    }

    /// Asks for a sign of life now.
    pub fn ping(&mut self) {
        self.awaits_ping_response = true;
        self.put(Codec::ping);
        let next = Instant::now() + self.terms.keep_alive;
        self.ping.as_mut().reset(next);
    }

    /// Says goodbye, behind all that was published. The broker then ends the connection.
    pub fn disconnect(&mut self) {
        self.put(Codec::disconnect);
    }

    fn put(&mut self, write: impl FnOnce(Codec, &mut BytesMut) -> Result<(), TooLarge>) {
        self.is_unflushed = true;
        if let Err(TooLarge(size)) = write(self.codec, &mut self.outgoing) {
            let reason = format!("a packet of {size} bytes is more than MQTT has");
            self.end(Ending::unavailable(reason));
        }
    }

    /// The next event; it is driven to it by [exchanges](Self::exchange).
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> Result<Event, Ending> {
        loop {
            if let Some(event) = self.event() {
                return Ok(event);
            }
            self.exchange().await?;
        }
    }

    /// The next event of what has arrived.
    pub fn event(&mut self) -> Option<Event> {
        if self.unacknowledged == Unacknowledged::Written {
            self.unacknowledged = Unacknowledged::None;
            return Some(Event::Written);
        }
        loop {
            match incoming::take(&mut self.arrived, self.codec) {
                Ok(packet) => {
                    let event = self.handle(packet?);
                    if event.is_some() {
                        return event;
                    }
                }
                Err(error) => {
                    self.arrived.clear();
                    self.ending = Some(malformed(self.codec, error));
                }
            }
        }
    }

    /// Writes what there is to write, and waits until there may be [events](Self::event) or room. An
    /// error is the connection's end.
    ///
    /// Cancel safe.
    pub async fn exchange(&mut self) -> Result<(), Ending> {
        if let Some(ending) = self.ending.take() {
            return Err(ending);
        }
        poll_fn(|context| self.poll(context)).await;
        Ok(())
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let wrote = self.poll_write(context);
        if let Some(gathering) = self.gathering
            && !self.identifiers.any_free()
        {
            // The timers of tokio are too coarse for it; a sink has its thread for itself.
            std::thread::sleep(gathering);
        }
        let read = self.poll_read(context);
        let is_due = self.ping.as_mut().poll(context).is_ready();
        if is_due {
            self.ping_is_due();
        }
        if wrote || read || is_due {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Whether somebody may have waited for what was written.
    fn poll_write(&mut self, context: &mut Context<'_>) -> bool {
        if !self.is_unflushed || self.write_error.is_some() {
            return false;
        }
        let had_room = self.has_room();
        match poll_flush(&mut self.socket, &mut self.outgoing, context) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => {
                self.is_unflushed = false;
                if self.unacknowledged == Unacknowledged::Unwritten {
                    self.unacknowledged = Unacknowledged::Written;
                }
            }
            Poll::Ready(Err(error)) => self.write_error = Some(ended_by(&error)),
        }
        self.unacknowledged == Unacknowledged::Written || had_room != self.has_room()
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> bool {
        self.arrived.reserve(READ_TOGETHER);
        let read = pin!(self.socket.read_buf(&mut self.arrived)).poll(context);
        match read {
            Poll::Pending => return false,
            Poll::Ready(Ok(1..)) => self.last_heard = Instant::now(),
            Poll::Ready(Ok(0)) => self.end(hung_up()),
            Poll::Ready(Err(error)) => self.end(ended_by(&error)),
        }
        true
    }

    fn ping_is_due(&mut self) {
        if self.awaits_ping_response {
            return self.end(Ending::unavailable("the broker did not answer a ping"));
        }
        self.ping();
    }

    /// What could not be written says more than that nothing can be read.
    fn end(&mut self, ending: Ending) {
        self.ending = self.write_error.take().or(Some(ending));
    }

    fn handle(&mut self, packet: Incoming) -> Option<Event> {
        match packet {
            Incoming::PubAck(answer) => {
                let was_awaited = self.identifiers.acknowledged(answer.packet_id);
                was_awaited.then(|| self.answered(&answer))
            }
            Incoming::PubRec(answer) if reason::is_failure(answer.code) => {
                let was_awaited = self.identifiers.not_received(answer.packet_id);
                was_awaited.then(|| self.answered(&answer))
            }
            Incoming::PubRec(answer) => {
                if self.identifiers.received(answer.packet_id) {
                    self.put(|codec, to| codec.release(answer.packet_id, to));
                }
                Some(Event::Received)
            }
            Incoming::PubComp(answer) => self.completed(&answer),
            Incoming::SubAck { code, words } => {
                let refusal = || reason::subscription_refused(code, words.as_deref());
                let failed = reason::is_failure(code).then(refusal);
                Some(Event::Subscribed(failed.map_or(Ok(()), Err)))
            }
            Incoming::Publish(message) => Some(Event::Message(message)),
            Incoming::PingResp => {
                self.awaits_ping_response = false;
                Some(Event::PingAnswered)
            }
            Incoming::Disconnect {
                code,
                words,
                elsewhere,
            } => {
                let (words, elsewhere) = (words.as_deref(), elsewhere.as_deref());
                let ending = reason::disconnected(code, words, elsewhere, &self.client_id);
                self.ending = Some(ending);
                None
            }
            Incoming::ConnAck { .. } => {
                let what = Malformed("a second CONNACK".to_owned());
                self.ending = Some(malformed(self.codec, what));
                None
            }
        }
    }

    fn completed(&mut self, answer: &Acknowledgement) -> Option<Event> {
        if !self.identifiers.completed(answer.packet_id) {
            return None;
        }
        if reason::is_failure(answer.code) {
            // Whether it still has the message is not known, so it is sent again.
            let reason = "the broker lost track of a message of QoS 2";
            self.end(Ending::unavailable(reason));
            return None;
        }
        Some(Event::Acknowledged(answer.packet_id))
    }

    fn answered(&mut self, answer: &Acknowledgement) -> Event {
        let packet_id = answer.packet_id;
        if !reason::is_failure(answer.code) {
            return Event::Acknowledged(packet_id);
        }
        if answer.code == IDENTIFIER_IN_USE {
            // It remembers another connection. A new one begins anew.
            let reason = "the broker takes a packet identifier for one in use";
            self.ending = Some(Ending::unavailable(reason));
        }
        Event::Refused {
            packet_id,
            refusal: reason::publish_refused(answer.code, answer.words.as_deref()),
        }
    }
}

/// Writes all of it and sends it on its way. What is written leaves the buffer at once.
fn poll_flush(
    socket: &mut Box<dyn Socket>,
    outgoing: &mut BytesMut,
    context: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    while !outgoing.is_empty() {
        match pin!(socket.write_buf(outgoing)).poll(context) {
            Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Ok(_)) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return Poll::Pending,
        }
    }
    Pin::new(socket).poll_flush(context)
}

fn lower(one: Qos, other: Qos) -> Qos {
    match (one, other) {
        (Qos::AtMostOnce, _) | (_, Qos::AtMostOnce) => Qos::AtMostOnce,
        (Qos::AtLeastOnce, _) | (_, Qos::AtLeastOnce) => Qos::AtLeastOnce,
        (Qos::ExactlyOnce, Qos::ExactlyOnce) => Qos::ExactlyOnce,
    }
}

fn malformed(codec: Codec, Malformed(what): Malformed) -> Ending {
    let protocol = codec.version().name();
    Ending::unavailable(format!("the broker does not speak {protocol}: {what}"))
}
