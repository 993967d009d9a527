//! The gateway with its terminal UI, in a pseudo-terminal that somebody reads.

use std::io::Read;
use std::path::Path;

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

use super::gateway::{BINARY, Input, Targets, Usage, arguments};

/// A gateway with a screen of 120 columns and 40 lines; killed with this value.
pub struct Screen {
    child: Box<dyn Child + Send + Sync>,
    _terminal: Box<dyn MasterPty + Send>,
}

impl Screen {
    pub fn start(folder: &Path, input: &Input<'_>, targets: Targets) -> Self {
        let size = PtySize {
            rows: 40,
            cols: 120,
            ..PtySize::default()
        };
        let pair = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new(BINARY);
        command.args(arguments(folder, input, targets));
        command.cwd(folder);
        command.env("TERM", "xterm-256color");
        let child = pair.slave.spawn_command(command).unwrap();
        let mut output = pair.master.try_clone_reader().unwrap();
        std::thread::spawn(move || {
            let mut bytes = [0; 4_096];
            while output.read(&mut bytes).is_ok_and(|count| count > 0) {}
        });
        Self {
            child,
            _terminal: pair.master,
        }
    }

    pub fn usage(&self) -> Usage {
        Usage(self.child.process_id().unwrap())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}
