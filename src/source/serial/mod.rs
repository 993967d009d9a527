//! A serial port, for nobody else.
//!
//! A port that is unplugged is looked for again with backoff. The longest wait is five seconds, not
//! the minute that a server gets: looking costs nothing, and who puts a cable back in waits for it.

mod lines;
mod output;

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use nix::fcntl::OFlag;
use nix::sys::termios::{ControlFlags, SetArg, tcgetattr, tcsetattr};
use serialport::{ErrorKind, TTYPort};
use tracing::{debug, warn};

use super::console;
use super::driver::{Open, Reopen};
use super::stream::Feed;
use super::{PortInfo, SourceError, ports};
use crate::config::{ControlLine, Port, PortSelector};
use crate::repeated::Topic;
use output::Output;

const CHOICES: Topic = Topic::of_attempts("several-ports");

/// How soon the reading thread notices that it is no longer wanted. Bytes do not wait for it.
const READ_TIMEOUT: Duration = Duration::from_millis(50);

/// More than the port's driver holds ready.
const READ_SIZE: usize = 4096;

/// A serial port that may come and go.
pub(super) struct Serial(pub(super) Port);

impl Reopen for Serial {
    const LONGEST_WAIT: Duration = Duration::from_secs(5);

    fn peer(&self) -> String {
        format!("serial port with {}", describe(&self.0.selector))
    }

    async fn open(&self, started: Instant) -> Result<Open, SourceError> {
        let config = self.0.clone();
        // Opening may wait for the USB device.
        let opened = tokio::task::spawn_blocking(move || {
            let path = find(&config.selector, &ports())?;
            let (port, output) = open_port(&path, &config)?;
            Ok((path, port, output))
        });
        let (path, port, output) = opened.await.map_err(|_| SourceError::ReaderStopped)??;
        let peer = format!("serial {}", path.display());
        let (feed, stream) = Feed::new(started);
        let (requests, asked) = console::requests();
        tokio::spawn(output::serve(feed.clone(), asked, output));
        read_in_thread(path, port, feed)?;
        Ok(Open {
            peer,
            stream,
            requests,
        })
    }
}

/// Opens the port that is meant and closes it again; returns its path.
pub(super) fn try_open(config: &Port) -> Result<PathBuf, SourceError> {
    let path = find(&config.selector, &ports())?;
    open_port(&path, config)?;
    Ok(path)
}

/// Opens a port for who only listens.
pub(super) fn open_to_listen(path: &Path, config: &Port) -> Result<TTYPort, SourceError> {
    open_port(path, config).map(|(port, _output)| port)
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

/// Opens a port: what is read, and what is written to.
fn open_port(path: &Path, config: &Port) -> Result<(TTYPort, Output), SourceError> {
    let failed = |error| open_error(path.to_owned(), error);
    // Before the port is for nobody else.
    let writer = open_writer(path).map_err(|error| failed(error.into()))?;
    let port = serialport::new(path.to_string_lossy(), config.baud)
        .data_bits(config.data_bits)
        .parity(config.parity)
        .stop_bits(config.stop_bits)
        .flow_control(config.flow_control)
        .exclusive(true)
        .timeout(READ_TIMEOUT)
        .open_native()
        .map_err(failed)?;
    let mut switches = port.try_clone_native().map_err(failed)?;
    if [config.dtr, config.rts].contains(&ControlLine::Leave) {
        stay_on_when_closed(&writer);
    }
    if let Err(error) = lines::go(&mut switches, &lines::at_opening(config.dtr, config.rts)) {
        // A pseudo-terminal has none, and whoever needs them is told at a reset.
        debug!(port = %path.display(), error = %error, "The port has no control lines.");
    }
    let output = Output {
        writer,
        port: switches,
        reset: lines::pulse(config.reset, config.dtr, config.rts),
    };
    Ok((port, output))
}

fn open_writer(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NOCTTY | OFlag::O_NONBLOCK;
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(flags.bits())
        .open(path)
}

/// Has the system not switch DTR and RTS off when the port is closed, so that they need not be switched
/// on, which resets many a board, when it is opened again.
fn stay_on_when_closed(port: &File) {
    let changed = tcgetattr(port).and_then(|mut settings| {
        settings.control_flags.remove(ControlFlags::HUPCL);
        tcsetattr(port, SetArg::TCSANOW, &settings)
    });
    if let Err(error) = changed {
        debug!(error = %error, "The port's control lines are switched off when it is closed.");
    }
}

fn open_error(path: PathBuf, error: serialport::Error) -> SourceError {
    match error.kind {
        ErrorKind::NoDevice | ErrorKind::Io(io::ErrorKind::ResourceBusy) => {
            SourceError::PortBusy { path }
        }
        ErrorKind::Io(io::ErrorKind::NotFound) => SourceError::PortMissing { path },
        ErrorKind::Io(io::ErrorKind::PermissionDenied) => SourceError::PortPermission { path },
        _ => SourceError::PortOpen { path, error },
    }
}

fn read_in_thread(path: PathBuf, mut port: TTYPort, feed: Feed) -> Result<(), SourceError> {
    let name = format!("serial port {}", path.display());
    let reading = std::thread::Builder::new()
        .name("serial".to_owned())
        .spawn(move || {
            let reason = read_until_lost(&mut port, &feed);
            // Before the stream ends, which says that the port is free again.
            drop(port);
            if let Some(reason) = reason {
                feed.fail_blocking(SourceError::PortLost { path, reason });
            }
        });
    match reading {
        Ok(_detached) => Ok(()),
        Err(error) => Err(SourceError::Thread { name, error }),
    }
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
                "permission denied; ",
            ),
            (
                ErrorKind::Io(io::ErrorKind::NotFound),
                "is the board plugged in?",
            ),
            (ErrorKind::NoDevice, "in use by another program"),
            (
                ErrorKind::Io(io::ErrorKind::ResourceBusy),
                "in use by another program",
            ),
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
