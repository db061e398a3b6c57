//! Permit + read plan → rows, encoded. Serves lists, single records, representations, and later snapshots and jobs.
//!
//! It knows Postgres' bytes and JSON; it does not know HTTP, and it decides nothing: the plan did.

pub mod encode;
mod rows;

use crate::db::{DbError, Lanes, Pool, Row};
use crate::error::Error;
use crate::policy::Permit;
use crate::query::plan::{Context, Cost, ReadPlan, Statement};

pub use rows::Layout;

/// The ways to Postgres that a request may take.
#[derive(Clone, Copy)]
pub struct Database<'a> {
    /// The worker's own pipelined connections, for statements known to be cheap.
    pub lanes: &'a Lanes,
    /// Shared connections, one statement at a time each, for the others.
    pub pool: &'a Pool,
}

/// A page of rows.
#[derive(Debug)]
pub struct Page {
    pub rows: Vec<Row>,
    /// How many rows there are without the page, if that was asked.
    pub total: Option<u64>,
}

impl Database<'_> {
    /// Runs a statement that only reads.
    ///
    /// # Errors
    /// Whatever Postgres or the way to it says.
    pub async fn read(&self, statement: &Statement) -> Result<Vec<Row>, DbError> {
        match statement.cost {
            Cost::Cheap => self.lanes.read(&statement.sql).await,
            Cost::Unknown => self.pool.read(&statement.sql).await,
        }
    }
}

/// Says in the log that no rule judged what follows, and why: the secret key may do everything, but not unseen.
pub fn note_bypass(context: Context<'_>, permit: &Permit) {
    if let Some(reason) = permit.bypass() {
        let collection = &context.catalog.collection(permit.collection()).name;
        tracing::info!(reason, %collection, action = permit.action().as_str(), "policies bypassed");
    }
}

/// Reads a page, and counts all rows if asked.
///
/// # Errors
/// What Postgres refuses (an operand that is no value of its field's kind, a time-out) in the dialect's words.
pub async fn page(
    database: Database<'_>,
    context: Context<'_>,
    plan: &ReadPlan,
    count: bool,
) -> Result<Page, Error> {
    note_bypass(context, plan.node.permit());
    let statement = plan.statement(context);
    if !count {
        let rows = database.read(&statement).await.map_err(DbError::into_error)?;
        return Ok(Page { rows, total: None });
    }
    let counting = plan.count(context);
    let (rows, counted) =
        futures_util::future::join(database.read(&statement), database.read(&counting)).await;
    let rows = rows.map_err(DbError::into_error)?;
    let counted = counted.map_err(DbError::into_error)?;
    let found = counted.first().and_then(|row| row.integer(0)).unwrap_or(0);
    // The two statements may see different moments; a total never contradicts the page beside it.
    let seen = if rows.is_empty() { 0 } else { plan.node.offset() + rows.len() as u64 };
    let total = u64::try_from(found).unwrap_or(0).max(seen);
    Ok(Page { rows, total: Some(total) })
}
