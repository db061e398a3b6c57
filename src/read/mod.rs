//! Permit + read plan → rows, encoded. Serves lists, single records, representations, and later snapshots and jobs.
//!
//! It knows Postgres' bytes and JSON; it does not know HTTP, and it decides nothing: the plan did.

pub mod encode;
mod rows;

use std::sync::Arc;

use crate::db::{DbError, Lanes, Lead, Pool, Row, Turn};
use crate::error::Error;
use crate::policy::Permit;
use crate::query::plan::{Context, Cost, ReadPlan, Statement};
use crate::query::preferences::Count;
use crate::sql::Sql;

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
        self.run(statement.cost, &statement.sql, None).await
    }

    /// Runs a plan's statement, together with others of its shape if there are some.
    async fn read_plan(&self, context: Context<'_>, plan: &ReadPlan) -> Result<Vec<Row>, DbError> {
        let Statement { sql, cost } = plan.statement(context);
        if cost != Cost::OneRow {
            return self.run(cost, &sql, None).await;
        }
        let sql = Arc::new(sql);
        match self.lanes.read_together(&sql, || plan.together(context)).await {
            Turn::Answered(answer) => answer,
            Turn::Alone(lead) => self.run(cost, &sql, lead).await,
        }
    }

    async fn run(&self, cost: Cost, sql: &Sql, lead: Option<Lead>) -> Result<Vec<Row>, DbError> {
        match cost {
            Cost::OneRow | Cost::ShortPage => {
                let outcome = self.lanes.read(sql).await;
                drop(lead);
                match outcome {
                    Err(error) if error.waits_for_a_lock() => self.pool.read(sql).await,
                    outcome => outcome,
                }
            }
            Cost::Steady => self.pool.read_again(sql).await,
            Cost::Unknown => self.pool.read(sql).await,
        }
    }
}

/// Says in the log that no rule judged what follows, and why: the secret key may do everything, but not unseen.
pub fn note_bypass(context: Context<'_>, permit: &Permit) {
    if let Some(reason) = permit.bypass() {
        let collection = context.catalog.collection(permit.collection()).title();
        tracing::info!(reason, %collection, action = permit.action().as_str(), "policies bypassed");
    }
}

/// Where estimates would tell of rows that the caller may not see, rows are counted instead, but not beyond this.
const COUNTED: u64 = 10_000;

/// Reads a page, and says how many rows there are without it, if asked.
///
/// # Errors
/// What Postgres refuses (an operand that is no value of its field's kind, a time-out) in the dialect's words.
pub async fn page(
    database: Database<'_>,
    context: Context<'_>,
    plan: &ReadPlan,
    count: Option<Count>,
) -> Result<Page, Error> {
    note_bypass(context, plan.node.permit());
    let read = database.read_plan(context, plan);
    let Some(count) = count else {
        return Ok(Page { rows: read.await.map_err(DbError::into_error)?, total: None });
    };
    let (rows, counted) = futures_util::future::join(read, total(database, context, plan, count)).await;
    let rows = rows.map_err(DbError::into_error)?;
    let counted = counted.map_err(DbError::into_error)?;
    // The two statements may see different moments, and estimates err; a total never contradicts the page beside it.
    let seen = if rows.is_empty() { 0 } else { plan.node.offset() + rows.len() as u64 };
    Ok(Page { rows, total: Some(counted.max(seen)) })
}

/// The statement that counts rows, and the one that asks the planner: what answers a count takes one or both.
pub fn counting(
    context: Context<'_>,
    plan: &ReadPlan,
    count: Count,
) -> (Option<Statement>, Option<Statement>) {
    let page = context.catalog.limits.rows;
    match (count, plan.estimate(context)) {
        (Count::Exact, _) => (Some(plan.count(context)), None),
        (Count::Planned | Count::Estimated, None) => {
            (Some(plan.count_up_to(context, COUNTED.max(page))), None)
        }
        (Count::Planned, Some(estimate)) => (None, Some(estimate)),
        // Exact as long as all of it could stand on one page.
        (Count::Estimated, Some(estimate)) => {
            (Some(plan.count_up_to(context, page.saturating_add(1))), Some(estimate))
        }
    }
}

/// How many rows there are, as exactly as was asked.
async fn total(
    database: Database<'_>,
    context: Context<'_>,
    plan: &ReadPlan,
    count: Count,
) -> Result<u64, DbError> {
    let (counts, estimate) = counting(context, plan, count);
    let found = match &counts {
        None => None,
        Some(statement) => {
            let rows = database.read(statement).await?;
            let found = rows.first().and_then(|row| row.integer(0)).unwrap_or(0);
            Some(u64::try_from(found).unwrap_or(0))
        }
    };
    match (found, estimate) {
        (Some(found), Some(_)) if found <= context.catalog.limits.rows => Ok(found),
        (found, Some(estimate)) => Ok(expected(database, &estimate).await?.max(found.unwrap_or(0))),
        (found, None) => Ok(found.unwrap_or(0)),
    }
}

/// What the planner expects.
async fn expected(database: Database<'_>, estimate: &Statement) -> Result<u64, DbError> {
    let rows = database.read(estimate).await?;
    let explained = rows.first().and_then(|row| row.text(0)).unwrap_or_default();
    let explained: serde_json::Value = serde_json::from_str(explained).unwrap_or_default();
    Ok(explained.pointer("/0/Plan/Plan Rows").and_then(serde_json::Value::as_u64).unwrap_or(0))
}
