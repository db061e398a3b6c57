//! The condition language: parse → check → { SQL, evaluate, explain }.
//!
//! One condition has exactly two back ends that decide, and the agreement test holds them equal
//! against a real Postgres. No I/O, no clock: `now()` comes in with the environment.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use crate::model::{Collection, CollectionId, Collections, Name, Principal, Record};
use crate::sql::{Alias, Sql};

/// What is wrong with a condition, and where in its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Byte range in the condition's text.
    pub span: Range<usize>,
    pub message: String,
    /// "did you mean …", or how to say it instead.
    pub hint: Option<String>,
}

/// A parsed condition whose names and kinds are not yet known. Equality ignores nothing: it is the text's tree.
#[derive(Clone, Debug, PartialEq)]
pub struct Syntax;

/// Reads a condition's text.
pub fn parse(_text: &str) -> Result<Syntax, Vec<Fault>> {
    unimplemented!()
}

/// What a condition may speak of where it stands.
pub struct Scope<'a> {
    pub collections: &'a Collections,
    /// The collection whose record is judged. `None` in a channel's policy, which has captures only.
    pub collection: Option<&'a Collection>,
    pub named: &'a HashMap<Name, Syntax>,
    /// `old.` may be used: the `check` of an update.
    pub old: bool,
    /// Only the record's own fields: the `checks` of a collection.
    pub own_fields_only: bool,
    /// A channel topic's captures.
    pub captures: &'a [Name],
}

/// Types a condition: every name found, every operand of one kind, every literal of its place's kind.
pub fn check(_syntax: &Syntax, _scope: &Scope<'_>) -> Result<Condition, Vec<Fault>> {
    unimplemented!()
}

/// Where a condition can be decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// From the record and the caller alone.
    Row,
    /// Needs related rows.
    Database,
}

/// A typed, closed condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition;

/// The tables and the caller that a condition's SQL speaks of.
#[derive(Clone, Copy)]
pub struct Binding<'a> {
    pub collections: &'a Collections,
    /// The alias of the record's row.
    pub row: Alias,
    /// The alias of the record's row before the write.
    pub old: Option<Alias>,
    pub principal: &'a Principal,
    /// The values of a channel topic's captures, in the scope's order.
    pub captures: &'a [String],
}

/// What a condition is evaluated over in memory.
pub struct Env<'a> {
    pub collections: &'a Collections,
    pub record: &'a Record,
    pub old: Option<&'a Record>,
    pub principal: &'a Principal,
    /// Microseconds since 2000-01-01 UTC.
    pub now: i64,
    pub captures: &'a [String],
    /// The rows that relations lead to.
    pub rows: &'a Rows,
}

/// Records by collection, for following relations in memory: project tests and the agreement test.
#[derive(Clone, Debug, Default)]
pub struct Rows(pub HashMap<CollectionId, Vec<Record>>);

impl Condition {
    /// The condition that always holds.
    pub fn always() -> Condition {
        unimplemented!()
    }

    /// It is TRUE whatever the row and the caller.
    pub fn is_always(&self) -> bool {
        unimplemented!()
    }

    /// `a || b || …`; never for none. Simplifies: one that always holds makes the whole always hold.
    pub fn any(_conditions: impl IntoIterator<Item = Condition>) -> Condition {
        unimplemented!()
    }

    pub fn reach(&self) -> Reach {
        unimplemented!()
    }

    /// The collections whose rows it looks at beyond the record itself.
    pub fn reads(&self) -> BTreeSet<CollectionId> {
        unimplemented!()
    }

    /// Writes a boolean SQL expression; NULL means unknown. Never raises, whatever the rows hold.
    pub fn to_sql(&self, _sql: &mut Sql, _binding: &Binding<'_>) {
        unimplemented!()
    }

    /// Decides in memory, three-valued: `None` is unknown. Only `Some(true)` admits.
    pub fn evaluate(&self, _env: &Env<'_>) -> Option<bool> {
        unimplemented!()
    }
}
