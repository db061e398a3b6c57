//! Whoever was away while his rights changed is told so where they changed, once, as if he had been there; nobody else is.

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use uuid::Uuid;

use super::visibility::{PROJECT, World, enters, leaves, session};
use super::{Place, all, aware};
use crate::campaign::{Dice, long, seed};
use crate::support::caller::Caller;
use crate::support::server::{Server, eventually};
use crate::support::socket::{ANSWERED_WITHIN, Socket, Version};

const ACCESS: &str = "access_changed";

impl World {
    /// Where somebody is who leaves now.
    async fn leaves_now(&self, caller: &Caller) -> String {
        self.place.listen("messages", caller).await.1.cursor()
    }

    /// What he is told who comes back with a cursor, up to now: the changes by kind and id, and that his access changed.
    async fn told_again(&mut self, caller: &Caller, cursor: &str) -> Vec<String> {
        let server = self.place.server.take().unwrap();
        let told = self.told_by(&server, caller, cursor).await;
        self.place.server = Some(server);
        told
    }

    async fn told_by(&mut self, server: &Server, caller: &Caller, cursor: &str) -> Vec<String> {
        let mut socket = Socket::connect(server, server.keys.publishable(), Version::V2).await;
        // Who joins now joins after all that was acknowledged: then it has happened while the other was away.
        socket.join("realtime:now", aware(&[all("marks")], ""), None).await;
        let config = aware(&[all("messages"), all("marks")], cursor);
        socket.join("realtime:doors", config, caller.token()).await;
        self.told_on(&mut socket).await
    }

    /// What comes on a socket up to now.
    async fn told_on(&mut self, socket: &mut Socket) -> Vec<String> {
        self.marks += 1;
        self.sql(&format!("insert into marks (id) values ({})", self.marks)).await;
        let mut told = Vec::new();
        loop {
            let message = socket.next(ANSWERED_WITHIN).await.unwrap();
            assert!(!message.is_system("resync_required"), "{}", message.payload);
            if message.is_system(ACCESS) {
                assert!(message.payload["cursor"].is_string());
                told.push(ACCESS.to_owned());
            }
            let Some(event) = message.row().filter(|event| event.topic == "realtime:doors") else { continue };
            if event.table != "marks" {
                let record = if event.record.is_null() { &event.old_record } else { &event.record };
                told.push(format!("{} {}", event.kind, record["id"]));
            } else if event.record["id"] == self.marks {
                return told;
            }
        }
    }

    async fn write(&self, id: i64, room: Uuid) {
        self.sql(&format!("insert into messages (id, room, text) values ({id}, '{room}', 'x')")).await;
    }
}

