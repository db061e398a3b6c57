//! [`Snapshot`]: the rows that a subscription begins with, and which transactions they hold already.

use std::sync::Arc;

use bytes::Bytes;

use super::filter::Filter;
use super::line::Binding;
use super::visibility::Visibility;
use crate::db::{Pool, Tx};
use crate::error::{Code, Error};
use crate::model::{Action, Collection, FieldSet};
use crate::policy::Permit;
use crate::query::parse::{self, Bounds};
use crate::query::plan::{Context, ReadPlan};
use crate::query::request::{Item, Node, Path};
use crate::read::{Layout, note_bypass};
use crate::sql::Sql;

/// Longest query: as long as a request's may be.
const MOST_QUERY: usize = 16 << 10;

/// What is to be read of a binding's collection.
#[derive(Clone, Debug, PartialEq)]
pub struct Beginning {
    pub binding: Binding,
    /// What else is asked of the records, in the words of a request's query: `select=*,author(name)&order=title&limit=9`.
    /// It says nothing about the changes that follow. Without one, the records are as changes show them.
    pub query: Option<String>,
}

/// What the caller sees of each binding's collection, all as of one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Which transactions are in it: their changes need not be told.
    pub visibility: Arc<Visibility>,
    /// Whatever is in it was committed before this position.
    pub lsn: u64,
    /// What there is of each binding, in their order.
    pub parts: Vec<Part>,
}

/// The records of one binding.
#[derive(Clone, Debug)]
pub struct Part {
    /// The names of the collection's key; none if the caller may not see all of it.
    pub key: Vec<String>,
    /// A JSON array.
    pub records: Bytes,
    /// The first so many, if that is what was asked for: at most a page.
    pub limit: Option<u64>,
}

/// Reads what a subscription begins with, as a read of each would answer it.
///
/// # Errors
/// What a read would be told; more records than a page may have where no limit was asked for; 503 if the database cannot
/// say.
pub async fn take(pool: &Pool, context: Context<'_>, wanted: &[Beginning]) -> Result<Snapshot, Error> {
    let plans = wanted.iter().map(|one| plan(context, one)).collect::<Result<Vec<ReadPlan>, Error>>()?;
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
    let mut parts = Vec::with_capacity(plans.len());
    for plan in plans {
        let permit = plan.node.permit();
        note_bypass(context, permit);
        let rows = tx.query(&plan.statement(context).sql).await?;
        let most = context.catalog.limits.rows;
        if rows.len() as u64 > most {
            let collection = context.catalog.collection(permit.collection()).title();
            let message = format!(
                "`{collection}` has more records than the {most} that a list without a limit may have: give it a `limit`, or narrow its filter"
            );
            return Err(Error::with(Code::AnswerTooLarge, message));
        }
        let collection = context.catalog.collection(permit.collection());
        let key = if collection.primary_key.iter().all(|field| permit.covers(*field)) {
            collection.primary_key.iter().map(|field| collection.field(*field).name.to_string()).collect()
        } else {
            Vec::new()
        };
        let limit = Some(plan.node.limit).filter(|limit| *limit <= most);
        parts.push(Part { key, records: Layout::of(&plan.node).array(&rows)?.into(), limit });
    }
    Ok(Snapshot { visibility: Arc::new(visibility), lsn, parts })
}

/// The read of a binding's records; where no limit is asked for, of one more than there may be.
fn plan(context: Context<'_>, Beginning { binding, query }: &Beginning) -> Result<ReadPlan, Error> {
    let Some(id) = binding.collection(&context.catalog.collections)? else {
        return Err(Error::with(Code::NotSupported, "A snapshot needs the table that it is about"));
    };
    let permit = context.permit_on(id, Action::Read)?;
    let mut node = match query {
        Some(text) => query_node(context, &permit, text)?,
        None => Node { select: select(context, &permit, binding)?, ..Node::default() },
    };
    if let Some(text) = binding.filter.as_deref().filter(|text| !text.is_empty()) {
        node.filter.extend_from_slice(Filter::compile(text, context, &permit)?.as_read());
    }
    let mut plan = ReadPlan::under(context, permit, &node)?;
    if node.limit.is_none() {
        plan.node.limit = context.catalog.limits.rows.saturating_add(1);
    }
    if query.is_some() {
        plan.order_whole(context)?;
    }
    Ok(plan)
}

/// A request's query. The key is always in what it answers, or nobody could say of which record a change is: where
/// what is nested has the name of a key's field, that field stands behind a `_`.
fn query_node(context: Context<'_>, permit: &Permit, text: &str) -> Result<Node, Error> {
    if text.len() > MOST_QUERY {
        let message = format!("A snapshot's query has at most {MOST_QUERY} bytes");
        return Err(Error::with(Code::UriTooLong, message));
    }
    let mut node = parse::read(&parse::parameters(text)?, &Bounds::from(&context.catalog.limits))?;
    let collection = context.catalog.collection(permit.collection());
    for field in key_of(collection, permit).iter() {
        let name = collection.field(field).name.to_string();
        let nested = |item: &Item| matches!(item, Item::Embed(embed) if embed.key() == name);
        let alias = node.select.iter().any(nested).then(|| format!("_{name}"));
        let item = Item::Field { path: Path::field(name), alias, cast: None };
        let is_there = node.select.contains(&item)
            || (node.select.contains(&Item::All) && matches!(&item, Item::Field { alias: None, .. }));
        if !is_there {
            node.select.push(item);
        }
    }
    Ok(node)
}

/// The fields that are asked for, and those of the key.
fn select(context: Context<'_>, permit: &Permit, binding: &Binding) -> Result<Vec<Item>, Error> {
    let Some(names) = binding.select.as_deref().filter(|names| names.iter().all(|name| name != "*")) else {
        return Ok(vec![Item::All]);
    };
    let collection = context.catalog.collection(permit.collection());
    let mut fields = key_of(collection, permit);
    for name in names {
        fields.insert(context.known_field(permit, name)?);
    }
    Ok(fields.iter().map(|field| whole(collection.field(field).name.to_string())).collect())
}

/// What the caller may see of the key.
fn key_of(collection: &Collection, permit: &Permit) -> FieldSet {
    collection.primary_key.iter().copied().filter(|field| permit.covers(*field)).collect()
}

/// A field under its own name.
fn whole(name: String) -> Item {
    Item::Field { path: Path::field(name), alias: None, cast: None }
}
