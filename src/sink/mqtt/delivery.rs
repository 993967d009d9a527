//! One connection after the other to the broker.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::announcement::Announcement;
use super::connection::{
    self, Cause, Connection, Ending, Event, Message, OpenError, Published, Received, Refusal,
};
use super::discovery::Discovery;
use super::failure::not_accepted;
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

/// What is delivered over one connection.
struct Session<'a> {
    connection: Connection,
    topics: &'a TopicMap,
    discovery: &'a mut Discovery,
    qos: Qos,
    flight: Flight,
    /// Read from the journal, not begun yet.
    rows: VecDeque<Row>,
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
    async fn connect(&mut self, lane: &mut Lane) -> Result<Option<Session<'_>>, Failure> {
        let will = of_itself(self.topics.status_topic(), "offline".to_owned());
        let opening = connection::open(&self.config, &self.config.client_id, Some(will));
        let connection = tokio::select! {
            opened = opening => opened.map_err(|error| match error {
                OpenError::NotReached(ending) => not_accepted(ending, &self.config),
                OpenError::NotAccepted(failure) => failure,
            })?,
            () = lane.leave() => return Ok(None),
        };
        self.discovery.begin();
        Ok(Some(Session {
            patience: connection.keep_alive().mul_f64(1.5),
            connection,
            topics: &self.topics,
            discovery: &mut self.discovery,
            qos: self.config.qos,
            flight: Flight::default(),
            rows: VecDeque::new(),
            last_progress: Instant::now(),
        }))
    }

    /// A broker that ends connections it has just accepted most likely has another client of the same
    /// name, which takes the connection back each time. Two such must not fight every second.
    fn judge(&mut self, ending: Ending, held: Duration) -> Failure {
        if ending.cause != Cause::HangUp || held > TAKEN_OVER_WITHIN {
            self.closed_early = 0;
            return ending.failure;
        }
        self.closed_early += 1;
        if self.closed_early < TAKEN_OVER_AFTER {
            return ending.failure;
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
            Ok(Some(mut session)) => {
                lane.set_up();
                session.run(lane).await
            }
            Err(failure) => {
                // A broker that is away was restarted; another client would have left it up.
                self.closed_early = 0;
                return Err(failure);
            }
        };
        result.map_err(|ending| self.judge(ending, since.elapsed()))
    }
}

