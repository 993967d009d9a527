//! `[log]`: which lines are written, and where.

use std::path::PathBuf;
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::config::kind::{Kind, NotAllowed, duration, one_of, path, whole};
use crate::config::section::Section;
use crate::config::setting::Value;

/// `[log]`.
#[derive(Debug, Clone)]
pub struct Log {
    /// Folder of the log files; `None`: no files.
    pub dir: Option<PathBuf>,
    /// When a new file is begun.
    pub rotation: LogRotation,
    /// How many files are kept; the oldest go first.
    pub max_files: usize,
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter as `info,fieldgate::sink=debug`.
    pub level: String,
    /// How lines are written.
    pub format: LogFormat,
    /// Where lines go when no terminal UI runs.
    pub output: LogOutput,
    /// How often the metrics that changed are written; `None`: never.
    pub metrics: Option<Duration>,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Where log lines go when no terminal UI runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogOutput {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// When a new log file is begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogRotation {
    /// Every hour.
    Hourly,
    /// Every day.
    Daily,
    /// Never.
    Never,
}

/// The log formats by their names.
pub const LOG_FORMATS: [(&str, LogFormat); 2] =
    [("text", LogFormat::Text), ("json", LogFormat::Json)];

/// Reads the section.
pub(super) fn read(section: &mut Section<'_, '_>) -> Option<Log> {
    let rotations = &[
        ("daily", LogRotation::Daily),
        ("hourly", LogRotation::Hourly),
        ("never", LogRotation::Never),
    ];
    let outputs = &[("stdout", LogOutput::Stdout), ("stderr", LogOutput::Stderr)];
    let dir = section.optional("dir", &path());
    let rotation = section.or("rotation", "daily", &one_of(rotations));
    let max_files = section.or("max_files", 14, &whole(1..=10_000));
    let level = section.or("level", "info", &level());
    let format = section.or("format", "text", &one_of(&LOG_FORMATS));
    let output = section.or("output", "stdout", &one_of(outputs));
    let metrics = section.or("metrics", "1m", &interval());
    Some(Log {
        dir,
        rotation: rotation?,
        max_files: max_files?,
        level: level?,
        format: format?,
        output: output?,
        metrics: metrics?,
    })
}

/// How often something is written.
fn interval() -> Kind<Option<Duration>> {
    const DAY: Duration = Duration::from_hours(24);
    let interval = duration(Duration::from_secs(1)..=DAY);
    let allowed = format!("\"off\", or {}", interval.allowed);
    Kind::new(allowed, move |value| match value {
        Value::Text(text) | Value::Untyped(text) if text == "off" => Ok(None),
        value => interval.parse(value).map(Some),
    })
}

/// The filter of log lines.
fn level() -> Kind<String> {
    let allowed = "off, error, warn, info, debug or trace, alone or for a part of the program as \
                   \"info,fieldgate::sink=debug\"";
    Kind::of_text(allowed, |text| {
        // A filter takes any bare word for a part of the program to be logged in full, so that a
        // misspelt level would silence all the rest.
        let is_level = |part: &str| !part.is_empty() && part.parse::<LevelFilter>().is_ok();
        let mut bare = text.split(',').filter(|part| !part.contains(['=', '[']));
        if !bare.all(|part| is_level(part.trim())) {
            return Err(NotAllowed::default());
        }
        match EnvFilter::builder().parse(text) {
            Ok(_) => Ok(text.to_owned()),
            Err(error) => Err(error.to_string().into()),
        }
    })
}

impl Log {
    /// In a line for the log, without secrets.
    pub(in crate::config) fn summary(&self) -> String {
        match &self.dir {
            Some(dir) => format!("level {}, files in {}", self.level, dir.display()),
            None => format!("level {}, no files", self.level),
        }
    }
}
