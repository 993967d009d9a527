//! A gateway that never was, in the states that matter, at a time that stands still.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ratatui::layout::Size;

use super::action::{Page, Purpose};
use super::state::{App, Observation};
use super::theme::{Depth, Theme};
use crate::monitor::{
    DeliveryEntry, DeliveryOutcome, HistoryPoint, Incident, IncidentKind, JournalState,
    JournalStatus, LATENCY_BUCKETS, LatencySnapshot, LatestValue, LinkId, LinkKind, LinkState,
    LinkStatus, LogEntry, LogLevel, NodeSignal, NodeState, NodeStatus, Numbered, Position, Problem,
    ProblemKind, Recording, Severity, Sight, SinkBacklog, SinkId, SinkSnapshot, Snapshot,
    SourceSnapshot, Spread, TelemetrySnapshot, TrafficEntry, TrafficKind,
};
use crate::telemetry::{Name, RejectReason, Timestamp};

/// 2026-03-01T12:00:00Z
pub(super) const NOW: Timestamp = Timestamp(1_772_366_400_000_000_000);

/// So many seconds before [`NOW`].
pub(super) fn ago(seconds: i64) -> Timestamp {
    NOW.plus_millis(-1_000 * seconds)
}

pub(super) fn link(state: LinkState, peer: &str, since: i64) -> LinkStatus {
    let last_error = match &state {
        LinkState::BackingOff { reason, .. } | LinkState::Refused { reason, .. } => {
            Some(reason.clone())
        }
        _ => None,
    };
    LinkStatus {
        state,
        since: ago(since),
        peer: peer.to_owned(),
        heard: None,
        lent_to: None,
        reconnects: 0,
        last_error,
    }
}

fn sink(sink: SinkId, peer: &str) -> SinkSnapshot {
    let mut buckets = vec![0; LATENCY_BUCKETS.len() + 1];
    buckets[2..6].copy_from_slice(&[1_200, 38_000, 6_400, 86]);
    SinkSnapshot {
        link: link(LinkState::Up, peer, 7_380),
        queue_depth: 0,
        dropped: 0,
        delivered: 45_686,
        failed: 0,
        writes_succeeded: if sink == SinkId::influxdb() { 4_569 } else { 0 },
        sink,
        writes_failed: 0,
        rejected: 0,
        skipped: 0,
        latency: LatencySnapshot {
            buckets,
            sum_seconds: 420.0,
        },
    }
}

fn value(node: &str, metric: &str, unit: &str, value: f64, received: i64) -> LatestValue {
    LatestValue {
        source: "source".into(),
        node: node.into(),
        metric: metric.into(),
        unit: unit.to_owned(),
        min: None,
        max: None,
        value,
        event_time: ago(received),
        received: ago(received),
        smallest: value - 1.5,
        largest: value + 2.25,
        count: 738,
    }
}

fn node(name: &str, heard: i64) -> NodeStatus {
    let spread = |last: f64| {
        Some(Spread {
            last,
            lowest: last - 7.0,
            mean: last - 2.0,
            highest: last + 1.0,
        })
    };
    NodeStatus {
        node: name.into(),
        state: NodeState::Heard,
        since: ago(7_380),
        first_heard: ago(86_400),
        last_heard: ago(heard),
        interval: Some(10.0),
        packets: 738,
        missed: 3,
        misses_known: true,
        signal: NodeSignal {
            rssi: spread(-39.0),
            snr: spread(13.0),
            at: Some(ago(heard)),
        },
    }
}

