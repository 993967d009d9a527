//! How the commands that ask something of a gateway find it, and say who they are.

use std::path::Path;

use anyhow::{Context, anyhow, bail};
use secrecy::SecretString;

use crate::api::Remote;
use crate::cli::GatewayArguments;
use crate::monitor::LinkId;

/// Where the token is looked for when no file is named.
const TOKEN_VARIABLE: &str = "FIELDGATE_API_TOKEN";

/// The gateway that is meant. Nothing is sent to it yet.
pub(super) fn reach(arguments: &GatewayArguments) -> anyhow::Result<Remote> {
    let token = token(arguments.token_file.as_deref())?;
    Ok(Remote::new(&arguments.gateway, token.as_ref())?)
}

/// The source that is meant: the one of this name, or the only one.
pub(super) async fn source(gateway: &Remote, name: Option<&str>) -> anyhow::Result<LinkId> {
    let asked = gateway.snapshot().await.map_err(|error| anyhow!(error));
    asked.with_context(|| format!("cannot reach the gateway at {gateway}"))?;
    let only = LinkId::Source;
    match name {
        Some(name) if name != only.name() => {
            bail!("there is no source {name}; there is {only}")
        }
        _ => Ok(only),
    }
}

/// Never from the command line itself: everybody on the machine could read it there.
pub(super) fn token(file: Option<&Path>) -> anyhow::Result<Option<SecretString>> {
    let text = match file {
        Some(path) => std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the token file {}", path.display()))?,
        None => std::env::var(TOKEN_VARIABLE).unwrap_or_default(),
    };
    let token = text.trim();
    Ok((!token.is_empty()).then(|| token.to_owned().into()))
}
