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
    let token = gateway::token(arguments.token_file.as_deref())?;
    screen::show(&arguments.appearance, || {
        let start = |url: &String| -> anyhow::Result<Arc<dyn Observer>> {
            Ok(Arc::new(Client::start(url, token.as_ref())?))
        };
        arguments.urls.iter().map(start).collect()
    })
}
