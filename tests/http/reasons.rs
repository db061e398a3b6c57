//! The first line of an answer: a reason phrase is what some clients show to people.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::caller::Caller;
use crate::support::database;
use crate::support::server::{Folder, Server};

const WITHIN: Duration = Duration::from_secs(60);

/// The status and the reason of the answer to these bytes.
pub(super) async fn status_line(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // A server that has heard enough answers before it has heard all.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    while !answer.contains(&b'\n') {
        let mut piece = [0; 512];
        let read = timeout(WITHIN, stream.read(&mut piece)).await.expect("no answer in time").unwrap();
        assert!(read > 0, "the connection ended in {}", answer.escape_ascii());
        answer.extend_from_slice(&piece[..read]);
    }
    let text = String::from_utf8_lossy(&answer).into_owned();
    let line = text.split("\r\n").next().unwrap();
    line.strip_prefix("HTTP/1.1 ").unwrap_or_else(|| panic!("{line}")).to_owned()
}

const PROJECT: &[(&str, &str)] = &[
    ("basewright.yaml", "limits: { body: 1KiB, statement_timeout: 1s }\n"),
    (
        "all.yaml",
        "collections:
  people:
    fields:
      id: integer
      name: { type: text, unique: true }
  pairs:
    fields:
      one: { type: relation, to: people, inverse: ones }
      two: { type: relation, to: people, inverse: twos }
policies:
  people:
    read: [{ role: anon }]
    create: [{ role: authenticated }]
  pairs:
    read: [{ role: anon }]
",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_status_has_its_standard_reason() {
    let database = database().await;
    let folder = Folder::with(PROJECT);
    let server = Server::dev(&folder.0, &folder.join("data"), &database.urls);
    let user = Caller::user(&server, &[]);
    for id in 1..=3 {
        user.post("people", "", json!({ "id": id, "name": id.to_string() })).await.is(201);
    }
    let address = server.address().to_owned();
    // Whoever does not finish his request is told so in the end; the others are asked meanwhile.
    let slow = {
        let address = address.clone();
        tokio::spawn(
            async move { status_line(&address, "GET /rest/v1/people HTTP/1.1\r\nhost: x\r\n").await },
        )
    };
    let key = server.keys.publishable();
    let token = server.keys.secret();
    let ask = async |method: &str, path: &str, headers: &str, body: &str| {
        let length =
            if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
        let head = format!("{method} /rest/v1/{path} HTTP/1.1\r\nhost: x\r\n{headers}{length}\r\n{body}");
        status_line(&address, &head).await
    };
    let anon = format!("apikey: {key}\r\n");
    let secret = format!("apikey: {token}\r\n");
    let with = |more: &str| format!("{anon}{more}\r\n");
    let long = "x".repeat(20 << 10);
    for (method, path, headers, body, line) in [
        ("GET", "people", anon.clone(), "", "200 OK"),
        ("HEAD", "people", anon.clone(), "", "200 OK"),
        ("OPTIONS", "people", anon.clone(), "", "200 OK"),
        ("POST", "people", secret.clone(), "{\"id\":9}", "201 Created"),
        ("PATCH", "people?id=eq.9", secret.clone(), "{\"name\":\"9\"}", "204 No Content"),
        ("DELETE", "people?id=eq.9", secret.clone(), "", "204 No Content"),
        ("GET", "people?limit=1", with("prefer: count=exact"), "", "206 Partial Content"),
        ("GET", "people?select=pairs(*)", anon.clone(), "", "300 Multiple Choices"),
        ("GET", "people?nothing=eq.1", anon.clone(), "", "400 Bad Request"),
        ("GET", "people", String::new(), "", "401 Unauthorized"),
        ("POST", "people", anon.clone(), "{}", "401 Unauthorized"),
        ("GET", "nothing", anon.clone(), "", "404 Not Found"),
        ("PUT", "people", secret.clone(), "{}", "405 Method Not Allowed"),
        ("TRACE", "people", anon.clone(), "", "405 Method Not Allowed"),
        ("GET", "people", with("accept: image/png"), "", "406 Not Acceptable"),
        ("GET", "people", with("accept: application/vnd.pgrst.object+json"), "", "406 Not Acceptable"),
        ("POST", "people", secret.clone(), "{\"id\":1}", "409 Conflict"),
        ("POST", "people", secret.clone(), &long, "413 Payload Too Large"),
        ("GET", &long, anon.clone(), "", "414 URI Too Long"),
        (
            "POST",
            "people",
            format!("{secret}content-type: text/html\r\n"),
            "{}",
            "415 Unsupported Media Type",
        ),
        ("GET", "people?offset=9", with("prefer: count=exact"), "", "416 Range Not Satisfiable"),
        ("GET", "people?limit=-1", anon.clone(), "", "416 Range Not Satisfiable"),
        ("GET", "people", with(&format!("x: {long}{long}")), "", "431 Request Header Fields Too Large"),
    ] {
        let shown = &path[..path.len().min(40)];
        assert_eq!(ask(method, path, &headers, body).await, line, "{method} {shown}");
    }
    let signed_in = user.delete("people?id=eq.1", "").await;
    assert_eq!(signed_in.status, 403);
    let bearer = format!("authorization: Bearer {}", user.token().unwrap());
    assert_eq!(ask("DELETE", "people?id=eq.1", &with(&bearer), "").await, "403 Forbidden");
    // A table that somebody holds makes a statement run out of time.
    let owner = database.connect_owner().await;
    owner.batch_execute("begin; lock table people in access exclusive mode").await.unwrap();
    assert_eq!(ask("GET", "people", &anon, "").await, "504 Gateway Timeout");
    owner.batch_execute("rollback").await.unwrap();
    assert_eq!(slow.await.unwrap(), "408 Request Timeout");
}
