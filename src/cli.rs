//! The command line: its flags, its help, and what they set in the configuration.

mod gateway;
mod history;
mod tools;

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand};

pub use gateway::{
    GatewayArguments, LendArguments, LinkArguments, SendArguments, StatusArguments, TailArguments,
};
pub use history::{AuditArguments, RewindArguments};
pub use tools::{
    AppearanceArguments, AttachArguments, CheckArguments, CompletionsArguments, DecodeArguments,
    DecodedAs, DemoArguments, ExportArguments, ExportFormat, ForgetArguments, InitArguments,
    JournalArguments, KeysArguments, PortsArguments, RejectedArguments, ViewArguments,
};

use crate::config::{LOG_FORMATS, Overrides, SOURCE_KINDS, TUI_THEMES};

const EXAMPLES: &str = "\
Examples:
  fieldgate demo                               see it all at work, without anything else
  fieldgate init                               write a config.toml
  fieldgate check                              try every part of it for real
  fieldgate                                    read config.toml in this folder and run
  fieldgate --source simulator --broker-url mqtt://localhost:1883
                                               try it without hardware
  fieldgate --port /dev/ttyACM0 --no-tui       a serial port, without the terminal UI
  fieldgate --file capture.ndjson --speed max  replay a recording as fast as it can be read
  cat capture.ndjson | fieldgate --source -    read standard input
  fieldgate --config /etc/fieldgate/config.toml --set mqtt.qos=2
                                               set any key of the configuration

Configuration, a later one wins: defaults, config.toml, credentials of systemd, environment
(FIELDGATE_MQTT_QOS sets mqtt.qos; secrets also MQTT_PASSWORD and INFLUXDB_TOKEN), flags.
All keys: config.toml.example.

Exit codes:
  0  ended as asked
  1  failed
  2  wrong usage or configuration; the message says where and what is allowed";

/// Brings sensor telemetry from a serial port to MQTT and InfluxDB and loses nothing on the way.
#[derive(Debug, Clone, Parser)]
#[command(name = "fieldgate", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArguments,
}

/// What fieldgate can be asked to do.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Run the gateway; so does fieldgate without a command.
    #[command(after_help = EXAMPLES)]
    Run(RunArguments),
    /// Show everything at work without hardware, services or configuration
    #[cfg(feature = "demo")]
    Demo(DemoArguments),
    /// Show a gateway that runs elsewhere, or here without a terminal, in the terminal UI
    Attach(AttachArguments),
    /// Say how the gateway is: links, queues, nodes, problems
    Status(StatusArguments),
    /// Print readings as they come
    Tail(TailArguments),
    /// Take a link down on purpose, until it is released
    Hold(LinkArguments),
    /// End a hold
    Release(LinkArguments),
    /// Send what waits for a link now
    Flush(LinkArguments),
    /// End a link's pause, or connect it anew
    Reconnect(LinkArguments),
    /// Show a journal that was copied from a gateway in the terminal UI
    View(ViewArguments),
    /// Send a text to the board or program of a running gateway
    Send(SendArguments),
    /// Run a program that needs the port of a running gateway, and give it back afterwards
    Lend(LendArguments),
    /// Try every part of the configuration for real and say what to do about what fails
    Check(CheckArguments),
    /// Show what each frame of a recording becomes, and what is rejected where
    Decode(DecodeArguments),
    /// List serial ports, each with the configuration that uses it
    Ports(PortsArguments),
    /// List the keys of the configuration: what is allowed, the default, the variable
    Keys(KeysArguments),
    /// Write a commented config.toml
    Init(InitArguments),
    /// Write the history in the journal as CSV, JSON lines or line protocol
    Export(ExportArguments),
    /// List what was set aside and what servers refused, or send it on after all
    Rejected(RejectedArguments),
    /// Compare the journal with what a database holds, and send what is missing there
    Audit(AuditArguments),
    /// Forget how far a broker or database is that is not configured any more
    Forget(ForgetArguments),
    /// Send again what was delivered, out of the history
    Rewind(RewindArguments),
    /// Write completions for a shell to standard output
    Completions(CompletionsArguments),
    /// Write the manual page to standard output
    Man,
}

impl Cli {
    /// The command that was given, or the one that is meant when none is.
    pub fn into_command(self) -> Command {
        self.command.unwrap_or(Command::Run(self.run))
    }
}

