//! Two worlds that look alike to a caller: what he may not see is different in them, and nothing that he can
//! ask tells him which one he is in.

use std::collections::BTreeSet;

use futures_util::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};

use super::ask::{encode, operand};
use super::ledger::Ledger;
use super::oracle::{Action, Door, Role, Who};
use super::random::Random;
use super::reads::AT_ONCE;
use super::relations::relations;
use super::site::{Answer, Caller, Request, Site};
use super::world::{Field, Kind, Row, Table, World, id, tables};

fn same_view(who: &Who, tables: &[Table], one: &World, other: &World) -> bool {
    tables.iter().all(|table| who.view(one, table) == who.view(other, table))
}

/// Another content for a field.
fn other(field: &Field, row: &Row, number: usize) -> Value {
    match (field.name, field.kind) {
        ("status", _) => json!(if row["status"] == "draft" { "locked" } else { "draft" }),
        (_, Kind::Text) => json!(format!("zz other {number}")),
        (_, Kind::Integer) => json!(row[field.name].as_i64().unwrap_or(0) + 1_000),
        (_, Kind::Boolean) => json!(row[field.name] != true),
        (_, Kind::Json) => json!({ "k": "other", "n": 99 }),
        (_, Kind::Tags) => json!(["other"]),
        (_, Kind::Uuid) => match field.to {
            Some(("people", _)) => json!(id("people", 2)),
            Some(("labels", _)) => json!(id("labels", 1 + number % 4)),
            Some(_) | None => row[field.name].clone(),
        },
    }
}

/// The world with as much as possible of what `who` may not see changed, and how many values that are.
/// With `more`, hidden records come and go as well.
fn twin(who: &Who, tables: &[Table], world: &World, more: bool) -> (World, usize) {
    let mut twin = world.clone();
    let mut changed = 0;
    for table in tables {
        for place in 0..world.rows(table.name).len() {
            // Whose key changes is another record: it may be told that it is taken.
            let stays = |field: &&Field| !more && table.key.contains(&field.name) || field.name == "id";
            for field in table.fields.iter().filter(|field| !stays(field)) {
                let mut tried = twin.clone();
                let row = &mut tried.0.get_mut(table.name).unwrap()[place];
                let value = other(field, row, place);
                row.insert(field.name.to_owned(), value);
                if tried != twin && is_sound(tables, &tried) && same_view(who, tables, world, &tried) {
                    twin = tried;
                    changed += 1;
                }
            }
        }
        if !more {
            continue;
        }
        // One goes, and one comes that is like the last but for what is unique.
        for place in (0..world.rows(table.name).len()).rev() {
            let mut tried = twin.clone();
            tried.0.get_mut(table.name).unwrap().remove(place);
            if is_sound(tables, &tried) && same_view(who, tables, world, &tried) {
                twin = tried;
                changed += 1;
                break;
            }
        }
        for new in world.rows(table.name).iter().flat_map(|row| likes(table, row)) {
            let mut tried = twin.clone();
            tried.0.get_mut(table.name).unwrap().push(new);
            if is_sound(tables, &tried) && same_view(who, tables, world, &tried) {
                twin = tried;
                changed += 1;
                break;
            }
        }
    }
    (twin, changed)
}

/// Records that are like this one but for what is unique.
fn likes(table: &Table, row: &Row) -> Vec<Row> {
    let mut new = row.clone();
    for field in table.fields.iter().filter(|field| field.unique) {
        let value = match field.kind {
            Kind::Text => json!("zz one more"),
            Kind::Integer => json!(800),
            _ if field.to.is_some() => Value::Null,
            _ => json!(id(table.name, 80)),
        };
        new.insert(field.name.to_owned(), value);
    }
    if table.has_id() {
        return vec![new];
    }
    let last = table.key[table.key.len() - 1];
    let (target, _) = table.field(last).and_then(|field| field.to).unwrap();
    let other =
        |number| new.clone().into_iter().chain([(last.to_owned(), json!(id(target, number)))]).collect();
    (1..5).map(other).collect()
}

/// References lead somewhere and what is unique stands once.
fn is_sound(tables: &[Table], world: &World) -> bool {
    tables.iter().all(|table| {
        let rows = world.rows(table.name);
        let leads = |row: &Row| {
            table.fields.iter().all(|field| {
                let value = &row[field.name];
                value.is_null() || field.to.is_none_or(|(target, _)| world.find(target, value).is_some())
            })
        };
        let once = |unique: &Vec<&str>| {
            let values = |row: &Row| -> Vec<Value> { unique.iter().map(|name| row[*name].clone()).collect() };
            let whole = rows.iter().map(values).filter(|values| !values.iter().any(Value::is_null));
            let whole: Vec<Vec<Value>> = whole.collect();
            whole.iter().enumerate().all(|(at, one)| !whole[..at].contains(one))
        };
        rows.iter().all(leads) && table.uniques().iter().all(once)
    })
}

