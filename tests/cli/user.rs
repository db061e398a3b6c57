//! `user`: users at the command line, beside a running server and without one.

use std::io::Write as _;
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::support::database;
use crate::support::server::{Folder, Server, Start, basewright, eventually};

const PROJECT: &[(&str, &str)] = &[(
    "basewright.yaml",
    "collections:
  notes:
    fields:
      title: text
roles:
  editor: { inherits: [authenticated] }
policies:
  notes:
    read: [{ role: editor }]
",
)];
const ADA: &str = "ada@example.test";

/// The command line of one project, with its database named by the environment.
struct Console<'a> {
    project: &'a str,
    url: &'a str,
}

impl Console<'_> {
    fn run(&self, words: &[&str], rest: &[&str], stdin: &str) -> Output {
        let mut command = basewright();
        command.arg("user").args(words).arg(self.project).args(rest).env("DATABASE_URL", self.url);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// What it prints when all is well.
    #[track_caller]
    fn says(&self, words: &[&str], rest: &[&str]) -> String {
        let output = self.run(words, rest, "");
        let problem = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{words:?} {rest:?}: {problem}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Its complaint when it is not.
    #[track_caller]
    fn refuses(&self, words: &[&str], rest: &[&str], code: i32) -> String {
        let output = self.run(words, rest, "");
        let problem = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{words:?} {rest:?}: {problem}");
        problem
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_keeps_users_without_the_server_and_the_server_knows() {
    let database = database().await;
    let folder = Folder::with(PROJECT);
    let server = Server::dev(&folder.0, &folder.join("data"), &database.urls);
    let console = Console { project: folder.0.to_str().unwrap(), url: &database.urls.runtime };

    let made = console.says(&["add"], &[ADA, "--role", "editor"]);
    let mut lines = made.lines();
    let id = lines.next().unwrap().split_whitespace().next().unwrap().to_owned();
    let password = lines.next().unwrap().strip_prefix("password  ").unwrap().to_owned();
    assert!(password.len() >= 20 && lines.next().is_none(), "{made}");
    let client = reqwest::Client::new();
    let sign_in = async |password: &str| {
        client
            .post(server.at("/auth/v1/token?grant_type=password"))
            .header("apikey", server.keys.publishable())
            .json(&json!({ "email": ADA, "password": password }))
            .send()
            .await
            .unwrap()
    };
    let session: Value = sign_in(&password).await.json().await.unwrap();
    let token = session["access_token"].as_str().unwrap();
    let read = async || {
        let request = client.get(server.at("/rest/v1/notes")).header("apikey", server.keys.publishable());
        request.bearer_auth(token).send().await.unwrap().status().as_u16()
    };
    assert_eq!(read().await, 200);

    let shown: Value = serde_json::from_str(&console.says(&["show"], &[ADA, "--json"])).unwrap();
    assert_eq!((&shown["id"], &shown["roles"]), (&json!(id), &json!(["editor"])));
    assert!(console.says(&["show"], &[&id]).contains("sessions       1"));
    assert!(console.says(&["list"], &[]).contains(ADA));
    assert_eq!(console.says(&["list"], &["--filter", "nobody"]), "");

    let within = std::time::Duration::from_secs(5);
    console.says(&["role", "remove"], &[ADA, "editor"]);
    eventually("the role is gone", within, || async { (read().await == 404).then_some(()) }).await;
    console.says(&["role", "add"], &[ADA, "editor"]);
    eventually("the role counts", within, || async { (read().await == 200).then_some(()) }).await;
    assert!(console.says(&["ban"], &[ADA]).contains("(banned)"));
    eventually("the user is out", within, || async { (read().await == 401).then_some(()) }).await;
    assert_eq!(sign_in(&password).await.status(), 403);
    assert!(!console.says(&["unban"], &[&id]).contains("(banned)"));
    assert_eq!(sign_in(&password).await.status(), 200);

    let typed =
        console.run(&["add"], &["bob@example.test", "--password-stdin", "--json"], "correct horse battery\n");
    let bob: Value = serde_json::from_slice(&typed.stdout).unwrap();
    assert!(bob.get("password").is_none() && bob["has_password"] == true, "{bob}");
    let guest: Value =
        serde_json::from_str(&console.says(&["add"], &["guest@example.test", "--no-password", "--json"]))
            .unwrap();
    assert_eq!(guest["has_password"], false);
    console.says(&["delete"], &["bob@example.test"]);
    console.says(&["delete"], &["guest@example.test", "--soft"]);
    assert_eq!(console.says(&["list"], &[]).lines().count(), 1);

    let owner = database.connect_owner().await;
    let told = "select string_agg(distinct actor_role || coalesce(ip::text, ''), ' ') from auth.audit_log where event in ('user_created', 'role_granted', 'role_revoked', 'user_banned', 'user_deleted')";
    assert_eq!(owner.query_one(told, &[]).await.unwrap().get::<_, String>(0), "operator");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_said_in_a_sentence() {
    let database = database().await;
    let folder = Folder::with(PROJECT);
    let _server = Server::dev(&folder.0, &folder.join("data"), &database.urls);
    let console = Console { project: folder.0.to_str().unwrap(), url: &database.urls.runtime };
    console.says(&["add"], &[ADA]);
    for (words, rest, said) in [
        (&["add"][..], &[ADA][..], "already been registered"),
        (&["add"], &["no address"], "invalid format"),
        (&["add"], &["x@example.test", "--role", "service_role"], "no role `service_role`"),
        (&["add"], &["x@example.test", "--password-stdin"], "stdin holds no password"),
        (&["show"], &["nobody@example.test"], "User not found"),
        (&["role", "add"], &[ADA, "nonsense"], "no role `nonsense`"),
        (&["role", "remove"], &[ADA, "editor"], "has no role `editor`"),
        (&["delete"], &["00000000-0000-4000-8000-000000000001"], "User not found"),
    ] {
        let problem = console.refuses(words, rest, 1);
        assert!(problem.contains(said), "{problem}");
    }
    assert_eq!(console.says(&["list"], &[]).lines().count(), 1, "a refused user is not made");
    for (words, rest) in [
        (&["ban"][..], &[ADA, "--for", "2 weeks"][..]),
        (&["add"], &["x@example.test", "--no-password", "--password-stdin"]),
        (&["list"], &["--page", "0"]),
        (&["nonsense"], &[]),
    ] {
        console.refuses(words, rest, 2);
    }
    let elsewhere =
        basewright().args(["user", "list"]).arg(&folder.0).args(["--data", "/nowhere"]).output().unwrap();
    assert_eq!(elsewhere.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&elsewhere.stderr).contains("there is no database"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_database_is_found_while_its_server_runs_and_when_it_does_not() {
    let folder = Folder::with(PROJECT);
    let data = folder.join("data");
    let run = |act: &[&str], rest: &[&str]| {
        let mut command = basewright();
        command.arg("user").args(act).arg(&folder.0).args(rest).arg("--data").arg(&data);
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let start =
        Start { command: "dev", project: &folder.0, data: &data, database: None, args: &[], env: &[] };
    let server = start.run();
    run(&["add"], &[ADA]);
    assert!(run(&["list"], &[]).contains(ADA));
    assert!(server.stop().success());
    run(&["add"], &["bob@example.test"]);
    assert_eq!(run(&["list"], &[]).lines().count(), 2);
}
