//! Which nodes there are and whether they are heard. Pure: it works on the times that it is given.

mod interval;
mod signal;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::telemetry::{Hearing, Name, Remote, Timestamp};
use interval::Interval;
use signal::SignalRecord;
pub use signal::{NodeSignal, Spread};

/// Nodes remembered; names are confirmed before they come here, so that this is far more than any site
/// has.
pub const MAX_NODES: usize = 1_024;

/// Boards of which it is remembered for whom they speak: a node that numbers its own packets is one.
const MAX_BOARDS: usize = MAX_NODES;

/// The clock was set if the time of the last hearing is off by more than this.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(1);

/// A node that was not heard for so long is none any more.
const FORGOTTEN_AFTER: Duration = Duration::from_hours(30 * 24);

/// Whether a node is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// It is.
    Heard,
    /// It is late.
    Stale,
    /// It has been silent for so long that something is wrong.
    Offline,
}

impl NodeState {
    /// The state in a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Heard => "heard",
            Self::Stale => "stale",
            Self::Offline => "offline",
        }
    }

    /// Whether its values are still those of now: what `<prefix>/<node>/status` says.
    pub fn is_online(self) -> bool {
        self != Self::Offline
    }
}

/// When a silent node is what.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeRules {
    /// Usual intervals of silence after which a node is stale.
    pub stale_after: f64,
    /// Usual intervals of silence after which it is offline.
    pub offline_after: f64,
    /// The usual intervals of nodes for which they are not learnt.
    pub intervals: BTreeMap<Name, Duration>,
}

impl Default for NodeRules {
    fn default() -> Self {
        Self {
            stale_after: 3.0,
            offline_after: 10.0,
            intervals: BTreeMap::new(),
        }
    }
}

impl NodeRules {
    /// The configured interval of a node, whatever source it is heard by.
    fn interval_of(&self, node: &Name) -> Option<Duration> {
        let alone = || {
            node.as_str()
                .split_once(' ')
                .map(|(_, name)| Name::new(name))
        };
        let of_node = self.intervals.get(node);
        of_node.or_else(|| self.intervals.get(&alone()?)).copied()
    }
}

/// A node at one instant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its name.
    pub node: Name,
    /// Whether it is heard.
    pub state: NodeState,
    /// Since when.
    pub since: Timestamp,
    /// When it was first heard, in an earlier run perhaps.
    pub first_heard: Timestamp,
    /// When it was last heard, in an earlier run perhaps.
    pub last_heard: Timestamp,
    /// Its usual interval in seconds, configured or learnt; `None`: too little is known yet.
    pub interval: Option<f64>,
    /// Packets with it since the gateway started.
    pub packets: u64,
    /// Packets of it that were numbered and that the gateway never saw, since the gateway started. Nobody
    /// can tell of a board that speaks for several nodes beside itself: those count for the source alone.
    pub missed: u64,
    /// Whether that can be told.
    #[serde(default = "can_be_told")]
    pub misses_known: bool,
    /// How it was received.
    pub signal: NodeSignal,
}

/// What an earlier version says of a node, it says as if it could tell.
fn can_be_told() -> bool {
    true
}

impl NodeStatus {
    /// The share of its packets that were missed.
    pub fn missed_ratio(&self) -> f64 {
        self.missed as f64 / (self.packets + self.missed).max(1) as f64
    }
}

/// A node as the journal remembers it.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownNode {
    /// What it is called without a configuration: another name of it is no other node.
    pub key: String,
    /// Its name.
    pub node: Name,
    /// When it was first heard.
    pub first_heard: Timestamp,
    /// When it was last heard.
    pub last_heard: Timestamp,
    /// Its usual interval.
    pub interval: Option<Duration>,
    /// Whether it was offline.
    pub is_offline: bool,
}

/// A node that is heard otherwise than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeChange {
    /// Its name.
    pub node: Name,
    /// How it was heard before; `None`: it is new.
    pub before: Option<NodeState>,
    /// How it is heard.
    pub now: NodeState,
    /// How long it has been silent, or was.
    pub silence: Duration,
}

#[derive(Debug)]
struct Node {
    first_heard: Timestamp,
    last_heard: Timestamp,
    /// When it was last heard, on a clock that is never set. Of a node that was not heard in this run,
    /// when the run began.
    heard_at: Duration,
    /// Whether it was heard in this run.
    is_of_this_run: bool,
    last_event: Timestamp,
    interval: Interval,
    state: NodeState,
    since: Timestamp,
    packets: u64,
    missed: u64,
    signal: SignalRecord,
}

/// For whom a board speaks.
#[derive(Debug)]
struct Board {
    /// Itself, once it spoke of itself alone.
    own: Option<Name>,
    /// Beside itself.
    remote: Remote,
}

