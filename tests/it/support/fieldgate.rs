//! The gateway itself: the program that cargo built, as a user runs it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::Permissions;
use std::io::Write;
use std::ops::Index;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::process::{Process, Stream};

/// Variables of the caller that would change what a test sees.
const CLEARED: [&str; 13] = [
    "MQTT_PASSWORD",
    "INFLUXDB_TOKEN",
    "RUST_LOG",
    "NO_COLOR",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "XDG_CONFIG_HOME",
    "NOTIFY_SOCKET",
    "RUNTIME_DIRECTORY",
];

/// What a gateway counted, by the last line of its log that says so: what is not in it is 0.
#[derive(Debug)]
pub(crate) struct Metrics(BTreeMap<String, f64>);

impl<Q: AsRef<str> + ?Sized> Index<&Q> for Metrics {
    type Output = f64;

    fn index(&self, name: &Q) -> &f64 {
        self.0.get(name.as_ref()).unwrap_or(&0.0)
    }
}

/// A gateway in a folder of its own, which is its working directory, home and state folder.
pub(crate) struct Fieldgate {
    folder: TempDir,
    program: &'static str,
    arguments: Vec<OsString>,
    environment: Vec<(String, String)>,
    stdin: Option<ChildStdin>,
    process: Option<Process>,
}

impl Fieldgate {
    /// A gateway that is not started yet: `fieldgate run --no-tui --config config.toml` with this
    /// text as its configuration.
    pub(crate) fn new(config: &str) -> Self {
        let gateway = Self::with_arguments(&["run", "--no-tui", "--config", "config.toml"]);
        gateway.write_file("config.toml", config);
        gateway
    }

    /// A gateway that is not started yet, with these arguments alone.
    pub(crate) fn with_arguments(arguments: &[&str]) -> Self {
        Self::with_program(env!("CARGO_BIN_EXE_fieldgate"), arguments)
    }

    /// Another program in the gateway's place.
    pub(crate) fn with_program(program: &'static str, arguments: &[&str]) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            program,
            arguments: arguments.iter().map(OsString::from).collect(),
            environment: Vec::new(),
            stdin: None,
            process: None,
        }
    }

    /// Adds an argument.
    pub(crate) fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds arguments.
    pub(crate) fn args<const N: usize>(mut self, arguments: [&str; N]) -> Self {
        self.arguments.extend(arguments.map(OsString::from));
        self
    }

    /// Sets a variable of its environment.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Puts a shell script in front of all programs on its `PATH`.
    pub(crate) fn stand_in(self, name: &str, script: &str) -> Self {
        let folder = self.folder().join("bin");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(name), format!("#!/bin/sh\n{script}")).unwrap();
        std::fs::set_permissions(folder.join(name), Permissions::from_mode(0o755)).unwrap();
        let others = std::env::var("PATH").unwrap();
        let path = format!("{}:{others}", folder.display());
        self.env("PATH", &path)
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file into its folder.
    pub(crate) fn write_file(&self, name: &str, text: &str) {
        std::fs::write(self.folder().join(name), text).unwrap();
    }

    /// Starts it, for the first time or again in the same folder.
    pub(crate) fn start(mut self) -> Self {
        self.start_again();
        self
    }

    /// Starts it after it has ended, in the same folder.
    pub(crate) fn start_again(&mut self) {
        assert!(
            self.process
                .as_mut()
                .is_none_or(|process| process.exit_status().is_some()),
            "the gateway runs"
        );
        let mut command = Command::new(self.program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("FIELDGATE_") {
                command.env_remove(name);
            }
        }
        for name in CLEARED {
            command.env_remove(name);
        }
        command
            .args(&self.arguments)
            .current_dir(self.folder.path())
            .env("HOME", self.folder.path())
            .env("XDG_STATE_HOME", self.folder.path())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped());
        let mut process = Process::spawn("fieldgate", &mut command);
        self.stdin = process.take_stdin();
        self.process = Some(process);
    }

    /// Writes to its standard input.
    pub(crate) fn write_stdin(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("standard input is closed");
        stdin.write_all(bytes).unwrap();
        stdin.flush().unwrap();
    }

    /// Ends its standard input.
    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Its standard input, for somebody else to write to.
    pub(crate) fn take_stdin(&mut self) -> ChildStdin {
        self.stdin.take().expect("standard input is closed")
    }

    /// Its process identifier.
    pub(crate) fn pid(&mut self) -> u32 {
        self.process().id()
    }

    /// How many lines of either stream hold a text.
    pub(crate) fn count_log(&mut self, text: &str) -> usize {
        self.process().lines().count(text)
    }

    /// Waits until so many lines of either stream hold a text.
    pub(crate) fn wait_for_log_count(&mut self, text: &str, count: usize, patience: Duration) {
        let what = format!("{count} lines with {text:?}");
        self.process().wait_for(&what, patience, |lines| {
            (lines.count(text) >= count).then_some(())
        });
    }

    /// The first line that holds a text, of all that it printed until it ended.
    pub(crate) fn logged(&mut self, text: &str) -> String {
        let found = self.process().lines().find(text);
        found.unwrap_or_else(|| panic!("no line with {text:?}"))
    }

    /// Kills it, as a crash would.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        self.wait_exit(super::PATIENCE);
    }

    /// Sends it a signal.
    pub(crate) fn signal(&mut self, signal: Signal) {
        self.process().signal(signal);
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait_exit(&mut self, patience: Duration) -> ExitStatus {
        self.process().wait_exit(patience)
    }

    /// Waits for a line on either stream that holds a text, and returns the first.
    pub(crate) fn wait_for_log(&mut self, text: &str, patience: Duration) -> String {
        let what = format!("line with {text:?}");
        self.process()
            .wait_for(&what, patience, |lines| lines.find(text))
    }

    /// Waits until it has ended without a failure, and returns the metrics of its last log line by
    /// name and labels, as `queue_depth{sink="mqtt"}`.
    pub(crate) fn wait_for_metrics(&mut self, patience: Duration) -> Metrics {
        let status = self.wait_exit(patience);
        assert!(status.success(), "{status}");
        let lines = self.stdout();
        let metrics = lines.iter().rev().find_map(|line| {
            let (_, metrics) = line.split_once("Metrics: ")?;
            metrics.strip_suffix('.')
        });
        let metrics = metrics.expect("no metrics in the log").split(", ");
        let value = |metric: &str| {
            let (name, value) = metric.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        };
        Metrics(metrics.map(value).collect())
    }

    /// What it printed on its standard output so far.
    pub(crate) fn stdout(&mut self) -> Vec<String> {
        self.process().lines().of(Stream::Stdout)
    }

    /// What it printed on its standard error so far.
    pub(crate) fn stderr(&mut self) -> Vec<String> {
        self.process().lines().of(Stream::Stderr)
    }

    fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("the gateway was not started")
    }
}
