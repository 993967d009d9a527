//! This machine: room for the journal, a clock that is set, an address for the API.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::statvfs;

use super::report::Report;
use crate::api::{ApiError, Server};
use crate::config::{Api, Journal, JournalPath};
use crate::journal::Archive;
use crate::ownership;
use crate::system_clock::is_synchronised;
use crate::telemetry::Timestamp;

/// The least room for a journal without a bound in bytes.
const LEAST_ROOM: u64 = 100 << 20;

/// No clock that is set shows a time before this one, in seconds since 1970: 2025-01-01.
const EARLIEST: u64 = 1_735_689_600;

/// No clock that is set shows a time after this one, in seconds since 1970: 2100-01-01.
const LATEST: u64 = 4_102_444_800;

/// How far this clock and the server's may be apart.
const TOLERANCE: Duration = Duration::from_mins(1);

const JOURNAL: &str = "journal";

pub(super) fn check_journal(config: &Journal, report: &mut Report) {
    const WRITABLE: &str = "can be written";
    const ROOM: &str = "has room";
    let JournalPath::File(path) = &config.path else {
        report.passed(
            JOURNAL,
            WRITABLE,
            "in memory: what waits is lost when the gateway ends",
        );
        return;
    };
    let folder = match try_journal(path) {
        Ok(folder) => folder,
        Err(reason) => {
            let fix = "give the user that runs fieldgate the right to write there, or correct \
                       journal.path";
            report.failed(JOURNAL, WRITABLE, &reason, fix);
            return report.skipped(JOURNAL, ROOM, "needs the journal");
        }
    };
    report.passed(JOURNAL, WRITABLE, &path.display().to_string());
    let used = fs::metadata(path).map_or(0, |metadata| metadata.len());
    let needed = config
        .max_bytes
        .map_or(LEAST_ROOM, |bytes| bytes.saturating_sub(used));
    match statvfs(&folder) {
        Err(error) => report.failed(JOURNAL, ROOM, &error.to_string(), "check the disk"),
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            let detail = format!("{} free, {} wanted", mebibytes(free), mebibytes(needed));
            if free >= needed {
                report.passed(JOURNAL, ROOM, &detail);
            } else {
                let fix = "make room on the disk, or set journal.max_bytes lower";
                report.failed(JOURNAL, ROOM, &detail, fix);
            }
        }
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

/// Whether the journal is one that can be written, or could be made; returns its folder. An existing
/// journal is not changed: a gateway may be running.
fn try_journal(path: &Path) -> Result<PathBuf, String> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    let refused = |path: &Path, error: &io::Error| {
        let advice = ownership::advice(path, error);
        format!("cannot write {}: {error}; {advice}", path.display())
    };
    let in_folder = |error: io::Error| refused(&folder, &error);
    fs::create_dir_all(&folder).map_err(in_folder)?;
    let mut probe = tempfile::tempfile_in(&folder).map_err(in_folder)?;
    probe.write_all(b"fieldgate check").map_err(in_folder)?;
    probe.sync_all().map_err(in_folder)?;
    match OpenOptions::new().read(true).write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(refused(path, &error)),
        Ok(file) => {
            let is_empty = file.metadata().is_ok_and(|metadata| metadata.len() == 0);
            if !is_empty {
                Archive::open(path).map_err(|error| error.to_string())?;
            }
        }
    }
    Ok(folder)
}

/// `server_time` is what another machine has, if one was asked.
pub(super) fn check_clock(server_time: Option<SystemTime>, report: &mut Report) {
    const PART: &str = "clock";
    const SANE: &str = "is set";
    let fix = "set the clock: timedatectl set-ntp true";
    let now = SystemTime::now();
    let shown = match is_synchronised() {
        Some(false) => format!(
            "{}, which the system says is not synchronised",
            Timestamp::now()
        ),
        Some(true) | None => Timestamp::now().to_string(),
    };
    let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    if !(EARLIEST..LATEST).contains(&since_epoch.as_secs()) {
        return report.failed(PART, SANE, &shown, fix);
    }
    let apart = server_time.map(|server| {
        let ahead = now.duration_since(server);
        ahead.unwrap_or_else(|error| error.duration())
    });
    match apart {
        Some(apart) if apart > TOLERANCE => {
            let apart = humantime::format_duration(Duration::from_secs(apart.as_secs()));
            let detail = format!("{shown}, {apart} away from that of the InfluxDB server");
            report.failed(PART, SANE, &detail, fix);
        }
        Some(_) => report.passed(
            PART,
            SANE,
            &format!("{shown}, as the InfluxDB server has it"),
        ),
        None => report.passed(PART, SANE, &shown),
    }
}

pub(super) async fn check_api(config: &Api, report: &mut Report) {
    const PART: &str = "api";
    const FREE: &str = "can listen";
    match Server::bind(config).await {
        Ok(server) => report.passed(PART, FREE, &server.address()),
        Err(ApiError::Bind { error, .. })
            if error.kind() == io::ErrorKind::AddrInUse && is_fieldgate(config).await =>
        {
            report.passed(PART, FREE, &format!("{}, a fieldgate does", config.listen));
        }
        Err(error) => report.failed(PART, FREE, &error.to_string(), "change api.listen"),
    }
}

/// Whether a gateway answers there already.
async fn is_fieldgate(config: &Api) -> bool {
    let url = format!("http://{}/healthz", config.listen);
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(2))
        .build();
    let Ok(client) = client else { return false };
    let Ok(response) = client.get(url).send().await else {
        return false;
    };
    let body = response.text().await.unwrap_or_default();
    let health: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
    health["status"] == "ok"
}
