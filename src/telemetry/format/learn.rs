//! What a stream most likely is: which format, and which of its keys say what.

use std::collections::{BTreeMap, BTreeSet};

use super::fields::{Fields, Value};
use super::mapper::rfc3339;
use super::{Format, Preset, Rules, json, line_protocol, plotter};
use crate::telemetry::{Beginning, Decoder, Framer, Segment};

/// Frames that are looked at; more tell nothing new.
const ENOUGH: usize = 2_000;

/// Keys that name a node, the surest first.
const NODE_KEYS: [&str; 16] = [
    "node",
    "node_id",
    "nodeid",
    "nodeId",
    "device",
    "device_id",
    "deviceId",
    "dev",
    "dev_eui",
    "devEUI",
    "sensor",
    "sensor_id",
    "station",
    "name",
    "id",
    "mac",
];

/// Keys of times, and of milliseconds since boot.
const TIME_KEYS: [&str; 8] = [
    "time",
    "timestamp",
    "ts",
    "at",
    "datetime",
    "date",
    "epoch",
    "t",
];
const UPTIME_KEYS: [&str; 7] = [
    "millis",
    "uptime_ms",
    "uptime",
    "ms",
    "ts",
    "time",
    "timestamp",
];

const RSSI_KEYS: [&str; 3] = ["rssi", "RSSI", "lora_rssi"];
const SNR_KEYS: [&str; 3] = ["snr", "SNR", "lora_snr"];
const COUNTER_KEYS: [&str; 8] = [
    "seq", "cnt", "counter", "count", "fcnt", "packet", "msg_id", "seqno",
];

/// What a stream most likely is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// Its format, as the configuration names it.
    pub format: &'static str,
    /// Frames of that format in what was seen.
    pub frames: usize,
    /// The lines of `[source]` beside those that say where it comes from.
    pub lines: Vec<String>,
}

/// Looks at the beginning of a stream. `None`: nothing in it is telemetry.
pub fn learn(bytes: &[u8]) -> Option<Proposal> {
    let board = board_frames(bytes);
    let json = frames(bytes, &Format::Json(Rules::default()), |it| {
        json::read(it).ok()
    });
    let json: Vec<Fields> = json.into_iter().filter(has_numbers).collect();
    let of_lines = Format::LineProtocol(Rules::default());
    let lines = frames(bytes, &of_lines, |it| line_protocol::read(it).ok());
    let of_plotter = Format::Plotter(Rules::default());
    let labelled = frames(bytes, &of_plotter, |it| plotter::read(it, &[]).ok());
    let bare = frames(bytes, &of_plotter, plotter::bare_values);
    let most = [board, json.len(), lines.len(), labelled.len(), bare.len()];
    let most = *most.iter().max().filter(|most| **most > 0)?;
    if board > 0 && board * 2 >= most {
        return Some(proposal("board", board, Vec::new()));
    }
    if json.len() == most {
        return Some(proposal("json", most, of_json(&json)));
    }
    if lines.len() == most {
        return Some(proposal("line-protocol", most, Vec::new()));
    }
    if labelled.len() == most {
        return Some(proposal("plotter", most, Vec::new()));
    }
    let names = 1..=usual(&bare);
    let names: Vec<String> = names.map(|number| format!("\"value{number}\"")).collect();
    let metrics = format!("metrics = [{}]", names.join(", "));
    Some(proposal("plotter", most, vec![metrics]))
}

fn proposal(format: &'static str, frames: usize, mut lines: Vec<String>) -> Proposal {
    let is_said = lines.iter().any(|line| line.starts_with("preset"));
    if !is_said && format != "board" {
        lines.insert(0, format!("format = \"{format}\""));
    }
    Proposal {
        format,
        frames,
        lines,
    }
}

/// The frames of a format that can be read.
fn frames<T>(bytes: &[u8], format: &Format, read: impl Fn(&str) -> Option<T>) -> Vec<T> {
    let mut found = Vec::new();
    let mut framer = Framer::new(format, Beginning::Midway);
    let mut give = |segment: Segment<'_>| {
        if let Segment::Frame(frame) = segment
            && found.len() < ENOUGH
        {
            found.extend(read(frame));
        }
    };
    framer.push(bytes, &mut give);
    framer.end(&mut give);
    found
}

