//! Files, by the published client.

use std::path::Path;
use std::process::{Command, Stdio};

use super::{ADA, BOB, counted, libraries, token};
use crate::support::database;
use crate::support::s3::S3;
use crate::support::server::{Folder, Server, Start};

/// Drives a server of the project `storage` with the published client.
fn drive(server: &Server, project: &Path, data: &Path) {
    let output = Command::new("node")
        .args(["--experimental-websocket", "--test", "--test-reporter=tap", "storage.test.mjs"])
        .current_dir(libraries())
        .env("BW_URL", &server.url)
        .env("BW_PUBLISHABLE", server.keys.publishable())
        .env("BW_SECRET", server.keys.secret())
        .env("BW_TOKEN_ADA", token(project, data, ADA, &[]))
        .env("BW_TOKEN_BOB", token(project, data, BOB, &[]))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let problems = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{problems}\n{}", server.log());
    let (tests, passed) = (counted(&said, "tests"), counted(&said, "pass"));
    let calls = counted(&said, "storage calls:");
    assert_eq!(tests, passed, "{said}");
    assert!(tests >= 8 && calls >= 90, "some of the tests did not run: {tests} tests, {calls} calls");
    println!("PASS files {passed} of {tests} tests, {calls} calls of the unmodified client");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_client_keeps_files_in_every_way_it_knows() {
    driven(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_client_keeps_files_of_which_another_store_has_the_content() {
    let s3 = S3::start();
    let url = format!("s3://{}", s3.bucket().await);
    let variables = s3.variables();
    let mut env: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    env.push(("BASEWRIGHT_STORAGE_URL", &url));
    driven(&env).await;
}

async fn driven(env: &[(&str, &str)]) {
    let database = database().await;
    let folder = Folder::new();
    let (project, data) = (libraries().join("storage"), folder.join("data"));
    std::fs::create_dir_all(&data).unwrap();
    let start = Start {
        command: "dev",
        project: &project,
        data: &data,
        database: Some(&database.urls),
        args: &[],
        env,
    };
    let server = tokio::task::block_in_place(|| start.run());
    drive(&server, &project, &data);
}
