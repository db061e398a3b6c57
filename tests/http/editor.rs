//! The schema of the project's files, as editors fetch it.

use serde_json::Value;

use crate::support::database;
use crate::support::server::{Folder, NOTES, Server, basewright};

#[tokio::test(flavor = "multi_thread")]
async fn an_editor_gets_the_schema_without_a_key_and_the_command_prints_the_same() {
    let database = database().await;
    let (project, folder) = (Folder::with(NOTES), Folder::new());
    let server = Server::dev(&project.0, &folder.join("data"), &database.urls);
    let answer = reqwest::get(server.at("/_/schema.json")).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/schema+json");
    let served: Value = answer.json().await.unwrap();
    let printed = basewright().args(["check", "--schema"]).output().unwrap();
    assert!(printed.status.success());
    let printed: Value = serde_json::from_slice(&printed.stdout).unwrap();
    assert_eq!(served, printed);
    let validator = jsonschema::options().build(&served).unwrap();
    for (name, text) in NOTES {
        let file: Value = serde_saphyr::from_str(text).unwrap();
        assert!(validator.is_valid(&file), "{name}");
    }
    let wrong: Value = serde_saphyr::from_str(&NOTES[0].1.replace("title", "Title")).unwrap();
    assert!(!validator.is_valid(&wrong));
    let posted = reqwest::Client::new().post(server.at("/_/schema.json")).send().await.unwrap();
    assert_eq!(posted.status(), 405);
    let both = basewright().args(["check", "--schema"]).arg(&project.0).output().unwrap();
    assert_eq!(both.status.code(), Some(2));
}
