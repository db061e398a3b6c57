//! What channels say to each other.

use std::time::Duration;

use serde_json::{Value, json};

use super::site::{plain, site, token, topic};
use crate::support::socket::{ANSWERED_WITHIN, Channel, End, Socket, Version};

/// Says something, and gives its reference.
async fn say(socket: &mut Socket, channel: &Channel, n: i64) -> String {
    let payload = json!({ "type": "broadcast", "event": "told", "payload": { "n": n } });
    socket.push(Some(&channel.join_ref), &channel.topic, "broadcast", payload).await
}

/// The payload of the next broadcast.
async fn heard(socket: &mut Socket) -> Value {
    socket.wait(ANSWERED_WITHIN, |message| message.event == "broadcast").await.unwrap().payload
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_on_a_topic_hears_it_in_order_but_the_sender() {
    let site = site().await;
    let server = &site.server;
    let topic = topic();
    let mut sender = Socket::open(server).await;
    let channel = sender.join(&topic, plain(), None).await;
    let mut listeners = Vec::new();
    for n in 0..6 {
        let version = if n % 2 == 0 { Version::V1 } else { Version::V2 };
        let mut socket = Socket::connect(server, server.keys.publishable(), version).await;
        socket.join(&topic, plain(), None).await;
        listeners.push(socket);
    }
    let mut stranger = Socket::open(server).await;
    stranger.join(&super::site::topic(), plain(), None).await;
    for n in 0..300 {
        say(&mut sender, &channel, n).await;
    }
    for socket in &mut listeners {
        for n in 0..300 {
            assert_eq!(
                heard(socket).await,
                json!({ "type": "broadcast", "event": "told", "payload": { "n": n } })
            );
        }
    }
    for socket in [&mut sender, &mut stranger] {
        socket.beat().await;
        assert_eq!(socket.next(Duration::ZERO).await, Err(End::Deadline));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_to_hears_himself_and_is_told_that_it_was_taken() {
    let site = site().await;
    let server = &site.server;
    for flag in [json!(true), json!("true")] {
        let mut socket = Socket::open(server).await;
        let config =
            json!({ "broadcast": { "self": flag, "ack": flag }, "presence": { "enabled": "false" } });
        let channel = socket.join(&topic(), config, None).await;
        let reference = say(&mut socket, &channel, 1).await;
        assert_eq!(socket.reply(&reference).await, json!({ "status": "ok", "response": {} }));
        assert_eq!(heard(&mut socket).await["payload"]["n"], 1);
        for payload in [
            json!({}),
            json!({ "event": "" }),
            json!([]),
            json!({ "event": "e", "payload": "x".repeat(256 << 10) }),
        ] {
            let reference = socket.push(Some(&channel.join_ref), &channel.topic, "broadcast", payload).await;
            assert_eq!(socket.reply(&reference).await["status"], "error");
        }
        let reference = socket.push_binary(&channel, "told", "", 1, br#"{"n":2}"#).await;
        assert_eq!(socket.reply(&reference).await["status"], "ok");
        assert_eq!(
            heard(&mut socket).await,
            json!({ "type": "broadcast", "event": "told", "payload": { "n": 2 } })
        );
        let reference = socket.push_binary(&channel, "told", "", 1, b"{").await;
        assert_eq!(socket.reply(&reference).await["status"], "error");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_reach_clients_that_can_be_told_bytes_and_json_reaches_all() {
    let site = site().await;
    let server = &site.server;
    let topic = topic();
    let mut sender = Socket::open(server).await;
    let channel = sender.join(&topic, plain(), None).await;
    let mut old = Socket::connect(server, server.keys.publishable(), Version::V1).await;
    old.join(&topic, plain(), None).await;
    let mut new = Socket::open(server).await;
    new.join(&topic, plain(), None).await;
    sender.push_binary(&channel, "bytes", "", 0, &[0, 255, 1]).await;
    sender.push_binary(&channel, "text", r#"{"id":"m"}"#, 1, br#"{"n":1}"#).await;
    let message = new.next(ANSWERED_WITHIN).await.unwrap();
    assert_eq!((message.payload["event"].as_str(), message.binary), (Some("bytes"), Some(vec![0, 255, 1])));
    let text = json!({ "type": "broadcast", "event": "text", "payload": { "n": 1 }, "meta": { "id": "m" } });
    assert_eq!(heard(&mut new).await, text);
    assert_eq!(heard(&mut old).await, text);
    assert_eq!(old.next(Duration::ZERO).await, Err(End::Deadline));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_socket_says_it_over_http() {
    let site = site().await;
    let server = &site.server;
    let topic = topic();
    let short = topic.strip_prefix("realtime:").unwrap();
    let mut socket = Socket::open(server).await;
    socket.join(&topic, plain(), None).await;
    let client = reqwest::Client::new();
    let post = |path: &str, kind: &str, body: Vec<u8>| {
        let request = client.post(format!("{}/realtime/v1/api/broadcast{path}", server.url));
        request.header("apikey", server.keys.publishable()).header("content-type", kind).body(body)
    };
    let several = json!({ "messages": [
        { "topic": short, "event": "a", "payload": { "n": 1 } },
        { "topic": short, "event": "b", "payload": [2], "private": false },
    ] });
    let json_kind = "application/json";
    let answer = post("", json_kind, several.to_string().into_bytes()).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (202, ""));
    let one = format!("/{short}/events/c%20d");
    assert_eq!(post(&one, json_kind, b"[3]".to_vec()).send().await.unwrap().status().as_u16(), 202);
    let bytes = "application/octet-stream";
    assert_eq!(post(&one, bytes, vec![0, 255]).send().await.unwrap().status().as_u16(), 202);
    for expected in [
        json!({ "type": "broadcast", "event": "a", "payload": { "n": 1 } }),
        json!({ "type": "broadcast", "event": "b", "payload": [2] }),
        json!({ "type": "broadcast", "event": "c d", "payload": [3] }),
    ] {
        assert_eq!(heard(&mut socket).await, expected);
    }
    let message = socket.next(ANSWERED_WITHIN).await.unwrap();
    assert_eq!((message.payload["event"].as_str(), message.binary), (Some("c d"), Some(vec![0, 255])));

    let long = json!({ "messages": [{ "topic": short, "event": "a", "payload": "x".repeat(256 << 10) }] });
    let private = json!({ "messages": [{ "topic": short, "event": "a" }, { "topic": short, "event": "b", "private": true }] });
    for (path, kind, body, status) in [
        ("", json_kind, b"{".to_vec(), 422),
        ("", json_kind, b"{}".to_vec(), 422),
        ("", json_kind, br#"{"messages":[{"topic":"","event":"a"}]}"#.to_vec(), 422),
        ("", json_kind, br#"{"messages":[{"topic":"t","event":""}]}"#.to_vec(), 422),
        ("", json_kind, long.to_string().into_bytes(), 413),
        // None is said where one may not be.
        ("", json_kind, private.to_string().into_bytes(), 403),
        (one.as_str(), json_kind, b"{".to_vec(), 422),
        (one.as_str(), "text/plain", b"x".to_vec(), 415),
        (one.as_str(), bytes, vec![0; (256 << 10) + 1], 413),
        (&format!("{one}?private=true"), bytes, vec![0], 403),
    ] {
        let answer = post(path, kind, body).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{path} {kind}");
        assert!(answer.json::<Value>().await.unwrap()["error"].is_string());
    }
    let stranger = client.post(format!("{}/realtime/v1/api/broadcast", server.url)).body(several.to_string());
    assert_eq!(stranger.send().await.unwrap().status().as_u16(), 401);
    socket.beat().await;
    assert_eq!(socket.next(Duration::ZERO).await, Err(End::Deadline));
}

const ROOMS: &[(&str, &str)] = &[(
    "project.yaml",
    "collections:\n  notes:\n    fields: { title: text }\npolicies:\n  notes:\n    read: [{ role: anon }]\n\
     channels:\n  \"room:{room}\":\n    read: [{ role: authenticated }]\n    write: [{ role: authenticated, when: auth.claims.room == room }]\n",
)];

#[tokio::test(flavor = "multi_thread")]
async fn a_declared_topic_is_private_whatever_is_asked_and_its_rules_say_who_hears_and_who_speaks() {
    let database = crate::support::database().await;
    let folder = crate::support::server::Folder::with(ROOMS);
    let server = &crate::support::server::Server::dev(&folder.0, &folder.join("data"), &database.urls);
    let user = token(server, 600);
    let mut hearer = Socket::open(server).await;
    for private in [true, false] {
        let config = json!({ "private": private });
        let reason = hearer.try_join("realtime:room:1", config, None).await.unwrap_err();
        assert!(reason.starts_with("Unauthorized: "), "{reason}");
    }
    let channel = hearer.join("realtime:room:1", plain(), Some(&user)).await;
    // Speaking is not for him, and he is not told.
    say(&mut hearer, &channel, 1).await;
    let track = json!({ "type": "presence", "event": "track", "payload": {} });
    let reference = hearer.push(Some(&channel.join_ref), &channel.topic, "presence", track).await;
    assert!(
        hearer.reply(&reference).await["response"]["reason"].as_str().unwrap().starts_with("Unauthorized: ")
    );
    let mut service = Socket::connect(server, server.keys.secret(), Version::V2).await;
    let spoken = service
        .join("realtime:room:1", json!({ "private": true, "presence": { "enabled": false } }), None)
        .await;
    say(&mut service, &spoken, 2).await;
    assert_eq!(heard(&mut hearer).await["payload"]["n"], 2);
    assert_eq!(service.next(Duration::ZERO).await, Err(End::Deadline));
    // Without its own token the channel is the key's, which may not hear.
    let payload = json!({ "access_token": server.keys.publishable() });
    hearer.push(Some(&channel.join_ref), &channel.topic, "access_token", payload).await;
    assert!(hearer.next(ANSWERED_WITHIN).await.unwrap().is_system("error"));
    assert_eq!(hearer.next(ANSWERED_WITHIN).await.unwrap().event, "phx_close");
    // Whoever may not any more once the project has changed is put out, too.
    hearer.join("realtime:room:1", plain(), Some(&user)).await;
    folder.write("project.yaml", &ROOMS[0].1.replace("read: [{ role: authenticated }]", "read: []"));
    let told = hearer.next(ANSWERED_WITHIN).await.unwrap_or_else(|end| panic!("{end:?}\n{}", server.log()));
    assert!(told.is_system("error"), "{told:?}");
    assert_eq!(hearer.next(ANSWERED_WITHIN).await.unwrap().event, "phx_close");
    service.beat().await;
}
