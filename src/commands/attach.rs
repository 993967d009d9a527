//! `fieldgate attach`: the terminal UI of a gateway that runs without one, here or elsewhere.

use std::io::IsTerminal;
use std::sync::Arc;

use anyhow::{Context, bail};

use super::gateway;
use super::signals::{Heard, Signals};
use crate::api::Client;
use crate::cli::AttachArguments;
use crate::config::{TUI_THEMES, Tui, TuiGlyphs, TuiTheme};
use crate::tui::{self, Control, Ended, Guide, Screen, Theme};

/// Shows a gateway until the user has seen enough. It is left alone by the end of this.
pub fn attach(arguments: &AttachArguments) -> anyhow::Result<()> {
    if !std::io::stdout().is_terminal() {
        bail!("attach needs a terminal; without one, ask the API itself: GET /api/v1/snapshot");
    }
    tui::outlive_the_background();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let ended = runtime.block_on(watch(arguments));
    runtime.shutdown_background();
    match ended? {
        Ended::Closed => Ok(()),
        Ended::Failed(error) => Err(error).context("the terminal failed"),
        Ended::Panicked => bail!("the terminal UI failed; please report the message above"),
        Ended::Stuck => bail!("the terminal takes no output"),
    }
}

async fn watch(arguments: &AttachArguments) -> anyhow::Result<Ended> {
    let (url, config) = (arguments.url.as_deref(), arguments.config.as_deref());
    let remote = gateway::find(url, arguments.token_file.as_deref(), config).await?;
    let client = Client::watch(remote);
    let control = Control::default();
    let mut signals = Signals::watch(true);
    let theme = Theme::detect(appearance(arguments), |name| std::env::var(name).ok());
    let mut screen = Screen::open(Arc::new(client), theme, control.clone(), Guide::Off)?;
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

fn appearance(arguments: &AttachArguments) -> Tui {
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