impl Board {
    /// The node that a missing packet of it is of; `None`: nobody can tell.
    fn missed_node(&self) -> Option<&Name> {
        match &self.remote {
            Remote::Node(node) => Some(node),
            Remote::Nobody => self.own.as_ref(),
            Remote::Unclear => None,
        }
    }

    fn note(&mut self, hearing: &Hearing) {
        match (&self.remote, &hearing.remote) {
            (_, Remote::Nobody) => {
                if let (None, [own]) = (&self.own, &hearing.nodes[..]) {
                    self.own = Some(own.clone());
                }
            }
            (Remote::Nobody, remote) => self.remote = remote.clone(),
            (known, remote) if known == remote => {}
            _ => self.remote = Remote::Unclear,
        }
    }
}

/// The nodes of a gateway.
#[derive(Debug, Default)]
pub struct Nodes {
    rules: NodeRules,
    all: BTreeMap<Name, Node>,
    /// The boards that number their packets.
    boards: BTreeMap<Arc<str>, Board>,
    changes: Vec<NodeChange>,
}

impl Nodes {
    /// No nodes yet.
    pub fn new(rules: NodeRules) -> Self {
        Self {
            rules,
            ..Self::default()
        }
    }

    /// Takes in what an earlier run knew. The silence of these nodes counts from `now`: nobody listened
    /// before. `now` is by a clock that is never set, as everywhere here.
    pub fn restore(&mut self, known: Vec<KnownNode>, now: Duration, wall: Timestamp) {
        for it in known.into_iter().take(MAX_NODES) {
            let configured = self.rules.interval_of(&it.node);
            let state = if it.is_offline {
                NodeState::Offline
            } else {
                NodeState::Heard
            };
            let node = Node {
                first_heard: it.first_heard,
                last_heard: it.last_heard,
                heard_at: now,
                is_of_this_run: false,
                last_event: Timestamp::default(),
                interval: Interval::new(configured, it.interval),
                state,
                since: if it.is_offline { it.last_heard } else { wall },
                packets: 0,
                missed: 0,
                signal: SignalRecord::default(),
            };
            self.all.entry(it.node).or_insert(node);
        }
    }

    /// All nodes and boards are of this source, and known by it as well from now on.
    pub fn qualify(&mut self, source: &str) {
        let qualified = |name: &str| format!("{source} {name}");
        let all = std::mem::take(&mut self.all).into_iter();
        self.all = all
            .map(|(name, node)| (Name::new(&qualified(name.as_str())), node))
            .collect();
        let node = |name: Name| Name::new(&qualified(name.as_str()));
        let boards = std::mem::take(&mut self.boards).into_iter();
        let boards = boards.map(|(board, Board { own, remote })| {
            let own = own.map(node);
            let remote = match remote {
                Remote::Node(name) => Remote::Node(node(name)),
                other => other,
            };
            (Arc::from(qualified(&board)), Board { own, remote })
        });
        self.boards = boards.collect();
    }

    /// There is no such source any more: its nodes are missed by nobody.
    pub fn forget(&mut self, source: &str) {
        let is_of = |name: &str| name.split_once(' ').is_some_and(|(of, _)| of == source);
        self.all.retain(|name, _| !is_of(name.as_str()));
        self.boards.retain(|board, _| !is_of(board));
    }

    /// Takes in which nodes a frame is heard of.
    pub fn hear(&mut self, hearing: &Hearing, now: Duration) {
        for name in &hearing.nodes {
            let Some(node) = self.all.get_mut(name) else {
                self.add(name, hearing, now);
                continue;
            };
            let change = node.hear(hearing, now);
            self.changes
                .extend(change.map(|(before, silence)| NodeChange {
                    node: name.clone(),
                    before: Some(before),
                    now: NodeState::Heard,
                    silence,
                }));
        }
        if let Remote::Node(name) = &hearing.remote
            && let Some(node) = self.all.get_mut(name)
        {
            node.signal.take(hearing.signal, hearing.received);
        }
        self.note_board(hearing);
    }

    fn add(&mut self, name: &Name, hearing: &Hearing, now: Duration) {
        if self.all.len() >= MAX_NODES {
            return;
        }
        let configured = self.rules.interval_of(name);
        let mut node = Node {
            first_heard: hearing.received,
            last_heard: hearing.received,
            heard_at: now,
            is_of_this_run: false,
            last_event: Timestamp::default(),
            interval: Interval::new(configured, None),
            state: NodeState::Heard,
            since: hearing.received,
            packets: 0,
            missed: 0,
            signal: SignalRecord::default(),
        };
        node.hear(hearing, now);
        self.all.insert(name.clone(), node);
        self.changes.push(NodeChange {
            node: name.clone(),
            before: None,
            now: NodeState::Heard,
            silence: Duration::ZERO,
        });
    }

