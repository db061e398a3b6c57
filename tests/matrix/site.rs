//! The real program on the matrix's project and records, and the callers who come to it.

use std::collections::BTreeMap;
use std::path::Path;

use basewright::app::now;
use basewright::auth::token::mint_operator;
use reqwest::Method;
use serde_json::{Value, json};
use tokio_postgres::Client;

use super::oracle::{Role, Who};
use super::world::{ADA, ANA, EDD, EVE, MIA, SID, World, id, tables};
use crate::support::server::{Folder, Server};
use crate::support::{Database, database};

/// Somebody with his credentials.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) who: Who,
    key: String,
    token: Option<String>,
}

/// A request.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    /// `people?select=id`, encoded.
    pub(super) path: String,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Option<String>,
}

impl Request {
    pub(super) fn get(path: impl Into<String>) -> Request {
        Request { method: Method::GET, path: path.into(), headers: Vec::new(), body: None }
    }

    pub(super) fn write(method: Method, path: impl Into<String>, body: Option<Value>) -> Request {
        Request { method, path: path.into(), headers: Vec::new(), body: body.map(|body| body.to_string()) }
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Request {
        self.headers.push((name, value.into()));
        self
    }
}

/// What came back.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Every header that is about the answer.
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    pub(super) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

pub(super) struct Site {
    server: Server,
    client: reqwest::Client,
    owner: Client,
    // These go after the server.
    _folder: Folder,
    _database: Database,
}

impl Site {
    pub(super) async fn open() -> Site {
        let database = database().await;
        let folder = Folder::new();
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/matrix/project");
        let server = Server::dev(&project, &folder.join("data"), &database.urls);
        let owner = database.connect_owner().await;
        // A table that the project does not know of.
        owner
            .batch_execute(
                "create table public.shadow (id uuid primary key, word text); \
                 insert into public.shadow values ('00000000-0000-7000-8000-000000000001', 'xray'); \
                 grant all on public.shadow to public",
            )
            .await
            .unwrap();
        Site { server, client: reqwest::Client::new(), owner, _folder: folder, _database: database }
    }

    /// Everybody who comes, from nobody to the secret key.
    pub(super) fn callers(&self) -> Vec<Caller> {
        let keys = &self.server.keys;
        let person = |name, number, role, roles: &[&str]| {
            let id = id("people", number);
            let uuid = uuid::Uuid::parse_str(&id).unwrap();
            let roles: Vec<String> = roles.iter().map(|role| (*role).to_owned()).collect();
            let token =
                mint_operator(keys.active(), uuid, "authenticated", &roles, now(), now() + 3600).unwrap();
            let key = keys.publishable().to_owned();
            Caller { who: Who { name, role, id: json!(id) }, key, token: Some(token) }
        };
        let key = |name, role, key: &str| Caller {
            who: Who { name, role, id: Value::Null },
            key: key.to_owned(),
            token: None,
        };
        vec![
            key("anon", Role::Anon, keys.publishable()),
            person("owner", ANA, Role::User, &[]),
            person("stranger", SID, Role::User, &[]),
            person("member", MIA, Role::User, &[]),
            person("ex-member", EVE, Role::User, &[]),
            person("editor", EDD, Role::Editor, &["editor"]),
            person("admin", ADA, Role::Admin, &["admin"]),
            key("service", Role::Service, keys.secret()),
        ]
    }

    pub(super) async fn ask(&self, caller: &Caller, request: &Request) -> Answer {
        let url = format!("{}/rest/v1/{}", self.server.url, request.path);
        let mut sent = self.client.request(request.method.clone(), url).header("apikey", &caller.key);
        if let Some(token) = &caller.token {
            sent = sent.bearer_auth(token);
        }
        for (name, value) in &request.headers {
            sent = sent.header(*name, value);
        }
        if let Some(body) = &request.body {
            sent = sent.header("content-type", "application/json").body(body.clone());
        }
        let answer = sent.send().await.unwrap();
        let status = answer.status().as_u16();
        // These two differ from answer to answer.
        let told = |name: &str| !matches!(name, "date" | "x-request-id");
        let headers = answer
            .headers()
            .iter()
            .filter(|(name, _)| told(name.as_str()))
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        let text = answer.text().await.unwrap();
        let body = match serde_json::from_str(&text) {
            Ok(Value::Object(members)) if members.contains_key("request_id") => {
                members.into_iter().filter(|(name, _)| name != "request_id").collect::<Value>().to_string()
            }
            _ => text,
        };
        Answer { status, headers, body }
    }

    /// Makes the tables hold exactly these records.
    pub(super) async fn fill(&self, world: &World) {
        let tables = tables();
        let mut sql = String::from("begin;");
        for table in tables.iter().rev() {
            sql += &format!("delete from public.{};", table.name);
        }
        for table in tables {
            let rows = serde_json::to_string(world.rows(table.name)).unwrap().replace('\'', "''");
            let name = table.name;
            let fields: Vec<&str> = table.fields.iter().map(|field| field.name).collect();
            let fields = fields.join(",");
            sql += &format!(
                "insert into public.{name} ({fields}) select {fields} from json_populate_recordset(null::public.{name}, '{rows}');"
            );
        }
        self.owner.batch_execute(&(sql + "commit")).await.unwrap();
    }

    /// Runs SQL as the owner of the tables.
    pub(super) async fn sql(&self, sql: &str) {
        self.owner.batch_execute(sql).await.unwrap();
    }

    /// What the tables hold.
    pub(super) async fn dump(&self) -> World {
        let mut found = BTreeMap::new();
        let parts: Vec<String> = tables()
            .iter()
            .map(|table| {
                let name = table.name;
                let key: Vec<String> = table.key.iter().map(|field| format!("t.{field}")).collect();
                let key = key.join(",");
                let fields: Vec<&str> = table.fields.iter().map(|field| field.name).collect();
                let rows = format!("select {} from public.{name}", fields.join(","));
                format!("'{name}', (select coalesce(json_agg(t order by {key}), '[]') from ({rows}) t)")
            })
            .collect();
        let sql = format!("select json_build_object({})::text", parts.join(","));
        let row = self.owner.query_one(&sql, &[]).await.unwrap();
        let all: Value = serde_json::from_str(row.get(0)).unwrap();
        for table in tables() {
            let rows = all[table.name].as_array().unwrap();
            found.insert(table.name, rows.iter().map(|row| row.as_object().unwrap().clone()).collect());
        }
        World(found)
    }
}
