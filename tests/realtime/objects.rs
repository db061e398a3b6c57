//! Changes of stored objects: told to whoever may read them, by the rules of their buckets.

use serde_json::{Value, json};

use super::stream::{Place, all, aware, next};
use crate::support::caller::Caller;
use crate::support::socket::{ANSWERED_WITHIN, Channel, RowEvent, Socket};

/// Folders by owner, folders by membership, and a collection that is called as the table of the objects is.
const FILES: &[(&str, &str)] = &[(
    "basewright.yaml",
    "collections:
  objects: { fields: { title: text } }
  members: { fields: { user: uuid, file: text } }
policies:
  objects: { read: [{ role: authenticated }] }
buckets:
  docs:
    policies:
      read: [{ role: authenticated, when: \"name.startsWith(auth.id + '/')\" }]
      create: [{ role: authenticated }]
      update: [{ role: authenticated, when: \"name.startsWith(auth.id + '/')\" }]
  shared:
    policies:
      read: [{ role: authenticated, when: 'members.exists(m, m.user == auth.id && m.file == name)' }]
      create: [{ role: authenticated }]
  pictures: { public: true, policies: { create: [{ role: authenticated }] } }
",
)];

fn objects() -> Value {
    json!({ "event": "*", "schema": "storage", "table": "objects" })
}

/// Stores text as a file.
async fn store(place: &Place, caller: &Caller, key: &str, text: &str, upserts: bool) {
    let request = reqwest::Client::new()
        .post(format!("{}/storage/v1/object/{key}", place.server().url))
        .header("apikey", place.server().keys.publishable())
        .header("content-type", "text/plain")
        .header("x-upsert", upserts.to_string())
        .bearer_auth(caller.token().unwrap())
        .body(text.to_owned());
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200, "{}", answer.text().await.unwrap());
}

async fn listen(place: &Place, binding: Value, caller: &Caller) -> (Socket, Channel) {
    let mut socket = place.socket().await;
    let channel = socket.join("realtime:files", aware(&[binding], ""), caller.token()).await;
    (socket, channel)
}

fn name(record: &Value) -> &str {
    record["name"].as_str().unwrap()
}

fn told(event: &RowEvent) -> (&str, &str) {
    let record = if event.record.is_null() { &event.old_record } else { &event.record };
    (event.kind.as_str(), name(record))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_told_to_whoever_may_read_it_and_to_nobody_else() {
    let place = Place::new(FILES).await;
    let (ada, bob) = (Caller::user(place.server(), &[]), Caller::user(place.server(), &[]));
    let (mut hers, _) = listen(&place, objects(), &ada).await;
    let (mut his, _) = listen(&place, objects(), &bob).await;
    let key = format!("{}/me.txt", ada.id);
    store(&place, &ada, &format!("docs/{key}"), "hello", false).await;
    // Public is what everybody may read who knows the key; it is not told to everybody.
    store(&place, &ada, "pictures/hers.txt", "hello", false).await;
    store(&place, &bob, &format!("docs/{}/his.txt", bob.id), "hello", false).await;

    let event = next(&mut hers).await;
    assert_eq!(told(&event), ("INSERT", key.as_str()));
    assert_eq!((event.data["schema"].as_str(), event.table.as_str()), (Some("storage"), "objects"));
    let mut members: Vec<&str> = event.record.as_object().unwrap().keys().map(String::as_str).collect();
    members.sort_unstable();
    let fields = [
        "bucket",
        "cache_control",
        "created_at",
        "etag",
        "id",
        "metadata",
        "mime",
        "name",
        "owner",
        "size",
        "updated_at",
    ];
    assert_eq!(members, fields, "where the content lies is nobody's business");
    let columns: Vec<&str> = event.data["columns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| column["name"].as_str().unwrap())
        .collect();
    assert_eq!(columns.len(), fields.len());
    assert_eq!(event.record["owner"], ada.id);
    assert_eq!(event.record["size"], 5);
    assert_eq!(event.record["bucket"], "docs");

    let event = next(&mut his).await;
    assert_eq!(told(&event), ("INSERT", format!("{}/his.txt", bob.id).as_str()), "the first that he is told");

    store(&place, &ada, &format!("docs/{key}"), "hello again", true).await;
    let event = next(&mut hers).await;
    assert_eq!(told(&event), ("UPDATE", key.as_str()));
    assert_eq!((&event.old_record["size"], &event.record["size"]), (&json!(5), &json!(11)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_leaves_the_view_is_deleted_and_one_that_enters_is_inserted() {
    let place = Place::new(FILES).await;
    let (ada, bob) = (Caller::user(place.server(), &[]), Caller::user(place.server(), &[]));
    let (mut hers, _) = listen(&place, objects(), &ada).await;
    let (mut his, _) = listen(&place, objects(), &bob).await;
    let (from, to) = (format!("{}/a.txt", ada.id), format!("{}/a.txt", bob.id));
    store(&place, &ada, &format!("docs/{from}"), "hello", false).await;
    assert_eq!(told(&next(&mut hers).await), ("INSERT", from.as_str()));

    let admin = place.admin().await;
    admin.execute("update storage.objects set name = $1 where name = $2", &[&to, &from]).await.unwrap();
    let event = next(&mut hers).await;
    assert_eq!(told(&event), ("DELETE", from.as_str()));
    assert!(!event.text.contains(&to), "where it went is not told: {}", event.text);
    let event = next(&mut his).await;
    assert_eq!(told(&event), ("INSERT", to.as_str()));
    assert!(!event.text.contains(&from), "where it came from is not told: {}", event.text);

    // What no field tells of is no change; the next event is that of the deletion.
    for change in ["version = basewright.uuid_v7()", "inline = not inline", "size = size"] {
        let change = format!("update storage.objects set {change} where name = $1");
        assert_eq!(admin.execute(&change, &[&to]).await.unwrap(), 1);
    }
    admin.execute("delete from storage.objects where name = $1", &[&to]).await.unwrap();
    assert_eq!(told(&next(&mut his).await), ("DELETE", to.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_membership_opens_and_closes_an_object() {
    let place = Place::new(FILES).await;
    let (ada, bob) = (Caller::user(place.server(), &[]), Caller::user(place.server(), &[]));
    let admin = place.admin().await;
    let join =
        |user: &str, file: &str| format!("insert into members (\"user\", file) values ('{user}', '{file}')");
    admin.batch_execute(&join(&bob.id, "plan.txt")).await.unwrap();
    let (mut his, _) = listen(&place, objects(), &bob).await;
    store(&place, &ada, "shared/secret.txt", "hello", false).await;
    store(&place, &ada, "shared/plan.txt", "hello", false).await;
    assert_eq!(told(&next(&mut his).await), ("INSERT", "plan.txt"));
    admin.batch_execute("delete from members").await.unwrap();
    admin.batch_execute("update storage.objects set size = 6 where name = 'plan.txt'").await.unwrap();
    admin.batch_execute(&join(&bob.id, "secret.txt")).await.unwrap();
    admin.batch_execute("update storage.objects set size = 7 where name = 'secret.txt'").await.unwrap();
    // The first that he is told after he lost the one is of the other.
    let event = next(&mut his).await;
    assert_eq!((told(&event), &event.record["size"]), (("UPDATE", "secret.txt"), &json!(7)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_has_the_objects_that_are_asked_for_and_a_cursor_goes_on_from_there() {
    let place = Place::new(FILES).await;
    let (ada, bob) = (Caller::user(place.server(), &[]), Caller::user(place.server(), &[]));
    let key = |caller: &Caller, name: &str| format!("{}/{name}", caller.id);
    for (caller, name) in [(&ada, "a.txt"), (&ada, "b.txt"), (&bob, "a.txt")] {
        store(&place, caller, &format!("docs/{}", key(caller, name)), "hello", false).await;
    }
    store(&place, &ada, &format!("docs/{}", key(&ada, "large.txt")), "hello, everybody", false).await;
    let binding = json!({ "event": "*", "schema": "storage", "table": "objects", "filter": "bucket=eq.docs,size=lt.10", "select": "name,size" });
    let config = json!({ "postgres_changes": [binding], "snapshot": true, "presence": { "enabled": false } });
    let mut socket = place.socket().await;
    let channel = socket.join("realtime:files", config, ada.token()).await;
    let snapshot = socket.wait(ANSWERED_WITHIN, |message| message.event == "snapshot").await.unwrap();
    let mut names: Vec<&str> = snapshot.payload["records"].as_array().unwrap().iter().map(name).collect();
    names.sort_unstable();
    assert_eq!(names, [key(&ada, "a.txt"), key(&ada, "b.txt")]);
    let record = snapshot.payload["records"][0].as_object().unwrap();
    assert_eq!(record.keys().collect::<Vec<_>>(), ["id", "name", "size"]);
    drop(socket);

    store(&place, &bob, &format!("docs/{}", key(&bob, "c.txt")), "hello", false).await;
    store(&place, &ada, &format!("docs/{}", key(&ada, "c.txt")), "hello", false).await;
    let mut socket = place.socket().await;
    socket.join("realtime:files", aware(&[objects()], &channel.cursor()), ada.token()).await;
    assert_eq!(told(&next(&mut socket).await), ("INSERT", key(&ada, "c.txt").as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_called_objects_is_another_one() {
    let place = Place::new(FILES).await;
    let ada = Caller::user(place.server(), &[]);
    let (mut declared, _) = listen(&place, all("objects"), &ada).await;
    let (mut stored, _) = listen(&place, objects(), &ada).await;
    let (mut both, _) = listen(&place, json!({ "event": "*", "schema": "*" }), &ada).await;
    let (mut schema, _) = listen(&place, json!({ "event": "*", "schema": "storage" }), &ada).await;
    let key = format!("{}/a.txt", ada.id);
    store(&place, &ada, &format!("docs/{key}"), "hello", false).await;
    place.admin().await.batch_execute("insert into objects (title) values ('declared')").await.unwrap();
    let event = next(&mut declared).await;
    assert_eq!((&event.record["title"], &event.data["schema"]), (&json!("declared"), &json!("public")));
    assert_eq!(told(&next(&mut stored).await), ("INSERT", key.as_str()));
    assert_eq!(next(&mut both).await.data["schema"], "storage");
    assert_eq!(next(&mut both).await.data["schema"], "public");
    assert_eq!(told(&next(&mut schema).await), ("INSERT", key.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_may_know_of_is_refused_in_one_way() {
    let place = Place::new(FILES).await;
    let (ada, nobody) = (Caller::user(place.server(), &[]), Caller::anonymous(place.server()));
    let asked = async |schema: &str, table: &str, caller: &Caller| {
        let mut socket = place.socket().await;
        let binding = json!({ "event": "*", "schema": schema, "table": table });
        let joined = socket.try_join("realtime:files", aware(&[binding], ""), caller.token()).await;
        joined.map(|_| ()).unwrap_err()
    };
    // No rule of his speaks of any bucket.
    let unknown = asked("storage", "objects", &nobody).await;
    assert!(unknown.contains("storage.objects"), "{unknown}");
    for table in ["buckets", "uploads", "trash"] {
        let refused = asked("storage", table, &ada).await;
        assert_eq!(refused.replace(table, "objects"), unknown);
    }
    for schema in ["auth", "basewright", "pg_catalog"] {
        let refused = asked(schema, "users", &ada).await;
        assert!(refused.contains("schemas"), "{refused}");
    }
    // A field that the table has, and objects have not.
    let mut socket = place.socket().await;
    let binding =
        json!({ "event": "*", "schema": "storage", "table": "objects", "filter": "inline=eq.true" });
    let refused = socket.try_join("realtime:files", aware(&[binding], ""), ada.token()).await.unwrap_err();
    assert!(refused.contains("inline"), "{refused}");
}
