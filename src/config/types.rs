//! The validated configuration. Nothing here is optional that has a default: what a value of these
//! types says is what the gateway does.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use crate::telemetry::Range;

use crate::telemetry::Timestamp;

/// Everything that can be configured.
#[derive(Debug, Clone)]
pub struct Config {
    /// The gateway's name among others: top-level key `gateway`. It stands in
    /// [`Mqtt::topic_prefix`] and [`Influxdb::gateway`] already.
    pub gateway: Option<String>,
    /// `[source]`: where bytes come from.
    pub source: Source,
    /// When a recording was made: `source.starts_at`, `source.ends_at`.
    pub recorded: Recorded,
    /// `[mqtt]`; `None`: the sink is disabled.
    pub mqtt: Option<Mqtt>,
    /// `[influxdb]`; `None`: the sink is disabled.
    pub influxdb: Option<Influxdb>,
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
    /// How long a shutdown may take to deliver what is still on its way: top-level key
    /// `shutdown_timeout`.
    pub shutdown_timeout: Duration,
}

/// `[source]`: where bytes come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// A serial port.
    Serial {
        /// Which port.
        port: PortSelector,
        /// Bits per second.
        baud: u32,
    },
    /// `probe-rs run` with a debug probe.
    ProbeRs {
        /// `--probe`; `None`: the only one attached.
        probe_id: Option<String>,
        /// `--chip`.
        chip: String,
        /// The ELF file to run.
        firmware_path: PathBuf,
    },
    /// Any program; its standard output is read.
    Command {
        /// Program and arguments; never empty.
        argv: Vec<String>,
    },
    /// Standard input.
    Stdin,
    /// A recorded stream.
    File {
        /// The recording.
        path: PathBuf,
        /// How fast it is replayed.
        speed: Speed,
    },
    /// Made-up nodes.
    Simulator(Simulator),
}

/// When a recording was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Recorded {
    /// As its file says.
    #[default]
    Unsaid,
    /// Its first packet was measured then.
    StartsAt(Timestamp),
    /// Its last packet was measured then.
    EndsAt(Timestamp),
}

/// How a serial port is chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortSelector {
    /// By its path, as `/dev/ttyACM0`.
    Path(PathBuf),
    /// By USB vendor and product id, under whatever name it appears.
    UsbId {
        /// Vendor id.
        vendor: u16,
        /// Product id.
        product: u16,
    },
    /// By the USB serial number, under whatever name it appears.
    SerialNumber(String),
}

/// How fast a recording is replayed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Speed {
    /// So many times as fast as it was recorded; positive.
    Factor(f64),
    /// As fast as it can be read.
    Max,
}

/// `[source]` with `kind = "simulator"`.
#[derive(Debug, Clone, PartialEq)]
pub struct Simulator {
    /// How many nodes report.
    pub nodes: u32,
    /// Packets per second of all together.
    pub rate: f64,
    /// The same seed gives the same stream; `None`: a random one.
    pub seed: Option<u64>,
    /// The share of frames that is damaged, 0 to 1.
    pub damage: f64,
    /// Ends after so many packets; `None`: never.
    pub count: Option<u64>,
}

/// MQTT quality of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qos {
    /// 0: sent once, never acknowledged.
    AtMostOnce,
    /// 1: acknowledged by PUBACK.
    AtLeastOnce,
    /// 2: acknowledged by PUBCOMP.
    ExactlyOnce,
}

/// How a reading is written into a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    /// Its value alone.
    Plain,
    /// Value, unit and event time as a JSON object.
    Json,
}

/// Which MQTT is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Protocol level 4: MQTT 3.1.1.
    Mqtt311,
    /// Protocol level 5: MQTT 5.
    Mqtt5 {
        /// Seconds after which the broker forgets a reading that it could not pass on; `None`: it
        /// does not.
        message_expiry: Option<u32>,
    },
}

/// How the broker is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// `mqtt://`: in the clear.
    Tcp,
    /// `mqtts://`.
    Tls(Tls),
    /// `ws://`: in the clear, within HTTP.
    WebSocket {
        /// Of the URL; begins with `/`.
        path: String,
    },
    /// `wss://`.
    SecureWebSocket {
        /// Of the URL; begins with `/`.
        path: String,
        /// The encryption.
        tls: Tls,
    },
}

