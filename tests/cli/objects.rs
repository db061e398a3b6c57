//! Objects on the command line: a project's own tests of its buckets, and why somebody may do something with a file.

use serde_json::Value;

use crate::support::caller::Caller;
use crate::support::server::{Folder, Server, basewright};
use crate::support::{cluster, database};

/// Each kind of rule that a bucket can have, and cases about each.
const FILES: &str = "
collections:
  objects: { fields: { title: text } }
  members: { fields: { user: { type: uuid, references: auth.users }, folder: text, level: integer } }
roles: { editor: { inherits: [authenticated] } }
conditions:
  mine: owner == auth.id
  small: size <= 1000
policies:
  objects: { read: [{ role: anon }] }
buckets:
  avatars: { public: true, max_size: 2MB, accept: [image/*] }
  docs:
    policies:
      read: [{ role: authenticated, when: mine }, { role: editor }]
      create: [{ role: authenticated, check: \"mine && name.startsWith(auth.id + '/')\" }]
      update:
        - { role: authenticated, when: mine, check: small && mime == old.mime }
        - { role: editor, when: \"mime == 'text/plain'\", check: name == old.name }
      delete: [{ role: authenticated, when: mine && small }]
  shared:
    policies:
      read: [{ role: authenticated, when: 'members.exists(m, m.user == auth.id && name.startsWith(m.folder))' }]
      create: [{ role: authenticated, check: 'members.exists(m, m.user == auth.id && m.level > 1 && name.startsWith(m.folder))' }]
tests:
  given:
    members: [{ user: ada, folder: plans/, level: 2 }, { user: bob, folder: plans/, level: 1 }]
    objects: [{ id: declared, title: not stored }]
    storage.objects:
      - { id: pic, bucket: avatars, name: ada.png, mime: image/png, owner: ada }
      - { id: hers, bucket: docs, owner: ada }
      - { id: large, bucket: docs, name: large.bin, owner: ada, size: 5000 }
      - { id: text, bucket: docs, name: note.txt, owner: bob, mime: text/plain, size: 10 }
      - { id: plan, bucket: shared, name: plans/a.txt }
      - { id: other, bucket: shared, name: other/a.txt }
  cases:
    - { as: anon, read: storage.objects, is: denied }
    - { as: anon, read: objects, sees: [declared] }
    - { as: user:ada, read: storage.objects, sees: [hers, large, plan] }
    - { as: user:bob, read: storage.objects, sees: [text, plan] }
    - { as: user:eve, read: storage.objects, sees: [] }
    - { as: user:eve+editor, read: storage.objects, sees: [hers, large, text] }
    - { as: service, read: storage.objects, sees: [pic, hers, large, text, plan, other] }
    - { as: user:ada, read: storage.objects/hers, is: allowed }
    - { as: user:bob, read: storage.objects/hers, is: denied, because: mine }
    - { as: user:bob, read: storage.objects/hers, is: denied, because: 'buckets.docs.read[0]' }
    - { as: user:ada, read: storage.objects/pic, is: denied }
    - { as: user:ada, create: storage.objects, with: { bucket: docs, name: free.txt }, is: denied, because: 'buckets.docs.create[0]' }
    - { as: user:ada, create: storage.objects, with: { bucket: shared, name: plans/b.txt }, is: allowed }
    - { as: user:bob, create: storage.objects, with: { bucket: shared, name: plans/b.txt }, is: denied }
    - { as: user:ada, create: storage.objects, with: { bucket: avatars, name: b.png, mime: image/png }, is: denied }
    - { as: service, create: storage.objects, with: { bucket: avatars, name: b.png, mime: image/png, size: 2000000 }, is: allowed }
    - { as: user:ada, update: storage.objects/hers, with: { size: 999 }, is: allowed }
    - { as: user:ada, update: storage.objects/hers, with: { size: 1001 }, is: denied, because: small }
    - { as: user:ada, update: storage.objects/hers, with: { mime: text/html }, is: denied }
    - { as: user:bob, update: storage.objects/hers, with: { size: 999 }, is: denied }
    - { as: user:eve+editor, update: storage.objects/text, with: { size: 99999, mime: text/html }, is: allowed }
    - { as: user:eve+editor, update: storage.objects/text, with: { name: moved.txt }, is: denied }
    - { as: user:ada, delete: storage.objects/hers, is: allowed }
    - { as: user:ada, delete: storage.objects/large, is: denied, because: small }
    - { as: user:bob, delete: storage.objects/hers, is: denied }
    - { as: user:ada, subscribe: storage.objects, when_created: { new: { bucket: docs, owner: ada } }, sees: insert }
    - { as: user:bob, subscribe: storage.objects, when_created: { new: { bucket: docs, owner: ada } }, sees: nothing }
    - { as: user:ada, subscribe: storage.objects, when_updated: { plan: { name: gone.txt } }, sees: delete }
    - { as: user:ada, subscribe: storage.objects, when_updated: { other: { name: plans/c.txt } }, sees: insert }
    - { as: user:ada, subscribe: storage.objects, when_updated: { hers: { size: 1 } }, sees: update }
    - { as: user:ada, subscribe: storage.objects, when_deleted: hers, sees: delete }
    - { as: anon, subscribe: storage.objects, when_deleted: hers, sees: nothing }
";

const CASES: usize = 32;

/// Judges on a scratch database of the test cluster.
fn judge(project: &Folder, rest: &[&str]) -> (Option<i32>, String) {
    let mut command = basewright();
    command.args(["policy", "test"]).arg(&project.0).args(rest);
    command.env("DATABASE_URL", cluster().urls_of("postgres").runtime);
    command.env("BASEWRIGHT_MIGRATE_URL", cluster().admin_url("postgres"));
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

#[test]
fn rules_of_buckets_are_judged_alike_in_memory_and_on_a_database() {
    let folder = Folder::with(&[("a.yaml", FILES)]);
    let (code, said) = judge(&folder, &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.ends_with(&format!("{CASES} cases passed, in memory and on a database\n")), "{said}");
    let (code, said) = judge(&folder, &["--memory-only"]);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn every_expectation_about_objects_that_is_turned_around_fails() {
    let (head, cases) = FILES.split_once("  cases:\n").unwrap();
    let turned: Vec<String> = cases
        .lines()
        .map(|line| {
            for (was, is) in [
                ("is: allowed", "is: denied }"),
                ("is: denied", "is: allowed }"),
                ("sees: insert", "sees: update }"),
                ("sees: update", "sees: nothing }"),
                ("sees: delete", "sees: insert }"),
                ("sees: nothing", "sees: delete }"),
                ("sees: []", "sees: [hers] }"),
                ("sees: [declared]", "sees: [] }"),
                ("sees: [", "sees: [pic, other] }"),
            ] {
                if let Some((before, _)) = line.split_once(was) {
                    return format!("{before}{is}\n");
                }
            }
            panic!("{line}");
        })
        .collect();
    assert_eq!(turned.len(), CASES);
    let folder = Folder::with(&[("a.yaml", &format!("{head}  cases:\n{}", turned.concat()))]);
    let (code, said) = judge(&folder, &["--memory-only"]);
    assert_eq!(code, Some(1));
    assert!(said.contains(&format!("{CASES} of {CASES} cases failed, in memory")), "{said}");
}

#[test]
fn check_counts_buckets() {
    let folder = Folder::with(&[("a.yaml", FILES)]);
    let output = basewright().arg("check").arg(&folder.0).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said, format!("no faults: 2 collections, 3 buckets, 9 rules, {CASES} test cases\n"));
}

/// Stores text as a file, and gives its id.
async fn store(server: &Server, caller: &Caller, key: &str) -> String {
    let request = reqwest::Client::new()
        .post(format!("{}/storage/v1/object/{key}", server.url))
        .header("apikey", server.keys.publishable())
        .header("content-type", "text/plain")
        .bearer_auth(caller.token().unwrap())
        .body("hello");
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200, "{}", answer.text().await.unwrap());
    let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    body["Id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_names_the_rule_of_the_bucket_that_decided() {
    let folder = Folder::with(&[("project/a.yaml", FILES)]);
    let database = database().await;
    let (project, data) = (folder.join("project"), folder.join("data"));
    let server = Server::dev(&project, &data, &database.urls);
    let (ada, bob) = (Caller::user(&server, &[]), Caller::user(&server, &[]));
    let (her, him) = (format!("user:{}", ada.id), format!("user:{}", bob.id));
    let name = format!("{}/a.txt", ada.id);
    let id = store(&server, &ada, &format!("docs/{name}")).await;
    let (by_id, by_name) = (format!("storage.objects/{id}"), format!("storage.objects/docs/{name}"));
    let explain = |caller: &str, act: &[&str]| {
        let mut command = basewright();
        command.args(["policy", "explain"]).arg(&project).args(["--as", caller]).args(act);
        let output = command.env("DATABASE_URL", &database.urls.runtime).output().unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    let (free, own) = (format!("name={name}2"), format!("name={}/b.txt", bob.id));
    let cases: [(&str, &[&str], &str, &str); 12] = [
        (&her, &["read", &by_id], "ALLOWED by buckets.docs.read[0] (authenticated)", ""),
        (&her, &["read", &by_name], "ALLOWED by buckets.docs.read[0] (authenticated)", ""),
        (&him, &["read", &by_name], "DENIED", "buckets.docs.read[0] (authenticated): mine is false"),
        (&him, &["read", &by_name], "DENIED", "buckets.docs.read[1] needs role editor"),
        ("anon", &["read", &by_name], "DENIED", "needs role"),
        ("service", &["read", &by_name], "ALLOWED", "the secret key may do everything"),
        (&her, &["update", &by_name, "size=10"], "ALLOWED by buckets.docs.update[0] (authenticated)", ""),
        (
            &her,
            &["update", &by_name, "size=9999"],
            "DENIED",
            "small is false: size <= 1000, where size is 9999",
        ),
        (&her, &["delete", &by_name], "ALLOWED by buckets.docs.delete[0] (authenticated)", ""),
        (&her, &["create", "storage.objects", "bucket=docs", &free], "ALLOWED by buckets.docs.create[0]", ""),
        (&him, &["create", "storage.objects", "bucket=docs", &own], "ALLOWED by buckets.docs.create[0]", ""),
        (
            &him,
            &["create", "storage.objects", "bucket=docs", &free],
            "DENIED",
            "name.startsWith(auth.id + '/') is false",
        ),
    ];
    for (caller, act, first, more) in &cases {
        let said = explain(caller, act);
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.starts_with(first) && said.contains(more), "{caller} {act:?}\n{said}\nlacks {more}");
    }
    let said = explain(&her, &["read", "storage.objects/docs/nothing.txt"]);
    assert!(said.contains("there is no object `nothing.txt` in the bucket `docs`"), "{said}");
    // Nothing of all this happened.
    let row = "select name, size from storage.objects";
    let rows = database.connect_owner().await.query(row, &[]).await.unwrap();
    assert_eq!((rows.len(), rows[0].get::<_, &str>(0), rows[0].get::<_, i64>(1)), (1, name.as_str(), 5));
}
