//! What is hidden has no name: a field or collection that a caller may not know of answers, in every position,
//! byte for byte as one that does not exist.

use futures_util::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};

use super::ask::encode;
use super::ledger::Ledger;
use super::oracle::{Action, Door, Role};
use super::random::Random;
use super::reads::AT_ONCE;
use super::relations::{Junction, Relation, relations};
use super::site::{Answer, Caller, Request, Site};
use super::world::{Row, Table, World, id, tables};

const OBJECT: &str = "application/vnd.pgrst.object+json";

/// The same request about a name that is hidden and about one that is not there.
struct Pair {
    caller: Caller,
    hidden: Request,
    absent: Request,
    names: (String, String),
}

/// A name of the same length that nothing has.
fn absent(name: &str) -> String {
    format!("{}q", &name[..name.len() - 1])
}

fn query(parts: &[(&str, &str)]) -> String {
    parts
        .iter()
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
        .collect::<Vec<_>>()
        .join("&")
}

/// Parameters in which a field `F` may be named.
fn of_field() -> Vec<String> {
    let mut all: Vec<String> = [
        "F",
        "x:F",
        "F,*",
        "F::text",
        "F::integer",
        "F::nothing",
        "F->>k",
        "F->k->0",
        "F(*)",
        "F!inner(id)",
        "...F(id)",
        "F.count()",
        "x:F.sum()",
    ]
    .iter()
    .map(|select| query(&[("select", select)]))
    .collect();
    for test in [
        "eq.1",
        "neq.1",
        "gt.1",
        "lt.x",
        "gte.x",
        "lte.1",
        "like.x*",
        "like.x\\",
        "ilike.*x*",
        "match.^x",
        "imatch.(",
        "in.(1,2)",
        "in.()",
        "is.null",
        "is.not_null",
        "is.true",
        "isdistinct.1",
        "cs.{1}",
        "cd.{1}",
        "ov.{1}",
        "cs.{\"k\":1}",
        "fts.x",
        "plfts(simple).x",
        "sl.(1,2)",
        "eq(any).{1,2}",
        "like(all).{x*}",
        "not.eq.1",
        "not.is.null",
    ] {
        all.push(query(&[("F", test)]));
    }
    for (name, value) in [
        ("F->>k", "eq.1"),
        ("F->k", "is.null"),
        ("or", "(F.eq.1,F.is.null)"),
        ("and", "(not.F.eq.1,or(F.gt.1,F.lt.x))"),
        ("not.or", "(F.like.x*)"),
        ("order", "F"),
        ("order", "F.desc.nullsfirst"),
        ("order", "F->>k.asc"),
        ("order", "F(id)"),
    ] {
        all.push(query(&[(name, value)]));
    }
    all.push(query(&[("F", "eq.1"), ("offset", "50")]));
    all
}

impl Pair {
    /// `template` speaks of `F`.
    fn new(caller: &Caller, name: &str, template: &Request) -> Pair {
        Pair::of(caller, (name, &absent(name)), template)
    }

    fn of(caller: &Caller, (name, other): (&str, &str), template: &Request) -> Pair {
        let with = |name: &str| {
            let fill = |text: &str| text.replace('F', name);
            Request {
                method: template.method.clone(),
                path: fill(&template.path),
                headers: template.headers.iter().map(|(header, value)| (*header, fill(value))).collect(),
                body: template.body.as_deref().map(fill),
            }
        };
        Pair {
            caller: caller.clone(),
            hidden: with(name),
            absent: with(other),
            names: (name.to_owned(), other.to_owned()),
        }
    }

    async fn walk(&self, site: &Site, ledger: &Ledger) {
        let hidden = site.ask(&self.caller, &self.hidden).await;
        let absent = site.ask(&self.caller, &self.absent).await;
        let (name, other) = &self.names;
        let renamed = |text: &str| text.replace(other.as_str(), name);
        let absent = Answer {
            status: absent.status,
            headers: absent.headers.iter().map(|(key, value)| (key.clone(), renamed(value))).collect(),
            body: renamed(&absent.body),
        };
        let Request { method, path, headers, body } = &self.hidden;
        ledger.cell(
            || format!("{}: {method} {path} {headers:?} {body:?} and {other}", self.caller.who.name),
            hidden,
            absent,
        );
    }
}

