//! The description of the doors: for everybody exactly the collections, methods, fields and relations that the
//! policy text gives him.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::ask::SEARCH;
use super::ledger::Ledger;
use super::oracle::{Action, Door, Rule, Who};
use super::relations::relations;
use super::site::{Caller, Request, Site};
use super::world::{Table, tables};

/// What a description says of one collection.
#[derive(Debug, Default, PartialEq)]
struct Told {
    methods: BTreeSet<String>,
    /// By method: the fields that may be filtered by.
    filters: BTreeMap<String, BTreeSet<String>>,
    /// By schema (`create`, `update`, `stripped`, none for records): the members.
    members: BTreeMap<String, BTreeSet<String>>,
    /// The members that are null on some records because these hide them.
    masked: BTreeSet<String>,
    /// (by which field or none, what `select` says, the collection that it brings, whether that is one record)
    relations: BTreeSet<(String, String, String, bool)>,
    /// A write may merge, and be answered by its records.
    merges: bool,
    represents: bool,
}

fn open(who: &Who, action: Action, table: &Table) -> Option<Vec<&'static Rule>> {
    match who.door(action, table.name) {
        Door::Open(rules) => Some(rules),
        Door::Missing | Door::Shut => None,
    }
}

/// What the policy text gives somebody at a collection; none where it gives nothing.
fn given(who: &Who, table: &Table) -> Option<Told> {
    if matches!(who.door(Action::Read, table.name), Door::Missing) {
        return None;
    }
    let owned = |names: &mut dyn Iterator<Item = &'static str>| names.map(str::to_owned).collect();
    let mut told = Told::default();
    let knows = who.knows(table);
    let offered = |rules: &[&Rule]| -> BTreeSet<String> {
        let offers = |name: &&'static str| {
            rules.iter().any(|rule| rule.covers(name) && rule.set.is_none_or(|(set, _)| set != *name))
        };
        owned(&mut table.fields.iter().map(|field| field.name).filter(offers))
    };
    let known: BTreeSet<String> = owned(&mut knows.iter().copied());
    // The search is a filter, and no member of a record.
    let mut filters = known.clone();
    filters.extend(who.searches(table).then(|| SEARCH.to_owned()));
    let key: BTreeSet<String> = owned(&mut table.key.iter().copied());
    let read = open(who, Action::Read, table);
    let create = open(who, Action::Create, table).map(|rules| offered(&rules));
    let update = open(who, Action::Update, table).filter(|_| read.is_some()).map(|rules| offered(&rules));
    let delete = open(who, Action::Delete, table).filter(|_| read.is_some());
    let mut add = |method: &str, filters: &BTreeSet<String>| {
        told.methods.insert(method.to_owned());
        told.filters.insert(method.to_owned(), filters.clone());
    };
    if read.is_some() {
        add("get", &filters);
        add("head", &filters);
    }
    if create.is_some() {
        add("post", &BTreeSet::new());
    }
    if update.is_some() {
        add("patch", &filters);
    }
    if delete.is_some() {
        add("delete", &filters);
    }
    let keyed = |create: &BTreeSet<String>| key.is_subset(create) && key.is_subset(&known);
    if update.is_some() && create.as_ref().is_some_and(keyed) {
        add("put", &key);
    }
    told.merges = create.is_some() && update.is_some();
    told.represents = create.is_some() && read.is_some();
    if let Some(rules) = read {
        // Whole, and without what is null.
        told.members.insert(String::new(), known.clone());
        told.members.insert("stripped".to_owned(), known.clone());
        let always = |name: &str| rules.iter().any(|rule| !rule.conditional && rule.covers(name));
        let masked = |name: &&'static str| !always(name) && !rules.iter().all(|rule| rule.covers(name));
        told.masked = owned(&mut knows.iter().copied().filter(masked));
        for relation in relations().iter().filter(|relation| relation.from == table.name) {
            // A name that means several means none.
            let lost = relation.junction.is_some() && !relation.ambiguous(who).is_empty();
            if relation.refusal(who) == 0 && !lost {
                let by = if relation.ours { relation.local } else { "" };
                let [by, name, target] = [by, relation.name, relation.target].map(str::to_owned);
                told.relations.insert((by, name, target, relation.to_one));
            }
        }
    }
    told.members.extend(create.map(|members| ("create".to_owned(), members)));
    told.members.extend(update.map(|members| ("update".to_owned(), members)));
    Some(told)
}

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect()
}

/// What stands between backticks, in turn.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// What a document says of a collection.
fn said(document: &Value, name: &str) -> Told {
    let parts = &document["components"];
    let mut told = Told::default();
    let path = &document["paths"][format!("/{name}")];
    for (method, operation) in path.as_object().into_iter().flatten() {
        told.methods.insert(method.clone());
        let prefix = format!("#/components/parameters/filter.{name}.");
        let parameters = operation["parameters"].as_array().unwrap();
        let named = parameters.iter().filter_map(|one| one["$ref"].as_str()?.strip_prefix(&prefix));
        told.filters.insert(method.clone(), named.map(str::to_owned).collect());
        if method == "post" {
            let text = operation.to_string();
            told.merges = text.contains("merge-duplicates");
            told.represents = text.contains("return=representation");
        }
    }
    for part in ["", "stripped", "create", "update"] {
        let schema = format!("{name}{}{part}", if part.is_empty() { "" } else { "." });
        let schema = &parts["schemas"][schema];
        if schema.is_object() {
            told.members.insert(part.to_owned(), keys(&schema["properties"]));
        }
    }
    let record = &parts["schemas"][name];
    for (field, schema) in record["properties"].as_object().into_iter().flatten() {
        let text = schema["description"].as_str().unwrap_or_default();
        if text.contains("hide it from the caller") {
            told.masked.insert(field.clone());
        }
        if let [target, means, ..] = quoted(text)[..] {
            let means = means.trim_end_matches("(…)").to_owned();
            told.relations.insert((field.clone(), means, target.to_owned(), true));
        }
    }
    let text = record["description"].as_str().unwrap_or_default();
    for sentence in text.split_inclusive("refer to it.") {
        if let [means, _, target] = quoted(sentence)[..] {
            let means = means.trim_end_matches("(…)").to_owned();
            let one = sentence.contains("the one record");
            told.relations.insert((String::new(), means, target.to_owned(), one));
        }
    }
    told
}

