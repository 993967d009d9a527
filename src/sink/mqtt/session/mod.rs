//! What is delivered over one connection.

mod care;
mod late;

use std::collections::VecDeque;
use std::pin::pin;
use std::time::Duration;

use tokio::time::Instant;

use super::announcement::Announcement;
use super::connection::{Connection, Ending, Event, Message, Published, Received, Refusal};
use super::discovery::Discovery;
use super::flight::{Flight, Publish};
use super::message::TopicMap;
use super::report::Report;
use super::suspicion::{Blame, Suspicion};
use crate::config::{Late, Qos};
use crate::journal::Row;
use crate::monitor::DeliveryOutcome;
use crate::repeated::Topic;
use crate::sink::{Failure, Lane, Wake};
use late::Newest;

const REJECTIONS: Topic = Topic::new("rejected-messages");
const OWN_REFUSALS: Topic = Topic::new("own-messages-refused");

/// How long the end of a session may take: what was sent is acknowledged, `offline` is published.
const FAREWELL: Duration = Duration::from_secs(2);

/// Rows read at once.
const READ_AHEAD: usize = 256;

/// What a session takes from the delivery that it is one of.
pub(super) struct Setting<'a> {
    pub(super) topics: &'a TopicMap,
    pub(super) discovery: &'a mut Discovery,
    pub(super) report: &'a mut Report,
    pub(super) suspicion: &'a mut Suspicion,
    pub(super) qos: Qos,
    /// Whether messages are retained.
    pub(super) retains: bool,
    pub(super) max_inflight: u16,
    /// What becomes of readings that are late.
    pub(super) late: Late,
    /// From this age on they are.
    pub(super) late_after: Duration,
}

/// A connection that the broker has accepted, and what is delivered over it.
pub(super) struct Session<'a> {
    connection: Connection,
    setting: Setting<'a>,
    flight: Flight,
    newest: Newest,
    /// Read from the journal, not begun yet.
    rows: VecDeque<Row>,
    /// Whether each message is under way alone.
    is_careful: bool,
    /// Readings that the broker acknowledged.
    acknowledged_readings: u32,
    has_acknowledged_row: bool,
    /// When the broker last acknowledged something, or was given something with nothing else waiting.
    last_progress: Instant,
    /// Silence for longer than this means that the link is dead, though nobody closed it.
    patience: Duration,
}

impl<'a> Session<'a> {
    /// Nothing is published yet.
    pub(super) fn new(connection: Connection, setting: Setting<'a>) -> Self {
        Self {
            patience: connection.keep_alive().mul_f64(1.5),
            connection,
            is_careful: setting.suspicion.is_careful(),
            flight: Flight::new(setting.topics.grouping()),
            newest: Newest::default(),
            setting,
            rows: VecDeque::new(),
            acknowledged_readings: 0,
            has_acknowledged_row: false,
            last_progress: Instant::now(),
        }
    }
}

