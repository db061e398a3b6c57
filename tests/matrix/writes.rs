//! Every write, by everybody, to every collection: the answer and what stands in the tables afterwards.

use std::collections::BTreeSet;

use futures_util::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};

use super::ask::{Ask, Filter, Path, Sight, Test, Views, encode, operand};
use super::deeds::{Conflict, Deed, Insert, Judge, MADE_UP, Outcome, Wanted};
use super::forms;
use super::ledger::Ledger;
use super::oracle::Action;
use super::random::Random;
use super::reads::AT_ONCE;
use super::site::{Answer, Caller, Request, Site};
use super::world::{EVE, Field, Kind, Row, SID, Table, World, id, tables};

/// A write and how it is to be answered.
pub(super) struct Cell {
    caller: Caller,
    table: &'static str,
    deed: Deed,
    wanted: Wanted,
}

/// The records by content: keys that the database made up are one and the same.
fn normal(world: &World, before: &BTreeSet<String>) -> Vec<(&'static str, Vec<String>)> {
    let rows = |rows: &[Row]| {
        let mut texts: Vec<String> =
            rows.iter().map(|row| Value::Object(known(row, before)).to_string()).collect();
        texts.sort();
        texts
    };
    world.0.iter().map(|(name, found)| (*name, rows(found))).collect()
}

fn known(row: &Row, before: &BTreeSet<String>) -> Row {
    let mut row = row.clone();
    if let Some(id) = row.get_mut("id")
        && !before.contains(id.as_str().unwrap_or(MADE_UP))
        && !id.is_null()
    {
        *id = json!(MADE_UP);
    }
    row
}

impl Cell {
    fn request(&self) -> Request {
        let list = |names: &[&str]| names.join(",");
        let mut parameters = Vec::new();
        let mut prefer = vec![match self.wanted {
            Wanted::Nothing => "return=minimal,count=exact".to_owned(),
            Wanted::Location => "return=headers-only".to_owned(),
            Wanted::Representation | Wanted::Object | Wanted::Table => "return=representation".to_owned(),
        }];
        let (method, path, body) = match &self.deed {
            Deed::Insert(insert) => {
                let Insert { rows, conflict, target, columns, missing, put } = insert;
                let body = match &rows[..] {
                    [row] => Value::Object(row.clone()),
                    rows => rows.iter().cloned().map(Value::Object).collect(),
                };
                let key = put.iter().flatten();
                parameters.extend(key.map(|(name, value)| format!("{name}=eq.{}", encode(&operand(value)))));
                parameters.extend(columns.iter().map(|columns| format!("columns={}", list(columns))));
                parameters.extend(target.iter().map(|target| format!("on_conflict={}", list(target))));
                prefer.extend(conflict.map(|conflict| match conflict {
                    Conflict::Merge => "resolution=merge-duplicates".to_owned(),
                    Conflict::Ignore => "resolution=ignore-duplicates".to_owned(),
                }));
                prefer.extend(missing.then(|| "missing=default".to_owned()));
                let method = if put.is_some() { Method::PUT } else { Method::POST };
                (method, format!("{}?", self.table), Some(body))
            }
            Deed::Update { filter, body, columns, most } => {
                parameters.extend(columns.iter().map(|columns| format!("columns={}", list(columns))));
                prefer.extend(most.map(|most| format!("handling=strict,max-affected={most}")));
                (Method::PATCH, filter.path(self.table), Some(Value::Object(body.clone())))
            }
            Deed::Delete { filter, most } => {
                prefer.extend(most.map(|most| format!("handling=strict,max-affected={most}")));
                (Method::DELETE, filter.path(self.table), None)
            }
        };
        let joint = if path.ends_with('?') { "" } else { "&" };
        let path = format!("{path}{joint}{}", parameters.join("&"));
        let path = path.trim_end_matches(['?', '&']).to_owned();
        let request = Request::write(method, path, body).header("prefer", prefer.join(","));
        match self.wanted {
            Wanted::Object => request.header("accept", "application/vnd.pgrst.object+json"),
            Wanted::Table => request.header("accept", "text/csv"),
            Wanted::Nothing | Wanted::Representation | Wanted::Location => request,
        }
    }

    fn puts(&self) -> bool {
        matches!(&self.deed, Deed::Insert(Insert { put: Some(_), .. }))
    }

    fn outcome(&self, world: &World, tables: &[Table]) -> Outcome {
        let table = tables.iter().find(|table| table.name == self.table).unwrap();
        Judge { who: &self.caller.who, world, table }.outcome(&self.deed, self.wanted)
    }

