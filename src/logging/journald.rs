//! Lines for the system's journal in [its own form][form]: with a priority, and each field by itself. The layer that
//! `tracing-journald` has writes in the thread that logs, which a journal that takes nothing would hold up; here lines
//! go the way of all others.
//!
//! [form]: https://systemd.io/JOURNAL_NATIVE_PROTOCOL/

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::{ffi::OsStr, fs};

use tracing::{Event, Level, Subscriber};
use tracing_appender::non_blocking::NonBlocking;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::line::Line;

const SOCKET: &str = "/run/systemd/journal/socket";

/// Before the name of each field, so that none is taken for one of the journal's own.
const PREFIX: &str = "FIELDGATE_";

/// The journal's socket, if an output goes there: `JOURNAL_STREAM` tells which device and inode that is.
pub(super) fn behind(output: &impl AsFd, journal_stream: Option<&OsStr>) -> Option<Socket> {
    let (device, inode) = journal_stream?.to_str()?.split_once(':')?;
    let output = fs::File::from(output.as_fd().try_clone_to_owned().ok()?);
    let found = output.metadata().ok()?;
    let is_same = device.parse() == Ok(found.dev()) && inode.parse() == Ok(found.ino());
    if !is_same {
        return None;
    }
    let socket = UnixDatagram::unbound().ok()?;
    socket.connect(SOCKET).ok()?;
    Some(Socket(socket))
}

/// Where entries go, one with each write.
pub(super) struct Socket(UnixDatagram);

impl Write for Socket {
    /// An entry that the journal does not take, because it is too long or a new journal has taken the old
    /// one's place, is tried once more and goes.
    fn write(&mut self, entry: &[u8]) -> io::Result<usize> {
        if self.0.send(entry).is_err() && self.0.connect(SOCKET).is_ok() {
            drop(self.0.send(entry));
        }
        Ok(entry.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes entries of lines.
pub(super) struct JournaldLayer(pub(super) NonBlocking);

impl<S: Subscriber> Layer<S> for JournaldLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let entry = entry(*metadata.level(), metadata.target(), &Line::of(event));
        // Never fails: what does not fit is dropped.
        drop(self.0.clone().write(&entry));
    }
}

fn entry(level: Level, target: &str, line: &Line) -> Vec<u8> {
    let priority = match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        Level::DEBUG | Level::TRACE => "7",
    };
    let mut entry = Vec::new();
    put(&mut entry, "PRIORITY", priority);
    put(&mut entry, "SYSLOG_IDENTIFIER", "fieldgate");
    put(&mut entry, "TARGET", target);
    put(&mut entry, "MESSAGE", &line.text());
    for (name, value) in &line.fields {
        let name: String = name
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() {
                    c.to_ascii_uppercase()
                } else {
                    '_'
                }
            })
            .collect();
        put(&mut entry, &format!("{PREFIX}{name}"), value);
    }
    entry
}

/// `NAME=value`; a value of several lines has its length before it.
fn put(entry: &mut Vec<u8>, name: &str, value: &str) {
    entry.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        entry.push(b'\n');
        entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend_from_slice(value.as_bytes());
    entry.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_a_priority_and_its_fields() {
        let line = Line {
            message: "Connection failed; trying again.".to_owned(),
            fields: vec![("link", "mqtt".to_owned()), ("next_try", "2s".to_owned())],
        };
        let entry = entry(Level::WARN, "fieldgate::sink", &line);
        let text = String::from_utf8(entry).unwrap();
        assert_eq!(
            text,
            "PRIORITY=4\nSYSLOG_IDENTIFIER=fieldgate\nTARGET=fieldgate::sink\n\
             MESSAGE=Connection failed; trying again. link=mqtt next_try=2s\n\
             FIELDGATE_LINK=mqtt\nFIELDGATE_NEXT_TRY=2s\n"
        );
    }

    #[test]
    fn a_value_of_several_lines_cannot_pass_for_other_fields() {
        let mut entry = Vec::new();
        put(&mut entry, "MESSAGE", "one\nPRIORITY=0");
        let mut expected = b"MESSAGE\n".to_vec();
        expected.extend_from_slice(&[14, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend_from_slice(b"one\nPRIORITY=0\n");
        assert_eq!(entry, expected);
    }

    #[test]
    fn only_the_journals_own_stream_leads_to_it() {
        let output = tempfile::tempfile().unwrap();
        assert!(behind(&output, None).is_none());
        for strange in ["", "1", "x:y", "1:2"] {
            assert!(
                behind(&output, Some(OsStr::new(strange))).is_none(),
                "{strange}"
            );
        }
    }
}
