//! `dev` follows the saves of a project.

use std::time::Duration;

use serde_json::json;

use crate::support::caller::Caller;
use crate::support::database;
use crate::support::server::{Folder, NOTES, Server, Start, eventually};

const WITHIN: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_good_save_is_served_and_a_bad_one_leaves_the_last_good_version() {
    let database = database().await;
    let folder = Folder::with(NOTES);
    let server = Server::dev(&folder.0, &folder.join("data"), &database.urls);
    let client = reqwest::Client::new();
    let status = async |path: &str, key: &str| {
        client.get(server.at(path)).header("apikey", key).send().await.unwrap().status().as_u16()
    };
    let (anon, secret) = (server.keys.publishable(), server.keys.secret());
    assert_eq!(status("/rest/v1/notes?select=title", anon).await, 200);
    assert_eq!(status("/rest/v1/tasks", secret).await, 404);

    // A new collection, and a new field in an old one.
    folder.write("collections/tasks.yaml", "collections:\n  tasks:\n    fields:\n      name: text\n");
    eventually("tasks are served", WITHIN, || async {
        (status("/rest/v1/tasks", secret).await == 200).then_some(())
    })
    .await;
    assert_eq!(status("/rest/v1/tasks", anon).await, 404, "no rule speaks of tasks");

    // A typo that would open nothing and must close nothing.
    let good = std::fs::read_to_string(folder.join("policies/notes.yaml")).unwrap();
    folder.write("policies/notes.yaml", &good.replace("read:", "raed:"));
    eventually("the fault is shown", WITHIN, || async { server.log().contains("raed").then_some(()) }).await;
    assert!(server.log().contains("policies/notes.yaml:5:5"), "{}", server.log());
    assert_eq!(status("/rest/v1/notes", anon).await, 200, "the last good version stays in force");

    // Half a file.
    folder.write("policies/notes.yaml", &good[..good.len() / 2]);
    folder.write(
        "policies/notes.yaml",
        &good.replace("    read: [{ role: anon }]\n", "    read: [{ role: editor }]\n"),
    );
    eventually("the rule is gone", WITHIN, || async {
        (status("/rest/v1/notes", anon).await != 200).then_some(())
    })
    .await;
    folder.write("policies/notes.yaml", &good);
    eventually("the rule is back", WITHIN, || async {
        (status("/rest/v1/notes", anon).await == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_save_that_would_lose_data_is_refused_by_name() {
    let database = database().await;
    let folder = Folder::with(NOTES);
    let server = Server::dev(&folder.0, &folder.join("data"), &database.urls);
    let client = reqwest::Client::new();
    let owner = database.connect_owner().await;
    owner
        .execute("insert into notes (title, owner) values ('a', '00000000-0000-7000-8000-000000000001')", &[])
        .await
        .unwrap();
    let collection = NOTES[0].1;
    folder.write("collections/notes.yaml", &collection.replace("      owner: uuid\n", ""));
    eventually("the loss is named", WITHIN, || async { server.log().contains("notes.owner").then_some(()) })
        .await;
    assert!(server.log().contains("--accept-loss notes.owner"), "{}", server.log());
    let asked = client.get(server.at("/rest/v1/notes?select=owner")).header("apikey", server.keys.secret());
    assert_eq!(asked.send().await.unwrap().status(), 200, "the last good version stays in force");
    // A rename loses nothing.
    folder.write(
        "collections/notes.yaml",
        &collection.replace("      owner: uuid\n", "      keeper: { type: uuid, renamed_from: owner }\n"),
    );
    eventually("the field has its new name", WITHIN, || async {
        let asked = client.get(server.at("/rest/v1/notes?select=keeper&keeper=not.is.null"));
        let answer = asked.header("apikey", server.keys.secret()).send().await.unwrap();
        let rows: Vec<serde_json::Value> = answer.json().await.unwrap_or_default();
        (rows.len() == 1).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_limit_of_statements_holds_without_a_restart() {
    let database = database().await;
    let folder = Folder::with(NOTES);
    let server = Server::dev(&folder.0, &folder.join("data"), &database.urls);
    let owner = database.connect_owner().await;
    owner
        .batch_execute(
            "create function public.dawdle() returns trigger language plpgsql as
               $$ begin perform pg_sleep(2); return new; end $$;
             create trigger dawdle before insert on public.notes for each row execute function public.dawdle()",
        )
        .await
        .unwrap();
    let secret = Caller::secret(&server);
    // Of a lane, and of the pool.
    let (one, many) = (json!({ "title": "a" }), json!([{ "title": "a" }, { "title": "b" }]));
    secret.post("notes", "", one.clone()).await.is(201);
    folder.write("basewright.yaml", "limits: { statement_timeout: 300ms }\n");
    for record in [one, many] {
        eventually("the limit is in force", WITHIN, || async {
            (secret.post("notes", "", record.clone()).await.status == 504).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rename_that_was_forgotten_can_be_asked_for_once_more() {
    let database = database().await;
    let project =
        |field: &str| format!("collections:\n  words:\n    timestamps: false\n    fields:\n      {field}\n");
    let renamed = project("term: { type: text, renamed_from: word }");
    let folder = Folder::with(&[("all.yaml", &project("word: text"))]);
    let client = database.connect_owner().await;
    let start = |project: &str| {
        folder.write("all.yaml", project);
        Server::dev(&folder.0, &folder.join("data"), &database.urls).stop();
    };
    start(&project("word: text"));
    client.batch_execute("insert into words (word) values ('one')").await.unwrap();
    start(&renamed);
    // Nothing is to be done to the tables, but for what is noted on them.
    start(&project("term: text"));
    client.batch_execute("alter table words rename column term to word").await.unwrap();
    start(&renamed);
    let found: String = client.query_one("select term from words", &[]).await.unwrap().get(0);
    assert_eq!(found, "one");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_other_roles_have_in_schema_public_is_let_be_unless_it_is_the_projects() {
    let database = database().await;
    let folder = Folder::with(NOTES);
    let admin = database.connect_admin().await;
    let stranger = format!("stranger_{}", database.name);
    admin
        .batch_execute(&format!(
            "create role {stranger};
             create table public.theirs (id int);
             create function public.their_own() returns int language sql as 'select 1';
             alter table public.theirs owner to {stranger};
             alter function public.their_own() owner to {stranger};
             revoke all on function public.their_own() from public;
             revoke all on public.theirs from public"
        ))
        .await
        .unwrap();
    let server = Server::dev(&folder.0, &folder.join("data"), &database.urls);
    let asked =
        reqwest::Client::new().get(server.at("/rest/v1/notes")).header("apikey", server.keys.publishable());
    assert_eq!(asked.send().await.unwrap().status(), 200);
    let runtime = database.connect().await;
    assert!(runtime.query("select from public.theirs", &[]).await.is_err());
    server.stop();

    admin.batch_execute(&format!("alter table public.notes owner to {stranger}")).await.unwrap();
    let (data, urls) = (folder.join("data"), Some(&database.urls));
    let start =
        Start { command: "dev", project: &folder.0, data: &data, database: urls, args: &[], env: &[] };
    let Err(log) = start.try_run() else { panic!("the table belongs to somebody else") };
    let said = format!(
        "the table public.notes is the project's and belongs to the role {stranger}, so basewright_migrate may neither \
         change it nor let requests use it: as {stranger} or a superuser, alter table public.notes owner to \"basewright_migrate\""
    );
    assert!(log.contains(&said), "{log}");
    admin.batch_execute(&format!("alter table public.notes owner to basewright_migrate; drop owned by {stranger}; drop role {stranger}")).await.unwrap();
    Server::dev(&folder.0, &data, &database.urls).stop();
}
