//! What an admin may write wrong, and what he is told.

use super::*;

pub(super) fn sources(files: &[(&str, &str)]) -> Sources {
    Sources(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect())
}

/// Loads one file and gives `line:column message [hint]` for each fault.
fn faults(text: &str) -> Vec<String> {
    match load(&sources(&[("a.yaml", text)])) {
        Ok(_) => Vec::new(),
        Err(faults) => faults
            .into_iter()
            .map(|fault| {
                let hint = fault.hint.map(|hint| format!(" [{hint}]")).unwrap_or_default();
                format!("{}:{} {}{hint}", fault.line, fault.column, fault.message)
            })
            .collect(),
    }
}

/// A collection `posts` with these fields, one a line.
fn fields(lines: &[&str]) -> String {
    let mut text = "collections:\n  posts:\n    fields:\n".to_owned();
    for line in lines {
        text.push_str("      ");
        text.push_str(line);
        text.push('\n');
    }
    text
}

#[track_caller]
pub(super) fn told(text: &str, expected: &[&str]) {
    let found = faults(text);
    let matches = found.len() == expected.len()
        && found.iter().zip(expected).all(|(found, expected)| found.starts_with(expected));
    assert!(matches, "expected {expected:#?}\nfound {found:#?}\nin\n{text}");
}

#[test]
fn a_fault_is_shown_with_its_place_its_line_and_what_was_meant() {
    let project = sources(&[
        (
            "collections/posts.yaml",
            "collections:\n  posts:\n    fields:\n      title: { type: text, requred: true }\n      body:  txet\n",
        ),
        (
            "policies/posts.yaml",
            "policies:\n  posts:\n    read:\n      - { role: editr }\n    raed: []\nroles:\n  editor: {}\n",
        ),
    ]);
    let shown = render(&load(&project).unwrap_err());
    let expected = "\
collections/posts.yaml:4:30: unknown key of a field `requred`
  4 |       title: { type: text, requred: true }
    |                            ^^^^^^^
    = did you mean `required`?

collections/posts.yaml:5:14: unknown kind `txet`
  5 |       body:  txet
    |              ^^^^
    = did you mean `text`?

policies/posts.yaml:4:17: unknown role `editr`
  4 |       - { role: editr }
    |                 ^^^^^
    = did you mean `editor`?

policies/posts.yaml:5:5: unknown action `raed`
  5 |     raed: []
    |     ^^^^
    = did you mean `read`?
";
    let expected = expected.replace(":4:30:", ":4:28:");
    assert_eq!(shown, expected, "\n{shown}");
}

#[test]
fn a_key_that_is_not_known_is_never_passed_over() {
    told("colections: {}\n", &["1:1 unknown section `colections` [did you mean `collections`?]"]);
    told(
        "collections:\n  posts:\n    fields: {}\n    uniqe: []\n",
        &["4:5 unknown key of a collection `uniqe` [did you mean `unique`?]"],
    );
    told(
        "collections:\n  posts:\n    feilds: { a: text }\n",
        &["2:3 `posts` has no `fields`", "3:5 unknown key of a collection `feilds` [did you mean `fields`?]"],
    );
    told(
        &fields(&["a: { type: text, mni: 1 }"]),
        &["4:24 unknown key of a field `mni` [did you mean `min`?]"],
    );
    told(
        "roles:\n  a: { inherit: [anon] }\n",
        &["2:8 unknown key of a role `inherit` [did you mean `inherits`?]"],
    );
    told("limits: { row: 3 }\n", &["1:11 unknown limit `row` [did you mean `rows`?]"]);
    told(
        "tests: { given: {}, case: [] }\n",
        &["1:1 `tests` without `cases`", "1:21 unknown key of `tests` `case`"],
    );
    let rule = |rule: &str| {
        format!(
            "collections: {{ posts: {{ fields: {{}} }} }}\npolicies:\n  posts:\n    read:\n      - {rule}\n"
        )
    };
    told(&rule("{ role: anon, wen: 'false' }"), &["5:23 unknown key of a rule `wen` [did you mean `when`?]"]);
    told(
        &rule("{ role: anon, check: 'false' }"),
        &["5:23 `check` has no meaning in a `read` rule [it takes `role`, `when` and `fields`]"],
    );
    told(
        &rule("{ role: anon, fields: { exept: [id] } }"),
        &["5:33 unknown key of a rule `exept` [did you mean `except`?]"],
    );
    told(&rule("{ role: anon, when: }"), &["5:23 `when` is a condition, not nothing"]);
    told(&rule("{ role: anon, fields: }"), &["5:23 `fields` is a list, not nothing"]);
    let create = "collections: { posts: { fields: { a: text } } }\npolicies:\n  posts:\n    create:\n      - role: anon\n        set:\n";
    told(create, &["6:9 `set` is a mapping, not nothing"]);
    told(&rule("{ when: 'true' }"), &["5:9 a rule needs a `role`"]);
    told(&rule("{ role: service_role }"), &["5:17 `service_role` may do everything already"]);
}

