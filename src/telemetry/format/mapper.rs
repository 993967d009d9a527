//! Makes a packet of a frame's fields, by the rules of its source.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::fields::{Fields, Unreadable, Value};
use super::{Format, NodeRule, Rules, TimeKind, TimeRule, json, line_protocol, plotter};
use crate::telemetry::catalogue::{Catalogue, NodeId};
use crate::telemetry::decoded::{Decoded, FrameTime};
use crate::telemetry::{Name, Reading, RejectReason, Timestamp};

/// Makes packets of the frames of one source.
#[derive(Debug)]
pub(in crate::telemetry) struct Mapper {
    format: Format,
    rules: Rules,
    left_out: Vec<(String, bool)>,
}

/// A frame that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::telemetry) struct Rejection {
    /// Why.
    pub(in crate::telemetry) reason: RejectReason,
    /// Where that shows in its bytes, as far as it is known.
    pub(in crate::telemetry) at: Option<usize>,
}

/// What the rules find among the fields of a frame.
#[derive(Default)]
struct Found {
    /// The parts of the node's name, in the order of the rule.
    node: Vec<Option<String>>,
    time: Option<Value>,
    counter: Option<Value>,
    rssi: Option<Value>,
    snr: Option<Value>,
    /// Of frames with one reading each.
    name: Option<Value>,
    value: Option<Value>,
    readings: Vec<(String, f64)>,
    repeats: bool,
}

impl Mapper {
    /// `None`: the format's frames are none of fields.
    pub(in crate::telemetry) fn new(format: &Format) -> Option<Self> {
        Some(Self {
            rules: format.rules()?.clone(),
            format: format.clone(),
            left_out: Vec::new(),
        })
    }

    /// The keys of values that were left out of the last frame, and whether they say that there is no
    /// value.
    pub(in crate::telemetry) fn take_left_out(&mut self) -> Vec<(String, bool)> {
        std::mem::take(&mut self.left_out)
    }

    /// Reads a frame.
    pub(in crate::telemetry) fn decode(
        &mut self,
        frame: &str,
        catalogue: &mut Catalogue,
    ) -> Result<Decoded, Rejection> {
        self.left_out.clear();
        let fields = match &self.format {
            Format::Board => return Err(Unreadable::from(RejectReason::NotTelemetry).into()),
            Format::Json(_) => json::read(frame),
            Format::Plotter(rules) => plotter::read(frame, &rules.metrics),
            Format::LineProtocol(_) => line_protocol::read(frame),
        };
        let found = self.find(fields?);
        self.packet(found, catalogue)
            .map_err(|reason| Rejection { reason, at: None })
    }

    fn find(&mut self, fields: Fields) -> Found {
        let rules = &self.rules;
        let mut found = Found::default();
        let keys: &[String] = match &rules.node {
            NodeRule::Name(_) => &[],
            NodeRule::Keys(keys) => keys,
        };
        found.node.resize(keys.len(), None);
        for (key, value) in fields {
            let is = |rule: Option<&String>| rule == Some(&key);
            let mut is_special = false;
            for (part, _) in found
                .node
                .iter_mut()
                .zip(keys)
                .filter(|(_, it)| **it == key)
            {
                is_special = true;
                found.repeats |= part.is_some();
                *part = value.name();
            }
            let places = [
                (
                    is(rules.time.as_ref().map(|time| &time.key)),
                    &mut found.time,
                ),
                (is(rules.counter.as_ref()), &mut found.counter),
                (is(rules.rssi.as_ref()), &mut found.rssi),
                (is(rules.snr.as_ref()), &mut found.snr),
                (
                    is(rules.reading.as_ref().map(|(name, _)| name)),
                    &mut found.name,
                ),
                (
                    is(rules.reading.as_ref().map(|(_, value)| value)),
                    &mut found.value,
                ),
            ];
            for (_, place) in places.into_iter().filter(|(is, _)| *is) {
                is_special = true;
                found.repeats |= place.replace(value.clone()).is_some();
            }
            let is_listed = rules.metrics.contains(&key);
            let is_wanted = is_listed || rules.metrics.is_empty() && !is_special;
            if !is_wanted || rules.reading.is_some() || rules.ignore.contains(&key) {
                continue;
            }
            match value.reading() {
                Some(number) => found.readings.push((key, number)),
                // A text among the numbers says what it is of.
                None if matches!(value, Value::Text(_) | Value::Label(_)) && !is_listed => {}
                None => self.left_out.push((key, value == Value::Absent)),
            }
        }
        found
    }