    /// Asks and compares the answer.
    async fn walk(&self, site: &Site, ledger: &Ledger, expected: &Outcome, before: &BTreeSet<String>) {
        let request = self.request();
        let answer = site.ask(&self.caller, &request).await;
        let code = if expected.status >= 300 { answer.code() } else { String::new() };
        let also = expected.or.iter().find(|(status, also)| (*status, *also) == (answer.status, &code));
        let (status, told) = also.copied().unwrap_or((expected.status, expected.code));
        ledger.cell(|| self.to_string(), (answer.status, code), (status, told.to_owned()));
        self.judge_names(ledger, &answer, &request);
        if expected.status < 300 {
            self.judge_answer(ledger, &answer, &expected.rows, expected.affected, before);
        }
    }

    /// No error names a field that the caller does not know and did not name himself.
    fn judge_names(&self, ledger: &Ledger, answer: &Answer, request: &Request) {
        let tables = tables();
        let table = tables.iter().find(|table| table.name == self.table).unwrap();
        let may_name = self.caller.who.may_name(Action::Create, table);
        let may_name = &may_name | &self.caller.who.may_name(Action::Update, table);
        let error = answer.json();
        let mut said = ["message", "details", "hint"].map(|member| error[member].to_string()).join(" ");
        for fault in error["fields"].as_array().into_iter().flatten() {
            said += &format!(" {} {}", fault["pointer"], fault["message"]);
        }
        let asked = format!("{} {}", request.path, request.body.as_deref().unwrap_or_default());
        let named = |field: &&Field| {
            let mut words = said.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
            // A word of our own sentences.
            field.name != "body"
                && !may_name.contains(field.name)
                && !asked.contains(field.name)
                && words.any(|word| word == field.name)
        };
        let named: Vec<&str> = if answer.status < 400 {
            Vec::new()
        } else {
            table.fields.iter().filter(named).map(|field| field.name).collect()
        };
        if !named.is_empty() {
            ledger.cell(|| format!("what is said to {self}: {}", answer.body), named, Vec::new());
        }
    }

    fn judge_answer(
        &self,
        ledger: &Ledger,
        answer: &Answer,
        rows: &[Row],
        affected: usize,
        before: &BTreeSet<String>,
    ) {
        let what = || {
            format!(
                "the answer to {}: {:?} {:?} of {}",
                self.caller.who.name, self.deed, self.wanted, self.table
            )
        };
        let texts = |rows: Vec<Row>| {
            let mut texts: Vec<String> =
                rows.iter().map(|row| Value::Object(known(row, before)).to_string()).collect();
            texts.sort();
            texts
        };
        match self.wanted {
            Wanted::Nothing => {
                ledger.cell(what, answer.body.as_str(), "");
                if self.puts() {
                    return;
                }
                let range = match (&self.deed, affected) {
                    (Deed::Update { .. }, 1..) => format!("0-{}/{affected}", affected - 1),
                    _ => format!("*/{affected}"),
                };
                ledger.cell(what, answer.header("content-range"), range.as_str());
            }
            Wanted::Location => {
                ledger.cell(what, answer.body.as_str(), "");
                ledger.cell(what, place(answer.header("location"), before), self.place(rows));
            }
            Wanted::Table => {
                // The keys that were made up differ, and the order of the records is nobody's business.
                let table = tables().iter().find(|table| table.name == self.table).unwrap();
                let views = Views::default();
                let sight = Sight { who: &self.caller.who, views: &views };
                let columns = forms::columns(&sight, table, &Ask::default()).unwrap();
                let rows: Vec<Value> = rows.iter().cloned().map(Value::Object).collect();
                let lines = |mut lines: Vec<Vec<Option<String>>>| {
                    for cell in lines.iter_mut().skip(1).flatten().flatten() {
                        let is_new = uuid::Uuid::parse_str(cell).is_ok() && !before.contains(cell.as_str());
                        if is_new {
                            MADE_UP.clone_into(cell);
                        }
                    }
                    lines[1..].sort();
                    lines
                };
                let (expected, _) = forms::csv(&columns, &rows);
                let found = forms::found(&columns, &answer.body);
                ledger.cell(what, lines(found), lines(expected));
            }
            Wanted::Representation => {
                let found = answer.json().as_array().cloned().unwrap_or_default();
                let found = found.iter().filter_map(|row| row.as_object().cloned()).collect();
                ledger.cell(what, texts(found), texts(rows.to_vec()));
            }
            Wanted::Object => {
                let found = answer.json().as_object().cloned().into_iter().collect();
                ledger.cell(what, texts(found), texts(rows.to_vec()));
            }
        }
    }
}

