//! Rows as they are, and every change after them: no change twice, none missed, whoever writes meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::{PLAIN, Place, all};
use crate::campaign::{Dice, long, seed};
use crate::support::caller::Caller;
use crate::support::socket::{ANSWERED_WITHIN, Message, Socket};

/// What a listener holds of the rows.
#[derive(Default)]
struct Copy(BTreeMap<i64, Value>);

impl Copy {
    fn take(&mut self, message: &Message) {
        if message.event == "snapshot" {
            for record in message.payload["records"].as_array().unwrap() {
                let twice = self.0.insert(record["id"].as_i64().unwrap(), record.clone());
                assert!(twice.is_none(), "twice in the snapshot: {record}");
            }
        } else if let Some(event) = message.row() {
            let id = |record: &Value| record["id"].as_i64().unwrap();
            match event.kind.as_str() {
                "INSERT" => {
                    let before = self.0.insert(id(&event.record), event.record.clone());
                    assert_eq!(before, None, "made again: {}", event.text);
                }
                "UPDATE" => {
                    let before = self.0.insert(id(&event.record), event.record.clone());
                    assert_eq!(
                        before.as_ref(),
                        Some(&event.old_record),
                        "changed from something else: {}",
                        event.text
                    );
                }
                _ => {
                    let before = self.0.remove(&id(&event.old_record));
                    assert_eq!(
                        before.as_ref(),
                        Some(&event.old_record),
                        "deleted something else: {}",
                        event.text
                    );
                }
            }
        } else {
            assert!(!message.is_system("resync_required"), "{message:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_and_what_follows_are_every_row_once_while_others_write() {
    let rounds = if long() { 100 } else { 12 };
    let seed = seed();
    let mut dice = Dice(seed);
    let place = Place::new(PLAIN).await;
    let anyone = Caller::anonymous(place.server());
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for number in 0..4_i64 {
        let (client, stop, mut dice) = (place.admin().await, Arc::clone(&stop), Dice(dice.next()));
        writers.push(tokio::spawn(async move {
            let mut next = number * 1_000_000;
            while !stop.load(Ordering::Relaxed) {
                next += 1;
                // Transactions that are open for a while are what a snapshot and the stream order differently.
                let some = format!("id % 4 = {number} and id % 7 = {}", dice.below(7));
                let text = match dice.below(6) {
                    // A page holds them all, however fast they come.
                    0 | 1 => format!(
                        "insert into notes (id, n) values ({}, 0) on conflict do nothing",
                        next % 150 * 4 + number
                    ),
                    2 | 3 => format!("update notes set n = n + 1 where {some}"),
                    4 => format!("delete from notes where id in (select id from notes where {some} order by random() limit 2)"),
                    _ => format!(
                        "begin; insert into notes (id, n) values ({}, 0) on conflict do nothing; select pg_sleep(0.003); \
                         update notes set n = n + 1 where {some}; commit",
                        next % 150 * 4 + number
                    ),
                };
                client.batch_execute(&text).await.unwrap();
                // What is told in a debug build is told more slowly than four writers write.
                client.batch_execute("select pg_sleep(0.004)").await.unwrap();
            }
        }));
    }
    let (mut records, mut events) = (0, 0);
    let mut copies = Vec::new();
    for round in 0..rounds {
        // Whoever takes nothing for long is closed.
        for (socket, copy) in &mut copies {
            let (socket, copy): (&mut Socket, &mut Copy) = (socket, copy);
            while let Ok(message) = socket.next(Duration::from_millis(1)).await {
                copy.take(&message);
                events += 1;
            }
        }
        let mut socket = place.socket().await;
        let config = json!({
            "postgres_changes": [all("notes")], "snapshot": true, "resume": "", "presence": { "enabled": false }
        });
        socket.join("realtime:notes", config, anyone.token()).await;
        let mut copy = Copy::default();
        let snapshot = socket
            .wait(ANSWERED_WITHIN, |message| {
                assert!(message.row().is_none(), "round {round}: a change before the rows: {message:?}");
                message.event == "snapshot"
            })
            .await
            .unwrap();
        assert_eq!(snapshot.payload["ids"], json!([1]));
        copy.take(&snapshot);
        records += copy.0.len();
        for _ in 0..20 {
            copy.take(&socket.next(ANSWERED_WITHIN).await.unwrap());
            events += 1;
        }
        // Some go on until the end.
        if round % 4 == 0 {
            copies.push((socket, copy));
        }
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    let admin = place.admin().await;
    admin.batch_execute("insert into notes (id, n) values (-1, -1)").await.unwrap();
    let rest = anyone.get("notes?order=id&limit=1000").await.is(200);
    let rest: BTreeMap<i64, Value> = rest
        .as_array()
        .unwrap()
        .iter()
        .map(|record| (record["id"].as_i64().unwrap(), record.clone()))
        .collect();
    for (mut socket, mut copy) in copies {
        while !copy.0.contains_key(&-1) {
            copy.take(&socket.next(ANSWERED_WITHIN).await.unwrap());
            events += 1;
        }
        if rest.len() < 1000 {
            assert_eq!(copy.0, rest, "BASEWRIGHT_SEED={seed}");
        }
    }
    assert!(records > 0 && rest.len() < 1000, "{records} records, {} at the end", rest.len());
    println!("PASS snapshots rounds={rounds} records={records} events={events}");
}
