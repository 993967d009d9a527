//! One connection after the other to the broker.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::Instant;

use super::announcement::KnownMetric;
use super::connection::{Cause, Ending, OpenError};
use super::discovery::Discovery;
use super::failure::{NOTHING_RETAINED, not_accepted, text};
use super::identities::Identities;
use super::message::TopicMap;
use super::negotiation::Negotiation;
use super::report::Report;
use super::retain::Opened;
use super::session::{Session, Setting, of_itself};
use super::suspicion::{Blame, Suspicion};
use crate::backoff::HELD;
use crate::config::{Mqtt, Qos, Retain};
use crate::monitor::{SinkId, Standing};
use crate::sink::{Delivery, Failure, Lane, dial};
use crate::telemetry::MetricTable;

/// So many unwanted connections in a row are no accident.
const TAKEN_OVER_AFTER: u32 = 3;

/// Delivers to the first of some brokers that works.
pub struct MqttDelivery {
    brokers: Vec<Broker>,
    prefer_first: Option<Duration>,
    messages: Messages,
}

/// What is said, to whichever broker is used.
struct Messages {
    topics: TopicMap,
    discovery: Discovery,
    report: Report,
}

impl Messages {
    /// Whether the last connection may have been ended over what the gateway says of itself and of nodes.
    fn are_doubted(&self) -> bool {
        self.report.is_doubted() || self.discovery.is_doubted()
    }
}

/// A broker, and what is known of it.
struct Broker {
    /// With this broker alone.
    config: Mqtt,
    negotiation: Negotiation,
    suspicion: Suspicion,
    /// Whether messages are retained, as far as is known.
    retains: bool,
    /// Whether it was said that they are not.
    has_told: bool,
    /// Connections in a row that the broker took and soon closed without a word.
    closed_early: u32,
}

impl MqttDelivery {
    /// A delivery that is not connected yet. `names` are metrics that may have been announced.
    pub fn new(
        config: &Mqtt,
        topics: TopicMap,
        metrics: Arc<MetricTable>,
        identities: Identities,
        names: &[KnownMetric],
        standing: watch::Receiver<Standing>,
    ) -> Self {
        let topics = topics.with_node_status(config.node_status);
        let home_assistant = config.home_assistant.as_ref();
        let topics = if home_assistant.is_some_and(|it| it.enabled) {
            topics.retaining_all()
        } else {
            topics
        };
        let topics = topics.with_payload(config.payload, metrics.clone());
        let messages = Messages {
            discovery: Discovery::new(config, &topics, metrics, identities, names),
            report: Report::new(standing, topics.clone(), config.sink.choice.clone()),
            topics,
        };
        Self {
            brokers: config.each().map(Broker::new).collect(),
            prefer_first: config.prefer_first,
            messages,
        }
    }
}

impl Broker {
    fn new(config: Mqtt) -> Self {
        Self {
            negotiation: Negotiation::default(),
            suspicion: Suspicion::default(),
            retains: config.retain != Retain::Never,
            has_told: false,
            config,
            closed_early: 0,
        }
    }

