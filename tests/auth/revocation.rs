//! A right that was taken away is gone: on the node that took it with the answer, on the others within a second.

use std::time::{Duration, Instant};

use basewright::db::Urls;
use reqwest::Method;
use serde_json::{Value, json};

use super::site::{Site, text};
use crate::support::cut::{Cut, TRUSTED_FOR};
use crate::support::server::{Server, eventually};
use crate::support::socket::{End, Socket, Version};

const ADA: &str = "ada@example.test";
const PASSWORD: &str = "correct horse battery";
const SECRET: &str = "a secret that two nodes of one test share, 1";
/// A second, and what a busy machine takes to ask.
const ELSEWHERE: Duration = Duration::from_millis(1_500);

/// What somebody is let do on a node: 200 while he may.
async fn read(site: &Site, node: &Server, token: &str) -> u16 {
    let request = site.client.get(node.at("/rest/v1/notes?limit=1"));
    request
        .header("apikey", node.keys.publishable())
        .bearer_auth(token)
        .send()
        .await
        .unwrap()
        .status()
        .as_u16()
}

/// A socket on a node that hears of notes as whoever has this token.
async fn ear(node: &Server, token: &str) -> Socket {
    let mut socket = Socket::connect(node, node.keys.publishable(), Version::V2).await;
    let bindings = json!({ "postgres_changes": [{ "event": "*", "schema": "public", "table": "notes" }] });
    socket.join("realtime:notes", bindings, Some(token)).await;
    socket
}

/// Two nodes, both of which know Ada's session, and both of whose sockets she listens on.
struct Two {
    site: Site,
    other: Server,
    user: String,
    token: String,
    ears: [Socket; 2],
}

impl Two {
    async fn new() -> Two {
        let env = [("BASEWRIGHT_SECRET", SECRET), ("BASEWRIGHT_NODE", "one")];
        let site = Site::start_with("", &[], &env).await;
        let urls = site.database.urls.clone();
        let other = site.node("two", &urls, &[("BASEWRIGHT_SECRET", SECRET)]).await;
        let user = site.user(ADA, PASSWORD).await;
        let token = text(&site.sign_in(ADA, PASSWORD).await, "access_token").to_owned();
        let ears = [ear(&site.server, &token).await, ear(&other, &token).await];
        for _ in 0..5 {
            assert_eq!(read(&site, &site.server, &token).await, 200);
            assert_eq!(read(&site, &other, &token).await, 200);
        }
        Two { site, other, user, token, ears }
    }

    /// From now on nobody accepts the token, and the sockets are closed.
    async fn refuses(self) {
        for _ in 0..50 {
            let here = read(&self.site, &self.site.server, &self.token).await;
            assert_eq!(here, 401, "on the node that answered");
        }
        self.soon_refuses().await;
    }

