//! `roles:` and `policies:` → the role graph and typed rules.

use std::collections::HashMap;

use super::conditions::{Place as Where, Typing};
use super::fault::{At, Faults, listed};
use super::gather::Definition;
use super::later::Place;
use super::read::{Entries, Word, get};
use super::resolve;
use super::yaml::{Broken, Node, Plain, Tree};
use crate::condition::Condition;
use crate::model::{
    ANON, AUTHENTICATED, Action, Collection, CollectionId, DefaultValue, FieldId, FieldSet, Name,
    SERVICE_ROLE, Value,
};
use crate::policy::{Role, Rule};

pub(super) const ROLE_KEYS: [&str; 1] = ["inherits"];

/// The role graph: the built-in roles first, then as declared.
pub(super) fn roles(
    definitions: &[Definition<'_>],
    broken: &mut Broken,
    faults: &mut Faults<'_>,
) -> Vec<Role> {
    let built_in = |name: &str, inherits: &[&str]| Role {
        name: Name::joined(&[name]),
        inherits: inherits.iter().map(|name| Name::joined(&[name])).collect(),
    };
    let mut roles = vec![built_in(ANON, &[]), built_in(AUTHENTICATED, &[ANON]), built_in(SERVICE_ROLE, &[])];
    let mut asked: Vec<(usize, Vec<Word<'_>>)> = Vec::new();
    let mut places: HashMap<Name, At> = HashMap::new();
    for (key, node) in definitions {
        let Some(name) = faults.name(&key.text, key.at) else {
            broken.insert(&key.text);
            continue;
        };
        if roles.iter().take(3).any(|role| role.name == name) {
            faults.add(key.at, format!("the role `{name}` is built in"));
            continue;
        }
        if let Some(entries) = faults.map_or_nothing(node, "a role") {
            faults.keys(Place::Role, entries, &ROLE_KEYS);
            if let Some(words) = get(entries, "inherits").and_then(|node| faults.words(node, "`inherits`")) {
                asked.push((roles.len(), words));
            }
        }
        places.insert(name.clone(), key.at);
        roles.push(Role { name, inherits: Vec::new() });
    }
    for (at, words) in asked {
        for word in words {
            if word.text == SERVICE_ROLE {
                faults.add(word.at, "`service_role` is the secret key's and cannot be inherited");
            } else if let Some(role) = role(word, &roles, broken, faults) {
                if roles[at].inherits.contains(&role) {
                    faults.add(word.at, format!("`{role}` stands twice"));
                } else {
                    roles[at].inherits.push(role);
                }
            }
        }
    }
    for role in roles.iter().skip(3) {
        if let (Some(path), Some(at)) = (circle(role, &roles), places.get(&role.name)) {
            faults.add(*at, format!("the role inherits itself: {}", path.join(" → ")));
        }
    }
    roles
}

pub(super) fn role(word: Word<'_>, roles: &[Role], broken: &Broken, faults: &mut Faults<'_>) -> Option<Name> {
    let found = roles.iter().find(|role| role.name == *word.text).map(|role| role.name.clone());
    if found.is_none() && !broken.contains(word.text) {
        faults.unknown(word.at, "role", word.text, roles.iter().map(|role| role.name.as_str()));
    }
    found
}

/// The role of a rule.
pub(super) fn role_of(
    node: &Node,
    entries: &Entries,
    roles: &[Role],
    broken: &Broken,
    faults: &mut Faults<'_>,
) -> Option<Name> {
    let Some(value) = get(entries, "role") else {
        if !matches!(node.tree, Tree::Bad) {
            faults.hint(node.at, "a rule needs a `role`", "`role: anon` means everybody");
        }
        return None;
    };
    let word = faults.word(value, "`role`")?;
    if word.text == SERVICE_ROLE {
        faults.add(word.at, "`service_role` may do everything already: no rule speaks of it");
        return None;
    }
    role(word, roles, broken, faults)
}

/// The way by which a role inherits itself.
fn circle<'r>(start: &'r Role, roles: &'r [Role]) -> Option<Vec<&'r str>> {
    let mut seen: Vec<&Name> = Vec::new();
    let mut open: Vec<Vec<&Name>> = vec![vec![&start.name]];
    while let Some(path) = open.pop() {
        let here = path.last().and_then(|name| roles.iter().find(|role| role.name == **name));
        for next in here.map(|role| role.inherits.as_slice()).unwrap_or_default() {
            if *next == start.name {
                return Some(path.iter().map(|name| name.as_str()).chain([next.as_str()]).collect());
            }
            if !seen.contains(&next) {
                seen.push(next);
                open.push(path.iter().copied().chain([next]).collect());
            }
        }
    }
    None
}

pub(super) fn rules(
    definitions: &[Definition<'_>],
    roles: &[Role],
    typing: &Typing<'_>,
    faults: &mut Faults<'_>,
) -> Vec<Rule> {
    let mut rules = Vec::new();
    for (key, node) in definitions {
        let Some(id) = typing.collections.find(&key.text) else {
            if !typing.broken.contains(&key.text) {
                let names = typing.collections.iter().map(|(_, collection)| collection.name.as_str());
                faults.unknown(key.at, "collection", &key.text, names);
            }
            continue;
        };
        let Some(actions) = faults.map_or_nothing(node, "policies of a collection") else { continue };
        let place = |action| Rules { typing, roles, collection: id, bucket: None, action };
        rules.extend(rules_of(&key.text, actions, place, faults));
    }
    rules
}

/// The rules of a bucket: of its objects alone, whatever their conditions say.
pub(super) fn bucket_rules(
    bucket: &str,
    node: &Node,
    roles: &[Role],
    typing: &Typing<'_>,
    faults: &mut Faults<'_>,
) -> Vec<Rule> {
    let Some(actions) = faults.map_or_nothing(node, "policies of a bucket") else { return Vec::new() };
    let collection = typing.collections.objects();
    let place = |action| Rules { typing, roles, collection, bucket: Some(bucket), action };
    let mut rules = rules_of(&format!("buckets.{bucket}"), actions, place, faults);
    let objects = typing.collections.get(collection);
    if let Some(field) = objects.field_id("bucket") {
        let inside = || Condition::is_text(objects, field, bucket);
        for rule in &mut rules {
            if rule.action != Action::Create {
                rule.when = Condition::all([inside(), rule.when.clone()]);
            }
            if matches!(rule.action, Action::Create | Action::Update) {
                rule.check = Condition::all([inside(), rule.check.clone()]);
            }
        }
    }
    rules
}

/// What stands under `read`, `create`, `update` and `delete`.
fn rules_of<'a>(
    of: &str,
    actions: &Entries,
    place: impl Fn(Action) -> Rules<'a>,
    faults: &mut Faults<'_>,
) -> Vec<Rule> {
    let mut rules = Vec::new();
    faults.keys(Place::Action, actions, &Action::ALL.map(Action::as_str));
    for (word, node) in actions {
        let Some(action) = Action::ALL.into_iter().find(|action| action.as_str() == word.text) else {
            continue;
        };
        let Some(items) = faults.list(node, &format!("`{}`", word.text)) else { continue };
        for (at, item) in items.iter().enumerate() {
            let name = format!("{of}.{}[{at}]", action.as_str());
            rules.extend(place(action).rule(name, item, faults));
        }
    }
    rules
}

/// Of `fields`, where it is no list.
pub(super) const FIELDS_KEYS: [&str; 1] = ["except"];

const RULE_KEYS: [&str; 5] = ["role", "when", "check", "fields", "set"];

/// The keys that mean something for an action.
pub(super) fn rule_keys(action: Action) -> &'static [&'static str] {
    match action {
        Action::Read => &["role", "when", "fields"],
        Action::Create => &["role", "check", "fields", "set"],
        Action::Update => &["role", "when", "check", "fields", "set"],
        Action::Delete => &["role", "when"],
    }
}

/// The keys that mean something in a bucket's rule: an object is read and written whole.
pub(super) fn bucket_rule_keys(action: Action) -> Vec<&'static str> {
    rule_keys(action).iter().copied().filter(|key| !["fields", "set"].contains(key)).collect()
}

