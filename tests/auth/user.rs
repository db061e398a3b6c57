//! What signed-in users change of themselves.

use reqwest::Method;
use serde_json::{Value, json};

use super::signup::OFTEN;
use super::site::{Site, text};
use crate::support::caller::Answer;

const ADA: &str = "ada@example.test";
const BOB: &str = "bob@example.test";
const NEW: &str = "ada@new.example.test";
const PASSWORD: &str = "correct horse battery";
const OTHER: &str = "another horse battery";

async fn change(site: &Site, session: &Value, body: Value) -> Answer {
    site.send(Method::PUT, "/auth/v1/user", Some(text(session, "access_token")), Some(body)).await
}

async fn show(site: &Site, kind: &str, token: &str) -> Answer {
    site.post("/auth/v1/verify", None, json!({ "type": kind, "token_hash": token })).await
}

async fn who(site: &Site, session: &Value) -> Answer {
    site.get("/auth/v1/user", Some(text(session, "access_token"))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_says_things_of_himself_and_of_nothing_else() {
    let site = Site::start(OFTEN).await;
    site.user(ADA, PASSWORD).await;
    let session = site.sign_in(ADA, PASSWORD).await;
    let body = json!({ "data": { "name": "Ada", "color": "red", "deep": { "a": 1 } } });
    change(&site, &session, body).await.is(200);
    let body = json!({
        "data": { "color": null, "deep": { "b": 2 } }, "app_metadata": { "admin": true }, "role": "service_role",
        "id": "00000000-0000-4000-8000-000000000001", "email_confirm": true, "ban_duration": "none",
    });
    let user = change(&site, &session, body).await.is(200);
    assert_eq!(user["user_metadata"], json!({ "name": "Ada", "deep": { "b": 2 } }));
    assert_eq!(user["app_metadata"], json!({ "provider": "email", "providers": ["email"] }));
    assert_eq!((&user["role"], &user["id"]), (&json!("authenticated"), &session["user"]["id"]));
    for (body, code) in [
        (json!({ "data": "x" }), "validation_failed"),
        (json!({ "data": { "x": "y".repeat(17 << 10) } }), "validation_failed"),
        (json!({ "email": "no address" }), "email_address_invalid"),
        (json!({ "phone": "+15550100" }), "phone_provider_disabled"),
    ] {
        assert_eq!(change(&site, &session, body).await.refused(400), code);
    }
    let nobody = site.send(Method::PUT, "/auth/v1/user", None, Some(json!({}))).await;
    assert_eq!(nobody.refused(401), "no_authorization");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_password_ends_the_other_sessions_and_the_links() {
    let site = Site::start(OFTEN).await;
    site.user(ADA, PASSWORD).await;
    let (session, elsewhere) = (site.sign_in(ADA, PASSWORD).await, site.sign_in(ADA, PASSWORD).await);
    let body = json!({ "type": "recovery", "email": ADA });
    let link = site.admin(Method::POST, "/auth/v1/admin/generate_link", Some(body)).await.is(200);
    for (body, status, code) in [
        (json!({ "password": PASSWORD }), 422, "same_password"),
        (json!({ "password": "short" }), 422, "weak_password"),
        (json!({ "password": OTHER, "current_password": "wrong" }), 400, "current_password_invalid"),
    ] {
        assert_eq!(change(&site, &session, body).await.refused(status), code);
    }
    let body = json!({ "password": OTHER, "current_password": PASSWORD });
    change(&site, &session, body).await.is(200);
    who(&site, &session).await.is(200);
    assert_eq!(who(&site, &elsewhere).await.refused(403), "session_not_found");
    assert_eq!(site.get("/rest/v1/notes", Some(text(&elsewhere, "access_token"))).await.status, 401);
    let body = json!({ "refresh_token": elsewhere["refresh_token"] });
    let gone = site.post("/auth/v1/token?grant_type=refresh_token", None, body).await;
    assert_eq!(gone.refused(400), "refresh_token_not_found");
    assert_eq!(show(&site, "recovery", text(&link, "hashed_token")).await.refused(403), "otp_expired");
    let body = json!({ "email": ADA, "password": PASSWORD });
    let old = site.post("/auth/v1/token?grant_type=password", None, body).await;
    assert_eq!(old.refused(400), "invalid_credentials");
    site.sign_in(ADA, OTHER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_session_needs_a_code_for_another_password_where_the_project_says_so() {
    let limits = "rate_limits: { mail: 'off', mail_to: 'off' }";
    let site = Site::start(&format!("auth: {{ email: {{ reauthenticate: true }}, {limits} }}\n")).await;
    site.user(ADA, PASSWORD).await;
    let session = site.sign_in(ADA, PASSWORD).await;
    let sql = site.sql().await;
    sql.batch_execute("update auth.sessions set created_at = now() - interval '25 h'").await.unwrap();
    let answer = change(&site, &session, json!({ "password": OTHER })).await;
    assert_eq!(answer.refused(400), "reauthentication_needed");
    site.get("/auth/v1/reauthenticate", Some(text(&session, "access_token"))).await.is(200);
    let answer = change(&site, &session, json!({ "password": OTHER, "nonce": "x" })).await;
    assert_eq!(answer.refused(422), "reauthentication_not_valid");
    let pending =
        "select count(*), max(attempts)::int from auth.one_time_tokens where purpose = 'reauthentication'";
    let row = sql.query_one(pending, &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i32>(1)), (1, 1), "the attempt counts");
    let code = site.letters(ADA).await[0]["code"].clone();
    change(&site, &session, json!({ "password": OTHER, "nonce": code })).await.is(200);
    let told = site.letters(ADA).await;
    assert_eq!(text(&told[0], "occasion"), "password_changed");
    let used = change(&site, &session, json!({ "password": PASSWORD, "nonce": code })).await;
    assert_eq!(used.refused(422), "reauthentication_not_valid");
    // A session of today needs none.
    sql.batch_execute("update auth.sessions set created_at = now()").await.unwrap();
    change(&site, &session, json!({ "password": PASSWORD })).await.is(200);
    assert_eq!(site.get("/auth/v1/reauthenticate", None).await.refused(401), "no_authorization");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_address_counts_when_both_have_agreed() {
    let site = Site::start(OFTEN).await;
    site.user(ADA, PASSWORD).await;
    let session = site.sign_in(ADA, PASSWORD).await;
    for first in ["email_change_current", "email_change_new"] {
        let (from, to, second) = if first == "email_change_current" {
            (ADA, NEW, "email_change_new")
        } else {
            (NEW, ADA, "email_change_current")
        };
        let told = change(&site, &session, json!({ "email": to })).await.is(200);
        assert_eq!((text(&told, "email"), text(&told, "new_email")), (from, to));
        let place = |purpose: &str| if purpose == "email_change_current" { from } else { to };
        let (one, other) = (site.link(place(first), first).await, site.link(place(second), second).await);
        let half = show(&site, "email_change", &one).await.is(200);
        assert_eq!((&half["code"], half["msg"].is_string()), (&json!("200"), true));
        assert_eq!(who(&site, &session).await.is(200)["email"], from);
        assert_eq!(show(&site, "email_change", &one).await.refused(403), "otp_expired");
        let done = show(&site, "email_change", &other).await.is(200);
        assert_eq!(done["user"]["email"], to);
        assert!(done["user"].get("new_email").is_none());
        assert_eq!(done["user"]["identities"][0]["email"], to);
        site.sign_in(to, PASSWORD).await;
    }
    // Only the last wish counts.
    change(&site, &session, json!({ "email": NEW })).await.is(200);
    let stale = site.link(NEW, "email_change_new").await;
    change(&site, &session, json!({ "email": "other@example.test" })).await.is(200);
    assert_eq!(show(&site, "email_change", &stale).await.refused(403), "otp_expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_does_not_learn_whose_an_address_is_nor_gets_it() {
    let site = Site::start(OFTEN).await;
    site.user(ADA, PASSWORD).await;
    site.user(BOB, PASSWORD).await;
    let session = site.sign_in(ADA, PASSWORD).await;
    let mut answers = Vec::new();
    for email in [BOB, NEW] {
        let mut told = change(&site, &session, json!({ "email": email })).await.is(200);
        assert_eq!(told["new_email"], email);
        for name in ["new_email", "updated_at", "email_change_sent_at"] {
            assert!(told[name].is_string(), "no {name}");
            told[name] = Value::Null;
        }
        answers.push(told);
        let current = site.link(ADA, "email_change_current").await;
        assert_eq!(show(&site, "email_change", &current).await.is(200)["code"], "200", "{email}");
    }
    assert_eq!(answers[0], answers[1]);
    // Even what was never mailed would not take the address from its owner.
    change(&site, &session, json!({ "email": BOB })).await.is(200);
    let (new, current) =
        (site.link(BOB, "email_change_new").await, site.link(ADA, "email_change_current").await);
    show(&site, "email_change", &current).await.is(200);
    assert_eq!(show(&site, "email_change", &new).await.refused(422), "email_exists");
    site.sign_in(BOB, PASSWORD).await;
    site.sign_in(ADA, PASSWORD).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_merely_typed_an_address_does_not_keep_others_from_it() {
    let site = Site::start(OFTEN).await;
    site.user(ADA, PASSWORD).await;
    let squatter = json!({ "email": NEW, "password": OTHER });
    site.post("/auth/v1/signup", None, squatter).await.is(200);
    let session = site.sign_in(ADA, PASSWORD).await;
    change(&site, &session, json!({ "email": NEW })).await.is(200);
    let (new, current) =
        (site.link(NEW, "email_change_new").await, site.link(ADA, "email_change_current").await);
    show(&site, "email_change", &new).await.is(200);
    let done = show(&site, "email_change", &current).await.is(200);
    assert_eq!((&done["user"]["id"], &done["user"]["email"]), (&session["user"]["id"], &json!(NEW)));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_in_particular_becomes_somebody_with_an_address() {
    let limits = "rate_limits: { mail: 'off', mail_to: 'off' }";
    let site = Site::start(&format!("auth: {{ signup: {{ anonymous: true }}, {limits} }}\n")).await;
    let session = site.post("/auth/v1/signup", None, json!({})).await.is(200);
    let answer = change(&site, &session, json!({ "password": PASSWORD })).await;
    assert_eq!(answer.refused(400), "validation_failed");
    let told = change(&site, &session, json!({ "email": ADA, "password": PASSWORD })).await.is(200);
    assert_eq!(
        (&told["email"], &told["new_email"], &told["is_anonymous"]),
        (&json!(""), &json!(ADA), &json!(true))
    );
    let body = json!({ "email": ADA, "password": PASSWORD });
    let early = site.post("/auth/v1/token?grant_type=password", None, body).await;
    assert_eq!(early.refused(400), "invalid_credentials");
    let link = site.link(ADA, "email_change_new").await;
    let done = show(&site, "email_change", &link).await.is(200);
    assert_eq!((&done["user"]["id"], &done["user"]["is_anonymous"]), (&session["user"]["id"], &json!(false)));
    site.sign_in(ADA, PASSWORD).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_a_second_factor_shows_it_before_he_changes_how_he_signs_in() {
    let site = Site::start(OFTEN).await;
    let id = site.user(ADA, PASSWORD).await;
    let session = site.sign_in(ADA, PASSWORD).await;
    let factor =
        format!("insert into auth.factors (user_id, status, secret) values ('{id}', 'verified', '\\x00')");
    site.sql().await.batch_execute(&factor).await.unwrap();
    for body in [json!({ "password": OTHER }), json!({ "email": NEW })] {
        assert_eq!(change(&site, &session, body).await.refused(401), "insufficient_aal");
    }
    change(&site, &session, json!({ "data": { "name": "Ada" }, "email": ADA })).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_sees_his_sessions_and_ends_them() {
    let site = Site::start(OFTEN).await;
    site.user(ADA, PASSWORD).await;
    site.user(BOB, PASSWORD).await;
    let (here, there) = (site.sign_in(ADA, PASSWORD).await, site.sign_in(ADA, PASSWORD).await);
    let stranger = site.sign_in(BOB, PASSWORD).await;
    let list = async |session: &Value| {
        let token = text(session, "access_token").to_owned();
        site.get("/auth/v1/user/sessions", Some(&token)).await.is(200)["sessions"].as_array().unwrap().clone()
    };
    let seen = list(&here).await;
    assert_eq!(seen.len(), 2);
    let other = seen.iter().find(|session| session["is_current"] == false).unwrap();
    assert_eq!((&other["aal"], &other["ip"]), (&json!("aal1"), &json!("127.0.0.1")));
    let path = format!("/auth/v1/user/sessions/{}", text(other, "id"));
    let end = async |session: &Value, path: &str| {
        site.send(Method::DELETE, path, Some(text(session, "access_token")), None).await
    };
    assert_eq!(end(&stranger, &path).await.refused(404), "session_not_found");
    who(&site, &there).await.is(200);
    end(&here, &path).await.is(204);
    assert_eq!(who(&site, &there).await.refused(403), "session_not_found");
    assert_eq!(end(&here, &path).await.refused(404), "session_not_found");
    assert_eq!(end(&here, "/auth/v1/user/sessions/x").await.refused(400), "validation_failed");
    assert_eq!(list(&here).await.len(), 1);
}
