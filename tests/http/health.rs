//! Readiness follows the database.

use std::path::Path;
use std::time::{Duration, Instant};

use basewright::db::Embedded;

use super::reasons::status_line;
use crate::support::server::{Folder, NOTES, Server, Start, eventually};

/// The program that ties a private Postgres to this process.
fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_basewright"))
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_is_lost_with_postgres_and_comes_back_with_it() {
    let folder = Folder::with(NOTES);
    let cluster = folder.join("cluster");
    let start = |cluster: std::path::PathBuf| {
        tokio::task::spawn_blocking(move || Embedded::start(&cluster, Some(program())).unwrap())
    };
    let postgres = start(cluster.clone()).await.unwrap();
    let urls = postgres.urls();
    let data = folder.join("data");
    let begin = Start {
        command: "serve",
        project: &folder.0,
        data: &data,
        database: Some(&urls),
        args: &["--migrate"],
        env: &[],
    };
    let server = begin.run();
    let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).build().unwrap();
    let ready = async || client.get(server.at("/health/ready")).send().await.unwrap().status().as_u16();
    let read = async || {
        let asked = client.get(server.at("/rest/v1/notes")).header("apikey", server.keys.publishable());
        asked.send().await.unwrap()
    };
    assert_eq!(ready().await, 200);
    assert_eq!(read().await.status(), 200);

    tokio::task::spawn_blocking(move || postgres.stop()).await.unwrap();
    let stopped = Instant::now();
    eventually("not ready", Duration::from_secs(5), || async { (ready().await == 503).then_some(()) }).await;
    assert!(stopped.elapsed() < Duration::from_secs(3), "noticed after {:?}", stopped.elapsed());
    let refused = client.get(server.at("/health/ready")).send().await.unwrap();
    assert!(refused.headers().contains_key("retry-after"));
    let reason: serde_json::Value = refused.json().await.unwrap();
    assert!(reason["details"].as_str().unwrap().contains("database"), "{reason}");
    assert_eq!(client.get(server.at("/health/live")).send().await.unwrap().status(), 200);
    let line = status_line(server.address(), "GET /health/ready HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(line, "503 Service Unavailable");
    let asked = Instant::now();
    let answer = read().await;
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    assert!(asked.elapsed() < Duration::from_secs(6));

    let postgres = start(cluster).await.unwrap();
    eventually("ready again", Duration::from_secs(30), || async { (ready().await == 200).then_some(()) })
        .await;
    eventually("reads again", Duration::from_secs(30), || async {
        (read().await.status() == 200).then_some(())
    })
    .await;
    drop(server);
    tokio::task::spawn_blocking(move || postgres.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_starts_before_its_database_waits_for_it() {
    let folder = Folder::with(NOTES);
    let cluster = folder.join("cluster");
    let first = cluster.clone();
    let postgres =
        tokio::task::spawn_blocking(move || Embedded::start(&first, Some(program())).unwrap()).await.unwrap();
    let urls = postgres.urls();
    tokio::task::spawn_blocking(move || postgres.stop()).await.unwrap();
    let (project, data) = (folder.0.clone(), folder.join("data"));
    let starting = tokio::task::spawn_blocking(move || {
        Start { command: "dev", project: &project, data: &data, database: Some(&urls), args: &[], env: &[] }
            .run()
    });
    let postgres = tokio::task::spawn_blocking(move || Embedded::start(&cluster, Some(program())).unwrap())
        .await
        .unwrap();
    let server: Server = starting.await.unwrap();
    let client = reqwest::Client::new();
    let asked = client.get(server.at("/rest/v1/notes")).header("apikey", server.keys.publishable());
    assert_eq!(asked.send().await.unwrap().status(), 200);
    drop(server);
    tokio::task::spawn_blocking(move || postgres.stop()).await.unwrap();
}