/// Guesses at the words of either world, by the declared search.
fn searches(table: &Table, worlds: [&World; 2], out: &mut Vec<Request>) {
    let (name, handle) = (table.name, table.handle);
    let rows = worlds.into_iter().flat_map(|world| world.rows(name));
    let texts = rows.flat_map(|row| table.search.iter().filter_map(|field| row[*field].as_str()));
    let words: BTreeSet<&str> = texts.flat_map(str::split_whitespace).collect();
    for word in words {
        for (filter, test) in [
            ("search", format!("fts.{word}")),
            ("search", format!("not.plfts.{word}")),
            ("or", format!("(search.wfts.{word},{handle}.is.null)")),
            ("not.or", format!("(search.phfts.{word})")),
            ("search", format!("fts.{word} & ")),
        ] {
            let path = format!("{name}?select={handle}&{filter}={}&order={handle}", encode(&test));
            out.push(Request::get(path).header("prefer", "count=exact"));
        }
    }
}

/// Guesses at what stands in a field of a collection, by every technique there is.
fn guesses(who: &Who, table: &Table, field: &Field, values: &[Value], out: &mut Vec<Request>) {
    let (name, field_name, handle) = (table.name, field.name, table.handle);
    let mut get = |query: &[(&str, String)]| {
        let mut parts: Vec<String> =
            query.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        if !query.iter().any(|(name, _)| *name == "order") {
            parts.push(format!("order={handle}"));
        }
        out.push(Request::get(format!("{name}?{}", parts.join("&"))));
    };
    let select = |select: &str| ("select", select.to_owned());
    for value in values {
        let text = operand(value);
        let quoted = format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        let mut tests = vec![
            format!("eq.{text}"),
            format!("neq.{text}"),
            format!("not.eq.{text}"),
            format!("isdistinct.{text}"),
        ];
        if !matches!(field.kind, Kind::Json | Kind::Tags) {
            tests.extend([
                format!("in.({quoted})"),
                format!("not.in.({quoted})"),
                format!("eq(any).{{{quoted}}}"),
            ]);
        }
        if matches!(field.kind, Kind::Text | Kind::Integer) {
            tests.extend(["gt", "gte", "lt", "lte"].map(|operator| format!("{operator}.{text}")));
        }
        if field.kind == Kind::Text && name != "docs" || field_name == "title" {
            let first: String = text.chars().take(3).collect();
            tests.extend([
                format!("like.{first}*"),
                format!("like.{first}\\"),
                format!("ilike.*{first}\\"),
                format!("not.like.{first}*"),
                format!("like(any).{{{first}*,{first}\\\\}}"),
                format!("wfts.{first}"),
                format!("fts.{first} & "),
            ]);
            if who.role != Role::Anon {
                tests.extend([
                    format!("match.^{first}"),
                    format!("imatch.{first}("),
                    format!("match.({first}+)+$"),
                ]);
            }
        }
        for test in &tests {
            get(&[select(handle), (field_name, test.clone())]);
        }
        get(&[select("*"), ("or", format!("({field_name}.eq.{quoted},{field_name}.is.null)"))]);
        get(&[select("*"), ("not.or", format!("({field_name}.eq.{quoted})"))]);
        get(&[select("*"), ("not.and", format!("({field_name}.not.eq.{quoted},{handle}.not.is.null)"))]);
    }
    if field.kind == Kind::Json {
        for value in values {
            let k = value["k"].as_str().unwrap_or("none").to_owned();
            for (path, test) in [
                ("->>k", format!("eq.{k}")),
                ("->>k", format!("like.{k}\\")),
                ("->n", "gt.1".to_owned()),
                ("->>n", "not.is.null".to_owned()),
            ] {
                get(&[select(handle), (&format!("{field_name}{path}"), test)]);
            }
        }
        get(&[select("*"), ("order", format!("{field_name}->>k.desc,{handle}"))]);
        get(&[select(&format!("x:{field_name}->n::integer"))]);
    } else {
        for order in ["asc", "desc.nullslast"] {
            for limit in ["1", "2"] {
                get(&[
                    select("*"),
                    ("order", format!("{field_name}.{order},{handle}")),
                    ("limit", limit.to_owned()),
                ]);
            }
            get(&[
                select("*"),
                ("order", format!("{field_name}.{order},{handle}")),
                ("offset", "1".to_owned()),
            ]);
        }
        for cast in ["integer", "text", "uuid", "boolean", "jsonb"] {
            get(&[select(&format!("{field_name}::{cast}"))]);
        }
    }
}

const OBJECT: &str = "application/vnd.pgrst.object+json";
const OBJECT_STRIPPED: &str = "application/vnd.pgrst.object+json;nulls=stripped";
const STRIPPED: &str = "application/vnd.pgrst.array+json;nulls=stripped";

