//! What a project without faults becomes, and that nothing else is ever taken for one.

use proptest::prelude::*;

use super::*;
use crate::model::{
    Attribute, Bound, DefaultValue, IndexMethod, Kind, OnDelete, RelationTarget, Scalar, Value,
};

fn sources(files: &[(&str, &str)]) -> Sources {
    Sources(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect())
}

#[track_caller]
fn one(text: &str) -> Project {
    match load(&sources(&[("a.yaml", text)])) {
        Ok(project) => project,
        Err(faults) => panic!("{}", render(&faults)),
    }
}

/// The example as it stands in the repository.
fn blog() -> Sources {
    sources(&[
        ("basewright.yaml", include_str!("../../examples/blog/basewright.yaml")),
        ("collections/comments.yaml", include_str!("../../examples/blog/collections/comments.yaml")),
        ("collections/posts.yaml", include_str!("../../examples/blog/collections/posts.yaml")),
        ("collections/profiles.yaml", include_str!("../../examples/blog/collections/profiles.yaml")),
        ("collections/tags.yaml", include_str!("../../examples/blog/collections/tags.yaml")),
        ("policies/comments.yaml", include_str!("../../examples/blog/policies/comments.yaml")),
        ("policies/files.yaml", include_str!("../../examples/blog/policies/files.yaml")),
        ("policies/posts.yaml", include_str!("../../examples/blog/policies/posts.yaml")),
        ("policies/profiles.yaml", include_str!("../../examples/blog/policies/profiles.yaml")),
        ("policies/roles.yaml", include_str!("../../examples/blog/policies/roles.yaml")),
        ("policies/tests.yaml", include_str!("../../examples/blog/policies/tests.yaml")),
        ("schemas/post-meta.json", include_str!("../../examples/blog/schemas/post-meta.json")),
    ])
}

#[track_caller]
fn blog_project() -> Project {
    match load(&blog()) {
        Ok(project) => project,
        Err(faults) => panic!("{}", render(&faults)),
    }
}

#[test]
fn a_collection_has_its_key_first_and_its_timestamps_last() {
    let project =
        one("collections:\n  posts:\n    fields: { title: { type: text, required: true, max: 9 } }\n");
    let posts = project.collections.get(project.collections.find("posts").unwrap());
    let names: Vec<_> = posts.fields.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(names, ["id", "title", "created_at", "updated_at"]);
    assert_eq!(posts.fields[0].default, Some(DefaultValue::UuidV7));
    assert_eq!(posts.fields[3].default, Some(DefaultValue::Now));
    assert!(posts.fields.iter().all(|field| field.required));
    assert_eq!(posts.fields[1].max, Some(Bound::Size(9)));
    assert_eq!(posts.primary_key, [posts.field_id("id").unwrap()]);
    assert!(posts.realtime && posts.timestamps);
}

#[test]
fn a_key_of_several_fields_comes_first_in_its_own_order() {
    let project = one(
        "collections:\n  pairs:\n    timestamps: false\n    primary_key: [b, a]\n    fields: { x: text, a: uuid, b: integer }\n",
    );
    let pairs = project.collections.get(project.collections.find("pairs").unwrap());
    let names: Vec<_> = pairs.fields.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(names, ["b", "a", "x"]);
    assert!(pairs.fields[0].required && pairs.fields[1].required && !pairs.fields[2].required);
    assert!(pairs.fields.iter().all(|field| field.default.is_none()));
}

#[test]
fn a_relation_takes_the_kind_of_its_targets_key_and_an_index() {
    let project = one(concat!(
        "collections:\n",
        "  books: { fields: { id: bigint, next: { type: relation, to: books, inverse: earlier } } }\n",
        "  pages:\n",
        "    fields:\n",
        "      book: { type: relation, to: books, on_delete: cascade, required: true }\n",
        "      owner: { type: uuid, references: auth.users, default: auth.id, on_delete: set_null }\n",
        "      twin: { type: relation, to: pages, unique: true, inverse: twins }\n",
        "    indexes: [[book, -created_at]]\n",
    ));
    let pages = project.collections.get(project.collections.find("pages").unwrap());
    let field = |name: &str| pages.field(pages.field_id(name).unwrap());
    assert_eq!(field("book").kind, Kind::BIGINT);
    assert_eq!(field("twin").kind, Kind::UUID);
    let book = field("book").relation.as_ref().unwrap();
    assert_eq!(book.on_delete, OnDelete::Cascade);
    assert_eq!(book.constraint, "pages_book_fkey");
    assert_eq!(book.inverse, "pages");
    assert_eq!(book.target, RelationTarget::Collection(project.collections.find("books").unwrap()));
    let owner = field("owner");
    assert_eq!(owner.relation.as_ref().unwrap().target, RelationTarget::Users);
    assert_eq!(owner.default, Some(DefaultValue::Attribute(Attribute::Id)));
    // `book` leads a declared index and `twin` a unique constraint: only `owner` needs one of its own.
    let names: Vec<_> = pages.indexes.iter().map(|index| index.name.as_str()).collect();
    assert_eq!(names, ["pages_book_created_at_idx", "pages_owner_idx"]);
    assert!(pages.indexes[0].columns[1].descending);
    assert_eq!(pages.indexes[0].method, IndexMethod::Btree);
}

