//! Media types: how rows are answered, and what is not available.

use reqwest::Method;
use serde_json::json;

use super::world::{Ask, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_answered_in_the_media_type_asked_for() {
    let stage = Stage::open().await;
    let mut facts = stage.facts();
    let one = "makers?id=eq.3&select=id,town";
    let (json, rows) = ("application/json; charset=utf-8", json!([{ "id": 3, "town": null }]));
    for (says, accept) in [
        ("application/json is the default said aloud", "application/json"),
        ("*/* is JSON", "*/*"),
        ("application/* is JSON", "application/*"),
        ("application/vnd.pgrst.array+json is JSON", "application/vnd.pgrst.array+json"),
        ("parameters of JSON are nothing", "application/json;q=0.9;charset=utf-8"),
        ("the first available type is taken", "application/xml, application/json, text/csv"),
        ("a type is a type in any case", "Application/JSON"),
    ] {
        facts
            .fact(
                says,
                Ask::get(one).accept(accept),
                json!({ "status": 200, "content-type": json, "body": rows }),
            )
            .await;
    }
    facts
        .fact(
            "no Accept is JSON",
            Ask::get(one),
            json!({ "status": 200, "content-type": json, "body": rows }),
        )
        .await;
    let object = "application/vnd.pgrst.object+json";
    facts
        .fact(
            "application/vnd.pgrst.object+json is one row as an object",
            Ask::get(one).accept(object),
            json!({ "status": 200, "content-type": "application/vnd.pgrst.object+json; charset=utf-8", "body": rows[0] }),
        )
        .await;
    for (says, path, found) in [
        ("no row is no object: PGRST116 (406)", "makers?id=eq.9", 0),
        ("two rows are no object", "makers?id=lt.3", 2),
    ] {
        let expected = json!({
            "status": 406,
            "code": "PGRST116",
            "message": "Cannot coerce the result to a single JSON object",
            "details": format!("The result contains {found} rows"),
        });
        facts.fact(says, Ask::get(path).accept(object), expected).await;
    }
    let two = json!([{ "id": 1, "code": "a" }, { "id": 2, "code": "b" }]);
    for prefer in ["return=representation", "return=minimal"] {
        let ask =
            Ask::new(Method::POST, "stocks").by(&stage.user).accept(object).prefer(prefer).json(two.clone());
        let says = format!("two new records are no object, by {prefer}");
        facts.fact(&says, ask, json!({ "status": 406, "code": "PGRST116" })).await;
        let says = format!("and a write that is no object is undone, by {prefer}");
        facts.reads(&says, "stocks", json!([])).await;
    }
    for (says, accept, kind, body) in [
        (
            "nulls=stripped leaves null members out of an array",
            "application/vnd.pgrst.array+json;nulls=stripped",
            "application/vnd.pgrst.array+json;nulls=stripped; charset=utf-8",
            json!([{ "id": 3 }]),
        ),
        (
            "nulls=stripped leaves null members out of an object",
            "application/vnd.pgrst.object+json;nulls=stripped",
            "application/vnd.pgrst.object+json;nulls=stripped; charset=utf-8",
            json!({ "id": 3 }),
        ),
        (
            "text/csv is a header line and the rows, null being empty",
            "text/csv",
            "text/csv; charset=utf-8",
            json!("id,town\n3,"),
        ),
    ] {
        facts
            .fact(
                says,
                Ask::get(one).accept(accept),
                json!({ "status": 200, "content-type": kind, "body": body }),
            )
            .await;
    }
    facts
        .fact(
            "CSV quotes what has commas and quotes in it",
            Ask::get("things?select=name&id=gte.3&order=id").accept("text/csv"),
            json!({ "body": "name\n\"cow, (big)\"\n\"Dog \"\"x\"\"\"" }),
        )
        .await;
    for (says, accept, message) in [
        (
            "an unknown type is PGRST107 (406)",
            "text/unknown",
            "None of these media types are available: text/unknown",
        ),
        (
            "several unknown types are named",
            "text/unknown, image/png",
            "None of these media types are available: text/unknown, image/png",
        ),
        (
            "application/geo+json needs PostGIS, and is PGRST107",
            "application/geo+json",
            "None of these media types are available: application/geo+json",
        ),
        (
            "application/openapi+json is the root's alone",
            "application/openapi+json",
            "None of these media types are available: application/openapi+json",
        ),
        (
            "text/xml and application/octet-stream are of functions, and PGRST107",
            "text/xml, application/octet-stream",
            "None of these media types are available: text/xml, application/octet-stream",
        ),
    ] {
        let expected = json!({ "status": 406, "code": "PGRST107", "message": message });
        facts.fact(says, Ask::get(one).accept(accept), expected).await;
    }
    facts
        .fact(
            "HEAD has the headers of a GET and no body",
            Ask::head(one),
            json!({ "status": 200, "content-type": json, "content-range": "0-0/*", "body": null }),
        )
        .await;
    facts
        .fact(
            "HEAD of CSV, too",
            Ask::head(one).accept("text/csv"),
            json!({ "status": 200, "content-type": "text/csv; charset=utf-8", "body": null }),
        )
        .await;
    facts
        .fact(
            "HEAD of two rows as one object is 406 without a body",
            Ask::head("makers?id=lt.3").accept(object),
            json!({ "status": 406, "body": null }),
        )
        .await;
    facts.end();
}