    /// Connects; `None`: told to leave meanwhile.
    async fn connect<'a>(
        &'a mut self,
        messages: &'a mut Messages,
        lane: &mut Lane,
    ) -> Result<Option<Session<'a>>, Failure> {
        let will = of_itself(
            messages.topics.status_topic(),
            "offline".to_owned(),
            self.retains,
        );
        let sink = lane.sink().clone();
        let opening = self
            .negotiation
            .open(&self.config, &self.config.client_id, will, &sink);
        let Opened {
            connection,
            retains,
        } = tokio::select! {
            opened = opening => opened.map_err(|error| match error {
                OpenError::NotReached(ending) | OpenError::NotAnswered(ending) => {
                    not_accepted(ending, &self.config)
                }
                OpenError::NotSpoken(failure) | OpenError::NotAccepted(failure) => failure,
            })?,
            () = lane.leave() => return Ok(None),
        };
        connection.announce_terms(&self.config, lane.sink());
        self.retains &= retains;
        if !retains || !connection.keeps_retained() {
            self.tell_nothing_retained(lane.sink());
        }
        messages.discovery.begin();
        messages.report.begin();
        let setting = Setting {
            topics: &messages.topics,
            discovery: &mut messages.discovery,
            report: &mut messages.report,
            suspicion: &mut self.suspicion,
            qos: self.config.qos,
            retains: self.retains,
            max_inflight: self.config.max_inflight,
            late: self.config.late,
            late_after: self.config.late_after,
        };
        Ok(Some(Session::new(connection, setting)))
    }

    fn tell_nothing_retained(&mut self, sink: &SinkId) {
        if self.config.retain == Retain::Auto && !std::mem::replace(&mut self.has_told, true) {
            tracing::warn!(
                link = %sink,
                "The broker keeps no retained messages: later subscribers see no last values."
            );
        }
    }

    /// What the end of a connection means that had been accepted.
    fn judge(
        &mut self,
        messages: &Messages,
        ending: Ending,
        held: Duration,
        blame: Blame,
        sink: &SinkId,
    ) -> Failure {
        // Behind a load balancer another broker is there at once for one that was restarted: a connection that
        // held was wanted.
        let was_closed = ending.cause == Cause::HangUp && held < HELD;
        if !was_closed {
            self.closed_early = 0;
        } else if !messages.are_doubted() {
            // Over what is not allowed a broker may hang up, too: that is no sign of another client.
            self.closed_early += 1;
        }
        match blame {
            Blame::Innocent => self.judge_name(ending.failure),
            Blame::Doubtful => {
                if self.suspicion.is_careful() {
                    tracing::debug!(link = %sink, "Messages are sent one by one.");
                }
                Failure::Unavailable(text(&ending.failure).to_owned())
            }
            Blame::NothingRetained if self.config.retain == Retain::Always => {
                Failure::Refused(NOTHING_RETAINED.to_owned())
            }
            Blame::NothingRetained => {
                self.retains = false;
                self.tell_nothing_retained(sink);
                Failure::Unavailable(text(&ending.failure).to_owned())
            }
            Blame::NoMessage => Failure::Refused(format!(
                "the broker ends the connection over every message ({}), allow {}/# in its access \
                 rules",
                text(&ending.failure),
                messages.topics.prefix()
            )),
        }
    }

    /// A broker that ends connections it has just accepted most likely has another client of the same
    /// name, which takes the connection back each time. Two such must not fight every second.
    fn judge_name(&self, failure: Failure) -> Failure {
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
    fn servers(&self) -> Vec<String> {
        self.brokers.iter().map(|it| it.config.url()).collect()
    }

    fn prefer_first(&self) -> Option<Duration> {
        self.prefer_first
    }

    fn reach_first(&self) -> impl Fn() -> BoxFuture<'static, bool> + Send + 'static {
        let first = self.brokers.first().map(|it| &it.config);
        let address = first.map(|it| (it.bare_host().to_owned(), it.port));
        move || {
            let address = address.clone();
            let reach = async move {
                let (host, port) = address?;
                dial::connect(&host, port).await.ok()
            };
            reach.map(|connection| connection.is_some()).boxed()
        }
    }

    async fn session(&mut self, server: usize, lane: &mut Lane) -> Result<(), Failure> {
        let Some(broker) = self.brokers.get_mut(server) else {
            return Ok(());
        };
        let since = Instant::now();
        let result = match broker.connect(&mut self.messages, lane).await {
            Ok(None) => return Ok(()),
            Ok(Some(mut session)) => {
                lane.set_up();
                session.run(lane).await
            }
            Err(failure) => {
                // A broker that is away was restarted; neither another client nor a message would have
                // done that.
                broker.closed_early = 0;
                broker.suspicion.clear();
                return Err(failure);
            }
        };
        let sink = lane.sink();
        let held = since.elapsed();
        result.map_err(|(ending, blame)| broker.judge(&self.messages, ending, held, blame, sink))
    }
}
