//! What a subscription begins with.

use basewright::model::Principal;
use basewright::query::plan::Context;
use basewright::realtime::line::Binding;
use basewright::realtime::snapshot::{Beginning, Snapshot, take};
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
  marks:
    timestamps: false
    fields: { id: integer, post: { type: relation, to: posts }, name: text }
  links:
    primary_key: [mark, part]
    timestamps: false
    fields: { mark: { type: relation, to: marks }, part: integer }
policies:
  links:
    read: [{ role: anon }]
  marks:
    read: [{ role: anon, when: name != 'b', fields: [post, name] }, { role: authenticated, when: name != 'b' }]
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
    let wanted: Vec<Beginning> =
        bindings.iter().map(|binding| Beginning { binding: binding.clone(), query: None }).collect();
    begun(world, principal, &wanted).await
}

async fn begun(world: &World, principal: &Principal, wanted: &[Beginning]) -> Result<Snapshot, String> {
    let context = Context { catalog: &world.catalog, principal };
    take(&world.pool, context, wanted).await.map_err(|error| error.code.as_str().to_owned())
}

/// The records that a query of a binding begins with, as they come.
async fn asked(world: &World, principal: &Principal, binding: Binding, query: &str) -> Result<Value, String> {
    let wanted = Beginning { binding, query: Some(query.to_owned()) };
    let snapshot = begun(world, principal, &[wanted]).await?;
    Ok(serde_json::from_slice(&snapshot.parts[0].records).unwrap())
}

/// One binding's records, by id.
async fn records(world: &World, principal: &Principal, binding: Binding) -> Value {
    let snapshot = taken(world, principal, &[binding]).await.unwrap();
    let mut records: Vec<Value> = serde_json::from_slice(&snapshot.parts[0].records).unwrap();
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
    assert_eq!(both.parts.len(), 2);
    let tags: Value = serde_json::from_slice(&both.parts[1].records).unwrap();
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
    assert_eq!(&snapshot.parts[0].records[..], br#"[{"a":2,"b":"z"}]"#);
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
    let records: Vec<Value> = serde_json::from_slice(&snapshot.parts[0].records).unwrap();
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

#[tokio::test]
async fn a_query_orders_bounds_and_nests_as_a_read_does_and_the_key_is_always_there() {
    let world = world().await;
    world.run("insert into public.marks values (1, 1, 'a'), (2, 1, 'b'), (3, 4, 'Z'), (4, 4, 'é')").await;
    let posts = |filter| binding("posts", filter, None);
    let service = Principal::service();
    let of = |binding, query| asked(&world, &service, binding, query);
    assert_eq!(
        of(posts(None), "select=title&order=status.desc&limit=3").await.unwrap(),
        json!([{ "title": "one", "id": 1 }, { "title": "mine", "id": 4 }, { "title": "mine", "id": 2 }]),
        "ends by the key"
    );
    assert_eq!(
        of(posts(Some("id=neq.4")), "select=id&status=eq.live").await.unwrap(),
        json!([{ "id": 1 }]),
        "both hold"
    );
    let nested = asked(&world, &user(), posts(None), "select=id,marks(name)&marks.order=name&limit=2").await;
    assert_eq!(
        nested.unwrap(),
        json!([{ "id": 1, "marks": [{ "name": "a" }] }, { "id": 2, "marks": [] }]),
        "each level shows what its rules show"
    );
    // What is nested may have the name of a key's field.
    world.run("insert into public.links values (1, 7)").await;
    let notes = asked(&world, &user(), binding("links", None, None), "select=*,mark(name)").await;
    assert_eq!(notes.unwrap(), json!([{ "mark": { "name": "a" }, "part": 7, "_mark": 1 }]));
    // Whatever the database's language says.
    let names = asked(&world, &user(), binding("marks", None, None), "select=name&order=name.desc").await;
    let names = names.unwrap();
    let names: Vec<&str> =
        names.as_array().unwrap().iter().map(|mark| mark["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["é", "a", "Z"]);
    let wanted = Beginning { binding: binding("tags", None, None), query: Some("select=b".to_owned()) };
    let snapshot = begun(&world, &user(), &[wanted]).await.unwrap();
    assert_eq!(snapshot.parts[0].key, ["a", "b"]);
    assert_eq!(&snapshot.parts[0].records[..], br#"[{"b":"x","a":1},{"b":"y","a":1}]"#);
}

#[tokio::test]
async fn a_query_is_refused_as_a_read_is_and_bounded_as_it_is() {
    let world = world().await;
    let posts = || binding("posts", None, None);
    for (query, code) in [
        ("select=secret", "42703"),
        ("select=id,hidden(a)", "PGRST200"),
        ("order=secret", "42703"),
        ("secret=eq.s", "42703"),
        ("select=id(", "PGRST100"),
        ("limit=x", "PGRST100"),
        ("select=%ff", "PGRST100"),
    ] {
        assert_eq!(asked(&world, &user(), posts(), query).await.unwrap_err(), code, "{query}");
    }
    let long = format!("title=neq.{}", "a".repeat(16 << 10));
    assert_eq!(asked(&world, &user(), posts(), &long).await.unwrap_err(), "uri_too_long");
    // More than a page, where no limit is asked for.
    let told = asked(&world, &Principal::service(), posts(), "select=id").await;
    assert_eq!(told.unwrap_err(), "answer_too_large");
    for (query, limit) in [("select=id&limit=9", 3), ("select=id&limit=2", 2)] {
        let wanted = Beginning { binding: posts(), query: Some(query.to_owned()) };
        let snapshot = begun(&world, &Principal::service(), &[wanted]).await.unwrap();
        let records: Vec<Value> = serde_json::from_slice(&snapshot.parts[0].records).unwrap();
        assert_eq!((records.len() as u64, snapshot.parts[0].limit), (limit, Some(limit)), "{query}");
    }
    // Whose key is hidden cannot be followed.
    let marks = asked(&world, &Principal::anonymous(), binding("marks", None, None), "select=name").await;
    assert_eq!(marks.unwrap_err(), "42703");
}
