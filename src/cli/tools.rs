//! Flags of the commands beside `run`.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};
use clap_complete::Shell;

use super::ConfigArguments;
use crate::config::Overrides;
use crate::journal::REFUSED;
use crate::telemetry::RejectReason;

/// Flags of `attach`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "A gateway elsewhere needs [api] listen in its configuration. Its token, if it has \
one, is taken\nfrom the variable FIELDGATE_API_TOKEN or from a file."
)]
pub struct AttachArguments {
    /// Addresses of gateways elsewhere, as <http://HOST:8787>; several are listed first; none: this machine
    #[arg(value_name = "URL")]
    pub urls: Vec<String>,
    /// Configuration of the gateway of this machine, where it is not config.toml
    #[arg(long, value_name = "PATH", conflicts_with = "urls")]
    pub config: Option<PathBuf>,
    /// File that holds the API token
    #[arg(long, value_name = "PATH")]
    pub token_file: Option<PathBuf>,
    /// How it looks.
    #[command(flatten)]
    pub appearance: AppearanceArguments,
}

/// How the terminal UI looks where there is no configuration.
#[derive(Debug, Clone, Default, Args)]
pub struct AppearanceArguments {
    /// Colours for this background: auto, dark or light
    #[arg(long, value_name = "THEME", value_parser = super::tui_themes())]
    pub theme: Option<String>,
    /// Draw with ASCII alone
    #[arg(long)]
    pub ascii: bool,
}

/// Flags of `view`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "For a journal that was copied from a gateway, with the file JOURNAL-wal if there is one: \
nothing is\nlocked or written. A gateway that runs is looked at with fieldgate attach."
)]
pub struct ViewArguments {
    /// Journal file
    #[arg(value_name = "JOURNAL")]
    pub journal: PathBuf,
    /// How it looks.
    #[command(flatten)]
    pub appearance: AppearanceArguments,
}

/// Flags of `check`.
#[derive(Debug, Clone, Default, Args)]
#[command(after_help = "Examples:
  fieldgate check                                    what config.toml says
  fieldgate check --config /etc/fieldgate/config.toml
  fieldgate check --broker-url mqtt://broker --source simulator
  fieldgate check --json | jq '.checks[] | select(.result == \"failed\")'

It sends a message to TOPIC_PREFIX/gateway/check and writes a point of fieldgate_check.

Exit codes:
  0  all holds
  1  something failed; the table says what to do
  2  wrong usage, or no configuration at all")]
pub struct CheckArguments {
    /// Configuration.
    #[command(flatten)]
    pub config: ConfigArguments,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// Flags of `keys`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "NAME in a key stands for a name that you choose. What each key means stands in the file that\n\
fieldgate init writes."
)]
pub struct KeysArguments {
    /// The beginning of the keys that are wanted, as mqtt or mqtt.qos; without it all
    #[arg(value_name = "KEY")]
    pub beginning: Option<String>,
    /// Print them as JSON
    #[arg(long)]
    pub json: bool,
}

/// Flags of `ports`.
#[derive(Debug, Clone, Default, Args)]
#[command(
    after_help = "Each [source] that it prints is ready for config.toml. A port with a USB id is best \
chosen by\nthat: its name under /dev can change when it is plugged in again."
)]
pub struct PortsArguments {
    /// Print the ports as JSON
    #[arg(long)]
    pub json: bool,
    /// Listen to a port at the usual speeds and print the configuration for what it says; without a path
    /// to the only one on USB
    #[arg(long, value_name = "PORT", num_args = 0..=1, conflicts_with = "json")]
    pub probe: Option<Option<PathBuf>>,
}

/// How decoded readings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum DecodedAs {
    /// Time, node, metric, value and unit
    #[default]
    Readings,
    /// Topics and payloads, as the broker gets them
    Topics,
    /// Line protocol, as InfluxDB gets it
    LineProtocol,
    /// One JSON object a line
    Json,
}

/// Flags of `decode`.
#[derive(Debug, Clone, Default, Args)]
#[command(after_help = "Examples:
  fieldgate decode capture.ndjson                    with the [source] of config.toml
  fieldgate decode --format json --as topics esp32.txt
  fieldgate decode --strict --preset rtl_433 - < sample.json
  fieldgate decode --learn capture.txt               the [source] for what it sees

What is rejected goes to standard error, with its line. Names need no confirmation here.

Exit codes:
  0  done
  1  failed, or with --strict something was rejected
  2  wrong usage or configuration")]
