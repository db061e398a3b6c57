//! The project that the facts speak of, and how a fact is held against the server.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::caller::{Answer, Caller};
use crate::support::server::{Folder, Server};
use crate::support::{Database, database};

const PROJECT: &[(&str, &str)] = &[
    ("basewright.yaml", "limits: { rows: 6 }\n"),
    (
        "collections/all.yaml",
        "collections:
  makers:
    fields:
      id: integer
      name: text
      town: text
  things:
    fields:
      id: integer
      name: text
      size: integer
      open: boolean
      labels: 'text[]'
      data: json
      note: text
      at: timestamp
      maker: { type: relation, to: makers }
      keeper: { type: relation, to: makers, inverse: kept }
  parts:
    fields:
      id: integer
      word: text
      amount: integer
      thing: { type: relation, to: things }
  tags:
    fields:
      id: integer
      word: text
  thing_tags:
    primary_key: [thing, tag]
    timestamps: false
    fields:
      thing: { type: relation, to: things }
      tag: { type: relation, to: tags }
  staff:
    fields:
      id: integer
      name: text
      boss: { type: relation, to: staff, inverse: reports }
  badges:
    fields:
      id: integer
      code: text
      holder: { type: relation, to: staff, unique: true }
  dots:
    timestamps: false
    fields:
      id: integer
  stocks:
    fields:
      id: integer
      code: { type: text, required: true, unique: true, max: 20 }
      amount: { type: integer, default: 5, min: 0 }
      price: decimal
      open: boolean
      labels: 'text[]'
      data: json
      many: 'json[]'
      maker: { type: relation, to: makers }
  blanks:
    fields:
      note: { type: text, default: empty }
      size: integer
  marks:
    primary_key: [who, what]
    timestamps: false
    fields:
      who: integer
      what: text
      stars: integer
  secrets:
    fields:
      id: integer
",
    ),
    (
        "policies/all.yaml",
        "roles:
  keeper: { inherits: [authenticated] }
policies:
  makers: { read: [{ role: anon }], delete: [{ role: authenticated }] }
  things: { read: [{ role: anon }] }
  parts: { read: [{ role: anon }] }
  tags: { read: [{ role: anon }] }
  thing_tags: { read: [{ role: anon }] }
  staff: { read: [{ role: anon }] }
  badges: { read: [{ role: anon }] }
  dots: { read: [{ role: anon }] }
  stocks:
    read: [{ role: anon }]
    create: [{ role: authenticated }]
    update: [{ role: authenticated }]
    delete: [{ role: authenticated }]
  blanks:
    read: [{ role: anon }]
    create: [{ role: authenticated }]
  marks:
    read: [{ role: anon }]
    create: [{ role: authenticated }]
    update: [{ role: authenticated }]
  secrets: { read: [{ role: keeper }] }
",
    ),
];

/// A server with something in it.
pub struct Stage {
    pub server: Server,
    pub database: Database,
    pub anyone: Caller,
    pub user: Caller,
    pub secret: Caller,
    _folder: Folder,
}

impl Stage {
    pub async fn open() -> Stage {
        let database = database().await;
        let folder = Folder::with(PROJECT);
        let server = Server::dev(&folder.0, &folder.join("data"), &database.urls);
        database
            .connect_owner()
            .await
            .batch_execute(
                r#"
                insert into makers (id, name, town) values (1, 'Ada', 'Ayr'), (2, 'Bob', 'Bonn'), (3, 'Cyd', null);
                insert into things (id, name, size, open, labels, data, note, at, maker, keeper) values
                  (1, 'ant', 10, true, '{a,b}', '{"k": 1, "list": [1, 2, 3], "deep": {"x y": "z"}}', 'a fat cat sat',
                   '2024-03-12 03:04:05+00', 1, 2),
                  (2, 'bee', 20, false, '{b,c}', '{"k": "1", "list": []}', 'cats and rats', null, 1, 1),
                  (3, 'cow, (big)', 30, null, '{}', '[10, 20]', null, null, 2, null),
                  (4, 'Dog "x"', null, true, null, null, 'a rat', null, null, null);
                insert into parts (id, word, amount, thing) values (1, 'leg', 6, 1), (2, 'eye', 2, 1), (3, 'leg', 6, 2), (4, 'loose', 1, null);
                insert into tags (id, word) values (1, 'small'), (2, 'loud');
                insert into thing_tags (thing, tag) values (1, 1), (2, 1), (2, 2);
                insert into staff (id, name, boss) values (1, 'Top', null), (2, 'Mid', 1), (3, 'Low', 2);
                insert into badges (id, code, holder) values (1, 'b1', 1), (2, 'b2', null);
                insert into dots (id) select generate_series(1, 10);
                "#,
            )
            .await
            .unwrap();
        Stage {
            anyone: Caller::anonymous(&server),
            user: Caller::user(&server, &[]),
            secret: Caller::secret(&server),
            server,
            database,
            _folder: folder,
        }
    }

