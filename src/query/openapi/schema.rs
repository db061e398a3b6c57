//! Kinds as JSON Schema: records as they are answered, bodies as they are taken.
//!
//! Both start from the schema that judges bodies, so that they cannot say anything else than it does.

use serde_json::{Map, Value as Json, json};

use super::View;
use crate::model::{Action, Bound, DefaultValue, Field, FieldId, Kind, Scalar, Value};
use crate::policy::Permit;
use crate::query::view::Absent;

/// A schema of the document's components.
pub(super) fn reference(key: &str) -> Json {
    json!({ "$ref": format!("#/components/schemas/{key}") })
}

/// The dialect's errors.
pub(super) fn error() -> Json {
    json!({
        "type": "object",
        "required": ["code", "message", "details", "hint"],
        "properties": {
            "code": { "type": "string", "description": "Stable; a SQLSTATE where the database refused." },
            "message": { "type": "string" },
            "details": { "description": "More about it: text, or a list of relationships that were meant alike." },
            "hint": { "type": ["string", "null"] },
            "fields": {
                "type": "array",
                "description": "Every fault of the body.",
                "items": {
                    "type": "object",
                    "required": ["pointer", "code", "message"],
                    "properties": {
                        "pointer": { "type": "string", "format": "json-pointer" },
                        "code": { "type": "string" },
                        "message": { "type": "string" },
                    },
                },
            },
            "request_id": { "type": "string" },
        },
    })
}

/// The schema of a record without the members that are null.
pub(super) fn stripped_key(collection: &str) -> String {
    format!("{collection}.stripped")
}