impl Session<'_> {
    /// Delivers until the connection ends or the session has to. The end of the connection comes with
    /// what it says about messages.
    pub(super) async fn run(&mut self, lane: &mut Lane) -> Result<(), (Ending, Blame)> {
        let result = self.deliver(lane).await;
        self.setting.discovery.report();
        let lost = self.flight.outstanding() as u64;
        let Err(ending) = result else {
            self.farewell(lane).await;
            return Ok(());
        };
        let has_arrived = self.flight.announcements_arrived() > 0;
        self.setting.discovery.broke_off(has_arrived);
        self.setting.report.broke_off(has_arrived);
        lane.failed(&ending.failure, lost);
        let under_way = self.under_way();
        let suspicion = &mut *self.setting.suspicion;
        let blame = suspicion.ended(&ending, under_way, self.has_acknowledged_row);
        if blame == Blame::Doubtful && suspicion.is_careful() {
            // It is no outage, and the sooner it is over the better.
            lane.prove();
        }
        Err((ending, blame))
    }

    async fn deliver(&mut self, lane: &mut Lane) -> Result<(), Ending> {
        if self.is_careful {
            self.prove(lane).await?;
        }
        self.publish_status("online", lane)?;
        self.look_through(lane).await?;
        self.serve(lane).await
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
            let wants_rows = !self.flight.has_reading() && self.has_room();
            tokio::select! {
                // Answers come by the ten thousand a second, and looking for orders costs more than one
                // of them: it is done before, by `must_leave`, and while there is none.
                biased;
                exchanged = self.connection.exchange() => exchanged?,
                wake = lane.wake(wants_rows) => if wake == Wake::Leave {
                    return Ok(());
                },
                () = self.setting.discovery.settle() => {}
                () = self.setting.report.changed() => {}
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

    /// Whether another message may be published.
    fn has_room(&self) -> bool {
        let may_be_sent = !self.is_careful || self.flight.outstanding() == 0;
        may_be_sent && self.connection.has_room()
    }

    /// Publishes what there is, as far as there is room.
    fn send(&mut self, lane: &mut Lane) -> Result<(), Ending> {
        if self.flight.outstanding() == 0 {
            self.last_progress = Instant::now();
        }
        while self.has_room() {
            // A row that has just begun may have brought something new.
            self.begin_row(lane)?;
            if self.announce(lane)? {
                continue;
            }
            if self.skip() || self.take_care(lane)? {
                continue;
            }
            let publish = self.flight.begin_reading();
            let Some((publish, message)) = publish.and_then(|it| Some((it, self.message(it)?)))
            else {
                break;
            };
            self.publish(publish, message, lane)?;
        }
        // What was not sent may have been the last of its row.
        self.acknowledge(lane);
        Ok(())
    }

    /// A reading as a message.
    fn message(&self, publish: Publish) -> Option<Message> {
        let (row, readings) = self.flight.readings(publish)?;
        let (topics, first) = (self.setting.topics, readings.first()?);
        let is_retained = topics.is_retained(first) && !self.goes_aside(row);
        Some(Message {
            topic: self.topic(row, first),
            payload: topics.payload(self.said(row, readings), row.event_time),
            qos: self.setting.qos,
            retained: self.setting.retains && is_retained,
            event_time: Some(row.event_time),
        })
    }

    /// Publishes what is to be said of nodes or to Home Assistant next; false: there is nothing.
    fn announce(&mut self, lane: &Lane) -> Result<bool, Ending> {
        if let Some(Announcement { topic, payload }) = self.setting.report.next().cloned() {
            self.setting.report.handed_over();
            let publish = self.flight.begin(Publish::Announcement);
            let message = of_itself(topic, payload, self.setting.retains);
            self.publish(publish, message, lane)?;
            return Ok(true);
        }
        if let Some(filter) = self.setting.discovery.subscription() {
            self.connection.subscribe(&filter);
            self.setting.discovery.subscription_handed_over();
        }
        let Some(Announcement { topic, payload }) = self.setting.discovery.next() else {
            return Ok(false);
        };
        self.setting.discovery.handed_over();
        let publish = self.flight.begin(Publish::Announcement);
        let message = of_itself(topic, payload, self.setting.retains);
        self.publish(publish, message, lane)?;
        Ok(true)
    }

    fn publish_status(&mut self, text: &str, lane: &Lane) -> Result<(), Ending> {
        let topic = self.setting.topics.status_topic();
        let message = of_itself(topic, text.to_owned(), self.setting.retains);
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
        while !self.flight.has_reading() {
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
                self.setting.discovery.notice(&row.source, reading);
            }
            if self.setting.late == Late::Skip {
                self.newest.note(&row);
            }
            let first_message = lane.wants_to_show().then(|| self.describe(&row)).flatten();
            self.flight.begin_row(row, first_message);
        }
        Ok(())
    }

    fn describe(&self, row: &Row) -> Option<String> {
        let topics = self.setting.topics;
        let readings = &row.readings[..topics.grouping().count(&row.readings)];
        let topic = self.topic(row, readings.first()?);
        Some(format!(
            "{topic} {}",
            topics.payload(readings, row.event_time)
        ))
    }

    /// Takes what the broker answered.
    fn take_events(&mut self, lane: &mut Lane) -> Result<(), Ending> {
        let mut has_progressed = false;
        while let Some(event) = self.connection.event() {
            match event {
                Event::Written => self.flight.written(),
                Event::Acknowledged(packet_id) => {
                    let publish = self.flight.acknowledged(packet_id);
                    if let Some(publish) = publish.filter(|_| self.is_careful) {
                        self.acquit(publish);
                    }
                }
                Event::Refused { packet_id, refusal } => {
                    if let Some(publish) = self.flight.refused(packet_id) {
                        self.refused(publish, refusal, lane)?;
                    }
                }
                Event::Received => {}
                Event::Subscribed(answer) => {
                    self.setting.discovery.subscribed(answer.is_ok());
                    continue;
                }
                Event::Message(Received {
                    topic,
                    payload,
                    is_retained,
                }) => {
                    self.setting
                        .discovery
                        .received(&topic, is_retained, &payload);
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
        let mut arrived = None;
        while let Some(row) = self.flight.next_arrived() {
            arrived = Some(row.end);
            if !row.rejections.is_empty() {
                lane.reject(row.rejections);
            }
            self.setting.suspicion.pass(row.end.sequence);
            lane.delivered(row.received, row.messages);
            lane.counters().skipped.add(row.skipped);
            self.has_acknowledged_row = true;
            self.end_care();
            if let Some(what) = row.first_message.filter(|_| row.messages > 0) {
                lane.show(what, row.messages, DeliveryOutcome::Delivered, row.received);
            }
        }
        if let Some(end) = arrived {
            lane.acknowledge(end);
        }
    }

    /// The broker did not take a message. What it will never take is set aside; what it does not take
    /// as things are ends the connection, and stays in the journal with all that comes behind it.
    fn refused(&mut self, publish: Publish, refusal: Refusal, lane: &Lane) -> Result<(), Ending> {
        let Refusal {
            reason,
            is_of_this_message,
        } = refusal;
        let Some((row, [first, ..])) = self.flight.readings(publish) else {
            // Readings are worth more than what the gateway says of itself.
            let topic = match publish {
                Publish::Announcement => {
                    let told = self.setting.discovery.topics().into_iter();
                    let own = self.setting.topics.status_of_nodes();
                    Some(told.chain([own]).collect::<Vec<_>>().join(" or "))
                }
                Publish::Status | Publish::Reading { .. } => {
                    Some(self.setting.topics.status_topic())
                }
            };
            let link = lane.sink().clone();
            OWN_REFUSALS.say(lane.sink().as_str(), &reason.clone(), move |sum| {
                tracing::warn!(
                    %link, topic, error = reason, repeated = sum.words(),
                    "The broker refused what the gateway says of itself; readings go on."
                );
            });
            self.flight.arrived(publish);
            return Ok(());
        };
        let topic = self.topic(row, first);
        if !is_of_this_message {
            let reason = format!("the broker refused a message to {topic}: {reason}");
            return Err(Ending::other(Failure::Refused(reason)));
        }
        self.reject(publish, &reason, lane);
        Ok(())
    }

    /// Sets a reading aside.
    fn reject(&mut self, publish: Publish, reason: &str, lane: &Lane) {
        let Some((row, readings @ [first, ..])) = self.flight.readings(publish) else {
            return;
        };
        let (topic, count) = (self.topic(row, first), readings.len() as u64);
        let (of, error) = (topic.clone(), reason.to_owned());
        let link = lane.sink().clone();
        REJECTIONS.say(lane.sink().as_str(), "", move |sum| {
            tracing::warn!(
                %link, topic = of, error, repeated = sum.words(),
                "Rejected for good; the reading stands in the journal's table `rejected`."
            );
        });
        let outcome = DeliveryOutcome::Rejected {
            reason: reason.to_owned(),
        };
        lane.show(topic, count, outcome, row.received);
        self.flight.reject(publish, reason, lane.sink());
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
pub(super) fn of_itself(topic: String, payload: String, retained: bool) -> Message {
    Message {
        topic,
        payload,
        qos: Qos::AtLeastOnce,
        retained,
        event_time: None,
    }
}
