//! A serial port: 8 data bits, no parity, 1 stop bit, no flow control, for nobody else.
//!
//! A port that is unplugged is looked for again with backoff. The longest wait is five seconds, not
//! the minute that a server gets: looking costs nothing, and who puts a cable back in waits for it.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serialport::{DataBits, ErrorKind, FlowControl, Parity, StopBits, TTYPort};
use tracing::warn;

use super::driver::{Open, Reopen};
use super::stream::{Feed, Stream};
use super::{PortInfo, SourceError, ports};
use crate::config::PortSelector;
use crate::repeated::Topic;

const CHOICES: Topic = Topic::of_attempts("several-ports");

/// How soon the reading thread notices that it is no longer wanted. Bytes do not wait for it.
const READ_TIMEOUT: Duration = Duration::from_millis(50);

/// More than the port's driver holds ready.
const READ_SIZE: usize = 4096;

/// A serial port that may come and go.
pub(super) struct Serial {
    selector: PortSelector,
    baud: u32,
}

impl Serial {
    pub(super) fn new(selector: PortSelector, baud: u32) -> Self {
        Self { selector, baud }
    }
}

impl Reopen for Serial {
    const LONGEST_WAIT: Duration = Duration::from_secs(5);

    fn peer(&self) -> String {
        format!("serial port with {}", describe(&self.selector))
    }

    async fn open(&self, started: Instant) -> Result<Open, SourceError> {
        let (selector, baud) = (self.selector.clone(), self.baud);
        // Opening may wait for the USB device.
        let opened = tokio::task::spawn_blocking(move || {
            let path = find(&selector, &ports())?;
            let port = open_port(&path, baud)?;
            Ok((path, port))
        });
        let (path, port) = opened.await.map_err(|_| SourceError::ReaderStopped)??;
        Ok(Open {
            peer: format!("serial {}", path.display()),
            stream: read_in_thread(path, port, started)?,
        })
    }
}

/// Opens the port that is meant and closes it again; returns its path.
pub(super) fn try_open(selector: &PortSelector, baud: u32) -> Result<PathBuf, SourceError> {
    let path = find(selector, &ports())?;
    open_port(&path, baud)?;
    Ok(path)
}

/// Which port is meant, under the name that it has now.
fn find(selector: &PortSelector, ports: &[PortInfo]) -> Result<PathBuf, SourceError> {
    let wanted = |port: &PortInfo| match (selector, &port.usb) {
        (PortSelector::UsbId { vendor, product }, Some(usb)) => {
            (usb.vendor, usb.product) == (*vendor, *product)
        }
        (PortSelector::SerialNumber(number), Some(usb)) => usb
            .serial_number
            .as_ref()
            .is_some_and(|own| own.eq_ignore_ascii_case(number)),
        (PortSelector::Path(_), _) | (_, None) => false,
    };
    if let PortSelector::Path(path) = selector {
        return Ok(path.clone());
    }
    let mut matching = ports.iter().filter(|port| wanted(port));
    let Some(first) = matching.next() else {
        return Err(SourceError::NoSuchPort {
            selector: describe(selector),
            present: names(ports.iter()),
        });
    };
    let others: Vec<_> = matching.collect();
    if !others.is_empty() {
        let (taken, others) = (first.path.clone(), names(others.into_iter()));
        CHOICES.say(&others.clone(), "", move |sum| {
            warn!(
                taken = %taken.display(),
                others = %others,
                repeated = sum.words(),
                "More than one serial port matches; choose it by its serial number or path.",
            );
        });
    }
    Ok(first.path.clone())
}

