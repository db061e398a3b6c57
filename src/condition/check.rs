//! [`Syntax`] and a [`Scope`] → [`Condition`]: every name found, every operand of one kind.
//!
//! Knows what names mean where a condition stands. What operands may be compared, and how literals and
//! claims take the kind of their place, is in `operand`.

use std::ops::Range;
use std::sync::Arc;

use super::operand::Draft;
use super::syntax::{self, Expression, Syntax, Word};
use super::tree::{Condition, Hop, Link, Node, Operand, Path, Quantifier, Set, Slot, Source, Test};
use super::{Fault, Scope};
use crate::model::{Attribute, Collection, CollectionId, FieldId, Inverse, Kind, Name, RelationTarget};

/// How much a condition may come to with its named conditions written out: what its SQL costs.
const MAX_WEIGHT: usize = 10_000;
/// How many named conditions may stand inside each other.
const MAX_EXPANSION: usize = 16;

/// Words that no field, condition, variable or capture may take.
pub const RESERVED: [&str; 7] = ["auth", "old", "now", "true", "false", "null", "in"];

/// Types a condition: every name found, every operand of one kind, every literal of its place's kind.
///
/// # Errors
/// Every fault that can be told apart, each where it stands. A fault inside a named condition is told where
/// the name stands, with the name.
pub fn check(syntax: &Syntax, scope: &Scope<'_>) -> Result<Condition, Vec<Fault>> {
    let record = scope
        .collection
        .and_then(|collection| scope.collections.find(collection.name.as_str()).map(|id| (id, collection)));
    let mut checker = Checker {
        scope,
        record: scope.collection,
        record_id: record.map(|(id, _)| id),
        text: syntax.text.clone(),
        faults: Vec::new(),
        variables: Vec::new(),
        visible_from: 0,
        expanding: Vec::new(),
        weight: 0,
    };
    let root = checker.condition(&syntax.root);
    match root {
        Some(root) if checker.faults.is_empty() => Ok(Condition { root }),
        _ => Err(checker.faults),
    }
}

pub(super) struct Checker<'a> {
    pub(super) scope: &'a Scope<'a>,
    record: Option<&'a Collection>,
    record_id: Option<CollectionId>,
    /// The text being checked: the condition's own, or a named condition's.
    text: Arc<str>,
    faults: Vec<Fault>,
    variables: Vec<(Name, CollectionId)>,
    /// A named condition does not see the variables of the place where it is used.
    visible_from: usize,
    /// The named conditions around this point, and where in the outermost text the first one stands.
    expanding: Vec<(Name, Range<usize>)>,
    weight: usize,
}

