//! What the machine says of the journal's disk and of its own clock.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::statvfs::statvfs;
use tokio::task;
use tokio::time::{MissedTickBehavior, interval};

use crate::config::{Config, JournalPath};
use crate::monitor::{Monitor, Storage};
use crate::system_clock::is_synchronised;

/// How often the machine is asked.
const INTERVAL: Duration = Duration::from_secs(2);

/// What is asked of the machine.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    /// `None`: the journal is in memory.
    journal: Option<PathBuf>,
    max_bytes: Option<u64>,
    needs_right_clock: bool,
}

impl Machine {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            journal: match &config.journal.path {
                JournalPath::Memory => None,
                JournalPath::File(path) => Some(path.clone()),
            },
            max_bytes: config.journal.max_bytes,
            needs_right_clock: config.telemetry.wait_for_clock.is_some(),
        }
    }

    /// Tells the monitor, for as long as somebody waits for it.
    pub(super) async fn follow(self, monitor: Arc<Monitor>) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let machine = self.clone();
            // A disk that does not answer holds up this task alone.
            let monitor = Arc::clone(&monitor);
            let looking = task::spawn_blocking(move || machine.look(&monitor));
            if looking.await.is_err() {
                return;
            }
        }
    }

    /// Tells the monitor how it is now.
    pub(super) fn look(&self, monitor: &Monitor) {
        let clock_unsynchronised = self.needs_right_clock && is_synchronised() == Some(false);
        monitor.set_machine(self.storage(), clock_unsynchronised);
    }

    /// `None` as well when the system does not say.
    fn storage(&self) -> Option<Storage> {
        let path = self.journal.as_deref()?;
        let disk = statvfs(path).ok()?;
        let fragment = disk.fragment_size();
        let free = disk.blocks_available() * fragment;
        Some(Storage {
            journal_bytes: bytes(path).ok()?,
            log_bytes: bytes(&log_of(path)).unwrap_or(0),
            max_bytes: self.max_bytes,
            free_bytes: free >> 20 << 20,
            disk_bytes: disk.blocks() * fragment,
        })
    }
}

/// Beside the journal, as SQLite names it.
fn log_of(journal: &Path) -> PathBuf {
    let mut name = journal.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

fn bytes(path: &Path) -> io::Result<u64> {
    Ok(fs::metadata(path)?.len())
}
