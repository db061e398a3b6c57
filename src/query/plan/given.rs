//! How the values of a body enter a statement.
//!
//! A body of many records goes as one JSON parameter that Postgres takes apart. For a single record that costs
//! more than the write itself, so its values are bound one by one, each as the very text that
//! `json_to_recordset` would hand to its type's input function: what is stored, and what is refused, is the same.
//! Where the two could differ, the record goes as JSON.

use serde_json::value::RawValue;

use crate::model::{Collection, FieldId, Kind, Scalar};
use crate::query::body::{Body, Members};
use crate::sql::array_literal;

/// The values of a write.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Given {
    /// One record: for each column its value as Postgres' text, `None` for NULL.
    Bound(Vec<Option<String>>),
    /// A JSON array of records.
    Json(String),
}

impl Given {
    /// One record, bound where that is exact. `names` are the members' names, in the order of `columns`.
    pub(super) fn one(
        collection: &Collection,
        columns: &[FieldId],
        record: &Members,
        names: &[String],
    ) -> Option<Given> {
        let values = columns.iter().zip(names).map(|(field, name)| match record.get(name) {
            None => Some(None),
            Some(raw) => text(collection.field(*field).kind, raw),
        });
        values.collect::<Option<Vec<_>>>().map(Given::Bound)
    }

    /// Any records, as JSON. `names` are the members' names, in the order of `columns`; `flags` as in [`Body::payload`].
    pub(super) fn json(
        collection: &Collection,
        columns: &[FieldId],
        body: &Body,
        names: &[String],
        flags: &[(usize, String)],
    ) -> Given {
        let nests = |at: usize| {
            let kind = columns.get(at).map(|field| collection.field(*field).kind);
            kind.filter(|kind| kind.array && kind.scalar == Scalar::Json)
        };
        // Postgres takes an array inside of an array for another dimension, but a string for the array's own text.
        let written = |at: usize, raw: &RawValue| {
            let literal = nests(at).and_then(|kind| text(kind, raw))??;
            Some(serde_json::Value::from(literal).to_string())
        };
        let some_nest = (0..columns.len()).any(|at| nests(at).is_some());
        Given::Json(body.payload(names, flags, some_nest.then_some(&written)))
    }
}

/// The text of one JSON value for a column of a kind: `Some(None)` is NULL, `None` is for Postgres to find out.
fn text(kind: Kind, raw: &RawValue) -> Option<Option<String>> {
    let raw = raw.get();
    if raw == "null" {
        return Some(None);
    }
    if kind.array {
        return array(kind.element(), raw).map(Some);
    }
    scalar(kind, raw).map(Some)
}

/// A JSON value that is not null, as text of a kind that is no array.
fn scalar(kind: Kind, raw: &str) -> Option<String> {
    match (kind.scalar, raw.as_bytes().first()?) {
        // What JSON is stays as it was written.
        (Scalar::Json, _) => Some(raw.to_owned()),
        (_, b'"') => {
            // Half a surrogate pair is no text; a NUL is refused in other words as text than as JSON.
            let text: String = serde_json::from_str(raw).ok()?;
            (!text.contains('\0')).then_some(text)
        }
        (_, b'{' | b'[') => None,
        (_, _) => Some(raw.to_owned()),
    }
}

/// A JSON array as an array literal of one dimension; there are no others here.
fn array(element: Kind, raw: &str) -> Option<String> {
    if !raw.starts_with('[') {
        return None;
    }
    let elements: Vec<&RawValue> = serde_json::from_str(raw).ok()?;
    let texts = elements.iter().map(|raw| match raw.get() {
        "null" => Some(None),
        plain => scalar(element, plain).map(Some),
    });
    let texts: Vec<Option<String>> = texts.collect::<Option<_>>()?;
    Some(array_literal(texts.iter().map(Option::as_deref)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(kind: Kind, json: &str) -> Option<Option<String>> {
        text(kind, &serde_json::from_str::<Box<RawValue>>(json).unwrap())
    }

    #[test]
    fn a_value_is_bound_as_the_text_that_postgres_would_make_of_its_json() {
        let one = Kind::one;
        for (kind, json, text) in [
            (one(Scalar::Decimal), "12345678901234567890.10", "12345678901234567890.10"),
            (one(Scalar::Integer), "\"7\"", "7"),
            (one(Scalar::Float), "1E+2", "1E+2"),
            (Kind::BOOLEAN, "true", "true"),
            (Kind::TEXT, r#""a\n\"b\u00e9\ud83d\ude00""#, "a\n\"bé😀"),
            (Kind::JSON, r#""a\u00e9""#, r#""a\u00e9""#),
            (Kind::JSON, r#"{"a": [1.0, null]}"#, r#"{"a": [1.0, null]}"#),
            (
                Kind::many(Scalar::Text),
                r#"["a,b", "", "NULL", null, "\\\"{}"]"#,
                r#"{"a,b","","NULL",NULL,"\\\"{}"}"#,
            ),
            (Kind::many(Scalar::Integer), "[ 1 , -2 ]", r#"{"1","-2"}"#),
            (Kind::many(Scalar::Json), r#"[{"a":1}, "b", null]"#, r#"{"{\"a\":1}","\"b\"",NULL}"#),
            (Kind::many(Scalar::Json), "[[1, [null]], []]", r#"{"[1, [null]]","[]"}"#),
            (Kind::many(Scalar::Text), "[]", "{}"),
        ] {
            assert_eq!(bound(kind, json), Some(Some(text.to_owned())), "{kind} {json}");
        }
        assert_eq!(bound(Kind::JSON, "null"), Some(None));
    }

    #[test]
    fn what_text_could_not_say_the_same_way_goes_as_json() {
        for (kind, json) in [
            (Kind::TEXT, r#""\ud800""#),
            (Kind::TEXT, r#""a\u0000""#),
            (Kind::TEXT, r#"{"a": 1}"#),
            (Kind::UUID, "[]"),
            (Kind::many(Scalar::Integer), "[[1],[2]]"),
            (Kind::many(Scalar::Text), r#""{a}""#),
            (Kind::many(Scalar::Text), r#"["\u0000"]"#),
        ] {
            assert_eq!(bound(kind, json), None, "{kind} {json}");
        }
    }
}
