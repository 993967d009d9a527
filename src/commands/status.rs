//! `fieldgate status`: how a running gateway is, on one screen.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::json;

use super::{columns, gateway, print};
use crate::cli::StatusArguments;
use crate::monitor::{LinkState, NodeSignal, NodeStatus, Snapshot, Spread};
use crate::telemetry::Timestamp;

/// There are problems.
const PROBLEMS: u8 = 1;

/// No gateway answers.
const NOT_RUNNING: u8 = 3;

/// Says how it is; returns the exit code.
pub fn status(arguments: &StatusArguments) -> anyhow::Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let gateway = match gateway::reach(&arguments.gateway).await {
            Err(error) if error.is::<gateway::NoneHere>() => {
                eprintln!("fieldgate: {error}");
                return Ok(NOT_RUNNING);
            }
            reached => reached?,
        };
        let snapshot = match gateway.snapshot().await {
            Ok(snapshot) => snapshot,
            Err(reason) => {
                eprintln!("fieldgate: no gateway answers at {gateway}: {reason}");
                return Ok(NOT_RUNNING);
            }
        };
        let text = if arguments.json {
            format!("{:#}\n", as_json(&snapshot))
        } else {
            screen(&snapshot)
        };
        print(text.as_bytes())?;
        Ok(if snapshot.problems.is_empty() {
            0
        } else {
            PROBLEMS
        })
    })
}

/// For programs.
fn as_json(snapshot: &Snapshot) -> serde_json::Value {
    let links = snapshot.links().map(|(link, status)| {
        let mut it = json!(status);
        it["link"] = json!(link);
        it
    });
    let queues = snapshot.sinks.iter().filter(|sink| !sink.is_disabled());
    let queues = queues.map(|sink| {
        json!({
            "sink": sink.sink,
            "depth": sink.queue_depth,
            "delivered": sink.delivered,
            "dropped": sink.dropped,
            "rejected": sink.rejected,
        })
    });
    json!({
        "all_well": snapshot.problems.is_empty(),
        "started": snapshot.started,
        "taken": snapshot.taken,
        "links": links.collect::<Vec<_>>(),
        "queues": queues.collect::<Vec<_>>(),
        "nodes": snapshot.nodes,
        "problems": snapshot.problems,
    })
}

/// For people. Pure.
fn screen(snapshot: &Snapshot) -> String {
    let now = snapshot.taken;
    let running = time(now.since(snapshot.started));
    let mut text = match snapshot.problems.len() {
        0 => format!("● all well, running for {running}\n"),
        1 => format!("▲ 1 problem, running for {running}\n"),
        count => format!("▲ {count} problems, running for {running}\n"),
    };
    for problem in &snapshot.problems {
        let since = time(now.since(problem.since));
        let severity = problem.severity.name();
        let (sentence, fix) = (&problem.sentence, &problem.fix);
        // Writing to a `String` cannot fail.
        let _infallible = write!(text, "\n{severity} for {since}: {sentence}\n  {fix}\n");
    }
    let _infallible = write!(text, "\n{}", columns(&links(snapshot)));
    if !snapshot.nodes.is_empty() {
        let _infallible = write!(text, "\n{}", columns(&nodes(snapshot, now)));
    }
    text
}

fn links(snapshot: &Snapshot) -> Vec<Vec<String>> {
    let heading = ["LINK", "STATE", "WAITING", "TO"].map(str::to_owned);
    let links = snapshot
        .links()
        .filter(|(_, status)| status.state != LinkState::Disabled);
    let links = links.map(|(link, status)| {
        let sink = link.sink().and_then(|sink| snapshot.sink(&sink));
        vec![
            link.to_string(),
            status.state.word().to_owned(),
            sink.map_or_else(String::new, |sink| sink.queue_depth.to_string()),
            status.peer.clone(),
        ]
    });
    [heading.to_vec()].into_iter().chain(links).collect()
}

fn nodes(snapshot: &Snapshot, now: Timestamp) -> Vec<Vec<String>> {
    let heading = ["NODE", "STATE", "HEARD", "EVERY", "RSSI", "SNR", "MISSED"];
    let heading = heading.map(str::to_owned).to_vec();
    let node = |node: &NodeStatus| {
        let every = node.interval.map(|it| Duration::from_secs_f64(it.max(0.0)));
        let NodeSignal { rssi, snr, .. } = node.signal;
        let last =
            |spread: Option<Spread>| spread.map_or_else(String::new, |it| it.last.to_string());
        vec![
            node.node.to_string(),
            node.state.word().to_owned(),
            format!("{} ago", time(now.since(node.last_heard))),
            every.map_or_else(|| "?".to_owned(), time),
            last(rssi),
            last(snr),
            if node.misses_known {
                node.missed.to_string()
            } else {
                "?".to_owned()
            },
        ]
    };
    let mut nodes: Vec<&NodeStatus> = snapshot.nodes.iter().collect();
    nodes.sort_by_key(|node| std::cmp::Reverse(node.state));
    let nodes = nodes.into_iter().map(node);
    [heading].into_iter().chain(nodes).collect()
}

/// To the second, in two units.
fn time(time: Duration) -> String {
    let seconds = time.as_secs();
    let rounded = match seconds {
        0..3_600 => seconds,
        3_600..86_400 => seconds - seconds % 60,
        _ => seconds - seconds % 3_600,
    };
    humantime::format_duration(Duration::from_secs(rounded)).to_string()
}
