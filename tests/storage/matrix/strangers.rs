//! Uploads in pieces that are somebody else's, and tokens that are for something else.

use reqwest::Method;
use serde_json::{Value, json};

use super::deeds::Answer;
use super::oracle::{EVERYBODY, Told, Who};
use super::{World, content, members};

#[tokio::test(flavor = "multi_thread")]
async fn nobody_goes_on_with_an_upload_that_another_one_began() {
    let world = World::new().await;
    let client = &world.client;
    let whole = content(20);
    for (number, owner) in EVERYBODY.into_iter().enumerate() {
        let folder = owner.id().unwrap_or("open");
        let begun = client
            .begin(owner, false, ("prefix", &format!("{folder}/theirs-{number}")), "text/plain", 20)
            .await;
        let at = begun.headers["location"].to_str().unwrap().to_owned();
        assert_eq!(client.go_on(owner, Method::PATCH, &at, 0, &whole[..8]).await.status, 204, "{owner:?}");
        for other in EVERYBODY.into_iter().filter(|other| *other != owner) {
            for method in [Method::HEAD, Method::PATCH, Method::DELETE] {
                let answer = client.go_on(other, method.clone(), &at, 8, &whole[8..]).await;
                assert_eq!(answer.status, 404, "{other:?} {method} of {owner:?}");
            }
        }
        let standing = client.go_on(owner, Method::HEAD, &at, 0, &[]).await;
        assert_eq!(standing.headers["upload-offset"], "8", "{owner:?}");
        // Before all of it is there nobody sees any of it.
        let path = format!("/object/prefix/{folder}/theirs-{number}");
        assert_eq!(client.get(Some(Who::Secret), &path, &[]).await.told, Ok(Told::NoSuchKey));
        assert_eq!(client.go_on(owner, Method::PATCH, &at, 8, &whole[8..]).await.status, 204, "{owner:?}");
        assert_eq!(client.get(Some(Who::Secret), &path, &[]).await.body, whole);

        let begun = client
            .begin(owner, false, ("prefix", &format!("{folder}/given-up-{number}")), "text/plain", 20)
            .await;
        let at = begun.headers["location"].to_str().unwrap().to_owned();
        assert_eq!(client.go_on(owner, Method::DELETE, &at, 0, &[]).await.status, 204, "{owner:?}");
        assert_eq!(client.go_on(owner, Method::HEAD, &at, 0, &[]).await.status, 404, "{owner:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_one_purpose_serves_no_other() {
    let world = World::new().await;
    let client = &world.client;
    let ada = Who::Ada.id().unwrap();
    let put = |name: &str| format!("/object/own/{ada}/{name}");
    for name in ["a.txt", "b.txt"] {
        let stored =
            client.store(Some(Who::Ada), (Method::POST, false), &put(name), "text/plain", content(5)).await;
        assert_eq!(stored.told, Ok(Told::Done));
    }
    let token = |answer: &Answer, member: &str| {
        let url = answer.json()[member].as_str().unwrap().to_owned();
        url.split_once("?token=").unwrap().1.to_owned()
    };
    let sign = format!("/object/sign/own/{ada}/a.txt");
    let read = client.ask(Some(Who::Ada), Method::POST, &sign, Some(json!({ "expiresIn": 60 }))).await;
    let read = token(&read, "signedURL");
    let upload = format!("/object/upload/sign/own/{ada}/new.txt");
    let write = token(&client.ask(Some(Who::Ada), Method::POST, &upload, None).await, "url");

    assert_eq!(client.get(None, &format!("{sign}?token={read}"), &[]).await.body, content(5));
    // Of another object, another bucket, another purpose; and no credential by itself.
    for path in [
        format!("/object/sign/own/{ada}/b.txt?token={read}"),
        format!("/object/sign/open/{ada}/a.txt?token={read}"),
        format!("{sign}?token={write}"),
        format!("{sign}?token={read}x"),
        format!("{sign}?token="),
        sign.clone(),
        format!("/object/own/{ada}/a.txt?token={read}"),
        format!("/object/authenticated/own/{ada}/a.txt?token={read}"),
        format!("/object/info/own/{ada}/a.txt?token={read}"),
        format!("/object/public/own/{ada}/a.txt?token={read}"),
    ] {
        let answer = client.get(None, &path, &[]).await;
        assert!(answer.status >= 400, "{path} {}", answer.status);
        assert_ne!(answer.body, content(5), "{path}");
    }
    for bearer in [&read, &write] {
        let url = format!("/object/own/{ada}/a.txt");
        let answer = client.get(None, &url, &[("authorization", &format!("Bearer {bearer}"))]).await;
        assert!(answer.status >= 400, "{}", answer.status);
    }
    let stores = async |url: String| {
        client.store(None, (Method::PUT, false), &url, "text/plain", content(9)).await.told == Ok(Told::Done)
    };
    assert!(!stores(format!("{upload}?token={read}")).await);
    assert!(!stores(format!("/object/upload/sign/own/{ada}/other.txt?token={write}")).await);
    assert!(!stores(format!("/object/own/{ada}/new.txt?token={write}")).await);
    assert!(stores(format!("{upload}?token={write}")).await);
    assert!(!stores(format!("{upload}?token={write}")).await, "it serves once");
    let list =
        client.ask(Some(Who::Ada), Method::POST, "/object/list/own", Some(json!({ "prefix": ada }))).await;
    let list: Value = list.json();
    let names: Vec<&str> = members(&list).map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["a.txt", "b.txt", "new.txt"]);
}
