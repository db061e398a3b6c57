//! Files in pieces and by signed addresses, by the published clients.

use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use super::{ADA, BOB, counted, libraries, token};
use crate::support::database;
use crate::support::s3::S3;
use crate::support::server::{Folder, Start, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn the_published_client_goes_on_with_its_uploads_after_everything() {
    driven(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_client_goes_on_with_uploads_of_which_another_store_has_the_content() {
    let s3 = S3::start();
    let url = format!("s3://{}", s3.bucket().await);
    let variables = s3.variables();
    let mut env: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    env.push(("BASEWRIGHT_STORAGE_URL", &url));
    driven(&env).await;
}

async fn driven(env: &[(&str, &str)]) {
    let home = libraries();
    let database = database().await;
    let folder = Folder::new();
    let (project, data) = (home.join("uploads"), folder.join("data"));
    std::fs::create_dir_all(&data).unwrap();
    let start = Start {
        command: "dev",
        project: &project,
        data: &data,
        database: Some(&database.urls),
        args: &["--trusted-proxies", "127.0.0.1"],
        env,
    };
    let mut server = tokio::task::block_in_place(|| start.run());
    let (address, restart) = (folder.join("address"), folder.join("restart"));
    std::fs::write(&address, &server.url).unwrap();
    let mut child = Command::new("node")
        .args(["--experimental-websocket", "--test", "--test-reporter=tap", "tus.test.mjs"])
        .current_dir(&home)
        .env("BW_ADDRESS", &address)
        .env("BW_RESTART", &restart)
        .env("BW_PUBLISHABLE", server.keys.publishable())
        .env("BW_TOKEN_ADA", token(&project, &data, ADA, &[]))
        .env("BW_TOKEN_BOB", token(&project, &data, BOB, &[]))
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(folder.join("said")).unwrap())
        .stderr(std::fs::File::create(folder.join("problems")).unwrap())
        .spawn()
        .unwrap();
    let mut restarts = 0;
    let status = eventually("node is done", Duration::from_secs(300), || {
        let ended = child.try_wait().unwrap();
        if ended.is_none() && restart.exists() {
            tokio::task::block_in_place(|| {
                server.signal(Signal::KILL);
                server.ended(Duration::from_secs(30));
                server = start.run();
            });
            std::fs::write(&address, &server.url).unwrap();
            std::fs::remove_file(&restart).unwrap();
            restarts += 1;
        }
        std::future::ready(ended)
    })
    .await;
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let said = read("said");
    assert!(status.success(), "{said}\n{}\n{}", read("problems"), server.log());
    let (tests, passed, requests) =
        (counted(&said, "tests"), counted(&said, "pass"), counted(&said, "tus requests:"));
    assert_eq!(tests, passed, "{said}");
    assert!(tests >= 13 && requests >= 60 && restarts == 1, "some of the tests did not run:\n{said}");
    println!("PASS uploads {passed} of {tests} tests, {requests} requests, {restarts} restart");
}
