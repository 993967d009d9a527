//! Readings as line protocol: `<metric>,node_id=<node>,sensor_type=<type> value=<value> <ns>`,
//! escaped as its [specification][spec] says. A gateway with a name has a tag for it.
//!
//! [spec]: https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/

use std::fmt::Write;

use crate::journal::Row;
use crate::telemetry::{Name, Reading, ShortestValue, Timestamp};

/// The tag for the gateway.
pub(super) const GATEWAY: &str = "gateway";

/// The tag for the node.
pub(super) const NODE: &str = "node_id";

/// The tag for the source.
pub(super) const SOURCE: &str = "source";

const SENSOR_TYPE: &str = "sensor_type";

/// The field that every value is in.
pub(super) const FIELD: &str = "value";

/// What `check` writes to find out whether it may; beside the measurements, never among them.
pub const CHECK_MEASUREMENT: &str = "fieldgate_check";

/// What a point is filed under, as far as that tells readings of one gateway apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Series {
    /// The node.
    pub node: Name,
    /// The metric.
    pub metric: Name,
    /// The source, where points have a tag for it.
    pub source: Option<Name>,
}

/// How readings become lines.
#[derive(Debug, Clone, Default)]
pub struct LineFormat {
    /// As its tag has it.
    name: Option<String>,
    /// `,gateway=<name>`, or nothing.
    gateway: String,
    /// Whether a tag says which source a point comes from.
    tags_source: bool,
}

impl LineFormat {
    /// Lines of a gateway of this name; `None`: without a tag for it.
    pub fn new(gateway: Option<&str>) -> Self {
        let mut tag = String::new();
        push_tag(&mut tag, GATEWAY, gateway.unwrap_or_default());
        let name = gateway.filter(|name| !name.is_empty());
        Self {
            name: name.map(|name| name.replace(is_impossible, "_")),
            gateway: tag,
            tags_source: false,
        }
    }

    /// The same lines, with or without a tag for the source.
    #[must_use]
    pub fn with_source(self, tags_source: bool) -> Self {
        Self {
            tags_source,
            ..self
        }
    }

    /// The gateway's name, as its tag has it.
    pub fn gateway(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// What a reading of a row is filed under.
    pub fn series(&self, row: &Row, reading: &Reading) -> Series {
        Series {
            node: reading.node.clone(),
            metric: reading.metric.clone(),
            source: self.tags_source.then(|| row.source.clone()),
        }
    }

    /// Appends the line of a value of a series.
    pub fn push_value(
        &self,
        lines: &mut String,
        series: &Series,
        (time, value): (Timestamp, f64),
        sensor_type: &str,
    ) {
        let reading = Reading {
            node: series.node.clone(),
            metric: series.metric.clone(),
            value,
        };
        let source = series.source.as_ref().map(Name::as_str);
        self.write(lines, source, &reading, time, sensor_type);
    }

    /// Appends one line for each reading of a row.
    pub fn push_row<'a>(
        &self,
        lines: &mut String,
        row: &Row,
        sensor_type: impl Fn(&Name) -> &'a str,
    ) {
        for reading in &row.readings {
            self.push_reading_of(lines, row, reading, sensor_type(&reading.metric));
        }
    }

    /// Appends the line of one reading of a row.
    pub fn push_reading_of(
        &self,
        lines: &mut String,
        row: &Row,
        reading: &Reading,
        sensor_type: &str,
    ) {
        let source = self.tags_source.then(|| row.source.as_str());
        self.write(lines, source, reading, row.event_time, sensor_type);
    }

    /// Appends the line of one reading of no source, its tags sorted as the server likes them best. A tag must not
    /// be empty: an empty sensor type is left out.
    pub fn push_reading(
        &self,
        lines: &mut String,
        reading: &Reading,
        time: Timestamp,
        sensor_type: &str,
    ) {
        self.write(lines, None, reading, time, sensor_type);
    }

    fn write(
        &self,
        lines: &mut String,
        source: Option<&str>,
        reading: &Reading,
        time: Timestamp,
        sensor_type: &str,
    ) {
        push_escaped(lines, reading.metric.as_str(), is_special_in_measurement);
        lines.push_str(&self.gateway);
        push_tag(lines, NODE, reading.node.as_str());
        push_tag(lines, SENSOR_TYPE, sensor_type);
        push_tag(lines, SOURCE, source.unwrap_or_default());
        let value = ShortestValue(reading.value);
        let written = writeln!(lines, " {FIELD}={value} {}", time.0);
        debug_assert!(written.is_ok(), "writing to a String cannot fail");
    }
}

