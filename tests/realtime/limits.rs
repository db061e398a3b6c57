//! What a socket may take, and what becomes of one that takes nothing.

use std::time::Duration;

use basewright::realtime::limits;
use serde_json::json;

use super::site::{plain, site, token, topic};
use crate::support::socket::{ANSWERED_WITHIN, Connect, End, Socket, Version};

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_has_a_hundred_channels_and_joins_as_many_a_second() {
    let site = site().await;
    let server = &site.server;
    let mut socket = Socket::open(server).await;
    for _ in 0..limits::CHANNELS {
        while let Err(reason) = socket.try_join(&topic(), plain(), None).await {
            assert!(reason.starts_with("ClientJoinRateLimitReached: "), "{reason}");
        }
    }
    let reason = loop {
        let reason = socket.try_join(&topic(), plain(), None).await.unwrap_err();
        if !reason.starts_with("ClientJoinRateLimitReached: ") {
            break reason;
        }
    };
    assert!(reason.starts_with("ChannelRateLimitReached: "), "{reason}");
    // Rejoining one topic all the time is joining, too.
    let mut socket = Socket::open(server).await;
    let topic = topic();
    let mut refused = 0;
    for _ in 0..3 * limits::JOINS {
        refused += u32::from(socket.try_join(&topic, plain(), None).await.is_err());
    }
    assert!(refused > 0);
    socket.beat().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_is_closed_with_a_reason_and_who_reads_misses_nothing() {
    let site = site().await;
    let server = &site.server;
    let topic = topic();
    let mut slow = Connect::new(server, server.keys.publishable(), Version::V2);
    slow.receive_buffer = Some(4 << 10);
    let mut slow = slow.open().await.unwrap();
    slow.join(&topic, plain(), None).await;
    let mut fast = Socket::open(server).await;
    fast.join(&topic, plain(), None).await;
    let mut sender = Socket::open(server).await;
    let channel = sender.join(&topic, json!({ "broadcast": { "ack": true } }), None).await;
    let payload = "x".repeat(64 << 10);
    for n in 0..400 {
        let message = json!({ "type": "broadcast", "event": "e", "payload": { "n": n, "x": payload } });
        let reference = sender.push(Some(&channel.join_ref), &topic, "broadcast", message).await;
        assert_eq!(sender.reply(&reference).await["status"], "ok");
        let heard = fast.wait(ANSWERED_WITHIN, |message| message.event == "broadcast").await.unwrap();
        assert_eq!(heard.payload["payload"]["n"], n);
    }
    let End::Closed { code, reason } = slow.ended(ANSWERED_WITHIN).await else {
        panic!("no reason was given")
    };
    assert_eq!((code, reason.as_str()), (Some(1013), "slow reader; cursor="));
    fast.beat().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_does_not_hold_any_more_ends_its_channels_alone() {
    let site = site().await;
    let server = &site.server;
    let mut socket = Socket::open(server).await;
    let other = socket.join(&topic(), plain(), None).await;
    let user = token(server, 600);
    let channel = socket.join(&topic(), plain(), Some(&user)).await;
    let push = |token: &str| json!({ "access_token": token });
    // The same again, and a key of another form, change nothing.
    for same in [user.as_str(), "sb_publishable_x"] {
        socket.push(Some(&channel.join_ref), &channel.topic, "access_token", push(same)).await;
    }
    socket.push(Some(&channel.join_ref), &channel.topic, "access_token", push(&token(server, 900))).await;
    socket.beat().await;
    assert_eq!(socket.next(Duration::ZERO).await, Err(End::Deadline));
    socket.push(Some(&channel.join_ref), &channel.topic, "access_token", push("x.y.z")).await;
    let system = socket.next(ANSWERED_WITHIN).await.unwrap();
    assert!(system.is_system("error") && system.topic == channel.topic, "{system:?}");
    assert_eq!(socket.next(ANSWERED_WITHIN).await.unwrap().event, "phx_close");
    let reference = socket.push(Some(&other.join_ref), &other.topic, "nothing", json!({})).await;
    assert_eq!(socket.reply(&reference).await["response"]["reason"], "unmatched event");
    // Almost over: tokens are good for 30 s more where two clocks differ.
    let short = token(server, -28);
    let channel = socket.join(&topic(), plain(), Some(&short)).await;
    let system = socket.next(ANSWERED_WITHIN).await.unwrap();
    assert!(system.is_system("error") && system.topic == channel.topic, "{system:?}");
    assert_eq!(socket.next(ANSWERED_WITHIN).await.unwrap().event, "phx_close");
}