struct Rules<'a> {
    typing: &'a Typing<'a>,
    roles: &'a [Role],
    collection: CollectionId,
    bucket: Option<&'a str>,
    action: Action,
}

impl Rules<'_> {
    fn rule(&self, id: String, node: &Node, faults: &mut Faults<'_>) -> Option<Rule> {
        let entries = faults.map(node, "a rule")?;
        let allowed = match self.bucket {
            None => rule_keys(self.action).to_vec(),
            Some(_) => bucket_rule_keys(self.action),
        };
        faults.keys(Place::Rule, entries, &RULE_KEYS);
        for (key, _) in entries {
            let word = key.text.as_str();
            if self.bucket.is_some() && rule_keys(self.action).contains(&word) && !allowed.contains(&word) {
                let message = format!("`{word}` has no meaning in a rule of a bucket");
                let hint = format!("an object is read and written whole: it takes {}", listed(&allowed));
                faults.hint(key.at, message, hint);
            } else if RULE_KEYS.contains(&word) && !allowed.contains(&word) {
                let message = format!("`{word}` has no meaning in a `{}` rule", self.action.as_str());
                faults.hint(key.at, message, format!("it takes {}", listed(&allowed)));
            }
        }
        let role = role_of(node, entries, self.roles, self.typing.broken, faults);
        let when = self.condition(entries, "when", Where::Rule, faults);
        let place = if self.action == Action::Update { Where::UpdateCheck } else { Where::Rule };
        let check = self.condition(entries, "check", place, faults);
        let own = |key: &str| get(entries, key).filter(|_| self.bucket.is_none());
        let fields = match own("fields") {
            None => Some(self.collection().all_fields()),
            Some(node) => self.fields(node, faults),
        };
        let set = match own("set") {
            None => Some(Vec::new()),
            Some(node) => self.set(node, faults),
        };
        Some(Rule {
            id,
            role: role?,
            action: self.action,
            collection: self.collection,
            bucket: self.bucket.map(str::to_owned),
            when: when?,
            check: check?,
            fields: fields?,
            set: set?,
        })
    }

    fn collection(&self) -> &Collection {
        self.typing.collections.get(self.collection)
    }

    /// A condition that is not written always holds; one that cannot be read holds never: there is no rule then.
    fn condition(
        &self,
        entries: &Entries,
        key: &str,
        place: Where,
        faults: &mut Faults<'_>,
    ) -> Option<Condition> {
        match get(entries, key) {
            None => Some(Condition::always()),
            Some(node) => self.typing.condition(node, self.collection, place, &format!("`{key}`"), faults),
        }
    }

    fn fields(&self, node: &Node, faults: &mut Faults<'_>) -> Option<FieldSet> {
        let (list, except) = match &node.tree {
            Tree::Map(entries) => {
                faults.keys(Place::Rule, entries, &FIELDS_KEYS);
                match get(entries, "except") {
                    Some(list) => (list, true),
                    None => {
                        if entries.is_empty() {
                            faults.add(node.at, "`fields` is a list, or `{ except: [...] }`");
                        }
                        return None;
                    }
                }
            }
            Tree::List(_) | Tree::Scalar(..) | Tree::Bad => (node, false),
        };
        let words = faults.words(list, "`fields`")?;
        let ids = resolve::field_ids(&words, self.collection(), self.typing.broken, faults)?;
        let named: FieldSet = ids.into_iter().collect();
        let mut set = named;
        if except {
            set = self.collection().all_fields();
            named.iter().for_each(|field| set.remove(field));
        }
        if set.is_empty() && self.action == Action::Read {
            faults.hint(list.at, "the rule shows no field at all", "leave the rule out");
            return None;
        }
        Some(set)
    }

    fn set(&self, node: &Node, faults: &mut Faults<'_>) -> Option<Vec<(FieldId, DefaultValue)>> {
        let entries = faults.map(node, "`set`")?;
        let mut set = Vec::new();
        for (key, value) in entries {
            let word = Word { text: &key.text, at: key.at };
            let Some(id) = self.collection().field_id(&key.text) else {
                resolve::unknown_field(word, self.collection(), self.typing.broken, faults);
                continue;
            };
            let field = self.collection().field(id);
            let forced = if value.plain() == Some(Plain::Null) && !field.required {
                Some(DefaultValue::Literal(Value::Null))
            } else if value.is_null() {
                faults.add(value.at, format!("`{}` is required and cannot be set to null", field.name));
                None
            } else if self.typing.broken.contains(&key.text) {
                None
            } else {
                super::default::read(value, field, "the value", faults)
            };
            set.extend(forced.map(|forced| (id, forced)));
        }
        (set.len() == entries.len()).then_some(set)
    }
}
