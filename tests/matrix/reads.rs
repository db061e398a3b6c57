//! Every position of a read, for everybody and every collection, against the oracle's answer.

mod compound;
mod embeds;
mod search;

use std::collections::BTreeSet;

use futures_util::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};

use super::ask::{Ask, By, Embed, Filter, Item, Path, SEARCH, Sight, Test, Views, encode};
use super::forms::{self, Column, sorted};
use super::ledger::Ledger;
use super::oracle::{Action, Door, Role};
use super::random::Random;
use super::relations::{Relation, relations};
use super::site::{Answer, Caller, Request, Site};
use super::world::{Field, Kind, Table, World, tables};

/// How many requests are under way at once.
pub(super) const AT_ONCE: usize = 8;

/// A request and what it must bring.
pub(super) struct Cell {
    pub(super) caller: Caller,
    pub(super) request: Request,
    pub(super) expected: Expected,
}

pub(super) enum Expected {
    /// Status, `Content-Range` and body. Embedded arrays without an order are compared as sets: by this ask.
    Page { status: u16, range: String, body: Value, ask: Ask },
    /// As a page, in CSV.
    Table { status: u16, range: String, rows: Vec<Value>, columns: Vec<Column> },
    /// As a page, without a body.
    Head { status: u16, range: String },
    /// Status and code.
    Refused(u16, String),
    /// The relationships that a name means, as the refusal tells them.
    Ambiguous(Vec<String>),
}

/// Names for what is hoisted, by how deep it stands.
const HOISTED: [&[&str]; 4] = [
    &["a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7"],
    &["b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7"],
    &["c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7"],
    &["d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7"],
];

const CSV: &str = "text/csv";
const OBJECT: &str = "application/vnd.pgrst.object+json";
const ARRAY_STRIPPED: &str = "application/vnd.pgrst.array+json;nulls=stripped";
const OBJECT_STRIPPED: &str = "application/vnd.pgrst.object+json;nulls=stripped";

impl Cell {
    pub(super) fn judge(&self, ledger: &Ledger, answer: &Answer) {
        let what = || {
            let Request { method, path, headers, body } = &self.request;
            let body = body.as_deref().unwrap_or_default();
            format!("{}: {method} {path} {headers:?} {body}", self.caller.who.name)
        };
        let range = answer.header("content-range").to_owned();
        match &self.expected {
            Expected::Page { status, range: expected, body, ask } => ledger.cell(
                what,
                (answer.status, range, sorted(ask, answer.json())),
                (*status, expected.clone(), sorted(ask, body.clone())),
            ),
            Expected::Table { status, range: expected, rows, columns } => {
                let (lines, exact) = forms::csv(columns, rows);
                let bytes = exact.is_some().then(|| answer.body.clone());
                let found = forms::found(columns, &answer.body);
                let media = "text/csv; charset=utf-8";
                ledger.cell(
                    what,
                    (answer.status, range, answer.header("content-type"), found, bytes),
                    (*status, expected.clone(), media, lines, exact),
                );
            }
            Expected::Ambiguous(expected) => {
                let details = answer.json()["details"].as_array().cloned().unwrap_or_default();
                let told = details.iter().map(|one| one["relationship"].as_str().unwrap_or("").to_owned());
                let told: BTreeSet<String> = told.collect();
                ledger.cell(
                    what,
                    (answer.status, answer.code(), told),
                    (300, "PGRST201".to_owned(), expected.iter().cloned().collect()),
                );
            }
            Expected::Head { status, range: expected } => ledger.cell(
                what,
                (answer.status, range, answer.body.as_str()),
                (*status, expected.clone(), ""),
            ),
            Expected::Refused(status, code) => {
                let found = if self.request.method == Method::HEAD { code.clone() } else { answer.code() };
                ledger.cell(what, (answer.status, found), (*status, code.clone()));
            }
        }
    }
}

pub(super) async fn walk(site: &Site, ledger: &Ledger, cells: Vec<Cell>) {
    futures_util::stream::iter(cells)
        .map(async |cell| {
            let answer = site.ask(&cell.caller, &cell.request).await;
            cell.judge(ledger, &answer);
        })
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<()>>()
        .await;
}

