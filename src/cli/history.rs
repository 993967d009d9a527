//! Flags of the commands that are about what was delivered.

use std::path::PathBuf;

use clap::Args;

use super::JournalArguments;

/// Flags of `rewind`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  fieldgate rewind influxdb --to 2h                      a database that lost the last two hours
  fieldgate rewind influxdb --to 2026-03-01T12:00:00Z
  fieldgate rewind 'influxdb cloud' --to oldest          a database that was set up anew

What was received or measured since then goes out again, in its order and by the sink's ordinary way;
the history reaches as far as journal.history says. A database is not changed by a point that it has.
Subscribers of MQTT get all of it once more, and topics show old values until it has caught up, unless
mqtt.late says otherwise. What is new waits behind that, for this sink alone.

With a gateway that runs, Ctrl+C ends the watching alone. Without one, it is sent when it starts.

Exit codes:
  0  done
  1  failed; the message says why
  2  wrong usage or configuration")]
pub struct RewindArguments {
    /// Sink as status shows it: mqtt, influxdb, or one of them with its name
    #[arg(value_name = "SINK")]
    pub sink: String,
    /// From when on, as 2026-03-01T12:00:00Z, as seconds since 1970, as 2h for two hours ago, or oldest
    #[arg(long, value_name = "TIME")]
    pub to: String,
    /// Do not wait until it is sent
    #[arg(long)]
    pub no_wait: bool,
    /// Address of the HTTP API of a gateway elsewhere; without it, the one of this machine
    #[arg(long, value_name = "URL", conflicts_with_all = ["config", "set", "journal"])]
    pub gateway: Option<String>,
    /// Where the API token is.
    #[arg(
        long,
        value_name = "PATH",
        help = "File that holds the API token, instead of FIELDGATE_API_TOKEN"
    )]
    pub token_file: Option<PathBuf>,
    /// Which journal.
    #[command(flatten)]
    pub journal: JournalArguments,
}

/// Flags of `audit`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  fieldgate audit influxdb
  fieldgate audit influxdb --since 2026-03-01T12:00:00Z --json
  fieldgate audit influxdb --repair

Every reading in the journal is looked for in the database: hour by hour, node by node, metric by metric.
It asks in Flux (InfluxDB 2), InfluxQL (1 and 3) or by the export of VictoriaMetrics, with the sink's
token, which has to be allowed to read. It works while a gateway runs and after. What is still to be
delivered is waiting and not missing, and what the server refused for good is rejected.

Exit codes:
  0  nothing is missing, or not any more
  1  something is missing, or there with another value
  2  it cannot be told; the message says why")]
pub struct AuditArguments {
    /// Database as status shows its sink: influxdb, or with its name
    #[arg(value_name = "SINK")]
    pub sink: String,
    /// From when on, by the time of measurement: 2026-03-01T12:00:00Z, seconds since 1970, or 2h
    #[arg(long, value_name = "TIME", default_value = "24h")]
    pub since: String,
    /// Send what is missing, and nothing else
    #[arg(long)]
    pub repair: bool,
    /// Print JSON: an object for each hour of a metric that differs, and the total
    #[arg(long)]
    pub json: bool,
    /// Which journal.
    #[command(flatten)]
    pub journal: JournalArguments,
}
