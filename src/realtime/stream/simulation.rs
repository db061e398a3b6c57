//! A thousand worlds: random transactions over messages and memberships, subscribers with random rights and filters who
//! fall behind, catch up, leave and come back, held against what the rules say of each commit.
//!
//! Safety: nobody is told what he may not see at the commit. Catching up: whoever is asked for at the end has been told
//! everything that he may see, in order, once.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value as Json;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::*;
use crate::condition::{Env, Rows};
use crate::db::Session;
use crate::model::{Action, Collection, CollectionId, FieldId, Principal};
use crate::policy::{Decision, Permit};
use crate::project::{self, Sources};
use crate::query::plan::Context;
use crate::realtime::change::{self, Change, Relation, What};
use crate::realtime::filter::Filter;
use crate::realtime::line::{Binding, Operation};
use crate::realtime::transaction::{Changes, Transaction};

const SEEDS: u64 = 1_000;
const STEPS: usize = 40;

const PROJECT: &str = "
roles: { editor: { inherits: [authenticated] } }
collections:
  messages:
    timestamps: false
    fields: { room: text, author: uuid, status: text, note: text }
  members:
    timestamps: false
    fields: { room: text, account: uuid }
policies:
  messages:
    read:
      - { role: anon, when: \"status == 'public'\", fields: { except: [note] } }
      - { role: authenticated, when: author == auth.id }
      - { role: authenticated, when: 'members.exists(m, m.room == room && m.account == auth.id)', fields: { except: [note] } }
      - { role: editor, when: \"status != 'secret'\" }
  members:
    read: [{ role: authenticated, when: account == auth.id }]
";

/// A small generator of its own: the same seed is the same world.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % end
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<'t, T>(&mut self, list: &'t [T]) -> &'t T {
        &list[self.below(list.len())]
    }
}

type Table = BTreeMap<Uuid, Record>;

#[derive(Clone, Default)]
struct Tables {
    messages: Table,
    members: Table,
}

/// One binding of one channel, and the client behind it.
struct Client {
    place: Place,
    principal: Arc<Principal>,
    binding: Binding,
    permit: Permit,
    filter: Option<Filter>,
    known: FieldSet,
    /// It may fall behind and come back: what it sees hangs on records alone, so that a replay is what it missed.
    steady: bool,
    joined: bool,
    behind: Option<Cursor>,
    /// The last place that it knows.
    cursor: Cursor,
    got: Vec<(Cursor, Json)>,
    expected: Vec<(Cursor, Json)>,
}

struct World {
    random: Random,
    stream: Stream,
    deliveries: mpsc::Receiver<Delivery>,
    catalog: Arc<Catalog>,
    relations: [Arc<Relation>; 2],
    tables: Tables,
    clients: Vec<Client>,
    users: Vec<Uuid>,
    lsn: u64,
    generation: u32,
}

fn catalog() -> Arc<Catalog> {
    let sources = Sources([("a.yaml".to_owned(), PROJECT.to_owned())].into_iter().collect());
    match project::load(&sources) {
        Ok(project) => Arc::new(project.catalog(1).unwrap()),
        Err(faults) => panic!("{}", project::render(&faults)),
    }
}

fn relation(oid: u32, collection: &Collection) -> Arc<Relation> {
    let columns = collection
        .fields
        .iter()
        .map(|field| change::Column { name: field.name.to_string(), kind: field.kind.oid(), key: true })
        .collect();
    Arc::new(Relation { oid, schema: "public".to_owned(), table: collection.name.to_string(), columns })
}

fn row(record: &Record) -> change::Row {
    let raw = |value: &Value| match value {
        Value::Text(text) => Some(Bytes::copy_from_slice(text.as_bytes())),
        Value::Uuid(id) => Some(Bytes::copy_from_slice(id.as_bytes())),
        _ => None,
    };
    change::Row(record.0.iter().map(raw).collect())
}

fn json(collection: &Collection, record: &Record, shown: &FieldSet, hidden: &FieldSet) -> Json {
    let value = |field: FieldId| match record.get(field) {
        Value::Text(text) if !hidden.contains(field) => Json::from(text.as_str()),
        Value::Uuid(id) if !hidden.contains(field) => Json::from(id.to_string()),
        _ => Json::Null,
    };
    shown.iter().map(|field| (collection.field(field).name.to_string(), value(field))).collect()
}

