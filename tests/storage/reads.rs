//! What comes out: whole or in part, and what is known of it.

use reqwest::Method;
use serde_json::json;

use super::site::{PNG, Site};

#[tokio::test(flavor = "multi_thread")]
async fn content_comes_whole_in_part_or_not_at_all() {
    let site = Site::start().await;
    let ada = site.user(&[]);
    let text: Vec<u8> = (0..100_000_u32).map(|n| b'a' + (n % 26) as u8).collect();
    let headers = [("content-type", "text/plain"), ("cache-control", "max-age=60")];
    ada.send(Method::POST, "/object/papers/a", &headers, text.clone()).await.ok();
    let path = "/object/papers/a";

    let whole = ada.get(path).await;
    for (name, value) in [
        ("content-type", "text/plain"),
        ("content-length", "100000"),
        ("accept-ranges", "bytes"),
        ("cache-control", "private, max-age=60"),
        ("x-robots-tag", "none"),
        ("vary", "authorization, apikey"),
    ] {
        assert!(whole.header(name).starts_with(value), "{name}: {}", whole.header(name));
    }
    let (etag, modified) = (whole.header("etag").to_owned(), whole.header("last-modified").to_owned());
    assert!(etag.starts_with('"') && modified.ends_with(" GMT"), "{etag} {modified}");
    assert_eq!(whole.content(), text);

    for (range, from, to) in [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=99990-", 99_990, 100_000),
        ("bytes=-7", 99_993, 100_000),
        ("bytes=50-999999999", 50, 100_000),
    ] {
        let part = ada.get_with(path, &[("range", range)]).await;
        assert_eq!((part.status, part.bytes.as_slice()), (206, &text[from..to]), "{range}");
        assert_eq!(part.header("content-range"), format!("bytes {from}-{}/100000", to - 1));
        assert_eq!(part.header("content-length"), (to - from).to_string());
        assert_eq!(part.header("etag"), etag);
    }
    for range in ["bytes=0-0,5-6", "bytes=5-4", "lines=1-2", "bytes=x-"] {
        assert_eq!(ada.get_with(path, &[("range", range)]).await.content(), text, "{range}");
    }
    let outside = ada.get_with(path, &[("range", "bytes=100000-")]).await;
    assert_eq!((outside.status, outside.header("content-range")), (416, "bytes */100000"));
    assert_eq!(outside.refused(), "InvalidRange");

    let same = ada.get_with(path, &[("range", "bytes=0-0"), ("if-range", &etag)]).await;
    let other = ada.get_with(path, &[("range", "bytes=0-0"), ("if-range", "\"other\"")]).await;
    assert_eq!((same.status, other.status), (206, 200));
    for (name, value, status) in [
        ("if-none-match", etag.as_str(), 304),
        ("if-none-match", "\"other\"", 200),
        ("if-modified-since", &modified, 304),
        ("if-modified-since", "Thu, 01 Jan 1970 00:00:00 GMT", 200),
        ("if-match", &etag, 200),
        ("if-match", "\"other\"", 412),
        ("if-unmodified-since", &modified, 200),
        ("if-unmodified-since", "Thu, 01 Jan 1970 00:00:00 GMT", 412),
    ] {
        let reply = ada.get_with(path, &[(name, value)]).await;
        assert_eq!(reply.status, status, "{name}: {value}");
        assert_eq!(reply.header("etag"), etag);
        assert_eq!(reply.bytes.is_empty(), status != 200);
    }
    let head = ada.head(path).await;
    assert_eq!(
        (head.status, head.header("content-length"), head.header("etag")),
        (200, "100000", etag.as_str())
    );
    assert_eq!((head.header("content-type"), head.bytes.len()), ("text/plain; charset=utf-8", 0));
    // A range is for GET alone.
    assert_eq!(
        super::site::Reply::of(ada.request(Method::HEAD, path, &[("range", "bytes=0-0")])).await.status,
        200
    );
    // Nothing is a part of nothing.
    ada.upload("papers/empty", "").await.ok();
    assert_eq!(ada.get("/object/papers/empty").await.content(), b"");
    assert_eq!(ada.get_with("/object/papers/empty", &[("range", "bytes=0-")]).await.status, 416);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_may_not_read_is_not_there_at_any_door() {
    let site = Site::start().await;
    let (ada, bob, editor) = (site.user(&[]), site.user(&[]), site.user(&["editor"]));
    let (anonymous, nobody, secret) = (site.anonymous(), site.nobody(), site.secret());
    for key in ["papers/a", "papers/shown/a", "posters/a", "letterbox/a"] {
        ada.upload(key, "content").await.ok();
    }
    let doors = ["/object/", "/object/authenticated/", "/object/info/", "/object/info/authenticated/"];
    for (actor, who, seen) in [
        (&ada, "ada", [true, true, true, false]),
        (&bob, "bob", [false, true, true, false]),
        (&editor, "editor", [true, true, true, false]),
        (&anonymous, "anonymous", [false, true, true, false]),
        (&secret, "secret", [true, true, true, true]),
    ] {
        for (key, seen) in ["papers/a", "papers/shown/a", "posters/a", "letterbox/a"].iter().zip(seen) {
            for door in doors {
                let reply = actor.get(&format!("{door}{key}")).await;
                let head = actor.head(&format!("{door}{key}")).await;
                if seen {
                    assert_eq!((reply.status, head.status), (200, 200), "{who} {door}{key}");
                    continue;
                }
                // To the letter as what was never there, but for the request's own id.
                let absent = actor.get(&format!("{door}{key}-absent")).await;
                let told = |reply: &super::site::Reply| {
                    let mut body = reply.json();
                    body["request_id"].take();
                    (
                        reply.status,
                        body,
                        reply.header("content-type").to_owned(),
                        reply.header("etag").to_owned(),
                    )
                };
                assert_eq!(told(&reply), told(&absent), "{who} {door}{key}");
                assert_eq!((reply.status, head.status), (400, 400), "{who} {door}{key}");
            }
        }
    }
    // The public doors ask for no credential and open nothing else.
    for door in ["/object/public/", "/object/info/public/"] {
        assert_eq!(nobody.get(&format!("{door}posters/a")).await.status, 200);
        assert_eq!(nobody.head(&format!("{door}posters/a")).await.status, 200);
        for actor in [&nobody, &ada, &secret] {
            assert_eq!(actor.get(&format!("{door}papers/shown/a")).await.refused(), "NoSuchBucket");
            assert_eq!(actor.get(&format!("{door}nowhere/a")).await.refused(), "NoSuchBucket");
        }
        assert_eq!(nobody.get(&format!("{door}posters/b")).await.refused(), "NoSuchKey");
    }
    assert_eq!(nobody.get("/object/posters/a").await.refused(), "AccessDenied");
    assert_eq!(ada.get("/object/vault/a").await.refused(), "NoSuchBucket");
    assert_eq!(editor.get("/object/vault/a").await.refused(), "NoSuchKey");
    let torn = site.anonymous().get_with("/object/papers/shown/a", &[("authorization", "Bearer x")]).await;
    assert!(["InvalidJWT"].contains(&torn.refused().as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_saved_under_the_name_that_is_wished() {
    let site = Site::start().await;
    let ada = site.user(&[]);
    let png = [("content-type", "image/png")];
    ada.send(Method::POST, "/object/posters/x/gr%C3%B6%C3%9Fe.png", &png, PNG).await.ok();
    ada.send(Method::POST, "/object/posters/x/b.html", &[("content-type", "text/html")], "<b>").await.ok();
    let shown = "attachment; filename=\"gr__e.png\"; filename*=UTF-8''gr%C3%B6%C3%9Fe.png";
    for (query, disposition) in [
        ("", ""),
        ("?download", shown),
        ("?download=", shown),
        ("?download=a%0d%0ab%22.png", "attachment; filename=\"a__b_.png\"; filename*=UTF-8''a__b_.png"),
    ] {
        let reply = ada.get(&format!("/object/public/posters/x/gr%C3%B6%C3%9Fe.png{query}")).await;
        assert_eq!((reply.status, reply.header("content-disposition")), (200, disposition), "{query}");
    }
    let html = ada.get("/object/public/posters/x/b.html").await;
    assert_eq!(
        (html.header("content-disposition"), html.header("content-type")),
        ("attachment", "text/plain; charset=utf-8")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_of_an_object_has_the_members_that_clients_read() {
    let site = Site::start().await;
    let ada = site.user(&[]);
    ada.upload("papers/x/a.txt", "content").await.ok();
    let info = ada.get("/object/info/papers/x/a.txt").await.ok();
    assert_eq!((&info["name"], &info["bucket_id"]), (&json!("x/a.txt"), &json!("papers")));
    assert_eq!((&info["size"], &info["content_type"]), (&json!(7), &json!("text/plain")));
    // SHA-256 of `content`.
    let etag = "\"ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73\"";
    assert_eq!(info["etag"], etag);
    for member in ["last_modified", "created_at"] {
        let time = info[member].as_str().unwrap();
        assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
    }
    assert_eq!(ada.get("/object/papers/x/a.txt").await.header("etag"), etag);
    assert_eq!(site.nobody().get("/status").await.status, 200);
}