fn names<'a>(ports: impl Iterator<Item = &'a PortInfo>) -> String {
    let names: Vec<_> = ports.map(|port| port.path.display().to_string()).collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

pub(super) fn describe(selector: &PortSelector) -> String {
    match selector {
        PortSelector::Path(path) => format!("path {}", path.display()),
        PortSelector::UsbId { vendor, product } => format!("USB id {vendor:04x}:{product:04x}"),
        PortSelector::SerialNumber(number) => format!("USB serial number {number}"),
    }
}

pub(super) fn open_port(path: &Path, baud: u32) -> Result<TTYPort, SourceError> {
    serialport::new(path.to_string_lossy(), baud)
        .data_bits(DataBits::Eight)
        .parity(Parity::None)
        .stop_bits(StopBits::One)
        .flow_control(FlowControl::None)
        .exclusive(true)
        .timeout(READ_TIMEOUT)
        .open_native()
        .map_err(|error| open_error(path.to_owned(), error))
}

fn open_error(path: PathBuf, error: serialport::Error) -> SourceError {
    match error.kind {
        ErrorKind::NoDevice => SourceError::PortBusy { path },
        ErrorKind::Io(io::ErrorKind::NotFound) => SourceError::PortMissing { path },
        ErrorKind::Io(io::ErrorKind::PermissionDenied) => SourceError::PortPermission { path },
        _ => SourceError::PortOpen { path, error },
    }
}

fn read_in_thread(
    path: PathBuf,
    mut port: TTYPort,
    started: Instant,
) -> Result<Stream, SourceError> {
    let (feed, stream) = Feed::new(started);
    let name = format!("serial port {}", path.display());
    std::thread::Builder::new()
        .name("serial".to_owned())
        .spawn(move || {
            let reason = read_until_lost(&mut port, &feed);
            // Before the stream ends, which says that the port is free again.
            drop(port);
            if let Some(reason) = reason {
                feed.fail_blocking(SourceError::PortLost { path, reason });
            }
        })
        .map_err(|error| SourceError::Thread { name, error })?;
    Ok(stream)
}

/// Reads until the port is lost, and says why; `None`: nobody wants more.
fn read_until_lost(port: &mut impl Read, feed: &Feed) -> Option<String> {
    let mut buffer = [0; READ_SIZE];
    while !feed.is_closed() {
        match port.read(&mut buffer) {
            Ok(0) => return Some("the device is gone".to_owned()),
            Ok(count) => {
                let bytes = Bytes::copy_from_slice(&buffer[..count]);
                feed.put_blocking(bytes).ok()?;
            }
            Err(error) => match error.kind() {
                io::ErrorKind::TimedOut
                | io::ErrorKind::Interrupted
                | io::ErrorKind::WouldBlock => {}
                io::ErrorKind::BrokenPipe => return Some("the device was unplugged".to_owned()),
                _ => return Some(error.to_string()),
            },
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::ports::{ports_in, tests::plug_in};

    #[test]
    fn a_board_is_found_under_whatever_name_it_has() {
        let sys = tempfile::tempdir().unwrap();
        let board = |serial| {
            [
                ("idVendor", "0483"),
                ("idProduct", "374B"),
                ("serial", serial),
            ]
        };
        plug_in(sys.path(), "ttyACM10", "1-1/1-1:1.2", &board("066CFF"));
        plug_in(sys.path(), "ttyACM3", "1-2/1-2:1.2", &board("077DEE"));
        plug_in(sys.path(), "ttyS1", "serial8250", &[]);
        let ports = ports_in(sys.path());
        let usb_id = |vendor, product| PortSelector::UsbId { vendor, product };
        let serial = |number: &str| PortSelector::SerialNumber(number.to_owned());
        for (selector, expected) in [
            (PortSelector::Path("/dev/any".into()), Ok("/dev/any")),
            (usb_id(0x0483, 0x374b), Ok("/dev/ttyACM3")),
            (serial("066CFF"), Ok("/dev/ttyACM10")),
            (serial("066cff"), Ok("/dev/ttyACM10")),
            (usb_id(0x0483, 0x374c), Err("USB id 0483:374c")),
            (serial("066CF"), Err("USB serial number 066CF")),
        ] {
            match (find(&selector, &ports), expected) {
                (Ok(path), Ok(expected)) => assert_eq!(path, Path::new(expected)),
                (Err(error), Err(named)) => {
                    let text = error.to_string();
                    assert!(text.contains(named), "{text}");
                    assert!(
                        text.contains("/dev/ttyS1, /dev/ttyACM3, /dev/ttyACM10"),
                        "{text}"
                    );
                }
                (found, expected) => panic!("{found:?} instead of {expected:?}"),
            }
        }
        let nothing = find(&serial("1"), &[]).unwrap_err().to_string();
        assert!(nothing.ends_with("Ports present: none"), "{nothing}");
    }

    #[test]
    fn errors_say_what_to_do() {
        for (kind, advice) in [
            (
                ErrorKind::Io(io::ErrorKind::PermissionDenied),
                "usermod -aG dialout",
            ),
            (
                ErrorKind::Io(io::ErrorKind::NotFound),
                "is the board plugged in?",
            ),
            (ErrorKind::NoDevice, "in use by another program"),
            (ErrorKind::Unknown, "not a typewriter"),
        ] {
            let error = serialport::Error::new(kind, "not a typewriter");
            let text = open_error("/dev/ttyACM0".into(), error).to_string();
            assert!(
                text.contains("/dev/ttyACM0") && text.contains(advice),
                "{text}"
            );
        }
    }
}
