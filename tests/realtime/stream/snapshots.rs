//! Rows as they are, and every change after them: no change twice, none missed, whoever writes meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::{PLAIN, Place, all};
use crate::campaign::{Dice, long, seed};
use crate::support::caller::Caller;
use crate::support::server::eventually;
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
            // As is who says nothing.
            socket.push(None, "phoenix", "heartbeat", json!({})).await;
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

/// Posts with an author, and no channel that is not declared.
const NESTED: &[(&str, &str)] = &[(
    "basewright.yaml",
    "collections:
  people: { timestamps: false, fields: { id: bigint, name: text } }
  posts: { timestamps: false, fields: { id: bigint, by: { type: relation, to: people }, n: integer } }
policies:
  people: { read: [{ role: anon }] }
  posts: { read: [{ role: anon }] }
realtime: { public_channels: false }
",
)];

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_may_be_a_query_of_its_own_and_its_faults_are_told() {
    let place = Place::new(NESTED).await;
    let admin = place.admin().await;
    admin
        .batch_execute("insert into people values (1, 'ada'); insert into posts values (1, 1, 5), (2, 1, 7), (3, null, 6)")
        .await
        .unwrap();
    let config = |query: &str| {
        let binding = json!({
            "event": "*", "schema": "public", "table": "posts", "filter": "n=gt.5", "snapshot": query,
        });
        json!({ "postgres_changes": [binding], "snapshot": true, "presence": { "enabled": false } })
    };
    let anyone = Caller::anonymous(place.server());
    let mut socket = place.socket().await;
    let joined = socket.join(
        "realtime:live::1",
        config("select=n,by:people(name)&order=n.desc&limit=2"),
        anyone.token(),
    );
    joined.await;
    let snapshot = socket.wait(ANSWERED_WITHIN, |message| message.event == "snapshot").await.unwrap();
    assert_eq!(
        snapshot.payload["records"],
        json!([{ "n": 7, "by": { "name": "ada" }, "id": 2 }, { "n": 6, "by": null, "id": 3 }])
    );
    assert_eq!((&snapshot.payload["ids"], &snapshot.payload["key"]), (&json!([1]), &json!(["id"])));
    assert_eq!(snapshot.payload["limit"], 2, "as many as it is kept at");
    // What the query says is not asked of changes, only what the filter says.
    admin.batch_execute("insert into posts values (4, 1, 5), (5, 1, 6)").await.unwrap();
    let event = loop {
        if let Some(event) = socket.next(ANSWERED_WITHIN).await.unwrap().row() {
            break event;
        }
    };
    assert_eq!(event.record, json!({ "id": 5, "by": 1, "n": 6 }));
    // A fault of the query is told, and changes come without it.
    let mut other = place.socket().await;
    other.join("realtime:live::2", config("select=nothing"), anyone.token()).await;
    let told = other.wait(ANSWERED_WITHIN, |message| message.is_system("error")).await.unwrap();
    assert_eq!((&told.payload["code"], &told.payload["statusCode"]), (&json!("42703"), &json!(400)));
    admin.batch_execute("insert into posts values (6, 1, 6)").await.unwrap();
    other.wait(ANSWERED_WITHIN, |message| message.row().is_some()).await.unwrap();
}

