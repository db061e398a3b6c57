//! Defaults, and what a rule's `set` forces: literals, `now()` and attributes of the caller.

use super::fault::Faults;
use super::literal;
use super::yaml::{Node, Plain, Tree};
use crate::model::{Attribute, DefaultValue, Field, Kind};

/// Reads a default or a value that a rule sets: a literal of the field's kind, `now()` or `auth.…`.
pub(super) fn read(node: &Node, field: &Field, what: &str, faults: &mut Faults<'_>) -> Option<DefaultValue> {
    if let (Tree::Scalar(text, _), Some(Plain::Text)) = (&node.tree, node.plain()) {
        if let Some(path) = text.strip_prefix("auth.") {
            return attribute(path, node, field, what, faults).map(DefaultValue::Attribute);
        }
        if text == "now()" {
            if field.kind == Kind::TIMESTAMP {
                return Some(DefaultValue::Now);
            }
            faults.add(
                node.at,
                format!("`now()` is a timestamp, and `{}` is {}", field.name, literal::form(field.kind)),
            );
            return None;
        }
    }
    if node.is_null() {
        faults.hint(node.at, format!("{what} is a value"), "a field without one is null: leave it out");
        return None;
    }
    let value = literal::value(node, field.kind, what, faults)?;
    if let Err(why) = literal::meets(&value, field) {
        faults.add(node.at, format!("{what} of `{}` is refused by the field itself: it {why}", field.name));
        return None;
    }
    Some(DefaultValue::Literal(value))
}

fn attribute(
    path: &str,
    node: &Node,
    field: &Field,
    what: &str,
    faults: &mut Faults<'_>,
) -> Option<Attribute> {
    const WORDS: [&str; 7] = ["id", "role", "roles", "email", "is_anonymous", "aal", "claims"];
    let attribute = match path {
        "id" => Attribute::Id,
        "role" => Attribute::Role,
        "roles" => Attribute::Roles,
        "email" => Attribute::Email,
        "is_anonymous" => Attribute::IsAnonymous,
        "aal" => Attribute::Aal,
        other => match other.strip_prefix("claims.") {
            Some(names) if names.split('.').all(|name| !name.is_empty()) => {
                Attribute::Claim(names.split('.').map(str::to_owned).collect())
            }
            _ => {
                let full: Vec<String> = WORDS.iter().map(|word| format!("auth.{word}")).collect();
                let allowed = full.iter().map(String::as_str);
                faults.unknown(node.at, "attribute", &format!("auth.{other}"), allowed);
                return None;
            }
        },
    };
    match attribute.kind() {
        Some(kind) if kind != field.kind => {
            faults.add(
                node.at,
                format!(
                    "{what} of `{}` is {}, and `auth.{path}` is {}",
                    field.name,
                    literal::form(field.kind),
                    literal::form(kind)
                ),
            );
            None
        }
        _ => Some(attribute),
    }
}
