//! Flux, by the published API of InfluxDB 2: the queries, and the CSV that answers them.
//!
//! <https://docs.influxdata.com/influxdb/v2/api/#operation/PostQuery>,
//! <https://docs.influxdata.com/influxdb/v2/reference/syntax/annotated-csv/>

use std::collections::HashMap;
use std::ops::Range;

use csv::StringRecord;
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use serde_json::json;

use super::{Inquiry, Point, QueryError, Summary, WEIGHTS, not_understood};
use crate::config::parse_time;
use crate::sink::influx::line::{FIELD, GATEWAY, NODE, SOURCE, Series};
use crate::telemetry::{Name, Timestamp};

/// Where the measurement stands.
const MEASUREMENT: &str = "_measurement";

pub(super) async fn points(
    inquiry: &Inquiry<'_>,
    times: &Range<Timestamp>,
) -> Result<Vec<Point>, QueryError> {
    let query = select(inquiry, times);
    let mut points = Vec::new();
    read(&ask(inquiry, &query).await?, |series, row| {
        points.push(Point {
            series,
            time: parse_time(row.get("_time")?)?,
            value: row.number("_value")?,
        });
        Some(())
    })?;
    Ok(points)
}

pub(super) async fn summaries(
    inquiry: &Inquiry<'_>,
    times: &Range<Timestamp>,
) -> Result<HashMap<Series, Summary>, QueryError> {
    let query = select(inquiry, times) + &summed_up();
    let mut summaries = HashMap::new();
    read(&ask(inquiry, &query).await?, |series, row| {
        let summary = Summary {
            count: row.number("count")?,
            first: Timestamp(row.number("first")?),
            last: Timestamp(row.number("last")?),
            checksum: row.number("checksum")?,
        };
        // Tables that another tag tells apart are one series here, whose points have to be looked at.
        let merged = |before: &mut Summary| before.count += summary.count;
        summaries
            .entry(series)
            .and_modify(merged)
            .or_insert(summary);
        Some(())
    })?;
    Ok(summaries)
}

/// The points of a stretch, a table for each series, in the order of time.
fn select(inquiry: &Inquiry<'_>, times: &Range<Timestamp>) -> String {
    let (_, bucket) = inquiry.client.place();
    let of_gateway = match inquiry.gateway {
        Some(name) => format!("r.{GATEWAY} == {}", quoted(name)),
        None => format!("not exists r.{GATEWAY}"),
    };
    let (start, stop) = (times.start.to_rfc3339_nanos(), times.end.to_rfc3339_nanos());
    format!(
        "from(bucket: {})\n  \
         |> range(start: {start}, stop: {stop})\n  \
         |> filter(fn: (r) => r._field == {} and exists r.{NODE} and {of_gateway})\n  \
         |> drop(columns: [\"_start\", \"_stop\", \"_field\"])\n  \
         |> toFloat()\n",
        quoted(bucket),
        quoted(FIELD),
    )
}

/// What each table comes to, as [`Summary::add`] has it.
fn summed_up() -> String {
    format!(
        "  |> reduce(\n    \
         identity: {{count: 0, first: 0, last: 0, checksum: 0.0}},\n    \
         fn: (r, accumulator) => ({{\n      \
         count: accumulator.count + 1,\n      \
         first: if accumulator.count == 0 then int(v: r._time) else accumulator.first,\n      \
         last: int(v: r._time),\n      \
         checksum: accumulator.checksum + r._value * \
         float(v: int(v: r._time) / 1000000 % {WEIGHTS} + 1),\n    \
         }}),\n  )\n"
    )
}

/// A text as Flux has it; `${` would begin an expression in it.
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", escaped.replace("${", "\\${"))
}

async fn ask(inquiry: &Inquiry<'_>, query: &str) -> Result<Vec<u8>, QueryError> {
    let (org, _) = inquiry.client.place();
    let body = json!({
        "query": query,
        "type": "flux",
        "dialect": {"header": true, "annotations": [], "dateTimeFormat": "RFC3339Nano"},
    });
    let request = inquiry.client.request(Method::POST, "/api/v2/query");
    let request = request.query(&[("org", org)]);
    let request = request.header(ACCEPT, "application/csv");
    let request = request.header(CONTENT_TYPE, "application/json");
    inquiry.ask(request.body(body.to_string())).await
}

/// A record below its header.
struct Row<'a> {
    header: &'a StringRecord,
    record: &'a StringRecord,
}

