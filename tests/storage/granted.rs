//! Uploads that are granted to whoever has the token.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::hands::{Hands, expires_in, files, noise, tampered};
use crate::support::server::eventually;

const PLAIN: &[(&str, &str)] = &[("content-type", "text/plain")];

/// The address and the token that somebody is granted.
async fn granted(hands: &Hands, token: &str, path: &str) -> (String, String) {
    let body = hands.post(token, &format!("/object/upload/sign/{path}"), json!({})).await.is(200);
    let text = |name: &str| body[name].as_str().unwrap().to_owned();
    (text("url"), text("token"))
}

async fn put(hands: &Hands, url: &str, content: &str) -> String {
    let got = hands.bare(Method::PUT, url, PLAIN, content.to_owned()).await;
    if got.status == 200 { "stored".to_owned() } else { got.json()["code"].as_str().unwrap().to_owned() }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_the_token_stores_one_object_as_its_granter_would() {
    let hands = Hands::start().await;
    let (url, token) = granted(&hands, &hands.ada, "files/ada/new.txt").await;
    assert_eq!(url, format!("/object/upload/sign/files/ada/new.txt?token={token}"));
    let got = hands.bare(Method::PUT, &url, PLAIN, "from afar").await;
    assert_eq!(got.is(200)["Key"], "files/ada/new.txt");
    assert_eq!(hands.content(&hands.ada, "files/ada/new.txt").await.unwrap(), "from afar");
    assert_eq!(hands.content(&hands.bob, "files/ada/new.txt").await.unwrap_err(), "NoSuchKey");
    let owner = format!("select count(*) from storage.objects where owner = '{}'", hands.ada_id);
    assert_eq!(hands.count(&owner).await, 1);
    // Once and no more, not even when the object is gone.
    assert_eq!(put(&hands, &url, "again").await, "NoSuchUpload");
    hands.execute("delete from storage.objects").await;
    assert_eq!(put(&hands, &url, "again").await, "NoSuchUpload");
    assert_eq!(hands.count("select count(*) from storage.uploads").await, 0);

    let (url, _) = granted(&hands, &hands.ada, "files/ada/form.txt").await;
    let boundary = [("content-type", "multipart/form-data; boundary=b")];
    let form = "--b\r\ncontent-disposition: form-data; name=\"cacheControl\"\r\n\r\n60\r\n--b\r\n\
                content-disposition: form-data; name=\"\"; filename=\"f\"\r\ncontent-type: text/plain\r\n\r\nin a form\r\n--b--\r\n";
    hands.bare(Method::PUT, &url, &boundary, form).await.is(200);
    let got = hands.send(&hands.ada, Method::GET, "/object/files/ada/form.txt", &[], "").await;
    assert_eq!(
        (got.bytes.as_ref(), got.header("cache-control")),
        (b"in a form".as_slice(), "private, max-age=60")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hundred_who_use_one_token_at_once_one_wins() {
    let hands = Hands::start().await;
    let (url, _) = granted(&hands, &hands.ada, "files/ada/race.txt").await;
    let contents: Vec<String> = (0..100).map(|n| format!("content of number {n}")).collect();
    let said = join_all(contents.iter().map(|content| put(&hands, &url, content))).await;
    let winners: Vec<usize> = (0..100).filter(|at| said[*at] == "stored").collect();
    assert_eq!(winners.len(), 1, "{said:?}");
    for word in said.iter().filter(|word| *word != "stored") {
        assert!(["NoSuchUpload", "KeyAlreadyExists"].contains(&word.as_str()), "{word}");
    }
    let content = hands.content(&hands.ada, "files/ada/race.txt").await.unwrap();
    assert_eq!(content, contents[winners[0]]);
    assert_eq!(hands.count("select count(*) from storage.uploads").await, 0);
    hands.blobs_become(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_grants_what_he_may_not_do() {
    let hands = Hands::start().await;
    hands.store(&hands.ada, "files/ada/taken.txt", "content").await;
    for (token, path, word) in [
        (hands.ada.as_str(), "edited/ada.txt", "NoSuchBucket"),
        ("", "files/ada/new.txt", "NoSuchBucket"),
        (&hands.ada, "nowhere/new.txt", "NoSuchBucket"),
        (&hands.ada, "files/ada/taken.txt", "KeyAlreadyExists"),
        (&hands.ada, "files/..%2Fx", "InvalidKey"),
    ] {
        let got = hands.post(token, &format!("/object/upload/sign/{path}"), json!({})).await;
        assert_eq!(got.status, 400);
        assert_eq!(got.json()["code"], word, "{path}");
    }
    let bare = hands.bare(Method::POST, "/object/upload/sign/files/ada/new.txt", &[], "{}").await;
    assert_eq!(bare.refused(400, "401"), "AccessDenied");
    assert_eq!(hands.count("select count(*) from storage.uploads").await, 0);
    // Bob may store what nobody has, and replace nothing of Ada's: what he cannot see is told when he would meet it.
    let upsert = [("x-upsert", "true")];
    let path = "/object/upload/sign/files/ada/taken.txt";
    let body = hands.send(&hands.bob, Method::POST, path, &upsert, "{}").await.is(200);
    assert_eq!(put(&hands, body["url"].as_str().unwrap(), "bob's").await, "AccessDenied");
    assert_eq!(hands.content(&hands.ada, "files/ada/taken.txt").await.unwrap(), "content");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_stores_nothing_but_what_was_granted() {
    let hands = Hands::start().await;
    hands.store(&hands.ada, "files/ada/old.txt", "old").await;
    let (_, token) = granted(&hands, &hands.ada, "files/ada/a.txt").await;
    let read = hands.post(&hands.ada, "/object/sign/files/ada/old.txt", expires_in(60)).await.is(200);
    let read = read["signedURL"].as_str().unwrap().split_once("?token=").unwrap().1.to_owned();
    for (path, token) in [
        ("files/ada/b.txt", token.as_str()),
        ("small/ada/a.txt", &token),
        ("files/ada/a.txt/x", &token),
        ("files/ada/a.txt", &tampered(&token)),
        ("files/ada/a.txt", &token[1..]),
        ("files/ada/a.txt", &hands.ada),
        ("files/ada/a.txt", hands.site.server.keys.secret()),
        ("files/ada/old.txt", &read),
        ("files/ada/a.txt", ""),
    ] {
        let url = format!("/object/upload/sign/{path}?token={token}");
        assert_eq!(put(&hands, &url, "x").await, "InvalidUploadSignature", "{path} {token}");
    }
    // It reads nothing, and is no other verb.
    let got = hands.bare(Method::GET, &format!("/object/sign/files/ada/a.txt?token={token}"), &[], "").await;
    assert_eq!(got.refused(400, "400"), "InvalidSignature");
    let url = format!("/object/upload/sign/files/ada/a.txt?token={token}");
    assert_ne!(hands.bare(Method::POST, &url, PLAIN, "x").await.status, 200);
    assert_ne!(hands.bare(Method::PUT, "/object/upload/sign/files/ada/a.txt", PLAIN, "x").await.status, 200);

    // What the database no longer grants is over, whatever the token says.
    hands.execute("update storage.uploads set expires_at = now() - interval '1 s'").await;
    assert_eq!(put(&hands, &url, "x").await, "NoSuchUpload");
    assert_eq!(files(&hands.blobs().join("v")).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_ends_with_the_session_the_user_and_the_right_that_granted_it() {
    let hands = Hands::start().await;
    let grant_as = async |name: &str| {
        let email = format!("{name}@example.test");
        let id = hands.site.user(&email, "correct horse battery").await;
        let session = hands.site.sign_in(&email, "correct horse battery").await;
        let token = session["access_token"].as_str().unwrap().to_owned();
        let (url, _) = granted(&hands, &token, &format!("files/{name}.txt")).await;
        (id, token, url)
    };
    let (_, token, url) = grant_as("signed-out").await;
    hands.site.post("/auth/v1/logout", Some(&token), json!({})).await.is(204);
    assert_eq!(put(&hands, &url, "x").await, "InvalidJWT");

    let (id, token, url) = grant_as("banned").await;
    let ban = format!("update auth.users set banned_until = now() + interval '1 h' where id = '{id}'");
    hands.execute(&ban).await;
    hands.grants_no_more(&token, "files/other.txt").await;
    assert_eq!(put(&hands, &url, "x").await, "InvalidJWT");

    let (id, token, url) = grant_as("deleted").await;
    hands.execute(&format!("delete from auth.users where id = '{id}'")).await;
    hands.grants_no_more(&token, "files/other.txt").await;
    assert_eq!(put(&hands, &url, "x").await, "InvalidJWT");
    assert_eq!(hands.count("select count(*) from storage.objects").await, 0);

    // A role that is taken away takes what it gave.
    hands
        .execute(&format!(
            "insert into auth.user_roles (user_id, role) values ('{}', 'editor')",
            hands.ada_id
        ))
        .await;
    let (url, _) = hands.granted_soon("edited/a.txt").await;
    hands.execute("delete from auth.user_roles").await;
    hands.grants_no_more(&hands.ada, "edited/b.txt").await;
    assert_eq!(put(&hands, &url, "x").await, "NoSuchBucket");
    assert_eq!(hands.count("select count(*) from storage.objects").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_may_replace_can_be_used_until_it_expires() {
    let hands = Hands::start().await;
    hands.store(&hands.ada, "files/ada/a.txt", "zero").await;
    let upsert = [("x-upsert", "true")];
    let path = "/object/upload/sign/files/ada/a.txt";
    let body = hands.send(&hands.ada, Method::POST, path, &upsert, "{}").await.is(200);
    let url = body["url"].as_str().unwrap();
    for content in ["one", "two"] {
        assert_eq!(put(&hands, url, content).await, "stored");
        assert_eq!(hands.content(&hands.ada, "files/ada/a.txt").await.unwrap(), content);
    }
    hands.execute("update storage.uploads set expires_at = now() - interval '1 s'").await;
    assert_eq!(put(&hands, url, "three").await, "NoSuchUpload");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_taken_meanwhile_stays_as_it_is() {
    let hands = Hands::start().await;
    let (url, _) = granted(&hands, &hands.ada, "files/ada/a.txt").await;
    hands.store(&hands.ada, "files/ada/a.txt", "first").await;
    assert_eq!(put(&hands, &url, "second").await, "KeyAlreadyExists");
    assert_eq!(hands.content(&hands.ada, "files/ada/a.txt").await.unwrap(), "first");
    // That a client asks for more than was granted changes nothing.
    let headers = [("content-type", "text/plain"), ("x-upsert", "true")];
    let got = hands.bare(Method::PUT, &url, &headers, "second").await;
    assert_eq!(got.refused(400, "409"), "KeyAlreadyExists");
    hands.blobs_become(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_ends_while_content_is_coming_stores_nothing() {
    let hands = Hands::start().await;
    let (url, _) = granted(&hands, &hands.ada, "files/ada/slow.txt").await;
    let mut stream = TcpStream::connect(hands.site.server.address()).await.unwrap();
    let content = noise(3 << 20);
    let (first, rest) = content.split_at(5 << 19);
    let head = format!(
        "PUT /storage/v1{url} HTTP/1.1\r\nhost: x\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n",
        content.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(first).await.unwrap();
    // What has come lies under way: the grant was looked at.
    eventually("content is coming", Duration::from_secs(10), || async {
        (!files(&hands.blobs().join("t")).is_empty()).then_some(())
    })
    .await;
    hands.execute("update storage.uploads set expires_at = now() - interval '1 s'").await;
    stream.write_all(rest).await.unwrap();
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 400");
    assert_eq!(hands.count("select count(*) from storage.objects").await, 0);
    hands.blobs_become(0).await;
}
