//! The typed, closed tree of a condition, and what can be said of it without a row.
//!
//! Every name is resolved and every operand has a kind. `sql` and `evaluate` are the two back ends that
//! decide over it, `explain` tells how it decided; none of them can meet a name that does not exist.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::pattern::Pattern;
use super::syntax::Comparison;
use crate::model::{Attribute, Collection, CollectionId, FieldId, Kind, Name, Value};

/// Where a condition can be decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// From the record and the caller alone.
    Row,
    /// Needs related rows.
    Database,
}

/// A typed, closed condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    pub(super) root: Node,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Constant(bool),
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    /// A named condition, kept as such so that an explanation can say its name.
    Named {
        name: Name,
        node: Box<Node>,
    },
    /// What cannot be taken apart further, with its text.
    Term {
        text: Arc<str>,
        test: Test,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Test {
    /// A boolean value.
    Holds(Operand),
    IsNull {
        operand: Operand,
        negated: bool,
    },
    Compare {
        comparison: Comparison,
        left: Operand,
        right: Operand,
    },
    /// The value equals an element of the list.
    Among {
        value: Operand,
        list: Operand,
    },
    Text {
        test: TextTest,
        value: Operand,
        argument: Operand,
    },
    Matches {
        value: Operand,
        pattern: Pattern,
    },
    Quantified {
        quantifier: Quantifier,
        set: Set,
        body: Box<Node>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextTest {
    StartsWith,
    EndsWith,
    Contains,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quantifier {
    /// TRUE for some element.
    Exists,
    /// TRUE for every element.
    All,
}

/// A value with its kind and its text.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Operand {
    pub(super) text: Arc<str>,
    pub(super) kind: Kind,
    pub(super) source: Source,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Source {
    Literal(Value),
    Path(Path),
    /// A claim of another kind than the operand's is null.
    Attribute(Attribute),
    /// A claim that is only tested for null: whatever its kind.
    AnyClaim(Vec<String>),
    /// A channel topic's capture, by its place; one that is no value of the operand's kind is null.
    Capture(usize),
    Now,
    Size(Box<Operand>),
    Lower(Box<Operand>),
    /// Texts and uuids, one after the other.
    Concat(Vec<Operand>),
    /// Numbers, as decimals: exact, and never out of range.
    Calculate {
        minus: bool,
        left: Box<Operand>,
        right: Box<Operand>,
    },
    /// A timestamp or a date, and an interval; null when either is out of the range that is safe to add.
    Shift {
        minus: bool,
        time: Box<Operand>,
        interval: Box<Operand>,
    },
}

/// Which row a path starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    Record,
    Old,
    /// A quantifier's variable, counted from the outermost quantifier.
    Variable(usize),
}

/// A field of a row, or of the row that to-one relations lead to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Path {
    pub(super) slot: Slot,
    pub(super) hops: Vec<Hop>,
    pub(super) field: FieldId,
    pub(super) column: Name,
}

/// One step through a relation: the row of `target` whose `key` is this row's `field`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Hop {
    pub(super) field: FieldId,
    pub(super) column: Name,
    pub(super) target: CollectionId,
    pub(super) table: Name,
    pub(super) key: FieldId,
    pub(super) key_column: Name,
}

/// The rows that a quantifier goes through.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Set {
    pub(super) collection: CollectionId,
    pub(super) table: Name,
    /// Only the rows that refer to a row; without it, the whole collection.
    pub(super) link: Option<Link>,
}

/// `column` of the set's rows equals `base`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Link {
    pub(super) field: FieldId,
    pub(super) column: Name,
    pub(super) base: Path,
}

impl Condition {
    /// The condition that always holds.
    pub fn always() -> Condition {
        Condition { root: Node::Constant(true) }
    }

    /// The condition that never holds.
    pub fn never() -> Condition {
        Condition { root: Node::Constant(false) }
    }

