//! What the screen needs of a terminal.

use std::io;
use std::time::{Duration, Instant};

use crossterm::event::Event;

use super::state::App;
use crate::telemetry::Timestamp;

/// A terminal with somebody before it, and the time there.
pub(super) trait Console {
    /// A clock that only goes on.
    fn instant(&self) -> Instant;

    /// The time of day.
    fn now(&self) -> Timestamp;

    /// What the operator does within some time, if anything.
    fn event(&mut self, within: Duration) -> io::Result<Option<Event>>;

    /// Shows the state.
    fn draw(&mut self, app: &App) -> io::Result<()>;

    /// Rings its bell.
    fn ring(&mut self) -> io::Result<()>;

    /// Has the next frame drawn in full.
    fn repaint(&mut self) -> io::Result<()>;

    /// Whether the terminal is for this process now, and not for a shell that has it in the background.
    fn is_ours(&self) -> bool {
        true
    }

    /// Takes the terminal, at the start or anew.
    fn take(&mut self) -> io::Result<()>;

    /// Leaves the terminal to whoever has it now.
    fn leave(&mut self) {}

    /// Gives the terminal back with some last words, and stops the process. Returns when it goes on,
    /// in the foreground or in the background.
    fn suspend(&mut self, words: &str);
}
