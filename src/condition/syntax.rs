//! The tree of a condition's text, before any name is looked up.

use std::ops::Range;
use std::sync::Arc;

use super::lex::Text;

/// A parsed condition whose names and kinds are not yet known. Equality ignores nothing: it is the text's tree.
#[derive(Clone, Debug, PartialEq)]
pub struct Syntax {
    pub(super) text: Arc<str>,
    pub(super) root: Expression,
}

impl Syntax {
    /// The condition as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// A part of the text: a condition or a value, which only the checker can tell apart.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Expression {
    pub(super) span: Range<usize>,
    pub(super) node: Node,
    /// Levels of the tree from here down; the parser bounds it, and with it every recursion.
    pub(super) height: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Or(Vec<Expression>),
    And(Vec<Expression>),
    Not(Box<Expression>),
    Compare {
        comparison: Comparison,
        left: Box<Expression>,
        right: Box<Expression>,
    },
    In {
        value: Box<Expression>,
        list: Box<Expression>,
    },
    /// `left + right`, or `left - right`.
    Sum {
        minus: bool,
        left: Box<Expression>,
        right: Box<Expression>,
    },
    Text(Text),
    /// As written, with its sign.
    Number(String),
    Boolean(bool),
    Null,
    List(Vec<Expression>),
    /// `a`, `a.b.c`
    Path(Vec<Word>),
    /// `now()`, `title.size()`, `members.exists(m, …)`
    Call {
        receiver: Option<Box<Expression>>,
        name: Word,
        arguments: Vec<Expression>,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Word {
    pub(super) span: Range<usize>,
    pub(super) text: String,
}

/// `== != < <= > >=`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    pub(super) fn from_symbol(symbol: &str) -> Option<Comparison> {
        Some(match symbol {
            "==" => Comparison::Equal,
            "!=" => Comparison::NotEqual,
            "<" => Comparison::Less,
            "<=" => Comparison::LessOrEqual,
            ">" => Comparison::Greater,
            ">=" => Comparison::GreaterOrEqual,
            _ => return None,
        })
    }

    /// Whether it asks for an order and not only for sameness.
    pub(super) fn orders(self) -> bool {
        !matches!(self, Comparison::Equal | Comparison::NotEqual)
    }

    pub(super) fn sql(self) -> &'static str {
        match self {
            Comparison::Equal => " = ",
            Comparison::NotEqual => " <> ",
            Comparison::Less => " < ",
            Comparison::LessOrEqual => " <= ",
            Comparison::Greater => " > ",
            Comparison::GreaterOrEqual => " >= ",
        }
    }

    pub(super) fn holds(self, ordering: std::cmp::Ordering) -> bool {
        match self {
            Comparison::Equal => ordering.is_eq(),
            Comparison::NotEqual => ordering.is_ne(),
            Comparison::Less => ordering.is_lt(),
            Comparison::LessOrEqual => ordering.is_le(),
            Comparison::Greater => ordering.is_gt(),
            Comparison::GreaterOrEqual => ordering.is_ge(),
        }
    }
}
