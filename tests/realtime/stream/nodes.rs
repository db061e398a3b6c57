//! Several servers on one database, and a Postgres that is told to stop.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::{PLAIN, Place, all, numbers, write};
use crate::support::caller::Caller;
use crate::support::server::eventually;
use crate::support::socket::{ANSWERED_WITHIN, Socket, Version};

#[tokio::test(flavor = "multi_thread")]
async fn each_of_two_nodes_is_told_everything() {
    let place = Place::new(PLAIN).await;
    let other = place.node("other").await.unwrap();
    let admin = place.admin().await;
    let anyone = Caller::anonymous(place.server());
    let (mut here, _) = place.listen("notes", &anyone).await;
    let mut there = Socket::connect(&other, other.keys.publishable(), Version::V2).await;
    let channel = there.join("realtime:changes", super::aware(&[all("notes")], ""), None).await;
    write(&admin, 1..50).await;
    let wanted: Vec<i64> = (1..50).collect();
    assert_eq!(numbers(&mut here, 49).await, wanted);
    assert_eq!(numbers(&mut there, 49).await, wanted);
    let slots = admin
        .query("select slot_name::text from pg_replication_slots where database = current_database()", &[])
        .await
        .unwrap();
    assert_eq!(slots.len(), 2);
    // A place of one node is a place of the other: it is the same WAL.
    let (mut moved, _) = place.listen_from("notes", &anyone, &channel.cursor()).await;
    assert_eq!(numbers(&mut moved, 49).await, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_name_is_taken_is_refused_and_the_first_goes_on() {
    let place = Place::new(PLAIN).await;
    let admin = place.admin().await;
    let anyone = Caller::anonymous(place.server());
    let (mut here, _) = place.listen("notes", &anyone).await;
    match place.node("main").await {
        Err(log) => assert!(log.contains("main"), "{log}"),
        // It may serve requests, and says why it has no changes.
        Ok(second) => {
            eventually("the reason", Duration::from_secs(30), || async {
                second.log().lines().any(|line| line.contains("name") && line.contains("main")).then_some(())
            })
            .await;
            let mut socket = Socket::connect(&second, second.keys.publishable(), Version::V2).await;
            let config = json!({ "postgres_changes": [all("notes")] });
            let refused = socket.try_join("realtime:changes", config, None).await.unwrap_err();
            assert!(refused.contains("UnableToSubscribeToPostgres"), "{refused}");
        }
    }
    write(&admin, 1..10).await;
    assert_eq!(numbers(&mut here, 9).await, (1..10).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_stops_at_once_while_changes_are_listened_to() {
    let mut place = Place::apart(PLAIN).await;
    let admin = place.admin().await;
    let anyone = Caller::anonymous(place.server());
    let (mut socket, _) = place.listen("notes", &anyone).await;
    write(&admin, 1..200).await;
    assert_eq!(numbers(&mut socket, 100).await.len(), 100);
    drop(admin);
    let file = place.folder.join("cluster/postgres/postmaster.pid");
    let pid: i32 = std::fs::read_to_string(&file).unwrap().lines().next().unwrap().trim().parse().unwrap();
    let asked = Instant::now();
    // What `pg_ctl stop -m fast` sends.
    kill_process(Pid::from_raw(pid).unwrap(), Signal::INT).unwrap();
    eventually("Postgres has stopped", Duration::from_secs(60), || async {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        let gone = stat.is_err() || stat.is_ok_and(|stat| stat.contains(") Z "));
        gone.then_some(())
    })
    .await;
    let took = asked.elapsed();
    println!("stopped in {took:?}");
    assert!(took < Duration::from_secs(5), "it took {took:?}");
    // It is started again by whoever looks after it, and the stream with it.
    assert_eq!(numbers(&mut socket, 99).await.len(), 99);
    let admin = eventually("Postgres is back", ANSWERED_WITHIN, || async {
        let target = basewright::db::Target::parse(&admin_url(&place), &basewright::db::Session::migrating());
        target.unwrap().connect().await.ok()
    })
    .await;
    write(&admin, 200..203).await;
    assert_eq!(numbers(&mut socket, 3).await, [200, 201, 202]);
    place.end(Signal::TERM);
}

fn admin_url(place: &Place) -> String {
    match &place.home {
        super::Home::Own { url, .. } => url.clone(),
        super::Home::Shared(_) => unreachable!("it has a Postgres of its own"),
    }
}