/// Where a standby is waited for, the log tells of a commit long before any query sees it.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_snapshot_is_too_early_for_is_told_by_a_new_start() {
    let place = Place::apart(PLAIN).await;
    let anyone = Caller::anonymous(place.server());
    let (mut before, _) = place.listen("notes", &anyone).await;
    let admin = place.admin().await;
    let wait_for = async |standby: &str| {
        admin
            .batch_execute(&format!("alter system set synchronous_standby_names = '{standby}'"))
            .await
            .unwrap();
        admin.batch_execute("select pg_reload_conf()").await.unwrap();
    };
    admin.batch_execute("set synchronous_commit = off").await.unwrap();
    wait_for("nobody").await;
    let writer = place.admin().await;
    let setting = "select current_setting('synchronous_standby_names')";
    eventually("the writer waits for a standby", ANSWERED_WITHIN, || async {
        let row = writer.query_one(setting, &[]).await.unwrap();
        (row.get::<_, String>(0) == "nobody").then_some(())
    })
    .await;
    let writing = tokio::spawn(async move {
        writer.batch_execute("insert into notes (id, n) values (1, 1)").await.unwrap();
    });
    assert_eq!(before.row(ANSWERED_WITHIN).await.unwrap().record["id"], 1);
    let begin = async || {
        let mut socket = place.socket().await;
        let config = json!({
            "postgres_changes": [all("notes")], "snapshot": true, "resume": "", "presence": { "enabled": false }
        });
        socket.join("realtime:notes", config, anyone.token()).await;
        let snapshot = socket.wait(ANSWERED_WITHIN, |message| message.event == "snapshot").await.unwrap();
        let next = socket.wait(ANSWERED_WITHIN, |message| {
            message.is_system("resync_required") || message.is_system("position")
        });
        (snapshot.payload["records"].as_array().unwrap().len(), next.await.unwrap().payload["status"].clone())
    };
    assert_eq!(begin().await, (0, json!("resync_required")));
    wait_for("").await;
    writing.await.unwrap();
    assert_eq!(begin().await, (1, json!("position")));
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_that_take_long_leave_connections_to_requests() {
    let place = Place::new(PLAIN).await;
    // The stream flows: it cannot begin while others write.
    place.listen("others", &Caller::anonymous(place.server())).await;
    let locked = place.admin().await;
    locked.batch_execute("begin; lock table notes in access exclusive mode").await.unwrap();
    let mut sockets = Vec::new();
    for _ in 0..3 {
        let mut socket = place.socket().await;
        for number in 0..10 {
            let config = json!({ "postgres_changes": [all("notes")], "snapshot": true, "presence": { "enabled": false } });
            socket.join(&format!("realtime:{number}"), config, None).await;
        }
        sockets.push(socket);
    }
    let admin = place.admin().await;
    let waiting = async || {
        let waits = "select count(*) from pg_stat_activity \
             where datname = current_database() and cardinality(pg_blocking_pids(pid)) > 0";
        admin.query_one(waits, &[]).await.unwrap().get::<_, i64>(0)
    };
    eventually("a snapshot waits for each socket", ANSWERED_WITHIN, || async {
        (waiting().await == 3).then_some(())
    })
    .await;
    let operator = Caller::secret(place.server());
    for id in 0..20 {
        operator.post("others", "", json!({ "id": id, "n": 1 })).await.is(201);
        operator.get("others?n=eq.1").await.is(200);
        assert_eq!(waiting().await, 3);
    }
    locked.batch_execute("commit").await.unwrap();
    for socket in &mut sockets {
        for _ in 0..10 {
            socket.wait(ANSWERED_WITHIN, |message| message.event == "snapshot").await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_nobody_in_particular_counts_as_his_requests_do() {
    let limits = ("limits.yaml", "auth: { rate_limits: { rest_anonymous: 5/10m } }\n");
    let env = &[("BASEWRIGHT_ANONYMOUS_LIMIT", "project")];
    let place = Place::new_with(&[PLAIN[0], limits], env).await;
    let config = json!({
        "postgres_changes": [all("notes"), all("others")], "snapshot": true, "presence": { "enabled": false }
    });
    let answers = async |token: Option<&str>| {
        let mut socket = place.socket().await;
        let mut answers = Vec::new();
        for number in 0..4 {
            let topic = format!("realtime:{number}");
            socket.join(&topic, config.clone(), token).await;
            let first = socket.wait(ANSWERED_WITHIN, |message| {
                message.topic == topic && (message.event == "snapshot" || message.is_system("error"))
            });
            answers.push(first.await.unwrap().payload["code"].as_str().map(str::to_owned));
        }
        answers
    };
    let too_many = || Some("too_many_requests".to_owned());
    assert_eq!(answers(None).await, [None, None, too_many(), too_many()]);
    let user = Caller::user(place.server(), &[]);
    assert_eq!(answers(user.token()).await, [None, None, None, None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_for_rows_needs_no_public_channels_and_is_one_for_nothing_else() {
    let place = Place::new(NESTED).await;
    let anyone = Caller::anonymous(place.server());
    let rows = json!({ "postgres_changes": [all("posts")], "broadcast": { "ack": true, "self": true } });
    let mut socket = place.socket().await;
    let refused = socket.try_join("realtime:any", json!({}), anyone.token()).await.unwrap_err();
    assert!(refused.to_string().contains("PrivateOnly"), "{refused}");
    let channel = socket.join("realtime:any", rows, anyone.token()).await;
    let payload = json!({ "type": "broadcast", "event": "e", "payload": {} });
    let join_ref = channel.join_ref.clone();
    socket.push(Some(&join_ref), "realtime:any", "broadcast", payload).await;
    let track = json!({ "type": "presence", "event": "track", "payload": {} });
    let track = socket.push(Some(&join_ref), "realtime:any", "presence", track).await;
    // Neither the acknowledgement nor the broadcast came before this refusal.
    let answer = loop {
        let message = socket.next(ANSWERED_WITHIN).await.unwrap();
        assert_ne!(message.event, "broadcast");
        if message.event == "phx_reply" {
            break message;
        }
    };
    assert_eq!(answer.payload["status"], "error", "{track} {:?}", answer.payload);
    place.admin().await.batch_execute("insert into posts values (1, null, 6)").await.unwrap();
    socket.wait(ANSWERED_WITHIN, |message| message.row().is_some()).await.unwrap();
}