#[test]
fn what_a_later_version_brings_is_said_to_be_not_there() {
    for (section, column) in [("function: {}", 1), ("webhooks: []", 1)] {
        let word = section.split(':').next().unwrap();
        told(section, &[&format!("1:{column} `{word}` is not supported by this version")]);
    }
    told(
        "collections:\n  posts:\n    view: select 1\n    fields: {}\n",
        &["3:5 `view` is not supported by this version"],
    );
    told(
        &fields(&["a: { type: file, bucket: b, max_size: 2MB }"]),
        &["4:18 the kind `file` is not supported by this version"],
    );
    told(&fields(&["a: vector(3)"]), &["4:10 the kind `vector(3)` is not supported by this version"]);
}

#[test]
fn a_subscription_watches_one_change_of_a_record_and_says_what_is_told() {
    let case = |text: &str| {
        format!(
            "collections: {{ posts: {{ fields: {{ a: {{ type: text, max: 3 }} }} }}, quiet: {{ realtime: false, fields: {{ a: text }} }} }}\ntests:\n  given: {{ posts: [{{ id: p1 }}] }}\n  cases:\n    - {{ as: anon, {text} }}\n"
        )
    };
    told(&case("subscribe: posts, sees: insert"), &["5:30 what happens meanwhile?"]);
    told(&case("subscribe: quiet, when_created: { q: }, sees: insert"), &["5:30 `quiet` sends no changes"]);
    told(
        &case("subscribe: posts, when_deleted: p2, sees: delete"),
        &["5:51 no record `p2` of `posts` is given"],
    );
    told(
        &case("subscribe: posts, when_created: { p1: }, sees: insert"),
        &["5:53 a record `p1` of `posts` is given already"],
    );
    told(
        &case("subscribe: posts, when_updated: { p1: }, sees: update"),
        &["5:53 an update changes something"],
    );
    told(&case("subscribe: posts, when_updated: { p1: { a: long } }, sees: update"), &["5:62 `a` "]);
    told(
        &case("subscribe: posts, when_deleted: p1, when_created: { p2: }, sees: delete"),
        &["5:55 one change is watched, and this case has `when_deleted` already"],
    );
    told(&case("subscribe: posts, when_deleted: p1, sees: gone"), &["5:61 unknown event `gone`"]);
    told(&case("subscribe: posts, when_deleted: p1"), &["5:7 a case says what is expected"]);
    told(&case("read: posts, when_deleted: p1, sees: []"), &["5:32 `when_deleted` belongs to a `subscribe`"]);
}

#[test]
fn a_search_reads_text_of_its_own_collection_in_a_known_language() {
    let search = |search: &str| {
        format!(
            "collections:\n  posts:\n    search: {search}\n    fields:\n      title: text\n      rank: integer\n      scores: 'float[]'\n"
        )
    };
    for (written, faults) in [
        ("{ fields: [titel] }", &["3:24 unknown field of `posts` `titel` [did you mean `title`?]"][..]),
        ("{ fields: [title, title] }", &["3:31 the field `title` stands twice"]),
        ("{ fields: [] }", &["3:23 a search needs at least one field"]),
        (
            "{ language: english }",
            &["3:13 a search needs `fields` [as in `search: { fields: [title, body] }`]"],
        ),
        ("[title]", &["3:13 `search` is a mapping, not a list"]),
        ("", &["3:5 `search` is a mapping, not nothing"]),
        ("{ fields: title }", &["3:23 `fields` is a list, not text"]),
        (
            "{ fields: [rank, scores] }",
            &[
                "3:24 `rank` is an integer, which holds no text to search [`search` reads text, enums, lists of them, and the strings in `json`]",
                "3:30 `scores` is a list of float values, which holds no text to search [`search` reads text, enums, lists of them, and the strings in `json`]",
            ],
        ),
        (
            "{ fields: [title], language: englisch }",
            &["3:42 unknown language `englisch` [did you mean `english`?]"],
        ),
        (
            "{ fields: [title], weights: [A] }",
            &["3:32 unknown key of `search` `weights` [possible here: `fields` and `language`]"],
        ),
    ] {
        told(&search(written), faults);
    }
}

