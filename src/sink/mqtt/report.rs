//! What is to be said of nodes and of the gateway itself on one connection: all of it when it begins,
//! then what changes. As announcements, these messages move no cursor.

use std::collections::{BTreeMap, VecDeque};

use tokio::sync::watch;

use super::announcement::Announcement;
use super::message::TopicMap;
use crate::monitor::{Problem, Standing};
use crate::repeated::Topic;
use crate::telemetry::Choice;

const SUSPENSIONS: Topic = Topic::of_attempts("reports-suspended");

/// Bytes of a message: brokers need not take longer ones.
const MAX_BYTES: usize = 10_000;

/// What is said on the present connection, and what outlives it.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, and none follows from another"
)]
pub(super) struct Report {
    standing: watch::Receiver<Standing>,
    topics: TopicMap,
    /// Which readings go to the broker: nothing is said of other nodes.
    choice: Choice,
    /// Whether there may be something new.
    is_due: bool,
    /// What was said on this connection, by topic.
    said: BTreeMap<String, String>,
    waiting: VecDeque<Announcement>,
    /// Whether the connection took something of this.
    has_begun: bool,
    /// Whether the last connection broke off before the first of it had arrived: a broker may close
    /// connections over what it does not allow.
    is_doubted: bool,
    /// Whether this connection does without.
    is_suspended: bool,
}

impl Report {
    pub(super) fn new(
        standing: watch::Receiver<Standing>,
        topics: TopicMap,
        choice: Choice,
    ) -> Self {
        Self {
            standing,
            topics,
            choice,
            is_due: false,
            said: BTreeMap::new(),
            waiting: VecDeque::new(),
            has_begun: false,
            is_doubted: false,
            is_suspended: false,
        }
    }