/// A body that holds a member `F` and what the collection asks for.
fn body_with(table: &Table, hidden: &str) -> Value {
    let mut body = json!({ "F": 1 });
    for field in
        table.fields.iter().filter(|field| field.required && field.default.is_empty() && field.name != hidden)
    {
        body[field.name] = json!("x");
    }
    body
}

fn of_hidden_fields(caller: &Caller, tables: &[Table], pairs: &mut Vec<Pair>) {
    for table in tables {
        if !matches!(caller.who.door(Action::Read, table.name), Door::Open(_)) {
            continue;
        }
        let knows = caller.who.knows(table);
        let name = table.name;
        // To who does not know all of what it digests the search is nothing.
        if !caller.who.searches(table) {
            for query in of_field() {
                pairs.push(Pair::new(caller, "search", &Request::get(format!("{name}?{query}"))));
            }
        }
        for field in table.fields.iter().filter(|field| !knows.contains(field.name)) {
            let mut add = |template: Request| pairs.push(Pair::new(caller, field.name, &template));
            for query in of_field() {
                add(Request::get(format!("{name}?{query}")));
            }
            let mut head = Request::get(format!("{name}?F=eq.1")).header("prefer", "count=exact");
            head.method = Method::HEAD;
            add(head);
            add(Request::get(format!("{name}?F=eq.1")).header("accept", "application/vnd.pgrst.object+json"));
            add(Request::get(format!("{name}?F=eq.1"))
                .header("range", "5-9")
                .header("prefer", "count=exact"));
            for media in ["text/csv", "application/vnd.pgrst.array+json;nulls=stripped"] {
                for query in ["select=F", "F=like.x*", "order=F", "select=a:F::text,*"] {
                    add(Request::get(format!("{name}?{query}")).header("accept", media));
                }
            }
            // As the name of what is embedded, and as a hint.
            for hint in ["people!F(*)", "people!inner!F(*)", "x:teams!F(*)"] {
                add(Request::get(format!("{name}?{}", query(&[("select", hint)]))));
            }
            // From the other side of each relation that exists.
            for relation in relations()
                .iter()
                .filter(|relation| relation.target == name && relation.refusal(&caller.who) == 0)
            {
                let spelled = relation.spelled();
                let key = spelled.split('!').next().unwrap().to_owned();
                // A hint may name a field of either side: it must be hidden at both.
                let source = tables.iter().find(|table| table.name == relation.from).unwrap();
                let hints = !caller.who.knows(source).contains(field.name);
                for parts in [
                    vec![("select".to_owned(), format!("{spelled}(F)"))],
                    vec![("select".to_owned(), format!("x:{spelled}!inner(F::text)"))],
                    vec![("select".to_owned(), format!("{spelled}!F(*)"))],
                    vec![("select".to_owned(), format!("{}!F(*)", relation.target))],
                    vec![("select".to_owned(), format!("{spelled}(F(*))"))],
                    vec![
                        ("select".to_owned(), format!("x:{spelled}(*)")),
                        ("x.F".to_owned(), "eq.1".to_owned()),
                    ],
                    vec![
                        ("select".to_owned(), format!("x:{spelled}(*)")),
                        ("x.or".to_owned(), "(F.eq.1)".to_owned()),
                    ],
                    vec![
                        ("select".to_owned(), format!("x:{spelled}(*)")),
                        ("x.order".to_owned(), "F".to_owned()),
                    ],
                    vec![
                        ("select".to_owned(), format!("x:{spelled}(*)")),
                        ("order".to_owned(), "x(F)".to_owned()),
                    ],
                    vec![("select".to_owned(), format!("...{spelled}(F)"))],
                    vec![("select".to_owned(), format!("...{spelled}!inner(a:F::text)"))],
                    vec![("select".to_owned(), format!("...{spelled}(x:F(*))"))],
                    vec![
                        ("select".to_owned(), format!("...{spelled}()")),
                        ("order".to_owned(), format!("{key}(F).desc")),
                    ],
                    vec![
                        ("select".to_owned(), format!("...{spelled}(*)")),
                        (format!("{key}.F"), "eq.1".to_owned()),
                        (format!("{key}.order"), "F".to_owned()),
                    ],
                ] {
                    if parts[0].1.contains("!F(") && !hints {
                        continue;
                    }
                    let parts: Vec<(&str, &str)> =
                        parts.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                    add(Request::get(format!("{}?{}", relation.from, query(&parts))));
                }
            }
            // Writes by it.
            for prefer in [
                "return=minimal",
                "return=representation",
                "count=exact",
                "handling=strict,max-affected=0",
                "return=headers-only",
            ] {
                let change = Some(json!({}));
                add(Request::write(Method::PATCH, format!("{name}?F=eq.1"), change).header("prefer", prefer));
                add(Request::write(Method::DELETE, format!("{name}?F=eq.1"), None).header("prefer", prefer));
            }
            for resolution in ["resolution=merge-duplicates", "resolution=ignore-duplicates"] {
                let conflict = Request::write(Method::POST, format!("{name}?on_conflict=F"), Some(json!({})));
                add(conflict.clone().header("prefer", resolution));
                let both =
                    Request::write(Method::POST, format!("{name}?on_conflict=id,F"), Some(json!([{}, {}])));
                add(both.header("prefer", resolution));
            }
            for method in [Method::POST, Method::PATCH, Method::PUT] {
                let filter = if method == Method::POST { "" } else { "&id=is.null" };
                let path = format!("{name}?select=F{filter}");
                add(Request::write(method, path, Some(json!({}))).header("prefer", "return=representation"));
            }
            let key = table.key[0];
            for path in ["F=eq.1", &format!("{key}=eq.1&F=eq.1"), &format!("{key}=eq.1&columns={key},F")] {
                for body in [json!({}), json!({ key: "1" }), json!({ "F": 1 })] {
                    if body.get("F").is_some()
                        && caller.who.may_name(Action::Create, table).contains(field.name)
                    {
                        continue;
                    }
                    add(Request::write(Method::PUT, format!("{name}?{path}"), Some(body))
                        .header("prefer", "missing=default,return=representation"));
                }
            }
            for (method, action) in [(Method::POST, Action::Create), (Method::PATCH, Action::Update)] {
                if caller.who.may_name(action, table).contains(field.name) {
                    continue;
                }
                let filter = if method == Method::PATCH { "?id=is.null" } else { "" };
                for body in [
                    json!({ "F": 1 }),
                    json!({ "F": null }),
                    json!({ "F": { "k": [] } }),
                    json!([{ "F": "x" }]),
                    body_with(table, field.name),
                ] {
                    add(Request::write(method.clone(), format!("{name}{filter}"), Some(body)));
                }
                let sparse =
                    Request::write(method.clone(), format!("{name}{filter}"), Some(json!([{}, { "F": 1 }])));
                add(sparse.header("prefer", "missing=default,return=headers-only"));
                let columns = if filter.is_empty() { "?columns=F" } else { "?id=is.null&columns=F" };
                add(Request::write(method.clone(), format!("{name}{columns}"), Some(json!({ "F": 1 }))));
                add(Request::write(method, format!("{name}{columns}"), Some(json!({ "title": 1 }))));
            }
        }
    }
}

