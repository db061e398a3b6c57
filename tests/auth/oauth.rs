//! Signing in at a provider: there and back, what of its answer is believed, and codes.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::idp::{Key, Reply, message, now};
use super::site::text;
use super::world::{APP, CHALLENGE, VERIFIER, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_goes_to_the_provider_and_lands_with_a_session() {
    let world = World::start("  redirect_urls: ['https://app.test/**']\n").await;
    let more = [
        ("redirect_to", "https://app.test/in?tab=1#here"),
        ("scopes", "calendar email"),
        ("prompt", "consent"),
        ("client_id", "another"),
        ("redirect_uri", "https://evil.test"),
        ("state", "chosen"),
        ("nonce", "chosen"),
    ];
    let begun = world.begin(&more).await;
    assert_eq!(begun.at.path(), "/authorize");
    let told = &begun.told;
    assert_eq!(told["client_id"], "app");
    assert_eq!(told["redirect_uri"], world.site.server.at("/auth/v1/callback"));
    assert_eq!((told["response_type"].as_str(), told["prompt"].as_str()), ("code", "consent"));
    assert_eq!(told["scope"], "openid email profile calendar");
    assert_eq!((told["code_challenge_method"].as_str(), told["code_challenge"].len()), ("S256", 43));
    assert!(told["state"].len() == 43 && told["nonce"].len() == 43);
    let landed = world.finish(&begun).await;
    assert_eq!(landed.to, "https://app.test/in");
    assert_eq!(landed.query["tab"], "1");
    for (name, value) in [
        ("provider_token", "their access token"),
        ("provider_refresh_token", "their refresh token"),
        ("token_type", "bearer"),
    ] {
        assert_eq!(landed.fragment[name], value);
    }
    let user = world.user(landed.token()).await;
    assert_eq!(user["email"], "ada@example.test");
    assert!(user["email_confirmed_at"].is_string());
    assert_eq!(user["app_metadata"], json!({ "provider": "acme", "providers": ["acme"] }));
    assert_eq!(user["user_metadata"]["full_name"], "Ada");
    let identity = &user["identities"][0];
    assert_eq!((identity["provider"].as_str(), identity["id"].as_str()), (Some("acme"), Some("ada")));
    // The session can be refreshed, and says how it began.
    let body = json!({ "refresh_token": landed.fragment["refresh_token"] });
    let refreshed = world.site.post("/auth/v1/token?grant_type=refresh_token", None, body).await.is(200);
    assert_eq!(refreshed["user"]["id"], user["id"]);
    assert_eq!(world.count("select count(*) from auth.sessions where amr->0->>'method' = 'oauth'").await, 1);
    // Once more is the same user; his own words do not outweigh the provider's.
    world.run("update auth.users set user_metadata = '{\"full_name\": \"Eve\", \"own\": 1}'").await;
    let again = world.sign_in(json!({})).await;
    let user_again = world.user(again.token()).await;
    assert_eq!(user_again["id"], user["id"]);
    assert_eq!(
        (&user_again["user_metadata"]["full_name"], &user_again["user_metadata"]["own"]),
        (&json!("Ada"), &json!(1))
    );
    // A form that the provider's page posts counts as well.
    let begun = world.begin(&[]).await;
    let form = [("state", begun.state()), ("code", &begun.code())];
    let posted =
        world.site.client.post(world.site.server.at("/auth/v1/callback")).form(&form).send().await.unwrap();
    assert_eq!(posted.status(), 303);
    assert!(posted.headers()["location"].to_str().unwrap().contains("access_token="));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_there_is_refused_to_unknown_providers_and_wrong_challenges() {
    let world = World::start("").await;
    for query in [
        &[][..],
        &[("provider", "")],
        &[("provider", "other")],
        &[("provider", "github")],
        &[("provider", "acme"), ("code_challenge", "short")],
        &[("provider", "acme"), ("code_challenge_method", "s256")],
        &[("provider", "acme"), ("code_challenge", CHALLENGE), ("code_challenge_method", "s512")],
    ] {
        let answer = world.browse("/auth/v1/authorize", query).await;
        assert_eq!(answer.refused(400), "validation_failed", "{query:?}");
    }
    let told =
        world.browse("/auth/v1/authorize", &[("provider", "acme"), ("skip_http_redirect", "true")]).await;
    assert!(told.is(200)["url"].as_str().unwrap().starts_with(&world.idp.url));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_is_good_once_and_not_for_long() {
    let world = World::start("  redirect_urls: ['https://app.test/**']\n").await;
    let begun = world.begin(&[("redirect_to", "https://app.test/in")]).await;
    assert!(!world.finish(&begun).await.token().is_empty());
    // Used, made up, missing, said twice: nobody knows where it was to lead.
    let again = world.finish(&begun).await;
    assert_eq!((again.refused(), again.to.as_str()), ("bad_oauth_state", APP));
    let code = begun.code();
    for (query, expected) in [
        (vec![("state", "made up"), ("code", &code)], "bad_oauth_state"),
        (vec![("code", code.as_str())], "bad_oauth_callback"),
        (vec![("state", ""), ("code", &code)], "bad_oauth_callback"),
        (vec![("state", "a"), ("state", "b"), ("code", &code)], "bad_oauth_callback"),
        (vec![], "bad_oauth_callback"),
    ] {
        let landed = world.back(&query).await;
        assert_eq!((landed.refused(), landed.to.as_str()), (expected, APP), "{query:?}");
    }
    let late = world.begin(&[]).await;
    world.run("update auth.flows set expires_at = now() - interval '1 s'").await;
    assert_eq!(world.finish(&late).await.refused(), "bad_oauth_state");
    // Twenty browsers come back with the same one.
    let begun = world.begin(&[]).await;
    let landed = join_all((0..20).map(|_| world.finish(&begun))).await;
    let inside = landed.iter().filter(|landed| landed.fragment.contains_key("access_token")).count();
    assert_eq!(inside, 1);
    // The provider lets nobody in: the app hears so in the provider's words, but not just any.
    for (said, expected) in [("access_denied", "access_denied"), ("<script>", "server_error")] {
        let begun = world.begin(&[("redirect_to", "https://app.test/in")]).await;
        let query = [("state", begun.state()), ("error", said), ("error_description", "not\r\ntoday")];
        let landed = world.back(&query).await;
        assert_eq!((landed.refused(), landed.to.as_str()), ("bad_oauth_callback", "https://app.test/in"));
        assert_eq!(
            (landed.query["error"].as_str(), landed.query["error_description"].as_str()),
            (expected, "nottoday")
        );
        assert_eq!(world.finish(&begun).await.refused(), "bad_oauth_state");
    }
    // No code; another's code; the answer of another provider.
    let begun = world.begin(&[]).await;
    assert_eq!(world.back(&[("state", begun.state())]).await.refused(), "bad_oauth_callback");
    let begun = world.begin(&[]).await;
    let other = world.begin(&[]).await;
    let swapped = world.back(&[("state", begun.state()), ("code", &other.code())]).await;
    assert_eq!(swapped.refused(), "bad_oauth_callback");
    let begun = world.begin(&[]).await;
    let query = [("state", begun.state()), ("code", &begun.code()), ("iss", "https://evil.test")];
    assert_eq!(world.back(&query).await.refused(), "bad_oauth_callback");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_exchanged_once_by_whoever_began() {
    let world = World::start("").await;
    let pkce = [("code_challenge", CHALLENGE), ("code_challenge_method", "s256")];
    let landed = world.finish(&world.begin(&pkce).await).await;
    assert!(landed.fragment.is_empty() && !landed.query.contains_key("access_token"), "{landed:?}");
    let code = &landed.query["code"];
    assert_eq!(world.count("select count(*) from auth.sessions").await, 0);
    // The provider's tokens wait where nobody but the code opens them.
    let kept = "select count(*) from auth.flows f where f::text like '%their access token%' or octet_length(sealed) < 40";
    assert_eq!(world.count(kept).await, 0);
    for wrong in ["", "short", CHALLENGE] {
        assert_eq!(world.exchange(code, wrong).await.refused(400), "bad_code_verifier");
    }
    assert_eq!(world.exchange("made up", VERIFIER).await.refused(404), "flow_state_not_found");
    let session = world.exchange(code, VERIFIER).await.is(200);
    assert_eq!(session["provider_token"], "their access token");
    assert_eq!(session["provider_refresh_token"], "their refresh token");
    assert_eq!(world.user(text(&session, "access_token")).await["email"], "ada@example.test");
    assert_eq!(world.exchange(code, VERIFIER).await.refused(404), "flow_state_not_found");
    // A hundred at once, and one wins.
    let landed = world.finish(&world.begin(&pkce).await).await;
    let code = &landed.query["code"];
    let answers = join_all((0..100).map(|_| world.exchange(code, VERIFIER))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    assert!(answers.iter().all(|answer| [200, 404].contains(&answer.status)));
    // Too late, and after whoever has been locked out.
    let landed = world.finish(&world.begin(&pkce).await).await;
    world.run("update auth.flows set expires_at = now() - interval '1 s'").await;
    assert_eq!(world.exchange(&landed.query["code"], VERIFIER).await.refused(422), "flow_state_expired");
    let landed = world.finish(&world.begin(&pkce).await).await;
    world.run("update auth.users set banned_until = 'infinity'").await;
    assert_eq!(world.exchange(&landed.query["code"], VERIFIER).await.refused(403), "user_banned");
    world.run("update auth.users set banned_until = null").await;
    // To be signed out everywhere is also not to be on the way in.
    let landed = world.finish(&world.begin(&pkce).await).await;
    let other = world.sign_in(json!({})).await;
    world.site.post("/auth/v1/logout", Some(other.token()), Value::Null).await.is(204);
    assert_eq!(world.exchange(&landed.query["code"], VERIFIER).await.refused(404), "flow_state_not_found");
}

/// Makes a token that does not hold out of claims that do.
type Forge<'f> = &'f dyn Fn(&Value) -> String;

#[tokio::test(flavor = "multi_thread")]
async fn an_id_token_that_does_not_hold_lets_nobody_in() {
    let world = World::start("").await;
    let key = world.idp.key();
    for changes in [
        json!({ "iss": "https://evil.test" }),
        json!({ "aud": "another" }),
        json!({ "aud": ["app", "another"] }),
        json!({ "aud": ["app", "another"], "azp": "another" }),
        json!({ "aud": "native" }),
        json!({ "aud": null }),
        json!({ "nonce": "another" }),
        json!({ "nonce": null }),
        json!({ "exp": now() - 60 }),
        json!({ "exp": (now() + 60).to_string() }),
        json!({ "exp": null }),
        json!({ "iat": null }),
        json!({ "iat": now() + 3_600 }),
        json!({ "nbf": now() + 3_600 }),
        json!({ "sub": null }),
        json!({ "sub": 7 }),
        json!({ "at_hash": "another" }),
    ] {
        let landed = world.sign_in(changes.clone()).await;
        assert_eq!(landed.refused(), "bad_oauth_callback", "{changes}");
    }
    // The nonce is right, the signature is not.
    let forged: [(&str, Forge<'_>); 9] = [
        ("unsigned", &|claims| format!("{}.", message(&json!({ "alg": "none", "typ": "JWT" }), claims))),
        ("public key as secret", &|claims| key.sign_with_public_half(claims)),
        ("a stranger's key", &|claims| Key::new("one").sign(claims)),
        ("a stranger's key in the header", &|claims| {
            let stranger = Key::new("one");
            stranger.sign_with(&json!({ "alg": "ES256", "jwk": stranger.jwk }), claims)
        }),
        ("an unknown key", &|claims| key.sign_with(&json!({ "alg": "ES256", "kid": "../../one" }), claims)),
        ("keys from elsewhere", &|claims| {
            key.sign_with(&json!({ "alg": "ES256", "kid": "one", "jku": "https://evil.test" }), claims)
        }),
        ("another algorithm", &|claims| key.sign_with(&json!({ "alg": "RS256", "kid": "one" }), claims)),
        ("an access token", &|claims| {
            key.sign_with(&json!({ "alg": "ES256", "kid": "one", "typ": "at+jwt" }), claims)
        }),
        ("no token", &|_| "nothing".to_owned()),
    ];
    for (name, forge) in forged {
        let begun = world.begin(&[]).await;
        let claims = world.idp.claims(&json!({ "nonce": begun.told["nonce"] }));
        world.idp.set_id_token(Some(forge(&claims)));
        assert_eq!(world.finish(&begun).await.refused(), "bad_oauth_callback", "{name}");
    }
    world.idp.mend();
    assert_eq!(world.count("select count(*) from auth.users").await, 0);
    assert!(!world.sign_in(json!({ "at_hash": null })).await.token().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_answers_what_it_should_not_is_bounded() {
    let json = "content-type: application/json\r\n";
    let to_canary = |canary: &str| Reply::Raw(302, format!("location: {canary}/token\r\n"), String::new());
    let canary = super::idp::Idp::start().await;
    // Each with a world of its own: what was fetched is kept.
    let discovery = |change: &dyn Fn(&mut Value)| {
        let mut metadata = json!({
            "issuer": "IDP", "authorization_endpoint": "IDP/authorize", "token_endpoint": "IDP/token", "jwks_uri": "IDP/jwks",
        });
        change(&mut metadata);
        metadata
    };
    for (path, reply) in [
        (
            "/.well-known/openid-configuration",
            Reply::Json(discovery(&|m| m["issuer"] = json!("https://evil.test"))),
        ),
        (
            "/.well-known/openid-configuration",
            Reply::Json(discovery(&|m| m["jwks_uri"] = json!("file:///etc/passwd"))),
        ),
        ("/.well-known/openid-configuration", Reply::Json(discovery(&|m| m["token_endpoint"] = Value::Null))),
        ("/.well-known/openid-configuration", Reply::Raw(200, json.to_owned(), "<html>".to_owned())),
        ("/.well-known/openid-configuration", Reply::Raw(500, json.to_owned(), "{}".to_owned())),
        ("/.well-known/openid-configuration", to_canary(&canary.url)),
        ("/jwks", Reply::Raw(200, json.to_owned(), format!("{{\"keys\":[{}]}}", " ".repeat(2 << 20)))),
    ] {
        let world = World::start("").await;
        let reply = match reply {
            Reply::Json(value) => {
                Reply::Json(serde_json::from_str(&value.to_string().replace("IDP", &world.idp.url)).unwrap())
            }
            other => other,
        };
        world.idp.reply(path, reply);
        let answer = world.browse("/auth/v1/authorize", &[("provider", "acme")]).await;
        assert_eq!(answer.refused(502), "unexpected_failure", "{path}");
    }
    let world = World::start("").await;
    for reply in [
        to_canary(&canary.url),
        Reply::Raw(200, json.to_owned(), "x".repeat(2 << 20)),
        Reply::Raw(200, json.to_owned(), "{}".to_owned()),
        Reply::Raw(200, "content-type: text/html\r\n".to_owned(), "<html>".to_owned()),
        Reply::Json(json!({ "access_token": "a", "token_type": "Bearer" })),
        Reply::Silence,
    ] {
        let begun = world.begin(&[]).await;
        world.idp.reply("/token", reply);
        let started = std::time::Instant::now();
        assert_eq!(world.finish(&begun).await.refused(), "unexpected_failure");
        assert!(started.elapsed() < Duration::from_secs(30));
        world.idp.mend();
    }
    assert_eq!(canary.asked("/token"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_provider_has_by_now_is_fetched_and_an_unknown_one_seldom() {
    let world = World::start("").await;
    assert!(!world.sign_in(json!({})).await.token().is_empty());
    assert_eq!(world.idp.asked("/jwks"), 1);
    world.idp.set_keys(vec![Key::new("two")]);
    assert!(!world.sign_in(json!({})).await.token().is_empty());
    assert_eq!(world.idp.asked("/jwks"), 2);
    // From now on nobody makes us ask again for a while.
    let landed = join_all((0..20).map(|_| async {
        let begun = world.begin(&[]).await;
        let claims = world.idp.claims(&json!({ "nonce": begun.told["nonce"] }));
        world.idp.set_id_token(Some(Key::new("three").sign(&claims)));
        world.finish(&begun).await
    }))
    .await;
    assert!(landed.iter().all(|landed| landed.refused() == "bad_oauth_callback"));
    assert_eq!(world.idp.asked("/jwks"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_brings_an_id_token_that_it_has_got_itself() {
    let world = World::start("").await;
    let idp = &world.idp;
    let bring = async |more: Value, changes: Value| {
        let mut body = json!({ "provider": "acme", "id_token": idp.key().sign(&idp.claims(&changes)) });
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        world.site.post("/auth/v1/token?grant_type=id_token", None, body).await
    };
    let hashed = "b9c96f1da5b7bd5a5b2ec06f87a42a52e8ef3d9b2b0e0d1f0a2d55c9f8f6c001";
    let nonce = "a nonce of the app";
    let digest: String = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, nonce.as_bytes())
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    for (more, changes) in [
        (json!({}), json!({})),
        (json!({}), json!({ "aud": "native" })),
        (json!({ "nonce": nonce }), json!({ "nonce": nonce })),
        (json!({ "nonce": nonce }), json!({ "nonce": digest })),
        (json!({ "provider": null, "issuer": idp.url, "client_id": "app" }), json!({})),
    ] {
        let session = bring(more.clone(), changes.clone()).await.is(200);
        assert_eq!(session["user"]["email"], "ada@example.test", "{more} {changes}");
        assert_eq!(session["user"]["app_metadata"]["provider"], "acme");
    }
    assert_eq!(world.count("select count(*) from auth.users").await, 1);
    for (more, changes, expected) in [
        (json!({ "nonce": nonce }), json!({}), "validation_failed"),
        (json!({}), json!({ "nonce": nonce }), "validation_failed"),
        (json!({ "nonce": nonce }), json!({ "nonce": hashed }), "validation_failed"),
        (json!({ "nonce": digest }), json!({ "nonce": nonce }), "validation_failed"),
        (json!({}), json!({ "nonce": 7 }), "validation_failed"),
        (json!({}), json!({ "aud": "another" }), "unexpected_audience"),
        (json!({}), json!({ "iss": "https://evil.test" }), "validation_failed"),
        (json!({}), json!({ "exp": now() - 60 }), "validation_failed"),
        (json!({ "access_token": "a" }), json!({ "at_hash": "b" }), "validation_failed"),
        (json!({ "provider": "other" }), json!({}), "validation_failed"),
        (json!({ "provider": null, "issuer": "https://evil.test" }), json!({}), "validation_failed"),
        (json!({ "provider": null }), json!({}), "validation_failed"),
        (json!({ "id_token": "x" }), json!({}), "validation_failed"),
        (json!({ "id_token": null }), json!({}), "validation_failed"),
    ] {
        assert_eq!(bring(more.clone(), changes.clone()).await.refused(400), expected, "{more} {changes}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_id_token_does_not_say_is_asked_for_about_the_same_user_only() {
    let world = World::start("").await;
    let silent = json!({ "email": null, "email_verified": null, "name": null });
    let said =
        |sub: &str| json!({ "sub": sub, "email": "ada@example.test", "email_verified": true, "name": "Ada" });
    world.idp.reply("/userinfo", Reply::Json(said("another")));
    assert_eq!(world.sign_in(silent.clone()).await.refused(), "bad_oauth_callback");
    world.idp.reply("/userinfo", Reply::Raw(401, String::new(), String::new()));
    assert_eq!(world.sign_in(silent.clone()).await.refused(), "unexpected_failure");
    world.idp.reply("/userinfo", Reply::Json(said("ada")));
    let landed = world.sign_in(silent).await;
    let user = world.user(landed.token()).await;
    assert_eq!(
        (user["email"].as_str(), user["user_metadata"]["name"].as_str()),
        (Some("ada@example.test"), Some("Ada"))
    );
}
