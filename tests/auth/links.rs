//! Links and codes that are mailed: what they prove, how often, and what nobody learns from asking for them.

use basewright::auth::refresh::sha256;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::signup::OFTEN;
use super::site::{Site, text};
use crate::support::caller::Answer;

const ADA: &str = "ada@example.test";
const BOB: &str = "bob@example.test";
const PASSWORD: &str = "correct horse battery";

async fn generate(site: &Site, body: Value) -> Value {
    site.admin(Method::POST, "/auth/v1/admin/generate_link", Some(body)).await.is(200)
}

async fn verify(site: &Site, body: Value) -> Answer {
    site.post("/auth/v1/verify", None, body).await
}

/// A browser follows a link: where it is sent.
async fn follow(site: &Site, method: Method, link: &str) -> (u16, Option<reqwest::Url>) {
    let path = &link[link.find("/auth/v1").unwrap()..];
    let answer = site.client.request(method, site.server.at(path)).send().await.unwrap();
    let to = answer.headers().get("location").map(|to| to.to_str().unwrap().parse().unwrap());
    (answer.status().as_u16(), to)
}

/// A member of a fragment or query.
fn member(text: Option<&str>, name: &str) -> Option<String> {
    url::form_urlencoded::parse(text.unwrap_or_default().as_bytes())
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

fn fragment(to: &reqwest::Url, name: &str) -> Option<String> {
    member(to.fragment(), name)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_signs_in_once_and_only_who_follows_it() {
    let site = Site::start(OFTEN).await;
    let id = site.user(ADA, PASSWORD).await;
    for kind in ["magiclink", "recovery"] {
        let made = generate(&site, json!({ "type": kind, "email": ADA })).await;
        assert_eq!((text(&made, "id"), text(&made, "verification_type")), (id.as_str(), kind));
        let link = text(&made, "action_link");
        assert!(link.starts_with(&site.server.at("/auth/v1/verify?token=")), "{link}");
        // A scanner that only looks uses nothing up.
        assert_eq!(follow(&site, Method::HEAD, link).await, (200, None));
        let (status, to) = follow(&site, Method::GET, link).await;
        let to = to.unwrap();
        assert_eq!((status, to.as_str().split('#').next()), (303, Some("http://localhost:3000/")));
        let token = fragment(&to, "access_token").unwrap();
        assert_eq!(site.get("/auth/v1/user", Some(&token)).await.is(200)["id"], id.as_str());
        assert_eq!(fragment(&to, "type").as_deref(), Some(kind));
        assert_eq!(fragment(&to, "token_type").as_deref(), Some("bearer"));
        assert!(fragment(&to, "refresh_token").is_some() && fragment(&to, "expires_at").is_some());
        let (status, to) = follow(&site, Method::GET, link).await;
        let to = to.unwrap();
        assert_eq!(status, 303);
        assert_eq!(fragment(&to, "error_code").as_deref(), Some("otp_expired"));
        assert_eq!(fragment(&to, "error").as_deref(), Some("access_denied"));
        assert_eq!((fragment(&to, "access_token"), to.query()), (None, None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hundred_who_show_a_link_at_once_one_is_let_in() {
    let site = Site::start(OFTEN).await;
    site.user(ADA, PASSWORD).await;
    let made = generate(&site, json!({ "type": "recovery", "email": ADA })).await;
    let by_link = json!({ "type": "recovery", "token_hash": made["hashed_token"] });
    let by_code = json!({ "type": "recovery", "email": ADA, "token": made["email_otp"] });
    let all = (0..100).map(|at| verify(&site, if at % 20 == 0 { by_code.clone() } else { by_link.clone() }));
    let statuses: Vec<u16> = join_all(all).await.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 403].contains(status)), "{statuses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_good_for_its_address_and_purpose_and_for_few_guesses() {
    let site = Site::start(OFTEN).await;
    site.user(ADA, PASSWORD).await;
    site.user(BOB, PASSWORD).await;
    let made = generate(&site, json!({ "type": "recovery", "email": ADA })).await;
    let code = text(&made, "email_otp").to_owned();
    assert_eq!(code.len(), 6);
    for body in [
        json!({ "type": "recovery", "email": BOB, "token": code }),
        json!({ "type": "magiclink", "email": ADA, "token": code }),
        json!({ "type": "signup", "email": ADA, "token": code }),
        json!({ "type": "email", "email": ADA, "token": code }),
        json!({ "type": "email_change", "email": ADA, "token": code }),
        json!({ "type": "magiclink", "token_hash": made["hashed_token"] }),
        json!({ "type": "recovery", "token_hash": code }),
    ] {
        assert_eq!(verify(&site, body.clone()).await.refused(403), "otp_expired", "{body}");
    }
    for (body, code) in [
        (json!({ "type": "sms", "phone": "+15550100", "token": code }), "phone_provider_disabled"),
        (json!({ "type": "sideways", "email": ADA, "token": code }), "validation_failed"),
        (json!({ "email": ADA, "token": code }), "validation_failed"),
        (json!({ "type": "recovery", "token": code }), "validation_failed"),
        (json!({ "type": "recovery", "email": ADA }), "validation_failed"),
        (json!({ "type": "recovery", "email": "no address", "token": code }), "email_address_invalid"),
    ] {
        assert_eq!(verify(&site, body.clone()).await.refused(400), code, "{body}");
    }
    let session = verify(&site, json!({ "type": "recovery", "email": ADA, "token": code })).await.is(200);
    assert_eq!(session["user"]["email"], ADA);
    // Ten guesses, however many at once and however many codes are asked for.
    let made = generate(&site, json!({ "type": "recovery", "email": ADA })).await;
    let right = text(&made, "email_otp");
    let wrong = if right == "000000" { "111111" } else { "000000" };
    let guess = json!({ "type": "recovery", "email": ADA, "token": wrong });
    for answer in join_all((0..30).map(|_| verify(&site, guess.clone()))).await {
        assert_eq!(answer.refused(403), "otp_expired");
    }
    let attempts = "select max(attempts)::int from auth.one_time_tokens where address = $1";
    let row = site.sql().await.query_one(attempts, &[&ADA]).await.unwrap();
    assert_eq!(row.get::<_, i32>(0), 10);
    let body = json!({ "type": "recovery", "email": ADA, "token": right });
    assert_eq!(verify(&site, body).await.refused(403), "otp_expired");
    let again = generate(&site, json!({ "type": "recovery", "email": ADA })).await;
    let body = json!({ "type": "recovery", "email": ADA, "token": again["email_otp"] });
    assert_eq!(verify(&site, body).await.refused(403), "otp_expired", "another code is no new chance");
    verify(&site, json!({ "type": "recovery", "token_hash": again["hashed_token"] })).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_over_or_of_somebody_banned_lets_nobody_in() {
    let site = Site::start(OFTEN).await;
    let id = site.user(ADA, PASSWORD).await;
    let made = generate(&site, json!({ "type": "magiclink", "email": ADA })).await;
    let sql = site.sql().await;
    sql.batch_execute("update auth.one_time_tokens set expires_at = now() - interval '1 s'").await.unwrap();
    for body in [
        json!({ "type": "magiclink", "token_hash": made["hashed_token"] }),
        json!({ "type": "magiclink", "email": ADA, "token": made["email_otp"] }),
    ] {
        assert_eq!(verify(&site, body).await.refused(403), "otp_expired");
    }
    let made = generate(&site, json!({ "type": "magiclink", "email": ADA })).await;
    let ban = json!({ "ban_duration": "24h" });
    site.admin(Method::PUT, &format!("/auth/v1/admin/users/{id}"), Some(ban)).await.is(200);
    let body = json!({ "type": "magiclink", "token_hash": made["hashed_token"] });
    assert_eq!(verify(&site, body).await.refused(403), "user_banned");
    let (_, to) = follow(&site, Method::GET, text(&made, "action_link")).await;
    assert_eq!(fragment(&to.unwrap(), "error_code").as_deref(), Some("user_banned"));
}

#[tokio::test(flavor = "multi_thread")]
async fn at_most_five_links_wait_and_only_hashes_of_them_are_kept() {
    let site = Site::start(OFTEN).await;
    site.user(ADA, PASSWORD).await;
    let mut all = Vec::new();
    for _ in 0..7 {
        all.push(generate(&site, json!({ "type": "magiclink", "email": ADA })).await);
    }
    let sql = site.sql().await;
    let kept = sql
        .query("select token_hash, row_to_json(t)::text from auth.one_time_tokens t order by id", &[])
        .await
        .unwrap();
    let hashes: Vec<Vec<u8>> = kept.iter().map(|row| row.get(0)).collect();
    let expected: Vec<Vec<u8>> =
        all[2..].iter().map(|made| sha256(text(made, "hashed_token").as_bytes()).to_vec()).collect();
    assert_eq!(hashes, expected);
    for row in &kept {
        let row: String = row.get(1);
        for made in &all {
            assert!(!row.contains(text(made, "hashed_token")));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_learns_by_asking_for_mail_who_has_an_account() {
    let site = Site::start(OFTEN).await;
    site.user(ADA, PASSWORD).await;
    let waiting = "insert into auth.users (email) values ('waiting@example.test')";
    site.sql().await.batch_execute(waiting).await.unwrap();
    for (path, extra) in [
        ("/auth/v1/recover", json!({})),
        ("/auth/v1/otp", json!({})),
        ("/auth/v1/magiclink", json!({})),
        ("/auth/v1/resend", json!({ "type": "signup" })),
        ("/auth/v1/resend", json!({ "type": "email_change" })),
    ] {
        for email in [ADA, "nobody@example.test", "waiting@example.test"] {
            let mut body = extra.clone();
            body["email"] = json!(email);
            let answer = site.post(path, None, body).await;
            assert_eq!(answer.is(200), json!({}), "{path} {email}");
        }
        for (body, code) in [
            (json!({ "email": "no address", "type": "signup" }), "email_address_invalid"),
            (json!({ "type": "signup" }), "validation_failed"),
            (json!({ "phone": "+15550100", "type": "sms" }), "phone_provider_disabled"),
        ] {
            assert_eq!(site.post(path, None, body).await.refused(400), code, "{path}");
        }
    }
    let unknown = json!({ "email": "stranger@example.test", "create_user": false });
    assert_eq!(site.post("/auth/v1/otp", None, unknown).await.refused(422), "otp_disabled");
    let sql = site.sql().await;
    let strangers = "select count(*) from auth.users where email = 'stranger@example.test'";
    assert_eq!(sql.query_one(strangers, &[]).await.unwrap().get::<_, i64>(0), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_proves_an_address_leaves_nothing_of_those_who_merely_named_it() {
    let site = Site::start(OFTEN).await;
    let planted = json!({ "email": ADA, "password": "a strangers password", "data": { "name": "Mallory" } });
    site.post("/auth/v1/signup", None, planted).await.is(200);
    let by_stranger = site.link(ADA, "signup").await;
    // The owner comes by another way.
    site.post("/auth/v1/otp", None, json!({ "email": ADA, "data": { "name": "Ada" } })).await.is(200);
    site.post("/auth/v1/recover", None, json!({ "email": ADA })).await.is(200);
    let link = site.link(ADA, "recovery").await;
    let session = verify(&site, json!({ "type": "recovery", "token_hash": link })).await.is(200);
    assert_eq!(session["user"]["user_metadata"], json!({}));
    assert!(session["user"]["email_confirmed_at"].is_string());
    let body = json!({ "type": "signup", "token_hash": by_stranger });
    assert_eq!(verify(&site, body).await.refused(403), "otp_expired");
    let body = json!({ "email": ADA, "password": "a strangers password" });
    let answer = site.post("/auth/v1/token?grant_type=password", None, body).await;
    assert_eq!(answer.refused(400), "invalid_credentials");
    let change = json!({ "password": PASSWORD });
    site.send(Method::PUT, "/auth/v1/user", Some(text(&session, "access_token")), Some(change)).await.is(200);
    site.sign_in(ADA, PASSWORD).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_is_sent_again_brings_the_password_unless_two_wait() {
    let site = Site::start(OFTEN).await;
    for (email, passwords) in [(ADA, &[PASSWORD][..]), (BOB, &[PASSWORD, "a strangers password"])] {
        for password in passwords {
            let body = json!({ "email": email, "password": password });
            site.post("/auth/v1/signup", None, body).await.is(200);
        }
        let again = json!({ "email": email, "type": "signup" });
        site.post("/auth/v1/resend", None, again).await.is(200);
        let link = site.link(email, "signup").await;
        verify(&site, json!({ "type": "signup", "token_hash": link })).await.is(200);
        for password in passwords {
            let body = json!({ "email": email, "password": password });
            let status = site.post("/auth/v1/token?grant_type=password", None, body).await.status;
            assert_eq!(status, if passwords.len() == 1 { 200 } else { 400 }, "{email} {password}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_challenge_a_browser_gets_a_code_and_failures_twice() {
    // RFC 7636, appendix B.
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    let site = Site::start(OFTEN).await;
    let id = site.user(ADA, PASSWORD).await;
    let asked = json!({ "email": ADA, "code_challenge": CHALLENGE, "code_challenge_method": "s256" });
    site.post("/auth/v1/otp?redirect_to=http://localhost:3000/in?a=b", None, asked).await.is(200);
    let token = format!("pkce_{}", site.link(ADA, "magiclink").await);
    let hash = sha256(token.as_bytes()).to_vec();
    let plant = "update auth.one_time_tokens set token_hash = $1 where code_challenge is not null";
    assert_eq!(site.sql().await.execute(plant, &[&hash]).await.unwrap(), 1);
    let link =
        format!("/auth/v1/verify?token={token}&type=magiclink&redirect_to=http://localhost:3000/in?a=b");
    let (status, to) = follow(&site, Method::GET, &link).await;
    let to = to.unwrap();
    assert_eq!((status, to.path(), to.fragment()), (303, "/in", None));
    assert_eq!(member(to.query(), "a").as_deref(), Some("b"));
    let code = member(to.query(), "code").unwrap();
    let exchange = json!({ "auth_code": code, "code_verifier": VERIFIER });
    let session = site.post("/auth/v1/token?grant_type=pkce", None, exchange).await.is(200);
    assert_eq!(session["user"]["id"], id.as_str());
    let (_, to) = follow(&site, Method::GET, &link).await;
    let to = to.unwrap();
    assert_eq!(fragment(&to, "error_code").as_deref(), Some("otp_expired"));
    assert_eq!(member(to.query(), "error_code").as_deref(), Some("otp_expired"));
    // Nobody chooses where a failure leads, either.
    let (_, to) =
        follow(&site, Method::GET, "/auth/v1/verify?token=x&type=signup&redirect_to=https://evil.test/")
            .await;
    assert_eq!(to.unwrap().host_str(), Some("localhost"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_mailed_is_what_signs_in_and_owners_are_told_of_strangers() {
    let site = Site::start(OFTEN).await;
    let sign_up = async |email: &str| {
        let body = json!({ "email": email, "password": PASSWORD });
        site.post("/auth/v1/signup", None, body).await.is(200);
    };
    sign_up(ADA).await;
    let letters = site.letters(ADA).await;
    assert_eq!((letters.len(), text(&letters[0], "occasion")), (1, "confirm"));
    assert!(text(&letters[0], "link").starts_with(&site.server.at("/auth/v1/verify?token=")));
    let body = json!({ "type": "email", "email": "Ada@Example.test", "token": letters[0]["code"] });
    let session = verify(&site, body).await.is(200);
    assert_eq!(session["user"]["email"], ADA);
    // Somebody tries the address again: its owner hears of it, and gets nothing that signs in.
    sign_up(ADA).await;
    let notice = &site.letters(ADA).await[0];
    assert_eq!(text(notice, "occasion"), "already_registered");
    assert_eq!((&notice["link"], &notice["code"]), (&Value::Null, &Value::Null));
    for path in ["/auth/v1/recover", "/auth/v1/otp", "/auth/v1/resend"] {
        let body = json!({ "email": "nobody@example.test", "create_user": true, "type": "email_change" });
        let answer = site.post(path, None, body).await;
        assert_eq!(answer.is(200), json!({}));
    }
    let stranger = site.letters("nobody@example.test").await;
    assert_eq!(stranger.len(), 1, "only who may sign up is written to");
    // A link leads where it was asked to lead, as far as the project allows.
    let body = json!({ "email": ADA });
    site.post("/auth/v1/recover?redirect_to=http://localhost:3000/reset", None, body).await.is(200);
    let letter = &site.letters(ADA).await[0];
    let (_, to) = follow(&site, Method::GET, text(letter, "link")).await;
    assert_eq!(to.unwrap().path(), "/reset");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_address_is_mailed_to_both_and_again_to_those_who_have_not_agreed() {
    const NEW: &str = "ada@new.example.test";
    let site = Site::start(OFTEN).await;
    site.user(ADA, PASSWORD).await;
    site.user(BOB, PASSWORD).await;
    let session = site.sign_in(ADA, PASSWORD).await;
    let wish = async |email: &str| {
        let body = Some(json!({ "email": email }));
        site.send(Method::PUT, "/auth/v1/user", Some(text(&session, "access_token")), body).await.is(200);
    };
    // Somebody else's: he is told, and nothing that is mailed to him agrees to anything.
    wish(BOB).await;
    let told = site.letters(BOB).await;
    assert_eq!(
        (told.len(), text(&told[0], "occasion"), &told[0]["link"]),
        (1, "already_registered", &Value::Null)
    );
    wish(NEW).await;
    let (from, to) = (site.letters(ADA).await, site.letters(NEW).await);
    assert_eq!((text(&from[0], "occasion"), text(&to[0], "occasion")), ("change_from", "change_to"));
    let show = async |email: &str, code: &Value| {
        verify(&site, json!({ "type": "email_change", "email": email, "token": code })).await
    };
    assert_eq!(show(NEW, &to[0]["code"]).await.is(200)["code"], "200");
    let again = json!({ "type": "email_change", "email": ADA });
    site.post("/auth/v1/resend", None, again).await.is(200);
    assert_eq!(site.letters(NEW).await.len(), 1, "who has agreed is not asked again");
    let from = site.letters(ADA).await;
    let done = show(ADA, &from[0]["code"]).await.is(200);
    assert_eq!(done["user"]["email"], NEW);
    let notice = &site.letters(ADA).await[0];
    assert_eq!(text(notice, "occasion"), "address_changed");
}
