//! What a project's tests are given, completed: required values that the file leaves out, the records
//! and users that others refer to, and an order in which a database takes them.

use std::collections::HashMap;

use uuid::Uuid;

use super::cases::{Words, ungenerated};
use super::fault::{At, Faults};
use super::generate::Generator;
use super::stored;
use super::tests::{Given, GivenRecord, GivenValue, User, named_uuid};
use crate::model::{Collection, CollectionId, DefaultValue, Field, FieldId, RelationTarget, Schema, Value};

/// A record as far as the file writes it.
pub(super) struct RowDraft {
    pub(super) at: At,
    pub(super) collection: CollectionId,
    pub(super) values: HashMap<FieldId, Value>,
}

/// Users and records as the file names them.
pub(super) struct Rows {
    pub(super) users: Vec<User>,
    pub(super) drafts: Vec<RowDraft>,
    pub(super) at: At,
}

impl Rows {
    /// The id of a user, who is there from now on.
    pub(super) fn user(&mut self, name: &str) -> Uuid {
        let id = Uuid::try_parse(name).unwrap_or_else(|_| named_uuid(name));
        if !self.users.iter().any(|user| user.id == id) {
            self.users.push(User { name: name.to_owned(), id });
        }
        id
    }
}

/// How many records may be made up because others require them, one after the other.
const MAX_MADE: usize = 1_000;

