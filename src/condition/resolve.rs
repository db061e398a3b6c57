//! What a path means where it stands: variables, the caller, captures, fields, relations, sets of records.

use std::ops::Range;

use super::check::{Checker, RESERVED, closest};
use super::operand::Draft;
use super::syntax::Word;
use super::tree::{Hop, Link, Operand, Path, Set, Slot, Source};
use crate::model::{Attribute, Collection, CollectionId, FieldId, Inverse, Kind, Name, RelationTarget};

/// What the head of a path is.
enum Head<'a, 'w> {
    Row { slot: Slot, collection: &'a Collection, id: Option<CollectionId>, rest: &'w [Word] },
    Auth(&'w [Word]),
    Capture(usize, &'w [Word]),
}

/// What a path leads to.
pub(super) enum Target {
    Value(Draft),
    Set(Set),
    Condition(Name),
}

impl<'a> Checker<'a> {
    /// A path that must lead to a value.
    pub(super) fn path_value(&mut self, words: &[Word], span: &Range<usize>) -> Option<Draft> {
        match self.path(words)? {
            Target::Value(draft) => Some(draft),
            Target::Condition(name) => self.fault(
                span,
                format!("`{name}` is a condition and has no value to compare"),
                Some("join conditions with `&&` and `||`".to_owned()),
            ),
            Target::Set(_) => self.fault(
                span,
                format!("`{}` is a set of records and has no value", self.text(span)),
                Some(format!("ask for one of them: `{}.exists(x, …)`", self.text(span))),
            ),
        }
    }

    pub(super) fn path(&mut self, words: &[Word]) -> Option<Target> {
        let (first, rest) = words.split_first()?;
        let scope = self.scope;
        if let Some(condition) = scope.named.keys().find(|name| **name == *first.text)
            && self.visible_variable(&first.text).is_none()
        {
            let clash = self.record.is_some_and(|record| record.field_id(&first.text).is_some())
                || scope.captures.iter().any(|capture| *capture == *first.text);
            if clash {
                return self.fault(
                    &first.span,
                    format!("`{}` is both a condition and a field here", first.text),
                    Some("rename the condition".to_owned()),
                );
            }
            if let Some(after) = rest.first() {
                return self.fault(
                    &after.span,
                    format!("`{condition}` is a condition and has no fields"),
                    None,
                );
            }
            return Some(Target::Condition(condition.clone()));
        }
        match self.head(words, first, rest)? {
            Head::Row { slot, collection, id, rest } => {
                let span = first.span.start..words.last()?.span.end;
                self.walk(&span, slot, collection, id, rest)
            }
            Head::Auth(rest) => self.auth(first, rest).map(Target::Value),
            Head::Capture(at, rest) => match rest.first() {
                Some(after) => self.fault(
                    &after.span,
                    format!("`{}` is text of the topic and has no fields", first.text),
                    None,
                ),
                None => Some(Target::Value(Draft::Capture(at))),
            },
        }
    }

    fn visible_variable(&self, name: &str) -> Option<(usize, CollectionId)> {
        let visible = self.variables.iter().enumerate().skip(self.visible_from);
        visible.rev().find(|(_, (known, _))| *known == *name).map(|(at, (_, id))| (at, *id))
    }

    fn head<'w>(&mut self, words: &'w [Word], first: &'w Word, rest: &'w [Word]) -> Option<Head<'a, 'w>> {
        let scope = self.scope;
        if let Some((at, id)) = self.visible_variable(&first.text) {
            if rest.is_empty() {
                return self.fault(
                    &first.span,
                    format!("`{}` is a whole record", first.text),
                    Some(format!("name one of its fields: `{}.id`", first.text)),
                );
            }
            let collection = scope.collections.get(id);
            return Some(Head::Row { slot: Slot::Variable(at), collection, id: Some(id), rest });
        }
        if first.text == "auth" {
            if scope.own_fields_only {
                return self.fault(
                    &first.span,
                    "a check speaks of the record's own fields, not of the caller",
                    Some("what depends on the caller belongs in `policies`".to_owned()),
                );
            }
            return Some(Head::Auth(rest));
        }
        if first.text == "old" {
            if !scope.old {
                return self.fault(
                    &first.span,
                    "`old.` is the record before the write, which only the `check` of an update has",
                    None,
                );
            }
            let Some(collection) = self.record else {
                return self.fault(&first.span, "there is no record here", None);
            };
            if rest.is_empty() {
                return self.fault(
                    &first.span,
                    "`old` is a whole record",
                    Some("name one of its fields: `old.id`".to_owned()),
                );
            }
            return Some(Head::Row { slot: Slot::Old, collection, id: self.record_id, rest });
        }
        if let Some(at) = scope.captures.iter().position(|capture| *capture == *first.text) {
            return Some(Head::Capture(at, rest));
        }
        if let Some(collection) = self.record
            && (collection.field_id(&first.text).is_some()
                || self.inverse(self.record_id, &first.text).is_some())
        {
            return Some(Head::Row { slot: Slot::Record, collection, id: self.record_id, rest: words });
        }
        match scope.collections.find(&first.text) {
            Some(_) => self.fault(
                &first.span,
                format!("`{}` is a collection, not a value", first.text),
                Some(format!("ask for one of its records: `{}.exists(x, …)`", first.text)),
            ),
            None => self.unknown(first),
        }
    }

    fn inverse(&self, id: Option<CollectionId>, name: &str) -> Option<Inverse> {
        self.scope.collections.inverse(id?, name)
    }

    /// Follows words from a row: relations, then a field or an inverse relation.
    fn walk(
        &mut self,
        span: &Range<usize>,
        slot: Slot,
        mut collection: &'a Collection,
        mut id: Option<CollectionId>,
        words: &[Word],
    ) -> Option<Target> {
        let mut hops: Vec<Hop> = Vec::new();
        let mut values = None;
        let mut at: Option<FieldId> = None;
        for (index, word) in words.iter().enumerate() {
            if let Some(field_id) = at {
                // The word before was a field; to go on, it must be a relation that can be followed.
                let field = collection.field(field_id);
                let before = words.get(index.wrapping_sub(1)).unwrap_or(word);
                let Some(relation) = &field.relation else {
                    let hint = (field.kind == Kind::JSON).then(|| {
                        "conditions do not look into JSON; give what policies need a field of its own"
                            .to_owned()
                    });
                    return self.fault(
                        &word.span,
                        format!("`{}` is a field of kind {} and has no fields", before.text, field.kind),
                        hint,
                    );
                };
                if self.scope.own_fields_only {
                    return self.fault(
                        &word.span,
                        "a check speaks of the record's own fields and cannot follow a relation",
                        Some("what depends on other records belongs in `policies`".to_owned()),
                    );
                }
                match relation.target {
                    RelationTarget::Users => {
                        return self.fault(
                            &word.span,
                            format!("`{}` refers to a user, whose record cannot be followed", before.text),
                            Some("compare it with `auth.id`".to_owned()),
                        );
                    }
                    RelationTarget::Collection(target) => {
                        let next = self.scope.collections.get(target);
                        let (Some(key), 1) = (next.primary_key.first().copied(), next.primary_key.len())
                        else {
                            return self.fault(
                                &word.span,
                                format!("`{}` has a key of several fields and cannot be followed", next.name),
                                None,
                            );
                        };
                        // An inverse of the target matches the relation's own value: the target's row adds nothing.
                        if next.field_id(&word.text).is_none()
                            && let Some(inverse) = self.inverse(Some(target), &word.text)
                        {
                            let base = Path { slot, hops, field: field_id, column: field.name.clone() };
                            return self.inverse_set(inverse, base, &words[index + 1..]);
                        }
                        hops.push(Hop {
                            field: field_id,
                            column: field.name.clone(),
                            target,
                            table: next.name.clone(),
                            key,
                            key_column: next.field(key).name.clone(),
                        });
                        collection = next;
                        id = Some(target);
                    }
                }
            }
            let Some(field_id) = collection.field_id(&word.text) else {
                let Some(inverse) = self.inverse(id, &word.text) else {
                    return self.unknown_field(word, collection, id);
                };
                if self.scope.own_fields_only {
                    return self.fault(
                        &word.span,
                        "a check speaks of the record's own fields and cannot look at other records",
                        None,
                    );
                }
                let (Some(key), 1) = (collection.primary_key.first().copied(), collection.primary_key.len())
                else {
                    return self.fault(
                        &word.span,
                        format!("`{}` has a key of several fields and cannot be followed", collection.name),
                        None,
                    );
                };
                let base = Path { slot, hops, field: key, column: collection.field(key).name.clone() };
                return self.inverse_set(inverse, base, &words[index + 1..]);
            };
            values = collection.field(field_id).values.as_ref();
            at = Some(field_id);
        }
        let field_id = at?;
        let field = collection.field(field_id);
        let path = Path { slot, hops, field: field_id, column: field.name.clone() };
        let operand = Operand { text: self.text(span), kind: field.kind, source: Source::Path(path) };
        Some(Target::Value(Draft::Typed { operand, values: values.cloned() }))
    }

    fn inverse_set(&mut self, inverse: Inverse, base: Path, rest: &[Word]) -> Option<Target> {
        let from = self.scope.collections.get(inverse.collection);
        if let Some(after) = rest.first() {
            return self.fault(
                &after.span,
                format!("`{}` names a set of records here, and a set has no fields", from.name),
                Some(format!("ask for one of them: `….exists(x, x.{} == …)`", after.text)),
            );
        }
        let link = Link { field: inverse.field, column: from.field(inverse.field).name.clone(), base };
        Some(Target::Set(Set { collection: inverse.collection, table: from.name.clone(), link: Some(link) }))
    }

    fn auth(&mut self, first: &Word, rest: &[Word]) -> Option<Draft> {
        const NAMES: [&str; 7] = ["id", "role", "roles", "email", "is_anonymous", "aal", "claims"];
        let Some((name, after)) = rest.split_first() else {
            return self.fault(
                &first.span,
                "`auth` is the caller as a whole",
                Some("name a part: `auth.id`, `auth.role`, `auth.claims.NAME`".to_owned()),
            );
        };
        let attribute = match name.text.as_str() {
            "id" => Attribute::Id,
            "role" => Attribute::Role,
            "roles" => Attribute::Roles,
            "email" => Attribute::Email,
            "is_anonymous" => Attribute::IsAnonymous,
            "aal" => Attribute::Aal,
            "claims" if after.is_empty() => {
                return self.fault(
                    &name.span,
                    "`auth.claims` is all claims together",
                    Some("name one: `auth.claims.NAME`".to_owned()),
                );
            }
            "claims" => return Some(Draft::Claim(after.iter().map(|word| word.text.clone()).collect())),
            _ => {
                let hint = closest(&name.text, NAMES).unwrap_or_else(|| {
                    format!(
                        "there are {}; the token's own claims are `auth.claims.{}`",
                        NAMES.join(", "),
                        name.text
                    )
                });
                return self.fault(&name.span, format!("`auth` has no `{}`", name.text), Some(hint));
            }
        };
        if let Some(word) = after.first() {
            return self.fault(&word.span, format!("`auth.{}` has no fields", name.text), None);
        }
        let kind = attribute.kind()?;
        let span = first.span.start..name.span.end;
        let operand = Operand { text: self.text(&span), kind, source: Source::Attribute(attribute) };
        Some(Draft::Typed { operand, values: None })
    }

    pub(super) fn set(&mut self, words: &[Word], span: &Range<usize>, quantifier: &Word) -> Option<Set> {
        if let [word] = words
            && self.visible_variable(&word.text).is_none()
            && self.record.is_none_or(|record| record.field_id(&word.text).is_none())
            && self.inverse(self.record_id, &word.text).is_none()
            && !self.scope.captures.iter().any(|capture| *capture == *word.text)
            && let Some(collection) = self.scope.collections.find(&word.text)
        {
            let table = self.scope.collections.get(collection).name.clone();
            return Some(Set { collection, table, link: None });
        }
        match self.path(words)? {
            Target::Set(set) => Some(set),
            Target::Value(Draft::Typed { operand, .. }) if operand.kind.array => self.fault(
                span,
                format!("`{}` is an array, not a set of records", self.text(span)),
                Some(format!("ask for an element: `x in {}`", self.text(span))),
            ),
            Target::Value(_) | Target::Condition(_) => self.fault(
                span,
                format!(
                    "`{}` stands after an inverse relation or a collection, and `{}` is neither",
                    quantifier.text,
                    self.text(span)
                ),
                None,
            ),
        }
    }

    /// A name that nothing else has here.
    pub(super) fn free_name(&mut self, word: &Word) -> Option<Name> {
        let text = word.text.as_str();
        let taken = if RESERVED.contains(&text) {
            Some("a word of the language")
        } else if self.record.is_some_and(|record| record.field_id(text).is_some()) {
            Some("a field of the record")
        } else if self.inverse(self.record_id, text).is_some() {
            Some("an inverse relation of the record")
        } else if self.scope.named.contains_key(text) {
            Some("a condition")
        } else if self.scope.captures.iter().any(|capture| *capture == *text) {
            Some("a part of the topic")
        } else if self.visible_variable(text).is_some() {
            Some("a variable of a quantifier around this one")
        } else {
            None
        };
        if let Some(taken) = taken {
            return self.fault(
                &word.span,
                format!("the variable `{text}` would hide {taken}"),
                Some("choose another name".to_owned()),
            );
        }
        match Name::declared(text) {
            Ok(name) => Some(name),
            Err(why) => self.fault(&word.span, why.to_string(), None),
        }
    }

    fn unknown<T>(&mut self, word: &Word) -> Option<T> {
        let scope = self.scope;
        let hint = match word.text.as_str() {
            "and" => Some("write `&&`".to_owned()),
            "or" => Some("write `||`".to_owned()),
            "not" => Some("write `!`".to_owned()),
            "user" | "principal" | "me" | "uid" => {
                Some("the caller is `auth`: `auth.id`, `auth.role`, …".to_owned())
            }
            "new" | "record" | "row" | "this" | "self" => {
                Some("the record's fields are named by themselves: `status`, not `record.status`".to_owned())
            }
            _ => None,
        };
        let mut known: Vec<&str> = RESERVED.into_iter().filter(|word| *word != "in").collect();
        if let Some(record) = self.record {
            known.extend(record.fields.iter().map(|field| field.name.as_str()));
        }
        if let Some(id) = self.record_id {
            known.extend(scope.collections.inverses_of(id).map(|(name, _)| name.as_str()));
        }
        known.extend(scope.named.keys().map(Name::as_str));
        known.extend(scope.captures.iter().map(Name::as_str));
        known.extend(scope.collections.iter().map(|(_, collection)| collection.name.as_str()));
        let variables = self.variables.clone();
        known.extend(variables.iter().skip(self.visible_from).map(|(name, _)| name.as_str()));
        let hint = hint.or_else(|| closest(&word.text, known));
        let what = match self.record {
            Some(record) => {
                format!("`{}` is no field of `{}`, no condition and no variable", word.text, record.title())
            }
            None => format!("`{}` is no part of the topic, no collection and no variable", word.text),
        };
        self.fault(&word.span, what, hint)
    }

    fn unknown_field<T>(
        &mut self,
        word: &Word,
        collection: &Collection,
        id: Option<CollectionId>,
    ) -> Option<T> {
        let fields = collection.fields.iter().map(|field| field.name.as_str());
        let inverses = id
            .into_iter()
            .flat_map(|id| self.scope.collections.inverses_of(id))
            .map(|(name, _)| name.as_str());
        let hint = closest(&word.text, fields.chain(inverses));
        self.fault(&word.span, format!("`{}` has no field `{}`", collection.title(), word.text), hint)
    }
}