#[test]
fn nothing_else_bears_the_name_of_a_search() {
    told(
        "collections:\n  posts:\n    search: { fields: [title] }\n    fields:\n      title: text\n      search: text\n",
        &[
            "6:7 `posts` has a `search:` at a.yaml:3:13, and this field would bear its name [give the field another name, as in `{ renamed_from: search }`]",
        ],
    );
    told(
        "collections:\n  posts:\n    search: { fields: [title] }\n    fields: { title: text }\n  search:\n    fields:\n      post: { type: relation, to: posts }\n",
        &[
            "7:7 `posts` has a full-text `search`, which this inverse would shadow [say how `posts` names them, as in `inverse: post_search`]",
        ],
    );
    // The index's name is taken by that of another collection's field.
    told(
        "collections:\n  posts:\n    search: { fields: [title] }\n    fields: { title: text }\n  posts_search:\n    fields: { a: text }\n    indexes: [[a]]\n  posts_search_idx:\n    fields: {}\n",
        &[
            "2:3 `posts` and `posts_search_idx` both lead to the name `posts_search_idx` in Postgres [rename a collection or a field]",
        ],
    );
}

#[test]
fn yaml_that_tools_read_differently_is_refused() {
    told(
        &fields(&["a: { type: text, required: yes }"]),
        &[
            "4:34 `yes` is read as a boolean by some YAML tools and as text by others [write `true`, or quote it: 'yes']",
        ],
    );
    told(&fields(&["a: { type: enum, values: [on, 'off'] }"]), &["4:33 `on` is read as a boolean"]);
    told(&fields(&["a: { type: text, required: True }"]), &["4:34 `True` is read as a boolean"]);
    told(
        &fields(&["a: text", "a: uuid"]),
        &["5:7 `a` stands twice in one mapping; the first is at a.yaml:4:7"],
    );
    told("collections: !!map {}\n", &["1:20 tags have no meaning here"]);
    told("collections: {}\n---\nroles: {}\n", &["2:1 a file holds one document"]);
    told("collections:\n  <<: {}\n", &["2:3 merge keys (`<<`) are not read"]);
    told("collections: { [a]: b }\n", &["1:16 a key is a word"]);
    told("limits: { rows: \"\\0\" }\n", &["1:17 text cannot hold the character NUL"]);
    told("- a\n", &["1:1 a project's file is a mapping, not a list"]);
    assert_eq!(faults("collections: {}\n\tposts: a\n").len(), 1);
    assert_eq!(faults("a: [b\n").len(), 1);
    assert_eq!(faults("a: *b\n").len(), 1);
}

#[test]
fn aliases_repeat_what_they_name_and_cannot_multiply_without_end() {
    let fine = "collections:\n  a: { fields: { x: &short { type: text, max: 9 }, y: *short } }\n";
    let project = load(&sources(&[("a.yaml", fine)])).unwrap();
    let (_, collection) = project.collections.iter().next().unwrap();
    assert_eq!(collection.fields[1].max, collection.fields[2].max);
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let row = vec![format!("*a{}", level - 1); 9].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{row}]\n"));
    }
    let found = faults(&bomb);
    assert!(found.iter().any(|fault| fault.contains("more than 100000 values")), "{found:?}");
    told("a: &a [*a]\n", &["1:8 an alias cannot stand inside what it names"]);
    let deep = format!("a: {}{}\n", "[".repeat(500), "]".repeat(500));
    assert_eq!(faults(&deep).len(), 1);
}

