//! The file that is written: the example with the answers in it.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, fchown};
use std::path::Path;

use anyhow::Context;
use nix::unistd::Group;
use secrecy::ExposeSecret;

use super::Answers;
use super::question::{NONE, SIMULATOR};
use crate::commands::unit::Unit;
use crate::config::{self, Config, Environment, Overrides};

/// What is written, but for what is asked.
const EXAMPLE: &str = include_str!("../../../config.toml.example");

/// The group of the user that services run as.
const GROUP_OF_SERVICES: &str = "fieldgate";

/// Whether there is a file that somebody has made his own. A package brings the example.
pub(super) fn is_taken(path: &Path) -> bool {
    path.exists() && !fs::read(path).is_ok_and(|text| text == EXAMPLE.as_bytes())
}

/// The example with the answers in it.
pub(super) fn fill_in(answers: &Answers) -> String {
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
    begin(&mut file, "source", &answers.port_lines);
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
    if let Some(token) = &answers.influxdb_token {
        set(&mut file, "influxdb", "token", &text(token.expose_secret()));
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

/// Sets a key, also one that the example has as a comment.
fn set(file: &mut String, section: &str, key: &str, value: &str) {
    let begin = format!("{key} = ");
    change(file, section, |line| {
        let line = line.strip_prefix("# ").unwrap_or(line);
        line.starts_with(&begin).then(|| format!("{begin}{value}"))
    });
}

/// Begins a section with these lines, which hold in place of those of the same keys.
fn begin(file: &mut String, section: &str, lines: &[String]) {
    let key = |line: &str| Some(line.split_once(" = ")?.0.to_owned());
    let keys: Vec<String> = lines.iter().filter_map(|line| key(line)).collect();
    change(file, section, |line| {
        let is_replaced = key(line).is_some_and(|key| keys.contains(&key));
        is_replaced.then(|| format!("# {line}"))
    });
    let header = format!("[{section}]\n");
    let mut begun = header.clone();
    for line in lines {
        begun.push_str(line);
        begun.push('\n');
    }
    *file = file.replacen(&header, &begun, 1);
}

fn comment_out(file: &mut String, section: &str) {
    change(file, section, |line| {
        let is_active = !line.is_empty() && !line.starts_with('#');
        is_active.then(|| format!("# {line}"))
    });
}

/// Writes the file as a whole or, when it is wrong, not at all, and reads it as a gateway would.
pub(super) fn write(path: &Path, text: &str) -> anyhow::Result<Config> {
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
    let config = config::load(&overrides, &Environment::of_process())?;
    if Unit::of_config(path).is_some() {
        let_services_read(file.as_file()).with_context(failed)?;
    }
    file.persist(path).with_context(failed)?;
    Ok(config)
}

/// Where services have no user of their own until they run, nobody else can be let in.
fn let_services_read(file: &File) -> io::Result<()> {
    if let Some(group) = Group::from_name(GROUP_OF_SERVICES)? {
        fchown(file, None, Some(group.gid.as_raw()))?;
        file.set_permissions(Permissions::from_mode(0o640))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(answers: &Answers) -> Config {
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
            port_lines: vec!["baud = 9600".into(), "format = \"json\"".into()],
            broker_url: "mqtt://broker:1884".into(),
            influxdb_url: "http://database:8087".into(),
            influxdb_org: "my org".into(),
            influxdb_bucket: "my \\bucket".into(),
            influxdb_token: Some("s3\"cret".into()),
        };
        let config = load(&answers);
        let config::Source::Serial(port) = &config.sources[0].source else {
            panic!("{:?}", config.sources);
        };
        let path = config::PortSelector::Path("/dev/tty \"x\"".into());
        assert_eq!(port.selector, path);
        assert_eq!(port.baud, 9600);
        let mqtt = config.mqtt.into_iter().next().unwrap();
        assert_eq!((mqtt.host.as_str(), mqtt.port), ("broker", 1884));
        let influxdb = config.influxdb.into_iter().next().unwrap();
        assert_eq!(influxdb.url.as_str(), "http://database:8087/");
        assert_eq!(
            (influxdb.org.as_str(), influxdb.bucket.as_str()),
            ("my org", "my \\bucket")
        );
        assert_eq!(influxdb.token.expose_secret(), "s3\"cret");
    }

    #[test]
    fn what_is_not_wanted_is_commented_out() {
        let answers = Answers {
            port: SIMULATOR.into(),
            port_lines: Vec::new(),
            broker_url: NONE.into(),
            influxdb_url: NONE.into(),
            influxdb_org: String::new(),
            influxdb_bucket: String::new(),
            influxdb_token: None,
        };
        let config = load(&answers);
        assert!(matches!(
            config.sources[0].source,
            config::Source::Simulator(_)
        ));
        assert!(config.mqtt.is_empty() && config.influxdb.is_empty());
        assert!(fill_in(&answers).contains("# broker_url = \"mqtt://localhost:1883\""));
    }

    #[test]
    fn the_example_is_nobodys_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        assert!(!is_taken(&path));
        std::fs::write(&path, EXAMPLE).unwrap();
        assert!(!is_taken(&path));
        std::fs::write(&path, format!("{EXAMPLE}\n")).unwrap();
        assert!(is_taken(&path));
    }
}
