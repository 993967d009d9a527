//! A program whose standard output is the stream: `probe-rs run`, or any other. What is sent goes to its
//! standard input, which stays open.
//!
//! The program gets a process group of its own, so that whatever it starts ends with it. Its
//! standard error goes to the log. If fieldgate itself is killed in a way that leaves it no time to
//! end the program, the program finds its standard output closed and ends at its next line; systemd
//! ends it with the service.

use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{info, warn};

use super::SourceError;
use super::console::{self, ConsoleError, PATIENCE, Request, Written};
use super::driver::{Open, Reopen};
use super::stream::{Feed, READ_SIZE};
use crate::repeated::Topic;

/// What the program itself says: some screens of it before it is summed up.
const OUTPUT: Topic = Topic::new("program-output").at_once(100);
const KILLS: Topic = Topic::of_attempts("program-killed");

/// How long a program may take to end after SIGTERM, before SIGKILL.
const GRACE: Duration = Duration::from_secs(2);

/// How long a program may live on once it has closed its standard output.
const EXIT_AFTER_OUTPUT: Duration = Duration::from_secs(1);

/// How long the last lines of standard error are waited for, should anybody keep it open.
const LAST_LINES: Duration = Duration::from_millis(200);

/// How often the process group is asked whether it is empty.
const POLL: Duration = Duration::from_millis(10);

/// A program to run.
pub(super) struct Program {
    peer: String,
    argv: Vec<String>,
    advice: &'static str,
}

impl Program {
    /// `probe-rs run` on a debug probe.
    pub(super) fn probe_rs(probe_id: Option<&str>, chip: &str, firmware: &Path) -> Self {
        let mut argv = vec!["probe-rs".to_owned(), "run".to_owned()];
        if let Some(probe_id) = probe_id {
            argv.extend(["--probe".to_owned(), probe_id.to_owned()]);
        }
        argv.extend(["--chip".to_owned(), chip.to_owned()]);
        argv.push(firmware.to_string_lossy().into_owned());
        Self {
            peer: format!("probe-rs {chip}"),
            argv,
            advice: "install it from https://probe.rs",
        }
    }

    /// Any program with its arguments.
    pub(super) fn command(argv: &[String]) -> Self {
        Self {
            peer: format!("command {}", argv.first().map_or("", String::as_str)),
            argv: argv.to_vec(),
            advice: "install it, or correct `command` in [source]",
        }
    }

    fn name(&self) -> &str {
        self.argv.first().map_or("", String::as_str)
    }

    fn spawn(&self) -> Result<Child, SourceError> {
        Command::new(self.name())
            .args(self.argv.iter().skip(1))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                let program = self.name().to_owned();
                if error.kind() == io::ErrorKind::NotFound {
                    let advice = self.advice;
                    SourceError::ProgramNotFound { program, advice }
                } else {
                    SourceError::ProgramStart { program, error }
                }
            })
    }
}

impl Reopen for Program {
    const LONGEST_WAIT: Duration = crate::backoff::Backoff::CAP;

    fn peer(&self) -> String {
        self.peer.clone()
    }

    async fn open(&self, started: Instant) -> Result<Open, SourceError> {
        let mut child = self.spawn()?;
        let (feed, stream) = Feed::new(started);
        let (requests, asked) = console::requests();
        if let Some(input) = child.stdin.take() {
            tokio::spawn(serve(input, asked, feed.clone()));
        }
        tokio::spawn(supervise(self.name().to_owned(), child, feed));
        Ok(Open {
            peer: self.peer(),
            stream,
            requests,
        })
    }
}

/// Writes to the program what is sent, until it is to end.
async fn serve(mut input: ChildStdin, mut requests: mpsc::Receiver<Request>, feed: Feed) {
    loop {
        let request = tokio::select! {
            biased;
            () = feed.closed() => return,
            request = requests.recv() => request,
        };
        match request {
            None => return,
            Some(Request::Write { bytes, answer }) => {
                // Whoever asked may be gone.
                drop(answer.send(write(&mut input, &bytes).await));
            }
            // The console knows that a program has no lines.
            Some(Request::Reset { .. }) => {}
        }
    }
}

