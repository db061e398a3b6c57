//! What is good once is good for one, however many come at the same time.
//!
//! `BASEWRIGHT_LONG=1` runs twenty rounds of each instead of two.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use basewright::auth::refresh::sha256;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::factors::Authenticator;
use super::site::{Site, text};
use crate::support::caller::Answer;
use crate::support::server::eventually;

const PASSWORD: &str = "correct horse battery";
/// How many come at once.
const AT_ONCE: usize = 100;
const SETTINGS: &str = "auth:
  email: { confirm_both: false }
  rate_limits: { sign_in: false, sign_up: false, mail: false, mail_to: false, verify: false, refresh: false }
";

fn rounds() -> usize {
    if std::env::var("BASEWRIGHT_LONG").is_ok_and(|long| long == "1") { 20 } else { 2 }
}

/// Sends the same request so often at once: the statuses and codes that came back, counted, and the bodies of those who
/// were let in.
async fn all_at_once(
    site: &Site,
    path: &str,
    token: Option<&str>,
    body: &Value,
) -> (Vec<Value>, Vec<(u16, String)>) {
    let answers: Vec<Answer> =
        join_all((0..AT_ONCE).map(|_| site.send(Method::POST, path, token, Some(body.clone())))).await;
    let (mut won, mut lost) = (Vec::new(), Vec::new());
    for answer in answers {
        match answer.status {
            200 => won.push(answer.body),
            status => lost.push((status, answer.body["code"].as_str().unwrap_or_default().to_owned())),
        }
    }
    (won, lost)
}

/// Exactly one was let in, and the others were told why not.
#[track_caller]
fn one_won(what: &str, won: &[Value], lost: &[(u16, String)], codes: &[&str]) {
    assert_eq!(won.len(), 1, "{what}: {lost:?}");
    for (status, code) in lost {
        assert!(*status < 500 && codes.contains(&code.as_str()), "{what}: {status} {code}");
    }
}

async fn made_link(site: &Site, body: Value) -> Value {
    site.admin(Method::POST, "/auth/v1/admin/generate_link", Some(body)).await.is(200)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_or_a_code_is_good_for_one_of_a_hundred() {
    let site = Site::start(SETTINGS).await;
    let mut raced = 0;
    for round in 0..rounds() {
        for kind in ["signup", "invite", "magiclink", "recovery"] {
            for by_code in [false, true] {
                let email = format!("{kind}-{round}-{by_code}@example.test");
                if !["signup", "invite"].contains(&kind) {
                    site.user(&email, PASSWORD).await;
                }
                let link =
                    made_link(&site, json!({ "type": kind, "email": email, "password": PASSWORD })).await;
                let body = if by_code {
                    json!({ "type": kind, "email": email, "token": link["email_otp"] })
                } else {
                    json!({ "type": kind, "token_hash": link["hashed_token"] })
                };
                let (won, lost) = all_at_once(&site, "/auth/v1/verify", None, &body).await;
                one_won(&format!("{kind}, code {by_code}"), &won, &lost, &["otp_expired"]);
                raced += 1;
            }
        }
        // A change of address, confirmed at the new one.
        let (old, new) = (format!("old-{round}@example.test"), format!("new-{round}@example.test"));
        site.user(&old, PASSWORD).await;
        let wish = json!({ "type": "email_change_new", "email": old, "new_email": new });
        let link = made_link(&site, wish).await;
        let body = json!({ "type": "email_change", "token_hash": link["hashed_token"] });
        let (won, lost) = all_at_once(&site, "/auth/v1/verify", None, &body).await;
        one_won("email_change", &won, &lost, &["otp_expired"]);
        raced += 1;
    }
    println!("PASS races of links and codes: {raced} races of {AT_ONCE}, one winner each");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_of_the_pkce_flow_is_good_for_one_of_a_hundred() {
    let site = Site::start(SETTINGS).await;
    let verifier = "a-verifier-of-the-length-that-the-flow-asks-for-0123456789";
    let challenge = URL_SAFE_NO_PAD.encode(sha256(verifier.as_bytes()));
    for round in 0..rounds() {
        let email = format!("pkce-{round}@example.test");
        site.user(&email, PASSWORD).await;
        let wish = json!({ "email": email, "code_challenge": challenge, "code_challenge_method": "s256" });
        site.post("/auth/v1/otp", None, wish).await.is(200);
        let link = eventually("the letter", Duration::from_secs(20), || async {
            site.letters(&email).await.first().and_then(|letter| letter["link"].as_str().map(str::to_owned))
        })
        .await;
        let answer = site.client.get(&link).send().await.unwrap();
        assert_eq!(answer.status(), 303);
        let to = answer.headers()["location"].to_str().unwrap().to_owned();
        let code = to.split("code=").nth(1).unwrap().split(['&', '#']).next().unwrap();
        let body = json!({ "auth_code": code, "code_verifier": verifier });
        let (won, lost) = all_at_once(&site, "/auth/v1/token?grant_type=pkce", None, &body).await;
        one_won("pkce", &won, &lost, &["flow_state_not_found"]);
    }
    println!("PASS races of PKCE codes: {} races of {AT_ONCE}, one winner each", rounds());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_shown_a_hundred_times_at_once_has_one_successor() {
    let site = Site::start(SETTINGS).await;
    site.user("ada@example.test", PASSWORD).await;
    for _ in 0..rounds() {
        let session = site.sign_in("ada@example.test", PASSWORD).await;
        let body = json!({ "refresh_token": session["refresh_token"] });
        let path = "/auth/v1/token?grant_type=refresh_token";
        let (won, lost) = all_at_once(&site, path, None, &body).await;
        assert_eq!(lost, [], "an honest user was refused");
        let successor = &won[0]["refresh_token"];
        assert!(won.iter().all(|session| session["refresh_token"] == *successor), "the session has branched");
        assert_ne!(*successor, session["refresh_token"]);
        // And so on: the family lives.
        let body = json!({ "refresh_token": successor });
        site.post(path, None, body).await.is(200);
    }
    println!("PASS races of refresh tokens: {} races of {AT_ONCE}, one lineage each", rounds());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_of_a_second_factor_is_good_for_one_of_a_hundred() {
    let site = Site::start(SETTINGS).await;
    for round in 0..rounds() {
        let email = format!("factor-{round}@example.test");
        site.user(&email, PASSWORD).await;
        let session = site.sign_in(&email, PASSWORD).await;
        let token = text(&session, "access_token");
        let phone = Authenticator::enrol(&site, token, "phone").await;
        let id = &phone.factor;
        let challenge = phone.challenge(&site, token).await;
        let body = json!({ "challenge_id": challenge["id"], "code": phone.code(0) });
        let path = format!("/auth/v1/factors/{id}/verify");
        let (won, lost) = all_at_once(&site, &path, Some(token), &body).await;
        let codes = [
            "mfa_verification_failed",
            "mfa_factor_not_found",
            "mfa_challenge_expired",
            "over_request_rate_limit",
        ];
        one_won("totp", &won, &lost, &codes);
        // A recovery code, too.
        let token = text(&won[0], "access_token");
        let made = site.post("/auth/v1/factors/recovery-codes", Some(token), json!({})).await.is(200);
        let low = site.sign_in(&email, PASSWORD).await;
        let body = json!({ "code": made["codes"][0] });
        let path = "/auth/v1/factors/recovery-codes/verify";
        let (won, lost) = all_at_once(&site, path, Some(text(&low, "access_token")), &body).await;
        one_won("recovery code", &won, &lost, &codes);
    }
    println!("PASS races of second factors: {} races of {AT_ONCE} each, one winner each", rounds());
}
