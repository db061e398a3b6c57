//! Nodes → values of a kind, and whether a value meets what its field demands.

use std::cmp::Ordering;

use serde_json::Value as Json;

use super::fault::Faults;
use super::yaml::{Node, Plain, Tree};
use crate::condition::pattern::Pattern;
use crate::model::{Bound, Decimal, Field, Kind, Scalar, Value};

/// Reads a literal of a kind. `null` is refused: whoever calls decides whether it means something.
pub(super) fn value(node: &Node, kind: Kind, what: &str, faults: &mut Faults<'_>) -> Option<Value> {
    if kind.array {
        let items = faults.list(node, what)?;
        let each = format!("an element of {what}");
        let values: Vec<_> =
            items.iter().filter_map(|item| value(item, kind.element(), &each, faults)).collect();
        return (values.len() == items.len()).then_some(Value::Array(values));
    }
    let (text, plain) = match (&node.tree, node.plain()) {
        (Tree::Bad, _) => return None,
        (Tree::Scalar(text, _), Some(plain)) => (Some(text.as_str()), plain),
        _ => (None, Plain::Null),
    };
    match (kind.scalar, text, plain) {
        (Scalar::Json, ..) => return json(node, faults).map(Value::Json),
        (Scalar::Text, Some(_), _) => {
            return faults.word(node, what).map(|word| Value::text(word.text));
        }
        (Scalar::Boolean, ..) => return faults.flag(node, what).map(Value::Boolean),
        (_, Some(text), Plain::Text | Plain::Number) => {
            if let Some(value) = Value::parse(kind, text) {
                return Some(value);
            }
        }
        (_, _, Plain::Null | Plain::Boolean(_) | Plain::Text | Plain::Number) => {}
    }
    faults.hint(node.at, format!("{what} is {}", form(kind)), example(kind));
    None
}

/// "an integer", "a date", …
pub(super) fn form(kind: Kind) -> String {
    if kind.array {
        return format!("a list of {} values", kind.element());
    }
    match kind.scalar {
        Scalar::Integer | Scalar::Interval | Scalar::Inet => format!("an {kind}"),
        _ => format!("a {kind}"),
    }
}

fn example(kind: Kind) -> &'static str {
    match kind.scalar {
        Scalar::Text => "as in 'hello'",
        Scalar::Integer => "a whole number from -2147483648 to 2147483647",
        Scalar::Bigint => "a whole number of 64 bits",
        Scalar::Float | Scalar::Decimal => "as in 1.5",
        Scalar::Boolean => "`true` or `false`",
        Scalar::Uuid => "as in 018f4e7c-5a1b-7c3d-9e2f-0a1b2c3d4e5f",
        Scalar::Timestamp => "as in '2026-01-31T12:00:00Z'",
        Scalar::Date => "as in '2026-01-31'",
        Scalar::Time => "as in '12:00:00'",
        Scalar::Interval => "as in '1 day 02:00:00'",
        Scalar::Json => "any YAML",
        Scalar::Bytes => "as in '\\x00ff'",
        Scalar::Inet => "as in '10.0.0.0/8'",
    }
}

/// YAML as JSON: plain scalars by their meaning, everything else as text.
pub(super) fn json(node: &Node, faults: &mut Faults<'_>) -> Option<Json> {
    match &node.tree {
        Tree::Bad => None,
        Tree::List(items) => {
            items.iter().map(|item| json(item, faults)).collect::<Option<Vec<_>>>().map(Json::Array)
        }
        Tree::Map(entries) => entries
            .iter()
            .map(|(key, value)| Some((key.text.clone(), json(value, faults)?)))
            .collect::<Option<serde_json::Map<_, _>>>()
            .map(Json::Object),
        Tree::Scalar(text, _) => match node.plain() {
            Some(Plain::Null) => Some(Json::Null),
            Some(Plain::Boolean(flag)) => Some(Json::Bool(flag)),
            Some(Plain::Number) => match serde_json::from_str::<serde_json::Number>(text) {
                Ok(number) => Some(Json::Number(number)),
                Err(_) => {
                    faults.add(node.at, "the number is too large for JSON here");
                    None
                }
            },
            Some(Plain::Text) | None => Some(Json::String(text.clone())),
        },
    }
}

