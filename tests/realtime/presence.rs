//! Who is on a topic.

use serde_json::{Value, json};

use super::site::{site, topic};
use crate::support::socket::{ANSWERED_WITHIN, Channel, Socket, Version};

async fn track(socket: &mut Socket, channel: &Channel, payload: Value) -> Value {
    let message = json!({ "type": "presence", "event": "track", "payload": payload });
    let reference = socket.push(Some(&channel.join_ref), &channel.topic, "presence", message).await;
    socket.reply(&reference).await
}

async fn told(socket: &mut Socket, event: &str) -> Value {
    socket.wait(ANSWERED_WITHIN, |message| message.event == event).await.unwrap().payload
}

fn keyed(key: &str) -> Value {
    json!({ "presence": { "key": key } })
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_tracks_is_told_of_and_so_is_that_he_left() {
    let site = site().await;
    let server = &site.server;
    let topic = topic();
    let mut one = Socket::open(server).await;
    let first = one.join(&topic, keyed("one"), None).await;
    assert_eq!(told(&mut one, "presence_state").await, json!({}));
    assert_eq!(track(&mut one, &first, json!({ "mood": "fine" })).await["status"], "ok");
    let diff = told(&mut one, "presence_diff").await;
    let reference = diff["joins"]["one"]["metas"][0]["phx_ref"].clone();
    assert_eq!(
        diff,
        json!({ "joins": { "one": { "metas": [{ "mood": "fine", "phx_ref": reference }] } }, "leaves": {} })
    );

    let mut two = Socket::connect(server, server.keys.publishable(), Version::V1).await;
    let second = two.join(&topic, keyed("two"), None).await;
    assert_eq!(told(&mut two, "presence_state").await["one"]["metas"][0]["mood"], "fine");
    track(&mut two, &second, json!({})).await;
    for socket in [&mut one, &mut two] {
        assert!(told(socket, "presence_diff").await["joins"]["two"].is_object());
    }

    track(&mut one, &first, json!({ "mood": "tired" })).await;
    for socket in [&mut one, &mut two] {
        let diff = told(socket, "presence_diff").await;
        assert_eq!(diff["joins"]["one"]["metas"][0]["phx_ref_prev"], reference);
        assert_eq!(diff["leaves"]["one"]["metas"][0]["mood"], "fine");
    }

    let message = json!({ "type": "presence", "event": "untrack" });
    one.push(Some(&first.join_ref), &topic, "presence", message).await;
    assert_eq!(told(&mut two, "presence_diff").await["leaves"]["one"]["metas"][0]["mood"], "tired");
    // Without a word, too.
    drop(two);
    assert!(told(&mut one, "presence_diff").await["leaves"]["one"].is_object());
    let diff = told(&mut one, "presence_diff").await;
    assert!(diff["leaves"]["two"].is_object(), "{diff}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tracking_turns_presence_on_for_who_had_turned_it_off() {
    let site = site().await;
    let server = &site.server;
    let topic = topic();
    let mut watcher = Socket::open(server).await;
    watcher.join(&topic, json!({}), None).await;
    let mut socket = Socket::open(server).await;
    let channel = socket.join(&topic, super::site::plain(), None).await;
    track(&mut socket, &channel, json!({ "n": 1 })).await;
    assert_eq!(told(&mut socket, "presence_state").await, json!({}));
    let diff = told(&mut socket, "presence_diff").await;
    let joins = diff["joins"].as_object().unwrap();
    // A key that nobody gave is like no other.
    assert_eq!(joins.keys().next().unwrap().len(), 36);
    assert_eq!(told(&mut watcher, "presence_diff").await, diff);
}

#[tokio::test(flavor = "multi_thread")]
async fn state_and_changes_add_up_for_everybody_however_they_come() {
    let site = site().await;
    let server = &site.server;
    let topic = topic();
    let each = (0..12).map(|n| {
        let topic = &topic;
        async move {
            let mut socket = Socket::open(server).await;
            let channel = socket.join(topic, keyed(&format!("k{}", n % 5)), None).await;
            for round in 0..4 {
                track(&mut socket, &channel, json!({ "n": n, "round": round })).await;
            }
            socket
        }
    });
    let mut sockets = futures_util::future::join_all(each).await;
    // The last word for everybody is the mark's.
    let mut mark = Socket::open(server).await;
    let channel = mark.join(&topic, keyed("mark"), None).await;
    let state = told(&mut mark, "presence_state").await;
    track(&mut mark, &channel, json!({})).await;
    let refs = |value: &Value| -> Vec<String> {
        let metas = value.as_object().unwrap().values().flat_map(|entry| entry["metas"].as_array().unwrap());
        metas.map(|meta| meta["phx_ref"].as_str().unwrap().to_owned()).collect()
    };
    let mut expected = refs(&state);
    expected.sort();
    assert_eq!(expected.len(), 12);
    for socket in &mut sockets {
        let mut known = Vec::new();
        loop {
            let message =
                socket.wait(ANSWERED_WITHIN, |message| message.event.starts_with("presence_")).await.unwrap();
            if message.event == "presence_state" {
                known = refs(&message.payload);
                continue;
            }
            if message.payload["joins"]["mark"].is_object() {
                break;
            }
            for left in refs(&message.payload["leaves"]) {
                let at = known.iter().position(|one| *one == left).expect("somebody unknown left");
                known.remove(at);
            }
            known.extend(refs(&message.payload["joins"]));
        }
        known.sort();
        assert_eq!(known, expected);
    }
}
