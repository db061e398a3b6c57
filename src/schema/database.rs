//! [`Database`]: tables as a plain value, wanted or found.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::mark::Mark;
use crate::model::{IndexMethod, Kind, Name, OnDelete};
use crate::sql::Sql;

/// The tables of a project: as a project wants them or as a database has them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Database {
    /// The project's own tables in schema `public`.
    pub tables: BTreeMap<Name, Table>,
    /// Whatever else holds a name in schema `public`. Empty in what a project wants.
    pub foreign: BTreeSet<Name>,
    /// The publication that the feed reads.
    pub publication: Option<Publication>,
}

/// One collection's table.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    pub name: Name,
    pub renamed_from: Option<Name>,
    /// Order carries no meaning: columns are always named.
    pub columns: Vec<Column>,
    /// The generated full-text column. What it holds is made of the other columns, so it can be dropped and made
    /// again at any time.
    pub search: Option<Definition>,
    pub constraints: Vec<Constraint>,
    pub indexes: Vec<TableIndex>,
    pub touch: TouchTrigger,
    /// `replica identity full`: a change then carries the whole old row.
    pub full_identity: bool,
    /// What was noted when the table was last shaped.
    pub mark: Mark,
}

impl Table {
    pub fn column(&self, name: &Name) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == *name)
    }

    pub fn constraint(&self, name: &Name) -> Option<&Constraint> {
        self.constraints.iter().find(|constraint| constraint.name == *name)
    }

    pub fn primary_key(&self) -> Option<&Constraint> {
        self.constraints.iter().find(|c| matches!(c.rule, ConstraintRule::PrimaryKey(_)))
    }
}

/// The trigger that keeps `updated_at`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TouchTrigger {
    Absent,
    Present,
    /// There is one of its name that is disabled or does something else.
    Altered,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    pub name: Name,
    pub column_type: ColumnType,
    pub not_null: bool,
    pub default: Option<Definition>,
    pub renamed_from: Option<Name>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ColumnType {
    Kind(Kind),
    /// One that no collection has: another type, a length, a collation, a generated or identity column. As Postgres prints it.
    Other(String),
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ColumnType::Kind(kind) => write!(f, "{kind}"),
            ColumnType::Other(printed) => f.write_str(printed),
        }
    }
}

/// 64 bits of a definition's text: enough to notice a change, no protection against one who wants a collision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(pub u64);

impl Fingerprint {
    pub fn of(text: &str) -> Fingerprint {
        // FNV-1a: the result stands in databases, so it may never change with a library.
        Fingerprint(
            text.bytes()
                .fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3)),
        )
    }
}

/// The expression of a default, a check or a generated column.
#[derive(Clone, Debug, PartialEq)]
pub enum Definition {
    /// As a project wants it.
    Wanted(Sql),
    /// As Postgres prints it, with the fingerprint of what we wrote if it still is what we made of that.
    Found { printed: String, written: Option<Fingerprint> },
}

impl Definition {
    /// The fingerprint of the text that we wrote, if it is known.
    pub fn written(&self) -> Option<Fingerprint> {
        match self {
            Definition::Wanted(sql) => Some(Fingerprint::of(sql.text())),
            Definition::Found { written, .. } => *written,
        }
    }

    /// Both come from the same text.
    pub fn agrees(&self, other: &Definition) -> bool {
        self.written().is_some() && self.written() == other.written()
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Constraint {
    pub name: Name,
    /// The columns it speaks of; of a wanted check over several fields they are not known.
    pub columns: Vec<Name>,
    pub rule: ConstraintRule,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ConstraintRule {
    PrimaryKey(Vec<Name>),
    Unique(Vec<Name>),
    ForeignKey {
        columns: Vec<Name>,
        schema: Name,
        table: Name,
        target: Vec<Name>,
        on_delete: OnDelete,
    },
    Check(Definition),
    /// One that we never make: deferrable, not validated, an exclusion. As Postgres prints it.
    Other(String),
}

impl ConstraintRule {
    pub fn agrees(&self, other: &ConstraintRule) -> bool {
        match (self, other) {
            (ConstraintRule::Check(one), ConstraintRule::Check(two)) => one.agrees(two),
            (ConstraintRule::Other(_), _) | (_, ConstraintRule::Other(_)) => false,
            (one, two) => one == two,
        }
    }
}

/// An index that backs no constraint.
#[derive(Clone, Debug, PartialEq)]
pub struct TableIndex {
    pub name: Name,
    pub rule: TableIndexRule,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableIndexRule {
    /// Columns, each with whether it descends.
    Plain { columns: Vec<(Name, bool)>, method: IndexMethod },
    /// One that we never make: partial, over expressions, unique, invalid, of another method.
    Other,
}

impl TableIndexRule {
    pub fn agrees(&self, other: &TableIndexRule) -> bool {
        matches!(self, TableIndexRule::Plain { .. }) && self == other
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Publication {
    /// `for all tables`: made by hand, and its members cannot be changed.
    pub all_tables: bool,
    /// Schema and table, and whether it is published whole (no row filter, no column list).
    pub members: BTreeMap<(Name, Name), bool>,
}

impl TableIndex {
    /// The columns it is over; none are known of one that we never make.
    pub fn columns(&self) -> Vec<&Name> {
        match &self.rule {
            TableIndexRule::Plain { columns, .. } => columns.iter().map(|(name, _)| name).collect(),
            TableIndexRule::Other => Vec::new(),
        }
    }
}