impl Cell {
    /// Where the one record is, if it is one and its key is the caller's to see.
    fn place(&self, rows: &[Row]) -> Option<(String, BTreeSet<String>)> {
        let Deed::Insert(insert) = &self.deed else { return None };
        let ([row], [_]) = (rows, &insert.rows[..]) else { return None };
        let table = tables().iter().find(|table| table.name == self.table).unwrap();
        let part = |name: &&str| {
            let value = row.get(*name).and_then(Value::as_str)?;
            Some(if value == MADE_UP { format!("{name}=eq.") } else { format!("{name}=eq.{value}") })
        };
        let parts: Option<BTreeSet<String>> = table.key.iter().map(part).collect();
        Some((format!("/{}", self.table), parts?))
    }
}

/// A `Location` apart: the path, and the fields of the key in any order.
fn place(location: &str, before: &BTreeSet<String>) -> Option<(String, BTreeSet<String>)> {
    let (path, query) = location.split_once('?')?;
    let part = |part: &str| match part.split_once("=eq.") {
        Some((name, value)) if !before.contains(value) => format!("{name}=eq."),
        _ => part.to_owned(),
    };
    Some((path.to_owned(), query.split('&').map(part).collect()))
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Request { method, path, headers, body } = self.request();
        write!(f, "{}: {method} {path} {headers:?} {}", self.caller.who.name, body.unwrap_or_default())
    }
}

/// Keys of records that are not there yet.
fn fresh_ids() -> impl Iterator<Item = String> {
    tables().iter().flat_map(|table| (90..93).map(move |number| id(table.name, number)))
}

/// How many writes that must change nothing are tried before the tables are looked at.
const BATCH: usize = 64;

/// Tries every write. Those that must change nothing go together; the others one by one, and the records are
/// put back after each.
pub(super) async fn walk(site: &Site, ledger: &Ledger, world: &World, cells: &[Cell]) {
    let tables = tables();
    let world = &world.sorted();
    let before: BTreeSet<String> = tables
        .iter()
        .flat_map(|table| world.rows(table.name))
        .flat_map(Row::values)
        .filter_map(|value| value.as_str().map(str::to_owned))
        .chain(fresh_ids())
        .collect();
    let judged: Vec<(&Cell, Outcome)> =
        cells.iter().map(|cell| (cell, cell.outcome(world, tables))).collect();
    let (changing, still): (Vec<_>, Vec<_>) =
        judged.iter().partition(|(_, expected)| expected.after != *world);
    for batch in still.chunks(BATCH) {
        futures_util::stream::iter(batch)
            .map(|(cell, expected)| cell.walk(site, ledger, expected, &before))
            .buffer_unordered(AT_ONCE)
            .collect::<Vec<()>>()
            .await;
        let after = site.dump().await;
        let suspects = || batch.iter().map(|(cell, _)| format!("\n  {cell}")).collect::<String>();
        compare(ledger, || format!("the records after{}", suspects()), (&after, world), &before);
        if after != *world {
            site.fill(world).await;
        }
    }
    for (cell, expected) in changing {
        cell.walk(site, ledger, expected, &before).await;
        let after = site.dump().await;
        compare(ledger, || format!("the records after {cell}"), (&after, &expected.after), &before);
        site.fill(world).await;
    }
}

/// What stands in the tables and should not, and what should and does not.
fn compare(
    ledger: &Ledger,
    what: impl FnOnce() -> String,
    (found, expected): (&World, &World),
    before: &BTreeSet<String>,
) {
    let (found, expected) = (normal(found, before), normal(expected, before));
    let difference = |one: &[(&'static str, Vec<String>)], other: &[(&'static str, Vec<String>)]| {
        let mut all = Vec::new();
        for ((table, rows), (_, others)) in one.iter().zip(other) {
            all.extend(rows.iter().filter(|row| !others.contains(row)).map(|row| format!("{table} {row}")));
        }
        all
    };
    let same = found == expected;
    let found_or = |difference: Vec<String>| if same { Vec::new() } else { difference };
    ledger.cell(
        what,
        (same, found_or(difference(&found, &expected))),
        (true, found_or(difference(&expected, &found))),
    );
}

