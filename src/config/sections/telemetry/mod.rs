//! `[telemetry]`: what nodes and metrics are called, and how times are made.

mod names;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use names::Given;

use crate::config::error::{ConfigError, Fault, nearest};
use crate::config::kind::{HOUR, Kind, NotAllowed, OrRefuse, duration, number, range, text, whole};
use crate::config::section::Section;
use crate::config::sections::NamedSource;
use crate::telemetry::{
    Calibration, Correction, Decoder, DeviceClass, Format, MetricInfo, MetricTable, Name, Range,
    default_node_name, is_safe,
};

/// `[telemetry]`.
#[derive(Debug, Clone)]
pub struct Telemetry {
    /// `[telemetry.nodes]`: by the key on the wire or the default name.
    pub nodes: BTreeMap<String, Node>,
    /// `[telemetry.metrics.KEY]`: additions to and changes of the metric table.
    pub metrics: BTreeMap<String, Metric>,
    /// `[telemetry.calibrate.NODE.METRIC]`: corrections of what is measured.
    pub calibration: Calibration,
    /// How far device and gateway clock may drift apart before the anchor is set anew.
    pub clock_tolerance: Duration,
    /// Usual intervals of silence after which a node is stale.
    pub stale_after: f64,
    /// Usual intervals of silence after which a node is offline.
    pub offline_after: f64,
    /// How long delivery waits at a start for a clock that is synchronised.
    pub wait_for_clock: Option<Duration>,
}

/// `[telemetry.nodes.KEY]`, or its name alone as the value of that key.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Node {
    /// Name on the way out.
    pub name: Option<String>,
    /// How often it usually reports; `None`: that is learnt.
    pub interval: Option<Duration>,
}

/// `[telemetry.metrics.KEY]`: what is set here replaces the built-in entry of that key.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metric {
    /// Name on the way out.
    pub name: Option<String>,
    /// Unit shown.
    pub unit: Option<String>,
    /// The `sensor_type` tag.
    pub sensor_type: Option<String>,
    /// A value below it is a problem.
    pub min: Option<f64>,
    /// A value above it is a problem.
    pub max: Option<f64>,
    /// What its sensor can measure; a value outside is no reading.
    pub range: Option<Range>,
    /// What it measures, for Home Assistant.
    pub device_class: Option<DeviceClass>,
    /// How many places behind the point Home Assistant shows.
    pub precision: Option<u8>,
}

/// Reads the section; `sources` are those that nodes can be of, if they could be read.
pub(super) fn read(
    section: &mut Section<'_, '_>,
    sources: Option<&[NamedSource]>,
) -> Option<Telemetry> {
    let clock_tolerance = section.or("clock_tolerance", "2s", &duration(Duration::ZERO..=HOUR));
    let wait_for_clock = section.optional("wait_for_clock", &duration(Duration::ZERO..=HOUR));
    let (stale_after, offline_after) = silence(section);
    let mut node_names = Vec::new();
    let nodes = section.named("nodes", |nodes, key| node(nodes, key, &mut node_names));
    let mut metric_names = Vec::new();
    let metrics = section.named("metrics", |metrics, key| {
        metrics.section(key, |section| {
            let metric = metric(section);
            let name = metric.name.as_deref();
            let given = name.and_then(|name| Given::of_key(section, "name", key, name));
            metric_names.extend(given);
            Some(metric)
        })
    });
    let mut astray = Vec::new();
    let calibration = section.named("calibrate", |nodes, node| {
        nodes.section(node, |metrics| {
            let all = metrics.all(|metrics, metric| {
                metrics.section(metric, |section| {
                    astray.extend(of_no_source(section, node, sources));
                    Some(correction(section))
                })
            });
            Some(all)
        })
    });
    section.report(astray);
    section.report(names::check_nodes(&node_names));
    let keys = metrics.iter().flatten().map(|(key, _)| key.as_str());
    section.report(names::check_metrics(
        &metric_names,
        &keys.collect::<Vec<_>>(),
    ));
    Some(Telemetry {
        nodes: nodes?,
        metrics: metrics?,
        calibration: joined(calibration?),
        clock_tolerance: clock_tolerance?,
        stale_after: stale_after?,
        offline_after: offline_after?,
        wait_for_clock,
    })
}

/// After how many usual intervals of silence a node is stale, and offline.
fn silence(section: &mut Section<'_, '_>) -> (Option<f64>, Option<f64>) {
    let multiple = || {
        number("a number of intervals from 1 to 10000", |it| {
            (1.0..=1e4).contains(&it)
        })
    };
    let stale = section.or("stale_after", 3, &multiple());
    let offline = section.or("offline_after", 10, &multiple());
    if let (Some(stale), Some(offline)) = (stale, offline)
        && offline < stale
    {
        section.refuse(
            "offline_after",
            "is below stale_after",
            format!("a number of intervals, at least stale_after, which is {stale}"),
        );
    }
    (stale, offline)
}

/// A node as `n1 = "hall"`, or as a section with its name and its interval.
fn node(nodes: &mut Section<'_, '_>, key: &str, names: &mut Vec<Given>) -> Option<Node> {
    if !nodes.is_section(key) {
        let name = nodes.named_value(key, &name())?;
        names.extend(Given::of_key(nodes, key, key, &name));
        return Some(Node {
            name: Some(name),
            interval: None,
        });
    }
    nodes.section(key, |section| {
        let name = section.optional("name", &name());
        let given = name
            .as_deref()
            .and_then(|name| Given::of_key(section, "name", key, name));
        names.extend(given);
        let interval = duration(Duration::from_millis(100)..=HOUR * 24 * 7);
        let interval = section.optional("interval", &interval);
        Some(Node { name, interval })
    })
}

