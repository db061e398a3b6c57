//! Reads `tests:`: names looked up, values of their fields' kinds, and every case one that can fail.

use std::collections::HashMap;

use uuid::Uuid;

use super::fault::{At, Faults, listed};
use super::gather::Definition;
use super::generate::Generator;
use super::given::{RowDraft, Rows};
use super::later::Place;
use super::literal;
use super::read::{Entries, Word, get};
use super::resolve;
use super::stored;
use super::tests::{Act, Caller, Case, Change, Expect, Tests, Told, named_uuid};
use super::yaml::{Broken, Node, Plain, Tree};
use crate::model::{Action, Bucket, CollectionId, Collections, Field, FieldId, Kind, SERVICE_ROLE, Value};
use crate::policy::{Role, Rule};

pub(super) const TESTS_KEYS: [&str; 2] = ["given", "cases"];

pub(super) const CASE_KEYS: [&str; 14] = [
    "as",
    "read",
    "create",
    "update",
    "delete",
    "subscribe",
    "with",
    "when_created",
    "when_updated",
    "when_deleted",
    "is",
    "hidden",
    "because",
    "sees",
];

/// What may become of a record while somebody is subscribed.
pub(super) const CHANGES: [&str; 3] = ["when_created", "when_updated", "when_deleted"];

/// What the tests may speak of.
pub(super) struct Words<'a> {
    pub(super) collections: &'a Collections,
    pub(super) roles: &'a [Role],
    pub(super) rules: &'a [Rule],
    pub(super) buckets: &'a [Bucket],
    pub(super) conditions: &'a [String],
    pub(super) broken: &'a Broken,
}

