//! A reader who does what a page says, in a folder of his own, with a broker and a database.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use fieldgate::cli::Command as Wanted;
use fieldgate::config::{self, Environment, Source};
use regex::Regex;
use serde_json::Value;
use tempfile::TempDir;

use super::blocks::{self, Checked};
use super::shell::Line;
use crate::support::{Authority, Mosquitto, Port, Process, VictoriaMetrics, program, request};

/// A page takes as long as all its commands; one of them ends within this.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the documentation says that the usual broker is.
const USUAL_PORT: u16 = 1883;

/// Where the documentation says that the database is.
const DATABASE: &str = "localhost:8086";

/// Where a broker's files are.
const BROKER_FOLDER: &str = "/etc/mosquitto/";

/// Servers are started when they are first needed.
pub(super) struct Page {
    folder: TempDir,
    brokers: Vec<Broker>,
    database: Option<VictoriaMetrics>,
    variables: Vec<(String, String)>,
}

/// A broker that a page tells of.
struct Broker {
    /// The port that the page names.
    named: u16,
    port: u16,
    _server: Mosquitto,
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
        blocks::environment(self.folder.path(), &self.variables)
    }

    /// Sets a variable for all commands that follow; the gateway must know it.
    pub(super) fn set_variable(&mut self, name: &str, value: &str) -> Checked {
        let known = config::known_keys();
        let mut known = known.iter().flat_map(|key| &key.variables);
        let others = [
            "FIELDGATE_CONFIG",
            "FIELDGATE_PORT",
            "FIELDGATE_PORT_GROUP",
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
        let mut text = text.to_owned();
        if text.contains(&format!("localhost:{USUAL_PORT}")) {
            self.usual_broker();
        }
        for Broker { named, port, .. } in &self.brokers {
            text = text.replace(&format!("localhost:{named}"), &format!("localhost:{port}"));
        }
        if text.contains(DATABASE) {
            text = text.replace(DATABASE, &format!("localhost:{}", self.database_port()));
        }
        if text.contains(BROKER_FOLDER) {
            let folder = format!("{}/", self.broker_files().display());
            text = text.replace(BROKER_FOLDER, &folder);
        }
        text
    }

    fn usual_broker(&mut self) -> u16 {
        self.broker_at(USUAL_PORT).unwrap_or_else(|| {
            let server = Mosquitto::start();
            let port = server.port();
            self.brokers.push(Broker {
                named: USUAL_PORT,
                port,
                _server: server,
            });
            port
        })
    }

    fn broker_at(&self, named: u16) -> Option<u16> {
        let found = self.brokers.iter().find(|broker| broker.named == named);
        found.map(|broker| broker.port)
    }

    /// Starts a broker with a configuration, instead of those that the page told of before. Its files
    /// and its port are the test's own.
    pub(super) fn start_broker(&mut self, config: &str) {
        let config = self.with_addresses(config);
        let listener = Regex::new(r"(?m)^listener (\d+).*$").unwrap();
        let named = listener
            .captures(&config)
            .map(|found| found[1].parse().unwrap());
        let other = Port::reserve();
        let port = other.number();
        let server = Mosquitto::start_with_config(|first, folder| {
            let text = config.replace("/var/lib/mosquitto/", &format!("{folder}/"));
            // The fixture waits for an answer in the clear; the rest holds for the last listener.
            let own = format!("listener {port} 127.0.0.1");
            format!(
                "listener {first} 127.0.0.1\n{}",
                listener.replace_all(&text, own)
            )
        });
        drop(other);
        let named = named.unwrap_or(USUAL_PORT);
        self.brokers.retain(|broker| broker.named != named);
        self.brokers.push(Broker {
            named,
            port,
            _server: server,
        });
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

    /// Parses a command line of the gateway, and runs it if that is possible without a board, a
    /// terminal or another machine; of the others the configuration must be right.
    pub(super) fn fieldgate(&mut self, line: &Line) -> Checked {
        let mut words: Vec<String> = Vec::new();
        for word in &line.words {
            let word = match words.last().map(String::as_str) {
                Some("--config") => self.config_file(word),
                Some("--output" | "-o") => self.in_folder(word),
                _ => self.with_addresses(word),
            };
            words.push(word);
        }
        match blocks::parse(&words)? {
            Some(Wanted::Run(run)) => {
                let mut overrides = run.config.overrides();
                let default = self.folder.path().join("config.toml");
                if overrides.file.is_none() && default.exists() {
                    overrides.file = Some(default);
                }
                let config = config::load(&overrides, &self.environment());
                match config.map_err(|errors| errors.to_string())?.source {
                    Source::Simulator(_) => {
                        words.push("--no-tui".to_owned());
                        if !words.iter().any(|word| word == "--count") {
                            words.extend(["--count", "30", "--rate", "300"].map(str::to_owned));
                        }
                        words.dedup_by(|a, b| a == "--no-tui" && b == "--no-tui");
                        self.succeed(&words)
                    }
                    Source::Stdin => self.succeed(&words),
                    _ => Ok(()),
                }
            }
            Some(Wanted::Check(_)) => self.check(words),
            Some(Wanted::Init(init)) => {
                let path = self.folder.path().join(&init.output);
                drop(fs::remove_file(&path));
                self.succeed(&words)?;
                let text = fs::read_to_string(&path).unwrap();
                self.write(file_name(path.to_str().unwrap()), &text);
                Ok(())
            }
            Some(Wanted::Export(_)) => {
                self.journal();
                self.succeed(&words)
            }
            Some(Wanted::Ports(_) | Wanted::Completions(_) | Wanted::Man) | None => {
                self.succeed(&words)
            }
            // They need a terminal; both are tested in one elsewhere.
            Some(_) => Ok(()),
        }
    }

    fn succeed(&mut self, words: &[String]) -> Checked {
        let (status, said) = self.output(&words[0], &words[1..]);
        status.success().then_some(()).ok_or(said)
    }

    /// All but the board must be well.
    fn check(&mut self, mut words: Vec<String>) -> Checked {
        words.push("--json".to_owned());
        words.dedup_by(|a, b| a == "--json" && b == "--json");
        let (_, said) = self.output(&words[0], &words[1..]);
        let text = said.find('{').zip(said.rfind('}'));
        let (begin, end) = text.ok_or_else(|| said.clone())?;
        let report: Value = serde_json::from_str(&said[begin..=end]).map_err(|_| said.clone())?;
        let failed = report["checks"]
            .as_array()
            .unwrap()
            .iter()
            .find(|check| check["result"] == "failed" && check["part"] != "source");
        failed.map_or(Ok(()), |check| Err(check.to_string()))
    }

    /// A configuration in the page's folder under the name of one elsewhere; the example, unless the
    /// page has written it.
    fn config_file(&mut self, word: &str) -> String {
        let name = file_name(word);
        let path = self.folder.path().join(name);
        if !path.exists() {
            let example = fs::read_to_string("config.toml.example").unwrap();
            self.write(name, &example);
        }
        path.display().to_string()
    }

    fn in_folder(&self, word: &str) -> String {
        self.folder
            .path()
            .join(file_name(word))
            .display()
            .to_string()
    }

    /// The journal of what has run so far, or else of a short run.
    fn journal(&mut self) -> PathBuf {
        let path = self.folder.path().join(".local/state/fieldgate/journal.db");
        if !path.exists() {
            let run = [
                "fieldgate",
                "run",
                "--no-tui",
                "--source",
                "simulator",
                "--count",
                "30",
            ];
            let rest = ["--rate", "300", "--broker-url", "mqtt://localhost:1883"];
            let words: Vec<String> = run
                .iter()
                .chain(&rest)
                .map(|word| self.with_addresses(word))
                .collect();
            self.succeed(&words).unwrap();
        }
        path
    }

    /// Runs queries on a real journal.
    pub(super) fn ask_journal(&mut self, queries: &str) -> Checked {
        let journal = rusqlite::Connection::open(self.journal()).unwrap();
        for query in queries.split(';').filter(|query| !query.trim().is_empty()) {
            let rows = journal
                .prepare(query)
                .and_then(|mut query| query.query_map((), |_| Ok(()))?.collect());
            let _rows: Vec<()> = rows.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Asks the database as `curl` would.
    pub(super) fn ask_database(&mut self, path: &str) -> Checked {
        let answer = request(self.database_port(), "GET", path, &[], b"").unwrap();
        let is_good = (200..300).contains(&answer.status);
        is_good
            .then_some(())
            .ok_or(format!("{path}: {} {}", answer.status, answer.body))
    }

    /// Runs `mosquitto_sub` and `mosquitto_pub` at the broker of the page that they name; of one that
    /// the page does not have only their options are tried.
    pub(super) fn mosquitto_client(&mut self, line: &Line) -> Checked {
        let mut words: Vec<String> = line
            .words
            .iter()
            .map(|word| self.with_addresses(word))
            .collect();
        let value = |names: [&str; 2]| {
            let at = words
                .iter()
                .position(|word| names.contains(&word.as_str()))?;
            words.get(at + 1).cloned()
        };
        let host = value(["-h", "--host"]);
        let port = value(["-p", "--port"]).and_then(|port| port.parse().ok());
        let is_address = value(["-L", "--url"]).is_some();
        // What waits for messages that a running gateway would bring gets a second for it. Who says
        // how many and how long must get them.
        let given = |flag: &str| words.iter().any(|word| word == flag);
        let (counts, waits) = (given("-C"), given("-W"));
        let may_time_out = !(counts && waits);
        let is_here = host.is_none_or(|host| host == "localhost");
        let port = match port.unwrap_or(USUAL_PORT) {
            USUAL_PORT if is_here => Some(self.usual_broker()),
            named => self.broker_at(named).filter(|_| is_here),
        };
        if words[0] == "mosquitto_sub" && !waits {
            words.extend(["-W", "1"].map(str::to_owned));
        }
        if !is_address {
            // Nobody listens at port 1.
            let port = port.unwrap_or(1).to_string();
            words.extend(["-h", "localhost", "-p", &port].map(str::to_owned));
        }
        let (status, said) = self.output(&words[0], &words[1..]);
        // mosquitto_sub ends with 27 when its time is up.
        let good = status.success() || (may_time_out && status.code() == Some(27));
        let options_alone = port.is_none() && !is_address;
        if good || (options_alone && !said.contains("to see usage")) {
            Ok(())
        } else {
            Err(said)
        }
    }

    /// Files that a broker's configuration names: certificates, passwords, access rules. Certificates
    /// that the page has made are taken.
    pub(super) fn broker_files(&mut self) -> PathBuf {
        let folder = self.folder.path().join("mosquitto");
        let certificates = folder.join("certs");
        if !folder.exists() {
            fs::create_dir_all(&certificates).unwrap();
            Authority::new(&certificates, "ca").server("server", &["localhost"]);
            fs::write(folder.join("acl"), "topic readwrite #\n").unwrap();
            fs::write(folder.join("passwords"), "").unwrap();
        }
        for name in ["ca.pem", "server.pem", "server.key"] {
            let made = self.folder.path().join(name);
            if made.exists() {
                fs::copy(made, certificates.join(name)).unwrap();
            }
        }
        folder
    }
}

/// The last part of a path.
fn file_name(path: &str) -> &str {
    Path::new(path).file_name().unwrap().to_str().unwrap()
}
