//! The condition language: parse → check → { SQL, evaluate, explain }.
//!
//! One condition has exactly two back ends that decide, and the agreement test holds them equal
//! against a real Postgres. No I/O, no clock: `now()` comes in with the environment.

use std::collections::HashMap;
use std::ops::Range;

mod arithmetic;
mod audience;
mod call;
mod caller;
mod check;
mod compare;
mod evaluate;
mod explain;
mod lex;
mod operand;
mod parse;
pub mod pattern;
mod resolve;
mod sql;
mod syntax;
mod tree;

use crate::model::{Collection, CollectionId, Collections, Name, Principal, Record};
use crate::sql::Alias;

pub use audience::{Key, Membership};
pub(crate) use caller::attribute;
pub use check::{RESERVED, check};
pub use compare::compare;
pub use explain::{Explanation, Part};
pub use parse::parse;
pub use pattern::Pattern;
pub use syntax::Syntax;
pub use tree::{Condition, Reach};

/// What is wrong with a condition, and where in its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Byte range in the condition's text.
    pub span: Range<usize>,
    pub message: String,
    /// "did you mean …", or how to say it instead.
    pub hint: Option<String>,
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

/// The tables and the caller that a condition's SQL speaks of.
#[derive(Clone, Copy)]
pub struct Binding<'a> {
    pub collections: &'a Collections,
    /// The record's row.
    pub row: Row,
    /// The alias of the record's row before the write.
    pub old: Option<Alias>,
    pub principal: &'a Principal,
    /// The values of a channel topic's captures, in the scope's order.
    pub captures: &'a [String],
}

/// How the record's columns are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    /// `t0."status"`
    Alias(Alias),
    /// `"status"`: inside a CHECK constraint, where a table has no alias.
    Bare,
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

#[cfg(test)]
mod tests;
