//! What the machine says of the journal's disk and of its own clock.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::stat::{major, minor};
use rustix::fs::statvfs;
use tokio::task;
use tokio::time::{MissedTickBehavior, interval};

use crate::config::{Config, JournalPath};
use crate::monitor::{Monitor, Storage};
use crate::system_clock::is_synchronised;

/// How often the machine is asked.
const INTERVAL: Duration = Duration::from_secs(1);

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
        let free = disk.f_bavail * disk.f_frsize;
        Some(Storage {
            journal_bytes: bytes(path).ok()?,
            log_bytes: bytes(&log_of(path)).unwrap_or(0),
            max_bytes: self.max_bytes,
            free_bytes: free >> 20 << 20,
            disk_bytes: disk.f_blocks * disk.f_frsize,
            is_card: device_of(path).is_ok_and(|device| is_card(&device)),
        })
    }
}

/// Beside the journal, as SQLite names it.
fn log_of(journal: &Path) -> PathBuf {
    let mut name = journal.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// The disk that a file is on, as the kernel names it: with all that it is plugged into.
fn device_of(path: &Path) -> io::Result<PathBuf> {
    let device = fs::metadata(path)?.dev();
    fs::read_link(format!(
        "/sys/dev/block/{}:{}",
        major(device),
        minor(device)
    ))
}

fn is_card(device: &Path) -> bool {
    let mut parts = device.iter().filter_map(OsStr::to_str);
    parts.any(|part| part.starts_with("mmcblk"))
}

fn bytes(path: &Path) -> io::Result<u64> {
    Ok(fs::metadata(path)?.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_told_from_a_disk() {
        let devices = "../../devices/";
        for (device, expected) in [
            (
                "platform/emmc2bus/fe340000.mmc/mmc_host/mmc0/mmc0:aaaa/block/mmcblk0/mmcblk0p2",
                true,
            ),
            ("pci0000:00/0000:00:04.0/virtio1/block/vda", false),
            (
                "platform/scb/fd500000.pcie/usb2/2-1/host0/target0:0:0/0:0:0:0/block/sda/sda2",
                false,
            ),
        ] {
            assert_eq!(
                is_card(Path::new(&format!("{devices}{device}"))),
                expected,
                "{device}"
            );
        }
    }
}
