//! Where the WAL is, asked behind a write: the write's commit ends at or before it.

use super::Row;
use crate::sql::Sql;

pub(super) fn ask() -> Sql {
    let mut sql = Sql::new();
    sql.raw("select (pg_current_wal_insert_lsn() - '0/0')::bigint");
    sql
}

/// The position that [`ask`] was answered with.
pub(super) fn read(rows: &[Row]) -> Option<u64> {
    rows.first()?.integer(0).and_then(|position| u64::try_from(position).ok())
}