fn words(value: &Value, out: &mut BTreeSet<String>) {
    let mut add = |text: &str| {
        let split = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        out.extend(split.filter(|word| !word.is_empty()).map(str::to_owned));
    };
    match value {
        Value::String(text) => add(text),
        Value::Array(elements) => elements.iter().for_each(|element| words(element, out)),
        Value::Object(members) => {
            members.keys().for_each(|name| add(name));
            members.values().for_each(|member| words(member, out));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Words of the project that stand in the document and that the caller has no way to know.
fn strangers(who: &Who, document: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    words(document, &mut found);
    // What is said to everybody in our own words.
    let mut ours = BTreeSet::new();
    let mut frame = document.clone();
    for parts in ["schemas", "parameters"] {
        let parts = frame["components"][parts].as_object_mut().unwrap();
        parts.retain(|name, _| name == "Error" || !name.starts_with("filter."));
    }
    frame["paths"].as_object_mut().unwrap().retain(|name, _| name == "/");
    frame["tags"] = Value::Null;
    frame["components"]["schemas"].as_object_mut().unwrap().retain(|name, _| name == "Error");
    words(&frame, &mut ours);
    let mut known = BTreeSet::new();
    for table in tables() {
        let Some(told) = given(who, table) else { continue };
        known.insert(table.name.to_owned());
        known.extend(told.members.into_values().flatten());
        known.extend(told.relations.into_iter().flat_map(|(_, name, target, _)| [name, target]));
    }
    let mut project: BTreeSet<String> = relations().iter().map(|relation| relation.constraint()).collect();
    for table in tables() {
        project.insert(table.name.to_owned());
        for field in &table.fields {
            project.insert(field.name.to_owned());
            project.extend(field.to.map(|(_, inverse)| inverse.to_owned()));
        }
    }
    // Words of our sentences about what can be done with records.
    let plain = ["body", "by", "note", "name", "since"].map(str::to_owned);
    let allowed = |word: &String| known.contains(word) || ours.contains(word) || plain.contains(word);
    found.into_iter().filter(|word| project.contains(word) && !allowed(word)).collect()
}

async fn of(site: &Site, ledger: &Ledger, caller: &Caller) {
    let answer = site.ask(caller, &Request::get("")).await;
    let who = &caller.who;
    let name = who.name;
    ledger.cell(|| format!("{name}: the description"), answer.status, 200);
    let document = answer.json();
    let mut collections = BTreeSet::new();
    let mut filters = BTreeSet::new();
    let mut schemas: BTreeSet<String> = ["Error".to_owned()].into();
    for table in tables() {
        let found = said(&document, table.name);
        let expected = given(who, table);
        if let Some(told) = &expected {
            collections.insert(table.name.to_owned());
            for part in told.members.keys() {
                let dot = if part.is_empty() { "" } else { "." };
                schemas.insert(format!("{}{dot}{part}", table.name));
            }
            let named = told.filters.get("get").into_iter().flatten();
            filters.extend(named.map(|field| format!("filter.{}.{field}", table.name)));
        }
        ledger.cell(
            || format!("{name}: what is told of {}", table.name),
            found,
            expected.unwrap_or_default(),
        );
    }
    // And nothing else.
    let mut paths = keys(&document["paths"]);
    ledger.cell(|| format!("{name}: the description is told of"), paths.remove("/"), true);
    let paths: BTreeSet<String> = paths.iter().map(|path| path.trim_start_matches('/').to_owned()).collect();
    let tags = document["tags"].as_array().into_iter().flatten();
    let tags: BTreeSet<String> =
        tags.map(|tag| tag["name"].as_str().unwrap_or_default().to_owned()).collect();
    let mut parameters = keys(&document["components"]["parameters"]);
    parameters.retain(|parameter| parameter.starts_with("filter."));
    ledger.cell(|| format!("{name}: all paths"), paths, collections.clone());
    ledger.cell(|| format!("{name}: all tags"), tags, collections);
    ledger.cell(|| format!("{name}: all filters"), parameters, filters);
    ledger.cell(|| format!("{name}: all schemas"), keys(&document["components"]["schemas"]), schemas);
    ledger.cell(|| format!("{name}: words of others"), strangers(who, &document), BTreeSet::new());
}

/// Compares the descriptions of all callers with what the policy text gives them.
pub(super) async fn walk(site: &Site, ledger: &Ledger) {
    for caller in site.callers() {
        of(site, ledger, &caller).await;
    }
}