    /// As [`Two::refuses`], where neither node is the one that answered.
    async fn soon_refuses(self) {
        let Two { site, other, token, ears, .. } = self;
        let answered = Instant::now();
        for node in [&site.server, &other] {
            while read(&site, node, &token).await != 401 {
                assert!(answered.elapsed() < ELSEWHERE, "on another node");
            }
            for _ in 0..50 {
                assert_eq!(read(&site, node, &token).await, 401, "on another node, later");
            }
        }
        for mut socket in ears {
            match socket.ended(Duration::from_secs(20)).await {
                End::Closed { code, reason } => {
                    assert_eq!((code, reason.as_str()), (Some(1008), "the session is over"))
                }
                end => panic!("the socket is open: {end:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_left_is_dead_on_both_nodes_and_its_sockets_are_closed() {
    let two = Two::new().await;
    two.site.post("/auth/v1/logout", Some(&two.token), Value::Null).await.is(204);
    two.refuses().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_banned_deleted_or_gets_another_password_is_out_on_both_nodes() {
    for (method, path, body) in [
        (Method::PUT, "/auth/v1/admin/users/{id}", Some(json!({ "ban_duration": "1h" }))),
        (Method::PUT, "/auth/v1/admin/users/{id}", Some(json!({ "password": "another horse battery" }))),
        (Method::DELETE, "/auth/v1/admin/users/{id}", Some(json!({}))),
        (Method::DELETE, "/auth/v1/admin/users/{id}", Some(json!({ "should_soft_delete": true }))),
        (Method::POST, "/auth/v1/admin/users/{id}/logout", None),
    ] {
        let two = Two::new().await;
        let answer = two.site.admin(method, &path.replace("{id}", &two.user), body).await;
        assert!((200..300).contains(&answer.status), "{path}: {}", answer.body);
        two.refuses().await;
    }
}

/// The stream tells of no single session then: that it is over is found where its caller is judged anew.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_loses_his_session_with_everybody_elses_is_out_on_both_nodes() {
    let two = Two::new().await;
    two.site.sql().await.batch_execute("truncate auth.sessions cascade").await.unwrap();
    two.soon_refuses().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_counts_on_both_nodes_from_the_answer_that_grants_it_to_the_answer_that_takes_it() {
    let two = Two::new().await;
    let Two { site, other, user, token, ears: [mut here, mut there] } = two;
    // Somebody else's note: only an editor sees it.
    let owner = site.sql().await;
    owner.batch_execute("insert into notes (title) values ('of nobody')").await.unwrap();
    let seen = async |node: &Server| {
        let request = site.client.get(node.at("/rest/v1/notes?select=title"));
        let request = request.header("apikey", node.keys.publishable()).bearer_auth(&token);
        let rows: Value = request.send().await.unwrap().json().await.unwrap();
        rows.as_array().unwrap().len()
    };
    let roles = format!("/auth/v1/admin/users/{user}/roles");
    for _ in 0..10 {
        site.admin(Method::POST, &roles, Some(json!({ "role": "editor" }))).await.is(200);
        let answered = Instant::now();
        assert_eq!(seen(&site.server).await, 1, "granted, on the node that answered");
        while seen(&other).await != 1 {
            assert!(answered.elapsed() < ELSEWHERE, "granted, on the other node");
        }
        site.admin(Method::DELETE, &format!("{roles}/editor"), None).await.is(200);
        let answered = Instant::now();
        for _ in 0..10 {
            assert_eq!(seen(&site.server).await, 0, "taken, on the node that answered");
        }
        while seen(&other).await != 0 {
            assert!(answered.elapsed() < ELSEWHERE, "taken, on the other node");
        }
    }
    // What is written now reaches no socket of his; his own note, written after it, does.
    owner.batch_execute("insert into notes (title) values ('of nobody either')").await.unwrap();
    let own = format!("insert into notes (title, owner) values ('his own', '{user}')");
    owner.batch_execute(&own).await.unwrap();
    for socket in [&mut here, &mut there] {
        let row = socket.row(Duration::from_secs(10)).await.unwrap();
        assert_eq!(row.record["title"], "his own");
    }
    for unknown in ["nobody-declared", "service_role", "anon"] {
        site.admin(Method::POST, &roles, Some(json!({ "role": unknown }))).await.is(400);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_stream_fell_silent_asks_and_does_not_trust() {
    let env = [("BASEWRIGHT_SECRET", SECRET), ("BASEWRIGHT_NODE", "one")];
    let site = Site::start_with("", &[], &env).await;
    let cut = Cut::before(&site.database.urls.replication).await;
    let urls = Urls { replication: cut.url(&site.database.urls.replication), ..site.database.urls.clone() };
    let other = site.node("two", &urls, &[("BASEWRIGHT_SECRET", SECRET)]).await;
    site.user(ADA, PASSWORD).await;
    let token = text(&site.sign_in(ADA, PASSWORD).await, "access_token").to_owned();
    // It flows: what is known is not asked again, so a lock on what would be asked stops nobody.
    let owner = site.sql().await;
    eventually("the stream flows and the session is known", Duration::from_secs(20), || async {
        assert_eq!(read(&site, &other, &token).await, 200);
        owner.batch_execute("begin; lock table auth.user_roles in access exclusive mode").await.unwrap();
        let status = read(&site, &other, &token).await;
        owner.batch_execute("rollback").await.unwrap();
        (status == 200).then_some(())
    })
    .await;
    cut.cut();
    let silent = Instant::now();
    site.post("/auth/v1/logout", Some(&token), Value::Null).await.is(204);
    let answered = Instant::now();
    let mut accepted_until = answered;
    loop {
        let asked = Instant::now();
        match read(&site, &other, &token).await {
            200 => accepted_until = asked,
            401 | 503 => break,
            status => panic!("{status}"),
        }
        assert!(silent.elapsed() < TRUSTED_FOR + ELSEWHERE, "it goes on trusting");
    }
    for _ in 0..50 {
        assert_ne!(read(&site, &other, &token).await, 200);
    }
    println!(
        "PASS revocation over a cut stream: accepted for {:?} after the answer",
        accepted_until - answered
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_answer_to_a_rotation_no_old_token_or_key_is_accepted_under_load() {
    let site = Site::start("").await;
    site.user(ADA, PASSWORD).await;
    let session = site.sign_in(ADA, PASSWORD).await;
    let token = text(&session, "access_token").to_owned();
    let old = site.server.keys.publishable().to_owned();
    let (rotated, rotation) = tokio::sync::watch::channel(None::<(Instant, String)>);
    let mut askers = Vec::new();
    for _ in 0..8 {
        let (client, url) = (site.client.clone(), site.server.at("/rest/v1/notes?limit=1"));
        let (token, old, rotation) = (token.clone(), old.clone(), rotation.clone());
        askers.push(tokio::spawn(async move {
            let (mut before, mut after, mut late) = (0, 0, 0);
            while after < 200 {
                let asked = Instant::now();
                let known = rotation.borrow().clone();
                let key = known.as_ref().map_or(&old, |(_, key)| key);
                let request = client.get(&url).header("apikey", key).bearer_auth(&token);
                let status = request.send().await.unwrap().status().as_u16();
                assert!(status == 200 || status == 401, "{status}");
                match known {
                    Some((answered, _)) if asked > answered => {
                        after += 1;
                        late += usize::from(status == 200);
                    }
                    _ => before += usize::from(status == 200),
                }
            }
            (before, late)
        }));
    }
    eventually("they ask", Duration::from_secs(10), || async { Some(()) }).await;
    let body = json!({ "alg": "EdDSA", "drop_old": true });
    let ring = site.admin(Method::POST, "/auth/v1/admin/keys/rotate", Some(body)).await.is(200);
    let new = text(&ring, "publishable").to_owned();
    let secret = text(&ring, "secret").to_owned();
    rotated.send_replace(Some((Instant::now(), new.clone())));
    for asker in askers {
        let (_, late) = asker.await.unwrap();
        assert_eq!(late, 0, "old tokens were accepted after the answer");
    }
    // The keys are told this once, and by their ids from then on.
    let list = site.send_as(&secret, Method::GET, "/auth/v1/admin/keys", None, None).await;
    assert_eq!(list.header("cache-control"), "no-store");
    let list = list.is(200);
    assert!(!list.to_string().contains(&secret) && !list.to_string().contains(&new), "{list}");
    let roles: Vec<&str> = list["api_keys"].as_array().unwrap().iter().map(|key| text(key, "role")).collect();
    assert_eq!(roles, ["anon", "service_role"]);
    assert!(list["api_keys"].as_array().unwrap().iter().all(|key| !text(key, "jti").is_empty()));
    // The old API keys are dead too, and the session goes on with the new ones.
    assert_eq!(site.get("/auth/v1/settings", None).await.refused(403), "bad_jwt");
    let body = json!({ "refresh_token": session["refresh_token"] });
    let path = "/auth/v1/token?grant_type=refresh_token";
    let fresh = site.send_as(&new, Method::POST, path, None, Some(body)).await.is(200);
    let answer =
        site.send_as(&new, Method::GET, "/auth/v1/user", Some(text(&fresh, "access_token")), None).await;
    assert_eq!(answer.is(200)["email"], ADA);
}
