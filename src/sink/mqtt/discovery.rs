//! What is to be said to Home Assistant on one connection, and in which order.
//!
//! An announcement is a message beside the readings: it moves no cursor, and it waits here until the
//! client has room for it.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::announcement::{Announcement, Announcer, KnownMetric};
use super::identities::Identities;
use super::message::TopicMap;
use crate::config::Mqtt;
use crate::repeated::Topic;
use crate::telemetry::{Choice, MetricTable, Name, Reading};

const SUSPENSIONS: Topic = Topic::of_attempts("announcements-suspended");
const UNREADABLE: Topic = Topic::of_attempts("announcements-unreadable");
const UNHEARD: Topic = Topic::of_attempts("home-assistant-unheard");
const UNSENT: Topic = Topic::of_attempts("announcements-unsent");
const REMOVALS: Topic = Topic::of_attempts("announcements-removed");
const LONG_NAMES: Topic = Topic::new("names-too-long");

/// Sensors of one gateway. Names that damage makes up must not fill anybody's memory.
const MAX_SENSORS: usize = 1_000;

/// Topics that wait to be given up, and their bytes: a broker may send any number. What is beyond comes
/// again with the next subscription.
const MAX_WAITING: usize = 1_000;
const MAX_WAITING_BYTES: usize = 256 * 1024;

/// Subscriptions on one connection: a broker that forbids to give topics up sends them for ever.
const MAX_SUBSCRIPTIONS: u32 = 100;

/// A broker sends what it retains when somebody subscribes. So long after the last of it, that was all.
const QUIET: Duration = Duration::from_secs(1);

/// What Home Assistant says when it has started, unless it is configured otherwise.
const BORN: &[u8] = b"online";

/// The least time from one announcement of everything to the next.
const BIRTH_INTERVAL: Duration = Duration::from_secs(10);
/// A broker that did not answer the subscription within this time does not.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is said on the present connection, and what outlives it.
pub(super) struct Discovery {
    task: Task,
    /// Whether the client took something on this connection.
    has_begun: bool,
    /// Whether the last connection broke off before the first of it had arrived: a broker may close
    /// connections over what it does not allow.
    is_doubted: bool,
    /// Whether this connection does without.
    is_suspended: bool,
}

enum Task {
    /// Nothing: it is not configured.
    Rest,
    /// Everything is announced.
    Announce {
        announcer: Announcer,
        /// A broker that was restarted may have forgotten what it retained.
        known: KnownSensors,
        /// Topics that it announced something on before, and does no more: not though what is still under way
        /// is of a source that has gone.
        former: BTreeSet<String>,
        waiting: VecDeque<Subject>,
        birth: Birth,
    },
    /// Everything that was ever announced is removed.
    Remove {
        announcer: Announcer,
        /// Topics on which this gateway announced what the journal knows of.
        known: Vec<String>,
        removal: Removal,
    },
}

/// The metrics of nodes that Home Assistant knows of.
#[derive(Default)]
struct KnownSensors {
    /// By source and node.
    metrics: HashMap<Name, HashMap<Name, HashSet<Name>>>,
    count: usize,
}

enum Subject {
    Gateway,
    Former(String),
    Problems,
    /// Of a source, its node and metric.
    Reading([Name; 3]),
}

/// Home Assistant's message that it has started: it may have missed what was announced.
#[derive(Default)]
struct Birth {
    is_subscribed: bool,
    /// When it was last obeyed: everything is not to be said without end because somebody asks without end.
    obeyed_at: Option<Instant>,
}

/// First what the broker sends is given up, then what it did not send though the journal knows of it: a
/// broker need not send what it retains to a subscription with wildcards.
#[derive(Default)]
struct Removal {
    is_subscribed: bool,
    subscriptions: u32,
    /// Topics to be given up.
    waiting: VecDeque<String>,
    /// Topics that the journal knows of and the broker did not send.
    unsent: BTreeSet<String>,
    /// Whether the broker has sent all that it does, and it is those that are given up.
    by_names: bool,
    /// How many of them were.
    removed_by_names: u64,
    /// Of those.
    bytes: usize,
    /// Whether there were more than may wait.
    has_more: bool,
    removed: u64,
    /// When there will have been nothing for long enough.
    quiet_at: Option<Instant>,
}

