//! `[journal]`: where packets are kept, and for how long.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::kind::{Kind, bytes, duration, one_of, path_of, whole};
use crate::config::section::Section;
use crate::config::setting::Value;

/// `[journal]`.
#[derive(Debug, Clone)]
pub struct Journal {
    /// Where it lives.
    pub path: JournalPath,
    /// Messages kept, delivered ones included; beyond, the oldest go.
    pub max_messages: u64,
    /// Size of the data in bytes beyond which the oldest go; `None`: only `max_messages` counts.
    pub max_bytes: Option<u64>,
    /// What a commit survives.
    pub durability: Durability,
    /// How long delivered packets stay.
    pub history: Duration,
}

/// Where the journal lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JournalPath {
    /// `:memory:`: lost with the process.
    Memory,
    /// A file.
    File(PathBuf),
}

/// What a commit survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// A power cut: every group commit is synced to the disk.
    Full,
    /// A power cut, but for what came in within this time before it: so often commits are synced.
    Interval(Duration),
    /// A crash of the process.
    Normal,
}

/// As `humantime` counts: a year has 365.25 days.
const TEN_YEARS: Duration = Duration::from_hours(10 * (365 * 24 + 6));

/// Reads the section.
pub(super) fn read(section: &mut Section<'_, '_>) -> Option<Journal> {
    const LEAST_BYTES: u64 = 64 * 1024;
    let file = section
        .environment()
        .state_directory()
        .map(|state| state.join("journal.db"));
    let file = file.and_then(|file| file.into_os_string().into_string().ok());
    let described = "$STATE_DIRECTORY/journal.db, else $XDG_STATE_HOME/fieldgate/journal.db, \
                     else ~/.local/state/fieldgate/journal.db";
    let path = section.or_described("path", file.map(Value::Text), described, &journal_path());
    let max_messages = match path {
        Some(JournalPath::Memory) => 1_000,
        _ => 10_000_000,
    };
    let max_messages = section.or_described(
        "max_messages",
        Some(max_messages.into()),
        "10000000, in memory 1000",
        // SQLite counts in signed numbers.
        &whole(1..=i64::MAX.into()),
    );
    let max_bytes = section.optional("max_bytes", &bytes(LEAST_BYTES));
    let durability = section.or(
        "durability",
        "full",
        &one_of(&[
            ("full", Some(Durability::Full)),
            ("interval", None),
            ("normal", Some(Durability::Normal)),
        ]),
    );
    let interval = duration(Duration::from_secs(1)..=Duration::from_hours(1));
    let sync_interval = section.or("sync_interval", "10s", &interval);
    let history = section.or("history", "24h", &duration(Duration::ZERO..=TEN_YEARS));
    let advice = "HOME is not set, so that there is no default: set journal.path";
    Some(Journal {
        path: section.require("path", path, Some(advice))?,
        max_messages: max_messages?,
        max_bytes,
        durability: durability?.unwrap_or(Durability::Interval(sync_interval?)),
        history: history?,
    })
}

/// Where the journal lives.
fn journal_path() -> Kind<JournalPath> {
    Kind::of_text("the path of a file, or \":memory:\"", |text| {
        Ok(match path_of(text)? {
            ":memory:" => JournalPath::Memory,
            path => JournalPath::File(PathBuf::from(path)),
        })
    })
}

impl Journal {
    /// In a line for the log, without secrets.
    pub(in crate::config) fn summary(&self) -> String {
        let place = match &self.path {
            JournalPath::Memory => "in memory".to_owned(),
            JournalPath::File(path) => path.display().to_string(),
        };
        let bytes = self.max_bytes.map(|bytes| format!(" or {bytes} bytes"));
        format!(
            "{place}, at most {} messages{}, history of {}",
            self.max_messages,
            bytes.unwrap_or_default(),
            humantime::format_duration(self.history)
        )
    }
}
