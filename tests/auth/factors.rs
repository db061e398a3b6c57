//! Second factors: enrolled, shown, lost, taken away.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use totp_rs::{Builder, Secret, Totp};

use super::site::{Site, text};
use crate::support::caller::Answer;
use crate::support::server::eventually;

const ADA: &str = "ada@example.test";
const PASSWORD: &str = "correct horse battery";
/// Limits that tests do not meet, in a project whose letters need a second factor.
const NO_LIMITS: &str = "
auth: { rate_limits: { verify: false, sign_in: false } }
";

/// A factor in an authenticator.
pub(super) struct Authenticator {
    pub(super) factor: String,
    totp: Totp,
}

impl Authenticator {
    /// Enrols one.
    pub(super) async fn enrol(site: &Site, token: &str, name: &str) -> Authenticator {
        let body = json!({ "factor_type": "totp", "friendly_name": name });
        let enrolled = site.post("/auth/v1/factors", Some(token), body).await.is(200);
        let secret = Secret::try_from_base32(text(&enrolled["totp"], "secret")).unwrap();
        let totp = Builder::new().with_secret(secret).build().unwrap();
        Authenticator { factor: text(&enrolled, "id").to_owned(), totp }
    }

    /// The code of a step before or after the present one.
    pub(super) fn code(&self, step: i64) -> String {
        let time = basewright::app::now() + 30 * step;
        self.totp.generate(u64::try_from(time).unwrap()).to_string()
    }

    pub(super) async fn challenge(&self, site: &Site, token: &str) -> Value {
        site.post(&format!("/auth/v1/factors/{}/challenge", self.factor), Some(token), json!({}))
            .await
            .is(200)
    }

    async fn verify(&self, site: &Site, token: &str, challenge: &str, code: &str) -> Answer {
        let body = json!({ "challenge_id": challenge, "code": code });
        site.post(&format!("/auth/v1/factors/{}/verify", self.factor), Some(token), body).await
    }

    /// Asks and shows the code of a step.
    async fn show(&self, site: &Site, token: &str, step: i64) -> Answer {
        let challenge = self.challenge(site, token).await;
        self.verify(site, token, text(&challenge, "id"), &self.code(step)).await
    }

    /// Lets a code be shown that was shown before: as time does.
    async fn forget_steps(&self, site: &Site) {
        let forget = format!("update auth.factors set last_step = 0 where id = '{}'", self.factor);
        site.sql().await.batch_execute(&forget).await.unwrap();
    }

    async fn remove(&self, site: &Site, token: &str) -> Answer {
        site.send(Method::DELETE, &format!("/auth/v1/factors/{}", self.factor), Some(token), None).await
    }
}

/// A user who signed in, and his session.
async fn signed_in(site: &Site) -> Value {
    site.user(ADA, PASSWORD).await;
    site.sign_in(ADA, PASSWORD).await
}

async fn refresh(site: &Site, session: &Value) -> Answer {
    let body = json!({ "refresh_token": session["refresh_token"] });
    site.post("/auth/v1/token?grant_type=refresh_token", None, body).await
}

fn claims(session: &Value) -> Value {
    use base64::Engine as _;
    let payload = text(session, "access_token").split('.').nth(1).unwrap();
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap())
        .unwrap()
}

async fn count(site: &Site, sql: &str) -> i64 {
    site.sql().await.query_one(sql, &[]).await.unwrap().get(0)
}

/// A project of its own: letters that need a second factor, at REST and on a channel.
const LETTERS: &str = "
collections:
  letters:
    fields:
      title: { type: text, required: true }
policies:
  letters:
    read: [{ role: authenticated, when: auth.aal == 'aal2' }]
    create: [{ role: authenticated, check: auth.aal == 'aal2' }]
";

