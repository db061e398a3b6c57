//! [`Snapshot`]: the rows that a subscription begins with, and which transactions they hold already.

use std::sync::Arc;

use bytes::Bytes;

use super::filter::Filter;
use super::line::Binding;
use super::visibility::Visibility;
use crate::db::{Pool, Tx};
use crate::error::{Code, Error};
use crate::model::{Action, FieldSet};
use crate::policy::Permit;
use crate::query::plan::{Context, ReadPlan};
use crate::query::request::{Item, Node, Path};
use crate::read::{Layout, note_bypass};
use crate::sql::Sql;

/// What the caller sees of each binding's collection, all as of one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Which transactions are in it: their changes need not be told.
    pub visibility: Arc<Visibility>,
    /// Whatever is in it was committed before this position.
    pub lsn: u64,
    /// The JSON array of each binding's records, in the order of the bindings.
    pub records: Vec<Bytes>,
}

/// Reads what a subscription with these bindings begins with, as a read of each would answer it.
///
/// # Errors
/// What a read would be told; a binding of more records than a page may have; 503 if the database cannot say.
pub async fn take(pool: &Pool, context: Context<'_>, bindings: &[Binding]) -> Result<Snapshot, Error> {
    let plans =
        bindings.iter().map(|binding| plan(context, binding)).collect::<Result<Vec<ReadPlan>, Error>>()?;
    let tx = pool.begin().await?;
    let outcome = read(&tx, context, &plans).await;
    // Nothing was written: its end changes nothing about what was read.
    let _ = tx.rollback().await;
    outcome
}

async fn read(tx: &Tx, context: Context<'_>, plans: &[ReadPlan]) -> Result<Snapshot, Error> {
    tx.batch("set transaction isolation level repeatable read, read only").await?;
    let mut sql = Sql::new();
    sql.raw("select pg_current_snapshot()::text, (pg_current_wal_insert_lsn() - '0/0')::bigint");
    let rows = tx.query(&sql).await?;
    let row = rows.first().ok_or_else(|| Error::internal("no row came of a snapshot"))?;
    let visibility = row.text(0).and_then(Visibility::parse);
    let lsn = row.integer(1).and_then(|lsn| u64::try_from(lsn).ok());
    let (Some(visibility), Some(lsn)) = (visibility, lsn) else {
        return Err(Error::internal("Postgres describes its snapshot in another way"));
    };
    let mut records = Vec::with_capacity(plans.len());
    for plan in plans {
        note_bypass(context, plan.node.permit());
        let rows = tx.query(&plan.statement(context).sql).await?;
        let most = context.catalog.limits.rows;
        if rows.len() as u64 > most {
            let collection = context.catalog.collection(plan.node.permit().collection()).title();
            let message =
                format!("A snapshot has at most {most} records of `{collection}`, and there are more");
            return Err(Error::with(Code::AnswerTooLarge, message)
                .hint("Narrow the filter, or subscribe without a snapshot and read in pages."));
        }
        records.push(Layout::of(&plan.node).array(&rows)?.into());
    }
    Ok(Snapshot { visibility: Arc::new(visibility), lsn, records })
}

/// The read of a binding's records, and of one more than there may be.
fn plan(context: Context<'_>, binding: &Binding) -> Result<ReadPlan, Error> {
    let Some(id) = binding.collection(&context.catalog.collections)? else {
        return Err(Error::with(Code::NotSupported, "A snapshot needs the table that it is about"));
    };
    let permit = context.permit_on(id, Action::Read)?;
    let filter = match binding.filter.as_deref() {
        None | Some("") => Vec::new(),
        Some(text) => Filter::compile(text, context, &permit)?.as_read().to_vec(),
    };
    let node = Node { select: select(context, &permit, binding)?, filter, ..Node::default() };
    let mut plan = ReadPlan::under(context, permit, &node)?;
    plan.node.limit = context.catalog.limits.rows.saturating_add(1);
    Ok(plan)
}

/// The fields that are asked for, and those of the key.
fn select(context: Context<'_>, permit: &Permit, binding: &Binding) -> Result<Vec<Item>, Error> {
    let Some(names) = binding.select.as_deref().filter(|names| names.iter().all(|name| name != "*")) else {
        return Ok(vec![Item::All]);
    };
    let collection = context.catalog.collection(permit.collection());
    let mut fields: FieldSet =
        collection.primary_key.iter().copied().filter(|field| permit.covers(*field)).collect();
    for name in names {
        fields.insert(context.known_field(permit, name)?);
    }
    let item = |field| {
        let name = collection.field(field).name.to_string();
        Item::Field { path: Path::field(name), alias: None, cast: None }
    };
    Ok(fields.iter().map(item).collect())
}
