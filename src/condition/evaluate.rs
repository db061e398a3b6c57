//! [`Condition`] over rows in memory: the other of the two back ends that decide.

use std::borrow::Cow;

use super::arithmetic::{self, MAX_MATCHED, MAX_TEXT};
use super::caller;
use super::compare::{compare, decimal};
use super::tree::{Condition, Node, Operand, Path, Quantifier, Set, Slot, Source, Test, TextTest};
use super::{Env, Rows};
use crate::model::{CollectionId, Decimal, FieldId, Record, Value};

impl Condition {
    /// Decides in memory, three-valued: `None` is unknown. Only `Some(true)` admits.
    pub fn evaluate(&self, env: &Env<'_>) -> Option<bool> {
        Evaluation { env, variables: Vec::new() }.node(&self.root)
    }
}

impl Rows {
    /// The record of a collection whose field has a value: the row that a relation leads to.
    fn find(&self, collection: CollectionId, field: FieldId, value: &Value) -> Option<&Record> {
        self.all(collection).find(|record| equal(record.get(field), value))
    }

    fn all(&self, collection: CollectionId) -> impl Iterator<Item = &Record> {
        self.0.get(&collection).into_iter().flatten()
    }
}

/// Equal as SQL has it: nothing equals null.
fn equal(left: &Value, right: &Value) -> bool {
    compare(left, right).is_some_and(std::cmp::Ordering::is_eq)
}

pub(super) struct Evaluation<'e> {
    pub(super) env: &'e Env<'e>,
    /// The rows of the quantifiers around this point, outermost first.
    pub(super) variables: Vec<&'e Record>,
}

impl<'e> Evaluation<'e> {
    pub(super) fn node(&mut self, node: &'e Node) -> Option<bool> {
        match node {
            Node::Constant(truth) => Some(*truth),
            Node::And(parts) => self.joined(parts, false),
            Node::Or(parts) => self.joined(parts, true),
            Node::Not(inner) => self.node(inner).map(|truth| !truth),
            Node::Named { node, .. } => self.node(node),
            Node::Term { test, .. } => self.test(test),
        }
    }

    /// One part of the truth `decisive` decides; otherwise one unknown part leaves the whole unknown.
    fn joined(&mut self, parts: &'e [Node], decisive: bool) -> Option<bool> {
        let mut whole = Some(!decisive);
        for part in parts {
            match self.node(part) {
                Some(truth) if truth == decisive => return Some(decisive),
                Some(_) => {}
                None => whole = None,
            }
        }
        whole
    }

    pub(super) fn test(&mut self, test: &'e Test) -> Option<bool> {
        match test {
            Test::Holds(operand) => match *self.operand(operand) {
                Value::Boolean(truth) => Some(truth),
                _ => None,
            },
            Test::IsNull { operand, negated } => Some(self.operand(operand).is_null() != *negated),
            Test::Compare { comparison, left, right } => {
                let (left, right) = (self.operand(left), self.operand(right));
                compare(&left, &right).map(|ordering| comparison.holds(ordering))
            }
            Test::Among { value, list } => {
                let (value, list) = (self.operand(value), self.operand(list));
                let Value::Array(elements) = &*list else { return None };
                let mut found = Some(false);
                for element in elements {
                    match compare(&value, element) {
                        Some(ordering) if ordering.is_eq() => return Some(true),
                        Some(_) => {}
                        None => found = None,
                    }
                }
                found
            }
            Test::Text { test, value, argument } => {
                let (value, argument) = (self.operand(value), self.operand(argument));
                let (Value::Text(value), Value::Text(argument)) = (&*value, &*argument) else { return None };
                Some(match test {
                    TextTest::StartsWith => value.starts_with(argument.as_str()),
                    TextTest::EndsWith => value.ends_with(argument.as_str()),
                    TextTest::Contains => value.contains(argument.as_str()),
                })
            }
            Test::Matches { value, pattern } => match &*self.operand(value) {
                Value::Text(text) if text.len() as i64 <= MAX_MATCHED || value.is_constant() => {
                    Some(pattern.is_match(text))
                }
                _ => None,
            },
            Test::Quantified { quantifier, set, body } => Some(self.quantified(*quantifier, set, body)),
        }
    }