impl Transport {
    /// The encryption; `None`: in the clear.
    pub fn tls(&self) -> Option<&Tls> {
        match self {
            Self::Tls(tls) | Self::SecureWebSocket { tls, .. } => Some(tls),
            Self::Tcp | Self::WebSocket { .. } => None,
        }
    }
}

/// Whom an encrypted connection trusts, and who it says it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Certificates of the authorities that are trusted; `None`: those that this system trusts.
    pub ca_file: Option<PathBuf>,
    /// What the client proves who it is with.
    pub identity: Option<Identity>,
    /// The name that the certificate must be for; `None`: the host of the URL.
    pub server_name: Option<String>,
    /// Protocols offered, the most wanted first.
    pub alpn: Vec<String>,
}

/// A client certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate and those between it and the authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// `[mqtt.home_assistant]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HomeAssistant {
    /// Whether readings are announced; false: what was announced before is removed.
    pub enabled: bool,
    /// First level or levels of the topics that Home Assistant listens to.
    pub discovery_prefix: String,
    /// After so much silence a value is not known any more. In whole seconds; zero: never.
    pub expire_after: Duration,
    /// The gateway's name among others: top-level key `gateway`.
    pub gateway: Option<String>,
}

/// Whether the broker shall keep the last values of nodes, and the status, for later subscribers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retain {
    /// If it can.
    Auto,
    /// It has to.
    Always,
    /// It shall not.
    Never,
}

/// `[mqtt]`.
#[derive(Debug, Clone)]
pub struct Mqtt {
    /// Host of `broker_url` (`mqtt://host:port`).
    pub host: String,
    /// Port of `broker_url`; 1883, with TLS 8883, unless told.
    pub port: u16,
    /// Scheme and path of `broker_url`, and the keys that only an encrypted connection has.
    pub transport: Transport,
    /// What is spoken there.
    pub protocol: Protocol,
    /// MQTT client identifier.
    pub client_id: String,
    /// First level or levels of every topic; no `/` at its ends, the gateway's name filled in.
    pub topic_prefix: String,
    /// How readings are written into messages.
    pub payload: Payload,
    /// `[mqtt.home_assistant]`; `None`: Home Assistant is told nothing.
    pub home_assistant: Option<HomeAssistant>,
    /// Whether the broker shall keep last values.
    pub retain: Retain,
    /// Of every publish.
    pub qos: Qos,
    /// Seconds between pings, whole, at least one.
    pub keep_alive: Duration,
    /// Login name.
    pub username: Option<String>,
    /// Login password.
    pub password: Option<SecretString>,
    /// Publishes that may wait for their acknowledgement at once.
    pub max_inflight: u16,
}

impl Mqtt {
    /// `broker_url` with its port: `mqtts://broker:8883`.
    pub fn url(&self) -> String {
        let (scheme, path) = match &self.transport {
            Transport::Tcp => ("mqtt", ""),
            Transport::Tls(_) => ("mqtts", ""),
            Transport::WebSocket { path } => ("ws", path.as_str()),
            Transport::SecureWebSocket { path, .. } => ("wss", path.as_str()),
        };
        format!("{scheme}://{}:{}{path}", self.host, self.port)
    }

    /// The host as a name look-up and a certificate want it: an IPv6 address has its brackets in URLs
    /// alone.
    pub fn bare_host(&self) -> &str {
        self.host.trim_matches(['[', ']'])
    }
}

