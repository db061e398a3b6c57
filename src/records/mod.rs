//! Use cases over records: create, update, delete. Lists and single records are [`crate::read`]'s.
//!
//! decide → plan → run: a [`WritePlan`] holds the decision; what is left is to run it on the right
//! connection, in one transaction, and to say what Postgres refused in terms of the caller's fields.

pub mod explain;
mod fault;
pub mod rules;
pub mod trial;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::db::{DbError, Row, Turn, Tx};
use crate::error::Error;
use crate::query::plan::{Context, Cost, WritePlan, WriteStatement};
use crate::read::{Database, note_bypass};
use crate::sql::Sql;

/// Retries of a write that met another one at the same moment, before the caller is told.
const ATTEMPTS: usize = 4;

/// What a write did.
#[derive(Debug, Default)]
pub struct Written {
    /// The representation, if one was asked.
    pub rows: Vec<Row>,
    /// How many records were written; of a representation, those the caller may read.
    pub affected: u64,
    /// Of an upsert: how many of them are new.
    pub inserted: Option<u64>,
    /// Where the WAL was once it was committed, if that was asked and could be had.
    pub position: Option<u64>,
}

/// Microseconds since 2000-01-01 UTC.
fn now() -> i64 {
    const EPOCH: u64 = 946_684_800;
    let since = SystemTime::now().duration_since(UNIX_EPOCH + Duration::from_secs(EPOCH)).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Runs a write: all of it or nothing. If `positioned`, it says where the WAL is then.
///
/// # Errors
/// 42501 where a policy does not admit a row, the fault of a field where a constraint does not, 503 where the
/// outcome of the commit is unknown (nothing is tried again then).
pub async fn write(
    database: Database<'_>,
    context: Context<'_>,
    plan: &WritePlan,
    positioned: bool,
) -> Result<Written, Error> {
    note_bypass(context, plan.permit());
    if plan.is_empty() {
        return Ok(Written { inserted: plan.merges().then_some(0), ..Written::default() });
    }
    // What arrives while this one is under way leaves together when it is done.
    // Whoever asks for a position has one of his own, and so runs alone.
    let shared = if positioned { None } else { plan.together(context, now()) };
    let mut lead = match shared {
        None => None,
        Some(shared) => match database.lanes.write_together(shared).await {
            Turn::Alone(lead) => lead,
            Turn::Answered(Ok(rows)) => {
                return Ok(Written { affected: rows.len() as u64, ..Written::default() });
            }
            Turn::Answered(Err(error)) => return Err(fault::of_write(context, plan, error)),
        },
    };
    let mut way = 0;
    let mut statement = plan.statement(context, way);
    let mut attempt = 1;
    loop {
        let outcome = match plan.cost(context) {
            _ if statement.judged_later => {
                match judged(database, context, plan, way, &statement).await {
                    // It is committed: that nobody can say where is no reason to say that it is not.
                    Ok(rows) if positioned => Ok((rows, database.pool.position().await.ok().flatten())),
                    outcome => outcome.map(|rows| (rows, None)),
                }
            }
            Cost::OneRow | Cost::ShortPage => {
                let outcome = by_lane(database, &statement.sql, positioned).await;
                drop(lead.take());
                match outcome {
                    Err(error) if error.waits_for_a_lock() => {
                        by_pool(database, &statement.sql, positioned).await
                    }
                    outcome => outcome,
                }
            }
            Cost::Steady | Cost::Unknown => by_pool(database, &statement.sql, positioned).await,
        };
        match outcome {
            Ok((rows, position)) => {
                return Ok(Written { position, ..written(plan, &statement, rows) });
            }
            // The transaction was undone because another one came between: starting over is safe.
            Err(error) if attempt < ATTEMPTS && matches!(error.sqlstate(), Some("40001" | "40P01")) => {
                attempt += 1;
            }
            // Refused by the rules that set these values: others may admit it with theirs.
            Err(error) if way + 1 < plan.ways() && error.sqlstate() == Some("42501") => {
                way += 1;
                statement = plan.statement(context, way);
            }
            Err(error) => return Err(fault::of_write(context, plan, error)),
        }
    }
}

/// The rows of a statement, and where the WAL was after it.
type Outcome = Result<(Vec<Row>, Option<u64>), DbError>;

async fn by_lane(database: Database<'_>, sql: &Sql, positioned: bool) -> Outcome {
    if positioned {
        return database.lanes.write_positioned(sql).await;
    }
    database.lanes.write(sql).await.map(|rows| (rows, None))
}

async fn by_pool(database: Database<'_>, sql: &Sql, positioned: bool) -> Outcome {
    if positioned {
        return database.pool.query_positioned(sql).await;
    }
    database.pool.query(sql).await.map(|rows| (rows, None))
}

/// Writes, then judges and reads what was written by further statements of the same transaction.
async fn judged(
    database: Database<'_>,
    context: Context<'_>,
    plan: &WritePlan,
    way: usize,
    statement: &WriteStatement,
) -> Result<Vec<Row>, DbError> {
    let transaction = database.pool.begin().await?;
    match within(&transaction, context, plan, way, statement).await {
        Ok(rows) => {
            transaction.commit().await?;
            Ok(rows)
        }
        Err(refusal) => {
            // A refusal is an everyday thing and need not cost the connection; without one there is nothing to undo.
            if !refusal.is_unavailable()
                && let Err(error) = transaction.rollback().await
            {
                tracing::debug!(%error, "a refused write was undone by the end of its connection");
            }
            Err(refusal)
        }
    }
}

/// Runs a write inside a transaction that somebody else began and will end.
///
/// # Errors
/// As [`write()`]; the transaction has failed then.
pub async fn write_within(tx: &Tx, context: Context<'_>, plan: &WritePlan) -> Result<Written, Error> {
    if plan.is_empty() {
        return Ok(Written { inserted: plan.merges().then_some(0), ..Written::default() });
    }
    let mut way = 0;
    loop {
        tx.batch("savepoint way").await.map_err(DbError::into_error)?;
        let statement = plan.statement(context, way);
        match within(tx, context, plan, way, &statement).await {
            Ok(rows) => return Ok(written(plan, &statement, rows)),
            Err(error) if way + 1 < plan.ways() && error.sqlstate() == Some("42501") => {
                tx.batch("rollback to savepoint way").await.map_err(DbError::into_error)?;
                way += 1;
            }
            Err(error) => return Err(fault::of_write(context, plan, error)),
        }
    }
}

async fn within(
    tx: &Tx,
    context: Context<'_>,
    plan: &WritePlan,
    way: usize,
    statement: &WriteStatement,
) -> Result<Vec<Row>, DbError> {
    let written = tx.query(&statement.sql).await?;
    if !statement.judged_later {
        return Ok(written);
    }
    let keys = keys_of(&written);
    let (judge, read) = (plan.judge(context, way, keys.clone()), plan.read_back(context, keys));
    // Sent together. After a refusal the reading fails too, which says nothing new.
    let (judged, rows) = futures_util::future::join(tx.query(&judge), tx.query(&read)).await;
    judged.and(rows)
}

/// What a write that is judged later answers: the keys of its rows as JSON.
fn keys_of(written: &[Row]) -> String {
    written.first().and_then(|row| row.text(0)).unwrap_or("[]").to_owned()
}

fn written(plan: &WritePlan, statement: &WriteStatement, rows: Vec<Row>) -> Written {
    let number =
        |row: &Row, column| row.integer(column).and_then(|count| u64::try_from(count).ok()).unwrap_or(0);
    match plan.represented() {
        None if statement.a_row_each => Written { affected: rows.len() as u64, ..Written::default() },
        None => {
            let affected = rows.first().map_or(0, |row| number(row, 0));
            let inserted = plan.merges().then(|| rows.first().map_or(0, |row| number(row, 1)));
            Written { affected, inserted, ..Written::default() }
        }
        Some(node) => {
            let column = node.columns().count().max(1);
            let inserted = plan
                .merges()
                .then(|| rows.iter().filter(|row| row.boolean(column) == Some(true)).count() as u64);
            Written { affected: rows.len() as u64, rows, inserted, position: None }
        }
    }
}
