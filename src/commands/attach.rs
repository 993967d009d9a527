//! `fieldgate attach`: the terminal UI of a gateway that runs without one, here or elsewhere.

use std::sync::Arc;

use anyhow::bail;

use super::{gateway, screen};
use crate::api::Client;
use crate::cli::AttachArguments;
use crate::config::{self, Environment, Overrides};
use crate::monitor::Observer;

/// Shows a gateway, or several, until the user has seen enough. They are left alone by the end of this.
pub fn attach(arguments: &AttachArguments) -> anyhow::Result<()> {
    if !screen::has_terminal() {
        bail!("attach needs a terminal; without one, ask the API itself: GET /api/v1/snapshot");
    }
    let (token_file, file) = (arguments.token_file.as_deref(), arguments.config.as_deref());
    screen::show(&arguments.appearance, async || {
        let mut urls: Vec<Option<String>> = arguments.urls.iter().cloned().map(Some).collect();
        if urls.is_empty() {
            let mut overrides = Overrides::default();
            overrides.file.clone_from(&arguments.config);
            let configured = config::load_attach(&overrides, &Environment::of_process())?;
            urls.extend(configured.gateways.into_iter().map(Some));
        }
        if urls.is_empty() {
            urls.push(None);
        }
        let mut observers: Vec<Arc<dyn Observer>> = Vec::new();
        for url in &urls {
            let remote = gateway::find(url.as_deref(), token_file, file).await?;
            observers.push(Arc::new(Client::watch(remote)));
        }
        Ok(observers)
    })
}