#[tokio::test(flavor = "multi_thread")]
async fn what_a_policy_keeps_for_the_second_level_opens_with_a_code() {
    let site = Site::start_with("", &[("letters.yaml", LETTERS)], &[]).await;
    let session = signed_in(&site).await;
    let low = text(&session, "access_token");
    let write = |token| {
        site.send(Method::POST, "/rest/v1/letters", Some(token), Some(json!({ "title": "Dear Bob" })))
    };
    let phone = Authenticator::enrol(&site, low, "phone").await;
    assert_eq!(write(low).await.refused(403), "42501");
    let raised = phone.show(&site, low, 0).await.is(200);
    let high = text(&raised, "access_token");
    assert_eq!(write(high).await.status, 201);
    let read = |token| site.get("/rest/v1/letters?select=title", Some(token));
    assert_eq!(read(high).await.is(200), json!([{ "title": "Dear Bob" }]));
    // The token from before lives as long as it says, and says the first level.
    assert_eq!(read(low).await.is(200), json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_showed_a_factor_is_the_same_one_with_other_tokens() {
    let site = Site::start(NO_LIMITS).await;
    let first = signed_in(&site).await;
    let other = site.sign_in(ADA, PASSWORD).await;
    let token = text(&first, "access_token");
    let body = json!({ "factor_type": "totp", "friendly_name": "phone", "issuer": "Acme Inc." });
    let enrolled = site.post("/auth/v1/factors", Some(token), body).await;
    assert_eq!(enrolled.header("cache-control"), "no-store");
    let enrolled = enrolled.is(200);
    assert_eq!((&enrolled["type"], &enrolled["friendly_name"]), (&json!("totp"), &json!("phone")));
    let secret = text(&enrolled["totp"], "secret");
    assert_eq!(secret.len(), 32);
    assert_eq!(
        text(&enrolled["totp"], "uri"),
        format!("otpauth://totp/Acme%20Inc.:ada%40example.test?secret={secret}&issuer=Acme%20Inc.")
    );
    assert!(text(&enrolled["totp"], "qr_code").contains("<svg"));
    let totp = Builder::new().with_secret(Secret::try_from_base32(secret).unwrap()).build().unwrap();
    let phone = Authenticator { factor: text(&enrolled, "id").to_owned(), totp };
    let before = basewright::app::now();
    let challenge = phone.challenge(&site, token).await;
    assert_eq!(challenge["type"], "totp");
    let expires = challenge["expires_at"].as_i64().unwrap();
    assert!((before + 300..before + 360).contains(&expires), "{expires}");
    let raised = phone.verify(&site, token, text(&challenge, "id"), &phone.code(0)).await.is(200);
    let (was, is) = (claims(&first), claims(&raised));
    assert_eq!((&was["aal"], &is["aal"]), (&json!("aal1"), &json!("aal2")));
    assert_eq!(was["session_id"], is["session_id"]);
    let methods: Vec<&str> =
        is["amr"].as_array().unwrap().iter().map(|proof| text(proof, "method")).collect();
    assert_eq!(methods, ["totp", "password"]);
    assert_eq!(raised["user"]["factors"][0]["status"], "verified");
    assert!(raised["user"]["factors"][0].get("secret").is_none());
    // The user's sessions of the first level are over.
    let over = site.get("/auth/v1/user", Some(text(&other, "access_token"))).await;
    assert_eq!(over.refused(403), "session_not_found");
    // The new tokens go on at the second level.
    let next = refresh(&site, &raised).await.is(200);
    assert_eq!(claims(&next)["aal"], "aal2");
    assert_eq!(claims(&next)["session_id"], is["session_id"]);
    // Whoever holds the token from before has lost it, and shows that two hold the session.
    assert_eq!(refresh(&site, &first).await.refused(400), "refresh_token_already_used");
    assert_eq!(refresh(&site, &next).await.refused(400), "refresh_token_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_a_challenge_and_a_step_are_each_good_once() {
    let site = Site::start(NO_LIMITS).await;
    let session = signed_in(&site).await;
    let phone = Authenticator::enrol(&site, text(&session, "access_token"), "phone").await;
    let (code, older) = (phone.code(0), phone.code(-1));
    let first = phone.challenge(&site, text(&session, "access_token")).await;
    let session =
        phone.verify(&site, text(&session, "access_token"), text(&first, "id"), &code).await.is(200);
    let token = text(&session, "access_token");
    let challenge = phone.challenge(&site, token).await;
    let challenge = text(&challenge, "id");
    // The code was seen: nobody can show it again, nor an older one.
    for seen in [&code, &older] {
        let answer = phone.verify(&site, token, challenge, seen).await;
        assert_eq!(answer.refused(422), "mfa_verification_failed");
    }
    phone.forget_steps(&site).await;
    phone.verify(&site, token, challenge, &code).await.is(200);
    phone.forget_steps(&site).await;
    assert_eq!(phone.verify(&site, token, challenge, &code).await.refused(422), "mfa_factor_not_found");
    // One step aside, no further.
    for (step, status) in [(1, 200), (-3, 422), (3, 422)] {
        phone.forget_steps(&site).await;
        assert_eq!(phone.show(&site, token, step).await.status, status, "{step}");
    }
    // Of a hundred who show the right code at once, to five challenges, one is let in.
    phone.forget_steps(&site).await;
    let mut challenges = Vec::new();
    for _ in 0..20 {
        challenges.push(text(&phone.challenge(&site, token).await, "id").to_owned());
    }
    let code = phone.code(0);
    let shown = (0..100).map(|n| phone.verify(&site, token, &challenges[n % 20], &code));
    let answers = futures_util::future::join_all(shown).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    assert!(answers.iter().all(|answer| [200, 422].contains(&answer.status)));
}

#[tokio::test(flavor = "multi_thread")]
async fn five_wrong_codes_use_a_challenge_up_however_fast_they_come() {
    let site = Site::start(NO_LIMITS).await;
    let session = signed_in(&site).await;
    let token = text(&session, "access_token");
    let phone = Authenticator::enrol(&site, token, "phone").await;
    let challenge = phone.challenge(&site, token).await;
    let challenge = text(&challenge, "id");
    let right = phone.code(0);
    let wrong: String = right.chars().map(|digit| if digit == '9' { '0' } else { '9' }).collect();
    let shown = (0..40).map(|_| phone.verify(&site, token, challenge, &wrong));
    let answers = futures_util::future::join_all(shown).await;
    let mut codes: Vec<String> = answers.into_iter().map(|answer| answer.refused(422)).collect();
    codes.sort();
    assert_eq!(codes.iter().filter(|code| *code == "mfa_verification_failed").count(), 5);
    assert_eq!(codes.iter().filter(|code| *code == "mfa_challenge_expired").count(), 35);
    assert_eq!(phone.verify(&site, token, challenge, &right).await.refused(422), "mfa_challenge_expired");
    // Late is as bad as wrong.
    let challenge = phone.challenge(&site, token).await;
    let late = "update auth.challenges set expires_at = now() - interval '1 s'";
    site.sql().await.batch_execute(late).await.unwrap();
    let answer = phone.verify(&site, token, text(&challenge, "id"), &right).await;
    assert_eq!(answer.refused(422), "mfa_challenge_expired");
    phone.show(&site, token, 0).await.is(200);
    let failed =
        "select count(*) from auth.audit_log where event = 'factor_failed' and session_id is not null";
    assert_eq!(count(&site, failed).await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_a_factor_only_whoever_showed_it_adds_or_removes_one() {
    let site =
        Site::start("auth: { rate_limits: { verify: false, sign_in: false }, mfa: { max_factors: 3 } }\n")
            .await;
    let session = signed_in(&site).await;
    let low = text(&session, "access_token");
    let phone = Authenticator::enrol(&site, low, "phone").await;
    let early = Authenticator::enrol(&site, low, "early").await;
    let body = |name: &str| json!({ "factor_type": "totp", "friendly_name": name });
    let taken = site.post("/auth/v1/factors", Some(low), body("phone")).await;
    assert_eq!(taken.refused(422), "mfa_factor_name_conflict");
    // Somebody else who knows the password has a session too, before there is a factor.
    let raised = phone.show(&site, low, 0).await.is(200);
    let high = text(&raised, "access_token");
    // What was enrolled and not verified before is gone: nobody's leftovers become a factor.
    let gone =
        site.post(&format!("/auth/v1/factors/{}/challenge", early.factor), Some(high), json!({})).await;
    assert_eq!(gone.refused(404), "mfa_factor_not_found");
    let session = site.sign_in(ADA, PASSWORD).await;
    let low = text(&session, "access_token");
    let more = site.post("/auth/v1/factors", Some(low), body("tablet")).await;
    assert_eq!(more.refused(403), "insufficient_aal");
    assert_eq!(phone.remove(&site, low).await.refused(422), "insufficient_aal");
    assert_eq!(
        site.post("/auth/v1/factors/recovery-codes", Some(low), json!({})).await.refused(403),
        "insufficient_aal"
    );
    // One enrolled at the second level is not verified at the first.
    let tablet = Authenticator::enrol(&site, high, "tablet").await;
    assert_eq!(tablet.show(&site, low, 0).await.refused(403), "insufficient_aal");
    let raised = tablet.show(&site, high, 0).await.is(200);
    let high = text(&raised, "access_token");
    Authenticator::enrol(&site, high, "watch").await;
    let many = site.post("/auth/v1/factors", Some(high), body("fourth")).await;
    assert_eq!(many.refused(422), "too_many_enrolled_mfa_factors");
    // Leftovers make room after five minutes.
    let age = "update auth.factors set created_at = now() - interval '301 s' where status = 'unverified'";
    site.sql().await.batch_execute(age).await.unwrap();
    let watch = Authenticator::enrol(&site, high, "watch").await;
    assert_eq!(watch.remove(&site, high).await.is(200), json!({ "id": watch.factor }));
    assert_eq!(watch.remove(&site, high).await.refused(404), "mfa_factor_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_factor_takes_along_what_was_reached_with_it() {
    let site = Site::start(NO_LIMITS).await;
    let session = signed_in(&site).await;
    let phone = Authenticator::enrol(&site, text(&session, "access_token"), "phone").await;
    let raised = phone.show(&site, text(&session, "access_token"), 0).await.is(200);
    phone.forget_steps(&site).await;
    let low = site.sign_in(ADA, PASSWORD).await;
    let elsewhere = phone.show(&site, text(&low, "access_token"), 0).await.is(200);
    site.post("/auth/v1/factors/recovery-codes", Some(text(&raised, "access_token")), json!({}))
        .await
        .is(200);
    phone.remove(&site, text(&raised, "access_token")).await.is(200);
    let over = site.get("/auth/v1/user", Some(text(&elsewhere, "access_token"))).await;
    assert_eq!(over.refused(403), "session_not_found");
    // Here he stays signed in, at the first level.
    let next = refresh(&site, &raised).await.is(200);
    assert_eq!(claims(&next)["aal"], "aal1");
    let methods: Vec<&str> = claims(&next)["amr"].as_array().unwrap().iter().map(|_| "one").collect();
    assert_eq!(methods.len(), 1);
    assert_eq!(count(&site, "select count(*) from auth.recovery_codes").await, 0);
    // A token that still says `aal2` is no reason to make codes.
    let answer =
        site.post("/auth/v1/factors/recovery-codes", Some(text(&raised, "access_token")), json!({})).await;
    assert_eq!(answer.refused(404), "mfa_factor_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_code_stands_for_a_lost_factor_once() {
    let site = Site::start(NO_LIMITS).await;
    let session = signed_in(&site).await;
    let token = text(&session, "access_token");
    let early = site.post("/auth/v1/factors/recovery-codes", Some(token), json!({})).await;
    assert_eq!(early.refused(404), "mfa_factor_not_found");
    let phone = Authenticator::enrol(&site, token, "phone").await;
    let raised = phone.show(&site, token, 0).await.is(200);
    let make =
        || site.post("/auth/v1/factors/recovery-codes", Some(text(&raised, "access_token")), json!({}));
    let older = make().await.is(200);
    let made = make().await;
    assert_eq!(made.header("cache-control"), "no-store");
    let made = made.is(200);
    let codes: Vec<&str> =
        made["codes"].as_array().unwrap().iter().map(|code| code.as_str().unwrap()).collect();
    assert_eq!(codes.len(), 10);
    let low = site.sign_in(ADA, PASSWORD).await;
    let low = text(&low, "access_token");
    let show =
        |code: &str| site.post("/auth/v1/factors/recovery-codes/verify", Some(low), json!({ "code": code }));
    assert_eq!(show(older["codes"][0].as_str().unwrap()).await.refused(422), "mfa_verification_failed");
    assert_eq!(show("0000-0000-0000-0000").await.refused(422), "mfa_verification_failed");
    assert_eq!(show("").await.refused(400), "validation_failed");
    let answers = futures_util::future::join_all((0..100).map(|_| show(codes[3]))).await;
    let let_in: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(let_in.len(), 1);
    let is = claims(&let_in[0].body);
    assert_eq!((&is["aal"], &is["amr"][0]["method"]), (&json!("aal2"), &json!("recovery_code")));
    // He can now take the lost factor away.
    show(&codes[4].to_uppercase().replace('-', " ")).await.is(200);
    assert_eq!(count(&site, "select count(*) from auth.recovery_codes").await, 8);
    phone.remove(&site, text(&let_in[0].body, "access_token")).await.is(200);
    let stored = "select count(*) from auth.audit_log where details::text like '%' || $1 || '%'";
    let found: i64 = site.sql().await.query_one(stored, &[&codes[0]]).await.unwrap().get(0);
    assert_eq!(found, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_codes_make_the_account_wait_and_say_how_long() {
    let site = Site::start("auth: { rate_limits: { sign_in: false } }\n").await;
    let session = signed_in(&site).await;
    let token = text(&session, "access_token");
    let phone = Authenticator::enrol(&site, token, "phone").await;
    let wrong: String = phone.code(0).chars().map(|digit| if digit == '9' { '0' } else { '9' }).collect();
    // Three failures are free; on a slow machine the wait after the next ones may be over already.
    let mut failed = 0;
    let refused = loop {
        let challenge = phone.challenge(&site, token).await;
        let answer = phone.verify(&site, token, text(&challenge, "id"), &wrong).await;
        if answer.status == 429 {
            break answer;
        }
        assert_eq!(answer.refused(422), "mfa_verification_failed");
        failed += 1;
        assert!(failed < 8);
    };
    assert!(failed >= 3, "{failed}");
    assert!((1..=60).contains(&refused.header("retry-after").parse::<u64>().unwrap()));
    assert_eq!(refused.refused(429), "over_request_rate_limit");
    let challenge = phone.challenge(&site, token).await;
    // Never for good: whoever waits is let in, and all is forgotten.
    let raised = eventually("the wait to be over", Duration::from_secs(90), || async {
        let answer = phone.verify(&site, token, text(&challenge, "id"), &phone.code(0)).await;
        (answer.status == 200).then_some(answer.body)
    })
    .await;
    phone.forget_steps(&site).await;
    phone.show(&site, text(&raised, "access_token"), 0).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_off_or_nobodys_is_refused_by_name() {
    let site = Site::start(NO_LIMITS).await;
    let session = signed_in(&site).await;
    let token = text(&session, "access_token");
    let enrol = |body: Value| site.post("/auth/v1/factors", Some(token), body);
    for (kind, status, code) in [
        ("phone", 422, "mfa_phone_enroll_not_enabled"),
        ("webauthn", 422, "mfa_webauthn_enroll_not_enabled"),
        ("smoke", 400, "validation_failed"),
    ] {
        assert_eq!(enrol(json!({ "factor_type": kind, "phone": "+1555" })).await.refused(status), code);
    }
    assert_eq!(enrol(json!({})).await.refused(400), "validation_failed");
    let nul = json!({ "factor_type": "totp", "friendly_name": "a\0b" });
    assert_eq!(enrol(nul).await.refused(400), "validation_failed");
    // More than a picture holds.
    let wide = json!({ "factor_type": "totp", "issuer": "\u{1f511}".repeat(100) });
    assert_eq!(enrol(wide).await.refused(400), "validation_failed");
    let phone = Authenticator::enrol(&site, token, "phone").await;
    site.user("eve@example.test", PASSWORD).await;
    let eve = site.sign_in("eve@example.test", PASSWORD).await;
    let eve = text(&eve, "access_token");
    let path = format!("/auth/v1/factors/{}/challenge", phone.factor);
    assert_eq!(site.post(&path, Some(eve), json!({})).await.refused(404), "mfa_factor_not_found");
    let challenge = phone.challenge(&site, token).await;
    let challenge = text(&challenge, "id");
    assert_eq!(
        phone.verify(&site, eve, challenge, &phone.code(0)).await.refused(404),
        "mfa_factor_not_found"
    );
    assert_eq!(phone.remove(&site, eve).await.refused(404), "mfa_factor_not_found");
    let tablet = Authenticator::enrol(&site, token, "tablet").await;
    let other = tablet.verify(&site, token, challenge, &tablet.code(0)).await;
    assert_eq!(other.refused(422), "mfa_factor_not_found");
    for path in ["/auth/v1/factors/x/challenge", "/auth/v1/factors/x/verify"] {
        assert_eq!(site.post(path, Some(token), json!({})).await.refused(400), "validation_failed");
    }
    assert_eq!(phone.verify(&site, token, "x", "123456").await.refused(400), "validation_failed");
    assert_eq!(phone.verify(&site, token, challenge, "").await.refused(400), "validation_failed");
    assert_eq!(site.post("/auth/v1/factors", None, json!({})).await.refused(400), "validation_failed");
    let nobody = site.post(&path, None, json!({})).await;
    assert_eq!(nobody.refused(401), "no_authorization");
    site.sql()
        .await
        .batch_execute("update auth.users set is_anonymous = true, email = null where email like 'eve%'")
        .await
        .unwrap();
    let body = json!({ "factor_type": "totp" });
    assert_eq!(site.post("/auth/v1/factors", Some(eve), body.clone()).await.refused(403), "no_authorization");
    let site = Site::start("auth: { mfa: { totp: false } }\n").await;
    let session = signed_in(&site).await;
    let answer = site.post("/auth/v1/factors", Some(text(&session, "access_token")), body).await;
    assert_eq!(answer.refused(422), "mfa_totp_enroll_not_enabled");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_sees_renames_and_removes_factors_of_users() {
    let site = Site::start(NO_LIMITS).await;
    let session = signed_in(&site).await;
    let user = text(&session["user"], "id").to_owned();
    let phone = Authenticator::enrol(&site, text(&session, "access_token"), "phone").await;
    let raised = phone.show(&site, text(&session, "access_token"), 0).await.is(200);
    let all = format!("/auth/v1/admin/users/{user}/factors");
    let one = format!("{all}/{}", phone.factor);
    for (method, path) in [(Method::GET, &all), (Method::DELETE, &one), (Method::PUT, &one)] {
        let answer = site.send(method, path, Some(text(&raised, "access_token")), Some(json!({}))).await;
        assert_eq!(answer.refused(403), "not_admin");
    }
    let listed = site.admin(Method::GET, &all, None).await.is(200);
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!((&listed[0]["id"], &listed[0]["friendly_name"]), (&json!(phone.factor), &json!("phone")));
    assert!(!listed.to_string().contains("secret"));
    let renamed = site.admin(Method::PUT, &one, Some(json!({ "friendly_name": "tablet" }))).await.is(200);
    assert_eq!(renamed["friendly_name"], "tablet");
    assert_eq!(site.admin(Method::PUT, &one, Some(json!({}))).await.is(200)["friendly_name"], "tablet");
    let low = site.sign_in(ADA, PASSWORD).await;
    let removed = site.admin(Method::DELETE, &one, None).await.is(200);
    assert_eq!(removed["id"], phone.factor.as_str());
    // Whoever had shown it is out at once, others stay.
    let over = site.get("/auth/v1/user", Some(text(&raised, "access_token"))).await;
    assert_eq!(over.refused(403), "session_not_found");
    site.get("/auth/v1/user", Some(text(&low, "access_token"))).await.is(200);
    assert_eq!(site.admin(Method::DELETE, &one, None).await.refused(404), "mfa_factor_not_found");
    let nobody = format!("/auth/v1/admin/users/{}/factors", uuid::Uuid::nil());
    assert_eq!(site.admin(Method::GET, &nobody, None).await.refused(404), "user_not_found");
    assert_eq!(
        site.admin(Method::GET, "/auth/v1/admin/users/x/factors", None).await.refused(400),
        "validation_failed"
    );
    let events = "select count(*) from auth.audit_log where event = 'factor_removed' and actor_role = 'service_role' and subject::text = $1";
    let noted: i64 = site.sql().await.query_one(events, &[&user]).await.unwrap().get(0);
    assert_eq!(noted, 1);
}
