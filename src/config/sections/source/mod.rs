//! `[source]`: where bytes come from. The keys of every kind are known whatever kind is chosen, so that
//! one file can hold several and switch between them.

mod format;
mod input;
mod named;
mod port;

use std::cmp::Ordering;
use std::path::PathBuf;

pub use input::LineEnding;
pub use named::{NamedSource, SOURCE_PLACEHOLDER};
pub(in crate::config) use named::{read as read_all, tell_apart};
pub use port::{ControlLine, Port, PortSelector, Reset};
pub use serialport::{DataBits, FlowControl, Parity, StopBits};

use crate::config::kind::{Kind, OrRefuse, argv, at_least, number, one_of, path, text, whole};
use crate::config::section::Section;
use crate::config::time::parse_time;
use crate::telemetry::{Beginning, Format, Timeline, Timestamp};

/// `[source]`: where bytes come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// A serial port.
    Serial(Port),
    /// `probe-rs run` with a debug probe.
    ProbeRs {
        /// `--probe`; `None`: the only one attached.
        probe_id: Option<String>,
        /// `--chip`.
        chip: String,
        /// The ELF file to run.
        firmware_path: PathBuf,
        /// What stands behind a text that is sent.
        line_ending: LineEnding,
    },
    /// Any program; its standard output is read.
    Command {
        /// Program and arguments; never empty.
        argv: Vec<String>,
        /// What stands behind a text that is sent.
        line_ending: LineEnding,
    },
    /// Standard input.
    Stdin,
    /// A recorded stream.
    File {
        /// The recording.
        path: PathBuf,
        /// How fast it is replayed.
        speed: Speed,
    },
    /// Made-up nodes.
    Simulator(Simulator),
}

/// When a recording was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Recorded {
    /// As its file says.
    #[default]
    Unsaid,
    /// Its first packet was measured then.
    StartsAt(Timestamp),
    /// Its last packet was measured then.
    EndsAt(Timestamp),
}

/// How fast a recording is replayed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Speed {
    /// So many times as fast as it was recorded; positive.
    Factor(f64),
    /// As fast as it can be read.
    Max,
}

/// `[source]` with `kind = "simulator"`.
#[derive(Debug, Clone, PartialEq)]
pub struct Simulator {
    /// How many nodes report.
    pub nodes: u32,
    /// Packets per second of all together.
    pub rate: f64,
    /// The same seed gives the same stream; `None`: a random one.
    pub seed: Option<u64>,
    /// The share of frames that is damaged, 0 to 1.
    pub damage: f64,
    /// Ends after so many packets; `None`: never.
    pub count: Option<u64>,
}

/// What a source can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// [`Source::Serial`].
    Serial,
    /// [`Source::ProbeRs`].
    ProbeRs,
    /// [`Source::Command`].
    Command,
    /// [`Source::Stdin`].
    Stdin,
    /// [`Source::File`].
    File,
    /// [`Source::Simulator`].
    Simulator,
}

/// The kinds of sources by their names.
pub const SOURCE_KINDS: [(&str, SourceKind); 6] = [
    ("serial", SourceKind::Serial),
    ("probe-rs", SourceKind::ProbeRs),
    ("command", SourceKind::Command),
    ("stdin", SourceKind::Stdin),
    ("file", SourceKind::File),
    ("simulator", SourceKind::Simulator),
];

/// Reads the section.
fn read(section: &mut Section<'_, '_>) -> Option<(Source, Recorded, Format)> {
    let kind = section.or("kind", "serial", &one_of(&SOURCE_KINDS));
    let line_ending = input::line_ending(section);
    let serial = port::read(section, kind == Some(SourceKind::Serial), line_ending);
    let probe_rs = probe_rs(section, kind == Some(SourceKind::ProbeRs), line_ending);
    let command = command(section, kind == Some(SourceKind::Command), line_ending);
    let file = file(section, kind == Some(SourceKind::File));
    let recorded = recorded(section);
    let simulator = simulator(section);
    let format = format::read(section);
    let source = match kind? {
        SourceKind::Serial => serial.map(Source::Serial),
        SourceKind::ProbeRs => probe_rs,
        SourceKind::Command => command,
        SourceKind::Stdin => Some(Source::Stdin),
        SourceKind::File => file,
        SourceKind::Simulator => simulator,
    };
    Some((source?, recorded, format?))
}

fn probe_rs(
    section: &mut Section<'_, '_>,
    chosen: bool,
    line_ending: Option<LineEnding>,
) -> Option<Source> {
    let probe_id = section.optional("probe_id", &text());
    let chip = section.optional("chip", &text());
    let firmware_path = section.optional("firmware_path", &path());
    if !chosen {
        return None;
    }
    let chip = section.require("chip", chip, None);
    let firmware_path = section.require("firmware_path", firmware_path, None);
    Some(Source::ProbeRs {
        probe_id,
        chip: chip?,
        firmware_path: firmware_path?,
        line_ending: line_ending?,
    })
}

fn command(
    section: &mut Section<'_, '_>,
    chosen: bool,
    line_ending: Option<LineEnding>,
) -> Option<Source> {
    let argv = section.optional("command", &argv());
    if !chosen {
        return None;
    }
    let argv = section.require("command", argv, None);
    Some(Source::Command {
        argv: argv?,
        line_ending: line_ending?,
    })
}

