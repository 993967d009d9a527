//! The screen's own thread: reads the terminal, looks at the gateway, draws.
//!
//! A terminal that is slow or stopped holds up this thread and nothing else.

mod picture;
mod session;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::console::Console;
use super::state::{App, Guide};
use super::terminal;
use super::theme::Theme;
use crate::monitor::Observer;

pub use picture::Picture;
use session::Session;

/// How long the screen is waited for at its end; a terminal that takes nothing cannot be restored.
const PATIENCE: Duration = Duration::from_secs(1);

/// How the screen is told what happens to the process.
#[derive(Debug, Clone, Default)]
pub struct Control(Arc<Flags>);

#[derive(Debug, Default)]
struct Flags {
    is_closing: AtomicBool,
    was_continued: AtomicBool,
    has_terminal: AtomicBool,
}

impl Control {
    /// For a screen that opens at once, unless the process is in the background.
    pub fn of_screen() -> Self {
        let control = Self::default();
        let is_ours = terminal::is_foreground();
        control.0.has_terminal.store(is_ours, Ordering::SeqCst);
        control
    }

    /// Whether the screen has the terminal, or is about to take it: nobody else may write there.
    pub fn has_terminal(&self) -> bool {
        self.0.has_terminal.load(Ordering::SeqCst)
    }

    /// Closes the screen.
    pub fn close(&self) {
        self.0.is_closing.store(true, Ordering::SeqCst);
    }

    /// Says that the process was stopped and goes on: the terminal may have changed.
    pub fn process_continued(&self) {
        self.0.was_continued.store(true, Ordering::SeqCst);
    }
}

/// How a screen ended.
#[derive(Debug)]
pub enum Ended {
    /// The terminal is as it was.
    Closed,
    /// The terminal failed.
    Failed(io::Error),
    /// The screen panicked; the terminal is as it was.
    Panicked,
    /// The terminal takes nothing, so that it cannot be restored.
    Stuck,
}

/// A screen that runs.
#[derive(Debug)]
pub struct Screen {
    control: Control,
    thread: JoinHandle<io::Result<()>>,
    done: tokio::sync::oneshot::Receiver<()>,
}

impl Screen {
    /// Opens the screen. Must be called within a tokio runtime, which answers its questions.
    pub fn open(
        observer: Arc<dyn Observer>,
        theme: Theme,
        control: Control,
        guide: Guide,
    ) -> io::Result<Self> {
        Self::open_fleet(vec![observer], theme, control, guide)
    }

    /// Opens the screen of several gateways, which are listed first; of a single one as
    /// [`open`](Self::open). Must be called within a tokio runtime.
    pub fn open_fleet(
        observers: Vec<Arc<dyn Observer>>,
        theme: Theme,
        control: Control,
        guide: Guide,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Handle::current();
        let (done_sender, done) = tokio::sync::oneshot::channel();
        let flags = control.clone();
        let thread = thread::Builder::new()
            .name(terminal::THREAD.to_owned())
            .spawn(move || {
                // Dropped at the end, also by a panic.
                let _done_sender = done_sender;
                run(observers, theme, &flags, runtime, guide)
            })?;
        Ok(Self {
            control,
            thread,
            done,
        })
    }

    /// Waits until the screen ends by itself.
    pub async fn ended(&mut self) {
        // The sender is dropped at the end and never sends.
        let _dropped = (&mut self.done).await;
    }

    /// Closes the screen and waits until the terminal is restored.
    pub fn close(self) -> Ended {
        self.control.close();
        let deadline = Instant::now() + PATIENCE;
        while !self.thread.is_finished() {
            if Instant::now() >= deadline {
                return Ended::Stuck;
            }
            thread::sleep(Duration::from_millis(5));
        }
        match self.thread.join() {
            Ok(Ok(())) => Ended::Closed,
            Ok(Err(error)) => Ended::Failed(error),
            Err(_) => Ended::Panicked,
        }
    }
}

fn run(
    observers: Vec<Arc<dyn Observer>>,
    theme: Theme,
    control: &Control,
    runtime: tokio::runtime::Handle,
    guide: Guide,
) -> io::Result<()> {
    let console = terminal::OwnTerminal::open()?;
    let mut app = App::new(theme, console.size(), console.now());
    app.guide = guide;
    if observers.len() > 1 {
        app.list_gateways(observers.len());
    }
    let ended = Session::new(console, app, observers, runtime).run(control);
    control.0.has_terminal.store(false, Ordering::SeqCst);
    ended
}