/// Appends a tag, unless it is empty.
fn push_tag(lines: &mut String, key: &str, value: &str) {
    if !value.is_empty() {
        lines.extend([",", key, "="]);
        push_escaped(lines, value, is_special_in_tag);
    }
}

/// Line protocol has no way to write a line end or a backslash before a special character, so what
/// [`Name`] replaces is replaced here too, for texts that are no names.
fn is_impossible(c: char) -> bool {
    c.is_control() || c == '\\'
}

/// Puts a backslash before each special character.
fn push_escaped(lines: &mut String, text: &str, is_special: impl Fn(char) -> bool) {
    let mut rest = text;
    while let Some(place) = rest.find(|c| is_impossible(c) || is_special(c)) {
        let (plain, behind) = rest.split_at(place);
        lines.push_str(plain);
        let mut behind = behind.chars();
        match behind.next() {
            Some(c) if is_special(c) => lines.extend(['\\', c]),
            _ => lines.push('_'),
        }
        rest = behind.as_str();
    }
    lines.push_str(rest);
}

fn is_special_in_tag(c: char) -> bool {
    matches!(c, ',' | '=' | ' ')
}

fn is_special_in_measurement(c: char) -> bool {
    matches!(c, ',' | ' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(node: &str, metric: &str, value: f64, sensor_type: &str) -> String {
        line_of(None, node, metric, value, sensor_type)
    }

    fn line_of(
        gateway: Option<&str>,
        node: &str,
        metric: &str,
        value: f64,
        sensor_type: &str,
    ) -> String {
        let reading = Reading {
            node: node.into(),
            metric: metric.into(),
            value,
        };
        let mut lines = String::new();
        let time = Timestamp(1_703_174_400_000_000_000);
        LineFormat::new(gateway).push_reading(&mut lines, &reading, time, sensor_type);
        lines
    }

    #[test]
    fn a_reading_is_one_line() {
        assert_eq!(
            line("node1", "temperature", 27.6, "environmental"),
            "temperature,node_id=node1,sensor_type=environmental value=27.6 1703174400000000000\n"
        );
        assert_eq!(
            line("signal", "rssi", -39.0, "radio"),
            "rssi,node_id=signal,sensor_type=radio value=-39 1703174400000000000\n"
        );
    }

    #[test]
    fn special_characters_are_escaped_where_they_are_special() {
        assert_eq!(
            line("a b,c=d", "x y,z=1", 1e300, "k=v, w"),
            "x\\ y\\,z=1,node_id=a\\ b\\,c\\=d,sensor_type=k\\=v\\,\\ w \
             value=1e300 1703174400000000000\n"
        );
        assert_eq!(
            line("Küche", "ppm", 0.5, "a\\\nb"),
            "ppm,node_id=Küche,sensor_type=a__b value=0.5 1703174400000000000\n"
        );
    }

    #[test]
    fn an_empty_sensor_type_is_no_tag() {
        assert_eq!(
            line("node1", "lux", 120.0, ""),
            "lux,node_id=node1 value=120 1703174400000000000\n"
        );
    }

    #[test]
    fn a_gateway_with_a_name_is_the_first_tag() {
        assert_eq!(
            line_of(Some("hall 1,b=c"), "node1", "lux", 120.0, "other"),
            "lux,gateway=hall\\ 1\\,b\\=c,node_id=node1,sensor_type=other \
             value=120 1703174400000000000\n"
        );
    }

    #[test]
    fn a_row_is_appended_in_the_order_of_its_readings() {
        let reading = |metric: &str, value| Reading {
            node: "node1".into(),
            metric: metric.into(),
            value,
        };
        let row = Row {
            sequence: 1,
            total: 2,
            source: "north".into(),
            received: Timestamp(9),
            event_time: Timestamp(-5),
            readings: vec![reading("t", 1.0), reading("h", 2.0)],
        };
        let mut lines = String::from("before\n");
        LineFormat::default().push_row(&mut lines, &row, |metric| {
            if metric.as_str() == "t" { "a" } else { "b" }
        });
        assert_eq!(
            lines,
            "before\n\
             t,node_id=node1,sensor_type=a value=1 -5\n\
             h,node_id=node1,sensor_type=b value=2 -5\n"
        );
        let mut lines = String::new();
        let format = LineFormat::default().with_source(true);
        format.push_row(&mut lines, &row, |_| "");
        assert_eq!(
            lines,
            "t,node_id=node1,source=north value=1 -5\nh,node_id=node1,source=north value=2 -5\n"
        );
    }
}
