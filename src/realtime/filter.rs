//! [`Filter`]: what a subscriber wants of a collection's changes, decided in memory.
//!
//! It has the grammar, the operators and the refusals of a read's filters, so that a snapshot and the changes behind it
//! are about the same records. Text compares by code point.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use regex::{Regex, RegexBuilder};
use serde_json::Value as Json;

use super::like::{Like, LikeFault, MOST_LETTERS};
use crate::condition::{Pattern, compare};
use crate::error::{Code, Error};
use crate::model::{FieldId, FieldSet, Kind, Record, Scalar, Value};
use crate::policy::Permit;
use crate::query::parse::{self, Bounds};
use crate::query::plan::{Context, Operand, Predicate, Test as Asked, no_operator};
use crate::query::request::{self, Comparison, Is};

/// The filter of a binding, with its names found and its operands read. Two filters on one collection are equal if they
/// ask the same, in whatever order.
#[derive(Clone, Debug)]
pub struct Filter {
    /// All of these hold.
    terms: Vec<Term>,
    /// The terms in a normal form.
    key: Box<str>,
    asked: Vec<request::Filter>,
}

#[derive(Clone, Debug)]
struct Term {
    field: FieldId,
    negated: bool,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    /// One of these holds.
    Any(Vec<Single>),
    /// All of these hold.
    All(Vec<Single>),
    Is(Is),
    Distinct(Value),
}

/// A test that is unknown of null.
#[derive(Clone, Debug)]
enum Single {
    Order(Order, Value),
    Like(Like),
    Match(Regex),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Order {
    Eq,
    Neq,
    Gt,
    Gte,
    Lt,
    Lte,
}

impl PartialEq for Filter {
    fn eq(&self, other: &Filter) -> bool {
        self.key == other.key
    }
}

impl Eq for Filter {}

impl Hash for Filter {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl Filter {
    /// Reads `field=op.value,field=op.value` for whoever has this permit to read.
    ///
    /// # Errors
    /// What a read with this filter is told: a field that the permit does not show answers like one that does not
    /// exist, an operator must exist for the field's kind, and an operand must be a value of it.
    pub fn compile(text: &str, context: Context<'_>, permit: &Permit) -> Result<Filter, Error> {
        let mut asked = parse::conjunction(text, &Bounds::from(&context.catalog.limits))?;
        asked.iter().try_for_each(decidable)?;
        let mut terms = Vec::new();
        for predicate in context.own_predicates(permit, &asked)? {
            terms.push(Term::new(predicate)?);
        }
        asked.iter_mut().try_for_each(write_patterns)?;
        terms.sort_by(|(_, a), (_, b)| a.cmp(b));
        terms.dedup_by(|(_, a), (_, b)| a == b);
        let (terms, keys): (Vec<Term>, Vec<String>) = terms.into_iter().unzip();
        Ok(Filter { terms, key: keys.join("\n").into(), asked })
    }

    /// The same as a read has it.
    pub fn as_read(&self) -> &[request::Filter] {
        &self.asked
    }

    /// Whether the record is asked for. A masked field is null; only TRUE passes.
    pub fn holds(&self, record: &Record, masked: impl Fn(FieldId) -> bool) -> bool {
        self.terms.iter().all(|term| {
            let value = if masked(term.field) { &Value::Null } else { record.get(term.field) };
            term.test.holds(value).map(|truth| truth != term.negated) == Some(true)
        })
    }

    /// The fields that it looks at.
    pub fn fields(&self) -> FieldSet {
        self.terms.iter().map(|term| term.field).collect()
    }