/// A gateway that has run for two hours and does well.
pub(super) fn healthy() -> Snapshot {
    let mut latest = vec![
        value(
            "greenhouse-north-bench-7",
            "gas_resistance",
            "Ω",
            84_190.0,
            2,
        ),
        value("greenhouse-north-bench-7", "humidity", "%", 54.1, 2),
        value("greenhouse-north-bench-7", "temperature", "°C", 27.6, 2),
        value("node2", "pressure", "hPa", 1_013.25, 4),
        value("node2", "temperature", "°C", 25.3, 4),
        value("signal", "rssi", "dBm", -39.0, 2),
        value("signal", "snr", "dB", 13.0, 2),
        value("stats", "crc_errors", "1", 0.0, 2),
        value("stats", "packets_received", "1", 738.0, 2),
    ];
    latest[4].max = Some(25.0);
    let end = Position {
        sequence: 5_000,
        total: 45_686,
    };
    let backlog = |sink| SinkBacklog {
        sink,
        depth: 0,
        dropped: 0,
        acknowledged: end,
        again: 0,
    };
    Snapshot {
        taken: NOW,
        started: ago(7_380),
        telemetry: TelemetrySnapshot {
            source_bytes: 812_345,
            ignored_bytes: 1_476,
            packets_processed: 738,
            readings_processed: 45_686,
            packets_missed: 0,
            frames_rejected: RejectReason::of_frames().map(|it| (it, 0)).collect(),
            readings_rejected: RejectReason::of_readings().map(|it| (it, 0)).collect(),
            line_damaged_ratio: 0.0,
            left_out: BTreeMap::new(),
            last_packet: Some(ago(2)),
            clock_drifts: 0,
        },
        source: link(LinkState::Up, "serial /dev/ttyACM0", 7_380),
        sources: Vec::new(),
        sinks: vec![
            sink(SinkId::mqtt(), "mqtt://localhost:1883"),
            sink(SinkId::influxdb(), "http://localhost:8086/"),
        ],
        journal: JournalStatus {
            state: JournalState::File,
            since: ago(7_380),
            notice: None,
            end,
            stored: 45_686,
            max_messages: 10_000_000,
            rejected_dropped: 0,
            write_bytes: Some(0),
            sinks: vec![backlog(SinkId::mqtt()), backlog(SinkId::influxdb())],
        },
        latest,
        nodes: vec![node("greenhouse-north-bench-7", 2), node("node2", 4)],
        problems: Vec::new(),
        storage: None,
        clock_unsynchronised: false,
        incidents: Vec::new(),
        recording: Recording::Off,
        ends_by: None,
    }
}

/// The broker is away and its queue grows; frames are damaged and packets missed.
pub(super) fn broker_away() -> Snapshot {
    let mut snapshot = healthy();
    let mqtt = &mut snapshot.sinks[0];
    mqtt.link = link(
        LinkState::BackingOff {
            until: NOW.plus_millis(14_200),
            reason: "cannot connect to localhost:1883: connection refused".to_owned(),
        },
        "mqtt://localhost:1883",
        312,
    );
    mqtt.queue_depth = 1_234_567;
    mqtt.failed = 12;
    mqtt.dropped = 345;
    mqtt.rejected = 2;
    snapshot.journal.sinks[0].depth = 1_234_567;
    snapshot.journal.sinks[0].acknowledged.total = 1_000;
    snapshot.telemetry.packets_missed = 3;
    snapshot.telemetry.frames_rejected[0].1 = 17;
    snapshot
}

/// The broker is back and takes 20,000 messages a second: this one second after the other.
pub(super) fn draining() -> [Snapshot; 2] {
    let mut before = broker_away();
    before.sinks[0].link = link(LinkState::Up, "mqtt://localhost:1883", 6);
    before.taken = ago(1);
    let mut now = before.clone();
    now.taken = NOW;
    now.sinks[0].queue_depth -= 20_000;
    now.sinks[0].delivered += 20_000;
    now.journal.sinks[0].acknowledged.total += 20_000;
    [before, now]
}

/// `InfluxDB` refuses the token.
pub(super) fn refused() -> Snapshot {
    let mut snapshot = healthy();
    snapshot.sinks[1].link = link(
        LinkState::Refused {
            until: NOW.plus_millis(48_000),
            reason: "token rejected, set INFLUXDB_TOKEN or influxdb.token".to_owned(),
        },
        "http://localhost:8086/",
        75,
    );
    snapshot.sinks[1].queue_depth = 512;
    snapshot
}

/// The board rebooted, the broker was away for a while, and the database is.
pub(super) fn with_incidents() -> Snapshot {
    let mut snapshot = healthy();
    let incident = |kind, link, from, until: Option<i64>| Incident {
        kind,
        link,
        at: ago(from),
        until: until.map(ago),
    };
    snapshot.incidents = vec![
        incident(IncidentKind::Outage, LinkId::mqtt(), 240, Some(200)),
        incident(IncidentKind::Reboot, LinkId::source(), 120, Some(120)),
        incident(IncidentKind::Outage, LinkId::influxdb(), 30, None),
    ];
    snapshot.latest[2].max = Some(25.0);
    snapshot
}

/// One node has been silent for five of its intervals, another for very long.
pub(super) fn silent() -> Snapshot {
    let mut snapshot = healthy();
    for latest in &mut snapshot.latest {
        match latest.node.as_str() {
            "node2" => latest.received = ago(50),
            "signal" => latest.received = ago(3_700),
            _ => {}
        }
    }
    let node = &mut snapshot.nodes[1];
    (node.state, node.last_heard) = (NodeState::Stale, ago(50));
    snapshot.problems = vec![Problem {
        kind: ProblemKind::NodeSilent,
        severity: Severity::Warning,
        concerns: "node2".to_owned(),
        since: ago(20),
        sentence: "node2 is late: last heard at 11:59:10, and usually comes every 10s".to_owned(),
        fix: "check its power, its place and its antenna".to_owned(),
    }];
    snapshot
}