impl View<'_> {
    /// A whole record as a read answers it.
    pub(super) fn record(&self, read: &Permit) -> Json {
        let mut properties = Map::new();
        for (id, nullable) in self.answered(read) {
            let field = self.collection.field(id);
            let mut schema = self.of_field(field, Direction::Out, nullable);
            let mut said: Vec<String> = Vec::new();
            if self.collection.primary_key.contains(&id) {
                said.push("Part of the key.".to_owned());
            }
            if read.mask(id).is_some() {
                said.push("Null on records that hide it from the caller.".to_owned());
            }
            said.extend(self.embeds.iter().filter(|embed| embed.by == Some(id)).map(|embed| {
                let (name, target) = (&embed.name, &embed.target);
                format!("The key of a record of `{target}`, which `{name}(…)` in `select` embeds.")
            }));
            describe(&mut schema, &said);
            properties.insert(field.name.to_string(), schema);
        }
        let known = self.answered(read).map(|(id, _)| self.collection.field(id).name.as_str());
        let required: Vec<&str> = known.collect();
        let mut schema = json!({ "type": "object", "properties": properties, "required": required });
        let said = self.embeds.iter().filter(|embed| embed.by.is_none()).map(|embed| {
            let (name, target) = (&embed.name, &embed.target);
            let what = if embed.to_one { "the one record" } else { "the records" };
            format!("`{name}(…)` in `select` embeds {what} of `{target}` that refer to it.")
        });
        describe(&mut schema, &said.collect::<Vec<_>>());
        schema
    }

    /// The same record where members that are null are left out: which ones nobody can know.
    pub(super) fn stripped(&self, read: &Permit) -> Json {
        let member = |(field, _): (FieldId, bool)| {
            let name = self.collection.field(field).name.as_str();
            (name.to_owned(), reference(&format!("{}/properties/{name}", self.name())))
        };
        json!({ "type": "object", "properties": self.answered(read).map(member).collect::<Map<_, _>>() })
    }

    /// A record of a body. One rule must cover all of its members; they are together here.
    pub(super) fn written(&self, permit: &Permit) -> Json {
        let create = permit.action() == Action::Create;
        let rules = permit.rules();
        let mut properties = Map::new();
        let mut required = Vec::new();
        for (id, absent) in self.offered(permit) {
            let field = self.collection.field(id);
            let mut schema = self.of_field(field, Direction::In, !field.required);
            if create && absent == Absent::Fine {
                match &field.default {
                    Some(DefaultValue::Literal(value)) => {
                        insert(&mut schema, "default", written(value));
                    }
                    Some(DefaultValue::Attribute(_) | DefaultValue::Now | DefaultValue::UuidV7) => {
                        describe(&mut schema, &["Filled in where it is left out.".to_owned()]);
                    }
                    None => {}
                }
            }
            if absent == Absent::Refused {
                required.push(field.name.as_str());
            }
            properties.insert(field.name.to_string(), schema);
        }
        let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        if rules.len() > 1 {
            describe(&mut schema, &["One rule must cover all members that are sent.".to_owned()]);
        }
        schema
    }

    fn of_field(&self, field: &Field, direction: Direction, nullable: bool) -> Json {
        if let Some(schema) = field.schema.as_deref().filter(|_| !field.kind.array) {
            return self.document(field, schema, nullable);
        }
        let judged = self.catalog.validator(self.id).schema();
        let mut schema = match &judged["properties"][field.name.as_str()] {
            Json::Object(schema) => schema.clone(),
            _ => Map::new(),
        };
        if let Some(Json::Object(items)) = schema.get_mut("items") {
            element(items, field.kind.element(), direction, true);
            nulls(&mut schema, nullable);
        } else {
            element(&mut schema, field.kind, direction, nullable);
        }
        if matches!(field.kind, Kind { scalar: Scalar::Bytes, array: false }) {
            // Two digits a byte, after `\x`.
            for (bound, keyword) in [(&field.min, "minLength"), (&field.max, "maxLength")] {
                if let Some(Bound::Size(size)) = bound {
                    schema.insert(keyword.to_owned(), json!(2 + 2 * size));
                }
            }
        }
        Json::Object(schema)
    }

    /// The JSON Schema of a `json` field. Its own references mean itself: an `$id` makes it a document of its own.
    fn document(&self, field: &Field, schema: &Json, nullable: bool) -> Json {
        let mut schema = schema.clone();
        if let Json::Object(members) = &mut schema
            && refers(&Json::Object(members.clone()))
        {
            let id = format!("urn:basewright:{}:{}", self.name(), field.name);
            members.entry("$id").or_insert_with(|| json!(id));
        }
        match (nullable, schema) {
            (true, schema) => json!({ "anyOf": [schema, { "type": "null" }] }),
            (false, Json::Object(members)) => Json::Object(members),
            // `true`: anything.
            (false, _) => json!({}),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    /// As Postgres prints values: numbers are numbers, but for those that JSON has no number for.
    Out,
    /// As bodies may write them.
    In,
}

/// Turns the schema that judges one value into what the document says of it.
fn element(schema: &mut Map<String, Json>, kind: Kind, direction: Direction, nullable: bool) {
    // Ours, which say more than the registered ones: those are annotations.
    let format = schema.remove("format").and_then(|format| match format.as_str() {
        Some("basewright-uuid") => Some("uuid"),
        Some("basewright-timestamp") => Some("date-time"),
        Some("basewright-date") => Some("date"),
        Some("basewright-time") => Some("time-local"),
        _ => None,
    });
    if let Some(format) = format {
        schema.insert("format".to_owned(), json!(format));
    }
    match (kind.scalar, direction) {
        (Scalar::Integer | Scalar::Bigint, Direction::Out) => {
            schema.insert("type".to_owned(), json!(["integer", "null"]));
            schema.remove("pattern");
        }
        (Scalar::Float | Scalar::Decimal, Direction::Out) => {
            schema.insert("pattern".to_owned(), json!("^(NaN|-?Infinity)$"));
        }
        (Scalar::Bytes, Direction::Out) => {
            schema.insert("pattern".to_owned(), json!(r"^\\x([0-9a-f]{2})*$"));
        }
        (Scalar::Bytes, Direction::In) => {
            schema.insert("pattern".to_owned(), json!(r"^\\x([0-9a-fA-F]{2})*$"));
        }
        (Scalar::Interval, _) => describe_map(schema, "As Postgres writes it: `1 day 02:00:00`."),
        (Scalar::Inet, _) => describe_map(schema, "An address or a network: `10.0.0.0/8`."),
        (
            Scalar::Text
            | Scalar::Boolean
            | Scalar::Uuid
            | Scalar::Timestamp
            | Scalar::Date
            | Scalar::Time
            | Scalar::Json,
            _,
        )
        | (Scalar::Integer | Scalar::Bigint | Scalar::Float | Scalar::Decimal, Direction::In) => {}
    }
    nulls(schema, nullable);
}

/// Takes null out of what may stand there, and a list of one type out of its list.
fn nulls(schema: &mut Map<String, Json>, nullable: bool) {
    if nullable {
        return;
    }
    if let Some(Json::Array(types)) = schema.get_mut("type") {
        types.retain(|one| one != "null");
        if let [only] = &types[..] {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Json::Array(values)) = schema.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
}

/// The schema refers to a part of itself.
fn refers(schema: &Json) -> bool {
    match schema {
        Json::Object(members) => {
            members.iter().any(|(key, value)| matches!(key.as_str(), "$ref" | "$dynamicRef") || refers(value))
        }
        Json::Array(items) => items.iter().any(refers),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => false,
    }
}

fn insert(schema: &mut Json, key: &str, value: Json) {
    if let Json::Object(members) = schema {
        members.insert(key.to_owned(), value);
    }
}

fn describe_map(schema: &mut Map<String, Json>, text: &str) {
    schema.insert("description".to_owned(), json!(text));
}

/// A value as a body would write it.
pub(in crate::query) fn written(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Boolean(truth) => json!(truth),
        Value::Json(document) => document.clone(),
        Value::Array(elements) => elements.iter().map(written).collect(),
        Value::Integer(_) | Value::Float(_) | Value::Decimal(_) => {
            let text = value.to_text().unwrap_or_default();
            // What JSON has no number for is written as text.
            serde_json::from_str(&text).unwrap_or(Json::String(text))
        }
        Value::Text(_)
        | Value::Uuid(_)
        | Value::Timestamp(_)
        | Value::Date(_)
        | Value::Time(_)
        | Value::Interval(_)
        | Value::Bytes(_)
        | Value::Inet(..) => json!(value.to_text()),
    }
}

/// Adds sentences to a description.
fn describe(schema: &mut Json, said: &[String]) {
    if said.is_empty() {
        return;
    }
    let before = schema.get("description").and_then(Json::as_str).unwrap_or_default();
    let sentences: Vec<&str> =
        [before].into_iter().chain(said.iter().map(String::as_str)).filter(|text| !text.is_empty()).collect();
    let text = sentences.join(" ");
    insert(schema, "description", json!(text));
}
