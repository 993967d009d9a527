//! What is to be sent on after all: asked for by `fieldgate rejected`, in the journal's file itself, so
//! that it survives whatever happens to either process.

use rusqlite::{Connection, Transaction, params};

use crate::journal::encoding::{Names, decode};
use crate::journal::error::Fault;
use crate::journal::{ONLY_SOURCE, Sourced};
use crate::telemetry::{Packet, Timestamp};

/// Requests taken up in one commit.
const AT_ONCE: usize = 500;

/// An entry of `rejected` on its way to the servers.
#[derive(Debug)]
pub(in crate::journal) struct Request {
    pub(in crate::journal) id: i64,
    pub(in crate::journal) packet: Sourced<Packet>,
}

/// The next requests, the oldest first. What no gateway wrote is left out, and goes.
pub(super) fn read_requests(connection: &Connection) -> Result<Vec<Request>, Fault> {
    let mut names = Names::default();
    let mut statement = connection.prepare_cached(
        "SELECT id, event_time, readings,
                 (SELECT source FROM rejected WHERE rejected.id = requests.id)
             FROM requests ORDER BY id LIMIT ?1",
    )?;
    let mut rows = statement.query([i64::try_from(AT_ONCE).unwrap_or(i64::MAX)])?;
    let mut requests = Vec::new();
    while let Some(columns) = rows.next()? {
        let json: String = columns.get(2)?;
        let source: Option<String> = columns.get(3)?;
        requests.push(Request {
            id: columns.get(0)?,
            packet: Sourced {
                source: names.name(source.as_deref().unwrap_or(ONLY_SOURCE)),
                entry: Packet {
                    received: Timestamp::now(),
                    event_time: Timestamp(columns.get(1)?),
                    readings: decode(json.as_bytes(), &mut names).unwrap_or_default(),
                },
            },
        });
    }
    Ok(requests)
}

/// Notes that these were taken up: in the transaction that appends them.
pub(super) fn settle_requests(transaction: &Transaction<'_>, ids: &[i64]) -> Result<(), Fault> {
    let now = Timestamp::now().0;
    for id in ids {
        transaction
            .prepare_cached("UPDATE rejected SET delivered_at = ?2 WHERE id = ?1")?
            .execute(params![id, now])?;
        transaction
            .prepare_cached("DELETE FROM requests WHERE id = ?1")?
            .execute([id])?;
    }
    Ok(())
}
