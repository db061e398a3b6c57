//! [`Syntax`] and a [`Scope`] → [`Condition`]: every name found, every operand of one kind.
//!
//! Walks conditions and quantifiers. What names mean is in `resolve`, what operands may be compared and how
//! literals and claims take the kind of their place in `operand`, functions and sums in `call`.

use std::ops::Range;
use std::sync::Arc;

use super::resolve::Target;
use super::syntax::{self, Expression, Syntax, Word};
use super::tree::{Condition, Node, Quantifier, Test};
use super::{Fault, Scope};
use crate::model::{Collection, CollectionId, Kind, Name};

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
        .and_then(|collection| scope.collections.id_of(collection).map(|id| (id, collection)));
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
    pub(super) record: Option<&'a Collection>,
    pub(super) record_id: Option<CollectionId>,
    /// The text being checked: the condition's own, or a named condition's.
    text: Arc<str>,
    faults: Vec<Fault>,
    pub(super) variables: Vec<(Name, CollectionId)>,
    /// A named condition does not see the variables of the place where it is used.
    pub(super) visible_from: usize,
    /// The named conditions around this point, and where in the outermost text the first one stands.
    expanding: Vec<(Name, Range<usize>)>,
    weight: usize,
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
