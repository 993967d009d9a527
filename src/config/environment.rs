//! The part of the environment that configures.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The prefix of every variable of the gateway's own.
pub(super) const PREFIX: &str = "FIELDGATE_";
/// Names the file to read.
pub(super) const FILE_VARIABLE: &str = "FIELDGATE_CONFIG";

/// Environment variables and the name of the host. An empty variable counts as not set.
#[derive(Clone)]
pub struct Environment {
    variables: BTreeMap<String, OsString>,
    host: String,
}

impl Environment {
    /// What this process was started with.
    pub fn of_process() -> Self {
        let host = ["/proc/sys/kernel/hostname", "/etc/hostname"]
            .iter()
            .filter_map(|path| fs::read_to_string(path).ok())
            .map(|name| name.trim().to_owned())
            .find(|name| !name.is_empty());
        let mut environment: Self = std::env::vars_os().collect();
        if let Some(host) = host {
            environment.host = host;
        }
        environment
    }

    pub(super) fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(name).map(OsString::as_os_str)
    }

    /// The names of all variables with the gateway's prefix.
    pub(super) fn own_names(&self) -> impl Iterator<Item = &str> {
        let names = self.variables.keys().map(String::as_str);
        names.filter(|name| name.starts_with(PREFIX))
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// A secret that systemd hands over with `LoadCredential=`: its file, and the text in it without
    /// the line end that most editors leave; `None` when there is no such credential.
    pub(super) fn credential(&self, name: &str) -> Option<(PathBuf, io::Result<String>)> {
        let file = Path::new(self.get("CREDENTIALS_DIRECTORY")?).join(name);
        match fs::read_to_string(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => Some((file, Err(error))),
            Ok(text) => {
                let secret = text.trim_end_matches(['\r', '\n']).to_owned();
                (!secret.is_empty()).then_some((file, Ok(secret)))
            }
        }
    }

    /// The folder where the state of a service or of a user belongs; `None` when neither is known.
    pub(super) fn state_directory(&self) -> Option<PathBuf> {
        // systemd separates several with colons.
        let service = self.get("STATE_DIRECTORY").map(|list| {
            let first = list.to_str().and_then(|list| list.split(':').next());
            first.map_or_else(|| PathBuf::from(list), PathBuf::from)
        });
        // The XDG specification has a relative path ignored.
        let user = || {
            let state = self.get("XDG_STATE_HOME").map(Path::new);
            let state = state.filter(|path| path.is_absolute()).map(PathBuf::from);
            let home = || Some(Path::new(self.get("HOME")?).join(".local/state"));
            Some(state.or_else(home)?.join("fieldgate"))
        };
        service.or_else(user)
    }
}

/// Any variables, on a host named `gateway`.
impl<K: Into<OsString>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        let variables = variables.into_iter().filter_map(|(name, value)| {
            let value = value.into();
            let name = name.into().into_string().ok()?;
            (!value.is_empty()).then_some((name, value))
        });
        Self {
            variables: variables.collect(),
            host: "gateway".into(),
        }
    }
}

/// Names only: values can be secrets.
impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.own_names()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state_directory(variables: &[(&str, &str)]) -> Option<PathBuf> {
        variables
            .iter()
            .copied()
            .collect::<Environment>()
            .state_directory()
    }

    #[test]
    fn state_lies_where_systemd_or_the_xdg_specification_puts_it() {
        let home = ("HOME", "/home/pi");
        for (variables, expected) in [
            (&[][..], None),
            (&[home][..], Some("/home/pi/.local/state/fieldgate")),
            (
                &[home, ("XDG_STATE_HOME", "/state")],
                Some("/state/fieldgate"),
            ),
            (
                &[home, ("XDG_STATE_HOME", "state")],
                Some("/home/pi/.local/state/fieldgate"),
            ),
            (
                &[home, ("XDG_STATE_HOME", "")],
                Some("/home/pi/.local/state/fieldgate"),
            ),
            (
                &[home, ("STATE_DIRECTORY", "/var/lib/a:/var/lib/b")],
                Some("/var/lib/a"),
            ),
        ] {
            assert_eq!(
                state_directory(variables),
                expected.map(PathBuf::from),
                "{variables:?}"
            );
        }
    }

    #[test]
    fn debug_output_holds_no_values() {
        let environment: Environment = [("FIELDGATE_MQTT_PASSWORD", "hunter2")]
            .into_iter()
            .collect();
        assert_eq!(format!("{environment:?}"), "{\"FIELDGATE_MQTT_PASSWORD\"}");
    }
}
