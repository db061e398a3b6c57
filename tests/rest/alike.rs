//! What shares a statement is stored, judged and answered exactly like what runs alone: every kind of value, keys that
//! the caller gives, conditions that follow relations and look at the clock, keys that a row hides.

use std::fmt::Write as _;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::caller::{Answer, Caller};
use crate::support::server::{Folder, Server};
use crate::support::{Database, database};

const PROJECT: &[(&str, &str)] = &[(
    "basewright.yaml",
    "collections:
  things:
    timestamps: false
    primary_key: [tag, code, at, size]
    fields:
      tag: { type: text, required: true }
      code: { type: text, required: true }
      at: { type: timestamp, required: true }
      size: { type: float, required: true }
      i: integer
      b: bigint
      d: decimal
      flag: boolean
      u: uuid
      day: date
      hour: time
      span: interval
      data: json
      blob: bytes
      net: inet
      kind: { type: enum, values: [one, 'two\"\\{}'] }
      n: { type: integer, default: 7 }
      owner: { type: uuid, required: true, default: auth.id }
  posts:
    timestamps: true
    fields:
      title: { type: text, required: true }
      room: { type: relation, to: rooms, required: true }
      until: timestamp
      likes: integer
      status: { type: text, required: true, default: none }
      author: uuid
  rooms:
    fields:
      name: { type: text, required: true }
  members:
    fields:
      room: { type: relation, to: rooms, required: true, inverse: members }
      user: { type: uuid, required: true }
  cards:
    fields:
      slug: { type: text, unique: true }
      rank: { type: integer, required: true }
      owner: { type: uuid, required: true, default: auth.id }
policies:
  things:
    read: [{ role: authenticated }]
    create: [{ role: authenticated, check: owner == auth.id }]
  posts:
    read: [{ role: authenticated }]
    create:
      - role: authenticated
        fields: [title, room, until, likes]
        set: { author: auth.id, status: draft }
        check: \"room.members.exists(m, m.user == auth.id) && (until == null || until > now()) && likes < 10 && author == auth.id\"
  rooms:
    read: [{ role: authenticated }]
  members:
    read: [{ role: authenticated }]
  cards:
    read:
      - { role: authenticated, when: rank > 5, fields: { except: [slug] } }
      - { role: authenticated, when: owner == auth.id }
    create: [{ role: authenticated }]
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

fn encoded(text: &str) -> String {
    let mut all = String::new();
    for byte in text.bytes() {
        write!(all, "%{byte:02X}").unwrap();
    }
    all
}

fn statuses(answers: &[Answer]) -> Vec<u16> {
    answers.iter().map(|answer| answer.status).collect()
}

/// Records without their tag; `tag` tells how they were written.
fn things(tag: &str) -> Vec<Value> {
    let texts = ["a", "A", "", " a ", "NULL", "\"", "\\", "{}", "a,b", "\n\té\u{1f600}", "'; --", "$1"];
    let times = [
        "2026-11-21T09:00:00+00:00",
        "infinity",
        "-infinity",
        "0001-01-01T00:00:00Z",
        "1999-12-31 23:59:60+05:30",
    ];
    let sizes = [
        json!(0),
        json!(-0.0),
        json!("NaN"),
        json!("Infinity"),
        json!("-Infinity"),
        json!(1e-300),
        json!(0.1),
        json!(1),
    ];
    let rests = [
        json!({ "i": 2147483647, "b": "-9223372036854775808", "d": "12345678901234567890.1234500", "flag": true,
                "u": "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "day": "2024-02-29", "hour": "23:59:59.999999",
                "span": "1 year -3 days 04:05:06", "data": { "a": [1.50, null, "\"x\\"] }, "blob": "\\x00ff22",
                "net": "10.0.0.0/8", "kind": "two\"\\{}", "n": 1 }),
        json!({ "i": null, "b": 1, "d": 1.50, "flag": null, "u": null, "day": "infinity", "hour": "24:00:00",
                "span": "P1M", "data": "NULL", "blob": "\\x", "net": "::1", "kind": "one", "n": null }),
        json!({ "i": -1, "b": 0, "d": "NaN", "flag": false, "u": null, "day": null, "hour": null, "span": null,
                "data": null, "blob": null, "net": null, "kind": null, "n": 0 }),
    ];
    let mut all = Vec::new();
    for at in 0..96 {
        let mut one = rests[at % rests.len()].clone();
        one["tag"] = tag.into();
        one["code"] = texts[at % texts.len()].into();
        one["at"] = times[at % times.len()].into();
        one["size"] = sizes[at / 12 % sizes.len()].clone();
        if at % 2 == 0 {
            one.as_object_mut().unwrap().remove("n");
        }
        all.push(one);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_every_kind_and_keys_of_every_sort_are_stored_and_read_as_if_alone() {
    let stage = Stage::new().await;
    let callers: Vec<Caller> = (0..8).map(|_| Caller::user(&stage.server, &[])).collect();
    let mut alone = Vec::new();
    for (body, caller) in things("alone").into_iter().zip(callers.iter().cycle()) {
        alone.push(caller.post("things", "", body).await);
    }
    let bodies = things("together");
    let together = join_all(
        bodies
            .iter()
            .zip(callers.iter().cycle())
            .map(|(body, caller)| caller.post("things", "", body.clone())),
    )
    .await;
    assert_eq!(statuses(&alone), statuses(&together));
    let taken = alone.iter().filter(|answer| answer.status == 201).count();
    assert!(taken > 60, "{:?}", alone.iter().map(|answer| &answer.body).collect::<Vec<_>>());
    let stored = |tag: &'static str| {
        let stage = &stage;
        async move {
            stage
                .sql(&format!(
                    "select (to_jsonb(things) - 'tag')::text from things where tag = '{tag}' order by 1"
                ))
                .await
        }
    };
    assert_eq!(stored("alone").await, stored("together").await);
    assert_eq!(stored("alone").await.len(), taken);
    let several = "select count(*)::text from (select from things group by xmin having count(*) > 1) x";
    assert_ne!(stage.sql(several).await, ["0"], "no two share a transaction");

    let paths: Vec<String> = bodies
        .iter()
        .map(|body| {
            let text = |name: &str| match &body[name] {
                Value::String(text) => encoded(text),
                other => encoded(&other.to_string()),
            };
            format!(
                "things?tag=eq.together&code=eq.{}&at=eq.{}&size=eq.{}",
                text("code"),
                text("at"),
                text("size")
            )
        })
        .collect();
    let mut found = 0;
    for select in ["", "&select=tag,x:code,x:data->a,size&limit=1", "&limit=0", "&offset=1"] {
        let mut alone = Vec::new();
        for path in &paths {
            alone.push(callers[0].get(&format!("{path}{select}")).await.is(200));
        }
        let answers = join_all(paths.iter().zip(callers.iter().cycle()).map(|(path, caller)| {
            let path = format!("{path}{select}");
            async move { caller.get(&path).await.is(200) }
        }))
        .await;
        assert_eq!(answers, alone);
        let rows: usize = answers.iter().map(|rows| rows.as_array().unwrap().len()).sum();
        match select {
            "&limit=0" | "&offset=1" => assert_eq!(rows, 0),
            _ => found += rows,
        }
    }
    assert!(found >= 2 * taken, "{found} of {taken}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_record_of_a_shared_statement_is_judged_by_relations_clock_and_nulls_of_its_own() {
    let stage = Stage::new().await;
    let callers: Vec<Caller> = (0..6).map(|_| Caller::user(&stage.server, &[])).collect();
    let rooms = stage
        .sql("insert into rooms (name) select i::text from generate_series(1, 6) i returning id::text")
        .await;
    for (caller, room) in callers.iter().zip(&rooms) {
        stage
            .sql(&format!(
                "insert into members (room, \"user\") values ('{room}', '{}') returning id::text",
                caller.id
            ))
            .await;
    }
    // The order of the members makes a shape, so that one that stopped sharing is not met again.
    let orders = [
        ["title", "room", "until", "likes"],
        ["room", "title", "until", "likes"],
        ["room", "until", "title", "likes"],
        ["room", "until", "likes", "title"],
        ["until", "room", "likes", "title"],
        ["likes", "until", "room", "title"],
    ];
    for (round, order) in orders.iter().enumerate() {
        let bodies: Vec<(usize, String, u16)> = (0..90)
            .map(|at| {
                let who = at % callers.len();
                // Only the last rounds have records that are refused, and only one sort each.
                let bad = round > 1 && at % 9 == 5;
                let room = &rooms[if bad && round == 2 { (who + 1) % 6 } else { who }];
                let until = match (bad, round) {
                    (true, 3) => json!("2020-01-01T00:00:00Z"),
                    (true, 4) => json!("-infinity"),
                    _ if at % 2 == 0 => Value::Null,
                    _ => json!("infinity"),
                };
                let likes = if bad && round == 5 { Value::Null } else { json!(at % 10) };
                let member = |name: &&str| {
                    let value = match *name {
                        "title" => json!(format!("{round} {at} {who}")),
                        "room" => json!(room),
                        "until" => until.clone(),
                        _ => likes.clone(),
                    };
                    format!("\"{name}\": {value}")
                };
                let body = format!("{{{}}}", order.iter().map(member).collect::<Vec<_>>().join(", "));
                (who, body, if bad { 403 } else { 201 })
            })
            .collect();
        let answers =
            join_all(bodies.iter().map(|(who, body, _)| callers[*who].post_text("posts", body))).await;
        let expected: Vec<u16> = bodies.iter().map(|(_, _, status)| *status).collect();
        assert_eq!(statuses(&answers), expected, "round {round}");
        for answer in answers.iter().filter(|answer| answer.status == 403) {
            assert_eq!(answer.body["code"], "42501");
        }
        let stored = stage
            .sql(&format!("select title || ' ' || author || ' ' || status from posts where title like '{round} %' order by split_part(title, ' ', 2)::int"))
            .await;
        let expected: Vec<String> = (0..90)
            .filter(|at| bodies[*at].2 == 201)
            .map(|at| format!("{round} {at} {} {} draft", at % 6, callers[at % 6].id))
            .collect();
        assert_eq!(stored, expected, "round {round}");
    }
    let several = "select count(*)::text from (select from posts group by xmin having count(*) > 1) x";
    assert_ne!(stage.sql(several).await, ["0"], "no two share a transaction");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unique_field_that_a_row_hides_finds_it_for_nobody_else_in_the_same_statement() {
    let stage = Stage::new().await;
    let callers: Vec<Caller> = (0..10).map(|_| Caller::user(&stage.server, &[])).collect();
    for (at, caller) in callers.iter().enumerate() {
        let body = json!({ "slug": format!("slug-{at}"), "rank": if at % 2 == 0 { 9 } else { 1 } });
        caller.post("cards", "", body).await.is(201);
        caller.post("cards", "", json!({ "rank": 9 })).await.is(201);
    }
    for select in ["select=rank,slug", "select=*", "select=rank,slug&limit=3&order=rank"] {
        let asked: Vec<(usize, usize)> =
            (0..10).flat_map(|reader| (0..10).map(move |owner| (reader, owner))).collect();
        let answers = join_all(asked.iter().map(|(reader, owner)| {
            let path = format!("cards?slug=eq.slug-{owner}&{select}");
            let caller = &callers[*reader];
            async move { caller.send(Method::GET, &path, &[], None).await.is(200) }
        }))
        .await;
        for ((reader, owner), answer) in asked.iter().zip(answers) {
            let rows = answer.as_array().unwrap();
            assert_eq!(
                rows.len(),
                usize::from(reader == owner),
                "{reader} asked for the card of {owner}: {rows:?}"
            );
            assert!(rows.iter().all(|row| row["slug"] == format!("slug-{owner}")));
        }
    }
}
