//! The part of the environment that configures.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::leftovers;

/// The prefix of every variable of the gateway's own.
pub(super) const PREFIX: &str = "FIELDGATE_";
/// Names the file to read.
pub(super) const FILE_VARIABLE: &str = "FIELDGATE_CONFIG";

/// Environment variables and the name of the host. An empty variable counts as not set, and what an env file
/// leaves around a name or value is no part of it.
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

    /// The names of all variables with the gateway's prefix that somebody set for the gateway.
    pub(super) fn own_names(&self) -> impl Iterator<Item = &str> {
        let own = |(name, value): (&'_ String, &OsString)| {
            let rest = name.strip_prefix(PREFIX);
            rest.is_some_and(|rest| !is_of_orchestrator(rest, value))
        };
        let variables = self.variables.iter().filter(move |it| own(*it));
        variables.map(|(name, _)| name.as_str())
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// The secret of a key that systemd hands over with `LoadCredential=`: its file, and the text in it
    /// without the line end that most editors leave; `None` when there is no such credential. The file
    /// of `mqtt.password` is `mqtt-password`, or has the name of the key itself.
    pub(super) fn credential(&self, key: &str) -> Option<(PathBuf, io::Result<String>)> {
        let folder = Path::new(self.get("CREDENTIALS_DIRECTORY")?);
        let names = [key.replace('.', "-"), key.to_owned()];
        names.iter().find_map(|name| {
            let file = folder.join(name);
            match fs::read_to_string(&file) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => Some((file, Err(error))),
                Ok(text) => {
                    let secret = leftovers::of_file(&text).to_owned();
                    (!secret.is_empty()).then_some((file, Ok(secret)))
                }
            }
        })
    }

    /// The folder where the state of a service or of a user belongs; `None` when neither is known.
    pub fn state_directory(&self) -> Option<PathBuf> {
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

/// Whether an orchestrator tells where a service is, one whose name begins as the gateway's: Kubernetes
/// with `NAME_SERVICE_HOST` and the like in every container, Docker's links with those and
/// `NAME_PORT_8787_TCP`, `NAME_NAME`, `NAME_ENV_…`. `rest` is the name without the gateway's prefix.
fn is_of_orchestrator(rest: &str, value: &OsStr) -> bool {
    const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];
    let value = value.to_str().unwrap_or_default();
    // A service's own name may have more words: `fieldgate-api` is FIELDGATE_API.
    let words: Vec<&str> = rest.split('_').collect();
    let is_number = |word: &str| !word.is_empty() && word.bytes().all(|it| it.is_ascii_digit());
    let is_address = || {
        let protocol = value.split_once("://").map(|(protocol, _)| protocol);
        protocol.is_some_and(|it| PROTOCOLS.contains(&&*it.to_ascii_uppercase()))
    };
    (0..words.len()).any(|start| match &words[start..] {
        ["SERVICE", "HOST"] | ["SERVICE", "PORT", ..] | ["ENV", _, ..] => true,
        ["PORT"] => is_address(),
        ["PORT", number, protocol, end @ ..] => {
            is_number(number)
                && PROTOCOLS.contains(protocol)
                && matches!(end, [] | ["ADDR" | "PORT" | "PROTO"])
        }
        ["NAME"] => value.starts_with('/'),
        _ => false,
    })
}

/// Any variables, on a host named `gateway`.
impl<K: Into<OsString>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        let variables = variables.into_iter().filter_map(|(name, value)| {
            let value = value.into();
            let value = value
                .to_str()
                .map_or_else(|| value.clone(), |text| leftovers::of_value(text).into());
            let name = name.into().into_string().ok()?;
            (!value.is_empty()).then(|| (leftovers::of_name(&name).to_owned(), value))
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
    fn what_an_orchestrator_says_of_services_is_no_configuration() {
        for (name, value, is_own) in [
            ("FIELDGATE_SERVICE_HOST", "10.96.0.7", false),
            ("FIELDGATE_SERVICE_PORT", "8787", false),
            ("FIELDGATE_SERVICE_PORT_HTTP", "8787", false),
            ("FIELDGATE_SERVICE_PORT_HTTP_API", "8787", false),
            ("FIELDGATE_PORT", "tcp://10.96.0.7:8787", false),
            ("FIELDGATE_PORT_8787_TCP", "tcp://10.96.0.7:8787", false),
            ("FIELDGATE_PORT_8787_TCP_PROTO", "tcp", false),
            ("FIELDGATE_PORT_8787_TCP_PORT", "8787", false),
            ("FIELDGATE_PORT_8787_TCP_ADDR", "10.96.0.7", false),
            ("FIELDGATE_PORT_53_UDP", "udp://10.96.0.7:53", false),
            ("FIELDGATE_API_SERVICE_HOST", "10.96.0.7", false),
            ("FIELDGATE_API_PORT", "tcp://10.96.0.7:8787", false),
            ("FIELDGATE_NAME", "/web/fieldgate", false),
            ("FIELDGATE_ENV_PATH", "/usr/bin", false),
            ("FIELDGATE_PORT", "/dev/ttyACM0", true),
            ("FIELDGATE_NAME", "greenhouse", true),
            ("FIELDGATE_PORT_GROUP", "20", true),
            ("FIELDGATE_SORCE_PORT", "/dev/ttyACM0", true),
            ("FIELDGATE_SERVICE", "x", true),
            ("FIELDGATE_ENV", "x", true),
            ("FIELDGATE_PORT_8787_TCP_MODE", "x", true),
            ("FIELDGATE_MQTT_QOSS", "1", true),
        ] {
            let environment: Environment = [(name, value)].into_iter().collect();
            let own: Vec<&str> = environment.own_names().collect();
            assert_eq!(own == [name], is_own, "{name}={value}: {own:?}");
        }
    }

    #[test]
    fn what_an_env_file_leaves_is_no_configuration() {
        let environment: Environment = [
            ("\u{feff}FIELDGATE_MQTT_QOS", "1\r"),
            ("MQTT_PASSWORD", "\"s3cret\"\r"),
            ("FIELDGATE_MQTT_USERNAME", "\"\"\r"),
        ]
        .into_iter()
        .collect();
        assert_eq!(environment.get("FIELDGATE_MQTT_QOS").unwrap(), "1");
        assert_eq!(environment.get("MQTT_PASSWORD").unwrap(), "s3cret");
        assert_eq!(environment.get("FIELDGATE_MQTT_USERNAME"), None);
    }

    #[test]
    fn debug_output_holds_no_values() {
        let environment: Environment = [("FIELDGATE_MQTT_PASSWORD", "hunter2")]
            .into_iter()
            .collect();
        assert_eq!(format!("{environment:?}"), "{\"FIELDGATE_MQTT_PASSWORD\"}");
    }
}