    /// The reading of a frame that has one and names it.
    fn take_named(&self, found: &mut Found) -> Result<(), RejectReason> {
        if self.rules.reading.is_some() {
            let name = found.name.as_ref().and_then(Value::name);
            let name = name.ok_or(RejectReason::NotTelemetry)?;
            let value = found.value.as_ref().and_then(Value::reading);
            let value = value.ok_or(RejectReason::NoReadings)?;
            if !self.rules.ignore.contains(&name) {
                found.readings.push((name, value));
            }
        }
        Ok(())
    }

    fn packet(
        &mut self,
        mut found: Found,
        catalogue: &mut Catalogue,
    ) -> Result<Decoded, RejectReason> {
        if found.repeats {
            return Err(RejectReason::RepeatedKey);
        }
        self.take_named(&mut found)?;
        let (node, is_known) = match &self.rules.node {
            NodeRule::Name(name) => (name.as_str().to_owned(), true),
            NodeRule::Keys(_) => {
                let parts: Vec<String> = found.node.into_iter().flatten().collect();
                (parts.join("_"), false)
            }
        };
        if node.is_empty() {
            return Err(RejectReason::NotTelemetry);
        }
        if found.readings.is_empty() {
            return Err(RejectReason::NoReadings);
        }
        let time = match (&self.rules.time, found.time) {
            (Some(rule), Some(value)) => time(rule, &value)?,
            _ => FrameTime::Arrival,
        };
        let mut packet = Packet {
            decoded: Decoded {
                time,
                board: node.as_str().into(),
                radio_count: None,
                counter: found
                    .counter
                    .and_then(|value| u64::try_from(value.integer()?).ok()),
                readings: Vec::with_capacity(found.readings.len()),
                series: Vec::with_capacity(found.readings.len()),
                nodes: Vec::new(),
                radio_count_at: None,
            },
            catalogue,
            repeats: false,
        };
        let id = packet.catalogue.own_node(&node, is_known);
        packet.decoded.nodes.extend(id);
        for (key, value) in found.readings {
            packet.take(id, (&node, &key), value);
        }
        let signal = [("rssi", found.rssi), ("snr", found.snr)];
        let signal = signal.map(|(key, value)| Some((key, value?.number()?)));
        if signal.iter().any(Option::is_some) {
            let id = packet.catalogue.signal_node();
            packet.decoded.nodes.extend(id);
            for (key, value) in signal.into_iter().flatten() {
                packet.take(id, ("signal", key), value);
            }
        }
        packet.finish()
    }
}

impl From<Unreadable> for Rejection {
    fn from(fault: Unreadable) -> Self {
        Self {
            reason: fault.reason,
            at: fault.at,
        }
    }
}

/// A packet while its readings are put in.
struct Packet<'a> {
    decoded: Decoded,
    catalogue: &'a mut Catalogue,
    repeats: bool,
}

impl Packet<'_> {
    fn finish(self) -> Result<Decoded, RejectReason> {
        if self.repeats {
            return Err(RejectReason::RepeatedKey);
        }
        Ok(self.decoded)
    }

    fn take(&mut self, node: Option<NodeId>, (node_key, key): (&str, &str), value: f64) {
        let series = node.and_then(|node| self.catalogue.series_of_key(node, key));
        let names = series.and_then(|series| self.catalogue.names(series));
        let (node, metric) = names.unwrap_or_else(|| (Name::new(node_key), Name::new(key)));
        if let Some(series) = series {
            self.repeats |= !self.catalogue.decode_series(series);
        }
        self.decoded.series.push(series);
        self.decoded.readings.push(Reading {
            node,
            metric,
            value,
        });
    }
}

/// A time in units of so many nanoseconds; a fraction of seconds is exact to a microsecond.
#[expect(
    clippy::cast_possible_truncation,
    reason = "what would be cut off is looked for before"
)]
fn fraction(number: f64, scale: i64) -> Option<Timestamp> {
    let micros = (number * scale as f64 / 1e3).round();
    let is_time = micros.abs() < i64::MAX as f64 / 1e3;
    is_time.then(|| Timestamp(micros as i64 * 1_000))
}

/// What a frame's time says; a time that is not there says nothing.
fn time(rule: &TimeRule, value: &Value) -> Result<FrameTime, RejectReason> {
    let invalid = RejectReason::InvalidTime;
    let nanos = |scale: i64| {
        if let Some(integer) = value.integer() {
            return integer.checked_mul(scale).map(Timestamp);
        }
        fraction(value.number()?, scale)
    };
    let time = match rule.kind {
        _ if *value == Value::Absent => return Ok(FrameTime::Arrival),
        TimeKind::Uptime => {
            let count = value.integer().and_then(|count| u64::try_from(count).ok());
            // A wider count goes on where the board's own would begin again.
            let count = count.ok_or(invalid)? & u64::from(u32::MAX);
            return Ok(FrameTime::Uptime(u32::try_from(count).unwrap_or(0)));
        }
        TimeKind::Rfc3339 => match value {
            Value::Text(text) | Value::Label(text) => rfc3339(text),
            _ => None,
        },
        TimeKind::Seconds => nanos(1_000_000_000),
        TimeKind::Milliseconds => nanos(1_000_000),
        TimeKind::Microseconds => nanos(1_000),
        TimeKind::Nanoseconds => value.integer().map(Timestamp),
    };
    time.map(FrameTime::Own).ok_or(invalid)
}