/// What can be asked in other ways of a collection: counts, windows, embeds, writes that name what is hidden.
fn others(who: &Who, tables: &[Table], table: &Table, world: &World, out: &mut Vec<Request>) {
    let name = table.name;
    let knows = who.knows(table);
    for query in ["", "?limit=1", "?offset=3", "?offset=50", "?select=count()"] {
        for method in [Method::GET, Method::HEAD] {
            let mut request = Request::get(format!("{name}{query}")).header("prefer", "count=exact");
            request.method = method;
            out.push(request);
        }
    }
    out.push(
        Request::get(format!("{name}?order={}", table.handle))
            .header("range", "2-40")
            .header("prefer", "count=exact"),
    );
    out.push(Request::get(name).header("accept", "application/vnd.pgrst.object+json"));
    for relation in relations().iter().filter(|relation| relation.from == name && relation.refusal(who) == 0)
    {
        let target = tables.iter().find(|table| table.name == relation.target).unwrap();
        let base = format!("order={}", table.handle);
        for (select, more) in [
            (format!("*,x:{}(*)", relation.spelled()), String::new()),
            (format!("{},x:{}!inner(*)", table.handle, relation.spelled()), String::new()),
            (format!("{},x:{}()", table.handle, relation.spelled()), "&x=is.null".to_owned()),
            (format!("{},x:{}(count)", table.handle, relation.spelled()), String::new()),
        ] {
            let path = format!("{name}?select={}&{base}&x.order={}{more}", encode(&select), target.handle);
            let path = if select.contains("(count)") || select.ends_with("x:()") {
                path.replace(&format!("&x.order={}", target.handle), "")
            } else {
                path
            };
            let request = Request::get(path).header("prefer", "count=exact");
            out.push(request.clone().header("accept", "text/csv"));
            out.push(request);
        }
        // Hoisted, whole and by what is asked of it.
        let spelled = relation.spelled();
        let key = spelled.split('!').next().unwrap();
        let hoisted: Vec<String> = target
            .fields
            .iter()
            .filter(|field| who.knows(target).contains(field.name))
            .enumerate()
            .map(|(at, field)| format!("a{at}:{}", field.name))
            .collect();
        for (inner, media) in
            [("", "application/json"), ("!inner", "application/json"), ("", "text/csv"), ("", STRIPPED)]
        {
            let select = format!("own:{},...{spelled}{inner}({})", table.handle, hoisted.join(","));
            let path = format!("{name}?select={}&{base}&{key}.order={}", encode(&select), target.handle);
            out.push(Request::get(path).header("accept", media).header("prefer", "count=exact"));
        }
        for field in target.fields.iter().filter(|field| who.knows(target).contains(field.name)) {
            let values: Vec<&Value> = world
                .rows(target.name)
                .iter()
                .map(|row| &row[field.name])
                .filter(|value| value.is_string())
                .take(3)
                .collect();
            for value in values {
                let test = if field.kind == Kind::Text && field.name != "status" {
                    format!("like.{}\\", operand(value))
                } else {
                    format!("eq.{}", operand(value))
                };
                for select in [
                    format!("{},x:{}!inner()", table.handle, relation.spelled()),
                    format!("{},x:{}!left(*)", table.handle, relation.spelled()),
                ] {
                    out.push(Request::get(format!(
                        "{name}?select={}&x.{}={}&{base}",
                        encode(&select),
                        field.name,
                        encode(&test)
                    )));
                }
            }
            if relation.to_one {
                out.push(Request::get(format!(
                    "{name}?select={}&order=x({}).desc,{}&limit=2",
                    encode(&format!("{},x:{}()", table.handle, relation.spelled())),
                    field.name,
                    table.handle
                )));
            }
        }
    }
    if !table.key.iter().all(|name| knows.contains(name)) {
        return;
    }
    for row in world.rows(name).iter().filter(|row| who.sees(world, table, row).is_none()) {
        let key: Vec<String> =
            table.key.iter().map(|name| format!("{name}=eq.{}", operand(&row[*name]))).collect();
        let place = format!("{name}?{}", key.join("&"));
        out.push(Request::get(&place).header("prefer", "count=exact"));
        for media in [OBJECT, OBJECT_STRIPPED, "text/csv"] {
            out.push(Request::get(&place).header("accept", media));
        }
        for prefer in [
            "return=minimal,count=exact",
            "return=representation",
            "return=minimal,handling=strict,max-affected=0",
        ] {
            for field in
                table.fields.iter().filter(|field| knows.contains(field.name) && field.kind != Kind::Json)
            {
                let body = json!({ field.name: row[field.name] });
                let test = if field.kind == Kind::Tags {
                    "is.null".to_owned()
                } else {
                    format!("eq.{}", encode(&operand(&row[field.name])))
                };
                if row[field.name].is_null() {
                    continue;
                }
                let path = format!("{place}&{}={test}", field.name);
                out.push(Request::write(Method::PATCH, path.clone(), Some(body)).header("prefer", prefer));
                out.push(Request::write(Method::DELETE, path, None).header("prefer", prefer));
            }
        }
        // Onto the hidden record: it is there in both worlds.
        let body: Row = row
            .iter()
            .filter(|(field, _)| who.may_name(Action::Create, table).contains(field.as_str()))
            .map(|(field, value)| (field.clone(), value.clone()))
            .collect();
        for resolution in ["merge-duplicates", "ignore-duplicates"] {
            let request = Request::write(Method::POST, name, Some(Value::Object(body.clone())));
            for returned in ["representation", "headers-only"] {
                let prefer = format!("resolution={resolution},return={returned}");
                out.push(request.clone().header("prefer", prefer));
            }
        }
        for prefer in ["return=minimal", "return=representation"] {
            let request = Request::write(Method::PUT, &place, Some(Value::Object(body.clone())));
            out.push(request.header("prefer", prefer));
        }
    }
}