#[test]
fn literals_become_values_of_their_fields_kind() {
    let project = one(concat!(
        "collections:\n  k:\n    fields:\n",
        "      a: { type: decimal, default: 0.10000000000000000000001 }\n",
        "      b: { type: bigint, default: 9223372036854775807 }\n",
        "      c: { type: date, default: 2026-01-31, min: 2000-01-01 }\n",
        "      d: { type: 'text[]', default: [x, '5'] }\n",
        "      e: { type: json, default: { a: [1, 'x', null, true] } }\n",
        "      f: { type: boolean, default: false }\n",
        "      g: { type: enum, values: [low, high], default: low }\n",
        "      h: { type: 'enum[]', values: [low, high], default: [] }\n",
        "      i: { type: timestamp, default: now() }\n",
    ));
    let (_, k) = project.collections.iter().next().unwrap();
    let default = |name: &str| k.field(k.field_id(name).unwrap()).default.clone().unwrap();
    let literal = |name: &str| match default(name) {
        DefaultValue::Literal(value) => value,
        other => panic!("{other:?}"),
    };
    assert_eq!(literal("a").to_text().unwrap(), "0.10000000000000000000001");
    assert_eq!(literal("b"), Value::Integer(i64::MAX));
    assert_eq!(literal("c").to_text().unwrap(), "2026-01-31");
    assert_eq!(literal("d"), Value::Array(vec![Value::text("x"), Value::text("5")]));
    assert_eq!(literal("e"), Value::Json(serde_json::json!({ "a": [1, "x", null, true] })));
    assert_eq!(literal("f"), Value::Boolean(false));
    assert_eq!(literal("g"), Value::text("low"));
    assert_eq!(k.field(k.field_id("h").unwrap()).kind, Kind::many(Scalar::Text));
    assert_eq!(literal("h"), Value::Array(Vec::new()));
    assert_eq!(default("i"), DefaultValue::Now);
}

#[test]
fn a_section_may_stand_in_any_file() {
    let project = load(&sources(&[
        ("basewright.yaml", "limits: { rows: 7 }\ncollections: { a: { fields: {} } }\nroles: { x: {} }\n"),
        (
            "collections/b.yaml",
            "roles: { editor: { inherits: [x, anon] } }\ncollections: { b: { fields: {} } }\n",
        ),
        ("policies/empty.yaml", "# nothing yet\n"),
        (
            "policies/p.yaml",
            "policies: { a: { read: [{ role: editor, fields: { except: [created_at] } }] } }\n",
        ),
    ]))
    .unwrap();
    assert_eq!(project.limits.rows, 7);
    let roles: Vec<_> = project.roles.iter().map(|role| role.name.as_str()).collect();
    assert_eq!(roles, ["anon", "authenticated", "service_role", "x", "editor"]);
    assert_eq!(project.roles[1].inherits, ["anon"]);
    assert_eq!(project.roles[4].inherits, ["x", "anon"]);
    let rule = &project.rules[0];
    let a = project.collections.get(rule.collection);
    assert_eq!((rule.id.as_str(), rule.role.as_str()), ("a.read[0]", "editor"));
    let shown: Vec<_> = rule.fields.iter().map(|id| a.field(id).name.as_str()).collect();
    assert_eq!(shown, ["id", "updated_at"]);
}

