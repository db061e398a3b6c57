//! A server whose users sign in, and those who do.

use basewright::auth::password::Hashing;
use basewright::auth::refresh::sha256;
use basewright::db::Urls;
use reqwest::Method;
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::support::caller::Answer;
use crate::support::server::{Folder, Server, Start};
use crate::support::{Database, database};

/// Notes that only their owner sees, an editor role, and limits that tests do not meet.
pub const PROJECT: &str = "
collections:
  notes:
    fields:
      title: { type: text, required: true }
      owner: { type: uuid, references: auth.users, default: auth.id, on_delete: cascade }
roles:
  editor: { inherits: [authenticated] }
policies:
  notes:
    read: [{ role: authenticated, when: owner == auth.id }, { role: editor }]
    create: [{ role: authenticated, fields: [title], set: { owner: auth.id } }]
";

/// A server of its own with a database of its own.
pub struct Site {
    pub server: Server,
    pub database: Database,
    pub client: reqwest::Client,
    hashing: Hashing,
    folder: Folder,
}

impl Site {
    /// With this text added to [`PROJECT`]: `auth:`, `mail:`.
    pub async fn start(settings: &str) -> Site {
        Site::start_with(settings, &[], &[]).await
    }

    /// And with these files, and these variables.
    pub async fn start_with(settings: &str, files: &[(&str, &str)], env: &[(&str, &str)]) -> Site {
        let database = database().await;
        let project = format!("{PROJECT}{settings}");
        let folder = Folder::with(&[("basewright.yaml", project.as_str())]);
        for (name, text) in files {
            folder.write(name, text);
        }
        let (path, data) = (folder.0.clone(), folder.join(".basewright"));
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
        // An answer that leads somewhere is looked at, not followed.
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(std::time::Duration::from_secs(60))
            .build()
            .unwrap();
        Site { server, database, client, hashing: Hashing::start(2).unwrap(), folder }
    }

    /// Another server of the same project and database, whose keys are the same if `env` says so.
    pub async fn node(&self, name: &str, urls: &Urls, env: &[(&str, &str)]) -> Server {
        let data = self.folder.join(&format!(".basewright-{name}"));
        std::fs::create_dir_all(&data).unwrap();
        let mut all = vec![("BASEWRIGHT_NODE", name)];
        all.extend_from_slice(env);
        tokio::task::block_in_place(|| {
            let project = &self.folder.0;
            Start { command: "dev", project, data: &data, database: Some(urls), args: &[], env: &all }.run()
        })
    }

    /// The project's folder.
    pub fn path(&self) -> &std::path::Path {
        &self.folder.0
    }

    /// Saves a file of the project.
    pub fn write(&self, name: &str, text: &str) {
        self.folder.write(name, text);
    }

    /// A connection to the database as its owner.
    pub async fn sql(&self) -> Client {
        crate::support::admin().connect(&self.database.name).await
    }

    /// Sends a request as the holder of the publishable key, and of this token if there is one.
    pub async fn send(&self, method: Method, path: &str, token: Option<&str>, body: Option<Value>) -> Answer {
        self.send_as(self.server.keys.publishable(), method, path, token, body).await
    }

    /// Sends a request with this API key.
    pub async fn send_as(
        &self,
        key: &str,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<Value>,
    ) -> Answer {
        let mut request = self
            .client
            .request(method, self.server.at(path))
            .header("apikey", key)
            .header("x-supabase-api-version", "2024-01-01")
            .bearer_auth(token.unwrap_or(key));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await.unwrap();
        let text = || Value::String(String::from_utf8_lossy(&bytes).into_owned());
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).unwrap_or_else(|_| text())
        };
        Answer { status, headers, body }
    }

    pub async fn get(&self, path: &str, token: Option<&str>) -> Answer {
        self.send(Method::GET, path, token, None).await
    }

    pub async fn post(&self, path: &str, token: Option<&str>, body: Value) -> Answer {
        self.send(Method::POST, path, token, Some(body)).await
    }

    /// As whoever holds the secret key.
    pub async fn admin(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.send_as(self.server.keys.secret(), method, path, None, body).await
    }

    /// A user with a proven address and a password, put into the database: his id.
    pub async fn user(&self, email: &str, password: &str) -> String {
        let hash = self.hashing.hash(password).await.unwrap();
        let row = self
            .sql()
            .await
            .query_one(
                "with u as (insert into auth.users (email, email_confirmed_at) values ($1, now()) returning id), \
                 i as (insert into auth.identities (user_id, provider, provider_id, identity_data) \
                   select id, 'email', id::text, jsonb_build_object('sub', id, 'email', $1::text, 'email_verified', true) from u) \
                 , p as (insert into auth.passwords (user_id, hash) select id, $2 from u) select id::text from u",
                &[&email, &hash],
            )
            .await
            .unwrap();
        row.get(0)
    }

    /// The letters to an address, the newest first.
    pub async fn letters(&self, to: &str) -> Vec<Value> {
        let answer = self.client.get(self.server.at(&format!("/_/mail.json?to={to}"))).send().await.unwrap();
        answer.json().await.unwrap()
    }

    /// What the newest link of a purpose to an address carries: put in the place of what was mailed.
    pub async fn link(&self, address: &str, purpose: &str) -> String {
        let token = uuid::Uuid::new_v4().to_string();
        let hash = sha256(token.as_bytes()).to_vec();
        let planted = self
            .sql()
            .await
            .execute(
                "update auth.one_time_tokens set token_hash = $1 where id = \
                 (select id from auth.one_time_tokens where address = $2 and purpose = $3 order by id desc limit 1)",
                &[&hash, &address, &purpose],
            )
            .await
            .unwrap();
        assert_eq!(planted, 1, "no link of {purpose} waits for {address}");
        token
    }

    /// Signs in: the answer's body, with `access_token` and `refresh_token`.
    pub async fn sign_in(&self, email: &str, password: &str) -> Value {
        let body = json!({ "email": email, "password": password });
        self.post("/auth/v1/token?grant_type=password", None, body).await.is(200)
    }
}

/// A text member of a body.
#[track_caller]
pub fn text<'b>(body: &'b Value, name: &str) -> &'b str {
    body[name].as_str().unwrap_or_else(|| panic!("no {name} in {body}"))
}
