use std::collections::BTreeMap;

use proptest::prelude::*;

use super::schema;
use crate::model::Principal;
use crate::project::{Sources, load};
use crate::query::plan::Context;

fn typed(yaml: &str, principal: &Principal, command: &str) -> Option<String> {
    let project = load(&Sources(BTreeMap::from([("a.yaml".to_owned(), yaml.to_owned())]))).ok()?;
    let catalog = project.catalog(1).unwrap();
    Some(schema(Context { catalog: &catalog, principal }, command))
}

/// Text as YAML, whatever is in it.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            c => out.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    out.push('"');
    out
}

/// A project with an admin's words wherever they can stand.
fn project(value: &str, default: &str, pattern: &str, topic: &str) -> String {
    format!(
        "collections:\n  notes:\n    fields:\n      kind: {{ type: enum, values: [{}, other] }}\n      \
         text: {{ type: text, default: {} }}\n      form: {{ type: text, match: {} }}\n\
         channels:\n  {}: {{}}\n  {}: {{}}\n",
        quoted(value),
        quoted(default),
        quoted(pattern),
        quoted(&format!("one:{topic}:{{what}}")),
        quoted(&format!("two:{topic}")),
    )
}

/// The text without what stands in comments and literals, as TypeScript's own grammar delimits them.
fn skeleton(text: &str) -> Result<String, String> {
    let is_line_end = |c: char| matches!(c, '\n' | '\r' | '\u{2028}' | '\u{2029}');
    let mut out = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("//") {
            let end = after.find(is_line_end).ok_or("a comment without an end")?;
            out.push_str("<comment>");
            rest = &after[end..];
        } else if let Some(after) = rest.strip_prefix("/*") {
            let end = after.find("*/").ok_or("a comment without an end")?;
            if after[..end].contains(is_line_end) {
                return Err(format!("a comment of several lines: {}", &after[..end]));
            }
            out.push_str("<comment>");
            rest = &after[end + 2..];
        } else if c == '\'' || c == '`' {
            let mut at = 1;
            loop {
                let inner = &rest[at..];
                let next = inner.chars().next().ok_or("a literal without an end")?;
                if next == c {
                    break;
                } else if next == '\\' {
                    at += 1 + inner[1..].chars().next().ok_or("a literal without an end")?.len_utf8();
                } else if c == '`' && inner.starts_with("${") {
                    at += inner.strip_prefix("${string}").map(|_| 9).ok_or("something else is captured")?;
                    out.push('$');
                } else if is_line_end(next) {
                    return Err("a literal of several lines".to_owned());
                } else {
                    at += next.len_utf8();
                }
            }
            out.push_str("<literal>");
            rest = &rest[at + 1..];
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    Ok(out)
}

fn hostile() -> impl Strategy<Value = String> {
    let pieces = [
        "*/",
        "/*",
        "//",
        "`",
        "${",
        "}",
        "$",
        "'",
        "\"",
        "\\",
        "\n",
        "\r",
        "\u{2028}",
        "\u{2029}",
        "\u{202e}",
        "\t",
        "é",
        "\u{1f600}",
        "a",
        " ",
        ";",
        "*",
        "/",
        "export const x = 1",
        "\u{7f}",
    ];
    prop::collection::vec(prop::sample::select(pieces.to_vec()), 1..9).prop_map(|pieces| pieces.concat())
}

/// What a topic may hold between colons.
fn part() -> impl Strategy<Value = String> {
    hostile().prop_map(|text| {
        text.chars().filter(|c| !c.is_control() && !matches!(c, '{' | '}' | ':')).chain(['x']).collect()
    })
}

fn pattern() -> impl Strategy<Value = String> {
    let pieces = ["a*/", "[*]/", r"\*/", "b+", "//", "`", "'", r"\.", "x|y", "\u{2028}"];
    prop::collection::vec(prop::sample::select(pieces.to_vec()), 1..6).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn nothing_that_a_project_says_gets_out_of_a_literal_or_a_comment(
        value in hostile(), default in hostile(), pattern in pattern(), topic in part(), command in hostile(),
    ) {
        let service = Principal::service();
        let plain = typed(&project("v", "d", "p", "t"), &service, "c").unwrap();
        let text = typed(&project(&value, &default, &pattern, &topic), &service, &command);
        let text = text.expect("every such project loads");
        prop_assert_eq!(skeleton(&text).map_err(|why| TestCaseError::fail(format!("{why}\n{text}")))?, skeleton(&plain).unwrap());
        // One project, one text.
        prop_assert_eq!(Some(text), typed(&project(&value, &default, &pattern, &topic), &service, &command));
    }
}

const CLUB: &str = "
roles: { member: { inherits: [authenticated] } }
collections:
  error: { fields: { code: { type: enum, values: [a] } } }
  a_b: { fields: { c: { type: enum, values: [a] }, secret: { type: enum, values: [z] } } }
  a: { fields: { b_c: { type: enum, values: [b] } } }
  box: { fields: { a: text, by: { type: uuid, required: true, default: auth.id } } }
  __: { fields: { _1: { type: enum, values: [c] }, new: text, constructor: text, __proto__: text } }
policies:
  a_b:
    read: [{ role: anon, fields: [c] }]
    create: [{ role: member, set: { c: a, secret: z }, fields: [] }]
  box: { create: [{ role: anon }] }
channels: { 'club:{club}': { read: [{ role: member }] }, door: { write: [{ role: anon }] } }
buckets: { open: { public: true }, shut: {}, ours: { policies: { create: [{ role: member }] } } }
";

fn club(principal: &Principal) -> String {
    typed(CLUB, principal, "c").unwrap()
}

#[test]
fn each_enum_has_a_name_of_its_own() {
    let text = club(&Principal::service());
    for line in [
        "export type ErrorCode2 = 'a'\n",
        "export type ABC = 'a'\n",
        "export type ABC2 = 'b'\n",
        "export type _1 = 'c'\n",
        "        b_c: ABC2 | null\n",
        "        __proto__: string | null\n",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
    assert_eq!(text.matches("export type ErrorCode =").count(), 1);
}

#[test]
fn a_role_is_told_what_its_rules_speak_of_and_nothing_else() {
    let anon = club(&Principal::anonymous());
    assert!(anon.contains("  channels: 'door' | (string & {})\n"), "{anon}");
    assert!(anon.contains("  buckets: 'open'\n"), "{anon}");
    assert!(anon.contains("Row: Record<never, never>\n"), "{anon}");
    // Who is nobody has no id that could stand for it.
    assert!(anon.contains("        by: string\n"), "{anon}");
    assert!(!anon.contains("secret") && !anon.contains("ABC2") && !anon.contains("ours"), "{anon}");
    let member = club(&Principal::user(uuid::Uuid::nil(), &["member"]));
    assert!(member.contains("  channels: `club:${string}` | 'door' | (string & {})\n"), "{member}");
    assert!(member.contains("  buckets: 'open' | 'ours'\n"), "{member}");
    assert!(member.contains("New: Record<string, never>\n"), "{member}");
    assert!(member.contains("        by?: string\n"), "{member}");
    let secret = club(&Principal::service());
    assert!(secret.contains("  buckets: 'open' | 'ours' | 'shut'\n"), "{secret}");
}

#[test]
fn a_project_of_which_nothing_is_declared_has_types_too() {
    let text = typed("realtime: { public_channels: false }\n", &Principal::service(), "c").unwrap();
    assert!(text.contains("  collections: {}\n"), "{text}");
    assert!(text.contains("  buckets: never\n") && text.contains("  channels: never\n"), "{text}");
    let open = typed("limits:\n", &Principal::service(), "c").unwrap();
    assert!(open.contains("  channels: string\n"), "{open}");
}
