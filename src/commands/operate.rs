//! `fieldgate hold`, `release`, `flush`, `reconnect`: asks something of a link of a running gateway.

use anyhow::{Context, anyhow};

use super::gateway;
use crate::cli::LinkArguments;
use crate::monitor::{Command, Order};

/// Gives the order; returns when it was taken.
pub fn operate(order: Order, arguments: &LinkArguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let gateway = gateway::reach(&arguments.gateway).await?;
        let link = gateway::link(&gateway, &arguments.link).await?;
        let taken = gateway.command(&Command::To(order, link.clone())).await;
        taken
            .map_err(|error| anyhow!(error))
            .with_context(|| format!("{link} does not {}", order.name()))
    })
}