#[test]
fn the_example_loads_with_all_that_it_declares() {
    let project = blog_project();
    let names: Vec<_> = project.collections.iter().map(|(_, one)| one.name.as_str()).collect();
    assert_eq!(names, ["comments", "posts", "profiles", "tags", "post_tags"]);
    assert_eq!(project.rules.len(), 41);
    assert_eq!(project.buckets.len(), 2);
    let posts = project.collections.find("posts").unwrap();
    assert_eq!(project.checks[&posts].len(), 1);
    assert!(
        project
            .collections
            .get(posts)
            .field(project.collections.get(posts).field_id("meta").unwrap())
            .schema
            .is_some()
    );
    assert_eq!(project.tests.len(), 1);
    let tests = &project.tests[0];
    assert_eq!(tests.file, "policies/tests.yaml");
    assert_eq!(tests.cases.len(), 52);
    assert!(tests.cases.iter().all(|case| case.line > 20));
}

#[test]
fn given_records_are_complete_and_stand_after_what_they_refer_to() {
    let project = one(concat!(
        "collections:\n",
        "  pages: { fields: { book: { type: relation, to: books, required: true }, text: { type: text, required: true, min: 5 } } }\n",
        "  books: { fields: { owner: { type: uuid, references: auth.users, required: true }, code: { type: text, required: true, unique: true, match: '^[A-Z]{4}$' }, stars: { type: integer, required: true, min: 3, max: 5 } } }\n",
        "tests:\n",
        "  given: { pages: [{ id: one }, { id: two }] }\n",
        "  cases: [{ as: user:ada, read: pages/one, is: denied }, { as: anon, create: books, is: denied }]\n",
    ));
    let given = &project.tests[0].given;
    let order: Vec<_> =
        given.records.iter().map(|record| project.collections.get(record.collection).name.as_str()).collect();
    assert_eq!(order, ["books", "pages", "pages"]);
    for record in &given.records {
        let collection = project.collections.get(record.collection);
        let row = record.record(42);
        for (field, value) in collection.fields.iter().zip(&row.0) {
            assert!(literal::meets(value, field).is_ok(), "{}: {value:?}", field.name);
        }
        assert_eq!(row.get(collection.field_id("created_at").unwrap()), &Value::Timestamp(42));
    }
    let pages = project.collections.get(project.collections.find("pages").unwrap());
    assert_eq!(given.records[1].key(pages), Some(vec![Value::Uuid(tests::named_uuid("one"))]));
    assert!(given.users.iter().any(|user| user.name == "ada" && user.id == tests::named_uuid("ada")));
    let books = project.collections.get(project.collections.find("books").unwrap());
    let owner = given.records[0].record(0).get(books.field_id("owner").unwrap()).clone();
    assert!(given.users.iter().any(|user| Value::Uuid(user.id) == owner));
    let tests::Act::Create { values, filled, .. } = &project.tests[0].cases[1].act else { panic!() };
    assert!(values.is_empty());
    let names: Vec<_> = filled.iter().map(|(id, _)| books.field(*id).name.as_str()).collect();
    assert_eq!(names, ["code", "stars"]);
}

/// How much a project says: what a change of its text may not silently take away.
fn size(project: &Project) -> [usize; 7] {
    let all = |count: fn(&crate::model::Collection) -> usize| {
        project.collections.iter().map(|(_, collection)| count(collection)).sum::<usize>()
    };
    [
        all(|one| one.fields.len()),
        all(|one| one.unique.len() + one.indexes.len()),
        all(|one| one.checks.len()),
        project.checks.values().map(Vec::len).sum(),
        project.rules.len(),
        project.conditions.len(),
        project.tests.iter().map(|tests| tests.cases.len()).sum(),
    ]
}

/// The places of the keys of a YAML text: words before a colon.
fn keys(text: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (line_start, line) in text.split_inclusive('\n').scan(0, |at, line| {
        let start = *at;
        *at += line.len();
        Some((start, line))
    }) {
        let code = line.split(" #").next().unwrap_or_default();
        if code.trim_start().starts_with('#') {
            continue;
        }
        for (colon, _) in code.match_indices(':') {
            let after = code[colon + 1..].chars().next();
            let word = code[..colon]
                .rsplit(|c: char| !(c.is_ascii_lowercase() || c == '_'))
                .next()
                .unwrap_or_default();
            if !word.is_empty() && after.is_none_or(char::is_whitespace) {
                found.push((line_start + colon - word.len(), line_start + colon));
            }
        }
    }
    found
}

