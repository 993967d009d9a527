//! The signals that end a command that goes on, and the one that says that it was suspended.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// To end.
    End,
    /// Nothing: the process was stopped and goes on.
    Continued,
}

/// The signals that are watched.
pub(super) struct Signals {
    interrupt: io::Result<Signal>,
    terminate: io::Result<Signal>,
    /// Sent when the terminal goes; without one it means nothing, and is left to `nohup`.
    hang_up: Option<io::Result<Signal>>,
    continued: io::Result<Signal>,
}

impl Signals {
    pub(super) fn watch(has_terminal: bool) -> Self {
        let signals = Self {
            interrupt: signal(SignalKind::interrupt()),
            terminate: signal(SignalKind::terminate()),
            hang_up: has_terminal.then(|| signal(SignalKind::hangup())),
            continued: signal(SignalKind::from_raw(nix::libc::SIGCONT)),
        };
        let all = [&signals.interrupt, &signals.terminate, &signals.continued];
        for signal in all.into_iter().chain(&signals.hang_up) {
            if let Err(error) = signal {
                tracing::warn!(error = %error, "A signal cannot be watched.");
            }
        }
        signals
    }

    /// Waits for the next signal.
    pub(super) async fn next(&mut self) -> Heard {
        tokio::select! {
            () = received(Some(&mut self.interrupt)) => Heard::End,
            () = received(Some(&mut self.terminate)) => Heard::End,
            () = received(self.hang_up.as_mut()) => Heard::End,
            () = received(Some(&mut self.continued)) => Heard::Continued,
        }
    }
}

/// Waits for a signal; for ever when it cannot be watched.
async fn received(signal: Option<&mut io::Result<Signal>>) {
    if let Some(Ok(signal)) = signal
        && signal.recv().await.is_some()
    {
        return;
    }
    std::future::pending::<()>().await;
}
