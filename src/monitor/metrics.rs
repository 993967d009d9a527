//! The metrics of a snapshot, by the names that the log and Prometheus know them under.

use std::fmt::{self, Write as _};

use super::{
    LATENCY_BUCKETS, LinkId, LinkKind, LinkState, NodeStatus, ProblemKind, Severity, SinkSnapshot,
    Snapshot, TelemetrySnapshot,
};
use crate::telemetry::RejectReason;

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations in buckets.
    Histogram,
}

/// All values of one metric.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricFamily {
    /// Its name, without prefix.
    pub name: &'static str,
    /// How it behaves.
    pub kind: MetricKind,
    /// What it is.
    pub help: &'static str,
    /// Its values.
    pub samples: Vec<Sample>,
}

/// One value of a metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// What the family's name goes on with: `_bucket`, `_sum`, `_count`, or nothing.
    pub suffix: &'static str,
    /// Names and values of its labels.
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub value: f64,
}

impl Sample {
    fn new(labels: &[(&'static str, &str)], value: u64) -> Self {
        let labels = labels
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect();
        Self {
            suffix: "",
            labels,
            value: value as f64,
        }
    }

    /// Of a source: the only one needs no label.
    fn of_source(source: &LinkId, reason: Option<RejectReason>, value: u64) -> Self {
        let named = (!source.is_only()).then(|| ("source", source.name()));
        let reason = reason.map(|reason| ("reason", reason.name()));
        let labels: Vec<_> = named.into_iter().chain(reason).collect();
        Self::new(&labels, value)
    }

    /// Of one of the sinks whose kind stands in the metric's name: the only one needs no label.
    fn of_sink(sink: &SinkSnapshot, status: &str, value: u64) -> Self {
        let status = ("status", status);
        if sink.sink.link().is_only() {
            Self::new(&[status], value)
        } else {
            Self::new(&[("sink", sink.sink.as_str()), status], value)
        }
    }
}

/// `{status="success"} 12`, with nothing in braces where there are no labels. Of the characters that
/// need escaping, label values can hold `"` alone.
impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.suffix)?;
        for (number, (name, value)) in self.labels.iter().enumerate() {
            write!(
                f,
                "{}{name}=\"{}\"",
                if number == 0 { '{' } else { ',' },
                value.replace('"', "\\\"")
            )?;
        }
        if !self.labels.is_empty() {
            f.write_char('}')?;
        }
        write!(f, " {}", self.value)
    }
}

/// All metrics, in a fixed order.
pub fn metrics(snapshot: &Snapshot) -> Vec<MetricFamily> {
    let mut families = of_gateway(snapshot);
    families.extend(nodes(snapshot));
    families.push(problems(snapshot));
    families
}

fn of_gateway(snapshot: &Snapshot) -> Vec<MetricFamily> {
    let mut families = delivery(snapshot);
    families.extend(telemetry(snapshot));
    families.extend(queues_and_links(snapshot));
    families.push(written(snapshot));
    families.push(latency(snapshot));
    families
}

/// The metrics that are not 0 as one line for the log; the latency by its count and sum alone, and without
/// those of each node, of which there may be many.
pub fn log_line(snapshot: &Snapshot) -> String {
    let mut line = String::new();
    for family in of_gateway(snapshot) {
        let samples = family.samples.iter();
        for sample in samples.filter(|it| it.suffix != "_bucket" && it.value != 0.0) {
            let separator = if line.is_empty() { "" } else { ", " };
            // Writing to a `String` cannot fail.
            let _infallible = write!(line, "{separator}{}{sample}", family.name);
        }
    }
    line
}

impl MetricFamily {
    fn new(kind: MetricKind, name: &'static str, help: &'static str, samples: Vec<Sample>) -> Self {
        Self {
            name,
            kind,
            help,
            samples,
        }
    }
}

fn counter(name: &'static str, help: &'static str, samples: Vec<Sample>) -> MetricFamily {
    MetricFamily::new(MetricKind::Counter, name, help, samples)
}

fn gauge(name: &'static str, help: &'static str, samples: Vec<Sample>) -> MetricFamily {
    MetricFamily::new(MetricKind::Gauge, name, help, samples)
}