fn of_hidden_collections(caller: &Caller, tables: &[Table], pairs: &mut Vec<Pair>) {
    let missing: Vec<&str> = tables
        .iter()
        .map(|table| table.name)
        .filter(|name| matches!(caller.who.door(Action::Read, name), Door::Missing))
        .chain(["shadow"])
        .collect();
    for name in missing {
        let mut add = |template: Request| pairs.push(Pair::new(caller, name, &template));
        for path in [
            "F",
            "F?select=id",
            "F?select=*,people(*)",
            "F?id=eq.1",
            "F?order=x&limit=0",
            "F?select=x::nothing",
            "F?offset=9",
        ] {
            add(Request::get(path));
            let mut head = Request::get(path).header("prefer", "count=exact");
            head.method = Method::HEAD;
            add(head);
            for body in [json!({ "id": "x" }), json!([]), json!({})] {
                add(Request::write(Method::POST, path, Some(body.clone()))
                    .header("prefer", "return=representation"));
                add(Request::write(Method::POST, path, Some(body.clone()))
                    .header("prefer", "resolution=merge-duplicates"));
                add(Request::write(Method::PATCH, path, Some(body.clone())));
                add(Request::write(Method::PUT, path, Some(body)));
            }
            add(Request::write(Method::DELETE, path, None));
            add(Request::write(Method::DELETE, path, None).header("prefer", "handling=strict,max-affected=0"));
            add(Request::get(path).header("accept", "text/csv"));
            add(Request::get(path).header("accept", "application/vnd.pgrst.object+json"));
        }
        for table in tables {
            if !matches!(caller.who.door(Action::Read, table.name), Door::Open(_)) {
                continue;
            }
            for select in [
                "F(*)",
                "x:F!inner(id)",
                "F(count)",
                "F!id(*)",
                "F()",
                "...F(id)",
                "F(people(*))",
                "labels!F(*)",
                "...people!F(*)",
            ] {
                add(Request::get(format!("{}?{}", table.name, query(&[("select", select)]))));
            }
            add(Request::get(format!("{}?{}", table.name, query(&[("select", "F(*)"), ("F.id", "eq.1")]))));
            add(Request::get(format!("{}?{}", table.name, query(&[("select", "*"), ("F.id", "eq.1")]))));
        }
    }
    // By the other names of relations that do not exist for the caller.
    for relation in relations() {
        if !matches!(caller.who.door(Action::Read, relation.from), Door::Open(_))
            || relation.refusal(&caller.who) != 400
        {
            continue;
        }
        // What a junction joins is called by its target, which may be there in another way: hints tell them apart.
        if let Some(Junction { table, .. }) = relation.junction {
            let spelled = relation.target;
            let mut hints = vec![relation.constraint()];
            let by_table = |other: &&Relation| other.junction.is_some_and(|other| other.table == table);
            let visible = || relations().iter().filter(|other| other.refusal(&caller.who) != 400);
            let here = |other: &&Relation| other.from == relation.from && other.target == relation.target;
            if !visible().filter(here).any(|other| by_table(&other)) {
                hints.push(table.to_owned());
            }
            for hint in hints {
                for select in [
                    format!("{spelled}!F(*)"),
                    format!("x:{spelled}!F!inner(*)"),
                    format!("...{spelled}!F(*)"),
                    format!("{spelled}!F(count)"),
                ] {
                    let path = format!("{}?{}", relation.from, query(&[("select", &select)]));
                    pairs.push(Pair::new(caller, &hint, &Request::get(path)));
                }
            }
            continue;
        }
        for name in [relation.name.to_owned(), relation.constraint()] {
            for select in ["F(*)", "x:F!inner(*)", "people!F(*)", "x:teams!F()"] {
                let path = format!("{}?{}", relation.from, query(&[("select", select)]));
                pairs.push(Pair::new(caller, &name, &Request::get(path)));
            }
        }
    }
}