#[test]
fn two_definitions_of_one_name_are_told_with_both_places() {
    let project = sources(&[
        ("a.yaml", "collections:\n  posts: { fields: {} }\n"),
        ("b.yaml", "collections:\n\n  posts: { fields: {} }\n"),
    ]);
    let faults = load(&project).unwrap_err();
    assert_eq!(faults.len(), 1);
    assert_eq!((faults[0].file.as_str(), faults[0].line, faults[0].column), ("b.yaml", 3, 3));
    assert_eq!(faults[0].message, "`posts` is defined twice; the other definition is at a.yaml:2:3");
}

#[test]
fn a_field_that_cannot_be_is_refused_where_it_stands() {
    told(&fields(&["a: string"]), &["4:10 unknown kind `string` [did you mean `text`?]"]);
    told(&fields(&["a: 'txt[]'"]), &["4:10 unknown kind `txt[]` [did you mean `text[]`?]"]);
    told(&fields(&["a:"]), &["4:7 a field needs a kind"]);
    told(&fields(&["a: { required: true }"]), &["4:7 the field `a` has no `type`"]);
    told(&fields(&["Title: text"]), &["4:7 `Title` is no name"]);
    told(&fields(&["order: text"]), &["4:7 `order` has a meaning of its own and cannot name a field"]);
    told(&fields(&["ctid: text"]), &["4:7 `ctid` has a meaning of its own"]);
    told(&fields(&["created_at: timestamp"]), &["4:7 the server keeps `created_at` itself"]);
    told(&fields(&["a: { type: enum }"]), &["4:18 an enum needs its values"]);
    told(&fields(&["a: { type: enum, values: [x, x] }"]), &["4:36 the value `x` stands twice"]);
    told(
        &fields(&["a: { type: enum, values: [x, 1] }"]),
        &["4:36 an entry of `values` is text, not a number [quote it: '1']"],
    );
    told(&fields(&["a: { type: relation }"]), &["4:18 a relation needs its target"]);
    told(
        &fields(&["a: { type: relation, to: psots }"]),
        &["4:32 unknown collection `psots` [did you mean `posts`?]"],
    );
    told(&fields(&["a: { type: 'relation[]', to: posts }"]), &["4:18 a relation leads to one record"]);
    told(&fields(&["a: { type: relation, to: auth.users }"]), &["4:32 `auth.users` is no collection"]);
    told(
        &fields(&["a: { type: uuid, references: users }"]),
        &["4:36 `references` leads to `auth.users` only"],
    );
    told(
        &fields(&["a: { type: text, references: auth.users }"]),
        &["4:24 `references` has no meaning for a field of kind `text`"],
    );
    told(&fields(&["a: { type: text, on_delete: cascade }"]), &["4:24 `on_delete` has no meaning"]);
    told(
        &fields(&["a: { type: uuid, references: auth.users, on_delete: cascad }"]),
        &["4:59 unknown action `cascad` [did you mean `cascade`?]"],
    );
    told(
        &fields(&["a: { type: uuid, references: auth.users, required: true, on_delete: set_null }"]),
        &["4:75 `set_null` needs a field that may be null"],
    );
    told(
        &fields(&["a: { type: boolean, min: 1 }"]),
        &["4:27 `min` has no meaning for a field of kind `boolean`"],
    );
    told(&fields(&["a: { type: integer, match: x }"]), &["4:27 `match` has no meaning"]);
    told(&fields(&["a: { type: integer, min: 5, max: 3 }"]), &["4:40 `max` is under `min`, which is 5"]);
    told(&fields(&["a: { type: text, min: -1 }"]), &["4:29 `min` is a whole number from 0 to"]);
    told(&fields(&["a: { type: date, min: tomorrow }"]), &["4:29 `min` is a date [as in '2026-01-31']"]);
    told(&fields(&["a: { type: integer, default: 1.5 }"]), &["4:36 a default is an integer"]);
    told(
        &fields(&["a: { type: integer, max: 9, default: 10 }"]),
        &["4:44 a default of `a` is refused by the field itself: it is over its `max` of 9"],
    );
    told(
        &fields(&["a: { type: enum, values: [x], default: z }"]),
        &["4:46 a default of `a` is refused by the field itself: it has no value `z`"],
    );
    told(
        &fields(&["a: { type: text, default: 5 }"]),
        &["4:33 a default is text, not a number [quote it: '5']"],
    );
    told(&fields(&["a: { type: text, default: null }"]), &["4:33 a default is a value"]);
    told(
        &fields(&["a: { type: text, default: auth.id }"]),
        &["4:33 a default of `a` is a text, and `auth.id` is a uuid"],
    );
    told(
        &fields(&["a: { type: uuid, default: auth.di }"]),
        &["4:33 unknown attribute `auth.di` [did you mean `auth.id`?]"],
    );
    told(&fields(&["a: { type: date, default: now() }"]), &["4:33 `now()` is a timestamp"]);
    told(&fields(&["a: { type: text, renamed_from: a }"]), &["4:38 `a` cannot be renamed from itself"]);
    told(&fields(&["a: { type: text, renamed_from: b }", "b: text"]), &["4:38 there still is a field `b`"]);
}