#[test]
fn a_key_of_the_formats_own_that_is_written_wrong_is_refused_wherever_it_stands() {
    const WORDS: [&str; 42] = [
        "collections",
        "roles",
        "conditions",
        "policies",
        "limits",
        "tests",
        "fields",
        "primary_key",
        "unique",
        "indexes",
        "checks",
        "timestamps",
        "type",
        "required",
        "default",
        "min",
        "max",
        "match",
        "values",
        "schema",
        "to",
        "references",
        "on_delete",
        "inherits",
        "read",
        "create",
        "update",
        "delete",
        "role",
        "when",
        "check",
        "set",
        "except",
        "given",
        "cases",
        "as",
        "is",
        "hidden",
        "because",
        "sees",
        "with",
        "rows",
    ];
    let whole = blog();
    let mut changed = 0;
    for (path, text) in whole.0.iter().filter(|(path, _)| path.ends_with(".yaml")) {
        for (start, end) in keys(text).into_iter().filter(|(start, end)| WORDS.contains(&&text[*start..*end]))
        {
            let mut mutant = whole.clone();
            mutant.0.insert(path.clone(), format!("{}q{}", &text[..end], &text[end..]));
            changed += 1;
            assert!(
                load(&mutant).is_err(),
                "{path}: `{}q` at byte {start} was passed over",
                &text[start..end]
            );
        }
    }
    assert!(changed > 300, "only {changed} keys were found");
}

fn cases(default: u32) -> ProptestConfig {
    let asked = std::env::var("BASEWRIGHT_PROJECT_CASES").ok().and_then(|text| text.parse().ok());
    ProptestConfig { cases: asked.unwrap_or(default), failure_persistence: None, ..ProptestConfig::default() }
}

/// Places in a text that can be cut at.
fn boundary(text: &str, at: usize) -> usize {
    text.floor_char_boundary(at % (text.len() + 1))
}

proptest! {
    #![proptest_config(cases(520))]

    #[test]
    fn a_changed_example_loads_or_is_refused_and_never_panics(
        file in 0_usize..11, at in any::<usize>(), length in 0_usize..40,
        put in prop_oneof![
            Just(String::new()), "[ -~]{1,6}", "[\\[\\]{}:,&*!|>'\"%@`#\\-? \t\n]{1,4}", "\\PC{1,3}", "[ ]{0,3}\n[ ]{0,8}",
        ],
        from in any::<usize>(),
    ) {
        let mut mutant = blog();
        let path = mutant.0.keys().nth(file).unwrap().clone();
        let text = mutant.0[&path].clone();
        let start = boundary(&text, at);
        let end = text.floor_char_boundary((start + length).min(text.len())).max(start);
        // Now and then a piece of the same file comes in instead.
        let piece = if put.is_empty() && from % 2 == 0 {
            let start = boundary(&text, from);
            text[start..text.floor_char_boundary((start + length).min(text.len())).max(start)].to_owned()
        } else {
            put
        };
        mutant.0.insert(path.clone(), format!("{}{piece}{}", &text[..start], &text[end..]));
        match load(&mutant) {
            Ok(project) => {
                // A smaller change than a whole definition takes nothing away in silence.
                prop_assert_eq!(project.checks.values().map(Vec::len).sum::<usize>(), size(&project)[2]);
            }
            Err(faults) => {
                prop_assert!(!faults.is_empty());
                for fault in &faults {
                    let lines: Vec<&str> = mutant.0[&fault.file].split('\n').collect();
                    prop_assert_eq!(lines[fault.line - 1].trim_end_matches('\r'), fault.text.as_str());
                    prop_assert!(fault.column >= 1 && fault.column <= fault.text.chars().count() + 1, "{:?}", fault);
                    prop_assert!(fault.width >= 1);
                }
                prop_assert!(!render(&faults).is_empty());
            }
        }
    }

    #[test]
    fn no_text_at_all_makes_the_loader_panic(text in prop_oneof![
        "\\PC{0,200}",
        "[\\[\\]{}:,&*!|>'\"%@`#\\-? \t\na-c0-9]{0,120}",
        "(collections|policies|tests|roles|limits|conditions|auth|mail):[ \n]{1,3}[\\[\\]{}:,'\" \na-c0-9]{0,60}",
    ]) {
        if let Err(faults) = load(&sources(&[("a.yaml", &text)])) {
            prop_assert!(!render(&faults).is_empty());
        }
    }
}

fn advice(policies: &str) -> Vec<String> {
    let project = one(&format!(
        "collections:\n  spans:\n    fields: {{ owner: uuid, low: integer, high: integer, note: text }}\n    checks:\n      - low <= high\n      - note != ''\npolicies:\n  spans:\n{policies}"
    ));
    let advice = project.advice(&project.catalog(1).unwrap());
    advice.iter().map(|fault| format!("{}:{} {}", fault.line, fault.column, fault.message)).collect()
}

