//! YAML to tables and back: what a project wants of a database, what the database has, the typed steps
//! between the two, and their execution.
//!
//! [`desired()`] and [`introspect()`] give the same plain value, a [`Database`]; [`diff()`] compares two of them
//! without I/O; [`plan()`] adds what only the rows can tell (how many values a drop would lose); [`apply()`] does
//! all of a plan or nothing of it.
//!
//! **What is ours.** A table belongs to the project if its comment is a mark (see `mark`).
//! No other table is ever touched. The comment travels with the table through renames, dumps and restores,
//! needs no table of our own and is written in the transaction of the DDL that it describes.
//!
//! **How definitions are compared.** Keys, foreign keys and indexes are compared by what the catalogue says of
//! them. Defaults and checks are expressions, and Postgres prints these in its own words, which differ from
//! what was written and between releases. So the mark keeps two fingerprints of each: of the text that we
//! wrote and of the text that Postgres printed right after. The first finds a project that has changed, the
//! second a definition that was altered by hand; the second is looked at only on the major release that it was
//! taken on, so an upgrade of Postgres is no difference. A definition that we did not make, or that was
//! altered, is made again: that loses no data.
//!
//! This floor knows tables and not requests: neither permits nor policies.

mod apply;
mod database;
mod ddl;
mod desired;
mod diff;
mod introspect;
mod mark;
mod plan;
mod rename;
mod seed;

pub use apply::{Failure, apply, apply_with_seed, plan};
pub use database::{
    Column, ColumnType, Constraint, ConstraintRule, Database, Definition, Fingerprint, Publication, Table,
    TableIndex, TableIndexRule, TouchTrigger,
};
pub use desired::desired;
pub use diff::diff;
pub use introspect::{introspect, require_ownership};
pub use plan::{Conversion, Measure, Plan, Refusal, Risk, Step};
pub use seed::Seed;