/// What is wrong with a correction for `source/node` if there is no such source.
fn of_no_source(
    section: &Section<'_, '_>,
    node: &str,
    sources: Option<&[NamedSource]>,
) -> Option<ConfigError> {
    let (source, _) = node.split_once('/')?;
    let names = sources?.iter().map(|it| it.name.as_str());
    let names: Vec<&str> = names.collect();
    (!names.contains(&source)).then(|| ConfigError {
        place: section.place().clone(),
        key: section.path_of(""),
        fault: Fault::Wrong,
        problem: format!("{source} is the name of no source"),
        found: format!("{node:?}"),
        allowed: format!(
            "a node, or one of {} with / and a node behind it",
            names.join(", ")
        ),
        advice: None,
    })
}

fn correction(section: &mut Section<'_, '_>) -> Correction {
    let any_number = || number("a finite number", |_| true);
    let scale = number("a finite number other than 0", |scale| scale.abs() > 0.0);
    Correction {
        scale: section.or("scale", 1.0, &scale).unwrap_or(1.0),
        offset: section.or("offset", 0.0, &any_number()).unwrap_or(0.0),
        decimals: section.optional("decimals", &whole(0..=15)),
    }
}

fn joined(nodes: BTreeMap<String, BTreeMap<String, Correction>>) -> Calibration {
    let mut calibration = Calibration::default();
    for (node, metrics) in nodes {
        for (metric, correction) in metrics {
            calibration.set(&node, Name::new(&metric), correction);
        }
    }
    calibration
}

fn metric(section: &mut Section<'_, '_>) -> Metric {
    let any_number = || number("a finite number", |_| true);
    let metric = Metric {
        name: section.optional("name", &name()),
        unit: section.optional("unit", &text()),
        sensor_type: section.optional("sensor_type", &name()),
        min: section.optional("min", &any_number()),
        max: section.optional("max", &any_number()),
        range: section.optional("range", &range()),
        device_class: section.optional("device_class", &device_class()),
        precision: section.optional("precision", &whole(0..=10)),
    };
    if let (Some(min), Some(max)) = (metric.min, metric.max)
        && min > max
    {
        section.refuse(
            "max",
            "is below min",
            format!("a number, at least min, which is {min}"),
        );
    }
    metric
}

/// A class that Home Assistant knows: it takes no sensor of another one.
fn device_class() -> Kind<DeviceClass> {
    let allowed = "a device class of Home Assistant's sensors, as \"battery\"";
    Kind::of_text(allowed, |text| {
        DeviceClass::of_name(text).ok_or_else(|| {
            let meant = nearest(text, DeviceClass::names());
            NotAllowed(meant.map(|class| format!("did you mean \"{class}\"?")))
        })
    })
}

/// The name of a node or metric.
fn name() -> Kind<String> {
    let allowed = format!(
        "1 to {} bytes of text without /, +, #, \\, control characters and noncharacters",
        Name::MAX_CHARS
    );
    Kind::of_text(allowed, |text| {
        is_safe(text).then(|| text.to_owned()).ok_or_default()
    })
}

impl Telemetry {
    /// In a line for the log, without secrets.
    pub(in crate::config) fn summary(&self) -> String {
        format!(
            "{} nodes renamed, {} metrics configured, clock tolerance {}",
            self.node_names().len(),
            self.metrics.len(),
            humantime::format_duration(self.clock_tolerance)
        )
    }

    /// The built-in metrics with the configured changes.
    pub fn metric_table(&self) -> MetricTable {
        let mut table = MetricTable::default();
        for (key, change) in &self.metrics {
            let known = table.by_key(key).cloned();
            let mut info = known.unwrap_or_else(|| MetricInfo::unknown(key));
            change.apply(&mut info);
            table.set(key, info);
        }
        table
    }

    /// What turns frames into readings under the configured names.
    pub fn decoder(&self, format: &Format) -> Decoder {
        let mut table = self.metric_table();
        format.complete(&mut table, |key| self.metrics.contains_key(key));
        Decoder::new(table, self.node_names(), format)
    }

    /// The configured names of nodes, by their key on the wire or their default name.
    pub fn node_names(&self) -> HashMap<String, Name> {
        let nodes = self.nodes.iter();
        nodes
            .filter_map(|(key, node)| Some((key.clone(), Name::new(node.name.as_ref()?))))
            .collect()
    }

    /// The configured intervals of nodes, by the names that they go out under.
    pub fn node_intervals(&self) -> BTreeMap<Name, Duration> {
        let names = self.node_names();
        let intervals = self.nodes.iter().filter_map(|(key, node)| {
            let default = default_node_name(key);
            let name = names.get(key).or_else(|| names.get(&default)).cloned();
            Some((name.unwrap_or_else(|| Name::new(&default)), node.interval?))
        });
        intervals.collect()
    }
}

impl Metric {
    fn apply(&self, info: &mut MetricInfo) {
        if let Some(name) = &self.name {
            info.name = Name::new(name);
        }
        if let Some(unit) = &self.unit {
            info.unit.clone_from(unit);
        }
        if let Some(sensor_type) = &self.sensor_type {
            info.sensor_type.clone_from(sensor_type);
        }
        info.min = self.min.or(info.min);
        info.max = self.max.or(info.max);
        info.device_class = self.device_class.or(info.device_class);
        info.precision = self.precision.or(info.precision);
        if let Some(range) = self.range {
            let counts = info.range.counts && range != Range::ANY;
            info.range = Range { counts, ..range };
        }
    }
}
