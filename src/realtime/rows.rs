//! WAL rows as records: which column of a table holds which field, and values that can be looked up.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::change::{Relation, Row};
use crate::model::{Collection, CollectionId, Collections, FieldId, FieldSet, Kind, Record, Value};

/// A value that equals another exactly where SQL says so, and can be looked up.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Known {
    Text(String),
    /// Whole numbers, dates and times: their kind is that of their place.
    Number(i64),
    Boolean(bool),
    Uuid(Uuid),
}

impl Known {
    /// `None` for null, and for kinds of which equal values may look different.
    pub(super) fn of(value: &Value) -> Option<Known> {
        match value {
            Value::Text(text) => Some(Known::Text(text.clone())),
            Value::Integer(number) | Value::Timestamp(number) | Value::Time(number) => {
                Some(Known::Number(*number))
            }
            Value::Date(day) => Some(Known::Number(i64::from(*day))),
            Value::Boolean(truth) => Some(Known::Boolean(*truth)),
            Value::Uuid(id) => Some(Known::Uuid(*id)),
            Value::Null
            | Value::Float(_)
            | Value::Decimal(_)
            | Value::Interval(_)
            | Value::Json(_)
            | Value::Bytes(_)
            | Value::Inet(..)
            | Value::Array(_) => None,
        }
    }
}

/// Where the fields of a collection stand in the rows of a relation.
#[derive(Debug)]
pub(super) struct Mapping {
    pub(super) collection: CollectionId,
    /// For each field its column; `None` where the table has none of that name and kind.
    columns: Vec<Option<usize>>,
    kinds: Vec<Kind>,
}

impl Mapping {
    pub(super) fn of(id: CollectionId, collection: &Collection, relation: &Relation) -> Mapping {
        let column = |field: FieldId| {
            let field = collection.field(field);
            relation
                .columns
                .iter()
                .position(|column| field.name == *column.name.as_str() && column.kind == field.kind.oid())
        };
        Mapping {
            collection: id,
            columns: collection.field_ids().map(column).collect(),
            kinds: collection.fields.iter().map(|field| field.kind).collect(),
        }
    }

    /// A field's bytes; `None` is NULL.
    pub(super) fn raw<'r>(&self, row: &'r Row, field: FieldId) -> Option<&'r Bytes> {
        let column = *self.columns.get(usize::from(field.0))?;
        row.0.get(column?)?.as_ref()
    }

    /// The record with these fields; the others are null, as is what cannot be read as its kind.
    pub(super) fn record(&self, row: &Row, fields: &FieldSet) -> Record {
        let value = |at: usize| {
            let field = FieldId(at as u16);
            if !fields.contains(field) {
                return Value::Null;
            }
            let raw = self.raw(row, field);
            raw.and_then(|raw| Value::from_binary(self.kinds[at], raw).ok()).unwrap_or(Value::Null)
        };
        Record((0..self.kinds.len()).map(value).collect())
    }
}

/// The mappings of the relations that were met, for one version of the project.
#[derive(Default)]
pub(super) struct Mappings {
    known: HashMap<u32, (Arc<Relation>, Option<Arc<Mapping>>)>,
}

impl Mappings {
    /// `None` for a table that is no collection.
    pub(super) fn of(&mut self, collections: &Collections, relation: &Arc<Relation>) -> Option<Arc<Mapping>> {
        match self.known.get(&relation.oid) {
            Some((known, mapping)) if Arc::ptr_eq(known, relation) || known == relation => mapping.clone(),
            _ => {
                let id = collections.of_table(&relation.schema, &relation.table);
                let mapping = id.map(|id| Arc::new(Mapping::of(id, collections.get(id), relation)));
                self.known.insert(relation.oid, (Arc::clone(relation), mapping.clone()));
                mapping
            }
        }
    }
}
