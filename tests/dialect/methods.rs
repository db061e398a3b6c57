//! Methods and resources, who is asking, and what browsers are told.

use basewright::app::now;
use basewright::auth::token::mint_operator;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::world::{Ask, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn methods_do_what_the_dialect_says_with_its_status() {
    let stage = Stage::open().await;
    let mut facts = stage.facts();
    let write = |method: Method, path: &str| Ask::new(method, path).by(&stage.user);
    let made = json!({ "id": 1, "code": "a" });
    facts
        .fact(
            "GET reads: 200",
            Ask::get("makers?select=id&id=eq.1"),
            json!({ "status": 200, "body": [{ "id": 1 }] }),
        )
        .await;
    facts
        .fact(
            "GET of a part of what was counted: 206",
            Ask::get("makers?limit=1").prefer("count=exact"),
            json!({ "status": 206 }),
        )
        .await;
    facts
        .fact("HEAD reads without a body: 200", Ask::head("makers"), json!({ "status": 200, "body": null }))
        .await;
    facts
        .fact(
            "POST inserts: 201",
            write(Method::POST, "stocks").json(made.clone()),
            json!({ "status": 201, "body": null }),
        )
        .await;
    facts
        .fact(
            "PATCH updates: 204",
            write(Method::PATCH, "stocks?id=eq.1").json(json!({ "amount": 2 })),
            json!({ "status": 204, "body": null }),
        )
        .await;
    facts
        .fact(
            "PATCH with a representation: 200",
            write(Method::PATCH, "stocks?id=eq.1&select=amount")
                .prefer("return=representation")
                .json(json!({ "amount": 3 })),
            json!({ "status": 200, "body": [{ "amount": 3 }] }),
        )
        .await;
    facts
        .fact(
            "PUT of what is there: 204",
            write(Method::PUT, "stocks?id=eq.1").json(made),
            json!({ "status": 204 }),
        )
        .await;
    facts
        .fact(
            "PUT of what is new: 201",
            write(Method::PUT, "stocks?id=eq.2").json(json!({ "id": 2, "code": "b" })),
            json!({ "status": 201 }),
        )
        .await;
    facts
        .fact(
            "an unfiltered PATCH is legal",
            write(Method::PATCH, "stocks").prefer("count=exact").json(json!({ "amount": 9 })),
            json!({ "status": 204, "content-range": "0-1/2" }),
        )
        .await;
    facts
        .fact(
            "DELETE with a representation: 200",
            write(Method::DELETE, "stocks?id=eq.1&select=id").prefer("return=representation"),
            json!({ "status": 200, "body": [{ "id": 1 }] }),
        )
        .await;
    facts
        .fact(
            "an unfiltered DELETE is legal: 204",
            write(Method::DELETE, "stocks").prefer("count=exact"),
            json!({ "status": 204, "body": null, "content-range": "*/1" }),
        )
        .await;
    for (says, method) in [("TRACE is PGRST117 (405)", "TRACE"), ("any other word is PGRST117", "MERGE")] {
        let ask = Ask::new(Method::from_bytes(method.as_bytes()).unwrap(), "makers");
        facts.fact(says, ask, json!({ "status": 405, "code": "PGRST117" })).await;
    }
    for (says, path) in [
        ("anything deeper than one segment is PGRST125 (404)", "makers/1"),
        ("a segment below a function is PGRST125", "rpc/one/two"),
        ("a table with a slash behind it is deeper", "makers/"),
    ] {
        let expected =
            json!({ "status": 404, "code": "PGRST125", "message": "Invalid path specified in request URL" });
        facts.fact(says, Ask::get(path), expected).await;
    }
    facts
        .fact(
            "OPTIONS on a table lists its methods, whoever asks",
            Ask::new(Method::OPTIONS, "makers"),
            json!({ "status": 200, "allow": "OPTIONS,GET,HEAD,POST,PUT,PATCH,DELETE", "access-control-allow-origin": "*", "body": null }),
        )
        .await;
    facts
        .fact(
            "OPTIONS on a table that does not exist says no more than that",
            Ask::new(Method::OPTIONS, "unicorns"),
            json!({ "status": 200, "allow": "OPTIONS,GET,HEAD,POST,PUT,PATCH,DELETE" }),
        )
        .await;
    facts
        .fact(
            "OPTIONS on the root lists its methods",
            Ask::new(Method::OPTIONS, ""),
            json!({ "status": 200, "allow": "OPTIONS,GET,HEAD", "access-control-allow-origin": "*" }),
        )
        .await;
    let root = Ask::get("").answer(&stage).await;
    facts.holds(
        "GET / describes the tables, in OpenAPI 3.1 and not in Swagger 2.0",
        root.status == 200
            && root.header("content-type") == "application/openapi+json; charset=utf-8"
            && root.body["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")),
        &root.body["openapi"],
    );
    facts
        .fact(
            "POST / is PGRST117",
            Ask::new(Method::POST, "").json(json!({})),
            json!({ "status": 405, "code": "PGRST117" }),
        )
        .await;

    let missing = |message: &str| json!({ "status": 404, "code": "PGRST202", "message": message, "details": null, "hint": null });
    facts
        .fact(
            "no function is declared: GET of any is PGRST202 (404)",
            Ask::get("rpc/add"),
            missing("Could not find the function public.add in the schema cache"),
        )
        .await;
    facts
        .fact(
            "a call by GET spells the names of its arguments",
            Ask::get("rpc/add?a=1&b=2"),
            missing("Could not find the function public.add(a, b) in the schema cache"),
        )
        .await;
    facts
        .fact("HEAD of a function is 404", Ask::head("rpc/add"), json!({ "status": 404, "body": null }))
        .await;
    facts
        .fact(
            "POST of any function is PGRST202, by whoever it is",
            write(Method::POST, "rpc/add").json(json!({ "a": 1 })),
            missing("Could not find the function public.add in the schema cache"),
        )
        .await;
    facts
        .fact(
            "a function of Postgres is none of ours",
            Ask::get("rpc/version").by(&stage.secret),
            missing("Could not find the function public.version in the schema cache"),
        )
        .await;
    facts
        .fact(
            "OPTIONS on a function that does not exist is PGRST202",
            Ask::new(Method::OPTIONS, "rpc/add"),
            json!({ "status": 404, "code": "PGRST202" }),
        )
        .await;
    for method in [Method::PUT, Method::PATCH, Method::DELETE] {
        let expected = json!({ "status": 405, "code": "PGRST101", "message": format!("Cannot use the {method} method on RPC") });
        facts
            .fact(&format!("{method} on a function is PGRST101 (405)"), Ask::new(method, "rpc/add"), expected)
            .await;
    }
    facts.end();
}

