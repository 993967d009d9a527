//! What is wrong with links.

use std::time::Duration;

use super::finding::{Finding, View};
use super::{ProblemKind, Severity};
use crate::monitor::{LinkId, LinkKind, LinkState, LinkStatus, NodeState, SourceSnapshot};
use crate::telemetry::{Name, Timestamp};

/// An attempt to connect that takes longer shows that nobody answers.
const SLOW: Duration = Duration::from_secs(5);

/// A source of which no node is known is silent after this.
const UNKNOWN_PACE: Duration = Duration::from_mins(1);

/// Bytes that came so lately show that the line lives.
const LATELY: Duration = Duration::from_secs(3);

pub(super) fn find(view: &View<'_>) -> Vec<Finding> {
    let snapshot = view.snapshot;
    let links = snapshot.links();
    let found = links.filter_map(|(link, status)| of_link(view, &link, status));
    let sources = snapshot.sources.iter();
    let silent = sources.filter_map(|source| silent_source(view, source));
    found.chain(silent).collect()
}

fn of_link(view: &View<'_>, link: &LinkId, status: &LinkStatus) -> Option<Finding> {
    let name = link.to_string();
    let is_sink = link.kind() != LinkKind::Source;
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
            if name.contains(' ') {
                format!("release it: `fieldgate release \"{name}\"`")
            } else {
                format!("release it: `fieldgate release {name}`")
            },
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

/// Whether the nodes of a source cannot be heard whatever they do: then each of them is no problem of its own.
pub(super) fn is_silent(view: &View<'_>, source: &SourceSnapshot) -> bool {
    source.link.state != LinkState::Up || silent_source(view, source).is_some()
}

fn silent_source(view: &View<'_>, source: &SourceSnapshot) -> Option<Finding> {
    let snapshot = view.snapshot;
    let link = &source.link;
    if link.state != LinkState::Up {
        return None;
    }
    let silence = |last: Option<Timestamp>| {
        let last = last.unwrap_or(link.since).max(link.since);
        snapshot.taken.since(last)
    };
    let (of_bytes, of_packets) = (silence(link.heard), silence(source.telemetry.last_packet));
    let is_of_source = |node: &Name| {
        let heard_by = snapshot.source_of(node);
        heard_by.is_some_and(|it| it.source == source.source)
    };
    let nodes = snapshot.nodes.iter();
    let mut nodes = nodes.filter(|it| is_of_source(&it.node)).peekable();
    let is_late = if nodes.peek().is_none() {
        of_packets >= UNKNOWN_PACE
    } else {
        nodes.all(|node| node.state != NodeState::Heard) && of_packets >= LATELY
    };
    if !is_late {
        return None;
    }
    let peer = &link.peer;
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
        concerns: source.source.to_string(),
        sentence,
        fix: fix.to_owned(),
    })
}
