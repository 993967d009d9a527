//! Packets that carry their number in every reading, so that every single message can be found again:
//! lost, doubled, out of order.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::ops::RangeInclusive;
use std::process::ChildStdin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{Point, Session, is_of_gateway};

/// Where the readings of a packet go, behind the topic prefix.
pub(crate) const TOPICS: [&str; 6] = [
    "node1/temperature",
    "node1/humidity",
    "node1/gas_resistance",
    "node2/pressure",
    "stats/packets_received",
    "stats/crc_errors",
];

/// Messages of one packet.
pub(crate) const MESSAGES: usize = TOPICS.len();

/// Numbers are no temperatures: what the configuration needs for them to pass.
pub(crate) const ANY_VALUE: &str = "\
    [telemetry.metrics.t]\nrange = \"any\"\n[telemetry.metrics.h]\nrange = \"any\"\n\
    [telemetry.metrics.g]\nrange = \"any\"\n[telemetry.metrics.p]\nrange = \"any\"\n";

/// The packets with these numbers, one a line, a millisecond apart by the board's clock.
pub(crate) fn packets(numbers: RangeInclusive<u64>) -> String {
    let mut lines = String::new();
    for n in numbers {
        writeln!(
            lines,
            "{{\"ts\":{n},\"id\":\"N2\",\"n1\":{{\"t\":{n},\"h\":{n},\"g\":{n}}},\"n2\":{{\"p\":{n}}},\
             \"sts\":{{\"rx\":{n},\"err\":{n}}}}}"
        )
        .unwrap();
    }
    lines
}

/// What a record of messages or points holds of the numbered packets.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Numbers that arrived, by topic.
    arrived: BTreeMap<String, BTreeSet<u64>>,
    /// Messages that had arrived before.
    pub(crate) duplicates: usize,
    /// Messages that arrived for the first time after a later one of their topic had.
    pub(crate) overtaken: usize,
}

impl Tally {
    /// Of all messages that were published, in their order.
    pub(crate) fn of_publishes(sessions: &[Session]) -> Self {
        Self::of_sessions(sessions, |_| true)
    }

    /// Of the messages that the broker acknowledged.
    pub(crate) fn of_acknowledged(sessions: &[Session]) -> Self {
        Self::of_sessions(sessions, |acknowledged| acknowledged)
    }

    fn of_sessions(sessions: &[Session], counts: impl Fn(bool) -> bool) -> Self {
        let publishes = sessions.iter().flat_map(|session| &session.publishes);
        let mut tally = Self::default();
        for publish in publishes.filter(|publish| counts(publish.acknowledged)) {
            let topic = publish.topic.split_once('/').unwrap().1;
            // What the gateway says of itself and of nodes is no reading.
            if !is_of_gateway(&publish.topic) {
                tally.add(topic, publish.payload.parse().unwrap());
            }
        }
        tally
    }

    /// Of points, in the order in which they were taken.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the values are the numbers"
    )]
    pub(crate) fn of_points(points: &[Point]) -> Self {
        let mut tally = Self::default();
        for point in points {
            let topic = format!("{}/{}", point.tags["node_id"], point.measurement);
            tally.add(&topic, point.value as u64);
        }
        tally
    }

    fn add(&mut self, topic: &str, number: u64) {
        if !self.arrived.contains_key(topic) {
            self.arrived.insert(topic.to_owned(), BTreeSet::new());
        }
        let Some(arrived) = self.arrived.get_mut(topic) else {
            return;
        };
        if arrived.last().is_some_and(|last| *last > number) && !arrived.contains(&number) {
            self.overtaken += 1;
        }
        if !arrived.insert(number) {
            self.duplicates += 1;
        }
    }

    /// Fails unless every reading of just these packets arrived, in the order of their numbers.
    pub(crate) fn assert_complete(&self, what: &str, numbers: impl IntoIterator<Item = u64>) {
        let expected: BTreeSet<u64> = numbers.into_iter().collect();
        for topic in TOPICS {
            let nothing = BTreeSet::new();
            let arrived = self.arrived.get(topic).unwrap_or(&nothing);
            let lost: Vec<_> = expected.difference(arrived).take(10).collect();
            let invented: Vec<_> = arrived.difference(&expected).take(10).collect();
            assert!(
                lost.is_empty() && invented.is_empty(),
                "{what}, {topic}: {} of {} arrived; lost {lost:?} …, never sent {invented:?} …",
                arrived.intersection(&expected).count(),
                expected.len(),
            );
        }
        assert_eq!(self.arrived.len(), MESSAGES, "{what}: other topics");
        assert_eq!(self.overtaken, 0, "{what}: out of order");
    }

    /// Fails unless every reading of these packets arrived, whatever else did.
    pub(crate) fn assert_holds(&self, what: &str, numbers: RangeInclusive<u64>) {
        for topic in TOPICS {
            let arrived = &self.arrived[topic];
            let lost: Vec<_> = numbers.clone().filter(|it| !arrived.contains(it)).collect();
            assert!(lost.is_empty(), "{what}, {topic}: lost {lost:?}");
        }
    }

    /// Fails if anything arrived that is not of these packets.
    pub(crate) fn assert_only(&self, what: &str, numbers: RangeInclusive<u64>) {
        for (topic, arrived) in &self.arrived {
            assert!(TOPICS.contains(&topic.as_str()), "{what}: {topic}");
            let invented: Vec<_> = arrived.iter().filter(|it| !numbers.contains(it)).collect();
            assert!(invented.is_empty(), "{what}, {topic}: {invented:?}");
        }
    }

    /// Messages that arrived, each once.
    pub(crate) fn distinct(&self) -> usize {
        self.arrived.values().map(BTreeSet::len).sum()
    }
}

/// What a connection published and what it may be followed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leg {
    /// Messages that earlier connections had published already.
    pub(crate) repeated: usize,
    /// Messages that had not been acknowledged when it ended.
    pub(crate) in_flight: usize,
}

/// What each connection repeated of those before it.
pub(crate) fn legs(sessions: &[Session]) -> Vec<Leg> {
    let mut seen = HashSet::new();
    let leg = |session: &Session| {
        let messages = session.publishes.iter();
        let messages = messages.filter(|publish| !is_of_gateway(&publish.topic));
        let mut leg = Leg {
            repeated: 0,
            in_flight: 0,
        };
        for publish in messages {
            leg.in_flight += usize::from(!publish.acknowledged);
            let is_new = seen.insert((publish.topic.clone(), publish.payload.clone()));
            leg.repeated += usize::from(!is_new);
        }
        leg
    };
    sessions.iter().map(leg).collect()
}

/// Writes numbered packets at a steady pace until it is told to stop.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(ChildStdin, u64)>,
}

impl Load {
    /// Begins with this number, at so many packets a second.
    pub(crate) fn start(mut stdin: ChildStdin, first: u64, rate: u64) -> Self {
        const TICK: Duration = Duration::from_millis(5);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let start = Instant::now();
            let mut next = first;
            while !stopped.load(Ordering::Relaxed) {
                let micros = u64::try_from(start.elapsed().as_micros()).unwrap();
                let due = first + rate * micros / 1_000_000;
                // Fails when the gateway was killed.
                if due > next && stdin.write_all(packets(next..=due - 1).as_bytes()).is_err() {
                    break;
                }
                next = due.max(next);
                std::thread::sleep(TICK);
            }
            (stdin, next)
        });
        Self { stop, thread }
    }

    /// Ends it; returns the gateway's standard input and the number that comes next.
    pub(crate) fn stop(self) -> (ChildStdin, u64) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}
