//! What tables of earlier versions are like.

use rusqlite::Connection;

use crate::journal::error::Fault;

/// Whether a table has a column.
pub(in crate::journal) fn has_column(
    connection: &Connection,
    table: &str,
    column: &str,
) -> Result<bool, Fault> {
    let sql = "SELECT count(*) FROM pragma_table_info(?1) WHERE name = ?2";
    let found: i64 = connection.query_row(sql, [table, column], |row| row.get(0))?;
    Ok(found > 0)
}
