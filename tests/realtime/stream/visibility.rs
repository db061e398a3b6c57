//! The doors of the socket: who is told of a row is who may read it, as of the commit, and what he is told is what he
//! may see of it.

use basewright::app::now;
use basewright::auth::token::mint;
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

use super::{Place, all, aware, next};
use crate::campaign::long;
use crate::support::caller::Caller;
use crate::support::socket::{RowEvent, Socket};

pub(super) const PROJECT: &[(&str, &str)] = &[(
    "basewright.yaml",
    "roles:
  editor: { inherits: [authenticated] }
collections:
  rooms:
    fields:
      name: text
  members:
    fields:
      room: { type: relation, to: rooms, required: true, on_delete: cascade }
      user: { type: uuid, required: true }
  messages:
    fields:
      id: bigint
      room: { type: relation, to: rooms }
      owner: uuid
      open: { type: boolean, required: true, default: false }
      note: text
      secret: text
      text: text
  marks:
    fields:
      id: bigint
policies:
  messages:
    read:
      - { role: anon, when: open, fields: { except: [note, secret] } }
      - { role: authenticated, when: owner == auth.id, fields: { except: [secret] } }
      - { role: authenticated, when: 'room.members.exists(m, m.user == auth.id)', fields: { except: [note, secret] } }
      - { role: editor }
  marks: { read: [{ role: anon }] }
",
)];

/// A project, its database, and the marks that tell where one deed's events end.
pub(super) struct World {
    pub(super) place: Place,
    admin: Client,
    pub(super) marks: i64,
}

struct Ear {
    socket: Socket,
}

impl World {
    pub(super) async fn new() -> World {
        World::of(PROJECT).await
    }

    pub(super) async fn of(project: &[(&str, &str)]) -> World {
        let place = Place::new(project).await;
        let admin = place.admin().await;
        World { place, admin, marks: 0 }
    }

    pub(super) fn user(&self) -> Caller {
        Caller::user(self.place.server(), &[])
    }

    async fn ear(&self, caller: &Caller) -> Ear {
        let mut socket = self.place.socket().await;
        let config = aware(&[all("messages"), all("marks")], "");
        socket.join("realtime:doors", config, caller.token()).await;
        Ear { socket }
    }

    pub(super) async fn sql(&self, text: &str) {
        self.admin.batch_execute(text).await.unwrap();
    }

    pub(super) async fn room(&self, users: &[&Caller]) -> Uuid {
        let room = Uuid::new_v4();
        self.sql(&format!("insert into rooms (id, name) values ('{room}', 'r')")).await;
        for user in users {
            self.enter(room, user).await;
        }
        room
    }

    pub(super) async fn enter(&self, room: Uuid, user: &Caller) {
        self.sql(&enters(room, user)).await;
    }

    /// Everything that each was told since the last time, up to now.
    async fn told<const N: usize>(&mut self, ears: [&mut Ear; N]) -> [Vec<RowEvent>; N] {
        self.marks += 1;
        self.sql(&format!("insert into marks (id) values ({})", self.marks)).await;
        let mut all = [const { Vec::new() }; N];
        for (ear, told) in ears.into_iter().zip(&mut all) {
            loop {
                let event = next(&mut ear.socket).await;
                if event.table == "marks" {
                    assert_eq!(event.record["id"], self.marks);
                    break;
                }
                told.push(event);
            }
        }
        all
    }
}

pub(super) fn enters(room: Uuid, user: &Caller) -> String {
    format!("insert into members (room, \"user\") values ('{room}', '{}')", user.id)
}

pub(super) fn leaves(room: Uuid, user: &Caller) -> String {
    format!("delete from members where room = '{room}' and \"user\" = '{}'", user.id)
}

/// A user with a session: his roles are those that the database grants.
pub(super) async fn session(world: &World) -> (Uuid, Caller) {
    let (id, session) = (Uuid::new_v4(), Uuid::new_v4());
    world.sql(&format!("insert into auth.users (id) values ('{id}')")).await;
    world.sql(&format!("insert into auth.sessions (id, user_id) values ('{session}', '{id}')")).await;
    let issued = now();
    let claims = json!({
        "iss": "basewright", "aud": "authenticated", "sub": id.to_string(), "role": "authenticated",
        "session_id": session.to_string(), "iat": issued, "exp": issued + 3_600,
    });
    let token = mint(world.place.server().keys.active(), claims.as_object().unwrap()).unwrap();
    (id, Caller::anonymous(world.place.server()).with_token(&token))
}

fn kinds(told: &[RowEvent]) -> Vec<&str> {
    told.iter().map(|event| event.kind.as_str()).collect()
}

