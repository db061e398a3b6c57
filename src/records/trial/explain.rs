//! Why a request is allowed or denied: decided by the plans of requests on a real database, explained from the
//! records that its rules look at.

use std::collections::{BTreeSet, HashMap};

use uuid::Uuid;

use super::why::Names;
use super::{Outcome, database, memory};
use crate::catalog::Catalog;
use crate::condition::Rows;
use crate::db::{DbError, Pool};
use crate::error::Error;
use crate::model::{Action, CollectionId};
use crate::policy::{Decision, Rule};
use crate::project::tests::{Act, Case};
use crate::records::rules;

/// Records of a collection that a condition leads to. With more of them it is told that a rule did not admit,
/// and not which term of it failed.
pub(super) const REACHED: usize = 50_000;

/// What a request comes to, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    pub allowed: bool,
    /// The rule that decided, the terms that failed, the roles that others need: a line each.
    pub lines: Vec<String>,
}

/// Explains an act. It is done and undone: nothing stays of it. `names` is what to call some of the ids.
///
/// # Errors
/// The database cannot be asked.
pub async fn explain(
    pool: &Pool,
    catalog: &Catalog,
    case: &Case,
    names: HashMap<Uuid, String>,
) -> Result<Explained, Error> {
    let tx = pool.begin().await.map_err(DbError::into_error)?;
    let now = database::now(&tx).await.map_err(DbError::into_error)?;
    let outcome = database::decide(&tx, catalog, case).await.map_err(DbError::into_error)?;
    let mut rows = Rows::default();
    let mut untold = None;
    let (key, id) = (key_of(&case.act), case.act.collection());
    let reached = reached(catalog, case);
    for collection in reached.iter().copied().chain([id]).collect::<BTreeSet<_>>() {
        let only = key.filter(|_| !reached.contains(&collection));
        if only.is_none() && !reached.contains(&collection) {
            continue;
        }
        match database::records(&tx, catalog, collection, only, REACHED).await? {
            Some(records) => {
                rows.0.insert(collection, records);
            }
            None => untold = Some(catalog.collection(collection).title()),
        }
    }
    tx.rollback().await.map_err(DbError::into_error)?;
    let collection = catalog.collection(id);
    let allowed = matches!(outcome, Outcome::Done(_) | Outcome::Seen(_));
    let mut lines = Vec::new();
    if let Outcome::Fault(why) = &outcome {
        lines.push(format!("refused, and not by a policy: {why}"));
    }
    let known = match (key, rows.0.get(&id)) {
        (Some(key), Some(records)) => records.iter().any(|record| memory::has_key(collection, record, key)),
        (Some(_), None) | (None, _) => true,
    };
    if !known {
        lines.push(format!("there is no such record of {}", collection.title()));
    } else if let Some(large) = untold {
        lines.push(format!("{large} has more than {REACHED} records: which term failed is not told"));
    } else {
        let judged = memory::judge(catalog, &rows, now, &Names::new(names), case);
        let agreed = allowed == matches!(judged.outcome, Outcome::Done(_) | Outcome::Seen(_));
        match (&judged.allowed_by, allowed) {
            (Some(rule), true) => lines.push(format!("by {rule}")),
            (None, true) => lines.push(rules::UNBOUND.to_owned()),
            (_, false) => lines.extend(judged.all_reasons()),
        }
        if allowed && matches!(case.act, Act::Read { .. }) {
            let hidden = collection.field_ids().filter(|field| judged.hidden.contains(*field));
            let hidden = rules::names(collection, hidden);
            if !hidden.is_empty() {
                lines.push(rules::hidden(&hidden));
            }
        }
        if !agreed && !matches!(outcome, Outcome::Fault(_)) {
            lines.push(format!("in memory: {}; on the database: {}", judged.outcome.word(), outcome.word()));
        }
    }
    if !allowed {
        lines.extend(others(catalog, case));
    }
    Ok(Explained { allowed, lines })
}

fn action_of(act: &Act) -> Action {
    match act {
        Act::List { .. } | Act::Read { .. } | Act::Subscribe { .. } => Action::Read,
        Act::Create { .. } => Action::Create,
        Act::Update { .. } => Action::Update,
        Act::Delete { .. } => Action::Delete,
    }
}

fn key_of(act: &Act) -> Option<&[crate::model::Value]> {
    match act {
        Act::Read { key, .. } | Act::Update { key, .. } | Act::Delete { key, .. } => Some(key),
        Act::List { .. } | Act::Create { .. } | Act::Subscribe { .. } => None,
    }
}

/// The rules of the caller for this action, and those by which he reads.
fn rules_of<'a>(catalog: &'a Catalog, case: &Case) -> impl Iterator<Item = &'a Rule> {
    let (id, action) = (case.act.collection(), action_of(&case.act));
    let rules = catalog.policies.rules().iter().map(|rule| &**rule);
    rules.filter(move |rule| rule.collection == id && (rule.action == action || rule.action == Action::Read))
}

/// The collections whose records the conditions of these rules look at.
fn reached(catalog: &Catalog, case: &Case) -> BTreeSet<CollectionId> {
    rules_of(catalog, case).flat_map(|rule| rule.when.reads().into_iter().chain(rule.check.reads())).collect()
}

/// The rules of the action that speak for roles which the caller has not, where he has some of others.
fn others(catalog: &Catalog, case: &Case) -> Vec<String> {
    let (id, action, principal) = (case.act.collection(), action_of(&case.act), case.caller.principal());
    let Decision::Permit(permit) = catalog.policies.decide(&principal, action, id) else {
        // The judgement names them already.
        return Vec::new();
    };
    rules::others(catalog, &principal, &permit)
}
