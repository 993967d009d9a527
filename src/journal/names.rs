//! The names that need no confirmation, and the nodes that were heard, wherever they are kept at present.

use rusqlite::Connection;

use super::error::Fault;
use super::shared::{Shared, lock_store};
use super::store::{read_names, read_nodes, read_sources};
use crate::monitor::KnownNode;
use crate::telemetry::{KnownName, Name};

/// All names of a source, of the file and of memory.
pub(super) fn known(shared: &Shared, source: &Name) -> Vec<KnownName> {
    read(shared, |connection| read_names(connection, source)).unwrap_or_else(|fault| {
        tracing::warn!(
            journal = %shared.name.display(),
            error = %fault,
            "Cannot read the known names from the journal; they are to be confirmed again.",
        );
        Vec::new()
    })
}

/// The sources at which names were confirmed.
pub(super) fn sources(shared: &Shared) -> Vec<Name> {
    read(shared, read_sources).unwrap_or_default()
}

/// All nodes, of the file and of memory.
pub(super) fn nodes(shared: &Shared) -> Vec<KnownNode> {
    read(shared, read_nodes).unwrap_or_else(|fault| {
        tracing::warn!(
            journal = %shared.name.display(),
            error = %fault,
            "Cannot read the known nodes from the journal; those that are silent are not missed.",
        );
        Vec::new()
    })
}

fn read<T>(
    shared: &Shared,
    read: impl Fn(&Connection) -> Result<Vec<T>, Fault>,
) -> Result<Vec<T>, Fault> {
    let mut all = Vec::new();
    let tiers = shared.tiers();
    if let Some(file) = tiers.open_file()? {
        all.extend(read(&file)?);
    }
    if let Some(memory) = &tiers.memory {
        all.extend(read(lock_store(memory).connection())?);
    }
    Ok(all)
}
