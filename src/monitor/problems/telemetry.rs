//! What is wrong with nodes, values and the line they come over.

use std::time::Duration;

use super::finding::{Finding, View};
use super::links::is_silent;
use super::{ProblemKind, Severity};
use crate::monitor::{Alarm, LatestValue, LinkId, NodeState, NodeStatus, SourceSnapshot};
use crate::telemetry::ShortestValue;

/// A line is bad from this share of damaged frames on, and good again below the second one.
const DAMAGED: (f64, f64) = (0.05, 0.02);

/// A value has to be back within its limits by this share of them.
const MARGIN: f64 = 0.02;

pub(super) fn find(view: &View<'_>) -> Vec<Finding> {
    let snapshot = view.snapshot;
    let mut found: Vec<Finding> = snapshot
        .latest
        .iter()
        .filter_map(|latest| beyond_limits(view, latest))
        .collect();
    let heard = snapshot.sources.iter().filter(|it| !is_silent(view, it));
    let heard: Vec<&LinkId> = heard.map(|it| &it.source).collect();
    let is_by_itself = |node: &&NodeStatus| {
        let source = snapshot.source_of(&node.node);
        source.is_some_and(|it| heard.contains(&&it.source))
    };
    let nodes = snapshot.nodes.iter().filter(is_by_itself);
    found.extend(nodes.filter_map(silent));
    let sources = snapshot.sources.iter();
    found.extend(sources.flat_map(|it| {
        [damaged_line(view, it), set_aside(view, it)]
            .into_iter()
            .flatten()
    }));
    found.extend(refused(view));
    found
}

fn silent(node: &NodeStatus) -> Option<Finding> {
    let (severity, word) = match node.state {
        NodeState::Heard => return None,
        NodeState::Stale => (Severity::Warning, "late"),
        NodeState::Offline => (Severity::Error, "offline"),
    };
    let usual = node.interval.map_or_else(String::new, |seconds| {
        let interval = Duration::try_from_secs_f64(seconds.round().max(1.0));
        let interval = interval.unwrap_or_default();
        format!(
            ", and usually comes every {}",
            humantime::format_duration(interval)
        )
    });
    Some(Finding {
        kind: ProblemKind::NodeSilent,
        severity,
        concerns: node.node.to_string(),
        sentence: format!(
            "{} is {word}: last heard at {}{usual}",
            node.node, node.last_heard
        ),
        fix: "check its power, its place and its antenna".to_owned(),
    })
}

fn beyond_limits(view: &View<'_>, latest: &LatestValue) -> Option<Finding> {
    let concerns = match view.snapshot.sources.as_slice() {
        [_] => format!("{} {}", latest.node, latest.metric),
        _ => format!("{} {} {}", latest.source, latest.node, latest.metric),
    };
    let alarm = match latest.alarm() {
        Alarm::None if view.is_known(ProblemKind::ValueBeyondLimits, &concerns) => {
            near_limit(latest)
        }
        alarm => alarm,
    };
    let (word, limit, key) = match alarm {
        Alarm::None => return None,
        Alarm::Low => ("below", latest.min?, "min"),
        Alarm::High => ("above", latest.max?, "max"),
    };
    let (value, unit) = (ShortestValue(latest.value), &latest.unit);
    let is_beyond = latest.alarm() != Alarm::None;
    let word = if is_beyond {
        word.to_owned()
    } else {
        format!("again within, but near what is {word}")
    };
    Some(Finding {
        kind: ProblemKind::ValueBeyondLimits,
        severity: Severity::Error,
        sentence: format!(
            "{concerns} is {value} {unit}, {word} {}",
            ShortestValue(limit)
        ),
        fix: format!("see what is measured there; the limit is {key} in [telemetry.metrics]"),
        concerns,
    })
}

/// Which limit a value is still near to.
fn near_limit(latest: &LatestValue) -> Alarm {
    let span = match (latest.min, latest.max) {
        (Some(min), Some(max)) => max - min,
        (Some(limit), None) | (None, Some(limit)) => limit.abs(),
        (None, None) => return Alarm::None,
    };
    let margin = span * MARGIN;
    if latest.min.is_some_and(|min| latest.value < min + margin) {
        Alarm::Low
    } else if latest.max.is_some_and(|max| latest.value > max - margin) {
        Alarm::High
    } else {
        Alarm::None
    }
}

fn damaged_line(view: &View<'_>, source: &SourceSnapshot) -> Option<Finding> {
    let ratio = source.telemetry.line_damaged_ratio;
    let concerns = source.source.as_str();
    let is_known = view.is_known(ProblemKind::LineDamaged, concerns);
    let limit = if is_known { DAMAGED.1 } else { DAMAGED.0 };
    if ratio < limit || source.telemetry.packets_processed < 20 && !is_known {
        return None;
    }
    Some(Finding {
        kind: ProblemKind::LineDamaged,
        severity: Severity::Warning,
        concerns: concerns.to_owned(),
        sentence: format!(
            "{:.0} of 100 frames arrive damaged",
            (ratio * 100.0).max(1.0)
        ),
        fix: "check the cable, the USB hub and the baud rate".to_owned(),
    })
}

fn set_aside(view: &View<'_>, source: &SourceSnapshot) -> Option<Finding> {
    let lately = view.lately(source).set_aside;
    let concerns = view.concerns(source, "telemetry");
    let sentence = match lately {
        1 => "1 reading of the last 5 minutes was set aside".to_owned(),
        lately => format!("{lately} readings of the last 5 minutes were set aside"),
    };
    (lately > 0).then(|| rejected(concerns, sentence))
}

fn refused(view: &View<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for sink in &view.snapshot.sinks {
        let name = sink.sink.to_string();
        let before = view.sink_before(&name, Duration::from_mins(5));
        let refused = sink
            .rejected
            .saturating_sub(before.map_or(0, |(tally, _)| tally.rejected));
        if refused > 0 {
            let readings = if refused == 1 { "reading" } else { "readings" };
            let sentence =
                format!("{name} refused {refused} {readings} of the last 5 minutes for good");
            found.push(rejected(name, sentence));
        }
    }
    found
}

fn rejected(concerns: String, sentence: String) -> Finding {
    Finding {
        kind: ProblemKind::ReadingsSetAside,
        severity: Severity::Warning,
        concerns,
        sentence,
        fix: "`fieldgate rejected` lists them with their reasons".to_owned(),
    }
}
