//! The gateway as a process, and what `/proc` and its journal know of it.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fieldgate::journal::Archive;

/// The gateway's binary, built with the release profile as benches are.
pub const BINARY: &str = env!("CARGO_BIN_EXE_fieldgate");

/// Where its data comes from.
pub enum Input<'a> {
    File(&'a Path),
    Pipe,
    Simulator { rate: f64 },
}

/// A running gateway; killed with this value.
pub struct Gateway {
    pub child: Child,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

/// What it delivers to.
#[derive(Clone, Copy, Default)]
pub struct Targets {
    pub mqtt: Option<u16>,
    pub influxdb: Option<u16>,
}

/// The command line of a gateway that delivers there, its journal in `folder`.
pub fn arguments(folder: &Path, input: &Input<'_>, targets: Targets) -> Vec<String> {
    let journal = folder.join("journal.db");
    let mut arguments = vec!["run".to_owned(), "--log-level=warn".to_owned()];
    let mut add = |words: &[&str]| arguments.extend(words.iter().map(|word| (*word).to_owned()));
    add(&["--journal", &journal.display().to_string()]);
    match input {
        Input::File(_) | Input::Pipe => add(&["--source", "-"]),
        Input::Simulator { rate } => {
            let rate = rate.to_string();
            add(&["--source", "simulator", "--seed", "1", "--rate", &rate]);
        }
    }
    if let Some(port) = targets.mqtt {
        add(&["--broker-url", &format!("mqtt://127.0.0.1:{port}")]);
    }
    if let Some(port) = targets.influxdb {
        add(&["--influxdb-url", &format!("http://127.0.0.1:{port}")]);
        add(&[
            "--set",
            "influxdb.org=bench",
            "--set",
            "influxdb.bucket=bench",
        ]);
    }
    arguments
}

impl Gateway {
    /// Starts it without a screen, with further `settings` on its command line.
    pub fn start(folder: &Path, input: &Input<'_>, targets: Targets, settings: &[&str]) -> Self {
        let mut command = Command::new(BINARY);
        command
            .current_dir(folder)
            .args(arguments(folder, input, targets))
            .arg("--no-tui")
            .args(settings)
            // As the unit has it.
            .env("MALLOC_ARENA_MAX", "2")
            .stdout(Stdio::null());
        match input {
            Input::File(path) => command.stdin(File::open(path).unwrap()),
            Input::Pipe => command.stdin(Stdio::piped()),
            Input::Simulator { .. } => command.stdin(Stdio::null()),
        };
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{BINARY}: {error}"));
        Self { child }
    }

    pub fn usage(&self) -> Usage {
        Usage(self.child.id())
    }

    pub fn memory(&self, field: &str) -> Option<f64> {
        self.usage().memory(field)
    }

    /// Waits for the end; returns what it took by then.
    pub fn wait(&mut self) -> Spent {
        let mut spent = Spent::default();
        loop {
            // A process that has ended has no memory any more.
            if let Some(memory) = self.memory("VmHWM") {
                let cpu = self.usage().cpu_seconds();
                spent = Spent { memory, cpu };
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                assert!(status.success(), "the gateway ended with {status}");
                return spent;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn stop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        self.wait();
    }
}

/// What a process took.
#[derive(Clone, Copy, Default)]
pub struct Spent {
    /// The most that it had at once, in MiB.
    pub memory: f64,
    /// In seconds.
    pub cpu: f64,
}

/// What `/proc` knows of a process.
#[derive(Clone, Copy)]
pub struct Usage(pub u32);

impl Usage {
    /// A line of `/proc/PID/status`, in MiB.
    pub fn memory(self, field: &str) -> Option<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0)).ok()?;
        let line = status.lines().find(|line| line.starts_with(field))?;
        let kibibytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kibibytes / 1024.0)
    }

    /// What it has written to disks so far, in bytes: whole pages, as the system counts.
    pub fn written(self) -> f64 {
        let io = std::fs::read_to_string(format!("/proc/{}/io", self.0)).unwrap();
        let mut lines = io.lines();
        let bytes = lines.find_map(|line| line.strip_prefix("write_bytes: "));
        bytes.unwrap().parse().unwrap()
    }

    /// The time that it has computed so far.
    pub fn cpu_seconds(self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap();
        // Behind the name, which may hold spaces: utime and stime are fields 14 and 15.
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap()
            .split_whitespace()
            .collect();
        let ticks = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
        // Linux counts in hundredths of a second on every machine that this runs on.
        ticks / 100.0
    }

    /// The share of a core that it takes, in percent, over some time.
    pub fn cpu_percent(self, time: Duration) -> f64 {
        let (before, since) = (self.cpu_seconds(), Instant::now());
        std::thread::sleep(time);
        100.0 * (self.cpu_seconds() - before) / since.elapsed().as_secs_f64()
    }
}

/// Messages that a sink has acknowledged, by the journal itself.
pub fn acknowledged(journal: &Path, sink: &str) -> u64 {
    let acknowledged = Archive::open(journal).map(|journal| journal.acknowledged());
    let mut sinks = acknowledged.unwrap_or_default().into_iter();
    let found = sinks.find(|(name, _)| name == sink);
    found.map_or(0, |(_, position)| position.total)
}

/// Messages that were ever stored.
pub fn stored(journal: &Path) -> u64 {
    let query = "SELECT total FROM packets ORDER BY sequence DESC LIMIT 1";
    number(journal, query)
}

/// The oldest row that is still stored.
pub fn first_stored(journal: &Path) -> u64 {
    number(journal, "SELECT min(sequence) FROM packets")
}

/// 0 while there is no journal, or it cannot be read.
fn number(journal: &Path, query: &str) -> u64 {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let Ok(connection) = rusqlite::Connection::open_with_flags(journal, flags) else {
        return 0;
    };
    connection
        .query_row(query, [], |row| row.get::<_, i64>(0))
        .unwrap_or(0)
        .unsigned_abs()
}