#[test]
fn keys_indexes_and_inverses_are_judged() {
    let with = |rest: &str| {
        format!("collections:\n  posts:\n    fields: {{ a: text, b: json, c: 'text[]' }}\n    {rest}\n")
    };
    told(&with("primary_key: [x]"), &["4:19 unknown field of `posts` `x`"]);
    told(&with("primary_key: [b]"), &["3:24 a `json` cannot be part of a key"]);
    told(&with("unique: [[a, a]]"), &["4:18 the field `a` stands twice"]);
    told(&with("unique: [[a], [a]]"), &["4:20 these fields are unique already"]);
    told(&with("unique: [a]"), &["4:14 an entry of `unique` is a list, not text"]);
    told(&with("indexes: [[-a], [b]]"), &["4:22 a `json` field is indexed with `using: gin`"]);
    told(&with("indexes: [{ fields: [a], using: gin }]"), &["4:26 a `gin` index is for arrays"]);
    told(
        &with("indexes: [{ fields: [c], using: gni }]"),
        &["4:37 unknown index method `gni` [did you mean `gin`?]"],
    );
    told(&with("indexes: [[a], [a]]"), &["4:20 these fields have an index already"]);
    let two = "collections:\n  users: { fields: {} }\n  posts:\n    fields:\n      a: { type: relation, to: users }\n      b: { type: relation, to: users }\n";
    told(two, &["6:7 `users` names the relation at a.yaml:5:7 `posts` already [say how `users` names them"]);
    let shadow = "collections:\n  users: { fields: { posts: text } }\n  posts:\n    fields:\n      a: { type: relation, to: users }\n";
    told(shadow, &["5:7 `users` has a field `posts`, which this inverse would shadow"]);
    let circle = "collections:\n  a: { fields: { id: { type: relation, to: b } } }\n  b: { fields: { id: { type: relation, to: a } } }\n";
    assert_eq!(faults(circle).len(), 2);
    let pair = "collections:\n  a: { primary_key: [p, q], fields: { p: text, q: text } }\n  b: { fields: { a: { type: relation, to: a } } }\n";
    told(pair, &["3:43 `a` has a key of several fields, and a relation refers to one"]);
    let names = "collections:\n  post: { fields: { tags_id: text }, indexes: [[tags_id]] }\n  post_tags: { fields: { id: uuid }, indexes: [[id]] }\n";
    told(names, &["3:3 `post_tags` and `post` both lead to the name `post_tags_id_idx` in Postgres"]);
}

#[test]
fn roles_and_conditions_are_one_graph_without_circles_and_shadows() {
    told(
        "roles:\n  a: { inherits: [b] }\n  b: { inherits: [a] }\n",
        &["2:3 the role inherits itself: a → b → a", "3:3 the role inherits itself: b → a → b"],
    );
    told("roles: { anon: {} }\n", &["1:10 the role `anon` is built in"]);
    told("roles: { a: { inherits: [service_role] } }\n", &["1:26 `service_role` is the secret key's"]);
    told("roles: { a: { inherits: anon } }\n", &["1:25 `inherits` is a list, not text"]);
    told(
        "collections: { p: { fields: { live: boolean } } }\nconditions: { live: 'true' }\n",
        &["2:15 `p` has a field `live`, which this condition would shadow"],
    );
    told(
        "policies: { psts: {} }\ncollections: { posts: { fields: {} } }\n",
        &["1:13 unknown collection `psts` [did you mean `posts`?]"],
    );
    told(
        "policies: { posts: { read: { role: anon } } }\ncollections: { posts: { fields: {} } }\n",
        &["1:28 `read` is a list, not a mapping"],
    );
    let set = "collections: { posts: { fields: { a: { type: text, required: true }, n: integer } } }\npolicies:\n  posts:\n    create:\n      - { role: anon, set: { a: null, n: x, z: 1 } }\n";
    told(
        set,
        &[
            "5:33 `a` is required and cannot be set to null",
            "5:42 the value is an integer",
            "5:45 unknown field of `posts` `z`",
        ],
    );
}