fn has(record: &Value, names: &[&str]) -> bool {
    names.iter().all(|name| record.get(name).is_some())
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_enter_and_leave_what_each_sees_and_carry_what_each_may_know() {
    let mut world = World::new().await;
    let (owner, stranger) = (world.user(), world.user());
    let anyone = Caller::anonymous(world.place.server());
    let editor = Caller::user(world.place.server(), &["editor"]);
    let service = Caller::secret(world.place.server());
    let (mut own, mut other) = (world.ear(&owner).await, world.ear(&stranger).await);
    let (mut anon, mut edit) = (world.ear(&anyone).await, world.ear(&editor).await);
    let mut socket = Socket::connect(
        world.place.server(),
        world.place.server().keys.secret(),
        crate::support::socket::Version::V2,
    )
    .await;
    socket.join("realtime:doors", aware(&[all("messages"), all("marks")], ""), service.token()).await;
    let mut all_seeing = Ear { socket };
    let insert = |id: i64, open: bool| {
        format!(
            "insert into messages (id, owner, open, note, secret, text) \
             values ({id}, '{}', {open}, 'note', 'secret', 'text')",
            owner.id
        )
    };
    macro_rules! told {
        () => {
            world.told([&mut own, &mut other, &mut anon, &mut edit, &mut all_seeing]).await
        };
    }
    // Made unseen: its owner sees all but the secret, an editor everything, and the others nothing.
    world.sql(&insert(1, false)).await;
    let [by_owner, by_other, by_anon, by_editor, by_service] = told!();
    assert_eq!((kinds(&by_owner), kinds(&by_other), kinds(&by_anon)), (vec!["INSERT"], vec![], vec![]));
    assert_eq!((kinds(&by_editor), kinds(&by_service)), (vec!["INSERT"], vec!["INSERT"]));
    assert_eq!((&by_owner[0].record["note"], by_owner[0].record.get("secret")), (&json!("note"), None));
    assert!(
        has(&by_editor[0].record, &["note", "secret"]) && has(&by_service[0].record, &["note", "secret"])
    );
    // Opened: it is made, for who did not see it, and of what he may know.
    world.sql("update messages set open = true where id = 1").await;
    let [by_owner, by_other, by_anon, by_editor, _] = told!();
    assert_eq!(
        (kinds(&by_owner), kinds(&by_other), kinds(&by_anon)),
        (vec!["UPDATE"], vec!["INSERT"], vec!["INSERT"])
    );
    assert_eq!(by_other[0].record["note"], Value::Null, "known, and masked");
    assert_eq!((by_anon[0].record.get("note"), by_anon[0].record.get("secret")), (None, None), "unheard of");
    assert_eq!(by_other[0].data.get("old_record"), None);
    assert_eq!(by_editor[0].old_record["open"], false);
    assert!(!by_anon[0].text.contains("secret") && !by_anon[0].text.contains("note"));
    // Only what is masked or hidden changes: `updated_at` moves, and of the values nothing is told.
    world.sql("update messages set note = 'deep', secret = 'deeper' where id = 1").await;
    let [by_owner, by_other, by_anon, by_editor, _] = told!();
    assert_eq!(
        (by_owner[0].record["note"].as_str(), by_owner[0].old_record["note"].as_str()),
        (Some("deep"), Some("note"))
    );
    assert_eq!(kinds(&by_editor), ["UPDATE"]);
    for told in [&by_other, &by_anon] {
        assert!(told.iter().all(|event| !event.text.contains("deep")), "{told:?}");
    }
    // It changes hands: the mask turns with it.
    world.sql(&format!("update messages set owner = '{}' where id = 1", stranger.id)).await;
    let [by_owner, by_other, ..] = told!();
    assert_eq!(
        (&by_owner[0].old_record["note"], &by_owner[0].record["note"]),
        (&json!("deep"), &Value::Null)
    );
    assert_eq!(
        (&by_other[0].old_record["note"], &by_other[0].record["note"]),
        (&Value::Null, &json!("deep"))
    );
    // Closed: a delete for who saw it, of what he knew of it.
    world.sql("update messages set open = false, text = 'unseen' where id = 1").await;
    let [by_owner, by_other, by_anon, ..] = told!();
    assert_eq!(
        (kinds(&by_owner), kinds(&by_other), kinds(&by_anon)),
        (vec!["DELETE"], vec!["UPDATE"], vec!["DELETE"])
    );
    assert_eq!(
        (&by_anon[0].old_record["text"], &by_owner[0].old_record["note"]),
        (&json!("text"), &Value::Null)
    );
    assert!(!by_anon[0].text.contains("unseen") && !by_owner[0].text.contains("unseen"));
    // Deleted: those who did not see it learn nothing.
    world.sql("delete from messages where id = 1").await;
    let [by_owner, by_other, by_anon, by_editor, _] = told!();
    assert_eq!((kinds(&by_owner), kinds(&by_other), kinds(&by_anon)), (vec![], vec!["DELETE"], vec![]));
    assert_eq!(
        (by_other[0].old_record.get("secret"), &by_editor[0].old_record["secret"]),
        (None, &json!("deeper"))
    );
    // Made, changed and gone within one transaction, and what never happened.
    world
        .sql(&format!(
            "begin; {}; update messages set open = false where id = 2; delete from messages where id = 2; commit; \
             begin; {}; rollback",
            insert(2, true),
            insert(3, true)
        ))
        .await;
    let [by_owner, _, by_anon, ..] = told!();
    assert_eq!(kinds(&by_owner), ["INSERT", "UPDATE", "DELETE"]);
    assert_eq!(kinds(&by_anon), ["INSERT", "DELETE"]);
}

/// Rounds of a race, of which each commit decides.
fn rounds() -> i64 {
    if long() { 500 } else { 50 }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_left_a_room_sees_nothing_that_was_written_there_afterwards() {
    let mut world = World::new().await;
    let user = world.user();
    let mut ear = world.ear(&user).await;
    let (mut leaks, mut misses) = (0, 0);
    for n in 0..rounds() {
        let room = world.room(&[&user]).await;
        let write =
            |id: i64| format!("insert into messages (id, room, text) values ({id}, '{room}', 'round {n}')");
        world.sql(&write(n * 2)).await;
        world.sql(&leaves(room, &user)).await;
        // From another connection, as soon as the commit was acknowledged.
        world.sql(&write(n * 2 + 1)).await;
        let [told] = world.told([&mut ear]).await;
        let ids: Vec<i64> = told.iter().map(|event| event.record["id"].as_i64().unwrap()).collect();
        leaks += ids.iter().filter(|id| **id == n * 2 + 1).count();
        misses += usize::from(!ids.contains(&(n * 2)));
    }
    println!("left: {} rounds, {leaks} leaks, {misses} misses", rounds());
    assert_eq!((leaks, misses), (0, 0), "{}", world.place.server().log());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_entered_a_room_sees_all_that_was_written_there_afterwards() {
    let mut world = World::new().await;
    let user = world.user();
    let mut ear = world.ear(&user).await;
    let (mut leaks, mut misses) = (0, 0);
    for n in 0..rounds() {
        let room = world.room(&[]).await;
        let write =
            |id: i64| format!("insert into messages (id, room, text) values ({id}, '{room}', 'round {n}')");
        world.sql(&write(n * 2)).await;
        world.enter(room, &user).await;
        world.sql(&write(n * 2 + 1)).await;
        let [told] = world.told([&mut ear]).await;
        let ids: Vec<i64> = told.iter().map(|event| event.record["id"].as_i64().unwrap()).collect();
        leaks += ids.iter().filter(|id| **id == n * 2).count();
        misses += usize::from(!ids.contains(&(n * 2 + 1)));
    }
    println!("entered: {} rounds, {leaks} leaks, {misses} misses", rounds());
    assert_eq!((leaks, misses), (0, 0), "{}", world.place.server().log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_counts_from_its_grant_to_its_loss_between_two_commits() {
    let mut world = World::new().await;
    let (id, user) = session(&world).await;
    let mut ear = world.ear(&user).await;
    let (mut leaks, mut misses) = (0, 0);
    for n in 0..rounds() / 2 {
        let write = |id: i64| format!("insert into messages (id, secret) values ({id}, 'round {n}')");
        world.sql(&write(n * 4)).await;
        world.sql(&format!("insert into auth.user_roles (user_id, role) values ('{id}', 'editor')")).await;
        world.sql(&write(n * 4 + 1)).await;
        world.sql(&write(n * 4 + 2)).await;
        world.sql(&format!("delete from auth.user_roles where user_id = '{id}'")).await;
        world.sql(&write(n * 4 + 3)).await;
        let [told] = world.told([&mut ear]).await;
        let ids: Vec<i64> = told.iter().map(|event| event.record["id"].as_i64().unwrap()).collect();
        // What came before the grant, and what came after the loss. Between the two he is judged by what he has when he
        // is told, which may be nothing any more.
        leaks += ids.iter().filter(|id| **id == n * 4 + 3).count();
        let role = format!("insert into auth.user_roles (user_id, role) values ('{id}', 'editor')");
        world.sql(&role).await;
        world.sql(&write(-n - 1)).await;
        let [told] = world.told([&mut ear]).await;
        misses += usize::from(!told.iter().any(|event| event.record["id"] == -n - 1));
        world.sql(&format!("delete from auth.user_roles where user_id = '{id}'")).await;
    }
    println!("roles: {} rounds, {leaks} leaks, {misses} misses", rounds());
    assert_eq!((leaks, misses), (0, 0), "{}", world.place.server().log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_membership_and_a_row_of_one_transaction_are_seen_together_in_either_order() {
    let mut world = World::new().await;
    let user = world.user();
    let mut ear = world.ear(&user).await;
    for n in 0..rounds() / 5 {
        let room = world.room(&[]).await;
        let write = |id: i64| format!("insert into messages (id, room, text) values ({id}, '{room}', 'x')");
        let change = |id: i64| format!("update messages set text = text || 'y' where id = {id}");
        let (enter, leave) = (enters(room, &user), leaves(room, &user));
        let id = n * 10;
        // In with the row, whichever was written first.
        world.sql(&format!("begin; {}; {enter}; commit", write(id))).await;
        let [told] = world.told([&mut ear]).await;
        assert_eq!(kinds(&told), ["INSERT"], "the row first");
        // He saw it before, and not after: it is gone for him, whichever was written first.
        world.sql(&format!("begin; {}; {leave}; commit", change(id))).await;
        let [told] = world.told([&mut ear]).await;
        assert_eq!(kinds(&told), ["DELETE"], "changed, and left");
        world.sql(&format!("begin; {enter}; {}; {}; commit", change(id), write(id + 1))).await;
        let [told] = world.told([&mut ear]).await;
        assert_eq!(kinds(&told), ["INSERT", "INSERT"], "the membership first");
        world.sql(&format!("begin; {leave}; {}; {}; commit", change(id), write(id + 2))).await;
        let [told] = world.told([&mut ear]).await;
        assert_eq!(kinds(&told), ["DELETE"], "left, then changed and written");
        assert_eq!(told[0].old_record["id"], id);
        // In and out again within one transaction is never in.
        world.sql(&format!("begin; {enter}; {}; {leave}; commit", write(id + 3))).await;
        let [told] = world.told([&mut ear]).await;
        assert_eq!(kinds(&told), Vec::<&str>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_membership_that_comes_or_goes_is_said_once_to_whom_it_concerns() {
    let mut world = World::new().await;
    let (user, other) = (world.user(), world.user());
    let (mut ear, mut bystander) = (world.ear(&user).await, world.ear(&other).await);
    let room = world.room(&[]).await;
    world.sql(&format!("insert into messages (id, room, text) values (1, '{room}', 'before')")).await;
    world.enter(room, &user).await;
    let told = ear
        .socket
        .wait(crate::support::socket::ANSWERED_WITHIN, |message| {
            assert!(message.row().is_none(), "{message:?}");
            message.is_system("access_changed")
        })
        .await
        .unwrap();
    assert!(told.payload["cursor"].is_string());
    world.marks += 1;
    world.sql(&format!("insert into marks (id) values ({})", world.marks)).await;
    for (ear, who) in [(&mut ear, "him"), (&mut bystander, "a bystander")] {
        let message = loop {
            let message = ear.socket.next(crate::support::socket::ANSWERED_WITHIN).await.unwrap();
            if message.row().is_some() || message.is_system("access_changed") {
                break message;
            }
        };
        assert!(message.row().is_some(), "told {who}: {message:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_hidden_answers_like_what_does_not_exist_on_the_socket_too() {
    let world = World::new().await;
    let anyone = Caller::anonymous(world.place.server());
    let user = world.user();
    let ask = async |caller: &Caller, field: &str, member: &str| {
        let mut binding = all("messages");
        binding[member] = match member {
            "select" => json!([field]),
            _ => json!(format!("{field}=eq.x")),
        };
        let mut socket = world.place.socket().await;
        let config = json!({ "postgres_changes": [binding] });
        socket.try_join("realtime:doors", config, caller.token()).await.map(|_| ())
    };
    for member in ["filter", "select"] {
        for (caller, hidden) in [(&anyone, "note"), (&anyone, "secret"), (&user, "secret")] {
            let (told, unheard) = (ask(caller, hidden, member).await, ask(caller, "nothing", member).await);
            assert_eq!(
                told.unwrap_err().replace(hidden, "nothing"),
                unheard.unwrap_err(),
                "{member} {hidden}"
            );
        }
        assert_eq!(ask(&user, "note", member).await, Ok(()), "masked is known");
    }
    // A collection that nobody may read is one that is not there.
    let refused = async |table: &str| {
        let mut socket = world.place.socket().await;
        let config = json!({ "postgres_changes": [all(table)] });
        socket.try_join("realtime:doors", config, anyone.token()).await.unwrap_err()
    };
    assert_eq!(refused("members").await.replace("members", "nothing"), refused("nothing").await);
}
