//! The terminal UI of commands that are no gateway themselves.

use std::io::IsTerminal;
use std::sync::Arc;

use anyhow::{Context, bail};

use super::signals::{Heard, Signals};
use crate::cli::AppearanceArguments;
use crate::config::{TUI_THEMES, Tui, TuiGlyphs, TuiTheme};
use crate::monitor::Observer;
use crate::tui::{self, Control, Ended, Guide, Screen, Theme};

/// Shows what is observed, one gateway or several, until the user has seen enough. `observe` is called
/// within a tokio runtime.
pub(super) fn show(
    appearance: &AppearanceArguments,
    observe: impl AsyncFnOnce() -> anyhow::Result<Vec<Arc<dyn Observer>>>,
) -> anyhow::Result<()> {
    tui::outlive_the_background();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let ended = runtime.block_on(watch(appearance, observe));
    runtime.shutdown_background();
    match ended? {
        Ended::Closed => Ok(()),
        Ended::Failed(error) => Err(error).context("the terminal failed"),
        Ended::Panicked => bail!("the terminal UI failed; please report the message above"),
        Ended::Stuck => bail!("the terminal takes no output"),
    }
}

/// Whether there is a terminal to show anything in.
pub(super) fn has_terminal() -> bool {
    std::io::stdout().is_terminal()
}

async fn watch(
    appearance: &AppearanceArguments,
    observe: impl AsyncFnOnce() -> anyhow::Result<Vec<Arc<dyn Observer>>>,
) -> anyhow::Result<Ended> {
    let observers = observe().await?;
    let control = Control::default();
    let mut signals = Signals::watch(true);
    let theme = Theme::detect(look(appearance), |name| std::env::var(name).ok());
    let mut screen = Screen::open_fleet(observers, theme, control.clone(), Guide::Off)?;
    loop {
        tokio::select! {
            () = screen.ended() => break,
            heard = signals.next() => match heard {
                // Closing gives up on a terminal that is gone; waiting for the screen would not.
                Heard::End => break,
                Heard::Continued => control.process_continued(),
            },
        }
    }
    Ok(screen.close())
}

fn look(arguments: &AppearanceArguments) -> Tui {
    let glyphs = if arguments.ascii {
        TuiGlyphs::Ascii
    } else {
        TuiGlyphs::Auto
    };
    let named = arguments.theme.as_deref();
    let found = TUI_THEMES
        .into_iter()
        .find(|(name, _)| named == Some(*name));
    Tui {
        theme: found.map_or(TuiTheme::Auto, |(_, theme)| theme),
        glyphs,
    }
}