impl Words<'_> {
    /// Makes up what is required and missing, the records and users referred to among it, and puts all in order.
    pub(super) fn complete(&self, mut rows: Rows, faults: &mut Faults<'_>) -> Option<Given> {
        let mut generator = Generator::default();
        let mut done: Vec<GivenRecord> = Vec::new();
        let mut next = 0;
        while next < rows.drafts.len() {
            let (at, id) = (rows.drafts[next].at, rows.drafts[next].collection);
            let collection = self.collections.get(id);
            let mut values = Vec::with_capacity(collection.fields.len());
            for field_id in collection.field_ids() {
                let field = collection.field(field_id);
                let value = match rows.drafts[next].values.get(&field_id) {
                    Some(value) if value.is_null() && field.required => None,
                    Some(value) => Some(GivenValue::Is(value.clone())),
                    None => missing(collection, field, next, &mut generator),
                };
                let value = match value {
                    Some(value) => value,
                    None => match &field.relation {
                        Some(relation) => GivenValue::Is(match relation.target {
                            RelationTarget::Users => {
                                Value::Uuid(rows.user(&format!("{}_{}", collection.name, field.name)))
                            }
                            RelationTarget::Collection(target) => {
                                self.someone(target, &mut rows, &mut generator, at, faults)?
                            }
                        }),
                        None => {
                            ungenerated(field, at, faults);
                            return None;
                        }
                    },
                };
                if let (GivenValue::Is(Value::Uuid(user)), Some(RelationTarget::Users)) =
                    (&value, field.relation.as_ref().map(|relation| relation.target))
                {
                    rows.user(&user.to_string());
                }
                if let GivenValue::Is(known) = &value {
                    rows.drafts[next].values.insert(field_id, known.clone());
                }
                values.push(value);
            }
            done.push(GivenRecord { collection: id, values });
            next += 1;
            if next > MAX_MADE * 10 {
                faults.add(rows.at, "too many records are given");
                return None;
            }
        }
        self.broken_keys(&rows, faults);
        Some(Given { users: rows.users, records: self.ordered(done) })
    }

    /// The key of a record of the collection: the first that is there, or one made up.
    fn someone(
        &self,
        target: CollectionId,
        rows: &mut Rows,
        generator: &mut Generator,
        at: At,
        faults: &mut Faults<'_>,
    ) -> Option<Value> {
        let collection = self.collections.get(target);
        let [key] = collection.primary_key.as_slice() else { return None };
        let there = rows.drafts.iter().find(|row| row.collection == target);
        if let Some(value) = there.and_then(|row| row.values.get(key)) {
            return Some(value.clone());
        }
        if rows.drafts.len() > MAX_MADE {
            faults.add(
                at,
                format!("the records that this one requires never end: give one of `{}`", collection.name),
            );
            return None;
        }
        let field = collection.field(*key);
        let value = match &field.relation {
            Some(relation) => match relation.target {
                RelationTarget::Users => Value::Uuid(rows.user(&format!("some_{}", collection.name))),
                RelationTarget::Collection(next) if next == target => {
                    faults.add(at, format!("give a record of `{}`", collection.name));
                    return None;
                }
                RelationTarget::Collection(next) => self.someone(next, rows, generator, at, faults)?,
            },
            None => generator.value(field)?,
        };
        rows.drafts.push(RowDraft { at, collection: target, values: [(*key, value.clone())].into() });
        Some(value)
    }

    /// A reference to a record that is not given, or a key that is there twice, would fail in a database and
    /// hold in memory.
    fn broken_keys(&self, rows: &Rows, faults: &mut Faults<'_>) {
        for (number, row) in rows.drafts.iter().enumerate() {
            let collection = self.collections.get(row.collection);
            let twin = rows.drafts[..number].iter().find(|other| {
                other.collection == row.collection
                    && collection.primary_key.iter().all(|id| other.values.get(id) == row.values.get(id))
            });
            if let Some(twin) = twin {
                let place = faults.place(twin.at);
                faults.add(
                    row.at,
                    format!("the record at {place} of `{}` has the same key", collection.title()),
                );
            }
            for field_id in collection.field_ids() {
                let field = collection.field(field_id);
                let Some(RelationTarget::Collection(target)) =
                    field.relation.as_ref().map(|relation| relation.target)
                else {
                    continue;
                };
                let Some(value) = row.values.get(&field_id).filter(|value| !value.is_null()) else {
                    continue;
                };
                let to = self.collections.get(target);
                let found = to.primary_key.first().is_some_and(|key| {
                    rows.drafts
                        .iter()
                        .any(|row| row.collection == target && row.values.get(key) == Some(value))
                });
                if !found {
                    faults.hint(
                        row.at,
                        format!("`{}` refers to a record of `{}` that is not given", field.name, to.name),
                        format!("put it under `given: {}`", to.name),
                    );
                }
            }
        }
    }

    /// Records after those that they refer to.
    fn ordered(&self, mut rest: Vec<GivenRecord>) -> Vec<GivenRecord> {
        let mut ordered: Vec<GivenRecord> = Vec::with_capacity(rest.len());
        while !rest.is_empty() {
            let (ready, waiting): (Vec<_>, Vec<_>) =
                rest.iter().cloned().partition(|record| !self.waits(record, &rest));
            if ready.is_empty() {
                // A circle: whoever inserts them has to defer the constraints.
                ordered.extend(waiting);
                break;
            }
            ordered.extend(ready);
            rest = waiting;
        }
        ordered
    }

    /// The record refers to another one of the list.
    fn waits(&self, record: &GivenRecord, list: &[GivenRecord]) -> bool {
        let collection = self.collections.get(record.collection);
        collection.field_ids().any(|field_id| {
            let Some(RelationTarget::Collection(target)) =
                collection.field(field_id).relation.as_ref().map(|relation| relation.target)
            else {
                return false;
            };
            let to = self.collections.get(target);
            let (Some(key), Some(GivenValue::Is(value))) =
                (to.primary_key.first(), record.values.get(usize::from(field_id.0)))
            else {
                return false;
            };
            !value.is_null()
                && list.iter().any(|other| {
                    other != record
                        && other.collection == target
                        && other.values.get(usize::from(key.0)) == Some(&GivenValue::Is(value.clone()))
                })
        })
    }
}

/// What stands in a field that the file leaves out. `None`: it is required, and only a reference can fill it.
fn missing(
    collection: &Collection,
    field: &Field,
    number: usize,
    generator: &mut Generator,
) -> Option<GivenValue> {
    match &field.default {
        Some(DefaultValue::Literal(value)) => return Some(GivenValue::Is(value.clone())),
        Some(DefaultValue::Now) => return Some(GivenValue::Now),
        Some(DefaultValue::UuidV7) => {
            let name = format!("{}.{} of record {number}", collection.name, field.name);
            return Some(GivenValue::Is(Value::Uuid(named_uuid(&name))));
        }
        // Nobody is signed in when the records are put there.
        Some(DefaultValue::Attribute(_)) | None => {}
    }
    if !field.required {
        return Some(GivenValue::Is(Value::Null));
    }
    if field.relation.is_some() {
        return None;
    }
    let made_up = stored::made_up(field).filter(|_| collection.schema == Schema::Storage);
    made_up.or_else(|| generator.value(field)).map(GivenValue::Is)
}
