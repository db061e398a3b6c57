//! What is not proven lets nobody in later: accounts that somebody else touched before their owner came.

use reqwest::Method;
use serde_json::{Value, json};

use super::factors::Authenticator;
use super::signup::OFTEN;
use super::site::{Site, text};
use super::world::World;
use crate::support::caller::Answer;

const ADA: &str = "ada@example.test";
const EVE: &str = "eve@example.test";
const PASSWORD: &str = "correct horse battery";
const PLANTED: &str = "a strangers password";
const UNPROVEN: &str = "auth: { signup: { confirm_email: false, anonymous: true }, \
    rate_limits: { sign_up: 'off', mail: 'off', mail_to: 'off', verify: 'off', sign_in: 'off' } }\n";

async fn sign_up(site: &Site, email: &str, password: &str) -> Value {
    let body = json!({ "email": email, "password": password, "data": { "by": "stranger" } });
    site.post("/auth/v1/signup", None, body).await.is(200)
}

async fn try_password(site: &Site, email: &str, password: &str) -> Answer {
    let body = json!({ "email": email, "password": password });
    site.post("/auth/v1/token?grant_type=password", None, body).await
}

async fn show_code(site: &Site, kind: &str, email: &str, code: &Value) -> Answer {
    site.post("/auth/v1/verify", None, json!({ "type": kind, "email": email, "token": code })).await
}

async fn change(site: &Site, session: &Value, body: Value) -> Answer {
    site.send(Method::PUT, "/auth/v1/user", Some(text(session, "access_token")), Some(body)).await
}

