//! The nodes that were heard, for the next run to know who is missing.

use std::time::Duration;

use rusqlite::{Connection, Transaction, params};

use crate::journal::error::Fault;
use crate::monitor::{KnownNode, MAX_NODES};
use crate::telemetry::{Name, Timestamp};

/// Journals of earlier versions get it when they are opened, and those versions pass over it.
pub(super) const TABLE: &str = "
CREATE TABLE IF NOT EXISTS nodes (
    node TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    first_heard INTEGER NOT NULL,
    last_heard INTEGER NOT NULL,
    interval INTEGER,
    offline INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

pub(super) const SELECT_NODES: &str =
    "SELECT node, name, first_heard, last_heard, interval, offline FROM nodes ORDER BY node";

pub(super) const INSERT_NODE: &str = "INSERT OR REPLACE INTO nodes
    (node, name, first_heard, last_heard, interval, offline) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

/// All nodes, by their own names.
pub(in crate::journal) fn read_nodes(connection: &Connection) -> Result<Vec<KnownNode>, Fault> {
    let nanos = |nanos: i64| u64::try_from(nanos).ok().map(Duration::from_nanos);
    let node = |columns: &rusqlite::Row<'_>| -> rusqlite::Result<KnownNode> {
        Ok(KnownNode {
            key: columns.get(0)?,
            node: Name::new(&columns.get::<_, String>(1)?),
            first_heard: Timestamp(columns.get(2)?),
            last_heard: Timestamp(columns.get(3)?),
            interval: columns.get::<_, Option<i64>>(4)?.and_then(nanos),
            is_offline: columns.get(5)?,
        })
    };
    let mut statement = connection.prepare(SELECT_NODES)?;
    let nodes = statement.query_map([], node)?;
    Ok(nodes.take(MAX_NODES).collect::<Result<_, _>>()?)
}

/// Writes the nodes in place of those that were there; `None`: they stay.
pub(super) fn write_nodes(
    transaction: &Transaction<'_>,
    nodes: Option<&[KnownNode]>,
) -> Result<(), Fault> {
    let Some(nodes) = nodes else { return Ok(()) };
    transaction.execute("DELETE FROM nodes", [])?;
    let mut statement = transaction.prepare_cached(INSERT_NODE)?;
    for node in nodes {
        let interval = node.interval.map(|it| i64::try_from(it.as_nanos()));
        statement.execute(params![
            node.key,
            node.node.as_str(),
            node.first_heard.0,
            node.last_heard.0,
            interval.and_then(Result::ok),
            node.is_offline,
        ])?;
    }
    Ok(())
}
