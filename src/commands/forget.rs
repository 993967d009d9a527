//! `fieldgate forget`: what the journal knows of a sink that is not configured any more.

use anyhow::bail;

use super::print;
use crate::cli::ForgetArguments;
use crate::config::{self, Environment, JournalPath};
use crate::journal::{self, Forgotten};
use crate::monitor::{LinkId, SinkId};
use crate::pipeline::SinkSettings;

/// Forgets how far a sink is. By that name it is a new one, if it comes back.
pub fn forget(arguments: &ForgetArguments) -> anyhow::Result<()> {
    let config = config::load(&arguments.journal.overrides(), &Environment::of_process())?;
    let JournalPath::File(path) = &config.journal.path else {
        bail!("the journal is in the memory of the gateway alone; there is no file to forget in");
    };
    let name = &arguments.sink;
    let meant = meant_by(name);
    let configured = SinkSettings::all(&config);
    let mut configured = configured.iter().map(SinkSettings::sink);
    if let Some(sink) = configured.find(|sink| meant.contains(sink)) {
        bail!("{sink} is configured; take its section out of the configuration first");
    }
    match journal::forget(path, &meant)? {
        Forgotten::Done => Ok(print(format!("{name} is forgotten.\n").as_bytes())?),
        Forgotten::InUse => bail!(
            "the gateway that runs delivers to {name}; have it read its configuration again first, by \
             SIGHUP"
        ),
        Forgotten::Unknown(known) if known.is_empty() => {
            bail!("nothing is known of {name}, nor of any other broker or database")
        }
        Forgotten::Unknown(known) => {
            bail!("nothing is known of {name}, but of {}", known.join(", "))
        }
    }
}

/// The sinks that a name can mean: with its kind in front, as the log has it, or without.
fn meant_by(name: &str) -> Vec<SinkId> {
    let link: Result<LinkId, String> = name.parse();
    match link.ok().and_then(|link| link.sink()) {
        Some(sink) => vec![sink],
        None => vec![SinkId::broker(name), SinkId::database(name)],
    }
}