/// Everything that this caller asks in both worlds.
fn questions(who: &Who, tables: &[Table], one: &World, other: &World) -> (Vec<Request>, Vec<Request>) {
    let mut reads = Vec::new();
    let mut rest = Vec::new();
    for table in tables {
        if !matches!(who.door(Action::Read, table.name), Door::Open(_)) {
            continue;
        }
        let knows = who.knows(table);
        for field in table.fields.iter().filter(|field| knows.contains(field.name)) {
            // What stands there in either world and is not the caller's to see.
            let mut values: Vec<Value> = Vec::new();
            for world in [one, other] {
                let hidden = world.rows(table.name).iter().filter(|row| {
                    who.sees(world, table, row).is_none_or(|seen| seen[field.name] != row[field.name])
                });
                for row in hidden.take(2) {
                    let value = &row[field.name];
                    if !value.is_null() && !values.contains(value) {
                        values.push(value.clone());
                    }
                }
            }
            if !values.is_empty() {
                guesses(who, table, field, &values, &mut reads);
            }
        }
        if who.searches(table) {
            searches(table, [one, other], &mut reads);
        }
        others(who, tables, table, one, &mut rest);
    }
    let (more, writes): (Vec<Request>, Vec<Request>) =
        rest.into_iter().partition(|request| matches!(request.method, Method::GET | Method::HEAD));
    reads.extend(more);
    (reads, writes)
}

async fn answers(site: &Site, caller: &Caller, requests: &[Request]) -> Vec<Answer> {
    futures_util::stream::iter(requests)
        .map(|request| site.ask(caller, request))
        .buffered(AT_ONCE)
        .collect()
        .await
}

fn differ(ledger: &Ledger, caller: &Caller, requests: &[Request], ones: Vec<Answer>, others: Vec<Answer>) {
    for ((request, one), other) in requests.iter().zip(ones).zip(others) {
        let Request { method, path, headers, body } = request;
        ledger.cell(
            || {
                format!(
                    "{}: {method} {path} {headers:?} {}",
                    caller.who.name,
                    body.as_deref().unwrap_or_default()
                )
            },
            (one.status, one.body, one.headers),
            (other.status, other.body, other.headers),
        );
    }
}

/// Asks the same in all worlds, one in so many of the questions. Answers with how many values differed between them.
pub(super) async fn walk(site: &Site, ledger: &Ledger, world: &World, seed: u64, one_in: usize) -> usize {
    let tables = tables();
    let mut changed = 0;
    let mut choices = Random::new(seed);
    for caller in site.callers().iter().filter(|caller| caller.who.role != Role::Service) {
        let (other, values) = twin(&caller.who, tables, world, false);
        let (third, more) = twin(&caller.who, tables, world, true);
        changed += values + more;
        let (mut reads, mut writes) = questions(&caller.who, tables, world, &other);
        reads.retain(|_| choices.one_in(one_in));
        writes.retain(|_| choices.one_in(one_in));
        let mut found = Vec::new();
        for place in [world, &other, &third] {
            site.fill(place).await;
            let read = answers(site, caller, &reads).await;
            // A key that is taken may be told apart: these two hold the same keys.
            let written = if *place == third { Vec::new() } else { answers(site, caller, &writes).await };
            ledger.cell(
                || format!("{}: the records after all", caller.who.name),
                site.dump().await == place.sorted(),
                true,
            );
            found.push((read, written));
        }
        let [one, two, three] = <[_; 3]>::try_from(found).unwrap();
        differ(ledger, caller, &reads, one.0.clone(), two.0);
        differ(ledger, caller, &reads, one.0, three.0);
        differ(ledger, caller, &writes, one.1, two.1);
    }
    changed
}
