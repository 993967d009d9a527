//! The configuration as a user writes it: files that are wrong with the text that is printed about
//! them, files that are right, and the example and the documentation that must agree with the code.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use fieldgate::cli::{Cli, Command};
use fieldgate::config::{self, Config, ConfigErrors, Environment};

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
    let Command::Run(run) = cli.into_command();
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