fn file(section: &mut Section<'_, '_>, chosen: bool) -> Option<Source> {
    let path = section.optional("path", &path());
    let speed = section.or("speed", 1, &speed());
    if !chosen {
        return None;
    }
    let path = section.require("path", path, None);
    Some(Source::File {
        path: path?,
        speed: speed?,
    })
}

/// When a recording was made. A higher layer replaces the choice of a lower one.
fn recorded(section: &mut Section<'_, '_>) -> Recorded {
    let starts_at = section
        .optional("starts_at", &time())
        .map(Recorded::StartsAt);
    let ends_at = section.optional("ends_at", &time()).map(Recorded::EndsAt);
    let (Some(starts_at), Some(ends_at)) = (starts_at, ends_at) else {
        return starts_at.or(ends_at).unwrap_or_default();
    };
    match section.layer("starts_at").cmp(&section.layer("ends_at")) {
        Ordering::Greater => starts_at,
        Ordering::Less => ends_at,
        Ordering::Equal => {
            let problem = "stands beside source.starts_at";
            let allowed = "one of source.starts_at and source.ends_at";
            section.refuse("ends_at", problem, allowed.into());
            Recorded::Unsaid
        }
    }
}

fn simulator(section: &mut Section<'_, '_>) -> Option<Source> {
    let rate = "a number of packets per second, above 0 and at most 1000000";
    let rate = number(rate, |rate| rate > 0.0 && rate <= 1e6);
    let damage = number("a number from 0 to 1", |share| (0.0..=1.0).contains(&share));
    let nodes = section.or("nodes", 3, &whole(1..=10_000));
    let rate = section.or("rate", 1.0, &rate);
    let seed = section.optional("seed", &at_least(0));
    let damage = section.or("damage", 0.0, &damage);
    let count = section.optional("count", &at_least(1));
    Some(Source::Simulator(Simulator {
        nodes: nodes?,
        rate: rate?,
        seed,
        damage: damage?,
        count,
    }))
}

/// How fast a recording is replayed.
fn speed() -> Kind<Speed> {
    let factor = number("a number above 0, or \"max\"", |factor| factor > 0.0);
    Kind::new(factor.allowed.clone(), move |value| {
        use crate::config::setting::Value::{Text, Untyped};
        match value {
            Text(text) | Untyped(text) if text == "max" => Ok(Speed::Max),
            _ => factor.parse(value).map(Speed::Factor),
        }
    })
}

/// A time in the configuration: as everywhere, or as `date` and `ls` print it, in UTC.
fn time() -> Kind<Timestamp> {
    let allowed = "a time as \"2026-03-01T12:00:00Z\", \"2026-03-01T13:00:00+01:00\" or, in UTC, \
                   \"2026-03-01 12:00:00\"";
    Kind::of_text(allowed, |text| {
        let in_utc = || {
            let time = humantime::parse_rfc3339_weak(text.trim()).ok()?;
            parse_time(&humantime::format_rfc3339_nanos(time).to_string())
        };
        parse_time(text).or_else(in_utc).ok_or_default()
    })
}

impl Source {
    /// In a line for the log, without secrets.
    pub(in crate::config) fn summary(&self) -> String {
        match self {
            Source::Serial(port) => {
                format!(
                    "serial port {} at {}",
                    port.selector.described(),
                    port.framing()
                )
            }
            Source::ProbeRs {
                chip,
                firmware_path,
                ..
            } => format!("probe-rs, {} on {chip}", firmware_path.display()),
            Source::Command { argv, .. } => format!("command {}", argv.join(" ")),
            Source::Stdin => "standard input".into(),
            Source::File { path, speed } => match speed {
                Speed::Factor(factor) => format!("file {} at speed {factor}", path.display()),
                Speed::Max => format!("file {} at full speed", path.display()),
            },
            Source::Simulator(simulator) => format!(
                "simulator of {} nodes, {} packets/s",
                simulator.nodes, simulator.rate
            ),
        }
    }

    /// Where in a frame its stream may begin.
    pub fn beginning(&self) -> Beginning {
        match self {
            Self::Serial { .. } => Beginning::Midway,
            _ => Beginning::Whole,
        }
    }

    /// What stands behind a text that is sent to it; `None`: it takes no input.
    pub fn line_ending(&self) -> Option<LineEnding> {
        match self {
            Self::Serial(port) => Some(port.line_ending),
            Self::ProbeRs { line_ending, .. } | Self::Command { line_ending, .. } => {
                Some(*line_ending)
            }
            Self::Stdin | Self::File { .. } | Self::Simulator(_) => None,
        }
    }

    /// Whether it is a recording that is replayed as if it were measured now.
    pub fn is_measured_anew(&self, recorded: Recorded) -> bool {
        let Self::File { speed, .. } = self else {
            return false;
        };
        *speed == Speed::Factor(1.0) && recorded == Recorded::Unsaid
    }

    /// What the gateway makes up, or replays at its own pace, never waited anywhere.
    pub fn timeline(&self, recorded: Recorded) -> Timeline {
        match self {
            Self::Simulator(_) => Timeline::Live,
            _ if self.is_measured_anew(recorded) => Timeline::Live,
            _ => Timeline::Line,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_the_configuration_may_leave_out_the_zone() {
        let time = time();
        let expected = Timestamp(1_703_174_400_500_000_000);
        for text in [
            "2023-12-21T16:00:00.5Z",
            "2023-12-21 16:00:00.5",
            "1703174400500",
        ] {
            assert_eq!(time.parse(&text.into()).ok(), Some(expected), "{text}");
        }
        assert!(time.parse(&"soon".into()).is_err());
    }
}