#[test]
fn a_check_that_tells_of_a_hidden_field_is_warned_of() {
    let told = advice(
        "    read: [{ role: authenticated, fields: { except: [high] } }]\n    update: [{ role: authenticated, fields: [low] }]\n",
    );
    assert_eq!(
        told,
        [
            "5:9 warning: `authenticated` may update `low` and learns by what this check refuses what stands in `high`, which is hidden from it"
        ]
    );
    // Shown on fewer records than may be updated.
    let told = advice(
        "    read: [{ role: anon, fields: { except: [high] } }, { role: anon, when: owner == auth.id && low > 0 }]\n    update: [{ role: anon, when: owner == auth.id, fields: [low] }]\n",
    );
    assert_eq!(told.len(), 1, "{told:?}");
}

#[test]
fn a_check_over_fields_that_are_shown_wherever_they_are_updated_is_not() {
    for policies in [
        "    read: [{ role: authenticated }]\n    update: [{ role: authenticated }]\n",
        // Nothing of the check may be updated; nothing may be read, and so nothing updated; only created.
        "    read: [{ role: anon, fields: { except: [high] } }]\n    update: [{ role: anon, fields: [note] }]\n",
        "    update: [{ role: anon, fields: [low] }]\n",
        "    read: [{ role: anon, fields: { except: [high] } }]\n    create: [{ role: anon }]\n",
        // What may be updated is more than what shows the field asks for.
        "    read: [{ role: anon, fields: { except: [high] } }, { role: anon, when: owner == auth.id }]\n    update: [{ role: anon, when: owner == auth.id && low > 0, fields: [low] }]\n",
    ] {
        assert_eq!(advice(policies), [""; 0], "{policies}");
    }
    let blog = blog_project();
    assert_eq!(blog.advice(&blog.catalog(1).unwrap()), []);
}

#[test]
fn a_name_of_related_records_that_no_embed_can_use_is_said() {
    let told = |fields: &str| -> Vec<String> {
        let project =
            one(&format!("collections:\n  users: {{ fields: {{}} }}\n  posts:\n    fields:\n{fields}"));
        let advice = project.advice(&project.catalog(1).unwrap());
        let line = |fault: &super::Fault| {
            let hint = fault.hint.as_deref().unwrap_or_default();
            format!("{}:{} {} [{hint}]", fault.line, fault.column, fault.message)
        };
        advice.iter().map(line).collect()
    };
    assert_eq!(
        told(
            "      author: { type: relation, to: users }\n      editor: { type: relation, to: users, inverse: edited }\n"
        ),
        [
            "5:7 warning: `users` cannot embed `posts` without saying by which relation: `editor` leads there too \
             [say how `users` names these, as in `inverse: author_posts`]"
        ]
    );
    // Of its own collection, too; where each has a name of its own, that is what embeds use.
    assert_eq!(
        told("      up: { type: relation, to: posts }\n      top: { type: relation, to: posts, inverse: below }\n").len(),
        1
    );
    for fields in [
        "      author: { type: relation, to: users, inverse: written }\n      editor: { type: relation, to: users, inverse: edited }\n",
        "      author: { type: relation, to: users }\n      up: { type: relation, to: posts }\n",
        "      author: { type: relation, to: users }\n      owner: { type: uuid, references: auth.users }\n",
    ] {
        assert_eq!(told(fields), [""; 0], "{fields}");
    }
}

#[test]
fn a_channel_that_nobody_can_join_is_said() {
    let project = one("channels:
  'realtime:room:{room}':
    read: [{ role: anon }, { role: authenticated, when: false }]
  'closed':
  'silent:{x}':
    write: [{ role: anon, when: false }]
  'news':
    read: [{ role: anon }]
");
    let told: Vec<String> = project
        .advice(&project.catalog(1).unwrap())
        .iter()
        .map(|fault| format!("{}:{} {}", fault.line, fault.column, fault.message))
        .collect();
    assert_eq!(
        told,
        [
            "2:3 warning: clients put `realtime:` before the name of every channel by themselves",
            "2:3 warning: the rule realtime:realtime:room:{room}.read[1] never holds",
            "4:3 warning: only the secret key may join this channel",
            "5:3 warning: only the secret key may join this channel",
        ]
    );
    assert!(project.channels.public && project.channels.declares("silent:1"));
}
