//! Outputs and exit codes that scripts rely on.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

use basewright::app::now;
use basewright::auth::keyfile;
use basewright::auth::token::{self, Holder};
use serde_json::Value;

use crate::support::database;
use crate::support::server::{Folder, NOTES, Server, Start, basewright};

fn run(args: &[&str], env: &[(&str, &str)]) -> Output {
    basewright().args(args).envs(env.iter().copied()).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_wrong_command_line_is_2_and_a_wrong_project_is_1() {
    let folder =
        Folder::with(&[("basewright.yaml", "collections:\n  notes:\n    fields:\n      title: txet\n")]);
    let project = folder.0.to_str().unwrap();
    let data = folder.join("data");
    let data = data.to_str().unwrap();
    let id = "00000000-0000-7000-8000-000000000001";
    for (args, code) in [
        (&[][..], 2),
        (&["nonsense"], 2),
        (&["dev", project, "--port", "x"], 2),
        (&["dev", project, "--nonsense"], 2),
        (&["serve", project, "--cors-origins", "nonsense"], 2),
        (&["serve", project, "--listen", "nowhere"], 2),
        (&["dev", project, "--log", "=!"], 2),
        (&["token", project, "--sub", "ada"], 2),
        (&["token", project], 2),
        (&["token", project, "--sub", id, "--ttl", "1w"], 2),
        (&["token", project, "--sub", id, "--role", "service_role"], 2),
        (&["keys", project, "rotate", "--alg", "rs256"], 2),
        (&["types", project, "--role"], 2),
        (&["health", "127.0.0.1:8000"], 2),
        (&["health", "localhost:8000"], 2),
        (&["--help"], 0),
        (&["dev", "--help"], 0),
        (&["--version"], 0),
        (&["check", project], 1),
        (&["types", project], 1),
        (&["dev", project, "--port", "0", "--data", data], 1),
        (&["serve", project, "--port", "0", "--data", data], 1),
        (&["token", project, "--data", data, "--sub", id], 1),
        (&["check", "/nowhere"], 1),
        (&["keys", "/nowhere"], 1),
    ] {
        let output = run(args, &[]);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", err(&output));
    }
    let output = run(&["check", project], &[]);
    assert!(err(&output).contains("basewright.yaml:4:14"), "{}", err(&output));
    let output = run(&["health", "localhost:8000"], &[]);
    assert!(err(&output).contains("it begins with http:// or https://"), "{}", err(&output));
    assert!(!std::path::Path::new(data).exists(), "a project with faults makes nothing");
}

#[test]
fn keys_and_tokens_are_printed_as_scripts_expect_them() {
    let folder = Folder::with(NOTES);
    let data = folder.join("data");
    let (project, place) = (folder.0.to_str().unwrap(), data.to_str().unwrap());
    let output = run(&["keys", project, "--data", place, "--json"], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let keys: Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!(keys.as_object().unwrap().len(), 2);
    let help = out(&run(&["keys", "--help"], &[]));
    assert!(help.contains(r#"Print {"publishable":…,"secret":…} and nothing else"#), "{help}");
    let again = run(&["keys", project, "--json"], &[("BASEWRIGHT_DATA", place)]);
    assert_eq!(out(&again), out(&output), "asking changes nothing");
    let path = data.join(keyfile::FILE);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);

    let id = "00000000-0000-7000-8000-000000000001";
    let output =
        run(&["token", project, "--data", place, "--sub", id, "--roles", "editor", "--ttl", "15m"], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let text = out(&output);
    assert_eq!(text.lines().count(), 1);
    let ring = keyfile::read(&path, now()).unwrap();
    let verified = token::verify(text.trim_end(), &ring, now()).unwrap();
    let expected =
        Holder::Operator { id: id.parse().unwrap(), role: "authenticated", roles: vec!["editor".to_owned()] };
    assert_eq!(verified.holder, expected);
    assert!((890..=900).contains(&(verified.expires - now())));

    let output = run(&["token", project, "--data", place, "--sub", id, "--roles", "editer"], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("did you mean `editor`?"), "{}", err(&output));
    assert!(out(&output).is_empty());

    // Others can read the file: refused, not used.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    for args in [&["keys", project, "--data", place][..], &["dev", project, "--port", "0", "--data", place]] {
        let output = run(args, &[]);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(err(&output).contains("others can read"), "{}", err(&output));
    }
}

#[test]
fn rotating_revoking_and_dropping_keys_keeps_what_it_says() {
    let folder = Folder::with(NOTES);
    let data = folder.join("data");
    let (project, place) = (folder.0.to_str().unwrap(), data.to_str().unwrap());
    let keys = |rest: &[&str]| {
        let mut args = vec!["keys", project, "--data", place];
        args.extend(rest);
        let output = run(&args, &[]);
        assert_eq!(output.status.code(), Some(0), "{rest:?}: {}", err(&output));
        output
    };
    let first: Value = serde_json::from_str(&out(&keys(&["--json"]))).unwrap();
    let path = data.join(keyfile::FILE);
    let old_kid = keyfile::read(&path, now()).unwrap().active().kid().to_owned();
    for alg in ["es256", "eddsa", "hs256"] {
        let rotated: Value = serde_json::from_str(&out(&keys(&["--json", "rotate", "--alg", alg]))).unwrap();
        assert_ne!(rotated["secret"], first["secret"]);
        let ring = keyfile::read(&path, now()).unwrap();
        assert!(ring.active().algorithm().as_str().eq_ignore_ascii_case(alg));
        assert!(
            token::verify(first["secret"].as_str().unwrap(), &ring, now()).is_ok(),
            "the old key overlaps"
        );
    }
    let ring = keyfile::read(&path, now()).unwrap();
    let jti = token::verify(first["publishable"].as_str().unwrap(), &ring, now()).unwrap().jti.unwrap();
    keys(&["revoke", &jti]);
    let ring = keyfile::read(&path, now()).unwrap();
    assert!(token::verify(first["publishable"].as_str().unwrap(), &ring, now()).is_err());
    assert!(token::verify(first["secret"].as_str().unwrap(), &ring, now()).is_ok());
    keys(&["drop", &old_kid]);
    let ring = keyfile::read(&path, now()).unwrap();
    assert!(token::verify(first["secret"].as_str().unwrap(), &ring, now()).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_first_start_gives_to_try_works_and_holds_no_secret() {
    const CLOSED: &str = "collections: { notes: { fields: { title: text } } }\n";
    const OPEN: &str = "policies: { notes: { read: [{ role: anon }] } }\n";
    for (text, path) in
        [(CLOSED.to_owned(), "/rest/v1/"), (format!("{CLOSED}{OPEN}"), "/rest/v1/notes?limit=3")]
    {
        let database = database().await;
        let folder = Folder::with(&[("basewright.yaml", &text)]);
        let server =
            tokio::task::block_in_place(|| Server::dev(&folder.0, &folder.join("data"), &database.urls));
        let to_try = server.banner.iter().find(|line| line.starts_with("try ")).unwrap();
        let (url, key) = (server.at(path), server.keys.publishable());
        assert_eq!(*to_try, format!("try          curl '{url}' -H 'apikey: {key}'"));
        let answer = reqwest::Client::new().get(url).header("apikey", key).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{to_try}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_refuses_what_is_unsafe_and_what_differs() {
    let database = database().await;
    let folder = Folder::with(NOTES);
    let data = folder.join("data");
    let serve = |args: &'static [&'static str], env: &'static [(&'static str, &'static str)]| {
        let (project, data, urls) = (folder.0.clone(), data.clone(), database.urls.clone());
        tokio::task::spawn_blocking(move || {
            Start { command: "serve", project: &project, data: &data, database: Some(&urls), args, env }
                .try_run()
        })
    };
    let refused = serve(&[], &[]).await.unwrap().err().expect("the tables are not there");
    assert!(refused.contains("notes") && refused.contains("--migrate"), "{refused}");
    let server = serve(&["--migrate"], &[]).await.unwrap().expect("told to migrate");
    drop(server);
    let server = serve(&[], &[]).await.unwrap().expect("nothing differs any more");
    drop(server);
    folder.write("collections/more.yaml", "collections:\n  more:\n    fields:\n      a: text\n");
    let refused = serve(&[], &[]).await.unwrap().err().expect("a collection is missing");
    assert!(refused.contains("more"), "{refused}");
    drop(serve(&[], &[("BASEWRIGHT_MIGRATE", "1")]).await.unwrap().expect("told to migrate"));
    // What would lose data is not done even when told.
    let owner = database.connect_owner().await;
    owner.execute("insert into more (a) values ('x')", &[]).await.unwrap();
    fs::remove_file(folder.join("collections/more.yaml")).unwrap();
    let refused = serve(&["--migrate"], &[]).await.unwrap().err().expect("a loss was taken");
    assert!(refused.contains("more") && refused.contains("lose data"), "{refused}");
    for secret in [
        &[("BASEWRIGHT_SECRET", "short")][..],
        &[("BASEWRIGHT_SECRET", "super-secret-jwt-token-with-at-least-32-characters-long")],
    ] {
        let refused = serve(&[], secret).await.unwrap().err().expect("a weak secret was taken");
        assert!(refused.contains("secret"), "{refused}");
    }
    // A superuser for requests.
    let mut urls = database.urls.clone();
    urls.runtime = crate::support::cluster().admin_url(&database.name);
    let project = folder.0.clone();
    let refused = tokio::task::spawn_blocking(move || {
        Start { command: "serve", project: &project, data: &data, database: Some(&urls), args: &[], env: &[] }
            .try_run()
    });
    let refused = refused.await.unwrap().err().expect("a superuser was taken");
    assert!(refused.contains("superuser"), "{refused}");
}
