//! [`Sql`]: the only text that reaches Postgres.
//!
//! A statement is static text, identifiers from [`Name`] and bound values; there is no way to put any
//! other text into it. Values travel beside the text, in Postgres' own text format with a declared
//! type, so a statement's text is its *shape*: requests that differ only in values share one prepared
//! statement, and Postgres itself parses what a caller sends (with its own errors).

mod shared;

use std::fmt::Write as _;

use crate::model::{Collection, Kind, Language, Name, Scalar, Value};

pub use shared::{Shared, array_literal};

/// The name of a table, CTE or sub-select inside one statement: `t0`, `t1`, …
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Alias(pub u16);

/// A bound value: a declared type and the value in Postgres' text format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    /// `pg_type.oid`.
    pub oid: u32,
    /// `None` is NULL.
    pub value: Option<String>,
}

impl Param {
    /// The value is known to be one of its kind; Postgres knows some more ways to write one.
    pub fn is_sound(&self) -> bool {
        let Some(value) = &self.value else { return true };
        let kind = Scalar::all().map(Kind::one).find(|kind| kind.oid() == self.oid);
        kind.is_some_and(|kind| Value::parse(kind, value).is_some())
    }
}

/// How values enter the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// As `$1`, `$2`, …
    Bound,
    /// As columns of the row that stands for one request of many; the rows come from where `rows_at` points.
    Shared { rows_at: usize },
    /// As quoted, typed literals: DDL takes no parameters.
    Inline,
}

/// A statement, or a part of one, under construction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sql {
    text: String,
    params: Vec<Param>,
    mode: Mode,
    aliases: u16,
}

impl Default for Sql {
    fn default() -> Sql {
        Sql::new()
    }
}

impl Sql {
    /// A statement whose values are bound.
    pub fn new() -> Sql {
        // Room for what most requests need, so that the text is not moved while it grows.
        let (text, params) = (String::with_capacity(768), Vec::with_capacity(8));
        Sql { text, params, mode: Mode::Bound, aliases: 0 }
    }

    /// DDL: values become quoted literals, since Postgres takes no parameters there.
    pub fn ddl() -> Sql {
        Sql { mode: Mode::Inline, ..Sql::new() }
    }

    /// Text that stands in our source.
    pub fn raw(&mut self, text: &'static str) -> &mut Sql {
        self.text.push_str(text);
        self
    }

    /// An identifier, always quoted.
    pub fn name(&mut self, name: &Name) -> &mut Sql {
        quote_into(&mut self.text, name.as_str(), '"');
        self
    }

    /// The table of a collection: `public."posts"`.
    pub fn table(&mut self, collection: &Collection) -> &mut Sql {
        self.raw(collection.schema.as_str()).raw(".").name(&collection.name)
    }

    /// A table or sub-select alias.
    pub fn alias(&mut self, alias: Alias) -> &mut Sql {
        // Writing to a String cannot fail.
        let _ = write!(self.text, "t{}", alias.0);
        self
    }

    /// `t3."title"`.
    pub fn column(&mut self, alias: Alias, name: &Name) -> &mut Sql {
        self.alias(alias).raw(".").name(name)
    }

    /// An alias that no other part of this statement uses.
    pub fn fresh(&mut self) -> Alias {
        let alias = Alias(self.aliases);
        self.aliases += 1;
        alias
    }

    /// A whole number that our own code computed (a limit, a precision).
    pub fn number(&mut self, number: i64) -> &mut Sql {
        let _ = write!(self.text, "{number}");
        self
    }

    /// A value of a kind, given in Postgres' text format for it; `None` is NULL.
    pub fn bind(&mut self, kind: Kind, value: Option<String>) -> &mut Sql {
        self.bind_typed(kind.oid(), kind.sql(), value)
    }

    /// Text.
    pub fn bind_text(&mut self, value: impl Into<String>) -> &mut Sql {
        self.bind(Kind::TEXT, Some(value.into()))
    }

    /// A value of a Postgres type that is no [`Kind`] (`json`, `regconfig`): its oid and its name.
    pub fn bind_typed(&mut self, oid: u32, type_name: &'static str, value: Option<String>) -> &mut Sql {
        match (self.mode, value) {
            (Mode::Bound, value) => {
                self.params.push(Param { oid, value });
                let _ = write!(self.text, "${}", self.params.len());
            }
            (Mode::Shared { .. }, value) => {
                self.params.push(Param { oid, value });
                let _ = write!(self.text, "b.p{}", self.params.len());
            }
            (Mode::Inline, None) => {
                let _ = write!(self.text, "null::{type_name}");
            }
            (Mode::Inline, Some(value)) => {
                // `standard_conforming_strings` is on in every supported release, so doubling quotes is all;
                // Postgres text cannot hold NUL, and a literal that held one would be cut.
                quote_into(&mut self.text, &value.replace('\0', ""), '\'');
                let _ = write!(self.text, "::{type_name}");
            }
        }
        self
    }

    /// A bare string constant, where nothing else will do (`comment on … is`).
    pub fn constant(&mut self, text: &str) -> &mut Sql {
        quote_into(&mut self.text, &text.replace('\0', ""), '\'');
        self
    }

    /// A language's text search configuration, as a constant: functions of it are then worked out when a statement
    /// is planned, and count as immutable in DDL.
    pub fn language(&mut self, language: Language) -> &mut Sql {
        self.constant(&format!("pg_catalog.{}", language.as_str())).raw("::regconfig")
    }

    /// A part that was written by [`Sql::ddl`] and so carries its values in its text.
    pub fn inline(&mut self, part: &Sql) -> &mut Sql {
        debug_assert!(
            part.params.is_empty(),
            "a part with bound values cannot be moved into another statement"
        );
        self.text.push_str(&part.text);
        self
    }

    /// The same statement behind words of ours, as in `explain …`.
    pub fn behind(&self, words: &[&'static str]) -> Sql {
        Sql { text: words.concat() + self.text.as_str(), params: self.params.clone(), ..*self }
    }

    /// The text so far: a statement's shape.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// The bytes of the text and of all values.
    pub fn size(&self) -> usize {
        let values = self.params.iter().filter_map(|param| param.value.as_ref());
        self.text.len() + values.map(String::len).sum::<usize>()
    }

    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }
}

fn quote_into(text: &mut String, inner: &str, quote: char) {
    text.push(quote);
    for (at, part) in inner.split(quote).enumerate() {
        if at > 0 {
            text.push(quote);
            text.push(quote);
        }
        text.push_str(part);
    }
    text.push(quote);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_and_values_travel_beside_the_text() {
        let mut sql = Sql::new();
        let t = sql.fresh();
        let odd = Name::new("we\"ird").unwrap();
        sql.raw("select ").column(t, &odd).raw(" = ").bind_text("it's");
        assert_eq!(sql.text(), "select t0.\"we\"\"ird\" = $1");
        assert_eq!(sql.params(), [Param { oid: 25, value: Some("it's".to_owned()) }]);
        let explained = sql.behind(&["explain ", "(verbose) "]);
        assert_eq!(explained.text(), "explain (verbose) select t0.\"we\"\"ird\" = $1");
        assert_eq!(explained.params(), sql.params());
    }

    #[test]
    fn ddl_carries_values_as_quoted_typed_literals() {
        let mut sql = Sql::ddl();
        sql.raw("check (").name(&Name::new("a").unwrap()).raw(" <> ").bind_text("it's\\").raw(")");
        assert_eq!(sql.text(), "check (\"a\" <> 'it''s\\'::text)");
        assert!(sql.params().is_empty());
    }
}
