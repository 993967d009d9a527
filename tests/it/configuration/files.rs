//! The configuration as a user writes it: files that are wrong with the text that is printed about
//! them, files that are right, and the example and the documentation that must agree with the code.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use fieldgate::cli::{Cli, Command};
use fieldgate::config::{self, Config, ConfigErrors, Environment, Overrides};

/// Loads a file together with the environment and the flags that its comments tell of:
/// `#! NAME=value` and `#! --flag value`.
fn load(path: &Path) -> Result<Config, ConfigErrors> {
    let text = fs::read_to_string(path).unwrap();
    let directives = text.lines().filter_map(|line| line.strip_prefix("#! "));
    let (flags, variables): (Vec<&str>, Vec<&str>) =
        directives.partition(|line| line.starts_with('-'));
    let flags = flags.iter().flat_map(|line| line.split_whitespace());
    let arguments = ["fieldgate", "--config", path.to_str().unwrap()];
    let cli = Cli::try_parse_from(arguments.into_iter().chain(flags)).unwrap();
    let Command::Run(run) = cli.into_command() else {
        panic!("run is what is meant");
    };
    let home = [("HOME", "/home/pi")];
    let variables = variables.iter().map(|line| line.split_once('=').unwrap());
    let environment: Environment = home.into_iter().chain(variables).collect();
    config::load(&run.config.overrides(), &environment)
}

fn files(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(Path::new("tests/configs").join(folder)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = paths
        .filter(|path| path.extension() == Some(OsStr::new("toml")))
        .collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths
}

/// Compares a text with the file beside its configuration. `UPDATE_EXPECTED=1` writes it instead.
fn assert_expected(toml: &Path, text: &str) {
    let expected = toml.with_extension("txt");
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(&expected, format!("{text}\n")).unwrap();
    }
    let wanted = fs::read_to_string(&expected).unwrap_or_default();
    assert_eq!(format!("{text}\n"), wanted, "{}", toml.display());
}

#[test]
fn invalid_files_are_refused_with_every_error_explained() {
    for path in files("invalid") {
        let errors = load(&path)
            .map(|config| config.summary())
            .expect_err(path.to_str().unwrap());
        let text = errors.to_string();
        for secret in ["hunter2", "s3cret"] {
            assert!(
                !text.contains(secret),
                "{} shows a secret:\n{text}",
                path.display()
            );
            assert!(
                !format!("{errors:?}").contains(secret),
                "{}",
                path.display()
            );
        }
        assert_expected(&path, &text);
    }
}

#[test]
fn valid_files_mean_what_they_say() {
    for path in files("valid") {
        let config = load(&path).unwrap_or_else(|errors| panic!("{}:\n{errors}", path.display()));
        let text = format!("{}\n\n{config:#?}", config.summary().join("\n"));
        for secret in ["hunter2", "s3cret"] {
            assert!(!text.contains(secret), "{} shows a secret", path.display());
        }
        assert_expected(&path, &text);
    }
}

#[test]
fn every_variable_is_documented_as_it_is() {
    let document = fs::read_to_string("docs/configuration.md").unwrap();
    for key in config::known_keys() {
        // As the documentation says of all of them at once.
        let by_rule = format!("FIELDGATE_{}", key.path.replace('.', "_").to_uppercase());
        let has_own_name = key.path.contains("NAME");
        let (first, others) = key.variables.split_first().unzip();
        assert_eq!(first.is_none(), has_own_name, "{}", key.path);
        assert!(first.is_none_or(|first| *first == by_rule), "{first:?}");
        for other in others.into_iter().flatten() {
            assert!(document.contains(&format!("`{other}`")), "{other}");
        }
    }
}

const EXAMPLE: &str = "config.toml.example";

/// A line `key = value` of the example, or `# key = value`.
struct Line {
    /// The key by its full path, `NAME` standing for a name that the user chooses.
    path: String,
    value: String,
    /// Where it stands, and where the header does that it stands under.
    index: usize,
    header: Option<usize>,
    is_active: bool,
}

fn example_lines(example: &str) -> Vec<Line> {
    let mut section = String::new();
    let mut header = None;
    let mut lines = Vec::new();
    for (index, text) in example.lines().enumerate() {
        let bare = text.strip_prefix("# ").unwrap_or(text);
        if let Some(name) = bare
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            section = format!("{name}.");
            header = Some(index);
        } else if let Some((key, value)) = bare.split_once(" = ")
            && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        {
            let path = format!("{section}{key}");
            let name_at = match path.split('.').collect::<Vec<_>>()[..] {
                ["telemetry", "nodes" | "metrics", name, ..] => Some(name.to_owned()),
                _ => None,
            };
            let corrected = path.strip_prefix("telemetry.calibrate.");
            let path = match corrected.and_then(|rest| rest.rsplit_once('.')) {
                Some((_, key)) => format!("telemetry.calibrate.NAME.NAME.{key}"),
                None => path,
            };
            lines.push(Line {
                path: name_at.map_or(path.clone(), |name| {
                    path.replacen(&format!(".{name}"), ".NAME", 1)
                }),
                value: value.to_owned(),
                index,
                header,
                is_active: bare == text,
            });
        }
    }
    lines
}