/// A record that is hidden answers like one that is not there, wherever it can be named.
fn of_hidden_records(caller: &Caller, tables: &[Table], world: &World, pairs: &mut Vec<Pair>) {
    for table in tables {
        let name = table.name;
        let knows = caller.who.knows(table);
        if !table.has_id() || !knows.contains("id") {
            continue;
        }
        let hidden = |row: &&Row| caller.who.sees(world, table, row).is_none_or(|seen| seen["id"].is_null());
        for row in world.rows(name).iter().filter(hidden) {
            let key = row["id"].as_str().unwrap();
            let nobody = id(name, 77);
            let mut add = |template: Request| pairs.push(Pair::of(caller, (key, &nobody), &template));
            for query in
                ["id=eq.F", "id=in.(F)", "or=(id.eq.F)", "id=gte.F&id=lte.F", "id=eq.F&limit=1&offset=1"]
            {
                for media in ["application/json", "text/csv", OBJECT] {
                    add(Request::get(format!("{name}?{query}")).header("accept", media));
                }
                let mut head = Request::get(format!("{name}?{query}")).header("prefer", "count=exact");
                add(head.clone());
                head.method = Method::HEAD;
                add(head);
                let bodies = [json!({}), json!({ table.handle: "x" }), json!({ table.fields[1].name: null })];
                for prefer in
                    ["return=minimal,count=exact", "return=representation", "handling=strict,max-affected=0"]
                {
                    for body in &bodies {
                        let body = Some(body.clone());
                        let path = format!("{name}?{query}");
                        add(Request::write(Method::PATCH, path, body).header("prefer", prefer));
                    }
                    add(Request::write(Method::DELETE, format!("{name}?{query}"), None)
                        .header("prefer", prefer));
                    add(Request::write(Method::DELETE, format!("{name}?{query}"), None)
                        .header("prefer", prefer)
                        .header("accept", OBJECT));
                }
            }
            for relation in relations()
                .iter()
                .filter(|relation| relation.target == name && relation.refusal(&caller.who) == 0)
            {
                let (from, spelled) = (relation.from, relation.spelled());
                for parts in [
                    vec![("select", format!("x:{spelled}!inner(*)")), ("x.id", "eq.F".to_owned())],
                    vec![
                        ("select", format!("x:{spelled}()")),
                        ("x.id", "eq.F".to_owned()),
                        ("x", "is.null".to_owned()),
                    ],
                    vec![("select", format!("...{spelled}!inner(a:id)"))],
                    vec![
                        ("select", format!("x:{spelled}(count)")),
                        ("x.or", "(id.eq.F,id.is.null)".to_owned()),
                    ],
                ] {
                    let parts: Vec<(&str, &str)> =
                        parts.iter().map(|(name, value)| (*name, value.as_str())).collect();
                    add(Request::get(format!("{from}?{}", query(&parts))));
                }
            }
        }
    }
}

