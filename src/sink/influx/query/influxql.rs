//! `InfluxQL`, for databases that speak nothing else.
//!
//! <https://docs.influxdata.com/influxdb/v1/tools/api/#query-http-endpoint>

use std::collections::HashMap;
use std::ops::Range;

use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use super::{Inquiry, Point, QueryError, not_understood};
use crate::sink::influx::line::{FIELD, GATEWAY, NODE, SOURCE, Series};
use crate::telemetry::{Name, Timestamp};

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    results: Vec<Outcome>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Outcome {
    #[serde(default)]
    series: Vec<Table>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Table {
    name: String,
    #[serde(default)]
    tags: HashMap<String, String>,
    /// What is no number is none of a gateway.
    values: Vec<(i64, Value)>,
}

pub(super) async fn points(
    inquiry: &Inquiry<'_>,
    times: &Range<Timestamp>,
) -> Result<Vec<Point>, QueryError> {
    let (_, bucket) = inquiry.client.place();
    // A bucket of version 2 is a database and a policy of version 1.
    let (database, policy) = bucket.split_once('/').unwrap_or((bucket, ""));
    let gateway = quoted(inquiry.gateway.unwrap_or_default());
    let (from, to) = (times.start.0, times.end.0);
    let query = format!(
        "SELECT \"{FIELD}\" FROM /.*/ WHERE time >= {from} AND time < {to} \
         AND \"{NODE}\" != '' AND \"{GATEWAY}\" = {gateway} GROUP BY \"{NODE}\", \"{SOURCE}\""
    );
    let request = inquiry.client.request(Method::POST, "/query");
    let request = request.query(&[
        ("db", database),
        ("rp", policy),
        ("epoch", "ns"),
        // In one piece, some versions leave out what is beyond 10,000 points.
        ("chunked", "true"),
        ("q", &query),
    ]);
    let body = inquiry.ask(request).await?;
    let mut points = Vec::new();
    for chunk in serde_json::Deserializer::from_slice(&body).into_iter::<Chunk>() {
        let Chunk { results, error } = chunk.map_err(not_understood)?;
        let outcomes = results.iter().filter_map(|it| it.error.clone());
        if let Some(error) = error.or_else(|| outcomes.into_iter().next()) {
            return Err(QueryError::Failed(error));
        }
        let tables = results.into_iter().flat_map(|outcome| outcome.series);
        tables.for_each(|table| table.append_to(&mut points));
    }
    Ok(points)
}

impl Table {
    fn append_to(self, points: &mut Vec<Point>) {
        let tag = |name: &str| self.tags.get(name).filter(|value| !value.is_empty());
        let Some(node) = tag(NODE) else {
            return;
        };
        let series = Series {
            node: Name::new(node),
            metric: Name::new(&self.name),
            source: tag(SOURCE).map(|source| Name::new(source)),
        };
        points.extend(self.values.iter().filter_map(|(time, value)| {
            Some(Point {
                series: series.clone(),
                time: Timestamp(*time),
                value: value.as_f64()?,
            })
        }));
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_is_left_out() {
        let text = r#"{"name":"door","tags":{"node_id":"front","source":""},"columns":["time","value"],
            "values":[[1,"open"],[2,true],[3,null],[4,-0],[5,1.7976931348623157e308]]}"#;
        let table: Table = serde_json::from_str(text).unwrap();
        let mut points = Vec::new();
        table.append_to(&mut points);
        let values: Vec<_> = points.iter().map(|it| (it.time.0, it.value)).collect();
        assert_eq!(values, [(4, 0.0), (5, f64::MAX)]);
    }
}
