//! The connections of the gateway and the states they can be in.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Stage;
use crate::telemetry::Timestamp;

/// A connection of the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkId {
    /// Where bytes come from.
    Source,
    /// To the MQTT broker.
    Mqtt,
    /// To InfluxDB.
    Influxdb,
}

impl LinkId {
    /// All links, in the order of the data path.
    pub const ALL: [Self; 3] = [Self::Source, Self::Mqtt, Self::Influxdb];

    /// The link's name in logs, metrics and commands.
    pub fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Mqtt => "mqtt",
            Self::Influxdb => "influxdb",
        }
    }

    /// The sink whose connection it is; `None`: it is a source's.
    pub fn sink(self) -> Option<SinkId> {
        SinkId::ALL.into_iter().find(|sink| sink.link() == self)
    }
}

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where readings go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SinkId {
    /// The MQTT broker.
    Mqtt,
    /// InfluxDB.
    Influxdb,
}

impl SinkId {
    /// All sinks.
    pub const ALL: [Self; 2] = [Self::Mqtt, Self::Influxdb];

    /// The sink's name in logs, metrics and the journal.
    pub fn name(self) -> &'static str {
        self.link().name()
    }

    /// The sink as a stage of the pipeline.
    pub fn stage(self) -> Stage {
        match self {
            Self::Mqtt => Stage::Mqtt,
            Self::Influxdb => Stage::Influxdb,
        }
    }

    /// The sink's connection.
    pub fn link(self) -> LinkId {
        match self {
            Self::Mqtt => LinkId::Mqtt,
            Self::Influxdb => LinkId::Influxdb,
        }
    }
}

impl fmt::Display for SinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
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