/// `[influxdb]`.
#[derive(Debug, Clone)]
pub struct Influxdb {
    /// The tag `gateway` of every point: top-level key `gateway`.
    pub gateway: Option<String>,
    /// `http://host:port` or `https://host:port`; validated, without a path.
    pub url: url::Url,
    /// Certificates of the authorities that are trusted; `None`: those that this system trusts.
    pub ca_file: Option<PathBuf>,
    /// Organisation.
    pub org: String,
    /// Bucket.
    pub bucket: String,
    /// API token; empty: none is sent.
    pub token: SecretString,
    /// Points that make a batch while there is no backlog.
    pub batch_size: usize,
    /// A batch is written at this age though it is not full.
    pub flush_interval: Duration,
    /// Points in one write while a backlog drains.
    pub max_batch_size: usize,
    /// Whether bodies are compressed.
    pub gzip: bool,
    /// Of one write, from the connection to the end of the answer.
    pub timeout: Duration,
}

/// Where the journal lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JournalPath {
    /// `:memory:`: lost with the process.
    Memory,
    /// A file.
    File(PathBuf),
}

/// What a commit survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// A power cut: every group commit is synced to the disk.
    Full,
    /// A crash of the process.
    Normal,
}

/// `[journal]`.
#[derive(Debug, Clone)]
pub struct Journal {
    /// Where it lives.
    pub path: JournalPath,
    /// Messages kept, delivered ones included; beyond, the oldest go.
    pub max_messages: u64,
    /// Size of the data in bytes beyond which the oldest go; `None`: only `max_messages` counts.
    pub max_bytes: Option<u64>,
    /// What a commit survives.
    pub durability: Durability,
    /// How long delivered packets stay.
    pub history: Duration,
}

/// `[telemetry]`.
#[derive(Debug, Clone, Default)]
pub struct Telemetry {
    /// `[telemetry.nodes]`: wire or default name → name to use.
    pub nodes: std::collections::BTreeMap<String, String>,
    /// `[telemetry.metrics.KEY]`: additions to and changes of the metric table.
    pub metrics: std::collections::BTreeMap<String, Metric>,
    /// How far device and gateway clock may drift apart before the anchor is set anew.
    pub clock_tolerance: Duration,
    /// How long delivery waits at a start for a clock that is synchronised.
    pub wait_for_clock: Option<Duration>,
}

/// `[telemetry.metrics.KEY]`: what is set here replaces the built-in entry of that key.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metric {
    /// Name on the way out.
    pub name: Option<String>,
    /// Unit shown.
    pub unit: Option<String>,
    /// The `sensor_type` tag.
    pub sensor_type: Option<String>,
    /// Below it the TUI raises an alarm.
    pub min: Option<f64>,
    /// Above it the TUI raises an alarm.
    pub max: Option<f64>,
    /// What its sensor can measure; a value outside is no reading.
    pub range: Option<Range>,
}

/// `[api]`.
#[derive(Debug, Clone)]
pub struct Api {
    /// Where it listens; port 0: on any free port.
    pub listen: SocketAddr,
    /// What whoever asks must know; `None`, on loopback addresses alone: everybody may ask.
    pub token: Option<SecretString>,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Where log lines go when no terminal UI runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogOutput {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// When a new log file is begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogRotation {
    /// Every hour.
    Hourly,
    /// Every day.
    Daily,
    /// Never.
    Never,
}

/// `[log]`.
#[derive(Debug, Clone)]
pub struct Log {
    /// Folder of the log files; `None`: no files.
    pub dir: Option<PathBuf>,
    /// When a new file is begun.
    pub rotation: LogRotation,
    /// How many files are kept; the oldest go first.
    pub max_files: usize,
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter as `info,fieldgate::sink=debug`.
    pub level: String,
    /// How lines are written.
    pub format: LogFormat,
    /// Where lines go when no terminal UI runs.
    pub output: LogOutput,
}

/// Which colours the terminal UI uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TuiTheme {
    /// What `COLORFGBG` says of the terminal, else dark.
    Auto,
    /// For a dark background.
    Dark,
    /// For a light background.
    Light,
}

/// Which characters the terminal UI draws with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TuiGlyphs {
    /// What `LC_ALL`, `LC_CTYPE` and `LANG` say the terminal shows.
    Auto,
    /// Lines, blocks and braille dots.
    Unicode,
    /// ASCII alone.
    Ascii,
}

/// `[tui]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tui {
    /// Which colours.
    pub theme: TuiTheme,
    /// Which characters.
    pub glyphs: TuiGlyphs,
}
