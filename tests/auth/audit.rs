//! The log of what happened: whole, told to the operator, and never altered.

use std::time::Duration;

use basewright::auth::token;
use reqwest::Method;
use serde_json::{Value, json};
use tokio_postgres::Client;

use super::site::{Site, text};
use crate::support::server::{basewright, eventually};

const ADA: &str = "ada@example.test";
const PASSWORD: &str = "correct horse battery canary";
const WRONG: &str = "wrong horse battery canary";

async fn count(client: &Client, event: &str) -> i64 {
    let sql = "select count(*) from auth.audit_log where event = $1";
    client.query_one(sql, &[&event]).await.unwrap().get(0)
}

/// Waits until an event was noted so often.
async fn noted(client: &Client, event: &str, times: i64) {
    eventually(&format!("{times} × {event}"), Duration::from_secs(20), || async {
        (count(client, event).await == times).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_alters_what_was_noted() {
    let site = Site::start("").await;
    site.user(ADA, PASSWORD).await;
    site.sign_in(ADA, PASSWORD).await;
    for client in [site.database.connect().await, site.database.connect_owner().await] {
        for change in [
            "update auth.audit_log set event = 'nothing'",
            "update auth.audit_log set event = event where false",
            "delete from auth.audit_log",
            "truncate auth.audit_log",
        ] {
            let refused = client.batch_execute(change).await.unwrap_err();
            assert_eq!(refused.code().unwrap().code(), "42501", "{change}");
        }
    }
    assert_eq!(count(&site.sql().await, "signed_in").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_reads_the_log_from_the_newest_line_on() {
    let site = Site::start("").await;
    let user = site.user(ADA, PASSWORD).await;
    let session = site.sign_in(ADA, PASSWORD).await;
    let token = text(&session, "access_token");
    site.post("/auth/v1/logout?scope=local", Some(token), Value::Null).await.is(204);
    let path = format!("/auth/v1/admin/audit?subject={user}");
    let lines = site.admin(Method::GET, &path, None).await.is(200);
    let events: Vec<&str> = lines.as_array().unwrap().iter().map(|line| text(line, "event")).collect();
    assert_eq!(events, ["signed_out", "signed_in"]);
    let line = &lines[1];
    assert_eq!((text(line, "actor"), text(line, "actor_role")), (user.as_str(), "authenticated"));
    assert_eq!((text(line, "ip"), &line["details"]), ("127.0.0.1", &json!({ "method": "password" })));
    assert_eq!(line["session_id"], session_of(token));
    assert!(text(line, "at").ends_with('Z'));
    let page =
        async |query: &str| site.admin(Method::GET, &format!("/auth/v1/admin/audit?{query}"), None).await;
    let one = page(&format!("subject={user}&per_page=1&page=2")).await.is(200);
    assert_eq!(one, json!([line]));
    let before = page(&format!("subject={user}&before={}", text(&lines[0], "id"))).await.is(200);
    assert_eq!(before, json!([line]));
    assert_eq!(page("event=signed_in").await.is(200), json!([line]));
    assert_eq!(page("event=").await.is(200), json!([]));
    for wrong in ["page=0", "per_page=x", "subject=x", "before=x"] {
        assert_eq!(page(wrong).await.refused(400), "validation_failed", "{wrong}");
    }
    assert_eq!(site.get("/auth/v1/admin/audit", None).await.refused(403), "not_admin");
}

fn session_of(token: &str) -> String {
    use base64::Engine as _;
    let payload = token.split('.').nth(1).unwrap();
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap();
    text(&serde_json::from_slice(&claims).unwrap(), "session_id").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_stands_in_the_log() {
    let site = Site::start("").await;
    site.user(ADA, PASSWORD).await;
    let session = site.sign_in(ADA, PASSWORD).await;
    let mut secrets = vec![PASSWORD.to_owned(), WRONG.to_owned(), site.server.keys.secret().to_owned()];
    let keep = |secrets: &mut Vec<String>, session: &Value| {
        for name in ["access_token", "refresh_token"] {
            secrets.push(text(session, name).to_owned());
        }
    };
    keep(&mut secrets, &session);
    let body = json!({ "email": ADA, "password": WRONG });
    site.post("/auth/v1/token?grant_type=password", None, body).await.is(400);
    let body = json!({ "email": "bob@example.test", "password": PASSWORD });
    site.post("/auth/v1/signup", None, body).await.is(200);
    site.post("/auth/v1/recover", None, json!({ "email": ADA })).await.is(200);
    let token = text(&session, "access_token");
    let body = json!({ "factor_type": "totp" });
    let enrolled = site.post("/auth/v1/factors", Some(token), body).await.is(200);
    secrets.push(text(&enrolled["totp"], "secret").to_owned());
    let factor = text(&enrolled, "id");
    let challenge =
        site.post(&format!("/auth/v1/factors/{factor}/challenge"), Some(token), json!({})).await.is(200);
    let path = format!("/auth/v1/factors/{factor}/verify");
    let secret = totp_rs::Secret::try_from_base32(text(&enrolled["totp"], "secret")).unwrap();
    let totp = totp_rs::Builder::new().with_secret(secret).build().unwrap();
    let code = totp.generate(u64::try_from(basewright::app::now()).unwrap()).to_string();
    secrets.push(format!("\"{code}\""));
    secrets.push("\"000000\"".to_owned());
    let show =
        |code: &str| site.post(&path, Some(token), json!({ "challenge_id": challenge["id"], "code": code }));
    show("000000").await.is(422);
    let raised = show(&code).await.is(200);
    keep(&mut secrets, &raised);
    let token = text(&raised, "access_token");
    let made = site.post("/auth/v1/factors/recovery-codes", Some(token), json!({})).await.is(200);
    secrets.extend(made["codes"].as_array().unwrap().iter().map(|code| code.as_str().unwrap().to_owned()));
    let shown = json!({ "code": made["codes"][0] });
    site.post("/auth/v1/factors/recovery-codes/verify", Some(token), shown).await.is(200);
    let client = site.sql().await;
    let rows = client.query("select to_jsonb(a)::text from auth.audit_log a", &[]).await.unwrap();
    let log: String = rows.iter().map(|row| row.get::<_, String>(0)).collect();
    for event in [
        "signed_up",
        "signed_in",
        "sign_in_failed",
        "recovery_requested",
        "factor_enrolled",
        "factor_failed",
        "factor_verified",
        "recovery_codes_made",
        "recovery_code_used",
    ] {
        assert!(log.contains(&format!("\"{event}\"")), "{event}");
    }
    for secret in secrets {
        assert!(!log.contains(&secret), "{secret} stands in the log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_and_keys_that_changed_are_noted_once_however_many_servers_there_are() {
    let secret = ("BASEWRIGHT_SECRET", "a secret that the nodes of one test share, 2");
    let site = Site::start_with("", &[], &[secret]).await;
    let client = site.sql().await;
    noted(&client, "policies_changed", 1).await;
    noted(&client, "keys_changed", 1).await;
    let (urls, env) = (site.database.urls.clone(), [secret]);
    let (two, three) = tokio::join!(site.node("two", &urls, &env), site.node("three", &urls, &env));
    assert_eq!(count(&client, "policies_changed").await, 1);
    // All three follow the folder, and each puts the new policies in force.
    site.write("more.yaml", "roles:\n  auditor: { inherits: [authenticated] }\n");
    noted(&client, "policies_changed", 2).await;
    let follows = |log: String| log.contains("the project changed");
    for server in [&site.server, &two, &three] {
        eventually("the new policies in force", Duration::from_secs(20), || async {
            follows(server.log()).then_some(())
        })
        .await;
    }
    // What is noted is noted before a server says that the project changed.
    assert_eq!(count(&client, "policies_changed").await, 2);
    assert_eq!(count(&client, "keys_changed").await, 1);
    let lines = site.admin(Method::GET, "/auth/v1/admin/audit?event=policies_changed", None).await.is(200);
    assert_eq!(text(&lines[0], "actor_role"), "server");
    assert_ne!(lines[0]["details"]["fingerprint"], lines[1]["details"]["fingerprint"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_changed_at_the_command_line_are_noted() {
    let site = Site::start("").await;
    let client = site.sql().await;
    noted(&client, "keys_changed", 1).await;
    let run = |words: &[&str]| {
        let mut command = basewright();
        command.arg("keys").arg(site.path()).args(words).env("DATABASE_URL", &site.database.urls.runtime);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    run(&["rotate"]);
    noted(&client, "keys_changed", 2).await;
    let key =
        token::verify(site.server.keys.publishable(), &site.server.keys, basewright::app::now()).unwrap();
    let jti = key.jti.unwrap();
    for _ in 0..2 {
        run(&["revoke", &jti]);
    }
    let noted_ids: Vec<String> = client
        .query("select details ->> 'jti' from auth.audit_log where event = 'key_revoked' and actor_role = 'operator'", &[])
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(noted_ids, [jti]);
    noted(&client, "keys_changed", 3).await;
}
