//! Frames and messages, well-formed and not.

use std::time::Duration;

use serde_json::json;

use super::site::{plain, site, topic};
use crate::support::server::Server;
use crate::support::socket::{ANSWERED_WITHIN, End, Frame, Socket, Version, masked, opcode};

/// How the socket ends after these bytes.
async fn end_of(server: &Server, bytes: &[u8]) -> Option<u16> {
    let mut socket = Socket::open(server).await;
    socket.send_bytes(bytes).await.unwrap();
    match socket.ended(ANSWERED_WITHIN).await {
        End::Closed { code, .. } => code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_the_protocol_is_closed_with_its_code() {
    let site = site().await;
    let unmasked = [0x81, 2, b'{', b'}'];
    let reserved = {
        let mut frame = masked(true, opcode::TEXT, b"[]");
        frame[0] |= 0x40;
        frame
    };
    let long_ping = masked(true, opcode::PING, &[0; 126]);
    let huge = [&[0x81u8, 0x80 | 127][..], &(1u64 << 40).to_be_bytes(), &[0; 4]].concat();
    let over = [&[0x82u8, 0x80 | 127][..], &(1u64 + (1 << 20)).to_be_bytes(), &[0; 4]].concat();
    let fragments = [
        masked(false, opcode::TEXT, &vec![b' '; 600 << 10]),
        masked(true, opcode::CONTINUATION, &vec![b' '; 600 << 10]),
    ]
    .concat();
    for (what, bytes, code) in [
        ("unmasked", &unmasked[..], 1002),
        ("reserved bits", &reserved, 1002),
        ("an unknown opcode", &masked(true, 5, b""), 1002),
        ("a continuation of nothing", &masked(true, opcode::CONTINUATION, b"x"), 1002),
        ("a long ping", &long_ping, 1002),
        ("a ping in pieces", &masked(false, opcode::PING, b""), 1002),
        (
            "a message in a message",
            &[masked(false, opcode::TEXT, b"["), masked(true, opcode::TEXT, b"]")].concat(),
            1002,
        ),
        ("no UTF-8", &masked(true, opcode::TEXT, &[0xff, 0xfe]), 1007),
        ("a terabyte", &huge, 1009),
        ("a byte too much", &over, 1009),
        ("fragments too long together", &fragments, 1009),
        ("no JSON", &masked(true, opcode::TEXT, b"hello"), 1003),
        ("another version", &masked(true, opcode::TEXT, b"{}"), 1003),
        ("an unknown kind", &masked(true, opcode::BINARY, &[9, 0, 0]), 1003),
        ("lengths beyond the end", &masked(true, opcode::BINARY, &[3, 255, 255, 255, 255, 255, 1, 2]), 1003),
        ("a goodbye", &masked(true, opcode::CLOSE, &1000u16.to_be_bytes()), 1000),
    ] {
        assert_eq!(end_of(&site.server, bytes).await, Some(code), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pieces_of_messages_and_pings_between_them_are_put_together() {
    let site = site().await;
    let server = &site.server;
    let mut socket = Socket::open(server).await;
    let text = br#"[null,"7","phoenix","heartbeat",{}]"#;
    socket.send_frame(false, opcode::TEXT, &text[..9]).await.unwrap();
    socket.send_frame(true, opcode::PING, b"hi").await.unwrap();
    socket.send_frame(false, opcode::CONTINUATION, &text[9..20]).await.unwrap();
    let last = masked(true, opcode::CONTINUATION, &text[20..]);
    let pong = Frame { fin: true, opcode: opcode::PONG, payload: b"hi".to_vec() };
    assert_eq!(socket.frame(ANSWERED_WITHIN).await, Ok(pong));
    for byte in last {
        socket.send_bytes(&[byte]).await.unwrap();
    }
    assert_eq!(socket.reply("7").await, json!({ "status": "ok", "response": {} }));
    socket.beat().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_fits_nothing_is_answered() {
    let site = site().await;
    let server = &site.server;
    for version in [Version::V1, Version::V2] {
        let mut socket = Socket::connect(server, server.keys.publishable(), version).await;
        let topic = topic();
        for (topic, event) in [(topic.as_str(), "broadcast"), ("phoenix", "nothing"), ("", "")] {
            let reference = socket.push(None, topic, event, json!({})).await;
            let reply = socket.reply(&reference).await;
            assert_eq!(
                (&reply["status"], &reply["response"]["reason"]),
                (&json!("error"), &json!("unmatched topic"))
            );
        }
        let reference = socket.push(None, &topic, "phx_leave", json!({})).await;
        assert_eq!(socket.reply(&reference).await["status"], "ok");
        for (topic, payload, reason) in [
            ("realtime:", json!({}), "TopicNameRequired"),
            ("other:x", json!({}), "TopicNameRequired"),
            (&format!("realtime:{}", "x".repeat(300)), json!({}), "TopicNameRequired"),
            (&topic, json!([]), "InvalidJoinPayload"),
            (&topic, json!({ "config": 1 }), "InvalidJoinPayload"),
            (&topic, json!({ "config": { "private": "perhaps" } }), "InvalidJoinPayload"),
            (&topic, json!({ "config": { "resume": "?" } }), "InvalidJoinPayload"),
            (&topic, json!({ "config": { "postgres_changes": {} } }), "InvalidJoinPayload"),
            (
                &topic,
                json!({ "config": { "postgres_changes": [{ "event": "SELECT" }] } }),
                "InvalidJoinPayload",
            ),
            (&topic, json!({ "config": { "postgres_changes": vec![json!({}); 101] } }), "InvalidJoinPayload"),
            (&topic, json!({ "access_token": "x" }), "MalformedJWT"),
            (&topic, json!({ "config": { "private": "true" } }), "Unauthorized"),
        ] {
            let reference = socket.push(Some("1"), topic, "phx_join", payload.clone()).await;
            let reply = socket.reply(&reference).await;
            let told = reply["response"]["reason"].as_str().unwrap_or_default();
            assert!(
                reply["status"] == "error" && told.starts_with(&format!("{reason}: ")),
                "{payload}: {reply}"
            );
        }
        // After all that the socket is as good as new.
        socket.join(&topic, plain(), None).await;
        socket.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_join_closes_the_first_and_a_leave_ends_in_a_close() {
    let site = site().await;
    let server = &site.server;
    for version in [Version::V1, Version::V2] {
        let mut socket = Socket::connect(server, server.keys.publishable(), version).await;
        let topic = topic();
        let first = socket.join(&topic, json!({}), None).await;
        assert_eq!(first.response["postgres_changes"], json!([]));
        let state = socket.next(ANSWERED_WITHIN).await.unwrap();
        assert_eq!((state.event.as_str(), state.payload), ("presence_state", json!({})));
        let second = socket.join(&topic, plain(), None).await;
        let closed = socket.next(ANSWERED_WITHIN).await.unwrap();
        assert_eq!(closed.event, "phx_close");
        assert_eq!(closed.join_ref.as_deref(), Some(first.join_ref.as_str()));
        // What is meant for the first does not touch the second.
        let stale = socket.push(Some(&first.join_ref), &topic, "phx_leave", json!({})).await;
        assert_eq!(socket.reply(&stale).await["status"], "ok");
        let reference = socket.push(Some(&second.join_ref), &topic, "nothing", json!({})).await;
        assert_eq!(socket.reply(&reference).await["response"]["reason"], "unmatched event");
        let reference = socket.push(Some(&second.join_ref), &topic, "phx_leave", json!({})).await;
        assert_eq!(socket.reply(&reference).await["status"], "ok");
        let closed = socket.next(ANSWERED_WITHIN).await.unwrap();
        assert_eq!(
            (closed.event.as_str(), closed.join_ref.as_deref()),
            ("phx_close", Some(second.join_ref.as_str()))
        );
        let reference = socket.push(None, &topic, "broadcast", json!({})).await;
        assert_eq!(socket.reply(&reference).await["status"], "error");
        assert_eq!(socket.next(Duration::ZERO).await, Err(End::Deadline));
    }
}
