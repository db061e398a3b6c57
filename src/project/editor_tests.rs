//! The editor's schema and the loader agree.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::editor::{schema, value};
use super::later::{self, Place};
use super::{
    Sources, buckets, cases, channels, draft, gather, index, limits, load, policies, providers, sign_in,
};
use crate::model::Action;

fn validator() -> jsonschema::Validator {
    let schema = schema();
    jsonschema::meta::validate(&schema).unwrap();
    jsonschema::options().build(&schema).unwrap()
}

fn json(yaml: &str) -> Json {
    serde_saphyr::from_str(yaml).unwrap()
}

/// Every key that the loader knows, by place.
fn tables() -> Vec<(Place, Vec<&'static str>)> {
    let mut rules: Vec<&str> =
        Action::ALL.iter().flat_map(|action| policies::rule_keys(*action)).copied().collect();
    rules.extend(policies::FIELDS_KEYS);
    vec![
        (Place::Top, gather::SECTIONS.to_vec()),
        (Place::Collection, draft::COLLECTION_KEYS.to_vec()),
        (Place::Field, draft::FIELD_KEYS.to_vec()),
        (Place::Index, index::INDEX_KEYS.to_vec()),
        (Place::Search, index::SEARCH_KEYS.to_vec()),
        (Place::Role, policies::ROLE_KEYS.to_vec()),
        (Place::Action, Action::ALL.map(Action::as_str).to_vec()),
        (Place::Rule, rules),
        (Place::Bucket, buckets::BUCKET_KEYS.to_vec()),
        (Place::Channel, channels::CHANNEL_KEYS.to_vec()),
        (Place::ChannelRule, channels::RULE_KEYS.to_vec()),
        (Place::Realtime, channels::REALTIME_KEYS.to_vec()),
        (Place::Limits, limits::KEYS.to_vec()),
        (Place::Auth, sign_in::keys(Place::Auth)),
        (Place::AuthPassword, sign_in::keys(Place::AuthPassword)),
        (Place::AuthSignUp, sign_in::keys(Place::AuthSignUp)),
        (Place::AuthEmail, sign_in::keys(Place::AuthEmail)),
        (Place::AuthSessions, sign_in::keys(Place::AuthSessions)),
        (Place::AuthMfa, sign_in::keys(Place::AuthMfa)),
        (Place::AuthRates, sign_in::keys(Place::AuthRates)),
        (Place::AuthProvider, providers::PROVIDER_KEYS.to_vec()),
        (Place::AuthIssuer, providers::ISSUER_KEYS.to_vec()),
        (Place::Mail, sign_in::MAIL_KEYS.to_vec()),
        (Place::Tests, cases::TESTS_KEYS.to_vec()),
        (Place::Case, cases::CASE_KEYS.to_vec()),
    ]
}

#[test]
fn every_key_of_the_loader_has_its_schema() {
    let mut keys = 0;
    for (place, known) in tables() {
        for key in known {
            assert!(value(place, key).is_some(), "{place:?} {key}");
            keys += 1;
        }
        assert!(value(place, "surely_not").is_none() || place == Place::Action, "{place:?}");
    }
    assert!(keys >= 110, "{keys}");
}

