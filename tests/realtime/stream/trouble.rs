//! Whatever takes changes away from the stream: every subscriber is told that he may have missed something, and goes on.

use std::time::Duration;

use rustix::process::Signal;
use tokio_postgres::Client;

use super::{PLAIN, Place, write};
use crate::support::caller::Caller;
use crate::support::server::eventually;
use crate::support::socket::{ANSWERED_WITHIN, Socket};

/// Deletes the slot under the hands of whoever streams from it, and runs something more before it can be made anew.
const DROP_SLOT: &str = "
    do $$ declare found record; begin
        loop
            select slot_name, active_pid into found from pg_replication_slots
                where database = current_database() and slot_name like 'basewright%' limit 1;
            exit when found.slot_name is null;
            perform pg_terminate_backend(found.active_pid);
            begin
                perform pg_drop_replication_slot(found.slot_name);
                exit;
            exception when object_in_use or undefined_object then null;
            end;
        end loop;
    end $$";

/// Everybody must be told, and what comes then must come to everybody.
async fn all_are_told(place: &Place, sockets: &mut [Socket], what: &str) {
    let mut from = Vec::new();
    for (at, socket) in sockets.iter_mut().enumerate() {
        let told = socket
            .wait(Duration::from_secs(30), |message| message.is_system("resync_required"))
            .await
            .unwrap_or_else(|end| panic!("{what}: {at} was told nothing: {end:?}\n{}", place.server().log()));
        assert!(told.payload["reason"].is_string(), "{what}: {}", told.payload);
        assert_eq!(told.payload["extension"], "postgres_changes");
        from.push(told.payload["cursor"].as_str().unwrap().to_owned());
    }
    let admin = place.admin().await;
    admin
        .batch_execute("insert into notes (id, n) select coalesce(max(id), 0) + 1, -7 from notes")
        .await
        .unwrap();
    for (socket, from) in sockets.iter_mut().zip(from) {
        loop {
            let event = socket
                .row(ANSWERED_WITHIN)
                .await
                .unwrap_or_else(|end| panic!("{what}: {end:?}\n{}", place.server().log()));
            if event.record["n"] == -7 {
                assert!(event.cursor > from, "{what}");
                break;
            }
        }
    }
}

/// Subscribers of different sorts, all of the same rows.
async fn sockets(place: &Place) -> Vec<Socket> {
    let anyone = Caller::anonymous(place.server());
    let mut all = vec![place.listen("notes", &anyone).await.0];
    let mut plain = place.socket().await;
    plain.subscribe("realtime:plain", serde_json::json!([super::all("notes")]), &anyone).await;
    all.push(plain);
    // A third resumed.
    let cursor = place.listen("notes", &anyone).await.1.cursor();
    all.push(place.listen_from("notes", &anyone, &cursor).await.0);
    all
}

async fn after(what: &str, deed: impl AsyncFnOnce(&Client)) {
    let place = Place::new(PLAIN).await;
    let admin = place.admin().await;
    write(&admin, 1..3).await;
    let mut sockets = sockets(&place).await;
    deed(&admin).await;
    all_are_told(&place, &mut sockets, what).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_was_dropped_is_told_to_everybody() {
    after("dropped", async |admin| admin.batch_execute(DROP_SLOT).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_was_made_anew_is_told_to_everybody() {
    after("made anew", async |admin| {
        let row = admin
            .query_one(
                "select slot_name::text from pg_replication_slots where database = current_database()",
                &[],
            )
            .await
            .unwrap();
        let name: String = row.get(0);
        // The server may be faster: it is then the one that made it anew.
        admin.batch_execute(DROP_SLOT).await.unwrap();
        let _ = admin
            .execute("select pg_create_logical_replication_slot($1::text::name, 'pgoutput')", &[&name])
            .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_was_made_anew_while_nobody_served_is_told_to_who_comes_back() {
    let mut place = Place::new(PLAIN).await;
    let admin = place.admin().await;
    let anyone = Caller::anonymous(place.server());
    let (_socket, channel) = place.listen("notes", &anyone).await;
    place.end(Signal::TERM);
    let row = admin
        .query_one(
            "select slot_name::text from pg_replication_slots where database = current_database()",
            &[],
        )
        .await
        .unwrap();
    let name: String = row.get(0);
    eventually("the slot can be dropped", ANSWERED_WITHIN, || async {
        admin.execute("select pg_drop_replication_slot($1::text::name)", &[&name]).await.ok()
    })
    .await;
    write(&admin, 1..3).await;
    admin
        .execute("select pg_create_logical_replication_slot($1::text::name, 'pgoutput')", &[&name])
        .await
        .unwrap();
    write(&admin, 3..5).await;
    place.start().await;
    let anyone = Caller::anonymous(place.server());
    let (socket, _) = place.listen_from("notes", &anyone, &channel.cursor()).await;
    all_are_told(&place, &mut [socket], "made anew").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_were_not_published_for_a_while_are_told_to_everybody() {
    after("taken out and in again", async |admin| {
        admin
            .batch_execute(
                "begin; alter publication basewright drop table notes; commit; \
                 insert into notes (id, n) values (50, 50); \
                 alter publication basewright add table notes",
            )
            .await
            .unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_that_says_less_is_mended_and_told_to_everybody() {
    after("fewer operations", async |admin| {
        admin
            .batch_execute(
                "alter publication basewright set (publish = 'insert'); \
                 update notes set n = n + 100",
            )
            .await
            .unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_that_was_dropped_is_made_anew_and_told_to_everybody() {
    after("dropped publication", async |admin| {
        admin.batch_execute("drop publication basewright").await.unwrap();
        admin.batch_execute("insert into notes (id, n) values (60, 60)").await.unwrap();
        let tables =
            "public.notes, public.others, auth.users, auth.user_roles, auth.sessions, auth.revoked_keys";
        admin.batch_execute(&format!("create publication basewright for table {tables}")).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_whose_old_rows_were_not_told_is_told_to_everybody() {
    after("identity", async |admin| {
        admin
            .batch_execute("alter table notes replica identity default; update notes set n = n + 1")
            .await
            .unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_emptied_at_once_is_told_to_everybody() {
    after("truncated", async |admin| admin.batch_execute("truncate notes").await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_fell_behind_all_that_is_kept_is_told_to_everybody() {
    let place = Place::apart(PLAIN).await;
    let admin = place.admin().await;
    let mut sockets = sockets(&place).await;
    admin.batch_execute("alter system set max_slot_wal_keep_size = '1MB'").await.unwrap();
    admin.batch_execute("select pg_reload_conf()").await.unwrap();
    // The server sleeps while more is written than Postgres is to keep for it.
    place.server().signal(Signal::STOP);
    write(&admin, 1..3).await;
    eventually("the slot is given up", Duration::from_secs(60), || async {
        admin
            .batch_execute("create table filling as select repeat('x', 900) from generate_series(1, 20000)")
            .await
            .unwrap();
        admin.batch_execute("drop table filling").await.unwrap();
        admin.batch_execute("select pg_switch_wal()").await.unwrap();
        admin.batch_execute("checkpoint").await.unwrap();
        let row = admin
            .query_one("select count(*) from pg_replication_slots where wal_status = 'lost'", &[])
            .await
            .unwrap();
        (row.get::<_, i64>(0) > 0).then_some(())
    })
    .await;
    place.server().signal(Signal::CONT);
    all_are_told(&place, &mut sockets, "invalidated").await;
}