/// A value that a field may take, other than those that stand there.
fn value(field: &Field, number: usize) -> Value {
    match (field.name, field.kind) {
        ("status", _) => json!(["draft", "final", "locked"][number % 3]),
        (_, Kind::Text) => json!(format!("new {number}")),
        (_, Kind::Integer) => json!([1, -1, 5000][number % 3]),
        (_, Kind::Boolean) => json!(number.is_multiple_of(2)),
        (_, Kind::Json) => json!({ "k": "new" }),
        (_, Kind::Tags) => json!(["new"]),
        (_, Kind::Uuid) => match field.to {
            Some((target, _)) => json!(id(target, 1 + number % 3)),
            None => json!(Value::Null),
        },
    }
}

fn filter(field: &'static str, test: Test) -> Ask {
    let filter = Filter::Test { field: Path::of(field), not: false, test };
    Ask { filters: vec![filter], ..Ask::default() }
}

fn by_key(table: &Table, row: &Row) -> Ask {
    let named = |name: &&'static str| Filter::Test {
        field: Path::of(name),
        not: false,
        test: Test::Compare("eq", row[*name].clone()),
    };
    Ask { filters: table.key.iter().map(named).collect(), ..Ask::default() }
}

/// Every write of the matrix; the seed chooses one in so many of them.
pub(super) fn cells(callers: &[Caller], world: &World, seed: u64, one_in: usize) -> Vec<Cell> {
    let mut choices = Random::new(seed);
    let mut cells = Vec::new();
    for caller in callers {
        for table in tables() {
            let mut walk = Walk { caller, table, world, choices: &mut choices, cells: &mut cells };
            walk.inserts();
            walk.upserts();
            walk.updates();
            walk.deletes();
        }
    }
    cells.retain(|_| choices.one_in(one_in));
    cells
}

struct Walk<'a> {
    caller: &'a Caller,
    table: &'a Table,
    world: &'a World,
    choices: &'a mut Random,
    cells: &'a mut Vec<Cell>,
}

