//! Who may join which topic.

use basewright::model::Principal;
use basewright::realtime::access::{Refusal, Rights, join};
use uuid::Uuid;

use super::world::World;

const PROJECT: &str = "
collections:
  rooms: { fields: { name: text } }
  members: { fields: { room: { type: relation, to: rooms }, user: uuid } }
roles:
  editor: { inherits: [authenticated] }
conditions:
  confirmed: auth.is_anonymous == false
channels:
  'room:{room}':
    read: [{ role: authenticated, when: 'rooms.exists(r, r.id == room && r.members.exists(m, m.user == auth.id))' }]
    write: [{ role: editor, when: 'rooms.exists(r, r.id == room)' }]
  'user:{user}':
    read: [{ role: authenticated, when: user == auth.id && confirmed }]
  news:
    read: [{ role: anon }]
    write: [{ role: editor }]
  closed:
";

const ADA: Uuid = Uuid::from_u128(1);
const ROOM: &str = "room:00000000-0000-0000-0000-00000000000a";

async fn world(more: &str) -> World {
    let world = World::of(&format!("{PROJECT}{more}")).await;
    world
        .run(
            "insert into public.rooms (id, name) values ('00000000-0000-0000-0000-00000000000a', 'a');
             insert into public.members (room, \"user\") values
                ('00000000-0000-0000-0000-00000000000a', '00000000-0000-0000-0000-000000000001')",
        )
        .await;
    world
}

async fn told(world: &World, principal: &Principal, topic: &str, private: bool) -> String {
    match join(&world.pool, &world.catalog, principal, topic, private).await {
        Ok(Rights { read, write, private }) => {
            let word = |right: bool, word: &'static str| if right { word } else { "" };
            format!("{}{}{}", word(read, "r"), word(write, "w"), word(private, " private"))
        }
        Err(Refusal::Unauthorized(_)) => "unauthorized".to_owned(),
        Err(Refusal::PrivateOnly) => "private only".to_owned(),
        Err(Refusal::Failed(error)) => panic!("{topic}: {error:?}"),
    }
}

#[tokio::test]
async fn a_declared_topic_is_private_and_judged_by_its_rules_and_what_it_captures() {
    let world = world("").await;
    let (anon, ada, bob) =
        (Principal::anonymous(), Principal::user(ADA, &[]), Principal::user(Uuid::from_u128(2), &[]));
    let editor = Principal::user(ADA, &["editor"]);
    let own = format!("user:{ADA}");
    for (who, topic, expected) in [
        (&ada, ROOM, "r private"),
        (&editor, ROOM, "rw private"),
        (&Principal::user(Uuid::from_u128(2), &["editor"]), ROOM, "w private"),
        (&bob, ROOM, "unauthorized"),
        (&anon, ROOM, "unauthorized"),
        (&ada, "room:00000000-0000-0000-0000-00000000000b", "unauthorized"),
        (&ada, "room:' or true --", "unauthorized"),
        (&ada, "room:\0", "unauthorized"),
        (&ada, own.as_str(), "r private"),
        (&bob, own.as_str(), "unauthorized"),
        (&anon, "news", "r private"),
        (&editor, "news", "rw private"),
        (&editor, "closed", "unauthorized"),
        (&Principal::service(), "closed", "rw private"),
    ] {
        for private in [false, true] {
            assert_eq!(told(&world, who, topic, private).await, expected, "{topic} {who:?}");
        }
    }
}

#[tokio::test]
async fn an_undeclared_topic_is_open_to_any_key_and_never_private() {
    let world = world("").await;
    for topic in ["cats", "room", "room:a:b", "room:", "", "news:x"] {
        assert_eq!(told(&world, &Principal::anonymous(), topic, false).await, "rw", "{topic}");
        assert_eq!(told(&world, &Principal::anonymous(), topic, true).await, "unauthorized", "{topic}");
        assert_eq!(told(&world, &Principal::service(), topic, false).await, "rw", "{topic}");
        assert_eq!(told(&world, &Principal::service(), topic, true).await, "rw private", "{topic}");
    }
}

#[tokio::test]
async fn a_project_may_have_no_public_topics() {
    let world = world("realtime: { public_channels: false }\n").await;
    assert_eq!(told(&world, &Principal::anonymous(), "cats", false).await, "private only");
    assert_eq!(told(&world, &Principal::anonymous(), "cats", true).await, "unauthorized");
    assert_eq!(told(&world, &Principal::anonymous(), "news", false).await, "r private");
}
