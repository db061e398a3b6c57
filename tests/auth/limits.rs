//! How often somebody may try, and by what he is known meanwhile.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::site::{Site, text};
use crate::support::server::eventually;

const ADA: &str = "ada@example.test";
const PASSWORD: &str = "correct horse battery";

/// Tries to sign in, and says so to be sent on for somebody: status, `Retry-After` and code.
async fn attempt(site: &Site, sender: &str, body: &Value) -> (StatusCode, u64, String) {
    let answer = site
        .client
        .post(site.server.at("/auth/v1/token?grant_type=password"))
        .header("apikey", site.server.keys.publishable())
        .header("x-forwarded-for", sender)
        .json(body)
        .send()
        .await
        .unwrap();
    let (status, wait) = (answer.status(), answer.headers().get("retry-after").cloned());
    let wait = wait.map_or(0, |wait| wait.to_str().unwrap().parse().unwrap());
    let body: Value = answer.json().await.unwrap();
    (status, wait, body["error_code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_stranger_writes_into_his_request_his_limit_is_one() {
    let site = Site::start("auth: { rate_limits: { sign_in: 10/10m } }\n").await;
    for n in 0..30 {
        let body =
            json!({ "email": format!("u{n}@example.test"), "password": "wrong password", "client": n });
        let (status, wait, code) = attempt(&site, &format!("203.0.113.{n}"), &body).await;
        if n < 10 {
            assert_eq!((status.as_u16(), wait, code.as_str()), (400, 0, "invalid_credentials"), "{n}");
        } else {
            assert_eq!((status.as_u16(), code.as_str()), (429, "over_request_rate_limit"), "{n}");
            assert!((1..=60).contains(&wait), "{wait}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_proxy_is_believed_and_an_account_is_one_however_it_is_written() {
    let site = Site::start_with("", &[], &[("BASEWRIGHT_TRUSTED_PROXIES", "10.0.0.0/8,127.0.0.1")]).await;
    site.user(ADA, PASSWORD).await;
    // From as many networks as you like: what is counted is the account that was looked up.
    let spellings = [ADA, "ADA@example.test", " ada@Example.Test ", "aDa@example.test\n"];
    let mut refused = 0;
    for n in 0..30 {
        let body = json!({ "email": spellings[n % 4], "password": "wrong password" });
        let (status, wait, _) = attempt(&site, &format!("198.51.100.{n}"), &body).await;
        refused += u32::from(status == 429);
        assert!(status == 400 || (status == 429 && wait > 0), "{status} {wait}");
        // Nobody else is refused, known or not, from a network of his own.
        let other = json!({ "email": format!("u{n}@example.test"), "password": "wrong password" });
        assert_eq!(attempt(&site, &format!("203.0.113.{n}"), &other).await.0, 400);
    }
    // Three failures are free; of the waits after them, some may have passed meanwhile.
    assert!(refused >= 20, "{refused}");
    // An account that does not exist is counted the same way.
    let nobody = json!({ "email": "nobody@example.test", "password": "wrong password" });
    let mut failed = 0;
    while attempt(&site, &format!("192.0.2.{failed}"), &nobody).await.0 == 400 {
        failed += 1;
        assert!(failed < 8);
    }
    assert!(failed >= 3, "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_keep_an_account_waiting_and_never_out() {
    let site = Site::start("").await;
    site.user(ADA, PASSWORD).await;
    let sign_in = |password: &str| {
        let body = json!({ "email": ADA, "password": password });
        let site = &site;
        async move { attempt(site, "", &body).await }
    };
    let mut failed = 0;
    let (status, wait, _) = loop {
        let answer = sign_in("wrong password").await;
        if answer.0 != 400 {
            break answer;
        }
        failed += 1;
        assert!(failed < 8);
    };
    assert_eq!(status, 429);
    assert!(failed >= 3 && (1..=60).contains(&wait), "{failed} {wait}");
    eventually("the wait to be over", Duration::from_secs(90), || async {
        (sign_in(PASSWORD).await.0 == 200).then_some(())
    })
    .await;
    // A success ended it.
    assert_eq!(sign_in("wrong password").await.0, 400);
    assert_eq!(sign_in(PASSWORD).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_in_particular_reads_no_more_than_his_share() {
    let settings = "auth: { rate_limits: { rest_anonymous: 5/10m } }\n";
    let site = Site::start_with(settings, &[], &[("BASEWRIGHT_ANONYMOUS_LIMIT", "project")]).await;
    site.user(ADA, PASSWORD).await;
    let session = site.sign_in(ADA, PASSWORD).await;
    let path = "/rest/v1/notes?limit=1";
    // Whoever is not allowed to read costs as much as whoever is.
    let mut statuses = Vec::new();
    for _ in 0..12 {
        statuses.push(site.get(path, None).await.status);
    }
    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 7, "{statuses:?}");
    let refused = site.get(path, None).await;
    assert!((1..=120).contains(&refused.header("retry-after").parse::<u64>().unwrap()));
    assert_eq!(refused.refused(429), "too_many_requests");
    for _ in 0..20 {
        site.get(path, Some(text(&session, "access_token"))).await.is(200);
        site.admin(Method::GET, path, None).await.is(200);
    }
}
