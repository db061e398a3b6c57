//! Signing in with a password, staying signed in, signing out.

use reqwest::Method;
use serde_json::{Value, json};

use super::site::{Site, text};

const ADA: &str = "ada@example.test";
const PASSWORD: &str = "correct horse battery";

async fn refresh(site: &Site, token: &str) -> crate::support::caller::Answer {
    site.post("/auth/v1/token?grant_type=refresh_token", None, json!({ "refresh_token": token })).await
}

/// Whether a token is accepted by REST and by sign-in.
async fn accepted(site: &Site, token: &str) -> (u16, u16) {
    let rest = site.get("/rest/v1/notes", Some(token)).await.status;
    (rest, site.get("/auth/v1/user", Some(token)).await.status)
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_signs_in_is_known_at_every_door_until_he_leaves() {
    let site = Site::start("").await;
    let id = site.user(ADA, PASSWORD).await;
    let session = site.sign_in(ADA, PASSWORD).await;
    assert_eq!(session["token_type"], "bearer");
    assert_eq!(session["expires_in"], 900);
    assert_eq!(session["user"]["id"], id.as_str());
    let token = text(&session, "access_token");
    assert_eq!(accepted(&site, token).await, (200, 200));
    let written =
        site.send(Method::POST, "/rest/v1/notes", Some(token), Some(json!({ "title": "mine" }))).await;
    assert_eq!(written.status, 201, "{}", written.body);
    let user = site.get("/auth/v1/user", Some(token)).await.is(200);
    assert_eq!(user["email"], ADA);
    assert!(user["last_sign_in_at"].is_string(), "{user}");
    assert_eq!(session["user"]["last_sign_in_at"], user["last_sign_in_at"]);
    assert_eq!(user["app_metadata"], json!({ "provider": "email", "providers": ["email"] }));
    site.post("/auth/v1/logout?scope=sideways", Some(token), Value::Null).await.is(400);
    site.post("/auth/v1/logout", Some(token), Value::Null).await.is(204);
    assert_eq!(accepted(&site, token).await, (401, 403));
    let over = site.get("/auth/v1/user", Some(token)).await;
    assert_eq!(over.refused(403), "session_not_found");
    let gone = refresh(&site, text(&session, "refresh_token")).await;
    assert_eq!(gone.refused(400), "refresh_token_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_is_followed_by_the_next_and_an_old_one_ends_the_session() {
    let site = Site::start("auth: { sessions: { reuse_interval: 0s } }\n").await;
    site.user(ADA, PASSWORD).await;
    let first = site.sign_in(ADA, PASSWORD).await;
    let other = site.sign_in(ADA, PASSWORD).await;
    let r0 = text(&first, "refresh_token");
    let second = refresh(&site, r0).await.is(200);
    let r1 = text(&second, "refresh_token");
    assert_ne!(r0, r1);
    // Another tab comes late: it gets the one in force, not a branch.
    assert_eq!(refresh(&site, r0).await.is(200)["refresh_token"], r1);
    let third = refresh(&site, r1).await.is(200);
    // The grandparent is shown: two hold what one should.
    assert_eq!(refresh(&site, r0).await.refused(400), "refresh_token_already_used");
    for token in [r1, text(&third, "refresh_token")] {
        assert_eq!(refresh(&site, token).await.refused(400), "refresh_token_not_found");
    }
    for session in [&first, &second, &third] {
        assert_eq!(accepted(&site, text(session, "access_token")).await, (401, 403));
    }
    assert_eq!(accepted(&site, text(&other, "access_token")).await, (200, 200));
    for made_up in ["", "short", &"A".repeat(80), &format!("{}A", &r1[..79])] {
        let code = refresh(&site, made_up).await.refused(400);
        assert_eq!(code, "refresh_token_not_found", "{made_up}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_a_stranger_get_the_same_answer_in_both_dialects() {
    let site = Site::start("").await;
    site.user(ADA, PASSWORD).await;
    let mut answers = Vec::new();
    for (email, password) in
        [(ADA, "wrong password"), ("nobody@example.test", PASSWORD), ("no address", PASSWORD)]
    {
        let body = json!({ "email": email, "password": password });
        let answer = site.post("/auth/v1/token?grant_type=password", None, body.clone()).await;
        assert_eq!(answer.header("x-supabase-api-version"), "2024-01-01");
        assert_eq!(answer.header("x-sb-error-code"), "invalid_credentials");
        let mut dated = answer.is(400);
        dated.as_object_mut().unwrap().remove("error_id").unwrap();
        assert_eq!(dated, json!({ "code": "invalid_credentials", "message": "Invalid login credentials" }));
        let older = site
            .client
            .post(site.server.at("/auth/v1/token?grant_type=password"))
            .header("apikey", site.server.keys.publishable())
            .json(&body)
            .send()
            .await
            .unwrap();
        let mut plain: Value = older.json().await.unwrap();
        plain.as_object_mut().unwrap().remove("error_id").unwrap();
        answers.push(plain);
    }
    let expected =
        json!({ "code": 400, "error_code": "invalid_credentials", "msg": "Invalid login credentials" });
    assert_eq!(answers, vec![expected; 3]);
}
