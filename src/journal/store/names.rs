//! Names of nodes and metrics that need no confirmation any more, by the source that they were confirmed at.

use rusqlite::{Connection, Transaction, params};

use super::columns::has_column;
use crate::journal::Sourced;
use crate::journal::error::Fault;
use crate::telemetry::{KnownName, Name};

/// Names kept, far more than any site has; the oldest go first.
pub(in crate::journal) const MAX_NAMES: i64 = 4_096;

/// A name without a source is one of every source: an earlier version wrote it.
pub(super) const TABLE: &str = "
CREATE TABLE known_names (
    id INTEGER PRIMARY KEY,
    node TEXT NOT NULL,
    metric TEXT,
    source TEXT,
    UNIQUE (node, metric, source)
) STRICT;
";

pub(super) const SELECT_NAMES: &str = "SELECT node, metric, source FROM known_names ORDER BY id";

/// The same where names did not say at which source they were confirmed.
pub(super) const SELECT_NAMES_OF_ANY: &str =
    "SELECT node, metric, NULL FROM known_names ORDER BY id";

pub(super) const INSERT_NAME: &str = "INSERT INTO known_names (node, metric, source)
    SELECT ?1, ?2, ?3
    WHERE NOT EXISTS (SELECT 1 FROM known_names
        WHERE node = ?1 AND metric IS ?2 AND (source IS NULL OR source IS ?3))";

/// Names did not say at first at which source they were confirmed. Whoever does not know that column can
/// do without it, so that it makes no new version.
pub(super) fn name_sources(connection: &Connection) -> Result<(), Fault> {
    if has_column(connection, "known_names", "source")? {
        return Ok(());
    }
    let transaction = connection.unchecked_transaction()?;
    transaction.execute_batch(&format!(
        "ALTER TABLE known_names RENAME TO names_of_any;
         {TABLE}
         INSERT INTO known_names (id, node, metric) SELECT id, node, metric FROM names_of_any;
         DROP TABLE names_of_any;"
    ))?;
    Ok(transaction.commit()?)
}

/// All names of a source, the oldest first.
pub(in crate::journal) fn read_names(
    connection: &Connection,
    source: &Name,
) -> Result<Vec<KnownName>, Fault> {
    let name = |columns: &rusqlite::Row<'_>| -> rusqlite::Result<KnownName> {
        Ok(KnownName {
            node: columns.get(0)?,
            metric: columns.get(1)?,
        })
    };
    let mut statement = connection.prepare(
        "SELECT node, metric FROM known_names WHERE source IS NULL OR source = ?1 ORDER BY id",
    )?;
    let names = statement.query_map([source.as_str()], name)?;
    Ok(names.collect::<Result<_, _>>()?)
}

/// The sources at which any were confirmed.
pub(in crate::journal) fn read_sources(connection: &Connection) -> Result<Vec<Name>, Fault> {
    let mut statement =
        connection.prepare("SELECT DISTINCT source FROM known_names WHERE source IS NOT NULL")?;
    let sources = statement.query_map([], |columns| {
        let source: String = columns.get(0)?;
        Ok(Name::new(&source))
    })?;
    Ok(sources.collect::<Result<_, _>>()?)
}

pub(super) fn write_names(
    transaction: &Transaction<'_>,
    names: &[Sourced<KnownName>],
) -> Result<(), Fault> {
    if names.is_empty() {
        return Ok(());
    }
    let mut statement = transaction.prepare_cached(INSERT_NAME)?;
    for Sourced {
        source,
        entry: name,
    } in names
    {
        statement.execute(params![name.node, name.metric, source.as_str()])?;
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
