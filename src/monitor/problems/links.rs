//! What is wrong with links.

use std::time::Duration;

use super::finding::{Finding, View};
use super::{ProblemKind, Severity};
use crate::monitor::{LinkState, LinkStatus, NodeState};

/// An attempt to connect that takes longer shows that nobody answers.
const SLOW: Duration = Duration::from_secs(5);

/// A source of which no node is known is silent after this.
const UNKNOWN_PACE: Duration = Duration::from_mins(1);

/// Bytes that came so lately show that the line lives.
const LATELY: Duration = Duration::from_secs(3);

pub(super) fn find(view: &View<'_>) -> Vec<Finding> {
    let snapshot = view.snapshot;
    let sinks = snapshot.sinks.iter();
    let sinks = sinks.map(|sink| (sink.sink.to_string(), &sink.link, true));
    let source = [("source".to_owned(), &snapshot.source, false)];
    let links = source.into_iter().chain(sinks);
    let found = links.filter_map(|(name, status, is_sink)| of_link(view, name, status, is_sink));
    found.chain(silent_source(view)).collect()
}

fn of_link(view: &View<'_>, name: String, status: &LinkStatus, is_sink: bool) -> Option<Finding> {
    let peer = &status.peer;
    let (kind, severity, sentence, fix) = match &status.state {
        LinkState::Disabled | LinkState::Up | LinkState::Ended => return None,
        LinkState::BackingOff { reason, .. } => down(peer, reason, is_sink),
        LinkState::Connecting => {
            let is_slow = view.snapshot.taken.since(status.since) >= SLOW;
            if !is_slow && !view.is_known(ProblemKind::LinkDown, &name) {
                return None;
            }
            let reason = status.last_error.as_deref();
            down(peer, reason.unwrap_or("no answer yet"), is_sink)
        }
        LinkState::Refused { reason, .. } => (
            ProblemKind::LinkRefused,
            Severity::Error,
            format!("{peer} refuses: {reason}"),
            "do what it says; `fieldgate check` tries it step by step".to_owned(),
        ),
        LinkState::Held => (
            ProblemKind::LinkHeld,
            Severity::Warning,
            match &status.lent_to {
                Some(program) => format!("{name} is lent to {program}"),
                None => format!("{name} is held, as somebody asked for"),
            },
            format!("release it: `fieldgate release {name}`"),
        ),
    };
    Some(Finding {
        kind,
        severity,
        concerns: name,
        sentence,
        fix,
    })
}

fn down(peer: &str, reason: &str, is_sink: bool) -> (ProblemKind, Severity, String, String) {
    let fix = if is_sink {
        "see that the server runs and can be reached; readings wait in the journal"
    } else {
        "see that the board is plugged in and no other program has it; it is tried again by itself"
    };
    let sentence = format!("{peer} is down: {reason}");
    (
        ProblemKind::LinkDown,
        Severity::Error,
        sentence,
        fix.to_owned(),
    )
}

/// Whether the nodes cannot be heard whatever they do: then each of them is no problem of its own.
pub(super) fn is_source_silent(view: &View<'_>) -> bool {
    view.snapshot.source.state != LinkState::Up || silent_source(view).is_some()
}

fn silent_source(view: &View<'_>) -> Option<Finding> {
    let snapshot = view.snapshot;
    let source = &snapshot.source;
    if source.state != LinkState::Up {
        return None;
    }
    let silence = |last: Option<crate::telemetry::Timestamp>| {
        let last = last.unwrap_or(source.since).max(source.since);
        snapshot.taken.since(last)
    };
    let (of_bytes, of_packets) = (
        silence(source.heard),
        silence(snapshot.telemetry.last_packet),
    );
    let is_late = if snapshot.nodes.is_empty() {
        of_packets >= UNKNOWN_PACE
    } else {
        let mut nodes = snapshot.nodes.iter();
        nodes.all(|node| node.state != NodeState::Heard) && of_packets >= LATELY
    };
    if !is_late {
        return None;
    }
    let peer = &source.peer;
    let (sentence, fix) = if of_bytes >= LATELY {
        (
            format!("{peer} is open, and nothing comes"),
            "see that the board runs and is wired to this port; a reset may wake it up",
        )
    } else {
        (
            format!("{peer} sends, and nothing of it is telemetry"),
            "look at the page Traffic: check the baud rate and what the board prints",
        )
    };
    Some(Finding {
        kind: ProblemKind::SourceSilent,
        severity: Severity::Error,
        concerns: "source".to_owned(),
        sentence,
        fix: fix.to_owned(),
    })
}
