//! Rows of stored objects have doors of their own, and none here.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::caller::Caller;
use crate::support::database;
use crate::support::server::{Folder, Server};

const OPEN: &str = "
collections:
  notes: { fields: { title: text, file: uuid } }
policies:
  notes: { read: [{ role: anon }], create: [{ role: anon }] }
buckets:
  open:
    public: true
    policies: { read: [{ role: anon }], create: [{ role: anon }], update: [{ role: anon }], delete: [{ role: anon }] }
";

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_no_collection_of_rest_whoever_asks() {
    let (database, folder) = (database().await, Folder::with(&[("project/a.yaml", OPEN)]));
    let server = Server::dev(&folder.join("project"), &folder.join("data"), &database.urls);
    let callers = [Caller::anonymous(&server), Caller::user(&server, &[]), Caller::secret(&server)];
    for caller in &callers {
        let strange = caller.get("surely_not").await.refused(404);
        for name in [
            "objects",
            "storage.objects",
            "storage%2Eobjects",
            "\"storage\".\"objects\"",
            "buckets",
            "storage.buckets",
        ] {
            for method in
                [Method::GET, Method::HEAD, Method::POST, Method::PATCH, Method::PUT, Method::DELETE]
            {
                let path = match method {
                    Method::PATCH | Method::PUT | Method::DELETE => {
                        format!("{name}?id=eq.{}", uuid::Uuid::nil())
                    }
                    _ => name.to_owned(),
                };
                let body = json!({ "bucket": "open", "name": "a", "size": 0, "mime": "a/b", "etag": "x" });
                let answer = caller
                    .send(method.clone(), &path, &[], Some(&body).filter(|_| method != Method::GET))
                    .await;
                assert_eq!(answer.status, 404, "{method} {path}: {}", answer.body);
                if method != Method::HEAD {
                    assert_eq!(answer.body["code"], strange.as_str(), "{method} {path}");
                }
            }
        }
        for profile in ["storage", "auth"] {
            let headers = [("accept-profile", profile)];
            assert_eq!(caller.send(Method::GET, "objects", &headers, None).await.status, 406, "{profile}");
        }
        // Not beside a record either.
        for select in ["*,objects(*)", "*,file(*)", "*,storage.objects(*)"] {
            assert!(caller.get(&format!("notes?select={select}")).await.status >= 400, "{select}");
        }
        let described: Value = caller.get("").await.is(200);
        let text = described.to_string();
        assert!(text.contains("/notes"), "{text}");
        for word in ["objects", "cache_control", "storage"] {
            assert!(!text.contains(word), "{word} in {text}");
        }
    }
}
