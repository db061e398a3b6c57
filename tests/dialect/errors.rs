//! Errors: their body, their headers, their codes.

use reqwest::Method;
use serde_json::{Value, json};

use super::world::{Ask, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn every_error_has_four_members_and_the_headers_of_its_status() {
    let stage = Stage::open().await;
    let mut facts = stage.facts();
    let json_type = "application/json; charset=utf-8";
    facts
        .fact(
            "a body has code, message, details and hint, null where there is nothing to say",
            Ask::get("nothing"),
            json!({
                "status": 404,
                "content-type": json_type,
                "code": "PGRST205",
                "message": "Could not find the table 'public.nothing' in the schema cache",
                "details": null,
                "hint": null,
            }),
        )
        .await;
    let answer = Ask::get("nothing").answer(&stage).await;
    let members = ["code", "message", "details", "hint"].iter().all(|name| answer.body.get(name).is_some());
    facts.holds("nulls are present, not left out", members, &answer.body);
    facts
        .fact(
            "Proxy-Status names the code",
            Ask::get("nothing"),
            json!({ "proxy-status": "basewright; error=PGRST205" }),
        )
        .await;
    facts
        .fact(
            "Proxy-Status names a SQLSTATE",
            Ask::get("things?size=eq.x"),
            json!({ "proxy-status": "basewright; error=22P02" }),
        )
        .await;
    facts
        .fact(
            "401 asks for a token",
            Ask::new(Method::POST, "stocks").json(json!({})),
            json!({ "status": 401, "code": "42501", "www-authenticate": "Bearer" }),
        )
        .await;
    facts
        .fact(
            "403 does not",
            Ask::new(Method::DELETE, "things").by(&stage.user),
            json!({ "status": 403, "code": "42501", "www-authenticate": null }),
        )
        .await;
    facts
        .fact(
            "a table of no rule answers like one that does not exist",
            Ask::get("secrets"),
            json!({
                "status": 404,
                "code": "PGRST205",
                "message": "Could not find the table 'public.secrets' in the schema cache",
                "details": null,
                "hint": null,
            }),
        )
        .await;
    let expired = reqwest::Client::new()
        .get(stage.server.at("/rest/v1/things"))
        .header("apikey", stage.server.keys.publishable())
        .header("authorization", "Bearer a.b.c")
        .send()
        .await
        .unwrap();
    let challenge = expired.headers().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
    facts.holds(
        "a token that cannot be decoded is PGRST301 (401) with a challenge",
        expired.status() == 401
            && challenge.as_deref().is_some_and(|text| text.starts_with("Bearer error=\"invalid_token\"")),
        &challenge,
    );
    facts
        .fact(
            "an error of a request for CSV is JSON",
            Ask::get("things?nothing=eq.1").accept("text/csv"),
            json!({ "status": 400, "content-type": json_type, "code": "42703" }),
        )
        .await;
    for (says, path, status, code) in [
        ("PGRST100 (400): the query string", "things?select=(", 400, "PGRST100"),
        ("PGRST103 (416): the range", "things?limit=-1", 416, "PGRST103"),
        ("PGRST108 (400): not embedded", "things?parts.id=eq.1", 400, "PGRST108"),
        ("PGRST118 (400): a related order", "things?select=parts()&order=parts(id)", 400, "PGRST118"),
        ("PGRST120 (400): an operator on an embed", "things?select=parts()&parts=gt.1", 400, "PGRST120"),
        ("PGRST123 (400): aggregates", "things?select=id.sum()", 400, "PGRST123"),
        ("PGRST125 (404): the path", "things/1", 404, "PGRST125"),
        ("PGRST127 (400): not implemented", "things?select=...parts(count)", 400, "PGRST127"),
        ("PGRST200 (400): no relationship", "things?select=dots()", 400, "PGRST200"),
        ("PGRST201 (300): several relationships", "things?select=makers()", 300, "PGRST201"),
        ("PGRST202 (404): no function", "rpc/things", 404, "PGRST202"),
        ("PGRST205 (404): no table", "unicorns", 404, "PGRST205"),
    ] {
        facts.refuses(says, path, status, code).await;
    }
    facts
        .fact(
            "PGRST106 (406): the schema to read from",
            Ask::get("things").header("accept-profile", "private"),
            json!({
                "status": 406,
                "code": "PGRST106",
                "message": "Invalid schema: private",
                "hint": "Only the following schemas are exposed: public",
            }),
        )
        .await;
    facts
        .fact(
            "PGRST106 (406): the schema to write to",
            Ask::new(Method::POST, "stocks")
                .by(&stage.user)
                .header("content-profile", "auth")
                .json(json!({})),
            json!({ "status": 406, "code": "PGRST106" }),
        )
        .await;
    facts
        .fact(
            "PGRST101 (405): a method on a function",
            Ask::new(Method::PATCH, "rpc/things"),
            json!({ "status": 405, "code": "PGRST101" }),
        )
        .await;
    facts
        .fact(
            "PGRST117 (405): the method",
            Ask::new(Method::from_bytes(b"PROPFIND").unwrap(), "things"),
            json!({ "status": 405, "code": "PGRST117" }),
        )
        .await;
    facts.end();
}

/// SQLSTATEs that a trigger raises.
#[tokio::test(flavor = "multi_thread")]
async fn every_class_of_sqlstate_has_its_status() {
    let stage = Stage::open().await;
    let mut facts = stage.facts();
    stage
        .database
        .connect_owner()
        .await
        .batch_execute(
            "create function public.say() returns trigger language plpgsql as
             $$ begin raise exception 'said aloud' using errcode = new.note; end $$;
             create trigger say before insert on public.blanks for each row execute function public.say();",
        )
        .await
        .unwrap();
    for (states, status) in [
        (&["53400", "09000", "25000", "2D000", "38000", "39000", "3B000", "40000", "55000"][..], 500),
        (&["57000", "58000", "F0000", "HV000", "P0002", "XX000", "42P17"], 500),
        (&["0L000", "0P000", "28000"], 403),
        (&["23503", "23505"], 409),
        (&["25006"], 405),
        (&["42883", "42P01"], 404),
        (&["22023", "P0001", "23502", "23514", "22012", "22P02", "21000", "ZZ999"], 400),
    ] {
        for state in states {
            let ask = Ask::new(Method::POST, "blanks").by(&stage.user).json(json!({ "note": state }));
            facts
                .fact(
                    &format!("{state} is {status}, and its own code"),
                    ask,
                    json!({ "status": status, "code": state }),
                )
                .await;
        }
    }
    let raised =
        |state: &str| Ask::new(Method::POST, "blanks").by(&stage.user).json(json!({ "note": state }));
    facts
        .fact(
            "P0001 tells the trigger's message",
            raised("P0001"),
            json!({ "message": "said aloud", "details": null, "hint": null }),
        )
        .await;
    facts
        .fact(
            "PTnnn is the status nnn",
            raised("PT418"),
            json!({ "status": 418, "code": "PT418", "message": "said aloud" }),
        )
        .await;
    facts
        .fact(
            "PTnnn that is no error's status is 400",
            raised("PT200"),
            json!({ "status": 400, "code": "PT200" }),
        )
        .await;
    facts
        .fact(
            "SQLSTATE PGRST commands neither status nor headers here: 400",
            raised("PGRST"),
            json!({ "status": 400, "code": "PGRST" }),
        )
        .await;
    facts
        .fact(
            "42501 of somebody signed in is 403",
            raised("42501"),
            json!({ "status": 403, "code": "42501" }),
        )
        .await;
    for state in ["08000", "53000", "53300"] {
        let expected = json!({ "status": 503, "code": "PGRST001", "retry-after": "1" });
        facts.fact(&format!("{state} is 503 with Retry-After"), raised(state), expected).await;
    }
    facts
        .fact(
            "what Postgres says of an internal fault stays in the log",
            raised("XX000"),
            json!({ "message": "The database refused the request" }),
        )
        .await;
    facts.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_name_what_they_vary_by_and_where_they_come_from() {
    let stage = Stage::open().await;
    let mut facts = stage.facts();
    let vary = "Accept, Prefer, Range";
    facts
        .fact("Vary names what a read varies by", Ask::get("things"), json!({ "status": 200, "vary": vary }))
        .await;
    facts
        .fact(
            "Vary names what a write varies by",
            Ask::new(Method::POST, "stocks").by(&stage.user).json(json!({ "id": 1, "code": "a" })),
            json!({ "status": 201, "vary": vary }),
        )
        .await;
    for (says, path, place) in [
        (
            "Content-Location is the canonical, sorted query",
            "things?select=id,name&order=id&id=gt.1",
            "/things?id=gt.1&order=id&select=id%2Cname",
        ),
        ("Content-Location of no query is the table", "things", "/things"),
        (
            "repeated parameters keep their order in Content-Location",
            "things?size=gt.1&size=lt.9&id=gt.0",
            "/things?id=gt.0&size=gt.1&size=lt.9",
        ),
        ("Content-Location is ASCII", "things?name=eq.%C3%A9%0D%0AX", "/things?name=eq.%C3%A9%0D%0AX"),
    ] {
        facts.fact(says, Ask::get(path), json!({ "status": 200, "content-location": place })).await;
    }
    facts
        .fact(
            "HEAD has the same Content-Location",
            Ask::head("things?limit=1&id=gt.1"),
            json!({ "content-location": "/things?id=gt.1&limit=1" }),
        )
        .await;
    facts
        .fact(
            "a refused read has none",
            Ask::get("things?nothing=eq.1"),
            json!({ "status": 400, "content-location": null }),
        )
        .await;
    facts
        .fact(
            "Content-Profile is answered where a schema was named to read from",
            Ask::get("things").header("accept-profile", "public"),
            json!({ "status": 200, "content-profile": "public" }),
        )
        .await;
    facts
        .fact(
            "Content-Profile is answered where a schema was named to write to",
            Ask::new(Method::PATCH, "stocks?id=eq.1")
                .by(&stage.user)
                .header("content-profile", "public")
                .json(json!({ "amount": 1 })),
            json!({ "status": 204, "content-profile": "public" }),
        )
        .await;
    facts.fact("and nowhere else", Ask::get("things"), json!({ "content-profile": null })).await;
    let response = reqwest::Client::new()
        .get(stage.server.at("/rest/v1/things"))
        .header("apikey", stage.server.keys.publishable())
        .send()
        .await
        .unwrap();
    facts.holds(
        "every answer has an id that the log knows",
        response.headers().contains_key("x-request-id"),
        &response.headers(),
    );
    let _: Value = response.json().await.unwrap();
    facts.end();
}
