//! The real server does what the types of its project say.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::declared::{Collection, Schema, names};
use super::{PROJECT, types};
use crate::support::caller::Caller;
use crate::support::server::{Folder, Server};
use crate::support::{database, repository};

const ADA: &str = "00000000-0000-7000-8000-00000000000a";
const BOB: &str = "00000000-0000-7000-8000-00000000000b";

/// Values of every field of a sample.
fn sample() -> Value {
    json!({
        "words": "a", "small": 4, "large": 9_007_199_254_740_991_i64, "rough": 0.5, "exact": 1.25, "truth": true,
        "uid": ADA, "moment": "2026-01-02T03:04:05Z", "day": "2026-01-02", "hour": "03:04:05", "span": "1 day",
        "data": { "a": [1, null] }, "raw": "\\x00ff", "address": "10.0.0.0/8", "odd": "plain", "must": "no_thanks",
        "many_words": ["a", null], "many_small": [1], "many_large": [2], "many_rough": [0.5], "many_exact": [1.25],
        "many_truth": [true, false], "many_uid": [ADA], "many_moment": ["2026-01-02T03:04:05Z"],
        "many_day": ["2026-01-02"], "many_hour": ["03:04:05"], "many_span": ["1 day"], "many_data": [{}, 1],
        "many_raw": ["\\x00"], "many_address": ["10.0.0.1"], "many_odd": ["b"],
        "created_at": "2026-01-02T03:04:05Z", "updated_at": "2026-01-02T03:04:05Z",
    })
}

fn keys(record: &Value) -> Vec<String> {
    record.as_object().unwrap().keys().cloned().collect()
}

/// The body without one of its members.
fn without(body: &Value, name: &str) -> Value {
    let mut less: Map<String, Value> = body.as_object().unwrap().clone();
    less.remove(name).unwrap();
    Value::Object(less)
}

/// A create of exactly these members is accepted, and refused without any one of them.
async fn is_made_of(caller: &Caller, name: &str, body: &Value, prefer: &str) -> Value {
    for member in keys(body) {
        let answer = caller.post(name, "", without(body, &member)).await;
        assert_eq!(answer.status, 400, "{name} without {member}: {}", answer.body);
    }
    caller.post(name, prefer, body.clone()).await.is(201)
}

/// Rows have exactly the members of the type, in its order, and values of their types.
fn are_of(schema: &Schema, name: &str, rows: &Value) -> usize {
    let fields = &schema.collections[name].row;
    for row in rows.as_array().unwrap() {
        let expected: BTreeSet<String> = names(fields).into_iter().collect();
        assert_eq!(keys(row).into_iter().collect::<BTreeSet<_>>(), expected, "{name}");
        for field in fields {
            let value = &row[&field.name];
            assert!(schema.fits(&field.typed, value), "{name}.{}: {value} is no {}", field.name, field.typed);
        }
    }
    rows.as_array().unwrap().len()
}