    /// A connection begins: everything is said anew. After one that may have been closed over that, this
    /// one does without, so that readings go on.
    pub(super) fn begin(&mut self) {
        self.said.clear();
        self.waiting.clear();
        self.has_begun = false;
        self.is_suspended = std::mem::take(&mut self.is_doubted);
        self.is_due = !self.is_suspended;
        if self.is_suspended {
            let topics = self.topics.status_of_nodes();
            SUSPENSIONS.say("", "", move |sum| {
                tracing::warn!(
                    topics, repeated = sum.words(),
                    "The broker closed the connection over what the gateway says of its nodes, or just \
                     then: this connection does without. Allow the gateway to write these topics, or set \
                     mqtt.node_status = false."
                );
            });
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

    /// The next message, until it is [handed over](Self::handed_over). It is retained, at `QoS` 1.
    pub(super) fn next(&mut self) -> Option<&Announcement> {
        if std::mem::take(&mut self.is_due) {
            let standing = self.standing.borrow_and_update();
            let messages = messages(&standing, &self.topics, &self.choice);
            drop(standing);
            let is_new = |it: &Announcement| self.said.get(&it.topic) != Some(&it.payload);
            self.waiting = messages.into_iter().filter(is_new).collect();
        }
        self.waiting.front()
    }

    /// The connection took the message.
    pub(super) fn handed_over(&mut self) {
        self.has_begun = true;
        if let Some(Announcement { topic, payload }) = self.waiting.pop_front() {
            self.said.insert(topic, payload);
        }
    }

    /// Waits until there may be something new to say.
    ///
    /// Cancel safe.
    pub(super) async fn changed(&mut self) {
        if self.is_suspended || self.standing.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        self.is_due = true;
    }
}

/// Everything that is to be said.
fn messages(standing: &Standing, topics: &TopicMap, choice: &Choice) -> Vec<Announcement> {
    let problems = standing.problems.as_ref().and_then(|problems| {
        Some(Announcement {
            topic: topics.problems_topic(),
            payload: serde_json::to_string(&shortened(problems)).ok()?,
        })
    });
    let nodes = if topics.has_node_status() {
        of_nodes(standing, topics, choice)
    } else {
        Vec::new()
    };
    problems.into_iter().chain(nodes).collect()
}

/// As many of the gravest as a message may hold.
fn shortened(problems: &[Problem]) -> &[Problem] {
    let mut bytes = 0;
    let fit = problems.iter().take_while(|problem| {
        bytes += 200 + problem.concerns.len() + problem.sentence.len() + problem.fix.len();
        bytes <= MAX_BYTES
    });
    &problems[..fit.count().max(1).min(problems.len())]
}

fn of_nodes(standing: &Standing, topics: &TopicMap, choice: &Choice) -> Vec<Announcement> {
    let nodes = standing.nodes.iter().map(|(node, is_online)| {
        let state = if *is_online { "online" } else { "offline" };
        (node, state)
    });
    let gone = standing.gone.iter().map(|node| (node, ""));
    let is_chosen = |node: &str| {
        // The name of its source may stand in front.
        let own_name = node.split_once(' ').map_or(node, |(_, name)| name);
        choice.may_take_from(node) || choice.may_take_from(own_name)
    };
    let said = nodes
        .chain(gone)
        .filter(|(node, _)| is_chosen(node.as_str()));
    said.map(|(node, state)| Announcement {
        topic: topics.status_of_node(node.as_str()),
        payload: state.to_owned(),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(nodes: &[(&str, bool)], gone: &[&str]) -> Standing {
        let nodes = nodes.iter().map(|(node, online)| ((*node).into(), *online));
        Standing {
            nodes: nodes.collect(),
            gone: gone.iter().map(|name| (*name).into()).collect(),
            problems: None,
        }
    }

    fn said(report: &mut Report) -> Vec<String> {
        let mut said = Vec::new();
        while let Some(Announcement { topic, payload }) = report.next() {
            said.push(format!("{topic} {payload}"));
            report.handed_over();
        }
        said
    }

    #[tokio::test]
    async fn everything_is_said_at_the_beginning_and_then_what_changes() {
        let first = standing(&[("node1", true), ("node2", false)], &["hall"]);
        let sender = watch::Sender::new(first);
        let topics = TopicMap::new("iiot", []).with_node_status(true);
        let mut report = Report::new(sender.subscribe(), topics, Choice::default());
        for _ in 0..2 {
            report.begin();
            let all = [
                "iiot/node1/status online",
                "iiot/node2/status offline",
                "iiot/hall/status ",
            ];
            assert_eq!(said(&mut report), all);
        }
        sender.send_modify(|standing| {
            standing.nodes.insert("node2".into(), true);
            standing.problems = Some(Vec::new());
        });
        assert_eq!(report.next(), None);
        report.changed().await;
        let new = ["iiot/gateway/problems []", "iiot/node2/status online"];
        assert_eq!(said(&mut report), new);
    }

    #[test]
    fn a_connection_that_broke_off_over_it_is_followed_by_one_without() {
        let sender = watch::Sender::new(standing(&[("node1", true)], &[]));
        let topics = TopicMap::new("iiot", []).with_node_status(true);
        let mut report = Report::new(sender.subscribe(), topics, Choice::default());
        for round in 0..6 {
            report.begin();
            assert_eq!(
                said(&mut report).is_empty(),
                round % 2 == 1,
                "round {round}"
            );
            report.broke_off(false);
        }
    }

    #[test]
    fn nothing_is_said_of_nodes_whose_readings_go_elsewhere() {
        let nodes = [("node1", true), ("node2", true), ("north node1", false)];
        let sender = watch::Sender::new(standing(&nodes, &["node3"]));
        let topics = TopicMap::new("iiot", []).with_node_status(true);
        let choice = Choice::new(vec!["node1/*".parse().unwrap()], Vec::new());
        let mut report = Report::new(sender.subscribe(), topics, choice);
        report.begin();
        let expected = [
            "iiot/node1/status online",
            "iiot/north node1/status offline",
        ];
        assert_eq!(said(&mut report), expected);
    }

    #[test]
    fn nothing_is_said_of_nodes_where_that_is_switched_off() {
        let sender = watch::Sender::new(standing(&[("node1", true)], &["hall"]));
        let topics = TopicMap::new("iiot", []);
        let mut report = Report::new(sender.subscribe(), topics, Choice::default());
        report.begin();
        assert_eq!(report.next(), None);
    }
}
