//! Clients that write the same records at the same moment.
//!
//! Triggers keep an account of every change: the row before, the row after. What a caller changed carries his
//! stamp. An oracle that knows the policies in its own words then judges each change by the rows that it
//! really changed, and compares the account with what the callers were told: an update applied to a row that
//! no longer was the caller's to update is a violation, and so is an acknowledged write that did not happen or a
//! refused one that did.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

use super::{Dice, long, seed};
use crate::support::caller::{Answer, Caller};
use crate::support::server::{Folder, Server};
use crate::support::{Database, database};

const PROJECT: &[(&str, &str)] = &[
    (
        "collections/all.yaml",
        "collections:
  singles:
    fields:
      title: text
      status: { type: enum, values: [draft, review, published], default: draft }
      owner: { type: uuid, required: true }
      stamp: text
  docs:
    fields:
      title: text
      status: { type: enum, values: [draft, review, published], default: draft }
      author: { type: uuid, required: true }
      reviewer: uuid
      version: { type: integer, required: true, default: 1 }
      stamp: text
  boards:
    fields:
      open: { type: boolean, required: true, default: true }
      owner: { type: uuid, required: true }
      stamp: text
  claims:
    fields:
      key: { type: text, required: true, unique: true }
      value: integer
      owner: { type: uuid, required: true }
      stamp: text
  pledges:
    fields:
      key: { type: text, required: true, unique: true }
      value: { type: integer, required: true }
      owner: { type: uuid, required: true }
      locked: { type: boolean, required: true, default: false }
      stamp: text
  tasks:
    fields:
      parent: { type: relation, to: tasks, inverse: children, on_delete: cascade }
      locked: { type: boolean, required: true, default: false }
      stamp: text
",
    ),
    (
        "policies/all.yaml",
        "roles:
  editor: { inherits: [authenticated] }
  admin: { inherits: [authenticated] }
policies:
  singles:
    read: [{ role: authenticated }]
    update: [{ role: authenticated, when: \"owner == auth.id && status == 'draft'\", fields: [title, status, stamp], check: \"status in ['draft', 'review']\" }]
  docs:
    read: [{ role: authenticated }]
    update:
      - { role: authenticated, when: \"author == auth.id && status == 'draft'\", fields: [title, status, stamp], check: \"status in ['draft', 'review']\" }
      - { role: editor, when: status == 'review', fields: [status, stamp], set: { reviewer: auth.id }, check: \"status in ['draft', 'published']\" }
      - { role: admin, fields: [version, stamp], check: version == old.version + 1 }
  boards:
    read: [{ role: authenticated, when: open || owner == auth.id }]
    update: [{ role: authenticated, fields: [stamp] }]
    delete: [{ role: authenticated }]
  claims:
    read: [{ role: authenticated }]
    create: [{ role: authenticated, fields: [key, value, stamp], set: { owner: auth.id } }]
    update: [{ role: authenticated, when: owner == auth.id, fields: [value, owner, stamp] }]
    delete: [{ role: authenticated, when: owner == auth.id }]
  pledges:
    read: [{ role: authenticated }]
    create: [{ role: authenticated, fields: [key, value, stamp], set: { owner: auth.id } }]
    update:
      - { role: authenticated, when: owner == auth.id && !locked, fields: [value, owner, locked, stamp] }
      - { role: editor, when: locked, fields: [value, stamp], check: value > old.value }
    delete: [{ role: authenticated, when: owner == auth.id && !locked }]
  tasks:
    read: [{ role: authenticated }]
    create: [{ role: authenticated, fields: [id, parent, stamp], check: parent == null || !parent.locked }]
    update:
      - { role: authenticated, fields: [parent, stamp], check: parent == null || !parent.locked }
      - { role: editor, fields: [locked, stamp] }
",
    ),
];

const ACCOUNT: &str = "
create schema account;
create table account.changes (
    seq bigint generated always as identity, collection text not null, op text not null, old jsonb, new jsonb
);
create function account.note() returns trigger language plpgsql security definer as $$
begin
    insert into account.changes (collection, op, old, new) values (
        tg_table_name, tg_op,
        case when tg_op <> 'INSERT' then to_jsonb(old) end, case when tg_op <> 'DELETE' then to_jsonb(new) end
    );
    return null;
end
$$;
";

/// What the database says happened.
#[derive(Debug)]
struct Change {
    collection: String,
    op: String,
    old: Value,
    new: Value,
}

/// Who did it: an id and the roles beside `authenticated`.
#[derive(Clone, Debug)]
struct Actor {
    id: String,
    roles: &'static [&'static str],
}

impl Actor {
    fn is(&self, role: &str) -> bool {
        self.roles.contains(&role)
    }
}

/// What a caller did and was told.
#[derive(Debug)]
struct Told {
    actor: Actor,
    stamp: String,
    delete: bool,
    /// What the request's filter asked of the row that it was to change.
    asked: Option<(&'static str, Value)>,
    status: u16,
    /// The records that the answer holds.
    rows: Vec<Value>,
    code: String,
}

/// The fields of a change that differ, apart from those that the tables keep themselves.
fn changed(change: &Change) -> Vec<&str> {
    let new = change.new.as_object().unwrap();
    let differs = |(name, value): &(&String, &Value)| {
        change.old[name.as_str()] != **value && name.as_str() != "updated_at"
    };
    new.iter().filter(differs).map(|(name, _)| name.as_str()).collect()
}

/// The policies again, as somebody else would write them down.
fn lawful(change: &Change, actor: &Actor) -> bool {
    let (old, new) = (&change.old, &change.new);
    let only = |fields: &[&str]| changed(change).iter().all(|field| fields.contains(field));
    let mine = |row: &Value, field: &str| row[field] == actor.id.as_str();
    match (change.collection.as_str(), change.op.as_str()) {
        ("singles", "UPDATE") => {
            mine(old, "owner")
                && old["status"] == "draft"
                && new["status"] != "published"
                && only(&["title", "status", "stamp"])
        }
        ("docs", "UPDATE") => {
            let author = mine(old, "author")
                && old["status"] == "draft"
                && new["status"] != "published"
                && only(&["title", "status", "stamp"]);
            let editor = actor.is("editor")
                && old["status"] == "review"
                && new["status"] != "review"
                && mine(new, "reviewer")
                && only(&["status", "stamp", "reviewer"]);
            let admin = actor.is("admin")
                && new["version"].as_i64() == old["version"].as_i64().map(|version| version + 1)
                && only(&["version", "stamp"]);
            author || editor || admin
        }
        ("boards", "UPDATE") => (old["open"] == true || mine(old, "owner")) && only(&["stamp"]),
        ("boards", "DELETE") => old["open"] == true || mine(old, "owner"),
        ("claims" | "pledges", "INSERT") => mine(new, "owner") && new["locked"] != true,
        ("claims", "UPDATE") => mine(old, "owner") && only(&["value", "owner", "stamp"]),
        ("claims", "DELETE") => mine(old, "owner"),
        ("pledges", "UPDATE") => {
            let owner =
                mine(old, "owner") && old["locked"] == false && only(&["value", "owner", "locked", "stamp"]);
            let editor = actor.is("editor")
                && old["locked"] == true
                && new["value"].as_i64() > old["value"].as_i64()
                && only(&["value", "stamp"]);
            owner || editor
        }
        ("pledges", "DELETE") => mine(old, "owner") && old["locked"] == false,
        // Not serialised against a parent that is locked at the same moment; judged where nobody else writes.
        ("tasks", "INSERT") => new["locked"] == false,
        ("tasks", "UPDATE") => {
            only(&["parent", "stamp"]) || (actor.is("editor") && only(&["locked", "stamp"]))
        }
        _ => false,
    }
}

/// Compares what happened with what may happen and with what the callers were told.
fn violations(changes: &[Change], told: &[Told]) -> Vec<String> {
    let mut found = Vec::new();
    let by_stamp: HashMap<&str, &Told> = told.iter().map(|told| (told.stamp.as_str(), told)).collect();
    let mut deleted_by: HashMap<&str, Vec<&Told>> = HashMap::new();
    for told in told.iter().filter(|told| told.delete) {
        for row in &told.rows {
            deleted_by.entry(row["id"].as_str().unwrap()).or_default().push(told);
        }
    }
    let mut happened: HashMap<&str, usize> = HashMap::new();
    for change in changes {
        let actor = if change.op == "DELETE" {
            match deleted_by.get(change.old["id"].as_str().unwrap()).map(Vec::as_slice) {
                Some([told]) => *told,
                several => {
                    found.push(format!("deleted once, told to {several:?}: {change:?}"));
                    continue;
                }
            }
        } else {
            let stamp = change.new["stamp"].as_str().unwrap();
            if stamp.starts_with("stage") {
                continue;
            }
            let Some(told) = by_stamp.get(stamp) else {
                found.push(format!("nobody did this: {change:?}"));
                continue;
            };
            told
        };
        *happened.entry(&actor.stamp).or_default() += 1;
        if let Some((field, value)) = &actor.asked
            && change.old[field] != *value
        {
            found.push(format!("the filter asked for {field} = {value}: {change:?}"));
        }
        if !lawful(change, &actor.actor) {
            found.push(format!("{:?} may not do this: {change:?}", actor.actor));
        }
    }
    for told in told {
        let happened = happened.get(told.stamp.as_str()).copied().unwrap_or(0);
        let acknowledged = if (200..300).contains(&told.status) { told.rows.len() } else { 0 };
        if happened != acknowledged {
            found.push(format!("happened {happened} times, acknowledged {acknowledged}: {told:?}"));
        }
        if told.status >= 500 || (told.status >= 400 && !matches!(told.code.as_str(), "42501" | "23505")) {
            found.push(format!("neither done nor refused by a policy: {told:?}"));
        }
    }
    found
}

/// One caller with several connections, and what he was told.
struct Player {
    caller: Caller,
    actor: Actor,
}

impl Player {
    fn new(server: &Server, roles: &'static [&'static str]) -> Player {
        let caller = Caller::user(server, roles);
        let actor = Actor { id: caller.id.clone(), roles };
        Player { caller, actor }
    }

    fn stamp(&self) -> String {
        Uuid::new_v4().to_string()
    }

    fn told(&self, stamp: String, delete: bool, answer: Answer) -> Told {
        let Answer { status, body, .. } = answer;
        let code = body["code"].as_str().unwrap_or_default().to_owned();
        let rows = body.as_array().cloned().unwrap_or_default();
        Told { actor: self.actor.clone(), stamp, delete, asked: None, status, rows, code }
    }

    async fn patch(&self, path: String, mut change: Value) -> Told {
        let stamp = self.stamp();
        change["stamp"] = json!(stamp);
        let answer = self.caller.patch(&format!("{path}&select=id"), "return=representation", change).await;
        self.told(stamp, false, answer)
    }

    /// A change of the rows that still hold a value.
    async fn patch_if(&self, path: String, field: &'static str, value: Value, change: Value) -> Told {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let told = self.patch(format!("{path}&{field}=eq.{text}"), change).await;
        Told { asked: Some((field, value)), ..told }
    }

    /// Several records in one request: all or none.
    async fn upsert_all(&self, collection: &str, keys: &[String], value: i64) -> Told {
        let stamp = self.stamp();
        let records: Value =
            keys.iter().map(|key| json!({ "key": key, "value": value, "stamp": stamp })).collect();
        let path = format!("{collection}?on_conflict=key&select=id");
        let merge = "resolution=merge-duplicates,return=representation";
        let answer = self.caller.post(&path, merge, records).await;
        self.told(stamp, false, answer)
    }

    async fn upsert(&self, collection: &str, mut record: Value) -> Told {
        let stamp = self.stamp();
        record["stamp"] = json!(stamp);
        let path = format!("{collection}?on_conflict=key&select=id,owner");
        let merge = "resolution=merge-duplicates,return=representation";
        let answer = self.caller.post(&path, merge, record).await;
        let told = self.told(stamp, false, answer);
        // It is never skipped: either a record was written or the request was refused.
        assert!(told.rows.len() == 1 || told.status >= 400, "{told:?}");
        told
    }

    /// A new record, of which nothing is to be answered: it may be made together with those of others.
    async fn create(&self, collection: &str, mut record: Value) -> Told {
        let stamp = self.stamp();
        record["stamp"] = json!(stamp);
        let answer = self.caller.post(collection, "return=minimal", record).await;
        let made = answer.status == 201;
        let mut told = self.told(stamp, false, answer);
        told.rows.extend(made.then(|| json!({})));
        told
    }

    async fn delete(&self, path: String) -> Told {
        let answer = self
            .caller
            .send(Method::DELETE, &format!("{path}&select=id"), &[("prefer", "return=representation")], None)
            .await;
        self.told(self.stamp(), true, answer)
    }
}

/// The players of one table; several tables play beside each other.
struct Table {
    stage: Client,
    ada: Player,
    bob: Player,
    eve: Player,
    dan: Player,
    fay: Player,
    dice: Dice,
    told: Vec<Told>,
    figures: BTreeMap<&'static str, u64>,
}

/// What somebody else does to the row while the requests wait for it.
struct Gate {
    change: String,
    commit: bool,
}

impl Dice {
    /// Half of the rounds are left to chance. In the others somebody holds the row, so that all requests have
    /// looked at it when it changes under them.
    fn gate(&mut self, change: impl FnOnce() -> String) -> Option<Gate> {
        if self.one_in(2) {
            return None;
        }
        Some(Gate { change: change(), commit: !self.one_in(4) })
    }
}

impl Table {
    async fn open(server: &Server, database: &Database, dice: Dice) -> Table {
        Table {
            stage: database.connect_owner().await,
            ada: Player::new(server, &[]),
            bob: Player::new(server, &[]),
            eve: Player::new(server, &["editor"]),
            dan: Player::new(server, &["admin"]),
            fay: Player::new(server, &["editor"]),
            dice,
            told: Vec::new(),
            figures: BTreeMap::new(),
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.figures.entry(what).or_default() += 1;
    }

    /// A row to play with.
    async fn row(&self, collection: &str, fields: &str, values: &str) -> String {
        let sql = format!(
            "insert into {collection} ({fields}, stamp) values ({values}, 'stage') returning id::text"
        );
        self.stage.query_one(&sql, &[]).await.unwrap().get(0)
    }

    /// Sends the requests at once.
    async fn race<'t>(
        stage: &Client,
        gate: Option<Gate>,
        requests: Vec<std::pin::Pin<Box<dyn Future<Output = Told> + Send + 't>>>,
    ) -> (Vec<Told>, bool) {
        let Some(gate) = gate else { return (join_all(requests).await, false) };
        stage.batch_execute(&format!("begin; {}", gate.change)).await.unwrap();
        let count = requests.len() as i64;
        let open = async {
            // Those that wait for us, and those that wait for these.
            let waiting = "select count(*) from pg_locks w where not w.granted and (\
                 pg_backend_pid() = any(pg_blocking_pids(w.pid)) or exists (\
                 select 1 from unnest(pg_blocking_pids(w.pid)) b where pg_backend_pid() = any(pg_blocking_pids(b))))";
            let mut first: Option<Instant> = None;
            let started = Instant::now();
            let mut contended = false;
            loop {
                let waiters: i64 = stage.query_one(waiting, &[]).await.unwrap().get(0);
                if waiters > 0 {
                    first.get_or_insert_with(Instant::now);
                    contended = true;
                }
                // Some share a connection and come one after the other, and some are refused without waiting.
                let enough = first.is_some_and(|first| first.elapsed() > Duration::from_millis(15));
                if waiters >= count || enough || started.elapsed() > Duration::from_millis(500) {
                    break;
                }
                tokio::task::yield_now().await;
            }
            stage.batch_execute(if gate.commit { "commit" } else { "rollback" }).await.unwrap();
            contended
        };
        futures_util::future::join(join_all(requests), open).await
    }

    async fn play(&mut self) {
        let kind = self.dice.below(11);
        let (ada, bob, eve) =
            (self.ada.actor.id.clone(), self.bob.actor.id.clone(), self.eve.actor.id.clone());
        let (told, contended) = match kind {
            // One rule: what is in review is nobody's to retitle, however early one looked.
            0 => {
                let id = self.row("singles", "owner", &format!("'{ada}'")).await;
                let path = format!("singles?id=eq.{id}");
                let gate = self.dice.gate(|| {
                    format!("update singles set status = 'published', stamp = 'stage' where id = '{id}'")
                });
                Self::race(
                    &self.stage,
                    gate,
                    vec![
                        Box::pin(self.ada.patch(path.clone(), json!({ "status": "review" }))),
                        Box::pin(self.ada.patch(path.clone(), json!({ "title": "late" }))),
                        Box::pin(self.bob.patch(path, json!({ "title": "not mine" }))),
                    ],
                )
                .await
            }
            // Several rules: each of the three roles moves the record on by its own.
            1 | 2 => {
                let status = if self.dice.one_in(2) { "draft" } else { "review" };
                let id = self.row("docs", "author, status", &format!("'{ada}', '{status}'")).await;
                let path = format!("docs?id=eq.{id}");
                let next = if self.dice.one_in(2) { "draft" } else { "published" };
                let gate = self.dice.gate(|| {
                    format!("update docs set status = '{next}', version = version + 1, stamp = 'stage' where id = '{id}'")
                });
                let publish = if self.dice.one_in(2) { "published" } else { "draft" };
                let mut requests: Vec<std::pin::Pin<Box<dyn Future<Output = Told> + Send + '_>>> = vec![
                    Box::pin(self.ada.patch(path.clone(), json!({ "status": "review", "title": "done" }))),
                    Box::pin(self.eve.patch(path.clone(), json!({ "status": publish }))),
                    Box::pin(self.dan.patch(path.clone(), json!({ "version": 2 }))),
                ];
                if kind == 2 {
                    requests.push(Box::pin(self.dan.patch(path.clone(), json!({ "version": 2 }))));
                    requests.push(Box::pin(self.ada.patch(path, json!({ "title": "again" }))));
                }
                Self::race(&self.stage, gate, requests).await
            }
            // What may no longer be read is not updated or deleted either.
            3 => {
                let id = self.row("boards", "owner", &format!("'{ada}'")).await;
                let path = format!("boards?id=eq.{id}");
                let gate = self
                    .dice
                    .gate(|| format!("update boards set open = false, stamp = 'stage' where id = '{id}'"));
                Self::race(
                    &self.stage,
                    gate,
                    vec![
                        Box::pin(self.bob.patch(path.clone(), json!({}))),
                        Box::pin(self.ada.patch(path.clone(), json!({}))),
                        Box::pin(self.bob.delete(path)),
                    ],
                )
                .await
            }
            // A record is given away while both write it by its key, and while both would delete it.
            4 | 5 => {
                let collection = if kind == 4 { "claims" } else { "pledges" };
                let key = Uuid::new_v4().to_string();
                let id = self.row(collection, "key, value, owner", &format!("'{key}', 1, '{ada}'")).await;
                let path = format!("{collection}?id=eq.{id}");
                let lock = kind == 5 && self.dice.one_in(2);
                let gate = self.dice.gate(|| {
                    let locked = if lock { ", locked = true" } else { "" };
                    format!(
                        "update {collection} set owner = '{eve}', stamp = 'stage'{locked} where id = '{id}'"
                    )
                });
                let record = json!({ "key": key, "value": 5 });
                let mut requests: Vec<std::pin::Pin<Box<dyn Future<Output = Told> + Send + '_>>> = vec![
                    Box::pin(self.ada.patch(path.clone(), json!({ "owner": bob }))),
                    Box::pin(self.ada.upsert(collection, record.clone())),
                    Box::pin(self.bob.upsert(collection, record.clone())),
                ];
                match self.dice.below(3) {
                    0 => requests.push(Box::pin(self.ada.delete(path))),
                    1 => {
                        requests.push(Box::pin(self.ada.delete(path.clone())));
                        requests.push(Box::pin(self.bob.delete(path)));
                    }
                    _ => requests.push(Box::pin(self.eve.upsert(collection, record))),
                }
                Self::race(&self.stage, gate, requests).await
            }
            // A fresh key: one creates, the others update what is theirs or are refused. One rule speaks for the
            // callers of the first kind, and several for those of the second.
            6 => {
                let several = self.dice.one_in(2);
                let collection = if several { "pledges" } else { "claims" };
                let (one, other) = if several { (&self.eve, &self.fay) } else { (&self.ada, &self.bob) };
                let owner = one.actor.id.clone();
                let key = Uuid::new_v4().to_string();
                let mut locked = several && self.dice.one_in(2);
                let gate = self.dice.gate(|| {
                    let (also, value) = if locked { (", locked", ", true") } else { ("", "") };
                    format!(
                        "insert into {collection} (key, value, owner, stamp{also}) \
                         values ('{key}', 2, '{owner}', 'stage'{value})"
                    )
                });
                locked &= gate.as_ref().is_some_and(|gate| gate.commit);
                let record = |value: i64| json!({ "key": key, "value": value });
                let (told, contended) = Self::race(
                    &self.stage,
                    gate,
                    vec![
                        Box::pin(one.upsert(collection, record(1))),
                        Box::pin(one.upsert(collection, record(2))),
                        Box::pin(other.upsert(collection, record(3))),
                    ],
                )
                .await;
                let owner: String = self
                    .stage
                    .query_one(&format!("select owner::text from {collection} where key = $1"), &[&key])
                    .await
                    .unwrap()
                    .get(0);
                if locked {
                    // It may only grow, whoever asks.
                    let done: Vec<bool> = told.iter().map(|told| told.status < 300).collect();
                    assert_eq!(done, [false, false, true], "{told:?}");
                } else {
                    for told in &told {
                        assert_eq!(told.status < 300, told.actor.id == owner, "owner {owner}: {told:?}");
                    }
                }
                let new = told.iter().filter(|told| told.status == 201).count();
                let staged: i64 = self
                    .stage
                    .query_one(
                        "select count(*) from account.changes where collection = $1 and op = 'INSERT' \
                         and new ->> 'key' = $2 and new ->> 'stamp' = 'stage'",
                        &[&collection, &key],
                    )
                    .await
                    .unwrap()
                    .get(0);
                assert_eq!(new as i64 + staged, 1, "created more than once: {told:?}");
                (told, contended)
            }
            // Compare and swap: of those who saw the same version one wins.
            7 => {
                let id = self.row("docs", "author", &format!("'{ada}'")).await;
                let path = format!("docs?id=eq.{id}");
                let gate = self
                    .dice
                    .gate(|| format!("update docs set version = 2, stamp = 'stage' where id = '{id}'"));
                let one = json!(1);
                let (told, contended) = Self::race(
                    &self.stage,
                    gate,
                    vec![
                        Box::pin(self.dan.patch_if(
                            path.clone(),
                            "version",
                            one.clone(),
                            json!({ "version": 2 }),
                        )),
                        Box::pin(self.dan.patch_if(
                            path.clone(),
                            "version",
                            one.clone(),
                            json!({ "version": 2 }),
                        )),
                        Box::pin(self.ada.patch_if(path, "version", one, json!({ "title": "first" }))),
                    ],
                )
                .await;
                let won = told.iter().filter(|told| told.actor.is("admin") && !told.rows.is_empty()).count();
                assert!(won <= 1, "{told:?}");
                (told, contended)
            }
            // Many records in one request, some of them given away meanwhile: all of them are written or none.
            8 => {
                let collection = if self.dice.one_in(2) { "claims" } else { "pledges" };
                let keys: Vec<String> = (0..3).map(|_| Uuid::new_v4().to_string()).collect();
                let mut ids = Vec::new();
                // The last key is fresh.
                for key in &keys[..2] {
                    ids.push(
                        self.row(collection, "key, value, owner", &format!("'{key}', 1, '{ada}'")).await,
                    );
                }
                let gate = self.dice.gate(|| {
                    format!(
                        "update {collection} set owner = '{eve}', stamp = 'stage' where id = '{}'",
                        ids[1]
                    )
                });
                let rows = format!("{collection}?id=in.({},{})", ids[0], ids[1]);
                // Now and then in the other order: each then waits for the other until Postgres undoes one.
                let again: Vec<String> =
                    if self.dice.one_in(8) { keys.iter().rev().cloned().collect() } else { keys.clone() };
                let (told, contended) = Self::race(
                    &self.stage,
                    gate,
                    vec![
                        Box::pin(self.ada.upsert_all(collection, &keys, 2)),
                        Box::pin(self.ada.upsert_all(collection, &again, 3)),
                        Box::pin(self.bob.upsert_all(collection, &keys, 4)),
                        Box::pin(self.ada.patch(rows, json!({ "value": 9 }))),
                    ],
                )
                .await;
                for told in &told[..3] {
                    assert!(told.rows.len() == if told.status < 300 { 3 } else { 0 }, "{told:?}");
                }
                assert!(told[2].rows.is_empty(), "{told:?}");
                (told, contended)
            }
            // Many new records at once, which share statements: of those with one key one is made, what a policy
            // refuses is not, and neither takes a good one with it.
            9 => {
                let collection = if self.dice.one_in(2) { "claims" } else { "pledges" };
                let keys: Vec<String> = (0..8).map(|_| Uuid::new_v4().to_string()).collect();
                let gate = self.dice.gate(|| {
                    format!(
                        "insert into {collection} (key, value, owner, stamp) values ('{}', 1, '{eve}', 'stage')",
                        keys[0]
                    )
                });
                let taken = gate.as_ref().is_some_and(|gate| gate.commit);
                let players = [&self.ada, &self.bob, &self.eve, &self.dan];
                let rival = self.dice.one_in(2);
                let mut requests: Vec<std::pin::Pin<Box<dyn Future<Output = Told> + Send + '_>>> = Vec::new();
                for (at, key) in keys.iter().enumerate() {
                    let record = json!({ "key": key, "value": at });
                    requests.push(Box::pin(players[at % 4].create(collection, record.clone())));
                    if rival && at < 2 {
                        requests.push(Box::pin(players[(at + 1) % 4].create(collection, record)));
                    }
                }
                if self.dice.one_in(2) {
                    let record = json!({ "key": Uuid::new_v4().to_string(), "value": 0, "owner": ada });
                    requests.push(Box::pin(self.bob.create(collection, record)));
                }
                let (told, contended) = Self::race(&self.stage, gate, requests).await;
                let made = told.iter().filter(|told| told.status == 201).count();
                let expected = keys.len() - usize::from(taken);
                assert_eq!(made, expected, "{told:?}");
                (told, contended)
            }
            // A condition on the written collection itself: judged by what stands when the statement runs.
            _ => {
                let parent = self.row("tasks", "locked", "false").await;
                let child = Uuid::new_v4().to_string();
                let lock = self.eve.patch(format!("tasks?id=eq.{parent}"), json!({ "locked": true }));
                let stamp = self.ada.stamp();
                let body = json!({ "id": child, "parent": parent, "stamp": stamp });
                let create = async {
                    let answer = self.ada.caller.post("tasks?select=id", "return=representation", body).await;
                    self.ada.told(stamp, false, answer)
                };
                let (mut told, contended) =
                    Self::race(&self.stage, None, vec![Box::pin(lock), Box::pin(create)]).await;
                // Nobody else writes now, and the parent is locked.
                let stamp = self.ada.stamp();
                let late = json!({ "id": Uuid::new_v4().to_string(), "parent": parent, "stamp": stamp });
                let answer = self.ada.caller.post("tasks?select=id", "return=representation", late).await;
                assert_eq!(answer.status, 403, "{}", answer.body);
                told.push(self.ada.told(stamp, false, answer));
                let free = self.row("tasks", "locked", "false").await;
                let moved = self.ada.patch(format!("tasks?id=eq.{free}"), json!({ "parent": parent })).await;
                assert_eq!(moved.status, 403, "{moved:?}");
                told.push(moved);
                (told, contended)
            }
        };
        self.count("rounds");
        if contended {
            self.count("contended");
        }
        for told in told {
            self.count("requests");
            self.count(match told.status {
                200..300 if told.rows.is_empty() => "untouched",
                200..300 => "done",
                _ => "refused",
            });
            self.told.push(told);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_write_is_judged_by_a_row_that_is_no_longer_there() {
    let rounds: u64 = if long() { 10_000 } else { 600 };
    let seed = seed();
    let database = database().await;
    let folder = Folder::with(PROJECT);
    let server = Server::dev(&folder.0, &folder.join("data"), &database.urls);
    let owner = database.connect_owner().await;
    owner.batch_execute(ACCOUNT).await.unwrap();
    for collection in ["singles", "docs", "boards", "claims", "pledges", "tasks"] {
        let sql = format!(
            "create trigger account after insert or update or delete on {collection} \
             for each row execute function account.note()"
        );
        owner.batch_execute(&sql).await.unwrap();
    }
    const TABLES: u64 = 3;
    let mut tables = Vec::new();
    for n in 0..TABLES {
        tables.push(Table::open(&server, &database, Dice(seed.wrapping_add(n))).await);
    }
    let played = join_all(tables.into_iter().map(|mut table| {
        tokio::spawn(async move {
            for _ in 0..rounds.div_ceil(TABLES) {
                table.play().await;
            }
            table
        })
    }))
    .await;
    let mut told = Vec::new();
    let mut figures: BTreeMap<&str, u64> = BTreeMap::new();
    for table in played {
        let table = table.unwrap();
        for (what, count) in table.figures {
            *figures.entry(what).or_default() += count;
        }
        told.extend(table.told);
    }
    let rows = owner
        .query("select collection, op, old::text, new::text from account.changes order by seq", &[])
        .await
        .unwrap();
    let row = |text: Option<String>| text.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap());
    let changes: Vec<Change> = rows
        .iter()
        .map(|entry| Change {
            collection: entry.get(0),
            op: entry.get(1),
            old: row(entry.get(2)),
            new: row(entry.get(3)),
        })
        .collect();
    let found = violations(&changes, &told);
    for violation in found.iter().take(10) {
        println!("{violation}");
    }
    // Records of several requests that one transaction made.
    let shared: i64 = owner
        .query_one(
            "select count(*) from (select from account.changes where op = 'INSERT' and new ->> 'stamp' <> 'stage'
             group by xmin::text having count(distinct new ->> 'stamp') > 1) together",
            &[],
        )
        .await
        .unwrap()
        .get(0);
    assert!(shared > 0, "no two records were made together");
    figures.insert("shared", shared as u64);
    let figures = figures.iter().map(|(what, count)| format!("{what}={count}")).collect::<Vec<_>>().join(" ");
    let verdict = if found.is_empty() { "PASS" } else { "FAIL" };
    println!("{verdict} races {figures} changes={} violations={}", changes.len(), found.len());
    assert!(found.is_empty(), "see above; BASEWRIGHT_SEED={seed}\n{}", server.log());
}

#[test]
fn the_judge_of_the_races_sees_what_must_not_be() {
    let ada = Actor { id: "ada".to_owned(), roles: &[] };
    let told = |stamp: &str, status: u16, rows: Vec<Value>| Told {
        actor: ada.clone(),
        stamp: stamp.to_owned(),
        delete: false,
        asked: None,
        status,
        rows,
        code: "42501".to_owned(),
    };
    let doc = |status: &str, title: &str, stamp: &str| json!({ "id": "1", "author": "ada", "status": status, "title": title, "version": 1, "stamp": stamp, "reviewer": null });
    let change =
        |old: Value, new: Value| Change { collection: "docs".to_owned(), op: "UPDATE".to_owned(), old, new };
    let count = |changes: &[Change], told: &[Told]| violations(changes, told).len();
    let good = [change(doc("draft", "a", "stage"), doc("review", "b", "s1"))];
    assert_eq!(count(&good, &[told("s1", 200, vec![json!({ "id": "1" })])]), 0);
    // Acknowledged and not done, done and refused, done by nobody, done to a row that was not his to change.
    assert_eq!(count(&[], &[told("s1", 200, vec![json!({ "id": "1" })])]), 1);
    assert_eq!(count(&good, &[told("s1", 403, vec![])]), 1);
    assert_eq!(count(&good, &[]), 1);
    let late = [change(doc("review", "a", "stage"), doc("review", "b", "s1"))];
    assert_eq!(count(&late, &[told("s1", 200, vec![json!({ "id": "1" })])]), 1);
    assert_eq!(count(&[], &[told("s1", 500, vec![])]), 1);
    let row = vec![json!({ "id": "1" })];
    let asked =
        |version: i64| Told { asked: Some(("version", json!(version))), ..told("s1", 200, row.clone()) };
    assert_eq!(count(&good, &[asked(1)]), 0);
    assert_eq!(count(&good, &[asked(2)]), 1);
}
