//! Conditions as they stand in YAML: parsed and typed by `condition`, their faults placed in the file.

use std::collections::HashMap;

use super::fault::Faults;
use super::gather::Gathered;
use super::yaml::{Broken, Node};
use crate::condition::{self, Condition, Scope, Syntax};
use crate::model::{CollectionId, Collections, Name};

/// Puts faults of a scalar's text at their place in the file.
pub(super) fn report(node: &Node, found: Vec<condition::Fault>, faults: &mut Faults<'_>) {
    for fault in found {
        let at = node.inside(faults.text(node.at.file), &fault.span);
        match fault.hint {
            Some(hint) => faults.hint(at, fault.message, hint),
            None => faults.add(at, fault.message),
        }
    }
}

/// Reads `conditions:`. They are typed where they are used.
pub(super) fn named(
    gathered: &Gathered<'_>,
    collections: &Collections,
    broken: &mut Broken,
    faults: &mut Faults<'_>,
) -> HashMap<Name, Syntax> {
    let mut named = HashMap::new();
    for (key, node) in &gathered.conditions {
        let Some(name) = faults.name(&key.text, key.at) else {
            broken.insert(&key.text);
            continue;
        };
        if super::draft::LANGUAGE.contains(&name.as_str()) {
            faults.add(key.at, format!("`{name}` has a meaning of its own and cannot name a condition"));
        }
        let objects = collections.with_objects().skip(if gathered.buckets.is_empty() {
            usize::MAX
        } else {
            collections.len()
        });
        for (id, collection) in collections.iter().chain(objects) {
            let shadowed = if collection.field_id(name.as_str()).is_some() {
                "a field"
            } else if collections.inverses_of(id).any(|(inverse, _)| *inverse == name) {
                "an inverse relation"
            } else {
                continue;
            };
            faults.hint(
                key.at,
                format!(
                    "`{}` has {shadowed} `{name}`, which this condition would shadow",
                    collection.title()
                ),
                format!("`is_{name}` would do"),
            );
            break;
        }
        let syntax = faults.condition_text(node, "a condition").map(condition::parse);
        match syntax {
            Some(Ok(syntax)) => {
                named.insert(name, syntax);
            }
            Some(Err(found)) => {
                broken.insert(name.as_str());
                report(node, found, faults);
            }
            None => broken.insert(name.as_str()),
        }
    }
    named
}

/// Types conditions over one project's collections and named conditions.
pub(super) struct Typing<'a> {
    pub(super) collections: &'a Collections,
    pub(super) named: &'a HashMap<Name, Syntax>,
    pub(super) broken: &'a Broken,
}

/// What a condition may speak of besides the record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A `when`, or the `check` of a create.
    Rule,
    /// The `check` of an update: `old.` too.
    UpdateCheck,
    /// `checks` of a collection: its own fields only.
    Collection,
}

impl Typing<'_> {
    /// Types one condition. `None` after a fault.
    pub(super) fn condition(
        &self,
        node: &Node,
        collection: CollectionId,
        place: Place,
        what: &str,
        faults: &mut Faults<'_>,
    ) -> Option<Condition> {
        let scope = Scope {
            collections: self.collections,
            collection: Some(self.collections.get(collection)),
            named: self.named,
            old: place == Place::UpdateCheck,
            own_fields_only: place == Place::Collection,
            captures: &[],
        };
        self.typed(node, &scope, what, faults)
    }

    /// Types the condition of a channel, which speaks of the caller and of what its topic captures.
    pub(super) fn of_topic(
        &self,
        node: &Node,
        captures: &[Name],
        what: &str,
        faults: &mut Faults<'_>,
    ) -> Option<Condition> {
        let scope = Scope {
            collections: self.collections,
            collection: None,
            named: self.named,
            old: false,
            own_fields_only: false,
            captures,
        };
        self.typed(node, &scope, what, faults)
    }

    fn typed(
        &self,
        node: &Node,
        scope: &Scope<'_>,
        what: &str,
        faults: &mut Faults<'_>,
    ) -> Option<Condition> {
        let text = faults.condition_text(node, what)?;
        let syntax = match condition::parse(text) {
            Ok(syntax) => syntax,
            Err(found) => {
                report(node, found, faults);
                return None;
            }
        };
        match condition::check(&syntax, scope) {
            Ok(condition) => Some(condition),
            // What it names is at fault already; saying so again here would only hide that.
            Err(_) if self.broken.touches(text) => None,
            Err(found) => {
                report(node, found, faults);
                None
            }
        }
    }
}
