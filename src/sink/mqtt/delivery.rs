//! One connection after the other to the broker.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::Instant;

use super::announcement::Announcement;
use super::client::{self, Client, Event, Events, Message, Opening, Received, Refusal};
use super::discovery::Discovery;
use super::failure::{CLOSED, not_accepted};
use super::flight::{Flight, Publish};
use super::message::TopicMap;
use crate::config::{Mqtt, Payload, Qos};
use crate::journal::Row;
use crate::monitor::{DeliveryOutcome, SinkId};
use crate::repeated::Topic;
use crate::sink::{Delivery, Failure, Lane, Wake};
use crate::telemetry::MetricTable;

const REJECTIONS: Topic = Topic::new("rejected messages");
const OWN_REFUSALS: Topic = Topic::new("own messages refused");

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

/// A connection that the broker has accepted.
struct Connection<'a> {
    client: Client,
    events: Events,
    topics: &'a TopicMap,
    discovery: &'a mut Discovery,
    qos: Qos,
    flight: Flight,
    /// Publishes that the client takes before it sends any.
    capacity: usize,
    /// Read from the journal, not handed over yet.
    rows: VecDeque<Row>,
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

    /// Connects; `None`: told to leave meanwhile.
    async fn connect(&mut self, lane: &mut Lane) -> Result<Option<Connection<'_>>, Failure> {
        let capacity = usize::from(self.config.max_inflight);
        let opening = Opening {
            client_id: self.config.client_id.clone(),
            will: Some(of_itself(self.topics.status_topic(), "offline".to_owned())),
            capacity,
        };
        let (client, mut events) = client::open(&self.config, opening)?;
        let keep_alive = loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(Ok(Event::Accepted { keep_alive })) => break keep_alive,
                    Some(Ok(Event::NotAccepted(failure))) => return Err(failure),
                    Some(Ok(_)) => {}
                    Some(Err(failure)) => return Err(not_accepted(failure, &self.config)),
                    None => return Ok(None),
                },
                () = lane.leave() => return Ok(None),
            }
        };
        self.discovery.begin();
        let now = Instant::now();
        Ok(Some(Connection {
            client,
            events,
            topics: &self.topics,
            discovery: &mut self.discovery,
            qos: self.config.qos,
            flight: Flight::default(),
            capacity,
            rows: VecDeque::new(),
            last_heard: now,
            last_progress: now,
            patience: keep_alive.mul_f64(1.5),
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
             \"{}\"? Give each gateway its own mqtt.client_id{too_many}",
            self.config.client_id
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
            let wants_rows = self.flight.next_reading().is_none() && self.has_room();
            tokio::select! {
                // Events come by the ten thousand a second, and looking for orders costs more than
                // one of them: it is done before, by `must_leave`, and while there is none.
                biased;
                event = self.events.next() => {
                    if let Err(failure) = self.handle(event, lane) {
                        break Err(failure);
                    }
                }
                wake = lane.wake(wants_rows) => if wake == Wake::Leave {
                    break Ok(());
                },
                () = self.discovery.settle() => {}
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
                let has_arrived = self.flight.announcements_arrived() > 0;
                self.discovery.broke_off(has_arrived);
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
        while self.has_reading(lane)? {
            // A row that has just begun may have brought something new.
            if !self.hand_over_discovery() {
                break;
            }
            let Some((row, reading)) = self.flight.next_reading() else {
                break;
            };
            let message = Message {
                topic: self.topics.topic(reading),
                payload: self.topics.payload(reading, row.event_time),
                qos: self.qos,
                retained: self.topics.is_retained(reading),
                event_time: Some(row.event_time),
            };
            if !self.client.publish(message) {
                break;
            }
            self.flight.reading_handed_over();
        }
        Ok(())
    }

    /// Hands over what is to be said to Home Assistant; false: there was no room for all of it.
    fn hand_over_discovery(&mut self) -> bool {
        if let Some(filter) = self.discovery.subscription() {
            if !self.client.subscribe(&filter) {
                return false;
            }
            self.discovery.subscription_handed_over();
        }
        while let Some(Announcement { topic, payload }) = self.discovery.next() {
            if !self.client.publish(of_itself(topic, payload)) {
                return false;
            }
            self.flight.announcement_handed_over();
            self.discovery.handed_over();
        }
        true
    }

    /// Makes sure that there is a reading to hand over, if there is one to read.
    fn has_reading(&mut self, lane: &mut Lane) -> Result<bool, Failure> {
        while self.flight.next_reading().is_none() {
            if self.rows.is_empty() {
                let rows = lane.read(READ_AHEAD);
                self.rows = rows
                    .map_err(|error| Failure::Unavailable(error.to_string()))?
                    .into();
            }
            let Some(row) = self.rows.pop_front() else {
                return Ok(false);
            };
            for reading in &row.readings {
                self.discovery.notice(reading);
            }
            let first_message = lane.wants_to_show().then(|| self.describe(&row)).flatten();
            self.flight.begin_row(row, first_message);
        }
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

    fn publish_status(&mut self, text: &str) -> bool {
        let topic = self.topics.status_topic();
        let sent = self.client.publish(of_itself(topic, text.to_owned()));
        if sent {
            self.flight.status_handed_over();
        }
        sent
    }

    fn handle(
        &mut self,
        event: Option<Result<Event, Failure>>,
        lane: &mut Lane,
    ) -> Result<(), Failure> {
        let ended = || Err(Failure::Unavailable("the client ended".to_owned()));
        match event.unwrap_or_else(ended)? {
            Event::Sent(packet_id) => self.flight.sent(packet_id),
            Event::Acknowledged(packet_id) => {
                self.heard_progress();
                self.flight.acknowledged(packet_id);
            }
            Event::Received => self.heard_progress(),
            Event::Refused { packet_id, refusal } => {
                self.heard_progress();
                let publish = self.flight.refused(packet_id);
                self.refused(publish, refusal, lane)?;
            }
            Event::NotSent(refusal) => {
                let publish = self.flight.not_sent();
                self.refused(publish, refusal, lane)?;
            }
            Event::NotAccepted(failure) => return Err(failure),
            Event::Subscribed(answer) => {
                self.last_heard = Instant::now();
                self.discovery.subscribed(answer.is_ok());
                return Ok(());
            }
            Event::Message(message) => {
                self.last_heard = Instant::now();
                let Received {
                    topic,
                    payload,
                    is_retained,
                } = message;
                self.discovery.received(&topic, is_retained, &payload);
                return Ok(());
            }
            Event::Accepted { .. } | Event::Heard => {
                self.last_heard = Instant::now();
                return Ok(());
            }
        }
        while let Some(row) = self.flight.next_arrived() {
            if !row.rejections.is_empty() {
                lane.reject(row.rejections);
            }
            lane.acknowledge(row.end, row.received, row.messages);
            if let Some(what) = row.first_message.filter(|_| row.messages > 0) {
                lane.show(what, row.messages, DeliveryOutcome::Delivered, row.received);
            }
        }
        Ok(())
    }

    /// The broker did not take a message. What it will never take is set aside; what it does not take
    /// as things are ends the connection, and stays in the journal with all that comes behind it.
    fn refused(
        &mut self,
        publish: Option<Publish>,
        refusal: Refusal,
        lane: &Lane,
    ) -> Result<(), Failure> {
        let Some(publish) = publish else {
            return Ok(());
        };
        let Refusal {
            reason,
            is_of_this_message,
        } = refusal;
        let Some((row, reading)) = self.flight.reading(publish) else {
            // Readings are worth more than what the gateway says of itself.
            let topic = match publish {
                Publish::Announcement => self.discovery.topics(),
                Publish::Status | Publish::Reading { .. } => Some(self.topics.status_topic()),
            };
            OWN_REFUSALS.say("", &reason.clone(), move |sum| {
                tracing::warn!(
                    link = %SinkId::Mqtt, topic, error = reason, repeated = sum.words(),
                    "The broker refused what the gateway says of itself; readings go on."
                );
            });
            self.flight.arrived(publish);
            return Ok(());
        };
        let topic = self.topics.topic(reading);
        if !is_of_this_message {
            let reason = format!("the broker refused a message to {topic}: {reason}");
            return Err(Failure::Refused(reason));
        }
        let (of, error) = (topic.clone(), reason.clone());
        REJECTIONS.say("", "", move |sum| {
            tracing::warn!(
                link = %SinkId::Mqtt, topic = of, error, repeated = sum.words(),
                "Rejected for good; the reading stands in the journal's table `rejected`."
            );
        });
        let outcome = DeliveryOutcome::Rejected {
            reason: reason.clone(),
        };
        lane.show(topic, 1, outcome, row.received);
        self.flight.reject(publish, reason);
        Ok(())
    }

    fn heard_progress(&mut self) {
        self.last_heard = Instant::now();
        self.last_progress = self.last_heard;
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
        if self.client.disconnect() {
            // It ends with the connection, which is what it waits for.
            let ending = async { while let Some(Ok(_)) = self.events.next().await {} };
            let _late = tokio::time::timeout_at(deadline, ending).await;
        }
    }
}

/// What the gateway says of itself.
fn of_itself(topic: String, payload: String) -> Message {
    Message {
        topic,
        payload,
        qos: Qos::AtLeastOnce,
        retained: true,
        event_time: None,
    }
}
