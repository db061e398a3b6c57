//! A server whose content lies in a bucket of another's store.

use reqwest::Method;

use super::hands::Hands;
use crate::support::s3::S3;
use crate::support::server::basewright;

const TUS: (&str, &str) = ("tus-resumable", "1.0.0");

#[tokio::test(flavor = "multi_thread")]
async fn a_server_keeps_content_in_a_bucket_and_says_when_that_is_away() {
    let s3 = S3::start();
    let url = format!("s3://{}/of/this/server", s3.bucket().await);
    let variables = s3.variables();
    let mut env: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    env.push(("BASEWRIGHT_STORAGE_URL", &url));
    let hands = Hands::start_with(&env).await;
    let small = b"a few words".to_vec();
    let large: Vec<u8> = (0..11_000_000_u32).map(|at| (at / 3) as u8).collect();
    for (key, content) in [("small", &small), ("large", &large), ("empty", &Vec::new())] {
        let place = format!("/object/files/{key}");
        let kind = [("content-type", "application/x-test")];
        hands.send(&hands.ada, Method::POST, &place, &kind, content.clone()).await.is(200);
        let got = hands.send(&hands.ada, Method::GET, &place, &[], "").await;
        assert!(got.status == 200 && got.bytes == content, "{key}");
    }
    let part = [("range", "bytes=5242870-5242889")];
    let got = hands.send(&hands.ada, Method::GET, "/object/files/large", &part, "").await;
    assert!(got.status == 206 && got.bytes[..] == large[5_242_870..5_242_890]);

    // In pieces that are no parts.
    let length = large.len().to_string();
    let begin =
        [TUS, ("upload-length", &length), ("upload-metadata", "bucketName ZmlsZXM=,objectName cGllY2Vz")];
    let begun = hands.send(&hands.ada, Method::POST, "/upload/resumable", &begin, "").await;
    begun.is(201);
    let path = begun.header("location").split("/storage/v1").nth(1).unwrap().to_owned();
    let mut offset = 0;
    for size in [1, 6_000_000, 4_000_000, 999_999] {
        let at = offset.to_string();
        let piece = [TUS, ("content-type", "application/offset+octet-stream"), ("upload-offset", &at)];
        let content = large[offset..offset + size].to_vec();
        hands.send(&hands.ada, Method::PATCH, &path, &piece, content).await.is(204);
        offset += size;
    }
    assert!(hands.content(&hands.ada, "files/pieces").await.unwrap() == large);

    let command = |words: &[&str]| {
        let mut command = basewright();
        command.arg("storage").args(words).arg(hands.site.path()).envs(env.iter().copied());
        command.env("DATABASE_URL", &hands.site.database.urls.runtime);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    hands.send(&hands.ada, Method::DELETE, "/object/files/small", &[], "").await.is(200);
    let (code, told) = command(&["sweep", "--grace", "0s"]);
    assert!(
        code == Some(0) && told.contains("1 replaced or deleted, 0 uploads that ended, 0 without"),
        "{told}"
    );
    assert_eq!(command(&["check", "--deep", "--grace", "0s"]), (Some(0), String::new()));

    drop(s3);
    let got = hands.send(&hands.ada, Method::GET, "/object/files/large", &[], "").await;
    assert_eq!(got.refused(503, "503"), "StorageUnavailable");
    let got = hands.send(&hands.ada, Method::POST, "/object/files/later", &[], small).await;
    assert_eq!(got.refused(503, "503"), "StorageUnavailable");
    // What the database knows is told all the same.
    hands.send(&hands.ada, Method::GET, "/object/info/files/large", &[], "").await.is(200);
}
