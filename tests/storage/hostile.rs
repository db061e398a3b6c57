//! Keys that mean to lead elsewhere.

use std::collections::BTreeSet;
use std::path::Path;

use reqwest::Method;
use serde_json::json;

use super::site::Site;

/// What may stand in a key that means harm; each is tried as a part in the ways in which a path can be written.
const PARTS: [&str; 30] = [
    "..",
    ".",
    "...",
    "....//",
    "..\\",
    "..;",
    "..%00",
    "%2e%2e",
    "%252e%252e",
    "..%2f",
    "..%5c",
    "%c0%ae%c0%ae",
    "%ff",
    "%00",
    "%0a",
    "%0d%0aset-cookie:%20a=b",
    "%7f",
    "%e2%80%a8",
    "%ef%bb%bf",
    "~",
    "~root",
    "C:",
    "CON",
    "-rf",
    "$(id)",
    "`id`",
    "|id",
    "*",
    "%3f",
    "%23",
];

/// The shapes of a path around such a part.
const SHAPES: [&str; 10] =
    ["{}", "{}/a", "a/{}", "a/{}/b", "a/{}/{}/{}/etc/passwd", "/{}", "{}/", "a{}", "{}a", "a//{}"];

fn files(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.insert(path.to_string_lossy().into_owned());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_leads_anywhere_but_to_an_object() {
    let site = Site::start().await;
    let ada = site.user(&[]);
    let snapshot = || {
        let mut found = BTreeSet::new();
        files(site.folder(), &mut found);
        found
    };
    let before = snapshot();
    let (mut taken, mut refused) = (0, 0);
    for part in PARTS {
        for shape in SHAPES {
            let key = shape.replace("{}", part);
            for (method, body) in [("POST", "content"), ("GET", ""), ("DELETE", "")] {
                let head = format!(
                    "{method} /storage/v1/object/papers/{key} HTTP/1.1\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n{}",
                    body.len(),
                    ada.credentials(),
                );
                let reply = ada.raw(&head, body.as_bytes()).await;
                assert!(reply.status < 500, "{method} {key}: {}", String::from_utf8_lossy(&reply.bytes));
                match (method, reply.status) {
                    ("POST", 200) => taken += 1,
                    ("POST", _) => refused += 1,
                    _ => {}
                }
            }
        }
    }
    // What was taken was an object under its own name, and is gone as one.
    assert!(taken >= 50 && refused >= 150, "{taken} taken, {refused} refused");
    println!("PASS hostile keys: {taken} taken as plain names, {refused} refused");
    for key in [
        "../a",
        "a/../../b",
        "..\\a",
        "a\0b",
        "/etc/passwd",
        "a\n",
        "a//b",
        "",
        ".",
        "a/.",
        &"x".repeat(1_025),
    ] {
        let places =
            |from: &str, to: &str| json!({ "bucketId": "papers", "sourceKey": from, "destinationKey": to });
        ada.send(Method::POST, "/object/papers/plain", &[("x-upsert", "true")], "content").await.ok();
        for path in ["/object/move", "/object/copy"] {
            for body in [places(key, "b"), places("plain", key)] {
                assert_eq!(ada.post(path, body).await.refused(), "InvalidKey", "{path} {key:?}");
            }
        }
        let bucket = json!({ "bucketId": "../papers", "sourceKey": "plain", "destinationKey": "b" });
        assert_eq!(ada.post("/object/move", bucket).await.refused(), "InvalidBucketName");
    }
    for name in before.symmetric_difference(&snapshot()) {
        let path = Path::new(name)
            .strip_prefix(site.folder().join("data/objects"))
            .unwrap_or_else(|_| panic!("{name}"));
        let shape: Vec<String> = path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        let is_opaque = match shape.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["v", hour, version] => {
                hour.bytes().all(|b| b.is_ascii_digit()) && version.parse::<uuid::Uuid>().is_ok()
            }
            _ => false,
        };
        assert!(is_opaque, "{name}");
    }
}