pub struct DecodeArguments {
    /// Recording; - is standard input
    #[arg(value_name = "FILE", default_value = "-")]
    pub file: PathBuf,
    /// Read this file instead of config.toml
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
    /// Set any key, for example source.node.name=kitchen; may be given several times
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// The source among several in the configuration whose format it is
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// Format of the bytes: board, json, plotter or line-protocol
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Rules for what is known: `rtl_433`, esphome or meshtastic
    #[arg(long, value_name = "PRESET")]
    preset: Option<String>,
    /// How to write readings
    #[arg(long = "as", value_name = "FORM", value_enum, default_value_t)]
    pub decoded_as: DecodedAs,
    /// End with 1 if anything is rejected
    #[arg(long)]
    pub strict: bool,
    /// Propose a [source] section for what the file holds
    #[arg(long)]
    pub learn: bool,
}

impl DecodeArguments {
    /// The configuration as far as decoding needs one: where bytes come from is no matter.
    pub fn overrides(&self) -> Overrides {
        let mut overrides = overrides_of_reader(self.config.as_ref(), &self.set);
        if let Some(format) = &self.format {
            overrides.flag("--format", "source.format", format);
        }
        if let Some(preset) = &self.preset {
            overrides.flag("--preset", "source.preset", preset);
        }
        overrides
    }
}

/// Flags of `init`.
#[derive(Debug, Clone, Default, Args)]
#[command(
    after_help = "On a terminal it asks for what no flag gives; elsewhere it takes the defaults.

Examples:
  fieldgate init
  fieldgate init --port simulator --broker-url mqtt://localhost:1883 --influxdb-url none
  fieldgate check                                    try out what was written"
)]
pub struct InitArguments {
    /// File to write
    #[arg(long, value_name = "PATH", default_value = "config.toml")]
    pub output: PathBuf,
    /// Replace the file if it exists
    #[arg(long)]
    pub force: bool,
    /// Take the defaults for what is not given instead of asking
    #[arg(long)]
    pub no_input: bool,
    /// Serial port by its path, or simulator [default: one on USB, or /dev/ttyACM0]
    #[arg(long, value_name = "PATH")]
    pub port: Option<String>,
    /// MQTT broker, or none
    // Rustdoc wants marks around addresses, and --help would show them.
    #[arg(
        long,
        value_name = "URL",
        help = "MQTT broker, or none [default: mqtt://localhost:1883]"
    )]
    pub broker_url: Option<String>,
    /// InfluxDB server, or none
    #[arg(
        long,
        value_name = "URL",
        help = "InfluxDB server, or none [default: http://localhost:8086]"
    )]
    pub influxdb_url: Option<String>,
    /// Organisation of the InfluxDB bucket [default: my-org]
    #[arg(long, value_name = "NAME")]
    pub influxdb_org: Option<String>,
    /// InfluxDB bucket [default: telemetry]
    #[arg(long, value_name = "NAME")]
    pub influxdb_bucket: Option<String>,
}

/// How readings are exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum ExportFormat {
    /// Comma-separated values with a header
    #[default]
    Csv,
    /// One JSON object a line
    Jsonl,
    /// Line protocol, as InfluxDB takes it
    Line,
}

/// Flags of `export`.
#[derive(Debug, Clone, Default, Args)]
#[command(after_help = "Examples:
  fieldgate export > history.csv
  fieldgate export --node node1 --metric temperature --from 2026-03-01T00:00:00Z -o march.csv
  fieldgate export --format line --journal /var/lib/fieldgate/journal.db | gzip > points.gz

Delivered readings stay in the journal for as long as journal.history says, 24 hours unless set.")]
pub struct ExportArguments {
    /// Which journal.
    #[command(flatten)]
    pub journal: JournalArguments,
    /// Only what was measured at this time or later, as 2026-03-01T12:00:00Z or seconds since 1970
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Only what was measured before this time
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// Only this node; may be given several times
    #[arg(long, value_name = "NAME")]
    pub node: Vec<String>,
    /// Only this metric; may be given several times
    #[arg(long, value_name = "NAME")]
    pub metric: Vec<String>,
    /// How to write it
    #[arg(long, value_enum, default_value_t)]
    pub format: ExportFormat,
    /// File to write instead of standard output
    #[arg(long, short, value_name = "PATH")]
    pub output: Option<PathBuf>,
}

