//! Ending in order, and ending without.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::database;
use crate::support::server::{Folder, NOTES, Server, Start};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_under_way_is_finished_after_the_order_to_stop() {
    let database = database().await;
    let folder = Folder::with(NOTES);
    let mut server = Server::dev(&folder.0, &folder.join("data"), &database.urls);
    let mut request = TcpStream::connect(server.address()).unwrap();
    request.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let body = "{\"title\":\"written while stopping\"}";
    let head = format!(
        "POST /rest/v1/notes HTTP/1.1\r\nHost: x\r\napikey: {}\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        server.keys.secret(),
        body.len()
    );
    request.write_all(head.as_bytes()).unwrap();
    // The server asks for the body: the handler has begun.
    let mut asked = [0; 25];
    request.read_exact(&mut asked).unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n");
    server.signal(Signal::TERM);
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(server.address()).is_ok() {
        assert!(Instant::now() < deadline, "it still accepts connections");
        std::thread::yield_now();
    }
    request.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    request.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 Created\r\n"), "{answer}");
    assert_eq!(server.ended(Duration::from_secs(15)).code(), Some(0));
    let owner = database.connect_owner().await;
    let count: i64 = owner.query_one("select count(*) from notes", &[]).await.unwrap().get(0);
    assert_eq!(count, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_starts_again_with_everything_it_acknowledged() {
    let folder = Folder::with(NOTES);
    let data = folder.join("data");
    let start =
        Start { command: "dev", project: &folder.0, data: &data, database: None, args: &[], env: &[] };
    let client = reqwest::Client::new();
    let mut acknowledged = 0;
    for round in 0..3 {
        let mut server = start.run();
        // Two servers on one folder are refused while the first one lives.
        if round == 0 {
            let log = start.try_run().err().expect("a second server was let in");
            assert!(log.contains("another server"), "{log}");
            assert!(server.banner.iter().any(|line| line.starts_with("try ")), "{:?}", server.banner);
        } else {
            assert!(server.banner.is_empty(), "keys are shown once: {:?}", server.banner);
        }
        for n in 0..5 {
            let body = format!("{{\"title\":\"{round}-{n}\"}}");
            let request = client.post(server.at("/rest/v1/notes")).header("apikey", server.keys.secret());
            assert_eq!(request.body(body).send().await.unwrap().status(), 201);
            acknowledged += 1;
        }
        server.signal(Signal::KILL);
        server.ended(Duration::from_secs(10));
    }
    let server = start.run();
    let request = client.get(server.at("/rest/v1/notes")).header("apikey", server.keys.publishable());
    let notes: Vec<serde_json::Value> = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(notes.len(), acknowledged);
    assert_eq!(server.stop().code(), Some(0));
}
