//! The configuration: its types, where it comes from, and what is wrong with it.
//!
//! Five layers, a later one over an earlier one: the defaults, the file `config.toml`, systemd's
//! credentials, the environment (`FIELDGATE_SECTION_KEY`), the command line. Nothing is taken silently: a key that
//! nobody knows, a value that is not allowed, and a required key that is missing are all reported,
//! and all at once.
//!
//! The files here are the engine, which knows no key: it reads the layers into one tree of settings, each
//! with its place, and answers what `sections` asks of it.

mod environment;
mod error;
mod file;
mod kind;
mod leftovers;
mod overrides;
mod reader;
mod secret;
mod section;
mod sections;
mod setting;
mod time;

#[cfg(test)]
mod tests;

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

pub use environment::Environment;
pub use error::{ConfigError, ConfigErrors, Place};
pub use overrides::Overrides;
pub use reader::KnownKey;
pub use sections::*;
pub(crate) use time::{TIME_FORMS, parse_time};

use environment::FILE_VARIABLE;
use error::Fault;
use setting::Table;

use crate::ownership;

/// The file that is read unless another one is named.
const DEFAULT_FILE: &str = "config.toml";

/// Loads the configuration from all its layers, the file being `config.toml` in the current folder
/// unless `overrides` or the environment name another one.
pub fn load(overrides: &Overrides, environment: &Environment) -> Result<Config, ConfigErrors> {
    load_or_default(overrides, environment, Path::new(DEFAULT_FILE))
}

/// Loads `[attach]` alone: what attaches to gateways need be none, and what is wrong with the rest is told
/// by what needs that.
pub fn load_attach(
    overrides: &Overrides,
    environment: &Environment,
) -> Result<Attach, ConfigErrors> {
    let Ok(file) = read_file(overrides, environment, Path::new(DEFAULT_FILE)) else {
        return Ok(Attach::default());
    };
    let (attach, mut errors) = read_layers(file, overrides, environment, sections::read_attach);
    errors.retain(|error| error.key.starts_with("attach"));
    if errors.is_empty() {
        Ok(attach.unwrap_or_default())
    } else {
        Err(ConfigErrors::new(errors))
    }
}

fn load_or_default(
    overrides: &Overrides,
    environment: &Environment,
    default_file: &Path,
) -> Result<Config, ConfigErrors> {
    let file = read_file(overrides, environment, default_file)?;
    if file.is_none() && overrides.is_empty() && environment.own_names().next().is_none() {
        return Err(ConfigErrors::new(vec![nothing_configured()]));
    }
    resolve(file, overrides, environment)
}

/// The file that is named, or else the one that need not be there, with its text.
fn read_file(
    overrides: &Overrides,
    environment: &Environment,
    default_file: &Path,
) -> Result<Option<(Arc<Path>, String)>, ConfigErrors> {
    let by_variable = environment.get(FILE_VARIABLE).map(Path::new);
    let named = overrides.file.as_deref().or(by_variable);
    let path: Arc<Path> = named.unwrap_or(default_file).into();
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some((path, text))),
        Err(error) if named.is_none() && error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ConfigErrors::new(vec![unreadable(path, &error)])),
    }
}

fn resolve(
    file: Option<(Arc<Path>, String)>,
    overrides: &Overrides,
    environment: &Environment,
) -> Result<Config, ConfigErrors> {
    match read_layers(file, overrides, environment, sections::read) {
        (Some(config), errors) if errors.is_empty() => Ok(config),
        (_, errors) => Err(ConfigErrors::new(errors)),
    }
}

/// What `read` makes of all layers, and what is wrong with them.
fn read_layers<T>(
    file: Option<(Arc<Path>, String)>,
    overrides: &Overrides,
    environment: &Environment,
    read: fn(&mut section::Section<'_, '_>) -> Option<T>,
) -> (Option<T>, Vec<ConfigError>) {
    let (place, parsed) = match file {
        Some((path, text)) => (Place::File(path.clone()), file::parse(&path, &text)),
        None => (Place::Nowhere, file::Parsed::default()),
    };
    let (mut settings, syntax_errors) = (parsed.settings, parsed.errors);
    let mut errors = overrides.apply(&mut settings, &sections::LED_BY_FIRST);
    let outcome = section::read_all(settings, environment, place, read);
    errors.extend(outcome.errors);
    if !syntax_errors.is_empty() {
        // What seems to be missing can be what could not be read.
        errors.retain(|error| error.fault == Fault::Wrong && !is_in(error, &syntax_errors));
        errors.extend(syntax_errors);
    }
    (outcome.value, errors)
}

/// Whether an error lies on a line that could not be read in the first place.
fn is_in(error: &ConfigError, syntax_errors: &[ConfigError]) -> bool {
    syntax_errors
        .iter()
        .any(|syntax| syntax.place == error.place)
}

/// All keys that can be set, in the order of the documentation. Where the user chooses names, as in
/// `[telemetry.nodes]`, `NAME` stands for any.
pub fn known_keys() -> Vec<KnownKey> {
    let names = "[telemetry]\nnodes.NAME = {}\nmetrics.NAME = {}\ncalibrate.NAME.NAME = {}";
    let settings: Table = file::parse(&Path::new("").into(), names).settings;
    let environment: Environment = [("HOME", "/")].into_iter().collect();
    section::read_all(settings, &environment, Place::Nowhere, sections::read).known
}

fn unreadable(path: Arc<Path>, error: &std::io::Error) -> ConfigError {
    let advice = match error.kind() {
        ErrorKind::InvalidData => "save it in UTF-8".to_owned(),
        ErrorKind::PermissionDenied => ownership::advice(&path, error),
        _ => "`fieldgate init` writes one to start from".to_owned(),
    };
    ConfigError {
        place: Place::File(path),
        key: String::new(),
        fault: Fault::Wrong,
        problem: "the file cannot be read".into(),
        found: error.to_string(),
        allowed: "a TOML file, named by --config or FIELDGATE_CONFIG".into(),
        advice: Some(advice),
    }
}

fn nothing_configured() -> ConfigError {
    ConfigError {
        place: Place::Nowhere,
        key: String::new(),
        fault: Fault::Missing,
        problem: "nothing is configured".into(),
        found: "no config.toml in this folder, no flags, no FIELDGATE_ variables".into(),
        allowed: "any of them".into(),
        advice: Some(
            "`fieldgate init` writes a config.toml, `fieldgate demo` shows all without one, and this \
             needs\n           no hardware: \
             fieldgate run --source simulator --broker-url mqtt://localhost:1883"
                .into(),
        ),
    }
}
