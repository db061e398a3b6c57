//! Whose account a provider's word opens; linking and unlinking.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::site::text;
use super::world::{CHALLENGE, VERIFIER, World};

const ADA: &str = "ada@example.test";
const PASSWORD: &str = "correct horse battery";

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_both_sides_have_proven_opens_the_account() {
    let world = World::start("").await;
    let id = world.site.user(ADA, PASSWORD).await;
    let landed = world.sign_in(json!({ "email": "ADA@example.test" })).await;
    let user = world.user(landed.token()).await;
    assert_eq!(user["id"], id.as_str());
    assert_eq!(user["app_metadata"]["providers"], json!(["email", "acme"]));
    // What was there stays there.
    world.site.sign_in(ADA, PASSWORD).await;
    assert_eq!(world.count("select count(*) from auth.audit_log where event = 'identity_linked'").await, 1);
    // From then on the subject counts, not the address.
    let moved = world.sign_in(json!({ "email": "elsewhere@example.test" })).await;
    let user = world.user(moved.token()).await;
    assert_eq!((user["id"].as_str(), user["email"].as_str()), (Some(id.as_str()), Some(ADA)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_nobody_has_proven_goes_to_whoever_does_and_nothing_of_the_other_stays() {
    let world = World::start("").await;
    // Somebody signs up with Ada's address.
    let body = json!({ "email": ADA, "password": PASSWORD, "data": { "planted": true } });
    world.site.post("/auth/v1/signup", None, body).await.is(200);
    // And, as if he had come further, with all that an account can have.
    world
        .run(
            "insert into auth.passwords (user_id, hash) select id, 'x' from auth.users on conflict do nothing; \
             update auth.users set user_metadata = '{\"planted\": true}', new_email = 'eve@example.test'; \
             insert into auth.identities (user_id, provider, provider_id) select id, 'other', 'eve' from auth.users; \
             insert into auth.factors (user_id, status, secret) select id, 'verified', '\\x00' from auth.users; \
             insert into auth.recovery_codes (user_id, code_hash) select id, decode(repeat('00', 32), 'hex') from auth.users; \
             insert into auth.sessions (id, user_id) select gen_random_uuid(), id from auth.users; \
             insert into auth.flows (code_hash, user_id, method, redirect_to, expires_at) \
               select decode(repeat('00', 32), 'hex'), id, 'password', 'x', now() + interval '1 h' from auth.users",
        )
        .await;
    let landed = world.sign_in(json!({})).await;
    let user = world.user(landed.token()).await;
    assert_eq!(user["email"], ADA);
    assert!(user["email_confirmed_at"].is_string() && user.get("new_email").is_none());
    assert!(user["user_metadata"].get("planted").is_none(), "{user}");
    assert_eq!(user["app_metadata"]["providers"], json!(["acme"]));
    assert!(user.get("factors").is_none());
    for table in ["passwords", "one_time_tokens", "factors", "recovery_codes", "flows"] {
        assert_eq!(world.count(&format!("select count(*) from auth.{table}")).await, 0, "{table}");
    }
    assert_eq!(world.count("select count(*) from auth.sessions").await, 1);
    assert_eq!(world.count("select count(*) from auth.users").await, 1);
    let body = json!({ "email": ADA, "password": PASSWORD });
    let refused = world.site.post("/auth/v1/token?grant_type=password", None, body).await;
    assert_eq!(refused.refused(400), "invalid_credentials");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_the_provider_does_not_vouch_for_opens_nothing() {
    let world = World::start("").await;
    let id = world.site.user(ADA, PASSWORD).await;
    for (n, said) in [json!(false), Value::Null, json!("false"), json!(1)].into_iter().enumerate() {
        let landed = world.sign_in(json!({ "sub": format!("eve{n}"), "email_verified": said })).await;
        let user = world.user(landed.token()).await;
        assert_ne!(user["id"], id.as_str());
        assert_eq!(user["email"], "");
        assert!(user.get("email_confirmed_at").is_none());
        assert_eq!(user["identities"][0]["identity_data"]["email_verified"], false);
        assert_eq!(user["user_metadata"]["email_verified"], false);
    }
    // Nor does it stand in the way of whoever has it.
    let fresh = json!({ "sub": "eve", "email": "bob@example.test", "email_verified": false });
    let eve = world.user(world.sign_in(fresh).await.token()).await;
    let bob = world.sign_in(json!({ "sub": "bob", "email": "bob@example.test" })).await;
    let bob = world.user(bob.token()).await;
    assert_ne!(bob["id"], eve["id"]);
    assert_eq!(bob["email"], "bob@example.test");
    // Once the provider vouches for it, he has it, unless somebody else does.
    let later = world.sign_in(json!({ "sub": "eve", "email": "eve@example.test" })).await;
    let later = world.user(later.token()).await;
    assert_eq!((&later["id"], &later["email"]), (&eve["id"], &json!("eve@example.test")));
    let taken = world.sign_in(json!({ "sub": "eve0", "email": "bob@example.test" })).await;
    assert_eq!(world.user(taken.token()).await["email"], "");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_banned_and_where_nobody_signs_up_the_new_stay_outside() {
    let world = World::start("  signup: { enabled: false }\n").await;
    assert_eq!(world.sign_in(json!({})).await.refused(), "signup_disabled");
    assert_eq!(world.count("select count(*) from auth.users").await, 0);
    world.site.user(ADA, PASSWORD).await;
    assert!(!world.sign_in(json!({})).await.token().is_empty());
    world.run("update auth.users set banned_until = 'infinity'").await;
    for query in [&[][..], &[("code_challenge", CHALLENGE)]] {
        let landed = world.finish(&world.begin(query).await).await;
        assert_eq!((landed.refused(), landed.query["error"].as_str()), ("user_banned", "access_denied"));
    }
    world.run("delete from auth.identities where provider = 'acme'").await;
    assert_eq!(world.sign_in(json!({})).await.refused(), "user_banned");
    assert_eq!(world.count("select count(*) from auth.identities where provider = 'acme'").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_come_at_once_there_is_one_user() {
    let world = World::start("").await;
    let mut begun = Vec::new();
    for _ in 0..12 {
        begun.push(world.begin(&[]).await);
    }
    let landed = join_all(begun.iter().map(|begun| world.finish(begun))).await;
    let inside = landed.iter().filter(|landed| !landed.token().is_empty()).count();
    assert_eq!(inside, 12);
    assert_eq!(world.count("select count(*) from auth.users").await, 1);
    assert_eq!(world.count("select count(*) from auth.identities").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_signed_in_links_and_unlinks_what_he_is_recognised_by() {
    let world = World::start("  manual_linking: true\n").await;
    let id = world.site.user(ADA, PASSWORD).await;
    let session = world.site.sign_in(ADA, PASSWORD).await;
    let token = text(&session, "access_token");
    let other = json!({ "sub": "work", "email": "work@example.test" });
    let linked = world.linked(token, other.clone()).await;
    let user = world.user(text(&linked, "access_token")).await;
    assert_eq!((user["id"].as_str(), user["email"].as_str()), (Some(id.as_str()), Some(ADA)));
    assert_eq!(user["app_metadata"]["providers"], json!(["email", "acme"]));
    // It lets him in from now on; nobody links it again.
    assert_eq!(world.user(world.sign_in(other.clone()).await.token()).await["id"], id.as_str());
    assert_eq!(world.link(token, other.clone()).await.refused(), "identity_already_exists");
    world.site.user("bob@example.test", PASSWORD).await;
    let bob = world.site.sign_in("bob@example.test", PASSWORD).await;
    assert_eq!(world.link(text(&bob, "access_token"), other).await.refused(), "identity_already_exists");
    // An ID token links as well.
    let id_token =
        world.idp.key().sign(&world.idp.claims(&json!({ "sub": "phone", "email_verified": false })));
    let body = json!({ "provider": "acme", "id_token": id_token, "link_identity": true });
    let path = "/auth/v1/token?grant_type=id_token";
    assert_eq!(world.site.post(path, None, body.clone()).await.refused(401), "no_authorization");
    let linked = world.site.post(path, Some(token), body).await.is(200);
    assert_eq!(linked["user"]["identities"].as_array().unwrap().len(), 3);
    // Which of them is which.
    let identities = linked["user"]["identities"].as_array().unwrap();
    let of = |wanted: &str| {
        let found =
            identities.iter().find(|identity| identity["id"] == wanted || identity["provider"] == wanted);
        found.unwrap()["identity_id"].as_str().unwrap().to_owned()
    };
    assert_eq!(world.unlink(token, "no-uuid").await.refused(400), "validation_failed");
    let strange = "00000000-0000-4000-8000-000000000000";
    assert_eq!(world.unlink(token, strange).await.refused(404), "identity_not_found");
    assert_eq!(
        world.unlink(text(&bob, "access_token"), &of("phone")).await.refused(404),
        "identity_not_found"
    );
    assert_eq!(world.unlink(token, &of("phone")).await.is(200), json!({}));
    // Without the address' identity there is no signing in by address; another proven address takes its place.
    world.unlink(token, &of("email")).await.is(200);
    let user = world.user(token).await;
    assert_eq!(
        (user["email"].as_str(), user["identities"].as_array().unwrap().len()),
        (Some("work@example.test"), 1)
    );
    let body = json!({ "email": "work@example.test", "password": PASSWORD });
    world.site.post("/auth/v1/token?grant_type=password", None, body).await.is(400);
    assert_eq!(world.unlink(token, &of("work")).await.refused(422), "single_identity_not_deletable");
    assert_eq!(world.count("select count(*) from auth.audit_log where event = 'identity_unlinked'").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn linking_is_for_whoever_may() {
    let world = World::start("").await;
    world.site.user(ADA, PASSWORD).await;
    let session = world.site.sign_in(ADA, PASSWORD).await;
    let token = text(&session, "access_token");
    let path = "/auth/v1/user/identities/authorize?provider=acme";
    assert_eq!(world.site.get(path, Some(token)).await.refused(404), "manual_linking_disabled");
    assert_eq!(world.site.get(path, None).await.refused(401), "no_authorization");
    let identity = "00000000-0000-4000-8000-000000000000";
    assert_eq!(world.unlink(token, identity).await.refused(404), "manual_linking_disabled");

    let world = World::start("  manual_linking: true\n  signup: { anonymous: true }\n").await;
    // A factor that was not shown.
    world.site.user(ADA, PASSWORD).await;
    let session = world.site.sign_in(ADA, PASSWORD).await;
    world
        .run("insert into auth.factors (user_id, status, secret) select id, 'verified', '\\x00' from auth.users")
        .await;
    let refused = world.site.get(path, Some(text(&session, "access_token"))).await;
    assert_eq!(refused.refused(403), "insufficient_aal");
    // Somebody anonymous becomes somebody, in the flow with codes too.
    let anonymous = world.site.post("/auth/v1/signup", None, json!({})).await.is(200);
    let token = text(&anonymous, "access_token");
    let linked = world.linked(token, json!({ "sub": "new", "email": "new@example.test" })).await;
    let user = world.user(text(&linked, "access_token")).await;
    assert_eq!((&user["id"], &user["is_anonymous"]), (&anonymous["user"]["id"], &json!(false)));
    assert_eq!(user["email"], "new@example.test");
    // His address is another's: he gets the identity without it.
    let anonymous = world.site.post("/auth/v1/signup", None, json!({})).await.is(200);
    let token = text(&anonymous, "access_token");
    let linked = world.linked(token, json!({ "sub": "newer", "email": ADA })).await;
    let user = world.user(text(&linked, "access_token")).await;
    assert_eq!((&user["email"], &user["is_anonymous"]), (&json!(""), &json!(false)));
    // Whoever leaves everywhere has not left a link behind.
    let landed = world.sign_in(json!({ "sub": "new" })).await;
    let begun = world.begin_link(landed.token()).await;
    world.site.send(Method::POST, "/auth/v1/logout", Some(landed.token()), None).await.is(204);
    world.idp.set_account(json!({ "sub": "late" }));
    assert_eq!(world.finish(&begun).await.refused(), "bad_oauth_state");
    assert_eq!(world.exchange("nothing", VERIFIER).await.refused(404), "flow_state_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_is_linked_only_by_the_browser_that_began() {
    let world = World::start("  manual_linking: true\n  signup: { anonymous: true }\n").await;
    // Without a challenge nobody can tell which browser comes back.
    let eve = world.site.post("/auth/v1/signup", None, json!({})).await.is(200);
    let token = text(&eve, "access_token");
    let path = "/auth/v1/user/identities/authorize?provider=acme";
    assert_eq!(world.site.get(path, Some(token)).await.refused(400), "validation_failed");
    // Eve sends Ada the address; Ada consents, and her browser lands at the app with a code that only Eve's could exchange.
    let landed = world.link(token, json!({ "sub": "ada", "email": ADA })).await;
    let linked = "select count(*) from auth.identities where provider = 'acme'";
    assert_eq!(world.count(linked).await, 0);
    assert!(!landed.fragment.contains_key("access_token"));
    let other = "another-secret-than-the-one-that-eve-keeps-to-herself";
    assert_eq!(world.exchange(landed.code(), other).await.refused(400), "bad_code_verifier");
    assert_eq!(world.count(linked).await, 0);
    let user = world.user(token).await;
    assert_eq!((&user["email"], &user["is_anonymous"]), (&json!(""), &json!(true)));
    assert!(user["identities"].as_array().is_none_or(Vec::is_empty), "{user}");
    // What the provider said is not to be read in the table.
    let readable = "select count(*) from auth.flows where position('ada@'::bytea in sealed) > 0";
    assert_eq!(world.count(readable).await, 0);
    // Ada signs in with it herself, and Eve's code is too late.
    let ada = world.user(world.sign_in(json!({ "sub": "ada", "email": ADA })).await.token()).await;
    assert_ne!(ada["id"], user["id"]);
    assert_eq!(world.exchange(landed.code(), VERIFIER).await.refused(422), "identity_already_exists");
    assert_eq!(world.user(token).await["email"], "");
}

#[tokio::test(flavor = "multi_thread")]
async fn linking_ends_with_the_session_in_which_it_began_and_with_the_right_to_it() {
    let world = World::start("  manual_linking: true\n").await;
    world.site.user(ADA, PASSWORD).await;
    let linked = "select count(*) from auth.identities where provider = 'acme'";
    let local = "/auth/v1/logout?scope=local";
    // The session ends before the browser is back, and before the code is exchanged; others of the user live on.
    world.site.sign_in(ADA, PASSWORD).await;
    let session = world.site.sign_in(ADA, PASSWORD).await;
    let token = text(&session, "access_token");
    let begun = world.begin_link(token).await;
    let landed = world.link(token, json!({ "sub": "eve" })).await;
    world.site.send(Method::POST, local, Some(token), None).await.is(204);
    assert_eq!(world.finish(&begun).await.refused(), "bad_oauth_state");
    assert_eq!(world.exchange(landed.code(), VERIFIER).await.refused(404), "flow_state_not_found");
    // Meanwhile the user has a second factor, which was not shown in this session.
    let session = world.site.sign_in(ADA, PASSWORD).await;
    let token = text(&session, "access_token");
    let begun = world.begin_link(token).await;
    let landed = world.link(token, json!({ "sub": "eve" })).await;
    world
        .run("insert into auth.factors (user_id, status, secret) select id, 'verified', '\\x00' from auth.users")
        .await;
    assert_eq!(world.finish(&begun).await.refused(), "insufficient_aal");
    assert_eq!(world.exchange(landed.code(), VERIFIER).await.refused(403), "insufficient_aal");
    world.run("delete from auth.factors").await;
    // Meanwhile he is banned.
    let begun = world.begin_link(token).await;
    let landed = world.link(token, json!({ "sub": "eve" })).await;
    world.run("update auth.users set banned_until = 'infinity'").await;
    assert_eq!(world.finish(&begun).await.refused(), "user_banned");
    assert_eq!(world.exchange(landed.code(), VERIFIER).await.status, 403);
    assert_eq!(world.count(linked).await, 0);
}