impl KnownSensors {
    /// Whether the reading is of a sensor that is to be announced now.
    fn insert(&mut self, source: &Name, reading: &Reading) -> bool {
        let of_source = self.metrics.get(source);
        let of_node = of_source.and_then(|nodes| nodes.get(&reading.node));
        let is_known = of_node.is_some_and(|metrics| metrics.contains(&reading.metric));
        if is_known || self.count > MAX_SENSORS {
            return false;
        }
        self.count += 1;
        if self.count > MAX_SENSORS {
            tracing::warn!(
                limit = MAX_SENSORS,
                "Home Assistant is told of no more nodes and metrics."
            );
            return false;
        }
        let of_source = self.metrics.entry(source.clone()).or_default();
        let of_node = of_source.entry(reading.node.clone()).or_default();
        of_node.insert(reading.metric.clone())
    }

    /// The gateway first: the devices of nodes hang on it.
    fn everything(&self, former: &BTreeSet<String>) -> VecDeque<Subject> {
        let nodes = self.metrics.iter().flat_map(|(source, nodes)| {
            nodes
                .iter()
                .map(move |(node, metrics)| (source, node, metrics))
        });
        let readings = nodes.flat_map(|(source, node, metrics)| {
            let subject = move |metric: &Name| {
                Subject::Reading([source.clone(), node.clone(), metric.clone()])
            };
            metrics.iter().map(subject)
        });
        let former = former.iter().cloned().map(Subject::Former);
        [Subject::Gateway]
            .into_iter()
            .chain(former)
            .chain([Subject::Problems])
            .chain(readings)
            .collect()
    }
}

impl Birth {
    /// Whether all is to be announced again because of it.
    fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let is_due = self.obeyed_at.is_none_or(|at| now - at >= BIRTH_INTERVAL);
        if is_due {
            self.obeyed_at = Some(now);
        }
        is_due
    }
}

impl Removal {
    fn new(known: &[String]) -> Self {
        Self {
            unsent: known.iter().cloned().collect(),
            ..Self::default()
        }
    }

    fn next(&self) -> Option<&String> {
        let unsent = self.unsent.first().filter(|_| self.by_names);
        self.waiting.front().or(unsent)
    }

    fn push(&mut self, topic: &str) {
        self.unsent.remove(topic);
        let bytes = self.bytes + topic.len();
        if self.waiting.len() == MAX_WAITING || bytes > MAX_WAITING_BYTES {
            self.has_more = true;
            return;
        }
        self.bytes = bytes;
        self.waiting.push_back(topic.to_owned());
    }

    fn pop(&mut self) {
        let Some(topic) = self.waiting.pop_front() else {
            self.removed_by_names += u64::from(self.unsent.pop_first().is_some());
            return;
        };
        self.bytes -= topic.len();
        self.removed += 1;
        if self.waiting.is_empty() && self.subscriptions < MAX_SUBSCRIPTIONS {
            self.is_subscribed &= !std::mem::take(&mut self.has_more);
        }
    }
}

impl Discovery {
    /// What the configuration asks for, of readings that go to these topics.
    pub(super) fn new(
        config: &Mqtt,
        topics: &TopicMap,
        metrics: Arc<MetricTable>,
        identities: Identities,
        names: &[KnownMetric],
    ) -> Self {
        let Some(home_assistant) = &config.home_assistant else {
            return Self::of(Task::Rest);
        };
        let payload = config.payload;
        let announcer =
            Announcer::new(home_assistant, topics.clone(), payload, metrics, identities);
        let choice = &config.sink.choice;
        Self::of(Self::task(home_assistant.enabled, announcer, names, choice))
    }

