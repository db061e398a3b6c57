//! What a condition asks of the caller and of a channel's topic, as values of the kind that their place has.
//!
//! Both back ends take these from here, so that they cannot differ in what a claim is.

use serde_json::Value as Json;

use crate::model::{Attribute, Kind, Principal, Scalar, Value};

/// An attribute as a value of a kind; null if the caller has it not, or as something else.
pub(crate) fn attribute(principal: &Principal, attribute: &Attribute, kind: Kind) -> Value {
    match attribute {
        Attribute::Id => principal.id.map_or(Value::Null, Value::Uuid),
        Attribute::Role => text(&principal.role),
        Attribute::Roles => Value::Array(principal.roles.iter().map(|role| text(role)).collect()),
        Attribute::Email => principal.email.as_deref().map_or(Value::Null, text),
        Attribute::IsAnonymous => Value::Boolean(principal.is_anonymous),
        Attribute::Aal => principal.aal.as_deref().map_or(Value::Null, text),
        Attribute::Claim(path) => {
            find(principal, path).and_then(|json| claim(kind, json)).unwrap_or(Value::Null)
        }
    }
}

/// The claim is there and not null.
pub(super) fn has_claim(principal: &Principal, path: &[String]) -> bool {
    find(principal, path).is_some_and(|json| !json.is_null())
}

/// A capture as a value of a kind; null if it is none.
pub(super) fn capture(captures: &[String], at: usize, kind: Kind) -> Value {
    captures.get(at).and_then(|text| Value::parse(kind, text)).unwrap_or(Value::Null)
}

/// Postgres' text cannot hold U+0000, so no row equals such a text.
fn text(text: &str) -> Value {
    if text.contains('\0') { Value::Null } else { Value::text(text) }
}

fn find<'p>(principal: &'p Principal, path: &[String]) -> Option<&'p Json> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(principal.claims.get(first)?, |json, step| json.as_object()?.get(step))
}

fn claim(kind: Kind, json: &Json) -> Option<Value> {
    if kind.array {
        let elements = json.as_array()?;
        return elements
            .iter()
            .map(|element| claim(kind.element(), element))
            .collect::<Option<_>>()
            .map(Value::Array);
    }
    // In a body a number may come as text; a token's claim says what it means.
    let fits = match kind.scalar {
        Scalar::Integer | Scalar::Bigint | Scalar::Float | Scalar::Decimal => {
            json.is_number() || json.is_null()
        }
        _ => true,
    };
    if fits { Value::from_json(kind, json) } else { None }
}
