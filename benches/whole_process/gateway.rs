//! The gateway as a process, and what `/proc` knows of it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

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

impl Gateway {
    pub fn start(folder: &Path, input: &Input<'_>, targets: Targets) -> Self {
        let mut command = Command::new(BINARY);
        let journal = folder.join("journal.db");
        command
            .current_dir(folder)
            .args(["run", "--no-tui", "--log-level", "warn"]);
        command.arg("--journal").arg(journal).stdout(Stdio::null());
        match input {
            Input::File(path) => {
                command
                    .args(["--source", "-"])
                    .stdin(File::open(path).unwrap());
            }
            Input::Pipe => {
                command.args(["--source", "-"]).stdin(Stdio::piped());
            }
            Input::Simulator { rate } => {
                let rate = rate.to_string();
                command.args(["--source", "simulator", "--seed", "1", "--rate", &rate]);
            }
        }
        if let Some(port) = targets.mqtt {
            command.args(["--broker-url", &format!("mqtt://127.0.0.1:{port}")]);
        }
        if let Some(port) = targets.influxdb {
            command.args(["--influxdb-url", &format!("http://127.0.0.1:{port}")]);
            command.args([
                "--set",
                "influxdb.org=bench",
                "--set",
                "influxdb.bucket=bench",
            ]);
        }
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{BINARY}: {error}"));
        Self { child }
    }

    /// Waits for the end; returns the most memory it had by then, in MiB.
    pub fn wait(&mut self) -> f64 {
        let mut peak = 0.0;
        loop {
            peak = self.memory("VmHWM").unwrap_or(peak);
            if let Some(status) = self.child.try_wait().unwrap() {
                assert!(status.success(), "the gateway ended with {status}");
                return peak;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A line of `/proc/PID/status`, in MiB.
    pub fn memory(&self, field: &str) -> Option<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find(|line| line.starts_with(field))?;
        let kibibytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kibibytes / 1024.0)
    }

    /// The share of a core that it takes, in percent, over some time.
    pub fn cpu_percent(&self, time: Duration) -> f64 {
        let ticks = || -> f64 {
            let stat = format!("/proc/{}/stat", self.child.id());
            let stat = std::fs::read_to_string(stat).unwrap();
            // Behind the name, which may hold spaces: utime and stime are fields 14 and 15.
            let fields: Vec<&str> = stat
                .rsplit(')')
                .next()
                .unwrap()
                .split_whitespace()
                .collect();
            fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()
        };
        let (before, since) = (ticks(), Instant::now());
        std::thread::sleep(time);
        // Linux counts in hundredths of a second on every machine that this runs on.
        (ticks() - before) / since.elapsed().as_secs_f64()
    }

    pub fn stop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        self.wait();
    }
}

/// Messages that a sink has acknowledged, by the journal itself.
pub fn acknowledged(journal: &PathBuf, sink: &str) -> u64 {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let Ok(connection) = rusqlite::Connection::open_with_flags(journal, flags) else {
        return 0;
    };
    let query = "SELECT total FROM cursors WHERE sink = ?";
    connection
        .query_row(query, [sink], |row| row.get::<_, i64>(0))
        .unwrap_or(0)
        .unsigned_abs()
}
