//! The serial ports of this machine and the USB devices behind them, as Linux shows them under
//! `/sys`. Reading that tree needs no libudev and no right to open the ports.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// A serial port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PortInfo {
    /// Its device file, as `/dev/ttyACM0`.
    pub path: PathBuf,
    /// The USB device behind it, if there is one.
    pub usb: Option<UsbInfo>,
}

/// What a USB device says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UsbInfo {
    /// Vendor id.
    pub vendor: u16,
    /// Product id.
    pub product: u16,
    /// Serial number.
    pub serial_number: Option<String>,
    /// Name of the manufacturer.
    pub manufacturer: Option<String>,
    /// Name of the product.
    pub product_name: Option<String>,
}

/// A port hangs at most so many folders below its USB device: interface, driver, port.
const DEPTH_BELOW_USB_DEVICE: usize = 5;

/// The serial ports that are there now, in the order of their names (`ttyACM2` before `ttyACM10`).
pub fn ports() -> Vec<PortInfo> {
    ports_in(Path::new("/sys"))
}

/// As [`ports`], from a tree that looks like `/sys`.
pub(super) fn ports_in(sys: &Path) -> Vec<PortInfo> {
    let Ok(entries) = fs::read_dir(sys.join("class/tty")) else {
        return Vec::new();
    };
    let mut names: Vec<_> = entries
        .filter_map(Result::ok)
        .filter(|entry| is_port(&entry.path()))
        .collect();
    names.sort_by_key(|entry| (entry.file_name().len(), entry.file_name()));
    names
        .into_iter()
        .map(|entry| PortInfo {
            path: Path::new("/dev").join(entry.file_name()),
            usb: usb_device(&entry.path()),
        })
        .collect()
}

/// Terminals without a device are virtual ones; a `type` of 0 is a port that the board could have
/// but has not.
fn is_port(tty: &Path) -> bool {
    tty.join("device").exists() && attribute(&tty.join("type")).as_deref() != Some("0")
}

fn usb_device(tty: &Path) -> Option<UsbInfo> {
    let device = fs::canonicalize(tty.join("device")).ok()?;
    let usb = device
        .ancestors()
        .take(DEPTH_BELOW_USB_DEVICE)
        .find(|folder| folder.join("idVendor").exists())?;
    let text = |name| attribute(&usb.join(name));
    let id = |name| u16::from_str_radix(&text(name)?, 16).ok();
    Some(UsbInfo {
        vendor: id("idVendor")?,
        product: id("idProduct")?,
        serial_number: text("serial"),
        manufacturer: text("manufacturer"),
        product_name: text("product"),
    })
}

fn attribute(path: &Path) -> Option<String> {
    let text = fs::read(path).ok()?;
    let text = String::from_utf8_lossy(&text).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
pub(super) mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Adds a port to a tree like `/sys`, with the attributes of its USB device.
    pub(in crate::source) fn plug_in(
        sys: &Path,
        name: &str,
        interface: &str,
        usb: &[(&str, &str)],
    ) {
        let device = sys.join("devices").join(interface);
        fs::create_dir_all(&device).unwrap();
        let tty = sys.join("class/tty").join(name);
        fs::create_dir_all(&tty).unwrap();
        symlink(&device, tty.join("device")).unwrap();
        let usb_device = sys
            .join("devices")
            .join(interface.split('/').next().unwrap());
        for (attribute, value) in usb {
            fs::write(usb_device.join(attribute), format!("{value}\n")).unwrap();
        }
    }

    #[test]
    fn ports_are_found_with_the_usb_devices_behind_them() {
        let sys = tempfile::tempdir().unwrap();
        let sys = sys.path();
        assert_eq!(ports_in(sys), []);
        plug_in(
            sys,
            "ttyACM10",
            "1-1/1-1:1.2",
            &[
                ("idVendor", "0483"),
                ("idProduct", "374b"),
                ("serial", "066CFF"),
                ("manufacturer", "STMicroelectronics"),
                ("product", "STM32 STLink"),
            ],
        );
        plug_in(
            sys,
            "ttyUSB2",
            "1-2/1-2:1.0/ttyUSB2",
            &[("idVendor", "10c4"), ("idProduct", "ea60"), ("serial", "")],
        );
        plug_in(sys, "ttyAMA0", "serial0", &[]);
        plug_in(sys, "ttyS0", "serial8250", &[]);
        fs::write(sys.join("class/tty/ttyAMA0/type"), "32\n").unwrap();
        fs::write(sys.join("class/tty/ttyS0/type"), "0\n").unwrap();
        fs::create_dir_all(sys.join("class/tty/tty1")).unwrap();

        let text = |text: &str| Some(text.to_owned());
        let port = |path: &str, usb| PortInfo {
            path: path.into(),
            usb,
        };
        assert_eq!(
            ports_in(sys),
            [
                port("/dev/ttyAMA0", None),
                port(
                    "/dev/ttyUSB2",
                    Some(UsbInfo {
                        vendor: 0x10c4,
                        product: 0xea60,
                        serial_number: None,
                        manufacturer: None,
                        product_name: None,
                    })
                ),
                port(
                    "/dev/ttyACM10",
                    Some(UsbInfo {
                        vendor: 0x0483,
                        product: 0x374b,
                        serial_number: text("066CFF"),
                        manufacturer: text("STMicroelectronics"),
                        product_name: text("STM32 STLink"),
                    })
                ),
            ]
        );
    }
}
