//! `fieldgate init`: a commented `config.toml`.

mod file;
mod question;
mod surroundings;

use std::io::{self, IsTerminal};
use std::path::Path;

use anyhow::bail;
use secrecy::SecretString;

use super::check;
use super::unit::Unit;
use crate::cli::InitArguments;
use crate::config::Config;
use question::{BROKER, BUCKET, DATABASE, NONE, ORG, PORT, Question, TOKEN};

/// Where the token can be that is not asked for.
const TOKEN_VARIABLE: &str = "INFLUXDB_TOKEN";

/// What is written.
struct Answers {
    port: String,
    /// What its section says beside the port.
    port_lines: Vec<String>,
    broker_url: String,
    influxdb_url: String,
    influxdb_org: String,
    influxdb_bucket: String,
    influxdb_token: Option<SecretString>,
}

/// Writes the file and, where somebody is asked, tries it.
pub fn init(arguments: &InitArguments) -> anyhow::Result<()> {
    let output = &arguments.output;
    if !arguments.force && file::is_taken(output) {
        bail!(
            "{} exists; replace it with --force, or write elsewhere with --output",
            output.display()
        );
    }
    let asks = !arguments.no_input && io::stdin().is_terminal() && io::stderr().is_terminal();
    let answers = ask(arguments, asks)?;
    let config = file::write(output, &file::fill_in(&answers))?;
    let needs_token = answers.influxdb_url != NONE && answers.influxdb_token.is_none();
    let secrets = if needs_token && std::env::var_os(TOKEN_VARIABLE).is_none() {
        " Put the token of InfluxDB into INFLUXDB_TOKEN."
    } else {
        ""
    };
    eprintln!("Wrote {}.{secrets}", output.display());
    if asks {
        try_out(&config, output)
    } else {
        eprintln!(
            "Try it out with: fieldgate check --config {}",
            output.display()
        );
        Ok(())
    }
}

fn ask(arguments: &InitArguments, asks: bool) -> anyhow::Result<Answers> {
    let answer = |question: &Question, given: &Option<String>, default: &str| match given {
        Some(given) => {
            question.check(given)?;
            Ok(given.clone())
        }
        None if asks => question.ask(default),
        None => Ok(default.to_owned()),
    };
    let default_port = surroundings::port(asks && arguments.port.is_none());
    let port = answer(&PORT, &arguments.port, &default_port)?;
    let port_lines = surroundings::listen(&port);
    let asks_for_servers = arguments.broker_url.is_none() || arguments.influxdb_url.is_none();
    let (default_broker, default_database) = if asks && asks_for_servers {
        surroundings::servers()
    } else {
        (surroundings::DEFAULT_BROKER, surroundings::DEFAULT_DATABASE)
    };
    let broker_url = answer(&BROKER, &arguments.broker_url, default_broker)?;
    let influxdb_url = answer(&DATABASE, &arguments.influxdb_url, default_database)?;
    let (mut org, mut bucket, mut token) = ("my-org".to_owned(), "telemetry".to_owned(), None);
    if influxdb_url != NONE {
        org = answer(&ORG, &arguments.influxdb_org, &org)?;
        bucket = answer(&BUCKET, &arguments.influxdb_bucket, &bucket)?;
        if asks && std::env::var_os(TOKEN_VARIABLE).is_none() {
            token = Some(TOKEN.ask(NONE)?).filter(|token| token != NONE);
        }
    }
    Ok(Answers {
        port,
        port_lines,
        broker_url,
        influxdb_url,
        influxdb_org: org,
        influxdb_bucket: bucket,
        influxdb_token: token.map(SecretString::from),
    })
}

/// Tries the configuration and, when all holds and it is that of a service, offers to start it.
fn try_out(config: &Config, path: &Path) -> anyhow::Result<()> {
    eprintln!("Trying it.\n");
    let report = check::tried(config)?;
    eprintln!("{report}");
    let file = path.display();
    if !report.holds() {
        eprintln!("Try again with: fieldgate check --config {file}");
        return Ok(());
    }
    if let Some(unit) = Unit::of_config(path).filter(Unit::is_installed) {
        return offer(&unit);
    }
    eprintln!("Start it with: fieldgate --config {file}");
    Ok(())
}

fn offer(unit: &Unit) -> anyhow::Result<()> {
    let name = unit.name();
    if question::confirm(&format!("Start the service {name} now and at every boot"))? {
        unit.enable()?;
        eprintln!("It runs. Its state: systemctl status {name}");
    } else {
        eprintln!("Start it with: systemctl enable --now {name}");
    }
    Ok(())
}