    /// The record's text field has this value: what a project writes `field == 'text'`.
    pub fn is_text(collection: &Collection, field: FieldId, text: &str) -> Condition {
        let column = &collection.field(field).name;
        let quoted = format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
        let path = Path { slot: Slot::Record, hops: Vec::new(), field, column: column.clone() };
        let left = Operand { text: Arc::from(column.as_str()), kind: Kind::TEXT, source: Source::Path(path) };
        let value = Source::Literal(Value::text(text));
        let right = Operand { text: Arc::from(quoted.as_str()), kind: Kind::TEXT, source: value };
        let test = Test::Compare { comparison: Comparison::Equal, left, right };
        Condition { root: Node::Term { text: Arc::from(format!("{column} == {quoted}")), test } }
    }

    /// It is TRUE whatever the row and the caller.
    pub fn is_always(&self) -> bool {
        self.root == Node::Constant(true)
    }

    /// Where this one holds the other holds too, as far as that can be told from their form: all that the other asks
    /// for stands in this one.
    pub fn implies(&self, other: &Condition) -> bool {
        fn asks(node: &Node) -> Vec<&Node> {
            match node {
                Node::And(parts) => parts.iter().flat_map(asks).collect(),
                Node::Named { node, .. } => asks(node),
                Node::Constant(true) => Vec::new(),
                Node::Constant(false) | Node::Or(_) | Node::Not(_) | Node::Term { .. } => vec![node],
            }
        }
        let mine = asks(&self.root);
        asks(&other.root).iter().all(|asked| mine.contains(asked))
    }

    /// `a || b || …`; never for none. Simplifies: one that always holds makes the whole always hold.
    pub fn any(conditions: impl IntoIterator<Item = Condition>) -> Condition {
        Condition { root: Node::or(conditions.into_iter().map(|condition| condition.root).collect()) }
    }

    /// `a && b && …`; always for none.
    pub fn all(conditions: impl IntoIterator<Item = Condition>) -> Condition {
        Condition { root: Node::and(conditions.into_iter().map(|condition| condition.root).collect()) }
    }

    /// Whether the record and the caller are enough to decide.
    pub fn reach(&self) -> Reach {
        if self.reads().is_empty() { Reach::Row } else { Reach::Database }
    }

    /// The collections whose rows it looks at beyond the record itself.
    pub fn reads(&self) -> BTreeSet<CollectionId> {
        let mut read = BTreeSet::new();
        self.root.each_test(&mut |test| {
            if let Test::Quantified { set, .. } = test {
                read.insert(set.collection);
            }
            test.each_path(&mut |path| read.extend(path.hops.iter().map(|hop| hop.target)));
        });
        read
    }

    /// It speaks of the record before the write.
    pub fn mentions_old(&self) -> bool {
        let mut found = false;
        self.root.each_test(&mut |test| test.each_path(&mut |path| found |= path.slot == Slot::Old));
        found
    }

    /// The record's own fields that it looks at, of the record itself or of the record before the write.
    pub fn fields(&self) -> crate::model::FieldSet {
        let mut fields = crate::model::FieldSet::EMPTY;
        self.root.each_test(&mut |test| {
            test.each_path(&mut |path| match path.slot {
                Slot::Record | Slot::Old => {
                    fields.insert(path.hops.first().map_or(path.field, |hop| hop.field))
                }
                Slot::Variable(_) => {}
            });
        });
        fields
    }

    /// What it asks about the caller, each once: principals that agree on these agree on the condition.
    /// A topic's captures and `now()` are not among them.
    pub fn attributes(&self) -> Vec<Attribute> {
        let mut found: Vec<Attribute> = Vec::new();
        self.root.each_test(&mut |test| {
            test.each_operand(&mut |operand| {
                let attribute = match &operand.source {
                    Source::Attribute(attribute) => attribute.clone(),
                    Source::AnyClaim(path) => Attribute::Claim(path.clone()),
                    _ => return,
                };
                if !found.contains(&attribute) {
                    found.push(attribute);
                }
            });
        });
        found
    }
}

impl Node {
    /// Joins, flattening what is already a disjunction and leaving out what cannot matter.
    pub(super) fn or(parts: Vec<Node>) -> Node {
        Node::join(parts, true)
    }

    pub(super) fn and(parts: Vec<Node>) -> Node {
        Node::join(parts, false)
    }