    /// Fields that must equal one of these values, as [`compare`] has it (1.0 equals 1.00).
    pub fn equalities(&self) -> Vec<(FieldId, Vec<Value>)> {
        let value = |single: &Single| match single {
            Single::Order(Order::Eq, value) => Some(value.clone()),
            Single::Order(..) | Single::Like(_) | Single::Match(_) => None,
        };
        let term = |term: &Term| match &term.test {
            Test::Any(tests) if !term.negated => {
                let values = tests.iter().map(value).collect::<Option<Vec<_>>>()?;
                Some((term.field, values))
            }
            Test::Any(_) | Test::All(_) | Test::Is(_) | Test::Distinct(_) => None,
        };
        self.terms.iter().filter_map(term).collect()
    }
}

/// Refuses what the database alone decides.
fn decidable(filter: &request::Filter) -> Result<(), Error> {
    let request::Filter::Term { test, .. } = filter else {
        return Err(unsupported("and/or"));
    };
    match test {
        request::Test::Compare { .. }
        | request::Test::Is(_)
        | request::Test::IsDistinct(_)
        | request::Test::In(_) => Ok(()),
        request::Test::Contains(_) => Err(unsupported("the operator cs")),
        request::Test::ContainedBy(_) => Err(unsupported("the operator cd")),
        request::Test::Overlaps(_) => Err(unsupported("the operator ov")),
        request::Test::Range { operator, .. } => Err(unsupported(&format!("the operator {operator}"))),
        request::Test::FullText { .. } => Err(unsupported("a full-text search")),
    }
}

/// Writes regular expressions so that they mean to Postgres what they mean here.
fn write_patterns(filter: &mut request::Filter) -> Result<(), Error> {
    if let request::Filter::Term {
        test: request::Test::Compare { operator: Comparison::Match | Comparison::Imatch, operand },
        ..
    } = filter
    {
        let patterns = match operand {
            request::Operand::One(text) => std::slice::from_mut(text),
            request::Operand::Any(texts) | request::Operand::All(texts) => texts.as_mut_slice(),
        };
        for text in patterns {
            *text = pattern(text)?.to_postgres();
        }
    }
    Ok(())
}

fn unsupported(what: &str) -> Error {
    Error::with(Code::NotSupported, format!("{what} is not supported in a filter of row changes"))
        .hint("Use eq, neq, lt, lte, gt, gte, in, is, isdistinct, like, ilike, match or imatch, after not. if need be.")
}

fn pattern(text: &str) -> Result<Pattern, Error> {
    Pattern::parse(text).map_err(|fault| {
        let message = format!("invalid regular expression: {}", fault.message);
        let error = Error::with(Code::Sqlstate("2201B".to_owned()), message);
        match fault.hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    })
}

impl Term {
    /// The term and its normal form.
    fn new(predicate: Predicate) -> Result<(Term, String), Error> {
        let (column, test, negated) = match predicate {
            Predicate::Test { column, test, negated } => (column, test, negated),
            Predicate::Search { .. } => return Err(unsupported("a full-text search")),
            Predicate::And { .. } | Predicate::Or { .. } | Predicate::Related { .. } => {
                return Err(unsupported("and/or"));
            }
        };
        let field = column.field;
        let (test, key) = match test {
            Asked::Compare { operator, operand } => Test::compare(operator, operand)?,
            Asked::Is(is) => (Test::Is(is), format!("is {is:?}")),
            Asked::IsDistinct(operand) => {
                let value = match operand {
                    Operand::One { kind, text }
                    | Operand::Any { kind, list: text }
                    | Operand::All { kind, list: text } => read(kind, &text)?,
                };
                let key = format!("distinct {:?}", value.to_text());
                (Test::Distinct(value), key)
            }
            Asked::Contains(_) | Asked::ContainedBy(_) | Asked::Overlaps(_) | Asked::FullText(_) => {
                return Err(unsupported("this operator"));
            }
        };
        let not = if negated { "not " } else { "" };
        Ok((Term { field, negated, test }, format!("{} {not}{key}", field.0)))
    }
}

impl Test {
    fn compare(operator: Comparison, operand: Operand) -> Result<(Test, String), Error> {
        let (kind, values, all) = match operand {
            Operand::One { kind, text } => (kind, vec![read(kind, &text)?], false),
            Operand::Any { kind, list } => (kind.element(), elements(kind, &list)?, false),
            Operand::All { kind, list } => (kind.element(), elements(kind, &list)?, true),
        };
        let mut tests = Vec::new();
        for value in values {
            let text = format!("{:?}", value.to_text());
            tests.push((text, Single::new(kind, operator, value)?));
        }
        tests.sort_by(|(a, _), (b, _)| a.cmp(b));
        tests.dedup_by(|(a, _), (b, _)| a == b);
        // Of one, any is all.
        let all = all && tests.len() != 1;
        let (texts, tests): (Vec<String>, Vec<Single>) = tests.into_iter().unzip();
        let key = format!("{operator:?} {} {}", if all { "all" } else { "any" }, texts.join(","));
        Ok((if all { Test::All(tests) } else { Test::Any(tests) }, key))
    }

