//! Files, by the published client.

use std::path::Path;
use std::process::{Command, Stdio};

use super::{ADA, BOB, counted, libraries, token};
use crate::support::database;
use crate::support::server::{Folder, Server};

/// Drives a server of the project `storage` with the published client.
pub fn drive(server: &Server, project: &Path, data: &Path) {
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
    let database = database().await;
    let folder = Folder::new();
    let (project, data) = (libraries().join("storage"), folder.join("data"));
    let server = Server::dev(&project, &data, &database.urls);
    drive(&server, &project, &data);
}
