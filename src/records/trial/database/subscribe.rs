//! What a listener would be told of a change, from reads before and after it.

use super::{Asking, object};
use crate::error::{Code, Error};
use crate::model::{Action, CollectionId, FieldId, Principal, Value};
use crate::project::tests::{Change, Told};
use crate::query::body::Body;
use crate::query::plan::{Context, DeletePlan, InsertOptions, InsertPlan, UpdatePlan, WritePlan};
use crate::query::request::Node;
use crate::records::trial::{Outcome, Seen, same, told};

impl Asking<'_> {
    pub(super) async fn subscribe(&self, id: CollectionId, change: &Change) -> Result<Outcome, Error> {
        let collection = self.catalog.collection(id);
        let permit = match self.context.permit_on(id, Action::Read) {
            Ok(permit) => permit,
            Err(error) => match error.code {
                Code::Denied | Code::DeniedAnonymous | Code::UnknownCollection => {
                    return Ok(Outcome::Told(Told::Nothing));
                }
                _ => return Err(error),
            },
        };
        let (old, new) = keys(&collection.primary_key, change);
        // A key that is hidden finds no record: all are looked at then.
        let findable =
            collection.primary_key.iter().all(|field| permit.covers(*field) && permit.mask(*field).is_none());
        let before = self.listened(id, old.as_deref().filter(|_| findable)).await?;
        if let Outcome::Refused(why) | Outcome::Fault(why) = self.make(id, change).await? {
            return Ok(Outcome::Fault(format!("the change cannot be made: {why}")));
        }
        let after = self.listened(id, new.as_deref().filter(|_| findable)).await?;
        let (before, after) = if findable {
            (before.first().filter(|_| old.is_some()), after.first().filter(|_| new.is_some()))
        } else {
            (missing(&before, &after), missing(&after, &before))
        };
        Ok(Outcome::Told(told(collection, before, after)))
    }

    /// The records that the listener sees: the one of a key, or all.
    async fn listened(&self, id: CollectionId, key: Option<&[Value]>) -> Result<Vec<Seen>, Error> {
        let filter = key.map(|key| self.key_filter(id, key)).unwrap_or_default();
        match self.list(id, Node { filter, ..Node::default() }, usize::MAX).await? {
            Outcome::Seen(seen) => Ok(seen),
            Outcome::Done(_) | Outcome::Refused(_) | Outcome::Fault(_) | Outcome::Told(_) => Ok(Vec::new()),
        }
    }

    /// Makes the change, as the secret key does.
    async fn make(&self, id: CollectionId, change: &Change) -> Result<Outcome, Error> {
        let everything = Principal::service();
        let context = Context { catalog: self.catalog, principal: &everything };
        let asking = Asking { context, given: None, ..*self };
        let by_key = |key: &[Value]| Node { filter: self.key_filter(id, key), ..Node::default() };
        let body = |values: &[(FieldId, Value)]| {
            let members = object(self.catalog, id, values.iter().map(|(field, value)| (*field, value)));
            Body::parse(members.to_string().as_bytes(), &self.catalog.limits)
        };
        let options = InsertOptions::default();
        let plan = match change {
            Change::Created { values, filled } => {
                let all: Vec<_> = values.iter().chain(filled).cloned().collect();
                let body = body(&all)?;
                let permit = context.permit_on(id, Action::Create)?;
                InsertPlan::under(context, permit, &body, &options, (None, false)).map(WritePlan::Insert)
            }
            Change::Updated { key, values } => {
                let body = body(values)?;
                let permit = context.permit_on(id, Action::Update)?;
                UpdatePlan::under(context, permit, &by_key(key), &body, &options, (false, false))
                    .map(WritePlan::Update)
            }
            Change::Deleted { key } => {
                let permit = context.permit_on(id, Action::Delete)?;
                DeletePlan::under(context, permit, &by_key(key), (false, false)).map(WritePlan::Delete)
            }
        };
        asking.write(plan, None).await
    }
}

/// The record's key before and after the change.
fn keys(fields: &[FieldId], change: &Change) -> (Option<Vec<Value>>, Option<Vec<Value>>) {
    let value = |values: &[(FieldId, Value)], field: FieldId| {
        values.iter().find(|(known, _)| *known == field).map(|(_, value)| value.clone())
    };
    match change {
        Change::Created { values, .. } => (None, fields.iter().map(|field| value(values, *field)).collect()),
        Change::Updated { key, values } => {
            let new = fields.iter().zip(key);
            let new = new.map(|(field, part)| value(values, *field).unwrap_or_else(|| part.clone()));
            (Some(key.clone()), Some(new.collect()))
        }
        Change::Deleted { key } => (Some(key.clone()), None),
    }
}

/// The first record of one list that the other has not, or has fewer of.
fn missing<'s>(list: &'s [Seen], other: &[Seen]) -> Option<&'s Seen> {
    let count = |list: &[Seen], seen: &Seen| list.iter().filter(|one| same(one, seen)).count();
    list.iter().find(|seen| count(list, seen) > count(other, seen))
}
