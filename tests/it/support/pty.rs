//! A serial port without hardware.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use nix::fcntl::{OFlag, open};
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::stat::Mode;
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use tempfile::TempDir;

use super::{PATIENCE, poll};

/// A pseudo-terminal whose end for the gateway keeps its path when it is plugged in again.
pub(crate) struct Pty {
    folder: TempDir,
    pair: Option<Pair>,
}

struct Pair {
    board: PtyMaster,
    /// Kept open, so that what is written before the gateway opens its end is not lost.
    _gateway: OwnedFd,
}

impl Pty {
    /// Plugs it in.
    pub(crate) fn open() -> Self {
        let mut pty = Self {
            folder: tempfile::tempdir().unwrap(),
            pair: None,
        };
        pty.reopen();
        pty
    }

    /// The port to open, as `/dev/ttyACM0` would be.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("ttyACM0")
    }

    /// What the board sends.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) {
        let board = &mut self.pair.as_mut().expect("the port is closed").board;
        while !bytes.is_empty() {
            let written = poll(PATIENCE, || match board.write(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => None,
                result => Some(result.unwrap()),
            });
            bytes = &bytes[written.expect("nobody reads the port")..];
        }
    }

    /// The next line that is sent to the board.
    pub(crate) fn read_line(&mut self) -> String {
        let board = &mut self.pair.as_mut().expect("the port is closed").board;
        let mut line = Vec::new();
        while !line.ends_with(b"\n") {
            let mut byte = [0];
            let read = poll(PATIENCE, || board.read_exact(&mut byte).ok());
            read.unwrap_or_else(|| panic!("no line but {:?}", line.escape_ascii().to_string()));
            line.extend(byte);
        }
        String::from_utf8(line).unwrap()
    }

    /// Pulls it out: whoever has it open sees it end, and its path is gone.
    pub(crate) fn close(&mut self) {
        std::fs::remove_file(self.path()).unwrap();
        self.pair = None;
    }

    /// Plugs it in again after [`Pty::close`]: another device under the same path.
    pub(crate) fn reopen(&mut self) {
        assert!(self.pair.is_none(), "the port is open");
        // Closed in every program that another test starts meanwhile: one that kept it open would keep
        // it plugged in.
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        // A board does not wait for a reader that hangs, and neither must a test.
        let board = posix_openpt(flags | OFlag::O_NONBLOCK).unwrap();
        grantpt(&board).unwrap();
        unlockpt(&board).unwrap();
        let device = PathBuf::from(ptsname_r(&board).unwrap());
        let gateway = open(&device, flags, Mode::empty()).unwrap();
        let mut settings = tcgetattr(&gateway).unwrap();
        cfmakeraw(&mut settings);
        tcsetattr(&gateway, SetArg::TCSANOW, &settings).unwrap();
        std::os::unix::fs::symlink(device, self.path()).unwrap();
        self.pair = Some(Pair {
            board,
            _gateway: gateway,
        });
    }
}
