//! The keys of a serial port: which one, how its bytes are framed, and what becomes of its lines.

use std::path::PathBuf;

use serialport::{DataBits, FlowControl, Parity, StopBits};

use super::input::LineEnding;
use crate::config::kind::{Kind, OrRefuse, one_of, path, text, whole};
use crate::config::section::Section;

/// `[source]` with `kind = "serial"`.
#[derive(Debug, Clone, PartialEq)]
pub struct Port {
    /// Which port.
    pub selector: PortSelector,
    /// Bits per second.
    pub baud: u32,
    /// Bits of a byte on the wire.
    pub data_bits: DataBits,
    /// The bit that checks them.
    pub parity: Parity,
    /// Bits of rest behind each byte.
    pub stop_bits: StopBits,
    /// How one side tells the other to wait.
    pub flow_control: FlowControl,
    /// What becomes of DTR when the port is opened.
    pub dtr: ControlLine,
    /// What becomes of RTS when the port is opened.
    pub rts: ControlLine,
    /// How the board is reset.
    pub reset: Reset,
    /// What stands behind a text that is sent.
    pub line_ending: LineEnding,
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

/// What becomes of a control line when the port is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlLine {
    /// Nothing, neither then nor when it is closed: a line that is on stays on.
    Leave,
    /// It is on while the port is open.
    On,
    /// It is off while the port is open.
    Off,
}

/// Which control lines reset the board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    /// A pulse on DTR, as boards of Arduino want it.
    Dtr,
    /// A pulse on RTS.
    Rts,
    /// RTS while DTR says that the program is to run, as boards with an ESP want it.
    Esp,
    /// None: the board cannot be reset from here.
    None,
}

/// Where a gateway board appears when it is the only one.
const DEFAULT_PORT: &str = "/dev/ttyACM0";

const PARITIES: [(&str, Parity); 3] = [
    ("none", Parity::None),
    ("odd", Parity::Odd),
    ("even", Parity::Even),
];

const FLOW_CONTROLS: [(&str, FlowControl); 3] = [
    ("none", FlowControl::None),
    ("software", FlowControl::Software),
    ("hardware", FlowControl::Hardware),
];

const CONTROL_LINES: [(&str, ControlLine); 3] = [
    ("leave", ControlLine::Leave),
    ("on", ControlLine::On),
    ("off", ControlLine::Off),
];

const RESETS: [(&str, Reset); 4] = [
    ("dtr", Reset::Dtr),
    ("rts", Reset::Rts),
    ("esp", Reset::Esp),
    ("none", Reset::None),
];

/// Reads the keys of a port; `None` also where none was chosen.
pub(super) fn read(
    section: &mut Section<'_, '_>,
    chosen: bool,
    line_ending: Option<LineEnding>,
) -> Option<Port> {
    let selectors = selectors(section);
    let baud = section.or("baud", 115_200, &whole(1..=u32::MAX.into()));
    let data_bits = section.or("data_bits", 8, &data_bits());
    let parity = section.or("parity", "none", &one_of(&PARITIES));
    let stop_bits = section.or("stop_bits", 1, &stop_bits());
    let flow_control = section.or("flow_control", "none", &one_of(&FLOW_CONTROLS));
    let dtr = section.or("dtr", "on", &one_of(&CONTROL_LINES));
    let rts = section.or("rts", "on", &one_of(&CONTROL_LINES));
    let reset = section.or("reset", "none", &one_of(&RESETS));
    if !chosen {
        return None;
    }
    if flow_control == Some(FlowControl::Hardware) {
        leave_rts_alone(section, rts, reset);
    }
    Some(Port {
        selector: selector(section, selectors)?,
        baud: baud?,
        data_bits: data_bits?,
        parity: parity?,
        stop_bits: stop_bits?,
        flow_control: flow_control?,
        dtr: dtr?,
        rts: rts?,
        reset: reset?,
        line_ending: line_ending?,
    })
}

type Selectors = [(&'static str, Option<PortSelector>); 3];

fn selectors(section: &mut Section<'_, '_>) -> Selectors {
    let described = format!("{DEFAULT_PORT:?}");
    let port = section.or_described("port", None, &described, &path());
    let usb_id = section.optional("usb_id", &usb_id());
    let serial_number = section.optional("serial_number", &text());
    [
        ("port", port.map(PortSelector::Path)),
        ("usb_id", usb_id),
        (
            "serial_number",
            serial_number.map(PortSelector::SerialNumber),
        ),
    ]
}

/// The one that is set, or else the default port. A higher layer replaces the choice of a lower one,
/// whichever key it uses.
fn selector(section: &mut Section<'_, '_>, selectors: Selectors) -> Option<PortSelector> {
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

/// With hardware flow control the port itself moves RTS.
fn leave_rts_alone(section: &mut Section<'_, '_>, rts: Option<ControlLine>, reset: Option<Reset>) {
    const PROBLEM: &str =
        "stands beside source.flow_control = \"hardware\", which moves RTS itself";
    if rts == Some(ControlLine::Off) {
        let allowed = "\"leave\" or \"on\", or another source.flow_control";
        section.refuse("rts", PROBLEM, allowed.into());
    }
    if matches!(reset, Some(Reset::Rts | Reset::Esp)) {
        let allowed = "\"dtr\" or \"none\", or another source.flow_control";
        section.refuse("reset", PROBLEM, allowed.into());
    }
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

fn data_bits() -> Kind<DataBits> {
    let number = whole::<u8>(5..=8);
    Kind::new(number.allowed.clone(), move |value| {
        DataBits::try_from(number.parse(value)?)
            .ok()
            .ok_or_default()
    })
}

fn stop_bits() -> Kind<StopBits> {
    let number = whole::<u8>(1..=2);
    Kind::new(number.allowed.clone(), move |value| {
        StopBits::try_from(number.parse(value)?)
            .ok()
            .ok_or_default()
    })
}

impl Port {
    /// A port as most boards want it: 115200 baud, 8 data bits, no parity, 1 stop bit.
    pub fn new(selector: PortSelector) -> Self {
        Self {
            selector,
            baud: 115_200,
            data_bits: DataBits::Eight,
            parity: Parity::None,
            stop_bits: StopBits::One,
            flow_control: FlowControl::None,
            dtr: ControlLine::On,
            rts: ControlLine::On,
            reset: Reset::None,
            line_ending: LineEnding::default(),
        }
    }

    /// Its speed, and its framing where that is unusual: `115200 baud`, `9600 baud 7E2`.
    pub fn framing(&self) -> String {
        let parity = match self.parity {
            Parity::None => 'N',
            Parity::Odd => 'O',
            Parity::Even => 'E',
        };
        let (data, stop) = (u8::from(self.data_bits), u8::from(self.stop_bits));
        match (data, parity, stop) {
            (8, 'N', 1) => format!("{} baud", self.baud),
            _ => format!("{} baud {data}{parity}{stop}", self.baud),
        }
    }
}

impl PortSelector {
    pub(super) fn described(&self) -> String {
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
    fn unusual_framing_is_told_as_on_a_data_sheet() {
        let mut port = Port::new(PortSelector::Path("/dev/ttyACM0".into()));
        assert_eq!(port.framing(), "115200 baud");
        port.baud = 9600;
        port.data_bits = DataBits::Seven;
        port.parity = Parity::Even;
        port.stop_bits = StopBits::Two;
        assert_eq!(port.framing(), "9600 baud 7E2");
    }
}
