//! `[source]`: the keys of every kind are known whatever kind is chosen, so that one file can hold
//! several and switch between them.

use std::cmp::Ordering;

use super::kind::{argv, at_least, number, one_of, path, text, whole};
use super::section::Section;
use super::types::{PortSelector, Recorded, Simulator, Source};
use super::value;

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

pub(super) fn source(section: &mut Section<'_, '_>) -> Option<(Source, Recorded)> {
    let kind = section.or("kind", "serial", &one_of(&SOURCE_KINDS));
    let serial = serial(section, kind == Some(SourceKind::Serial));
    let probe_rs = probe_rs(section, kind == Some(SourceKind::ProbeRs));
    let command = command(section, kind == Some(SourceKind::Command));
    let file = file(section, kind == Some(SourceKind::File));
    let recorded = recorded(section);
    let simulator = simulator(section);
    let source = match kind? {
        SourceKind::Serial => serial,
        SourceKind::ProbeRs => probe_rs,
        SourceKind::Command => command,
        SourceKind::Stdin => Some(Source::Stdin),
        SourceKind::File => file,
        SourceKind::Simulator => simulator,
    };
    Some((source?, recorded))
}

fn serial(section: &mut Section<'_, '_>, chosen: bool) -> Option<Source> {
    let described = format!("{DEFAULT_PORT:?}");
    let port = section.or_described("port", None, &described, &path());
    let port = port.map(PortSelector::Path);
    let usb_id = section.optional("usb_id", &value::usb_id());
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
    let speed = section.or("speed", 1, &value::speed());
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
        .optional("starts_at", &value::time())
        .map(Recorded::StartsAt);
    let ends_at = section
        .optional("ends_at", &value::time())
        .map(Recorded::EndsAt);
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