    fn task(
        is_enabled: bool,
        announcer: Announcer,
        names: &[KnownMetric],
        choice: &Choice,
    ) -> Task {
        if is_enabled {
            Task::Announce {
                former: announcer.former_topics(names, choice),
                announcer,
                known: KnownSensors::default(),
                waiting: VecDeque::new(),
                birth: Birth::default(),
            }
        } else {
            let sensors = names
                .iter()
                .map(|it| announcer.reading(&it.source, &it.node, &it.metric));
            let announced = sensors.chain([announcer.gateway(), announcer.problems()]);
            let announced = announced.flatten().map(|it| it.topic);
            Task::Remove {
                known: announced.collect(),
                removal: Removal::default(),
                announcer,
            }
        }
    }

    fn of(task: Task) -> Self {
        Self {
            task,
            has_begun: false,
            is_doubted: false,
            is_suspended: false,
        }
    }

    /// A connection begins: all that is known is announced again, or removed again. After one that may
    /// have been closed over that, this one does without, so that readings go on.
    pub(super) fn begin(&mut self) {
        self.has_begun = false;
        self.is_suspended = std::mem::take(&mut self.is_doubted);
        if self.is_suspended
            && let Task::Announce { announcer, .. } | Task::Remove { announcer, .. } = &self.task
        {
            let topics = announcer.filter();
            SUSPENSIONS.say("", "", move |sum| {
                tracing::warn!(
                    topics, repeated = sum.words(),
                    "The broker closed the connection over what Home Assistant is told, or just then: this \
                     connection does without. Allow the gateway to write these topics."
                );
            });
        }
        match &mut self.task {
            Task::Rest => {}
            Task::Announce {
                known,
                former,
                waiting,
                birth,
                ..
            } => {
                *waiting = known.everything(former);
                birth.is_subscribed = false;
            }
            Task::Remove { known, removal, .. } => *removal = Removal::new(known),
        }
    }

    /// The connection broke off. Something of this may have arrived before.
    pub(super) fn broke_off(&mut self, has_arrived: bool) {
        self.is_doubted = self.has_begun && !has_arrived;
    }

    /// Whether the last connection may have been ended over this.
    pub(super) fn is_doubted(&self) -> bool {
        self.is_doubted
    }

    /// A reading is about to be published.
    pub(super) fn notice(&mut self, source: &Name, reading: &Reading) {
        if let Task::Announce { known, waiting, .. } = &mut self.task
            && known.insert(source, reading)
        {
            let (node, metric) = (reading.node.clone(), reading.metric.clone());
            waiting.push_back(Subject::Reading([source.clone(), node, metric]));
        }
    }

    /// What is to be subscribed to, until that is [done](Self::subscription_handed_over).
    pub(super) fn subscription(&self) -> Option<String> {
        match &self.task {
            Task::Remove {
                announcer, removal, ..
            } if !removal.is_subscribed && !self.is_suspended => Some(announcer.filter()),
            Task::Announce {
                announcer, birth, ..
            } if !birth.is_subscribed && !self.is_suspended => Some(announcer.birth_topic()),
            _ => None,
        }
    }

    /// The client took the subscription.
    pub(super) fn subscription_handed_over(&mut self) {
        match &mut self.task {
            Task::Rest => return,
            Task::Announce { birth, .. } => birth.is_subscribed = true,
            Task::Remove { removal, .. } => {
                removal.is_subscribed = true;
                removal.subscriptions += 1;
                removal.quiet_at = Some(Instant::now() + PATIENCE);
            }
        }
        self.has_begun = true;
    }

    /// The topics that Home Assistant reads, as a filter.
    pub(super) fn topics(&self) -> Option<String> {
        match &self.task {
            Task::Rest => None,
            Task::Announce { announcer, .. } | Task::Remove { announcer, .. } => {
                Some(announcer.filter())
            }
        }
    }

    /// The broker answered the subscription.
    pub(super) fn subscribed(&mut self, is_granted: bool) {
        match &mut self.task {
            Task::Remove {
                announcer, removal, ..
            } => {
                removal.quiet_at = Some(Instant::now() + QUIET);
                if !is_granted {
                    let filter = announcer.filter();
                    UNREADABLE.say("", "", move |sum| {
                        tracing::warn!(
                            filter, repeated = sum.words(),
                            "The broker does not say what Home Assistant was told: allow the gateway to read it."
                        );
                    });
                }
            }
            Task::Announce { announcer, .. } if !is_granted => {
                let topic = announcer.birth_topic();
                UNHEARD.say("", "", move |sum| {
                    tracing::warn!(
                        topic, repeated = sum.words(),
                        "The broker does not say when Home Assistant starts: allow the gateway to read it."
                    );
                });
            }
            Task::Announce { .. } | Task::Rest => {}
        }
    }

