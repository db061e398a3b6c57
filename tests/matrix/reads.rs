//! Every position of a read, for everybody and every collection, against the oracle's answer.

use std::collections::BTreeSet;

use futures_util::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};

use super::ask::{Ask, By, Embed, Filter, Item, Path, Sight, Test, Views, encode};
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

    /// A relation in every form of an embed.
    fn embeds(&mut self, relation: &'static Relation) {
        let name = self.table.name;
        let refusal = relation.refusal(self.sight.who);
        let spellings = relation.spellings(self.sight.who);
        if refusal != 0 {
            let code = if refusal == 400 { "PGRST200" } else { "42501" };
            for spelled in spellings {
                for query in [
                    format!("select={spelled}(*)"),
                    format!("select=x:{spelled}!inner(*)"),
                    format!("select={spelled}()&{}=is.null", spelled.split('!').next().unwrap()),
                    format!("select={spelled}(count)"),
                    format!("select=...{spelled}(*)"),
                ] {
                    self.refused(Request::get(format!("{name}?{query}")), refusal, code);
                }
            }
            return;
        }
        let target = self.sight.table(relation.target);
        let (handle, target_knows) = (target.handle, self.sight.who.knows(target));
        let by_handle = By { relation: None, field: Path::of(handle), descending: false, nulls_first: None };
        let nested: Vec<&'static Relation> = relations()
            .iter()
            .filter(|next| next.from == relation.target && next.refusal(self.sight.who) == 0)
            .collect();
        let field_tests: Vec<(Path, Test)> = target
            .fields
            .iter()
            .filter(|field| target_knows.contains(field.name))
            .flat_map(|field| {
                self.at(target)
                    .tests(field)
                    .into_iter()
                    .filter(|(_, test)| !matches!(test, Test::Match(_)))
                    .step_by(3)
                    .collect::<Vec<_>>()
            })
            .collect();
        for (at, spelled) in spellings.iter().enumerate() {
            let embed = |ask: Ask, alias, inner| Embed {
                alias,
                spelled: spelled.clone(),
                relation,
                inner,
                spread: false,
                ask,
            };
            let whole = Ask { items: vec![Item::All], ..Ask::default() };
            let with = |walk: &Walk<'_>, embeds: Vec<Embed>| {
                let handle = Item::Field { alias: None, field: Path::of(walk.table.handle), cast: None };
                let items = std::iter::once(handle).chain(embeds.into_iter().map(Item::Embed)).collect();
                Ask { items, ..walk.base() }
            };
            for inner in [false, true] {
                self.counted(with(self, vec![embed(whole.clone(), None, inner)]));
                self.ask(with(self, vec![embed(whole.clone(), Some("kin"), inner)]));
            }
            if at > 0 {
                continue;
            }
            self.spreads(spelled, relation);
            let counted = Ask { items: vec![Item::Count], ..Ask::default() };
            if !relation.to_one {
                self.ask(with(self, vec![embed(counted, Some("kin"), false)]));
                let page = Ask {
                    order: vec![By { descending: true, ..by_handle.clone() }],
                    limit: Some(1),
                    offset: Some(1),
                    ..whole.clone()
                };
                self.ask(with(self, vec![embed(page, None, false)]));
            }
            // Semi-joins and anti-joins.
            for exists in [false, true] {
                let mut ask =
                    with(self, vec![embed(Ask { items: vec![], ..Ask::default() }, Some("kin"), false)]);
                ask.filters.push(Filter::Related { key: "kin".to_owned(), exists });
                self.counted(ask.clone());
                let term = ask.filters.pop().unwrap();
                let never = Filter::Test { field: Path::of(self.table.handle), not: false, test: Test::Null };
                ask.filters.push(Filter::Or { not: exists, terms: vec![term, never] });
                self.ask(ask);
            }
            for (path, test) in &field_tests {
                let filter = Filter::Test { field: path.clone(), not: false, test: test.clone() };
                for inner in [false, true] {
                    let ask = Ask { filters: vec![filter.clone()], ..whole.clone() };
                    self.ask(with(self, vec![embed(ask, Some("kin"), inner)]));
                }
            }
            // What is hidden there is hidden here.
            let hidden: Vec<&str> = target
                .fields
                .iter()
                .map(|field| field.name)
                .filter(|field| !target_knows.contains(field))
                .collect();
            let to_one = relation.to_one;
            for field in hidden {
                let mut queries = vec![
                    format!("select={spelled}({field})"),
                    format!("select=x:{spelled}(*)&x.{field}=eq.1"),
                    format!("select=x:{spelled}!inner(*)&x.or=({field}.is.null)"),
                    format!("select=x:{spelled}(*)&x.order={field}"),
                    format!("select=...{spelled}({field})"),
                    format!("select=...{spelled}!inner(a:{field}::text)"),
                ];
                if to_one {
                    queries.push(format!("select=x:{spelled}(*)&order=x({field})"));
                    let key = spelled.split('!').next().unwrap();
                    queries.push(format!("select=...{spelled}()&order={key}({field})"));
                }
                for query in queries {
                    self.refused(Request::get(format!("{name}?{query}")), 400, "42703");
                }
            }
            if relation.to_one {
                for field in target.fields.iter().filter(|field| target_knows.contains(field.name)) {
                    if matches!(field.kind, Kind::Json | Kind::Tags) {
                        continue;
                    }
                    for descending in [false, true] {
                        let mut ask = with(self, vec![embed(whole.clone(), Some("kin"), false)]);
                        let by = By {
                            relation: Some("kin".to_owned()),
                            field: Path::of(field.name),
                            descending,
                            nulls_first: None,
                        };
                        ask.order.insert(0, by);
                        self.ask(ask);
                    }
                }
            }
            for next in &nested {
                for inner in [false, true] {
                    let inside = Embed {
                        alias: Some("next"),
                        spelled: next.spellings(self.sight.who)[0].clone(),
                        relation: next,
                        inner,
                        spread: false,
                        ask: whole.clone(),
                    };
                    let ask = Ask { items: vec![Item::All, Item::Embed(inside)], ..Ask::default() };
                    self.ask(with(self, vec![embed(ask, None, inner)]));
                }
            }
        }
    }

    /// A name that means several relationships to the caller is told with these, and with no other.
    fn ambiguous(&mut self, relation: &Relation) {
        let all = relation.ambiguous(self.sight.who);
        // Each of them would ask the same.
        if all.first() != Some(&relation) {
            return;
        }
        let (name, target) = (self.table.name, relation.target);
        for select in [format!("{target}(*)"), format!("x:{target}!inner()"), format!("...{target}(*)")] {
            let told = all.iter().map(|relation| relation.told()).collect();
            let path = format!("{name}?select={}", encode(&select));
            self.push(Request::get(path), Expected::Ambiguous(told));
        }
    }

    /// A relation whose members are hoisted: fields in every position, orders, filters, and what leads on.
    fn spreads(&mut self, spelled: &str, relation: &'static Relation) {
        let target = self.sight.table(relation.target);
        let known = self.sight.who.knows(target);
        let fields: Vec<&Field> = target.fields.iter().filter(|field| known.contains(field.name)).collect();
        let named = |alias, field: &Field, cast| Item::Field { alias, field: Path::of(field.name), cast };
        let each: Vec<Item> =
            fields.iter().zip(HOISTED[0]).map(|(field, alias)| named(Some(*alias), field, None)).collect();
        let spread = |items: Vec<Item>, inner| Embed {
            alias: None,
            spelled: spelled.to_owned(),
            relation,
            inner,
            spread: true,
            ask: Ask { items, ..Ask::default() },
        };
        let handle = Item::Field { alias: Some("own"), field: Path::of(self.table.handle), cast: None };
        let base = self.base();
        let with = |embed: Embed| Ask { items: vec![handle.clone(), Item::Embed(embed)], ..base.clone() };
        self.ask(Ask { items: vec![Item::Embed(spread(vec![Item::All], false))], ..base.clone() });
        for inner in [false, true] {
            self.counted(with(spread(each.clone(), inner)));
            self.ask(with(spread(each.clone(), inner)));
            self.ask(with(spread(each.iter().rev().take(1).cloned().collect(), inner)));
        }
        // Nothing hoisted, but a filter all the same.
        let key = spelled.split('!').next().unwrap().to_owned();
        for exists in [false, true] {
            let mut ask = with(spread(Vec::new(), false));
            ask.filters.push(Filter::Related { key: key.clone(), exists });
            self.counted(ask);
        }
        for field in fields {
            if field.kind != Kind::Json && field.kind != Kind::Tags {
                self.ask(with(spread(vec![named(Some("cast"), field, Some("text"))], false)));
                for descending in [false, true] {
                    let by =
                        By { relation: None, field: Path::of(field.name), descending, nulls_first: None };
                    let mut ask = with(spread(each.clone(), false));
                    if relation.to_one {
                        // By the record that is hoisted.
                        ask.order.insert(0, By { relation: Some(key.clone()), ..by });
                    } else if let Some(Item::Embed(embed)) = ask.items.last_mut() {
                        embed.ask.order = vec![by, self.by_handle(target)];
                        embed.ask.limit = Some(2);
                    }
                    self.ask(ask);
                }
            } else if field.kind == Kind::Json {
                let inside = Path { field: field.name, key: Some(("k", true)) };
                let item = Item::Field { alias: Some("inside"), field: inside, cast: None };
                self.ask(with(spread(vec![item], false)));
            }
            for (path, test) in self.at(target).tests(field).into_iter().step_by(4) {
                if matches!(test, Test::Match(_)) {
                    continue;
                }
                for inner in [false, true] {
                    let mut embed = spread(each.clone(), inner);
                    let (field, test) = (path.clone(), test.clone());
                    embed.ask.filters.push(Filter::Test { field, not: false, test });
                    self.ask(with(embed));
                }
            }
        }
        // From there on: an embed in the spread, and a spread in it.
        for next in relations().iter().filter(|next| next.from == relation.target) {
            if next.refusal(self.sight.who) != 0 {
                continue;
            }
            let far = self.sight.table(next.target);
            let known = self.sight.who.knows(far);
            let hoisted = far.fields.iter().filter(|field| known.contains(field.name)).zip(HOISTED[1]);
            let items = hoisted.map(|(field, alias)| named(Some(*alias), field, None)).collect();
            for next_spread in [false, true] {
                let inside = Embed {
                    alias: (!next_spread).then_some("next"),
                    spelled: next.spelled(),
                    relation: next,
                    inner: false,
                    spread: next_spread,
                    ask: Ask {
                        items: Vec::clone(&items),
                        order: vec![self.by_handle(far)],
                        ..Ask::default()
                    },
                };
                let mut embed = spread(each.clone(), false);
                embed.ask.items.push(Item::Embed(inside));
                self.ask(with(embed));
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

    /// A filter of several terms, an embed or two, an order and a window, as the dice fall.
    fn compound(&self, choices: &mut Random) -> Ask {
        let mut ask = self.level(self.table, choices, 0);
        for by in self.base().order {
            ask.order.push(by);
        }
        if choices.one_in(3) {
            ask.limit = Some(choices.below(4));
        }
        if choices.one_in(4) {
            ask.offset = Some(choices.below(3));
        }
        ask
    }

    fn level(&self, table: &'a Table, choices: &mut Random, depth: usize) -> Ask {
        let mut ask = Ask { items: vec![Item::All], ..Ask::default() };
        let ways: Vec<&'static Relation> = relations()
            .iter()
            .filter(|way| way.from == table.name && way.refusal(self.sight.who) == 0)
            .collect();
        if depth < 3 && !ways.is_empty() {
            for alias in ["one", "two"].iter().take(choices.below(3)) {
                let relation = *choices.pick(&ways);
                let target = self.sight.table(relation.target);
                let inside = self.level(target, choices, depth + 1);
                let spelled = choices.pick(&relation.spellings(self.sight.who)).clone();
                let inner = choices.one_in(3);
                let embed =
                    Embed { alias: Some(alias), spelled, relation, inner, spread: false, ask: inside };
                ask.items.push(Item::Embed(embed));
            }
            if choices.one_in(4) {
                let way = *choices.pick(&ways);
                let embed = self.hoist(way, choices, depth);
                ask.items.push(Item::Embed(embed));
            }
        }
        for _ in 0..choices.below(if depth == 0 { 3 } else { 2 }) {
            let filter = self.term(table, &ask, choices, 0);
            ask.filters.push(filter);
        }
        let knows: Vec<&Field> = table
            .fields
            .iter()
            .filter(|field| {
                !matches!(field.kind, Kind::Json | Kind::Tags)
                    && self.sight.who.knows(table).contains(field.name)
            })
            .collect();
        if choices.one_in(2) && !knows.is_empty() {
            let field = Path::of(choices.pick(&knows).name);
            let nulls_first = *choices.pick(&[None, Some(true), Some(false)]);
            ask.order.push(By { relation: None, field, descending: choices.one_in(2), nulls_first });
        }
        if depth > 0 && choices.one_in(3) {
            // Total, so that the page is one and no other.
            ask.order.push(By {
                relation: None,
                field: Path::of(table.handle),
                descending: false,
                nulls_first: None,
            });
            ask.limit = Some(1 + choices.below(2));
        } else if depth > 0 {
            ask.order.clear();
        }
        ask
    }

    /// A spread of some fields.
    fn hoist(&self, relation: &'static Relation, choices: &mut Random, depth: usize) -> Embed {
        let target = self.sight.table(relation.target);
        let known = self.sight.who.knows(target);
        let fields = target.fields.iter().filter(|field| known.contains(field.name));
        let mut items: Vec<Item> = fields
            .zip(HOISTED[depth])
            .map(|(field, alias)| Item::Field { alias: Some(alias), field: Path::of(field.name), cast: None })
            .collect();
        items.truncate(1 + choices.below(3));
        let mut ask = Ask { items, ..Ask::default() };
        if choices.one_in(2) {
            let filter = self.term(target, &ask, choices, 1);
            ask.filters.push(filter);
        }
        if choices.one_in(2) {
            ask.order.push(self.by_handle(target));
            ask.limit = choices.one_in(2).then_some(1);
        }
        // A field's own name would also be a filter's.
        let spelled = if relation.to_one { relation.constraint() } else { relation.spelled() };
        Embed { alias: None, spelled, relation, inner: choices.one_in(3), spread: true, ask }
    }

    fn term(&self, table: &'a Table, ask: &Ask, choices: &mut Random, depth: usize) -> Filter {
        if depth < 2 && choices.one_in(3) {
            let terms =
                (0..1 + choices.below(3)).map(|_| self.term(table, ask, choices, depth + 1)).collect();
            let not = choices.one_in(2);
            return if choices.one_in(2) { Filter::And { not, terms } } else { Filter::Or { not, terms } };
        }
        let embeds: Vec<String> = ask
            .items
            .iter()
            .filter_map(|item| match item {
                Item::Embed(embed) => Some(embed.key()),
                _ => None,
            })
            .collect();
        if !embeds.is_empty() && choices.one_in(4) {
            return Filter::Related { key: choices.pick(&embeds).clone(), exists: choices.one_in(2) };
        }
        let knows = self.sight.who.knows(table);
        let fields: Vec<&Field> = table.fields.iter().filter(|field| knows.contains(field.name)).collect();
        let mut tests = self.at(table).tests(choices.pick::<&Field>(&fields));
        tests.retain(|(_, test)| !(matches!(test, Test::Match(_)) && self.caller.who.role == Role::Anon));
        let (field, test) = choices.pick(&tests).clone();
        Filter::Test { field, not: choices.one_in(3), test }
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