/// What the head of a path is.
enum Head<'a, 'w> {
    Row { slot: Slot, collection: &'a Collection, id: Option<CollectionId>, rest: &'w [Word] },
    Auth(&'w [Word]),
    Capture(usize, &'w [Word]),
}

/// What a path leads to.
enum Target {
    Value(Draft),
    Set(Set),
    Condition(Name),
}

impl<'a> Checker<'a> {
    /// Records a fault; `None` lets a caller give up with `return self.fault(…)`.
    pub(super) fn fault<T>(
        &mut self,
        span: &Range<usize>,
        message: impl Into<String>,
        hint: Option<String>,
    ) -> Option<T> {
        let message = message.into();
        let fault = match self.expanding.as_slice() {
            [] => Fault { span: span.clone(), message, hint },
            [(_, at), ..] => {
                let names: Vec<&str> = self.expanding.iter().map(|(name, _)| name.as_str()).collect();
                let part = self.text.get(span.clone()).unwrap_or_default();
                Fault {
                    span: at.clone(),
                    message: format!("in the condition `{}`, at `{part}`: {message}", names.join("` → `")),
                    hint,
                }
            }
        };
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
        None
    }

    pub(super) fn text(&self, span: &Range<usize>) -> Arc<str> {
        Arc::from(self.text.get(span.clone()).unwrap_or_default())
    }

    fn condition(&mut self, expression: &Expression) -> Option<Node> {
        let span = &expression.span;
        // Every node is charged, so that named conditions inside each other end however they multiply.
        self.charge(1, span)?;
        let test = match &expression.node {
            syntax::Node::Or(parts) => return self.parts(parts).map(Node::or),
            syntax::Node::And(parts) => return self.parts(parts).map(Node::and),
            syntax::Node::Not(inner) => {
                return Some(match self.condition(inner)? {
                    Node::Constant(truth) => Node::Constant(!truth),
                    node => Node::Not(Box::new(node)),
                });
            }
            syntax::Node::Boolean(truth) => return Some(Node::Constant(*truth)),
            syntax::Node::Compare { comparison, left, right } => self.compare(span, *comparison, left, right),
            syntax::Node::In { value, list } => self.among(span, value, list),
            syntax::Node::Path(words) => match self.path(words)? {
                Target::Condition(name) => return self.named(&name, span),
                Target::Value(draft) => self.fit(draft, span, Kind::BOOLEAN, None).map(Test::Holds),
                Target::Set(_) => self.fault(
                    span,
                    format!("`{}` is a set of records, not a condition", self.text(span)),
                    Some(format!("ask for one of them: `{}.exists(x, …)`", self.text(span))),
                ),
            },
            syntax::Node::Call { receiver, name, arguments } => match receiver {
                Some(receiver) if matches!(name.text.as_str(), "exists" | "all") => {
                    self.quantified(receiver, name, arguments)
                }
                _ => self.call_test(span, receiver.as_deref(), name, arguments),
            },
            syntax::Node::Sum { .. }
            | syntax::Node::Text(_)
            | syntax::Node::Number(_)
            | syntax::Node::Null
            | syntax::Node::List(_) => self.fault(
                span,
                "this is a value where a condition is expected",
                Some("compare it with something".to_owned()),
            ),
        };
        let test = test?;
        self.charge(weight(&test), span)?;
        Some(Node::Term { text: self.text(span), test })
    }

    /// Checks every part, so that all faults are told, and then gives up if one has any.
    fn parts(&mut self, parts: &[Expression]) -> Option<Vec<Node>> {
        let checked: Vec<Option<Node>> = parts.iter().map(|part| self.condition(part)).collect();
        checked.into_iter().collect()
    }

    fn charge(&mut self, weight: usize, span: &Range<usize>) -> Option<()> {
        if self.weight > MAX_WEIGHT {
            // Told already.
            return None;
        }
        self.weight = self.weight.saturating_add(weight);
        if self.weight > MAX_WEIGHT {
            return self.fault(
                span,
                "the condition is too large with everything in it written out",
                Some("split sums and long chains of named conditions".to_owned()),
            );
        }
        Some(())
    }

    fn named(&mut self, name: &Name, span: &Range<usize>) -> Option<Node> {
        let syntax = self.scope.named.get(name)?;
        if self.expanding.iter().any(|(outer, _)| outer == name) {
            return self.fault(span, format!("the condition `{name}` uses itself"), None);
        }
        if self.expanding.len() >= MAX_EXPANSION {
            return self.fault(
                span,
                format!("named conditions stand in each other more than {MAX_EXPANSION} deep"),
                None,
            );
        }
        self.expanding.push((name.clone(), span.clone()));
        let text = std::mem::replace(&mut self.text, syntax.text.clone());
        let visible_from = std::mem::replace(&mut self.visible_from, self.variables.len());
        let node = self.condition(&syntax.root);
        self.visible_from = visible_from;
        self.text = text;
        self.expanding.pop();
        match node? {
            Node::Constant(truth) => Some(Node::Constant(truth)),
            node => Some(Node::Named { name: name.clone(), node: Box::new(node) }),
        }
    }

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

    fn path(&mut self, words: &[Word]) -> Option<Target> {
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

    fn quantified(&mut self, receiver: &Expression, name: &Word, arguments: &[Expression]) -> Option<Test> {
        let quantifier = if name.text == "all" { Quantifier::All } else { Quantifier::Exists };
        let syntax::Node::Path(words) = &receiver.node else {
            return self.fault(
                &receiver.span,
                format!("`{}` stands after an inverse relation or a collection", name.text),
                None,
            );
        };
        let set = self.set(words, &receiver.span, name);
        let [variable, body] = arguments else {
            return self.fault(
                &name.span,
                format!("`{}` takes a variable and a condition", name.text),
                Some(format!(
                    "for example `{}.{}(x, x.id == auth.id)`",
                    self.text(&receiver.span),
                    name.text
                )),
            );
        };
        let variable = match &variable.node {
            syntax::Node::Path(words) if words.len() == 1 => words.first()?,
            _ => return self.fault(&variable.span, "a variable is one name", None),
        };
        let free = self.free_name(variable);
        let set = set?;
        let name = free?;
        if self.scope.own_fields_only {
            return self.fault(
                &receiver.span,
                "a check speaks of the record's own fields and cannot look at other records",
                None,
            );
        }
        self.variables.push((name, set.collection));
        let body = self.condition(body);
        self.variables.pop();
        Some(Test::Quantified { quantifier, set, body: Box::new(body?) })
    }

    fn set(&mut self, words: &[Word], span: &Range<usize>, quantifier: &Word) -> Option<Set> {
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
    fn free_name(&mut self, word: &Word) -> Option<Name> {
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
                format!("`{}` is no field of `{}`, no condition and no variable", word.text, record.name)
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
        self.fault(&word.span, format!("`{}` has no field `{}`", collection.name, word.text), hint)
    }
}

/// What a test's SQL costs beyond one term.
fn weight(test: &Test) -> usize {
    match test {
        Test::Holds(operand) | Test::IsNull { operand, .. } => operand.weight(),
        Test::Compare { left, right, .. } => left.weight().saturating_add(right.weight()),
        Test::Among { value, list } => value.weight().saturating_add(list.weight()),
        Test::Text { value, argument, .. } => {
            value.weight().saturating_add(argument.weight().saturating_mul(2))
        }
        Test::Matches { value, .. } => value.weight().saturating_mul(2),
        Test::Quantified { set, .. } => set.link.as_ref().map_or(0, |link| link.base.hops.len()),
    }
}

/// `did you mean …`, if one of the candidates is near.
pub(super) fn closest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<String> {
    let near = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&word.to_lowercase(), candidate), candidate))
        .filter(|(distance, _)| *distance <= near)
        .min()
        .map(|(_, candidate)| format!("did you mean `{candidate}`?"))
}
