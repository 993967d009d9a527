//! The names that need no confirmation, wherever they are kept at present.

use super::error::Fault;
use super::shared::{Shared, lock_store};
use super::store::read_names;
use crate::telemetry::KnownName;

/// All names, of the file and of memory.
pub(super) fn known(shared: &Shared) -> Vec<KnownName> {
    let mut names = Vec::new();
    let mut read = || -> Result<(), Fault> {
        let tiers = shared.tiers();
        if let Some(file) = tiers.open_file()? {
            names.extend(read_names(&file)?);
        }
        if let Some(memory) = &tiers.memory {
            names.extend(read_names(lock_store(memory).connection())?);
        }
        Ok(())
    };
    if let Err(fault) = read() {
        tracing::warn!(
            journal = %shared.name.display(),
            error = %fault,
            "Cannot read the known names from the journal; they are to be confirmed again.",
        );
    }
    names
}
