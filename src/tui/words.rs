//! What things are called.

use crate::monitor::{LatestValue, LinkId, LogLevel};

/// A link's name for people.
pub(crate) fn link_title(link: LinkId) -> &'static str {
    match link {
        LinkId::Source => "the source",
        LinkId::Mqtt => "MQTT",
        LinkId::Influxdb => "InfluxDB",
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
