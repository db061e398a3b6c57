//! Uploads that come in pieces: tus 1.0.0.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::hands::{Got, Hands, files, metadata, noise, tampered};
use crate::support::server::eventually;

const TUS: (&str, &str) = ("tus-resumable", "1.0.0");
const PIECE: (&str, &str) = ("content-type", "application/offset+octet-stream");

impl Hands {
    async fn tus(
        &self,
        token: &str,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Got {
        let mut all = vec![TUS];
        all.extend_from_slice(headers);
        let got = self.send(token, method, path, &all, body).await;
        assert_eq!(got.header("tus-resumable"), "1.0.0");
        got
    }

    /// Begins an upload: its path.
    async fn begin(&self, token: &str, bucket: &str, key: &str, length: &str) -> String {
        let told = metadata(bucket, key);
        let headers = [("upload-length", length), ("upload-metadata", told.as_str())];
        let headers = if length.is_empty() { [("upload-defer-length", "1"), headers[1]] } else { headers };
        let got = self.tus(token, Method::POST, "/upload/resumable", &headers, "").await;
        got.is(201);
        self.path_of(&got.headers)
    }

    fn path_of(&self, headers: &HeaderMap) -> String {
        let location = headers["location"].to_str().unwrap();
        let path = location
            .strip_prefix(&self.site.server.at("/storage/v1"))
            .unwrap_or_else(|| panic!("{location}"));
        path.to_owned()
    }

    async fn patch(&self, token: &str, path: &str, offset: usize, bytes: impl Into<Bytes>) -> Got {
        let offset = offset.to_string();
        let headers = [PIECE, ("upload-offset", offset.as_str())];
        self.tus(token, Method::PATCH, path, &headers, bytes.into()).await
    }

    /// Waits until so many uploads are being gone on with, as Postgres sees it.
    async fn turns_become(&self, count: i64) {
        let taken = "select count(*) from pg_locks l join storage.uploads u on l.locktype = 'advisory' and l.granted \
                     and (l.classid::bigint << 32) | l.objid::bigint = hashtextextended('basewright.upload.' || u.id, 0)";
        eventually(&format!("{count} turns"), Duration::from_secs(10), || async {
            (self.count(taken).await == count).then_some(())
        })
        .await;
    }

    /// Where an upload stands; `None` where there is none.
    async fn offset(&self, token: &str, path: &str) -> Option<usize> {
        let got = self.tus(token, Method::HEAD, path, &[], "").await;
        match got.status {
            200 => Some(got.header("upload-offset").parse().unwrap()),
            404 => None,
            status => panic!("HEAD was answered with {status}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_comes_in_pieces_and_is_an_object_when_all_of_it_is_there() {
    let hands = Hands::start().await;
    let content = noise(13 << 20);
    let length = content.len().to_string();
    let told = format!(
        "{},cacheControl {},metadata {},filename eA==",
        metadata("files", "ada/größe.bin"),
        STANDARD.encode("60"),
        STANDARD.encode("{\"a\":[1]}")
    );
    let headers = [("upload-length", length.as_str()), ("upload-metadata", told.as_str())];
    let got = hands.tus(&hands.ada, Method::POST, "/upload/resumable", &headers, "").await;
    got.is(201);
    assert!(httpdate::parse_http_date(got.header("upload-expires")).unwrap() > std::time::SystemTime::now());
    let path = hands.path_of(&got.headers);
    let mut at = 0;
    for piece in [1, 6 << 20, 5 << 20, 0, 1 << 20] {
        let head = hands.tus(&hands.ada, Method::HEAD, &path, &[], "").await;
        head.is(200);
        assert_eq!(head.header("upload-offset"), at.to_string());
        assert_eq!(head.header("upload-length"), length);
        assert_eq!(head.header("upload-metadata"), told);
        assert_eq!(head.header("cache-control"), "no-store");
        let got = hands.patch(&hands.ada, &path, at, content[at..at + piece].to_vec()).await;
        got.is(204);
        at += piece;
        assert_eq!(got.header("upload-offset"), at.to_string());
        assert_eq!(
            hands.content(&hands.ada, "files/ada/gr%C3%B6%C3%9Fe.bin").await.unwrap_err(),
            "NoSuchKey"
        );
    }
    assert_eq!(hands.count("select count(*) from storage.objects").await, 0);
    hands.patch(&hands.ada, &path, at, content[at..].to_vec()).await.is(204);
    let got = hands.send(&hands.ada, Method::GET, "/object/files/ada/gr%C3%B6%C3%9Fe.bin", &[], "").await;
    assert!(got.bytes == content, "the content is another one");
    assert_eq!(got.header("cache-control"), "private, max-age=60");
    assert!(got.header("etag").ends_with("-3\""), "{}", got.header("etag"));
    assert_eq!(hands.count("select count(*) from storage.objects where metadata = '{\"a\": [1]}'").await, 1);
    assert_eq!(hands.count("select count(*) from storage.uploads").await, 0);
    // Whoever lost the last answer is told that it is done; nobody else is.
    assert_eq!(hands.offset(&hands.ada, &path).await, Some(content.len()));
    assert_eq!(hands.offset(&hands.bob, &path).await, None);
    let got = hands.patch(&hands.ada, &path, content.len(), "").await;
    got.is(204);
    assert_eq!(got.header("upload-offset"), length);
    for (token, offset, more) in
        [(&hands.ada, content.len(), "x"), (&hands.ada, 0, ""), (&hands.bob, content.len(), "")]
    {
        let got = hands.patch(token, &path, offset, more).await;
        assert_eq!(got.refused(404, "404"), "NoSuchUpload", "{offset} {more}");
    }
    assert!(files(&hands.blobs().join("u")).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_says_what_it_can_and_speaks_one_version() {
    let hands = Hands::start_with(&[("BASEWRIGHT_PUBLIC_URL", "https://api.example/base/")]).await;
    let got = hands.bare(Method::OPTIONS, "/upload/resumable", &[], "").await;
    got.is(204);
    assert_eq!(got.header("tus-version"), "1.0.0");
    assert_eq!(got.header("tus-max-size"), (300_000_000).to_string());
    let extensions = "creation,creation-with-upload,creation-defer-length,expiration,termination";
    assert_eq!(got.header("tus-extension"), extensions);
    let preflight = [("origin", "https://a.example"), ("access-control-request-method", "PATCH")];
    let got = hands.bare(Method::OPTIONS, "/upload/resumable/x", &preflight, "").await;
    assert!(got.header("access-control-allow-headers").contains("upload-offset"));
    let told = metadata("files", "ada/a.txt");
    let headers = [("upload-length", "1"), ("upload-metadata", told.as_str())];
    for version in [None, Some("0.2.2"), Some("1.0.1"), Some("")] {
        let mut headers = headers.to_vec();
        headers.extend(version.map(|version| ("tus-resumable", version)));
        let got = hands.send(&hands.ada, Method::POST, "/upload/resumable", &headers, "").await;
        assert_eq!(got.refused(412, "412"), "InvalidTusVersion");
        assert_eq!(got.header("tus-resumable"), "1.0.0");
    }
    // The upload is where the operator says that the server is, whatever a stranger says.
    let lies = [
        headers[0],
        headers[1],
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "http"),
        ("host", "evil.example"),
    ];
    let got = hands.tus(&hands.ada, Method::POST, "/upload/resumable", &lies, "").await;
    got.is(201);
    let location = got.header("location");
    let id = location.strip_prefix("https://api.example/base/storage/v1/upload/resumable/").unwrap();
    assert_eq!(id.len(), 36);
    // No method is another one's disguise.
    let disguised = [("x-http-method-override", "PATCH"), PIECE, ("upload-offset", "0")];
    let got = hands.tus(&hands.ada, Method::POST, &format!("/upload/resumable/{id}"), &disguised, "x").await;
    assert_eq!(got.status, 405);
    assert_eq!(hands.count("select count(*) from storage.objects").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn pieces_begin_where_the_upload_stands_and_end_where_it_does() {
    let hands = Hands::start().await;
    let path = hands.begin(&hands.ada, "files", "ada/a.txt", "10").await;
    hands.patch(&hands.ada, &path, 0, "01234").await.is(204);
    for offset in [0, 4, 6, 10, 99] {
        let got = hands.patch(&hands.ada, &path, offset, "5").await;
        assert_eq!(got.refused(409, "409"), "InvalidUploadOffset", "{offset}");
    }
    for (headers, status) in [
        (&[("upload-offset", "5")][..], 415),
        (&[("upload-offset", "5"), ("content-type", "application/octet-stream")], 415),
        (&[PIECE], 400),
        (&[PIECE, ("upload-offset", "-5")], 400),
        (&[PIECE, ("upload-offset", "5"), ("upload-offset", "5")], 400),
        (&[PIECE, ("upload-offset", "5"), ("upload-length", "11")], 400),
    ] {
        let got = hands.tus(&hands.ada, Method::PATCH, &path, headers, "5").await;
        assert_eq!(got.status, status, "{headers:?} {}", got.json());
    }
    assert_eq!(hands.patch(&hands.ada, &path, 5, "567890").await.refused(413, "413"), "EntityTooLarge");
    assert_eq!(hands.offset(&hands.ada, &path).await, Some(5));
    hands.patch(&hands.ada, &path, 5, "56789").await.is(204);
    assert_eq!(hands.content(&hands.ada, "files/ada/a.txt").await.unwrap(), "0123456789");
    for path in
        ["/upload/resumable/x", "/upload/resumable/00000000000070008000000000000000", &format!("{path}/x")]
    {
        assert_eq!(hands.tus(&hands.ada, Method::HEAD, path, &[], "").await.status, 404, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_of_nobody_but_who_began_it() {
    let hands = Hands::start().await;
    let path = hands.begin(&hands.ada, "files", "ada/a.txt", "3").await;
    let secret = hands.site.server.keys.secret();
    for stranger in [hands.bob.as_str(), "", secret] {
        assert_eq!(hands.offset(stranger, &path).await, None);
        assert_eq!(hands.patch(stranger, &path, 0, "bad").await.refused(404, "404"), "NoSuchUpload");
        let got = hands.tus(stranger, Method::DELETE, &path, &[], "").await;
        assert_eq!(got.refused(404, "404"), "NoSuchUpload");
    }
    for method in [Method::HEAD, Method::PATCH, Method::DELETE] {
        let got = hands.bare(method, &path, &[TUS, PIECE, ("upload-offset", "0")], "bad").await;
        assert_eq!(got.status, 401);
    }
    let told = metadata("files", "ada/a.txt");
    let headers = [TUS, ("upload-length", "3"), ("upload-metadata", told.as_str())];
    assert_eq!(hands.bare(Method::POST, "/upload/resumable", &headers, "").await.status, 401);
    for (token, bucket) in [("", "files"), (&hands.ada, "edited"), (&hands.ada, "nowhere")] {
        let told = metadata(bucket, "x.txt");
        let headers = [("upload-length", "3"), ("upload-metadata", told.as_str())];
        let got = hands.tus(token, Method::POST, "/upload/resumable", &headers, "").await;
        assert_eq!(got.refused(404, "404"), "NoSuchBucket", "{bucket}");
    }
    // By the door of signed uploads nobody comes to another's either.
    let signed = path.replace("/resumable/", "/resumable/sign/");
    let granted = hands.post(&hands.ada, "/object/upload/sign/files/ada/b.txt", json!({})).await.is(200);
    let signature = ("x-signature", granted["token"].as_str().unwrap());
    assert_eq!(hands.bare(Method::HEAD, &signed, &[TUS, signature], "").await.status, 404);
    hands.patch(&hands.ada, &path, 0, "yes").await.is(204);
    assert_eq!(hands.content(&hands.ada, "files/ada/a.txt").await.unwrap(), "yes");
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_metadata_are_refused_and_store_nothing() {
    let hands = Hands::start().await;
    let b64 = |text: &str| STANDARD.encode(text);
    let pair = |bucket: &str, key: &str| format!("bucketName {},objectName {}", b64(bucket), b64(key));
    let mut hostile: Vec<String> = vec![
        String::new(),
        format!("bucketName {}", b64("files")),
        format!("objectName {}", b64("a")),
        "bucketName,objectName".to_owned(),
        "bucketName !!!,objectName !!!".to_owned(),
        format!("{},bucketName {}", pair("files", "a"), b64("open")),
        format!("{},objectName {}", pair("files", "a"), b64("b")),
        format!("{},", pair("files", "a")),
        format!("{},contentType {}", pair("files", "a"), b64("text/html\r\nx: y")),
        format!("{},cacheControl {}", pair("files", "a"), b64("1\r\nx: y")),
        format!("{},metadata {}", pair("files", "a"), b64("[1]")),
        format!("{},metadata {}", pair("files", "a"), b64("{\"a\":\"\\u0000\"}")),
        format!("bucketName {},objectName /w==", b64("files")),
        format!("bucketName {},objectName {}", b64("files"), STANDARD.encode([0xc0, 0xaf])),
        format!("bucketName {},objectName {}", b64("files"), b64("a").trim_end_matches('=')),
        format!("x {}", "A".repeat(20_000)),
    ];
    for key in [
        "",
        "../a",
        "a/../../b",
        "/etc/passwd",
        "a//b",
        "a\0b",
        "a\nb",
        "a\\b",
        ".",
        "a/",
        &"x".repeat(1_025),
    ] {
        hostile.push(pair("files", key));
    }
    for bucket in ["", "../files", "files/ada", "fi\0les", &"x".repeat(101)] {
        hostile.push(pair(bucket, "a"));
    }
    assert!(hostile.len() >= 30);
    for told in &hostile {
        let headers = [("upload-length", "1"), ("upload-metadata", told.as_str())];
        let got = hands.tus(&hands.ada, Method::POST, "/upload/resumable", &headers, "").await;
        assert!((400..=404).contains(&got.status), "{told}: {} {}", got.status, got.json());
        assert!(got.json()["code"].is_string(), "{told}");
    }
    for headers in [
        &[("upload-length", "-1")][..],
        &[("upload-length", "x")],
        &[("upload-length", "1"), ("upload-defer-length", "1")],
        &[("upload-defer-length", "2")],
        &[],
    ] {
        let told = metadata("files", "a");
        let mut all = vec![("upload-metadata", told.as_str())];
        all.extend_from_slice(headers);
        assert_eq!(hands.tus(&hands.ada, Method::POST, "/upload/resumable", &all, "").await.status, 400);
    }
    assert_eq!(hands.count("select count(*) from storage.uploads").await, 0);
    assert!(files(&hands.blobs()).iter().all(|file| !file.starts_with(hands.blobs().join("u"))));
}

#[tokio::test(flavor = "multi_thread")]
async fn content_may_come_at_once_have_no_length_yet_or_no_byte() {
    let hands = Hands::start().await;
    // With the creation.
    let told = metadata("files", "ada/at-once.txt");
    let headers = [("upload-length", "8"), ("upload-metadata", told.as_str()), PIECE];
    let got = hands.tus(&hands.ada, Method::POST, "/upload/resumable", &headers, "all of").await;
    got.is(201);
    assert_eq!(got.header("upload-offset"), "6");
    hands.patch(&hands.ada, &hands.path_of(&got.headers), 6, "it").await.is(204);
    assert_eq!(hands.content(&hands.ada, "files/ada/at-once.txt").await.unwrap(), "all ofit");
    let told = metadata("files", "ada/whole.txt");
    let headers = [("upload-length", "5"), ("upload-metadata", told.as_str()), PIECE];
    hands.tus(&hands.ada, Method::POST, "/upload/resumable", &headers, "whole").await.is(201);
    assert_eq!(hands.content(&hands.ada, "files/ada/whole.txt").await.unwrap(), "whole");
    let headers = [headers[0], headers[1], ("content-type", "text/plain")];
    assert_eq!(hands.tus(&hands.ada, Method::POST, "/upload/resumable", &headers, "whole").await.status, 415);

    // No byte.
    hands.begin(&hands.ada, "files", "ada/empty.txt", "0").await;
    assert_eq!(hands.content(&hands.ada, "files/ada/empty.txt").await.unwrap(), "");

    // A length that is told later.
    let path = hands.begin(&hands.ada, "files", "ada/later.txt", "").await;
    let head = hands.tus(&hands.ada, Method::HEAD, &path, &[], "").await;
    assert_eq!((head.header("upload-defer-length"), head.header("upload-length")), ("1", ""));
    hands.patch(&hands.ada, &path, 0, "some ").await.is(204);
    let tell = async |length: &str, offset: &str, body: &'static str| {
        let headers = [PIECE, ("upload-offset", offset), ("upload-length", length)];
        hands.tus(&hands.ada, Method::PATCH, &path, &headers, body).await.status
    };
    assert_eq!(tell("4", "5", "").await, 400, "less than is there");
    assert_eq!(tell("300000001", "5", "").await, 413);
    assert_eq!(tell("9", "5", "mo").await, 204);
    assert_eq!(tell("10", "7", "re").await, 400, "another length");
    assert_eq!(tell("9", "7", "re").await, 204);
    assert_eq!(hands.content(&hands.ada, "files/ada/later.txt").await.unwrap(), "some more");
    // And one that is told when all of it is there.
    let path = hands.begin(&hands.ada, "files", "ada/last.txt", "").await;
    hands.patch(&hands.ada, &path, 0, "some").await.is(204);
    assert_eq!(hands.content(&hands.ada, "files/ada/last.txt").await.unwrap_err(), "NoSuchKey");
    let headers = [PIECE, ("upload-offset", "4"), ("upload-length", "4")];
    hands.tus(&hands.ada, Method::PATCH, &path, &headers, "").await.is(204);
    assert_eq!(hands.content(&hands.ada, "files/ada/last.txt").await.unwrap(), "some");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_bucket_does_not_take_is_refused_as_soon_as_that_is_known() {
    let hands = Hands::start().await;
    let create = async |bucket: &str, length: (&str, &str)| {
        let told = metadata(bucket, "x.txt");
        let headers = [length, ("upload-metadata", told.as_str())];
        hands.tus(&hands.ada, Method::POST, "/upload/resumable", &headers, "").await
    };
    assert_eq!(create("small", ("upload-length", "1001")).await.refused(413, "413"), "EntityTooLarge");
    assert_eq!(create("files", ("upload-length", "300000001")).await.refused(413, "413"), "EntityTooLarge");
    let huge = i64::MAX.to_string();
    assert_eq!(create("files", ("upload-length", &huge)).await.refused(413, "413"), "EntityTooLarge");
    let path = hands.path_of(&create("small", ("upload-defer-length", "1")).await.headers);
    hands.patch(&hands.ada, &path, 0, vec![b'x'; 900]).await.is(204);
    assert_eq!(
        hands.patch(&hands.ada, &path, 900, vec![b'x'; 101]).await.refused(413, "413"),
        "EntityTooLarge"
    );
    hands.patch(&hands.ada, &path, 900, vec![b'x'; 100]).await.is(204);
    // A quota is that of what is stored, and nobody has any number of uploads that he never finishes.
    let path = hands.path_of(&create("tight", ("upload-length", "600")).await.headers);
    let told = metadata("tight", "y.txt");
    let headers = [("upload-length", "600"), ("upload-metadata", told.as_str())];
    let other = hands.tus(&hands.ada, Method::POST, "/upload/resumable", &headers, "").await;
    hands.patch(&hands.ada, &path, 0, vec![b'x'; 600]).await.is(204);
    let other = hands.path_of(&other.headers);
    assert_eq!(
        hands.patch(&hands.ada, &other, 0, vec![b'y'; 600]).await.refused(413, "413"),
        "QuotaExceeded"
    );
    assert_eq!(hands.offset(&hands.ada, &other).await, None);
    hands.execute("delete from storage.objects").await;
    for _ in 0..100 {
        create("tight", ("upload-length", "1")).await.is(201);
    }
    let got = create("tight", ("upload-length", "1")).await;
    assert_eq!(got.refused(429, "429"), "SlowDown");
    assert!(got.headers.contains_key("retry-after"));
    // What it is, is known when it is there: it was text all along.
    let path = hands.path_of(&create("images", ("upload-length", "5")).await.headers);
    assert_eq!(hands.patch(&hands.ada, &path, 0, "plain").await.refused(415, "415"), "InvalidMimeType");
    assert_eq!(hands.offset(&hands.ada, &path).await, None);
    assert_eq!(hands.count("select count(*) from storage.objects").await, 0);
    // That of the object that was deleted is swept away some time.
    hands.blobs_become(1).await;
}

/// Sends the head of a PATCH and some of its body, and leaves the connection open.
async fn half_a_patch(hands: &Hands, path: &str, offset: usize, announced: usize, sent: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(hands.site.server.address()).await.unwrap();
    let head = format!(
        "PATCH /storage/v1{path} HTTP/1.1\r\nhost: x\r\napikey: {}\r\nauthorization: Bearer {}\r\ntus-resumable: 1.0.0\r\n\
         content-type: application/offset+octet-stream\r\nupload-offset: {offset}\r\ncontent-length: {announced}\r\n\r\n",
        hands.site.server.keys.publishable(),
        hands.ada,
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(sent).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn one_at_a_time_goes_on_and_what_a_broken_connection_brought_stays() {
    let hands = Hands::start().await;
    let content = noise(3 << 20);
    let path = hands.begin(&hands.ada, "files", "ada/a.bin", &content.len().to_string()).await;
    for (from, until) in [(0, 1 << 20), (1 << 20, 2 << 20)] {
        let stream = half_a_patch(&hands, &path, from, content.len() - from, &content[from..until]).await;
        hands.turns_become(1).await;
        assert_eq!(hands.patch(&hands.ada, &path, from, "x").await.refused(423, "423"), "ResourceLocked");
        assert_eq!(
            hands.tus(&hands.ada, Method::DELETE, &path, &[], "").await.refused(423, "423"),
            "ResourceLocked"
        );
        // A stranger does not learn that somebody is at it.
        assert_eq!(hands.patch(&hands.bob, &path, 0, "x").await.status, 404);
        assert_eq!(hands.offset(&hands.ada, &path).await, Some(from));
        drop(stream);
        hands.turns_become(0).await;
        assert_eq!(hands.offset(&hands.ada, &path).await, Some(until));
    }
    hands.patch(&hands.ada, &path, 2 << 20, content[2 << 20..].to_vec()).await.is(204);
    assert!(hands.content(&hands.ada, "files/ada/a.bin").await.unwrap() == content);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_after_the_server_was_killed_in_the_middle_of_it() {
    let mut hands = Hands::start().await;
    let content = noise(12 << 20);
    let path = hands.begin(&hands.ada, "files", "ada/a.bin", &content.len().to_string()).await;
    hands.patch(&hands.ada, &path, 0, content[..7 << 20].to_vec()).await.is(204);
    let _stream = half_a_patch(&hands, &path, 7 << 20, 5 << 20, &content[7 << 20..9 << 20]).await;
    hands.turns_become(1).await;
    hands.kill_and_restart().await;
    let offset = hands.offset(&hands.ada, &path).await.unwrap();
    assert!((7 << 20..=9 << 20).contains(&offset), "{offset}");
    // Its turn died with the process.
    let got = hands.patch(&hands.ada, &path, offset, content[offset..].to_vec()).await;
    got.is(204);
    assert!(hands.content(&hands.ada, "files/ada/a.bin").await.unwrap() == content);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_whole_becomes_an_object_when_somebody_asks_for_it() {
    let hands = Hands::start().await;
    // As a server leaves it that dies when the last byte is durable.
    let path = hands.begin(&hands.ada, "files", "ada/a.txt", "").await;
    hands.patch(&hands.ada, &path, 0, "all of it").await.is(204);
    hands.execute("update storage.uploads set size = 9").await;
    assert_eq!(hands.offset(&hands.ada, &path).await, Some(9));
    assert_eq!(hands.content(&hands.ada, "files/ada/a.txt").await.unwrap(), "all of it");
    let etag = hands.site.sql().await.query_one("select etag from storage.objects", &[]).await.unwrap();
    let etag: String = etag.get(0);

    // And one that dies after that, when the content is where contents are.
    let path = hands.begin(&hands.ada, "files", "ada/b.txt", "").await;
    hands.patch(&hands.ada, &path, 0, "all of it").await.is(204);
    hands.execute("update storage.uploads set size = 9").await;
    let id = path.rsplit('/').next().unwrap();
    let version = basewright::objects::version::Version::parse(id).unwrap();
    let to = hands.blobs().join(version.key().as_ref());
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    std::fs::rename(hands.blobs().join("u").join(id), to).unwrap();
    assert_eq!(hands.offset(&hands.ada, &path).await, Some(9));
    assert_eq!(hands.content(&hands.ada, "files/ada/b.txt").await.unwrap(), "all of it");
    let alike = format!("select count(*) from storage.objects where etag = '{etag}'");
    assert_eq!(hands.count(&alike).await, 2);
    assert_eq!(hands.count("select count(*) from storage.uploads").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_judged_by_the_rights_of_the_moment() {
    let hands = Hands::start().await;
    let role = format!("insert into auth.user_roles (user_id, role) values ('{}', 'editor')", hands.ada_id);
    hands.execute(&role).await;
    hands.granted_soon("edited/x.txt").await;
    let path = hands.begin(&hands.ada, "edited", "a.txt", "4").await;
    hands.patch(&hands.ada, &path, 0, "ab").await.is(204);
    hands.execute("delete from auth.user_roles").await;
    hands.grants_no_more(&hands.ada, "edited/y.txt").await;
    assert_eq!(hands.patch(&hands.ada, &path, 2, "cd").await.refused(404, "404"), "NoSuchBucket");

    // Nor does it outlive the session that began it, not even while a piece is under way.
    let path = hands.begin(&hands.ada, "files", "ada/a.txt", "4").await;
    let mut stream = half_a_patch(&hands, &path, 0, 4, b"ab").await;
    hands.turns_become(1).await;
    hands.site.post("/auth/v1/logout", Some(&hands.ada), json!({})).await.is(204);
    stream.write_all(b"cd").await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(std::str::from_utf8(&answer).unwrap(), "HTTP/1.1 403");
    assert_eq!(hands.tus(&hands.ada, Method::HEAD, &path, &[], "").await.status, 403);
    assert_eq!(hands.count("select count(*) from storage.objects").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_given_up_or_expired_is_over() {
    let hands = Hands::start().await;
    let path = hands.begin(&hands.ada, "files", "ada/a.txt", "4").await;
    hands.patch(&hands.ada, &path, 0, "ab").await.is(204);
    assert_eq!(files(&hands.blobs().join("u")).len(), 1);
    hands.tus(&hands.ada, Method::DELETE, &path, &[], "").await.is(204);
    assert!(files(&hands.blobs().join("u")).is_empty());
    assert_eq!(hands.offset(&hands.ada, &path).await, None);
    assert_eq!(hands.patch(&hands.ada, &path, 2, "cd").await.status, 404);

    let path = hands.begin(&hands.ada, "files", "ada/a.txt", "4").await;
    hands.execute("update storage.uploads set expires_at = now() - interval '1 s'").await;
    assert_eq!(hands.offset(&hands.ada, &path).await, None);
    assert_eq!(hands.patch(&hands.ada, &path, 0, "abcd").await.status, 404);

    // A key that is taken meanwhile stays as it is.
    let path = hands.begin(&hands.ada, "files", "ada/a.txt", "4").await;
    hands.store(&hands.ada, "files/ada/a.txt", "first").await;
    assert_eq!(hands.patch(&hands.ada, &path, 0, "late").await.refused(409, "409"), "KeyAlreadyExists");
    assert_eq!(hands.content(&hands.ada, "files/ada/a.txt").await.unwrap(), "first");
    // Unless it was said that it may be replaced.
    let told = metadata("files", "ada/a.txt");
    let headers = [("upload-length", "3"), ("upload-metadata", told.as_str()), ("x-upsert", "true")];
    let got = hands.tus(&hands.ada, Method::POST, "/upload/resumable", &headers, "").await;
    hands.patch(&hands.ada, &hands.path_of(&got.headers), 0, "new").await.is(204);
    assert_eq!(hands.content(&hands.ada, "files/ada/a.txt").await.unwrap(), "new");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_upload_may_come_in_pieces_and_is_used_up_with_the_last() {
    let hands = Hands::start().await;
    let granted = hands.post(&hands.ada, "/object/upload/sign/files/ada/a.txt", json!({})).await.is(200);
    let token = granted["token"].as_str().unwrap();
    let signature = ("x-signature", token);
    let create = async |headers: &[(&str, &str)]| {
        let mut all = vec![TUS, signature, ("upload-length", "4")];
        all.extend_from_slice(headers);
        hands.bare(Method::POST, "/upload/resumable/sign", &all, "").await
    };
    let other = metadata("files", "ada/b.txt");
    assert_eq!(create(&[("upload-metadata", &other)]).await.refused(400, "400"), "InvalidUploadSignature");
    let bare = hands.bare(Method::POST, "/upload/resumable/sign", &[TUS, ("upload-length", "4")], "").await;
    assert_eq!(bare.refused(400, "400"), "MissingParameter");
    // It opens no other door.
    let told = metadata("files", "ada/a.txt");
    let plain = [TUS, signature, ("upload-length", "4"), ("upload-metadata", told.as_str())];
    assert_eq!(hands.bare(Method::POST, "/upload/resumable", &plain, "").await.status, 401);

    let first = create(&[("upload-metadata", &told)]).await;
    first.is(201);
    let (first, second) = (hands.path_of(&first.headers), hands.path_of(&create(&[]).await.headers));
    assert!(first.starts_with("/upload/resumable/sign/"));
    let patch = async |path: &str, offset: &str, body: &'static str| {
        let headers = [TUS, signature, PIECE, ("upload-offset", offset)];
        hands.bare(Method::PATCH, path, &headers, body).await
    };
    patch(&first, "0", "ab").await.is(204);
    patch(&second, "0", "xy").await.is(204);
    // Ada herself comes by the other door.
    assert_eq!(hands.offset(&hands.ada, &first.replace("/sign", "")).await, None);
    patch(&first, "2", "cd").await.is(204);
    assert_eq!(hands.content(&hands.ada, "files/ada/a.txt").await.unwrap(), "abcd");
    assert_eq!(patch(&second, "2", "zz").await.refused(404, "404"), "NoSuchUpload");
    assert_eq!(create(&[]).await.refused(404, "404"), "NoSuchUpload");
    // Nothing tells any more of what is an object. The other one waits for the sweeper; if Ada goes on with it, it harms
    // nothing.
    let with_object =
        "select count(*) from storage.uploads u join storage.objects o on o.version = u.version";
    assert_eq!(hands.count(with_object).await, 0);
    assert_eq!(hands.count("select count(*) from storage.uploads").await, 1);
    let second = second.replace("/sign", "");
    assert_eq!(hands.patch(&hands.ada, &second, 2, "zz").await.refused(409, "409"), "KeyAlreadyExists");
    assert_eq!(hands.content(&hands.ada, "files/ada/a.txt").await.unwrap(), "abcd");
    assert_eq!(
        hands.count(&format!("select count(*) from storage.objects where owner = '{}'", hands.ada_id)).await,
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_lost_the_last_answer_of_a_signed_upload_is_told_that_it_is_done() {
    let hands = Hands::start().await;
    let granted = async |key: &str| {
        let path = format!("/object/upload/sign/files/{key}");
        hands.post(&hands.ada, &path, json!({})).await.is(200)["token"].as_str().unwrap().to_owned()
    };
    let (token, other) = (granted("ada/a.txt").await, granted("ada/b.txt").await);
    let told = metadata("files", "ada/a.txt");
    let create = [TUS, ("x-signature", &token), ("upload-length", "4"), ("upload-metadata", &told)];
    let made = hands.bare(Method::POST, "/upload/resumable/sign", &create, "").await;
    let path = hands.path_of(&made.headers);
    let ask = async |token: &str| hands.bare(Method::HEAD, &path, &[TUS, ("x-signature", token)], "").await;
    let patch = async |token: &str, offset: &str, body: &'static str| {
        let headers = [TUS, ("x-signature", token), PIECE, ("upload-offset", offset)];
        hands.bare(Method::PATCH, &path, &headers, body).await
    };
    assert_eq!(ask(&other).await.status, 404);
    patch(&token, "0", "abcd").await.is(204);
    for _ in 0..2 {
        let head = ask(&token).await;
        assert_eq!(
            (head.status, head.header("upload-offset"), head.header("upload-length")),
            (200, "4", "4")
        );
        let last = patch(&token, "4", "").await;
        assert_eq!((last.status, last.header("upload-offset")), (204, "4"));
    }
    // The token is used up all the same, and says nothing to whoever has another, or none.
    for (offset, body) in [("0", "wxyz"), ("4", "z"), ("3", "")] {
        assert_eq!(patch(&token, offset, body).await.refused(404, "404"), "NoSuchUpload", "{offset} {body}");
    }
    assert_eq!(hands.bare(Method::DELETE, &path, &[TUS, ("x-signature", &token)], "").await.status, 404);
    assert_eq!(hands.bare(Method::POST, "/upload/resumable/sign", &create, "").await.status, 404);
    assert_eq!((ask(&other).await.status, patch(&other, "4", "").await.status), (404, 404));
    assert_eq!(ask(&tampered(&token)).await.status, 400);
    assert_eq!(hands.offset(&hands.bob, &path.replace("/sign", "")).await, None);
    assert_eq!(hands.content(&hands.ada, "files/ada/a.txt").await.unwrap(), "abcd");
    // Nothing is told of an object that is not there any more.
    hands.execute("delete from storage.objects").await;
    assert_eq!(ask(&token).await.status, 404);
}
