//! Objects move, are copied and go.

use reqwest::Method;
use serde_json::{Value, json};

use super::site::{Actor, PNG, Reply, Site};

async fn relocate(actor: &Actor, from: &str, to: &str) -> Reply {
    actor.post("/object/move", places(from, to)).await
}

async fn copy(actor: &Actor, from: &str, to: &str) -> Reply {
    actor.post("/object/copy", places(from, to)).await
}

fn places(from: &str, to: &str) -> Value {
    let (bucket, key) = from.split_once('/').unwrap();
    let (to_bucket, to) = to.split_once('/').unwrap();
    json!({ "bucketId": bucket, "sourceKey": key, "destinationBucket": to_bucket, "destinationKey": to })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_moves_where_its_rules_let_it_and_stays_what_it_is() {
    let site = Site::start().await;
    let (ada, bob, editor) = (site.user(&[]), site.user(&[]), site.user(&["editor"]));
    ada.upload("papers/a", "a").await.ok();
    let before = ada.get("/object/info/papers/a").await.ok();
    let moved = relocate(&ada, "papers/a", "papers/x/b").await.ok();
    assert_eq!((&moved["message"], &moved["Key"]), (&json!("Successfully moved"), &json!("papers/x/b")));
    let after = ada.get("/object/info/papers/x/b").await.ok();
    for member in ["id", "version", "etag", "size", "created_at"] {
        assert_eq!(before[member], after[member], "{member}");
    }
    assert_eq!(ada.get("/object/papers/a").await.refused(), "NoSuchKey");
    assert_eq!(ada.get("/object/papers/x/b").await.content(), b"a");

    ada.upload("papers/c", "c").await.ok();
    ada.upload("papers/final/d", "d").await.ok();
    for (actor, from, to, code) in [
        (&ada, "papers/c", "papers/x/b", "KeyAlreadyExists"),
        (&ada, "papers/c", "papers/locked/c", "AccessDenied"),
        (&ada, "papers/final/d", "papers/d", "AccessDenied"),
        (&ada, "papers/none", "papers/d", "NoSuchKey"),
        (&ada, "papers/c", "vault/c", "NoSuchBucket"),
        (&ada, "papers/c", "nowhere/c", "NoSuchBucket"),
        (&ada, "nowhere/c", "papers/e", "NoSuchBucket"),
        (&ada, "papers/final/d", "pictures/d", "AccessDenied"),
        // Who reads it may not therefore move it, and who does not read it learns nothing, of the other key neither.
        (&editor, "papers/c", "papers/e", "AccessDenied"),
        (&editor, "papers/c", "papers/x/b", "AccessDenied"),
        (&bob, "papers/c", "papers/e", "NoSuchKey"),
        (&bob, "papers/c", "papers/x/b", "NoSuchKey"),
        (&bob, "papers/none", "papers/x/b", "NoSuchKey"),
    ] {
        assert_eq!(relocate(actor, from, to).await.refused(), code, "{from} {to}");
    }
    // Another bucket takes it by its own rules, and no more than it takes of uploads.
    relocate(&ada, "papers/c", "pictures/c").await.ok();
    assert_eq!(ada.get("/object/pictures/c").await.content(), b"c");
    ada.upload("papers/large", vec![b'x'; 2_000]).await.ok();
    assert_eq!(relocate(&ada, "papers/large", "pictures/large").await.refused(), "EntityTooLarge");
    ada.send(Method::POST, "/object/papers/j", &[("content-type", "application/json")], "{}").await.ok();
    assert_eq!(relocate(&ada, "papers/j", "pictures/j").await.refused(), "InvalidMimeType");
    for body in
        [json!({}), json!({ "bucketId": "papers", "sourceKey": "a" }), places("papers/../a", "papers/b")]
    {
        let code = ada.post("/object/move", body.clone()).await.refused();
        assert!(code.starts_with("Invalid"), "{code} for {body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_an_object_of_its_own() {
    let site = Site::start().await;
    let (ada, bob, editor) = (site.user(&[]), site.user(&[]), site.user(&["editor"]));
    let headers =
        [("content-type", "image/png"), ("cache-control", "max-age=60"), ("x-metadata", "eyJhIjoxfQ==")];
    ada.send(Method::POST, "/object/papers/a", &headers, PNG).await.ok();
    let copied = copy(&ada, "papers/a", "papers/b").await.ok();
    assert_eq!((&copied["Key"], &copied["name"]), (&json!("papers/b"), &json!("b")));
    let (first, second) =
        (ada.get("/object/info/papers/a").await.ok(), ada.get("/object/info/papers/b").await.ok());
    assert_eq!(copied["Id"], second["id"]);
    for member in ["etag", "size", "content_type", "cache_control", "metadata"] {
        assert_eq!(first[member], second[member], "{member}");
    }
    for member in ["id", "version"] {
        assert_ne!(first[member], second[member], "{member}");
    }
    ada.delete("papers", &["a"]).await.ok();
    assert_eq!(ada.get("/object/papers/b").await.content(), PNG);

    // Whoever reads it copies it, and it is his.
    let mine = copy(&editor, "papers/b", "papers/c").await.ok();
    assert_eq!(mine["owner"], editor.id.to_string());
    assert_eq!(copy(&editor, "papers/b", "papers/c").await.refused(), "KeyAlreadyExists");
    for (actor, from, to, code) in [
        (&bob, "papers/b", "papers/d", "NoSuchKey"),
        (&ada, "papers/b", "papers/locked/b", "AccessDenied"),
        (&ada, "papers/b", "vault/b", "NoSuchBucket"),
        (&ada, "papers/none", "papers/d", "NoSuchKey"),
    ] {
        assert_eq!(copy(actor, from, to).await.refused(), code, "{from} {to}");
    }
    let mut body = places("papers/b", "papers/c");
    let send = async |actor: &Actor, headers: &[(&str, &str)], body: &Value| {
        Reply::of(actor.request(Method::POST, "/object/copy", headers).json(body)).await
    };
    let upsert = [("x-upsert", "true")];
    assert_eq!(send(&ada, &upsert, &body).await.refused(), "AccessDenied", "it is the editor's");
    send(&editor, &upsert, &body).await.ok();
    // Something else may be said of the copy.
    body["destinationKey"] = json!("d");
    body["copyMetadata"] = json!(false);
    body["metadata"] = json!({ "cacheControl": "max-age=1", "mimetype": "text/html" });
    send(&ada, &[("x-metadata", "eyJiIjoyfQ==")], &body).await.ok();
    let told = ada.get("/object/info/papers/d").await.ok();
    assert_eq!((&told["metadata"], &told["cache_control"]), (&json!({ "b": 2 }), &json!("max-age=1")));
    let reply = ada.get("/object/papers/d").await;
    assert_eq!(reply.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(reply.header("content-disposition"), "attachment");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_may_be_read_and_deleted_goes() {
    let site = Site::start().await;
    let (ada, bob, editor) = (site.user(&[]), site.user(&[]), site.user(&["editor"]));
    for key in ["a", "b", "c", "final/d", "x'y", "x\"y", "x,y", "{x}", "NULL"] {
        ada.upload(&format!("papers/{key}"), "1").await.ok();
    }
    ada.upload("posters/a", "1").await.ok();
    let names = |reply: &Reply| {
        let rows = reply.ok();
        let mut names: Vec<String> =
            rows.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&bob.delete("papers", &["a", "b"]).await), [""; 0]);
    assert_eq!(names(&editor.delete("papers", &["a"]).await), [""; 0]);
    let gone = ada.delete("papers", &["a", "none", "final/d", "../x", "", "a"]).await;
    assert_eq!(names(&gone), ["a"]);
    assert_eq!(gone.ok()[0]["bucket_id"], "papers");
    assert_eq!(names(&ada.delete("papers", &["x'y", "x\"y", "x,y", "{x}", "NULL"]).await).len(), 5);
    // A public bucket is read without a rule, and deleting takes one.
    assert_eq!(names(&bob.delete("posters", &["a"]).await), [""; 0]);
    assert_eq!(names(&ada.delete("posters", &["a"]).await), ["a"]);

    let one = async |actor: &Actor, place: &str| {
        Reply::of(actor.request(Method::DELETE, &format!("/object/{place}"), &[])).await
    };
    assert_eq!(one(&bob, "papers/b").await.refused(), "NoSuchKey");
    assert_eq!(one(&editor, "papers/b").await.refused(), "AccessDenied");
    assert_eq!(one(&ada, "papers/final/d").await.refused(), "AccessDenied");
    assert_eq!(one(&ada, "papers/b").await.ok(), json!({ "message": "Successfully deleted" }));
    assert_eq!(one(&ada, "papers/b").await.refused(), "NoSuchKey");
    assert_eq!(one(&ada, "nowhere/b").await.refused(), "NoSuchBucket");
    assert_eq!(site.anonymous().delete("papers", &["c"]).await.refused(), "AccessDenied");
    assert_eq!(site.anonymous().delete("letterbox", &["c"]).await.refused(), "NoSuchBucket");
    assert_eq!(ada.delete("letterbox", &["c"]).await.refused(), "AccessDenied");
    let many: Vec<String> = (0..1_001).map(|n| format!("k{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(ada.delete("papers", &many).await.refused(), "InvalidRequest");
    assert_eq!(names(&ada.delete("papers", &many[1..]).await), [""; 0]);
    assert_eq!(ada.delete("papers", &[]).await.refused(), "InvalidRequest");
    // What lost its object waits to be swept away.
    let waiting = site.sql().await.query_one("select count(*) from storage.trash", &[]).await.unwrap();
    assert_eq!(waiting.get::<_, i64>(0), 8);
}