fn delivery(snapshot: &Snapshot) -> Vec<MetricFamily> {
    let by_status =
        |kind: LinkKind, success: fn(&SinkSnapshot) -> u64, failure: fn(&SinkSnapshot) -> u64| {
            let sinks = snapshot.sinks.iter();
            let sinks = sinks.filter(|sink| sink.sink.link().kind() == kind);
            let samples = sinks.flat_map(|sink| {
                [("success", success(sink)), ("failure", failure(sink))]
                    .map(|(status, count)| Sample::of_sink(sink, status, count))
            });
            samples.collect()
        };
    vec![
        counter(
            "mqtt_publishes_total",
            "Messages acknowledged by the broker, and deliveries that failed and were tried again.",
            by_status(LinkKind::Mqtt, |sink| sink.delivered, |sink| sink.failed),
        ),
        counter(
            "influxdb_writes_total",
            "Writes that InfluxDB took, and writes that failed.",
            by_status(
                LinkKind::Influxdb,
                |sink| sink.writes_succeeded,
                |sink| sink.writes_failed,
            ),
        ),
        counter(
            "influxdb_points_total",
            "Points that InfluxDB took, and deliveries that failed and were tried again.",
            by_status(
                LinkKind::Influxdb,
                |sink| sink.delivered,
                |sink| sink.failed,
            ),
        ),
    ]
}

fn telemetry(snapshot: &Snapshot) -> Vec<MetricFamily> {
    let sources = || {
        let links = snapshot.links().map(|(link, _)| link);
        links.filter(|link| link.sink().is_none())
    };
    let by_source = |value: fn(&TelemetrySnapshot) -> u64| {
        let sample = |link: LinkId| {
            let value = value(snapshot.telemetry_of(&link));
            Sample::of_source(&link, None, value)
        };
        sources().map(sample).collect::<Vec<_>>()
    };
    let by_reason = |rejected: fn(&TelemetrySnapshot) -> &[(RejectReason, u64)]| {
        let mut samples = Vec::new();
        for link in sources() {
            let counts = rejected(snapshot.telemetry_of(&link)).iter();
            samples.extend(
                counts.map(|(reason, count)| Sample::of_source(&link, Some(*reason), *count)),
            );
        }
        samples
    };
    let damaged = |link: LinkId| Sample {
        value: snapshot.telemetry_of(&link).line_damaged_ratio,
        ..Sample::of_source(&link, None, 0)
    };
    vec![
        counter(
            "telemetry_packets_processed_total",
            "Packets decoded and given to the journal.",
            by_source(|telemetry| telemetry.packets_processed),
        ),
        counter(
            "telemetry_frames_rejected_total",
            "Frames that were no telemetry, or contradicted those around them.",
            by_reason(|telemetry| &telemetry.frames_rejected),
        ),
        counter(
            "telemetry_readings_rejected_total",
            "Readings that were set aside.",
            by_reason(|telemetry| &telemetry.readings_rejected),
        ),
        gauge(
            "line_damaged_ratio",
            "The share of damaged ones among the last 200 frames.",
            sources().map(damaged).collect(),
        ),
        counter(
            "telemetry_packets_missed_total",
            "Packets that the radio received and the gateway never saw.",
            by_source(|telemetry| telemetry.packets_missed),
        ),
    ]
}

fn servers(snapshot: &Snapshot) -> MetricFamily {
    let servers = snapshot.sinks.iter().map(|sink| {
        let (name, peer) = (sink.sink.as_str(), &*sink.link.peer);
        Sample::new(&[("link", name), ("server", peer)], 1)
    });
    let servers = servers.collect();
    gauge(
        "link_server",
        "Which server a sink uses, or tries.",
        servers,
    )
}