pub(super) fn read(definitions: &[Definition<'_>], words: &Words<'_>, faults: &mut Faults<'_>) -> Vec<Tests> {
    definitions.iter().filter_map(|(key, node)| words.tests(key.at, node, faults)).collect()
}

impl Words<'_> {
    fn tests(&self, at: At, node: &Node, faults: &mut Faults<'_>) -> Option<Tests> {
        let entries = faults.map(node, "`tests`")?;
        faults.keys(Place::Tests, entries, &TESTS_KEYS);
        let mut rows = Rows { users: Vec::new(), drafts: Vec::new(), at };
        if let Some(node) = get(entries, "given") {
            self.given(node, &mut rows, faults);
        }
        let cases: Vec<Case> = match get(entries, "cases") {
            Some(node) => {
                let items = faults.list(node, "`cases`")?;
                items.iter().filter_map(|item| self.case(item, &mut rows, faults)).collect()
            }
            None => {
                faults.add(at, "`tests` without `cases` tests nothing");
                return None;
            }
        };
        let file = faults.path(at.file).to_owned();
        let given = self.complete(rows, faults)?;
        let mut names = HashMap::new();
        name_uuids(node, &mut names);
        Some(Tests { file, given, cases, names })
    }

    fn given(&self, node: &Node, rows: &mut Rows, faults: &mut Faults<'_>) {
        for (key, value) in faults.map(node, "`given`").unwrap_or_default() {
            if key.text == "users" && self.collections.find("users").is_none() {
                for word in faults.words(value, "`users`").unwrap_or_default() {
                    rows.user(word.text);
                }
                continue;
            }
            let Some(id) = self.collection(Word { text: &key.text, at: key.at }, faults) else { continue };
            for item in faults.list(value, &format!("`{}`", key.text)).unwrap_or_default() {
                let Some(entries) = faults.map(item, "a record") else { continue };
                let mut values = self.values(id, entries, true, faults);
                if self.is_stored(id) {
                    self.in_a_bucket(&mut values, entries, item.at, faults);
                }
                rows.drafts.push(RowDraft {
                    at: item.at,
                    collection: id,
                    values: values.into_iter().collect(),
                });
            }
        }
    }

    fn collection(&self, word: Word<'_>, faults: &mut Faults<'_>) -> Option<CollectionId> {
        // Where no bucket is declared nothing is stored that rules could speak of.
        let found =
            self.collections.titled(word.text).filter(|id| !self.is_stored(*id) || !self.buckets.is_empty());
        if found.is_none() && !self.broken.contains(word.text) {
            let all = self.collections.with_objects();
            let known = all.filter(|(id, _)| !self.is_stored(*id) || !self.buckets.is_empty());
            let names: Vec<String> = known.map(|(_, collection)| collection.title()).collect();
            faults.unknown(word.at, "collection", word.text, names.iter().map(String::as_str));
        }
        found
    }

    /// Values by field. What a record is given with must meet its fields; what a case sends may be refused.
    fn values(
        &self,
        id: CollectionId,
        entries: &Entries,
        given: bool,
        faults: &mut Faults<'_>,
    ) -> Vec<(FieldId, Value)> {
        let collection = self.collections.get(id);
        let mut values = Vec::new();
        for (key, node) in entries {
            let Some(field_id) = collection.field_id(&key.text) else {
                let word = Word { text: &key.text, at: key.at };
                resolve::unknown_field(word, collection, self.broken, faults);
                continue;
            };
            let field = collection.field(field_id);
            if self.broken.contains(&key.text) {
                continue;
            }
            let Some(value) = named_value(node, field, faults) else { continue };
            if given && let Err(why) = literal::meets(&value, field) {
                faults.add(node.at, format!("`{}` {why}", field.name));
                continue;
            }
            values.push((field_id, value));
        }
        values
    }

    fn case(&self, node: &Node, rows: &mut Rows, faults: &mut Faults<'_>) -> Option<Case> {
        let entries = faults.map(node, "a case")?;
        faults.keys(Place::Case, entries, &CASE_KEYS);
        let caller = match get(entries, "as") {
            Some(node) => self.caller(node, rows, faults),
            None => {
                faults.hint(node.at, "a case says who asks", "as in `as: anon` or `as: user:ada`");
                None
            }
        };
        // `None` is a subscription.
        let mut asked = entries.iter().filter_map(|(key, value)| {
            let action = Action::ALL.into_iter().find(|action| action.as_str() == key.text);
            (action.is_some() || key.text == "subscribe").then_some((action, key, value))
        });
        let Some((action, key, target)) = asked.next() else {
            faults.hint(
                node.at,
                "a case asks for something",
                "`read`, `create`, `update`, `delete` or `subscribe`",
            );
            return None;
        };
        if let Some((_, second, _)) = asked.next() {
            faults.add(
                second.at,
                format!("a case asks for one thing, and this one has `{}` already", key.text),
            );
        }
        let changes = || entries.iter().filter(|(key, _)| CHANGES.contains(&key.text.as_str()));
        let (act, expect) = match action {
            Some(action) => {
                if let Some((change, _)) = changes().next() {
                    faults.add(change.at, format!("`{}` belongs to a `subscribe`", change.text));
                }
                let act = self.act(action, caller.as_ref(), target, entries, rows, faults);
                let expect = self.expect(node, action, act.as_ref(), entries, rows, faults);
                (act, expect)
            }
            None => (self.subscribe(target, entries, rows, faults), self.told(node, entries, faults)),
        };
        let (caller, act, expect) = (caller?, act?, expect?);
        let who = get(entries, "as").map(text_of).unwrap_or_default();
        let mut title = format!("{who} {} {}", key.text, text_of(target));
        if let Some((change, node)) = changes().next() {
            let key = match &node.tree {
                Tree::Map(entries) => entries.first().map_or("", |(key, _)| key.text.as_str()),
                Tree::Scalar(..) | Tree::List(_) | Tree::Bad => text_of(node),
            };
            title = format!("{title} {} {key}", change.text);
        }
        Some(Case { line: faults.position(node.at).0, title, caller, act, expect })
    }

    fn caller(&self, node: &Node, rows: &mut Rows, faults: &mut Faults<'_>) -> Option<Caller> {
        let word = faults.word(node, "`as`")?;
        match word.text {
            "anon" => return Some(Caller::Anonymous),
            "service" | SERVICE_ROLE => return Some(Caller::Service),
            _ => {}
        }
        let Some(rest) =
            word.text.strip_prefix("user:").filter(|rest| !rest.starts_with('+') && !rest.is_empty())
        else {
            faults.hint(
                word.at,
                format!("`{}` is nobody", word.text),
                "`anon`, `service`, `user:NAME` or `user:NAME+ROLE`",
            );
            return None;
        };
        let mut parts = rest.split('+');
        let name = parts.next().unwrap_or_default();
        let mut roles = Vec::new();
        for part in parts {
            match self.roles.iter().find(|role| role.name == *part) {
                Some(role) if role.name == *SERVICE_ROLE => {
                    faults.hint(
                        word.at,
                        "nobody is granted `service_role`",
                        "`as: service` is the secret key",
                    );
                    return None;
                }
                Some(role) => roles.push(role.name.clone()),
                None if self.broken.contains(part) => return None,
                None => {
                    let names = self.roles.iter().map(|role| role.name.as_str());
                    faults.unknown(word.at, "role", part, names);
                    return None;
                }
            }
        }
        let claims = serde_json::Map::new();
        Some(Caller::User { name: name.to_owned(), id: rows.user(name), roles, claims })
    }

    fn act(
        &self,
        action: Action,
        caller: Option<&Caller>,
        target: &Node,
        entries: &Entries,
        rows: &Rows,
        faults: &mut Faults<'_>,
    ) -> Option<Act> {
        let word = faults.word(target, &format!("`{}`", action.as_str()))?;
        let (name, key) = match word.text.split_once('/') {
            Some((name, key)) => (name, Some(key)),
            None => (word.text, None),
        };
        let collection = self.collection(Word { text: name, at: word.at }, faults)?;
        let with = get(entries, "with");
        let sent = match with {
            Some(node) => faults.map(node, "`with`")?,
            None => &[],
        };
        let mut values = self.values(collection, sent, false, faults);
        if values.len() != sent.len() {
            return None;
        }
        if self.is_stored(collection) {
            self.sent_with_object(action, caller, &mut values, sent, target.at, faults);
        }
        if let (Some(with), Action::Read | Action::Delete) = (with, action) {
            faults.add(with.at, format!("a `{}` sends no values", action.as_str()));
        }
        match (action, key) {
            (Action::Read, None) => Some(Act::List { collection }),
            (Action::Create, None) => {
                let filled = self.filled(collection, &values, target.at, faults)?;
                Some(Act::Create { collection, values, filled })
            }
            (Action::Create, Some(_)) => {
                faults.hint(word.at, "a `create` names a collection", "the key goes into `with`");
                None
            }
            (Action::Update | Action::Delete, None) => {
                faults.hint(word.at, "which record?", format!("as in `{name}/p1`"));
                None
            }
            (Action::Read | Action::Update | Action::Delete, Some(key)) => {
                let key = self.key(collection, Word { text: key, at: word.at }, rows, faults)?;
                match action {
                    Action::Update if values.is_empty() => {
                        faults.hint(word.at, "an `update` changes something", "as in `with: { title: hi }`");
                        None
                    }
                    Action::Update => Some(Act::Update { collection, key, values }),
                    Action::Delete => Some(Act::Delete { collection, key }),
                    Action::Read | Action::Create => Some(Act::Read { collection, key }),
                }
            }
        }
    }

    /// `subscribe: posts` and the one change that somebody makes meanwhile.
    fn subscribe(
        &self,
        target: &Node,
        entries: &Entries,
        rows: &Rows,
        faults: &mut Faults<'_>,
    ) -> Option<Act> {
        let word = faults.word(target, "`subscribe`")?;
        let collection = self.collection(word, faults)?;
        if !self.collections.get(collection).realtime {
            let message = format!("`{}` sends no changes: it is declared with `realtime: false`", word.text);
            faults.add(word.at, message);
            return None;
        }
        if let Some(with) = get(entries, "with") {
            faults.add(with.at, "a `subscribe` sends no values");
        }
        let mut changes = entries.iter().filter(|(key, _)| CHANGES.contains(&key.text.as_str()));
        let Some((word, node)) = changes.next() else {
            faults.hint(target.at, "what happens meanwhile?", "as in `when_updated: { p1: { title: hi } }`");
            return None;
        };
        if let Some((second, _)) = changes.next() {
            faults
                .add(second.at, format!("one change is watched, and this case has `{}` already", word.text));
            return None;
        }
        let what = format!("`{}`", word.text);
        if word.text == "when_deleted" {
            let key = self.key(collection, faults.word(node, &what)?, rows, faults)?;
            return Some(Act::Subscribe { collection, change: Change::Deleted { key } });
        }
        let [(named, record)] = faults.map(node, &what)? else {
            faults.hint(node.at, format!("{what} names one record"), "as in `{ p1: { title: hi } }`");
            return None;
        };
        let named = Word { text: &named.text, at: named.at };
        let members = faults.map_or_nothing(record, "a record")?;
        let mut values = self.values(collection, members, true, faults);
        if values.len() != members.len() {
            return None;
        }
        let change = if word.text == "when_updated" {
            let key = self.key(collection, named, rows, faults)?;
            if values.is_empty() {
                faults.hint(record.at, "an update changes something", "as in `{ p1: { title: hi } }`");
                return None;
            }
            Change::Updated { key, values }
        } else {
            let key = self.new_key(collection, named, rows, faults)?;
            for (field, part) in self.collections.get(collection).primary_key.iter().zip(key) {
                values.retain(|(known, _)| known != field);
                values.push((*field, part));
            }
            if self.is_stored(collection) {
                self.in_a_bucket(&mut values, members, record.at, faults);
            }
            let filled = self.filled(collection, &values, node.at, faults)?;
            Change::Created { values, filled }
        };
        Some(Act::Subscribe { collection, change })
    }

    /// What a listener expects to be told.
    fn told(&self, node: &Node, entries: &Entries, faults: &mut Faults<'_>) -> Option<Expect> {
        for key in ["is", "hidden", "because"] {
            if let Some(node) = get(entries, key) {
                faults.add(node.at, format!("`{key}` is no answer to a `subscribe`, which has `sees`"));
            }
        }
        let words = Told::ALL.map(Told::as_str);
        let Some(sees) = get(entries, "sees") else {
            faults.hint(node.at, "a case says what is expected", format!("`sees` is {}", listed(&words)));
            return None;
        };
        let word = faults.word(sees, "`sees`")?;
        let told = Told::ALL.into_iter().find(|told| told.as_str() == word.text);
        if told.is_none() {
            faults.unknown(word.at, "event", word.text, words);
        }
        told.map(Expect::Told)
    }

    /// The key of a record that is not given.
    fn new_key(
        &self,
        id: CollectionId,
        word: Word<'_>,
        rows: &Rows,
        faults: &mut Faults<'_>,
    ) -> Option<Vec<Value>> {
        let key = self.key_parts(id, word, faults)?;
        if self.is_given(id, &key, rows) {
            let name = self.collections.get(id).title();
            faults.add(word.at, format!("a record `{}` of `{name}` is given already", word.text));
            return None;
        }
        Some(key)
    }

    fn is_given(&self, id: CollectionId, key: &[Value], rows: &Rows) -> bool {
        let fields = &self.collections.get(id).primary_key;
        rows.drafts.iter().any(|row| {
            row.collection == id
                && fields.iter().zip(key).all(|(field, value)| row.values.get(field) == Some(value))
        })
    }

    /// A key as a case writes it, of a record that is given: what a case asks of a record that is not there
    /// is denied to everybody, and would prove nothing.
    fn key(
        &self,
        id: CollectionId,
        word: Word<'_>,
        rows: &Rows,
        faults: &mut Faults<'_>,
    ) -> Option<Vec<Value>> {
        let key = self.key_parts(id, word, faults)?;
        if !self.is_given(id, &key, rows) {
            let name = self.collections.get(id).title();
            faults.hint(
                word.at,
                format!("no record `{}` of `{name}` is given", word.text),
                format!("put it under `given: {name}`"),
            );
            return None;
        }
        Some(key)
    }

    fn key_parts(&self, id: CollectionId, word: Word<'_>, faults: &mut Faults<'_>) -> Option<Vec<Value>> {
        let collection = self.collections.get(id);
        let parts: Vec<&str> = word.text.split(',').collect();
        let part = |(id, part): (&FieldId, &&str)| named_text(part.trim(), collection.field(*id).kind);
        if parts.len() != collection.primary_key.len() {
            let names: Vec<&str> =
                collection.primary_key.iter().map(|id| collection.field(*id).name.as_str()).collect();
            faults.add(word.at, format!("the key of `{}` is {}", collection.title(), listed(&names)));
            return None;
        }
        let key: Option<Vec<Value>> = collection.primary_key.iter().zip(&parts).map(part).collect();
        if key.is_none() {
            faults.add(word.at, format!("`{}` is no key of `{}`", word.text, collection.title()));
        }
        key
    }

    /// Values for what a create must have and the case leaves out.
    fn filled(
        &self,
        id: CollectionId,
        values: &[(FieldId, Value)],
        at: At,
        faults: &mut Faults<'_>,
    ) -> Option<Vec<(FieldId, Value)>> {
        let collection = self.collections.get(id);
        let mut filled = Vec::new();
        for field_id in collection.field_ids() {
            let field = collection.field(field_id);
            if !field.required || field.default.is_some() || values.iter().any(|(sent, _)| *sent == field_id)
            {
                continue;
            }
            // A relation has to lead to a record: only the case can say which.
            if field.relation.is_some() {
                continue;
            }
            let made_up = stored::made_up_anew(field).filter(|_| self.is_stored(id));
            match made_up.or_else(|| Generator::default().value(field)) {
                Some(value) => filled.push((field_id, value)),
                None => {
                    ungenerated(field, at, faults);
                    return None;
                }
            }
        }
        Some(filled)
    }

    fn expect(
        &self,
        node: &Node,
        action: Action,
        act: Option<&Act>,
        entries: &Entries,
        rows: &Rows,
        faults: &mut Faults<'_>,
    ) -> Option<Expect> {
        let (is, sees) = (get(entries, "is"), get(entries, "sees"));
        let only = |key: &str, place: &str, faults: &mut Faults<'_>| {
            if let Some(node) = get(entries, key) {
                faults.add(node.at, format!("`{key}` belongs to {place}"));
            }
        };
        match (is, sees) {
            (Some(_), Some(node)) => {
                faults.add(node.at, "a case has `is` or `sees`, not both");
                None
            }
            (None, None) => {
                faults.hint(
                    node.at,
                    "a case says what is expected",
                    "`is: allowed`, `is: denied` or `sees: [...]`",
                );
                None
            }
            (None, Some(node)) => {
                only("hidden", "`is: allowed`", faults);
                only("because", "`is: denied`", faults);
                let Act::List { collection } = act? else {
                    faults.hint(node.at, "`sees` belongs to a list", "as in `read: posts, sees: [p1]`");
                    return None;
                };
                let words = faults.words(node, "`sees`")?;
                let keys: Vec<_> =
                    words.iter().filter_map(|word| self.key(*collection, *word, rows, faults)).collect();
                (keys.len() == words.len()).then_some(Expect::Sees(keys))
            }
            (Some(node), None) => match faults.word(node, "`is`")?.text {
                "allowed" => {
                    only("because", "`is: denied`", faults);
                    let Some(hidden) = get(entries, "hidden") else {
                        return Some(Expect::Allowed { hidden: Vec::new() });
                    };
                    if action != Action::Read {
                        faults.add(hidden.at, "`hidden` belongs to a `read`");
                    }
                    let words = faults.words(hidden, "`hidden`")?;
                    let collection = self.collections.get(act?.collection());
                    let hidden = resolve::field_ids(&words, collection, self.broken, faults)?;
                    Some(Expect::Allowed { hidden })
                }
                "denied" => {
                    only("hidden", "`is: allowed`", faults);
                    let Some(because) = get(entries, "because") else {
                        return Some(Expect::Denied { because: None });
                    };
                    let word = faults.word(because, "`because`")?;
                    let known = self
                        .conditions
                        .iter()
                        .map(String::as_str)
                        .chain(self.rules.iter().map(|rule| rule.id.as_str()));
                    if !known.clone().any(|one| one == word.text) {
                        // A rule that is at fault is not in the list.
                        if !self.broken.contains(word.text) && (!word.text.contains('[') || faults.is_empty())
                        {
                            faults.unknown(word.at, "condition or rule", word.text, known);
                        }
                        return None;
                    }
                    Some(Expect::Denied { because: Some(word.text.to_owned()) })
                }
                other => {
                    faults.unknown(node.at, "answer", other, ["allowed", "denied"]);
                    None
                }
            },
        }
    }
}

