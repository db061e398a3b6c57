//! The project, its database with the ledger beside it, and who listens to what.

use std::path::Path;

use basewright::db::{Embedded, Session, Target, Urls};
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

use super::judge::{Entry, Ledger};
use crate::support::server::Folder;

pub const PROJECT: &[(&str, &str)] = &[
    ("basewright.yaml", "limits: { rows: 50000 }\n"),
    (
        "collections/all.yaml",
        "collections:
  rooms:
    fields:
      name: { type: text, required: true }
  members:
    fields:
      room: { type: relation, to: rooms, required: true, on_delete: cascade }
      user: { type: uuid, required: true }
  items:
    fields:
      owner: { type: uuid, required: true, default: auth.id }
      room: { type: relation, to: rooms }
      state: { type: text, required: true }
      rank: { type: integer, required: true }
      amount: { type: integer, required: true }
      note: text
      secret: text
      pad: text
",
    ),
    (
        "policies/all.yaml",
        "roles:
  editor: { inherits: [authenticated] }
policies:
  items:
    read:
      - { role: anon, when: state == 'open', fields: { except: [note, secret] } }
      - { role: authenticated, when: owner == auth.id, fields: { except: [secret] } }
      - { role: authenticated, when: 'room.members.exists(m, m.user == auth.id)', fields: { except: [note, secret] } }
      - { role: editor }
    create: [{ role: authenticated, check: owner == auth.id }]
    update: [{ role: authenticated, when: owner == auth.id }]
    delete: [{ role: authenticated, when: owner == auth.id }]
",
    ),
];

const DATABASE: &str = "campaign";

/// Keeps every committed version of every row with its transaction. What it is told is told inside the transaction,
/// so that it holds exactly what was committed; the order of the commits is asked of the WAL at the end, through a slot
/// that has nothing to do with the one of the server.
const LEDGER: &str = "
create schema audit;
create table audit.ledger (
    seq bigint generated always as identity primary key,
    xid bigint not null,
    what text not null,
    old jsonb,
    new jsonb
);
create sequence audit.amounts as integer;
create function audit.keep() returns trigger language plpgsql security definer set timezone = 'UTC' as $$
begin
    insert into audit.ledger (xid, what, old, new) values (
        pg_current_xact_id()::text::bigint, tg_table_name,
        case when tg_op <> 'INSERT' then to_jsonb(old) end,
        case when tg_op <> 'DELETE' then to_jsonb(new) end
    );
    return null;
end $$;
create trigger keep after insert or update or delete on public.items for each row execute function audit.keep();
create trigger keep after insert or update or delete on public.members for each row execute function audit.keep();
create publication audit for table audit.ledger";

/// Rooms whose members change while all goes on, and those whose do not.
pub const MOVING: usize = 2;
pub const ROOMS: usize = 5;
pub const USERS: usize = 6;

/// The database of one run, in a Postgres of its own: it is going to be killed.
pub struct World {
    pub cluster: Embedded,
    pub urls: Urls,
    pub folder: Folder,
    pub rooms: Vec<Uuid>,
    pub users: Vec<Uuid>,
}

impl World {
    pub async fn new() -> World {
        let folder = Folder::with(PROJECT);
        let data = folder.join("cluster");
        let start =
            move || Embedded::start(&data, Some(Path::new(env!("CARGO_BIN_EXE_basewright")))).unwrap();
        let cluster = tokio::task::spawn_blocking(start).await.unwrap();
        let postgres = connect(&cluster.admin_url("postgres")).await.unwrap();
        postgres
            .batch_execute(&format!("create database {DATABASE} owner basewright_migrate"))
            .await
            .unwrap();
        let grant =
            format!("grant connect on database {DATABASE} to basewright_runtime, basewright_replication");
        postgres.batch_execute(&grant).await.unwrap();
        let ids = |count: usize| (0..count).map(|_| Uuid::new_v4()).collect();
        World { urls: cluster.urls_of(DATABASE), cluster, folder, rooms: ids(ROOMS), users: ids(USERS) }
    }

    /// Where a superuser connects.
    pub fn admin_url(&self) -> String {
        self.cluster.admin_url(DATABASE)
    }

    /// Once the server has made its tables: the ledger, the rooms, and who is in them at first.
    pub async fn furnish(&self) {
        let admin = connect(&self.admin_url()).await.unwrap();
        admin.batch_execute(LEDGER).await.unwrap();
        admin.batch_execute("select pg_create_logical_replication_slot('audit', 'pgoutput')").await.unwrap();
        for (at, room) in self.rooms.iter().enumerate() {
            let insert = format!("insert into rooms (id, name) values ('{room}', 'room {at}')");
            admin.batch_execute(&insert).await.unwrap();
            for user in self.users.iter().skip(at % 2).step_by(2) {
                let insert = format!("insert into members (room, \"user\") values ('{room}', '{user}')");
                admin.batch_execute(&insert).await.unwrap();
            }
        }
    }

    /// All that was committed, in the order of the commits.
    pub async fn ledger(&self) -> Ledger {
        let admin = connect(&self.admin_url()).await.unwrap();
        let begins = admin
            .query(
                "select data from pg_logical_slot_peek_binary_changes('audit', null, null, \
                 'proto_version', '1', 'publication_names', 'audit')",
                &[],
            )
            .await
            .unwrap();
        // Begin: the letter, the position of the commit, its time, and the transaction.
        let order = begins.iter().filter_map(|row| {
            let data: &[u8] = row.get(0);
            let [b'B', _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, xid @ ..] = data else { return None };
            Some(i64::from(u32::from_be_bytes(xid.try_into().unwrap())))
        });
        let rows = admin
            .query("select xid, what, old::text, new::text from audit.ledger order by seq", &[])
            .await
            .unwrap();
        let json = |text: Option<String>| text.map(|text| serde_json::from_str::<Value>(&text).unwrap());
        let entries = rows.iter().map(|row| Entry {
            xid: row.get(0),
            table: row.get(1),
            old: json(row.get(2)),
            new: json(row.get(3)),
        });
        Ledger::new(order, entries)
    }
}