#[test]
fn json_schemas_are_closed_and_valid() {
    let with = |schema: &str, json: &str| {
        let yaml = fields(&[&format!("m: {{ type: json, schema: {schema} }}")]);
        match load(&sources(&[("a.yaml", &yaml), ("s/m.json", json)])) {
            Ok(_) => Vec::new(),
            Err(faults) => faults
                .into_iter()
                .map(|f| format!("{}:{}:{} {}", f.file, f.line, f.column, f.message))
                .collect(),
        }
    };
    assert_eq!(with("./s/m.json", "{}"), Vec::<String>::new());
    assert_eq!(
        with(
            "{ type: object, properties: { a: { $ref: '#/$defs/a' } }, $defs: { a: { type: string } } }",
            "{}"
        ),
        Vec::<String>::new()
    );
    assert_eq!(with("./s/n.json", "{}"), ["a.yaml:4:32 there is no file `./s/n.json`"]);
    assert_eq!(with("../s/m.json", "{}").len(), 1);
    assert_eq!(with("./s/m.json", "{\n  \"a\": }"), ["s/m.json:2:8 not JSON: expected value"]);
    assert_eq!(
        with("{ $ref: 'https://example.test/x' }", "{}"),
        ["a.yaml:4:32 the schema refers to `https://example.test/x`, which is outside of it"]
    );
    assert_eq!(with("{ $ref: 'file:///etc/passwd' }", "{}").len(), 1);
    assert!(with("{ type: strnig }", "{}")[0].starts_with("a.yaml:4:32 the schema is not valid"));
    assert!(with("{ pattern: '(?=a)' }", "{}")[0].starts_with("a.yaml:4:32 the schema is not valid"));
}

#[test]
fn limits_have_units_and_ends() {
    let project = load(&sources(&[(
        "a.yaml",
        "limits: { rows: 50, body: 1MB, statement_timeout: 250ms, embed_depth: 2 }\n",
    )]))
    .unwrap();
    let expected = Limits {
        rows: 50,
        body: 1_000_000,
        statement_timeout: std::time::Duration::from_millis(250),
        embed_depth: 2,
        ..Limits::default()
    };
    assert_eq!(project.limits, expected);
    told("limits: { rows: 0 }\n", &["1:17 `rows` is a whole number from 1 to 1000000"]);
    told("limits: { body: 1TB }\n", &["1:17 `body` is a size from 1KiB to 1GiB"]);
    told("limits: { body: 99999999999999999999GB }\n", &["1:17 `body` is a size"]);
    told("limits: { statement_timeout: 8 }\n", &["1:30 `statement_timeout` is a duration"]);
}

#[test]
fn what_is_given_must_be_what_a_database_takes() {
    let with = |given: &str| {
        format!(
            "collections: {{ posts: {{ fields: {{ title: {{ type: text, max: 3 }}, next: {{ type: relation, to: posts, inverse: last }} }} }} }}\ntests:\n  cases: []\n  given: {{ posts: [{given}] }}\n"
        )
    };
    told(&with("{ id: a }, { id: b, next: a }"), &[]);
    told(&with("{ id: a }, { id: a }"), &["4:31 the record at a.yaml:4:20 of `posts` has the same key"]);
    told(&with("{ id: a, next: b }"), &["4:20 `next` refers to a record of `posts` that is not given"]);
    told(&with("{ id: a, title: long }"), &["4:36 `title` is over its `max` of 3"]);
    told(&with("{ id: a, titel: x }"), &["4:29 unknown field of `posts` `titel`"]);
    told(&with("{ id: 5 }"), &["4:26 `id` is a uuid"]);
}

