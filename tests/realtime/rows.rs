//! Row changes on channels: how they begin, how they are caught up, and what becomes of those who are too slow.

use std::time::Duration;

use serde_json::{Value, json};

use super::site::{Site, site, topic};
use crate::support::socket::{ANSWERED_WITHIN, Connect, End, Socket, Version};

async fn write(site: &Site, titles: &[String]) {
    let body: Vec<Value> = titles.iter().map(|title| json!({ "title": title })).collect();
    let answer = reqwest::Client::new()
        .post(format!("{}/rest/v1/notes", site.server.url))
        .header("apikey", site.server.keys.secret())
        .json(&body)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status().as_u16(), 201);
}

fn titles(from: usize, count: usize) -> Vec<String> {
    (from..from + count).map(|n| format!("note {n}")).collect()
}

fn all() -> Value {
    json!([{ "event": "*", "schema": "public", "table": "notes" }])
}

#[tokio::test(flavor = "multi_thread")]
async fn bindings_are_echoed_as_they_came_and_changes_carry_their_ids() {
    let site = site().await;
    for version in [Version::V1, Version::V2] {
        let mut socket = Socket::connect(&site.server, site.server.keys.publishable(), version).await;
        let bindings = json!([
            { "event": "INSERT", "schema": "public", "table": "notes", "filter": "title=eq.a", "extra": 1 },
            { "event": "*", "schema": "public" },
        ]);
        let topic = topic();
        let channel = socket.join(&topic, json!({ "postgres_changes": bindings }), None).await;
        assert_eq!(
            channel.response["postgres_changes"],
            json!([
                { "id": 1, "event": "INSERT", "schema": "public", "table": "notes", "filter": "title=eq.a" },
                { "id": 2, "event": "*", "schema": "public" },
            ])
        );
        assert_eq!(channel.cursor().len(), 36);
        write(&site, &["a".to_owned(), "b".to_owned()]).await;
        let mut told = Vec::new();
        for _ in 0..3 {
            let row = socket.row(ANSWERED_WITHIN).await.unwrap();
            assert_eq!((row.kind.as_str(), row.topic.as_str()), ("INSERT", topic.as_str()));
            told.push((row.ids, row.record["title"].as_str().unwrap().to_owned()));
        }
        told.sort();
        assert_eq!(told, [(vec![1], "a".to_owned()), (vec![2], "a".to_owned()), (vec![2], "b".to_owned())]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_makes_no_sense_is_told_after_the_join() {
    let site = site().await;
    let mut socket = Socket::open(&site.server).await;
    let bindings = json!([{ "event": "*", "schema": "public", "table": "notes", "filter": "nothing=eq.1" }]);
    let refused = socket.try_join(&topic(), json!({ "postgres_changes": bindings }), None).await.unwrap_err();
    assert!(refused.contains("nothing"), "{refused}");
    socket.beat().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_with_a_cursor_gets_what_he_missed_once_and_in_order() {
    let site = site().await;
    let topic = topic();
    let mut socket = Socket::open(&site.server).await;
    let first = socket.join(&topic, json!({ "postgres_changes": all(), "resume": true }), None).await;
    write(&site, &titles(0, 1)).await;
    let cursor = socket.row(ANSWERED_WITHIN).await.unwrap().cursor;
    assert!(cursor > first.cursor());
    drop(socket);
    write(&site, &titles(1, 300)).await;
    let mut socket = Socket::open(&site.server).await;
    socket.join(&topic, json!({ "postgres_changes": all(), "resume": cursor }), None).await;
    write(&site, &titles(301, 5)).await;
    for title in titles(1, 305) {
        let row = socket.row(ANSWERED_WITHIN).await.unwrap();
        assert_eq!(row.record["title"], title);
    }
    // With nothing to tell, the position is told: whoever waits for a place gets there.
    let told = socket.wait(ANSWERED_WITHIN, |message| message.is_system("position")).await.unwrap();
    assert!(told.payload["cursor"].as_str().unwrap() >= cursor.as_str());
    assert!(socket.wait(Duration::ZERO, |message| message.row().is_some()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_comes_before_the_changes_that_are_not_in_it() {
    let site = site().await;
    write(&site, &titles(0, 3)).await;
    let mut socket = Socket::open(&site.server).await;
    let config = json!({ "postgres_changes": all(), "snapshot": true, "presence": { "enabled": false } });
    let channel = socket.join(&topic(), config, None).await;
    let message = socket.next(ANSWERED_WITHIN).await.unwrap();
    assert_eq!((message.event.as_str(), &message.payload["ids"]), ("snapshot", &json!([1])));
    assert_eq!(message.payload["cursor"], channel.cursor());
    let mut known: Vec<&str> = message.payload["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["title"].as_str().unwrap())
        .collect();
    known.sort();
    assert_eq!(known, titles(0, 3));
    write(&site, &titles(3, 1)).await;
    assert_eq!(socket.row(ANSWERED_WITHIN).await.unwrap().record["title"], "note 3");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_late_catches_up_without_a_gap() {
    let site = site().await;
    let mut slow = Connect::new(&site.server, site.server.keys.publishable(), Version::V2);
    slow.receive_buffer = Some(4 << 10);
    let mut slow = slow.open().await.unwrap();
    slow.join(&topic(), json!({ "postgres_changes": all(), "presence": { "enabled": false } }), None).await;
    let mut fast = Socket::open(&site.server).await;
    fast.join(&topic(), json!({ "postgres_changes": all() }), None).await;
    // Far more than what the kernel and the queue take together.
    let long = "x".repeat(8 << 10);
    for n in 0..20 {
        let some: Vec<String> = (0..100).map(|at| format!("{} {long}", n * 100 + at)).collect();
        write(&site, &some).await;
    }
    let number = |record: &Value| -> usize {
        record["title"].as_str().unwrap().split(' ').next().unwrap().parse().unwrap()
    };
    for n in 0..2_000 {
        assert_eq!(number(&fast.row(ANSWERED_WITHIN).await.unwrap().record), n);
        assert_eq!(number(&slow.row(ANSWERED_WITHIN).await.unwrap().record), n);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_nothing_at_all_is_closed_with_the_place_to_come_back_with() {
    let site = site().await;
    let topic = topic();
    let mut slow = Connect::new(&site.server, site.server.keys.publishable(), Version::V2);
    slow.receive_buffer = Some(4 << 10);
    let mut slow = slow.open().await.unwrap();
    let config = json!({ "postgres_changes": all(), "presence": { "enabled": false } });
    slow.join(&topic, config.clone(), None).await;
    let mut fast = Socket::open(&site.server).await;
    fast.join(&topic, config, None).await;
    let long = "x".repeat(64 << 10);
    for n in 0..120 {
        write(&site, &[format!("{n} {long}")]).await;
        fast.row(ANSWERED_WITHIN).await.unwrap();
    }
    // The server's word is behind what the kernel has; meanwhile it is not read.
    let log = async {
        while reqwest::get(format!("{}/health/live", site.server.url)).await.is_ok() {
            fast.beat().await;
            if tokio::time::timeout(Duration::from_secs(14), fast.next(Duration::from_secs(14))).await.is_ok()
            {
                break;
            }
        }
    };
    log.await;
    let mut last = String::new();
    let end = loop {
        match slow.next(ANSWERED_WITHIN).await {
            Ok(message) => last = message.row().map_or(last, |row| row.cursor),
            Err(end) => break end,
        }
    };
    let End::Closed { code: Some(1013), reason } = end else { panic!("{end:?}") };
    let cursor = reason.strip_prefix("slow reader; cursor=").unwrap();
    assert!(!cursor.is_empty() && cursor <= last.as_str(), "{cursor} {last}");
    // It is a place to begin at: nothing is missing.
    let mut again = Socket::open(&site.server).await;
    again.join(&topic, json!({ "postgres_changes": all(), "resume": last }), None).await;
    write(&site, &["the end".to_owned()]).await;
    while again.row(ANSWERED_WITHIN).await.unwrap().record["title"] != "the end" {}
}
