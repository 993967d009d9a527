//! Takes the terminal and gives it back, whatever happens.

use std::io::{self, BufWriter, Stdout, Write};
use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
use ratatui::crossterm::execute;
use ratatui::crossterm::style::ResetColor;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::layout::Rect;

/// The name of the thread that draws; the panic hook knows it by that.
pub(super) const THREAD: &str = "fieldgate-tui";

/// Reports of buttons and the wheel, not of every motion.
const MOUSE_ON: &[u8] = b"\x1b[?1000h\x1b[?1006h";
const MOUSE_OFF: &[u8] = b"\x1b[?1006l\x1b[?1000l";

/// Whether the terminal is taken.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// One frame is written in one piece.
pub(super) type Screen = Terminal<CrosstermBackend<BufWriter<Stdout>>>;

/// Gives the terminal back when it is dropped.
pub(super) struct TerminalGuard(());

impl TerminalGuard {
    /// Takes the terminal. From before that on, a panic gives it back.
    pub(super) fn take() -> io::Result<Self> {
        install_panic_hook();
        let guard = Self(());
        take_over()?;
        Ok(guard)
    }
}

impl Drop for TerminalGuard {
    fn drop(&mut self) {
        give_back();
    }
}

/// A screen on the terminal.
pub(super) fn screen() -> io::Result<Screen> {
    Terminal::new(CrosstermBackend::new(BufWriter::with_capacity(
        1 << 16,
        io::stdout(),
    )))
}

/// Has the next frame drawn in full. `Terminal::clear` would ask the terminal where its cursor is and
/// wait for an answer, which not every terminal gives.
pub(super) fn repaint(screen: &mut Screen) -> io::Result<()> {
    let size = screen.size()?;
    screen.resize(Rect::new(0, 0, size.width, size.height))
}

/// Gives the terminal back for a while.
pub(super) fn lend(meanwhile: impl FnOnce()) -> io::Result<()> {
    give_back();
    meanwhile();
    take_over()
}

/// Takes the terminal; may be done again when somebody else changed it meanwhile.
pub(super) fn take_over() -> io::Result<()> {
    IS_TAKEN.store(true, Ordering::SeqCst);
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
    drop(disable_raw_mode());
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
                tracing::error!(error = %info, "A part of the gateway failed.");
            }
        }));
    });
}
