//! What caches may keep, of whose answers.

use reqwest::Method;
use serde_json::json;

use crate::auth::site::Site;

const OPEN: &str = "
buckets:
  open:
    public: true
    policies:
      read: [{ role: authenticated }]
      create: [{ role: authenticated }]
";

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_kept_by_nobody_unless_they_say_so() {
    let site = Site::start_with(OPEN, &[("public/index.html", "<p>hello</p>")], &[]).await;
    site.user("ada@example.test", "correct horse battery").await;
    let session = site.sign_in("ada@example.test", "correct horse battery").await;
    let ada = session["access_token"].as_str();
    site.send(Method::POST, "/storage/v1/object/open/a.json", ada, Some(json!({ "a": 1 }))).await.is(200);
    let wrong = json!({ "email": "ada@example.test", "password": "wrong" });
    for (method, path, token, body, status, kept) in [
        (Method::GET, "/rest/v1/notes", ada, None, 200, "no-store"),
        (Method::HEAD, "/rest/v1/notes", ada, None, 200, "no-store"),
        (Method::POST, "/rest/v1/notes", ada, Some(json!({ "title": "t" })), 201, "no-store"),
        (Method::GET, "/rest/v1/notes", Some("x"), None, 401, "no-store"),
        (Method::GET, "/rest/v1/nothing", ada, None, 404, "no-store"),
        (Method::GET, "/auth/v1/user", ada, None, 200, "no-store"),
        (Method::GET, "/auth/v1/settings", None, None, 200, "no-store"),
        (Method::POST, "/auth/v1/token?grant_type=password", None, Some(wrong), 400, "no-store"),
        (Method::POST, "/storage/v1/object/list/open", ada, Some(json!({ "prefix": "" })), 200, "no-store"),
        (Method::GET, "/storage/v1/object/info/open/a.json", ada, None, 200, "no-store"),
        (Method::GET, "/storage/v1/object/public/open/b.json", None, None, 400, "no-store"),
        (Method::GET, "/realtime/v1/websocket", None, None, 426, "no-store"),
        (Method::GET, "/nothing", None, None, 404, "no-store"),
        (Method::GET, "/metrics", None, None, 403, "no-store"),
        // Those who say so.
        (Method::GET, "/rest/v1/", ada, None, 200, "private, no-cache"),
        (Method::GET, "/auth/v1/.well-known/jwks.json", None, None, 200, "public, max-age=600"),
        (Method::GET, "/storage/v1/object/public/open/a.json", None, None, 200, "no-cache"),
        (Method::GET, "/", None, None, 200, "no-cache"),
    ] {
        let answer = site.send(method.clone(), path, token, body).await;
        assert_eq!((answer.status, answer.header("cache-control")), (status, kept), "{method} {path}");
        assert_eq!(answer.headers.get_all("cache-control").iter().count(), 1, "{method} {path}");
    }
}
