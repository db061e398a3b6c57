//! What a file of types says, read back from its text.

use std::collections::BTreeMap;

use serde_json::Value;

/// A member of a record or of a body.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) optional: bool,
    /// As it is written.
    pub(super) typed: String,
    /// The comment before it.
    pub(super) says: String,
}

#[derive(Debug)]
pub(super) struct Relation {
    pub(super) name: String,
    pub(super) to: String,
    pub(super) many: bool,
}

#[derive(Debug, Default)]
pub(super) struct Collection {
    /// None where nothing can be read.
    pub(super) readable: bool,
    pub(super) row: Vec<Field>,
    /// None is `never`.
    pub(super) new: Option<Vec<Field>>,
    pub(super) patch: Option<Vec<Field>>,
    pub(super) key: Vec<String>,
    pub(super) relations: Vec<Relation>,
    pub(super) search: bool,
}

#[derive(Debug, Default)]
pub(super) struct Schema {
    pub(super) enums: BTreeMap<String, Vec<String>>,
    pub(super) collections: BTreeMap<String, Collection>,
    pub(super) buckets: Vec<String>,
}

/// The literals of a union.
fn literals(union: &str) -> Vec<String> {
    let (mut found, mut inside, mut letters) = (Vec::new(), None::<String>, union.chars());
    while let Some(c) = letters.next() {
        match (&mut inside, c) {
            (None, '\'') => inside = Some(String::new()),
            (None, _) => {}
            (Some(_), '\'') => found.extend(inside.take()),
            (Some(text), '\\') => text.push(match letters.next().unwrap() {
                'n' => '\n',
                other => other,
            }),
            (Some(text), c) => text.push(c),
        }
    }
    found
}

impl Schema {
    /// Reads the text of `basewright types`, whose lines are as regular as its generator.
    pub(super) fn read(text: &str) -> Schema {
        let mut schema = Schema::default();
        let (mut collection, mut part, mut says) = (String::new(), String::new(), String::new());
        for line in text.lines() {
            let depth = line.len() - line.trim_start().len();
            let line = line.trim();
            if let Some(comment) = line.strip_prefix("/** ") {
                says = comment.trim_end_matches(" */").to_owned();
                continue;
            }
            if let Some((name, values)) =
                line.strip_prefix("export type ").and_then(|rest| rest.split_once(" = "))
            {
                schema.enums.insert(name.to_owned(), literals(values));
                continue;
            }
            let Some((name, rest)) = line.split_once(": ") else { continue };
            let current = schema.collections.entry(collection.clone()).or_default();
            match (depth, name, rest) {
                (2, "buckets", rest) => schema.buckets = literals(rest),
                (4, name, "{") => collection = name.to_owned(),
                (6, "Row", rest) => current.readable = rest == "{",
                (6, "New", "{" | "Record<string, never>") => current.new = Some(Vec::new()),
                (6, "Patch", "{" | "Record<string, never>") => current.patch = Some(Vec::new()),
                (6, "Key", rest) => current.key = literals(rest),
                (6, "Search", rest) => current.search = rest == "true",
                (8, name, rest) if part == "Relations" => {
                    let to = literals(rest).remove(0);
                    let many = rest.contains("many: true");
                    current.relations.push(Relation { name: name.to_owned(), to, many });
                }
                (8, name, rest) => {
                    let field = Field {
                        name: name.trim_end_matches('?').to_owned(),
                        optional: name.ends_with('?'),
                        typed: rest.to_owned(),
                        says: std::mem::take(&mut says),
                    };
                    match part.as_str() {
                        "Row" => current.row.push(field),
                        "New" => current.new.as_mut().unwrap().push(field),
                        "Patch" => current.patch.as_mut().unwrap().push(field),
                        other => panic!("{other}: {line}"),
                    }
                }
                _ => {}
            }
            if depth == 6 {
                name.clone_into(&mut part);
            }
        }
        schema.collections.remove("");
        schema
    }

    /// The JSON of a value is of this type.
    pub(super) fn fits(&self, typed: &str, value: &Value) -> bool {
        if let Some(rest) = typed.strip_suffix(" | null") {
            return value.is_null() || self.fits(rest, value);
        }
        if let Some(element) = typed.strip_suffix("[]") {
            let element = element.trim_start_matches('(').trim_end_matches(')');
            return value.as_array().is_some_and(|list| list.iter().all(|value| self.fits(element, value)));
        }
        match typed {
            "string" => value.is_string(),
            "number" => value.is_number(),
            "boolean" => value.is_boolean(),
            "Json" => true,
            named => {
                let values = self.enums.get(named).unwrap_or_else(|| panic!("{named} is no type"));
                value.as_str().is_some_and(|text| values.iter().any(|known| known == text))
            }
        }
    }
}

impl Field {
    /// A create is refused without it.
    pub(super) fn is_mandatory(&self) -> bool {
        !self.optional
    }
}

pub(super) fn names<'f>(fields: impl IntoIterator<Item = &'f Field>) -> Vec<String> {
    fields.into_iter().map(|field| field.name.clone()).collect()
}