/// A time with its zone; a space may stand for the `T`, and the zone without its colon.
pub(super) fn rfc3339(text: &str) -> Option<Timestamp> {
    let mut text = text.trim().to_owned();
    let is_ascii = text.is_ascii() && text.len() > 19;
    if !is_ascii {
        return None;
    }
    if text.as_bytes().get(10) == Some(&b' ') {
        text.replace_range(10..11, "T");
    }
    let sign = text.len() - 5;
    if matches!(text.as_bytes().get(sign), Some(b'+' | b'-')) {
        text.insert(sign + 3, ':');
    }
    let time = OffsetDateTime::parse(&text, &Rfc3339).ok()?;
    i64::try_from(time.unix_timestamp_nanos())
        .ok()
        .map(Timestamp)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::telemetry::MetricTable;
    use crate::telemetry::catalogue::Naming;

    fn map(format: &Format, frame: &str) -> Result<Decoded, Rejection> {
        let mut table = MetricTable::default();
        format.complete(&mut table, |_| false);
        let mut catalogue = Catalogue::new(table, HashMap::new(), Naming::Own);
        catalogue.begin_frame();
        Mapper::new(format).unwrap().decode(frame, &mut catalogue)
    }

    fn shown(format: &Format, frame: &str) -> String {
        let decoded = map(format, frame).unwrap_or_else(|it| panic!("{frame}: {it:?}"));
        let readings = decoded.readings.iter();
        let readings = readings.map(|it| format!("{}/{}={}", it.node, it.metric, it.value));
        readings.collect::<Vec<_>>().join(" ")
    }

    fn json(change: impl FnOnce(&mut Rules)) -> Format {
        let mut rules = Rules::default();
        change(&mut rules);
        Format::Json(rules)
    }

    fn keys(keys: &[&str]) -> NodeRule {
        NodeRule::Keys(keys.iter().map(|key| (*key).to_owned()).collect())
    }

    #[test]
    fn numbers_and_truths_become_readings() {
        let frame =
            r#"{"temp":22.5,"hum":40,"on":true,"name":"x","air":{"p":101325},"q":"7","z":null}"#;
        assert_eq!(
            shown(&Format::Json(Rules::default()), frame),
            "board/temp=22.5 board/hum=40 board/on=1 board/air_p=101325 board/q=7"
        );
    }

    #[test]
    fn letters_of_the_board_format_are_names_like_others() {
        assert_eq!(
            shown(&json(|_| ()), r#"{"t":1,"p":45,"n1":3}"#),
            "board/t=1 board/p=45 board/n1=3"
        );
    }

    #[test]
    fn rules_say_what_is_what() {
        let format = json(|rules| {
            rules.node = keys(&["model", "id"]);
            rules.ignore = vec!["mod".to_owned()];
            rules.rssi = Some("rssi".to_owned());
            rules.snr = Some("snr".to_owned());
            rules.counter = Some("seq".to_owned());
        });
        let frame = r#"{"model":"A/c","id":7,"mod":3,"t":1,"rssi":-60.5,"snr":12,"seq":9}"#;
        assert_eq!(
            shown(&format, frame),
            "A_c_7/t=1 signal/rssi=-60.5 signal/snr=12"
        );
        assert_eq!(map(&format, frame).unwrap().counter, Some(9));
        assert_eq!(shown(&format, r#"{"id":null,"model":"A","t":1}"#), "A/t=1");
        let reason = |frame: &str| map(&format, frame).unwrap_err().reason;
        assert_eq!(reason(r#"{"t":1}"#), RejectReason::NotTelemetry);
        assert_eq!(reason(r#"{"id":1,"x":"y"}"#), RejectReason::NoReadings);
        assert_eq!(
            reason(r#"{"id":1,"a":{"b":1},"a_b":2}"#),
            RejectReason::RepeatedKey
        );
    }

    #[test]
    fn names_that_the_gateway_needs_itself_are_not_taken() {
        let format = json(|rules| rules.node = keys(&["id"]));
        for name in ["gateway", "signal", "stats"] {
            let frame = format!(r#"{{"id":"{name}","status":1}}"#);
            assert_eq!(shown(&format, &frame), format!("{name}_/status=1"));
        }
        let frame = r#"{"id":"sig","rssi":1}"#;
        assert_eq!(shown(&format, frame), "sig/rssi=1");
    }

    #[test]
    fn only_listed_metrics_are_taken() {
        let format = json(|rules| rules.metrics = vec!["temp".to_owned(), "note".to_owned()]);
        assert_eq!(
            shown(&format, r#"{"temp":"22.5","hum":40,"note":"x"}"#),
            "board/temp=22.5"
        );
    }

    fn time_of(kind: TimeKind, value: &str) -> Result<FrameTime, RejectReason> {
        let format = json(|rules| {
            let key = "at".to_owned();
            rules.time = Some(TimeRule { key, kind });
        });
        let decoded = map(&format, &format!(r#"{{"at":{value},"t":1}}"#));
        decoded.map(|it| it.time).map_err(|it| it.reason)
    }

    #[test]
    fn a_time_is_what_its_rule_says() {
        let own = |millis: i64| Ok(FrameTime::Own(Timestamp(millis * 1_000_000)));
        let invalid = Err(RejectReason::InvalidTime);
        let text = |value: &str| time_of(TimeKind::Rfc3339, value);
        assert_eq!(text("\"2023-12-21T16:00:00.5Z\""), own(1_703_174_400_500));
        assert_eq!(text("\"2023-12-21 17:00:00+0100\""), own(1_703_174_400_000));
        for wrong in ["\"2023-12-21 16:00:00\"", "1703174400", "\"é\""] {
            assert_eq!(text(wrong), invalid, "{wrong}");
        }
        let seconds = |value: &str| time_of(TimeKind::Seconds, value);
        assert_eq!(seconds("1703174400"), own(1_703_174_400_000));
        assert_eq!(seconds("1703174400.25"), own(1_703_174_400_250));
        assert_eq!(seconds("\"1703174400\""), own(1_703_174_400_000));
        assert_eq!(seconds("1e300"), invalid);
        assert_eq!(seconds("null"), Ok(FrameTime::Arrival));
        let millis = time_of(TimeKind::Milliseconds, "1703174400250");
        assert_eq!(millis, own(1_703_174_400_250));
        let uptime = |value: &str| time_of(TimeKind::Uptime, value);
        assert_eq!(uptime("12000"), Ok(FrameTime::Uptime(12_000)));
        assert_eq!(uptime("4294967300"), Ok(FrameTime::Uptime(4)));
        assert_eq!(uptime("-1"), invalid);
        assert_eq!(uptime("1.5"), invalid);
        let format = json(|rules| {
            let (key, kind) = ("other".to_owned(), TimeKind::Seconds);
            rules.time = Some(TimeRule { key, kind });
        });
        assert_eq!(map(&format, r#"{"t":1}"#).unwrap().time, FrameTime::Arrival);
    }

    #[test]
    fn each_format_has_its_node() {
        let line = "weather,station=12 temp=22.5,hum=40i 1703174400000000000";
        let of = |node: NodeRule| {
            Format::LineProtocol(Rules {
                node,
                ..Rules::default()
            })
        };
        let measurement = of(keys(&[super::super::MEASUREMENT]));
        let format = Format::LineProtocol(Rules {
            time: Some(TimeRule {
                key: super::super::TIMESTAMP.to_owned(),
                kind: TimeKind::Nanoseconds,
            }),
            ..measurement.rules().unwrap().clone()
        });
        assert_eq!(shown(&format, line), "weather/temp=22.5 weather/hum=40");
        let own = FrameTime::Own(Timestamp(1_703_174_400_000_000_000));
        assert_eq!(map(&format, line).unwrap().time, own);
        assert_eq!(shown(&of(keys(&["station"])), "w,station=12 t=1"), "12/t=1");
        let plotter = Format::Plotter(Rules {
            metrics: vec!["temp".to_owned(), "hum".to_owned()],
            ..Rules::default()
        });
        assert_eq!(shown(&plotter, "22.5\t40"), "board/temp=22.5 board/hum=40");
    }

    #[test]
    fn one_reading_a_frame_brings_its_own_name() {
        let format = json(|rules| {
            rules.reading = Some(("id".to_owned(), "value".to_owned()));
        });
        let frame = r#"{"id":"sensor-temp","value":22.5,"state":"22.5 °C","n":4}"#;
        assert_eq!(shown(&format, frame), "board/sensor-temp=22.5");
        let reason = |frame: &str| map(&format, frame).unwrap_err().reason;
        assert_eq!(reason(r#"{"value":1}"#), RejectReason::NotTelemetry);
        assert_eq!(
            reason(r#"{"id":"text-x","value":"on"}"#),
            RejectReason::NoReadings
        );
    }
}
