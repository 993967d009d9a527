//! `fieldgate lend`: runs a program that needs the port of a running gateway.
//!
//! The gateway lends the port for as long as the connection lasts over which it was asked to. It ends
//! with this process, so that nothing can keep the gateway from taking the port back.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;

use anyhow::{Context, anyhow};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use super::gateway;
use crate::api::Lending;
use crate::cli::LendArguments;

/// Runs the program while it has the port; returns the exit code, which is the program's.
pub fn lend(arguments: &LendArguments) -> anyhow::Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let code = runtime.block_on(run(arguments))?;
    Ok(code)
}

async fn run(arguments: &LendArguments) -> anyhow::Result<u8> {
    let (program, rest) = arguments
        .program
        .split_first()
        .context("there is no program to run")?;
    let name = Path::new(program).file_name().unwrap_or(program);
    let gateway = gateway::reach(&arguments.gateway).await?;
    let source = gateway::source(&gateway, arguments.source.as_deref()).await?;
    // From here on Ctrl+C is for the program, which reads it from the same terminal.
    let mut signals = Signals::watch()?;
    let lent = gateway.lend(source, name.to_string_lossy().into_owned());
    let mut lending = tokio::select! {
        lent = lent => lent.map_err(|error| anyhow!(error)).context("the source is not lent")?,
        signal = signals.next() => return Ok(code_of_signal(signal as i32)),
    };
    let child = Command::new(program).args(rest).spawn();
    let mut child = child.with_context(|| format!("cannot start {}", program.display()))?;
    let status = signals.passed_on_to(&mut child, &mut lending).await;
    drop(lending);
    Ok(code(status.context("the program is lost track of")?))
}

/// What would end this process before the program.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    quit: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

impl Signals {
    fn watch() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::SIGINT,
            _ = self.quit.recv() => Signal::SIGQUIT,
            _ = self.terminate.recv() => Signal::SIGTERM,
            _ = self.hang_up.recv() => Signal::SIGHUP,
        }
    }

    /// Waits for the program's end. The terminal sends its own signals to the program, too; the others
    /// are passed on.
    async fn passed_on_to(
        &mut self,
        child: &mut Child,
        lending: &mut Lending,
    ) -> io::Result<ExitStatus> {
        let mut is_lent = true;
        loop {
            let signal = tokio::select! {
                status = child.wait() => return status,
                signal = self.next() => signal,
                // A gateway that has ended wants nothing back; the program goes on.
                () = lending.ended(), if is_lent => {
                    is_lent = false;
                    continue;
                }
            };
            let id = child.id().and_then(|id| i32::try_from(id).ok());
            if let (Some(id), Signal::SIGTERM | Signal::SIGHUP) = (id, signal) {
                // It may have ended this moment.
                let _gone = kill(Pid::from_raw(id), signal);
            }
        }
    }
}

fn code(status: ExitStatus) -> u8 {
    let of_program = status.code().and_then(|code| u8::try_from(code).ok());
    of_program.unwrap_or_else(|| code_of_signal(status.signal().unwrap_or(0)))
}

/// As shells tell of it.
fn code_of_signal(signal: i32) -> u8 {
    u8::try_from(128 + signal).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_that_of_the_program() {
        for (wait_status, expected) in [(0, 0), (3 << 8, 3), (255 << 8, 255), (15, 143), (9, 137)] {
            assert_eq!(code(ExitStatus::from_raw(wait_status)), expected);
        }
    }
}
