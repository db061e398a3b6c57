//! A body → records of raw values.
//!
//! Values stay as the caller wrote them (a decimal keeps its digits); what is looked at here is structure:
//! one object or an array of objects, no member twice, depth and size within limits. A CSV and a form become
//! what the same would be as JSON.

mod csv;
mod form;
mod text;
#[cfg(test)]
mod text_tests;

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value as Json;
use serde_json::value::RawValue;

use crate::catalog::Limits;
use crate::error::{Code, Error};
use crate::model::Kind;

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    /// `text/csv`
    Csv,
    /// `application/x-www-form-urlencoded`
    Form,
}

/// The records of a body.
#[derive(Debug)]
pub struct Body {
    pub records: Vec<Members>,
    /// It was one object, not an array.
    pub single: bool,
    /// Of a JSON body: as it came.
    text: Option<String>,
}

/// The members of one record, in the caller's order.
#[derive(Debug)]
pub struct Members(Vec<(String, Box<RawValue>)>);

impl Members {
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    pub fn get(&self, name: &str) -> Option<&RawValue> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// The record as a JSON value, for validation. A number beyond every double stands as the largest one: its
    /// kind and its bounds are judged by that, and what is stored are the caller's own digits.
    ///
    /// `unreadable` are the members that are JSON in form and hold what no value can (half of a surrogate pair,
    /// such a number inside of an array or object). They are not in the value.
    pub fn to_value(&self) -> (Json, Vec<&str>) {
        let mut unreadable = Vec::new();
        let mut members = serde_json::Map::new();
        for (name, value) in &self.0 {
            let text = value.get();
            match serde_json::from_str(text).ok().or_else(|| huge(text)) {
                Some(value) => {
                    members.insert(name.clone(), value);
                }
                None => unreadable.push(name.as_str()),
            }
        }
        (Json::Object(members), unreadable)
    }
}

/// What stands for a number that is too large for the parser. The text is one JSON token, and was refused.
fn huge(text: &str) -> Option<Json> {
    match text.as_bytes().first()? {
        b'-' => Some(Json::from(f64::MIN)),
        b'0'..=b'9' => Some(Json::from(f64::MAX)),
        _ => None,
    }
}

impl Body {
    /// Reads a body whose values are bare texts, which `kind_of` a field tells how to take.
    ///
    /// # Errors
    /// PGRST102 for what is not written so, names a member twice, or is over a limit.
    pub fn of_texts(
        format: Format,
        bytes: &[u8],
        limits: &Limits,
        kind_of: &dyn Fn(&str) -> Option<Kind>,
    ) -> Result<Body, Error> {
        let text = || std::str::from_utf8(bytes).map_err(|_| not_utf8());
        let mut texts = text::Texts::new(limits, kind_of);
        match format {
            Format::Json => Body::parse(bytes, limits),
            Format::Csv => {
                Ok(Body { records: csv::records(text()?, &mut texts)?, single: false, text: None })
            }
            Format::Form => {
                Ok(Body { records: vec![form::record(text()?, &mut texts)?], single: true, text: None })
            }
        }
    }

    /// Reads a JSON body.
    ///
    /// # Errors
    /// PGRST102 for what is no JSON, no object and no array of objects, names a member twice, or is over a limit.
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Body, Error> {
        let text = std::str::from_utf8(bytes).map_err(|_| not_utf8())?;
        let (depth, members) = measure(text);
        if depth > limits.json_depth {
            return Err(too_deep(limits.json_depth));
        }
        if members > limits.json_keys {
            return Err(too_many("members", limits.json_keys));
        }
        let single = match text.trim_start().as_bytes().first() {
            Some(b'{') => true,
            Some(b'[') => false,
            _ => return Err(Error::new(Code::Body)),
        };
        let parse_fault = |error: serde_json::Error| {
            // The parser's own sentence names line and column and, for a member named twice, the member.
            Error::new(Code::Body).details(error.to_string())
        };
        let records = if single {
            vec![serde_json::from_str::<Members>(text).map_err(parse_fault)?]
        } else {
            serde_json::from_str::<Vec<Members>>(text).map_err(parse_fault)?
        };
        if records.len() > limits.bulk_rows {
            return Err(too_many("records", limits.bulk_rows));
        }
        Ok(Body { records, single, text: Some(text.to_owned()) })
    }

    /// The records as a JSON array of just these members. A flag `(column, name)` adds `name: true` to each record
    /// that lacks the column; `written` says what stands in place of a column's value, if anything does.
    pub(crate) fn payload(
        &self,
        columns: &[String],
        flags: &[(usize, String)],
        written: Option<&Written<'_>>,
    ) -> String {
        let whole = |record: &Members| {
            record.0.len() <= columns.len()
                && record.names().all(|name| columns.iter().any(|column| column == name))
        };
        if let (Some(text), true, None) = (&self.text, flags.is_empty(), written)
            && self.records.iter().all(whole)
        {
            // Nothing is to be left out: of many records that is a good part of the work.
            return if self.single { format!("[{text}]") } else { text.clone() };
        }
        chosen(&self.records, columns, flags, written)
    }
}

fn not_utf8() -> Error {
    Error::with(Code::Body, "The body is not UTF-8")
}

fn too_deep(most: usize) -> Error {
    Error::with(Code::Body, format!("The body is nested deeper than {most} levels"))
}

fn too_many(what: &str, most: usize) -> Error {
    Error::with(Code::Body, format!("The body has more than {most} {what}"))
}

