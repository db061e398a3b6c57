//! Every write, by everybody, to every collection: the answer and what stands in the tables afterwards.

use std::collections::BTreeSet;

use futures_util::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};

use super::ask::{Ask, Filter, Path, Test};
use super::deeds::{Conflict, Deed, Judge, MADE_UP, Outcome, Wanted};
use super::ledger::Ledger;
use super::oracle::Action;
use super::random::Random;
use super::reads::AT_ONCE;
use super::site::{Answer, Caller, Request, Site};
use super::world::{Field, Kind, Row, Table, World, id, tables};

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
        let (method, mut path, body) = match &self.deed {
            Deed::Insert { rows, .. } => {
                let body = match &rows[..] {
                    [row] => Value::Object(row.clone()),
                    rows => rows.iter().cloned().map(Value::Object).collect(),
                };
                (Method::POST, format!("{}?", self.table), Some(body))
            }
            Deed::Update { filter, body } => {
                (Method::PATCH, filter.path(self.table), Some(Value::Object(body.clone())))
            }
            Deed::Delete { filter } => (Method::DELETE, filter.path(self.table), None),
        };
        let mut prefer = vec![match self.wanted {
            Wanted::Nothing => "return=minimal,count=exact",
            Wanted::Location => "return=headers-only",
            Wanted::Representation | Wanted::Object => "return=representation",
        }];
        if let Deed::Insert { on_conflict: Some(conflict), .. } = &self.deed {
            prefer.push(match conflict {
                Conflict::Merge => "resolution=merge-duplicates",
                Conflict::Ignore => "resolution=ignore-duplicates",
            });
        }
        path = path.trim_end_matches('?').to_owned();
        let request = Request::write(method, path, body).header("prefer", prefer.join(","));
        match self.wanted {
            Wanted::Object => request.header("accept", "application/vnd.pgrst.object+json"),
            Wanted::Nothing | Wanted::Representation | Wanted::Location => request,
        }
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
                let range = match (&self.deed, affected) {
                    (Deed::Update { .. }, 1..) => format!("0-{}/{affected}", affected - 1),
                    _ => format!("*/{affected}"),
                };
                ledger.cell(what, answer.header("content-range"), range.as_str());
            }
            Wanted::Location => {
                ledger.cell(what, answer.body.as_str(), "");
                let key = rows.first().and_then(|row| row.get("id")).and_then(Value::as_str);
                let place = key.map(|key| format!("/{}?id=eq.{key}", self.table)).unwrap_or_default();
                let found = answer.header("location");
                let made_up = key == Some(MADE_UP);
                let found =
                    if made_up { found.split_inclusive("eq.").next().unwrap_or_default() } else { found };
                ledger.cell(what, found, place.trim_end_matches(MADE_UP));
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
    let before: BTreeSet<String> = tables
        .iter()
        .flat_map(|table| world.rows(table.name))
        .filter_map(|row| row["id"].as_str().map(str::to_owned))
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
        for wanted in [Wanted::Nothing, Wanted::Representation, Wanted::Object] {
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
            _ => vec![row(json!({ "year": 5 })), row(json!({ "badge": id("badges", 1) }))],
        }
    }

    fn inserts(&mut self) {
        let good = self.good(90);
        for row in &good {
            self.push(Deed::Insert { rows: vec![row.clone()], on_conflict: None }, Wanted::Location);
            self.every_way(&Deed::Insert { rows: vec![row.clone()], on_conflict: None });
        }
        // One record more of another kind: all of it or nothing.
        for pair in good.windows(2) {
            let mut second = pair[1].clone();
            if second.contains_key("id") {
                second.insert("id".to_owned(), json!(id(self.table.name, 91)));
            }
            if pair[0].keys().eq(second.keys()) {
                let rows = vec![pair[0].clone(), second];
                self.push(Deed::Insert { rows: rows.clone(), on_conflict: None }, Wanted::Representation);
                self.push(Deed::Insert { rows: rows.clone(), on_conflict: None }, Wanted::Object);
                self.push(Deed::Insert { rows, on_conflict: None }, Wanted::Nothing);
            }
        }
        // Each field beside what is good otherwise, and alone.
        for field in self.table.fields.clone() {
            let alone = self.body(&[field.name], 90);
            self.push(Deed::Insert { rows: vec![alone.clone()], on_conflict: None }, Wanted::Nothing);
            let mut with = good[0].clone();
            with.extend(alone);
            self.push(Deed::Insert { rows: vec![with], on_conflict: None }, Wanted::Representation);
        }
        let mut strange = good[0].clone();
        strange.insert("strange".to_owned(), json!(1));
        self.push(Deed::Insert { rows: vec![strange], on_conflict: None }, Wanted::Nothing);
        self.push(Deed::Insert { rows: vec![Row::new()], on_conflict: None }, Wanted::Nothing);
    }

    /// Onto every stored record, seen or not, and onto none.
    fn upserts(&mut self) {
        let keys: Vec<Value> = self.world.rows(self.table.name).iter().map(|row| row["id"].clone()).collect();
        let fresh = json!(id(self.table.name, 90));
        let may_name = self.caller.who.may_name(Action::Create, self.table);
        let bodies: Vec<Row> = self.good(90).into_iter().filter(|row| row.contains_key("id")).collect();
        for key in keys.iter().chain([&fresh]) {
            for (at, body) in bodies.iter().enumerate() {
                let mut row = body.clone();
                row.insert("id".to_owned(), key.clone());
                for conflict in [Conflict::Merge, Conflict::Ignore] {
                    let deed = Deed::Insert { rows: vec![row.clone()], on_conflict: Some(conflict) };
                    if at == 0 || !may_name.contains("id") {
                        self.push(deed.clone(), Wanted::Nothing);
                    }
                    self.push(deed, Wanted::Representation);
                }
            }
        }
        // One that is there and one that is not, together.
        if let (Some(body), Some(key)) = (bodies.first(), keys.first()) {
            let of = |key: &Value| {
                let mut row = body.clone();
                row.insert("id".to_owned(), key.clone());
                row
            };
            for conflict in [Conflict::Merge, Conflict::Ignore] {
                let deed = Deed::Insert { rows: vec![of(key), of(&fresh)], on_conflict: Some(conflict) };
                self.push(deed, Wanted::Representation);
            }
        }
    }

    fn updates(&mut self) {
        let fields: Vec<Field> =
            self.table.fields.iter().copied().filter(|field| field.name != "id").collect();
        let handle = self.table.handle;
        let rows: Vec<Row> = self.world.rows(self.table.name).to_vec();
        let knows = self.caller.who.knows(self.table);
        let key = |row: &Row| {
            if knows.contains("id") {
                filter("id", Test::Compare("eq", row["id"].clone()))
            } else {
                filter(handle, Test::Compare("eq", row[handle].clone()))
            }
        };
        if !knows.contains("id") && !knows.contains(handle) {
            // Nothing can be named: every record.
            for field in &fields {
                let body = self.body(&[field.name], 1);
                self.push(Deed::Update { filter: Ask::default(), body }, Wanted::Nothing);
            }
            return;
        }
        for (number, row) in rows.iter().enumerate() {
            for field in &fields {
                for shift in 0..3 {
                    let body = self.body(&[field.name], number + shift);
                    let wanted =
                        *self.choices.pick(&[Wanted::Nothing, Wanted::Representation, Wanted::Object]);
                    self.push(Deed::Update { filter: key(row), body }, wanted);
                }
            }
            // Several fields at once: one rule must cover them all.
            for _ in 0..2 {
                let (one, other) = (self.choices.pick(&fields).name, self.choices.pick(&fields).name);
                let number = self.choices.below(3);
                let body = self.body(&[one, other], number);
                self.push(Deed::Update { filter: key(row), body }, Wanted::Representation);
            }
        }
        for field in &fields {
            // No filter, a filter on the field itself, one that names hidden contents.
            let number = self.choices.below(3);
            let body = self.body(&[field.name], number);
            self.push(Deed::Update { filter: Ask::default(), body: body.clone() }, Wanted::Nothing);
            if knows.contains(field.name) && !matches!(field.kind, Kind::Json | Kind::Tags) {
                let others: Vec<&Value> =
                    rows.iter().map(|row| &row[field.name]).filter(|value| !value.is_null()).collect();
                if let Some(value) = others.last() {
                    let named = filter(field.name, Test::Compare("eq", (*value).clone()));
                    self.push(Deed::Update { filter: named, body: body.clone() }, Wanted::Representation);
                }
                let empty = filter(field.name, Test::Null);
                self.push(Deed::Update { filter: empty, body: body.clone() }, Wanted::Object);
            }
            let mut missing = body;
            missing.insert(field.name.to_owned(), Value::Null);
            self.push(Deed::Update { filter: key(&rows[0]), body: missing }, Wanted::Nothing);
        }
        self.push(Deed::Update { filter: key(&rows[0]), body: Row::new() }, Wanted::Nothing);
        self.push(Deed::Update { filter: key(&rows[0]), body: Row::new() }, Wanted::Representation);
        let mut strange = Row::new();
        strange.insert("strange".to_owned(), json!(1));
        self.push(Deed::Update { filter: key(&rows[0]), body: strange }, Wanted::Nothing);
    }

    fn deletes(&mut self) {
        let knows = self.caller.who.knows(self.table);
        let rows: Vec<Row> = self.world.rows(self.table.name).to_vec();
        for row in &rows {
            if knows.contains("id") {
                let named = filter("id", Test::Compare("eq", row["id"].clone()));
                let wanted = *self.choices.pick(&[Wanted::Nothing, Wanted::Representation, Wanted::Object]);
                self.push(Deed::Delete { filter: named }, wanted);
            }
        }
        self.push(Deed::Delete { filter: Ask::default() }, Wanted::Nothing);
        self.push(Deed::Delete { filter: Ask::default() }, Wanted::Representation);
        self.push(Deed::Delete { filter: Ask::default() }, Wanted::Object);
        for field in self.table.fields.clone() {
            if knows.contains(field.name) && field.kind == Kind::Text {
                let named = filter(field.name, Test::Like("x*".to_owned(), true));
                self.push(Deed::Delete { filter: named }, Wanted::Representation);
            }
        }
    }
}
