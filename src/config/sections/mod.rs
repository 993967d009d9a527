//! The sections, a file each: its type, the keys that are read with their defaults and kinds, and its line
//! in the log. Here are the top level and what joins them.
//!
//! Nothing in these types is optional that has a default: what a value of them says is what the gateway
//! does.

mod api;
mod attach;
mod influxdb;
mod journal;
mod log;
mod mqtt;
mod sink;
mod source;
mod telemetry;
mod tui;

use std::fmt::Debug;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

pub use api::Api;
pub use attach::Attach;
pub use influxdb::Influxdb;
pub use journal::{Durability, Journal, JournalPath};
pub use log::{LOG_FORMATS, Log, LogFormat, LogOutput, LogRotation};
pub use mqtt::{
    Broker, HomeAssistant, Identity, Late, Mqtt, Payload, Protocol, Qos, Retain, Tls, Transport,
};
pub use sink::{Begin, Sink, is_named_by_kind, link_text};
pub use source::{
    ControlLine, DataBits, FlowControl, LineEnding, NamedSource, Parity, Port, PortSelector,
    Recorded, Reset, SOURCE_KINDS, SOURCE_PLACEHOLDER, Simulator, Source, SourceKind, Speed,
    StopBits,
};
pub use telemetry::{Metric, Node, Telemetry};
pub use tui::{TUI_THEMES, Tui, TuiGlyphs, TuiTheme};

use super::kind::{HOUR, Kind, OrRefuse, duration};
use super::section::Section;
use crate::telemetry::{Decoder, Format, MetricTable, Name, is_safe};

/// Everything that can be configured.
#[derive(Debug, Clone)]
pub struct Config {
    /// The gateway's name among others: top-level key `gateway`. It stands in
    /// [`Mqtt::topic_prefix`] and [`Influxdb::gateway`] already.
    pub gateway: Option<String>,
    /// `[source]`, or each `[[source]]`: where bytes come from; never empty.
    pub sources: Vec<NamedSource>,
    /// `[mqtt]`, or each `[[mqtt]]`.
    pub mqtt: Vec<Mqtt>,
    /// `[influxdb]`, or each `[[influxdb]]`.
    pub influxdb: Vec<Influxdb>,
    /// `[journal]`.
    pub journal: Journal,
    /// `[telemetry]`.
    pub telemetry: Telemetry,
    /// `[api]`; `None`: there is no HTTP API.
    pub api: Option<Api>,
    /// `[log]`.
    pub log: Log,
    /// `[tui]`.
    pub tui: Tui,
    /// `[attach]`, which matters to `fieldgate attach` alone.
    pub attach: Attach,
    /// How long a shutdown may take to deliver what is still on its way: top-level key
    /// `shutdown_timeout`.
    pub shutdown_timeout: Duration,
}

/// Sections of which there may be several, and whose name alone means the first: by flags, environment
/// variables and credentials.
pub(super) const LED_BY_FIRST: [&str; 2] = ["mqtt", "influxdb"];

/// Reads everything; `None` when something that cannot do without is missing or wrong.
pub(super) fn read(root: &mut Section<'_, '_>) -> Option<Config> {
    let shutdown_timeout = root.or("shutdown_timeout", "5s", &duration(Duration::ZERO..=HOUR));
    let gateway = root.optional("gateway", &gateway_name());
    // A wrong one has been reported. It must not be missed as well.
    let name = match &gateway {
        None if root.has_error("gateway") => Some("gateway"),
        name => name.as_deref(),
    };
    let sources = source::read_all(root);
    let mqtt = mqtt::read_all(root, name, sources.as_deref());
    let read_database = |section: &mut Section<'_, '_>, sink| influxdb::read(section, name, sink);
    let influxdb = sink::read_all(root, "influxdb", read_database);
    let journal = root.section("journal", journal::read);
    let telemetry = root.section("telemetry", |section| {
        telemetry::read(section, sources.as_deref())
    });
    let api = root.section("api", api::read);
    let log = root.section("log", log::read);
    let tui = root.section("tui", tui::read);
    let attach = root.section("attach", attach::read);
    Some(Config {
        gateway,
        sources: sources?,
        mqtt,
        influxdb,
        journal: journal?,
        telemetry: telemetry?,
        api,
        log: log?,
        tui: tui?,
        attach: attach?,
        shutdown_timeout: shutdown_timeout?,
    })
}

/// Reads `[attach]` alone, and what else may be there.
pub(super) fn read_attach(root: &mut Section<'_, '_>) -> Option<Attach> {
    let attach = root.section("attach", attach::read);
    let _beside = read(root);
    attach
}