fn load_text(text: &str) -> Result<Config, ConfigErrors> {
    let folder = tempfile::tempdir().unwrap();
    let mut overrides = Overrides::default();
    overrides.file = Some(folder.path().join("config.toml"));
    fs::write(overrides.file.as_ref().unwrap(), text).unwrap();
    config::load(&overrides, &[("HOME", "/")].into_iter().collect())
}

#[test]
fn the_example_loads_and_shows_the_defaults() {
    let example = fs::read_to_string(EXAMPLE).unwrap();
    load_text(&example).unwrap_or_else(|errors| panic!("{errors}"));

    let known = config::known_keys();
    let lines = example_lines(&example);
    let active: Vec<&Line> = lines.iter().filter(|line| line.is_active).collect();
    assert!(active.len() > 20, "{} active keys", active.len());
    for line in active {
        let key = known.iter().find(|key| key.path == line.path).unwrap();
        assert_eq!(Some(&line.value), key.default.as_ref(), "{}", line.path);
    }
}

#[test]
fn the_example_holds_every_key() {
    let example = fs::read_to_string(EXAMPLE).unwrap();
    let lines = example_lines(&example);
    for key in config::known_keys() {
        assert!(
            lines.iter().any(|line| line.path == key.path),
            "{} is not in {EXAMPLE}",
            key.path
        );
    }
}

#[test]
fn every_key_of_the_example_can_be_uncommented() {
    let example = fs::read_to_string(EXAMPLE).unwrap();
    let lines = example_lines(&example);
    let commented: Vec<&Line> = lines.iter().filter(|line| !line.is_active).collect();
    assert!(!commented.is_empty());
    let secrets = tempfile::tempdir().unwrap();
    for name in ["mqtt.password", "influxdb.token"] {
        fs::write(secrets.path().join(name), "s3cret\n").unwrap();
    }
    for wanted in commented {
        let partner = match &*wanted.path {
            "mqtt.client_certificate" => "mqtt.client_key",
            "mqtt.client_key" => "mqtt.client_certificate",
            "mqtt.password_file" => "mqtt.username",
            "source.time.key" => "source.time.format",
            _ => "",
        };
        let partner = lines.iter().find(|line| line.path == partner);
        let is_partner = |index| partner.is_some_and(|line| line.index == index);
        let excludes_port = ["source.usb_id", "source.serial_number"].contains(&&*wanted.path);
        let text = example.lines().enumerate().map(|(index, text)| {
            if index == wanted.index || Some(index) == wanted.header || is_partner(index) {
                text.trim_start_matches("# ")
            } else if excludes_port && text.starts_with("port = ") {
                ""
            } else {
                text
            }
        });
        let mut text = text.collect::<Vec<_>>().join("\n");
        if wanted.path.ends_with("_file") && !wanted.path.ends_with("ca_file") {
            text = text.replace("/etc/fieldgate", secrets.path().to_str().unwrap());
        }
        if is_for_tls(&wanted.path) {
            text = text.replace("mqtt://localhost:1883", "mqtts://localhost");
            text = text.replace("http://localhost:8086", "https://localhost:8086");
        }
        let taken: toml::Table = text.parse().unwrap();
        let commented_out: toml::Table = example.parse().unwrap();
        assert_ne!(taken, commented_out, "{} stays a comment", wanted.path);
        if let Err(errors) = load_text(&text) {
            panic!("{}:\n{errors}", wanted.path);
        }
    }
}

fn is_for_tls(path: &str) -> bool {
    let names = ["ca_file", "client_", "server_name", "alpn"];
    let name = path.rsplit('.').next().unwrap();
    names.iter().any(|begin| name.starts_with(begin))
}

#[test]
fn every_variable_sets_its_key() {
    // Allowed by no key but a secret.
    let strange = "~/\u{1}";
    let folder = tempfile::tempdir().unwrap();
    let mut overrides = Overrides::default();
    overrides.file = Some(folder.path().join("config.toml"));
    fs::write(overrides.file.as_ref().unwrap(), "").unwrap();
    for key in config::known_keys() {
        for variable in &key.variables {
            let variables = [("HOME", "/"), (variable, strange)];
            let environment = variables.into_iter().collect();
            let loaded = config::load(&overrides, &environment);
            let refused = loaded
                .as_ref()
                .is_err_and(|errors| errors.iter().any(|error| error.key() == key.path));
            let is_secret = ["mqtt.password", "influxdb.token"].contains(&&*key.path);
            assert_eq!(refused, !is_secret, "{variable}: {loaded:?}");
        }
    }
}