fn board_frames(bytes: &[u8]) -> usize {
    let mut decoder = Decoder::default();
    let mut count = 0;
    let mut give = |segment: Segment<'_>| {
        if let Segment::Frame(frame) = segment {
            count += usize::from(decoder.decode(frame).is_ok());
        }
    };
    let mut framer = Framer::default();
    framer.push(bytes, &mut give);
    framer.end(&mut give);
    count.min(ENOUGH)
}

fn has_numbers(fields: &Fields) -> bool {
    fields.iter().any(|(_, value)| value.reading().is_some())
}

/// The number of values that most lines have.
fn usual(counts: &[usize]) -> usize {
    let mut of = BTreeMap::new();
    for count in counts {
        *of.entry(*count).or_insert(0_usize) += 1;
    }
    let usual = of.into_iter().max_by_key(|(_, lines)| *lines);
    usual.map_or(1, |(count, _)| count)
}

/// What the keys of JSON objects say.
fn of_json(frames: &[Fields]) -> Vec<String> {
    let seen = Seen::of(frames);
    let has = |key: &str| seen.is_usual(key);
    let preset = if has("model") && (has("id") || has("channel")) && has("time") {
        Some(("rtl_433", Preset::Rtl433))
    } else if has("from") && has("sender") && has("timestamp") {
        Some(("meshtastic", Preset::Meshtastic))
    } else if has("id") && has("value") && has("state") {
        Some(("esphome", Preset::Esphome))
    } else {
        None
    };
    if let Some((name, _)) = preset {
        return vec![format!("preset = \"{name}\"")];
    }
    let mut lines = Vec::new();
    let counter = COUNTER_KEYS.into_iter().find(|key| seen.counts(key));
    let is_node = |key: &&str| has(key) && seen.names(key) && !seen.counts(key);
    if let Some(key) = NODE_KEYS.into_iter().find(is_node) {
        lines.push(format!("node.keys = [\"{key}\"]"));
    }
    let told = TIME_KEYS
        .into_iter()
        .find_map(|key| Some((key, seen.time(key)?)));
    let uptime = UPTIME_KEYS.into_iter().find(|key| seen.counts(key));
    if let Some((key, format)) = told.or(uptime.map(|key| (key, "uptime"))) {
        lines.push(format!("time.key = \"{key}\""));
        lines.push(format!("time.format = \"{format}\""));
    }
    for (rule, keys) in [("rssi", RSSI_KEYS), ("snr", SNR_KEYS)] {
        if let Some(key) = keys.into_iter().find(|key| has(key)) {
            lines.push(format!("signal.{rule} = \"{key}\""));
        }
    }
    lines.extend(counter.map(|key| format!("counter = \"{key}\"")));
    lines
}

/// The values of each key.
struct Seen<'a> {
    frames: usize,
    values: BTreeMap<&'a str, Vec<&'a Value>>,
}

impl<'a> Seen<'a> {
    fn of(frames: &'a [Fields]) -> Self {
        let mut values: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
        for (key, value) in frames.iter().flatten() {
            values.entry(key).or_default().push(value);
        }
        let frames = frames.len();
        Self { frames, values }
    }

    fn of_key(&self, key: &str) -> &[&'a Value] {
        self.values.get(key).map_or(&[], Vec::as_slice)
    }

    /// Whether most frames have it.
    fn is_usual(&self, key: &str) -> bool {
        self.of_key(key).len() * 2 > self.frames
    }

    /// Whether its values come again, as names do.
    fn names(&self, key: &str) -> bool {
        let values = self.of_key(key);
        let names: BTreeSet<String> = values.iter().filter_map(|value| value.name()).collect();
        let is_text = values
            .iter()
            .all(|value| matches!(value, Value::Text(_) | Value::Integer(_)));
        is_text && !names.is_empty() && (names.len() * 2 <= values.len() || values.len() < 4)
    }