    pub fn facts(&self) -> Facts<'_> {
        Facts { stage: self, known: BTreeSet::new(), broken: Vec::new() }
    }
}

/// A request, by default nobody's.
#[derive(Clone)]
pub struct Ask<'a> {
    method: Method,
    path: String,
    caller: Option<&'a Caller>,
    headers: Vec<(&'a str, &'a str)>,
    body: Option<String>,
}

impl<'a> Ask<'a> {
    pub fn new(method: Method, path: impl Into<String>) -> Ask<'a> {
        Ask { method, path: path.into(), caller: None, headers: Vec::new(), body: None }
    }

    pub fn get(path: impl Into<String>) -> Ask<'a> {
        Ask::new(Method::GET, path)
    }

    pub fn head(path: impl Into<String>) -> Ask<'a> {
        Ask::new(Method::HEAD, path)
    }

    pub fn by(mut self, caller: &'a Caller) -> Ask<'a> {
        self.caller = Some(caller);
        self
    }

    pub fn header(mut self, name: &'a str, value: &'a str) -> Ask<'a> {
        self.headers.push((name, value));
        self
    }

    pub fn prefer(self, value: &'a str) -> Ask<'a> {
        self.header("prefer", value)
    }

    pub fn accept(self, value: &'a str) -> Ask<'a> {
        self.header("accept", value)
    }

    pub fn json(self, body: Value) -> Ask<'a> {
        self.text("application/json", &body.to_string())
    }

    pub fn text(mut self, kind: &'a str, body: &str) -> Ask<'a> {
        self.body = Some(body.to_owned());
        self.header("content-type", kind)
    }

    /// A body that says nothing of its type.
    pub fn bare(mut self, body: &str) -> Ask<'a> {
        self.body = Some(body.to_owned());
        self
    }

    pub async fn answer(&self, stage: &'a Stage) -> Answer {
        let caller = self.caller.unwrap_or(&stage.anyone);
        caller.send_text(self.method.clone(), &self.path, &self.headers, self.body.clone()).await
    }
}

/// Sentences held against the server, one after the other. All that do not hold are told at the end.
pub struct Facts<'s> {
    stage: &'s Stage,
    known: BTreeSet<String>,
    broken: Vec<String>,
}

impl<'s> Facts<'s> {
    /// Asks, and compares what `expected` has a member for: `status`, `body`, a member of an error (`code`, `message`,
    /// `details`, `hint`), else a header, which is null where it is not there.
    pub async fn fact(&mut self, says: &str, ask: Ask<'s>, expected: Value) -> Answer {
        assert!(self.known.insert(says.to_owned()), "two facts say: {says}");
        let answer = ask.answer(self.stage).await;
        let mut seen = serde_json::Map::new();
        for name in expected.as_object().unwrap().keys() {
            let value = match name.as_str() {
                "status" => json!(answer.status),
                "body" => answer.body.clone(),
                "code" | "message" | "details" | "hint" => answer.body[name].clone(),
                header => match answer.headers.get(header) {
                    Some(_) => json!(answer.header(header)),
                    None => Value::Null,
                },
            };
            seen.insert(name.clone(), value);
        }
        let seen = Value::Object(seen);
        if seen != expected {
            let (method, path) = (ask.method, ask.path);
            self.broken.push(format!(
                "{says}\n    {method} {path}\n    expected {expected}\n    seen     {seen}\n    answer   {} {}",
                answer.status, answer.body
            ));
        }
        answer
    }

    /// A read that is answered with these rows.
    pub async fn reads(&mut self, says: &str, path: &str, rows: Value) {
        self.fact(says, Ask::get(path), json!({ "status": 200, "body": rows })).await;
    }

    /// A read of the ids of `things` that a filter leaves, in their order.
    pub async fn finds(&mut self, says: &str, filter: &str, ids: &[i64]) {
        let rows: Vec<Value> = ids.iter().map(|id| json!({ "id": id })).collect();
        self.reads(says, &format!("things?select=id&order=id&{filter}"), Value::Array(rows)).await;
    }

    /// A read that is refused.
    pub async fn refuses(&mut self, says: &str, path: &str, status: u16, code: &str) -> Answer {
        self.fact(says, Ask::get(path), json!({ "status": status, "code": code })).await
    }

    /// A statement about what was answered before.
    #[track_caller]
    pub fn holds(&mut self, says: &str, whether: bool, seen: &dyn std::fmt::Debug) {
        assert!(self.known.insert(says.to_owned()), "two facts say: {says}");
        if !whether {
            self.broken.push(format!("{says}\n    seen {seen:?}"));
        }
    }

    #[track_caller]
    pub fn end(self) {
        let (all, broken) = (self.known.len(), self.broken.len());
        assert!(self.broken.is_empty(), "{broken} of {all} facts do not hold:\n{}", self.broken.join("\n"));
        println!("PASS dialect {all} facts");
    }
}
