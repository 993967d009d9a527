//! `fieldgate init`: a commented `config.toml`.

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use anyhow::{Context, bail};

use crate::cli::InitArguments;
use crate::config::{self, Environment, Overrides};
use crate::source;

/// What is written, but for what is asked.
const EXAMPLE: &str = include_str!("../../config.toml.example");

/// Says that something is not wanted.
const NONE: &str = "none";

/// Says that there is no hardware.
const SIMULATOR: &str = "simulator";

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answers {
    port: String,
    broker_url: String,
    influxdb_url: String,
    influxdb_org: String,
    influxdb_bucket: String,
}

/// Writes the file.
pub fn init(arguments: &InitArguments) -> anyhow::Result<()> {
    let output = &arguments.output;
    if output.exists() && !arguments.force {
        bail!(
            "{} exists; replace it with --force, or write elsewhere with --output",
            output.display()
        );
    }
    let asks = !arguments.no_input && io::stdin().is_terminal() && io::stderr().is_terminal();
    let answers = ask(arguments, asks)?;
    write(output, &fill_in(&answers))?;
    let secrets = if answers.influxdb_url == NONE {
        ""
    } else {
        " Put the token of InfluxDB into INFLUXDB_TOKEN."
    };
    eprintln!(
        "Wrote {}.{secrets} Try it out with: fieldgate check --config {}",
        output.display(),
        output.display()
    );
    Ok(())
}

fn ask(arguments: &InitArguments, asks: bool) -> io::Result<Answers> {
    let question = |given: &Option<String>, words: &str, default: &str| match given {
        Some(given) => Ok(given.clone()),
        None if asks => prompt(words, default),
        None => Ok(default.to_owned()),
    };
    let ports = source::ports();
    // The board is a USB device; the ports of the machine itself are seldom meant.
    let board = ports.iter().find(|port| port.usb.is_some());
    let board = board.map(|port| port.path.display().to_string());
    if asks && arguments.port.is_none() {
        let names: Vec<String> = ports
            .iter()
            .map(|port| port.path.display().to_string())
            .collect();
        let found = if names.is_empty() {
            NONE.to_owned()
        } else {
            names.join(", ")
        };
        eprintln!("Serial ports found: {found}.");
    }
    let default_port = board.as_deref().unwrap_or("/dev/ttyACM0");
    let port = question(&arguments.port, "Serial port, or simulator", default_port)?;
    let broker_url = question(
        &arguments.broker_url,
        "MQTT broker, or none",
        "mqtt://localhost:1883",
    )?;
    let url = question(
        &arguments.influxdb_url,
        "InfluxDB server, or none",
        "http://localhost:8086",
    )?;
    let (mut org, mut bucket) = ("my-org".to_owned(), "telemetry".to_owned());
    if url != NONE {
        org = question(&arguments.influxdb_org, "Organisation in InfluxDB", &org)?;
        bucket = question(&arguments.influxdb_bucket, "Bucket in InfluxDB", &bucket)?;
    }
    Ok(Answers {
        port,
        broker_url,
        influxdb_url: url,
        influxdb_org: org,
        influxdb_bucket: bucket,
    })
}

fn prompt(words: &str, default: &str) -> io::Result<String> {
    eprint!("{words} [{default}]: ");
    io::stderr().flush()?;
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    let answer = line.trim();
    Ok(if answer.is_empty() { default } else { answer }.to_owned())
}

/// The example with the answers in it.
fn fill_in(answers: &Answers) -> String {
    let text = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let mut file = EXAMPLE.replacen(
        "# Configuration of fieldgate. Copy it to config.toml and change what you need.",
        "# Configuration of fieldgate.",
        1,
    );
    if answers.port == SIMULATOR {
        set(&mut file, "source", "kind", &text(SIMULATOR));
    } else {
        set(&mut file, "source", "port", &text(&answers.port));
    }
    for (section, url, keys) in [
        (
            "mqtt",
            &answers.broker_url,
            &[("broker_url", &answers.broker_url)][..],
        ),
        (
            "influxdb",
            &answers.influxdb_url,
            &[
                ("url", &answers.influxdb_url),
                ("org", &answers.influxdb_org),
                ("bucket", &answers.influxdb_bucket),
            ],
        ),
    ] {
        if url == NONE {
            comment_out(&mut file, section);
        } else {
            for (key, value) in keys {
                set(&mut file, section, key, &text(value));
            }
        }
    }
    file
}