/// A broker is away, a node is late and a value is beyond its limits.
pub(super) fn troubled() -> Snapshot {
    let mut snapshot = broker_away();
    let late = silent();
    snapshot.nodes = late.nodes;
    let problem = |kind, concerns: &str, sentence: &str, fix: &str| Problem {
        kind,
        severity: Severity::Error,
        concerns: concerns.to_owned(),
        since: ago(310),
        sentence: sentence.to_owned(),
        fix: fix.to_owned(),
    };
    snapshot.problems = vec![
        problem(
            ProblemKind::LinkDown,
            "mqtt",
            "mqtt://localhost:1883 is down: cannot connect to localhost:1883: connection refused",
            "see that the server runs and can be reached; readings wait in the journal",
        ),
        problem(
            ProblemKind::ValueBeyondLimits,
            "node2 temperature",
            "node2 temperature is 25.3 °C, above 25",
            "see what is measured there; the limit is max in [telemetry.metrics]",
        ),
    ];
    snapshot.problems.extend(late.problems);
    snapshot
}

/// Two sources with a node each, of one name.
pub(super) fn two_sources() -> Snapshot {
    let mut snapshot = healthy();
    let names = ["south", "north"];
    let source = |name: &str, peer: &str| SourceSnapshot {
        source: LinkId::new(LinkKind::Source, name),
        link: link(LinkState::Up, peer, 7_380),
        telemetry: snapshot.telemetry.clone(),
        recording: Recording::Off,
    };
    snapshot.sources = vec![
        source("south", "serial /dev/ttyACM0"),
        source("north", "serial /dev/ttyACM1"),
    ];
    let of = |name: &str| {
        let mut values = vec![
            value("node1", "humidity", "%", 54.1, 2),
            value("node1", "temperature", "°C", 27.6, 2),
        ];
        for latest in &mut values {
            latest.source = name.into();
        }
        values
    };
    snapshot.latest = names.into_iter().flat_map(of).collect();
    snapshot.nodes = names.map(|name| node(&format!("{name} node1"), 2)).into();
    snapshot.nodes[1].state = NodeState::Offline;
    snapshot
}

/// Two sources, and four servers of which three do not answer.
pub(super) fn many_links() -> Snapshot {
    let mut snapshot = two_sources();
    let away = broker_away().sinks.swap_remove(0);
    for (id, peer) in [
        (SinkId::broker("cloud"), "mqtts://cloud.example"),
        (SinkId::broker("spare"), "mqtts://spare.example"),
    ] {
        let backlog = SinkBacklog {
            sink: id.clone(),
            ..snapshot.journal.sinks[0].clone()
        };
        snapshot.journal.sinks.push(backlog);
        let mut down = away.clone();
        (down.sink, down.link.peer) = (id, peer.to_owned());
        snapshot.sinks.push(down);
    }
    snapshot.sinks[1].link = refused().sinks[1].link.clone();
    snapshot
}

/// It was told to stop while something waits.
pub(super) fn stopping() -> Snapshot {
    let mut snapshot = broker_away();
    snapshot.ends_by = Some(NOW.plus_millis(4_000));
    snapshot
}

pub(super) fn observation(snapshot: Snapshot) -> Observation {
    Observation {
        sight: Sight::Local,
        snapshot: Some(Arc::new(snapshot)),
        traffic: traffic(),
        deliveries: deliveries(),
        log: log(),
    }
}

fn numbered<T>(entries: Vec<T>) -> Vec<Numbered<T>> {
    (0..)
        .zip(entries)
        .map(|(number, entry)| Numbered { number, entry })
        .collect()
}

/// The nodes in a frame.
fn nodes_of(bytes: &[u8]) -> Arc<[Name]> {
    let text = String::from_utf8_lossy(bytes);
    let nodes = [("\"n1\"", "greenhouse-north-bench-7"), ("\"n2\"", "node2")];
    let named = nodes.into_iter().filter(|(key, _)| text.contains(key));
    named.map(|(_, name)| name.into()).collect()
}

