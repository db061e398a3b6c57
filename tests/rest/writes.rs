//! The write recipes, one by one: what each rule admits, refuses and leaves alone.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::caller::Caller;
use crate::support::server::{Folder, Server};
use crate::support::{Database, admin, database};

const PROJECT: &[(&str, &str)] = &[
    (
        "collections/all.yaml",
        "collections:
  notes:
    fields:
      title: { type: text, required: true, max: 20 }
      status: { type: enum, values: [draft, review, published], default: draft }
      rank: { type: integer, min: 0 }
      labels: { type: 'text[]', default: [] }
      owner: { type: uuid, required: true, default: auth.id }
    indexes: [[owner]]
  docs:
    fields:
      title: { type: text, required: true }
      status: { type: enum, values: [draft, review, published], default: draft }
      author: { type: uuid, required: true }
      origin: { type: text, default: unknown }
      remark: text
      reviewed_by: uuid
      version: { type: integer, required: true, default: 1 }
  claims:
    fields:
      key: { type: text, required: true, unique: true }
      value: { type: integer, default: 7 }
      owner: uuid
      seen_by: uuid
      locked: { type: boolean, required: true, default: false }
  tasks:
    fields:
      title: { type: text, required: true }
      parent: { type: relation, to: tasks, inverse: children }
      locked: { type: boolean, required: true, default: false }
      step: { type: integer, required: true, default: 0 }
      pieces: 'json[]'
      owner: { type: uuid, required: true, default: auth.id }
  blanks:
    fields:
      note: text
  marks:
    primary_key: [who, what]
    fields:
      who: { type: uuid, default: auth.id }
      what: { type: text }
      stars: { type: integer, default: 1 }
",
    ),
    (
        "policies/all.yaml",
        "roles:
  editor: { inherits: [authenticated] }
  admin: { inherits: [editor] }
  chief: { inherits: [editor] }
policies:
  notes:
    read: [{ role: authenticated, when: \"owner == auth.id || status == 'published'\" }]
    create: [{ role: authenticated, fields: [title, status, rank, labels], check: \"status != 'published'\" }]
    update: [{ role: authenticated, when: \"owner == auth.id && status != 'published'\", fields: [title, status, rank, owner], check: \"status in ['draft', 'review']\" }]
    delete: [{ role: authenticated, when: \"owner == auth.id && status == 'draft'\" }]
  docs:
    read: [{ role: authenticated, fields: { except: [remark] } }, { role: editor }]
    create:
      - { role: authenticated, fields: [id, title], set: { author: auth.id, origin: user } }
      - { role: editor, fields: [id, title, status, author, remark] }
    update:
      - { role: authenticated, when: \"author == auth.id && status == 'draft'\", fields: [title, status], check: \"status in ['draft', 'review']\" }
      - { role: editor, when: status == 'review', fields: [status, remark], set: { reviewed_by: auth.id }, check: \"status in ['draft', 'published']\" }
      - { role: admin, fields: [status, version], check: version == old.version + 1 }
      - { role: chief, fields: [status, title] }
    delete: [{ role: admin }]
  claims:
    read: [{ role: authenticated }]
    create:
      - { role: authenticated, fields: [id, key, value], set: { owner: auth.id } }
    update:
      - { role: chief, when: value != null, fields: [value], check: value > 100 }
      - { role: authenticated, when: owner == auth.id && !locked, fields: [id, value, locked], set: { seen_by: auth.id } }
      - { role: editor, when: locked, fields: [value], check: value > old.value }
  tasks:
    read: [{ role: authenticated }]
    create: [{ role: authenticated, fields: [id, title, parent, locked, pieces], check: parent == null || !parent.locked }]
    update:
      - { role: authenticated, when: owner == auth.id, fields: [title, parent, locked, step, pieces], check: \"(parent == null || !parent.locked) && step >= old.step\" }
      - { role: editor, fields: [locked] }
  blanks:
    read: [{ role: authenticated }]
    create: [{ role: authenticated }]
    update: [{ role: authenticated }]
  marks:
    read: [{ role: authenticated, when: who == auth.id }]
    create: [{ role: authenticated, fields: [what, stars], check: who == auth.id }]
    update: [{ role: authenticated, when: who == auth.id, fields: [stars], check: stars >= old.stars }]
",
    ),
];

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

    fn user(&self) -> Caller {
        Caller::user(&self.server, &[])
    }

    fn editor(&self) -> Caller {
        Caller::user(&self.server, &["editor"])
    }

    /// One number from the database itself.
    async fn number(&self, sql: &str) -> i64 {
        self.database.connect_owner().await.query_one(sql, &[]).await.unwrap().get(0)
    }
}

const REPRESENTATION: &str = "return=representation";
const OBJECT: (&str, &str) = ("accept", "application/vnd.pgrst.object+json");

fn fresh_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Creates one record and gives its id.
async fn create(caller: &Caller, collection: &str, record: Value) -> String {
    let made = caller.post(collection, REPRESENTATION, record).await.is(201);
    made[0]["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_rule_admits_leaves_alone_or_refuses() {
    let stage = Stage::new().await;
    let (ada, bob) = (stage.user(), stage.user());
    let made = ada.post("notes", REPRESENTATION, json!({ "title": "One" })).await.is(201);
    assert_eq!(made[0]["owner"], ada.id, "a default that names the caller is bound by the insert");
    assert_eq!(made[0]["status"], "draft");
    let one = format!("notes?id=eq.{}", made[0]["id"].as_str().unwrap());

    // A check that does not hold refuses, and nothing is written.
    let refused = ada
        .post(
            "notes",
            "",
            json!([{ "title": "a", "status": "draft" }, { "title": "b", "status": "published" }]),
        )
        .await;
    assert_eq!(refused.refused(403), "42501");
    assert_eq!(stage.number("select count(*) from notes").await, 1);
    assert_eq!(ada.patch(&one, "", json!({ "status": "published" })).await.refused(403), "42501");

    // A row that no rule's `when` admits, or that cannot be read, is left alone: nobody learns that it is there.
    let answer = bob.patch(&one, REPRESENTATION, json!({ "title": "Bob's" })).await.is(200);
    assert_eq!(answer, json!([]));
    bob.delete(&one, "").await.is(204);
    stage.database.connect_owner().await.execute("update notes set status = 'published'", &[]).await.unwrap();
    for caller in [&ada, &bob] {
        assert_eq!(caller.patch(&one, REPRESENTATION, json!({ "title": "New" })).await.is(200), json!([]));
        assert_eq!(caller.delete(&one, REPRESENTATION).await.is(200), json!([]));
    }
    assert_eq!(
        stage.number("select count(*) from notes where title = 'One' and status = 'published'").await,
        1
    );

    // A field outside the rule's is refused before anything runs; one that does not exist says so.
    assert_eq!(ada.post("notes", "", json!({ "title": "x", "owner": ada.id })).await.refused(403), "42501");
    assert_eq!(ada.post("notes", "", json!({ "title": "x", "nothing": 1 })).await.refused(400), "PGRST204");
    assert_eq!(
        Caller::anonymous(&stage.server).post("notes", "", json!({ "title": "x" })).await.refused(404),
        "PGRST205"
    );

    // Updates and deletes answer with what they did.
    let two = create(&ada, "notes", json!({ "title": "Two", "rank": 1, "labels": ["a", "b"] })).await;
    let answer = ada
        .patch(
            "notes?rank=eq.1&select=title,labels",
            "return=representation,count=exact",
            json!({ "rank": 2 }),
        )
        .await;
    assert_eq!(answer.header("content-range"), "0-0/1");
    assert_eq!(answer.is(200), json!([{ "title": "Two", "labels": ["a", "b"] }]));
    let answer = ada.delete(&format!("notes?id=eq.{two}&select=title"), REPRESENTATION).await.is(200);
    assert_eq!(answer, json!([{ "title": "Two" }]));
    // Giving a record away is an update like another; the answer holds what may still be read.
    let three = create(&ada, "notes", json!({ "title": "Three" })).await;
    let answer = ada.patch(&format!("notes?id=eq.{three}"), REPRESENTATION, json!({ "owner": bob.id })).await;
    assert_eq!(answer.is(200), json!([]));
    assert_eq!(
        bob.get(&format!("notes?id=eq.{three}&select=title")).await.is(200),
        json!([{ "title": "Three" }])
    );
    assert_eq!(ada.patch("notes", "", json!({})).await.status, 204);
    // The bypass is bound by constraints alone.
    Caller::secret(&stage.server).patch(&one, "", json!({ "title": "Anything" })).await.is(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_rules_one_alone_must_admit_the_whole_write() {
    let stage = Stage::new().await;
    let (ada, editor) = (stage.user(), stage.editor());
    let admin = Caller::user(&stage.server, &["admin"]);
    let id = create(&ada, "docs", json!({ "title": "Doc" })).await;
    let doc = format!("docs?id=eq.{id}");
    let stored =
        async || ada.get(&format!("{doc}&select=status,title,version,reviewed_by")).await.is(200)[0].clone();

    // The editor's own rule wants `review`; the author's is not his.
    assert_eq!(editor.patch(&doc, REPRESENTATION, json!({ "status": "published" })).await.is(200), json!([]));
    ada.patch(&doc, "", json!({ "status": "review" })).await.is(204);
    assert_eq!(ada.patch(&doc, REPRESENTATION, json!({ "title": "Late" })).await.is(200), json!([]));
    // Covered by no one rule together.
    assert_eq!(
        editor.patch(&doc, "", json!({ "status": "draft", "title": "x" })).await.refused(403),
        "42501"
    );
    // What a rule sets is set by that rule, and may be sent if equal.
    editor.patch(&doc, "", json!({ "status": "draft", "reviewed_by": editor.id })).await.is(204);
    assert_eq!(
        stored().await,
        json!({ "status": "draft", "title": "Doc", "version": 1, "reviewed_by": editor.id })
    );
    ada.patch(&doc, "", json!({ "status": "review" })).await.is(204);
    let refused = editor.patch(&doc, "", json!({ "status": "draft", "reviewed_by": ada.id })).await;
    assert_eq!(refused.refused(403), "42501");
    let after = stored().await;
    assert_eq!(
        (after["status"].as_str(), after["reviewed_by"].as_str()),
        (Some("review"), Some(&*editor.id))
    );

    // Two rules are never mixed: the editor's `when` holds, but only the admin's fields hold `version`.
    let mixed = editor.patch(&doc, "", json!({ "status": "published", "version": 2 })).await;
    assert_eq!(mixed.refused(403), "42501");
    // A check that speaks of the old record.
    assert_eq!(admin.patch(&doc, "", json!({ "status": "draft", "version": 3 })).await.refused(403), "42501");
    admin.patch(&doc, "", json!({ "status": "draft", "version": 2 })).await.is(204);
    assert_eq!(stored().await["version"], 2);
    assert_eq!(stored().await["reviewed_by"], json!(editor.id), "the admin's rule sets nothing");
    // A rule whose `check` fails has set nothing in what another admits.
    let chief = Caller::user(&stage.server, &["chief"]);
    for (status, reviewer) in [("review", &editor.id), ("published", &chief.id)] {
        chief.patch(&doc, "", json!({ "status": "review", "title": "Doc" })).await.is(204);
        chief.patch(&doc, "", json!({ "status": status })).await.is(204);
        assert_eq!(
            (&stored().await["status"], &stored().await["reviewed_by"]),
            (&json!(status), &json!(reviewer))
        );
    }
    let claim = "claims?on_conflict=key&select=value,seen_by";
    let merge = "resolution=merge-duplicates,return=representation";
    chief.post("claims", "", json!({ "key": "c", "value": 1 })).await.is(201);
    for (value, seen) in [(101, Value::Null), (5, json!(chief.id))] {
        let answer = chief.post(claim, merge, json!({ "key": "c", "value": value })).await.is(200);
        assert_eq!(answer, json!([{ "value": value, "seen_by": seen }]));
    }
    // An author who is an editor too: each row by a rule of its own.
    let both = create(&editor, "docs", json!({ "title": "Own" })).await;
    let other = create(&ada, "docs", json!({ "title": "Other" })).await;
    ada.patch(&format!("docs?id=eq.{other}"), "", json!({ "status": "review" })).await.is(204);
    let filter = format!("docs?id=in.({both},{other})&select=title,status,reviewed_by&order=title");
    let changed = editor.patch(&filter, REPRESENTATION, json!({ "status": "draft" })).await.is(200);
    assert_eq!(
        changed,
        json!([{ "title": "Other", "status": "draft", "reviewed_by": editor.id }, { "title": "Own", "status": "draft", "reviewed_by": null }])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_create_rule_sets_stands_in_no_record_that_another_admits() {
    let stage = Stage::new().await;
    let (ada, editor) = (stage.user(), stage.editor());
    let made = editor.post("docs?select=author,origin", REPRESENTATION, json!({ "title": "Mine" })).await;
    assert_eq!(made.is(201), json!([{ "author": editor.id, "origin": "user" }]));
    // Only the second rule lets an editor name another author, and it sets no origin.
    let made = editor
        .post("docs?select=author,origin", REPRESENTATION, json!({ "title": "Hers", "author": ada.id }))
        .await;
    assert_eq!(made.is(201), json!([{ "author": ada.id, "origin": "unknown" }]));
    // What is set may be sent if it is equal, by anyone.
    ada.post("docs", "", json!({ "title": "Equal", "author": ada.id })).await.is(201);
    assert_eq!(
        ada.post("docs", "", json!({ "title": "Not", "author": editor.id })).await.refused(403),
        "42501"
    );
    // Where some records lack the field, the rule decides it for them.
    let mixed = json!([{ "title": "a", "author": ada.id }, { "title": "b" }]);
    ada.post("docs", "missing=default", mixed).await.is(201);
    assert_eq!(
        stage
            .number(&format!("select count(*) from docs where author = '{}' and origin = 'user'", ada.id))
            .await,
        3
    );
    // A hidden field is none.
    assert_eq!(ada.post("docs", "", json!({ "title": "x", "remark": "y" })).await.refused(400), "PGRST204");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_insert_is_all_or_nothing_and_knows_columns_and_defaults() {
    let stage = Stage::new().await;
    let ada = stage.user();
    let many: Vec<Value> =
        (0..50).map(|n| json!({ "title": format!("n{n}"), "labels": [n.to_string(), "x,\"y\""] })).collect();
    let made = ada
        .post("notes?select=title,labels&order=title.desc&limit=1", REPRESENTATION, Value::Array(many))
        .await
        .is(201);
    assert_eq!(made.as_array().unwrap().len(), 50);
    assert_eq!(made[0], json!({ "title": "n9", "labels": ["9", "x,\"y\""] }));

    let uneven = json!([{ "title": "a", "status": "review" }, { "title": "b" }]);
    assert_eq!(ada.post("notes", "", uneven.clone()).await.refused(400), "PGRST102");
    let made = ada
        .post("notes?select=title,status&order=title", "missing=default,return=representation", uneven)
        .await
        .is(201);
    assert_eq!(made, json!([{ "title": "a", "status": "review" }, { "title": "b", "status": "draft" }]));
    // Only the named columns count, and what a record lacks is null.
    let answer = ada
        .post(
            "notes?columns=title,rank&select=title,rank,status",
            REPRESENTATION,
            json!([{ "title": "c", "status": "published", "other": 1 }, { "title": "d", "rank": 3 }]),
        )
        .await
        .is(201);
    assert_eq!(
        answer,
        json!([{ "title": "c", "rank": null, "status": "draft" }, { "title": "d", "rank": 3, "status": "draft" }])
    );
    assert_eq!(ada.post("notes", REPRESENTATION, json!([])).await.is(201), json!([]));
    // Records of defaults alone.
    let two = json!([{}, {}]);
    assert_eq!(
        ada.post("blanks?select=note", REPRESENTATION, two).await.is(201),
        json!([{ "note": null }, { "note": null }])
    );
    let two = json!([{}, { "note": "x" }]);
    let made = ada.post("blanks?select=note&order=note", "missing=default,return=representation", two).await;
    assert_eq!(made.is(201), json!([{ "note": "x" }, { "note": null }]));
    assert_eq!(ada.post("blanks", "resolution=merge-duplicates", json!({})).await.is(201), Value::Null);
    let made = ada.post("tasks?select=title", REPRESENTATION, json!({})).await;
    assert_eq!(made.refused(400), "validation_failed");
    let made = Caller::secret(&stage.server)
        .post("claims?select=key", "", json!([{ "key": "k" }, { "key": null }]))
        .await;
    assert_eq!(made.refused(400), "validation_failed");
    assert_eq!(stage.number("select count(*) from claims").await, 0);

    // headers-only says where one record is.
    let answer = ada
        .send(Method::POST, "notes", &[("prefer", "return=headers-only")], Some(&json!({ "title": "where" })))
        .await;
    let place = answer.header("location").to_owned();
    assert!(place.starts_with("/notes?id=eq."), "{place}");
    assert_eq!(answer.is(201), Value::Null);
    assert_eq!(
        ada.get(&format!("{}&select=title", &place[1..])).await.is(200),
        json!([{ "title": "where" }])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_a_body_is_told_at_once_with_its_place() {
    let stage = Stage::new().await;
    let ada = stage.user();
    let answer = ada
        .post(
            "notes",
            "",
            json!([{ "title": "x".repeat(21), "rank": -1 }, { "title": null, "rank": "many" }]),
        )
        .await
        .is(400);
    assert_eq!(answer["code"], "validation_failed");
    let mut places: Vec<&str> =
        answer["fields"].as_array().unwrap().iter().map(|fault| fault["pointer"].as_str().unwrap()).collect();
    places.sort_unstable();
    places.dedup();
    assert_eq!(places, ["/0/rank", "/0/title", "/1/rank", "/1/title"]);
    let answer = ada.post("notes", "", json!({ "rank": 1 })).await.is(400);
    assert_eq!(
        (&answer["fields"][0]["pointer"], &answer["fields"][0]["code"]),
        (&json!("/title"), &json!("required"))
    );

    // What only the database knows is mapped to the field, and no value is repeated.
    let secret = Caller::secret(&stage.server);
    ada.post("claims", "", json!({ "key": "hush" })).await.is(201);
    let answer = ada.post("claims", "", json!({ "key": "hush" })).await.is(409);
    assert_eq!((&answer["code"], &answer["fields"][0]["pointer"]), (&json!("23505"), &json!("/key")));
    assert!(!answer.to_string().contains("hush"), "{answer}");
    let answer = ada.post("tasks", "", json!({ "title": "t", "parent": fresh_id() })).await;
    assert!([403, 409].contains(&answer.status), "{}", answer.body);
    let gone = fresh_id();
    let answer =
        secret.post("tasks", "", json!({ "title": "t", "parent": gone, "owner": gone })).await.is(409);
    assert_eq!((&answer["code"], &answer["fields"][0]["pointer"]), (&json!("23503"), &json!("/parent")));
    assert!(!answer.to_string().contains(&gone), "{answer}");
    let parent = create(&ada, "tasks", json!({ "title": "p" })).await;
    create(&ada, "tasks", json!({ "title": "c", "parent": parent })).await;
    assert_eq!(secret.delete(&format!("tasks?id=eq.{parent}"), "").await.refused(409), "23503");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_object_asked_for_is_one_record_written_or_none() {
    let stage = Stage::new().await;
    let (ada, bob) = (stage.user(), stage.user());
    let id = create(&ada, "notes", json!({ "title": "a" })).await;
    create(&ada, "notes", json!({ "title": "b" })).await;
    let patch = async |path: &str, prefer: &str, body: Value| {
        ada.send(Method::PATCH, path, &[OBJECT, ("prefer", prefer)], Some(&body)).await
    };
    for prefer in ["return=representation", "return=minimal"] {
        let refused = patch("notes?title=in.(a,b)", prefer, json!({ "rank": 1 })).await.is(406);
        assert_eq!(refused["code"], "PGRST116");
        assert_eq!(refused["details"], "The result contains 2 rows");
        let refused = patch("notes?title=eq.none", prefer, json!({ "rank": 1 })).await.is(406);
        assert_eq!(refused["details"], "The result contains 0 rows");
        let refused = ada.send(Method::DELETE, "notes", &[OBJECT, ("prefer", prefer)], None).await;
        assert_eq!(refused.refused(406), "PGRST116");
        let two = json!([{ "title": "c" }, { "title": "d" }]);
        let refused = ada.send(Method::POST, "notes", &[OBJECT, ("prefer", prefer)], Some(&two)).await;
        assert_eq!(refused.refused(406), "PGRST116");
    }
    assert_eq!(stage.number("select count(*) from notes where rank is null").await, 2);
    let one = patch(&format!("notes?id=eq.{id}&select=rank"), REPRESENTATION, json!({ "rank": 4 })).await;
    assert_eq!(one.is(200), json!({ "rank": 4 }));
    // One record that the caller could not read afterwards is not written either.
    let given = patch(&format!("notes?id=eq.{id}"), REPRESENTATION, json!({ "owner": bob.id })).await;
    assert_eq!(given.refused(403), "42501");
    assert_eq!(stage.number(&format!("select count(*) from notes where owner = '{}'", ada.id)).await, 2);
    let made = ada
        .send(
            Method::POST,
            "notes?select=title",
            &[OBJECT, ("prefer", REPRESENTATION)],
            Some(&json!({ "title": "e" })),
        )
        .await;
    assert_eq!(made.is(201), json!({ "title": "e" }));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upsert_creates_updates_or_refuses_and_never_skips() {
    let stage = Stage::new().await;
    let (ada, bob, editor) = (stage.user(), stage.user(), stage.editor());
    let merge = "resolution=merge-duplicates,return=representation";
    let path = "claims?on_conflict=key&select=key,value,owner,seen_by&order=key";
    let made = ada.post(path, merge, json!({ "key": "k", "value": 1 })).await.is(201);
    assert_eq!(made, json!([{ "key": "k", "value": 1, "owner": ada.id, "seen_by": null }]));
    // An update: the create rule's `set` does not touch it, the update rule's does; 200 says that nothing is new.
    let changed = ada.post(path, merge, json!({ "key": "k", "value": 2 })).await.is(200);
    assert_eq!(changed, json!([{ "key": "k", "value": 2, "owner": ada.id, "seen_by": ada.id }]));
    let both =
        ada.post(path, merge, json!([{ "key": "k", "value": 3 }, { "key": "l", "value": 4 }])).await.is(201);
    assert_eq!(both[1]["owner"], json!(ada.id));
    assert_eq!(both[0]["value"], 3);
    // Another's record refuses the whole request.
    let refused =
        bob.post(path, merge, json!([{ "key": "fresh", "value": 9 }, { "key": "k", "value": 9 }])).await;
    assert_eq!(refused.refused(403), "42501");
    assert_eq!(
        bob.post("claims?on_conflict=key", "resolution=merge-duplicates", json!({ "key": "k", "value": 9 }))
            .await
            .refused(403),
        "42501"
    );
    // Whoever ignores duplicates creates what is new, and the rest is not there.
    let ignore = "resolution=ignore-duplicates,return=representation";
    let made =
        bob.post(path, ignore, json!([{ "key": "k", "value": 8 }, { "key": "m", "value": 8 }])).await.is(201);
    assert_eq!(made, json!([{ "key": "m", "value": 8, "owner": bob.id, "seen_by": null }]));
    // Another rule of another role, which speaks of the old record.
    ada.patch("claims?key=eq.k", "", json!({ "locked": true })).await.is(204);
    assert_eq!(ada.post(path, merge, json!({ "key": "k", "value": 5 })).await.refused(403), "42501");
    assert_eq!(editor.post(path, merge, json!({ "key": "k", "value": 3 })).await.refused(403), "42501");
    let raised = editor.post(path, merge, json!({ "key": "k", "value": 4 })).await.is(200);
    assert_eq!(raised, json!([{ "key": "k", "value": 4, "owner": ada.id, "seen_by": ada.id }]));
    // The primary key may be another than the stored one, where a rule lets it be written.
    let own = editor.post("claims", "", json!({ "key": "e", "value": 1 })).await;
    assert_eq!(own.is(201), Value::Null);
    for caller in [&editor, &ada] {
        let key = if caller.id == ada.id { "l" } else { "e" };
        let id = fresh_id();
        let answer = caller
            .post(
                "claims?on_conflict=key&select=id,value",
                merge,
                json!({ "id": id, "key": key, "value": 8 }),
            )
            .await;
        assert_eq!(answer.is(200), json!([{ "id": id, "value": 8 }]));
    }
    // The same key twice in one body is the caller's fault.
    let twice = ada.post(path, merge, json!([{ "key": "z", "value": 1 }, { "key": "z", "value": 2 }])).await;
    assert!((400..500).contains(&twice.status), "{}: {}", twice.status, twice.body);
    // What is no key at all.
    let refused = ada.post("claims?on_conflict=value", merge, json!({ "key": "k", "value": 1 })).await;
    assert_eq!(refused.refused(400), "42P10");
    assert_eq!(stage.number("select count(*) from claims").await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upsert_finds_the_record_by_a_key_that_the_insert_fills_in() {
    let stage = Stage::new().await;
    let (ada, bob) = (stage.user(), stage.user());
    let merge = "resolution=merge-duplicates,return=representation";
    for (caller, stars, status) in [(&ada, 2, 201), (&ada, 3, 200), (&bob, 1, 201), (&ada, 3, 200)] {
        let answer =
            caller.post("marks?select=who,stars", merge, json!({ "what": "w", "stars": stars })).await;
        assert_eq!(answer.is(status), json!([{ "who": caller.id, "stars": stars }]));
    }
    assert_eq!(ada.post("marks", merge, json!({ "what": "w", "stars": 2 })).await.refused(403), "42501");
    assert_eq!(stage.number("select sum(stars) from marks").await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_that_looks_at_its_own_collection_sees_the_new_rows() {
    let stage = Stage::new().await;
    let (ada, bob, editor) = (stage.user(), stage.user(), stage.editor());
    let (root, child, shut) = (fresh_id(), fresh_id(), fresh_id());
    // Parent and child in one request.
    let family = json!([{ "id": root, "title": "root", "parent": null, "locked": false }, { "id": child, "title": "child", "parent": root, "locked": false }]);
    let made = ada.post("tasks?select=title,parent(title)&order=title", REPRESENTATION, family).await.is(201);
    assert_eq!(
        made,
        json!([{ "title": "child", "parent": { "title": "root" } }, { "title": "root", "parent": null }])
    );
    let family = json!([{ "id": shut, "title": "shut", "parent": null, "locked": true }, { "id": fresh_id(), "title": "late", "parent": shut, "locked": false }]);
    assert_eq!(ada.post("tasks", "", family).await.refused(403), "42501");
    assert_eq!(stage.number("select count(*) from tasks").await, 2);
    // An update that makes its own row's parent forbidden, judged with the old row.
    let one = format!("tasks?id=eq.{child}");
    ada.patch(&one, "", json!({ "step": 2 })).await.is(204);
    assert_eq!(ada.patch(&one, "", json!({ "step": 1 })).await.refused(403), "42501");
    assert_eq!(ada.patch(&one, "", json!({ "parent": child, "locked": true })).await.refused(403), "42501");
    assert_eq!(bob.patch(&one, REPRESENTATION, json!({ "title": "bob's" })).await.is(200), json!([]));
    editor.patch(&format!("tasks?id=eq.{root}"), "", json!({ "locked": true })).await.is(204);
    assert_eq!(ada.patch(&one, "", json!({ "title": "too late" })).await.refused(403), "42501");
    assert_eq!(
        ada.patch(
            &format!("{one}&select=title,step,parent(locked)"),
            REPRESENTATION,
            json!({ "parent": null, "step": 3 })
        )
        .await
        .is(200),
        json!([{ "title": "child", "step": 3, "parent": null }])
    );
    // What is kept of the old row meanwhile holds lists inside of lists.
    let nested = json!([[1, [null]], { "a": [] }, null, []]);
    ada.patch(&one, "", json!({ "pieces": nested })).await.is(204);
    let answer =
        ada.patch(&format!("{one}&select=pieces"), REPRESENTATION, json!({ "title": "child" })).await;
    assert_eq!(answer.is(200), json!([{ "pieces": nested }]));
    // The same through an upsert: a new record, a stored one, a stored one of somebody else.
    let merge = "resolution=merge-duplicates,return=representation";
    let record = |title: &str, parent: Value| json!({ "id": child, "title": title, "parent": parent, "locked": false });
    let answer = ada.post("tasks?select=title,step", merge, record("again", Value::Null)).await;
    assert_eq!(answer.is(200), json!([{ "title": "again", "step": 3 }]));
    assert_eq!(ada.post("tasks", merge, record("under", json!(root))).await.refused(403), "42501");
    assert_eq!(bob.post("tasks", merge, record("bob's", Value::Null)).await.refused(403), "42501");
    let fresh = json!({ "id": fresh_id(), "title": "new", "parent": child, "locked": false });
    let answer = ada.post("tasks?select=title,parent(title)", merge, fresh).await;
    assert_eq!(answer.is(201), json!([{ "title": "new", "parent": { "title": "again" } }]));
    // Deletes answer with what was.
    let secret = Caller::secret(&stage.server);
    let gone = secret.delete("tasks?title=eq.new&select=title,parent(title)", REPRESENTATION).await.is(200);
    assert_eq!(gone, json!([{ "title": "new", "parent": { "title": "again" } }]));
}

#[tokio::test(flavor = "multi_thread")]
async fn upserts_of_the_same_records_in_any_order_do_not_wait_for_each_other() {
    const PROJECT: &str = "
collections:
  plain: { fields: { key: { type: text, unique: true }, value: integer } }
  ruled: { fields: { key: { type: text, unique: true }, value: integer, owner: uuid } }
policies:
  plain: { read: [{ role: anon }], create: [{ role: anon }], update: [{ role: anon }] }
  ruled:
    read: [{ role: anon }]
    create: [{ role: anon }]
    update: [{ role: anon, when: value > 0 }, { role: anon, when: owner == null, check: value > old.value - 100 }]
";
    let (folder, database) = (Folder::with(&[("all.yaml", PROJECT)]), database().await);
    let server = Server::dev(&folder.0, &folder.join("data"), &database.urls);
    let anyone = Caller::anonymous(&server);
    for collection in ["plain", "ruled"] {
        let path = format!("{collection}?on_conflict=key");
        for round in 0..12 {
            let records = |backwards: bool| -> Value {
                let mut all: Vec<Value> =
                    (0..300).map(|at| json!({ "key": format!("{round} {at}"), "value": 1 })).collect();
                if backwards {
                    all.reverse();
                }
                all.into()
            };
            let written =
                (0..4).map(|at| anyone.post(&path, "resolution=merge-duplicates", records(at % 2 == 0)));
            for answer in futures_util::future::join_all(written).await {
                assert!(matches!(answer.status, 200 | 201), "{}", answer.body);
            }
        }
    }
    // The counts of sessions reach the others when a session ends or stands still for a while.
    drop(server);
    let admin = admin().connect("postgres").await;
    let sql = "select deadlocks from pg_stat_database where datname = $1";
    let deadlocks: i64 = admin.query_one(sql, &[&database.name]).await.unwrap().get(0);
    assert_eq!(deadlocks, 0);
    // The answer's order is the caller's all the same.
    let folder = Folder::with(&[("all.yaml", PROJECT)]);
    let server = Server::dev(&folder.0, &folder.join("data"), &database.urls);
    let anyone = Caller::anonymous(&server);
    let some = json!([{ "key": "z" }, { "key": "a" }, { "key": "m" }]);
    let prefer = "resolution=merge-duplicates,return=representation";
    let answer = anyone.post("plain?on_conflict=key&select=key", prefer, some.clone()).await.is(201);
    assert_eq!(answer, some);
}
