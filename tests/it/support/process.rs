//! A program that a test started.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::poll;

/// Where a line was printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// Lines as they come in, shared with the threads that read them.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<(Stream, String)>>>);

impl Lines {
    pub(crate) fn push(&self, stream: Stream, line: String) {
        self.0.lock().unwrap().push((stream, line));
    }

    /// What was printed on a stream.
    pub(crate) fn of(&self, stream: Stream) -> Vec<String> {
        let lines = self.0.lock().unwrap();
        let of_stream = lines.iter().filter(|(printed_on, _)| *printed_on == stream);
        of_stream.map(|(_, line)| line.clone()).collect()
    }

    /// How many lines of either stream hold a text.
    pub(crate) fn count(&self, text: &str) -> usize {
        let lines = self.0.lock().unwrap();
        lines.iter().filter(|(_, line)| line.contains(text)).count()
    }

    /// The first line of either stream that holds a text.
    pub(crate) fn find(&self, text: &str) -> Option<String> {
        let lines = self.0.lock().unwrap();
        let found = lines.iter().find(|(_, line)| line.contains(text));
        found.map(|(_, line)| line.clone())
    }

    /// The end of it all, for a failed test.
    pub(crate) fn tail(&self) -> String {
        let lines = self.0.lock().unwrap();
        let skipped = lines.len().saturating_sub(100);
        let shown = lines[skipped..]
            .iter()
            .map(|(_, line)| format!("  {line}\n"));
        format!("  ({skipped} lines before)\n{}", shown.collect::<String>())
    }
}

/// A running program, killed when this is dropped.
pub(crate) struct Process {
    name: String,
    child: Child,
    lines: Lines,
    readers: [JoinHandle<()>; 2],
}

impl Process {
    /// Starts a program and keeps what it prints.
    pub(crate) fn spawn(name: &str, command: &mut Command) -> Self {
        Self::spawn_with(name, command, |_| false)
    }

    /// As [`Process::spawn`]; lines of its standard output that `taken` takes are not kept.
    pub(crate) fn spawn_with(
        name: &str,
        command: &mut Command,
        mut taken: impl FnMut(&str) -> bool + Send + 'static,
    ) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name} ({command:?}): {error}"));
        let lines = Lines::default();
        let kept = lines.clone();
        let stdout = read_lines(child.stdout.take().unwrap(), move |line| {
            if !taken(&line) {
                kept.push(Stream::Stdout, line);
            }
        });
        let kept = lines.clone();
        let stderr = read_lines(child.stderr.take().unwrap(), move |line| {
            kept.push(Stream::Stderr, line);
        });
        Self {
            name: name.into(),
            child,
            lines,
            readers: [stdout, stderr],
        }
    }

    /// Its process identifier.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it printed so far.
    pub(crate) fn lines(&self) -> &Lines {
        &self.lines
    }

    /// Its standard input, if that was piped and not taken before.
    pub(crate) fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// How it ended, if it did.
    pub(crate) fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Sends a signal; nothing happens when it has ended.
    pub(crate) fn signal(&mut self, signal: Signal) {
        if self.exit_status().is_none() {
            let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
            kill(pid, signal).unwrap();
        }
    }

    /// Waits until it has ended and all that it printed has been read.
    pub(crate) fn wait_exit(&mut self, patience: Duration) -> ExitStatus {
        let status = poll(patience, || self.exit_status())
            .unwrap_or_else(|| panic!("{} did not end within {patience:?}", self.name));
        let read = || {
            self.readers
                .iter()
                .all(JoinHandle::is_finished)
                .then_some(())
        };
        poll(patience, read)
            .unwrap_or_else(|| panic!("{} left a program behind that has its output", self.name));
        status
    }

    /// Waits until something is there; fails the test at once when the program ends before.
    pub(crate) fn wait_for<T>(
        &mut self,
        what: &str,
        patience: Duration,
        mut attempt: impl FnMut(&Lines) -> Option<T>,
    ) -> T {
        let name = self.name.clone();
        poll(patience, || {
            // Asked in this order, an answer that came right before the end is still seen.
            let ended = self.exit_status();
            attempt(&self.lines).or_else(|| {
                assert!(ended.is_none(), "{name} ended ({ended:?}) before {what}");
                None
            })
        })
        .unwrap_or_else(|| panic!("{name}: no {what} within {patience:?}"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when it has ended and been waited for: what is wanted here.
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            eprintln!("--- {} printed:\n{}", self.name, self.lines.tail());
        }
    }
}

/// Reads lines, valid UTF-8 or not, until the pipe ends.
fn read_lines(
    pipe: impl Read + Send + 'static,
    mut line_read: impl FnMut(String) + Send + 'static,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut reader = BufReader::new(pipe);
        let mut line = Vec::new();
        while reader
            .read_until(b'\n', &mut line)
            .is_ok_and(|count| count > 0)
        {
            line_read(String::from_utf8_lossy(&line).trim_end_matches('\n').into());
            line.clear();
        }
    })
}

/// A program of the system; servers stand in folders that are not on everybody's `PATH`.
pub(crate) fn program(name: &str) -> Command {
    let folder = ["/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin"]
        .iter()
        .map(|folder| std::path::Path::new(folder).join(name))
        .find(|path| path.exists());
    Command::new(folder.unwrap_or_else(|| name.into()))
}
