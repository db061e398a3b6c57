//! What somebody is told of a change that has happened, and why.

use std::collections::HashMap;

use uuid::Uuid;

use super::why::Names;
use super::{Outcome, database, memory};
use crate::catalog::Catalog;
use crate::condition::Rows;
use crate::db::{DbError, Pool};
use crate::error::Error;
use crate::model::{Action, CollectionId, FieldId, Record, Value};
use crate::project::tests::{Act, Caller, Case, Change, Expect, Told};
use crate::records::rules;

/// A change as the WAL holds it.
#[derive(Clone, Debug)]
pub struct Witnessed {
    pub collection: CollectionId,
    /// One of them is there.
    pub old: Option<Record>,
    pub new: Option<Record>,
    /// When it was committed, in microseconds since 2000-01-01 UTC.
    pub at: i64,
}

/// What a listener is told of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub told: Told,
    /// The rule that shows the record, the terms that failed: a line each.
    pub lines: Vec<String>,
}

/// Judges a change for a caller. Related records are those that there are now. `names` is what to call some of the ids.
///
/// # Errors
/// The database cannot be asked.
pub async fn witness(
    pool: &Pool,
    catalog: &Catalog,
    caller: &Caller,
    change: &Witnessed,
    names: &HashMap<Uuid, String>,
) -> Result<Verdict, Error> {
    let id = change.collection;
    let collection = catalog.collection(id);
    let key =
        |record: &Record| collection.primary_key.iter().map(|field| record.get(*field).clone()).collect();
    let values = |record: &Record| -> Vec<(FieldId, Value)> {
        collection.field_ids().map(|field| (field, record.get(field).clone())).collect()
    };
    let act = match (&change.old, &change.new) {
        (None, None) => return Ok(Verdict { told: Told::Nothing, lines: Vec::new() }),
        (None, Some(new)) => Change::Created { values: values(new), filled: Vec::new() },
        (Some(old), Some(new)) => Change::Updated { key: key(old), values: values(new) },
        (Some(old), None) => Change::Deleted { key: key(old) },
    };
    let act = Act::Subscribe { collection: id, change: act };
    let expect = Expect::Told(Told::Nothing);
    let case = Case { line: 0, title: String::new(), caller: caller.clone(), act, expect };
    let (mut rows, untold) = related(pool, catalog, id).await?;
    let own = rows.0.entry(id).or_default();
    let same = |record: &Record, other: &Option<Record>| {
        other.as_ref().is_some_and(|other| memory::has_key(collection, record, &key(other)))
    };
    // As it was before the change.
    own.retain(|record| !same(record, &change.old) && !same(record, &change.new));
    own.extend(change.old.clone());
    let judged = memory::judge(catalog, &rows, change.at, &Names::new(names.clone()), &case);
    let told = match judged.outcome {
        Outcome::Told(told) => told,
        Outcome::Done(_) | Outcome::Seen(_) | Outcome::Refused(_) | Outcome::Fault(_) => Told::Nothing,
    };
    let mut lines = Vec::new();
    match (&judged.allowed_by, told) {
        (Some(_), Told::Nothing) => lines.push("nothing that he sees of it has changed".to_owned()),
        (Some(rule), Told::Insert | Told::Update | Told::Delete) => lines.push(format!("by {rule}")),
        (None, Told::Nothing) => {}
        (None, Told::Insert | Told::Update | Told::Delete) => lines.push(rules::UNBOUND.to_owned()),
    }
    let side = match (&change.old, told) {
        (Some(_), Told::Insert) => "before: ",
        (_, Told::Delete) if change.new.is_some() => "after: ",
        _ => "",
    };
    // The same may stand against the record before and after.
    for line in judged.why().into_iter().map(|line| format!("{side}{line}")) {
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines.extend(untold.map(|large| {
        format!(
            "{large} has more than {} records: conditions that lead there are not judged",
            super::explain::REACHED
        )
    }));
    Ok(Verdict { told, lines })
}

/// The records that the collection's read conditions look at, and a collection of which there are too many.
async fn related(pool: &Pool, catalog: &Catalog, id: CollectionId) -> Result<(Rows, Option<String>), Error> {
    let mut rows = Rows::default();
    let mut untold = None;
    let rules = catalog.policies.rules().iter();
    let reached: std::collections::BTreeSet<CollectionId> = rules
        .filter(|rule| rule.collection == id && rule.action == Action::Read)
        .flat_map(|rule| rule.when.reads())
        .collect();
    if reached.is_empty() {
        return Ok((rows, None));
    }
    let tx = pool.begin().await.map_err(DbError::into_error)?;
    for collection in reached {
        match database::records(&tx, catalog, collection, None, super::explain::REACHED).await? {
            Some(records) => {
                rows.0.insert(collection, records);
            }
            None => untold = Some(catalog.collection(collection).name.to_string()),
        }
    }
    tx.rollback().await.map_err(DbError::into_error)?;
    Ok((rows, untold))
}