pub(super) fn ungenerated(field: &Field, at: At, faults: &mut Faults<'_>) {
    faults.add(at, format!("no value for the required field `{}` can be made up: write one", field.name));
}

/// Collects the words that may stand for uuids: `ada`, and the `p1` of `posts/p1`.
fn name_uuids(node: &Node, names: &mut HashMap<Uuid, String>) {
    match &node.tree {
        Tree::Scalar(text, _) => {
            let text = text.rsplit(['/', ':']).next().unwrap_or_default();
            for word in text.split([',', '+']).map(str::trim).filter(|word| !word.is_empty()) {
                names.insert(named_uuid(word), word.to_owned());
            }
        }
        Tree::List(items) => items.iter().for_each(|item| name_uuids(item, names)),
        Tree::Map(entries) => {
            for (key, value) in entries {
                // `when_updated` names a record by a key.
                names.insert(named_uuid(&key.text), key.text.clone());
                name_uuids(value, names);
            }
        }
        Tree::Bad => {}
    }
}

/// A scalar as written, for titles.
fn text_of(node: &Node) -> &str {
    match &node.tree {
        Tree::Scalar(text, _) => text,
        Tree::List(_) | Tree::Map(_) | Tree::Bad => "",
    }
}

/// A value of a field, where a bare name stands for a uuid.
fn named_value(node: &Node, field: &Field, faults: &mut Faults<'_>) -> Option<Value> {
    if node.is_null() {
        return Some(Value::Null);
    }
    match (&node.tree, node.plain()) {
        (Tree::Scalar(text, _), Some(Plain::Text)) if field.kind == Kind::UUID => {
            named_text(text, field.kind)
        }
        (Tree::List(items), _) if field.kind == (Kind { array: true, ..Kind::UUID }) => {
            let values: Vec<_> = items
                .iter()
                .filter_map(|item| match (&item.tree, item.plain()) {
                    (Tree::Scalar(text, _), Some(Plain::Text)) => named_text(text, Kind::UUID),
                    _ => literal::value(item, Kind::UUID, "an element", faults),
                })
                .collect();
            (values.len() == items.len()).then_some(Value::Array(values))
        }
        _ => literal::value(node, field.kind, &format!("`{}`", field.name), faults),
    }
}

fn named_text(text: &str, kind: Kind) -> Option<Value> {
    Value::parse(kind, text).or_else(|| (kind == Kind::UUID).then(|| Value::Uuid(named_uuid(text))))
}