fn queues_and_links(snapshot: &Snapshot) -> Vec<MetricFamily> {
    let by_sink = |value: fn(&SinkSnapshot) -> u64| {
        let sample =
            |sink: &SinkSnapshot| Sample::new(&[("sink", sink.sink.as_str())], value(sink));
        snapshot.sinks.iter().map(sample).collect::<Vec<_>>()
    };
    let (up, reconnects) = snapshot
        .links()
        .map(|(link, status)| {
            let label = [("link", link.as_str())];
            let is_up = status.state == LinkState::Up;
            (
                Sample::new(&label, u64::from(is_up)),
                Sample::new(&label, status.reconnects),
            )
        })
        .unzip();
    vec![
        gauge(
            "queue_depth",
            "Messages in the journal that a sink has not delivered.",
            by_sink(|sink| sink.queue_depth),
        ),
        counter(
            "queue_dropped_total",
            "Messages that had to leave the full journal before a sink could deliver them.",
            by_sink(|sink| sink.dropped),
        ),
        counter(
            "readings_skipped_total",
            "Late readings that a sink did not send because newer ones went out.",
            by_sink(|sink| sink.skipped),
        ),
        counter(
            "rejected_dropped_total",
            "Entries of the table `rejected` that went before their time because it was full.",
            vec![Sample::new(&[], snapshot.journal.rejected_dropped)],
        ),
        gauge("link_up", "Whether a link is up.", up),
        servers(snapshot),
        counter(
            "reconnects_total",
            "How often a link came up again.",
            reconnects,
        ),
    ]
}

fn written(snapshot: &Snapshot) -> MetricFamily {
    let bytes = snapshot.journal.write_bytes;
    counter(
        "write_bytes_total",
        "Bytes that the process has written to disks, as the system counts them: the journal, and log files.",
        bytes
            .map(|bytes| Sample::new(&[], bytes))
            .into_iter()
            .collect(),
    )
}

fn nodes(snapshot: &Snapshot) -> Vec<MetricFamily> {
    let by_node = |value: fn(&NodeStatus) -> f64| {
        let sample = |node: &NodeStatus| Sample {
            value: value(node),
            ..Sample::new(&[("node", node.node.as_str())], 0)
        };
        snapshot.nodes.iter().map(sample).collect::<Vec<_>>()
    };
    vec![
        gauge(
            "node_last_heard_seconds",
            "When a node was last heard, in seconds since 1970.",
            by_node(|node| node.last_heard.0 as f64 / 1e9),
        ),
        gauge(
            "node_up",
            "Whether a node is heard: 0 when it is offline.",
            by_node(|node| f64::from(u8::from(node.state.is_online()))),
        ),
        counter(
            "node_packets_missed_total",
            "Packets of a node that its board received and the gateway never saw.",
            by_node(|node| node.missed as f64),
        ),
    ]
}

fn problems(snapshot: &Snapshot) -> MetricFamily {
    let counted = |kind: ProblemKind, severity: Severity| {
        let problems = snapshot.problems.iter();
        let count = problems.filter(|it| it.kind == kind && it.severity == severity);
        let labels = [("kind", kind.name()), ("severity", severity.name())];
        Sample::new(&labels, count.count() as u64)
    };
    let of_kind = |kind| Severity::ALL.map(|severity| counted(kind, severity));
    gauge(
        "problems",
        "What is wrong now.",
        ProblemKind::ALL.into_iter().flat_map(of_kind).collect(),
    )
}

fn latency(snapshot: &Snapshot) -> MetricFamily {
    let mut samples = Vec::new();
    for sink in &snapshot.sinks {
        let label = || ("sink", sink.sink.as_str().to_owned());
        let mut count = 0;
        let bounds = LATENCY_BUCKETS
            .iter()
            .map(f64::to_string)
            .chain(["+Inf".to_owned()]);
        for (bound, in_bucket) in bounds.zip(&sink.latency.buckets) {
            count += in_bucket;
            let labels = vec![label(), ("le", bound)];
            samples.push(Sample {
                suffix: "_bucket",
                labels,
                value: count as f64,
            });
        }
        let sum = sink.latency.sum_seconds;
        samples.push(Sample {
            suffix: "_sum",
            labels: vec![label()],
            value: sum,
        });
        samples.push(Sample {
            suffix: "_count",
            labels: vec![label()],
            value: count as f64,
        });
    }
    MetricFamily {
        name: "delivery_latency_seconds",
        kind: MetricKind::Histogram,
        help: "From reception to acknowledgement.",
        samples,
    }
}