impl World {
    fn new(seed: u64, catalog: &Arc<Catalog>) -> World {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let feed = Feed::new();
        let (_line, deliveries) = feed.attach();
        let target =
            Target::parse("postgresql://nobody@127.0.0.1:1/none?sslmode=disable", &Session::default())
                .unwrap();
        let config = Config {
            runtime: target.clone(),
            replication: target.clone(),
            node: wal::Node::parse("main").unwrap(),
            observer: Box::new(|_| {}),
        };
        let pool = Pool::open(&target, 1).unwrap();
        let mut stream = Stream::new(Arc::clone(feed.shared()), config, pool, Arc::clone(catalog));
        (stream.system, stream.position, stream.head, stream.virgin) =
            (System { id: 7, timeline: 1 }, 1_000, 0, false);
        let find = |name: &str| catalog.collection(catalog.collections.find(name).unwrap());
        let users = (0..4).map(|_| Uuid::from_u128(random.below(1 << 30) as u128 + 1)).collect();
        World {
            relations: [relation(1, find("messages")), relation(2, find("members"))],
            random,
            stream,
            deliveries,
            catalog: Arc::clone(catalog),
            tables: Tables::default(),
            clients: Vec::new(),
            users,
            lsn: 1_000,
            generation: 0,
        }
    }

    fn collection(&self, name: &str) -> (CollectionId, Arc<Catalog>) {
        (self.catalog.collections.find(name).unwrap(), Arc::clone(&self.catalog))
    }

    fn message(&mut self, id: Uuid) -> Record {
        let text = |random: &mut Random, list: &[&str]| match *random.pick(list) {
            "" => Value::Null,
            text => Value::text(text),
        };
        let author =
            if self.random.one_in(5) { Value::Null } else { Value::Uuid(*self.random.pick(&self.users)) };
        Record(vec![
            Value::Uuid(id),
            text(&mut self.random, &["a", "b", "c", ""]),
            author,
            text(&mut self.random, &["public", "private", "secret", ""]),
            text(&mut self.random, &["x", "y", ""]),
        ])
    }

    fn member(&mut self, id: Uuid) -> Record {
        let room = *self.random.pick(&["a", "b", "c"]);
        Record(vec![Value::Uuid(id), Value::text(room), Value::Uuid(*self.random.pick(&self.users))])
    }

    /// A client with rights and wishes of its own joins, live.
    fn join(&mut self) {
        let user = *self.random.pick(&self.users);
        let (principal, steady) = match self.random.below(4) {
            0 => (Principal::anonymous(), true),
            1 => (Principal::service(), true),
            2 => (Principal::user(user, &[]), false),
            _ => (Principal::user(user, &["editor"]), false),
        };
        let filters =
            ["", "status=eq.public", "room=in.(a,b)", "room=eq.a,status=neq.secret", "author=not.is.null"];
        let filter = *self.random.pick(&filters);
        let operation = *self.random.pick(&[
            None,
            None,
            Some(Operation::Insert),
            Some(Operation::Update),
            Some(Operation::Delete),
        ]);
        let members = !principal.is_anon() && filter.is_empty() && self.random.one_in(4);
        let binding = Binding {
            operation,
            schema: "public".to_owned(),
            table: Some(if members { "members" } else { "messages" }.to_owned()),
            filter: Some(filter.to_owned()),
            select: None,
        };
        let (id, catalog) = self.collection(if members { "members" } else { "messages" });
        let Decision::Permit(permit) = catalog.policies.decide(&principal, Action::Read, id) else {
            panic!("everybody here may read something")
        };
        let context = Context { catalog: &catalog, principal: &principal };
        let filter = (!filter.is_empty()).then(|| Filter::compile(filter, context, &permit).unwrap());
        let known = catalog.collection(id).field_ids().filter(|field| permit.covers(*field)).collect();
        self.generation += 1;
        let channel = ChannelKey { slot: self.clients.len() as u32, generation: self.generation };
        let cursor = self.stream.cursor();
        self.clients.push(Client {
            place: (0, channel),
            principal: Arc::new(principal),
            binding,
            permit,
            filter,
            known,
            steady: steady || members,
            joined: false,
            behind: None,
            cursor,
            got: Vec::new(),
            expected: Vec::new(),
        });
        self.enter(self.clients.len() - 1);
    }

    fn enter(&mut self, at: usize) {
        let (place, principal, binding) = {
            let client = &mut self.clients[at];
            client.joined = true;
            (client.place, Arc::clone(&client.principal), client.binding.clone())
        };
        let compiled = self.stream.audience.subscribe(place, principal, vec![binding]);
        assert!(compiled.refused.is_empty(), "{:?}", compiled.refused);
        let (_, catalog) = self.collection("members");
        for Wanted { family, whose } in compiled.wanted {
            let shape = self.stream.audience.sets.shape(family).unwrap().clone();
            let collection = catalog.collection(shape.collection);
            for record in self.tables.members.values() {
                if Known::of(record.get(shape.field)) == Some(whose.clone()) {
                    let row = row(record);
                    let raw = |field: FieldId| row.0[usize::from(field.0)].as_ref().map(|raw| &raw[..]);
                    self.stream.audience.sets.load(family, key_of(collection, raw), record.clone());
                }
            }
        }
        self.stream.audience.activate(place);
    }

