//! A serial port without hardware.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::pty::openpty;
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::ttyname;
use tempfile::TempDir;

use super::{PATIENCE, poll};

/// A pseudo-terminal whose end for the gateway keeps its path when it is plugged in again.
pub(crate) struct Pty {
    folder: TempDir,
    pair: Option<Pair>,
}

struct Pair {
    board: File,
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

    /// Pulls it out: whoever has it open sees it end, and its path is gone.
    pub(crate) fn close(&mut self) {
        std::fs::remove_file(self.path()).unwrap();
        self.pair = None;
    }

    /// Plugs it in again after [`Pty::close`]: another device under the same path.
    pub(crate) fn reopen(&mut self) {
        assert!(self.pair.is_none(), "the port is open");
        let pair = openpty(None, None).unwrap();
        let mut settings = tcgetattr(&pair.slave).unwrap();
        cfmakeraw(&mut settings);
        tcsetattr(&pair.slave, SetArg::TCSANOW, &settings).unwrap();
        // A board does not wait for a reader that hangs, and neither must a test.
        fcntl(&pair.master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        link(&ttyname(&pair.slave).unwrap(), &self.path());
        self.pair = Some(Pair {
            board: File::from(pair.master),
            _gateway: pair.slave,
        });
    }
}

fn link(device: &Path, path: &Path) {
    std::os::unix::fs::symlink(device, path).unwrap();
}
