//! `fieldgate init`: a commented `config.toml`.

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use anyhow::{Context, bail};

use super::probe;
use crate::cli::InitArguments;
use crate::config::{self, ConfigErrors, Environment, Overrides};
use crate::source;

/// What is written, but for what is asked.
const EXAMPLE: &str = include_str!("../../config.toml.example");

/// Says that something is not wanted.
const NONE: &str = "none";

/// Says that there is no hardware.
const SIMULATOR: &str = "simulator";

/// What can be asked, or said by a flag.
struct Question {
    words: &'static str,
    flag: &'static str,
    key: &'static str,
    /// An answer that is no value of the key.
    other: &'static str,
}

const PORT: Question = Question {
    words: "Serial port, or simulator",
    flag: "--port",
    key: "source.port",
    other: SIMULATOR,
};

const BROKER: Question = Question {
    words: "MQTT broker, or none",
    flag: "--broker-url",
    key: "mqtt.broker_url",
    other: NONE,
};

const DATABASE: Question = Question {
    words: "InfluxDB server, or none",
    flag: "--influxdb-url",
    key: "influxdb.url",
    other: NONE,
};

const ORG: Question = Question {
    words: "Organisation in InfluxDB",
    flag: "--influxdb-org",
    key: "influxdb.org",
    other: "",
};

const BUCKET: Question = Question {
    words: "Bucket in InfluxDB",
    flag: "--influxdb-bucket",
    key: "influxdb.bucket",
    other: "",
};

impl Question {
    /// Whether this is an answer: what it says of its key is a configuration.
    fn check(&self, answer: &str) -> Result<(), ConfigErrors> {
        if answer == self.other && !answer.is_empty() {
            return Ok(());
        }
        let mut overrides = Overrides::default();
        // Nothing else, whatever there is in this folder.
        overrides.file = Some("/dev/null".into());
        if self.key != PORT.key {
            overrides.assign("source.kind=stdin");
        }
        overrides.flag(self.flag, self.key, answer);
        let environment = [("HOME", "/")].into_iter().collect();
        config::load(&overrides, &environment).map(drop)
    }
}

/// What is written.
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
    let mut text = fill_in(&answers);
    listen(&answers.port, &mut text);
    write(output, &text)?;
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

fn ask(arguments: &InitArguments, asks: bool) -> anyhow::Result<Answers> {
    let answer = |question: &Question, given: &Option<String>, default: &str| match given {
        Some(given) => {
            question.check(given)?;
            Ok(given.clone())
        }
        None if asks => prompt(question, default),
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
    let port = answer(&PORT, &arguments.port, default_port)?;
    let broker_url = answer(&BROKER, &arguments.broker_url, "mqtt://localhost:1883")?;
    let influxdb_url = answer(&DATABASE, &arguments.influxdb_url, "http://localhost:8086")?;
    let (mut org, mut bucket) = ("my-org".to_owned(), "telemetry".to_owned());
    if influxdb_url != NONE {
        org = answer(&ORG, &arguments.influxdb_org, &org)?;
        bucket = answer(&BUCKET, &arguments.influxdb_bucket, &bucket)?;
    }
    Ok(Answers {
        port,
        broker_url,
        influxdb_url,
        influxdb_org: org,
        influxdb_bucket: bucket,
    })
}

/// Asks until the answer is one.
fn prompt(question: &Question, default: &str) -> anyhow::Result<String> {
    loop {
        eprint!("{} [{default}]: ", question.words);
        io::stderr().flush()?;
        let mut line = String::new();
        io::stdin().read_line(&mut line)?;
        let answer = match line.trim() {
            "" => default,
            answer => answer,
        };
        match question.check(answer) {
            Ok(()) => return Ok(answer.to_owned()),
            // Its first line names the flag that was not given.
            Err(errors) => {
                for line in errors.to_string().lines().skip(1) {
                    eprintln!("{line}");
                }
            }
        }
    }
}

/// Listens to the port, and has the section say what it sends, if that is anything but what a gateway
/// board does.
fn listen(port: &str, file: &mut String) {
    if port == SIMULATOR || !Path::new(port).exists() {
        return;
    }
    eprintln!("Listening to {port} for a moment.");
    match probe::look(Path::new(port)) {
        Err(error) => eprintln!("It cannot be opened: {error}"),
        Ok(heard) => {
            eprintln!("Heard: {}.", heard.words());
            let lines = heard.lines();
            if !lines.is_empty() {
                let lines = lines.join("\n");
                *file = file.replacen("[source]\n", &format!("[source]\n{lines}\n"), 1);
            }
        }
    }
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
        // Without the name of a file that nobody has heard of.
        .map_err(|error| io::Error::from(error.kind()))
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
        let config::Source::Serial(port) = &config.sources[0].source else {
            panic!("{:?}", config.sources);
        };
        let path = config::PortSelector::Path("/dev/tty \"x\"".into());
        assert_eq!(port.selector, path);
        let mqtt = config.mqtt.into_iter().next().unwrap();
        assert_eq!((mqtt.host.as_str(), mqtt.port), ("broker", 1884));
        let influxdb = config.influxdb.into_iter().next().unwrap();
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
        assert!(matches!(
            config.sources[0].source,
            config::Source::Simulator(_)
        ));
        assert!(config.mqtt.is_empty() && config.influxdb.is_empty());
        assert!(fill_in(&answers).contains("# broker_url = \"mqtt://localhost:1883\""));
    }
}