    /// A transaction of a few changes, told to everybody and to the oracle.
    async fn commit(&mut self) {
        let before = self.tables.clone();
        let mut changes = Vec::new();
        for _ in 0..=self.random.below(4) {
            let members = self.random.one_in(3);
            let table = if members { &self.tables.members } else { &self.tables.messages };
            let ids: Vec<Uuid> = table.keys().copied().collect();
            let old =
                if ids.is_empty() || self.random.one_in(3) { None } else { Some(*self.random.pick(&ids)) };
            let id = old.unwrap_or_else(|| Uuid::from_u128(self.random.below(1 << 40) as u128));
            let mut new = if members { self.member(id) } else { self.message(id) };
            let table = if members { &mut self.tables.members } else { &mut self.tables.messages };
            let previous = table.get(&id).cloned();
            // Often one field alone, so that a masked one changes by itself.
            if let Some(previous) = &previous
                && self.random.one_in(2)
            {
                let kept = self.random.below(previous.0.len());
                let value = new.0[kept].clone();
                new = previous.clone();
                new.0[kept] = if kept == 0 { new.0[0].clone() } else { value };
            }
            let what = match (previous, self.random.one_in(3)) {
                (Some(previous), true) => {
                    table.remove(&id);
                    (Some(previous), None)
                }
                (previous, _) => {
                    table.insert(id, new.clone());
                    (previous, Some(new))
                }
            };
            changes.push((members, what));
        }
        self.lsn += 1 + self.random.below(50) as u64;
        let relations = self.relations.clone();
        let written = changes.iter().map(|(members, (old, new))| Change {
            relation: Arc::clone(&relations[usize::from(*members)]),
            what: match (old, new) {
                (None, Some(new)) => What::Insert { new: row(new) },
                (Some(old), Some(new)) => What::Update { old: Some(row(old)), new: row(new) },
                (old, None) => What::Delete { old: old.as_ref().map(row) },
            },
        });
        let transaction = Arc::new(Transaction {
            xid: self.lsn as u32,
            lsn: self.lsn,
            committed: self.lsn as i64,
            changes: Changes::in_memory(written.collect()),
        });
        for (at, (members, (old, new))) in changes.iter().enumerate() {
            let cursor = Cursor { lsn: self.lsn, index: at as u32 + 1, ..self.stream.cursor() };
            for client in 0..self.clients.len() {
                if let Some(event) = self.expect(client, *members, old.as_ref(), new.as_ref(), &before) {
                    self.clients[client].expected.push((cursor, event));
                }
            }
        }
        self.stream.transaction(transaction).await;
        self.take();
    }

    /// What the rules say that a client sees of a change.
    fn expect(
        &self,
        client: usize,
        members: bool,
        old: Option<&Record>,
        new: Option<&Record>,
        before: &Tables,
    ) -> Option<Json> {
        let client = &self.clients[client];
        let (id, catalog) = self.collection(if members { "members" } else { "messages" });
        let collection = catalog.collection(id);
        if client.binding.table.as_deref() != Some(collection.name.as_str()) {
            return None;
        }
        let Client { permit, filter, known, .. } = client;
        let sees = |record: Option<&Record>, tables: &Tables| -> Option<FieldSet> {
            let record = record?;
            let mut rows = Rows::default();
            let (members, _) = self.collection("members");
            rows.0.insert(members, tables.members.values().cloned().collect());
            let env = Env {
                collections: &catalog.collections,
                record,
                old: None,
                principal: &client.principal,
                now: 0,
                captures: &[],
                rows: &rows,
            };
            if permit.when().is_some_and(|when| when.evaluate(&env) != Some(true)) {
                return None;
            }
            let hidden: FieldSet = known
                .iter()
                .filter(|field| permit.mask(*field).is_some_and(|mask| mask.evaluate(&env) != Some(true)))
                .collect();
            filter
                .as_ref()
                .is_none_or(|filter| filter.holds(record, |field| hidden.contains(field)))
                .then_some(hidden)
        };
        let (was, is) = (sees(old, before), sees(new, &self.tables));
        let show = |record: Option<&Record>, hidden: &Option<FieldSet>| {
            hidden.as_ref().zip(record).map(|(hidden, record)| json(collection, record, known, hidden))
        };
        let (was, is) = (show(old, &was), show(new, &is));
        let operation = match (&was, &is) {
            (None, None) => return None,
            (None, Some(_)) => Operation::Insert,
            (Some(_), None) => Operation::Delete,
            (Some(was), Some(is)) if was == is => return None,
            (Some(_), Some(_)) => Operation::Update,
        };
        if client.binding.operation.is_some_and(|asked| asked != operation) {
            return None;
        }
        Some(serde_json::json!({ "type": operation.as_str(), "old": was, "new": is }))
    }

