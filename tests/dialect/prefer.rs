//! The `Prefer` header: what each preference does, and which are said to be met.

use reqwest::Method;
use serde_json::{Value, json};

use super::world::{Ask, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn every_preference_does_what_it_says() {
    let stage = Stage::open().await;
    let mut facts = stage.facts();
    let write = |method: Method, path: &str, body: Value| Ask::new(method, path).by(&stage.user).json(body);
    let post = |path: &str, body: Value| write(Method::POST, path, body);
    let patch = |path: &str, body: Value| write(Method::PATCH, path, body);
    let one = |id: i64| json!({ "id": id, "code": format!("c{id}") });

    facts
        .fact(
            "without a preference a write returns nothing",
            post("stocks", one(1)),
            json!({ "status": 201, "body": null, "location": null, "preference-applied": null, "content-type": null }),
        )
        .await;
    facts
        .fact(
            "return=minimal returns nothing",
            post("stocks", one(2)).prefer("return=minimal"),
            json!({ "status": 201, "body": null, "location": null, "preference-applied": "return=minimal" }),
        )
        .await;
    facts
        .fact(
            "return=headers-only says where one new record is",
            post("stocks", one(3)).prefer("return=headers-only"),
            json!({ "status": 201, "body": null, "location": "/stocks?id=eq.3", "preference-applied": "return=headers-only" }),
        )
        .await;
    facts
        .fact(
            "of a key of several columns Location names each",
            post("marks", json!({ "who": 1, "what": "a b" })).prefer("return=headers-only"),
            json!({ "status": 201, "location": "/marks?what=eq.a%20b&who=eq.1" }),
        )
        .await;
    facts
        .fact(
            "return=headers-only of several records says no place",
            post("stocks", json!([one(4), one(5)])).prefer("return=headers-only"),
            json!({ "status": 201, "location": null }),
        )
        .await;
    facts
        .fact(
            "return=representation returns the records",
            post("stocks?select=id,amount", one(6)).prefer("return=representation"),
            json!({ "status": 201, "body": [{ "id": 6, "amount": 5 }], "preference-applied": "return=representation" }),
        )
        .await;
    facts
        .fact(
            "return=representation turns the 204 of an update into 200",
            patch("stocks?id=eq.6&select=amount", json!({ "amount": 6 })).prefer("return=representation"),
            json!({ "status": 200, "body": [{ "amount": 6 }] }),
        )
        .await;
    facts
        .fact(
            "count=exact fills the total",
            Ask::get("dots?limit=1").prefer("count=exact"),
            json!({ "content-range": "0-0/10", "preference-applied": "count=exact" }),
        )
        .await;
    facts
        .fact(
            "count=estimated is exact up to the row limit",
            Ask::get("things?limit=1").prefer("count=estimated"),
            json!({ "content-range": "0-0/4", "preference-applied": "count=estimated" }),
        )
        .await;
    stage.database.connect_owner().await.batch_execute("analyze dots").await.unwrap();
    facts
        .fact(
            "count=planned is the planner's estimate",
            Ask::get("dots?limit=1").prefer("count=planned"),
            json!({ "content-range": "0-0/10", "preference-applied": "count=planned" }),
        )
        .await;
    facts
        .fact("without a count the total is *", Ask::get("dots?limit=1"), json!({ "content-range": "0-0/*" }))
        .await;

    facts
        .fact(
            "resolution=merge-duplicates updates what has the primary key",
            post("stocks?select=id,code,amount", json!({ "id": 1, "code": "new" }))
                .prefer("resolution=merge-duplicates,return=representation"),
            json!({
                "status": 200,
                "body": [{ "id": 1, "code": "new", "amount": 5 }],
                "preference-applied": "resolution=merge-duplicates, return=representation",
            }),
        )
        .await;
    facts
        .fact(
            "on_conflict names the columns to go by",
            post(
                "stocks?on_conflict=code&columns=id,code,amount&select=id,amount",
                json!({ "id": 1, "code": "new", "amount": 8 }),
            )
            .prefer("resolution=merge-duplicates,return=representation"),
            json!({ "status": 200, "body": [{ "id": 1, "amount": 8 }] }),
        )
        .await;
    facts
        .fact(
            "resolution=ignore-duplicates leaves them alone, and they are absent from the representation",
            post("stocks?select=id", json!([{ "id": 1, "code": "other" }, { "id": 7, "code": "c7" }]))
                .prefer("resolution=ignore-duplicates,return=representation"),
            json!({ "status": 201, "body": [{ "id": 7 }] }),
        )
        .await;
    facts
        .reads(
            "an ignored duplicate stays as it was",
            "stocks?id=eq.1&select=code",
            json!([{ "code": "new" }]),
        )
        .await;
    facts
        .fact(
            "on_conflict of columns that are not unique is 42P10 (400)",
            post("stocks?on_conflict=amount", one(1)).prefer("resolution=merge-duplicates"),
            json!({ "status": 400, "code": "42P10" }),
        )
        .await;

    let uneven = json!([{ "id": 10, "code": "c10", "amount": 1 }, { "id": 11, "code": "c11" }]);
    facts
        .fact(
            "missing=default gives what a record lacks its default",
            post("stocks?select=id,amount&order=id", uneven).prefer("missing=default,return=representation"),
            json!({
                "status": 201,
                "body": [{ "id": 10, "amount": 1 }, { "id": 11, "amount": 5 }],
                "preference-applied": "missing=default, return=representation",
            }),
        )
        .await;
    let uneven = json!([{ "id": 12, "code": "c12", "amount": 1 }, { "id": 13, "code": "c13" }]);
    facts
        .fact(
            "missing=null, which is the default, gives it null",
            post("stocks?columns=id,code,amount&select=id,amount&order=id", uneven)
                .prefer("missing=null,return=representation"),
            json!({ "status": 201, "body": [{ "id": 12, "amount": 1 }, { "id": 13, "amount": null }] }),
        )
        .await;

    facts
        .fact(
            "handling=strict names every preference that is not known: PGRST122 (400)",
            Ask::get("dots").prefer("handling=strict, foo, count=some"),
            json!({
                "status": 400,
                "code": "PGRST122",
                "message": "Invalid preferences given with handling=strict",
                "details": "Invalid preferences: foo, count=some",
            }),
        )
        .await;
    facts
        .fact(
            "handling=lenient lets unknown preferences pass",
            Ask::get("dots?limit=1").prefer("handling=lenient, foo"),
            json!({ "status": 200, "preference-applied": "handling=lenient" }),
        )
        .await;
    facts
        .fact(
            "an unknown preference is ignored by default",
            Ask::get("dots?limit=1").prefer("foo=bar"),
            json!({ "status": 200, "preference-applied": null }),
        )
        .await;
    facts
        .fact(
            "tx=commit is what happens anyway",
            post("stocks", one(20)).prefer("tx=commit"),
            json!({ "status": 201, "preference-applied": "tx=commit" }),
        )
        .await;
    facts
        .fact(
            "tx=rollback is not allowed here: it is ignored and not said to be met",
            post("stocks", one(21)).prefer("tx=rollback"),
            json!({ "status": 201, "preference-applied": null }),
        )
        .await;
    facts
        .reads("what tx=rollback wrote is written", "stocks?id=eq.21&select=id", json!([{ "id": 21 }]))
        .await;
    facts
        .fact(
            "tx=rollback under handling=strict is PGRST122",
            post("stocks", one(22)).prefer("tx=rollback, handling=strict"),
            json!({ "status": 400, "code": "PGRST122", "details": "Invalid preferences: tx=rollback" }),
        )
        .await;
    facts.reads("and nothing was written", "stocks?id=eq.22", json!([])).await;
    facts
        .fact(
            "timezone=UTC is the one that answers are in",
            Ask::get("things?id=eq.1&select=at").prefer("timezone=UTC"),
            json!({ "status": 200, "body": [{ "at": "2024-03-12T03:04:05+00:00" }], "preference-applied": "timezone=UTC" }),
        )
        .await;
    facts
        .fact(
            "another timezone is ignored and not said to be met",
            Ask::get("things?id=eq.1&select=at").prefer("timezone=America/Los_Angeles"),
            json!({ "status": 200, "body": [{ "at": "2024-03-12T03:04:05+00:00" }], "preference-applied": null }),
        )
        .await;
    facts
        .fact(
            "another timezone under handling=strict is PGRST122",
            Ask::get("things").prefer("timezone=America/Los_Angeles, handling=strict"),
            json!({ "status": 400, "code": "PGRST122", "details": "Invalid preferences: timezone=America/Los_Angeles" }),
        )
        .await;

    let strict = "handling=strict, max-affected=2";
    facts
        .fact(
            "max-affected refuses an update of more: PGRST124 (400)",
            patch("stocks?id=gte.10", json!({ "amount": 99 })).prefer(strict),
            json!({
                "status": 400,
                "code": "PGRST124",
                "message": "Query result exceeds max-affected preference constraint",
                "details": "The query affects 6 rows",
            }),
        )
        .await;
    facts.reads("a refused update is undone", "stocks?amount=eq.99", json!([])).await;
    facts
        .fact(
            "max-affected refuses a delete of more",
            Ask::new(Method::DELETE, "stocks?id=gte.10").by(&stage.user).prefer(strict),
            json!({ "status": 400, "code": "PGRST124" }),
        )
        .await;
    facts
        .fact(
            "max-affected lets as many pass",
            patch("stocks?id=in.(10,11)", json!({ "amount": 98 })).prefer(strict),
            json!({ "status": 204, "preference-applied": "handling=strict, max-affected=2" }),
        )
        .await;
    facts
        .fact(
            "max-affected without handling=strict is nothing",
            patch("stocks?id=gte.10", json!({ "amount": 97 })).prefer("max-affected=2"),
            json!({ "status": 204, "preference-applied": null }),
        )
        .await;
    facts
        .fact(
            "max-affected that is no number is no preference",
            patch("stocks?id=eq.10", json!({ "amount": 1 })).prefer("max-affected=few, handling=strict"),
            json!({ "status": 400, "code": "PGRST122" }),
        )
        .await;

    facts
        .fact(
            "preferences may be repeated headers",
            post("stocks?select=id", one(30)).prefer("return=representation").prefer("count=exact"),
            json!({ "body": [{ "id": 30 }], "content-range": "*/1", "preference-applied": "return=representation, count=exact" }),
        )
        .await;
    facts
        .fact(
            "the first occurrence of a preference wins",
            post("stocks?select=id", one(31))
                .prefer("return=representation, return=minimal")
                .prefer("return=minimal"),
            json!({ "body": [{ "id": 31 }], "preference-applied": "return=representation" }),
        )
        .await;
    facts.end();
}
