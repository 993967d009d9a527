//! Whether somebody is before a terminal that knows no size: a serial console has somebody, who is asked; the
//! terminal of a container that nobody attached to (`docker run -t -d`) has not.

use std::io;

use crossterm::cursor::{MoveTo, RestorePosition, SavePosition, position};
use crossterm::execute;
use rustix::termios::{Winsize, tcgetwinsize, tcsetwinsize};

use super::terminal::is_foreground;

/// Further than any terminal reaches.
const FAR: u16 = 998;

/// Whether nobody is before standard output's terminal. One without a size is asked, for two seconds at most, how
/// far its cursor goes, and keeps the answer as its size.
pub fn is_vacant() -> bool {
    match tcgetwinsize(io::stdout()) {
        // In the background it must not be asked, and has somebody: a shell.
        Ok(size) if size.ws_row == 0 || size.ws_col == 0 => is_foreground() && ask().is_err(),
        Ok(_) | Err(_) => false,
    }
}

fn ask() -> io::Result<()> {
    execute!(io::stdout(), SavePosition, MoveTo(FAR, FAR))?;
    let corner = position();
    execute!(io::stdout(), RestorePosition)?;
    let (column, row) = corner?;
    let size = Winsize {
        ws_col: column.saturating_add(1),
        ws_row: row.saturating_add(1),
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    Ok(tcsetwinsize(io::stdout(), size)?)
}
