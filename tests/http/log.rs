//! What the log says, and what it never says.

use std::time::Duration;

use serde_json::Value;

use crate::support::database;
use crate::support::server::{Folder, NOTES, Start, eventually};

const WITHIN: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn the_log_holds_every_requests_id_and_no_secret_at_any_level() {
    let database = database().await;
    let folder = Folder::with(NOTES);
    let data = folder.join("data");
    let start = Start {
        command: "serve",
        project: &folder.0,
        data: &data,
        database: Some(&database.urls),
        args: &["--migrate", "--log", "trace", "--log-format", "json"],
        env: &[],
    };
    let server = start.run();
    let client = reqwest::Client::new();
    let canaries =
        ["canary-in-query", "canary-in-bearer", "canary-in-apikey", "canary-in-cookie", "canary-in-body"];
    let mut ids = Vec::new();
    for path in ["/rest/v1/notes", "/rest/v1/nothing", "/nothing", "/health/live"] {
        for good in [true, false] {
            let url = format!("{}?title=eq.canary-in-query&apikey={}", server.at(path), server.keys.secret());
            let mut request = client
                .post(url)
                .body("{\"title\":\"canary-in-body\"}")
                .header("cookie", "a=canary-in-cookie");
            request = if good {
                request.header("apikey", server.keys.secret()).bearer_auth(server.keys.secret())
            } else {
                request.header("apikey", "canary-in-apikey").bearer_auth("canary-in-bearer")
            };
            let answer = request.send().await.unwrap();
            ids.push(answer.headers()["x-request-id"].to_str().unwrap().to_owned());
        }
    }
    let get = client
        .get(server.at("/rest/v1/notes?title=eq.canary-in-query"))
        .header("apikey", server.keys.secret());
    let answer = get.header("x-request-id", "forged\u{7f}-id").send().await;
    // Not every byte may stand in a header; either way our own id is the one that counts.
    if let Ok(answer) = answer {
        ids.push(answer.headers()["x-request-id"].to_str().unwrap().to_owned());
    }
    // The lines of answered requests are written together, a moment later.
    let log = eventually("a line holds each id", WITHIN, || async {
        let log = server.log();
        ids.iter().all(|id| log.contains(id.as_str())).then_some(log)
    })
    .await;
    for canary in canaries.iter().copied().chain([server.keys.secret(), server.keys.publishable()]) {
        let line = log.lines().find(|line| line.contains(canary));
        assert!(line.is_none(), "{canary} stands in the log: {}", line.unwrap());
    }
    // One JSON object a line, with what an operator looks for.
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let access: Vec<&Value> = lines.iter().filter(|line| line["target"] == "basewright::access").collect();
    assert!(access.len() >= ids.len());
    for line in access {
        for member in ["method", "path", "status", "micros", "role"] {
            assert!(!line[member].is_null(), "{member} is missing in {line}");
        }
        assert!(!line["path"].as_str().unwrap().contains('?'));
    }
}