/// The name of a gateway among others: one level of a topic.
fn gateway_name() -> Kind<String> {
    let allowed = format!(
        "1 to {} bytes of text without /, +, #, \\, control characters and noncharacters, no $ in front",
        Name::MAX_CHARS
    );
    Kind::of_text(allowed, |text| {
        let fits = is_safe(text) && !text.starts_with('$');
        fits.then(|| text.to_owned()).ok_or_default()
    })
}

impl Config {
    /// What is known of metrics: built in, by the formats, and configured.
    pub fn metric_table(&self) -> MetricTable {
        let mut table = self.telemetry.metric_table();
        let rules = self.sources.iter().filter_map(|it| it.format.rules());
        for (_, info) in rules.flat_map(|rules| &rules.known) {
            table.describe(info);
        }
        table
    }

    /// A source by its name; without one the first.
    pub fn source(&self, name: Option<&str>) -> Option<&NamedSource> {
        let is_meant = |source: &&NamedSource| name.is_none_or(|name| source.name == name);
        self.sources.iter().find(is_meant)
    }

    /// What turns frames of a source into readings under the configured names; without such a source,
    /// frames of the first.
    pub fn decoder(&self, source: Option<&str>) -> Decoder {
        let source = self.source(source).or_else(|| self.source(None));
        let format = source.map(|source| &source.format);
        self.telemetry.decoder(format.unwrap_or(&Format::Board))
    }

    /// One line per section, without secrets: `mqtt: mqtt://localhost:1883, …`. The gateway's name is
    /// the first, if it has one.
    pub fn summary(&self) -> Vec<String> {
        let disabled = || "disabled".to_owned();
        let gateway = self.gateway.iter().map(|name| format!("gateway: {name}"));
        let sources = self.sources.iter().map(NamedSource::summary);
        let brokers = self.mqtt.iter().map(Mqtt::summary);
        let databases = self.influxdb.iter().map(Influxdb::summary);
        let no_broker = self
            .mqtt
            .is_empty()
            .then(|| format!("mqtt: {}", disabled()));
        let no_database = self
            .influxdb
            .is_empty()
            .then(|| format!("influxdb: {}", disabled()));
        let sinks = brokers.chain(no_broker).chain(databases).chain(no_database);
        let sections = [
            format!("journal: {}", self.journal.summary()),
            format!("telemetry: {}", self.telemetry.summary()),
            format!(
                "api: {}",
                self.api.as_ref().map_or_else(disabled, Api::summary)
            ),
            format!("log: {}", self.log.summary()),
            format!(
                "shutdown: within {}",
                humantime::format_duration(self.shutdown_timeout)
            ),
        ];
        gateway
            .chain(sources)
            .chain(sinks)
            .chain(sections)
            .collect()
    }

    /// The sections that differ, by their names; top-level keys by their own. Those of sinks are not among
    /// them: each sink is compared by itself, with the name of the gateway as far as that reaches it.
    pub fn changes(&self, other: &Self) -> Vec<&'static str> {
        let sections = [
            ("source", self.sources != other.sources),
            ("journal", differs(&self.journal, &other.journal)),
            ("telemetry", differs(&self.telemetry, &other.telemetry)),
            (
                "api",
                part_differs(self.api.as_ref(), other.api.as_ref(), Api::secret),
            ),
            ("log", differs(&self.log, &other.log)),
            ("tui", differs(&self.tui, &other.tui)),
            (
                "shutdown_timeout",
                self.shutdown_timeout != other.shutdown_timeout,
            ),
        ];
        let changed = sections.into_iter().filter(|(_, differs)| *differs);
        changed.map(|(name, _)| name).collect()
    }
}

fn differs<T: Debug>(one: &T, other: &T) -> bool {
    format!("{one:?}") != format!("{other:?}")
}

/// Settings are compared by what they print, and their secrets, which print alike, by themselves.
impl PartialEq for Mqtt {
    fn eq(&self, other: &Self) -> bool {
        !part_differs(Some(self), Some(other), Self::secret)
    }
}

/// As of a broker.
impl PartialEq for Influxdb {
    fn eq(&self, other: &Self) -> bool {
        !part_differs(Some(self), Some(other), |it| Some(it.secret()))
    }
}

/// Secrets print alike, whatever they are.
fn part_differs<T: Debug>(
    one: Option<&T>,
    other: Option<&T>,
    secret: fn(&T) -> Option<&SecretString>,
) -> bool {
    let exposed = |part: Option<&T>| Some(part.and_then(secret)?.expose_secret().to_owned());
    differs(&one, &other) || exposed(one) != exposed(other)
}
