//! `/metrics`, read as a scraper does.

use std::collections::{BTreeMap, BTreeSet};

use super::{Gateway, PACKET};
use crate::support::request;

/// What stands under one `# TYPE`.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    help: String,
    /// By the name with its labels, sorted.
    samples: BTreeMap<(String, Vec<(String, String)>), f64>,
}

fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    let starts = chars
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_' || c == ':');
    starts && chars.all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
}

/// Text format 0.0.4, more strictly than it has to be read.
fn parse(text: &str) -> BTreeMap<String, Family> {
    assert!(text.ends_with('\n'), "the last line must end");
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    let mut ended = BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(is_name(name) && !help.is_empty(), "{line}");
            ended.insert(std::mem::replace(&mut current, name.into()));
            assert!(!ended.contains(name), "{name} stands in two places");
            families.entry(name.into()).or_default().help = help.into();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, current, "TYPE stands behind HELP");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            let family = families.get_mut(name).unwrap();
            assert!(
                family.kind.is_empty() && family.samples.is_empty(),
                "{line}"
            );
            family.kind = kind.into();
        } else {
            let (key, value) = sample(line);
            let family = families.get_mut(&current).unwrap();
            let suffix = key
                .0
                .strip_prefix(current.as_str())
                .unwrap_or_else(|| panic!("{line}"));
            let allowed: &[&str] = match family.kind.as_str() {
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            assert!(allowed.contains(&suffix), "{line}");
            let before = family.samples.insert(key, value);
            assert!(before.is_none(), "twice: {line}");
        }
    }
    families
}

type Key = (String, Vec<(String, String)>);

fn sample(line: &str) -> (Key, f64) {
    let (series, value) = line.rsplit_once(' ').unwrap();
    let (name, labels) = match series.split_once('{') {
        None => (series, ""),
        Some((name, labels)) => (name, labels.strip_suffix('}').unwrap()),
    };
    assert!(is_name(name), "{line}");
    let labels = labels.split(',').filter(|label| !label.is_empty());
    let mut labels: Vec<(String, String)> = labels
        .map(|label| {
            let (name, value) = label.split_once('=').unwrap();
            let value = value.strip_prefix('"').unwrap().strip_suffix('"').unwrap();
            assert!(is_name(name) && !value.contains(['"', '\\']), "{line}");
            (name.into(), value.into())
        })
        .collect();
    labels.sort();
    let value = match value {
        "+Inf" => f64::INFINITY,
        value => value.parse().unwrap(),
    };
    ((name.into(), labels), value)
}

#[test]
fn a_scraper_reads_what_the_snapshot_says() {
    let mut gateway = Gateway::start("");
    for number in 0..5 {
        let packet = PACKET.replace("12000", &(12_000 + number).to_string());
        gateway
            .process
            .write_stdin(format!("{packet}\n").as_bytes());
    }
    gateway.process.write_stdin(b"{broken\n");
    gateway.wait_for("packets", |snapshot| {
        snapshot["telemetry"]["packets_processed"] == 5
    });
    let response = request(gateway.port, "GET", "/metrics", &[], b"").unwrap();
    assert_eq!(response.status, 200);
    let families = parse(&response.body);
    for (name, kind) in [
        ("mqtt_publishes_total", "counter"),
        ("influxdb_writes_total", "counter"),
        ("influxdb_points_total", "counter"),
        ("telemetry_packets_processed_total", "counter"),
        ("telemetry_frames_rejected_total", "counter"),
        ("telemetry_readings_rejected_total", "counter"),
        ("line_damaged_ratio", "gauge"),
        ("telemetry_packets_missed_total", "counter"),
        ("queue_depth", "gauge"),
        ("queue_dropped_total", "counter"),
        ("rejected_dropped_total", "counter"),
        ("write_bytes_total", "counter"),
        ("link_up", "gauge"),
        ("link_server", "gauge"),
        ("reconnects_total", "counter"),
        ("delivery_latency_seconds", "histogram"),
    ] {
        let family = families.get(&format!("fieldgate_{name}"));
        let family = family.unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(family.kind, kind, "{name}");
        assert!(!family.samples.is_empty(), "{name}");
    }
    assert!(families.keys().all(|name| name.starts_with("fieldgate_")));

    let value = |name: &str, labels: &[(&str, &str)]| {
        let labels = labels
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()));
        families[name].samples[&(name.to_owned(), labels.collect())]
    };
    let is = |name: &str, labels: &[(&str, &str)], expected: f64| {
        assert!(
            (value(name, labels) - expected).abs() < f64::EPSILON,
            "{name}"
        );
    };
    is("fieldgate_telemetry_packets_processed_total", &[], 5.0);
    is("fieldgate_link_up", &[("link", "source")], 1.0);
    is("fieldgate_link_up", &[("link", "mqtt")], 0.0);
    for sink in ["mqtt", "influxdb"] {
        check_histogram(&families["fieldgate_delivery_latency_seconds"], sink);
    }
}

fn check_histogram(family: &Family, sink: &str) {
    let of_sink = family.samples.iter().filter(|((_, labels), _)| {
        labels
            .iter()
            .any(|(name, value)| name == "sink" && value == sink)
    });
    let mut buckets = Vec::new();
    let (mut count, mut sum) = (None, None);
    for ((name, labels), value) in of_sink {
        match labels.iter().find(|(name, _)| name == "le") {
            Some((_, bound)) => {
                let bound = if bound == "+Inf" {
                    f64::INFINITY
                } else {
                    bound.parse().unwrap()
                };
                buckets.push((bound, *value));
            }
            None if name.ends_with("_count") => count = Some(*value),
            None => sum = Some(*value),
        }
    }
    buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
    assert!(
        buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1),
        "{buckets:?}"
    );
    let (bound, last) = *buckets.last().unwrap();
    assert!(
        bound.is_infinite() && Some(last) == count && sum.is_some(),
        "{buckets:?}"
    );
}

#[test]
fn the_parser_refuses_what_no_scraper_reads() {
    let refuses = |text: &'static str| std::panic::catch_unwind(|| parse(text)).is_err();
    assert!(!refuses("# HELP a b\n# TYPE a counter\na{x=\"y\"} 1\n"));
    assert!(refuses("# HELP a b\n# TYPE a counter\na{x=\"y\"} 1"));
    assert!(refuses("# TYPE a counter\na 1\n"));
    assert!(refuses("# HELP a b\n# TYPE a counter\na 1\na 2\n"));
    assert!(refuses("# HELP a b\n# TYPE a counter\nb 1\n"));
    assert!(refuses("# HELP a b\n# TYPE a counter\na one\n"));
}