    fn quantified(&mut self, quantifier: Quantifier, set: &'e Set, body: &'e Node) -> bool {
        let base = set.link.as_ref().map(|link| (link.field, self.path(&link.base)));
        let rows: &'e Rows = self.env.rows;
        for row in rows.all(set.collection) {
            if base.is_some_and(|(field, value)| !equal(row.get(field), value)) {
                continue;
            }
            self.variables.push(row);
            let truth = self.node(body) == Some(true);
            self.variables.pop();
            match quantifier {
                Quantifier::Exists if truth => return true,
                Quantifier::All if !truth => return false,
                Quantifier::Exists | Quantifier::All => {}
            }
        }
        quantifier == Quantifier::All
    }

    pub(super) fn operand(&self, operand: &'e Operand) -> Cow<'e, Value> {
        Cow::Owned(match &operand.source {
            Source::Literal(value) => return Cow::Borrowed(value),
            Source::Path(path) => return Cow::Borrowed(self.path(path)),
            Source::Attribute(attribute) => caller::attribute(self.env.principal, attribute, operand.kind),
            Source::AnyClaim(path) => {
                if caller::has_claim(self.env.principal, path) {
                    Value::Boolean(true)
                } else {
                    Value::Null
                }
            }
            Source::Capture(at) => caller::capture(self.env.captures, *at, operand.kind),
            Source::Now => Value::Timestamp(self.env.now),
            Source::Size(inner) => match &*self.operand(inner) {
                Value::Text(text) => Value::Integer(text.chars().count() as i64),
                Value::Bytes(bytes) => Value::Integer(bytes.len() as i64),
                Value::Array(elements) => Value::Integer(elements.len() as i64),
                _ => Value::Null,
            },
            Source::Lower(inner) => match &*self.operand(inner) {
                Value::Text(text) => Value::Text(text.to_ascii_lowercase()),
                _ => Value::Null,
            },
            Source::Concat(parts) => self.concat(parts),
            Source::Calculate { minus, left, right } => match (self.addend(left), self.addend(right)) {
                (Some(left), Some(right)) => Value::Decimal(arithmetic::calculate(&left, &right, *minus)),
                _ => Value::Null,
            },
            Source::Shift { minus, time, interval } => {
                let time = match *self.operand(time) {
                    Value::Timestamp(at) => Some(at),
                    Value::Date(date) => arithmetic::midnight(date),
                    _ => None,
                };
                match (time, &*self.operand(interval)) {
                    (Some(time), Value::Interval(interval)) => {
                        arithmetic::shift(time, *interval, *minus).map_or(Value::Null, Value::Timestamp)
                    }
                    _ => Value::Null,
                }
            }
        })
    }

    fn concat(&self, parts: &'e [Operand]) -> Value {
        let mut whole = String::new();
        for part in parts {
            match &*self.operand(part) {
                Value::Text(text) => whole.push_str(text),
                Value::Uuid(uuid) => whole.push_str(&uuid.to_string()),
                _ => return Value::Null,
            }
        }
        if whole.len() as i64 > MAX_TEXT { Value::Null } else { Value::Text(whole) }
    }

    fn addend(&self, operand: &'e Operand) -> Option<Decimal> {
        let value = self.operand(operand);
        let number = decimal(&value)?.into_owned();
        let bounded = !matches!(operand.source, Source::Path(_)) || arithmetic::addable(&number);
        bounded.then_some(number)
    }

    fn path(&self, path: &'e Path) -> &'e Value {
        const NULL: &Value = &Value::Null;
        let mut row: &'e Record = match path.slot {
            Slot::Record => self.env.record,
            Slot::Old => match self.env.old {
                Some(old) => old,
                None => return NULL,
            },
            Slot::Variable(at) => match self.variables.get(at) {
                Some(row) => row,
                None => return NULL,
            },
        };
        for hop in &path.hops {
            match self.env.rows.find(hop.target, hop.key, row.get(hop.field)) {
                Some(next) => row = next,
                None => return NULL,
            }
        }
        row.get(path.field)
    }
}