/// Changes the lines of a section.
fn change(file: &mut String, section: &str, mut change: impl FnMut(&str) -> Option<String>) {
    let header = format!("[{section}]");
    let mut is_inside = false;
    let lines: Vec<String> = file
        .lines()
        .map(|line| {
            if line.starts_with('[') {
                is_inside = line == header;
            }
            let changed = is_inside.then(|| change(line)).flatten();
            changed.unwrap_or_else(|| line.to_owned())
        })
        .collect();
    *file = lines.join("\n") + "\n";
}

fn set(file: &mut String, section: &str, key: &str, value: &str) {
    let begin = format!("{key} = ");
    change(file, section, |line| {
        line.starts_with(&begin).then(|| format!("{begin}{value}"))
    });
}

fn comment_out(file: &mut String, section: &str) {
    change(file, section, |line| {
        let is_active = !line.is_empty() && !line.starts_with('#');
        is_active.then(|| format!("# {line}"))
    });
}

/// Writes the file as a whole or, when it is wrong, not at all.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let failed = || format!("cannot write {}", path.display());
    // For its owner alone: it may come to hold secrets.
    let mut file = tempfile::Builder::new()
        .prefix("config")
        .suffix(".toml")
        .tempfile_in(folder)
        .with_context(failed)?;
    file.write_all(text.as_bytes()).with_context(failed)?;
    let mut overrides = Overrides::default();
    overrides.file = Some(file.path().to_owned());
    config::load(&overrides, &Environment::of_process())?;
    file.persist(path).with_context(failed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(answers: &Answers) -> config::Config {
        let folder = tempfile::tempdir().unwrap();
        let mut overrides = Overrides::default();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, fill_in(answers)).unwrap();
        overrides.file = Some(path);
        let environment = [("HOME", "/")].into_iter().collect();
        config::load(&overrides, &environment).unwrap_or_else(|errors| panic!("{errors}"))
    }

    #[test]
    fn the_answers_are_what_the_file_says() {
        let answers = Answers {
            port: "/dev/tty \"x\"".into(),
            broker_url: "mqtt://broker:1884".into(),
            influxdb_url: "http://database:8087".into(),
            influxdb_org: "my org".into(),
            influxdb_bucket: "my \\bucket".into(),
        };
        let config = load(&answers);
        let config::Source::Serial { port, .. } = config.source else {
            panic!("{:?}", config.source);
        };
        assert_eq!(port, config::PortSelector::Path("/dev/tty \"x\"".into()));
        let mqtt = config.mqtt.unwrap();
        assert_eq!((mqtt.host.as_str(), mqtt.port), ("broker", 1884));
        let influxdb = config.influxdb.unwrap();
        assert_eq!(influxdb.url.as_str(), "http://database:8087/");
        assert_eq!(
            (influxdb.org.as_str(), influxdb.bucket.as_str()),
            ("my org", "my \\bucket")
        );
    }

    #[test]
    fn what_is_not_wanted_is_commented_out() {
        let answers = Answers {
            port: SIMULATOR.into(),
            broker_url: NONE.into(),
            influxdb_url: NONE.into(),
            influxdb_org: String::new(),
            influxdb_bucket: String::new(),
        };
        let config = load(&answers);
        assert!(matches!(config.source, config::Source::Simulator(_)));
        assert!(config.mqtt.is_none() && config.influxdb.is_none());
        assert!(fill_in(&answers).contains("# broker_url = \"mqtt://localhost:1883\""));
    }
}
