//! A condition in words: what it says, and why it decided as it did (the tree of its terms, each with its text
//! and its truth).

use std::collections::BTreeMap;
use std::fmt;
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

/// The condition as a project could write it: terms in their own text, named conditions by their names.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.write(f)
    }
}

impl Condition {
    /// What the named conditions that it uses say, those inside others included.
    pub fn named(&self) -> BTreeMap<Name, String> {
        let mut found = BTreeMap::new();
        self.root.collect_named(&mut found);
        found
    }
}

impl Node {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Node::Constant(truth) => write!(f, "{truth}"),
            Node::And(parts) => write_joined(f, parts, " && "),
            Node::Or(parts) => write_joined(f, parts, " || "),
            Node::Not(inner) => match &**inner {
                Node::And(_) | Node::Or(_) | Node::Not(_) => {
                    f.write_str("!(")?;
                    inner.write(f)?;
                    f.write_str(")")
                }
                // A term was written behind a `!` too, in parentheses where it needs them.
                Node::Named { .. } | Node::Constant(_) | Node::Term { .. } => {
                    f.write_str("!")?;
                    inner.write(f)
                }
            },
            Node::Named { name, .. } => write!(f, "{name}"),
            Node::Term { text, .. } => f.write_str(text),
        }
    }

    fn collect_named(&self, found: &mut BTreeMap<Name, String>) {
        match self {
            Node::Constant(_) => {}
            Node::And(parts) | Node::Or(parts) => parts.iter().for_each(|part| part.collect_named(found)),
            Node::Not(inner) => inner.collect_named(found),
            Node::Named { name, node } => {
                found.insert(name.clone(), Condition { root: Node::clone(node) }.to_string());
                node.collect_named(found);
            }
            Node::Term { test, .. } => {
                if let Test::Quantified { body, .. } = test {
                    body.collect_named(found);
                }
            }
        }
    }
}

fn write_joined(f: &mut fmt::Formatter<'_>, parts: &[Node], word: &str) -> fmt::Result {
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            f.write_str(word)?;
        }
        match part {
            Node::And(_) | Node::Or(_) => {
                f.write_str("(")?;
                part.write(f)?;
                f.write_str(")")?;
            }
            Node::Constant(_) | Node::Not(_) | Node::Named { .. } | Node::Term { .. } => part.write(f)?,
        }
    }
    Ok(())
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
