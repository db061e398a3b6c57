//! Why a condition decided as it did: the tree of its terms, each with its text and its truth.

use std::sync::Arc;

use super::Env;
use super::evaluate::Evaluation;
use super::tree::{Condition, Node, Operand, Source, Test};
use crate::model::{Name, Value};

/// A part of a condition and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    pub part: Part,
    /// `None` is unknown: a null was compared.
    pub truth: Option<bool>,
    pub children: Vec<Explanation>,
}

/// What a part of a condition is.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// `true` or `false`, written out.
    Constant,
    /// All of the children must hold.
    And,
    /// One of the children must hold.
    Or,
    /// The child must not hold.
    Not,
    /// A named condition; the child is what it says.
    Named(Name),
    /// A term, as it is written, and the values that its operands had: those that are not written out in it.
    Term { text: Arc<str>, values: Vec<(Arc<str>, Value)> },
}

impl Condition {
    /// Decides as [`Condition::evaluate`] does, and tells how every part came out.
    pub fn explain(&self, env: &Env<'_>) -> Explanation {
        Evaluation { env, variables: Vec::new() }.explain(&self.root)
    }
}

impl<'e> Evaluation<'e> {
    fn explain(&mut self, node: &'e Node) -> Explanation {
        let truth = self.node(node);
        let (part, children) = match node {
            Node::Constant(_) => (Part::Constant, Vec::new()),
            Node::And(parts) => (Part::And, parts.iter().map(|part| self.explain(part)).collect()),
            Node::Or(parts) => (Part::Or, parts.iter().map(|part| self.explain(part)).collect()),
            Node::Not(inner) => (Part::Not, vec![self.explain(inner)]),
            Node::Named { name, node } => (Part::Named(name.clone()), vec![self.explain(node)]),
            Node::Term { text, test } => {
                (Part::Term { text: text.clone(), values: self.values(test) }, Vec::new())
            }
        };
        Explanation { part, truth, children }
    }

    fn values(&self, test: &'e Test) -> Vec<(Arc<str>, Value)> {
        let operands: Vec<&'e Operand> = match test {
            Test::Holds(operand) | Test::IsNull { operand, .. } => vec![operand],
            Test::Compare { left, right, .. } => vec![left, right],
            Test::Among { value, list } => vec![value, list],
            Test::Text { value, argument, .. } => vec![value, argument],
            Test::Matches { value, .. } => vec![value],
            Test::Quantified { .. } => Vec::new(),
        };
        operands
            .into_iter()
            .filter(|operand| !matches!(operand.source, Source::Literal(_)))
            .map(|operand| (operand.text.clone(), self.operand(operand).into_owned()))
            .collect()
    }
}
