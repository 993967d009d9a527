//! One connection after the other to the broker.

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use rumqttc::{
    AsyncClient, ConnectionError, Event, LastWill, MqttOptions, NetworkOptions, Outgoing, Packet,
    QoS, SubscribeReasonCode,
};
use tokio::time::Instant;

use super::announcement::Announcement;
use super::discovery::Discovery;
use super::failure::{CLOSED, explain, not_accepted};
use super::flight::Flight;
use super::message::TopicMap;
use super::options::options;
use crate::config::{Mqtt, Payload, Qos};
use crate::journal::Row;
use crate::monitor::{DeliveryOutcome, SinkId};
use crate::sink::{Delivery, Failure, Lane, Wake};
use crate::telemetry::MetricTable;

/// How long the end of a session may take: what was sent is acknowledged, `offline` is published.
const FAREWELL: Duration = Duration::from_secs(2);

/// A connection that the broker closes sooner than this was not wanted.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(30);

/// So many unwanted connections in a row are no accident.
const TAKEN_OVER_AFTER: u32 = 3;

/// Rows read at once.
const READ_AHEAD: usize = 256;

/// Delivers to a broker.
pub struct MqttDelivery {
    config: Mqtt,
    topics: TopicMap,
    discovery: Discovery,
    /// Connections in a row that the broker took and soon closed without a word.
    closed_early: u32,
}

/// A connection's events, read without ever dropping a half-done read.
type Events = Pin<Box<dyn Stream<Item = Result<Event, ConnectionError>> + Send>>;

/// A connection that the broker has accepted.
struct Connection<'a> {
    client: AsyncClient,
    events: Events,
    topics: &'a TopicMap,
    discovery: &'a mut Discovery,
    qos: QoS,
    flight: Flight,
    /// Publishes that the client takes before it sends any.
    capacity: usize,
    /// Read from the journal, not handed over yet.
    rows: VecDeque<Row>,
    /// The row that is being handed over, and how many of its messages were.
    current: Option<(Row, usize)>,
    last_heard: Instant,
    /// When the broker last acknowledged something, or was given something with nothing else waiting.
    last_progress: Instant,
    /// Silence for longer than this means that the link is dead, though nobody closed it.
    patience: Duration,
}

impl MqttDelivery {
    /// A delivery that is not connected yet.
    pub fn new(config: Mqtt, topics: TopicMap, metrics: Arc<MetricTable>) -> Self {
        let topics = match config.payload {
            Payload::Plain => topics,
            Payload::Json => topics.with_json(metrics.clone()),
        };
        Self {
            discovery: Discovery::new(&config, &topics, metrics),
            config,
            topics,
            closed_early: 0,
        }
    }

    fn options(&self) -> Result<MqttOptions, Failure> {
        let mut options = options(&self.config)?;
        options.set_clean_session(true).set_last_will(LastWill::new(
            self.topics.status_topic(),
            "offline",
            QoS::AtLeastOnce,
            true,
        ));
        Ok(options)
    }

    /// Connects; `None`: told to leave meanwhile.
    async fn connect(&mut self, lane: &mut Lane) -> Result<Option<Connection<'_>>, Failure> {
        let capacity = usize::from(self.config.max_inflight);
        let (client, mut event_loop) = AsyncClient::new(self.options()?, capacity);
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        event_loop.set_network_options(network);
        let mut events: Events = Box::pin(stream::unfold(event_loop, |mut event_loop| async {
            Some((event_loop.poll().await, event_loop))
        }));
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(Ok(Event::Incoming(Packet::ConnAck(_)))) => break,
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(not_accepted(explain(&error), &self.config)),
                    None => return Ok(None),
                },
                () = lane.leave() => return Ok(None),
            }
        }
        self.discovery.begin();
        let now = Instant::now();
        Ok(Some(Connection {
            client,
            events,
            topics: &self.topics,
            discovery: &mut self.discovery,
            qos: quality_of_service(self.config.qos),
            flight: Flight::default(),
            capacity,
            rows: VecDeque::new(),
            current: None,
            last_heard: now,
            last_progress: now,
            patience: self.config.keep_alive.mul_f64(1.5),
        }))
    }

    /// A broker that ends connections it has just accepted most likely has another client of the same
    /// name, which takes the connection back each time. Two such must not fight every second.
    fn judge(&mut self, failure: Failure, held: Duration) -> Failure {
        let was_closed = matches!(&failure, Failure::Unavailable(reason) if reason == CLOSED);
        if !was_closed || held > TAKEN_OVER_WITHIN {
            self.closed_early = 0;
            return failure;
        }
        self.closed_early += 1;
        if self.closed_early < TAKEN_OVER_AFTER {
            return failure;
        }
        let too_many = match self.config.qos {
            Qos::ExactlyOnce => {
                "; or does the broker take fewer messages of QoS 2 at once? Lower mqtt.max_inflight"
            }
            Qos::AtMostOnce | Qos::AtLeastOnce => "",
        };
        Failure::Refused(format!(
            "the broker accepts the connection and soon closes it: is another client connected as \
             \"{}\"? Give each gateway its own mqtt.client_id; or may it not publish below {}/? Give \
             it the right to{too_many}",
            self.config.client_id, self.config.topic_prefix
        ))
    }
}