fn traffic() -> Vec<Numbered<TrafficEntry>> {
    let piece = |seconds, kind, bytes: &[u8]| TrafficEntry {
        source: "source".into(),
        at: ago(seconds),
        kind,
        bytes: bytes.into(),
        nodes: match kind {
            TrafficKind::Accepted => nodes_of(bytes),
            _ => Arc::default(),
        },
    };
    let rejected = |reason, broke_at_end| TrafficKind::Rejected {
        reason,
        broke_at_end,
        place: None,
    };
    let frame = br#"{"ts":12000,"id":"N2","n1":{"t":27.6,"h":54.1,"g":84190},"n2":{"t":25.3,"p":1013.25},"sig":{"rssi":-39,"snr":13},"sts":{"rx":1,"err":0}}"#;
    numbered(vec![
        piece(
            40,
            TrafficKind::Text,
            b"[INFO ] boot, \x1b[1mv1.2\x1b[0m\r\n",
        ),
        piece(31, TrafficKind::Accepted, frame),
        piece(31, TrafficKind::Text, b"\r\n"),
        piece(20, rejected(RejectReason::Unfinished, true), &frame[..73]),
        piece(20, TrafficKind::Text, b"\n"),
        piece(
            11,
            rejected(RejectReason::InvalidTime, false),
            br#"{"ts":-1}"#,
        ),
        piece(6, TrafficKind::Sent, b"led on\r\n"),
        piece(
            4,
            TrafficKind::Accepted,
            br#"{"ts":42000,"id":"N2","n1":{}}"#,
        ),
        piece(4, TrafficKind::Text, br"\n"),
    ])
}

fn deliveries() -> Vec<Numbered<DeliveryEntry>> {
    let entry = |seconds, sink, what: &str, count, outcome, millis| DeliveryEntry {
        at: ago(seconds),
        sink,
        what: what.to_owned(),
        count,
        outcome,
        latency: Duration::from_millis(millis),
    };
    let line = "temperature,node_id=node1,sensor_type=environmental value=27.6 1772366389000000000";
    let failed = DeliveryOutcome::Failed {
        reason: "the write timed out after 10s".to_owned(),
    };
    let rejected = DeliveryOutcome::Rejected {
        reason: "field type conflict".to_owned(),
    };
    numbered(vec![
        entry(31, SinkId::influxdb(), line, 10, failed, 10_000),
        entry(20, SinkId::influxdb(), line, 1, rejected, 12_345),
        entry(
            11,
            SinkId::mqtt(),
            "iiot/node1/temperature 27.6",
            9,
            DeliveryOutcome::Delivered,
            7,
        ),
        entry(
            4,
            SinkId::influxdb(),
            line,
            10,
            DeliveryOutcome::Delivered,
            184,
        ),
    ])
}

fn log() -> Vec<Numbered<LogEntry>> {
    let entry = |seconds, level, target: &str, message: &str| LogEntry {
        at: ago(seconds),
        level,
        target: format!("fieldgate::{target}"),
        message: message.to_owned(),
    };
    numbered(vec![
        entry(
            7_380,
            LogLevel::Info,
            "commands::run",
            "Starting. version=0.1.0",
        ),
        entry(
            312,
            LogLevel::Warn,
            "sink::lane",
            "Disconnected; next try in 2s. link=mqtt error=connection refused (os error 111), which is what a broker that is not there looks like",
        ),
        entry(
            60,
            LogLevel::Error,
            "sink::influx",
            "A point was refused for good.",
        ),
        entry(
            4,
            LogLevel::Debug,
            "pipeline",
            "Rejected a frame. bytes=\u{1b}[31m",
        ),
    ])
}

/// A screen that has seen these snapshots one after the other.
pub(super) fn app(width: u16, height: u16, seen: impl IntoIterator<Item = Snapshot>) -> App {
    let theme = Theme::new(false, Depth::Ansi256, false);
    let mut app = App::new(theme, Size::new(width, height), NOW);
    for snapshot in seen {
        let taken = snapshot.taken;
        app.observe(observation(snapshot), taken);
    }
    app
}

/// The same on another page, its charts filled.
pub(super) fn on_page(mut app: App, page: Page) -> App {
    app.show(page);
    fill_charts(&mut app);
    app
}

/// Answers what the charts of the page ask of the journal.
pub(super) fn fill_charts(app: &mut App) {
    let wave = |line: usize, index: i64| {
        let mean = 20.5 + (index as f64 / 8.0 + line as f64).sin() * 5.0;
        HistoryPoint {
            time: ago(300 - index * 3),
            min: mean - 0.5,
            mean,
            max: mean + 0.5,
            count: 1,
        }
    };
    app.ask_charts();
    let drawn = match app.page {
        Page::Nodes => app.node_charts(),
        Page::Overview => app.selected_keys(),
        _ => app.charted(),
    };
    for (line, key) in drawn.into_iter().enumerate() {
        // A node that was silent for a while leaves a gap.
        let points = (0..100)
            .filter(|index| !(40..55).contains(index))
            .map(|index| wave(line, index));
        app.answer(Purpose::Chart, &key, Ok(points.collect()));
    }
}