    /// Whether its whole numbers grow from frame to frame.
    fn counts(&self, key: &str) -> bool {
        let values = self.of_key(key).iter().map(|value| match value {
            Value::Integer(integer) => Some(*integer),
            _ => None,
        });
        let Some(numbers) = values.collect::<Option<Vec<i64>>>() else {
            return false;
        };
        let steps = numbers.windows(2).filter(|pair| pair[1] > pair[0]).count();
        numbers.len() >= 3 && self.is_usual(key) && steps * 10 >= (numbers.len() - 1) * 9
    }

    /// The format of its times, if they are some.
    fn time(&self, key: &str) -> Option<&'static str> {
        let values = self.of_key(key);
        if values.is_empty() || !self.is_usual(key) {
            return None;
        }
        let all = |is: &dyn Fn(&Value) -> bool| values.iter().all(|value| is(value));
        // From 2015 to 2100.
        let years = 1_420_070_400.0..4_102_444_800.0;
        let within = |scale: f64| {
            let years = years.clone();
            move |value: &Value| {
                let number = value.number();
                number.is_some_and(|number| years.contains(&(number / scale)))
            }
        };
        let is_text = |value: &Value| match value {
            Value::Text(text) => rfc3339(text).is_some(),
            _ => false,
        };
        if all(&is_text) {
            Some("rfc3339")
        } else if all(&within(1.0)) {
            Some("seconds")
        } else if all(&within(1e3)) {
            Some("milliseconds")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(stream: &str) -> Vec<String> {
        learn(format!("\n{stream}\n").as_bytes()).unwrap().lines
    }

    #[test]
    fn formats_are_told_apart() {
        let of = |stream: &str| learn(stream.as_bytes()).map(|it| (it.format, it.frames));
        let board = include_str!("../../../tests/data/clean.ndjson");
        assert_eq!(of(board), Some(("board", 360)));
        assert_eq!(of("boot\n{\"temp\":22.5,\"hum\":40}\n"), Some(("json", 1)));
        assert_eq!(
            of("temp:22.5,hum:40\ntemp:22.5,hum:41\n"),
            Some(("plotter", 2))
        );
        assert_eq!(
            of("w,station=a t=1 17\nw,station=b t=2\n"),
            Some(("line-protocol", 2))
        );
        assert_eq!(of("Sensor ready\n"), None);
        assert_eq!(of("\u{fffd}\u{1}"), None);
    }

    #[test]
    fn keys_say_what_they_are() {
        assert_eq!(lines("{\"temp\":22.5,\"hum\":40}"), ["format = \"json\""]);
        let frame = |n: i32| {
            format!(
                r#"{{"node":"a{}","seq":{n},"millis":{},"temp":2{n}.5,"rssi":-60,"snr":9}}"#,
                n % 2,
                n * 1000
            )
        };
        let stream: Vec<String> = (1..9).map(frame).collect();
        assert_eq!(
            lines(&stream.join("\n")),
            [
                "format = \"json\"",
                "node.keys = [\"node\"]",
                "time.key = \"millis\"",
                "time.format = \"uptime\"",
                "signal.rssi = \"rssi\"",
                "signal.snr = \"snr\"",
                "counter = \"seq\"",
            ]
        );
        let frame = r#"{"t":1703174400,"temp":21}"#;
        assert_eq!(
            lines(frame)[1..],
            ["time.key = \"t\"", "time.format = \"seconds\""]
        );
        assert_eq!(
            lines("22.5 40\n22.6 41"),
            ["format = \"plotter\"", "metrics = [\"value1\", \"value2\"]",]
        );
    }

    #[test]
    fn what_is_known_is_a_preset() {
        let rtl_433 = r#"{"time":"2026-03-01 12:00:00","model":"Nexus-TH","id":184,"channel":2,"temperature_C":21.7}"#;
        assert_eq!(lines(rtl_433), ["preset = \"rtl_433\""]);
        let esphome =
            "event: state\ndata: {\"id\":\"sensor-temp\",\"value\":22.5,\"state\":\"22.5 °C\"}";
        assert_eq!(lines(esphome), ["preset = \"esphome\""]);
    }
}