impl Delivery for MqttDelivery {
    const SINK: SinkId = SinkId::Mqtt;

    async fn session(&mut self, lane: &mut Lane) -> Result<(), Failure> {
        let since = Instant::now();
        let result = match self.connect(lane).await {
            Ok(None) => return Ok(()),
            Ok(Some(mut connection)) => {
                lane.set_up();
                connection.run(lane).await
            }
            Err(failure) => {
                // A broker that is away was restarted; another client would have left it up.
                self.closed_early = 0;
                return Err(failure);
            }
        };
        result.map_err(|failure| self.judge(failure, since.elapsed()))
    }
}

impl Connection<'_> {
    async fn run(&mut self, lane: &mut Lane) -> Result<(), Failure> {
        self.publish_status("online");
        let mut silence = pin!(tokio::time::sleep(self.patience));
        let result = loop {
            if let Err(failure) = self.hand_over(lane) {
                break Err(failure);
            }
            if lane.must_leave() {
                break Ok(());
            }
            let wants_rows = self.current.is_none() && self.has_room();
            tokio::select! {
                // Events come by the ten thousand a second, and looking for orders costs more than
                // one of them: it is done before, by `must_leave`, and while there is none.
                biased;
                event = self.events.next() => {
                    if let Err(failure) = self.handle(event, lane) {
                        break Err(failure);
                    }
                }
                () = self.discovery.settle() => {}
                wake = lane.wake(wants_rows) => if wake == Wake::Leave {
                    break Ok(());
                },
                () = &mut silence => {
                    if let Some(failure) = self.silence() {
                        break Err(failure);
                    }
                    // Set anew here rather than at every packet: that would cost more than this.
                    silence.as_mut().reset(self.last_sign_of_life() + self.patience);
                }
            }
        };
        self.discovery.report();
        let lost = self.flight.outstanding() as u64;
        match &result {
            Ok(()) => self.farewell(lane).await,
            Err(failure) => {
                // The first of them is `online`.
                self.discovery.broke_off(self.flight.statuses_arrived() > 1);
                lane.failed(failure, lost);
            }
        }
        result
    }

    /// A broker that answers pings and acknowledges nothing is as good as dead.
    fn last_sign_of_life(&self) -> Instant {
        if self.flight.outstanding() == 0 {
            return self.last_heard;
        }
        self.last_heard.min(self.last_progress)
    }

    fn silence(&self) -> Option<Failure> {
        let silent = self.last_sign_of_life().elapsed();
        if silent < self.patience {
            return None;
        }
        let seconds = silent.as_secs_f64();
        Some(Failure::Unavailable(
            if self.last_heard.elapsed() < self.patience {
                format!("the broker acknowledged nothing for {seconds:.1} s")
            } else {
                format!("the broker was silent for {seconds:.1} s, the link is dead")
            },
        ))
    }

    /// Whether the client is to be given more. While it has half of what it takes it does not run dry,
    /// and offering it each message that it may have no room for would make most of them for nothing.
    fn has_room(&self) -> bool {
        self.flight.unsent() <= self.capacity / 2
    }

    /// Hands messages to the client until it takes no more or there are none.
    fn hand_over(&mut self, lane: &mut Lane) -> Result<(), Failure> {
        if !self.has_room() {
            return Ok(());
        }
        if self.flight.outstanding() == 0 {
            self.last_progress = Instant::now();
        }
        if !self.hand_over_discovery() {
            return Ok(());
        }
        while self.has_row(lane)? {
            if let Some((row, handed_over)) = &self.current {
                let readings = row.readings.iter().skip(*handed_over);
                readings.for_each(|reading| self.discovery.notice(reading));
            }
            if !self.hand_over_discovery() {
                return Ok(());
            }
            let Some((row, handed_over)) = &mut self.current else {
                break;
            };
            while let Some(reading) = row.readings.get(*handed_over) {
                let topic = self.topics.topic(reading);
                let payload = self.topics.payload(reading, row.event_time);
                let retained = self.topics.is_retained(reading);
                // Topics are valid by their making, so an error means that there is no room.
                if self
                    .client
                    .try_publish(topic, self.qos, retained, payload)
                    .is_err()
                {
                    return Ok(());
                }
                self.flight.message_handed_over();
                *handed_over += 1;
            }
            self.current = None;
        }
        Ok(())
    }

    /// Hands over what is to be said to Home Assistant; false: there was no room for all of it.
    fn hand_over_discovery(&mut self) -> bool {
        if let Some(filter) = self.discovery.subscription() {
            if self.client.try_subscribe(filter, QoS::AtMostOnce).is_err() {
                return false;
            }
            self.discovery.subscription_handed_over();
        }
        while let Some(Announcement { topic, payload }) = self.discovery.next() {
            if !self.publish_retained(topic, payload) {
                return false;
            }
            self.discovery.handed_over();
        }
        true
    }

    /// Makes sure that there is a row to hand over, if there is one to read.
    fn has_row(&mut self, lane: &mut Lane) -> Result<bool, Failure> {
        if self.current.is_some() {
            return Ok(true);
        }
        if self.rows.is_empty() {
            let rows = lane.read(READ_AHEAD);
            self.rows = rows
                .map_err(|error| Failure::Unavailable(error.to_string()))?
                .into();
        }
        let Some(row) = self.rows.pop_front() else {
            return Ok(false);
        };
        let first_message = lane.wants_to_show().then(|| self.describe(&row)).flatten();
        let messages = row.readings.len() as u64;
        self.flight
            .begin_row(row.end(), row.received, messages, first_message);
        self.current = Some((row, 0));
        Ok(true)
    }

    fn describe(&self, row: &Row) -> Option<String> {
        let reading = row.readings.first()?;
        Some(format!(
            "{} {}",
            self.topics.topic(reading),
            self.topics.payload(reading, row.event_time)
        ))
    }

    fn publish_status(&mut self, status: &str) -> bool {
        self.publish_retained(self.topics.status_topic(), status.to_owned())
    }

    /// Publishes what the gateway says of itself.
    fn publish_retained(&mut self, topic: String, payload: String) -> bool {
        let sent = self
            .client
            .try_publish(topic, QoS::AtLeastOnce, true, payload)
            .is_ok();
        if sent {
            self.flight.status_handed_over();
        }
        sent
    }

    fn handle(
        &mut self,
        event: Option<Result<Event, ConnectionError>>,
        lane: &mut Lane,
    ) -> Result<(), Failure> {
        let event = match event {
            Some(Ok(event)) => event,
            Some(Err(error)) => return Err(explain(&error)),
            None => return Err(Failure::Unavailable("the client ended".to_owned())),
        };
        match event {
            Event::Outgoing(Outgoing::Publish(packet_id)) => self.flight.sent(packet_id),
            Event::Incoming(packet) => {
                self.last_heard = Instant::now();
                match packet {
                    Packet::PubAck(ack) => self.flight.acknowledged(ack.pkid),
                    Packet::PubComp(complete) => self.flight.acknowledged(complete.pkid),
                    Packet::PubRec(_) => {}
                    Packet::SubAck(answer) => {
                        let refused = answer.return_codes.contains(&SubscribeReasonCode::Failure);
                        self.discovery.subscribed(!refused);
                        return Ok(());
                    }
                    Packet::Publish(message) => {
                        let (topic, retained) = (&message.topic, message.retain);
                        self.discovery.received(topic, retained, &message.payload);
                        return Ok(());
                    }
                    _ => return Ok(()),
                }
                self.last_progress = self.last_heard;
            }
            Event::Outgoing(_) => return Ok(()),
        }
        while let Some(row) = self.flight.next_arrived() {
            lane.acknowledge(row.end, row.received, row.messages);
            if let Some(what) = row.first_message {
                lane.show(what, row.messages, DeliveryOutcome::Delivered, row.received);
            }
        }
        Ok(())
    }

    /// Waits for what is under way, says `offline` and disconnects, all within [`FAREWELL`].
    async fn farewell(&mut self, lane: &mut Lane) {
        if lane.is_abandoned() {
            // The broker publishes the last will when the connection breaks off.
            return;
        }
        let deadline = Instant::now() + FAREWELL;
        let mut said = false;
        loop {
            // The last word: at `QoS` 2 it could overtake what is still being handed over.
            if self.flight.outstanding() == 0 {
                if said {
                    break;
                }
                said = self.publish_status("offline");
            }
            tokio::select! {
                event = self.events.next() => if self.handle(event, lane).is_err() {
                    return;
                },
                () = tokio::time::sleep_until(deadline) => return,
            }
        }
        if self.client.try_disconnect().is_ok() {
            // It ends with the connection, which is what it waits for.
            let ending = async { while let Some(Ok(_)) = self.events.next().await {} };
            let _late = tokio::time::timeout_at(deadline, ending).await;
        }
    }
}

fn quality_of_service(qos: Qos) -> QoS {
    match qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
        Qos::ExactlyOnce => QoS::ExactlyOnce,
    }
}
