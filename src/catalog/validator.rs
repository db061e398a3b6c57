//! [`Validator`]: the JSON Schema of a collection, compiled; every fault of a body at once.
//!
//! Kinds, sizes, ranges, patterns and enum values become JSON Schema keywords; what a number or a text
//! must be *inside* (a uuid, a timestamp) is a format of ours. The same limits stand in the table as
//! constraints: this is for good messages, that is for certainty.

use std::borrow::Cow;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{PatternOptions, ValidationError};
use serde_json::{Map, Value as Json, json};

use crate::condition::pattern::Pattern;
use crate::error::FieldFault;
use crate::model::{Bound, Collection, Decimal, Field, Kind, Scalar, Value};

/// A collection's schema does not compile: a defect of ours, since `project` has checked its parts.
#[derive(Debug, thiserror::Error)]
#[error("the JSON Schema of `{collection}` does not compile: {fault}")]
pub struct ValidatorFault {
    collection: String,
    fault: String,
}

/// Judges the shape of one record of a body. Which fields a caller may send, and which are missing, depends
/// on the rule that lets him write: that is the insert plan's business.
pub struct Validator {
    schema: Json,
    record: jsonschema::Validator,
    /// The schemas of `json` fields: separate documents, so that their `$ref: "#/…"` mean themselves.
    documents: Vec<(String, jsonschema::Validator)>,
    words: Vec<(String, Word)>,
}

/// How messages speak of a field.
#[derive(Clone)]
struct Word {
    kind: Kind,
    values: Option<Vec<String>>,
}

impl Validator {
    pub(super) fn compile(collection: &Collection) -> Result<Validator, ValidatorFault> {
        let fault = |fault: String| ValidatorFault { collection: collection.name.to_string(), fault };
        let properties: Map<String, Json> =
            collection.fields.iter().map(|field| (field.name.to_string(), of_field(field))).collect();
        let schema = json!({ "type": "object", "properties": properties });
        let record = options().build(&schema).map_err(|error| fault(error.to_string()))?;
        let mut documents = Vec::new();
        for field in &collection.fields {
            if let Some(schema) = &field.schema {
                let compiled = options().build(schema).map_err(|error| fault(error.to_string()))?;
                documents.push((field.name.to_string(), compiled));
            }
        }
        let words = collection
            .fields
            .iter()
            .map(|field| (field.name.to_string(), Word { kind: field.kind, values: field.values.clone() }))
            .collect();
        Ok(Validator { schema, record, documents, words })
    }

    /// The schema of one record, as JSON Schema 2020-12 with our formats.
    pub fn schema(&self) -> &Json {
        &self.schema
    }

    /// Every fault of one record of a body. `at` is the record's own pointer: `""`, or `/3` in a bulk insert.
    pub fn faults(&self, record: &Json, at: &str, faults: &mut Vec<FieldFault>) {
        // Most records have no fault, and to find that out is a fraction of the work of collecting faults.
        let errors = (!self.record.is_valid(record)).then(|| self.record.iter_errors(record));
        for error in errors.into_iter().flatten() {
            let pointer = format!("{at}{}", error.instance_path().as_str());
            let field = error.instance_path().as_str().split('/').nth(1).unwrap_or_default();
            let word = self.words.iter().find(|(name, _)| name == field).map(|(_, word)| word);
            let nested = error.instance_path().as_str().matches('/').count() > 1;
            let (code, message) = describe(&error, word, nested);
            faults.push(FieldFault { pointer, code: code.to_owned(), message });
        }
        for (field, schema) in &self.documents {
            let Some(document) = record.get(field).filter(|document| !document.is_null()) else { continue };
            for error in schema.iter_errors(document) {
                faults.push(FieldFault {
                    pointer: format!("{at}/{field}{}", error.instance_path().as_str()),
                    code: "schema".to_owned(),
                    message: error.masked_with("the value").to_string(),
                });
            }
        }
    }
}

/// Linear-time patterns and our own formats; nothing is fetched (the crate is built without it).
fn options() -> jsonschema::ValidationOptions<'static> {
    let parses = |scalar: Scalar| move |text: &str| Value::parse(Kind::one(scalar), text).is_some();
    jsonschema::options()
        .with_draft(jsonschema::Draft::Draft202012)
        .with_pattern_options(PatternOptions::regex())
        .should_validate_formats(true)
        .with_format("basewright-text", |text: &str| !text.contains('\0'))
        .with_format("basewright-uuid", parses(Scalar::Uuid))
        .with_format("basewright-timestamp", parses(Scalar::Timestamp))
        .with_format("basewright-date", parses(Scalar::Date))
        .with_format("basewright-time", parses(Scalar::Time))
        .with_format("basewright-interval", parses(Scalar::Interval))
        .with_format("basewright-bytes", parses(Scalar::Bytes))
        .with_format("basewright-inet", parses(Scalar::Inet))
}