#[test]
fn a_case_that_could_not_fail_is_refused() {
    let with = |case: &str| {
        format!(
            "collections: {{ posts: {{ fields: {{ title: {{ type: text, required: true }} }} }} }}\nroles: {{ editor: {{}} }}\nconditions: {{ mine: 'true' }}\ntests:\n  given: {{ posts: [{{ id: p1 }}] }}\n  cases:\n    - {case}\n"
        )
    };
    told(&with("{ as: anon, read: posts/p1, is: denied, because: mine }"), &[]);
    told(&with("{ as: user:ada+editor, read: posts, sees: [p1] }"), &[]);
    told(&with("{ as: anon, read: posts/p2, is: denied }"), &["7:25 no record `p2` of `posts` is given"]);
    told(&with("{ as: anon, read: psts/p1, is: denied }"), &["7:25 unknown collection `psts`"]);
    told(&with("{ as: nobody, read: posts/p1, is: denied }"), &["7:13 `nobody` is nobody"]);
    told(
        &with("{ as: user:ada+editr, read: posts/p1, is: denied }"),
        &["7:13 unknown role `editr` [did you mean `editor`?]"],
    );
    told(&with("{ as: anon, read: posts/p1, is: maybe }"), &["7:39 unknown answer `maybe`"]);
    told(&with("{ as: anon, read: posts/p1 }"), &["7:7 a case says what is expected"]);
    told(&with("{ as: anon, is: denied }"), &["7:7 a case asks for something"]);
    told(&with("{ read: posts/p1, is: denied }"), &["7:7 a case says who asks"]);
    told(
        &with("{ as: anon, read: posts/p1, delete: posts/p1, is: denied }"),
        &["7:35 a case asks for one thing"],
    );
    told(&with("{ as: anon, update: posts/p1, is: denied }"), &["7:27 an `update` changes something"]);
    told(
        &with("{ as: anon, update: posts/p1, with: { titel: x }, is: denied }"),
        &["7:45 unknown field of `posts` `titel` [did you mean `title`?]"],
    );
    told(
        &with("{ as: anon, read: posts/p1, is: denied, because: mien }"),
        &["7:56 unknown condition or rule `mien` [did you mean `mine`?]"],
    );
    told(
        &with("{ as: anon, read: posts/p1, is: allowed, because: mine }"),
        &["7:57 `because` belongs to `is: denied`"],
    );
    told(
        &with("{ as: anon, read: posts/p1, is: allowed, hidden: [titel] }"),
        &["7:57 unknown field of `posts` `titel`"],
    );
    told(&with("{ as: anon, read: posts/p1, sees: [p1] }"), &["7:41 `sees` belongs to a list"]);
}

#[test]
fn a_fault_in_a_condition_is_shown_inside_the_yaml() {
    let with = |rule: &str| {
        format!(
            "collections: {{ posts: {{ fields: {{ title: text, live: boolean }} }} }}\npolicies:\n  posts:\n    read:\n      - role: anon\n        when: {rule}\n"
        )
    };
    let place = |rule: &str| {
        let faults = load(&sources(&[("a.yaml", &with(rule))])).unwrap_err();
        assert_eq!(faults.len(), 1, "{rule}: {faults:?}");
        let fault = &faults[0];
        let marked: String = fault.text.chars().skip(fault.column - 1).take(fault.width).collect();
        (fault.line, fault.column, marked)
    };
    // Plain, single quotes with a doubled one before, double quotes: the very word.
    assert_eq!(place("titel == 'x'"), (6, 15, "titel".to_owned()));
    assert_eq!(place("live && titel == 'x'"), (6, 23, "titel".to_owned()));
    assert_eq!(place("'title == ''x'' && titel == null'"), (6, 34, "titel".to_owned()));
    assert_eq!(place("\"titel == 'x'\""), (6, 16, "titel".to_owned()));
    // Blocks and several lines: as far as the text reads as it is written.
    assert_eq!(place("|-\n          live && titel == 'x'"), (7, 19, "titel".to_owned()));
    assert_eq!(place("live &&\n          titel == 'x'").0, 6);
    // Escapes: the scalar as a whole.
    assert_eq!(place("\"\\u0074itel == 'x'\"").1, 15);
}

