//! Flux, by the published API of InfluxDB 2: the queries, and the CSV that answers them.
//!
//! <https://docs.influxdata.com/influxdb/v2/api/#operation/PostQuery>,
//! <https://docs.influxdata.com/influxdb/v2/reference/syntax/annotated-csv/>

use std::ops::Range;

use csv::StringRecord;
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use serde_json::json;

use super::{Inquiry, Point, QueryError, not_understood};
use crate::config::parse_time;
use crate::sink::influx::line::{FIELD, GATEWAY, NODE, SOURCE, Series};
use crate::telemetry::{Name, Timestamp};

/// Where the measurement stands.
const MEASUREMENT: &str = "_measurement";

/// Where the value stands.
const VALUE: &str = "_value";

/// What the types of columns stand behind.
const TYPES: &str = "#datatype";

/// A float, as annotations have it.
const DOUBLE: &str = "double";

pub(super) async fn points(
    inquiry: &Inquiry<'_>,
    times: &Range<Timestamp>,
) -> Result<Vec<Point>, QueryError> {
    read(&ask(inquiry, &select(inquiry, times)).await?)
}

/// The points of a stretch. Sums that the server makes of them, by `reduce`, take it twenty times as long
/// as the points themselves, and do not tell every difference.
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
         |> drop(columns: [\"_start\", \"_stop\", \"_field\"])\n",
        quoted(bucket),
        quoted(FIELD),
    )
}

/// What a refusal says that is no matter of the language: another one would get another answer out of the
/// same server, on another bucket perhaps.
pub(super) fn misplaced(inquiry: &Inquiry<'_>, words: &str) -> Option<String> {
    let (org, bucket) = inquiry.client.place();
    // The second is of version 1, which has no buckets.
    let lacks_bucket = ["could not find bucket", "no database"];
    if lacks_bucket.iter().any(|lack| words.contains(lack)) {
        return Some(format!(
            "bucket {bucket:?} not found, or the token may not read it"
        ));
    }
    let lacks_org = words.contains("organization name") && words.contains("not found");
    lacks_org.then(|| format!("org {org:?} not found"))
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
        "dialect": {"header": true, "annotations": ["datatype"], "dateTimeFormat": "RFC3339Nano"},
    });
    let request = inquiry.client.request(Method::POST, "/api/v2/query");
    let request = request.query(&[("org", org)]);
    let request = request.header(ACCEPT, "application/csv");
    let request = request.header(CONTENT_TYPE, "application/json");
    inquiry.ask(request.body(body.to_string())).await
}

/// A record below its header.
struct Row<'a> {
    /// What stands in each column, where the server says it.
    types: Option<&'a StringRecord>,
    header: &'a StringRecord,
    record: &'a StringRecord,
}

impl Row<'_> {
    fn place(&self, column: &str) -> Option<usize> {
        self.header.iter().position(|name| name == column)
    }

    /// The column of this name; `None`: it is not there.
    fn get(&self, column: &str) -> Option<&str> {
        self.record.get(self.place(column)?)
    }

    /// Whether its value may be one of a gateway, which writes nothing but floats: who else writes to the
    /// bucket may have fields of this name with texts in them.
    fn is_float(&self) -> bool {
        let place = self.place(VALUE);
        let kind = self.types.zip(place).and_then(|(types, at)| types.get(at));
        kind.is_none_or(|kind| kind == DOUBLE)
    }

    fn point(&self) -> Option<Point> {
        let source = self.get(SOURCE).filter(|source| !source.is_empty());
        Some(Point {
            series: Series {
                node: Name::new(self.get(NODE)?),
                metric: Name::new(self.get(MEASUREMENT)?),
                source: source.map(Name::new),
            },
            time: parse_time(self.get("_time")?)?,
            value: self.get(VALUE)?.parse().ok()?,
        })
    }
}

/// Reads the tables one after the other, each with its header. An error after the first of them comes as a
/// table of its own.
fn read(body: &[u8]) -> Result<Vec<Point>, QueryError> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(body);
    let (mut types, mut header) = (None, None);
    let mut record = StringRecord::new();
    let mut points = Vec::new();
    while reader.read_record(&mut record).map_err(not_understood)? {
        let names = |name: &str| record.iter().any(|column| column == name);
        match record.get(0) {
            Some(TYPES) => types = Some(record.clone()),
            Some(first) if first.starts_with('#') => {}
            _ if record.iter().all(str::is_empty) => {}
            _ if names("table") && names(NODE) || names("error") && names("reference") => {
                header = Some(record.clone());
            }
            _ => {
                let header = header.as_ref().ok_or_else(|| not_understood("no table"))?;
                let row = Row {
                    types: types.as_ref(),
                    header,
                    record: &record,
                };
                if let Some(words) = row.get("error") {
                    return Err(QueryError::Failed(words.to_owned()));
                }
                if row.is_float() {
                    let point = row.point();
                    points.push(point.ok_or_else(|| not_understood("a column is missing"))?);
                }
            }
        }
    }
    Ok(points)
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
            #datatype,string,long,string,string,string,double,dateTime:RFC3339\r\n\
            ,result,table,_measurement,node_id,source,_value,_time\r\n\
            ,,1,rssi,signal,north,-39,2026-03-01T12:00:01Z\r\n\r\n";
        let points = read(body.as_bytes()).unwrap();
        let seen: Vec<_> = points
            .iter()
            .map(|it| (it.series.node.as_str(), it.series.source.as_ref()))
            .collect();
        let north = Name::from("north");
        assert_eq!(seen, [("a \"b\", c", None), ("signal", Some(&north))]);
        let values: Vec<_> = points
            .iter()
            .map(|point| (point.value, point.time.0 % 10))
            .collect();
        assert_eq!(values, [(27.6, 1), (-39.0, 0)]);
        assert_eq!(read(b"\r\n").unwrap(), []);
    }

    #[test]
    fn what_is_no_float_is_none_of_a_gateway() {
        // As InfluxDB 2.7.12 answers, each type with its own header.
        let of = |kind: &str, value: &str| {
            format!(
                "#datatype,string,long,dateTime:RFC3339,{kind},string,string\r\n\
                 ,result,table,_time,_value,_measurement,node_id\r\n\
                 ,_result,0,2026-11-27T03:34:22.4Z,{value},door,front\r\n\r\n"
            )
        };
        let body = [
            of("string", "open"),
            of("string", "21"),
            of("boolean", "true"),
            of("long", "5"),
            of("unsignedLong", "5"),
            of("double", "-0"),
        ];
        let points = read(body.concat().as_bytes()).unwrap();
        assert_eq!(points.len(), 1);
        assert_eq!(points[0].value.to_bits(), (-0.0_f64).to_bits());
    }

    #[test]
    fn an_error_in_the_middle_is_one() {
        for body in [
            "error,reference\r\nFailed to parse query,897\r\n",
            "\r\n#datatype,string,string\r\n,error,reference\r\n,Failed to parse query,\r\n",
        ] {
            let error = read(body.as_bytes()).unwrap_err();
            let failed = QueryError::Failed("Failed to parse query".to_owned());
            assert_eq!(error, failed);
        }
        for other in ["<html>", "a,b\n1,2\n", ",result,table,node_id\n,,0,n\n"] {
            let error = read(other.as_bytes()).unwrap_err();
            assert!(matches!(error, QueryError::NotSpoken(_)), "{other}");
        }
    }
}
