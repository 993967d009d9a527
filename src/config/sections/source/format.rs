//! How the bytes of a source become packets: `source.format` and its keys, which are known whatever
//! format is chosen.

use crate::config::kind::{Kind, OrRefuse, one_of, text, texts_of};
use crate::config::section::Section;
use crate::config::setting::Value;
use crate::telemetry::{
    Format, MEASUREMENT, Name, NodeRule, PRESETS, Rules, TIMESTAMP, TimeKind, TimeRule, is_safe,
};

/// What a format is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FormatName {
    Board,
    Json,
    Plotter,
    LineProtocol,
}

const FORMATS: [(&str, FormatName); 4] = [
    ("board", FormatName::Board),
    ("json", FormatName::Json),
    ("plotter", FormatName::Plotter),
    ("line-protocol", FormatName::LineProtocol),
];

const TIME_KINDS: [(&str, TimeKind); 6] = [
    ("rfc3339", TimeKind::Rfc3339),
    ("seconds", TimeKind::Seconds),
    ("milliseconds", TimeKind::Milliseconds),
    ("microseconds", TimeKind::Microseconds),
    ("nanoseconds", TimeKind::Nanoseconds),
    ("uptime", TimeKind::Uptime),
];

/// Names of nodes that the gateway needs itself.
const TAKEN: [&str; 3] = ["gateway", "signal", "stats"];

/// What is set, before it is known for which format.
struct Set {
    node: Option<NodeRule>,
    time_key: Option<String>,
    time_kind: Option<TimeKind>,
    metrics: Option<Vec<String>>,
    ignore: Option<Vec<String>>,
    rssi: Option<String>,
    snr: Option<String>,
    counter: Option<String>,
}

/// Reads the keys of the format.
pub(super) fn read(section: &mut Section<'_, '_>) -> Option<Format> {
    let format = section.optional("format", &one_of(&FORMATS));
    let preset = section.optional("preset", &one_of(&PRESETS));
    let node = section.section("node", |node| Some(read_node(node)));
    let time = section.section("time", |time| Some(read_time(time)));
    let metrics = section.optional("metrics", &keys());
    let ignore = section.optional("ignore", &keys());
    let signal = section.section("signal", |signal| {
        let rssi = signal.optional("rssi", &text());
        Some((rssi, signal.optional("snr", &text())))
    });
    let counter = section.optional("counter", &text());
    let (time_key, time_kind) = time?;
    let (rssi, snr) = signal?;
    let set = Set {
        node: node?,
        time_key,
        time_kind,
        metrics,
        ignore,
        rssi,
        snr,
        counter,
    };
    if preset.is_some() && !matches!(format, None | Some(FormatName::Json)) {
        section.refuse(
            "preset",
            "is for format = \"json\"",
            "no other format beside it".to_owned(),
        );
    }
    let rules = preset.map(crate::telemetry::Preset::rules);
    match format {
        None | Some(FormatName::Board) if rules.is_none() => Some(Format::Board),
        Some(FormatName::Plotter) => Some(Format::Plotter(set.over(Rules::default())?)),
        Some(FormatName::LineProtocol) => Some(Format::LineProtocol(set.over(of_lines())?)),
        _ => Some(Format::Json(set.over(rules.unwrap_or_default())?)),
    }
}

/// What line protocol says without any keys.
fn of_lines() -> Rules {
    Rules {
        node: NodeRule::Keys(vec![MEASUREMENT.to_owned()]),
        time: Some(TimeRule {
            key: TIMESTAMP.to_owned(),
            kind: TimeKind::Nanoseconds,
        }),
        ..Rules::default()
    }
}

fn read_node(section: &mut Section<'_, '_>) -> Option<NodeRule> {
    let described = format!("{:?}", NodeRule::DEFAULT_NAME);
    let name = section.or_described("name", None, &described, &node_name());
    let keys = section.optional("keys", &keys());
    if let (Some(_), Some(_)) = (&name, &keys)
        && section.layer("name") == section.layer("keys")
    {
        let problem = "stands beside source.node.name";
        let allowed = "one of source.node.name and source.node.keys";
        section.refuse("keys", problem, allowed.into());
    }
    let is_name = section.layer("name") > section.layer("keys");
    let name = name.map(|name| NodeRule::Name(Name::new(&name)));
    let keys = keys.map(NodeRule::Keys);
    if is_name { name } else { keys.or(name) }
}

fn read_time(section: &mut Section<'_, '_>) -> (Option<String>, Option<TimeKind>) {
    let key = section.optional("key", &text());
    let kind = section.optional("format", &one_of(&TIME_KINDS));
    if key.is_some() {
        section.require("format", kind, None);
    }
    (key, kind)
}

impl Set {
    /// What is set, and else what the format or the preset says.
    fn over(self, rules: Rules) -> Option<Rules> {
        let time = match (self.time_key, self.time_kind, rules.time) {
            (Some(key), kind, _) => Some(TimeRule { key, kind: kind? }),
            (None, Some(kind), Some(time)) => Some(TimeRule { kind, ..time }),
            (None, _, time) => time,
        };
        let ignore = self.ignore.into_iter().flatten().chain(rules.ignore);
        Some(Rules {
            node: self.node.unwrap_or(rules.node),
            time,
            metrics: self.metrics.unwrap_or(rules.metrics),
            ignore: ignore.collect(),
            rssi: self.rssi.or(rules.rssi),
            snr: self.snr.or(rules.snr),
            counter: self.counter.or(rules.counter),
            reading: rules.reading,
            known: rules.known,
        })
    }
}

/// Keys of the wire, those of inner objects joined by `_`.
fn keys() -> Kind<Vec<String>> {
    Kind::new("a key, or a list of keys: [\"model\", \"id\"]", |value| {
        let keys = match value {
            Value::Text(key) => vec![key.clone()],
            Value::Untyped(key) if !key.trim_start().starts_with('[') => vec![key.clone()],
            value => texts_of(value)?,
        };
        let fits = !keys.is_empty()
            && keys
                .iter()
                .all(|key| !key.is_empty() && !key.contains(char::is_control));
        fits.then_some(keys).ok_or_default()
    })
}

/// The name of a node.
fn node_name() -> Kind<String> {
    let allowed = format!(
        "1 to {} bytes of text without /, +, #, \\, control characters and noncharacters",
        Name::MAX_CHARS
    );
    Kind::of_text(allowed, |text| {
        if TAKEN.contains(&text) {
            return Err("gateway, signal and stats are taken by the gateway itself".into());
        }
        is_safe(text).then(|| text.to_owned()).ok_or_default()
    })
}