/// Headers, and the statuses of reading what is open to anybody and what is not.
type Asked<'a> = (&'a str, &'a [(&'a str, &'a str)], u16, u16);

/// A plain request, with these headers and no others.
async fn plain(stage: &Stage, method: Method, path: &str, headers: &[(&str, &str)]) -> reqwest::Response {
    let mut request = reqwest::Client::new().request(method, stage.server.at(path));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_is_a_key_a_token_or_nobody() {
    let stage = Stage::open().await;
    let mut facts = stage.facts();
    let (publishable, secret) =
        (stage.server.keys.publishable().to_owned(), stage.server.keys.secret().to_owned());
    let bearer = |key: &str| format!("Bearer {key}");
    let (as_anon, as_service) = (bearer(&publishable), bearer(&secret));
    let headers: &[Asked<'_>] = &[
        ("an apikey alone is that key's role: anon", &[("apikey", &publishable)], 200, 404),
        ("an apikey alone is that key's role: service_role", &[("apikey", &secret)], 200, 200),
        (
            "a Bearer that equals the apikey is that key's role",
            &[("apikey", &publishable), ("authorization", &as_anon)],
            200,
            404,
        ),
        (
            "a Bearer that equals the secret apikey is that key's role",
            &[("apikey", &secret), ("authorization", &as_service)],
            200,
            200,
        ),
        (
            "a Bearer that is a key counts before the apikey",
            &[("apikey", &publishable), ("authorization", &as_service)],
            200,
            200,
        ),
        ("a Bearer alone will do", &[("authorization", &as_service)], 200, 200),
        (
            "the scheme is a word in any case",
            &[("apikey", &publishable), ("authorization", &as_service.replace("Bearer", "bearer"))],
            200,
            200,
        ),
        ("nothing is 401 where nobody is not let in", &[], 401, 401),
        ("a key that is none is 401", &[("apikey", "sb_publishable_nothing")], 401, 401),
        (
            "what clients say of themselves is nothing",
            &[
                ("apikey", &publishable),
                ("x-client-info", "supabase-js/2.112.0; platform=Linux; runtime=node"),
                ("x-retry-count", "1"),
                ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
                ("tracestate", "a=b"),
                ("baggage", "c=d"),
            ],
            200,
            404,
        ),
    ];
    for (says, headers, open, closed) in headers {
        let one = plain(&stage, Method::GET, "/rest/v1/makers", headers).await.status().as_u16();
        let other = plain(&stage, Method::GET, "/rest/v1/secrets", headers).await.status().as_u16();
        facts.holds(says, (one, other) == (*open, *closed), &(one, other));
    }
    facts
        .fact(
            "a token's role counts before the apikey's",
            Ask::new(Method::POST, "blanks").by(&stage.user).json(json!({})),
            json!({ "status": 201 }),
        )
        .await;
    let issued = now();
    for (says, expired, status, code) in [
        ("a token that is past its time is PGRST303 (401)", 60, 401, json!("PGRST303")),
        ("thirty seconds of skew are allowed", 10, 200, Value::Null),
    ] {
        let key = stage.server.keys.active();
        let token = mint_operator(key, Uuid::new_v4(), "authenticated", &[], issued - 3600, issued - expired);
        let token = bearer(&token.unwrap());
        let headers = [("apikey", &*publishable), ("authorization", &*token)];
        let answer = plain(&stage, Method::GET, "/rest/v1/makers", &headers).await;
        let (seen, body) = (answer.status().as_u16(), answer.json::<Value>().await.unwrap());
        facts.holds(says, seen == status && body["code"] == code, &body);
    }
    let long = format!("/rest/v1/makers?name=eq.{}", "x".repeat(9_000));
    let answer = plain(&stage, Method::GET, &long, &[("apikey", &publishable)]).await;
    facts.holds("a URL of more than 8 kB is answered", answer.status() == 200, &answer.status());
    let long = format!("/rest/v1/makers?name=eq.{}", "x".repeat(17_000));
    let answer = plain(&stage, Method::GET, &long, &[("apikey", &publishable)]).await;
    facts.holds("one of more than 16 kB is 414", answer.status() == 414, &answer.status());
    for path in ["/rest/v1", "/rest/v1/"] {
        let answer = plain(&stage, Method::GET, path, &[("apikey", &publishable)]).await;
        facts.holds(
            &format!("the root is {path}, with its slash or without"),
            answer.status() == 200,
            &answer.status(),
        );
    }
    let response = plain(&stage, Method::GET, "/rest/v1/makers", &[]).await;
    facts.holds(
        "401 without a credential asks for one",
        response.headers().get("www-authenticate").is_some_and(|value| value == "Bearer"),
        &response.headers(),
    );
    let body: Value = response.json().await.unwrap();
    facts.holds("and is PGRST302", body["code"] == "PGRST302", &body);
    facts.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_are_told_what_pages_may_do() {
    let stage = Stage::open().await;
    let mut facts = stage.facts();
    let asking = [
        ("origin", "https://app.example"),
        ("access-control-request-method", "PATCH"),
        ("access-control-request-headers", "apikey,prefer"),
    ];
    for path in [
        "/rest/v1/makers",
        "/rest/v1/",
        "/rest/v1/rpc/add",
        "/auth/v1/token",
        "/storage/v1/bucket",
        "/functions/v1/f",
    ] {
        let answer = plain(&stage, Method::OPTIONS, path, &asking).await;
        let header =
            |name: &str| answer.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        facts.holds(
            &format!("a preflight of {path} is answered without a credential"),
            answer.status().is_success() && header("access-control-allow-origin") == "*",
            &answer.headers(),
        );
        let methods = header("access-control-allow-methods");
        let all = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
        facts.holds(
            &format!("a preflight of {path} allows every method"),
            all.iter().all(|method| methods.split(", ").any(|one| one == *method)),
            &methods,
        );
        let allowed = header("access-control-allow-headers");
        let missing: Vec<&str> = "authorization apikey content-type x-client-info x-retry-count prefer accept accept-profile \
             content-profile range range-unit x-supabase-api-version x-upsert x-metadata x-signature cache-control if-none-match \
             x-region traceparent tracestate baggage tus-resumable upload-length upload-offset upload-metadata upload-defer-length"
            .split_whitespace()
            .filter(|name| !allowed.split(", ").any(|one| one == *name))
            .collect();
        facts.holds(
            &format!("a preflight of {path} allows every header that clients send"),
            missing.is_empty(),
            &missing,
        );
        facts.holds(
            &format!("a preflight of {path} holds for a day"),
            header("access-control-max-age") == "86400",
            &answer.headers(),
        );
    }
    let key = stage.server.keys.publishable().to_owned();
    let answer =
        plain(&stage, Method::GET, "/rest/v1/makers", &[("apikey", &key), ("origin", "https://app.example")])
            .await;
    let header =
        |name: &str| answer.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
    facts.holds(
        "a page of any origin may read an answer",
        header("access-control-allow-origin") == "*",
        &answer.headers(),
    );
    let exposed = header("access-control-expose-headers");
    let missing: Vec<&str> = "content-range location content-location preference-applied x-total-count link x-supabase-api-version etag \
         upload-offset upload-length tus-version tus-resumable tus-max-size tus-extension upload-metadata"
        .split_whitespace()
        .filter(|name| !exposed.split(", ").any(|one| one == *name))
        .collect();
    facts.holds("a page may read every header that clients read", missing.is_empty(), &missing);
    let refused = plain(&stage, Method::GET, "/rest/v1/makers", &[("origin", "https://app.example")]).await;
    facts.holds(
        "a page may read a refusal, too",
        refused.status() == 401
            && refused.headers().get("access-control-allow-origin").is_some_and(|value| value == "*"),
        &refused.headers(),
    );
    facts.end();
}
