//! What a subscription begins with.

use basewright::model::Principal;
use basewright::query::plan::Context;
use basewright::realtime::line::Binding;
use basewright::realtime::snapshot::{Snapshot, take};
use serde_json::{Value, json};
use uuid::Uuid;

use super::world::World;

const PROJECT: &str = "
limits: { rows: 3 }
collections:
  posts:
    timestamps: false
    fields: { id: integer, title: text, status: text, notes: text, secret: text }
  tags:
    primary_key: [a, b]
    timestamps: false
    fields: { a: integer, b: text }
  hidden: { fields: { a: text } }
policies:
  posts:
    read:
      - { role: anon, when: status == 'live', fields: [id, title, status] }
      - { role: authenticated, when: title == 'mine', fields: [id, title, status, notes] }
  tags:
    read: [{ role: anon }]
";

fn binding(table: &str, filter: Option<&str>, select: Option<&[&str]>) -> Binding {
    Binding {
        operation: None,
        schema: "public".to_owned(),
        table: Some(table.to_owned()),
        filter: filter.map(str::to_owned),
        select: select.map(|names| names.iter().map(|name| (*name).to_owned()).collect()),
    }
}

async fn world() -> World {
    let world = World::of(PROJECT).await;
    world
        .run(
            "insert into public.posts values (1, 'one', 'live', 'n1', 's'), (2, 'mine', 'draft', 'n2', 's'),
                (3, 'three', 'draft', 'n3', 's'), (4, 'mine', 'live', 'n4', 's');
             insert into public.tags values (1, 'x'), (1, 'y');",
        )
        .await;
    world
}

fn user() -> Principal {
    Principal::user(Uuid::nil(), &[])
}

async fn taken(world: &World, principal: &Principal, bindings: &[Binding]) -> Result<Snapshot, String> {
    let context = Context { catalog: &world.catalog, principal };
    take(&world.pool, context, bindings).await.map_err(|error| error.code.as_str().to_owned())
}

/// One binding's records, by id.
async fn records(world: &World, principal: &Principal, binding: Binding) -> Value {
    let snapshot = taken(world, principal, &[binding]).await.unwrap();
    let mut records: Vec<Value> = serde_json::from_slice(&snapshot.records[0]).unwrap();
    records.sort_by_key(|record| record["id"].as_i64());
    Value::Array(records)
}

#[tokio::test]
async fn it_holds_what_a_read_would_answer() {
    let world = world().await;
    let live = |id: i32, title: &str| json!({ "id": id, "title": title, "status": "live" });
    assert_eq!(
        records(&world, &Principal::anonymous(), binding("posts", None, None)).await,
        json!([live(1, "one"), live(4, "mine")])
    );
    // The notes of what is not his are masked, and a filter reads them so.
    assert_eq!(
        records(&world, &user(), binding("posts", None, Some(&["notes"]))).await,
        json!([{ "id": 1, "notes": null }, { "id": 2, "notes": "n2" }, { "id": 4, "notes": "n4" }])
    );
    assert_eq!(
        records(&world, &user(), binding("posts", Some("notes=is.null"), Some(&["id"]))).await,
        json!([{ "id": 1 }])
    );
    assert_eq!(
        records(&world, &user(), binding("posts", Some("id=in.(2,3,4),title=match.^m"), Some(&["id"]))).await,
        json!([{ "id": 2 }, { "id": 4 }])
    );
    let both = [binding("posts", None, None), binding("tags", None, Some(&["b"]))];
    let both = taken(&world, &user(), &both).await.unwrap();
    assert_eq!(both.records.len(), 2);
    let tags: Value = serde_json::from_slice(&both.records[1]).unwrap();
    assert_eq!(tags, json!([{ "a": 1, "b": "x" }, { "a": 1, "b": "y" }]), "the key is always there");
}

#[tokio::test]
async fn it_knows_which_transactions_it_holds() {
    let world = world().await;
    let client = world.database.connect_owner().await;
    let open = world.database.connect_owner().await;
    let xid = |rows: Vec<tokio_postgres::Row>| rows[0].get::<_, String>(0).parse::<u64>().unwrap() as u32;
    let insert = |id: i32| {
        format!("with x as (insert into public.tags values ({id}, 'z')) select pg_current_xact_id()::text")
    };
    let before = xid(client.query(&insert(2), &[]).await.unwrap());
    open.batch_execute("begin").await.unwrap();
    let during = xid(open.query(&insert(3), &[]).await.unwrap());
    let snapshot = taken(&world, &user(), &[binding("tags", Some("b=eq.z"), None)]).await.unwrap();
    open.batch_execute("commit").await.unwrap();
    let after = xid(client.query(&insert(4), &[]).await.unwrap());
    assert_eq!(&snapshot.records[0][..], br#"[{"a":2,"b":"z"}]"#);
    assert!(snapshot.visibility.sees(before));
    assert!(!snapshot.visibility.sees(during) && !snapshot.visibility.sees(after));
    let row = client.query_one("select (pg_current_wal_insert_lsn() - '0/0')::bigint", &[]).await.unwrap();
    assert!(snapshot.lsn > 0 && snapshot.lsn <= row.get::<_, i64>(0) as u64);
}

#[tokio::test]
async fn more_than_a_page_is_refused() {
    let world = world().await;
    let all = binding("posts", None, None);
    assert_eq!(taken(&world, &Principal::service(), &[all]).await.unwrap_err(), "answer_too_large");
    let some = binding("posts", Some("id=neq.1"), None);
    let snapshot = taken(&world, &Principal::service(), &[some]).await.unwrap();
    let records: Vec<Value> = serde_json::from_slice(&snapshot.records[0]).unwrap();
    assert_eq!(records.len(), 3);
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_as_a_read_is() {
    let world = world().await;
    let schema = Binding { schema: "auth".to_owned(), ..binding("users", None, None) };
    let all = Binding { table: None, ..binding("", None, None) };
    for (binding, code) in [
        (binding("nothing", None, None), "PGRST205"),
        (binding("hidden", None, None), "PGRST205"),
        (binding("posts", Some("secret=eq.s"), None), "42703"),
        (binding("posts", None, Some(&["secret"])), "42703"),
        (binding("posts", None, Some(&["nothing"])), "42703"),
        (binding("posts", Some("id=eq.x"), None), "22P02"),
        (binding("posts", Some("id"), None), "PGRST100"),
        (schema, "PGRST106"),
        (all, "PGRST127"),
    ] {
        assert_eq!(
            taken(&world, &user(), std::slice::from_ref(&binding)).await.unwrap_err(),
            code,
            "{binding:?}"
        );
    }
}
