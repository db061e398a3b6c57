//! Who gets a socket, and what others are told.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::site::{plain, site, token, topic};
use crate::support::socket::{Connect, End, Refused, Socket, Version};

async fn refused(connect: Connect<'_>) -> (u16, String) {
    let Refused { status, body, headers } = connect.open().await.expect_err("it was let in");
    let body: Value = serde_json::from_str(&body).unwrap_or_else(|_| panic!("{status} {body}"));
    assert!(headers.iter().any(|(name, _)| name == "x-request-id"), "{headers:?}");
    (status, body["error"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_the_query_or_in_a_header_opens_a_socket_and_nothing_else_does() {
    let site = site().await;
    let server = &site.server;
    let key = server.keys.publishable();
    for version in [Version::V1, Version::V2] {
        Socket::connect(server, key, version).await.beat().await;
        Socket::connect(server, server.keys.secret(), version).await.beat().await;
    }
    for (header, value) in [
        ("apikey", key.to_owned()),
        ("x-api-key", key.to_owned()),
        ("sec-websocket-protocol", format!("phoenix, apikey.{key}")),
        ("sec-websocket-protocol", format!("apikey.{key},phoenix")),
    ] {
        let mut connect = Connect::new(server, "", Version::V2);
        connect.target = "/realtime/v1/websocket?vsn=2.0.0".to_owned();
        connect.headers = vec![(header, value)];
        connect.open().await.unwrap().beat().await;
    }
    let user = token(server, 60);
    for (query, headers, status) in [
        ("vsn=2.0.0", vec![], 401),
        ("vsn=2.0.0&apikey=x", vec![], 401),
        ("vsn=2.0.0&apikey=", vec![], 401),
        (&format!("vsn=2.0.0&apikey={user}"), vec![], 401),
        ("vsn=2.0.0", vec![("cookie", format!("apikey={key}"))], 401),
        ("vsn=2.0.0", vec![("authorization", format!("Bearer {key}"))], 401),
        ("vsn=2.0.0", vec![("apikey", key.to_owned()), ("apikey", key.to_owned())], 401),
        ("vsn=2.0.0", vec![("sec-websocket-protocol", format!("phoenix, {key}"))], 401),
        ("vsn=2.0.0", vec![("sec-websocket-protocol", format!("phoenix, apikey.{user}"))], 401),
        ("vsn=2.0.0", vec![("sec-websocket-protocol", "phoenix, apikey.".to_owned())], 401),
        (&format!("apikey={key}&vsn=3.0.0"), vec![], 400),
    ] {
        let mut connect = Connect::new(server, "", Version::V2);
        connect.target = format!("/realtime/v1/websocket?{query}");
        connect.headers = headers;
        assert_eq!(refused(connect).await.0, status, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_secret_key_opens_a_socket_from_everywhere_but_an_address() {
    let site = site().await;
    let server = &site.server;
    let (key, secret) = (server.keys.publishable(), server.keys.secret());
    let mut connect = Connect::new(server, "", Version::V2);
    connect.target = format!("/realtime/v1/websocket?vsn=2.0.0&apikey={secret}");
    let Refused { status, body, .. } = connect.open().await.expect_err("it was let in");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &body["code"]), (401, &json!("PGRST301")));
    let said = body["error"].as_str().unwrap();
    for word in ["address", "apikey header", "access_token"] {
        assert!(said.contains(word), "{said}");
    }
    assert!(!said.contains(secret));
    // What is said there is what helps: this topic is nobody's but the secret key's.
    let place = || format!("realtime:unheard-of:{}", uuid::Uuid::new_v4());
    let private = || json!({ "private": true });
    let mut socket = Socket::connect(server, key, Version::V2).await;
    let refused = socket.try_join(&place(), private(), None).await.expect_err("it was let in");
    assert!(refused.starts_with("Unauthorized"), "{refused}");
    socket.join(&place(), private(), Some(secret)).await;
    for (header, value) in
        [("apikey", secret.to_owned()), ("sec-websocket-protocol", format!("phoenix, apikey.{secret}"))]
    {
        let mut connect = Connect::new(server, "", Version::V2);
        connect.target = "/realtime/v1/websocket?vsn=2.0.0".to_owned();
        connect.headers = vec![(header, value)];
        connect.open().await.unwrap().join(&place(), private(), None).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_http_there_is_told_to_upgrade_and_other_paths_answer_as_ever() {
    let site = site().await;
    let server = &site.server;
    let client = reqwest::Client::new();
    let path = format!("{}/realtime/v1/websocket?apikey={}", server.url, server.keys.publishable());
    let answer = client.get(&path).send().await.unwrap();
    assert_eq!(
        (answer.status(), answer.headers()["upgrade"].to_str().unwrap()),
        (426.try_into().unwrap(), "websocket")
    );
    assert!(answer.json::<Value>().await.unwrap()["error"].is_string());
    assert_eq!(client.post(&path).send().await.unwrap().status(), 405);
    // One that asks every path for a socket meets the same doors.
    for (target, status) in [("/health/live", 200), ("/rest/v1/notes", 401), ("/nothing", 404)] {
        let mut connect = Connect::new(server, "", Version::V2);
        connect.target = target.to_owned();
        let answer = connect.open().await.expect_err("a socket");
        assert_eq!(answer.status, status, "{target}");
        let header = |name: &str| {
            answer.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
        };
        assert!(header("x-request-id").is_some() && header("connection") == Some("close"), "{answer:?}");
    }
    let mut connect = Connect::new(server, server.keys.publishable(), Version::V2);
    connect.headers = vec![("sec-websocket-version", "99".to_owned())];
    assert!(matches!(connect.open().await, Ok(_) | Err(Refused { status: 400, .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_with_the_handshake_is_heard() {
    let site = site().await;
    let server = &site.server;
    let mut connect = Connect::new(server, server.keys.publishable(), Version::V2);
    // The first frame in the same packet as the head: as a last header it would be none.
    let frame = crate::support::socket::masked(true, 1, br#"[null,"1","phoenix","heartbeat",{}]"#);
    connect.headers = vec![("x-end", "1".to_owned())];
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(connect.address).await.unwrap();
    let head = format!(
        "GET {} HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        connect.target
    );
    stream.write_all(&[head.as_bytes(), &frame].concat()).await.unwrap();
    let mut received = Vec::new();
    let wanted = br#"[null,"1","phoenix","phx_reply",{"status":"ok","response":{}}]"#;
    let reading = async {
        while !received.ends_with(wanted) {
            assert_ne!(stream.read_buf(&mut received).await.unwrap(), 0);
        }
    };
    tokio::time::timeout(Duration::from_secs(10), reading).await.expect("no answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_server_says_goodbye_to_every_socket() {
    let mut site = site().await;
    let mut sockets = Vec::new();
    for _ in 0..20 {
        let mut socket = Socket::open(&site.server).await;
        socket.join(&topic(), plain(), None).await;
        sockets.push(socket);
    }
    site.server.signal(Signal::TERM);
    for socket in &mut sockets {
        let End::Closed { code, reason } = socket.ended(Duration::from_secs(10)).await else {
            panic!("a socket was dropped without a word");
        };
        assert_eq!(code, Some(1012));
        assert!(reason.contains("connect again"), "{reason}");
    }
    assert_eq!(site.server.ended(Duration::from_secs(10)).code(), Some(0));
}
