//! The services of this machine, each known by its configuration.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// Where the configurations of services are.
const FOLDER: &str = "/etc/fieldgate";

/// systemd runs where this is.
const MANAGER: &str = "/run/systemd/system";

/// A service: `fieldgate` with `config.toml`, or `fieldgate@NAME` with `NAME.toml`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unit {
    name: Option<String>,
}

impl Unit {
    /// The service that is not one of several.
    pub(super) const MAIN: Self = Self { name: None };

    /// The service that reads this configuration, if one does.
    pub(super) fn of_config(path: &Path) -> Option<Self> {
        let path = std::path::absolute(path).ok()?;
        if path.parent() != Some(Path::new(FOLDER)) || path.extension()? != "toml" {
            return None;
        }
        let name = path.file_stem()?.to_str()?;
        Some(Self {
            name: (name != "config").then(|| name.to_owned()),
        })
    }

    /// What `systemctl` calls it.
    pub(super) fn name(&self) -> String {
        match &self.name {
            Some(name) => format!("fieldgate@{name}"),
            None => "fieldgate".to_owned(),
        }
    }

    /// Where its socket can be.
    pub(super) fn sockets(&self) -> [PathBuf; 2] {
        let (run, state) = match &self.name {
            Some(name) => (format!("fieldgate-{name}"), format!("fieldgate/{name}")),
            None => ("fieldgate".to_owned(), "fieldgate".to_owned()),
        };
        [
            format!("/run/{run}/fieldgate.sock").into(),
            format!("/var/lib/{state}/journal.sock").into(),
        ]
    }

    /// Whether this machine has it.
    pub(super) fn is_installed(&self) -> bool {
        let mut shown = systemctl(&["cat", &self.name()]);
        let shown = shown.stdout(Stdio::null()).stderr(Stdio::null()).status();
        Path::new(MANAGER).exists() && shown.is_ok_and(|status| status.success())
    }

    /// Starts it, now and whenever the machine does.
    pub(super) fn enable(&self) -> anyhow::Result<()> {
        // Restarted, as it may run with the configuration of before.
        for verb in ["enable", "restart"] {
            let status = systemctl(&[verb, &self.name()]).status();
            if !status.context("cannot run systemctl")?.success() {
                let name = self.name();
                bail!("systemctl {verb} {name} failed; journalctl -u {name} says why");
            }
        }
        Ok(())
    }
}

fn systemctl(arguments: &[&str]) -> Command {
    let mut command = Command::new("systemctl");
    command.args(arguments);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_of_the_systems_folder_is_that_of_a_service() {
        let name = |path: &str| Unit::of_config(Path::new(path)).map(|unit| unit.name());
        for (path, expected) in [
            ("/etc/fieldgate/config.toml", Some("fieldgate")),
            ("/etc/fieldgate/garden.toml", Some("fieldgate@garden")),
            ("/etc/fieldgate/mqtt-password", None),
            ("/etc/fieldgate/old/config.toml", None),
            ("/home/pi/config.toml", None),
            ("config.toml", None),
        ] {
            assert_eq!(name(path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn services_have_sockets_of_their_own() {
        let of = |name: &str| {
            Unit {
                name: Some(name.into()),
            }
            .sockets()
        };
        assert_eq!(
            of("garden")[0],
            Path::new("/run/fieldgate-garden/fieldgate.sock")
        );
        assert_eq!(
            of("garden")[1],
            Path::new("/var/lib/fieldgate/garden/journal.sock")
        );
        assert_eq!(
            Unit::MAIN.sockets()[0],
            Path::new("/run/fieldgate/fieldgate.sock")
        );
    }
}