/// A connection as a superuser.
pub async fn connect(url: &str) -> Result<Client, String> {
    let target = Target::parse(url, &Session::migrating()).unwrap();
    target.connect().await.map_err(|error| format!("{error:?}"))
}

/// As whom somebody listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Anonymous,
    User(Uuid),
    Editor,
}

/// What a filter says of a record as its owner sees it.
type Holds = Box<dyn Fn(&Value) -> bool + Send + Sync>;

/// Somebody who listens, and what the rules let him see.
pub struct Listener {
    pub name: String,
    pub who: Who,
    pub operation: Option<&'static str>,
    pub filter: Option<(String, Holds)>,
    pub select: Option<&'static [&'static str]>,
}

impl Listener {
    fn new(name: String, who: Who) -> Listener {
        Listener { name, who, operation: None, filter: None, select: None }
    }

    fn only(self, operation: &'static str) -> Listener {
        Listener { operation: Some(operation), ..self }
    }

    fn filtered(self, text: &str, holds: impl Fn(&Value) -> bool + Send + Sync + 'static) -> Listener {
        Listener { filter: Some((text.to_owned(), Box::new(holds))), ..self }
    }

    fn selecting(self, fields: &'static [&'static str]) -> Listener {
        Listener { select: Some(fields), ..self }
    }

    /// The binding as it is asked for.
    pub fn binding(&self) -> Value {
        let mut binding =
            json!({ "event": self.operation.unwrap_or("*"), "schema": "public", "table": "items" });
        if let Some((filter, _)) = &self.filter {
            binding["filter"] = filter.as_str().into();
        }
        if let Some(select) = self.select {
            binding["select"] = json!(select);
        }
        binding
    }

    /// The read whose answer his list is.
    pub fn path(&self) -> String {
        let mut path = "items?".to_owned();
        if let Some((filter, _)) = &self.filter {
            // The commas of a list of values stand between none of the conditions.
            path += &if filter.contains('(') { filter.clone() } else { filter.replace(',', "&") };
        }
        if let Some(select) = self.select {
            path += &format!("&select=id,{}", select.join(","));
        }
        path
    }

    /// The row as it is seen, if it is. `member`: of the row's room.
    pub fn sees(&self, row: &Value, member: bool) -> Option<Value> {
        let open = row["state"] == "open";
        let mut record = row.clone();
        let fields = record.as_object_mut().unwrap();
        let visible = match self.who {
            Who::Anonymous => {
                fields.remove("note");
                fields.remove("secret");
                open
            }
            Who::User(user) => {
                let owns = row["owner"] == user.to_string().as_str();
                if !owns {
                    fields["note"] = Value::Null;
                }
                fields.remove("secret");
                owns || open || member
            }
            Who::Editor => true,
        };
        if !visible || !self.filter.as_ref().is_none_or(|(_, holds)| holds(&record)) {
            return None;
        }
        if let Some(select) = self.select {
            let fields = record.as_object_mut().unwrap();
            fields.retain(|name, _| name == "id" || select.contains(&name.as_str()));
        }
        Some(record)
    }
}

/// Twenty listeners of every sort.
pub fn listeners(world: &World) -> Vec<Listener> {
    let rank = |record: &Value| record["rank"].as_i64().unwrap();
    let mut all = vec![
        Listener::new("anon".to_owned(), Who::Anonymous),
        Listener::new("anon inserts".to_owned(), Who::Anonymous).only("INSERT"),
        Listener::new("anon updates of 30 and more".to_owned(), Who::Anonymous)
            .only("UPDATE")
            .filtered("rank=gte.30", move |record| rank(record) >= 30),
        Listener::new("anon, few fields".to_owned(), Who::Anonymous).selecting(&["amount", "state"]),
        Listener::new("editor".to_owned(), Who::Editor),
        Listener::new("editor of secrets".to_owned(), Who::Editor).filtered("secret=like.a*", |record| {
            record["secret"].as_str().is_some_and(|s| s.starts_with('a'))
        }),
        Listener::new("editor of what is not open".to_owned(), Who::Editor)
            .filtered("state=neq.open,rank=lt.70", move |record| {
                record["state"] != "open" && rank(record) < 70
            }),
        Listener::new("editor of deletes".to_owned(), Who::Editor).only("DELETE"),
    ];
    for (at, user) in world.users.iter().enumerate() {
        let (name, own) = (format!("user {at}"), user.to_string());
        let who = Who::User(*user);
        all.push(Listener::new(name.clone(), who));
        all.push(match at % 3 {
            0 => Listener::new(format!("{name} of his own"), who)
                .filtered(&format!("owner=eq.{own}"), move |record| record["owner"] == own.as_str()),
            // A masked note is null.
            1 => Listener::new(format!("{name} without notes"), who)
                .filtered("note=is.null", |record| record["note"].is_null()),
            _ => Listener::new(format!("{name} of few ranks"), who)
                .filtered("rank=in.(1,2,3,5,8,13,21,34,55,89)", move |record| {
                    [1, 2, 3, 5, 8, 13, 21, 34, 55, 89].contains(&rank(record))
                })
                .selecting(&["amount", "note"]),
        });
    }
    all
}

/// Nobody in particular, who wants everything.
pub fn everybody() -> Listener {
    Listener::new("anon".to_owned(), Who::Anonymous)
}
