//! `fieldgate send`: sends a text to the board or program of a running gateway.

use anyhow::{Context, anyhow};

use super::gateway;
use crate::cli::SendArguments;
use crate::monitor::Command;

/// Sends the text; returns when it was taken.
pub fn send(arguments: &SendArguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let gateway = gateway::reach(&arguments.gateway).await?;
        let source = gateway::source(&gateway, arguments.source.as_deref()).await?;
        let command = Command::Send(source, arguments.text.clone());
        let sent = gateway.command(&command).await;
        sent.map_err(|error| anyhow!(error))
            .context("nothing, or not all, was sent")
    })
}