/// The cells of one caller at one collection.
struct Walk<'a> {
    caller: &'a Caller,
    table: &'a Table,
    world: &'a World,
    sight: Sight<'a>,
    knows: BTreeSet<&'static str>,
    /// How many reads were asked: they take turns with the forms of their answers.
    asked: usize,
    /// Which are asked at all.
    lot: Random,
    one_in: usize,
    cells: Vec<Cell>,
}

/// Every read of the matrix. The seed chooses the compound ones, `random` of them for each caller and collection,
/// and `one_in` which of the pages are asked for; of the refusals, four times as many are.
pub(super) fn cells(callers: &[Caller], world: &World, seed: u64, random: usize, one_in: usize) -> Vec<Cell> {
    let tables = tables();
    let mut cells = Vec::new();
    let mut choices = Random::new(seed);
    for caller in callers {
        let views = Views::of(&caller.who, world);
        for table in tables {
            let sight = Sight { who: &caller.who, views: &views };
            let lot = Random::new(seed ^ cells.len() as u64);
            let mut walk = Walk { lot, one_in, ..Walk::new(caller, table, world, sight) };
            match caller.who.door(Action::Read, table.name) {
                Door::Missing => walk.closed(404, "PGRST205"),
                Door::Shut => walk.closed(caller.who.refusal(), "42501"),
                Door::Open(_) => walk.open(&mut choices, random),
            }
            cells.append(&mut walk.cells);
        }
        let nowhere = ["shadow", "nothing"].map(|table| Request::get(format!("{table}?select=id")));
        cells.extend(nowhere.map(|request| Cell {
            caller: caller.clone(),
            request,
            expected: Expected::Refused(404, "PGRST205".to_owned()),
        }));
    }
    cells
}

