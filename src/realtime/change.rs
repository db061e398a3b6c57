//! What the WAL says of one transaction: committed rows before and after, as Postgres' own binary columns.

use std::sync::Arc;

use bytes::Bytes;

use super::rows::Mapping;
use crate::model::{Collection, CollectionId, Record};

/// A table as it was when its rows were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    pub oid: u32,
    pub schema: String,
    pub table: String,
    pub columns: Vec<Column>,
}

/// A column of a [`Relation`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    /// `pg_type.oid`.
    pub kind: u32,
    /// Part of the replica identity.
    pub key: bool,
}

/// A row: each column in binary format, `None` for NULL, in the relation's order. Types that have no binary format, of
/// which no field can be, stand there as text. Where the old row is not there, neither is all of the new one: a value
/// that is stored elsewhere and did not change is missing from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row(pub Box<[Option<Bytes>]>);

/// One changed row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub relation: Arc<Relation>,
    pub what: What,
}

/// What became of a row. An old row is `None` only where the table's replica identity is not full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Insert {
        new: Row,
    },
    Update {
        old: Option<Row>,
        new: Row,
    },
    Delete {
        old: Option<Row>,
    },
    /// All rows of the table went at once.
    Truncate,
}

impl Change {
    /// The old row and the new one.
    pub fn rows(&self) -> (Option<&Row>, Option<&Row>) {
        match &self.what {
            What::Insert { new } => (None, Some(new)),
            What::Update { old, new } => (old.as_ref(), Some(new)),
            What::Delete { old } => (old.as_ref(), None),
            What::Truncate => (None, None),
        }
    }

    /// The records before and after it, if it is one of this collection's. A field that the table has not, as it was
    /// then, is null.
    pub fn records(&self, collection: &Collection) -> Option<(Option<Record>, Option<Record>)> {
        if self.relation.schema != collection.schema.as_str()
            || collection.name != *self.relation.table.as_str()
        {
            return None;
        }
        let (old, new) = self.rows();
        let mapping = Mapping::of(CollectionId(0), collection, &self.relation);
        let record = |row: &Row| mapping.record(row, &collection.all_fields());
        Some((old.map(record), new.map(record)))
    }

    /// The change does not hold all that it should.
    pub fn is_torn(&self) -> bool {
        matches!(self.what, What::Update { old: None, .. } | What::Delete { old: None })
    }
}
