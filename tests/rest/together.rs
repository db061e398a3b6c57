//! Requests that arrive at once and share a statement: each is still judged and answered as its own.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::caller::Caller;
use crate::support::server::{Folder, Server};
use crate::support::{Database, database};

const PROJECT: &[(&str, &str)] = &[(
    "basewright.yaml",
    "collections:
  notes:
    fields:
      slug: { type: text, unique: true }
      title: { type: text, required: true, max: 40 }
      rank: { type: integer, default: 3 }
      owner: { type: uuid, required: true, default: auth.id }
      room: { type: relation, to: rooms }
      secret: text
  rooms:
    fields:
      name: { type: text, required: true }
      open: { type: boolean, required: true, default: false }
roles:
  editor: { inherits: [authenticated] }
policies:
  notes:
    read:
      - { role: authenticated, when: owner == auth.id || rank > 5, fields: { except: [secret] } }
      - { role: authenticated, when: owner == auth.id }
    create:
      - { role: authenticated, check: \"owner == auth.id && title != 'forbidden' && (room == null || room.open)\" }
  rooms:
    read: [{ role: authenticated }]
",
)];

struct Stage {
    server: Server,
    database: Database,
    _folder: Folder,
}

impl Stage {
    async fn new() -> Stage {
        let database = database().await;
        let folder = Folder::with(PROJECT);
        let server = Server::dev(&folder.0, &folder.join("data"), &database.urls);
        Stage { server, database, _folder: folder }
    }

    async fn sql(&self, query: &str) -> Vec<String> {
        let rows = self.database.connect_owner().await.query(query, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }
}

/// Creates what the bodies say, all at once, each by one of the callers in turn.
async fn create(callers: &[Caller], bodies: &[Value]) -> Vec<u16> {
    let requests = bodies.iter().zip(callers.iter().cycle());
    let answers = join_all(requests.map(|(body, caller)| caller.post("notes", "", body.clone()))).await;
    answers.into_iter().map(|answer| answer.status).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_many_callers_create_at_once_are_each_their_own_and_share_transactions() {
    let stage = Stage::new().await;
    let callers: Vec<Caller> = (0..40).map(|_| Caller::user(&stage.server, &[])).collect();
    let mut shared = false;
    for round in 0..20 {
        let bodies: Vec<Value> =
            (0..120).map(|at| json!({ "title": format!("{}", at % 40), "rank": round })).collect();
        assert!(create(&callers, &bodies).await.iter().all(|status| *status == 201));
        let of_several = "select count(*)::text from (select from notes group by xmin having count(*) > 1) x";
        shared |= stage.sql(of_several).await != ["0"];
        if shared && round > 2 {
            break;
        }
    }
    assert!(shared, "no two of the records share a transaction");
    let owners =
        stage.sql("select title || ' ' || owner from notes group by title, owner order by title::int").await;
    let expected: Vec<String> =
        callers.iter().enumerate().map(|(at, caller)| format!("{at} {}", caller.id)).collect();
    assert_eq!(owners, expected, "nobody's record is another one's");
    let versions = stage.sql("select distinct substr(id::text, 15, 1) from notes").await;
    assert_eq!(versions, ["7"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_record_among_many_is_refused_alone() {
    let stage = Stage::new().await;
    let callers: Vec<Caller> = (0..8).map(|_| Caller::user(&stage.server, &[])).collect();
    let rooms = stage
        .sql("insert into rooms (name, open) values ('open', true), ('closed', false) returning id::text")
        .await;
    for round in 0..6 {
        let slug = |at: usize| format!("{round}-{at}");
        let bodies: Vec<(Value, u16)> = (0..96)
            .map(|at| match at {
                // Told from the record alone, and only by the database.
                17 => (json!({ "title": "forbidden", "slug": slug(at) }), 403),
                33 => (json!({ "title": "a", "slug": slug(at), "room": rooms[1] }), 403),
                40 => (json!({ "title": "a", "slug": slug(39) }), 409),
                55 => (json!({ "title": "a", "slug": slug(at), "room": callers[0].id }), 403),
                60 => (json!({ "title": "a", "slug": slug(at), "owner": callers[0].id }), 403),
                70 => (json!({ "title": "x".repeat(41), "slug": slug(at) }), 400),
                71 => (json!({ "title": "a\u{0}b", "slug": slug(at) }), 400),
                _ => (json!({ "title": "\"a\\'{}, NULL", "slug": slug(at), "room": rooms[0] }), 201),
            })
            .collect();
        // Only some rounds have a record that nothing but the database refuses: it ends the sharing for a while.
        let kept: Vec<(Value, u16)> =
            bodies.into_iter().filter(|(_, status)| round > 2 || matches!(status, 201 | 400)).collect();
        let (bodies, expected): (Vec<Value>, Vec<u16>) = kept.into_iter().unzip();
        let found = create(&callers, &bodies).await;
        // Of two with one slug it is anybody's guess which comes first.
        let sorted = |mut all: Vec<u16>| {
            all.sort_unstable();
            all
        };
        assert_eq!(sorted(found), sorted(expected), "round {round}");
    }
    let odd = stage.sql("select distinct title from notes").await;
    assert!(odd.contains(&"\"a\\'{}, NULL".to_owned()), "{odd:?}");
    assert!(!odd.contains(&"forbidden".to_owned()), "{odd:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_a_trigger_of_the_database_leaves_out_takes_no_other_with_it() {
    let stage = Stage::new().await;
    let owner = stage.database.connect_owner().await;
    owner
        .batch_execute(
            "create function public.no() returns trigger language plpgsql as
                'begin return case when new.title = ''ghost'' then null else new end; end';
             create trigger no before insert on public.notes for each row execute function public.no()",
        )
        .await
        .unwrap();
    let callers = [Caller::user(&stage.server, &[])];
    let bodies: Vec<Value> = (0..80)
        .map(|at| json!({ "title": if at == 50 { "ghost".to_owned() } else { at.to_string() } }))
        .collect();
    assert!(create(&callers, &bodies).await.iter().all(|status| *status == 201));
    assert_eq!(stage.sql("select count(*)::text from notes").await, ["79"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_many_callers_read_at_once_are_each_as_their_reader_may_see_them() {
    let stage = Stage::new().await;
    let callers: Vec<Caller> = (0..12).map(|_| Caller::user(&stage.server, &[])).collect();
    let mut ids: Vec<(String, usize, bool)> = Vec::new();
    for (at, caller) in callers.iter().enumerate() {
        for rank in [1, 9] {
            let body = json!({ "title": format!("of {at}"), "rank": rank, "secret": format!("s{at}") });
            let made = caller.post("notes", "return=representation", body).await.is(201);
            ids.push((made[0]["id"].as_str().unwrap().to_owned(), at, rank > 5));
        }
    }
    for _ in 0..4 {
        let asked: Vec<(usize, &(String, usize, bool))> =
            (0..callers.len()).flat_map(|reader| ids.iter().map(move |id| (reader, id))).collect();
        for some in asked.chunks(96) {
            let answers = join_all(some.iter().map(|(reader, (id, _, _))| {
                let path = format!("notes?id=eq.{id}&select=title,secret");
                let caller = &callers[*reader];
                async move { caller.send(Method::GET, &path, &[], None).await.is(200) }
            }))
            .await;
            for ((reader, (_, owner, open)), answer) in some.iter().zip(answers) {
                let title = format!("of {owner}");
                let expected = match (reader == owner, open) {
                    (true, _) => json!([{ "title": title, "secret": format!("s{owner}") }]),
                    (false, true) => json!([{ "title": title, "secret": null }]),
                    (false, false) => json!([]),
                };
                assert_eq!(answer, expected);
            }
        }
    }
    // A key that is none fails for itself, with the others under way.
    let paths: Vec<String> = ids
        .iter()
        .map(|(id, ..)| format!("notes?id=eq.{id}"))
        .chain(["notes?id=eq.nonsense".to_owned()])
        .collect();
    let statuses = join_all(paths.iter().map(|path| callers[0].get(path))).await;
    let codes: Vec<u16> = statuses.iter().map(|answer| answer.status).collect();
    assert_eq!(codes.iter().filter(|code| **code == 400).count(), 1);
    assert_eq!(codes.iter().filter(|code| **code == 200).count(), ids.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_wait_for_a_lock_hold_up_no_other_record() {
    let stage = Stage::new().await;
    let callers: Vec<Caller> = (0..20).map(|_| Caller::user(&stage.server, &[])).collect();
    let room = stage.sql("insert into rooms (name, open) values ('open', true) returning id::text").await;
    let owner = stage.database.connect_owner().await;
    // More of them than there are lanes.
    owner.batch_execute("begin; insert into notes (slug, title, owner) select 'taken ' || i, 'a', gen_random_uuid() from generate_series(1, 5) i").await.unwrap();
    let waiting: Vec<_> = (1..=5)
        .map(|at| {
            let caller = callers[at].clone();
            let body = json!({ "title": "b", "slug": format!("taken {at}"), "room": room[0] });
            tokio::spawn(async move { caller.post("notes", "", body).await.status })
        })
        .collect();
    for round in 0..5 {
        let bodies: Vec<Value> = (0..60)
            .map(|at| json!({ "title": "c", "slug": format!("free {round} {at}"), "room": room[0] }))
            .collect();
        // Each of these is answered while the lock is held.
        assert!(create(&callers, &bodies).await.iter().all(|status| *status == 201));
    }
    owner.batch_execute("commit").await.unwrap();
    for one in waiting {
        assert_eq!(one.await.unwrap(), 409);
    }
}
