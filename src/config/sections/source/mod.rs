//! `[source]`: where bytes come from. The keys of every kind are known whatever kind is chosen, so that
//! one file can hold several and switch between them.

mod format;

use std::cmp::Ordering;
use std::path::PathBuf;

use crate::config::kind::{Kind, OrRefuse, argv, at_least, number, one_of, path, text, whole};
use crate::config::section::Section;
use crate::config::time::parse_time;
use crate::telemetry::{Beginning, Format, Timeline, Timestamp};

/// `[source]`: where bytes come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// A serial port.
    Serial {
        /// Which port.
        port: PortSelector,
        /// Bits per second.
        baud: u32,
    },
    /// `probe-rs run` with a debug probe.
    ProbeRs {
        /// `--probe`; `None`: the only one attached.
        probe_id: Option<String>,
        /// `--chip`.
        chip: String,
        /// The ELF file to run.
        firmware_path: PathBuf,
    },
    /// Any program; its standard output is read.
    Command {
        /// Program and arguments; never empty.
        argv: Vec<String>,
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

/// How a serial port is chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortSelector {
    /// By its path, as `/dev/ttyACM0`.
    Path(PathBuf),
    /// By USB vendor and product id, under whatever name it appears.
    UsbId {
        /// Vendor id.
        vendor: u16,
        /// Product id.
        product: u16,
    },
    /// By the USB serial number, under whatever name it appears.
    SerialNumber(String),
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

/// Where a gateway board appears when it is the only one.
const DEFAULT_PORT: &str = "/dev/ttyACM0";

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
pub(super) fn read(section: &mut Section<'_, '_>) -> Option<(Source, Recorded, Format)> {
    let kind = section.or("kind", "serial", &one_of(&SOURCE_KINDS));
    let serial = serial(section, kind == Some(SourceKind::Serial));
    let probe_rs = probe_rs(section, kind == Some(SourceKind::ProbeRs));
    let command = command(section, kind == Some(SourceKind::Command));
    let file = file(section, kind == Some(SourceKind::File));
    let recorded = recorded(section);
    let simulator = simulator(section);
    let format = format::read(section);
    let source = match kind? {
        SourceKind::Serial => serial,
        SourceKind::ProbeRs => probe_rs,
        SourceKind::Command => command,
        SourceKind::Stdin => Some(Source::Stdin),
        SourceKind::File => file,
        SourceKind::Simulator => simulator,
    };
    Some((source?, recorded, format?))
}

fn serial(section: &mut Section<'_, '_>, chosen: bool) -> Option<Source> {
    let described = format!("{DEFAULT_PORT:?}");
    let port = section.or_described("port", None, &described, &path());
    let port = port.map(PortSelector::Path);
    let usb_id = section.optional("usb_id", &usb_id());
    let serial_number = section
        .optional("serial_number", &text())
        .map(PortSelector::SerialNumber);
    let baud = section.or("baud", 115_200, &whole(1..=u32::MAX.into()));
    if !chosen {
        return None;
    }
    let selectors = [
        ("port", port),
        ("usb_id", usb_id),
        ("serial_number", serial_number),
    ];
    Some(Source::Serial {
        port: selector(section, selectors)?,
        baud: baud?,
    })
}

/// The one that is set, or else the default port. A higher layer replaces the choice of a lower one,
/// whichever key it uses.
fn selector(
    section: &mut Section<'_, '_>,
    selectors: [(&'static str, Option<PortSelector>); 3],
) -> Option<PortSelector> {
    const ALLOWED: &str = "exactly one of source.port, source.usb_id and source.serial_number";
    let highest = selectors
        .iter()
        .map(|(name, _)| section.layer(name))
        .max()?;
    let mut set = selectors
        .into_iter()
        .filter_map(|(name, selector)| Some((name, selector?)));
    let mut strongest = set
        .by_ref()
        .filter(|(name, _)| section.layer(name) == highest);
    let Some((first, selector)) = strongest.next() else {
        return Some(PortSelector::Path(DEFAULT_PORT.into()));
    };
    let others: Vec<&str> = strongest.map(|(name, _)| name).collect();
    for other in others {
        section.refuse(
            other,
            &format!("stands beside source.{first}"),
            ALLOWED.into(),
        );
    }
    Some(selector)
}

fn probe_rs(section: &mut Section<'_, '_>, chosen: bool) -> Option<Source> {
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
    })
}

fn command(section: &mut Section<'_, '_>, chosen: bool) -> Option<Source> {
    let argv = section.optional("command", &argv());
    if !chosen {
        return None;
    }
    let argv = section.require("command", argv, None)?;
    Some(Source::Command { argv })
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

/// USB vendor and product id.
fn usb_id() -> Kind<PortSelector> {
    let allowed = "vendor and product id as lsusb prints them: \"0483:5740\"";
    let id = |text: &str| {
        let fits = (1..=4).contains(&text.len()) && text.chars().all(|c| c.is_ascii_hexdigit());
        fits.then(|| u16::from_str_radix(text, 16).ok()).flatten()
    };
    Kind::of_text(allowed, move |text| {
        let ids = text.split_once(':');
        let ids = ids.and_then(|(vendor, product)| Some((id(vendor)?, id(product)?)));
        let (vendor, product) = ids.ok_or_default()?;
        Ok(PortSelector::UsbId { vendor, product })
    })
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
            Source::Serial { port, baud } => {
                format!("serial port {} at {baud} baud", port.described())
            }
            Source::ProbeRs {
                chip,
                firmware_path,
                ..
            } => format!("probe-rs, {} on {chip}", firmware_path.display()),
            Source::Command { argv } => format!("command {}", argv.join(" ")),
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

impl PortSelector {
    fn described(&self) -> String {
        match self {
            PortSelector::Path(path) => path.display().to_string(),
            PortSelector::UsbId { vendor, product } => {
                format!("with USB id {vendor:04x}:{product:04x}")
            }
            PortSelector::SerialNumber(number) => format!("with serial number {number}"),
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
