//! A screen without a terminal, one frame at a time.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossterm::event::{Event, KeyCode, KeyEvent};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::layout::Size;

use super::session::Session;
use crate::monitor::Observer;
use crate::telemetry::Timestamp;
use crate::tui::console::Console;
use crate::tui::state::App;
use crate::tui::theme::Theme;
use crate::tui::views;

/// What the screen shows of a gateway, drawn into memory: for measurements.
pub struct Picture(Session<MemoryConsole>);

struct MemoryConsole {
    terminal: Terminal<TestBackend>,
    keys: VecDeque<Event>,
}

impl Picture {
    /// Looks at a gateway with so many columns and lines. Must be called within a tokio runtime, which
    /// answers the screen's questions.
    pub fn new(observer: Arc<dyn Observer>, theme: Theme, columns: u16, lines: u16) -> Self {
        let Ok(terminal) = Terminal::new(TestBackend::new(columns, lines));
        let app = App::new(theme, Size::new(columns, lines), Timestamp::now());
        let console = MemoryConsole {
            terminal,
            keys: VecDeque::new(),
        };
        let runtime = tokio::runtime::Handle::current();
        let mut session = Session::new(console, app, vec![observer], runtime);
        session.is_shown = true;
        Self(session)
    }

    /// Types a key, looks at the gateway anew, and draws what comes of both.
    pub fn press(&mut self, key: char) -> io::Result<()> {
        let key = KeyEvent::from(KeyCode::Char(key));
        self.0.console.keys.push_back(Event::Key(key));
        self.0.turn()
    }

    /// Draws the whole frame again.
    pub fn draw(&mut self) -> io::Result<()> {
        self.0.draw()
    }
}

impl Console for MemoryConsole {
    fn instant(&self) -> Instant {
        Instant::now()
    }

    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn event(&mut self, _: Duration) -> io::Result<Option<Event>> {
        Ok(self.keys.pop_front())
    }

    fn draw(&mut self, app: &App) -> io::Result<()> {
        let drawn: Result<_, Infallible> = self.terminal.draw(|frame| views::draw(frame, app));
        let Ok(_) = drawn;
        Ok(())
    }

    fn ring(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn repaint(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn take(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn suspend(&mut self, _: &str) {}
}
