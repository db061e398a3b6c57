//! Nobody learns from an answer, or from how long it takes, whether an address has an account.
//!
//! `BASEWRIGHT_LONG=1` also judges the times: 400 samples in turn. That wants a machine with nothing else to do.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use super::site::Site;

const PASSWORD: &str = "correct horse battery";
const SETTINGS: &str = "auth:
  rate_limits: { sign_in: false, sign_up: false, mail: false, mail_to: false, verify: false }
";

/// An answer without what differs between any two: ids, times, and the address that was asked about.
fn blurred(value: &Value) -> Value {
    match value {
        Value::Object(members) => members
            .iter()
            .filter(|(name, _)| *name != "error_id")
            .map(|(name, value)| {
                let own =
                    ["id", "email", "created_at", "updated_at", "confirmation_sent_at", "recovery_sent_at"];
                let value = match value {
                    Value::String(text) if own.contains(&name.as_str()) => json!(shape(text)),
                    value => blurred(value),
                };
                (name.clone(), value)
            })
            .collect(),
        Value::Array(items) => items.iter().map(blurred).collect(),
        value => value.clone(),
    }
}

/// A text's form: which kinds of characters stand where.
fn shape(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_digit() || c.is_ascii_lowercase() { 'x' } else { c }).collect()
}

type Question = (&'static str, &'static str, Value);

/// What can be asked about an address without knowing anything.
fn questions(email: &str) -> Vec<Question> {
    let wrong = json!({ "email": email, "password": "a wrong password" });
    let own = json!({ "email": email, "password": "some other horse" });
    vec![
        ("sign in", "/auth/v1/token?grant_type=password", wrong),
        ("sign up", "/auth/v1/signup", own),
        ("recover", "/auth/v1/recover", json!({ "email": email })),
        ("magic link", "/auth/v1/magiclink", json!({ "email": email })),
        ("code", "/auth/v1/otp", json!({ "email": email })),
        ("resend", "/auth/v1/resend", json!({ "type": "signup", "email": email })),
        ("resend a change", "/auth/v1/resend", json!({ "type": "email_change", "email": email })),
        ("verify", "/auth/v1/verify", json!({ "type": "recovery", "email": email, "token": "123456" })),
        ("verify it", "/auth/v1/verify", json!({ "type": "signup", "email": email, "token": "123456" })),
    ]
}

/// Addresses of one length.
fn address(kind: &str, number: usize) -> String {
    format!("{kind}-{number:05}@example.test")
}

#[tokio::test(flavor = "multi_thread")]
async fn known_and_unknown_addresses_get_the_same_answers() {
    let site = Site::start(SETTINGS).await;
    for number in 0..questions("").len() {
        site.user(&address("known", number), PASSWORD).await;
        // Somebody who never confirmed, too.
        let body = json!({ "email": address("began", number), "password": PASSWORD });
        site.post("/auth/v1/signup", None, body).await.is(200);
    }
    for number in 0..questions("").len() {
        let mut answers = Vec::new();
        for kind in ["known", "wrong", "began"] {
            let (what, path, body) = questions(&address(kind, number)).swap_remove(number);
            let answer = site.send(Method::POST, path, None, Some(body)).await;
            let mut headers: Vec<String> = answer
                .headers
                .iter()
                .filter(|(name, _)| !["date", "x-request-id"].contains(&name.as_str()))
                .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
                .collect();
            headers.sort();
            answers.push((what, answer.status, headers, blurred(&answer.body)));
        }
        assert_eq!(answers[0], answers[1], "an account and none");
        assert_eq!(answers[2], answers[1], "a sign-up that waits and none");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_signed_in_cannot_ask_for_an_address_either() {
    let site = Site::start(SETTINGS).await;
    site.user("bob@example.test", PASSWORD).await;
    let mut answers = Vec::new();
    for (own, wanted) in [("ada@example.test", "bob@example.test"), ("ann@example.test", "eve@example.test")]
    {
        site.user(own, PASSWORD).await;
        let session = site.sign_in(own, PASSWORD).await;
        let token = session["access_token"].as_str();
        let body = json!({ "email": wanted });
        let answer = site.send(Method::PUT, "/auth/v1/user", token, Some(body)).await;
        answers.push((answer.status, shape(&answer.body.to_string())));
    }
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn known_and_unknown_addresses_take_as_long() {
    let is_long = std::env::var("BASEWRIGHT_LONG").is_ok_and(|long| long == "1");
    let samples = if is_long { 400 } else { 5 };
    let site = Site::start(SETTINGS).await;
    for number in 0..samples {
        site.user(&address("known", number), PASSWORD).await;
    }
    let mut apart = Vec::new();
    for question in 0..questions("").len() {
        let mut times = [Vec::new(), Vec::new()];
        let mut name = "";
        for number in 0..samples {
            // In turn, and each first as often as the other.
            let mut kinds = [("known", 0), ("wrong", 1)];
            if number % 2 == 1 {
                kinds.reverse();
            }
            for (kind, at) in kinds {
                let (what, path, body) = questions(&address(kind, number)).swap_remove(question);
                name = what;
                let began = Instant::now();
                let answer = site.send(Method::POST, path, None, Some(body)).await;
                assert!(answer.status < 500, "{what}: {}", answer.body);
                times[at].push(began.elapsed());
            }
        }
        let [known, unknown] = times.map(|mut times| {
            times.sort();
            times[times.len() / 2]
        });
        println!("{name}: known {known:?}, unknown {unknown:?}");
        if known.abs_diff(unknown) > Duration::from_millis(2).max(known.min(unknown).mul_f64(0.05)) {
            apart.push(name);
        }
    }
    if is_long {
        assert!(apart.is_empty(), "these tell by the time: {apart:?}");
        println!("PASS times of known and unknown addresses: {samples} samples of each question");
    }
}