/// Writes all of it, or as much as is taken in time.
async fn write(input: &mut ChildStdin, bytes: &[u8]) -> Written {
    let length = bytes.len();
    let mut taken = 0;
    let writing = async {
        while taken < length {
            taken += input.write(&bytes[taken..]).await?;
        }
        Ok(())
    };
    let outcome = match timeout(PATIENCE, writing).await {
        Ok(outcome) => outcome.map_err(ConsoleError::Write),
        Err(_elapsed) => Err(ConsoleError::Stuck { taken, length }),
    };
    Written { taken, outcome }
}

/// Reads from a program until it ends or nobody wants more; then nothing of it is left.
async fn supervise(program: String, mut child: Child, feed: Feed) {
    let group = child.id().and_then(|id| i32::try_from(id).ok());
    let group = Group(group.map(Pid::from_raw));
    let last_line = log_standard_error(&program, &mut child);
    let outcome = watch(&mut child, group, &feed).await;
    group.end(&mut child).await;
    let error = match outcome {
        None => return,
        Some(Ok(status)) => SourceError::ProgramEnded {
            last_line: timeout(LAST_LINES, last_line)
                .await
                .ok()
                .and_then(Result::ok)
                .flatten(),
            program,
            status,
        },
        Some(Err(error)) => SourceError::ProgramWait { program, error },
    };
    feed.fail(error).await;
}

/// Feeds the program's output until it ends, and says how; `None`: nobody wants more.
async fn watch(child: &mut Child, group: Group, feed: &Feed) -> Option<io::Result<ExitStatus>> {
    let output = child.stdout.take();
    let mut reading = std::pin::pin!(async {
        if let Some(output) = output {
            read_to_end(output, feed).await;
        }
    });
    let exited = tokio::select! {
        () = feed.closed() => return None,
        status = child.wait() => Some(status),
        () = &mut reading => None,
    };
    let Some(status) = exited else {
        if let Ok(status) = timeout(EXIT_AFTER_OUTPUT, child.wait()).await {
            return Some(status);
        }
        group.end(child).await;
        return Some(child.wait().await);
    };
    // What the program started may have its output open still. What it wrote is not lost.
    group.end(child).await;
    tokio::select! {
        () = feed.closed() => None,
        () = reading => Some(status),
    }
}

async fn read_to_end(mut output: impl AsyncRead + Unpin, feed: &Feed) {
    let mut buffer = vec![0; READ_SIZE];
    // An error of a pipe is its end as well.
    while let Ok(count @ 1..) = output.read(&mut buffer).await {
        let bytes = Bytes::copy_from_slice(&buffer[..count]);
        if feed.put(bytes).await.is_err() {
            return;
        }
    }
}

/// The process group of a program.
#[derive(Clone, Copy)]
struct Group(Option<Pid>);

impl Group {
    /// Ends the program and all that it started: politely, then by force.
    async fn end(self, child: &mut Child) {
        let Some(group) = self.0 else { return };
        if killpg(group, Signal::SIGTERM).is_err() {
            return;
        }
        let emptied = timeout(GRACE, async {
            // The program itself is in the group until it has been waited for.
            let waited = child.wait().await;
            while waited.is_ok() && any_alive(group) {
                tokio::time::sleep(POLL).await;
            }
        });
        if emptied.await.is_err() {
            KILLS.say("", "", move |sum| {
                warn!(
                    group = group.as_raw(),
                    repeated = sum.words(),
                    "The program ignores SIGTERM; it is killed."
                );
            });
            if killpg(group, Signal::SIGKILL).is_ok() {
                drop(child.wait().await);
            }
        }
    }
}

/// Whether a process of the group still runs. One that has ended stays in its group until its parent
/// takes note of it, which in a container may be never; so the state of each is looked at.
fn any_alive(group: Pid) -> bool {
    if killpg(group, None).is_err() {
        return false;
    }
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return true;
    };
    processes.filter_map(Result::ok).any(|process| {
        std::fs::read_to_string(process.path().join("stat"))
            .is_ok_and(|stat| is_alive_in(&stat, group))
    })
}

/// Whether `/proc/PID/stat` tells of a running process of the group:
/// `PID (NAME) STATE PARENT GROUP …`, where the name may hold anything.
fn is_alive_in(stat: &str, group: Pid) -> bool {
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let mut fields = fields.split(' ');
    let alive = !matches!(fields.next(), None | Some("" | "Z" | "X"));
    alive && fields.nth(1).and_then(|field| field.parse().ok()) == Some(group.as_raw())
}

