//! `fieldgate ports`: serial ports, and how to configure each.

use std::path::Path;

use anyhow::bail;
use serde::Serialize;

use super::{columns, print, probe};
use crate::cli::PortsArguments;
use crate::source::{self, PortInfo};

/// A port as it is printed.
#[derive(Serialize)]
struct Port {
    path: String,
    usb_id: Option<String>,
    maker: Option<String>,
    product: Option<String>,
    serial_number: Option<String>,
    /// The section of the configuration that uses it.
    source: String,
}

impl Port {
    fn new(info: &PortInfo) -> Self {
        let path = info.path.display().to_string();
        let usb = info.usb.as_ref();
        let usb_id = usb.map(|usb| format!("{:04x}:{:04x}", usb.vendor, usb.product));
        let serial_number = usb.and_then(|usb| usb.serial_number.clone());
        // What stays the same when the board is plugged in elsewhere.
        let (key, value) = match (&serial_number, &usb_id) {
            (Some(number), _) => ("serial_number", number),
            (None, Some(id)) => ("usb_id", id),
            (None, None) => ("port", &path),
        };
        let value = toml::Value::String(value.clone());
        let source = format!("[source]\nkind = \"serial\"\n{key} = {value}\n");
        Self {
            usb_id,
            maker: usb.and_then(|usb| usb.manufacturer.clone()),
            product: usb.and_then(|usb| usb.product_name.clone()),
            serial_number,
            source,
            path,
        }
    }

    fn row(&self) -> Vec<String> {
        let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
        vec![
            self.path.clone(),
            text(&self.usb_id),
            text(&self.maker),
            text(&self.product),
            text(&self.serial_number),
        ]
    }
}

/// Lists the ports.
pub fn ports(arguments: &PortsArguments) -> anyhow::Result<()> {
    let found = source::ports();
    if let Some(wanted) = &arguments.probe {
        return probe(wanted.as_deref(), &found);
    }
    let ports: Vec<Port> = found.iter().map(Port::new).collect();
    let text = if arguments.json {
        format!("{}\n", serde_json::to_string_pretty(&ports)?)
    } else {
        describe(&ports)
    };
    Ok(print(text.as_bytes())?)
}

/// Listens to one port, and prints what it says and the section for it.
fn probe(wanted: Option<&Path>, found: &[PortInfo]) -> anyhow::Result<()> {
    let on_usb = || {
        let mut on_usb = found.iter().filter(|port| port.usb.is_some());
        let first = on_usb.next();
        first.filter(|_| on_usb.next().is_none())
    };
    let path = match (wanted, on_usb()) {
        (Some(path), _) => path.to_owned(),
        (None, Some(port)) => port.path.clone(),
        (None, None) => bail!("name the port: fieldgate ports --probe /dev/ttyUSB0"),
    };
    eprintln!("Listening to {} at the usual speeds, 20 s.", path.display());
    let heard = probe::probe(&path)?;
    let rows: Vec<Vec<String>> = heard
        .iter()
        .map(|it| vec![it.baud.to_string(), it.bytes.to_string(), it.words()])
        .collect();
    let header = ["BAUD", "BYTES", "WHAT"].map(String::from).to_vec();
    let table = columns(&[&[header][..], &rows].concat());
    print(table.as_bytes())?;
    let Some(best) = probe::best(heard) else {
        bail!("no telemetry in it: does the board send, and is the port the right one?");
    };
    let port = found.iter().find(|port| port.path == path);
    let port = port.cloned().unwrap_or(PortInfo { path, usb: None });
    let text = format!("\n{}{}\n", Port::new(&port).source, best.lines().join("\n"));
    Ok(print(text.as_bytes())?)
}

fn describe(ports: &[Port]) -> String {
    if ports.is_empty() {
        return "No serial ports. Is the board plugged in, with a cable that carries data?\n"
            .into();
    }
    let header = ["PORT", "USB ID", "MAKER", "PRODUCT", "SERIAL NUMBER"].map(String::from);
    let rows: Vec<Vec<String>> = std::iter::once(header.to_vec())
        .chain(ports.iter().map(Port::row))
        .collect();
    let blocks = ports
        .iter()
        .map(|port| format!("\n# {}\n{}", port.path, port.source));
    format!("{}{}", columns(&rows), blocks.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::UsbInfo;

    fn port(path: &str, usb: Option<(Option<&str>, &str)>) -> Port {
        Port::new(&PortInfo {
            path: path.into(),
            usb: usb.map(|(serial_number, product)| UsbInfo {
                vendor: 0x483,
                product: 0x374b,
                serial_number: serial_number.map(str::to_owned),
                manufacturer: None,
                product_name: Some(product.to_owned()),
            }),
        })
    }

    #[test]
    fn each_port_comes_with_the_section_that_finds_it_again() {
        let ports = [
            port("/dev/ttyAMA0", None),
            port("/dev/ttyACM0", Some((Some("066D\"FF"), "STM32 STLink"))),
            port("/dev/ttyUSB0", Some((None, "UART"))),
        ];
        assert_eq!(
            describe(&ports),
            "PORT          USB ID     MAKER  PRODUCT       SERIAL NUMBER\n\
             /dev/ttyAMA0  -          -      -             -\n\
             /dev/ttyACM0  0483:374b  -      STM32 STLink  066D\"FF\n\
             /dev/ttyUSB0  0483:374b  -      UART          -\n\
             \n# /dev/ttyAMA0\n[source]\nkind = \"serial\"\nport = \"/dev/ttyAMA0\"\n\
             \n# /dev/ttyACM0\n[source]\nkind = \"serial\"\nserial_number = '066D\"FF'\n\
             \n# /dev/ttyUSB0\n[source]\nkind = \"serial\"\nusb_id = \"0483:374b\"\n"
        );
        assert!(describe(&[]).contains("plugged in"));
    }
}