/// The schema of one field's value. Null is always of the right shape; whether it may stand is `required`'s business.
fn of_field(field: &Field) -> Json {
    let mut element = of_scalar(field.kind.scalar);
    if let Some(values) = &field.values {
        let mut allowed: Vec<Json> = values.iter().map(|value| json!(value)).collect();
        allowed.push(Json::Null);
        element.insert("enum".to_owned(), Json::Array(allowed));
    }
    if let Some(pattern) = field.pattern.as_deref().and_then(|pattern| Pattern::parse(pattern).ok()) {
        element.insert("pattern".to_owned(), json!(pattern.to_json_schema()));
    }
    for (bound, sizes, number) in [
        (&field.min, ["minLength", "minItems"], "minimum"),
        (&field.max, ["maxLength", "maxItems"], "maximum"),
    ] {
        match bound {
            Some(Bound::Size(size)) if !field.kind.array && field.kind.scalar == Scalar::Text => {
                element.insert(sizes[0].to_owned(), json!(size));
            }
            Some(Bound::Value(value)) => {
                if let Some(limit) = number_of(value) {
                    element.insert(number.to_owned(), limit);
                }
            }
            // The size of bytes and the range of dates are judged by the table's own checks.
            Some(Bound::Size(_)) | None => {}
        }
    }
    if !field.kind.array {
        return Json::Object(element);
    }
    let mut array = Map::new();
    array.insert("type".to_owned(), json!(["array", "null"]));
    array.insert("items".to_owned(), Json::Object(element));
    if let Some(Bound::Size(size)) = &field.min {
        array.insert("minItems".to_owned(), json!(size));
    }
    if let Some(Bound::Size(size)) = &field.max {
        array.insert("maxItems".to_owned(), json!(size));
    }
    Json::Object(array)
}

/// The shape of one element of a kind. Keywords speak only of the JSON type they know, so `minimum` and
/// `pattern` stand side by side: numbers may also come as numeric text (JavaScript loses large ones).
fn of_scalar(scalar: Scalar) -> Map<String, Json> {
    const WHOLE: &str = r"^[-+]?[0-9]+$";
    const NUMBER: &str = r"^([-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]{1,4})?|NaN|[-+]?Infinity)$";
    let schema = match scalar {
        Scalar::Text => json!({ "type": ["string", "null"], "format": "basewright-text" }),
        Scalar::Integer => {
            json!({ "type": ["integer", "string", "null"], "minimum": i32::MIN, "maximum": i32::MAX, "pattern": WHOLE })
        }
        Scalar::Bigint => {
            json!({ "type": ["integer", "string", "null"], "minimum": i64::MIN, "maximum": i64::MAX, "pattern": WHOLE })
        }
        Scalar::Float | Scalar::Decimal => json!({ "type": ["number", "string", "null"], "pattern": NUMBER }),
        Scalar::Boolean => json!({ "type": ["boolean", "null"] }),
        Scalar::Uuid => json!({ "type": ["string", "null"], "format": "basewright-uuid" }),
        Scalar::Timestamp => json!({ "type": ["string", "null"], "format": "basewright-timestamp" }),
        Scalar::Date => json!({ "type": ["string", "null"], "format": "basewright-date" }),
        Scalar::Time => json!({ "type": ["string", "null"], "format": "basewright-time" }),
        Scalar::Interval => json!({ "type": ["string", "null"], "format": "basewright-interval" }),
        Scalar::Json => json!({}),
        Scalar::Bytes => json!({ "type": ["string", "null"], "format": "basewright-bytes" }),
        Scalar::Inet => json!({ "type": ["string", "null"], "format": "basewright-inet" }),
    };
    match schema {
        Json::Object(map) => map,
        _ => Map::new(),
    }
}

/// A bound as a JSON number, where JSON has one for it.
fn number_of(value: &Value) -> Option<Json> {
    match value {
        Value::Integer(number) => Some(json!(number)),
        Value::Float(number) => number.is_finite().then(|| json!(number)),
        Value::Decimal(Decimal::Finite(number)) => serde_json::from_str(&number.to_string()).ok(),
        Value::Decimal(_) => None,
        Value::Null
        | Value::Text(_)
        | Value::Boolean(_)
        | Value::Uuid(_)
        | Value::Timestamp(_)
        | Value::Date(_)
        | Value::Time(_)
        | Value::Interval(_)
        | Value::Json(_)
        | Value::Bytes(_)
        | Value::Inet(..)
        | Value::Array(_) => None,
    }
}

/// A stable code and a sentence that never echoes the value.
fn describe(error: &ValidationError<'_>, word: Option<&Word>, nested: bool) -> (&'static str, String) {
    let expected = || match word {
        Some(Word { kind, .. }) if kind.array && !nested => {
            format!("must be a list of {}", kind.scalar.yaml())
        }
        Some(Word { kind, .. }) => format!("must be {}", article(kind.scalar.yaml())),
        None => "must be an object".to_owned(),
    };
    match error.kind() {
        ValidationErrorKind::Type { .. } | ValidationErrorKind::Format { .. } => ("kind", expected()),
        ValidationErrorKind::Pattern { .. } if word.is_some_and(|word| word.kind.scalar != Scalar::Text) => {
            ("kind", expected())
        }
        ValidationErrorKind::Pattern { .. } => {
            ("match", "does not have the form that this field asks for".to_owned())
        }
        ValidationErrorKind::Enum { .. } => {
            let values = word.and_then(|word| word.values.as_ref());
            let list = values
                .map(|values| Cow::Owned(values.join(", ")))
                .unwrap_or(Cow::Borrowed("the declared values"));
            ("values", format!("must be one of: {list}"))
        }
        ValidationErrorKind::Minimum { limit } => ("min", format!("must be at least {limit}")),
        ValidationErrorKind::Maximum { limit } => ("max", format!("must be at most {limit}")),
        ValidationErrorKind::MinLength { limit } => ("min", format!("must have at least {limit} characters")),
        ValidationErrorKind::MaxLength { limit } => ("max", format!("must have at most {limit} characters")),
        ValidationErrorKind::MinItems { limit } => ("min", format!("must have at least {limit} elements")),
        ValidationErrorKind::MaxItems { limit } => ("max", format!("must have at most {limit} elements")),
        _ => ("schema", error.masked_with("the value").to_string()),
    }
}

fn article(word: &str) -> String {
    let vowel = word.starts_with(['a', 'e', 'i', 'o']);
    format!("{} {word}", if vowel { "an" } else { "a" })
}