impl Row<'_> {
    /// The column of this name; `None`: it is not there.
    fn get(&self, column: &str) -> Option<&str> {
        let at = self.header.iter().position(|name| name == column)?;
        self.record.get(at)
    }

    fn number<T: std::str::FromStr>(&self, column: &str) -> Option<T> {
        self.get(column)?.parse().ok()
    }

    fn series(&self) -> Option<Series> {
        let source = self.get(SOURCE).filter(|source| !source.is_empty());
        Some(Series {
            node: Name::new(self.get(NODE)?),
            metric: Name::new(self.get(MEASUREMENT)?),
            source: source.map(Name::new),
        })
    }
}

/// Reads the tables one after the other, each with its header. An error after the first of them comes as a
/// table of its own.
fn read(
    body: &[u8],
    mut take: impl FnMut(Series, &Row<'_>) -> Option<()>,
) -> Result<(), QueryError> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(body);
    let mut header: Option<StringRecord> = None;
    let mut record = StringRecord::new();
    while reader.read_record(&mut record).map_err(not_understood)? {
        let is_annotation = record.get(0).is_some_and(|first| first.starts_with('#'));
        let names = |name: &str| record.iter().any(|column| column == name);
        if is_annotation || record.iter().all(str::is_empty) {
            continue;
        }
        if names("table") && names(NODE) || names("error") && names("reference") {
            header = Some(record.clone());
            continue;
        }
        let header = header.as_ref().ok_or_else(|| not_understood("no table"))?;
        let record = &record;
        let row = Row { header, record };
        if let Some(words) = row.get("error") {
            return Err(QueryError::Failed(words.to_owned()));
        }
        let taken = row.series().and_then(|series| take(series, &row));
        taken.ok_or_else(|| not_understood("a column is missing"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_so_that_nothing_in_them_acts() {
        assert_eq!(quoted(r#"a"b\c${d}"#), r#""a\"b\\c\${d}""#);
    }

    #[test]
    fn every_table_is_read_by_its_header() {
        let body = "#datatype,string,long,dateTime:RFC3339,double,string,string\r\n\
            ,result,table,_time,_value,_measurement,node_id\r\n\
            ,,0,2026-03-01T12:00:00.000000001Z,27.6,temperature,\"a \"\"b\"\", c\"\r\n\r\n\
            ,result,table,_measurement,node_id,source,_value,_time\r\n\
            ,,1,rssi,signal,north,-39,2026-03-01T12:00:01Z\r\n\r\n";
        let mut seen = Vec::new();
        read(body.as_bytes(), |series, row| {
            let source = series.source.as_ref().map(Name::to_string);
            let value = row.number::<f64>("_value")?;
            let time = parse_time(row.get("_time")?)?;
            seen.push((
                series.node.to_string(),
                source,
                value.to_string(),
                time.0 % 10,
            ));
            Some(())
        })
        .unwrap();
        let north = Some("north".to_owned());
        assert_eq!(
            seen,
            [
                ("a \"b\", c".to_owned(), None, "27.6".to_owned(), 1),
                ("signal".to_owned(), north, "-39".to_owned(), 0),
            ]
        );
        read(b"\r\n", |_, _| None).unwrap();
    }

    #[test]
    fn an_error_in_the_middle_is_one() {
        let body = "error,reference\r\nFailed to parse query,897\r\n";
        let error = read(body.as_bytes(), |_, _| Some(())).unwrap_err();
        assert_eq!(
            error,
            QueryError::Failed("Failed to parse query".to_owned())
        );
        for other in ["<html>", "a,b\n1,2\n", ",result,table,node_id\n,,0,n\n"] {
            let error = read(other.as_bytes(), |_, _| Some(())).unwrap_err();
            assert!(matches!(error, QueryError::NotSpoken(_)), "{other}");
        }
    }
}