/// Every relation can be embedded, and is what it says: a list, or a record or null.
async fn embeds(caller: &Caller, schema: &Schema, name: &str, collection: &Collection) -> usize {
    let mut met = 0;
    for relation in &collection.relations {
        let path = format!("{name}?select=*,{}(*)", relation.name);
        let rows = caller.get(&path).await.is(200);
        for row in rows.as_array().unwrap() {
            let value = &row[&relation.name];
            assert_eq!(value.is_array(), relation.many, "{path}: {value}");
            let related = match value {
                Value::Array(_) => value.clone(),
                Value::Null => json!([]),
                record => json!([record]),
            };
            met += are_of(schema, &relation.to, &related);
        }
    }
    met
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_answers_and_takes_what_the_types_say() {
    let schema = Schema::read(&types(&[PROJECT]));
    let member_schema = Schema::read(&types(&[PROJECT, "--role", "member"]));
    let database = database().await;
    let folder = Folder::new();
    let server = Server::dev(&repository().join(PROJECT), &folder.join("data"), &database.urls);
    let owner = database.connect_owner().await;
    let users = format!("insert into auth.users (id) values ('{ADA}'), ('{BOB}')");
    owner.batch_execute(&users).await.unwrap();
    let secret = Caller::secret(&server);

    // What the secret key makes: the mandatory members of `New`, and those that stand for the caller, whom it lacks.
    let mut ids = Map::new();
    let order = [
        "profiles",
        "passports",
        "posts",
        "comments",
        "labels",
        "post_labels",
        "feedback",
        "ledger",
        "samples",
    ];
    assert_eq!(
        order.iter().copied().collect::<BTreeSet<_>>(),
        schema.collections.keys().map(String::as_str).collect()
    );
    for name in order {
        let body = match name {
            "profiles" => json!({ "id": ADA, "handle": "ada", "name": "Ada" }),
            "passports" => json!({ "holder": ADA, "number": "1" }),
            "posts" => json!({ "title": "One", "author": ADA }),
            "comments" => json!({ "post": ids["posts"], "body": "First" }),
            "labels" => json!({ "name": "news" }),
            "post_labels" => json!({ "post": ids["posts"], "label": "news" }),
            "feedback" => json!({ "words": "Well" }),
            "ledger" => json!({ "entry": "One" }),
            "samples" => json!({ "id": 1, "must": "yes_please" }),
            other => panic!("{other} is new here"),
        };
        let collection = &schema.collections[name];
        let new = collection.new.as_ref().unwrap();
        let lacks = |name: &str| {
            collection.row.iter().any(|field| field.name == name && !field.typed.ends_with("null"))
        };
        let expected: BTreeSet<String> = new
            .iter()
            .filter(|field| field.is_mandatory() || (field.says.starts_with("auth.") && lacks(&field.name)))
            .map(|field| field.name.clone())
            .collect();
        assert_eq!(keys(&body).into_iter().collect::<BTreeSet<_>>(), expected, "{name}");
        let made = is_made_of(&secret, name, &body, "return=representation").await;
        are_of(&schema, name, &made);
        ids.insert(name.to_owned(), made[0]["id"].clone());
    }

    // Every field of every kind, with a value and without.
    let patched = secret.patch("samples?id=eq.1", "return=representation", sample()).await.is(200);
    assert_eq!(are_of(&schema, "samples", &patched), 1);
    for field in &schema.collections["samples"].row {
        assert!(!patched[0][&field.name].is_null(), "{} is not tried", field.name);
    }
    for (at, odd) in schema.enums["SamplesOdd"].iter().enumerate() {
        let body = json!({ "id": 2 + at, "must": "yes_please", "odd": odd });
        secret.post("samples", "", body).await.is(201);
    }
    let more = json!({ "post": ids["posts"], "body": "Second", "reply_to": ids["comments"], "author": ADA });
    secret.post("comments", "", more).await.is(201);
    let path = format!("posts?id=eq.{}", ids["posts"].as_str().unwrap());
    let change = json!({ "status": "published", "body": "…", "reviewer": ADA });
    secret.patch(&path, "", change).await.is(204);

    let mut met = 0;
    for (name, collection) in &schema.collections {
        are_of(&schema, name, &secret.get(name).await.is(200));
        met += embeds(&secret, &schema, name, collection).await;
        let search = secret.get(&format!("{name}?search=wfts.one")).await;
        assert_eq!(search.status, if collection.search { 200 } else { 400 }, "{name} {}", search.body);
    }
    assert!(met >= 12, "{met}");
    let buckets = reqwest::Client::new()
        .get(server.at("/storage/v1/bucket"))
        .header("apikey", server.keys.secret())
        .send()
        .await
        .unwrap();
    let buckets: Value = serde_json::from_slice(&buckets.bytes().await.unwrap()).unwrap();
    let buckets: BTreeSet<&str> =
        buckets.as_array().unwrap().iter().map(|bucket| bucket["id"].as_str().unwrap()).collect();
    assert_eq!(buckets, schema.buckets.iter().map(String::as_str).collect());

    let ada = Caller::user_with_id(&server, ADA, &["member"]);
    let bob = Caller::user_with_id(&server, BOB, &["member"]);
    for (name, whole) in &schema.collections {
        match member_schema.collections.get(name) {
            None => assert_eq!(ada.get(name).await.refused(404), "PGRST205", "{name}"),
            Some(seen) => {
                let post = ids["posts"].as_str().unwrap();
                as_a_member(&ada, &bob, &member_schema, name, whole, seen, post).await;
            }
        }
    }
}

/// A value that the field takes, and that no rule would set.
fn value_of(collection: &Collection, name: &str) -> Value {
    let field = collection.row.iter().find(|field| field.name == name).unwrap();
    match field.says.split([',', ' ']).next().unwrap() {
        "uuid" => json!("00000000-0000-7000-8000-0000000000ff"),
        "timestamp" => json!("2026-01-02T03:04:05Z"),
        "text" => json!("x"),
        "enum" => json!(if field.typed.starts_with("PostsStatus") { "published" } else { "yes_please" }),
        "integer" | "bigint" => json!(7),
        other => panic!("{other} is new here"),
    }
}

/// A member reads, makes and changes what the types of his role say, and nothing else.
async fn as_a_member(
    ada: &Caller,
    bob: &Caller,
    schema: &Schema,
    name: &str,
    whole: &Collection,
    seen: &Collection,
    post: &str,
) {
    if seen.readable {
        are_of(schema, name, &ada.get(name).await.is(200));
        embeds(ada, schema, name, seen).await;
        let search = ada.get(&format!("{name}?search=wfts.one")).await;
        assert_eq!(search.status, if seen.search { 200 } else { 400 }, "{name} {}", search.body);
    } else {
        assert_eq!(ada.get(name).await.refused(403), "42501", "{name}");
    }
    // Who has a profile makes no other; and a post of one's own takes labels.
    let (maker, body) = match name {
        "profiles" => (bob, json!({ "handle": "bob", "name": "Bob" })),
        "posts" => (ada, json!({ "title": "Two" })),
        "comments" => (ada, json!({ "post": post, "body": "Third" })),
        "post_labels" => (ada, json!({ "post": post, "label": "news" })),
        "feedback" => (ada, json!({ "words": "Well" })),
        "samples" => (ada, json!({ "id": 100, "must": "yes_please" })),
        "passports" => (ada, json!({ "holder": ADA, "number": "2" })),
        "labels" => (ada, json!({ "name": "more" })),
        other => panic!("{other} is new here"),
    };
    let Some(new) = &seen.new else {
        assert_eq!(maker.post(name, "", body).await.refused(403), "42501", "{name}");
        assert!(seen.patch.is_none());
        return;
    };
    let mandatory: BTreeSet<String> =
        new.iter().filter(|field| field.is_mandatory()).map(|field| field.name.clone()).collect();
    assert_eq!(keys(&body).into_iter().collect::<BTreeSet<_>>(), mandatory, "{name}");
    let offered = names(new);
    for field in whole.new.as_ref().unwrap().iter().filter(|field| !offered.contains(&field.name)) {
        let mut more = body.clone();
        more[&field.name] = value_of(whole, &field.name);
        let code = maker.post(name, "", more).await.body["code"].as_str().unwrap_or("none").to_owned();
        assert!(["42501", "PGRST204"].contains(&code.as_str()), "{name} with {}: {code}", field.name);
    }
    let prefer = if seen.readable { "return=representation" } else { "return=minimal" };
    if name == "post_labels" {
        // The pair is there already: it is refused for that, and for nothing else.
        assert_eq!(maker.post(name, "", body).await.refused(409), "23505");
        return;
    }
    let made = is_made_of(maker, name, &body, prefer).await;
    if !seen.readable {
        return;
    }
    are_of(schema, name, &made);
    let key = &seen.key[0];
    let path = format!("{name}?{key}=eq.{}", made[0][key].to_string().trim_matches('"'));
    let Some(patch) = &seen.patch else {
        let answer = maker.send(Method::PATCH, &path, &[], Some(&body)).await;
        assert_eq!(answer.refused(403), "42501", "{name}");
        return;
    };
    let offered = names(patch);
    for field in whole.patch.as_ref().unwrap() {
        if offered.contains(&field.name) {
            let same = json!({ &field.name: made[0][&field.name] });
            let changed = maker.patch(&path, "return=representation", same).await.is(200);
            assert_eq!(are_of(schema, name, &changed), 1, "{name}.{}", field.name);
        } else {
            let answer = maker.patch(&path, "", json!({ &field.name: value_of(whole, &field.name) })).await;
            let code = answer.body["code"].as_str().unwrap_or("none");
            assert!(["42501", "PGRST204"].contains(&code), "{name}.{}: {code}", field.name);
        }
    }
}
