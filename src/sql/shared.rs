//! [`Shared`]: one statement that does the work of many requests of the same shape.
//!
//! Each value of such a statement is a column of a row `b` that stands for one request, `b.n` is the request's
//! number, and the values of all requests travel as one array a column. What belongs to one caller is thus bound
//! to his own row, his attributes in a policy included.

use std::fmt::Write as _;

use super::{Mode, Param, Sql};
use crate::model::{Kind, Scalar};

/// The text of a shared statement, and what its values are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared {
    text: String,
    /// The types of one request's values.
    oids: Vec<u32>,
}

impl Sql {
    /// A statement whose values are columns of the row `b`, one such row a request. [`Sql::each_request`] says where
    /// the rows come from.
    pub fn shared() -> Sql {
        Sql { mode: Mode::Shared { rows_at: 0 }, ..Sql::new() }
    }

    /// Stands in FROM for the requests: the rows `b`, each with its values and its number `n`, from 1.
    pub fn each_request(&mut self) -> &mut Sql {
        if let Mode::Shared { rows_at } = &mut self.mode {
            *rows_at = self.text.len();
        }
        self
    }
}

/// Postgres takes 1,664 columns of a function in FROM (`MaxTupleAttributeNumber`), the request's number among them.
const MOST_VALUES: usize = 1_663;

impl Shared {
    /// The statement of one request's shape. `None` where there are more values than a row has room for, and where one has
    /// a type that cannot be sent as an array of such values: arrays, whose elements would become those of the others,
    /// and what is no [`Kind`].
    pub fn of(sql: &Sql) -> Option<Shared> {
        let Mode::Shared { rows_at } = sql.mode else { return None };
        let oids: Vec<u32> = sql.params.iter().map(|param| param.oid).collect();
        let fits = (1..=MOST_VALUES).contains(&oids.len());
        if !fits || oids.iter().any(|oid| array_of(*oid).is_none()) {
            return None;
        }
        let (head, tail) = sql.text.split_at_checked(rows_at)?;
        let mut text = String::with_capacity(sql.text.len() + 64 + oids.len() * 10);
        text.push_str(head);
        listed(&mut text, "unnest($", oids.len(), ", $");
        listed(&mut text, ") with ordinality as b(p", oids.len(), ", p");
        text.push_str(", n)");
        text.push_str(tail);
        Some(Shared { text, oids })
    }

    /// A request has values of these types.
    pub fn takes(&self, params: &[Param]) -> bool {
        self.oids.len() == params.len() && self.oids.iter().zip(params).all(|(oid, param)| *oid == param.oid)
    }

    /// The statement for these requests, numbered in this order. Each has to be one that [`Shared::takes`].
    pub fn together<'a>(&self, requests: impl Iterator<Item = &'a [Param]> + Clone) -> Sql {
        let params = self.oids.iter().enumerate().map(|(at, oid)| {
            let values =
                requests.clone().map(|params| params.get(at).and_then(|param| param.value.as_deref()));
            Param { oid: array_of(*oid).unwrap_or(*oid), value: Some(array_literal(values)) }
        });
        Sql { text: self.text.clone(), params: params.collect(), mode: Mode::Bound, aliases: 0 }
    }
}

/// `before1between2between3`
fn listed(text: &mut String, before: &'static str, count: usize, between: &'static str) {
    for at in 1..=count {
        // Writing to a String cannot fail.
        let _ = write!(text, "{}{at}", if at == 1 { before } else { between });
    }
}

/// The type of an array of such values.
fn array_of(oid: u32) -> Option<u32> {
    let found = Scalar::all().find(|scalar| Kind::one(*scalar).oid() == oid)?;
    Some(Kind::many(found).oid())
}

/// A Postgres array literal; `None` is NULL. Every element is quoted, so that `NULL` can be text and nothing splits.
pub fn array_literal<'a>(elements: impl Iterator<Item = Option<&'a str>>) -> String {
    let mut literal = String::from("{");
    for (at, element) in elements.enumerate() {
        if at > 0 {
            literal.push(',');
        }
        let Some(mut rest) = element else {
            literal.push_str("NULL");
            continue;
        };
        literal.push('"');
        while let Some(special) = rest.find(['"', '\\']) {
            literal.push_str(&rest[..special]);
            literal.push('\\');
            literal.push_str(&rest[special..=special]);
            rest = &rest[special + 1..];
        }
        literal.push_str(rest);
        literal.push('"');
    }
    literal.push('}');
    literal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(id: i64, name: Option<&str>) -> Sql {
        let mut sql = Sql::shared();
        sql.raw("select b.n, r.* from ").each_request().raw(" cross join lateral (select ");
        sql.bind(Kind::BIGINT, Some(id.to_string())).raw(", ").bind(Kind::TEXT, name.map(str::to_owned));
        sql.raw(") as r");
        sql
    }

    #[test]
    fn each_requests_values_stand_in_a_row_of_its_own() {
        let (one, other) = (request(1, Some("it's \"a\\b\"")), request(2, None));
        let shared = Shared::of(&one).unwrap();
        assert_eq!(one.text(), other.text());
        assert!(shared.takes(other.params()));
        let both = shared.together([one.params(), other.params()].into_iter());
        assert_eq!(
            both.text(),
            "select b.n, r.* from unnest($1, $2) with ordinality as b(p1, p2, n) cross join lateral (select b.p1, b.p2) as r"
        );
        assert_eq!(both.params()[0], Param { oid: 1016, value: Some(r#"{"1","2"}"#.to_owned()) });
        assert_eq!(
            both.params()[1],
            Param { oid: 1009, value: Some(r#"{"it's \"a\\b\"",NULL}"#.to_owned()) }
        );
    }

    #[test]
    fn a_shape_with_an_array_or_a_foreign_type_is_not_shared() {
        let mut sql = Sql::shared();
        sql.each_request().bind(Kind::many(Scalar::Text), Some("{}".to_owned()));
        assert_eq!(Shared::of(&sql), None);
        let mut sql = Sql::shared();
        sql.each_request().bind_typed(114, "json", Some("{}".to_owned()));
        assert_eq!(Shared::of(&sql), None);
        assert_eq!(
            Shared::of(Sql::shared().each_request()),
            None,
            "there is nothing to tell requests apart by"
        );
        for (values, is_shared) in [(MOST_VALUES, true), (MOST_VALUES + 1, false)] {
            let mut sql = Sql::shared();
            sql.raw("select 1 from ").each_request();
            for _ in 0..values {
                sql.bind_text("a");
            }
            assert_eq!(Shared::of(&sql).is_some(), is_shared, "{values} values");
        }
        assert_eq!(Shared::of(&Sql::new()), None);
    }
}
