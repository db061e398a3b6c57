//! Buckets: the project's, and those that the secret key makes.

use reqwest::Method;
use serde_json::{Value, json};

use super::site::{PNG, Site};

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|bucket| bucket["id"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_secret_key_makes_changes_empties_and_removes_buckets() {
    let site = Site::start().await;
    let (secret, ada) = (site.secret(), site.user(&["editor"]));
    let wish = json!({
        "name": "My Files_1", "public": false, "file_size_limit": "1KB", "allowed_mime_types": ["IMAGE/*"],
    });
    assert_eq!(secret.post("/bucket", wish.clone()).await.ok(), json!({ "name": "My Files_1" }));
    assert_eq!(secret.post("/bucket", wish).await.refused(), "BucketAlreadyExists");
    let bucket = secret.get("/bucket/My%20Files_1").await.ok();
    assert_eq!((&bucket["id"], &bucket["name"]), (&json!("My Files_1"), &json!("My Files_1")));
    assert_eq!((&bucket["public"], &bucket["type"]), (&json!(false), &json!("STANDARD")));
    assert_eq!(
        (&bucket["file_size_limit"], &bucket["allowed_mime_types"]),
        (&json!(1_000), &json!(["image/*"]))
    );

    // Nobody else knows of it.
    for (method, path) in [
        (Method::GET, "/bucket/My%20Files_1"),
        (Method::GET, "/object/My%20Files_1/a"),
        (Method::GET, "/bucket/none"),
    ] {
        let code = ada.send(method, path, &[], "").await.refused();
        assert_eq!(code, "NoSuchBucket", "{path}");
    }
    assert_eq!(ada.upload("My%20Files_1/a", "1").await.refused(), "NoSuchBucket");
    let png = [("content-type", "image/png")];
    secret.send(Method::POST, "/object/My%20Files_1/a", &png, PNG).await.ok();
    assert_eq!(secret.upload("My%20Files_1/b", "1").await.refused(), "InvalidMimeType");

    let change = async |body: Value| secret.json(Method::PUT, "/bucket/My%20Files_1", body).await;
    let updated = json!({ "message": "Successfully updated" });
    assert_eq!(change(json!({ "public": true })).await.ok(), updated);
    assert_eq!(site.nobody().get("/object/public/My%20Files_1/a").await.content(), PNG);
    assert_eq!(
        ada.get("/bucket/My%20Files_1").await.ok()["file_size_limit"],
        1_000,
        "what is not named stays"
    );
    assert_eq!(change(json!({ "file_size_limit": null, "allowed_mime_types": null })).await.ok(), updated);
    secret.upload("My%20Files_1/b", vec![b'x'; 2_000]).await.ok();
    let bucket = secret.get("/bucket/My%20Files_1").await.ok();
    assert_eq!((&bucket["file_size_limit"], &bucket["allowed_mime_types"]), (&Value::Null, &Value::Null));

    let remove = async || secret.json(Method::DELETE, "/bucket/My%20Files_1", json!({})).await;
    assert_eq!(remove().await.refused(), "ResourceNotEmpty");
    let emptied = secret.post("/bucket/My%20Files_1/empty", json!({})).await.ok();
    assert!(emptied["message"].is_string());
    assert_eq!(secret.names("My%20Files_1", json!({ "prefix": "" })).await, [""; 0]);
    assert_eq!(remove().await.ok(), json!({ "message": "Successfully deleted" }));
    assert_eq!(remove().await.refused(), "NoSuchBucket");
    assert_eq!(secret.post("/bucket/My%20Files_1/empty", json!({})).await.refused(), "NoSuchBucket");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_project_declares_is_changed_there_alone() {
    let site = Site::start().await;
    let (secret, ada) = (site.secret(), site.user(&[]));
    let change = secret.json(Method::PUT, "/bucket/papers", json!({ "public": true })).await;
    assert_eq!(change.refused(), "BucketDeclared");
    assert_eq!(secret.send(Method::DELETE, "/bucket/papers", &[], "").await.refused(), "BucketDeclared");
    assert_eq!(secret.post("/bucket", json!({ "name": "papers" })).await.refused(), "BucketAlreadyExists");
    ada.upload("papers/a", "1").await.ok();
    assert_eq!(ada.post("/bucket/papers/empty", json!({})).await.refused(), "AccessDenied");
    secret.post("/bucket/papers/empty", json!({})).await.ok();
    assert_eq!(ada.get("/object/papers/a").await.refused(), "NoSuchKey");
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_else_sees_the_buckets_that_are_public_or_that_his_rules_speak_of() {
    let site = Site::start().await;
    let (secret, ada, editor, anonymous) =
        (site.secret(), site.user(&[]), site.user(&["editor"]), site.anonymous());
    secret.post("/bucket", json!({ "name": "made" })).await.ok();
    secret.post("/bucket", json!({ "name": "made-public", "public": true })).await.ok();
    for (actor, seen) in [
        (&secret, vec!["letterbox", "made", "made-public", "papers", "pictures", "posters", "vault"]),
        (&editor, vec!["letterbox", "made-public", "papers", "pictures", "posters", "vault"]),
        (&ada, vec!["letterbox", "made-public", "papers", "pictures", "posters"]),
        (&anonymous, vec!["made-public", "papers", "posters"]),
    ] {
        let list = actor.get("/bucket").await.ok();
        assert_eq!(names(&list), seen);
        for bucket in ["letterbox", "made", "made-public", "papers", "vault"] {
            let reply = actor.get(&format!("/bucket/{bucket}")).await;
            assert_eq!(reply.status == 200, seen.contains(&bucket), "{bucket}");
        }
    }
    let page = secret.get("/bucket?limit=2&offset=1&sortColumn=name&sortOrder=desc&search=P").await.ok();
    assert_eq!(names(&page), ["pictures", "papers"]);
    let newest = secret.get("/bucket?limit=1&sortColumn=created_at&sortOrder=desc").await.ok();
    assert_eq!(names(&newest), ["made-public"]);
    for query in [
        "limit=x",
        "limit=0",
        "limit=-1",
        "sortColumn=owner",
        "sortOrder=up",
        "search=%00",
        "limit=1&limit=2",
    ] {
        assert_eq!(secret.get(&format!("/bucket?{query}")).await.refused(), "InvalidParameter", "{query}");
    }
    assert_eq!(site.nobody().get("/bucket").await.refused(), "AccessDenied");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_secret_key_makes_buckets_and_only_sound_ones() {
    let site = Site::start().await;
    let secret = site.secret();
    for actor in [site.user(&["editor"]), site.anonymous(), site.nobody()] {
        assert_eq!(actor.post("/bucket", json!({ "name": "mine" })).await.refused(), "AccessDenied");
        let change = actor.json(Method::PUT, "/bucket/papers", json!({ "public": true })).await;
        assert_eq!(change.refused(), "AccessDenied");
        assert_eq!(actor.send(Method::DELETE, "/bucket/papers", &[], "").await.refused(), "AccessDenied");
    }
    for (body, code) in [
        (json!({}), "MissingParameter"),
        (json!({ "name": "" }), "InvalidBucketName"),
        (json!({ "name": 7 }), "MissingParameter"),
        (json!([]), "InvalidRequest"),
        (json!({ "name": "a/b" }), "InvalidBucketName"),
        (json!({ "name": ".." }), "InvalidBucketName"),
        (json!({ "name": " a" }), "InvalidBucketName"),
        (json!({ "name": "a\0" }), "InvalidBucketName"),
        (json!({ "name": "ü" }), "InvalidBucketName"),
        (json!({ "name": "a".repeat(101) }), "InvalidBucketName"),
        (json!({ "name": "a", "public": "yes" }), "InvalidParameter"),
        (json!({ "name": "a", "type": "ANALYTICS" }), "InvalidParameter"),
        (json!({ "name": "a", "file_size_limit": -1 }), "InvalidParameter"),
        (json!({ "name": "a", "file_size_limit": "many" }), "InvalidParameter"),
        (json!({ "name": "a", "file_size_limit": "99GB" }), "EntityTooLarge"),
        (json!({ "name": "a", "allowed_mime_types": ["picture"] }), "InvalidMimeType"),
        (json!({ "name": "a", "allowed_mime_types": ["image/\0"] }), "InvalidMimeType"),
        (json!({ "name": "a", "allowed_mime_types": "image/png" }), "InvalidParameter"),
    ] {
        assert_eq!(secret.post("/bucket", body.clone()).await.refused(), code, "{body}");
    }
    assert_eq!(secret.get("/bucket?search=a&limit=1&sortColumn=created_at").await.ok()[0]["id"], "papers");
}