/// Logs what the program says on standard error. The task's value is the last line.
fn log_standard_error(program: &str, child: &mut Child) -> JoinHandle<Option<String>> {
    let program = program.to_owned();
    let errors = child.stderr.take();
    tokio::spawn(async move {
        let mut last = None;
        let mut lines = Lines::default();
        let mut buffer = BytesMut::with_capacity(4096);
        let mut errors = errors?;
        while let Ok(1..) = errors.read_buf(&mut buffer).await {
            lines.push(&buffer.split(), |line| {
                say(&program, &line);
                last = Some(line);
            });
        }
        lines.end(|line| {
            say(&program, &line);
            last = Some(line);
        });
        last
    })
}

fn say(program: &str, line: &str) {
    let (program, line) = (program.to_owned(), line.to_owned());
    OUTPUT.say(&program.clone(), "", move |sum| {
        info!(program, repeated = sum.words(), "{line}");
    });
}

/// Cuts text into lines that are fit for a log: of bounded length, without control characters,
/// never empty.
#[derive(Default)]
struct Lines {
    line: Vec<u8>,
}

impl Lines {
    /// What a line has beyond this is left out.
    const LONGEST: usize = 1024;

    fn push(&mut self, bytes: &[u8], mut each: impl FnMut(String)) {
        for byte in bytes {
            if *byte == b'\n' {
                self.end(&mut each);
            } else if self.line.len() < Self::LONGEST {
                self.line.push(*byte);
            }
        }
    }

    fn end(&mut self, mut each: impl FnMut(String)) {
        let text = String::from_utf8_lossy(&self.line);
        let text: String = text.chars().filter(|c| !c.is_control()).collect();
        self.line.clear();
        if !text.trim().is_empty() {
            each(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probe_rs_is_called_with_its_arguments() {
        let firmware = Path::new("/srv/a firmware.elf");
        let program = Program::probe_rs(Some("0483:374b:066C"), "STM32F446RETx", firmware);
        assert_eq!(
            program.argv,
            [
                "probe-rs",
                "run",
                "--probe",
                "0483:374b:066C",
                "--chip",
                "STM32F446RETx",
                "/srv/a firmware.elf"
            ]
        );
        let program = Program::probe_rs(None, "nRF52840_xxAA", firmware);
        assert_eq!(
            program.argv,
            [
                "probe-rs",
                "run",
                "--chip",
                "nRF52840_xxAA",
                "/srv/a firmware.elf"
            ]
        );
    }

    #[test]
    fn a_missing_program_comes_with_advice() {
        let mut program = Program::probe_rs(None, "nRF52840_xxAA", Path::new("a.elf"));
        program.argv[0] = "fieldgate-test-no-such-program".to_owned();
        let text = program.spawn().unwrap_err().to_string();
        assert_eq!(
            text,
            "program fieldgate-test-no-such-program was not found; install it from https://probe.rs"
        );
    }

    #[test]
    fn the_dead_are_not_waited_for() {
        for (stat, alive) in [
            ("17 (sh) S 1 42 42 0 -1", true),
            ("17 (a) b) Z (c) R 1 42 42 0", true),
            ("17 (sh) Z 1 42 42 0 -1", false),
            ("17 (sh) S 1 41 42 0 -1", false),
            ("17 (sh) S", false),
            ("", false),
        ] {
            assert_eq!(is_alive_in(stat, Pid::from_raw(42)), alive, "{stat}");
        }
    }

    #[test]
    fn log_lines_are_short_and_clean() {
        let long = "x".repeat(5000);
        let input = format!("one\r\n\n  \n\u{1b}[31mred\x07 caf\u{e9}\n{long}\nend");
        for length in [1, 3, 10_000] {
            let mut lines = Lines::default();
            let mut seen = Vec::new();
            for part in input.as_bytes().chunks(length) {
                lines.push(part, |line| seen.push(line));
                assert!(lines.line.len() <= Lines::LONGEST);
            }
            lines.end(|line| seen.push(line));
            assert_eq!(
                seen,
                ["one", "[31mred caf\u{e9}", &long[..Lines::LONGEST], "end"]
            );
        }
    }
}