/// How deep a JSON text nests and how many members its objects have; right for well-formed text, harmless for other.
fn measure(text: &str) -> (usize, usize) {
    let (mut depth, mut deepest, mut members) = (0_usize, 0_usize, 0_usize);
    let (mut in_string, mut escaped) = (false, false);
    for byte in text.bytes() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b':' => members += 1,
            _ => {}
        }
    }
    (deepest, members)
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members: Vec<(String, Box<RawValue>)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    if members.iter().any(|(known, _)| *known == name) {
                        return Err(serde::de::Error::custom(format!("member {name:?} stands twice")));
                    }
                    // A record has no more members than a collection has fields.
                    if members.len() > crate::model::MAX_FIELDS {
                        return Err(serde::de::Error::custom("a record has too many members"));
                    }
                    members.push((name, value));
                }
                Ok(Members(members))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Members, A::Error> {
                Err(serde::de::Error::custom("expected an object, found an array"))
            }
        }
        deserializer.deserialize_any(Object)
    }
}

/// What stands in place of a column's value, if anything does.
type Written<'a> = dyn Fn(usize, &RawValue) -> Option<String> + 'a;

/// See [`Body::payload`].
fn chosen(
    records: &[Members],
    columns: &[String],
    flags: &[(usize, String)],
    written: Option<&Written<'_>>,
) -> String {
    let quoted = |name: &str| Json::from(name).to_string();
    let columns: Vec<(&str, String)> =
        columns.iter().map(|column| (column.as_str(), quoted(column))).collect();
    let flags: Vec<(usize, String)> = flags.iter().map(|(column, flag)| (*column, quoted(flag))).collect();
    let mut out = String::from("[");
    for (at, record) in records.iter().enumerate() {
        out.push_str(if at > 0 { ",{" } else { "{" });
        let mut first = true;
        let mut member = |out: &mut String, name: &str, value: &str| {
            if !std::mem::take(&mut first) {
                out.push(',');
            }
            out.push_str(name);
            out.push(':');
            out.push_str(value);
        };
        for (at, (column, name)) in columns.iter().enumerate() {
            if let Some(value) = record.get(column) {
                match written.and_then(|written| written(at, value)) {
                    Some(text) => member(&mut out, name, &text),
                    None => member(&mut out, name, value.get()),
                }
            }
        }
        for (column, flag) in &flags {
            if columns.get(*column).is_some_and(|(column, _)| record.get(column).is_none()) {
                member(&mut out, flag, "true");
            }
        }
        out.push('}');
    }
    out.push(']');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        let error = Body::parse(text.as_bytes(), &Limits::default()).unwrap_err();
        assert_eq!(error.code, Code::Body, "{text}");
        format!("{} {}", error.message, error.details.unwrap_or_default())
    }

    #[test]
    fn a_decimal_keeps_its_digits_on_the_way_to_the_database() {
        let body = Body::parse(br#"{"price": 12345678901234567890.10, "x": 1}"#, &Limits::default()).unwrap();
        assert!(body.single);
        assert_eq!(body.payload(&["price".to_owned()], &[], None), r#"[{"price":12345678901234567890.10}]"#);
    }

    #[test]
    fn a_member_that_stands_twice_is_refused() {
        assert!(refusal(r#"{"a": 1, "a": 2}"#).contains("stands twice"));
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for text in
            ["", "  ", "null", "1", "\"a\"", "{", "[1]", "[[]]", "[{}, null]", "{\"a\":}", "\u{feff}{}"]
        {
            refusal(text);
        }
        assert!(refusal(&format!("{}1{}", "[".repeat(70), "]".repeat(70))).contains("nested deeper"));
        assert!(Body::parse(b"{\"a\": \"\xff\"}", &Limits::default()).is_err());
    }

    #[test]
    fn what_cannot_be_judged_is_told_and_never_taken_for_null() {
        let body = |text: &str| Body::parse(text.as_bytes(), &Limits::default()).unwrap();
        for text in [
            r#"{"a":"\ud800"}"#,
            r#"{"a":"\udc00x"}"#,
            r#"{"a":["\ud800"]}"#,
            r#"{"a":{"b":1e400}}"#,
            r#"{"a":[-1e400]}"#,
        ] {
            let body = body(text);
            assert_eq!(body.records[0].to_value(), (serde_json::json!({}), vec!["a"]), "{text}");
        }
        // A decimal may be larger than a double: it is a number all the same, and larger than every bound.
        assert_eq!(
            body(r#"{"a":1e400,"b":-1e400}"#).records[0].to_value(),
            (serde_json::json!({ "a": f64::MAX, "b": f64::MIN }), vec![])
        );
    }

    #[test]
    fn a_body_that_holds_just_what_is_asked_for_goes_on_as_it_came_and_another_one_without_the_rest() {
        let body = |text: &str| Body::parse(text.as_bytes(), &Limits::default()).unwrap();
        let columns = ["a".to_owned(), "b".to_owned()];
        assert_eq!(body(r#"{"b" : 1}"#).payload(&columns, &[], None), r#"[{"b" : 1}]"#);
        assert_eq!(body(r#"[{"a": 1,"b":2}, {}]"#).payload(&columns, &[], None), r#"[{"a": 1,"b":2}, {}]"#);
        assert_eq!(
            body(r#"[{"a":1}, {"c":"\u0000","b": 2}]"#).payload(&columns, &[], None),
            r#"[{"a":1},{"b":2}]"#,
            "a member that nobody asked for could be refused by Postgres"
        );
    }

    #[test]
    fn absent_members_are_flagged_where_a_default_is_asked_for() {
        let body = Body::parse(br#"[{"a":1},{"b":2}]"#, &Limits::default()).unwrap();
        let columns = ["a".to_owned(), "b".to_owned()];
        let flags = [(0, "?a".to_owned()), (1, "?b".to_owned())];
        assert_eq!(body.payload(&columns, &flags, None), r#"[{"a":1,"?b":true},{"b":2,"?a":true}]"#);
    }
}
