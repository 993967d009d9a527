//! The gateway in a terminal, as a person sees it.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use tempfile::TempDir;

use super::{PATIENCE, poll};

/// A program in a pseudo-terminal of its own.
pub(crate) struct Terminal {
    folder: TempDir,
    master: Box<dyn MasterPty + Send>,
    keyboard: Box<dyn Write + Send>,
    child: Box<dyn Child + Send + Sync>,
    screen: Arc<Mutex<vt100::Parser>>,
    is_read: Arc<AtomicBool>,
    /// Input, output and local modes.
    before: [u32; 3],
}

impl Terminal {
    /// Starts `fieldgate` with these arguments in a folder of its own. With a size of nothing the terminal says
    /// none, and has room for 80 × 24.
    pub(crate) fn start(size: (u16, u16), arguments: &[&str]) -> Self {
        let program = env!("CARGO_BIN_EXE_fieldgate");
        Self::run(size, Path::new(program), arguments, &[])
    }

    /// Starts any program.
    pub(crate) fn run(
        (columns, rows): (u16, u16),
        program: &Path,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let size = PtySize {
            rows,
            cols: columns,
            pixel_width: 0,
            pixel_height: 0,
        };
        let pair = native_pty_system().openpty(size).unwrap();
        let before = modes(pair.master.as_ref());
        let mut command = CommandBuilder::new(program);
        command.args(arguments);
        command.cwd(folder.path());
        command.env_clear();
        for (name, value) in [
            ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
            ("HOME", folder.path().to_str().unwrap()),
            ("TERM", "xterm-256color"),
            ("LANG", "C.UTF-8"),
        ] {
            command.env(name, value);
        }
        for (name, value) in environment {
            command.env(name, value);
        }
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let (columns, rows) = match (columns, rows) {
            (0, 0) => (80, 24),
            size => size,
        };
        let screen = Arc::new(Mutex::new(vt100::Parser::new(rows, columns, 0)));
        let is_read = Arc::new(AtomicBool::new(true));
        read(
            pair.master.try_clone_reader().unwrap(),
            screen.clone(),
            is_read.clone(),
        );
        Self {
            folder,
            keyboard: pair.master.take_writer().unwrap(),
            master: pair.master,
            child,
            screen,
            is_read,
            before,
        }
    }

    /// The folder that it was started in.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Types.
    pub(crate) fn type_keys(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
        self.keyboard.flush().unwrap();
    }

    /// What can be read on the screen.
    pub(crate) fn text(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    /// Asks something about the screen.
    pub(crate) fn look<T>(&self, question: impl FnOnce(&vt100::Screen) -> T) -> T {
        question(self.screen.lock().unwrap().screen())
    }

    /// Waits until a text stands on the screen.
    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) -> String {
        self.wait_until(text, |screen| screen.contains(text))
    }

    /// Waits until the screen is as wanted.
    #[track_caller]
    pub(crate) fn wait_until(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let seen = poll(PATIENCE, || Some(self.text()).filter(|text| wanted(text)));
        seen.unwrap_or_else(|| panic!("no {what:?} on the screen:\n{}", self.text()))
    }

    /// Stops reading what the program writes, or goes on.
    pub(crate) fn set_reading(&self, is_read: bool) {
        self.is_read.store(is_read, Ordering::SeqCst);
    }

    /// Makes the terminal another size.
    pub(crate) fn resize(&self, (columns, rows): (u16, u16)) {
        self.screen
            .lock()
            .unwrap()
            .screen_mut()
            .set_size(rows.max(1), columns.max(1));
        let size = PtySize {
            rows,
            cols: columns,
            pixel_width: 0,
            pixel_height: 0,
        };
        self.master.resize(size).unwrap();
    }

    /// The processor's time that it took so far.
    pub(crate) fn cpu_time(&self) -> Duration {
        let pid = self.child.process_id().unwrap();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        let ticks: u64 = [11, 12]
            .map(|at| fields[at].parse::<u64>().unwrap())
            .iter()
            .sum();
        // The kernel counts in hundredths of a second, whatever the machine.
        Duration::from_millis(ticks * 10)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.process_id().unwrap()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    /// Sends a signal to all that the shell has in the foreground.
    pub(crate) fn signal_foreground(&self, signal: Signal) {
        let group = self.master.process_group_leader().unwrap();
        killpg(Pid::from_raw(group), signal).unwrap();
    }

    /// Waits for the end, and returns the exit code.
    #[track_caller]
    pub(crate) fn wait_exit(&mut self) -> u32 {
        let status = poll(Duration::from_secs(30), || self.child.try_wait().unwrap());
        match status {
            Some(status) => status.exit_code(),
            None => panic!("it does not end:\n{}", self.text()),
        }
    }

    /// Whether the terminal takes lines and echoes, as it did before.
    pub(crate) fn is_restored(&self) -> bool {
        let modes_are_back = modes(self.master.as_ref()) == self.before;
        let screen_is_back = self.look(|screen| {
            !screen.alternate_screen()
                && !screen.hide_cursor()
                && !screen.bracketed_paste()
                && screen.mouse_protocol_mode() == vt100::MouseProtocolMode::None
        });
        modes_are_back && screen_is_back
    }

    #[track_caller]
    pub(crate) fn assert_restored(&self) {
        poll(PATIENCE, || self.is_restored().then_some(()))
            .unwrap_or_else(|| panic!("the terminal is not as it was:\n{}", self.text()));
    }
}

fn modes(terminal: &(dyn MasterPty + Send)) -> [u32; 3] {
    let modes = terminal.get_termios().unwrap();
    [
        modes.input_flags.bits(),
        modes.output_flags.bits(),
        modes.local_flags.bits(),
    ]
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Fails only when it has ended.
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            eprintln!("--- the screen:\n{}", self.text());
        }
    }
}

fn read(
    mut terminal: Box<dyn Read + Send>,
    screen: Arc<Mutex<vt100::Parser>>,
    is_read: Arc<AtomicBool>,
) {
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        loop {
            while !is_read.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
            match terminal.read(&mut bytes) {
                Ok(0) | Err(_) => return,
                Ok(count) => screen.lock().unwrap().process(&bytes[..count]),
            }
        }
    });
}
