//! Requests that are sent halfway do not outlive what they were let in with.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::site::{Site, text};
use crate::support::server::eventually;

const ADA: &str = "ada@example.test";
const PASSWORD: &str = "correct horse battery";
const OTHER: &str = "another horse battery";
/// What only editors write.
const DRAFTS: &str = "
collections:
  drafts:
    fields:
      title: { type: text, required: true }
policies:
  drafts:
    create: [{ role: editor }]
";
const WITHIN: Duration = Duration::from_secs(30);

/// A request whose head was judged, and of whose body the last byte is to come.
struct Half {
    stream: TcpStream,
    last: u8,
}

impl Half {
    async fn new(site: &Site, method: Method, path: &str, (key, token): (&str, &str), body: &Value) -> Half {
        let body = body.to_string();
        let (first, last) = body.as_bytes().split_at(body.len() - 1);
        let address = site.server.address();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\napikey: {key}\r\nauthorization: Bearer {token}\r\n\
             x-supabase-api-version: 2024-01-01\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
             expect: 100-continue\r\nconnection: close\r\n\r\n",
            body.len()
        );
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        // The server asks for the body in the moment in which it has read the head.
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            let byte = timeout(WITHIN, stream.read_u8()).await.expect("no answer in time").unwrap();
            asked.push(byte);
        }
        assert!(asked.starts_with(b"HTTP/1.1 100 "), "{}", asked.escape_ascii());
        stream.write_all(first).await.unwrap();
        Half { stream, last: last[0] }
    }

    /// Sends the rest: the status of the answer, and the code that it names.
    async fn finish(mut self) -> (u16, String) {
        self.stream.write_all(&[self.last]).await.unwrap();
        let mut answer = String::new();
        timeout(WITHIN, self.stream.read_to_string(&mut answer)).await.expect("no answer in time").unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        (status, body["code"].as_str().unwrap_or_default().to_owned())
    }
}

/// A site where Ada has signed in, and her token, which the server knows.
async fn signed_in() -> (Site, String) {
    let site = Site::start("").await;
    site.user(ADA, PASSWORD).await;
    let token = text(&site.sign_in(ADA, PASSWORD).await, "access_token").to_owned();
    for _ in 0..3 {
        site.get("/rest/v1/notes", Some(&token)).await.is(200);
    }
    (site, token)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_began_before_signing_out_is_refused_after_it() {
    let (site, token) = signed_in().await;
    let held = (site.server.keys.publishable(), token.as_str());
    let body = json!({ "password": OTHER });
    let half = Half::new(&site, Method::PUT, "/auth/v1/user", held, &body).await;
    site.post("/auth/v1/logout", Some(&token), Value::Null).await.is(204);
    assert_eq!(half.finish().await, (403, "session_not_found".to_owned()));
    site.sign_in(ADA, PASSWORD).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_nothing_came_between_is_made() {
    let (site, token) = signed_in().await;
    let held = (site.server.keys.publishable(), token.as_str());
    let half = Half::new(&site, Method::PUT, "/auth/v1/user", held, &json!({ "password": OTHER })).await;
    assert_eq!(half.finish().await.0, 200);
    site.sign_in(ADA, OTHER).await;
    let note = json!({ "title": "mine" });
    let half = Half::new(&site, Method::POST, "/rest/v1/notes", held, &note).await;
    assert_eq!(half.finish().await.0, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_whose_writer_signed_out_meanwhile_is_not_written() {
    let (site, token) = signed_in().await;
    let held = (site.server.keys.publishable(), token.as_str());
    let note = json!({ "title": "late" });
    let half = Half::new(&site, Method::POST, "/rest/v1/notes", held, &note).await;
    site.post("/auth/v1/logout", Some(&token), Value::Null).await.is(204);
    assert_eq!(half.finish().await.0, 401);
    let row = site.sql().await.query_one("select count(*) from notes", &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_whose_writer_lost_the_role_for_it_meanwhile_is_not_written() {
    let site = Site::start_with("", &[("drafts.yaml", DRAFTS)], &[]).await;
    let id = site.user(ADA, PASSWORD).await;
    let roles = format!("/auth/v1/admin/users/{id}/roles");
    site.admin(Method::POST, &roles, Some(json!({ "role": "editor" }))).await.is(200);
    let token = text(&site.sign_in(ADA, PASSWORD).await, "access_token").to_owned();
    let held = (site.server.keys.publishable(), token.as_str());
    let draft = json!({ "title": "first" });
    site.post("/rest/v1/drafts", Some(&token), draft.clone()).await.is(201);
    let half = Half::new(&site, Method::POST, "/rest/v1/drafts", held, &draft).await;
    site.admin(Method::DELETE, &format!("{roles}/editor"), None).await.is(200);
    // Whoever may do nothing with them is not told that there are drafts.
    assert_eq!(half.finish().await.0, 404);
    let row = site.sql().await.query_one("select count(*) from drafts", &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_secret_key_rotates_nothing_once_it_is_revoked() {
    let site = Site::start("").await;
    let secret = site.server.keys.secret();
    let body = json!({ "alg": "EdDSA", "drop_old": true });
    let path = "/auth/v1/admin/keys/rotate";
    let half = Half::new(&site, Method::POST, path, (secret, secret), &body).await;
    let claims = URL_SAFE_NO_PAD.decode(secret.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    let revoked = json!({ "jti": claims["jti"] });
    site.admin(Method::POST, "/auth/v1/admin/keys/revoke", Some(revoked)).await.is(204);
    assert_eq!(half.finish().await, (403, "bad_jwt".to_owned()));
    // The keys are what they were.
    site.get("/auth/v1/settings", None).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_waited_for_a_lock_is_refused_if_its_right_went_meanwhile() {
    for (taken, code) in [
        ("delete from auth.sessions where user_id = ", "session_not_found"),
        ("update auth.users set banned_until = now() + interval '1 hour' where id = ", "user_banned"),
    ] {
        let (site, token) = signed_in().await;
        let owner = site.sql().await;
        let row = owner.query_one("select id::text from auth.users", &[]).await.unwrap();
        let id: String = row.get(0);
        let lock = format!("begin; select from auth.users where id = '{id}' for update");
        owner.batch_execute(&lock).await.unwrap();
        let body = json!({ "data": { "name": "Eve" } });
        let changing = site.send(Method::PUT, "/auth/v1/user", Some(&token), Some(body));
        let taking = async {
            let other = site.sql().await;
            eventually("the change waits for the lock", WITHIN, || async {
                let waits = "select count(*) from pg_stat_activity \
                     where datname = current_database() and cardinality(pg_blocking_pids(pid)) > 0";
                let row = other.query_one(waits, &[]).await.unwrap();
                (row.get::<_, i64>(0) > 0).then_some(())
            })
            .await;
            owner.batch_execute(&format!("{taken} '{id}'; commit")).await.unwrap();
        };
        let (changed, ()) = tokio::join!(changing, taking);
        assert_eq!(changed.refused(403), code);
        let row = owner.query_one("select user_metadata::text from auth.users", &[]).await.unwrap();
        assert_eq!(row.get::<_, String>(0), "{}");
    }
}
