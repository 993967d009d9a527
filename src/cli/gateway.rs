//! Flags of the commands that ask something of a gateway that runs.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

/// Where the gateway is, and what it wants to know of whoever asks.
#[derive(Debug, Clone, Args)]
pub struct GatewayArguments {
    /// Address of the HTTP API of a gateway elsewhere; without it, the one of this machine
    #[arg(long, value_name = "URL")]
    pub gateway: Option<String>,
    /// Configuration of the gateway of this machine, where it is not config.toml
    #[arg(long, value_name = "PATH", conflicts_with = "gateway")]
    pub config: Option<PathBuf>,
    /// Where the API token is.
    #[arg(
        long,
        value_name = "PATH",
        help = "File that holds the API token, instead of FIELDGATE_API_TOKEN"
    )]
    pub token_file: Option<PathBuf>,
}

/// Flags of `send`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  fieldgate send status
  fieldgate send --source north 'led on'

The text goes to the serial port, or to the standard input of the program, with source.line_ending
behind it. A gateway elsewhere needs [api] listen, and api.token or api.allow_send = true.

Exit codes:
  0  the text was taken
  1  it was not, or only in part; the message says why")]
pub struct SendArguments {
    /// Text to send
    #[arg(allow_hyphen_values = true)]
    pub text: String,
    /// Source to send it to, where there are several
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// Which gateway.
    #[command(flatten)]
    pub gateway: GatewayArguments,
}

/// Flags of `status`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Exit codes:
  0  all is well
  1  there are problems
  3  no gateway answers")]
pub struct StatusArguments {
    /// Write JSON for programs
    #[arg(long)]
    pub json: bool,
    /// Which gateway.
    #[command(flatten)]
    pub gateway: GatewayArguments,
}

/// Flags of `tail`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  fieldgate tail                     every reading
  fieldgate tail node1               those of a node
  fieldgate tail node1/temperature   those of a metric of it")]
pub struct TailArguments {
    /// Show this node or metric alone
    #[arg(value_name = "NODE[/METRIC]")]
    pub filter: Option<String>,
    /// Which gateway.
    #[command(flatten)]
    pub gateway: GatewayArguments,
}

/// Flags of `hold`, `release`, `flush` and `reconnect`.
#[derive(Debug, Clone, Args)]
pub struct LinkArguments {
    /// Link as status shows it: source, mqtt, influxdb, or one of them with its name
    #[arg(value_name = "LINK")]
    pub link: String,
    /// Which gateway.
    #[command(flatten)]
    pub gateway: GatewayArguments,
}

/// Flags of `lend`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  fieldgate lend -- probe-rs download --chip STM32F446RETx firmware.elf
  fieldgate lend --source north -- esptool --port /dev/ttyUSB0 write_flash 0x0 firmware.bin
  fieldgate lend -- picocom -b 115200 /dev/ttyACM0

The gateway closes the port or ends its program, and takes it back when PROGRAM ends, however that or
this command ends. Other sources go on, and what is in the journal is delivered meanwhile. A gateway
elsewhere needs [api] listen.

The exit code is that of PROGRAM, 128 and the signal's number if a signal ended it.")]
pub struct LendArguments {
    /// Source to lend, where there are several
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// Which gateway.
    #[command(flatten)]
    pub gateway: GatewayArguments,
    /// Program to run meanwhile, with its arguments
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    pub program: Vec<OsString>,
}
