//! `order`: `a.desc.nullsfirst, data->>k.asc, relation(field).desc`.

use super::Fault;
use super::cursor::{self, Cursor, Stop};
use crate::query::request::Order;

pub(super) fn terms(text: &str) -> Result<Vec<Order>, Fault> {
    cursor::whole("order", text, |cursor| {
        let mut terms = Vec::new();
        loop {
            cursor.spaces();
            terms.push(term(cursor)?);
            cursor.spaces();
            if !cursor.eat(',') {
                return Ok(terms);
            }
        }
    })
}

fn term(cursor: &mut Cursor<'_>) -> Result<Order, Stop> {
    let name = cursor.name()?;
    let (relation, path) = if cursor.eat('(') {
        cursor.spaces();
        let path = cursor.field()?;
        cursor.spaces();
        cursor.expect(')', "\")\"")?;
        (Some(name), path)
    } else {
        (None, cursor.path(name)?)
    };
    let mut descending = None;
    let mut nulls_first = None;
    while cursor.peek() == Some('.') {
        let before = cursor.clone();
        cursor.eat('.');
        match cursor.take_while(|letter| letter.is_ascii_lowercase()) {
            "asc" if descending.is_none() && nulls_first.is_none() => descending = Some(false),
            "desc" if descending.is_none() && nulls_first.is_none() => descending = Some(true),
            "nullsfirst" if nulls_first.is_none() => nulls_first = Some(true),
            "nullslast" if nulls_first.is_none() => nulls_first = Some(false),
            _ => {
                return Err(before
                    .stop("\",\", \".asc\", \".desc\", \".nullsfirst\", \".nullslast\" or end of input"));
            }
        }
    }
    Ok(Order { relation, path, descending: descending.unwrap_or(false), nulls_first })
}
