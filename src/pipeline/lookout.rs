//! Looks after nodes and problems: who fell silent and what is wrong is said in the log, told to the
//! sinks, and of nodes remembered.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::machine::Machine;
use super::node_names::{self, Naming};
use crate::journal::Journal;
use crate::monitor::{Monitor, NodeChange, NodeState, ProblemChange, ProblemKind, Severity};
use crate::repeated::Topic;

const NODES: Topic = Topic::of_attempts("nodes");

const PROBLEMS: Topic = Topic::of_attempts("problems");

/// How soon it is noticed that a node is silent.
const INTERVAL: Duration = Duration::from_millis(500);

/// The journal remembers at least so often when nodes were last heard: whoever is missing after a
/// restart is known from what is written at every change.
const REMEMBERED_EVERY: Duration = Duration::from_mins(10);

/// Works until it is dropped.
pub(super) async fn keep(
    monitor: Arc<Monitor>,
    journal: Journal,
    naming: Naming,
    machine: Machine,
) {
    tokio::join!(
        look(&monitor, &journal, naming),
        machine.follow(Arc::clone(&monitor))
    );
}

async fn look(monitor: &Monitor, journal: &Journal, naming: Naming) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut remembered = Instant::now();
    loop {
        ticks.tick().await;
        let changes = monitor.advance_nodes();
        for change in &changes {
            say(change);
        }
        let snapshot = monitor.snapshot(journal.status());
        for change in monitor.look_for_problems(&snapshot) {
            say_problem(change);
        }
        monitor.stand(|standing| {
            standing.take_nodes(&snapshot.nodes);
            standing.problems = Some(monitor.problems_found());
        });
        if !changes.is_empty() || remembered.elapsed() >= REMEMBERED_EVERY {
            remember(monitor, journal, &naming);
            remembered = Instant::now();
        }
    }
}

/// Has the journal remember the nodes.
pub(super) fn remember(monitor: &Monitor, journal: &Journal, naming: &Naming) {
    let naming = Naming {
        is_qualified: monitor.qualifies_nodes(),
        ..naming.clone()
    };
    journal.remember_nodes(node_names::to_remember(monitor.known_nodes(), &naming));
}

/// One line for each change.
fn say(change: &NodeChange) {
    let node = change.node.clone();
    let silence = humantime::format_duration(Duration::from_secs(change.silence.as_secs()));
    let silence = silence.to_string();
    let subject = change.node.to_string();
    match (change.before, change.now) {
        (None, _) => NODES.say(&subject, "new", move |sum| {
            let repeated = sum.words();
            tracing::info!(%node, repeated, "Node is heard for the first time.");
        }),
        (Some(_), NodeState::Heard) => NODES.say(&subject, "heard", move |sum| {
            let repeated = sum.words();
            tracing::info!(%node, silence, repeated, "Node is heard again.");
        }),
        (Some(_), NodeState::Stale) => NODES.say(&subject, "stale", move |sum| {
            let repeated = sum.words();
            tracing::warn!(%node, silence, repeated, "Node is late.");
        }),
        (Some(_), NodeState::Offline) => NODES.say(&subject, "offline", move |sum| {
            let repeated = sum.words();
            tracing::warn!(
                %node, silence, repeated,
                "Node is offline: check its power, its place and its antenna."
            );
        }),
    }
}

/// One line when it begins and one when it ends. What is wrong with a node is said by its own line.
fn say_problem(change: ProblemChange) {
    let (ProblemChange::Begins(problem) | ProblemChange::Ends(problem)) = &change;
    if problem.kind == ProblemKind::NodeSilent {
        return;
    }
    let (kind, subject) = (problem.kind.name(), problem.concerns.clone());
    let subject = format!("{kind} {subject}");
    match change {
        ProblemChange::Begins(it) => PROBLEMS.say(&subject, "begins", move |sum| {
            let (concerns, fix, repeated) = (&it.concerns, &it.fix, sum.words());
            match it.severity {
                Severity::Error => {
                    tracing::error!(kind, concerns, fix, repeated, "Problem: {}.", it.sentence);
                }
                Severity::Warning => {
                    tracing::warn!(kind, concerns, fix, repeated, "Problem: {}.", it.sentence);
                }
            }
        }),
        ProblemChange::Ends(it) => PROBLEMS.say(&subject, "ends", move |sum| {
            let (concerns, repeated) = (&it.concerns, sum.words());
            tracing::info!(
                kind,
                concerns,
                repeated,
                "Problem is over: {}.",
                it.sentence
            );
        }),
    }
}