/// A project in which every key of every table stands somewhere.
const WHOLE: &str = "
collections:
  people:
    renamed_from: persons
    realtime: false
    timestamps: false
    primary_key: [id]
    fields:
      id: { type: uuid, references: auth.users, on_delete: cascade }
      name: { type: text, required: true, unique: true, min: 1, max: 9, match: '^[a-z]+$', default: abc }
      nick: { type: text, renamed_from: alias }
  notes:
    fields:
      owner: { type: relation, to: people, inverse: scraps, on_delete: set_null }
      kind: { type: enum, values: [a, b] }
      data: { type: json, schema: { type: object } }
      words: 'text[]'
    unique: [[owner, kind]]
    indexes: [[owner, -kind], { fields: [words], using: gin }]
    search: { fields: [kind, data, words], language: english }
    checks: [\"kind != 'a' || owner != null\", true]
roles:
  editor: { inherits: [authenticated] }
  guest:
conditions:
  mine: owner == auth.id
  never: false
policies:
  people:
    read: [{ role: anon }]
  notes:
    read: [{ role: anon, when: true, fields: { except: [data] } }]
    create: [{ role: authenticated, check: mine, fields: [kind], set: { owner: auth.id } }]
    update: [{ role: authenticated, when: mine, check: old.kind == kind, fields: [data], set: { kind: a } }]
    delete: [{ role: editor, when: mine }]
buckets:
  avatars: { public: true, max_size: 2MB, accept: ['image/*'], quota: 1000000000 }
  exports:
    policies:
      read: [{ role: anon, when: owner == auth.id }]
      create: [{ role: authenticated, check: \"name.startsWith(auth.id + '/')\" }]
      update: [{ role: authenticated, when: mine, check: size < 10 }]
      delete: [{ role: editor, when: mine }]
  empty:
channels:
  'room:{room}':
    read: [{ role: anon, when: \"notes.exists(n, n.id == room)\" }]
    write: [{ role: editor }]
  lobby:
realtime: { public_channels: false }
limits: { rows: 10, body: 1MB, embed_depth: 0, statement_timeout: 8s, filter_terms: 9, in_values: 9, bulk_rows: 9, json_depth: 9, upload: 1GB }
auth:
  site_url: https://app.acme.test
  redirect_urls: ['http://localhost:5173/**']
  manual_linking: true
  password: { min_length: 12 }
  signup: { enabled: true, confirm_email: true, anonymous: true }
  email: { enabled: true, code_length: 8, expiry: 10m, invite_expiry: 7d, confirm_both: false, reauthenticate: true }
  sessions: { access_token: 5m, reuse_interval: 0s, inactivity: 1d, time_box: 7d, single: true }
  mfa: { totp: true, max_factors: 3, issuer: Acme }
  oauth:
    github: { client_id: env(GITHUB_ID), client_secret: env(GITHUB_SECRET), scopes: [gist] }
    acme: { issuer: 'https://id.acme.test', client_id: web, audiences: [ios] }
  issuers:
    partner: { issuer: 'https://id.partner.test', audience: acme, roles_claim: groups, roles: [editor] }
  rate_limits: { sign_in: 10/1m, sign_up: 'off', anonymous: false, mail: 9/1h, mail_to: 1/30s, verify: 9/1d, refresh: 9/5m, rest_anonymous: 9/10s }
mail: { smtp: env(SMTP_URL), from: 'Acme <hello@acme.test>' }
tests:
  given:
    users: [ada]
    people: [{ id: ada }]
    notes: [{ id: n1, owner: ada, kind: a }]
    storage.objects: [{ id: pic, bucket: exports, owner: ada }]
  cases:
    - { as: anon, read: notes, sees: [n1] }
    - { as: anon, read: notes/n1, is: allowed, hidden: [data] }
    - { as: user:ada, create: notes, with: { kind: b }, is: allowed }
    - { as: user:bob+editor, update: notes/n1, with: { data: {} }, is: denied, because: mine }
    - { as: service, delete: notes/n1, is: allowed }
    - { as: anon, subscribe: notes, when_created: { n2: { owner: ada } }, sees: insert }
    - { as: anon, subscribe: notes, when_updated: { n1: { kind: b } }, sees: update }
    - { as: anon, subscribe: notes, when_deleted: n1, sees: delete }
    - { as: anon, read: storage.objects, sees: [] }
    - { as: user:ada, create: storage.objects, with: { bucket: exports, name: a }, is: denied }
    - { as: user:ada, update: storage.objects/pic, with: { size: 1 }, is: allowed }
    - { as: user:ada, subscribe: storage.objects, when_deleted: pic, sees: delete }
";

fn loads(yaml: &str) -> bool {
    load(&Sources(BTreeMap::from([("a.yaml".to_owned(), yaml.to_owned())]))).is_ok()
}

/// Whether a key of this name stands anywhere.
fn stands(tree: &Json, key: &str) -> bool {
    match tree {
        Json::Object(members) => {
            members.contains_key(key) || members.values().any(|member| stands(member, key))
        }
        Json::Array(items) => items.iter().any(|item| stands(item, key)),
        _ => false,
    }
}

#[test]
fn a_project_with_every_key_is_valid_and_loads() {
    if let Err(faults) = load(&Sources(BTreeMap::from([("a.yaml".to_owned(), WHOLE.to_owned())]))) {
        panic!("{}", super::render(&faults));
    }
    let tree = json(WHOLE);
    for (place, keys) in tables() {
        for key in keys {
            assert!(stands(&tree, key), "{place:?} {key} is not tried");
        }
    }
    let faults: Vec<String> = validator().iter_errors(&tree).map(|fault| fault.to_string()).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

/// The places of a tree at which a key decides what may stand there, and not the admin.
fn pointers(tree: &Json, at: &str, known: &[&str], found: &mut Vec<String>) {
    match tree {
        Json::Object(members) => {
            for (key, member) in members {
                let here = format!("{at}/{key}");
                if known.contains(&key.as_str()) {
                    found.push(here.clone());
                }
                pointers(member, &here, known, found);
            }
        }
        Json::Array(items) => {
            for (place, item) in items.iter().enumerate() {
                pointers(item, &format!("{at}/{place}"), known, found);
            }
        }
        _ => {}
    }
}

#[test]
fn a_key_that_is_spelled_wrong_is_refused_wherever_it_stands() {
    let validator = validator();
    let tree = json(WHOLE);
    let known: Vec<&str> = tables().into_iter().flat_map(|(_, keys)| keys).collect();
    let mut places = Vec::new();
    pointers(&tree, "", &known, &mut places);
    // Inside these the admin chooses the names.
    places.retain(|place| {
        let free = ["/given/", "/with/", "/schema/", "/when_created/", "/when_updated/"];
        !free.iter().any(|free| place.contains(free))
    });
    let mut refused = 0;
    for place in &places {
        let (parent, key) = place.rsplit_once('/').unwrap();
        let mut wrong = tree.clone();
        let members = wrong.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        let member = members.remove(key).unwrap();
        members.insert(format!("{key}x"), member);
        assert!(!validator.is_valid(&wrong), "{place} may be called {key}x");
        refused += 1;
    }
    assert!(refused >= 80, "{refused}");
}

#[test]
fn a_key_of_a_later_version_is_refused_with_a_reason() {
    let (validator, schema) = (validator(), schema());
    let mut tried = 0;
    for (place, at) in [
        (Place::Top, ""),
        (Place::Collection, "/collections/notes"),
        (Place::Field, "/collections/notes/fields/data"),
    ] {
        for key in later::keys(place) {
            let mut tree = json(WHOLE);
            tree.pointer_mut(at).unwrap()[key] = json!({});
            assert!(!validator.is_valid(&tree), "{at}/{key}");
            tried += 1;
        }
    }
    assert!(tried > 0);
    let first = later::keys(Place::Top).next().unwrap();
    assert_eq!(schema["properties"][first]["description"], "Not supported by this version.");
}

#[test]
fn the_schema_and_the_loader_refuse_the_same_shapes() {
    let validator = validator();
    let field =
        |text: &str| format!("collections: {{ a: {{ fields: {{ f: {text} }} }}, b: {{ fields: {{}} }} }}\n");
    let rule = |action: &str, text: &str| {
        format!(
            "collections: {{ a: {{ fields: {{ f: text }} }} }}\npolicies: {{ a: {{ {action}: [{text}] }} }}\n"
        )
    };
    let subscribe = |rest: &str| {
        format!(
            "collections: {{ a: {{ fields: {{ f: text }} }} }}\ntests: {{ given: {{ a: [{{ id: a1 }}] }}, cases: [{{ as: anon, subscribe: a, {rest} }}] }}\n"
        )
    };
    let good = [
        field("text"),
        field("'bytes[]'"),
        field("{ type: interval }"),
        field("{ type: 'enum[]', values: [x] }"),
        field("{ type: relation, to: b, on_delete: restrict }"),
        field("{ type: uuid, references: auth.users, on_delete: cascade }"),
        field("{ type: date, min: 2026-01-01 }"),
        field("{ type: decimal, max: 1.5 }"),
        rule("read", "{ role: anon, when: false }"),
        "limits:\n".to_owned(),
        "buckets: { files: { max_size: 10, quota: 2 TiB, policies: { read: [] } } }\n".to_owned(),
        "buckets: { a.b-9: }\n".to_owned(),
        "roles: { r: }\n".to_owned(),
        "limits: { body: 4096, statement_timeout: 250ms }\n".to_owned(),
        subscribe("when_deleted: a1, sees: nothing"),
        "auth:\n".to_owned(),
        "auth: { signup:, oauth:, issuers:, rate_limits: { mail: 'off' } }\n".to_owned(),
        "auth: { oauth: { github: { client_id: x, client_secret: env(X) } } }\n".to_owned(),
        "auth: { oauth: { acme: { issuer: 'http://localhost:9/a', client_id: x } } }\n".to_owned(),
        "mail:\n".to_owned(),
        "mail: { from: a@b.test }\n".to_owned(),
    ];
    let bad = [
        field("string"),
        field("enum"),
        field("relation"),
        field("{ type: enum }"),
        field("{ type: relation }"),
        field("{ type: 'relation[]', to: b }"),
        field("{ type: file }"),
        field("{ required: true }"),
        field("{ type: text, required: 1 }"),
        field("{ type: text, values: [x] }"),
        field("{ type: text, to: b }"),
        field("{ type: text, default: null }"),
        field("{ type: uuid, references: people }"),
        field("{ type: uuid, on_delete: cascade }"),
        field("{ type: text, on_delete: cascade }"),
        field("{ type: relation, to: b, on_delete: explode }"),
        field("{ type: integer, match: x }"),
        field("{ type: boolean, min: 1 }"),
        field("{ type: enum, values: [x], max: 1 }"),
        field("{ type: enum, values: [] }"),
        field("{ type: text, schema: {} }"),
        rule("read", "{ when: 'true' }"),
        rule("read", "{ role: anon, check: 'true' }"),
        rule("create", "{ role: authenticated, when: 'true' }"),
        rule("delete", "{ role: authenticated, fields: [f] }"),
        rule("update", "{ role: authenticated, fields: { only: [f] } }"),
        rule("write", "{ role: anon }"),
        "channels: { a: { reads: [] } }\n".to_owned(),
        "channels: { a: { read: [{}] } }\n".to_owned(),
        "channels: { a: { read: [{ role: anon, check: true }] } }\n".to_owned(),
        "channels: []\n".to_owned(),
        "buckets: []\n".to_owned(),
        "buckets: { Files: }\n".to_owned(),
        "buckets: { no: }\n".to_owned(),
        "buckets: { files: { public: 1 } }\n".to_owned(),
        "buckets: { files: { max_size: 0 } }\n".to_owned(),
        "buckets: { files: { max_size: 2XB } }\n".to_owned(),
        "buckets: { files: { accept: [image] } }\n".to_owned(),
        "buckets: { files: { policies: { read: [{ role: anon, fields: [name] }] } } }\n".to_owned(),
        "buckets: { files: { policies: { create: [{ role: anon, when: true }] } } }\n".to_owned(),
        "buckets: { files: { policies: { list: [] } } }\n".to_owned(),
        "realtime: { public_channels: 1 }\n".to_owned(),
        "collections: { A: { fields: {} } }\n".to_owned(),
        "collections: { a: { realtime: true } }\n".to_owned(),
        "collections: { a: }\n".to_owned(),
        "collections: []\n".to_owned(),
        "limits: { rows: 0 }\n".to_owned(),
        "limits: { rows: 1000001 }\n".to_owned(),
        "limits: { body: much }\n".to_owned(),
        "limits: { statement_timeout: 8 }\n".to_owned(),
        "tests: { given: {} }\n".to_owned(),
        "auth: []\n".to_owned(),
        "auth: { signups: {} }\n".to_owned(),
        "auth: { signup: { enabled: 1 } }\n".to_owned(),
        "auth: { manual_linking: maybe }\n".to_owned(),
        "auth: { site_url: 3 }\n".to_owned(),
        "auth: { password: { min_length: 5 } }\n".to_owned(),
        "auth: { email: { code_length: 11 } }\n".to_owned(),
        "auth: { email: { expiry: 900 } }\n".to_owned(),
        "auth: { sessions: { reuse_interval: 1ms } }\n".to_owned(),
        "auth: { rate_limits: { mail: true } }\n".to_owned(),
        "auth: { rate_limits: { mail: 0/1m } }\n".to_owned(),
        "auth: { rate_limits: { mail: 10/m } }\n".to_owned(),
        "auth: { mfa: { issuer: 'a:b' } }\n".to_owned(),
        "auth: { oauth: { github: { client_id: x } } }\n".to_owned(),
        "auth: { oauth: { github: { client_id: x, client_secret: y } } }\n".to_owned(),
        "auth: { oauth: { acme: { client_id: x } } }\n".to_owned(),
        "auth: { oauth: { acme: { issuer: 'https://a.test' } } }\n".to_owned(),
        "auth: { oauth: { email: { issuer: 'https://a.test', client_id: x } } }\n".to_owned(),
        "auth: { oauth: { acme: { issuer: 'ldap://a.test', client_id: x } } }\n".to_owned(),
        "auth: { oauth: { acme: { issuer: 'https://a.test', client_id: x, scopes: ['a b'] } } }\n".to_owned(),
        "auth: { issuers: { acme: { issuer: 'https://a.test' } } }\n".to_owned(),
        "mail: { smtp: 'smtp://localhost', from: a@b.test }\n".to_owned(),
        "mail: { from: '' }\n".to_owned(),
        subscribe("sees: insert"),
        subscribe("when_deleted: a1"),
        subscribe("when_deleted: a1, sees: [a1]"),
        subscribe("when_deleted: a1, sees: gone"),
        subscribe("when_deleted: a1, when_updated: { a1: { f: y } }, sees: delete"),
        subscribe("when_updated: {}, sees: nothing"),
        subscribe("when_deleted: a1, sees: delete, is: allowed"),
        "tests: { cases: [{ read: a, sees: [] }] }\n".to_owned(),
    ];
    for yaml in &good {
        assert!(loads(yaml), "{yaml}");
        assert!(validator.is_valid(&json(yaml)), "{yaml}");
    }
    for yaml in &bad {
        assert!(!loads(yaml), "{yaml}");
        assert!(!validator.is_valid(&json(yaml)), "{yaml}");
    }
}

#[test]
fn the_files_of_real_projects_are_valid() {
    let validator = validator();
    let mut files = 0;
    let mut folders = vec!["examples/blog", "tests/clients/project", "tests/matrix/project"];
    while let Some(folder) = folders.pop() {
        for within in ["", "collections", "policies"] {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(within);
            for entry in std::fs::read_dir(path).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.extension().is_some_and(|extension| extension == "yaml") {
                    let tree = json(&std::fs::read_to_string(&path).unwrap());
                    let faults: Vec<String> =
                        validator.iter_errors(&tree).map(|fault| fault.to_string()).collect();
                    assert!(faults.is_empty(), "{}: {faults:#?}", path.display());
                    files += 1;
                }
            }
        }
    }
    assert!(files >= 12, "{files}");
}
