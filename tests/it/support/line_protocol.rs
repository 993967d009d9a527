//! What the gateway wrote in line protocol.

use std::collections::BTreeMap;

use fieldgate::demo::write_endpoint;
use fieldgate::telemetry::Value;
use fieldgate::telemetry::line_protocol;

/// A point with its one field, as all points of the gateway have.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Point {
    pub(crate) measurement: String,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) field: String,
    pub(crate) value: f64,
    pub(crate) timestamp_ns: i64,
}

impl From<&line_protocol::Point> for Point {
    fn from(point: &line_protocol::Point) -> Self {
        let [(field, value)] = &point.fields[..] else {
            panic!("not one field: {point:?}");
        };
        Self {
            measurement: point.measurement.clone(),
            tags: point.tags.iter().cloned().collect(),
            field: field.clone(),
            value: match value {
                Value::Integer(integer) => *integer as f64,
                Value::Number(number) => *number,
                other => panic!("no number: {other:?}"),
            },
            timestamp_ns: point.timestamp.expect("a time"),
        }
    }
}

/// Reads all lines of a body; the error is in the words of InfluxDB.
pub(crate) fn parse(body: &str) -> Result<Vec<Point>, String> {
    let points = write_endpoint::parse(body)?;
    Ok(points.iter().map(Point::from).collect())
}
