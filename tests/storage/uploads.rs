//! What goes in.

use reqwest::Method;
use serde_json::{Value, json};

use super::site::{PNG, Part, Reply, Site, form};

const FILE: &str = "; name=\"\"; filename=\"a.txt\"";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_of_an_object_is_kept_however_it_comes() {
    let site = Site::start().await;
    let ada = site.user(&[]);
    let headers = [
        ("content-type", "Text/Plain; charset=utf-8"),
        ("cache-control", "max-age=60"),
        ("x-metadata", "eyJhIjoiw7wifQ=="),
    ];
    let raw = ada.send(Method::POST, "/object/papers/raw.txt", &headers, "content").await.ok();
    assert_eq!(raw["Key"], "papers/raw.txt");
    let parts: [Part<'_>; 4] = [
        ("; name=\"cacheControl\"", "", b"60"),
        ("; name=\"metadata\"", "", "{\"a\":\"ü\"}".as_bytes()),
        ("; name=\"unknown\"", "", b"is passed over"),
        (FILE, "Content-Type: text/plain;charset=UTF-8\r\n", b"content"),
    ];
    let formed = ada.form(Method::POST, "papers/formed.txt", &parts).await.ok();
    assert_eq!(formed["Key"], "papers/formed.txt");
    // The same where the fields come behind the file.
    let turned: Vec<_> = parts.iter().rev().copied().collect();
    ada.form(Method::POST, "papers/turned.txt", &turned).await.ok();

    for (name, id) in [("raw", &raw["Id"]), ("formed", &formed["Id"]), ("turned", &Value::Null)] {
        let info = ada.get(&format!("/object/info/papers/{name}.txt")).await.ok();
        assert!(id.is_null() || info["id"] == *id);
        assert_eq!(info["content_type"], "text/plain");
        assert_eq!(info["cache_control"], "max-age=60", "{name}");
        assert_eq!(info["metadata"], json!({ "a": "ü" }), "{name}");
        assert_eq!((&info["size"], &info["bucket_id"]), (&json!(7), &json!("papers")));
        assert_eq!(ada.get(&format!("/object/papers/{name}.txt")).await.content(), b"content");
    }
    // Nothing said is nothing kept.
    ada.send(Method::POST, "/object/papers/plain", &[], PNG).await.ok();
    let info = ada.get("/object/info/papers/plain").await.ok();
    assert_eq!((&info["content_type"], &info["cache_control"]), (&json!("image/png"), &json!("no-cache")));
    assert_eq!(info["metadata"], json!({}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_key_is_replaced_only_where_that_is_wished_and_allowed() {
    let site = Site::start().await;
    let (ada, bob) = (site.user(&[]), site.user(&[]));
    let put = async |actor: &super::site::Actor, method: Method, upsert: &str, text: &'static str| {
        let headers = [("x-upsert", upsert), ("content-type", "text/plain")];
        actor.send(method, "/object/papers/a", &headers, text).await
    };
    assert_eq!(put(&ada, Method::PUT, "false", "0").await.refused(), "NoSuchKey");
    let first = put(&ada, Method::POST, "false", "1").await.ok();
    assert_eq!(put(&ada, Method::POST, "false", "2").await.refused(), "KeyAlreadyExists");
    assert_eq!(put(&bob, Method::POST, "false", "2").await.refused(), "KeyAlreadyExists");
    assert_eq!(put(&bob, Method::POST, "true", "2").await.refused(), "AccessDenied");
    assert_eq!(put(&bob, Method::PUT, "false", "2").await.refused(), "NoSuchKey");
    assert_eq!(ada.get("/object/papers/a").await.content(), b"1");
    let second = put(&ada, Method::POST, "true", "2").await.ok();
    assert_eq!(second, first, "it is the same object");
    assert_eq!(ada.get("/object/papers/a").await.content(), b"2");
    put(&ada, Method::PUT, "false", "3").await.ok();
    assert_eq!(ada.get("/object/papers/a").await.content(), b"3");
    // What is final may be read, and is not there to be replaced.
    ada.upload("papers/final/a", "1").await.ok();
    let again = ada.send(Method::PUT, "/object/papers/final/a", &[], "2").await;
    assert_eq!(again.refused(), "NoSuchKey");
    let again = ada.send(Method::POST, "/object/papers/final/a", &[("x-upsert", "true")], "2").await;
    assert_eq!(again.refused(), "AccessDenied");
    // Whoever may read without a rule, because the bucket is public, may replace with one.
    ada.upload("posters/a", "1").await.ok();
    ada.send(Method::PUT, "/object/posters/a", &[], "2").await.ok();
    assert_eq!(ada.get("/object/posters/a").await.content(), b"2");
    assert_eq!(bob.send(Method::PUT, "/object/posters/a", &[], "3").await.refused(), "NoSuchKey");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_not_store_is_told_before_he_sends_all_of_it() {
    let site = Site::start().await;
    let (ada, anonymous, nobody) = (site.user(&[]), site.anonymous(), site.nobody());
    assert_eq!(anonymous.upload("papers/a", "1").await.refused(), "AccessDenied");
    assert_eq!(nobody.upload("papers/a", "1").await.refused(), "AccessDenied");
    assert_eq!(anonymous.upload("vault/a", "1").await.refused(), "NoSuchBucket");
    assert_eq!(ada.upload("vault/a", "1").await.refused(), "NoSuchBucket");
    assert_eq!(site.user(&["editor"]).upload("vault/a", "1").await.refused(), "AccessDenied");
    assert_eq!(ada.upload("nowhere/a", "1").await.refused(), "NoSuchBucket");
    assert_eq!(ada.upload("papers/locked/a", "1").await.refused(), "AccessDenied");
    assert_eq!(
        ada.form(Method::POST, "papers/locked/a", &[(FILE, "", b"1")]).await.refused(),
        "AccessDenied"
    );
    // Five megabytes that nobody will take: the refusal arrives nevertheless.
    let large = vec![b'x'; 5 << 20];
    assert_eq!(ada.upload("papers/locked/a", large.clone()).await.refused(), "AccessDenied");
    assert_eq!(
        ada.form(Method::POST, "papers/locked/a", &[(FILE, "", &large)]).await.refused(),
        "AccessDenied"
    );
    assert_eq!(ada.chunked("papers/locked/a", 5 << 20).await.refused(), "AccessDenied");
    // Who only brings sees nothing of it.
    ada.upload("letterbox/a", "1").await.ok();
    assert_eq!(ada.get("/object/letterbox/a").await.refused(), "NoSuchKey");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_takes_no_more_and_nothing_else_than_it_says() {
    let site = Site::start().await;
    let ada = site.user(&[]);
    let sized = |size: usize| vec![b'x'; size];
    ada.upload("pictures/fits", sized(1_000)).await.ok();
    ada.chunked("pictures/in-pieces", 1_000).await.ok();
    ada.form(Method::POST, "pictures/formed", &[(FILE, "Content-Type: text/plain\r\n", &sized(1_000))])
        .await
        .ok();
    for reply in [
        ada.upload("pictures/large", sized(1_001)).await,
        ada.chunked("pictures/large", 1_001).await,
        ada.chunked("pictures/large", 3 << 20).await,
        ada.form(Method::POST, "pictures/large", &[(FILE, "Content-Type: text/plain\r\n", &sized(1_001))])
            .await,
        ada.form(Method::POST, "pictures/large", &[(FILE, "Content-Type: text/plain\r\n", &sized(3 << 20))])
            .await,
    ] {
        assert_eq!(reply.refused(), "EntityTooLarge");
        let body = reply.json();
        assert_eq!((&body["statusCode"], &body["error"]), (&json!("413"), &json!("Payload too large")));
    }
    let kind = async |kind: &str, content: &'static [u8]| {
        ada.send(
            Method::POST,
            "/object/pictures/kind",
            &[("content-type", kind), ("x-upsert", "true")],
            content,
        )
        .await
    };
    kind("image/png", PNG).await.ok();
    kind("IMAGE/PNG; x=y", PNG).await.ok();
    kind("text/csv", b"a,b").await.ok();
    for (declared, content) in [("image/gif", PNG), ("application/json", b"{}"), ("video/png", PNG)] {
        assert_eq!(kind(declared, content).await.refused(), "InvalidMimeType", "{declared}");
    }
    assert_eq!(ada.get("/object/pictures/large").await.refused(), "NoSuchKey");
    // A folder without objects is made by an empty one, which every bucket takes.
    let placeholder = "/object/pictures/album/.emptyFolderPlaceholder";
    ada.send(Method::POST, placeholder, &[("content-type", "application/octet-stream")], "").await.ok();
    assert_eq!(ada.get(placeholder).await.content(), b"");
    let full = ada.send(Method::POST, "/object/pictures/b/.emptyFolderPlaceholder", &[], "x").await;
    assert_eq!(full.refused(), "EntityTooLarge");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_is_none_is_refused_and_leaves_nothing() {
    let site = Site::start().await;
    let ada = site.user(&[]);
    let file = (FILE, "", b"content".as_slice());
    let cases: [(&[Part<'_>], &str); 10] = [
        (&[], "InvalidRequest"),
        (&[("; name=\"note\"", "", b"text")], "InvalidRequest"),
        (&[file, file], "InvalidRequest"),
        (&[("", "", b"no name at all")], "InvalidRequest"),
        (&[("; name=\"metadata\"", "", b"[]"), file], "InvalidParameter"),
        (&[file, ("; name=\"metadata\"", "", b"{")], "InvalidParameter"),
        (&[("; name=\"metadata\"", "", b"{\"a\":\"\\u0000\"}"), file], "InvalidParameter"),
        (&[("; name=\"cacheControl\"", "", b"1\r\nx: y"), file], "InvalidParameter"),
        (&[("; name=\"cacheControl\"", "", b"\xff"), file], "InvalidRequest"),
        (&[("; name=\"note\"", "", &[b'x'; 70_000]), file], "EntityTooLarge"),
    ];
    for (parts, code) in cases {
        assert_eq!(ada.form(Method::POST, "papers/bad", parts).await.refused(), code, "{parts:?}");
    }
    let whole = form(&[file]);
    let send = async |kind: &str, body: Vec<u8>| {
        ada.send(Method::POST, "/object/papers/bad", &[("content-type", kind)], body).await
    };
    let kind = "multipart/form-data; boundary=\"-- x\"";
    for cut in [1, 10, 40, whole.len() - 14] {
        assert_eq!(send(kind, whole[..cut].to_vec()).await.refused(), "InvalidRequest", "{cut}");
    }
    for other in
        ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=other"]
    {
        assert_eq!(send(other, whole.clone()).await.refused(), "InvalidRequest", "{other}");
    }
    for metadata in ["!", "e30", "bnVsbA==", "WzFd"] {
        let headers = [("x-metadata", metadata)];
        let reply = ada.send(Method::POST, "/object/papers/bad", &headers, "x").await;
        if metadata == "e30" {
            reply.ok();
        } else {
            assert_eq!(reply.refused(), "InvalidParameter", "{metadata}");
        }
    }
    let deleted = ada.delete("papers", &["bad"]).await.ok();
    assert_eq!(deleted.as_array().unwrap().len(), 1, "only what was taken at last is there");
    assert_eq!(ada.get("/object/papers/bad").await.refused(), "NoSuchKey");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hundred_who_store_at_once_one_is_first() {
    let site = Site::start().await;
    let ada = site.user(&[]);
    let create = |n: usize| {
        let ada = ada.clone();
        async move { ada.upload("papers/race", format!("{n}")).await }
    };
    let replies: Vec<Reply> = futures_util::future::join_all((0..100).map(create)).await;
    let won: Vec<usize> = (0..100).filter(|n| replies[*n].status == 200).collect();
    assert_eq!(won.len(), 1, "{won:?}");
    assert!(
        replies.iter().filter(|reply| reply.status != 200).all(|reply| reply.refused() == "KeyAlreadyExists")
    );
    assert_eq!(ada.get("/object/papers/race").await.content(), won[0].to_string().into_bytes());
}