    /// Three-valued: `None` is unknown.
    fn holds(&self, value: &Value) -> Option<bool> {
        match self {
            // Of none, all hold and not any, whatever the value is.
            Test::Any(tests) if value.is_null() => {
                if tests.is_empty() {
                    Some(false)
                } else {
                    None
                }
            }
            Test::All(tests) if value.is_null() => {
                if tests.is_empty() {
                    Some(true)
                } else {
                    None
                }
            }
            Test::Any(tests) => Some(tests.iter().any(|test| test.holds(value))),
            Test::All(tests) => Some(tests.iter().all(|test| test.holds(value))),
            Test::Is(is) => Some(match is {
                Is::Null | Is::Unknown => value.is_null(),
                Is::NotNull => !value.is_null(),
                Is::True => *value == Value::Boolean(true),
                Is::False => *value == Value::Boolean(false),
            }),
            Test::Distinct(other) => Some(value.is_null() || !equal(value, other)),
        }
    }
}

impl Single {
    fn new(kind: Kind, operator: Comparison, value: Value) -> Result<Single, Error> {
        let (order, sign) = match operator {
            Comparison::Eq => (Order::Eq, "="),
            Comparison::Neq => (Order::Neq, "<>"),
            Comparison::Gt => (Order::Gt, ">"),
            Comparison::Gte => (Order::Gte, ">="),
            Comparison::Lt => (Order::Lt, "<"),
            Comparison::Lte => (Order::Lte, "<="),
            Comparison::Like | Comparison::Ilike | Comparison::Match | Comparison::Imatch => {
                let Value::Text(text) = value else { return Err(no_operator(kind, "~")) };
                let ignore_case = matches!(operator, Comparison::Ilike | Comparison::Imatch);
                return if matches!(operator, Comparison::Like | Comparison::Ilike) {
                    Like::parse(&text, ignore_case).map(Single::Like).map_err(like_fault)
                } else {
                    let regex =
                        RegexBuilder::new(&pattern(&text)?.to_rust()).case_insensitive(ignore_case).build();
                    regex.map(Single::Match).map_err(|_| unsupported("a pattern of this size"))
                };
            }
        };
        let ordered = kind.scalar.ordered() || matches!(order, Order::Eq | Order::Neq);
        if ordered { Ok(Single::Order(order, value)) } else { Err(no_operator(kind, sign)) }
    }

    /// Of a value that is not null.
    fn holds(&self, value: &Value) -> bool {
        match (self, value) {
            (Single::Order(Order::Eq, operand), _) => equal(value, operand),
            (Single::Order(Order::Neq, operand), _) => !equal(value, operand),
            (Single::Order(order, operand), _) => {
                compare(value, operand).is_some_and(|found| order.admits(found))
            }
            (Single::Like(like), Value::Text(text)) => like.matches(text),
            (Single::Match(regex), Value::Text(text)) => regex.is_match(text),
            (Single::Like(_) | Single::Match(_), _) => false,
        }
    }
}

impl Order {
    fn admits(self, found: Ordering) -> bool {
        match self {
            Order::Eq => found.is_eq(),
            Order::Neq => found.is_ne(),
            Order::Gt => found.is_gt(),
            Order::Gte => found.is_ge(),
            Order::Lt => found.is_lt(),
            Order::Lte => found.is_le(),
        }
    }
}

fn like_fault(fault: LikeFault) -> Error {
    match fault {
        LikeFault::Escape => {
            Error::with(Code::Sqlstate("22025".to_owned()), "LIKE pattern must not end with escape character")
        }
        LikeFault::Long => unsupported(&format!("a pattern of more than {MOST_LETTERS} characters")),
    }
}

fn read(kind: Kind, text: &str) -> Result<Value, Error> {
    Value::parse(kind, text).ok_or_else(|| {
        let name = if kind.scalar == Scalar::Json { "json" } else { kind.sql() };
        let message = format!("invalid input syntax for type {name}: \"{text}\"");
        Error::with(Code::Sqlstate("22P02".to_owned()), message)
    })
}

fn elements(kind: Kind, list: &str) -> Result<Vec<Value>, Error> {
    match read(kind, list)? {
        Value::Array(values) => Ok(values),
        value => Ok(vec![value]),
    }
}

/// Whether two values that are not null are the same to Postgres.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Json(a), Value::Json(b)) => same_json(a, b),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len()
                && a.iter().zip(b).all(|(a, b)| match (a.is_null(), b.is_null()) {
                    (false, false) => equal(a, b),
                    (a, b) => a == b,
                })
        }
        (a, b) => compare(a, b).is_some_and(Ordering::is_eq),
    }
}

/// As `jsonb` has it: numbers are equal by value, and members have no order.
fn same_json(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => {
            let value =
                |number: &serde_json::Number| Value::parse(Kind::one(Scalar::Decimal), &number.to_string());
            match (value(a), value(b)) {
                (Some(a), Some(b)) => compare(&a, &b).is_some_and(Ordering::is_eq),
                _ => a == b,
            }
        }
        (Json::Array(a), Json::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_json(a, b))
        }
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same_json(a, b)))
        }
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests;