    fn note_board(&mut self, hearing: &Hearing) {
        if !hearing.is_numbered {
            return;
        }
        let has_room = self.boards.len() < MAX_BOARDS;
        if let Some(board) = self.boards.get_mut(&hearing.board) {
            board.note(hearing);
        } else if has_room {
            let mut board = Board {
                own: None,
                remote: Remote::Nobody,
            };
            board.note(hearing);
            self.boards.insert(Arc::clone(&hearing.board), board);
        }
    }

    /// Takes in that packets of a board were missed.
    pub fn miss(&mut self, board: &str, missed: u64) {
        if let Some(name) = self.boards.get(board).and_then(Board::missed_node)
            && let Some(node) = self.all.get_mut(name)
        {
            node.missed += missed;
        }
    }

    /// Time passed. Returns what changed since this was last called; `wall` is the time of day.
    pub fn advance(&mut self, now: Duration, wall: Timestamp) -> Vec<NodeChange> {
        for (name, node) in &mut self.all {
            let silence = now.saturating_sub(node.heard_at);
            node.follow_clock(silence, wall);
            let state = node.state_after(silence, &self.rules);
            // Who comes back says so by being heard.
            if state > node.state {
                self.changes.push(NodeChange {
                    node: name.clone(),
                    before: Some(node.state),
                    now: state,
                    silence,
                });
                node.state = state;
                node.since = wall;
            }
        }
        self.all
            .retain(|_, node| wall.since(node.last_heard) < FORGOTTEN_AFTER);
        std::mem::take(&mut self.changes)
    }

    /// All nodes, by name.
    pub fn all(&self) -> Vec<NodeStatus> {
        let told: BTreeSet<&Name> = self
            .boards
            .values()
            .filter_map(Board::missed_node)
            .collect();
        let nodes = self.all.iter();
        nodes
            .map(|(name, node)| node.status(name, told.contains(name)))
            .collect()
    }

    /// What is to be remembered.
    pub fn known(&self) -> Vec<KnownNode> {
        let nodes = self.all.iter();
        let known = nodes.map(|(name, node)| KnownNode {
            key: name.to_string(),
            node: name.clone(),
            first_heard: node.first_heard,
            last_heard: node.last_heard,
            interval: node.interval.known(),
            is_offline: node.state == NodeState::Offline,
        });
        known.collect()
    }
}

impl Node {
    /// The state that it comes back from, and how long it was silent.
    fn hear(&mut self, hearing: &Hearing, now: Duration) -> Option<(NodeState, Duration)> {
        let silence = now.saturating_sub(self.heard_at);
        if self.is_of_this_run {
            // What waited somewhere comes at once, and was measured at its own pace.
            let measured = hearing.event_time.since(self.last_event);
            let pause = if measured.is_zero() {
                silence
            } else {
                measured
            };
            self.interval.note(pause);
        }
        self.is_of_this_run = true;
        self.last_event = hearing.event_time;
        self.heard_at = now;
        self.last_heard = hearing.received;
        self.packets += 1;
        let before = std::mem::replace(&mut self.state, NodeState::Heard);
        (before != NodeState::Heard).then(|| {
            self.since = hearing.received;
            (before, silence)
        })
    }

    /// The time of day may have been set since the node was heard.
    fn follow_clock(&mut self, silence: Duration, wall: Timestamp) {
        if !self.is_of_this_run {
            return;
        }
        let nanos = i64::try_from(silence.as_nanos()).unwrap_or(i64::MAX);
        let heard = Timestamp(wall.0.saturating_sub(nanos));
        let step = heard.0.saturating_sub(self.last_heard.0);
        if Duration::from_nanos(step.unsigned_abs()) > CLOCK_TOLERANCE {
            for time in [&mut self.last_heard, &mut self.first_heard, &mut self.since] {
                time.0 = time.0.saturating_add(step);
            }
        }
    }

    fn state_after(&self, silence: Duration, rules: &NodeRules) -> NodeState {
        let intervals = silence.as_secs_f64() / self.interval.usual().as_secs_f64();
        if intervals >= rules.offline_after {
            NodeState::Offline
        } else if intervals >= rules.stale_after {
            NodeState::Stale
        } else {
            NodeState::Heard
        }
    }

    fn status(&self, name: &Name, misses_known: bool) -> NodeStatus {
        NodeStatus {
            node: name.clone(),
            state: self.state,
            since: self.since,
            first_heard: self.first_heard,
            last_heard: self.last_heard,
            interval: self.interval.known().map(|it| it.as_secs_f64()),
            packets: self.packets,
            missed: self.missed,
            misses_known,
            signal: self.signal.status(),
        }
    }
}