#[test]
fn conditions_are_typed_where_they_are_used() {
    let with = |conditions: &str, when: &str| {
        format!(
            "collections: {{ posts: {{ fields: {{ title: text, n: integer }} }} }}\nconditions: {{ {conditions} }}\npolicies: {{ posts: {{ read: [{{ role: anon, when: {when} }}] }} }}\n"
        )
    };
    told(&with("mine: title == 'x'", "mine"), &[]);
    assert_eq!(faults(&with("mine: titel == 'x'", "mine")).len(), 1);
    assert_eq!(faults(&with("mine: title == 'x'", "mien")).len(), 1);
    assert_eq!(faults(&with("a: b, b: a", "a")).len(), 1);
    assert_eq!(faults(&with("a: a", "a")).len(), 1);
    assert_eq!(faults(&with("a: n == 'x'", "a")).len(), 1);
    // A condition that cannot be read is told once, not again by each rule that uses it.
    told(&with("a: '((', other: 'true'", "a"), &["2:"]);
    // A field of an unknown kind likewise.
    let text = "collections: { posts: { fields: { a: txet } } }\npolicies: { posts: { read: [{ role: anon, when: a == 'x' }] } }\n";
    told(text, &["1:38 unknown kind `txet`"]);
    let old = "collections: { posts: { fields: { n: integer } } }\npolicies: { posts: { update: [{ role: anon, when: old.n == 1, check: old.n == 1 }], create: [{ role: anon, check: old.n == 1 }] } }\n";
    assert_eq!(faults(old).len(), 2);
    let own = "collections:\n  a: { fields: {} }\n  b: { fields: { a: { type: relation, to: a } }, checks: [a.id == null, a != null] }\n";
    assert_eq!(faults(own).len(), 1);
}

#[test]
fn a_pattern_that_is_not_of_the_language_is_shown_where_it_stands() {
    assert!(faults(&fields(&["a: { type: text, match: '(a' }"]))[0].starts_with("4:"));
    assert!(faults(&fields(&["a: { type: text, match: '(?=a)' }"]))[0].starts_with("4:"));
    told(
        &fields(&["a: { type: text, match: '^[a-z]+$', default: A }"]),
        &["4:52 a default of `a` is refused by the field itself: it does not match ^[a-z]+$"],
    );
}

#[test]
fn a_channel_with_a_fault_is_told_where_it_stands() {
    let channels = |text: &str| {
        format!(
            "collections: {{ rooms: {{ fields: {{ a: text }} }} }}\nconditions: {{ mine: a == auth.id }}\nchannels:\n{text}"
        )
    };
    told(
        &channels("  'room:{room}x': {}\n"),
        &[
            "4:3 `{…}` stands for a whole part between colons [`room:{room}` is a topic that captures one part]",
        ],
    );
    told(
        &channels("  'room:{a}': {}\n  'room:lobby':\n"),
        &[
            "5:3 some topic would be of this form and of `room:{a}` at a.yaml:4:3 [let their fixed parts differ: which rules hold must be plain]",
        ],
    );
    told(&channels("  '{auth}': {}\n"), &["4:3 `auth` has a meaning of its own and cannot name a part"]);
    told(
        &channels("  '{rooms}': {}\n"),
        &["4:3 `{rooms}` would shadow a collection of this name [`{rooms_id}` would do]"],
    );
    told(
        &channels("  '{mine}': {}\n"),
        &["4:3 `{mine}` would shadow a condition of this name [`{mine_id}` would do]"],
    );
    told(
        &channels("  a: { listen: [] }\n"),
        &["4:8 unknown key of a channel `listen` [possible here: `read` and `write`]"],
    );
    told(
        &channels("  'r:{r}': { read: [{ role: nobody, when: 'rooms.exists(x, x.id == s)' }] }\n"),
        &["4:29 unknown role `nobody`", "4:68 `s` is no part of the topic"],
    );
    told(&channels("  a: { write: [{ when: 'true' }] }\n"), &["4:16 a rule needs a `role`"]);
    told(
        &channels("  a: { write: [{ role: anon, check: 'true' }] }\n"),
        &["4:30 unknown key of a channel's rule `check`"],
    );
    told(
        "realtime: { public_channels: maybe }\n",
        &["1:30 `public_channels` is `true` or `false`, not text"],
    );
    told("realtime: { public: true }\n", &["1:13 unknown key of `realtime` `public`"]);
}
