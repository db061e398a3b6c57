//! Who comes back with his last cursor gets what he missed, in order, once; or is told that this cannot be.

use rustix::process::Signal;
use serde_json::json;

use super::{PLAIN, Place, all, aware, next, numbers, write};
use crate::support::caller::Caller;
use crate::support::socket::{ANSWERED_WITHIN, Seen, Socket};

#[tokio::test(flavor = "multi_thread")]
async fn cursors_rise_with_the_commits_and_with_the_changes_of_one() {
    let place = Place::new(PLAIN).await;
    let (admin, anyone) = (place.admin().await, Caller::anonymous(place.server()));
    let (mut socket, channel) = place.listen("notes", &anyone).await;
    admin.batch_execute("insert into notes (id, n) select n, n from generate_series(1, 20) n").await.unwrap();
    write(&admin, 21..30).await;
    let mut last = channel.cursor();
    for n in 1..30 {
        let event = next(&mut socket).await;
        assert_eq!(event.record["n"], n);
        assert!(event.cursor > last, "{n}: {} after {last}", event.cursor);
        last = event.cursor;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_gets_what_he_missed_once_and_in_order() {
    let place = Place::new(PLAIN).await;
    let (admin, anyone) = (place.admin().await, Caller::anonymous(place.server()));
    let (mut socket, channel) = place.listen("notes", &anyone).await;
    write(&admin, 1..4).await;
    admin.batch_execute("insert into notes (id, n) select n, n from generate_series(4, 9) n").await.unwrap();
    let mut cursors = vec![channel.cursor()];
    for _ in 1..10 {
        cursors.push(next(&mut socket).await.cursor);
    }
    socket.close().await;
    // From after the first one, from between two commits, and from the middle of one.
    for at in [0, 1, 2, 3, 6, 9] {
        let (mut again, _) = place.listen_from("notes", &anyone, &cursors[at]).await;
        assert_eq!(numbers(&mut again, 9 - at).await, (at as i64 + 1..10).collect::<Vec<_>>());
        again.close().await;
    }
    let (mut back, _) = place.listen_from("notes", &anyone, &cursors[5]).await;
    write(&admin, 10..13).await;
    assert_eq!(numbers(&mut back, 7).await, (6..13).collect::<Vec<_>>());
}

async fn over_a_restart(signal: Signal) {
    let mut place = Place::new(PLAIN).await;
    let admin = place.admin().await;
    let anyone = Caller::anonymous(place.server());
    let (mut socket, _) = place.listen("notes", &anyone).await;
    let (mut late, late_channel) = place.listen("notes", &anyone).await;
    write(&admin, 1..6).await;
    let cursor = {
        numbers(&mut socket, 2).await;
        next(&mut socket).await.cursor
    };
    place.end(signal);
    let ended = socket.ended(ANSWERED_WITHIN).await;
    println!("{signal:?}: {ended:?}");
    late.ended(ANSWERED_WITHIN).await;
    write(&admin, 6..9).await;
    place.start().await;
    write(&admin, 9..11).await;
    let anyone = Caller::anonymous(place.server());
    let (mut back, _) = place.listen_from("notes", &anyone, &cursor).await;
    assert_eq!(numbers(&mut back, 7).await, (4..11).collect::<Vec<_>>());
    let (mut back, _) = place.listen_from("notes", &anyone, &late_channel.cursor()).await;
    assert_eq!(numbers(&mut back, 10).await, (1..11).collect::<Vec<_>>());
    write(&admin, 11..12).await;
    assert_eq!(numbers(&mut back, 1).await, [11]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_restart_of_the_server_is_just_another_reconnect() {
    over_a_restart(Signal::TERM).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_is_its_violent_end() {
    over_a_restart(Signal::KILL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_comes_once_to_who_is_cut_again_and_again_while_others_write() {
    let place = Place::new(PLAIN).await;
    let anyone = Caller::anonymous(place.server());
    let admin = place.admin().await;
    let (socket, channel) = place.listen("notes", &anyone).await;
    drop(socket);
    let writer = tokio::spawn(async move { write(&admin, 1..301).await });
    let (mut cursor, mut had, mut seen) = (channel.cursor(), Vec::new(), Seen::default());
    while had.len() < 300 {
        let (mut socket, _) = place.listen_from("notes", &anyone, &cursor).await;
        for _ in 0..(1 + had.len() % 17).min(300 - had.len()) {
            let event = next(&mut socket).await;
            assert!(seen.first(&event), "told again: {event:?}");
            assert!(event.cursor > cursor);
            cursor.clone_from(&event.cursor);
            had.push(event.record["n"].as_i64().unwrap());
        }
    }
    assert_eq!(had, (1..301).collect::<Vec<_>>());
    writer.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_place_gets_there_also_where_nothing_is_for_him() {
    let place = Place::new(PLAIN).await;
    let anyone = Caller::anonymous(place.server());
    let admin = place.admin().await;
    let (mut socket, channel) = place.listen("notes", &anyone).await;
    // What he does not listen to moves him on, too.
    admin.batch_execute("insert into others (id, n) values (1, 1)").await.unwrap();
    let behind = place.listen("others", &anyone).await.1.cursor();
    assert!(behind > channel.cursor());
    let told = socket
        .wait(ANSWERED_WITHIN, |message| {
            message.is_system("position") && *message.payload["cursor"].as_str().unwrap() >= *behind
        })
        .await;
    assert_eq!(told.unwrap().payload["extension"], "postgres_changes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_asks_for_it_is_told_where_it_stands_and_its_author_sees_it_there() {
    let place = Place::new(PLAIN).await;
    let anyone = Caller::anonymous(place.server());
    let (mut socket, channel) = place.listen("notes", &anyone).await;
    for n in 1..20 {
        let answer = anyone.post("notes", "cursor,return=minimal", json!({ "id": n, "n": n })).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        let cursor = answer.header("basewright-cursor").to_owned();
        assert!(cursor > channel.cursor(), "{cursor:?}");
        let event = next(&mut socket).await;
        assert_eq!(event.record["n"], n);
        assert!(event.cursor <= cursor, "{n}: {} is past {cursor}", event.cursor);
        // Whoever resumes from there has had it.
        if n % 6 == 0 {
            let (mut other, _) = place.listen_from("notes", &anyone, &cursor).await;
            anyone.post("notes", "", json!({ "id": 100 + n, "n": 100 + n })).await.is(201);
            assert_eq!(next(&mut other).await.record["n"], 100 + n);
            assert_eq!(next(&mut socket).await.record["n"], 100 + n);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_of_elsewhere_or_of_long_ago_is_answered_with_a_new_start() {
    let place = Place::new(PLAIN).await;
    let anyone = Caller::anonymous(place.server());
    let admin = place.admin().await;
    let cursor: basewright::realtime::cursor::Cursor =
        place.listen("notes", &anyone).await.1.cursor().parse().unwrap();
    let mut foreign = cursor;
    foreign.system.id ^= 1;
    let mut promoted = cursor;
    promoted.system.timeline += 1;
    let mut old = cursor;
    old.lsn = 1;
    let mut ahead = cursor;
    ahead.lsn += 1 << 40;
    for (what, cursor) in [("foreign", foreign), ("promoted", promoted), ("old", old), ("ahead", ahead)] {
        let mut socket = place.socket().await;
        let joined =
            socket.try_join("realtime:changes", aware(&[all("notes")], &cursor.to_string()), None).await;
        println!("{what}: {joined:?}");
        let told =
            socket.wait(ANSWERED_WITHIN, |message| message.is_system("resync_required")).await.expect(what);
        assert!(told.payload["reason"].is_string(), "{what}: {}", told.payload);
        let from = told.payload["cursor"].as_str().unwrap().to_owned();
        // He is told everything from there on.
        admin
            .batch_execute("insert into notes (id, n) select coalesce(max(id), 0) + 1, 7 from notes")
            .await
            .unwrap();
        let event = socket.row(ANSWERED_WITHIN).await.expect(what);
        assert!(event.cursor > from, "{what}");
    }
    for text in ["x", "0/16B3748", &"-".repeat(33), "éé"] {
        let mut socket = place.socket().await;
        let refused =
            socket.try_join("realtime:changes", aware(&[all("notes")], text), None).await.unwrap_err();
        assert!(refused.contains("resume") && refused.contains("cursor"), "{text}: {refused}");
        socket.beat().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_knows_nothing_of_cursors_gets_no_replay_and_no_positions() {
    let place = Place::new(PLAIN).await;
    let (admin, anyone) = (place.admin().await, Caller::anonymous(place.server()));
    write(&admin, 1..5).await;
    let mut socket: Socket = place.socket().await;
    let config = json!({ "postgres_changes": [all("notes")], "presence": { "enabled": false } });
    socket.join("realtime:changes", config, anyone.token()).await;
    let (mut aware, _) = place.listen("notes", &anyone).await;
    admin.batch_execute("insert into others (id, n) values (1, 1)").await.unwrap();
    aware.wait(ANSWERED_WITHIN, |message| message.is_system("position")).await.unwrap();
    write(&admin, 5..7).await;
    for n in 5..7 {
        let message = socket.next(ANSWERED_WITHIN).await.unwrap();
        let event = message.row().unwrap_or_else(|| panic!("{message:?}\n{}", place.server().log()));
        assert_eq!(event.record["n"], n);
    }
}