/// Whether a value meets its field's `values`, `match`, `min`, `max` and `schema`; if not, why.
/// NULL meets everything but `required`.
pub(super) fn meets(value: &Value, field: &Field) -> Result<(), String> {
    if value.is_null() {
        return if field.required { Err("is required".to_owned()) } else { Ok(()) };
    }
    if let Some(allowed) = &field.values {
        each(value, |text| match allowed.iter().any(|one| one == text) {
            true => Ok(()),
            false => Err(format!("has no value `{text}`")),
        })?;
    }
    if let Some(pattern) = field.pattern.as_ref().and_then(|text| Pattern::parse(text).ok()) {
        each(value, |text| match pattern.is_match(text) {
            true => Ok(()),
            false => Err(format!("does not match {}", pattern.text())),
        })?;
    }
    if let Some(bound) = &field.min
        && against(value, bound) == Some(Ordering::Less)
    {
        return Err(format!("is under its `min` of {}", written(bound)));
    }
    if let Some(bound) = &field.max
        && against(value, bound) == Some(Ordering::Greater)
    {
        return Err(format!("is over its `max` of {}", written(bound)));
    }
    if let (Some(schema), Value::Json(json)) = (&field.schema, value)
        && let Ok(validator) = super::schema::compile(schema)
        && let Err(error) = validator.validate(json)
    {
        return Err(format!("does not meet its `schema`: {error}"));
    }
    Ok(())
}

fn each(value: &Value, judge: impl Fn(&str) -> Result<(), String>) -> Result<(), String> {
    match value {
        Value::Text(text) => judge(text),
        Value::Array(elements) => elements.iter().try_for_each(|element| match element {
            Value::Text(text) => judge(text),
            _ => Ok(()),
        }),
        _ => Ok(()),
    }
}

/// A bound as YAML would write it.
pub(super) fn written(bound: &Bound) -> String {
    match bound {
        Bound::Size(size) => size.to_string(),
        Bound::Value(value) => value.to_text().unwrap_or_default(),
    }
}

fn against(value: &Value, bound: &Bound) -> Option<Ordering> {
    match bound {
        Bound::Size(limit) => {
            let size = match value {
                Value::Text(text) => text.chars().count(),
                Value::Bytes(bytes) => bytes.len(),
                Value::Array(elements) => elements.len(),
                _ => return None,
            };
            Some((size as u64).cmp(limit))
        }
        Bound::Value(limit) => order(value, limit),
    }
}

/// The order of two values of one kind that takes `min` and `max`; `None` for other kinds.
pub(super) fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Integer(a), Value::Integer(b)) => Some(a.cmp(b)),
        (Value::Timestamp(a), Value::Timestamp(b)) | (Value::Time(a), Value::Time(b)) => Some(a.cmp(b)),
        (Value::Date(a), Value::Date(b)) => Some(a.cmp(b)),
        // Postgres: NaN is greater than everything else and equal to itself.
        (Value::Float(a), Value::Float(b)) => {
            Some(a.partial_cmp(b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan())))
        }
        (Value::Decimal(a), Value::Decimal(b)) => Some(match (a, b) {
            (Decimal::Finite(a), Decimal::Finite(b)) => a.cmp(b),
            _ => rank(a).cmp(&rank(b)),
        }),
        _ => None,
    }
}

fn rank(decimal: &Decimal) -> u8 {
    match decimal {
        Decimal::NegativeInfinity => 0,
        Decimal::Finite(_) => 1,
        Decimal::Infinity => 2,
        Decimal::NaN => 3,
    }
}
