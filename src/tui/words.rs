//! What things are called.

use crate::monitor::{LatestValue, LinkId, LinkKind, LogLevel};

/// A link's name for people.
pub(crate) fn link_title(link: &LinkId) -> String {
    let kind = match link.kind() {
        LinkKind::Source => "the source",
        kind => kind_title(kind),
    };
    titled(kind, link)
}

/// A link's name above what is shown of it.
pub(crate) fn link_heading(link: &LinkId) -> String {
    titled(kind_title(link.kind()), link)
}

fn titled(kind: &str, link: &LinkId) -> String {
    if link.is_only() {
        kind.to_owned()
    } else {
        format!("{kind} {}", link.name())
    }
}

/// A kind of link for people.
pub(crate) fn kind_title(kind: LinkKind) -> &'static str {
    match kind {
        LinkKind::Source => "Source",
        LinkKind::Mqtt => "MQTT",
        LinkKind::Influxdb => "InfluxDB",
    }
}

/// Which lines are shown, in words.
pub(crate) fn levels(level: LogLevel) -> String {
    match level {
        LogLevel::Trace => "all levels".to_owned(),
        level => format!("{} and graver", level_word(level).trim_end()),
    }
}

/// A level's word, all equally long.
pub(crate) fn level_word(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "ERROR",
        LogLevel::Warn => "WARN ",
        LogLevel::Info => "INFO ",
        LogLevel::Debug => "DEBUG",
        LogLevel::Trace => "TRACE",
    }
}

/// The unit as it is read: a plain number has none.
pub(crate) fn unit(latest: &LatestValue) -> &str {
    match latest.unit.as_str() {
        "1" => "",
        unit => unit,
    }
}
