//! `PUT`: one record under its key, by the rules for creating it and for changing it.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::caller::{Answer, Caller};
use crate::support::database;
use crate::support::server::{Folder, Server};

const PROJECT: &[(&str, &str)] = &[
    (
        "collections/all.yaml",
        "collections:
  stocks:
    fields:
      id: integer
      name: { type: text, required: true, unique: true }
      amount: { type: integer, default: 5 }
      owner: { type: uuid, default: auth.id }
  marks:
    primary_key: [who, what]
    timestamps: false
    fields:
      who: uuid
      what: text
      stars: integer
  hidden:
    fields:
      id: integer
      name: text
",
    ),
    (
        "policies/all.yaml",
        "policies:
  stocks:
    read: [{ role: anon }]
    create: [{ role: authenticated, fields: [id, name, amount] }]
    update: [{ role: authenticated, when: owner == auth.id, fields: [id, name, amount] }]
  marks:
    read: [{ role: authenticated }]
    create: [{ role: authenticated, check: who == auth.id }]
    update: [{ role: authenticated, when: who == auth.id, check: who == auth.id }]
  hidden:
    read: [{ role: authenticated, fields: [name] }]
    create: [{ role: authenticated, fields: [name] }]
    update: [{ role: authenticated, fields: [name] }]
",
    ),
];

async fn put(caller: &Caller, path: &str, prefer: &str, body: Value) -> Answer {
    caller.send(Method::PUT, path, &[("prefer", prefer)], Some(&body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_makes_the_record_or_takes_its_place() {
    let database = database().await;
    let folder = Folder::with(PROJECT);
    let server = Server::dev(&folder.0, &folder.join("data"), &database.urls);
    let (ada, bob) = (Caller::user(&server, &[]), Caller::user(&server, &[]));
    let (one, body) = ("stocks?id=eq.1", |amount| json!({ "id": 1, "name": "one", "amount": amount }));

    let made = put(&ada, one, "", body(1)).await;
    assert_eq!((made.status, made.body), (201, Value::Null));
    let changed = put(&ada, one, "return=minimal", body(2)).await;
    assert_eq!((changed.status, changed.body), (204, Value::Null));
    let path = "stocks?id=eq.1&select=id,amount";
    assert_eq!(
        put(&ada, path, "return=representation", body(3)).await.is(200),
        json!([{ "id": 1, "amount": 3 }])
    );
    let path = "stocks?id=eq.2&select=id,amount,owner";
    let new = put(&ada, path, "return=representation", json!([{ "id": "2", "name": "two" }])).await;
    assert_eq!(new.is(201), json!([{ "id": 2, "amount": 5, "owner": ada.id }]));
    let object = [("accept", "application/vnd.pgrst.object+json"), ("prefer", "return=representation")];
    let answer = ada.send(Method::PUT, "stocks?id=eq.1&select=amount", &object, Some(&body(4))).await;
    assert_eq!(answer.is(200), json!({ "amount": 4 }));

    // Somebody else's record is refused, and a key that is not taken is his to make.
    assert_eq!(put(&bob, one, "", body(9)).await.refused(403), "42501");
    let path = "stocks?id=eq.3";
    assert_eq!(put(&bob, path, "", json!({ "id": 3, "name": "one" })).await.refused(409), "23505");
    put(&bob, path, "", json!({ "id": 3, "name": "three" })).await.is(201);
    assert_eq!(put(&Caller::anonymous(&server), path, "", body(1)).await.refused(401), "42501");
    let stored = ada.get("stocks?select=id,amount&order=id").await.is(200);
    assert_eq!(stored, json!([{ "id": 1, "amount": 4 }, { "id": 2, "amount": 5 }, { "id": 3, "amount": 5 }]));

    // A key of two fields is both of them, in whatever order.
    let path = format!("marks?what=eq.a&who=eq.{}", ada.id.to_uppercase());
    let mark = json!({ "who": ada.id, "what": "a", "stars": 1 });
    put(&ada, &path, "", mark.clone()).await.is(201);
    put(&ada, &path, "", mark.clone()).await.is(204);
    assert_eq!(put(&bob, &path, "", mark).await.refused(403), "42501");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_says_its_whole_key_and_nothing_else() {
    let database = database().await;
    let folder = Folder::with(PROJECT);
    let server = Server::dev(&folder.0, &folder.join("data"), &database.urls);
    let ada = Caller::user(&server, &[]);
    let body = json!({ "id": 1, "name": "one" });
    for filters in [
        "",
        "name=eq.one",
        "id=eq.1&name=eq.one",
        "id=gt.1",
        "id=not.eq.1",
        "id=in.(1)",
        "id=eq(any).{1}",
        "id=eq.1&id=eq.1",
        "and=(id.eq.1)",
        "or=(id.eq.1,id.eq.2)",
    ] {
        let answer = put(&ada, &format!("stocks?{filters}"), "", body.clone()).await;
        assert_eq!(answer.refused(405), "PGRST105", "{filters}");
    }
    for window in ["limit=1", "offset=0"] {
        let answer = put(&ada, &format!("stocks?id=eq.1&{window}"), "", body.clone()).await;
        assert_eq!(answer.refused(400), "PGRST114", "{window}");
    }
    for other in [
        json!({ "id": 2, "name": "one" }),
        json!({ "id": null, "name": "one" }),
        json!({ "name": "one" }),
        json!([]),
        json!([{ "id": 1, "name": "one" }, { "id": 2, "name": "two" }]),
    ] {
        assert_eq!(put(&ada, "stocks?id=eq.1", "", other.clone()).await.refused(400), "PGRST115", "{other}");
    }
    // A key left out by `columns` is not sent.
    assert_eq!(put(&ada, "stocks?id=eq.1&columns=name", "", body).await.refused(400), "PGRST115");
    let mark = json!({ "who": ada.id, "what": "a" });
    assert_eq!(put(&ada, "marks?what=eq.a", "", mark).await.refused(405), "PGRST105");
    // A key that the caller does not know is as little there as any other word.
    for field in ["id", "nothing"] {
        let answer = put(&ada, &format!("hidden?{field}=eq.1"), "", json!({ field: 1, "name": "x" })).await;
        assert_eq!(answer.refused(400), "42703", "{field}");
    }
    assert_eq!(ada.get("stocks").await.is(200), json!([]));
}
