//! Signing up: with a proof and without, twice, for somebody else, and as nobody.

use serde_json::{Value, json};

use super::site::{Site, text};

const ADA: &str = "ada@example.test";
const BOB: &str = "bob@example.test";
const PASSWORD: &str = "correct horse battery";
const OTHER: &str = "another horse battery";

async fn sign_up(site: &Site, email: &str, password: &str) -> Value {
    let body = json!({ "email": email, "password": password, "data": { "by": password } });
    site.post("/auth/v1/signup", None, body).await.is(200)
}

/// How a sign-in with a password is refused.
async fn refused(site: &Site, email: &str, password: &str) -> String {
    let body = json!({ "email": email, "password": password });
    site.post("/auth/v1/token?grant_type=password", None, body).await.refused(400)
}

/// Without what differs between any two answers.
fn plain(mut user: Value) -> Value {
    for name in ["id", "email", "created_at", "updated_at", "confirmation_sent_at"] {
        assert!(user[name].is_string(), "no {name} in {user}");
        user[name] = Value::Null;
    }
    user
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_comes_true_with_the_link_that_was_mailed_for_it() {
    let site = Site::start(OFTEN).await;
    let told = sign_up(&site, "Ada@Example.test", PASSWORD).await;
    assert_eq!((told["email"].as_str(), &told["identities"]), (Some(ADA), &json!([])));
    assert!(told.get("access_token").is_none());
    assert_eq!(refused(&site, ADA, PASSWORD).await, "email_not_confirmed");
    assert_eq!(refused(&site, ADA, OTHER).await, "invalid_credentials");
    let kept =
        site.admin(reqwest::Method::GET, &format!("/auth/v1/admin/users/{}", text(&told, "id")), None).await;
    assert_eq!(kept.is(200)["user_metadata"], json!({}), "nothing is believed yet");
    // Somebody else signs up with the same address: his link would bring his password, and nobody else's does.
    let link = site.link(ADA, "signup").await;
    sign_up(&site, ADA, OTHER).await;
    let body = json!({ "type": "signup", "token_hash": link });
    let session = site.post("/auth/v1/verify", None, body.clone()).await.is(200);
    assert_eq!(session["user"]["id"], told["id"]);
    assert_eq!(session["user"]["user_metadata"]["by"], PASSWORD);
    assert_eq!(session["user"]["identities"][0]["provider"], "email");
    assert_eq!(session["user"]["identities"][0]["identity_data"]["email_verified"], true);
    site.sign_in(ADA, PASSWORD).await;
    assert_eq!(refused(&site, ADA, OTHER).await, "invalid_credentials", "what others asked for is gone");
    assert_eq!(site.post("/auth/v1/verify", None, body).await.refused(403), "otp_expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_learns_by_signing_up_who_has_an_account() {
    let site = Site::start(OFTEN).await;
    site.user(ADA, PASSWORD).await;
    let mut ids = Vec::new();
    let mut shapes = Vec::new();
    for email in [ADA, BOB, ADA, BOB] {
        let told = sign_up(&site, email, OTHER).await;
        ids.push(told["id"].clone());
        shapes.push(plain(told));
    }
    assert!(shapes.windows(2).all(|pair| pair[0] == pair[1]), "{shapes:?}");
    ids.sort_by_key(Value::to_string);
    ids.dedup();
    assert_eq!(ids.len(), 4, "an id that comes back would tell as well");
    // Nor by trying the password that was signed up with.
    for email in [ADA, BOB] {
        assert_eq!(refused(&site, email, OTHER).await, "email_not_confirmed");
        assert_eq!(refused(&site, email, "no such password").await, "invalid_credentials");
    }
    site.sign_in(ADA, PASSWORD).await;
    // What waits for Ada's address lets nobody in.
    let rows = site
        .sql()
        .await
        .query("select user_id is null from auth.one_time_tokens where address = $1", &[&ADA])
        .await
        .unwrap();
    assert_eq!(rows.iter().map(|row| row.get(0)).collect::<Vec<bool>>(), [true, true]);
    let planted = site.link(ADA, "signup").await;
    let body = json!({ "type": "signup", "token_hash": planted });
    assert_eq!(site.post("/auth/v1/verify", None, body).await.refused(403), "otp_expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stranger_sends_is_judged() {
    let site = Site::start(OFTEN).await;
    for (body, status, code) in [
        (json!({ "email": "no address", "password": PASSWORD }), 400, "email_address_invalid"),
        (json!({ "email": ADA }), 400, "validation_failed"),
        (json!({ "email": ADA, "password": "short" }), 422, "weak_password"),
        (json!({ "email": ADA, "password": "1234567890" }), 422, "weak_password"),
        (json!({ "email": ADA, "password": "x".repeat(1_025) }), 400, "validation_failed"),
        (json!({ "email": ADA, "password": "correct\0horse battery" }), 400, "validation_failed"),
        (json!({ "email": ADA, "password": PASSWORD, "data": [] }), 400, "validation_failed"),
        (
            json!({ "email": ADA, "password": PASSWORD, "data": { "x": "y".repeat(17 << 10) } }),
            400,
            "validation_failed",
        ),
        (json!({ "email": ADA, "password": PASSWORD, "code_challenge": "short" }), 400, "validation_failed"),
        (json!({ "phone": "+15550100", "password": PASSWORD }), 400, "phone_provider_disabled"),
        (json!({ "password": PASSWORD }), 400, "validation_failed"),
        (json!({}), 422, "anonymous_provider_disabled"),
        (json!({ "email": 1 }), 400, "validation_failed"),
        (json!([]), 400, "validation_failed"),
    ] {
        let answer = site.post("/auth/v1/signup", None, body.clone()).await;
        assert_eq!(answer.refused(status), code, "{body}");
    }
    let weak = site.post("/auth/v1/signup", None, json!({ "email": ADA, "password": "short" })).await;
    assert_eq!(weak.is(422)["weak_password"]["reasons"], json!(["length"]));
    // What is the operator's to say is passed over.
    let body = json!({
        "email": ADA, "password": PASSWORD, "id": "00000000-0000-4000-8000-000000000001", "role": "service_role",
        "app_metadata": { "admin": true }, "email_confirm": true, "email_confirmed_at": "2020-01-01T00:00:00Z",
    });
    let told = site.post("/auth/v1/signup", None, body).await.is(200);
    assert_ne!(told["id"], "00000000-0000-4000-8000-000000000001");
    assert_eq!(told["role"], "authenticated");
    assert_eq!(told["app_metadata"], json!({ "provider": "email", "providers": ["email"] }));
    assert_eq!(refused(&site, ADA, PASSWORD).await, "email_not_confirmed");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_is_to_be_proven_a_session_is_the_answer() {
    let site = Site::start("auth: { signup: { confirm_email: false, anonymous: true } }\n").await;
    let session = sign_up(&site, ADA, PASSWORD).await;
    let token = text(&session, "access_token");
    site.get("/rest/v1/notes", Some(token)).await.is(200);
    assert_eq!(
        (&session["user"]["email_confirmed_at"], &session["user"]["email"]),
        (&Value::Null, &json!(ADA))
    );
    assert_eq!(session["user"]["identities"], json!([]), "nothing is proven");
    assert_eq!(session["user"]["user_metadata"]["by"], PASSWORD);
    let body = json!({ "email": ADA, "password": OTHER });
    assert_eq!(site.post("/auth/v1/signup", None, body).await.refused(422), "user_already_exists");
    site.sign_in(ADA, PASSWORD).await;
    // Many at once make one user.
    let body = json!({ "email": BOB, "password": PASSWORD });
    let all = (0..8).map(|_| site.post("/auth/v1/signup", None, body.clone()));
    let all = futures_util::future::join_all(all).await;
    assert_eq!(all.iter().filter(|answer| answer.status == 200).count(), 1);
    assert!(all.iter().all(|answer| [200, 422].contains(&answer.status)));
    // Nobody in particular.
    let nobody = site.post("/auth/v1/signup", None, json!({ "data": { "theme": "dark" } })).await.is(200);
    assert_eq!((&nobody["user"]["is_anonymous"], &nobody["user"]["email"]), (&json!(true), &json!("")));
    assert_eq!(nobody["user"]["user_metadata"]["theme"], "dark");
    site.get("/rest/v1/notes", Some(text(&nobody, "access_token"))).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_let_in_without_a_proof_is_out_once_somebody_has_one() {
    let limits = "rate_limits: { mail: 'off', mail_to: 'off' }";
    let site = Site::start(&format!("auth: {{ signup: {{ confirm_email: false }}, {limits} }}\n")).await;
    let body = json!({ "email": ADA, "password": PASSWORD });
    site.admin(reqwest::Method::POST, "/auth/v1/admin/users", Some(body)).await.is(200);
    let session = site.sign_in(ADA, PASSWORD).await;
    site.post("/auth/v1/recover", None, json!({ "email": ADA })).await.is(200);
    let body = json!({ "type": "recovery", "email": ADA, "token": site.letters(ADA).await[0]["code"] });
    let proven = site.post("/auth/v1/verify", None, body).await.is(200);
    let gone = site.get("/auth/v1/user", Some(text(&session, "access_token"))).await;
    assert_eq!(gone.refused(403), "session_not_found");
    site.get("/auth/v1/user", Some(text(&proven, "access_token"))).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_may_take_nobody_in_and_limits_hold_for_everybody_alike() {
    let site = Site::start("auth: { signup: { enabled: false }, rate_limits: { mail_to: 1/1m } }\n").await;
    site.user(ADA, PASSWORD).await;
    let body = json!({ "email": BOB, "password": PASSWORD });
    assert_eq!(site.post("/auth/v1/signup", None, body).await.refused(422), "signup_disabled");
    // A second letter within the minute is refused whoever has the address.
    for email in [ADA, BOB] {
        let body = json!({ "email": email });
        site.post("/auth/v1/recover", None, body.clone()).await.is(200);
        for path in ["/auth/v1/recover", "/auth/v1/otp", "/auth/v1/magiclink"] {
            let answer = site.post(path, None, body.clone()).await;
            assert!(!answer.header("retry-after").is_empty());
            assert_eq!(answer.refused(429), "over_email_send_rate_limit", "{path} {email}");
        }
    }
}

/// Limits that tests would meet are off.
pub(super) const OFTEN: &str =
    "auth: { rate_limits: { sign_up: 'off', mail: 'off', mail_to: 'off', verify: 'off', sign_in: 'off' } }\n";