/// Flags of `run`.
#[derive(Debug, Clone, Default, Args)]
pub struct RunArguments {
    /// Configuration and terminal UI.
    #[command(flatten)]
    pub config: ConfigArguments,
    /// Run without the terminal UI and write the log to the terminal instead
    #[arg(long)]
    pub no_tui: bool,
}

/// Flags that set the configuration, for every command that needs one. Values are text here: the
/// configuration alone knows what is allowed, and reports all that is wrong at once.
#[derive(Debug, Clone, Default, Args)]
pub struct ConfigArguments {
    /// Read this file instead of config.toml
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
    /// Set any key, for example mqtt.qos=2; may be given several times
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,

    /// Where telemetry comes from; - is stdin
    #[arg(long, value_name = "KIND", value_parser = source_kinds(), help_heading = "Source")]
    source: Option<String>,
    /// Serial port by its path; means --source serial
    #[arg(
        long,
        value_name = "PATH",
        group = "serial_port",
        help_heading = "Source"
    )]
    port: Option<String>,
    /// Serial port by USB vendor and product id, for example 0483:5740; means --source serial
    #[arg(
        long,
        value_name = "ID",
        group = "serial_port",
        help_heading = "Source"
    )]
    usb_id: Option<String>,
    /// Serial port by the serial number of its USB device; means --source serial
    #[arg(
        long,
        value_name = "TEXT",
        group = "serial_port",
        help_heading = "Source"
    )]
    serial_number: Option<String>,
    /// Bits per second of the serial port [default: 115200]
    #[arg(
        long,
        value_name = "NUMBER",
        allow_hyphen_values = true,
        help_heading = "Source"
    )]
    baud: Option<String>,
    /// Recording to replay; means --source file
    #[arg(
        long,
        value_name = "PATH",
        conflicts_with = "serial_port",
        help_heading = "Source"
    )]
    file: Option<String>,
    /// Replay so many times as fast as recorded, or max [default: 1]
    #[arg(
        long,
        value_name = "FACTOR",
        allow_hyphen_values = true,
        help_heading = "Source"
    )]
    speed: Option<String>,
    /// When the first packet of the recording was measured, as 2026-03-01T12:00:00Z
    #[arg(long, value_name = "TIME", help_heading = "Source")]
    starts_at: Option<String>,
    /// When its last packet was measured [default: when the file was last written]
    #[arg(
        long,
        value_name = "TIME",
        conflicts_with = "starts_at",
        help_heading = "Source"
    )]
    ends_at: Option<String>,
    /// Nodes that the simulator makes up [default: 3]
    #[arg(
        long,
        value_name = "NUMBER",
        allow_hyphen_values = true,
        help_heading = "Source"
    )]
    nodes: Option<String>,
    /// Packets per second of the simulator [default: 1]
    #[arg(
        long,
        value_name = "NUMBER",
        allow_hyphen_values = true,
        help_heading = "Source"
    )]
    rate: Option<String>,
    /// Have the simulator produce the same stream every time
    #[arg(
        long,
        value_name = "NUMBER",
        allow_hyphen_values = true,
        help_heading = "Source"
    )]
    seed: Option<String>,
    /// End after so many packets of the simulator [default: never]
    #[arg(
        long,
        value_name = "NUMBER",
        allow_hyphen_values = true,
        help_heading = "Source"
    )]
    count: Option<String>,

    #[arg(
        long,
        value_name = "URL",
        help_heading = "Delivery",
        help = "MQTT broker, for example mqtt://localhost:1883"
    )]
    broker_url: Option<String>,
    #[arg(
        long,
        value_name = "URL",
        help_heading = "Delivery",
        help = "InfluxDB server, for example http://localhost:8086"
    )]
    influxdb_url: Option<String>,
    /// Journal file, or :memory: to keep it in memory alone
    #[arg(long, value_name = "PATH", help_heading = "Delivery")]
    journal: Option<String>,

    /// Log off, error, warn, info, debug or trace, or a filter [default: info]
    #[arg(long, value_name = "FILTER", help_heading = "Log")]
    log_level: Option<String>,
    /// Log lines for people or as JSON [default: text]
    #[arg(long, value_name = "FORMAT", value_parser = log_formats(), help_heading = "Log")]
    log_format: Option<String>,

    /// Colours of the terminal UI, for a dark or a light background [default: auto]
    #[arg(long, value_name = "THEME", value_parser = tui_themes(), help_heading = "Terminal UI")]
    theme: Option<String>,
    /// Draw the terminal UI with ASCII characters alone
    #[arg(long, help_heading = "Terminal UI")]
    ascii: bool,
}