    /// The clients take what is there.
    fn take(&mut self) {
        while let Ok(delivery) = self.deliveries.try_recv() {
            match delivery {
                Delivery::Event { to, event } => {
                    for channel in to.iter() {
                        let falls = self.random.one_in(6);
                        let Some(client) = self.clients.iter_mut().find(|client| client.place.1 == *channel)
                        else {
                            continue;
                        };
                        match client.behind {
                            Some(_) => {}
                            None if falls && client.steady => client.behind = Some(event.cursor.before()),
                            None => client.note(&event),
                        }
                    }
                }
                Delivery::Page { channel, events, next, live } => {
                    let Some(client) = self.clients.iter_mut().find(|client| client.place.1 == channel)
                    else {
                        continue;
                    };
                    events.iter().for_each(|event| client.note(event));
                    client.behind = if live { None } else { Some(next) };
                    client.cursor = client.cursor.max(next);
                }
                Delivery::Resync { reason, .. } => panic!("nothing was lost, and still: {reason}"),
                Delivery::Suspended { .. } => panic!("nobody's roles change here"),
                Delivery::AccessChanged { .. }
                | Delivery::Joined { .. }
                | Delivery::Rejudged { .. }
                | Delivery::Position { .. } => {}
            }
        }
    }

    async fn catch_up(&mut self, at: usize) {
        let client = &self.clients[at];
        if let (true, Some(from)) = (client.joined, client.behind) {
            let place = client.place;
            self.stream.page(place, from, None).await;
            self.take();
        }
    }

    /// A client goes, or comes back with the last cursor that it had.
    fn come_or_go(&mut self, at: usize) {
        if !self.clients[at].steady {
            return;
        }
        if self.clients[at].joined {
            let client = &mut self.clients[at];
            client.joined = false;
            // What was on its way when it went is lost to it.
            client.behind = Some(client.cursor);
            self.stream.audience.unsubscribe(client.place);
        } else {
            self.generation += 1;
            self.clients[at].place.1.generation = self.generation;
            self.enter(at);
        }
    }

    async fn run(&mut self) {
        for _ in 0..6 {
            self.join();
        }
        for _ in 0..STEPS {
            let client = self.random.below(self.clients.len());
            match self.random.below(12) {
                0 => self.join(),
                1 => self.come_or_go(client),
                2..=4 => self.catch_up(client).await,
                _ => self.commit().await,
            }
        }
        for client in 0..self.clients.len() {
            if !self.clients[client].joined {
                self.come_or_go(client);
            }
            while self.clients[client].behind.is_some() {
                self.catch_up(client).await;
            }
        }
    }
}

impl Client {
    fn note(&mut self, event: &crate::realtime::line::Event) {
        let data: Json = serde_json::from_slice(&event.data).unwrap();
        assert_eq!(data["cursor"], event.cursor.to_string());
        self.cursor = self.cursor.max(event.cursor);
        if self.got.iter().all(|(known, _)| *known != event.cursor) {
            let (was, is) = (data["old_record"].clone(), data["record"].clone());
            let event = serde_json::json!({ "type": data["type"], "old": was, "new": is });
            self.got.push((Cursor::from_str_unchecked(&data["cursor"]), event));
        }
    }
}

impl Cursor {
    fn from_str_unchecked(text: &Json) -> Cursor {
        text.as_str().unwrap().parse().unwrap()
    }
}

#[test]
fn everybody_is_told_what_the_rules_say_of_each_commit_in_order_and_once() {
    let catalog = catalog();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = std::env::var("BASEWRIGHT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let seeds = if std::env::var("BASEWRIGHT_SEED").is_ok() { 1 } else { SEEDS };
    let (mut told, mut clients) = (0, 0);
    for seed in first..first + seeds {
        let mut world = World::new(seed, &catalog);
        runtime.block_on(world.run());
        for client in &world.clients {
            let who = (&client.principal.role, &client.principal.roles, &client.binding);
            assert!(
                client.got == client.expected,
                "BASEWRIGHT_SEED={seed}: {who:?}\ngot {:#?}\nexpected {:#?}",
                client.got,
                client.expected
            );
            told += client.got.len();
            clients += 1;
        }
        // Nobody is left behind in memory either.
        for client in &world.clients {
            world.stream.audience.unsubscribe(client.place);
        }
        assert!(
            world.stream.audience.is_empty(),
            "BASEWRIGHT_SEED={seed}: something stays of those who left"
        );
    }
    println!("{seeds} worlds, {clients} subscribers, {told} events");
    assert!(told > clients, "too little happened to mean anything");
}