impl Session<'_> {
    async fn run(&mut self, lane: &mut Lane) -> Result<(), Ending> {
        self.publish_status("online", lane)?;
        let result = self.serve(lane).await;
        self.discovery.report();
        let lost = self.flight.outstanding() as u64;
        match &result {
            Ok(()) => self.farewell(lane).await,
            Err(ending) => {
                let has_arrived = self.flight.announcements_arrived() > 0;
                self.discovery.broke_off(has_arrived);
                lane.failed(&ending.failure, lost);
            }
        }
        result
    }

    /// Delivers until the connection ends or the session has to.
    async fn serve(&mut self, lane: &mut Lane) -> Result<(), Ending> {
        let mut silence = pin!(tokio::time::sleep(self.patience));
        loop {
            self.take_events(lane)?;
            self.send(lane)?;
            if lane.must_leave() {
                return Ok(());
            }
            let wants_rows = self.flight.next_reading().is_none() && self.connection.has_room();
            tokio::select! {
                // Answers come by the ten thousand a second, and looking for orders costs more than one
                // of them: it is done before, by `must_leave`, and while there is none.
                biased;
                exchanged = self.connection.exchange() => exchanged?,
                wake = lane.wake(wants_rows) => if wake == Wake::Leave {
                    return Ok(());
                },
                () = self.discovery.settle() => {}
                () = &mut silence => {
                    if let Some(failure) = self.silence() {
                        return Err(Ending::other(failure));
                    }
                    // Set anew here rather than at every packet: that would cost more than this.
                    silence.as_mut().reset(self.last_sign_of_life() + self.patience);
                }
            }
        }
    }

    /// A broker that answers pings and acknowledges nothing is as good as dead.
    fn last_sign_of_life(&self) -> Instant {
        let last_heard = self.connection.last_heard();
        if self.flight.outstanding() == 0 {
            return last_heard;
        }
        last_heard.min(self.last_progress)
    }

    fn silence(&self) -> Option<Failure> {
        let silent = self.last_sign_of_life().elapsed();
        if silent < self.patience {
            return None;
        }
        let seconds = silent.as_secs_f64();
        let is_heard = self.connection.last_heard().elapsed() < self.patience;
        Some(Failure::Unavailable(if is_heard {
            format!("the broker acknowledged nothing for {seconds:.1} s")
        } else {
            format!("the broker was silent for {seconds:.1} s, the link is dead")
        }))
    }

    /// Publishes what there is, as far as there is room.
    fn send(&mut self, lane: &mut Lane) -> Result<(), Ending> {
        if self.flight.outstanding() == 0 {
            self.last_progress = Instant::now();
        }
        while self.connection.has_room() {
            // A row that has just begun may have brought something new.
            self.begin_row(lane)?;
            if self.announce(lane)? {
                continue;
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
            let Some(publish) = self.flight.begin_reading() else {
                break;
            };
            self.publish(publish, message, lane)?;
        }
        // What was not sent may have been the last of its row.
        self.acknowledge(lane);
        Ok(())
    }

    /// Publishes what is to be said to Home Assistant next; false: there is nothing.
    fn announce(&mut self, lane: &Lane) -> Result<bool, Ending> {
        if let Some(filter) = self.discovery.subscription() {
            self.connection.subscribe(&filter);
            self.discovery.subscription_handed_over();
        }
        let Some(Announcement { topic, payload }) = self.discovery.next() else {
            return Ok(false);
        };
        self.discovery.handed_over();
        let publish = self.flight.begin(Publish::Announcement);
        self.publish(publish, of_itself(topic, payload), lane)?;
        Ok(true)
    }

    fn publish_status(&mut self, text: &str, lane: &Lane) -> Result<(), Ending> {
        let message = of_itself(self.topics.status_topic(), text.to_owned());
        let publish = self.flight.begin(Publish::Status);
        self.publish(publish, message, lane)
    }

    /// Publishes a message that there is room for.
    fn publish(&mut self, publish: Publish, message: Message, lane: &Lane) -> Result<(), Ending> {
        match self.connection.publish(message) {
            Published::Sent(packet_id) => {
                self.flight.sent(publish, packet_id);
                Ok(())
            }
            Published::NotSent(refusal) => self.refused(publish, refusal, lane),
            Published::NoRoom => Err(Ending::unavailable("no packet identifier is free")),
        }
    }

    /// Makes sure that there is a reading to send, if there is one to read.
    fn begin_row(&mut self, lane: &mut Lane) -> Result<(), Ending> {
        while self.flight.next_reading().is_none() {
            if self.rows.is_empty() {
                let rows = lane.read(READ_AHEAD);
                self.rows = rows
                    .map_err(|error| Ending::unavailable(error.to_string()))?
                    .into();
            }
            let Some(row) = self.rows.pop_front() else {
                break;
            };
            for reading in &row.readings {
                self.discovery.notice(reading);
            }
            let first_message = lane.wants_to_show().then(|| self.describe(&row)).flatten();
            self.flight.begin_row(row, first_message);
        }
        Ok(())
    }

    fn describe(&self, row: &Row) -> Option<String> {
        let reading = row.readings.first()?;
        Some(format!(
            "{} {}",
            self.topics.topic(reading),
            self.topics.payload(reading, row.event_time)
        ))
    }

    /// Takes what the broker answered.
    fn take_events(&mut self, lane: &mut Lane) -> Result<(), Ending> {
        let mut has_progressed = false;
        while let Some(event) = self.connection.event() {
            match event {
                Event::Written => self.flight.written(),
                Event::Acknowledged(packet_id) => self.flight.acknowledged(packet_id),
                Event::Refused { packet_id, refusal } => {
                    if let Some(publish) = self.flight.refused(packet_id) {
                        self.refused(publish, refusal, lane)?;
                    }
                }
                Event::Received => {}
                Event::Subscribed(answer) => {
                    self.discovery.subscribed(answer.is_ok());
                    continue;
                }
                Event::Message(Received {
                    topic,
                    payload,
                    is_retained,
                }) => {
                    self.discovery.received(&topic, is_retained, &payload);
                    continue;
                }
                Event::PingAnswered => continue,
            }
            has_progressed = true;
        }
        if has_progressed {
            self.last_progress = self.connection.last_heard();
            self.acknowledge(lane);
        }
        Ok(())
    }

    /// Acknowledges what has arrived.
    fn acknowledge(&mut self, lane: &mut Lane) {
        while let Some(row) = self.flight.next_arrived() {
            if !row.rejections.is_empty() {
                lane.reject(row.rejections);
            }
            lane.acknowledge(row.end, row.received, row.messages);
            if let Some(what) = row.first_message.filter(|_| row.messages > 0) {
                lane.show(what, row.messages, DeliveryOutcome::Delivered, row.received);
            }
        }
    }

    /// The broker did not take a message. What it will never take is set aside; what it does not take
    /// as things are ends the connection, and stays in the journal with all that comes behind it.
    fn refused(&mut self, publish: Publish, refusal: Refusal, lane: &Lane) -> Result<(), Ending> {
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
            return Err(Ending::other(Failure::Refused(reason)));
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

    /// Waits for what is under way, says `offline` and disconnects, all within [`FAREWELL`].
    async fn farewell(&mut self, lane: &mut Lane) {
        if lane.is_abandoned() {
            // The broker publishes the last will when the connection breaks off.
            return;
        }
        let deadline = Instant::now() + FAREWELL;
        let mut said = false;
        loop {
            if self.take_events(lane).is_err() {
                return;
            }
            // The last word: at `QoS` 2 it could overtake what is still being handed over.
            if self.flight.outstanding() == 0 {
                if said {
                    break;
                }
                if self.publish_status("offline", lane).is_err() {
                    return;
                }
                said = true;
            }
            let exchanged = tokio::time::timeout_at(deadline, self.connection.exchange());
            if !matches!(exchanged.await, Ok(Ok(()))) {
                return;
            }
        }
        self.connection.disconnect();
        // It ends with the connection, which is what it waits for.
        let ending = async { while self.connection.next().await.is_ok() {} };
        let _late = tokio::time::timeout_at(deadline, ending).await;
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
