//! JSON Schemas of `json` fields: read, held closed, compiled once to see that they are valid.

use serde_json::Value as Json;

use super::Sources;
use super::fault::{At, Faults};
use super::literal;
use super::yaml::{Node, Plain, Tree};

/// Compiles a schema. References lead nowhere outside of it, and patterns run on an engine without
/// backtracking, so that no body can make one slow.
pub(super) fn compile(schema: &Json) -> Result<jsonschema::Validator, String> {
    jsonschema::options()
        .with_pattern_options(jsonschema::PatternOptions::regex())
        .build(schema)
        .map_err(|error| error.to_string())
}

/// Reads `schema:`, a schema written in place or the path of a JSON file, from the project's folder.
pub(super) fn read(node: &Node, sources: &Sources, faults: &mut Faults<'_>) -> Option<Json> {
    let schema = match (&node.tree, node.plain()) {
        (Tree::Map(_), _) => literal::json(node, faults)?,
        (Tree::Scalar(path, _), Some(Plain::Text)) => file(path, node.at, sources, faults)?,
        (Tree::Bad, _) => return None,
        _ => {
            faults.add(node.at, "`schema` is a JSON Schema or the path of a JSON file");
            return None;
        }
    };
    if let Some(outside) = outside(&schema) {
        faults.hint(
            node.at,
            format!("the schema refers to `{outside}`, which is outside of it"),
            "a `$ref` starts with `#`: put what it names under `$defs`",
        );
        return None;
    }
    if let Err(error) = compile(&schema) {
        faults.add(node.at, format!("the schema is not valid: {error}"));
        return None;
    }
    Some(schema)
}

fn file(path: &str, at: At, sources: &Sources, faults: &mut Faults<'_>) -> Option<Json> {
    let plain = path.strip_prefix("./").unwrap_or(path);
    let known = || sources.0.keys().map(String::as_str).filter(|path| path.ends_with(".json"));
    let Some(text) = sources.0.get(plain).filter(|_| plain.ends_with(".json")) else {
        let hint = match super::fault::nearest(plain, known()) {
            Some(near) => format!("did you mean `./{near}`?"),
            None => "the path of a `.json` file, from the project's folder".to_owned(),
        };
        faults.hint(at, format!("there is no file `{path}`"), hint);
        return None;
    };
    match serde_json::from_str(text) {
        Ok(schema) => Some(schema),
        Err(error) => {
            let place = faults.files().find(|(_, path, _)| *path == plain);
            let at = place.map_or(at, |(file, _, text)| {
                let before: usize =
                    text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
                let start = (before + error.column().saturating_sub(1)).min(text.len());
                At { file, start, end: start + 1 }
            });
            let message = error.to_string();
            let reason = message.split(" at line ").next().unwrap_or_default();
            faults.add(at, format!("not JSON: {reason}"));
            None
        }
    }
}

/// The first reference that leads out of the schema.
fn outside(schema: &Json) -> Option<&str> {
    match schema {
        Json::Object(members) => members.iter().find_map(|(key, value)| match (key.as_str(), value) {
            ("$ref" | "$dynamicRef" | "$recursiveRef", Json::String(target)) if !target.starts_with('#') => {
                Some(target.as_str())
            }
            _ => outside(value),
        }),
        Json::Array(items) => items.iter().find_map(outside),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => None,
    }
}
