//! `docs/project.md`: every key of a project, from the schema by which editors check its files.

use std::collections::{BTreeMap, BTreeSet};

use basewright::model::{Kind, Scalar};
use basewright::project::{Sources, editor, load, render};
use serde_json::Value;

use super::sections::{SECTIONS, Section};
use crate::support::generated;

const HEAD: &str = "\
# The project's YAML

<!-- Made by `BASEWRIGHT_UPDATE=1 cargo test generated` from the schema by which editors check these files. -->

A project is a folder. Its YAML lies at the top, under `collections/` and under `policies/`; JSON Schemas that fields name lie anywhere
in it, templates of mails under `mail/`, pages under `public/`, and `seed.sql` fills a new database under `dev`. How policies are written is
said in [policies.md](policies.md); this page has every key.

Keys that are not here are refused, with the place and what was meant. Secrets are never written down: `env(NAME)` names the variable
that holds one. For completion in an editor a file begins with
`# yaml-language-server: $schema=http://127.0.0.1:8000/_/schema.json`.
";

/// How a heading is linked.
fn anchor(title: &str) -> String {
    let kept = |c: char| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c.to_ascii_lowercase()),
        _ => None,
    };
    title.chars().filter_map(kept).collect()
}

fn link(title: &str, word: &str) -> String {
    assert!(SECTIONS.iter().any(|section| section.title == title), "{title}");
    format!("[{word}](#{})", anchor(title))
}

/// What a definition is called.
fn named(reference: &str) -> String {
    match reference.strip_prefix("#/$defs/").unwrap() {
        "name" => "name".to_owned(),
        "kept" => "name of a collection".to_owned(),
        "names" => "list of names".to_owned(),
        "condition" => link("Conditions", "condition"),
        "collection" => link("Collections", "collection"),
        "field" => link("Fields", "field"),
        "index" => link("Indexes", "index"),
        "search" => link("Search", "mapping"),
        "role" => link("Roles", "role"),
        "actions" => link("Policies", "policies"),
        "bucket" => link("Buckets", "bucket"),
        "channel" => link("Channels", "channel"),
        "case" => link("A case", "case"),
        "rule.channel" => link("A rule of a channel", "rule"),
        rule if rule.starts_with("rule.bucket.") => link("A rule of a bucket", "rule"),
        rule if rule.starts_with("rule.") => link("A rule", "rule"),
        other => panic!("{other} has no word"),
    }
}

/// The kinds have a table of their own.
const KIND: &str = "[kind](#kinds)";

/// What may stand there, in words. `path` is where its schema is.
fn word(schema: &Value, path: &str) -> String {
    match path {
        "/$defs/options/properties/type" => return format!("{KIND}, `enum`, `enum[]` or `relation`"),
        "/$defs/index/anyOf/1/properties/fields" => return "list of names".to_owned(),
        _ => {}
    }
    if let Some(reference) = schema["$ref"].as_str() {
        return named(reference);
    }
    if let Some(section) = SECTIONS.iter().find(|section| section.at.contains(&path)) {
        return link(section.title, "mapping");
    }
    if let Some(one) = schema.get("const") {
        return format!("`{}`", one.as_str().unwrap());
    }
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<String> =
            values.iter().map(|value| format!("`{}`", value.to_string().trim_matches('"'))).collect();
        return values.join(" ");
    }
    if let Some(all) = schema["anyOf"].as_array() {
        let words = all.iter().enumerate().map(|(at, one)| word(one, &format!("{path}/anyOf/{at}")));
        let mut words: Vec<String> = words.collect();
        words.dedup();
        return words.join(" or ");
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(many) => many.iter().filter_map(Value::as_str).filter(|one| *one != "null").collect(),
        _ => return "value".to_owned(),
    };
    let number = |key: &str| schema[key].as_i64().map(|number| number.to_string());
    let form = schema["pattern"].as_str().unwrap_or_default();
    let words = types.iter().map(|one| match *one {
        "boolean" => "`true` or `false`".to_owned(),
        "integer" => match (number("minimum"), number("maximum")) {
            (Some(least), Some(most)) => format!("whole number, {least} to {most}"),
            _ => "whole number".to_owned(),
        },
        "number" => "number".to_owned(),
        "string" if form.starts_with(r"^\s*env") => "`env(NAME)`".to_owned(),
        "string" if form.contains("[KMG") => "size".to_owned(),
        "string" if form.starts_with("^[1-9][0-9]* */") => "rate, as in `10/1m`".to_owned(),
        "string" if form.contains("(s|m|h|d)") || form.contains("(ms|s|m|h)") => {
            "span, as in `15m`".to_owned()
        }
        "string" if form.starts_with("^https?") => "address".to_owned(),
        "string" => "text".to_owned(),
        "array" => match &schema["items"] {
            items @ Value::Object(_) => format!("list of {}", plural(&word(items, &format!("{path}/items")))),
            _ => "list".to_owned(),
        },
        "object" => match &schema["additionalProperties"] {
            values @ Value::Object(_) => {
                format!("mapping of {}", plural(&word(values, &format!("{path}/additionalProperties"))))
            }
            _ => "mapping".to_owned(),
        },
        other => panic!("{other} at {path}"),
    });
    let words: BTreeSet<String> = words.collect();
    words.into_iter().collect::<Vec<_>>().join(" or ")
}

