//! `policy explain`: who may do what with a record of the running database, and why not.

use std::path::Path;

use serde_json::Value;

use crate::support::caller::Caller;
use crate::support::database;
use crate::support::server::{Folder, Server, Start, basewright};

const ADA: &str = "00000000-0000-4000-8000-000000000ada";
const BOB: &str = "00000000-0000-4000-8000-000000000b0b";

#[tokio::test(flavor = "multi_thread")]
async fn it_names_the_rule_that_decided_and_the_term_that_failed_and_leaves_nothing_behind() {
    let folder = Folder::new();
    let data = folder.join("data");
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/blog");
    let explain = |caller: &str, act: &[&str]| {
        let mut command = basewright();
        command.args(["policy", "explain"]).arg(&project).arg("--data").arg(&data).args(["--as", caller]);
        let output = command.args(act).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        (output.status.code().unwrap(), said, String::from_utf8(output.stderr).unwrap())
    };
    let (code, _, problem) = explain("anon", &["read", "posts/p1"]);
    assert_eq!(code, 1);
    assert!(problem.contains("there is no database"), "{problem}");

    let start = Start { command: "dev", project: &project, data: &data, database: None, args: &[], env: &[] };
    let server = start.run();
    let secret = Caller::secret(&server);
    let one = async |status: &str| -> Value {
        let path = format!("posts?author=eq.{ADA}&status=eq.{status}&limit=1");
        secret.get(&path).await.is(200)[0].clone()
    };
    let (draft, live) = (one("draft").await, one("published").await);
    let at = |post: &Value| format!("posts/{}", post["id"].as_str().unwrap());
    let (draft_at, live_at) = (at(&draft), at(&live));
    let (ada, bob) = (format!("user:{ADA}"), format!("user:{BOB}"));
    let (editor, admin) = (format!("{ada}+editor"), format!("{ada}+admin"));
    let post = format!("post={}", draft["id"].as_str().unwrap());
    let failed = format!("mine is false: author == auth.id, where author is '{ADA}' and auth.id is '{BOB}'");
    let cases: [(&str, &[&str], &str, &str); 14] = [
        (
            "anon",
            &["read", &draft_at],
            "DENIED",
            "posts.read[0] (anon): live is false: status == 'published', where status is 'draft'",
        ),
        ("anon", &["read", &draft_at], "DENIED", "posts.read[2] needs role editor; the caller has anon"),
        ("anon", &["read", &live_at], "ALLOWED by posts.read[0] (anon)", "hidden: notes"),
        (&ada, &["read", &draft_at], "ALLOWED by posts.read[1] (authenticated)", "hidden: notes"),
        (&bob, &["update", &draft_at, "title=hi"], "DENIED", &failed),
        (&ada, &["update", &draft_at, "title=hi"], "ALLOWED by posts.update[0] (authenticated)", ""),
        (&ada, &["update", &draft_at, "title=hi"], "ALLOWED", ""),
        (
            &ada,
            &["update", &draft_at, "status=published", "body=x"],
            "DENIED",
            "status in ['draft', 'review'] is false, where status is 'published'",
        ),
        (
            &ada,
            &["update", &draft_at, "notes=x"],
            "DENIED",
            "posts.update[1] needs role editor; the caller has authenticated",
        ),
        (&editor, &["update", &draft_at, "notes=x"], "ALLOWED by posts.update[1] (editor)", ""),
        (
            &bob,
            &["create", "comments", &post, "body=x"],
            "DENIED",
            "post.status == 'published' is false, where post.status is 'draft'",
        ),
        (&bob, &["create", "posts", "title=Hi"], "DENIED", "not by a policy"),
        (&admin, &["delete", &live_at], "ALLOWED by posts.delete[1] (admin)", ""),
        ("service", &["delete", &live_at], "ALLOWED", "the secret key may do everything"),
    ];
    for (caller, act, first, more) in &cases {
        let (code, said, problem) = explain(caller, act);
        assert_eq!(code, 0, "{problem}");
        assert!(said.starts_with(first) && said.contains(more), "{caller} {act:?}\n{said}\nlacks {more}");
    }
    let (_, said, _) = explain("anon", &["read", "posts/nothing"]);
    assert!(said.contains("no such record"), "{said}");
    for (caller, act, code) in [
        ("bob", &["read", &draft_at][..], 2),
        ("anon", &["peruse", &draft_at], 2),
        ("anon", &["read", "posts"], 2),
        ("anon", &["read", "nothing/x"], 1),
        ("user:x+nobody", &["read", &draft_at], 1),
        ("user:ada", &["read", &draft_at], 1),
        ("user:nobody@example.test", &["read", &draft_at], 1),
        ("anon", &["update", &draft_at, "surely=x"], 1),
    ] {
        assert_eq!(explain(caller, act).0, code, "{caller} {act:?}");
    }
    // A name that is nobody's is told of, not taken for somebody without rights.
    let (_, said, problem) = explain("user:ada", &["read", &draft_at]);
    assert!(
        said.is_empty() && problem.contains("`ada` is neither an id (a uuid) nor the address of a user"),
        "{problem}"
    );
    assert!(explain("user:ada@example.test", &["read", &draft_at]).1.starts_with("ALLOWED"));
    // What the database grants counts too.
    assert!(explain(&bob, &["update", &draft_at, "notes=x"]).1.starts_with("ALLOWED"));
    // Nothing of all this happened.
    assert_eq!((one("draft").await, one("published").await), (draft.clone(), live));
    assert!(server.stop().success());
    // Without a server, its private Postgres runs for the command alone.
    let (code, said, problem) = explain("anon", &["read", &draft_at]);
    assert!(code == 0 && said.starts_with("DENIED  posts.read[0]"), "{said}{problem}");
}