    /// A message came.
    pub(super) fn received(&mut self, topic: &str, is_retained: bool, payload: &[u8]) {
        match &mut self.task {
            // What is given up comes back as a message without the flag.
            Task::Remove {
                announcer, removal, ..
            } if is_retained && !payload.is_empty() && announcer.owns(topic) => {
                removal.push(topic);
            }
            // One that is retained is from before: everything was announced at the beginning.
            Task::Announce {
                announcer,
                known,
                waiting,
                birth,
                ..
            } if !is_retained && payload == BORN && topic == announcer.birth_topic() => {
                let is_due = birth.is_due();
                if is_due {
                    *waiting = known.everything(&BTreeSet::new());
                }
            }
            _ => {}
        }
    }

    /// The next message, until it is [done](Self::handed_over). It is retained, at `QoS` 1.
    pub(super) fn next(&mut self) -> Option<Announcement> {
        if self.is_suspended {
            return None;
        }
        match &mut self.task {
            Task::Rest => None,
            Task::Remove { removal, .. } => Some(Announcement {
                topic: removal.next()?.clone(),
                payload: String::new(),
            }),
            Task::Announce {
                announcer,
                former,
                waiting,
                ..
            } => loop {
                let announcement = match waiting.front()? {
                    Subject::Gateway => announcer.gateway(),
                    Subject::Problems => announcer.problems(),
                    Subject::Former(topic) => Some(Announcement {
                        topic: topic.clone(),
                        payload: String::new(),
                    }),
                    Subject::Reading([source, node, metric]) => {
                        announcer.reading(source, node, metric)
                    }
                };
                let is_wanted = |it: &Announcement| {
                    it.payload.is_empty()
                        || !announcer.tells_sources()
                        || !former.contains(&it.topic)
                };
                if announcement.as_ref().is_some_and(is_wanted) {
                    return announcement;
                }
                if let Some(Subject::Reading([_, node, metric])) = waiting.pop_front()
                    && announcement.is_none()
                {
                    LONG_NAMES.say("", "", move |sum| {
                        let repeated = sum.words();
                        tracing::warn!(%node, %metric, repeated, "Names are too long for Home Assistant.");
                    });
                }
            },
        }
    }

    /// The client took the message.
    pub(super) fn handed_over(&mut self) {
        self.has_begun = true;
        match &mut self.task {
            Task::Rest => {}
            Task::Announce { waiting, .. } => {
                waiting.pop_front();
            }
            Task::Remove { removal, .. } => {
                removal.pop();
                removal.quiet_at = Some(Instant::now() + QUIET);
            }
        }
    }

