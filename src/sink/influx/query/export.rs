//! The export of VictoriaMetrics: a line of JSON for each series.
//!
//! <https://docs.victoriametrics.com/victoriametrics/#how-to-export-data-in-json-line-format>

use std::collections::HashMap;
use std::ops::Range;

use reqwest::Method;
use serde::Deserialize;

use super::{Inquiry, Point, QueryError, not_understood};
use crate::sink::influx::line::{GATEWAY, NODE, SOURCE, Series};
use crate::telemetry::{Name, Timestamp};

/// What stands behind the name of a measurement: the field.
pub const FIELD_SUFFIX: &str = "_value";

const MILLISECOND: i64 = 1_000_000;

#[derive(Deserialize)]
struct SeriesLine {
    metric: HashMap<String, String>,
    /// `None`: no number.
    values: Vec<Option<f64>>,
    timestamps: Vec<i64>,
}

pub(super) async fn points(
    inquiry: &Inquiry<'_>,
    times: &Range<Timestamp>,
) -> Result<Vec<Point>, QueryError> {
    let gateway = quoted(inquiry.gateway.unwrap_or_default());
    // VictoriaMetrics keeps for ten seconds which series a selector found. Nothing has this label, so it
    // changes nothing but the selector: what is new is seen as soon as it can be.
    let asked = Timestamp::now().0;
    let selector = format!("{{{NODE}!=\"\",{GATEWAY}={gateway},asked!=\"{asked}\"}}");
    // Both ends belong to it.
    let (start, end) = (times.start.0 / MILLISECOND, times.end.0 / MILLISECOND - 1);
    let request = inquiry.client.request(Method::GET, "/api/v1/export");
    let request = request.query(&[
        ("match[]", selector),
        ("start", seconds(start)),
        ("end", seconds(end)),
    ]);
    let body = inquiry.ask(request).await?;
    let mut points = Vec::new();
    for line in serde_json::Deserializer::from_slice(&body).into_iter::<SeriesLine>() {
        let line = line.map_err(not_understood)?;
        for series in all_series(&line.metric) {
            let pairs = line.timestamps.iter().zip(&line.values);
            points.extend(pairs.filter_map(|(time, value)| {
                Some(Point {
                    series: series.clone(),
                    time: Timestamp(time.saturating_mul(MILLISECOND)),
                    value: (*value)?,
                })
            }));
        }
    }
    Ok(points)
}

/// Milliseconds as seconds.
fn seconds(millis: i64) -> String {
    format!("{}.{:03}", millis / 1_000, millis % 1_000)
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Where these points may have been filed: the name of the field stands behind the measurement's, unless
/// the server was told to leave it out.
fn all_series(labels: &HashMap<String, String>) -> Vec<Series> {
    let label = |name: &str| labels.get(name).filter(|value| !value.is_empty());
    let (Some(name), Some(node)) = (label("__name__"), label(NODE)) else {
        return Vec::new();
    };
    let without_field = name.strip_suffix(FIELD_SUFFIX);
    let names = [Some(name.as_str()), without_field];
    let series = names.into_iter().flatten().map(|name| Series {
        node: Name::new(node),
        metric: Name::new(name),
        source: label(SOURCE).map(|source| Name::new(source)),
    });
    series.collect()
}