fn plural(word: &str) -> String {
    match word.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inner, rest)) => format!("[{}]{rest}", plural(inner)),
        None if word.starts_with("list of ") => word.replacen("list", "lists", 1),
        None if word.ends_with(['y']) => format!("{}ies", word.trim_end_matches('y')),
        None if word.ends_with("index") => format!("{word}es"),
        None if word.contains(" of ")
            || word.contains(" or ")
            || word == "text"
            || word.ends_with(['s', '`']) =>
        {
            word.to_owned()
        }
        None => format!("{word}s"),
    }
}

/// A description without its default, and the default.
fn split(schema: &Value) -> (String, String) {
    let says = schema["description"].as_str().unwrap_or_default();
    let Some((before, after)) = says.split_once(" unless said") else {
        return (says.to_owned(), String::new());
    };
    let (what, default) = before.rsplit_once("; ").unwrap_or_else(|| panic!("{says}"));
    let bare = default.starts_with(|c: char| c.is_ascii_digit()) && !default.contains(' ');
    let default = if bare { format!("`{default}`") } else { default.to_owned() };
    let after = after.trim_start_matches([',', ':', ';', '.']).trim();
    let rest = match after {
        "" => ".".to_owned(),
        after if says.contains(" unless said.") => format!(". {after}"),
        after => format!("; {after}"),
    };
    (format!("{what}{rest}"), default)
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

/// The keys of a section, in the order of the schema's table.
fn keys(section: &Section, schema: &Value) -> Vec<(String, Vec<&'static str>, Value, String)> {
    let mut rows: Vec<(String, Vec<&'static str>, Value, String)> = Vec::new();
    for at in section.at {
        let node = schema.pointer(at).unwrap_or_else(|| panic!("{at}"));
        let place = at.rsplit('.').next().unwrap();
        for (key, value) in node["properties"].as_object().unwrap() {
            // Of a later version: refused.
            if value.get("not") == Some(&Value::Object(Default::default())) {
                continue;
            }
            match rows.iter_mut().find(|(known, _, _, _)| known == key) {
                Some((_, places, _, _)) => places.push(place),
                None => {
                    rows.push((key.clone(), vec![place], value.clone(), format!("{at}/properties/{key}")))
                }
            }
        }
    }
    rows
}

fn table(section: &Section, schema: &Value) -> String {
    let mut rows = keys(section, schema);
    if rows.is_empty() {
        return String::new();
    }
    let required: Vec<&str> = section
        .at
        .iter()
        .flat_map(|at| schema.pointer(at).unwrap()["required"].as_array().into_iter().flatten())
        .filter_map(Value::as_str)
        .collect();
    rows.sort_by_key(|(key, ..)| !required.contains(&key.as_str()));
    let mut out =
        String::from("| key | what may stand there | default | what it does |\n|---|---|---|---|\n");
    for (key, places, value, path) in rows {
        let (mut says, default) = split(&value);
        assert!(!says.is_empty(), "{path} is not described");
        if places.len() < section.at.len() {
            says = format!("Of {}: {}", places.join(", "), says[..1].to_lowercase() + &says[1..]);
        }
        let default = if required.contains(&key.as_str()) { "required".to_owned() } else { default };
        out +=
            &format!("| `{key}` | {} | {} | {} |\n", cell(&word(&value, &path)), cell(&default), cell(&says));
    }
    out
}

/// The kinds, as the one table of them has it.
fn kinds() -> String {
    let mut out = String::from(
        "## Kinds\n\nEach is there in lists too: `text[]`. `enum` is text with a list of values, and `relation` has the kind of its target's \
         key. Numbers may be sent as text, so that large ones lose nothing; they are answered as JSON numbers, which JavaScript rounds \
         beyond 2^53 unless `select` asks for `amount::text`.\n\n| kind | in Postgres | in TypeScript |\n|---|---|---|\n",
    );
    for scalar in Scalar::all() {
        let kind = Kind::one(scalar);
        out += &format!("| `{kind}` | `{}` | `{}` |\n", kind.sql(), kind.typescript());
    }
    out + "\nJSON has no number for `NaN`, `Infinity` and `-Infinity`: of a `float` or a `decimal` that may hold them they come as text, and the types \
           leave them out, for the sake of the many that never do.\n"
}

/// Every place of the schema that takes keys and refuses others.
fn places(schema: &Value, path: &str, found: &mut Vec<String>) {
    match schema {
        Value::Object(members) => {
            if members.contains_key("properties") && members.contains_key("additionalProperties") {
                found.push(path.to_owned());
            }
            for (key, member) in members {
                places(member, &format!("{path}/{key}"), found);
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                places(item, &format!("{path}/{at}"), found);
            }
        }
        _ => {}
    }
}

/// An example as a file of its own: those of parts of `auth` stand under it.
fn file(section: &Section) -> String {
    if !section.title.starts_with("auth.") {
        return section.example.to_owned();
    }
    let lines = section.example.lines().map(|line| format!("  {line}\n"));
    format!("auth:\n{}", lines.collect::<String>())
}

#[test]
fn the_generated_page_of_the_project_has_every_key() {
    let schema = editor::schema();
    let mut page = HEAD.to_owned();
    page += "\n";
    for section in SECTIONS {
        page += &format!("{}- {}\n", "  ".repeat(section.depth - 2), link(section.title, section.title));
        if section.title == "Fields" {
            page += "- [Kinds](#kinds)\n";
        }
    }
    for section in SECTIONS {
        page += &format!("\n{} {}\n", "#".repeat(section.depth), section.title);
        for part in [section.says.to_owned(), table(section, &schema)] {
            if !part.is_empty() {
                page += &format!("\n{}\n", part.trim_end());
            }
        }
        if !section.example.is_empty() {
            page += &format!("\n```yaml\n{}```\n", file(section));
        }
        if section.title == "Fields" {
            page += &format!("\n{}", kinds());
        }
    }
    generated("docs/project.md", &page);
}

#[test]
fn no_place_of_the_schema_is_left_out_of_the_page() {
    let mut found = Vec::new();
    places(&editor::schema(), "", &mut found);
    let told: BTreeSet<&str> = SECTIONS.iter().flat_map(|section| section.at).copied().collect();
    // GitHub takes keys of any other provider, and `except` is told beside `fields`.
    let known = |path: &str| {
        told.contains(path)
            || path == "/properties/auth/properties/oauth"
            || path == "/properties/auth/properties/oauth/properties/github"
            || path.ends_with("/properties/fields/anyOf/1")
    };
    let missing: Vec<&String> = found.iter().filter(|path| !known(path)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(found.len() >= 30, "{}", found.len());
}

#[test]
fn the_examples_of_the_page_are_projects_and_show_each_key() {
    let schema = editor::schema();
    let every: String = SECTIONS.iter().map(|section| section.example).collect();
    for section in SECTIONS {
        let example = if section.example.is_empty() { &every } else { section.example };
        for (key, ..) in keys(section, &schema) {
            assert!(example.contains(&format!("{key}:")), "{} does not show `{key}`", section.title);
        }
    }
    // Parts of `auth` show what its own example shows again: each stands beside the rest.
    let part = |section: &&Section| section.title.starts_with("auth.");
    let whole: BTreeMap<String, String> = SECTIONS
        .iter()
        .filter(|section| !part(section))
        .enumerate()
        .map(|(at, section)| (format!("{at}.yaml"), file(section)))
        .collect();
    let loads = |files: BTreeMap<String, String>, what: &str| {
        if let Err(faults) = load(&Sources(files)) {
            panic!("{what}: {}", render(&faults));
        }
    };
    loads(whole.clone(), "all");
    for section in SECTIONS.iter().filter(part) {
        let mut files = whole.clone();
        files.retain(|_, text| !text.starts_with("auth:"));
        files.insert("auth.yaml".to_owned(), file(section));
        loads(files, section.title);
    }
}
