//! Log files, one a day or an hour, the oldest of which go.
//!
//! A line goes into the file of its time whichever way the clock went: a clock that is put right leaves
//! next year's file, and that file is the first to go.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::config::LogRotation;

const PREFIX: &str = "fieldgate.";
const SUFFIX: &str = "log";

/// How far ahead of now a file may be without being old.
const AHEAD: Duration = Duration::from_hours(1);

/// Writes to the file of the current day or hour.
#[derive(Debug)]
pub(super) struct RollingFile {
    folder: PathBuf,
    rotation: LogRotation,
    max_files: usize,
    file: File,
    /// Which day or hour the file is of.
    number: u64,
}

impl RollingFile {
    /// Opens or creates the file of now.
    pub(super) fn open(folder: &Path, rotation: LogRotation, max_files: usize) -> io::Result<Self> {
        Self::open_at(SystemTime::now(), folder, rotation, max_files)
    }

    fn open_at(
        now: SystemTime,
        folder: &Path,
        rotation: LogRotation,
        max_files: usize,
    ) -> io::Result<Self> {
        let rolling = Self {
            folder: folder.to_owned(),
            rotation,
            max_files,
            file: open_file(&folder.join(name_of(rotation, now)))?,
            number: number_of(rotation, now),
        };
        rolling.remove_oldest(now);
        Ok(rolling)
    }

    fn write_at(&mut self, now: SystemTime, bytes: &[u8]) -> io::Result<usize> {
        let number = number_of(self.rotation, now);
        // Where no new file can be made, the old one still takes lines.
        if number != self.number
            && let Ok(file) = open_file(&self.folder.join(name_of(self.rotation, now)))
        {
            self.file = file;
            self.number = number;
            self.remove_oldest(now);
        }
        self.file.write(bytes)
    }

    /// Removes the oldest files; those from a time that has not come are older than any.
    fn remove_oldest(&self, now: SystemTime) {
        if self.rotation == LogRotation::Never {
            return;
        }
        let current = name_of(self.rotation, now);
        let horizon = name_of(self.rotation, now + AHEAD);
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| is_of_a_time(name) && *name != current)
            .collect();
        names.sort_by_key(|name| (*name <= horizon, name.clone()));
        let too_many = (names.len() + 1).saturating_sub(self.max_files);
        for name in names.into_iter().take(too_many) {
            // One that stays is tried again with the next file.
            let _kept = fs::remove_file(self.folder.join(name));
        }
    }
}

impl Write for RollingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_at(SystemTime::now(), bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}

/// Counts the days or hours.
fn number_of(rotation: LogRotation, now: SystemTime) -> u64 {
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    match rotation {
        LogRotation::Hourly => seconds / 3_600,
        LogRotation::Daily => seconds / 86_400,
        LogRotation::Never => 0,
    }
}

/// The name of the file of that time: `fieldgate.2026-03-01.log`.
fn name_of(rotation: LogRotation, now: SystemTime) -> String {
    let now = now.max(UNIX_EPOCH);
    let text = humantime::format_rfc3339_seconds(now).to_string();
    let (day, hour) = (text.get(..10), text.get(11..13));
    match (rotation, day, hour) {
        (LogRotation::Hourly, Some(day), Some(hour)) => format!("{PREFIX}{day}-{hour}.{SUFFIX}"),
        (LogRotation::Daily, Some(day), _) => format!("{PREFIX}{day}.{SUFFIX}"),
        _ => format!("{PREFIX}{SUFFIX}"),
    }
}

/// Whether it is the name of a file of a day or an hour.
fn is_of_a_time(name: &str) -> bool {
    let time = name
        .strip_prefix(PREFIX)
        .and_then(|name| name.strip_suffix(SUFFIX))
        .and_then(|time| time.strip_suffix('.'));
    time.is_some_and(|time| {
        matches!(time.len(), 10 | 13) && time.bytes().all(|b| b.is_ascii_digit() || b == b'-')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;

    /// So many days and hours after 1 March 2026.
    fn at(days: u64, hours: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_772_323_200 + days * DAY + hours * 3_600)
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn open(folder: &Path, rotation: LogRotation, now: SystemTime) -> RollingFile {
        RollingFile::open_at(now, folder, rotation, 3).unwrap()
    }

    #[test]
    fn each_day_has_a_file_and_the_oldest_go() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("fieldgate.notes.log"), "theirs").unwrap();
        let mut file = open(folder.path(), LogRotation::Daily, at(0, 0));
        for (days, hours) in [(0, 23), (1, 0), (2, 5), (3, 0), (3, 1)] {
            let line = format!("{days} {hours}\n");
            file.write_at(at(days, hours), line.as_bytes()).unwrap();
        }
        assert_eq!(
            names(folder.path()),
            [
                "fieldgate.2026-03-02.log",
                "fieldgate.2026-03-03.log",
                "fieldgate.2026-03-04.log",
                "fieldgate.notes.log",
            ]
        );
        let last = folder.path().join("fieldgate.2026-03-04.log");
        assert_eq!(fs::read_to_string(last).unwrap(), "3 0\n3 1\n");
    }

    #[test]
    fn a_clock_that_is_put_right_takes_the_log_back_and_next_years_file_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = open(folder.path(), LogRotation::Daily, at(365, 0));
        file.write_at(at(365, 0), b"next year\n").unwrap();
        file.write_at(at(0, 12), b"now\n").unwrap();
        let today = folder.path().join("fieldgate.2026-03-01.log");
        assert_eq!(fs::read_to_string(&today).unwrap(), "now\n");
        for days in 1..=2 {
            file.write_at(at(days, 0), b"later\n").unwrap();
        }
        assert_eq!(
            names(folder.path()),
            [
                "fieldgate.2026-03-01.log",
                "fieldgate.2026-03-02.log",
                "fieldgate.2026-03-03.log",
            ]
        );
    }

    #[test]
    fn hours_have_names_of_their_own_and_one_file_may_be_all() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = open(folder.path(), LogRotation::Hourly, at(0, 7));
        file.write_at(at(0, 8), b"line\n").unwrap();
        let mut file = open(folder.path(), LogRotation::Never, at(0, 7));
        file.write_at(at(700, 8), b"line\n").unwrap();
        assert_eq!(
            names(folder.path()),
            [
                "fieldgate.2026-03-01-07.log",
                "fieldgate.2026-03-01-08.log",
                "fieldgate.log",
            ]
        );
    }
}