/// Flags of `rejected`.
#[derive(Debug, Clone, Default, Args)]
#[command(after_help = "Examples:
  fieldgate rejected                                 all there is, the oldest first
  fieldgate rejected --reason refused --since 24h    what servers refused since yesterday
  fieldgate rejected --node node1 --json | jq .detail
  fieldgate rejected --deliver 12 17                 send these two on after all

Each line: ID, when it was rejected, the reason or the sink whose server refused, the reading or the
frame, the reason in words. It works while a gateway runs and after.

What is sent on goes the way of all readings, at its own time and to every server that is configured,
once: the running gateway takes it up within a second, or the next one at its start. A whole frame can
be sent on only if it is telemetry.

Entries stay for as long as journal.history says, 24 hours unless set; 10,000 of them and 8 MiB at the
most, of which the oldest go first.

Exit codes:
  0  done
  1  failed, or an entry cannot be sent on; the message says why
  2  wrong usage or configuration")]
pub struct RejectedArguments {
    /// Which journal.
    #[command(flatten)]
    pub journal: JournalArguments,
    /// Only what was rejected for this reason; may be given several times
    #[arg(long, value_name = "REASON", value_parser = reasons())]
    pub reason: Vec<String>,
    /// Only readings of this node; may be given several times
    #[arg(long, value_name = "NAME")]
    pub node: Vec<String>,
    /// Only what was rejected at this time or later, as 2026-03-01T12:00:00Z, seconds since 1970, or 2h
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Only what was rejected before this time
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Print JSON, an object a line
    #[arg(long)]
    pub json: bool,
    /// Send these entries on after all
    #[arg(long, value_name = "ID", num_args = 1.., conflicts_with_all = ["reason", "node", "since", "until", "json"])]
    pub deliver: Vec<i64>,
}

fn reasons() -> PossibleValuesParser {
    let of_frames = RejectReason::ALL.map(RejectReason::name);
    PossibleValuesParser::new(of_frames.into_iter().chain([REFUSED]))
}

/// Flags of `forget`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
A broker or database is known by its name. One that comes back within a month goes on where it was, as
far as the history still has that; after a month, or once it is forgotten, it is a new one. A gateway may
run meanwhile, but not with that sink.

Exit codes:
  0  done
  1  failed; the message says why
  2  wrong usage or configuration")]
pub struct ForgetArguments {
    /// Which journal.
    #[command(flatten)]
    pub journal: JournalArguments,
    /// The broker or database, as the log names it: cloud, \"mqtt cloud\", influxdb-2
    #[arg(long, value_name = "NAME")]
    pub sink: String,
}

/// Which journal is meant, and the configuration as far as that matters to who reads one.
#[derive(Debug, Clone, Default, Args)]
pub struct JournalArguments {
    /// Read this file instead of config.toml
    #[arg(long, value_name = "PATH")]
    pub config: Option<PathBuf>,
    /// Set any key, for example journal.path=/mnt/journal.db; may be given several times
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// Journal file, instead of the configured one
    #[arg(long, value_name = "PATH")]
    journal: Option<String>,
}

impl JournalArguments {
    /// The configuration as far as it matters here: where telemetry comes from does not.
    pub fn overrides(&self) -> Overrides {
        let mut overrides = overrides_of_reader(self.config.as_ref(), &self.set);
        if let Some(path) = &self.journal {
            overrides.flag("--journal", "journal.path", path);
        }
        overrides
    }
}

/// What a command sets that reads no source.
fn overrides_of_reader(config: Option<&PathBuf>, set: &[String]) -> Overrides {
    let mut overrides = Overrides::default();
    overrides.file = config.cloned();
    overrides.assign("source.kind=stdin");
    for assignment in set {
        overrides.assign(assignment);
    }
    overrides
}

/// Flags of `completions`.
#[derive(Debug, Clone, Args)]
pub struct CompletionsArguments {
    /// Shell to write the completions for
    pub shell: Shell,
}

/// Flags of `demo`.
#[derive(Debug, Clone, Args)]
pub struct DemoArguments {
    /// Run without the terminal UI and write the log to the terminal instead
    #[arg(long)]
    pub no_tui: bool,
    /// Nodes to make up
    #[arg(long, value_name = "NUMBER", default_value_t = 5)]
    pub nodes: u32,
    /// Packets per second of all of them
    #[arg(long, value_name = "NUMBER", default_value_t = 5.0)]
    pub rate: f64,
}
