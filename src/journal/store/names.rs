//! Names of nodes and metrics that need no confirmation any more.

use rusqlite::{Connection, Transaction, params};

use crate::journal::error::Fault;
use crate::telemetry::KnownName;

/// Names kept, far more than any site has; the oldest go first.
pub(in crate::journal) const MAX_NAMES: i64 = 4_096;

pub(super) const SELECT_NAMES: &str = "SELECT node, metric FROM known_names ORDER BY id";

pub(super) const INSERT_NAME: &str = "INSERT INTO known_names (node, metric)
    SELECT ?1, ?2
    WHERE NOT EXISTS (SELECT 1 FROM known_names WHERE node = ?1 AND metric IS ?2)";

/// All names, the oldest first.
pub(in crate::journal) fn read_names(connection: &Connection) -> Result<Vec<KnownName>, Fault> {
    let name = |columns: &rusqlite::Row<'_>| -> rusqlite::Result<KnownName> {
        Ok(KnownName {
            node: columns.get(0)?,
            metric: columns.get(1)?,
        })
    };
    let mut statement = connection.prepare(SELECT_NAMES)?;
    let names = statement.query_map([], name)?.collect::<Result<_, _>>()?;
    Ok(names)
}

pub(super) fn write_names(transaction: &Transaction<'_>, names: &[KnownName]) -> Result<(), Fault> {
    if names.is_empty() {
        return Ok(());
    }
    let mut statement = transaction.prepare_cached(INSERT_NAME)?;
    for name in names {
        statement.execute(params![name.node, name.metric])?;
    }
    trim_names(transaction)
}

pub(super) fn trim_names(transaction: &Transaction<'_>) -> Result<(), Fault> {
    transaction
        .prepare_cached(
            "DELETE FROM known_names WHERE id <= (SELECT max(id) FROM known_names) - ?1",
        )?
        .execute([MAX_NAMES])?;
    Ok(())
}
