//! `tail`: what happens to a collection's records, what somebody is told of it, and why.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::support::caller::Caller;
use crate::support::server::{Folder, Server, basewright};
use crate::support::{Database, database};

const PROJECT: &[(&str, &str)] = &[(
    "a.yaml",
    "conditions:
  live: status == 'live'
collections:
  rooms: { fields: { name: text } }
  members: { fields: { room: { type: relation, to: rooms }, user: uuid } }
  posts:
    timestamps: false
    fields: { id: integer, title: text, status: text, notes: text, room: { type: relation, to: rooms } }
policies:
  posts:
    read:
      - { role: anon, when: live, fields: { except: [notes] } }
      - { role: authenticated, when: 'room.members.exists(m, m.user == auth.id)' }
",
)];

/// One that watches, ready.
struct Watching {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Watching {
    fn start(project: &Path, database: &Database, args: &[&str]) -> Watching {
        let mut command: Command = basewright();
        command.arg("tail").arg(project).arg("posts").args(args);
        command.env("DATABASE_URL", &database.urls.runtime);
        command.env("BASEWRIGHT_REPLICATION_URL", &database.urls.replication);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut said).unwrap();
        assert!(said.starts_with("watching posts as "), "{said}");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Watching { child, lines }
    }

    /// Its lines, once it has ended by itself.
    fn end(mut self) -> Vec<String> {
        let lines = self.lines.by_ref().map(Result::unwrap).collect();
        assert!(self.child.wait().unwrap().success());
        lines
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_is_a_line_with_what_the_caller_is_told_and_why() {
    let database = database().await;
    let folder = Folder::with(PROJECT);
    let server = Server::dev(&folder.0, &folder.join("data"), &database.urls);
    let secret = Caller::secret(&server);
    let ada = "00000000-0000-4000-8000-000000000ada";
    let user = format!("user:{ada}");
    let watch = |args: &[&str]| Watching::start(&folder.0, &database, args);
    let anon = watch(&["--as", "anon", "-n", "5"]);
    let member = watch(&["--as", &user, "--json", "-n", "5"]);
    let room = secret.post("rooms", "return=representation", json!({ "name": "a" })).await.is(201);
    let room = room[0]["id"].clone();
    secret.post("members", "", json!({ "room": room, "user": ada })).await.is(201);
    secret.post("posts", "", json!({ "id": 1, "title": "a", "status": "draft" })).await.is(201);
    secret.patch("posts?id=eq.1", "", json!({ "status": "live" })).await.is(204);
    secret.patch("posts?id=eq.1", "", json!({ "notes": "n" })).await.is(204);
    secret.patch("posts?id=eq.1", "", json!({ "status": "draft", "room": room })).await.is(204);
    secret.delete("posts?id=eq.1", "").await.is(204);

    let not_live = "posts.read[0] (anon): live is false: status == 'live', where status is 'draft'";
    let expected = [
        format!("INSERT posts/1  -> nothing  {not_live}"),
        format!("UPDATE posts/1  -> INSERT   by posts.read[0] (anon); before: {not_live}"),
        "UPDATE posts/1  -> nothing  nothing that he sees of it has changed".to_owned(),
        format!("UPDATE posts/1  -> DELETE   by posts.read[0] (anon); after: {not_live}"),
        format!("DELETE posts/1  -> nothing  {not_live}"),
    ];
    let lines = anon.end();
    let told: Vec<&str> = lines.iter().map(|line| line.split_once("  ").unwrap().1).collect();
    assert_eq!(told, expected);

    let lines: Vec<Value> = member.end().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<(&str, &str)> = lines
        .iter()
        .map(|line| (line["operation"].as_str().unwrap(), line["sees"].as_str().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            ("INSERT", "nothing"),
            ("UPDATE", "INSERT"),
            // The notes are the members', and the post is in no room.
            ("UPDATE", "nothing"),
            ("UPDATE", "UPDATE"),
            ("DELETE", "DELETE"),
        ]
    );
    assert_eq!(lines[3]["why"], json!(["by posts.read[1] (authenticated)"]));
    assert_eq!(lines[0]["key"], json!({ "id": "1" }));
    assert!(lines[0]["time"].as_str().unwrap().ends_with("+00:00"));
    // Its slot went with it.
    let admin = database.connect_admin().await;
    let slots = "select count(*) from pg_replication_slots where slot_name like 'basewright_tail_%' and database = current_database()";
    crate::support::server::eventually("no slot is left", std::time::Duration::from_secs(10), || async {
        let left: i64 = admin.query_one(slots, &[]).await.unwrap().get(0);
        (left == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_watched_is_said() {
    let folder = Folder::with(PROJECT);
    let tail = |args: &[&str]| {
        let output = basewright().arg("tail").args(args).current_dir(&folder.0).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = tail(&[".", "nothing", "--as", "anon"]);
    assert_eq!(code, 1);
    assert!(said.contains("the project has no collection `nothing`"), "{said}");
    let (code, said) = tail(&[".", "posts", "--as", "anon"]);
    assert_eq!(code, 1);
    assert!(said.contains("no server runs on ./.basewright"), "{said}");
    assert_eq!(tail(&[".", "posts"]).0, 2, "it says who listens");
}