impl<'a> Walk<'a> {
    fn new(caller: &'a Caller, table: &'a Table, world: &'a World, sight: Sight<'a>) -> Walk<'a> {
        let knows = caller.who.knows(table);
        let (lot, cells) = (Random::new(0), Vec::new());
        Walk { caller, table, world, sight, knows, asked: 0, lot, one_in: 1, cells }
    }

    fn push(&mut self, request: Request, expected: Expected) {
        self.cells.push(Cell { caller: self.caller.clone(), request, expected });
    }

    /// It is asked for. The oracle takes longer than the dice.
    fn drawn(&mut self) -> bool {
        self.lot.one_in(self.one_in)
    }

    fn refused(&mut self, request: Request, status: u16, code: &str) {
        if self.lot.one_in(self.one_in.div_ceil(4)) {
            self.push(request, Expected::Refused(status, code.to_owned()));
        }
    }

    fn closed(&mut self, status: u16, code: &str) {
        let name = self.table.name;
        for query in ["", "?select=id", "?id=eq.1", "?select=*,people(*)", "?order=id&limit=1", "?offset=9"] {
            self.refused(Request::get(format!("{name}{query}")), status, code);
        }
        let mut head = Request::get(name).header("prefer", "count=exact");
        head.method = Method::HEAD;
        self.refused(head, status, code);
        let single = Request::get(name).header("accept", "application/vnd.pgrst.object+json");
        self.refused(single, status, code);
    }

    /// A read that the oracle answers.
    fn ask(&mut self, ask: Ask) {
        if !self.drawn() {
            return;
        }
        let (rows, _) = self.sight.answer(self.table.name, &ask);
        let range = range(ask.offset.unwrap_or(0), rows.len(), None);
        let request = Request::get(ask.path(self.table.name));
        self.asked += 1;
        match self.asked % 4 {
            1 => {
                let body = forms::stripped(Value::Array(rows.clone()));
                let expected = Expected::Page { status: 200, range: range.clone(), body, ask: ask.clone() };
                self.push(request.clone().header("accept", ARRAY_STRIPPED), expected);
            }
            3 => {
                if let Some(columns) = forms::columns(&self.sight, self.table, &ask) {
                    let rows = rows.clone();
                    let expected = Expected::Table { status: 200, range: range.clone(), rows, columns };
                    self.push(request.clone().header("accept", CSV), expected);
                }
            }
            _ => {}
        }
        let expected = Expected::Page { status: 200, range, body: Value::Array(rows), ask };
        self.push(request, expected);
    }

    /// The same with a count, as GET and as HEAD.
    fn counted(&mut self, ask: Ask) {
        if !self.drawn() {
            return;
        }
        let (rows, total) = self.sight.answer(self.table.name, &ask);
        let offset = ask.offset.unwrap_or(0);
        let mut head = Request::get(ask.path(self.table.name)).header("prefer", "count=exact");
        head.method = Method::HEAD;
        let get = Request { method: Method::GET, ..head.clone() };
        let csv = get.clone().header("accept", CSV);
        if offset > total {
            self.refused(csv, 416, "PGRST103");
            self.refused(head, 416, "PGRST103");
            self.refused(get, 416, "PGRST103");
            return;
        }
        let status = if rows.len() < total { 206 } else { 200 };
        let range = range(offset, rows.len(), Some(total));
        self.push(head, Expected::Head { status, range: range.clone() });
        if let Some(columns) = forms::columns(&self.sight, self.table, &ask) {
            let rows = rows.clone();
            self.push(csv, Expected::Table { status, range: range.clone(), rows, columns });
        }
        self.push(get, Expected::Page { status, range, body: Value::Array(rows), ask });
    }

    /// By what tells records apart.
    fn base(&self) -> Ask {
        let handle =
            By { relation: None, field: Path::of(self.table.handle), descending: false, nulls_first: None };
        Ask { order: vec![handle], ..Ask::default() }
    }

    fn filtered(&self, filter: Filter) -> Ask {
        Ask {
            filters: vec![filter],
            items: vec![Item::Field { alias: None, field: Path::of(self.table.handle), cast: None }],
            ..self.base()
        }
    }

    fn open(&mut self, choices: &mut Random, random: usize) {
        self.ask(self.base());
        self.counted(self.base());
        self.windows();
        self.by_key();
        self.fields();
        self.risky();
        self.search();
        for relation in relations().iter().filter(|relation| relation.from == self.table.name) {
            self.ambiguous(relation);
            self.embeds(relation);
        }
        for _ in 0..random {
            let ask = self.compound(choices);
            if choices.one_in(4) { self.counted(ask) } else { self.ask(ask) }
        }
    }

    fn windows(&mut self) {
        for (limit, offset) in
            [(Some(0), None), (Some(1), None), (Some(2), Some(1)), (None, Some(1)), (None, Some(99))]
        {
            let ask = Ask { limit, offset, ..self.base() };
            self.counted(ask.clone());
            self.ask(ask);
        }
        let all = self.sight.answer(self.table.name, &self.base()).1;
        self.counted(Ask { offset: Some(all), ..self.base() });
        let two = Ask { limit: Some(2), offset: Some(1), ..self.base() };
        let (rows, _) = self.sight.answer(self.table.name, &two);
        let expected = Expected::Page {
            status: 200,
            range: range(1, rows.len(), None),
            body: Value::Array(rows),
            ask: two,
        };
        self.push(Request::get(self.base().path(self.table.name)).header("range", "1-2"), expected);
    }

    /// Every record there is by its key, seen or not; as a list, as one object, counted.
    fn by_key(&mut self) {
        for row in self.world.rows(self.table.name) {
            let named = self.table.key.iter().map(|field| Filter::Test {
                field: Path::of(field),
                not: false,
                test: Test::Compare("eq", row[*field].clone()),
            });
            let ask = Ask { filters: named.collect(), ..Ask::default() };
            let request = Request::get(ask.path(self.table.name));
            let (single, stripped) =
                (request.clone().header("accept", OBJECT), request.clone().header("accept", OBJECT_STRIPPED));
            if !self.table.key.iter().all(|field| self.knows.contains(field)) {
                for request in [request, single, stripped] {
                    self.refused(request, 400, "42703");
                }
                continue;
            }
            let (rows, _) = self.sight.answer(self.table.name, &ask);
            match rows.first() {
                Some(_) if !self.drawn() => {}
                Some(row) => {
                    let page = |body| Expected::Page {
                        status: 200,
                        range: range(0, 1, None),
                        body,
                        ask: ask.clone(),
                    };
                    self.push(single, page(row.clone()));
                    self.push(stripped, page(forms::stripped(row.clone())));
                }
                None => {
                    self.refused(single, 406, "PGRST116");
                    self.refused(stripped, 406, "PGRST116");
                }
            }
            self.counted(ask.clone());
            self.ask(ask);
        }
    }

    /// Each field in each position.
    fn fields(&mut self) {
        let fields: Vec<Field> = self.table.fields.clone();
        for field in fields {
            if !self.knows.contains(field.name) {
                self.unknown(field.name);
                continue;
            }
            let item = |alias, field, cast| Item::Field { alias, field, cast };
            let path = Path::of(field.name);
            for items in [
                vec![item(None, path.clone(), None)],
                vec![item(Some("other"), path.clone(), None), Item::All],
            ] {
                self.ask(Ask { items, ..self.base() });
            }
            if field.kind != Kind::Json && field.kind != Kind::Tags {
                self.ask(Ask { items: vec![item(None, path.clone(), Some("text"))], ..self.base() });
                for (descending, nulls_first) in
                    [(false, None), (true, None), (false, Some(true)), (true, Some(false))]
                {
                    let mut ask = self.base();
                    ask.order.insert(0, By { relation: None, field: path.clone(), descending, nulls_first });
                    self.ask(ask);
                }
            }
            if field.kind == Kind::Json {
                for (key, text) in [("k", true), ("n", false), ("n", true), ("deep", false)] {
                    let inside = Path { field: field.name, key: Some((key, text)) };
                    self.ask(Ask { items: vec![item(None, inside, None)], ..self.base() });
                }
                let mut ask = self.base();
                let inside = Path { field: field.name, key: Some(("k", true)) };
                ask.order
                    .insert(0, By { relation: None, field: inside, descending: true, nulls_first: None });
                self.ask(ask);
            }
            for (path, test) in self.tests(&field) {
                for not in [false, true] {
                    let filter = Filter::Test { field: path.clone(), not, test: test.clone() };
                    if matches!(test, Test::Match(_)) && self.caller.who.role == Role::Anon {
                        self.refused(Request::get(self.filtered(filter).path(self.table.name)), 401, "42501");
                        continue;
                    }
                    self.ask(self.filtered(filter.clone()));
                    if !not {
                        self.counted(self.filtered(Filter::Or { not: true, terms: vec![filter] }));
                    }
                }
            }
        }
    }

    /// A field that does not exist for this caller, wherever it may be named.
    fn unknown(&mut self, field: &str) {
        let name = self.table.name;
        for query in [
            format!("select={field}"),
            format!("select=a:{field}::text"),
            format!("select={field}->>k"),
            format!("{field}=eq.1"),
            format!("{field}=not.is.null"),
            format!("{field}=like.x*"),
            format!("or=({field}.eq.1,{field}.is.null)"),
            format!("not.and=({field}.not.in.(1,2))"),
            format!("{field}->>k=eq.1"),
            format!("order={field}"),
            format!("order={field}.desc.nullslast"),
        ] {
            let query: Vec<String> = query
                .split('&')
                .map(|pair| {
                    let (key, value) = pair.split_once('=').unwrap();
                    format!("{}={}", encode(key), encode(value))
                })
                .collect();
            self.refused(Request::get(format!("{name}?{}", query.join("&"))), 400, "42703");
        }
    }

    /// What may be asked of a field, with operands from every record, seen or not.
    fn tests(&self, field: &Field) -> Vec<(Path, Test)> {
        let path = Path::of(field.name);
        let mut values: Vec<Value> = Vec::new();
        for row in self.world.rows(self.table.name) {
            let value = &row[field.name];
            if !value.is_null() && !values.contains(value) && values.len() < 3 {
                values.push(value.clone());
            }
        }
        let mut tests = vec![Test::Null, Test::NotNull];
        let compare: &[&str] = match field.kind {
            Kind::Text | Kind::Integer => &["eq", "neq", "gt", "gte", "lt", "lte", "isdistinct"],
            Kind::Uuid | Kind::Boolean => &["eq", "neq", "isdistinct"],
            Kind::Json | Kind::Tags => &[],
        };
        for (at, value) in values.iter().enumerate() {
            let some = if at == 0 { compare } else { &compare[..compare.len().min(2)] };
            tests.extend(some.iter().map(|operator| Test::Compare(operator, value.clone())));
        }
        if !compare.is_empty() && field.kind != Kind::Boolean {
            tests.push(Test::In(values.clone()));
            tests.push(Test::In(Vec::new()));
            tests.push(Test::Quantified("eq", false, values.clone()));
        }
        if matches!(field.kind, Kind::Text | Kind::Integer) {
            tests.push(Test::Quantified("gte", true, values.clone()));
        }
        match field.kind {
            Kind::Text => {
                tests.extend(values.iter().take(2).filter_map(Value::as_str).map(|value| {
                    let first: String = value.chars().take(2).collect();
                    Test::Like(format!("{first}*"), true)
                }));
                tests.push(Test::Like("*GAR*".to_owned(), false));
                tests.push(Test::Match("^x".to_owned()));
                tests.push(Test::Word("garden".to_owned()));
            }
            Kind::Boolean => tests.extend([Test::True, Test::False]),
            Kind::Tags => {
                for operator in ["cs", "cd", "ov"] {
                    tests.push(Test::Tags(operator, vec!["b"]));
                    tests.push(Test::Tags(operator, vec!["a", "b"]));
                }
            }
            Kind::Json => {
                tests.push(Test::Holds(json!({ "k": "plum" })));
                let text = Path { field: field.name, key: Some(("k", true)) };
                let number = Path { field: field.name, key: Some(("n", false)) };
                let mut inside: Vec<(Path, Test)> = vec![
                    (text.clone(), Test::Compare("eq", json!("plum"))),
                    (text.clone(), Test::Like("p*".to_owned(), true)),
                    (text.clone(), Test::In(vec![json!("fig"), json!("kiwi")])),
                    (text, Test::Null),
                    (number.clone(), Test::Compare("eq", json!(3))),
                    (number.clone(), Test::Compare("gt", json!(1))),
                    (number, Test::NotNull),
                ];
                inside.extend(tests.into_iter().map(|test| (path.clone(), test)));
                return inside;
            }
            Kind::Integer | Kind::Uuid => {}
        }
        tests.into_iter().map(|test| (path.clone(), test)).collect()
    }

    /// What raises on some contents: it may say so only where the caller sees such a record.
    fn risky(&mut self) {
        let rows = self.sight.views.rows(self.table.name).to_vec();
        let names: Vec<&'static str> = self.knows.iter().copied().collect();
        for name in names {
            let kind = self.table.field(name).unwrap().kind;
            if kind != Kind::Text || (self.table.name == "docs" && name == "status") {
                continue;
            }
            let texts: Vec<&str> = rows.iter().filter_map(|row| row[name].as_str()).collect();
            let mut raising =
                vec![("like.x\\".to_owned(), texts.iter().any(|text| text.starts_with('x')), "22025")];
            if self.caller.who.role != Role::Anon {
                raising.push(("match.(".to_owned(), !texts.is_empty(), "2201B"));
                raising.push(("imatch.x**".to_owned(), !texts.is_empty(), "2201B"));
            }
            for (test, raises, code) in raising {
                let handle = self.table.handle;
                let path = format!("{}?select={handle}&{name}={}", self.table.name, encode(&test));
                if raises {
                    if self.table.field(name).unwrap().unique {
                        // An index may tell that nothing matches before the pattern is looked at.
                        continue;
                    }
                    self.refused(Request::get(path), 400, code);
                } else {
                    let expected = Expected::Page {
                        status: 200,
                        range: "*/*".to_owned(),
                        body: json!([]),
                        ask: Ask::default(),
                    };
                    self.push(Request::get(path), expected);
                }
            }
            // A cast of what is selected.
            let number = |text: &str| text.trim().parse::<i32>().is_ok();
            let item = Item::Field { alias: Some("number"), field: Path::of(name), cast: Some("integer") };
            let ask = Ask { items: vec![item], ..self.base() };
            if texts.iter().all(|text| number(text)) {
                self.ask(ask);
            } else {
                self.refused(Request::get(ask.path(self.table.name)), 400, "22P02");
            }
        }
    }

    fn by_handle(&self, table: &Table) -> By {
        By { relation: None, field: Path::of(table.handle), descending: false, nulls_first: None }
    }

    /// The same caller at another collection.
    fn at(&self, table: &'a Table) -> Walk<'a> {
        Walk::new(self.caller, table, self.world, self.sight)
    }
}

/// `0-4/9`, `*/*`
pub(super) fn range(first: usize, rows: usize, total: Option<usize>) -> String {
    let total = total.map_or_else(|| "*".to_owned(), |total| total.to_string());
    match rows {
        0 => format!("*/{total}"),
        rows => format!("{first}-{}/{total}", first + rows - 1),
    }
}