/// Who does not hold the secret key is told nothing of how requests are answered: the media type is none.
fn of_plans(caller: &Caller, tables: &[Table], pairs: &mut Vec<Pair>) {
    if caller.who.role == Role::Service {
        return;
    }
    for name in tables.iter().map(|table| table.name).chain(["shadow", "nothing"]) {
        for (media, plan) in [
            ("application/vnd.pgrst.F", "plan+json"),
            ("application/vnd.pgrst.F; for=\"application/json\"; options=analyze|buffers", "plan+json"),
            ("application/vnd.pgrst.F; for=\"text/csv\"", "plan+text"),
            ("application/vnd.pgrst.F, application/json", "plan"),
            ("text/html, application/vnd.pgrst.F;q=0.9", "plan+text"),
        ] {
            let mut add = |template: Request| {
                let template = template.header("accept", media);
                pairs.push(Pair::of(caller, (plan, &absent(plan)), &template));
            };
            add(Request::get(name));
            add(Request::get(format!("{name}?select=*,people(*)&id=eq.1")));
            let mut head = Request::get(name).header("prefer", "count=exact");
            head.method = Method::HEAD;
            add(head);
            for method in [Method::POST, Method::PATCH, Method::PUT] {
                add(Request::write(method, format!("{name}?id=is.null"), Some(json!({}))));
            }
            add(Request::write(Method::DELETE, format!("{name}?id=is.null"), None));
        }
    }
}

/// Asks about everything that is hidden, and about what is not there; the seed chooses one in so many.
pub(super) async fn walk(site: &Site, ledger: &Ledger, world: &World, seed: u64, one_in: usize) {
    let tables = tables();
    let mut pairs = Vec::new();
    for caller in site.callers() {
        of_hidden_fields(&caller, tables, &mut pairs);
        of_hidden_collections(&caller, tables, &mut pairs);
        of_hidden_records(&caller, tables, world, &mut pairs);
        of_plans(&caller, tables, &mut pairs);
    }
    let mut choices = Random::new(seed);
    pairs.retain(|_| choices.one_in(one_in));
    futures_util::stream::iter(pairs)
        .map(async |pair| pair.walk(site, ledger).await)
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<()>>()
        .await;
}
