//! A server with buckets of every sort, and those who come for what is in them.

use basewright::app::now;
use basewright::auth::token::mint_operator;
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::support::server::{Folder, Server, Start};
use crate::support::{Database, database};

/// Papers are their owner's, and editors read them; whoever comes sees what is shown. Nothing is stored under `locked/`.
pub const PROJECT: &str = "
roles:
  editor: { inherits: [authenticated] }
buckets:
  posters:
    public: true
    policies:
      create: [{ role: authenticated, check: owner == auth.id }]
      update: [{ role: authenticated, when: owner == auth.id, check: owner == auth.id }]
      delete: [{ role: authenticated, when: owner == auth.id }]
  papers:
    policies:
      read:
        - { role: authenticated, when: owner == auth.id }
        - { role: editor }
        - { role: anon, when: \"name.startsWith('shown/')\" }
      create: [{ role: authenticated, check: \"owner == auth.id && !name.startsWith('locked/')\" }]
      update:
        - role: authenticated
          when: \"owner == auth.id && !name.startsWith('final/')\"
          check: \"owner == auth.id && !name.startsWith('locked/')\"
      delete: [{ role: authenticated, when: \"owner == auth.id && !name.startsWith('final/')\" }]
  pictures:
    max_size: 1KB
    accept: [image/png, text/*]
    policies:
      read: [{ role: authenticated }]
      create: [{ role: authenticated }]
      update: [{ role: authenticated }]
      delete: [{ role: authenticated }]
  letterbox:
    policies:
      create: [{ role: authenticated }]
  vault:
    policies:
      read: [{ role: editor }]
";

/// The smallest picture there is.
pub const PNG: &[u8] = &[
    0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 0x0d, b'I', b'H', b'D', b'R', 0, 0, 0, 1, 0, 0,
    0, 1, 8, 6, 0, 0, 0, 0x1f, 0x15, 0xc4, 0x89, 0, 0, 0, 0x0d, b'I', b'D', b'A', b'T', 0x78, 0x9c, 0x63, 0,
    1, 0, 0, 5, 0, 1, 0x0d, 0x0a, 0x2d, 0xb4, 0, 0, 0, 0, b'I', b'E', b'N', b'D', 0xae, 0x42, 0x60, 0x82,
];

pub struct Site {
    pub server: Server,
    pub database: Database,
    folder: Folder,
}

/// Somebody with a connection of his own.
#[derive(Clone, Debug)]
pub struct Actor {
    client: reqwest::Client,
    url: String,
    key: Option<String>,
    token: Option<String>,
    /// `auth.id`.
    pub id: Uuid,
}

/// A part of a form: what stands behind `form-data`, further headers, the content.
pub type Part<'p> = (&'p str, &'p str, &'p [u8]);

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
}

impl Reply {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes)
            .unwrap_or_else(|_| panic!("{}: no JSON: {}", self.status, String::from_utf8_lossy(&self.bytes)))
    }

    /// The JSON of a success.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.bytes));
        self.json()
    }

    /// The content of a success.
    #[track_caller]
    pub fn content(self) -> Vec<u8> {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.bytes));
        self.bytes
    }

    /// The code of a refusal, whose status is the one that clients of storage expect.
    #[track_caller]
    pub fn refused(&self) -> String {
        let body = self.json();
        let meant: u16 = body["statusCode"].as_str().unwrap().parse().unwrap();
        let status = if meant >= 500 || meant == 416 { meant } else { 400 };
        assert_eq!(self.status, status, "{body}");
        body["code"].as_str().unwrap().to_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Site {
    pub async fn start() -> Site {
        Site::start_with(PROJECT, &[]).await
    }

    pub async fn start_with(project: &str, env: &[(&str, &str)]) -> Site {
        let database = database().await;
        let folder = Folder::with(&[("project/basewright.yaml", project)]);
        let (path, data) = (folder.join("project"), folder.join("data"));
        std::fs::create_dir_all(&data).unwrap();
        let server = tokio::task::block_in_place(|| {
            Start {
                command: "dev",
                project: &path,
                data: &data,
                database: Some(&database.urls),
                args: &[],
                env,
            }
            .run()
        });
        Site { server, database, folder }
    }

    /// The project, its data and nothing else.
    pub fn folder(&self) -> &std::path::Path {
        &self.folder.0
    }

    /// A connection to the database as its owner.
    pub async fn sql(&self) -> Client {
        crate::support::admin().connect(&self.database.name).await
    }

    /// A signed-in user with these roles besides `authenticated`.
    pub fn user(&self, roles: &[&str]) -> Actor {
        let id = Uuid::new_v4();
        let roles: Vec<String> = roles.iter().map(|role| (*role).to_owned()).collect();
        let issued = now();
        let key = self.server.keys.active();
        let token = mint_operator(key, id, "authenticated", &roles, issued, issued + 7200).unwrap();
        Actor { token: Some(token), id, ..self.actor(Some(self.server.keys.publishable())) }
    }

    /// Whoever has the publishable key.
    pub fn anonymous(&self) -> Actor {
        self.actor(Some(self.server.keys.publishable()))
    }

    /// Whoever has the secret key.
    pub fn secret(&self) -> Actor {
        self.actor(Some(self.server.keys.secret()))
    }

    /// Whoever comes.
    pub fn nobody(&self) -> Actor {
        self.actor(None)
    }

    fn actor(&self, key: Option<&str>) -> Actor {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(std::time::Duration::from_secs(60))
            .build()
            .unwrap();
        let url = format!("{}/storage/v1", self.server.url);
        Actor { client, url, key: key.map(str::to_owned), token: None, id: Uuid::nil() }
    }
}

impl Actor {
    /// A request; the path is what follows `/storage/v1`.
    pub fn request(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> reqwest::RequestBuilder {
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        if let Some(key) = &self.key {
            request = request.header("apikey", key);
        }
        if let Some(token) = self.token.as_ref().or(self.key.as_ref()) {
            request = request.bearer_auth(token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Reply {
        Reply::of(self.request(method, path, headers).body(body)).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.get_with(path, &[]).await
    }

    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        Reply::of(self.request(Method::GET, path, headers)).await
    }

    pub async fn head(&self, path: &str) -> Reply {
        Reply::of(self.request(Method::HEAD, path, &[])).await
    }

    pub async fn json(&self, method: Method, path: &str, body: Value) -> Reply {
        Reply::of(self.request(method, path, &[]).json(&body)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.json(Method::POST, path, body).await
    }

    /// Stores text under `bucket/key`.
    pub async fn upload(&self, place: &str, content: impl Into<reqwest::Body>) -> Reply {
        self.send(Method::POST, &format!("/object/{place}"), &[("content-type", "text/plain")], content).await
    }

    /// Stores content in a form, with these parts: a name, further headers' text, the content.
    pub async fn form(&self, method: Method, place: &str, parts: &[Part<'_>]) -> Reply {
        let kind = "multipart/form-data; boundary=\"-- x\"";
        self.send(method, &format!("/object/{place}"), &[("content-type", kind)], form(parts)).await
    }

    /// Stores so many bytes of text whose length is not announced.
    pub async fn chunked(&self, place: &str, size: usize) -> Reply {
        let head =
            format!("content-type: text/plain\r\ntransfer-encoding: chunked\r\n{}", self.credentials());
        let mut body = Vec::new();
        for piece in vec![b'x'; size].chunks(500) {
            body.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            body.extend_from_slice(piece);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"0\r\n\r\n");
        self.raw(&format!("POST /storage/v1/object/{place} HTTP/1.1\r\n{head}"), &body).await
    }

    /// His credentials as headers.
    pub fn credentials(&self) -> String {
        let key = self.key.as_deref().unwrap_or_default();
        format!("apikey: {key}\r\nauthorization: Bearer {}\r\n", self.token.as_deref().unwrap_or(key))
    }

    /// Sends a request by hand: its first line and headers, each with its line end, and what follows them.
    pub async fn raw(&self, head: &str, body: &[u8]) -> Reply {
        let address = self.url.trim_start_matches("http://").split('/').next().unwrap();
        let (mut read, mut write) = TcpStream::connect(address).await.unwrap().into_split();
        let sent = [format!("{head}host: {address}\r\nconnection: close\r\n\r\n").as_bytes(), body].concat();
        // Whoever is refused need not say everything: he may go when he has heard why.
        let mut answer = Vec::new();
        let hear = async {
            loop {
                if let Some(end) = end(&answer) {
                    return end;
                }
                assert_ne!(read.read_buf(&mut answer).await.unwrap(), 0, "the answer broke off");
            }
        };
        let tell = async {
            let _ = write.write_all(&sent).await;
            std::future::pending::<usize>().await
        };
        let at = tokio::select! { end = hear => end, end = tell => end };
        let text = String::from_utf8(answer[..at].to_vec()).unwrap();
        let mut lines = text.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let named = lines.filter_map(|line| line.split_once(": "));
        let headers = named.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        Reply { status, headers, bytes: answer[at + 4..].to_vec() }
    }

    /// The names of a level: folders end with a slash.
    pub async fn names(&self, bucket: &str, body: Value) -> Vec<String> {
        let list = self.post(&format!("/object/list/{bucket}"), body).await.ok();
        let name = |entry: &Value| {
            let slash = if entry["id"].is_null() { "/" } else { "" };
            format!("{}{slash}", entry["name"].as_str().unwrap())
        };
        list.as_array().unwrap().iter().map(name).collect()
    }

    pub async fn delete(&self, bucket: &str, keys: &[&str]) -> Reply {
        self.json(Method::DELETE, &format!("/object/{bucket}"), json!({ "prefixes": keys })).await
    }
}

impl Reply {
    pub async fn of(request: reqwest::RequestBuilder) -> Reply {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Reply { status, headers, bytes: response.bytes().await.unwrap().to_vec() }
    }
}

/// Where the body of an answer begins, once all of it is there.
fn end(answer: &[u8]) -> Option<usize> {
    let at = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&answer[..at]).to_lowercase();
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse::<usize>().ok());
    (answer.len() >= at + 4 + length.unwrap_or(0)).then_some(at)
}

/// The body of a form whose boundary is `-- x`: parts with what stands behind `form-data` and their content.
pub fn form(parts: &[Part<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    for (disposition, headers, content) in parts {
        let head = format!("---- x\r\nContent-Disposition: form-data{disposition}\r\n{headers}\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"---- x--\r\n");
    body
}
