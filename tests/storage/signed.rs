//! Addresses that open one object to whoever has them.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::hands::{Hands, expires_in, tampered};
use crate::support::server::eventually;

/// The address that ada signs for her file, and its token.
async fn signed(hands: &Hands, path: &str) -> (String, String) {
    let body = hands.post(&hands.ada, &format!("/object/sign/{path}"), expires_in(600)).await.is(200);
    let url = body["signedURL"].as_str().unwrap().to_owned();
    let token = url.split_once("?token=").unwrap().1.to_owned();
    (url, token)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_opens_its_object_to_whoever_has_it_until_it_expires() {
    let hands = Hands::start().await;
    hands.store(&hands.ada, "files/ada/me.txt", "about me").await;
    let (url, _) = signed(&hands, "files/ada/me.txt").await;
    assert!(url.starts_with("/object/sign/files/ada/me.txt?token="), "{url}");

    let got = hands.bare(Method::GET, &url, &[], "").await;
    got.is(200);
    assert_eq!(got.bytes, "about me");
    assert_eq!(got.header("content-type"), "text/plain; charset=utf-8");
    assert!(got.header("content-disposition").starts_with("attachment"), "{:?}", got.headers);
    assert_eq!(got.header("referrer-policy"), "no-referrer");
    let head = hands.bare(Method::HEAD, &url, &[], "").await;
    assert_eq!((head.status, head.header("content-length"), head.bytes.len()), (200, "8", 0));
    let part = hands.bare(Method::GET, &url, &[("range", "bytes=6-")], "").await;
    assert_eq!((part.status, part.bytes.as_ref()), (206, b"me".as_slice()));
    let named = hands.bare(Method::GET, &format!("{url}&download=x.txt"), &[], "").await;
    assert!(named.header("content-disposition").contains("x.txt"), "{:?}", named.headers);

    let soon = hands.post(&hands.ada, "/object/sign/files/ada/me.txt", expires_in(1)).await.is(200);
    let soon = soon["signedURL"].as_str().unwrap();
    let code = eventually("it expires", Duration::from_secs(5), || async {
        let got = hands.bare(Method::GET, soon, &[], "").await;
        (got.status != 200).then(|| got.refused(400, "400"))
    })
    .await;
    assert_eq!(code, "ExpiredToken");

    hands.send(&hands.ada, Method::DELETE, "/object/files/ada/me.txt", &[], "").await;
    let rows = hands.execute("delete from storage.objects").await;
    assert!(rows <= 1);
    assert_eq!(hands.bare(Method::GET, &url, &[], "").await.refused(400, "404"), "NoSuchKey");
    // Another object that gets the key is not the one that was signed.
    hands.store(&hands.ada, "files/ada/me.txt", "something else").await;
    assert_eq!(hands.bare(Method::GET, &url, &[], "").await.refused(400, "404"), "NoSuchKey");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_not_read_an_object_signs_nothing_of_it() {
    let hands = Hands::start().await;
    hands.store(&hands.ada, "files/ada/me.txt", "about me").await;
    hands.store(&hands.ada, "open/logo.txt", "a logo").await;
    let sign = async |token: &str, path: &str| {
        let got = hands.post(token, &format!("/object/sign/{path}"), expires_in(60)).await;
        if got.status == 200 { String::new() } else { got.json().to_string() }
    };
    let secret = hands.site.server.keys.secret();
    for (token, path, word) in [
        (hands.ada.as_str(), "files/ada/me.txt", ""),
        (secret, "files/ada/me.txt", ""),
        ("", "open/logo.txt", ""),
        (&hands.bob, "open/logo.txt", ""),
        (&hands.bob, "files/ada/me.txt", "NoSuchKey"),
        (&hands.bob, "files/ada/none.txt", "NoSuchKey"),
        ("", "files/ada/me.txt", "NoSuchBucket"),
        ("", "nowhere/me.txt", "NoSuchBucket"),
        (&hands.ada, "files/..%2Fme.txt", "InvalidKey"),
        (&hands.ada, "files/a%00b", "InvalidKey"),
    ] {
        let said = sign(token, path).await;
        assert!(if word.is_empty() { said.is_empty() } else { said.contains(word) }, "{path}: {said}");
    }
    let bare = hands.bare(Method::POST, "/object/sign/files/ada/me.txt", &[], "{\"expiresIn\":60}").await;
    assert_eq!(bare.refused(400, "401"), "AccessDenied");

    for expires in
        [json!(0), json!(-5), json!(604_801), json!(1.5), json!("60"), json!(null), json!({}), json!(1e300)]
    {
        let wish = json!({ "expiresIn": expires });
        let got = hands.post(&hands.ada, "/object/sign/files/ada/me.txt", wish).await;
        let code = got.refused(400, "400");
        // Null is nothing said, and what is no number is no such body.
        let expected = ["InvalidParameter", "MissingParameter", "InvalidRequest"];
        assert!(expected.contains(&code.as_str()), "{expires}: {code}");
    }
    let turned = json!({ "expiresIn": 60, "transform": { "width": 10 } });
    let got = hands.post(&hands.ada, "/object/sign/files/ada/me.txt", turned).await;
    assert_eq!(got.refused(400, "400"), "InvalidParameter");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_addresses_are_signed_at_once_and_what_one_may_not_read_is_told_like_what_is_not_there() {
    let hands = Hands::start().await;
    hands.store(&hands.ada, "files/ada/1.txt", "one").await;
    hands.store(&hands.ada, "files/ada/2.txt", "two").await;
    hands.store(&hands.bob, "files/bob/3.txt", "three").await;
    let paths = json!(["ada/1.txt", "bob/3.txt", "none", "ada/2.txt", "ada/1.txt", "../x", ""]);
    let wish = json!({ "expiresIn": 60, "paths": paths });
    let all = hands.post(&hands.ada, "/object/sign/files", wish.clone()).await.is(200);
    let all = all.as_array().unwrap();
    assert_eq!(all.len(), 7);
    for (at, answer) in all.iter().enumerate() {
        assert_eq!(answer["path"], paths[at]);
        match answer["signedURL"].as_str() {
            Some(url) => {
                assert!([0, 3, 4].contains(&at) && answer["error"].is_null(), "{answer}");
                hands.bare(Method::GET, url, &[], "").await.is(200);
            }
            None => assert_eq!(
                answer["error"],
                "Either the object does not exist or you do not have access to it"
            ),
        }
    }
    assert_eq!(all.iter().filter(|answer| answer["signedURL"].is_string()).count(), 3);
    let refused: Vec<&Value> = all.iter().filter(|answer| answer["signedURL"].is_null()).collect();
    assert!(refused.iter().all(|answer| answer["error"] == refused[0]["error"]));

    let many: Vec<String> = (0..1_001).map(|n| format!("{n}")).collect();
    let got = hands.post(&hands.ada, "/object/sign/files", json!({ "expiresIn": 60, "paths": many })).await;
    assert_eq!(got.refused(400, "400"), "InvalidParameter");
    let got = hands.post(&hands.ada, "/object/sign/files", expires_in(60)).await;
    assert_eq!(got.refused(400, "400"), "MissingParameter");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_nothing_but_what_it_was_signed_for() {
    let hands = Hands::start().await;
    for path in ["files/ada/a.txt", "files/ada/b.txt", "small/ada/a.txt"] {
        hands.store(&hands.ada, path, "content").await;
    }
    let (_, token) = signed(&hands, "files/ada/a.txt").await;
    let get = async |path: &str, token: &str| {
        let got = hands.bare(Method::GET, &format!("/object/sign/{path}?token={token}"), &[], "").await;
        if got.status == 200 { "opens".to_owned() } else { got.json()["code"].as_str().unwrap().to_owned() }
    };
    assert_eq!(get("files/ada/a.txt", &token).await, "opens");
    let dots = token.rmatch_indices('.').next().unwrap().0;
    let unsigned = &token[..=dots];
    let swapped = {
        let (_, other) = signed(&hands, "files/ada/b.txt").await;
        let parts: Vec<&str> = token.split('.').collect();
        let others: Vec<&str> = other.split('.').collect();
        format!("{}.{}.{}", parts[0], others[1], parts[2])
    };
    let server = &hands.site.server.keys;
    for (path, token) in [
        ("files/ada/b.txt", token.as_str()),
        ("small/ada/a.txt", &token),
        ("files/ada", &token),
        ("files/ada/a.txt/x", &token),
        ("files/ADA/a.txt", &token),
        ("files/ada/a.txt", ""),
        ("files/ada/a.txt", "x"),
        ("files/ada/a.txt", unsigned),
        ("files/ada/a.txt", &token[1..]),
        ("files/ada/a.txt", &token[..token.len() - 1]),
        ("files/ada/a.txt", &tampered(&token)),
        ("files/ada/b.txt", &swapped),
        ("files/ada/a.txt", &hands.ada),
        ("files/ada/a.txt", server.secret()),
        ("files/ada/a.txt", server.publishable()),
    ] {
        assert_eq!(get(path, token).await, "InvalidSignature", "{path} {token}");
    }
    for query in ["", "?token", &format!("?token={token}&token={token}"), "?Token=x"] {
        let got = hands.bare(Method::GET, &format!("/object/sign/files/ada/a.txt{query}"), &[], "").await;
        assert_ne!(got.status, 200, "{query}");
    }
    // Where nothing is, a token that is good for something else does not tell.
    assert_eq!(get("files/ada/none.txt", &token).await, "InvalidSignature");
    assert_eq!(get("nowhere/a.txt", &token).await, "InvalidSignature");
    // It only reads.
    for method in [Method::PUT, Method::DELETE, Method::PATCH] {
        let path = format!("/object/sign/files/ada/a.txt?token={token}");
        assert_ne!(hands.bare(method, &path, &[], "x").await.status, 200);
    }
    let path = format!("/object/upload/sign/files/ada/a.txt?token={token}");
    let got = hands.bare(Method::PUT, &path, &[], "x").await;
    assert_eq!(got.refused(400, "400"), "InvalidUploadSignature");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_an_address_is_no_credential_anywhere() {
    let hands = Hands::start().await;
    hands.store(&hands.ada, "files/ada/a.txt", "content").await;
    let (_, read) = signed(&hands, "files/ada/a.txt").await;
    let granted = hands.post(&hands.ada, "/object/upload/sign/files/ada/b.txt", json!({})).await.is(200);
    let upload = granted["token"].as_str().unwrap();
    let key = hands.site.server.keys.publishable();
    for token in [read.as_str(), upload] {
        let bearer = format!("Bearer {token}");
        for path in [
            "/rest/v1/notes",
            "/auth/v1/user",
            "/storage/v1/object/files/ada/a.txt",
            "/storage/v1/upload/resumable/00000000-0000-7000-8000-000000000000",
        ] {
            for headers in
                [vec![("apikey", key), ("authorization", bearer.as_str())], vec![("apikey", token)]]
            {
                let method = if path.contains("resumable") { Method::HEAD } else { Method::GET };
                let mut request = hands.site.client.request(method, hands.site.server.at(path));
                for (name, value) in headers {
                    request = request.header(name, value);
                }
                let status = request.header("tus-resumable", "1.0.0").send().await.unwrap().status().as_u16();
                assert!([400, 401, 403].contains(&status), "{path}: {status}");
            }
        }
        let socket = hands.site.server.at(&format!("/realtime/v1/websocket?apikey={token}&vsn=2.0.0"));
        let upgrade =
            hands.site.client.get(socket).header("connection", "upgrade").header("upgrade", "websocket");
        let upgrade = upgrade
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(upgrade.send().await.unwrap().status().as_u16(), 401);
    }
    // One to read begins no resumable upload.
    let headers = [("tus-resumable", "1.0.0"), ("x-signature", read.as_str()), ("upload-length", "1")];
    let got = hands.bare(Method::POST, "/upload/resumable/sign", &headers, "").await;
    assert_eq!(got.refused(400, "400"), "InvalidUploadSignature");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_every_kind_are_signed_as_clients_write_them() {
    let hands = Hands::start().await;
    for (written, key) in [
        ("ada/a%20b.txt", "ada/a b.txt"),
        ("ada/gr%C3%B6%C3%9Fe%20%E2%98%83.txt", "ada/größe ☃.txt"),
        ("ada/100%25.txt", "ada/100%.txt"),
        ("ada/what%3F.txt", "ada/what?.txt"),
        ("ada/%23one.txt", "ada/#one.txt"),
        ("ada/a+b&c=d.txt", "ada/a+b&c=d.txt"),
        ("ada/%2541.txt", "ada/%41.txt"),
    ] {
        hands.store(&hands.ada, &format!("files/{written}"), key).await;
        let (url, _) = signed(&hands, &format!("files/{written}")).await;
        // As it is, and encoded once more, as JavaScript's `encodeURI` does it.
        let again = url.replace('%', "%25").replace(' ', "%20");
        for url in [url, again] {
            let got = hands.bare(Method::GET, &url, &[], "").await;
            assert_eq!((got.status, got.bytes.as_ref()), (200, key.as_bytes()), "{url}");
        }
    }
}
