//! `fieldgate attach`: the terminal UI of a gateway that runs without one, here or elsewhere.

use std::sync::Arc;

use anyhow::bail;

use super::{gateway, screen};
use crate::api::Client;
use crate::cli::AttachArguments;
use crate::monitor::Observer;

/// Shows a gateway, or several, until the user has seen enough. They are left alone by the end of this.
pub fn attach(arguments: &AttachArguments) -> anyhow::Result<()> {
    if !screen::has_terminal() {
        bail!("attach needs a terminal; without one, ask the API itself: GET /api/v1/snapshot");
    }
    let (token_file, config) = (arguments.token_file.as_deref(), arguments.config.as_deref());
    screen::show(&arguments.appearance, async || {
        let mut observers: Vec<Arc<dyn Observer>> = Vec::new();
        if arguments.urls.is_empty() {
            let here = gateway::find(None, token_file, config).await?;
            observers.push(Arc::new(Client::watch(here)));
        }
        for url in &arguments.urls {
            let remote = gateway::find(Some(url), token_file, config).await?;
            observers.push(Arc::new(Client::watch(remote)));
        }
        Ok(observers)
    })
}