    /// `decisive` is the truth of one part that decides the whole: true for `||`, false for `&&`. Sound in
    /// three-valued logic: TRUE || unknown is TRUE, FALSE && unknown is FALSE.
    fn join(parts: Vec<Node>, decisive: bool) -> Node {
        let mut kept = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                Node::Constant(truth) if truth == decisive => return Node::Constant(decisive),
                Node::Constant(_) => {}
                Node::Or(inner) if decisive => kept.extend(inner),
                Node::And(inner) if !decisive => kept.extend(inner),
                other => kept.push(other),
            }
        }
        match kept.len() {
            0 => Node::Constant(!decisive),
            1 => kept.remove(0),
            _ if decisive => Node::Or(kept),
            _ => Node::And(kept),
        }
    }

    /// Every test in the tree, those in the bodies of quantifiers included.
    pub(super) fn each_test(&self, visit: &mut dyn FnMut(&Test)) {
        match self {
            Node::Constant(_) => {}
            Node::And(parts) | Node::Or(parts) => parts.iter().for_each(|part| part.each_test(visit)),
            Node::Not(inner) => inner.each_test(visit),
            Node::Named { node, .. } => node.each_test(visit),
            Node::Term { test, .. } => {
                visit(test);
                if let Test::Quantified { body, .. } = test {
                    body.each_test(visit);
                }
            }
        }
    }
}

impl Test {
    /// Every operand of this test, inner ones included; not those of a quantifier's body.
    fn each_operand(&self, visit: &mut dyn FnMut(&Operand)) {
        match self {
            Test::Holds(operand) | Test::IsNull { operand, .. } => operand.each(visit),
            Test::Compare { left, right, .. } => {
                left.each(visit);
                right.each(visit);
            }
            Test::Among { value, list } => {
                value.each(visit);
                list.each(visit);
            }
            Test::Text { value, argument, .. } => {
                value.each(visit);
                argument.each(visit);
            }
            Test::Matches { value, .. } => value.each(visit),
            Test::Quantified { .. } => {}
        }
    }

    pub(super) fn each_path(&self, visit: &mut dyn FnMut(&Path)) {
        if let Test::Quantified { set: Set { link: Some(link), .. }, .. } = self {
            visit(&link.base);
        }
        self.each_operand(&mut |operand| {
            if let Source::Path(path) = &operand.source {
                visit(path);
            }
        });
    }
}

impl Operand {
    fn each(&self, visit: &mut dyn FnMut(&Operand)) {
        visit(self);
        match &self.source {
            Source::Literal(_)
            | Source::Path(_)
            | Source::Attribute(_)
            | Source::AnyClaim(_)
            | Source::Capture(_)
            | Source::Now => {}
            Source::Size(inner) | Source::Lower(inner) => inner.each(visit),
            Source::Concat(parts) => parts.iter().for_each(|part| part.each(visit)),
            Source::Calculate { left, right, .. } => {
                left.each(visit);
                right.each(visit);
            }
            Source::Shift { time, interval, .. } => {
                time.each(visit);
                interval.each(visit);
            }
        }
    }

    /// It depends on no row.
    pub(super) fn is_constant(&self) -> bool {
        let mut constant = true;
        self.each(&mut |operand| constant &= !matches!(operand.source, Source::Path(_)));
        constant
    }

    /// How many leaves its SQL has: the guards of sums name their operands more than once.
    pub(super) fn weight(&self) -> usize {
        match &self.source {
            Source::Literal(_)
            | Source::Attribute(_)
            | Source::AnyClaim(_)
            | Source::Capture(_)
            | Source::Now => 1,
            Source::Path(path) => 1 + path.hops.len(),
            Source::Size(inner) | Source::Lower(inner) => inner.weight(),
            Source::Concat(parts) => {
                parts.iter().fold(0_usize, |sum, part| sum.saturating_add(part.weight())).saturating_mul(2)
            }
            Source::Calculate { left, right, .. } => {
                left.weight().saturating_add(right.weight()).saturating_mul(2)
            }
            Source::Shift { time, interval, .. } => {
                time.weight().saturating_add(interval.weight()).saturating_mul(5)
            }
        }
    }
}
