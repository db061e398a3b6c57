//! Values that come as bare text, in a CSV or a form → the JSON that would have said the same.
//!
//! What a text means depends on its field: `{a,b}` is a list in a `text[]`, and a text in a `text`. A text that is
//! none of its field's kind stays a JSON string, which is then judged like any other.

use serde_json::Value as Json;
use serde_json::value::RawValue;

use super::measure;
use crate::catalog::Limits;
use crate::error::{Code, Error};
use crate::model::text::elements;
use crate::model::{Kind, Scalar, Value};

/// Turns texts into JSON, within the limits that hold for a JSON body.
pub(super) struct Texts<'a> {
    limits: &'a Limits,
    /// The kind of a field that the caller may name. All others are alike, there or not.
    kind_of: &'a dyn Fn(&str) -> Option<Kind>,
    records: usize,
    members: usize,
    /// Of the body as JSON: few lines can repeat long names many times.
    bytes: usize,
}

impl<'a> Texts<'a> {
    pub(super) fn new(limits: &'a Limits, kind_of: &'a dyn Fn(&str) -> Option<Kind>) -> Texts<'a> {
        Texts { limits, kind_of, records: 0, members: 0, bytes: 0 }
    }

    /// Counts one more record.
    pub(super) fn another_record(&mut self) -> Result<(), Error> {
        self.records += 1;
        if self.records > self.limits.bulk_rows {
            return Err(super::too_many("records", self.limits.bulk_rows));
        }
        Ok(())
    }

    /// The JSON of a member; `None` is null.
    pub(super) fn member(&mut self, name: &str, text: Option<&str>) -> Result<Box<RawValue>, Error> {
        let json = match text {
            None => "null".to_owned(),
            Some(text) => self.json((self.kind_of)(name), text)?,
        };
        self.members += 1;
        self.bytes += name.len() + json.len() + 4;
        if self.members > self.limits.json_keys {
            return Err(super::too_many("members", self.limits.json_keys));
        }
        if self.bytes > self.limits.body {
            return Err(Error::new(Code::PayloadTooLarge)
                .details(format!("The limit is {} bytes of the same as JSON.", self.limits.body)));
        }
        RawValue::from_string(json).map_err(Error::internal)
    }

    fn json(&mut self, kind: Option<Kind>, text: &str) -> Result<String, Error> {
        let string = || Json::from(text).to_string();
        let Some(kind) = kind else { return Ok(string()) };
        if kind.array {
            let Some(elements) = elements(text) else { return Ok(string()) };
            let element = Kind::one(kind.scalar);
            let mut list = String::from("[");
            for (at, text) in elements.iter().enumerate() {
                if at > 0 {
                    list.push(',');
                }
                match text {
                    None => list.push_str("null"),
                    Some(text) => list.push_str(&self.json(Some(element), text)?),
                }
            }
            list.push(']');
            return Ok(list);
        }
        Ok(match kind.scalar {
            Scalar::Integer | Scalar::Bigint | Scalar::Float | Scalar::Decimal if is_number(text) => {
                text.to_owned()
            }
            Scalar::Boolean => match Value::parse(kind, text) {
                Some(Value::Boolean(value)) => value.to_string(),
                Some(_) | None => string(),
            },
            Scalar::Json => match serde_json::from_str::<&RawValue>(text) {
                Ok(json) => {
                    let (depth, members) = measure(text);
                    if depth > self.limits.json_depth {
                        return Err(super::too_deep(self.limits.json_depth));
                    }
                    self.members += members;
                    json.get().to_owned()
                }
                Err(_) => string(),
            },
            Scalar::Integer
            | Scalar::Bigint
            | Scalar::Float
            | Scalar::Decimal
            | Scalar::Text
            | Scalar::Uuid
            | Scalar::Timestamp
            | Scalar::Date
            | Scalar::Time
            | Scalar::Interval
            | Scalar::Bytes
            | Scalar::Inet => string(),
        })
    }
}

/// A number as JSON writes it.
fn is_number(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit() || first == '-')
        && text.ends_with(|last: char| last.is_ascii_digit())
        && serde_json::from_str::<&RawValue>(text).is_ok()
}
