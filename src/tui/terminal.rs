//! Takes the terminal and gives it back, whatever happens.

use std::io::{self, BufWriter, Stdout, Write};
use std::os::fd::AsFd as _;
use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossterm::cursor::Show;
use crossterm::event::{self, DisableBracketedPaste, EnableBracketedPaste, Event};
use crossterm::execute;
use crossterm::style::ResetColor;
use crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::{Pid, getpgrp, tcgetpgrp};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::layout::{Rect, Size};

use super::console::Console;
use super::state::App;
use super::views;
use crate::repeated::Topic;
use crate::telemetry::Timestamp;

const PANICS: Topic = Topic::new("panics");
const SUSPENSIONS: Topic = Topic::of_attempts("not-suspended");

/// The name of the thread that draws; the panic hook knows it by that.
pub(super) const THREAD: &str = "fieldgate-tui";

/// For what is already read but stands behind an answer of the terminal, such as where its cursor is:
/// without any time crossterm passes over one such answer and says that there is nothing more.
const PATIENCE_WITH_THE_REST: Duration = Duration::from_millis(1);

/// Reports of buttons and the wheel, not of every motion.
const MOUSE_ON: &[u8] = b"\x1b[?1000h\x1b[?1006h";
const MOUSE_OFF: &[u8] = b"\x1b[?1006l\x1b[?1000l";

/// Whether the terminal is taken.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal of this process; if it was taken, it is given back when this is dropped.
pub(super) struct OwnTerminal {
    /// One frame is written in one piece.
    screen: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
    /// As it was last drawn for.
    size: Size,
    /// Whether crossterm may have read more than the last event.
    may_have_more: bool,
    _guard: Guard,
}

/// Gives the terminal back when it is dropped.
struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        give_back();
    }
}

impl OwnTerminal {
    /// Leaves the terminal as it is. From now on, a panic gives it back.
    pub(super) fn open() -> io::Result<Self> {
        install_panic_hook();
        let guard = Guard;
        let stdout = BufWriter::with_capacity(1 << 16, io::stdout());
        let screen = Terminal::new(CrosstermBackend::new(stdout))?;
        Ok(Self {
            size: screen.size()?,
            screen,
            may_have_more: false,
            _guard: guard,
        })
    }

    pub(super) fn size(&self) -> Size {
        self.size
    }
}

impl Console for OwnTerminal {
    fn instant(&self) -> Instant {
        Instant::now()
    }

    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn is_ours(&self) -> bool {
        is_foreground()
    }

    /// A change of the size is seen with the next call, not at once.
    fn event(&mut self, within: Duration) -> io::Result<Option<Event>> {
        let size = self.screen.size()?;
        if size != self.size {
            self.size = size;
            self.screen.autoresize()?;
            return Ok(Some(Event::Resize(size.width, size.height)));
        }
        let patience = if self.may_have_more {
            Duration::ZERO
        } else {
            within
        };
        // What is typed meanwhile may be for the shell.
        if (!has_input(patience)? && !self.may_have_more) || !is_foreground() {
            return Ok(None);
        }
        self.may_have_more = event::poll(PATIENCE_WITH_THE_REST)?;
        self.may_have_more.then(event::read).transpose()
    }

    fn draw(&mut self, app: &App) -> io::Result<()> {
        self.screen.draw(|frame| views::draw(frame, app))?;
        Ok(())
    }

    fn ring(&mut self) -> io::Result<()> {
        let backend = self.screen.backend_mut();
        backend.write_all(b"\x07")?;
        io::Write::flush(backend)
    }

    /// `Terminal::clear` would ask the terminal where its cursor is and wait for an answer, which not
    /// every terminal gives.
    fn repaint(&mut self) -> io::Result<()> {
        let size = self.screen.size()?;
        self.screen.resize(Rect::new(0, 0, size.width, size.height))
    }

    fn take(&mut self) -> io::Result<()> {
        take_over()?;
        self.may_have_more = false;
        self.repaint()
    }

    fn leave(&mut self) {
        give_back();
    }

    /// Stops all that the shell started with this process, as Ctrl+Z does elsewhere.
    fn suspend(&mut self, words: &str) {
        give_back();
        println!("{words}");
        let own_group = Pid::from_raw(0);
        if let Err(error) = kill(own_group, Signal::SIGTSTP) {
            SUSPENSIONS.say("", "", move |sum| {
                tracing::warn!(error = %error, repeated = sum.words(), "Cannot suspend.");
            });
        }
        // The signal may reach another thread first; this one must not take the terminal before the
        // process stands still.
        thread::sleep(Duration::from_millis(100));
    }
}

/// Waits for input of the terminal. An error says that the terminal has gone: crossterm, left to wait by
/// itself, would then read without end.
fn has_input(within: Duration) -> io::Result<bool> {
    let stdout = io::stdout();
    let mut terminal = [PollFd::new(stdout.as_fd(), PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(within).unwrap_or(PollTimeout::MAX);
    match poll(&mut terminal, timeout) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(error) => return Err(error.into()),
    }
    let seen = terminal[0].revents().unwrap_or(PollFlags::empty());
    if seen.intersects(PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL) {
        let gone = "the terminal has gone";
        return Err(io::Error::new(io::ErrorKind::BrokenPipe, gone));
    }
    Ok(seen.contains(PollFlags::POLLIN))
}

/// Takes the terminal; may be done again when somebody else changed it meanwhile.
fn take_over() -> io::Result<()> {
    IS_TAKEN.store(true, Ordering::SeqCst);
    // It may be raw no more, without crossterm knowing it.
    disable_raw_mode()?;
    enable_raw_mode()?;
    let mut stdout = io::stdout();
    execute!(stdout, EnterAlternateScreen, EnableBracketedPaste)?;
    stdout.write_all(MOUSE_ON)?;
    stdout.flush()
}

/// Gives the terminal back, as far as that is possible: there is nobody to tell about errors.
fn give_back() {
    if !IS_TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    let mut stdout = io::stdout();
    drop(stdout.write_all(MOUSE_OFF));
    drop(execute!(
        stdout,
        DisableBracketedPaste,
        ResetColor,
        LeaveAlternateScreen,
        Show
    ));
    // In the background the modes are the shell's own.
    if is_foreground() {
        drop(disable_raw_mode());
    }
}

/// Whether the shell has this process in the foreground. A terminal that no shell looks after is always
/// this process's own.
pub(super) fn is_foreground() -> bool {
    tcgetpgrp(io::stdout()).map_or(true, |group| group == getpgrp())
}

/// Has reads and writes in the background fail rather than stop this thread, and those that it starts:
/// a shell can put the process there at any moment. Programs that are started are not concerned.
pub fn outlive_the_background() {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTTIN);
    signals.add(Signal::SIGTTOU);
    if let Err(error) = signals.thread_block() {
        tracing::debug!(error = %error, "The background may stop the process.");
    }
}

/// A panic of the screen gives the terminal back before it is reported. A panic elsewhere must not
/// write over the screen, and goes to the log.
fn install_panic_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let is_screen = thread::current().name() == Some(THREAD);
            if is_screen || !IS_TAKEN.load(Ordering::SeqCst) {
                give_back();
                report(info);
            } else {
                let error = info.to_string();
                PANICS.say("", &error.clone(), move |sum| {
                    let repeated = sum.words();
                    tracing::error!(error = %error, repeated, "A part of the gateway failed.");
                });
            }
        }));
    });
}
