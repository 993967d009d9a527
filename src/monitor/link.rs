//! The connections of the gateway and the states they can be in.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::config::{is_named_by_kind, link_text};
use crate::telemetry::{Name, Timestamp};

/// What kind of connection a link is. The order is that of the data path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LinkKind {
    /// Where bytes come from.
    Source,
    /// To an MQTT broker.
    Mqtt,
    /// To an InfluxDB.
    Influxdb,
}

impl LinkKind {
    /// All kinds, in the order of the data path.
    pub const ALL: [Self; 3] = [Self::Source, Self::Mqtt, Self::Influxdb];

    /// The kind's name, which is also the name of its only link when the configuration gives none.
    pub fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Mqtt => "mqtt",
            Self::Influxdb => "influxdb",
        }
    }
}

/// A connection of the gateway: its kind and its name among those of its kind.
///
/// As text, which is what logs, metrics, commands and the journal know it by, the kind stands in front
/// unless the name begins with it: `source`, `source north`, `mqtt`, `mqtt-2`, `mqtt cloud`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId {
    kind: LinkKind,
    text: Arc<str>,
}

impl LinkId {
    /// A link by its kind and name.
    pub fn new(kind: LinkKind, name: &str) -> Self {
        let text = link_text(kind.name(), name).into();
        Self { kind, text }
    }

    /// The only link of its kind, which needs no other name.
    pub fn only(kind: LinkKind) -> Self {
        Self::new(kind, kind.name())
    }

    /// The only source.
    pub fn source() -> Self {
        Self::only(LinkKind::Source)
    }

    /// The link to the only broker.
    pub fn mqtt() -> Self {
        Self::only(LinkKind::Mqtt)
    }

    /// The link to the only database.
    pub fn influxdb() -> Self {
        Self::only(LinkKind::Influxdb)
    }

    /// What kind of connection it is.
    pub fn kind(&self) -> LinkKind {
        self.kind
    }

    /// Its name alone, as the configuration gives it: `north`.
    pub fn name(&self) -> &str {
        let rest = self.text.strip_prefix(self.kind.name());
        let after_kind = rest.and_then(|rest| rest.strip_prefix(' '));
        after_kind.unwrap_or(&self.text)
    }

    /// Kind and name, as logs, metrics, commands and the journal know the link: `source north`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether its kind alone names it.
    pub fn is_only(&self) -> bool {
        *self.text == *self.kind.name()
    }

    /// The sink whose connection it is; `None`: it is a source's.
    pub fn sink(&self) -> Option<SinkId> {
        (self.kind != LinkKind::Source).then(|| SinkId(self.clone()))
    }
}

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for LinkId {
    type Err = String;

    /// Reads a link as it is written; the error is for people.
    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || {
            format!(
                "unknown link `{text}`, expected source, mqtt or influxdb, or one of them with a name \
                 behind it: `source north`"
            )
        };
        let (first, name) = text.split_once(' ').unwrap_or((text, text));
        let is_meant = |kind: &LinkKind| {
            if text.contains(' ') {
                kind.name() == first && !name.is_empty()
            } else {
                is_named_by_kind(kind.name(), name)
            }
        };
        let kind = LinkKind::ALL.into_iter().find(is_meant);
        Ok(Self::new(kind.ok_or_else(unknown)?, name))
    }
}

impl Serialize for LinkId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for LinkId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// Where readings go: a link to a broker or a database.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct SinkId(LinkId);

impl SinkId {
    /// The only broker.
    pub fn mqtt() -> Self {
        Self(LinkId::mqtt())
    }

    /// The only database.
    pub fn influxdb() -> Self {
        Self(LinkId::influxdb())
    }

    /// A broker by its name.
    pub fn broker(name: &str) -> Self {
        Self(LinkId::new(LinkKind::Mqtt, name))
    }

    /// A database by its name.
    pub fn database(name: &str) -> Self {
        Self(LinkId::new(LinkKind::Influxdb, name))
    }

