//! How the commands that ask something of a gateway find it, and say who they are.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use secrecy::SecretString;

use super::only_of_name;
use super::unit::Unit;
use crate::api::{Remote, runtime_folder, socket_path};
use crate::cli::GatewayArguments;
use crate::config::{self, Environment, JournalPath, Overrides};
use crate::monitor::{LinkId, LinkKind};

/// Where the token is looked for when no file is named.
const TOKEN_VARIABLE: &str = "FIELDGATE_API_TOKEN";

/// Where a gateway of this machine is asked that has no socket, as those before there were any.
const LOCAL_URL: &str = "http://127.0.0.1:8787";

/// No gateway of this machine answers.
#[derive(Debug, thiserror::Error)]
#[error(
    "no gateway runs here: nothing answers at {}. `fieldgate` starts one; \
     --gateway URL names one of another machine, --config PATH one of this machine",
    .0.join(", ")
)]
pub(super) struct NoneHere(Vec<String>);

/// The gateway that is meant: the one at an address, or else the one of this machine, if it answers.
pub(super) async fn reach(arguments: &GatewayArguments) -> anyhow::Result<Remote> {
    let token_file = arguments.token_file.as_deref();
    if let Some(url) = arguments.gateway.as_deref() {
        return at(url, token_file);
    }
    let sockets = sockets(arguments.config.as_deref())?;
    if let Some(gateway) = first_alive(&sockets).await? {
        return Ok(gateway);
    }
    let gateway = at(LOCAL_URL, token_file)?;
    if gateway.is_alive().await {
        return Ok(gateway);
    }
    let mut tried: Vec<String> = sockets.iter().map(|it| it.display().to_string()).collect();
    tried.push(LOCAL_URL.to_owned());
    Err(NoneHere(tried).into())
}

/// As [`reach`], but it need not answer yet. Without an address, the sockets of this machine are tried, the
/// configured one first.
pub(super) async fn find(
    url: Option<&str>,
    token_file: Option<&Path>,
    config: Option<&Path>,
) -> anyhow::Result<Remote> {
    if url.is_none()
        && let Some(gateway) = first_alive(&sockets(config)?).await?
    {
        return Ok(gateway);
    }
    at(url.unwrap_or(LOCAL_URL), token_file)
}

/// The gateway whose journal this is, if it runs.
pub(super) async fn of_journal(journal: &JournalPath) -> anyhow::Result<Option<Remote>> {
    let socket = socket_path(runtime_folder().as_deref(), journal);
    first_alive(socket.as_slice()).await
}

fn at(url: &str, token_file: Option<&Path>) -> anyhow::Result<Remote> {
    let token = token(token_file)?;
    Ok(Remote::new(url, token.as_ref())?)
}

/// The gateway at the first of these sockets that answers.
async fn first_alive(sockets: &[PathBuf]) -> anyhow::Result<Option<Remote>> {
    for path in sockets.iter().filter(|path| path.exists()) {
        let gateway = Remote::at_socket(path)?;
        if gateway.is_alive().await {
            return Ok(Some(gateway));
        }
    }
    Ok(None)
}

/// Where a gateway of this machine can be.
fn sockets(config: Option<&Path>) -> anyhow::Result<Vec<PathBuf>> {
    let environment = Environment::of_process();
    let mut overrides = Overrides::default();
    overrides.file = config.map(Path::to_path_buf);
    let runtime = runtime_folder();
    let socket = |journal: &JournalPath| socket_path(runtime.as_deref(), journal);
    let configured = match config::load(&overrides, &environment) {
        Ok(config) => socket(&config.journal.path),
        // What is wrong with a file that nobody named is told by what needs it.
        Err(_) if config.is_none() => None,
        Err(errors) => return Err(errors.into()),
    };
    let default = environment
        .state_directory()
        .map(|it| it.join("journal.db"));
    let default = default.and_then(|path| socket(&JournalPath::File(path)));
    let service = config.and_then(Unit::of_config).unwrap_or(Unit::MAIN);
    let mut sockets: Vec<PathBuf> = configured
        .into_iter()
        .chain(default)
        .chain(service.sockets())
        .collect();
    sockets.dedup();
    Ok(sockets)
}

/// The link that is meant: as `status` shows it, or the only one of this name.
pub(super) async fn link(gateway: &Remote, name: &str) -> anyhow::Result<LinkId> {
    let unknown: String = match name.parse() {
        Ok(link) => return Ok(link),
        Err(error) => error,
    };
    only_of_name(links(gateway).await?, name).ok_or_else(|| anyhow!(unknown))
}

/// The links that it has.
async fn links(gateway: &Remote) -> anyhow::Result<Vec<LinkId>> {
    let asked = gateway.snapshot().await.map_err(|error| anyhow!(error));
    let snapshot = asked.with_context(|| format!("cannot reach the gateway at {gateway}"))?;
    Ok(snapshot.links().map(|(link, _)| link).collect())
}

/// The source that is meant: the one of this name, or the only one.
pub(super) async fn source(gateway: &Remote, name: Option<&str>) -> anyhow::Result<LinkId> {
    let mut links = links(gateway).await?;
    links.retain(|link| link.kind() == LinkKind::Source);
    choose(links, name)
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
    fn a_name_that_one_link_has_is_enough() {
        let cloud = LinkId::new(LinkKind::Mqtt, "cloud");
        let archive = |kind| LinkId::new(kind, "archive");
        let links = vec![
            LinkId::source(),
            cloud.clone(),
            archive(LinkKind::Mqtt),
            archive(LinkKind::Influxdb),
        ];
        for (name, expected) in [("cloud", Some(cloud)), ("archive", None), ("clou", None)] {
            assert_eq!(only_of_name(links.clone(), name), expected, "{name}");
        }
    }

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