async fn newest_code(site: &Site, email: &str) -> Value {
    site.letters(email).await[0]["code"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_put_into_an_account_without_a_proof_goes_with_the_proof() {
    let site = Site::start(UNPROVEN).await;
    let squatter = sign_up(&site, ADA, PLANTED).await;
    assert!(squatter["user"].get("email_confirmed_at").is_none());
    assert_eq!(change(&site, &squatter, json!({ "email": EVE })).await.status, 200);
    Authenticator::enrol(&site, text(&squatter, "access_token"), "planted").await;
    site.post("/auth/v1/otp", None, json!({ "email": ADA })).await.is(200);
    let owner = show_code(&site, "email", ADA, &newest_code(&site, ADA).await).await.is(200);
    assert_eq!(owner["user"]["id"], squatter["user"]["id"]);
    assert!(owner["user"]["email_confirmed_at"].is_string());
    assert!(owner["user"].get("new_email").is_none() && owner["user"].get("factors").is_none());
    assert!(owner["user"]["user_metadata"].get("by").is_none(), "{owner}");
    assert_eq!(owner["user"]["app_metadata"]["providers"], json!(["email"]));
    assert_eq!(try_password(&site, ADA, PLANTED).await.refused(400), "invalid_credentials");
    let gone = site.get("/auth/v1/user", Some(text(&squatter, "access_token"))).await;
    assert_eq!(gone.refused(403), "session_not_found");
    let late = show_code(&site, "email_change", EVE, &newest_code(&site, EVE).await).await;
    assert_eq!(late.refused(403), "otp_expired");
    change(&site, &owner, json!({ "password": PASSWORD })).await.is(200);
    site.sign_in(ADA, PASSWORD).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_an_anonymous_user_types_is_not_proven() {
    let site = Site::start(UNPROVEN).await;
    let nobody = site.post("/auth/v1/signup", None, json!({})).await.is(200);
    let user = change(&site, &nobody, json!({ "email": ADA, "password": PLANTED })).await.is(200);
    assert_eq!((&user["email"], &user["is_anonymous"]), (&json!(ADA), &json!(false)));
    assert!(user.get("email_confirmed_at").is_none());
    assert_eq!(user["identities"], json!([]));
    site.sign_in(ADA, PLANTED).await;
    site.post("/auth/v1/recover", None, json!({ "email": ADA })).await.is(200);
    show_code(&site, "recovery", ADA, &newest_code(&site, ADA).await).await.is(200);
    assert_eq!(try_password(&site, ADA, PLANTED).await.refused(400), "invalid_credentials");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_opens_no_account_that_a_stranger_can_still_enter() {
    let world = World::start("  signup: { confirm_email: false }\n").await;
    let squatter = sign_up(&world.site, ADA, PLANTED).await;
    let landed = world.sign_in(json!({ "email": ADA })).await;
    let owner = world.user(landed.token()).await;
    assert_eq!(owner["id"], squatter["user"]["id"]);
    assert_eq!(owner["app_metadata"]["providers"], json!(["acme"]));
    assert_eq!(try_password(&world.site, ADA, PLANTED).await.refused(400), "invalid_credentials");
    let gone = world.site.get("/auth/v1/user", Some(text(&squatter, "access_token"))).await;
    assert_eq!(gone.refused(403), "session_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_address_does_not_outlive_what_ends_the_sessions() {
    let site = Site::start(OFTEN).await;
    site.user(ADA, PASSWORD).await;
    for end in ["password", "global", "others"] {
        let thief = site.sign_in(ADA, PASSWORD).await;
        let own = site.sign_in(ADA, PASSWORD).await;
        let token = text(&own, "access_token");
        change(&site, &thief, json!({ "email": EVE })).await.is(200);
        let codes = [(EVE, newest_code(&site, EVE).await), (ADA, newest_code(&site, ADA).await)];
        match end {
            "password" => {
                change(&site, &own, json!({ "password": PLANTED })).await.is(200);
                change(&site, &own, json!({ "password": PASSWORD })).await.is(200);
            }
            scope => {
                let path = format!("/auth/v1/logout?scope={scope}");
                assert_eq!(site.post(&path, Some(token), json!({})).await.status, 204);
            }
        }
        for (email, code) in &codes {
            let late = show_code(&site, "email_change", email, code).await;
            assert_eq!(late.refused(403), "otp_expired", "{end} {email}");
        }
        let waiting = "select count(*) from auth.users where new_email is not null";
        let waiting: i64 = site.sql().await.query_one(waiting, &[]).await.unwrap().get(0);
        assert_eq!(waiting, 0, "{end}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_of_a_change_that_expired_are_not_sent_again() {
    let site = Site::start(OFTEN).await;
    site.user(ADA, PASSWORD).await;
    let session = site.sign_in(ADA, PASSWORD).await;
    change(&site, &session, json!({ "email": EVE })).await.is(200);
    let again = json!({ "type": "email_change", "email": ADA });
    site.post("/auth/v1/resend", None, again.clone()).await.is(200);
    let sent = site.letters(EVE).await.len();
    assert_eq!(sent, 2);
    let expire = "update auth.one_time_tokens set expires_at = now() - interval '1 s'";
    site.sql().await.batch_execute(expire).await.unwrap();
    site.post("/auth/v1/resend", None, again).await.is(200);
    assert_eq!(site.letters(EVE).await.len(), sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_up_brings_nothing_to_somebody_whom_the_operator_knows() {
    let site = Site::start(OFTEN).await;
    let invited = "invited@example.test";
    let made = "made@example.test";
    site.admin(Method::POST, "/auth/v1/invite", Some(json!({ "email": invited }))).await.is(200);
    let body = json!({ "email": made, "app_metadata": { "plan": "gold" } });
    site.admin(Method::POST, "/auth/v1/admin/users", Some(body)).await.is(200);
    for email in [invited, made] {
        let told = sign_up(&site, email, PLANTED).await;
        let fresh = sign_up(&site, &format!("fresh-{email}"), PLANTED).await;
        assert_eq!(told["user_metadata"], fresh["user_metadata"]);
        let body = json!({ "email": email, "data": { "by": "stranger" } });
        site.post("/auth/v1/otp", None, body).await.is(200);
        // Whoever tries it learns nothing of whose address it is.
        for address in [email, &format!("fresh-{email}")] {
            let answer = try_password(&site, address, PLANTED).await;
            assert_eq!(answer.refused(400), "email_not_confirmed", "{address}");
        }
        let letters = site.letters(email).await;
        assert!(letters.iter().filter(|letter| letter["occasion"] == "confirm").count() == 2, "{letters:?}");
        let owner = show_code(&site, "signup", email, &letters[0]["code"]).await.is(200);
        assert!(owner["user"]["user_metadata"].get("by").is_none(), "{owner}");
        assert_eq!(try_password(&site, email, PLANTED).await.refused(400), "invalid_credentials");
    }
    // The link of the sign-up itself brings nothing either.
    let other = "other@example.test";
    site.admin(Method::POST, "/auth/v1/invite", Some(json!({ "email": other }))).await.is(200);
    sign_up(&site, other, PLANTED).await;
    let link = site.link(other, "signup").await;
    let owner = json!({ "type": "signup", "token_hash": link });
    let owner = site.post("/auth/v1/verify", None, owner).await.is(200);
    assert!(owner["user"]["user_metadata"].get("by").is_none(), "{owner}");
    assert_eq!(try_password(&site, other, PLANTED).await.refused(400), "invalid_credentials");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_of_an_operators_link_comes_true_with_the_link() {
    let site = Site::start(OFTEN).await;
    let body = json!({ "type": "signup", "email": ADA, "password": PASSWORD });
    let link = site.admin(Method::POST, "/auth/v1/admin/generate_link", Some(body)).await.is(200);
    let rows = "select count(*) from auth.passwords";
    assert_eq!(site.sql().await.query_one(rows, &[]).await.unwrap().get::<_, i64>(0), 0);
    assert_eq!(try_password(&site, ADA, PASSWORD).await.refused(400), "email_not_confirmed");
    show_code(&site, "signup", ADA, &link["email_otp"]).await.is(200);
    site.sign_in(ADA, PASSWORD).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_code_of_the_newest_letter_counts_and_every_link_does() {
    let site = Site::start(OFTEN).await;
    site.user(ADA, PASSWORD).await;
    let mut older = String::new();
    for _ in 0..3 {
        site.post("/auth/v1/recover", None, json!({ "email": ADA })).await.is(200);
        if older.is_empty() {
            older = site.link(ADA, "recovery").await;
        }
    }
    let letters = site.letters(ADA).await;
    let newest = &letters[0]["code"];
    for letter in letters.iter().skip(1).filter(|letter| letter["code"] != *newest) {
        let answer = show_code(&site, "recovery", ADA, &letter["code"]).await;
        assert_eq!(answer.refused(403), "otp_expired");
    }
    let body = json!({ "type": "recovery", "token_hash": older });
    site.post("/auth/v1/verify", None, body).await.is(200);
    site.post("/auth/v1/recover", None, json!({ "email": ADA })).await.is(200);
    show_code(&site, "recovery", ADA, &newest_code(&site, ADA).await).await.is(200);
}
