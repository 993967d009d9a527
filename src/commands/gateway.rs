//! How the commands that ask something of a gateway find it, and say who they are.

use std::path::Path;

use anyhow::{Context, anyhow, bail};
use secrecy::SecretString;

use crate::api::Remote;
use crate::cli::GatewayArguments;
use crate::monitor::{LinkId, LinkKind};

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
    let snapshot = asked.with_context(|| format!("cannot reach the gateway at {gateway}"))?;
    let links = snapshot.links().map(|(link, _)| link);
    let sources = links.filter(|link| link.kind() == LinkKind::Source);
    choose(sources.collect(), name)
}

fn choose(mut sources: Vec<LinkId>, name: Option<&str>) -> anyhow::Result<LinkId> {
    let names = sources.iter().map(|source| source.name().to_owned());
    let names = names.collect::<Vec<_>>().join(", ");
    if let Some(name) = name {
        sources.retain(|source| source.name() == name || source.as_str() == name);
    }
    match (sources.len(), sources.pop(), name) {
        (1, Some(source), _) => Ok(source),
        (_, _, Some(name)) => bail!("there is no source {name}; there is: {names}"),
        (0, ..) => bail!("the gateway has no source"),
        (_, _, None) => bail!("which source? Choose it with --source: {names}"),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_only_source_needs_no_name() {
        let north = LinkId::new(LinkKind::Source, "north");
        let south = LinkId::new(LinkKind::Source, "south");
        let only = vec![LinkId::source()];
        let two = vec![north.clone(), south];
        for (sources, name, expected) in [
            (&only, None, Ok(LinkId::source())),
            (&only, Some("source"), Ok(LinkId::source())),
            (&only, Some("north"), Err("there is: source")),
            (&two, Some("north"), Ok(north.clone())),
            (&two, Some("source north"), Ok(north.clone())),
            (&two, None, Err("--source: north, south")),
            (&Vec::new(), None, Err("no source")),
        ] {
            match (choose(sources.clone(), name), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected),
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
                (found, expected) => panic!("{found:?} instead of {expected:?}"),
            }
        }
    }
}
