//! A server with buckets, those who store files in it, and what they send by hand.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Body, Method};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::auth::site::{Site, text};
use crate::support::server::{Start, eventually};

/// `files` are each user's own; an editor changes and sees all. `small` and `images` take only such content, `open` is for
/// whoever knows a key.
const BUCKETS: &str = "
limits: { upload: 300MB }
buckets:
  files:
    policies:
      read: [{ role: authenticated, when: owner == auth.id }, { role: editor }]
      create: [{ role: authenticated, check: owner == auth.id }]
      update: [{ role: authenticated, when: owner == auth.id, check: owner == auth.id }]
      delete: [{ role: authenticated, when: owner == auth.id }]
  edited:
    policies:
      read: [{ role: editor }]
      create: [{ role: editor }]
  small:
    max_size: 1KB
    policies:
      read: [{ role: authenticated }]
      create: [{ role: authenticated }]
  tight:
    quota: 1KB
    policies:
      read: [{ role: authenticated }]
      create: [{ role: authenticated }]
  images:
    accept: [image/*]
    policies:
      read: [{ role: authenticated }]
      create: [{ role: authenticated }]
  open:
    public: true
    policies:
      create: [{ role: anon }]
";

/// What came back, as it came.
pub struct Got {
    pub status: u16,
    pub headers: HeaderMap,
    pub bytes: Bytes,
}

impl Got {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or(Value::Null)
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The body, after making sure of the status.
    #[track_caller]
    pub fn is(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.bytes));
        self.json()
    }

    /// The error's code, after making sure of the status that is meant and of the one that is sent.
    #[track_caller]
    pub fn refused(&self, sent: u16, meant: &str) -> String {
        let body = self.is(sent);
        assert_eq!(body["statusCode"], meant, "{body}");
        body["code"].as_str().unwrap().to_owned()
    }
}

pub struct Hands {
    pub site: Site,
    /// Access tokens.
    pub ada: String,
    pub bob: String,
    pub ada_id: String,
}

impl Hands {
    pub async fn start() -> Hands {
        Hands::start_with(&[]).await
    }

    pub async fn start_with(env: &[(&str, &str)]) -> Hands {
        let site = Site::start_with(BUCKETS, &[], env).await;
        let ada_id = site.user("ada@example.test", "correct horse battery").await;
        site.user("bob@example.test", "correct horse battery").await;
        let mut tokens = Vec::new();
        for email in ["ada@example.test", "bob@example.test"] {
            let session = site.sign_in(email, "correct horse battery").await;
            tokens.push(text(&session, "access_token").to_owned());
        }
        let bob = tokens.pop().unwrap();
        Hands { site, ada: tokens.pop().unwrap(), bob, ada_id }
    }

    /// Sends a request under `/storage/v1` with just these headers.
    pub async fn bare(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Got {
        let mut sent = HeaderMap::new();
        for (name, value) in headers {
            sent.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        let url = self.site.server.at(&format!("/storage/v1{path}"));
        let response =
            self.site.client.request(method, url).headers(sent).body(body.into()).send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Got { status, headers, bytes: response.bytes().await.unwrap() }
    }

    /// As whoever has this access token; with an empty one, as anybody with the publishable key.
    pub async fn send(
        &self,
        token: &str,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Got {
        let key = self.site.server.keys.publishable();
        let bearer = format!("Bearer {}", if token.is_empty() { key } else { token });
        let mut all = vec![("apikey", key), ("authorization", bearer.as_str())];
        all.extend_from_slice(headers);
        self.bare(method, path, &all, body).await
    }

    pub async fn post(&self, token: &str, path: &str, body: Value) -> Got {
        let json = [("content-type", "application/json")];
        self.send(token, Method::POST, path, &json, body.to_string()).await
    }

    /// Stores text.
    pub async fn store(&self, token: &str, path: &str, content: &str) {
        let plain = [("content-type", "text/plain")];
        let path = format!("/object/{path}");
        self.send(token, Method::POST, &path, &plain, content.to_owned()).await.is(200);
    }

    /// The content of an object, or the word of the refusal.
    pub async fn content(&self, token: &str, path: &str) -> Result<Bytes, String> {
        let got = self.send(token, Method::GET, &format!("/object/{path}"), &[], "").await;
        if got.status == 200 { Ok(got.bytes) } else { Err(got.json()["code"].as_str().unwrap().to_owned()) }
    }

    /// Kills the server, as the kernel would, and starts it again.
    pub async fn kill_and_restart(&mut self) {
        self.site.server.signal(Signal::KILL);
        let folder = self.site.path().to_owned();
        let database = self.site.database.urls.clone();
        let site = &mut self.site;
        tokio::task::block_in_place(|| {
            site.server.ended(Duration::from_secs(10));
            let data = folder.join(".basewright");
            let start = Start {
                command: "dev",
                project: &folder,
                data: &data,
                database: Some(&database),
                args: &[],
                env: &[],
            };
            site.server = start.run();
        });
    }

    /// Where content lies.
    pub fn blobs(&self) -> PathBuf {
        self.site.path().join(".basewright/objects")
    }

    /// Waits until so many finished contents lie there.
    pub async fn blobs_become(&self, count: usize) {
        let folder = self.blobs().join("v");
        eventually(&format!("{count} contents"), Duration::from_secs(20), || {
            let found = files(&folder).len();
            std::future::ready((found == count).then_some(()))
        })
        .await;
    }

    pub async fn execute(&self, sql: &str) -> u64 {
        self.site.sql().await.execute(sql, &[]).await.unwrap()
    }

    pub async fn count(&self, sql: &str) -> i64 {
        self.site.sql().await.query_one(sql, &[]).await.unwrap().get(0)
    }
}

/// The files below a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return found };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// Bytes that are not alike anywhere.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// `Upload-Metadata` of a text file.
pub fn metadata(bucket: &str, key: &str) -> String {
    let b64 = |text: &str| STANDARD.encode(text);
    format!("bucketName {},objectName {},contentType {}", b64(bucket), b64(key), b64("text/plain"))
}

/// A token whose last character but five is another one.
pub fn tampered(token: &str) -> String {
    let at = token.len() - 6;
    let other = if token.as_bytes()[at] == b'A' { "B" } else { "A" };
    format!("{}{other}{}", &token[..at], &token[at + 1..])
}

pub fn expires_in(seconds: i64) -> Value {
    json!({ "expiresIn": seconds })
}

impl Hands {
    /// Waits until the server knows that somebody may not grant an upload any more: what it remembers of a user follows the
    /// database a moment later.
    pub async fn grants_no_more(&self, token: &str, path: &str) {
        eventually("nothing more is granted", Duration::from_secs(10), || async {
            let got = self.post(token, &format!("/object/upload/sign/{path}"), json!({})).await;
            (got.status != 200).then_some(())
        })
        .await;
    }

    /// An upload that Ada is granted as soon as her new role is known.
    pub async fn granted_soon(&self, path: &str) -> (String, String) {
        eventually("it is granted", Duration::from_secs(10), || async {
            let got = self.post(&self.ada, &format!("/object/upload/sign/{path}"), json!({})).await;
            let body = got.json();
            (got.status == 200).then(|| {
                let text = |name: &str| body[name].as_str().unwrap().to_owned();
                (text("url"), text("token"))
            })
        })
        .await
    }
}