    /// Kind and name, as logs, metrics and the journal know the sink: `mqtt`, `mqtt cloud`.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The sink's connection.
    pub fn link(&self) -> &LinkId {
        &self.0
    }
}

impl fmt::Display for SinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for SinkId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let link = LinkId::deserialize(from)?;
        let no_sink = || de::Error::custom(format!("{link} is no sink"));
        link.sink().ok_or_else(no_sink)
    }
}

/// The name of a source that has none of its own, for what does not say whose it is.
pub(super) fn only_source() -> Name {
    Name::new(LinkKind::Source.name())
}

/// Whether it is the name of a source that has none of its own.
pub(super) fn is_only_source(name: &Name) -> bool {
    name.as_str() == LinkKind::Source.name()
}

/// What a link is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum LinkState {
    /// Not configured.
    Disabled,
    /// An attempt is under way.
    Connecting,
    /// It works.
    Up,
    /// It failed and is tried again.
    BackingOff {
        /// When the next attempt begins.
        until: Timestamp,
        /// What went wrong, in plain words.
        reason: String,
    },
    /// Taken down on purpose until it is released.
    Held,
    /// The other side said no, and says what to do about it; tried again now and then.
    Refused {
        /// When the next attempt begins.
        until: Timestamp,
        /// What was refused and what to do.
        reason: String,
    },
    /// It came to its end: end of input, or the gateway stops.
    Ended,
}

impl LinkState {
    /// The state in one or two words, without its details.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Connecting => "connecting",
            Self::Up => "up",
            Self::BackingOff { .. } => "backing off",
            Self::Held => "held",
            Self::Refused { .. } => "refused",
            Self::Ended => "ended",
        }
    }
}

/// A link's state and how it came to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinkStatus {
    /// What it is doing.
    #[serde(flatten)]
    pub state: LinkState,
    /// Since when.
    pub since: Timestamp,
    /// What it is connected to, as `serial /dev/ttyACM0` or `mqtt://localhost:1883`.
    pub peer: String,
    /// When something was read from it last; `None`: nothing yet, or it is a sink's.
    #[serde(default)]
    pub heard: Option<Timestamp>,
    /// The program that it is lent to, and held for.
    #[serde(default)]
    pub lent_to: Option<String>,
    /// How often it came up again after the first time.
    pub reconnects: u64,
    /// The last error, in plain words; stays when the link is up again.
    pub last_error: Option<String>,
}

impl LinkStatus {
    /// A link of which nothing is known yet.
    pub(super) fn unknown(now: Timestamp) -> Self {
        Self {
            state: LinkState::Disabled,
            since: now,
            peer: String::new(),
            heard: None,
            lent_to: None,
            reconnects: 0,
            last_error: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_read_as_it_is_written() {
        for (kind, name, text) in [
            (LinkKind::Source, "source", "source"),
            (LinkKind::Source, "north", "source north"),
            (LinkKind::Source, "mqtt-2", "source mqtt-2"),
            (LinkKind::Source, "sources", "source sources"),
            (LinkKind::Mqtt, "mqtt", "mqtt"),
            (LinkKind::Mqtt, "mqtt-2", "mqtt-2"),
            (LinkKind::Influxdb, "mqtt", "influxdb mqtt"),
        ] {
            let link = LinkId::new(kind, name);
            assert_eq!((link.as_str(), link.name()), (text, name));
            assert_eq!(text.parse(), Ok(link.clone()));
            let json = serde_json::to_string(&link).unwrap();
            assert_eq!(serde_json::from_str::<LinkId>(&json).unwrap(), link);
        }
        for wrong in ["", "north", "mqtt ", "mqtt2", "Source", " mqtt"] {
            assert!(wrong.parse::<LinkId>().is_err(), "{wrong:?}");
        }
        assert!(serde_json::from_str::<SinkId>("\"source\"").is_err());
    }
}