const CLUB: &str = "
collections:
  rooms:
    fields: { id: integer, org: text, host: text }
policies:
  rooms:
    read:
      - { role: authenticated, when: org == auth.claims.org }
      - { role: authenticated, when: host == auth.email }
    delete: [{ role: authenticated, when: \"host == auth.email && auth.aal == 'aal2'\" }]
";

#[tokio::test(flavor = "multi_thread")]
async fn a_user_has_the_address_that_the_database_knows_and_the_claims_that_are_said() {
    let folder = Folder::with(&[("project/all.yaml", CLUB)]);
    let database = database().await;
    let (project, data) = (folder.join("project"), folder.join("data"));
    Server::dev(&project, &data, &database.urls).stop();
    let owner = database.connect_owner().await;
    owner
        .batch_execute(&format!(
            "insert into auth.users (id, email) values ('{ADA}', 'ada@example.com'); \
             insert into rooms (id, org, host) values (1, 'acme', 'ada@example.com')"
        ))
        .await
        .unwrap();
    let explain = |caller: &str, claims: &str, act: &str| {
        let mut command = basewright();
        command.args(["policy", "explain"]).arg(&project).args(["--as", caller]).args([act, "rooms/1"]);
        if !claims.is_empty() {
            command.args(["--claims", claims]);
        }
        let output = command.env("DATABASE_URL", &database.urls.runtime).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code().unwrap(), said)
    };
    let (ada, bob) = (format!("user:{ADA}"), format!("user:{BOB}"));
    for (caller, claims, act, code, said) in [
        (&*ada, "", "read", 0, "ALLOWED by rooms.read[1]"),
        ("user:Ada@example.com", "", "read", 0, "ALLOWED by rooms.read[1]"),
        (&ada, r#"{"email": "other@example.com"}"#, "read", 0, "DENIED"),
        (&bob, "", "read", 0, "DENIED"),
        (&bob, r#"{"org": "acme"}"#, "read", 0, "ALLOWED by rooms.read[0]"),
        (&bob, r#"{"org": ["acme"]}"#, "read", 0, "DENIED"),
        (&bob, r#"{"email": "ada@example.com"}"#, "read", 0, "ALLOWED by rooms.read[1]"),
        (&ada, "", "delete", 0, "auth.aal == 'aal2' is unknown, where auth.aal is null"),
        (&ada, r#"{"aal": "aal2"}"#, "delete", 0, "ALLOWED by rooms.delete[0]"),
        (&ada, "[1]", "read", 2, "--claims is no JSON object: [1]"),
        (&ada, "{", "read", 2, "--claims is no JSON object: {"),
        ("anon", "{}", "read", 2, "`anon` has no claims"),
    ] {
        let (found, text) = explain(caller, claims, act);
        assert_eq!(found, code, "{caller} {claims}: {text}");
        assert!(text.contains(said), "{caller} {claims} {act}: {text}");
    }
}
