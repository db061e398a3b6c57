//! What channels say to each other.

use std::time::Duration;

use serde_json::{Value, json};

use super::site::{plain, site, topic};
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