impl Walk<'_> {
    fn push(&mut self, deed: Deed, wanted: Wanted) {
        self.cells.push(Cell { caller: self.caller.clone(), table: self.table.name, deed, wanted });
    }

    fn every_way(&mut self, deed: &Deed) {
        for wanted in [Wanted::Nothing, Wanted::Representation, Wanted::Object, Wanted::Table] {
            self.push(deed.clone(), wanted);
        }
    }

    /// A body of just these fields.
    fn body(&self, names: &[&'static str], number: usize) -> Row {
        let field = |name: &&'static str| {
            let field = self.table.field(name).unwrap();
            let value =
                if field.name == "id" { json!(id(self.table.name, number)) } else { value(field, number) };
            ((*name).to_owned(), value)
        };
        names.iter().map(field).collect()
    }

    /// Bodies that the rules might admit: by collection, what its checks ask for.
    fn good(&self, number: usize) -> Vec<Row> {
        let me = self.caller.who.id.clone();
        let row = |value: Value| value.as_object().unwrap().clone();
        let key = json!(id(self.table.name, number));
        let text = format!("new {number}");
        match self.table.name {
            "people" => vec![
                row(json!({ "id": key, "handle": text, "name": "n" })),
                row(json!({ "id": key, "handle": text, "code": text, "score": -5 })),
                row(json!({ "id": key, "handle": "root", "code": null })),
                row(json!({ "id": key, "handle": text, "boss": me })),
                row(json!({ "id": key, "handle": "ana" })),
                row(json!({ "id": key, "handle": text, "code": "xana7" })),
            ],
            "notices" => vec![
                row(json!({ "title": text, "rank": 4, "tags": ["z"], "meta": { "a": [1] } })),
                row(json!({ "id": key, "title": text, "author": me })),
                row(json!({ "title": text, "author": id("people", 1) })),
            ],
            "diaries" => vec![
                row(json!({ "id": key, "title": text, "mood": 3, "pin": text, "secret": true })),
                row(json!({ "id": key, "title": text, "mood": -3 })),
                row(json!({ "id": key, "title": text })),
                row(json!({ "id": key, "title": text, "mood": 1, "owner": me })),
                row(json!({ "id": key, "title": text, "mood": 1, "owner": id("people", 3) })),
                row(json!({ "id": key, "title": text, "mood": 1, "pin": "p5" })),
                row(json!({ "title": "no key", "mood": 1, "meta": { "k": 1 } })),
            ],
            "teams" => vec![row(json!({ "id": key, "name": text })), row(json!({ "name": "amber" }))],
            "members" => [1, 2, 3]
                .iter()
                .flat_map(|team| {
                    let of = |person: usize| {
                        row(json!({ "id": key, "team": id("teams", *team), "person": id("people", person), "grade": 2 }))
                    };
                    [of(2), of(4), of(5)]
                })
                .collect(),
            "docs" => [1, 2, 3]
                .iter()
                .flat_map(|team| {
                    let of = |status: &str| {
                        row(json!({ "id": key, "team": id("teams", *team), "title": text, "status": status }))
                    };
                    [of("draft"), of("final"), row(json!({ "team": id("teams", *team), "title": text, "body": "b" }))]
                })
                .collect(),
            "remarks" => vec![
                row(json!({ "id": key, "doc": id("docs", 1), "body": text })),
                row(json!({ "id": key, "doc": id("docs", 4), "body": text })),
                row(json!({ "doc": id("docs", 6), "body": text })),
                row(json!({ "doc": id("docs", 99), "body": text })),
                row(json!({ "doc": id("docs", 1), "body": text, "author": me })),
                row(json!({ "doc": id("docs", 1), "body": text, "author": id("people", 7) })),
                row(json!({ "doc": id("docs", 1), "body": text, "hidden": true })),
            ],
            "inbox" => vec![
                row(json!({ "sender": text, "body": "b" })),
                row(json!({ "sender": text, "about": me })),
                row(json!({ "sender": text, "about": id("people", 1) })),
                row(json!({ "sender": text, "spam": 0 })),
            ],
            "ledger" => vec![row(json!({ "id": key, "amount": 5, "note": text })), row(json!({ "amount": 1, "note": "bonus" }))],
            "badges" => vec![
                row(json!({ "label": text, "holder": me })),
                row(json!({ "label": text, "serial": "s" })),
                row(json!({ "label": "gold", "serial": "s" })),
            ],
            "vault" => vec![row(json!({ "word": text }))],
            "labels" => vec![
                row(json!({ "id": key, "name": text, "weight": 2 })),
                row(json!({ "id": key, "name": "red", "weight": -1 })),
                row(json!({ "id": key, "name": text, "secret": true })),
                row(json!({ "name": text })),
            ],
            "doc_labels" => [1, 2, 4]
                .iter()
                .flat_map(|doc| {
                    let of = |label: usize| json!({ "doc": id("docs", *doc), "label": id("labels", label), "nr": number });
                    let mut by_me = row(of(4));
                    by_me.insert("by".to_owned(), me.clone());
                    let mut noted = row(of(3));
                    noted.insert("note".to_owned(), json!("n"));
                    [row(of(4)), noted, by_me]
                })
                .chain([row(json!({ "doc": id("docs", 1), "label": id("labels", 4), "nr": 1 }))])
                .collect(),
            "pins" => vec![
                row(json!({ "doc": id("docs", 2), "label": id("labels", 1), "nr": number, "rank": 3 })),
                row(json!({ "doc": id("docs", 2), "label": id("labels", 1), "nr": number })),
                row(json!({ "doc": id("docs", 99), "label": id("labels", 1), "nr": number })),
            ],
            "follows" => vec![
                row(json!({ "follower": me, "followed": id("people", SID), "nr": number })),
                row(json!({ "follower": id("people", SID), "followed": id("people", EVE), "nr": number })),
                row(json!({ "follower": me, "followed": id("people", 99), "nr": number, "since": 5 })),
            ],
            "wishes" => vec![
                row(json!({ "person": me, "label": id("labels", 2), "nr": number })),
                row(json!({ "person": id("people", SID), "label": id("labels", 2), "nr": number })),
                row(json!({ "person": me, "label": id("labels", 4), "nr": 1 })),
            ],
            "cards" => vec![row(json!({ "id": key, "person": me, "number": text })), row(json!({ "number": text }))],
            _ => vec![row(json!({ "year": 5 })), row(json!({ "badge": id("badges", 1) }))],
        }
    }

    fn inserts(&mut self) {
        let good = self.good(90);
        for row in &good {
            self.push(Deed::insert(vec![row.clone()]), Wanted::Location);
            self.every_way(&Deed::insert(vec![row.clone()]));
        }
        // One record more of another kind: all of it or nothing.
        for pair in good.windows(2) {
            let mut second = pair[1].clone();
            if second.contains_key("id") {
                second.insert("id".to_owned(), json!(id(self.table.name, 91)));
            }
            if pair[0].keys().eq(second.keys()) {
                let rows = vec![pair[0].clone(), second];
                self.push(Deed::insert(rows.clone()), Wanted::Representation);
                self.push(Deed::insert(rows.clone()), Wanted::Object);
                self.push(Deed::insert(rows), Wanted::Nothing);
            }
        }
        // Each field beside what is good otherwise, and alone.
        for field in self.table.fields.clone() {
            let alone = self.body(&[field.name], 90);
            self.push(Deed::insert(vec![alone.clone()]), Wanted::Nothing);
            let mut with = good[0].clone();
            with.extend(alone);
            self.push(Deed::insert(vec![with]), Wanted::Representation);
        }
        let mut strange = good[0].clone();
        strange.insert("strange".to_owned(), json!(1));
        self.push(Deed::insert(vec![strange]), Wanted::Nothing);
        self.push(Deed::insert(vec![Row::new()]), Wanted::Nothing);
    }

    /// The fields of a record's key.
    fn key(&self, row: &Row) -> Row {
        self.table.key.iter().map(|name| ((*name).to_owned(), row[*name].clone())).collect()
    }

    /// Records as bodies that name their key, and the keys that are there and one that is not.
    fn keyed(&self) -> (Vec<Row>, Vec<Row>) {
        let keyed =
            |row: &Row| self.table.key.iter().all(|name| row.get(*name).is_some_and(Value::is_string));
        let bodies: Vec<Row> = self.good(90).into_iter().filter(keyed).collect();
        let stored = self.world.rows(self.table.name).iter();
        let keys = stored.chain(bodies.first()).map(|row| self.key(row)).collect();
        (bodies, keys)
    }

    /// Onto every stored record, seen or not, and onto none.
    fn upserts(&mut self) {
        let may_name = self.caller.who.may_name(Action::Create, self.table);
        let names_key = self.table.key.iter().all(|name| may_name.contains(name));
        let (bodies, keys) = self.keyed();
        for key in &keys {
            for (at, body) in bodies.iter().enumerate() {
                let mut row = body.clone();
                row.extend(key.clone());
                for conflict in [Conflict::Merge, Conflict::Ignore] {
                    let insert = Insert { conflict: Some(conflict), ..Insert::of(vec![row.clone()]) };
                    let deed = Deed::Insert(insert);
                    if at == 0 || !names_key {
                        self.push(deed.clone(), Wanted::Nothing);
                        self.push(deed.clone(), Wanted::Location);
                        self.push(deed.clone(), Wanted::Table);
                    }
                    self.push(deed, Wanted::Representation);
                }
            }
        }
        // One that is there and one that is not, together.
        if let (Some(body), [first, .., fresh]) = (bodies.first(), &keys[..]) {
            let of = |key: &Row| {
                let mut row = body.clone();
                row.extend(key.clone());
                row
            };
            for conflict in [Conflict::Merge, Conflict::Ignore] {
                let rows = vec![of(first), of(fresh)];
                let deed = Deed::Insert(Insert { conflict: Some(conflict), ..Insert::of(rows) });
                self.push(deed, Wanted::Representation);
            }
        }
        self.by_other_keys();
        self.puts();
        self.chosen_members();
    }

    /// Upserts that go by what stands once beside the key, by what does not, and by what is hidden.
    fn by_other_keys(&mut self) {
        let Some(mut body) = self.good(90).into_iter().next() else { return };
        body.remove("id");
        let stored: Vec<Row> = self.world.rows(self.table.name).to_vec();
        let mut targets = self.table.uniques();
        targets.extend(self.table.fields.iter().map(|field| vec![field.name]));
        targets.push(vec![self.table.key[0], self.table.handle]);
        targets.dedup();
        for target in targets {
            for conflict in [Conflict::Merge, Conflict::Ignore] {
                let mut rows = vec![body.clone()];
                if self.table.uniques().contains(&target) && target != ["id"] {
                    rows.extend(stored.iter().map(|row| {
                        let part = |name: &&'static str| ((*name).to_owned(), row[*name].clone());
                        body.clone().into_iter().chain(target.iter().map(part)).collect()
                    }));
                }
                for row in rows {
                    let (conflict, target) = (Some(conflict), Some(target.clone()));
                    let deed = Deed::Insert(Insert { conflict, target, ..Insert::of(vec![row]) });
                    let wanted =
                        *self.choices.pick(&[Wanted::Nothing, Wanted::Representation, Wanted::Location]);
                    self.push(deed, wanted);
                }
            }
        }
    }

    /// A whole record under every key, stored or not, and under none.
    fn puts(&mut self) {
        let (bodies, keys) = self.keyed();
        let put = |key: Row, rows: Vec<Row>| Insert { put: Some(key), ..Insert::of(rows) };
        for key in &keys {
            for body in &bodies {
                let mut row = body.clone();
                row.extend(key.clone());
                self.every_way(&Deed::Insert(put(key.clone(), vec![row])));
            }
        }
        let ([first, .., last], Some(body)) = (&keys[..], bodies.first()) else { return };
        let mut row = body.clone();
        row.extend(first.clone());
        // A key that is another's, one that is not all of it, one that is more, none, and two records.
        let mut more = first.clone();
        let handle = self.table.handle;
        more.insert(handle.to_owned(), row.get(handle).cloned().unwrap_or(json!("none")));
        let rows = vec![row.clone()];
        for (key, rows) in [
            (last.clone(), rows.clone()),
            (more, rows.clone()),
            (Row::new(), rows.clone()),
            (first.clone(), vec![row.clone(), row.clone()]),
            (first.clone(), Vec::new()),
        ] {
            self.push(Deed::Insert(put(key, rows)), Wanted::Nothing);
        }
        let names: Vec<&'static str> = self.table.fields.iter().map(|field| field.name).collect();
        for name in names {
            // Without it, and with it and the key alone.
            let but: Vec<&'static str> =
                self.members(&row).into_iter().filter(|other| *other != name).collect();
            let mut few: Vec<&'static str> = self.table.key.to_vec();
            few.push(name);
            few.dedup();
            for (columns, missing) in [(but.clone(), false), (but, true), (few.clone(), false), (few, true)] {
                let insert = Insert { columns: Some(columns), missing, ..put(first.clone(), rows.clone()) };
                self.push(Deed::Insert(insert), Wanted::Representation);
            }
        }
    }

    /// The names of a body's members, as those of the collection's fields.
    fn members(&self, row: &Row) -> Vec<&'static str> {
        self.table.fields.iter().map(|field| field.name).filter(|name| row.contains_key(*name)).collect()
    }

    /// `columns` and `missing=default`: which members count, and what stands where one is missing.
    fn chosen_members(&mut self) {
        let good = self.good(90);
        for body in good.iter().take(3) {
            let names = self.members(body);
            let mut strange = body.clone();
            strange.insert("strange".to_owned(), json!(1));
            let columns = Some(names.clone());
            self.push(Deed::Insert(Insert { columns, ..Insert::of(vec![strange]) }), Wanted::Representation);
            for field in self.table.fields.clone() {
                let mut columns: Vec<&'static str> =
                    names.iter().copied().filter(|name| *name != field.name).collect();
                if columns.len() == names.len() {
                    // It is not in the body, and so it is null, or what it is by default.
                    columns.push(field.name);
                }
                for missing in [false, true].into_iter().filter(|_| !columns.is_empty()) {
                    let columns = Some(columns.clone());
                    let insert = Insert { columns, missing, ..Insert::of(vec![body.clone()]) };
                    self.push(Deed::Insert(insert), Wanted::Representation);
                }
            }
            let mut columns = names;
            columns.push("strange");
            let columns = Some(columns);
            self.push(Deed::Insert(Insert { columns, ..Insert::of(vec![body.clone()]) }), Wanted::Nothing);
        }
        for pair in good.windows(2) {
            let mut second = pair[1].clone();
            if second.contains_key("id") {
                second.insert("id".to_owned(), json!(id(self.table.name, 91)));
            }
            if pair[0].keys().eq(second.keys()) {
                continue;
            }
            for missing in [false, true] {
                let insert = Insert { missing, ..Insert::of(vec![pair[0].clone(), second.clone()]) };
                self.push(Deed::Insert(insert), Wanted::Representation);
            }
        }
    }

    fn updates(&mut self) {
        let fields: Vec<Field> =
            self.table.fields.iter().copied().filter(|field| field.name != "id").collect();
        let handle = self.table.handle;
        let rows: Vec<Row> = self.world.rows(self.table.name).to_vec();
        let knows = self.caller.who.knows(self.table);
        let whole_key = self.table.key.iter().all(|name| knows.contains(name));
        let table = self.table;
        let key = |row: &Row| {
            if whole_key {
                by_key(table, row)
            } else {
                filter(handle, Test::Compare("eq", row[handle].clone()))
            }
        };
        if !whole_key && !knows.contains(handle) {
            // Nothing can be named: every record.
            for field in &fields {
                let body = self.body(&[field.name], 1);
                self.push(Deed::update(Ask::default(), body), Wanted::Nothing);
            }
            return;
        }
        for (number, row) in rows.iter().enumerate() {
            for field in &fields {
                for shift in 0..3 {
                    let body = self.body(&[field.name], number + shift);
                    let wanted =
                        *self.choices.pick(&[Wanted::Nothing, Wanted::Representation, Wanted::Object]);
                    self.push(Deed::update(key(row), body), wanted);
                }
            }
            // Several fields at once: one rule must cover them all.
            for _ in 0..2 {
                let (one, other) = (self.choices.pick(&fields).name, self.choices.pick(&fields).name);
                let number = self.choices.below(3);
                let body = self.body(&[one, other], number);
                self.push(Deed::update(key(row), body), Wanted::Representation);
            }
        }
        for field in &fields {
            // No filter, a filter on the field itself, one that names hidden contents.
            let number = self.choices.below(3);
            let body = self.body(&[field.name], number);
            self.push(Deed::update(Ask::default(), body.clone()), Wanted::Nothing);
            for most in [0, 1, 2] {
                let (filter, body) = (Ask::default(), body.clone());
                let deed = Deed::Update { filter, body, columns: None, most: Some(most) };
                self.push(deed, if most == 1 { Wanted::Representation } else { Wanted::Nothing });
            }
            // With a member that does not count, and with one that is not there.
            let other = self.choices.pick(&fields).name;
            let mut two = body.clone();
            two.insert("strange".to_owned(), json!(1));
            for columns in [vec![field.name], vec![other], vec![field.name, other], vec!["strange"]] {
                let (filter, body) = (key(&rows[0]), two.clone());
                let deed = Deed::Update { filter, body, columns: Some(columns), most: None };
                self.push(deed, Wanted::Representation);
            }
            if knows.contains(field.name) && !matches!(field.kind, Kind::Json | Kind::Tags) {
                let others: Vec<&Value> =
                    rows.iter().map(|row| &row[field.name]).filter(|value| !value.is_null()).collect();
                if let Some(value) = others.last() {
                    let named = filter(field.name, Test::Compare("eq", (*value).clone()));
                    self.push(Deed::update(named, body.clone()), Wanted::Representation);
                }
                let empty = filter(field.name, Test::Null);
                self.push(Deed::update(empty, body.clone()), Wanted::Object);
            }
            let mut missing = body;
            missing.insert(field.name.to_owned(), Value::Null);
            self.push(Deed::update(key(&rows[0]), missing), Wanted::Nothing);
        }
        self.push(Deed::update(key(&rows[0]), Row::new()), Wanted::Nothing);
        self.push(Deed::update(key(&rows[0]), Row::new()), Wanted::Representation);
        let mut strange = Row::new();
        strange.insert("strange".to_owned(), json!(1));
        self.push(Deed::update(key(&rows[0]), strange), Wanted::Nothing);
    }

    fn deletes(&mut self) {
        let knows = self.caller.who.knows(self.table);
        let rows: Vec<Row> = self.world.rows(self.table.name).to_vec();
        for row in &rows {
            if self.table.key.iter().all(|name| knows.contains(name)) {
                let ways = [Wanted::Nothing, Wanted::Representation, Wanted::Object, Wanted::Table];
                let wanted = *self.choices.pick(&ways);
                self.push(Deed::delete(by_key(self.table, row)), wanted);
            }
        }
        self.push(Deed::delete(Ask::default()), Wanted::Nothing);
        self.push(Deed::delete(Ask::default()), Wanted::Representation);
        self.push(Deed::delete(Ask::default()), Wanted::Object);
        for most in 0..4 {
            let deed = Deed::Delete { filter: Ask::default(), most: Some(most) };
            self.push(deed, if most == 1 { Wanted::Representation } else { Wanted::Nothing });
        }
        for field in self.table.fields.clone() {
            if knows.contains(field.name) && field.kind == Kind::Text {
                let named = filter(field.name, Test::Like("x*".to_owned(), true));
                self.push(Deed::delete(named), Wanted::Representation);
            }
        }
    }
}