fn open(id: i64) -> String {
    format!("insert into messages (id, open) values ({id}, true)")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_membership_that_came_or_went_is_told_between_what_was_before_and_what_was_after() {
    let mut world = World::new().await;
    let (user, other) = (world.user(), world.user());
    let (old, new) = (world.room(&[&user]).await, world.room(&[]).await);
    world.write(1, old).await;
    world.write(2, new).await;
    let cursor = world.leaves_now(&user).await;
    assert_eq!(world.told_again(&user, &cursor).await, [] as [&str; 0], "nothing happened");
    world.sql(&open(3)).await;
    world.enter(new, &user).await;
    world.sql(&open(4)).await;
    world.write(5, new).await;
    let entered = world.leaves_now(&user).await;
    let told = ["INSERT 3", ACCESS, "INSERT 4", "INSERT 5"];
    assert_eq!(world.told_again(&user, &cursor).await, told);
    assert_eq!(world.told_again(&user, &entered).await, [] as [&str; 0], "he was there when it was told");
    assert_eq!(world.told_again(&other, &cursor).await, ["INSERT 3", "INSERT 4"], "another one's membership");
    world.sql(&leaves(old, &user)).await;
    world.write(6, old).await;
    assert_eq!(world.told_again(&user, &entered).await, [ACCESS]);
    // Once, however often.
    assert_eq!(world.told_again(&user, &cursor).await, told);
    // Gained and lost again: what he was told of it then is not what there is now.
    let cursor = world.leaves_now(&user).await;
    world.sql(&enters(old, &user)).await;
    world.sql(&leaves(old, &user)).await;
    assert_eq!(world.told_again(&user, &cursor).await, [ACCESS]);
    // A change that says nothing of who is where.
    let cursor = world.leaves_now(&user).await;
    world.sql(&format!("update members set updated_at = now() where \"user\" = '{}'", user.id)).await;
    world.sql(&format!("update rooms set name = 'another' where id = '{new}'")).await;
    assert_eq!(world.told_again(&user, &cursor).await, [] as [&str; 0]);
    // All at once.
    world.sql("truncate members").await;
    assert_eq!(world.told_again(&user, &cursor).await, [ACCESS]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_cut_off_before_he_is_told_is_told_the_next_time() {
    let mut world = World::new().await;
    let user = world.user();
    let room = world.room(&[]).await;
    let mut socket = world.place.listen("messages", &user).await.0;
    let (write, enter) = (open(1), enters(room, &user));
    world.sql(&format!("begin; {write}; {enter}; {}; commit", open(2))).await;
    world.sql(&open(3)).await;
    // He had the first change of the transaction, and nothing more.
    let cursor = super::next(&mut socket).await.cursor;
    assert_eq!(world.told_again(&user, &cursor).await, ["INSERT 2", ACCESS, "INSERT 3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_was_read_and_resumed_at_once_begins_with_what_there_is() {
    let mut world = World::new().await;
    let user = world.user();
    let room = world.room(&[]).await;
    world.write(1, room).await;
    let cursor = world.leaves_now(&user).await;
    world.enter(room, &user).await;
    let mut socket = world.place.socket().await;
    let mut config = aware(&[all("messages"), all("marks")], &cursor);
    config["snapshot"] = json!(true);
    socket.join("realtime:doors", config, user.token()).await;
    let first = socket.wait(ANSWERED_WITHIN, |message| message.event == "snapshot").await.unwrap();
    assert_eq!(first.payload["records"][0]["id"], 1);
    world.write(2, room).await;
    assert_eq!(world.told_on(&mut socket).await, ["INSERT 2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_was_granted_or_taken_is_told() {
    let mut world = World::new().await;
    let (id, user) = session(&world).await;
    let (_, other) = session(&world).await;
    world.sql("insert into messages (id) values (1)").await;
    let cursor = world.leaves_now(&user).await;
    world.sql(&format!("insert into auth.user_roles (user_id, role) values ('{id}', 'editor')")).await;
    world.sql("insert into messages (id) values (2)").await;
    assert_eq!(world.told_again(&user, &cursor).await, [ACCESS, "INSERT 2"]);
    assert_eq!(world.told_again(&other, &cursor).await, [] as [&str; 0], "another one's role");
    let cursor = world.leaves_now(&user).await;
    world.sql("update messages set text = 'x' where id = 1").await;
    world.sql(&format!("delete from auth.user_roles where user_id = '{id}'")).await;
    assert_eq!(world.told_again(&user, &cursor).await, [ACCESS]);
    // What else happens to users and sessions is nobody's access.
    let cursor = world.leaves_now(&user).await;
    world.sql(&format!("update auth.users set updated_at = now() where id = '{id}'")).await;
    world
        .sql(&format!("insert into auth.sessions (id, user_id) values ('{}', '{id}')", Uuid::new_v4()))
        .await;
    assert_eq!(world.told_again(&user, &cursor).await, [] as [&str; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_told_over_a_restart_and_by_another_server() {
    let mut world = World::new().await;
    let other = world.place.node("other").await.unwrap();
    let user = world.user();
    let room = world.room(&[]).await;
    let cursor = world.leaves_now(&user).await;
    let again = |place: &Place| Caller::user_with_id(place.server(), &user.id, &[]);
    world.place.end(Signal::KILL);
    world.sql(&open(1)).await;
    world.place.start().await;
    assert_eq!(world.told_again(&again(&world.place), &cursor).await, ["INSERT 1"], "a restart is no change");
    world.place.end(Signal::TERM);
    world.enter(room, &user).await;
    world.sql(&open(2)).await;
    world.place.start().await;
    let told = ["INSERT 1", ACCESS, "INSERT 2"];
    let user = again(&world.place);
    assert_eq!(world.told_again(&user, &cursor).await, told);
    let moved = Caller::user_with_id(&other, &user.id, &[]);
    assert_eq!(world.told_by(&other, &moved, &cursor).await, told);
    let cursor = world.leaves_now(&user).await;
    assert_eq!(world.told_by(&other, &moved, &cursor).await, [] as [&str; 0], "its rules are the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_policies_are_told_whether_the_server_was_there_when_they_changed_or_not() {
    let mut world = World::new().await;
    let anyone = Caller::anonymous(world.place.server());
    world.sql("insert into messages (id) values (1)").await;
    let cursor = world.leaves_now(&anyone).await;
    let (name, before) = PROJECT[0];
    let after = before.replace("{ role: anon, when: open,", "{ role: anon,");
    assert_ne!(after, before);
    world.place.folder.write(name, &after);
    let read = async || anyone.get("messages").await.is(200).as_array().unwrap().len();
    eventually("the policies are others", Duration::from_secs(30), async || {
        (read().await == 1).then_some(())
    })
    .await;
    assert_eq!(world.told_again(&anyone, &cursor).await, [ACCESS]);
    let cursor = world.leaves_now(&anyone).await;
    assert_eq!(world.told_again(&anyone, &cursor).await, [] as [&str; 0]);
    world.place.end(Signal::TERM);
    world.sql("insert into messages (id) values (2)").await;
    world.place.folder.write(name, before);
    world.place.start().await;
    let anyone = Caller::anonymous(world.place.server());
    assert_eq!(world.told_again(&anyone, &cursor).await, [ACCESS]);
    world.place.end(Signal::TERM);
    world.place.folder.write(name, &format!("# Words.\n{before}"));
    let cursor = {
        world.place.start().await;
        let anyone = Caller::anonymous(world.place.server());
        world.leaves_now(&anyone).await
    };
    world.place.end(Signal::TERM);
    world.place.folder.write(name, before);
    world.place.start().await;
    let anyone = Caller::anonymous(world.place.server());
    assert_eq!(world.told_again(&anyone, &cursor).await, [] as [&str; 0], "a comment decides nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_only_the_database_looks_at_is_told() {
    let rooms = "'room.members.exists(m, m.user == auth.id)'";
    let (name, text) = PROJECT[0];
    let text = text.replace(rooms, "'room.keeper == auth.id || room.members.exists(m, m.user == auth.id)'");
    let text = text.replace("name: text", "name: text\n      keeper: uuid");
    let mut world = World::of(&[(name, &text)]).await;
    let (user, other) = (world.user(), world.user());
    let room = world.room(&[]).await;
    world.write(1, room).await;
    let cursor = world.leaves_now(&user).await;
    world.sql(&format!("update rooms set name = 'another' where id = '{room}'")).await;
    assert_eq!(world.told_again(&user, &cursor).await, [] as [&str; 0]);
    world.sql(&format!("update rooms set keeper = '{}' where id = '{room}'", user.id)).await;
    world.write(2, room).await;
    assert_eq!(world.told_again(&user, &cursor).await, [ACCESS, "INSERT 2"]);
    let cursor = world.leaves_now(&user).await;
    world.enter(room, &other).await;
    assert_eq!(world.told_again(&user, &cursor).await, [ACCESS], "whose it is only the database knows");
}

/// A list as a client of its own makes keeps it: it does what it is told, and reads again only where it is told to.
struct List {
    caller: Caller,
    rows: BTreeMap<i64, Value>,
    cursor: String,
    reads: usize,
}

impl List {
    async fn read(&mut self) {
        self.reads += 1;
        let rows = self.caller.get("messages").await.is(200);
        let rows = rows.as_array().unwrap().iter();
        self.rows = rows.map(|row| (row["id"].as_i64().unwrap(), row.clone())).collect();
    }

    /// Comes back, and takes some of what there is or all of it.
    async fn attend(&mut self, world: &mut World, most: usize) {
        let (mut socket, _) = world.place.listen_from("messages", &self.caller, &self.cursor).await;
        let mut taken = 0;
        while taken < most {
            let message = socket.next(ANSWERED_WITHIN).await.unwrap();
            assert!(!message.is_system("resync_required"), "{}", message.payload);
            if let Some(event) = message.row() {
                taken += 1;
                if event.cursor > self.cursor {
                    self.cursor.clone_from(&event.cursor);
                    self.apply(&event.record, &event.old_record);
                }
            } else if message.is_system(ACCESS) {
                self.read().await;
                self.cursor = message.payload["cursor"].as_str().unwrap().to_owned();
            } else if message.is_system("position") {
                self.cursor = message.payload["cursor"].as_str().unwrap().to_owned();
                return;
            }
        }
    }

    fn apply(&mut self, record: &Value, old: &Value) {
        if let Some(id) = old["id"].as_i64() {
            self.rows.remove(&id);
        }
        if let Some(id) = record["id"].as_i64() {
            self.rows.insert(id, record.clone());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_read_again_only_where_that_is_told_is_right_after_each_return() {
    let mut world = World::new().await;
    let mut dice = Dice(seed());
    let (id, signed_in) = session(&world).await;
    let callers = [world.user(), world.user(), signed_in, Caller::anonymous(world.place.server())];
    let rooms = [world.room(&[&callers[0]]).await, world.room(&[&callers[1]]).await, world.room(&[]).await];
    let mut lists = Vec::new();
    for caller in callers {
        let cursor = world.leaves_now(&caller).await;
        lists.push(List { caller, rows: BTreeMap::new(), cursor, reads: 0 });
    }
    let rounds = if long() { 300 } else { 40 };
    for n in 0..rounds {
        for _ in 0..dice.below(6) {
            let room = dice.pick(&rooms);
            let some = "id in (select id from messages order by random() limit 2)";
            let who = &lists[usize::try_from(dice.below(2)).unwrap()].caller;
            world
                .sql(&match dice.below(12) {
                    0..=3 => format!(
                        "insert into messages (id, room, open) select coalesce(max(id), 0) + 1, '{room}', {} from messages",
                        dice.one_in(3)
                    ),
                    4 | 5 => format!("update messages set text = text || 'x', open = not open where {some}"),
                    6 => format!("update messages set room = '{room}' where {some}"),
                    7 => format!("delete from messages where {some}"),
                    8 => format!(
                        "insert into auth.user_roles (user_id, role) values ('{id}', 'editor') on conflict do nothing"
                    ),
                    9 => format!("delete from auth.user_roles where user_id = '{id}'"),
                    10 => enters(room, who),
                    _ => leaves(room, who),
                })
                .await;
        }
        for list in &mut lists {
            // Now and then the connection does not last.
            if dice.one_in(3) {
                let most = usize::try_from(dice.below(4)).unwrap();
                list.attend(&mut world, most).await;
            }
            list.attend(&mut world, usize::MAX).await;
            let kept = list.rows.clone();
            let before = list.reads;
            list.read().await;
            list.reads = before;
            assert_eq!(kept, list.rows, "round {n}: {:?}", list.caller);
            list.rows = kept;
        }
    }
    let reads: usize = lists.iter().map(|list| list.reads).sum();
    println!("{rounds} rounds, {} lists, {reads} reads", lists.len());
    assert_eq!(lists[3].reads, 0, "whoever is nobody has no rights that change");
    assert!(reads > 0, "nobody's rights changed");
}
