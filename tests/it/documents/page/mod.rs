//! A reader who does what a page says, in a folder of his own, with a broker and a database.

mod brokers;
mod gateway;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use fieldgate::config::{self, Environment};
use regex::Regex;
use tempfile::TempDir;

use self::brokers::{Broker, USUAL_PORT};
use super::blocks::Checked;
use super::shell::Line;
use crate::support::{Process, VictoriaMetrics, program, request};

/// A page takes as long as all its commands; one of them ends within this.
const PATIENCE: Duration = Duration::from_mins(1);

/// Where the documentation says that the database is.
const DATABASE_PORT: u16 = 8086;

/// Where a broker's files are.
const BROKER_FOLDER: &str = "/etc/mosquitto/";

/// Servers are started when they are first needed.
pub(super) struct Page {
    folder: TempDir,
    brokers: Vec<Broker>,
    database: Option<VictoriaMetrics>,
    variables: Vec<(String, String)>,
}

impl Page {
    pub(super) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            brokers: Vec::new(),
            database: None,
            variables: Vec::new(),
        }
    }

    /// Writes a file, with the addresses of the page's servers and files that secrets can be read
    /// from.
    pub(super) fn write(&mut self, name: &str, text: &str) -> PathBuf {
        let secret = self.folder.path().join("secret");
        fs::write(&secret, "secret\n").unwrap();
        let mut text = self.with_addresses(text);
        for key in ["password_file", "token_file"] {
            let lines = text.lines().map(|line| match line.split_once(" = ") {
                Some((name, _)) if name == key => format!("{key} = '{}'\n", secret.display()),
                _ => format!("{line}\n"),
            });
            text = lines.collect();
        }
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// What the page's commands see.
    pub(super) fn environment(&self) -> Environment {
        let home = self.folder.path().display().to_string();
        let home = [("HOME".to_owned(), home)];
        home.into_iter().chain(self.variables.clone()).collect()
    }

    /// Sets a variable for all commands that follow; the gateway must know it.
    pub(super) fn set_variable(&mut self, name: &str, value: &str) -> Checked {
        let known = config::known_keys();
        let mut known = known.iter().flat_map(|key| &key.variables);
        let others = [
            "FIELDGATE_CONFIG",
            "SERIAL_PORT",
            "SERIAL_PORT_GROUP",
            "NO_COLOR",
            "TERM",
        ];
        if !others.contains(&name) && !known.any(|known| known == name) {
            return Err(format!("no variable {name} is known"));
        }
        let value = self.with_addresses(value);
        self.variables.push((name.to_owned(), value));
        Ok(())
    }

    /// What holds for a single command: afterwards the variables are as they were.
    pub(super) fn with_variables(
        &mut self,
        variables: &[(String, String)],
        command: impl FnOnce(&mut Self) -> Checked,
    ) -> Checked {
        let before = self.variables.clone();
        for (name, value) in variables {
            self.set_variable(name, value)?;
        }
        let checked = command(self);
        self.variables = before;
        checked
    }

    fn with_addresses(&mut self, text: &str) -> String {
        let address = Regex::new(r"localhost:(\d+)").unwrap();
        let told = address
            .captures_iter(text)
            .map(|found| found[1].parse().unwrap_or(0));
        let named: Vec<u16> = told.collect();
        if named.contains(&USUAL_PORT) {
            self.usual_broker();
        }
        if named.contains(&DATABASE_PORT) {
            self.database_port();
        }
        let mut text = address
            .replace_all(text, |found: &regex::Captures<'_>| {
                let port = found[1].parse().ok().and_then(|named| self.port_of(named));
                port.map_or_else(|| found[0].to_owned(), |port| format!("localhost:{port}"))
            })
            .into_owned();
        if text.contains(BROKER_FOLDER) {
            let folder = format!("{}/", self.broker_files().display());
            text = text.replace(BROKER_FOLDER, &folder);
        }
        text
    }
    /// The port in the place of one that a page names.
    fn port_of(&self, named: u16) -> Option<u16> {
        match &self.database {
            Some(database) if named == DATABASE_PORT => Some(database.port()),
            _ => self.broker_at(named),
        }
    }
    fn database_port(&mut self) -> u16 {
        self.database
            .get_or_insert_with(VictoriaMetrics::start)
            .port()
    }

    /// Copies a file of the project, as `config.toml.example` to `config.toml`.
    pub(super) fn copy(&mut self, line: &Line) -> Checked {
        let [_, from, to] = &line.words[..] else {
            return Err("only a file to a file is known here".to_owned());
        };
        let text = fs::read_to_string(from).map_err(|error| format!("{from}: {error}"))?;
        self.write(file_name(to), &text);
        Ok(())
    }

    /// Runs a command that must succeed.
    pub(super) fn run(&mut self, line: &Line) -> Checked {
        let words: Vec<String> = line
            .words
            .iter()
            .map(|word| self.with_addresses(word))
            .collect();
        self.succeed(&words)
    }

    /// Runs a program to its end in the page's folder.
    fn output(&mut self, name: &str, arguments: &[String]) -> (ExitStatus, String) {
        let mut command = match name {
            "fieldgate" => Command::new(env!("CARGO_BIN_EXE_fieldgate")),
            name => program(name),
        };
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.folder.path())
            .envs(self.variables.iter().cloned())
            .stdin(Stdio::null());
        let mut process = Process::spawn(name, &mut command);
        let status = process.wait_exit(PATIENCE);
        (status, process.lines().tail())
    }

    fn succeed(&mut self, words: &[String]) -> Checked {
        let (status, said) = self.output(&words[0], &words[1..]);
        status.success().then_some(()).ok_or(said)
    }
    /// Asks the database as `curl` would.
    pub(super) fn ask_database(&mut self, path: &str) -> Checked {
        let answer = request(self.database_port(), "GET", path, &[], b"").unwrap();
        let is_good = (200..300).contains(&answer.status);
        is_good
            .then_some(())
            .ok_or(format!("{path}: {} {}", answer.status, answer.body))
    }
}

/// The last part of a path.
fn file_name(path: &str) -> &str {
    Path::new(path).file_name().unwrap().to_str().unwrap()
}