    /// Waits until everything is removed, and says how much that was.
    ///
    /// Cancel safe.
    pub(super) async fn settle(&mut self) {
        let quiet_at = match &self.task {
            Task::Remove { removal, .. } => removal.quiet_at,
            Task::Rest | Task::Announce { .. } => None,
        };
        match quiet_at {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
        if let Task::Remove { removal, .. } = &mut self.task
            && !std::mem::replace(&mut removal.by_names, true)
            && !removal.unsent.is_empty()
        {
            removal.quiet_at = Some(Instant::now() + QUIET);
            return;
        }
        self.report();
    }

    /// Says how much was removed, if that has not been said.
    pub(super) fn report(&mut self) {
        if let Task::Remove { removal, .. } = &mut self.task
            && removal.quiet_at.take().is_some()
        {
            let removed = std::mem::take(&mut removal.removed);
            let by_names = std::mem::take(&mut removal.removed_by_names);
            if removed == 0 && by_names > 0 {
                return UNSENT.say("", "", move |sum| {
                    tracing::warn!(
                        removed = by_names, repeated = sum.words(),
                        "The broker sends nothing that Home Assistant was told: sensors were removed by \
                         their names in the journal. See there whether one is left; if none is, leave out \
                         [mqtt.home_assistant]."
                    );
                });
            }
            REMOVALS.count("", "", removed, |sum| {
                tracing::info!(
                    removed = sum.amount(),
                    repeated = sum.words(),
                    "Removed sensors from Home Assistant."
                );
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{HomeAssistant, Payload};

    fn discovery(enabled: bool) -> Discovery {
        let home_assistant = HomeAssistant {
            enabled,
            discovery_prefix: "homeassistant".to_owned(),
            expire_after: Duration::ZERO,
            gateway: Some("hall".to_owned()),
        };
        let announcer = Announcer::new(
            &home_assistant,
            TopicMap::new("iiot", []),
            Payload::Plain,
            Arc::new(MetricTable::default()),
            Identities::default(),
        );
        let names = [KnownMetric {
            source: "source".into(),
            node: "node1".into(),
            metric: "lux".into(),
            is_there: true,
        }];
        let choice = Choice::default();
        Discovery::of(Discovery::task(enabled, announcer, &names, &choice))
    }

    fn reading(metric: &str) -> Reading {
        Reading {
            node: "node1".into(),
            metric: metric.into(),
            value: 1.0,
        }
    }

    /// The gateway, and what it announces no more, once in topics that told the source.
    const FIRST: [&str; 3] = ["status", "source_node1_lux", "status"];

    /// Hands over all that waits, and returns the objects that it was about.
    fn objects(discovery: &mut Discovery) -> Vec<String> {
        let mut objects = Vec::new();
        while let Some(Announcement { topic, .. }) = discovery.next() {
            objects.push(topic.split('/').nth(3).unwrap().to_owned());
            discovery.handed_over();
        }
        objects
    }

    #[test]
    fn a_sensor_is_announced_once_on_every_connection() {
        let mut discovery = discovery(true);
        for metrics in [["lux", "lux"], ["lux", "noise"]] {
            discovery.begin();
            for metric in metrics {
                discovery.notice(&"source".into(), &reading(metric));
            }
            // Without room it is the same again.
            assert_eq!(discovery.next(), discovery.next());
            let mut objects = objects(&mut discovery);
            assert_eq!(objects.drain(..3).collect::<Vec<_>>(), FIRST);
            assert_eq!(objects.remove(0), "problems");
            let mut expected = metrics.map(|metric| format!("node1_{metric}")).to_vec();
            expected.dedup();
            assert_eq!(objects, expected);
        }
    }

    #[test]
    fn a_connection_that_broke_off_over_it_is_followed_by_one_without() {
        for enabled in [true, false] {
            let mut discovery = discovery(enabled);
            for round in 0..6 {
                discovery.begin();
                let is_silent = discovery.subscription().is_none() && discovery.next().is_none();
                assert_eq!(is_silent, round % 2 == 1, "round {round}");
                if discovery.subscription().is_some() {
                    discovery.subscription_handed_over();
                }
                objects(&mut discovery);
                discovery.broke_off(false);
            }
            discovery.begin();
            objects(&mut discovery);
            discovery.broke_off(true);
            discovery.begin();
            assert!(discovery.subscription().is_some() || discovery.next().is_some());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn everything_is_announced_again_when_home_assistant_starts() {
        let mut discovery = discovery(true);
        discovery.begin();
        assert_eq!(
            discovery.subscription().as_deref(),
            Some("homeassistant/status")
        );
        discovery.subscription_handed_over();
        assert_eq!(discovery.subscription(), None);
        discovery.notice(&"source".into(), &reading("lux"));
        let first = objects(&mut discovery);
        assert_eq!(first, [&FIRST[..], &["problems", "node1_lux"]].concat());
        let all = ["status", "problems", "node1_lux"];
        for (topic, is_retained, payload) in [
            ("homeassistant/status", true, &b"online"[..]),
            ("homeassistant/status", false, b"offline"),
            ("homeassistant/other", false, b"online"),
        ] {
            discovery.received(topic, is_retained, payload);
            assert_eq!(discovery.next(), None, "{topic}");
        }
        let born = |discovery: &mut Discovery| {
            discovery.received("homeassistant/status", false, b"online");
            objects(discovery)
        };
        assert_eq!(born(&mut discovery), all);
        // Who asks again and again keeps no reading from its way.
        assert_eq!(born(&mut discovery), [""; 0]);
        tokio::time::advance(BIRTH_INTERVAL).await;
        assert_eq!(born(&mut discovery), all);
        discovery.begin();
        assert!(discovery.subscription().is_some());
    }

    #[test]
    fn made_up_names_do_not_grow_without_end() {
        let mut discovery = discovery(true);
        discovery.begin();
        for number in 0..2 * MAX_SENSORS {
            discovery.notice(&"source".into(), &reading(&format!("m{number}")));
        }
        assert_eq!(objects(&mut discovery).len(), FIRST.len() + 1 + MAX_SENSORS);
        discovery.notice(&"source".into(), &reading("m0"));
        assert_eq!(discovery.next(), None);
    }

    #[test]
    fn a_broker_that_retains_more_than_may_wait_is_asked_again() {
        let mut discovery = discovery(false);
        discovery.begin();
        let topic = |number| format!("homeassistant/sensor/hall/node1_{number:0200}/config");
        let mut left: Vec<String> = (0..3 * MAX_WAITING).map(topic).collect();
        let mut rounds = 0;
        while discovery.subscription().is_some() {
            discovery.subscription_handed_over();
            discovery.subscribed(true);
            for topic in &left {
                discovery.received(topic, true, b"{}");
            }
            let mut bytes = 0;
            let mut waited = 0;
            while let Some(Announcement { topic, .. }) = discovery.next() {
                (bytes, waited) = (bytes + topic.len(), waited + 1);
                left.retain(|one| *one != topic);
                discovery.handed_over();
            }
            assert!(waited <= MAX_WAITING && bytes <= MAX_WAITING_BYTES);
            rounds += 1;
        }
        assert_eq!(left, [] as [String; 0]);
        assert!(rounds > 1);
        // It ends though nothing goes.
        discovery.begin();
        while discovery.subscription().is_some() {
            discovery.subscription_handed_over();
            for number in 0..=MAX_WAITING {
                discovery.received(&topic(number), true, b"{}");
            }
            objects(&mut discovery);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_broker_does_not_send_is_given_up_by_name() {
        for sent in [&[][..], &["node1_lux"], &["node1_lux", "node1_old"]] {
            let mut discovery = discovery(false);
            discovery.begin();
            discovery.subscription_handed_over();
            discovery.subscribed(true);
            for object in sent {
                let topic = format!("homeassistant/sensor/hall/{object}/config");
                discovery.received(&topic, true, b"{}");
            }
            assert_eq!(objects(&mut discovery), sent);
            discovery.settle().await;
            let known = ["problems", "status", "node1_lux"].into_iter();
            let unsent: Vec<_> = known.filter(|object| !sent.contains(object)).collect();
            assert_eq!(objects(&mut discovery), unsent);
            discovery.settle().await;
            assert_eq!(discovery.next(), None);
        }
    }

    #[test]
    fn what_is_retained_is_given_up_once() {
        let mut discovery = discovery(false);
        discovery.begin();
        let filter = discovery.subscription();
        assert_eq!(filter.as_deref(), Some("homeassistant/+/hall/+/config"));
        discovery.subscription_handed_over();
        assert_eq!(discovery.subscription(), None);
        discovery.subscribed(true);
        let topic = "homeassistant/sensor/hall/node1_lux/config";
        discovery.received(topic, true, b"{}");
        discovery.received(topic, false, b"");
        discovery.received("homeassistant/sensor/other/node1_lux/config", true, b"{}");
        let announcement = discovery.next().unwrap();
        assert_eq!((&*announcement.topic, &*announcement.payload), (topic, ""));
        assert_eq!(objects(&mut discovery), ["node1_lux"]);
    }
}