/// Standard input by the name that every Unix tool knows.
const STDIN: &str = "-";

fn source_kinds() -> PossibleValuesParser {
    let names = SOURCE_KINDS.iter().map(|(name, _)| *name);
    PossibleValuesParser::new(names.chain([STDIN]))
}

fn tui_themes() -> PossibleValuesParser {
    PossibleValuesParser::new(TUI_THEMES.iter().map(|(name, _)| *name))
}

fn log_formats() -> PossibleValuesParser {
    PossibleValuesParser::new(LOG_FORMATS.iter().map(|(name, _)| *name))
}

impl ConfigArguments {
    /// The strongest layer of the configuration.
    pub fn overrides(&self) -> Overrides {
        let mut overrides = Overrides::default();
        overrides.file.clone_from(&self.config);
        for assignment in &self.set {
            overrides.assign(assignment);
        }
        self.override_source_kind(&mut overrides);
        if self.ascii {
            overrides.flag("--ascii", "tui.glyphs", "ascii");
        }
        let flags = [
            ("--port", "source.port", &self.port),
            ("--usb-id", "source.usb_id", &self.usb_id),
            (
                "--serial-number",
                "source.serial_number",
                &self.serial_number,
            ),
            ("--baud", "source.baud", &self.baud),
            ("--file", "source.path", &self.file),
            ("--speed", "source.speed", &self.speed),
            ("--starts-at", "source.starts_at", &self.starts_at),
            ("--ends-at", "source.ends_at", &self.ends_at),
            ("--nodes", "source.nodes", &self.nodes),
            ("--rate", "source.rate", &self.rate),
            ("--seed", "source.seed", &self.seed),
            ("--count", "source.count", &self.count),
            ("--broker-url", "mqtt.broker_url", &self.broker_url),
            ("--influxdb-url", "influxdb.url", &self.influxdb_url),
            ("--journal", "journal.path", &self.journal),
            ("--log-level", "log.level", &self.log_level),
            ("--log-format", "log.format", &self.log_format),
            ("--theme", "tui.theme", &self.theme),
        ];
        for (flag, key, value) in flags {
            if let Some(value) = value {
                overrides.flag(flag, key, value);
            }
        }
        overrides
    }

    /// The kind that is named, or else the one that a flag means.
    fn override_source_kind(&self, overrides: &mut Overrides) {
        let key = "source.kind";
        match self.source.as_deref() {
            Some(STDIN) => overrides.flag("--source", key, "stdin"),
            Some(kind) => overrides.flag("--source", key, kind),
            None if self.file.is_some() => overrides.flag("--file", key, "file"),
            None => {
                let serial = [
                    ("--port", &self.port),
                    ("--usb-id", &self.usb_id),
                    ("--serial-number", &self.serial_number),
                ];
                if let Some((flag, _)) = serial.iter().find(|(_, value)| value.is_some()) {
                    overrides.flag(flag, key, "serial");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn run_is_meant_when_no_command_is_given() {
        let flags = ["--source", "simulator", "--no-tui"];
        for before in [&["fieldgate"][..], &["fieldgate", "run"]] {
            let cli = Cli::try_parse_from(before.iter().chain(&flags)).unwrap();
            let Command::Run(run) = cli.into_command() else {
                panic!("run is what is meant");
            };
            assert!(run.no_tui);
            assert_eq!(run.config.source.as_deref(), Some("simulator"));
        }
    }

    #[test]
    fn every_flag_is_explained() {
        let mut command = Cli::command();
        command.build();
        let all = std::iter::once(&command).chain(command.get_subcommands());
        for argument in all.flat_map(clap::Command::get_arguments) {
            assert!(argument.get_help().is_some(), "{}", argument.get_id());
        }
        let help = command.render_help().to_string();
        for taught in [
            "Examples:",
            "Exit codes:",
            "config.toml.example",
            "probe-rs",
        ] {
            assert!(help.contains(taught), "{taught}");
        }
    }

    #[test]
    fn a_recording_and_a_port_exclude_each_other() {
        let flags = ["fieldgate", "--file", "a", "--port", "b"];
        let error = Cli::try_parse_from(flags).unwrap_err();
        assert_eq!(error.kind(), clap::error::ErrorKind::ArgumentConflict);
        assert_eq!(error.exit_code(), 2);
    }
}
