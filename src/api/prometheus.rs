//! Metrics in Prometheus' text format, version 0.0.4.

use std::fmt::Write as _;

use crate::monitor::{MetricKind, Snapshot, metrics};

/// Before every name.
const PREFIX: &str = "fieldgate_";

/// The media type of what [`render`] writes.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics of a snapshot as a scraper reads them.
pub fn render(snapshot: &Snapshot) -> String {
    let mut text = String::with_capacity(8 << 10);
    for family in metrics(snapshot) {
        let kind = match family.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        };
        let (name, help) = (family.name, family.help);
        // Writing to a `String` cannot fail.
        let _infallible = write!(
            text,
            "# HELP {PREFIX}{name} {help}\n# TYPE {PREFIX}{name} {kind}\n"
        );
        for sample in family.samples {
            let _infallible = writeln!(text, "{PREFIX}{name}{sample}");
        }
    }
    text
}
